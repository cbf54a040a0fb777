//! The chart, in a cluster of its own: installed as users install it, with exactly the rights that it gives.

use serde_json::{Value, json};

use crate::cluster::{Cluster, source};
use crate::process::Operator;
use crate::world::{CONNECTION, Options, World};

const RELEASE: &str = "pads";

async fn helm(world: &World, command: &str, values: &[String]) {
    let chart = source("charts/pad-operator");
    let mut arguments = vec![command, RELEASE, &chart, "--namespace", world.namespace, "--create-namespace"];
    if command == "upgrade" {
        arguments.push("--install");
    }
    for value in values {
        arguments.extend(["--set", value]);
    }
    world.cluster.run("helm", &arguments, None).await.unwrap();
}

/// The arguments of the Deployment, and its ServiceAccount.
async fn deployed(world: &World) -> (Vec<String>, String) {
    let text = world.kubectl(&["get", "deployments", "--output", "json"]).await.unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list:#}");
    let pod = &list["items"][0]["spec"]["template"]["spec"];
    let arguments: Vec<String> = serde_json::from_value(pod["containers"][0]["args"].clone()).unwrap();
    assert_eq!(arguments[0], "run");
    // The test has addresses of its own.
    let is_address =
        |flag: &String| flag.starts_with("--webhook-address") || flag.starts_with("--admin-address");
    let arguments = arguments.into_iter().skip(1).filter(|flag| !is_address(flag)).collect();
    (arguments, pod["serviceAccountName"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_charts_rights_suffice_for_the_main_job() {
    let cluster = Cluster::start().await;
    let chart = source("charts/pad-operator");
    let lint = ["lint", "--strict", &chart, "--set", "image.repository=registry.example.com/pad-operator"];
    cluster.run("helm", &lint, None).await.unwrap();

    let options = Options::new("chart");
    let mut world = World::prepare(cluster, &options).await;
    let values = vec![
        "image.repository=registry.example.com/pad-operator".to_owned(),
        format!("allowApiOrigins={{{},{}}}", world.lever.origin(), world.interview.origin()),
    ];
    helm(&world, "install", &values).await;
    let (arguments, account) = deployed(&world).await;
    let user = format!("system:serviceaccount:{}:{account}", world.namespace);
    let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{}", world.namespace)];
    let mut operator = Operator::new(&world.cluster, &user, &groups.each_ref().map(String::as_str)).await;
    let public = format!("--public-url=http://127.0.0.1:{}", operator.webhooks);
    operator.set_arguments([arguments, vec![public.clone()]].concat());
    operator.start().await;
    world.operators.push(operator);
    world.set_up(options).await;

    the_main_job(&world).await;
    // Deleting what has a finalizer, and a Warning Event, need rights of their own.
    let stale = world.candidate();
    world.patch("padconfigurations", "phone-screen", json!({"spec": {"deletionPolicy": "Delete"}})).await;
    world.wait_for("padconfigurations", "phone-screen", "Ready", "True/InUse").await;
    world.enter(&stale).await;
    let pad = world.wait_for_pad(&stale, "Open/Open").await;
    let delete = ["delete", "pad", pad["metadata"]["name"].as_str().unwrap(), "--timeout=60s"];
    world.kubectl(&delete).await.unwrap();
    world.patch("padconfigurations", "phone-screen", json!({"spec": {"stage": "Nowhere"}})).await;
    world.wait_for("padconfigurations", "phone-screen", "Ready", "False/StageNotFound").await;
    crate::wait::eventually("there is a Warning Event", async || {
        let events = world.list("events").await;
        let found =
            events.iter().any(|event| event["reason"] == "StageNotFound" && event["type"] == "Warning");
        if found { Ok(()) } else { Err(format!("{events:#?}")) }
    })
    .await;
    world.patch("padconfigurations", "phone-screen", json!({"spec": {"stage": "Phone Screen"}})).await;
    world.wait_for("padconfigurations", "phone-screen", "Ready", "True/InUse").await;

    // The same for the whole cluster.
    helm(&world, "upgrade", &[values, vec!["clusterWide=true".to_owned()]].concat()).await;
    let (arguments, _) = deployed(&world).await;
    assert!(!arguments.iter().any(|flag| flag.starts_with("--namespace")), "{arguments:?}");
    world.operator().terminate().await;
    world.operator().set_arguments([arguments, vec![public]].concat());
    world.operator().start().await;
    the_main_job(&world).await;

    let events = world.cluster.plane.audit_events().await.unwrap();
    let refused: Vec<_> = events
        .iter()
        .filter(|event| event["user"]["username"] == *user && event["responseStatus"]["code"] == 403)
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(events.iter().any(|event| event["user"]["username"] == *user), "it is somebody in the log");

    world.cluster.run("helm", &["uninstall", RELEASE, "--namespace", world.namespace], None).await.unwrap();
    let left =
        world.kubectl(&["get", "deployments,services,roles,serviceaccounts", "-o", "name"]).await.unwrap();
    assert_eq!(left.trim(), "serviceaccount/default");
    world.get("leverconnections", CONNECTION).await;
    assert_eq!(world.list("pads").await.len(), 2);
    let kinds = world.cluster.kubectl(&["get", "crds", "--output", "name"], None).await.unwrap();
    assert_eq!(kinds.lines().count(), 3, "{kinds}");

    // It has no rights any more; it must not end in disorder all the same.
    world.finish().await;
}

async fn the_main_job(world: &World) {
    let candidate = world.candidate();
    world.enter(&candidate).await;
    world.wait_for_one_pad(&candidate).await;
}
