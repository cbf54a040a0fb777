//! Roles for people: users who may view or edit in a namespace may do the same with the three resources.

use serde_json::json;

use super::{CHART, RELEASE};
use crate::cluster::{Cluster, source};
use crate::wait::eventually;

const NAMESPACE: &str = "people";

#[tokio::test(flavor = "multi_thread")]
async fn only_viewers_can_view_and_only_editors_can_edit() {
    let cluster = Cluster::start().await;
    let values = json!({"image": {"repository": "pad-operator"}, "rbac": {"aggregate": true}}).to_string();
    let chart = source(CHART);
    let install = ["install", RELEASE, &chart, "--namespace", NAMESPACE, "--create-namespace", "--values=-"];
    cluster.run("helm", &install, Some(&values)).await.unwrap();
    for role in ["view", "edit", "admin"] {
        let (name, role, user) =
            (format!("a-{role}"), format!("--clusterrole={role}"), format!("--user=a-{role}"));
        let bind = ["create", "rolebinding", &name, &role, &user, "--namespace", NAMESPACE];
        cluster.kubectl(&bind, None).await.unwrap();
    }
    let may = async |user: &str, verb: &str, resource: &str| {
        let (user, resource) = (format!("--as={user}"), format!("{resource}.padoperator.dev"));
        let ask = ["auth", "can-i", verb, &resource, &user, "--namespace", NAMESPACE];
        // The command fails when it prints "no".
        cluster.kubectl(&ask, None).await.is_ok()
    };
    eventually("the roles are aggregated", async || {
        if may("a-view", "list", "pads").await && may("a-edit", "create", "pads").await {
            Ok(())
        } else {
            Err("not yet".into())
        }
    })
    .await;
    for resource in ["leverconnections", "padconfigurations", "pads"] {
        for user in ["a-view", "a-edit", "a-admin"] {
            assert!(may(user, "watch", resource).await, "{user} {resource}");
            let edits = user != "a-view";
            assert_eq!(may(user, "patch", resource).await, edits, "{user} {resource}");
            assert_eq!(may(user, "delete", resource).await, edits, "{user} {resource}");
        }
        assert!(!may("a-stranger", "get", resource).await);
    }
}
