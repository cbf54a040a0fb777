//! The chart, in a cluster of its own: installed as users install it, with exactly the rights that it gives.

use serde_json::{Value, json};

use crate::cluster::{Cluster, source};
use crate::process::Operator;
use crate::status::message_of;
use crate::wait::eventually;
use crate::world::{CONNECTION, Options, SECRET, World};

const RELEASE: &str = "pads";

/// Installs the chart as it is in the repository, or upgrades it.
pub async fn helm(world: &World, command: &str, values: &[String]) {
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
pub async fn deployed(world: &World) -> (Vec<String>, String) {
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
    eventually("there is a Warning Event", async || {
        let events = world.list("events").await;
        let found =
            events.iter().any(|event| event["reason"] == "StageNotFound" && event["type"] == "Warning");
        if found { Ok(()) } else { Err(format!("{events:#?}")) }
    })
    .await;
    world.patch("padconfigurations", "phone-screen", json!({"spec": {"stage": "Phone Screen"}})).await;
    world.wait_for("padconfigurations", "phone-screen", "Ready", "True/InUse").await;

    // The same for the whole cluster.
    let values = [values, vec!["clusterWide=true".to_owned()]].concat();
    helm(&world, "upgrade", &values).await;
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

    managed_webhooks_are_a_value(&world, &values).await;

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

/// Without the value the operator has no right to write a Secret, and says which value to set.
async fn managed_webhooks_are_a_value(world: &World, values: &[String]) {
    let mode = async |mode: &str, secret: &str| {
        let reference = json!({"name": secret, "key": "lever-signing-token"});
        let spec = json!({"spec": {"webhook": {"mode": mode, "signingTokenSecretRef": reference}}});
        world.patch("leverconnections", CONNECTION, spec).await;
    };
    mode("Managed", "lever-webhook").await;
    let refused = "False/ManagedWebhooksDisabled";
    let connection = world.wait_for("leverconnections", CONNECTION, "WebhookVerified", refused).await;
    let message = message_of(&connection, "WebhookVerified");
    assert!(message.contains("managedWebhooks.enabled"), "{message}");
    assert_eq!(world.lever.webhooks().len(), 1, "the one that a person made");

    helm(world, "upgrade", &[values, &["managedWebhooks.enabled=true".to_owned()]].concat()).await;
    let expected = "False/AwaitingVerification";
    world.wait_for("leverconnections", CONNECTION, "WebhookVerified", expected).await;
    let webhooks = world.lever.webhooks();
    assert_eq!(webhooks.len(), 2);
    world.keep_private(webhooks[1]["signatureToken"].as_str().unwrap());
    mode("Manual", SECRET).await;
    eventually("the webhook and the finalizer are gone", async || {
        let connection = world.get("leverconnections", CONNECTION).await;
        let is_free = connection["metadata"]["finalizers"].is_null();
        if is_free && world.lever.webhooks().len() == 1 { Ok(()) } else { Err(format!("{connection:#}")) }
    })
    .await;
}
