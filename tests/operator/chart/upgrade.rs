//! `helm upgrade` while candidates enter their stage: as the Deployment specifies, a new replica is ready before an old
//! one stops, and nothing is lost or duplicated.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use simulators::DeliveryOutcome;

use super::{CHART, Deployed, RELEASE, deployed, groups};
use crate::cluster::{Cluster, source};
use crate::effects::links_added;
use crate::environment::{CONNECTION, Options, STAGE, World, merge};
use crate::process::Operator;
use crate::status::phase;
use crate::tcp_proxy::Link;
use crate::wait::{eventually, soon};

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
fn older_chart(world: &World) -> String {
    let folder = world.cluster.plane.folder().join("older");
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

async fn helm_upgrade(world: &World, chart: &str, values: &Value) {
    let arguments = [
        "upgrade",
        "--install",
        RELEASE,
        chart,
        "--namespace",
        world.namespace,
        "--create-namespace",
        "--values=-",
    ];
    world.cluster.run("helm", &arguments, Some(&values.to_string())).await.unwrap();
}

async fn knows_the_new_field(world: &World) -> bool {
    let explain = ["explain", &format!("leverconnections.spec.lever.{NEW_FIELD}")];
    world.kubectl(&explain).await.is_ok()
}

/// Moves candidates into the stage, one after another, without waiting for the result.
async fn load(world: &World, entered: &mut Vec<(String, Vec<usize>)>) {
    for _ in 0..BETWEEN {
        let candidate = world.candidate();
        let moved = world.lever.move_to_stage(&candidate, STAGE).await;
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
    let mut world = World::prepare(Cluster::start().await, &options).await;
    let values = |more: Value| {
        let mut values = json!({"image": {"repository": "registry.example.com/pad-operator"},
            "publicURL": "https://hooks.example.com",
            "allowApiOrigins": [world.lever.origin(), world.interview.origin()]});
        merge(&mut values, &more);
        values
    };
    let (older, newer) =
        (values(json!({})), values(json!({"logFormat": "text", "extraArgs": ["--concurrency=16"]})));

    helm_upgrade(&world, &older_chart(&world), &older).await;
    let (user, groups) = (deployed(&world).await.user(world.namespace), groups(world.namespace));
    let groups = groups.each_ref().map(String::as_str);
    let start = async |world: &World, deployed: Deployed| {
        let mut operator = Operator::new(&world.cluster, &user, &groups).await;
        deployed.configure(&mut operator);
        operator.start().await;
        operator
    };
    for _ in 0..2 {
        let operator = start(&world, deployed(&world).await).await;
        world.operators.push(operator);
    }
    assert!(!knows_the_new_field(&world).await);

    // The Service: it forwards to any current or future replica that listens.
    let mut new: Vec<Operator> = Vec::new();
    for _ in 0..2 {
        new.push(Operator::new(&world.cluster, &user, &groups).await);
    }
    let ports = world.operators.iter().chain(&new).map(|operator| operator.webhooks).collect();
    let service = Link::to_any("http", ports).await;
    world.set_up(options).await;
    for webhook in world.lever.webhooks() {
        world.lever.remove_webhook(webhook["id"].as_str().unwrap());
    }
    let url = format!("{}/webhooks/lever/{}/{CONNECTION}", service.url(), world.namespace);
    world.lever.set_webhook(&url, &world.signing_token);

    let mut entered = Vec::new();
    load(&world, &mut entered).await;
    helm_upgrade(&world, &source(CHART), &newer).await;
    for mut operator in new {
        load(&world, &mut entered).await;
        deployed(&world).await.configure(&mut operator);
        operator.start().await;
        world.operators.push(operator);
        load(&world, &mut entered).await;
        // An old replica is stopped during the upgrade, while another one is ready all the time.
        let mut old = world.operators.remove(0);
        old.terminate().await;
        load(&world, &mut entered).await;
    }
    assert!(knows_the_new_field(&world).await, "the CustomResourceDefinitions are upgraded too");
    let lease = world.get("leases", "pad-operator").await;
    let leader = lease["spec"]["holderIdentity"].as_str().unwrap().split('_').nth(1).unwrap();
    let new: Vec<_> = world.operators.iter().map(|operator| operator.id().unwrap().to_string()).collect();
    assert!(new.iter().any(|id| id == leader), "a new replica leads: {lease:#}");

    let mut retried = 0;
    for (candidate, deliveries) in &entered {
        for number in deliveries {
            let delivery = soon("it is delivered", world.lever.wait_for_delivery(*number)).await;
            assert_eq!(delivery.outcome, DeliveryOutcome::Received, "{delivery:#?}");
            retried += usize::from(delivery.attempts.len() > 1);
        }
        world.wait_for_one_pad(candidate).await;
        let made = world.pads_made_for(candidate);
        assert_eq!((made.len(), links_added(&world, candidate).len()), (1, 1), "{made:#?}");
    }
    eventually("all Pads are open", async || {
        let phases: Vec<_> = world.list("pads").await.iter().map(phase).collect();
        let is_done = phases.len() == entered.len() && phases.iter().all(|phase| phase == "Open/Open");
        if is_done { Ok(()) } else { Err(format!("{phases:?}")) }
    })
    .await;
    assert_eq!(world.creates(), entered.len());
    let memory: Vec<_> = world.operators.iter().map(Operator::memory).collect();
    println!(
        "upgrade: {} candidates, {} pads, 0 lost, 0 duplicate, {retried} deliveries retried, {memory:?} KiB",
        entered.len(),
        world.creates()
    );
    world.finish().await;
}
