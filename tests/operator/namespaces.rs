//! Several namespaces, one of which the operator may not list.

use serde_json::json;

use crate::cluster::Cluster;
use crate::environment::{CONNECTION, Options, TestEnv};
use crate::process::Operator;
use crate::wait::{eventually, eventually_within};
use std::time::Duration;

async fn permit(cluster: &Cluster, namespace: &str, user: &str) {
    let user = format!("--user={user}");
    let bind = ["create", "rolebinding", "operator", "--clusterrole=cluster-admin", &user];
    cluster.kubectl(&[&["--namespace", namespace], &bind[..]].concat(), None).await.unwrap();
}

/// contract W6
#[tokio::test(flavor = "multi_thread")]
async fn forbidden_namespace_is_reported_and_the_others_are_served() {
    let mut env = TestEnv::start(Options::new("permitted")).await;
    let cluster = env.cluster.clone();
    let forbidden = cluster.namespace("forbidden");
    cluster.create_namespace(forbidden).await;
    env.operator().terminate().await;

    let user = "pad-operator-of-two-namespaces";
    let mut operator = Operator::new(&cluster, user, &[]).await;
    permit(&cluster, env.namespace, user).await;
    let public_url = format!("--public-url=http://127.0.0.1:{}", env.operators[0].webhooks);
    let mut arguments = env.arguments(&[&public_url], operator.webhooks);
    arguments.push(format!("--namespace={forbidden}"));
    operator.set_arguments(arguments);
    operator.start().await;
    env.send_to(&operator);
    let candidate = env.candidate();
    assert_eq!(env.enter(&candidate).await["outcome"], "Accepted");
    env.wait_for_one_pad(&candidate).await;

    let line = format!("warning resources: Pads in {forbidden} are not served: ");
    let page = eventually("it is reported", async || {
        let (status, page) = operator.get("/readyz?verbose").await.map_err(|error| error.to_string())?;
        if status == 200 && page.contains(&line) { Ok(page) } else { Err(format!("{status} {page}")) }
    })
    .await;
    assert!(page.contains("pads.padoperator.dev is forbidden"), "{page}");
    let series = format!("pad_operator_watch_refused{{namespace=\"{forbidden}\",kind=\"Pads\"}} 1");
    let (_, metrics) = operator.get("/metrics").await.unwrap();
    assert!(metrics.contains(&series), "{metrics}");
    assert!(operator.logged().contains("API server refuses to list or watch"), "{}", operator.logged());
    let attempt = env.lever.deliver_raw("{}").await;
    assert_eq!(attempt.status, Some(400), "the permitted namespace: {attempt:?}");

    permit(&cluster, forbidden, user).await;
    let reference = |key: &str| json!({"name": "none", "key": key});
    let connection = json!({"apiVersion": "padoperator.dev/v1alpha1", "kind": "LeverConnection",
        "metadata": {"name": CONNECTION, "namespace": forbidden},
        "spec": {"lever": {"apiKeySecretRef": reference("a")}, "interview": {"apiKeySecretRef": reference("b")}}});
    cluster.kubectl(&["apply", "--filename", "-"], Some(&connection.to_string())).await.unwrap();
    // The watches are retried at least every 30 s, plus jitter.
    eventually_within(Duration::from_secs(100), "it is served as soon as it is permitted", async || {
        let reason = ["get", "leverconn", CONNECTION, "--output=jsonpath={.status.conditions[*].reason}"];
        let reason = cluster.kubectl(&[&["--namespace", forbidden], &reason[..]].concat(), None).await?;
        let (status, page) = operator.get("/readyz").await.map_err(|error| error.to_string())?;
        let is_served = status == 200 && !page.contains("warning") && reason.contains("SecretNotFound");
        if is_served { Ok(()) } else { Err(format!("{reason} {status} {page}")) }
    })
    .await;
    operator.terminate().await;
    env.operator().start().await;
    env.finish().await;
}
