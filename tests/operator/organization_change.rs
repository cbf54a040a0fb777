//! Keys that work but belong to another organization: the operator concludes nothing about pads until a person has
//! decided (contract C4a).

use serde_json::{Value, json};
use simulators::{Fault, KeyRole, OTHER_ORGANIZATION, PausePoint};

use crate::environment::{CONFIGURATION, CONNECTION, Options, TAG, TestEnv};
use crate::status::{brief, message_of, phase};
use crate::wait::{eventually, must_finish};

const FOREIGN: &str = "interview-4e10-of-southwind";

fn right_key(name: &str) -> String {
    format!("interview-77b02e-{name}")
}

/// Requests for which the key of the other organization was used.
fn used_for(env: &TestEnv) -> Vec<String> {
    let mut calls = env.interview.calls();
    calls.retain(|call| call.key.as_deref() == Some(FOREIGN));
    let mut paths: Vec<_> = calls.into_iter().map(|call| format!("{} {}", call.method, call.path)).collect();
    paths.sort();
    paths.dedup();
    paths
}

async fn accept(env: &TestEnv, organization: &str) {
    let annotation = json!({"padoperator.dev/accept-organization": organization});
    env.patch("leverconnections", CONNECTION, json!({"metadata": {"annotations": annotation}})).await;
}

async fn pad_named(env: &TestEnv, name: &str) -> Value {
    env.get("pads", name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn key_of_another_organization_ends_nothing_and_the_right_key_resumes() {
    let mut options = Options::new("other-organization").polling("1s");
    options.flags.push("--leader-election=false");
    let mut env = TestEnv::start(options).await;
    let owner = "owner@northwind.example";
    env.interview.set_key(FOREIGN, owner, KeyRole::Elsewhere);
    let (kept, deleted) = (env.candidate(), env.candidate());
    for candidate in [&kept, &deleted] {
        env.enter(candidate).await;
        env.wait_for_one_pad(candidate).await;
    }
    let name_of = async |candidate: &str| -> String {
        env.pads_of(candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned()
    };
    let (kept_name, deleted_name) = (name_of(&kept).await, name_of(&deleted).await);
    env.patch("pads", &deleted_name, json!({"spec": {"deletionPolicy": "Delete"}})).await;

    // Prevents sync from creating a replacement Pad.
    env.lever.remove_tag(&deleted, TAG);

    // The first request with the key is slow: Pads that are reconciled in the meantime must wait for its result.
    let held =
        env.interview.faults().add(Fault::on("GET", "^/api/organization$").pause(PausePoint::BeforeEffect));
    env.set_secret("interview-api-key", FOREIGN).await;
    must_finish("the new key is tried", held.reached()).await;
    env.request("pads", &kept_name).await;
    env.delete("pads", &deleted_name).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(used_for(&env).is_empty(), "{:?}", used_for(&env));
    held.remove();

    let connection = env.wait_for("leverconnections", CONNECTION, "Ready", "False/OrganizationChanged").await;
    assert_eq!(brief(&connection, "Stalled"), "True/OrganizationChanged");
    assert_eq!(brief(&connection, "InterviewConnected"), "False/OrganizationChanged");
    assert_eq!(connection["status"]["organization"], "Northwind");
    let message = message_of(&connection, "Ready");
    for part in ["'Northwind'", "'Southwind'", "accept-organization=\"Southwind\" --overwrite"] {
        assert!(message.contains(part), "{message}");
    }

    // Another process reads it from the status. Webhooks are stored, retries and syncs are requested.
    env.operator().kill().await;
    env.operator().start().await;
    let late = env.candidate();
    env.enter(&late).await;
    env.request("pads", &kept_name).await;
    env.request("leverconnections", CONNECTION).await;
    env.wait_for_pad(&late, "Pending/ConnectionNotReady").await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(phase(&pad_named(&env, &kept_name).await), "Open/Open");
    assert_eq!(phase(&pad_named(&env, &deleted_name).await), "Pending/ConnectionNotReady");
    assert_eq!(used_for(&env), ["GET /api/organization"]);
    assert_eq!(env.interview.live_pads().len(), 2);

    env.set_secret("interview-api-key", &right_key("other-organization")).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    env.wait_for_one_pad(&late).await;
    env.wait_for_one_pad(&kept).await;
    eventually("the deletion is finished", async || {
        let left = env.pads_of(&deleted).await;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
    })
    .await;
    assert!(env.created_pads_of(&deleted).iter().all(|pad| pad.deleted));
    assert_eq!(used_for(&env), ["GET /api/organization"]);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_organization_is_accepted_by_its_exact_name() {
    let env = TestEnv::start(Options::new("accepted-organization")).await;
    let owner = "owner@northwind.example";
    env.interview.set_key(FOREIGN, owner, KeyRole::Elsewhere);
    env.interview.change_settings(|settings| settings.organization_id = Some(42));
    env.sync().await;
    assert_eq!(env.get("leverconnections", CONNECTION).await["status"]["organizationID"], "42");
    // A new name of the same organization changes nothing else.
    env.interview.rename_organization("Northwind Ltd");
    env.sync().await;
    let connection = env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    assert_eq!(connection["status"]["organization"], "Northwind Ltd");

    env.set_secret("interview-api-key", FOREIGN).await;
    let connection = env.wait_for("leverconnections", CONNECTION, "Ready", "False/OrganizationChanged").await;
    assert!(message_of(&connection, "Ready").contains("'Southwind' (ID 43)"), "{connection:#}");
    accept(&env, "southwind").await;
    env.request("leverconnections", CONNECTION).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "False/OrganizationChanged").await;

    // No reconcile request: the annotation is enough.
    accept(&env, OTHER_ORGANIZATION).await;
    let connection = env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    let status = &connection["status"];
    assert_eq!(
        (&status["organization"], &status["organizationID"]),
        (&json!(OTHER_ORGANIZATION), &json!("43"))
    );
    env.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;

    // Changing back is another change, which is accepted in the same way.
    env.set_secret("interview-api-key", &right_key("accepted-organization")).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "False/OrganizationChanged").await;
    accept(&env, "Northwind Ltd").await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    env.finish().await;
}
