//! `helm upgrade` while candidates enter their stage: as the Deployment specifies, a new replica is ready before an old
//! one stops, and nothing is lost or duplicated.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use simulators::DeliveryOutcome;

use super::{CHART, Deployed, RELEASE, deployed, groups};
use crate::cluster::{Cluster, source};
use crate::effects::links_added;
use crate::environment::{CONNECTION, Options, STAGE, TestEnv};
use crate::process::Operator;
use crate::status::phase;
use crate::tcp_proxy::TcpProxy;
use crate::wait::{eventually, must_finish};
use testkit::resources::merge;

/// Time between two candidates.
const PACE: Duration = Duration::from_millis(150);
/// Candidates between two steps of the rollout.
const BETWEEN: usize = 8;
/// Field that the previous release did not have.
const NEW_FIELD: &str = "performAs";

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => _ = std::fs::copy(entry.path(), target).unwrap(),
        }
    }
}

/// Creates an older version of the chart, whose CustomResourceDefinition lacks a field.
fn older_chart(env: &TestEnv) -> String {
    let folder = env.cluster.plane.folder().join("older");
    copy(Path::new(&source(CHART)), &folder);
    let change = |file: &str, change: &dyn Fn(&mut Value)| {
        let file = folder.join(file);
        let mut value: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        change(&mut value);
        std::fs::write(file, serde_yaml_ng::to_string(&value).unwrap()).unwrap();
    };
    change("Chart.yaml", &|chart| {
        (chart["version"], chart["appVersion"]) = (json!("0.0.9"), json!("0.0.9"));
    });
    change("files/crds/padoperator.dev_leverconnections.yaml", &|crd| {
        let lever = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/lever/properties";
        let fields = crd.pointer_mut(lever).unwrap().as_object_mut().unwrap();
        assert!(fields.remove(NEW_FIELD).is_some());
    });
    folder.display().to_string()
}

async fn helm_upgrade(env: &TestEnv, chart: &str, values: &Value) {
    let arguments = [
        "upgrade",
        "--install",
        RELEASE,
        chart,
        "--namespace",
        env.namespace,
        "--create-namespace",
        "--values=-",
    ];
    env.cluster.run("helm", &arguments, Some(&values.to_string())).await.unwrap();
}

async fn has_new_field(env: &TestEnv) -> bool {
    let explain = ["explain", &format!("leverconnections.spec.lever.{NEW_FIELD}")];
    env.kubectl(&explain).await.is_ok()
}

/// Moves candidates into the stage, one after another, without waiting for the result.
async fn load(env: &TestEnv, entered: &mut Vec<(String, Vec<usize>)>) {
    for _ in 0..BETWEEN {
        let candidate = env.candidate();
        let moved = env.lever.move_to_stage(&candidate, STAGE).await;
        entered.push((candidate, moved.deliveries));
        tokio::time::sleep(PACE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_upgrade_under_load_loses_nothing() {
    let mut options = Options::new("upgrade");
    // Two replicas, and one more during a rollout.
    options.replicas = 3;
    options.lever.retry_delays = [1, 2, 4, 8, 16].map(Duration::from_secs).to_vec();
    let mut env = TestEnv::prepare(Cluster::start().await, &options).await;
    let values = |more: Value| {
        let mut values = json!({"image": {"repository": "registry.example.com/pad-operator"},
            "publicURL": "https://hooks.example.com",
            "allowApiOrigins": [env.lever.origin(), env.interview.origin()]});
        merge(&mut values, &more);
        values
    };
    let (older, newer) =
        (values(json!({})), values(json!({"logFormat": "text", "extraArgs": ["--concurrency=16"]})));

    helm_upgrade(&env, &older_chart(&env), &older).await;
    let (user, groups) = (deployed(&env).await.user(env.namespace), groups(env.namespace));
    let groups = groups.each_ref().map(String::as_str);
    let start = async |env: &TestEnv, deployed: Deployed| {
        let mut operator = Operator::new(&env.cluster, &user, &groups).await;
        deployed.configure(&mut operator);
        operator.start().await;
        operator
    };
    for _ in 0..2 {
        let operator = start(&env, deployed(&env).await).await;
        env.operators.push(operator);
    }
    assert!(!has_new_field(&env).await);

    // The Service: it forwards to any current or future replica that listens.
    let mut new: Vec<Operator> = Vec::new();
    for _ in 0..2 {
        new.push(Operator::new(&env.cluster, &user, &groups).await);
    }
    let ports = env.operators.iter().chain(&new).map(|operator| operator.webhooks).collect();
    let service = TcpProxy::to_any("http", ports).await;
    env.create_resources(options).await;
    for webhook in env.lever.webhooks() {
        env.lever.remove_webhook(webhook["id"].as_str().unwrap());
    }
    let url = format!("{}/webhooks/lever/{}/{CONNECTION}", service.url(), env.namespace);
    env.lever.set_webhook(&url, &env.signing_token);

    let mut entered = Vec::new();
    load(&env, &mut entered).await;
    helm_upgrade(&env, &source(CHART), &newer).await;
    for mut operator in new {
        load(&env, &mut entered).await;
        deployed(&env).await.configure(&mut operator);
        operator.start().await;
        env.operators.push(operator);
        load(&env, &mut entered).await;
        // An old replica is stopped during the upgrade, while another one is ready all the time.
        let mut old = env.operators.remove(0);
        old.terminate().await;
        load(&env, &mut entered).await;
    }
    assert!(has_new_field(&env).await, "the CustomResourceDefinitions are upgraded too");
    let lease = env.get("leases", "pad-operator").await;
    let leader = lease["spec"]["holderIdentity"].as_str().unwrap().split('_').nth(1).unwrap();
    let new: Vec<_> = env.operators.iter().map(|operator| operator.id().unwrap().to_string()).collect();
    assert!(new.iter().any(|id| id == leader), "a new replica leads: {lease:#}");

    let mut retried = 0;
    for (candidate, deliveries) in &entered {
        for number in deliveries {
            let delivery = must_finish("it is delivered", env.lever.wait_for_delivery(*number)).await;
            assert_eq!(delivery.outcome, DeliveryOutcome::Received, "{delivery:#?}");
            retried += usize::from(delivery.attempts.len() > 1);
        }
        env.wait_for_one_pad(candidate).await;
        let made = env.created_pads_of(candidate);
        assert_eq!((made.len(), links_added(&env, candidate).len()), (1, 1), "{made:#?}");
    }
    eventually("all Pads are open", async || {
        let phases: Vec<_> = env.list("pads").await.iter().map(phase).collect();
        let is_done = phases.len() == entered.len() && phases.iter().all(|phase| phase == "Open/Open");
        if is_done { Ok(()) } else { Err(format!("{phases:?}")) }
    })
    .await;
    assert_eq!(env.creates(), entered.len());
    let memory: Vec<_> = env.operators.iter().map(Operator::memory).collect();
    println!(
        "upgrade: {} candidates, {} pads, 0 lost, 0 duplicate, {retried} deliveries retried, {memory:?} KiB",
        entered.len(),
        env.creates()
    );
    env.finish().await;
}
