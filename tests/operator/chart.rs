//! The chart in its own cluster: installed as users install it, with exactly the permissions that it grants.

mod notes;
mod rejected_values;
mod roles;
mod upgrade;
mod values;

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::cluster::{Cluster, source};
use crate::environment::{CONNECTION, Options, SECRET, TestEnv};
use crate::privileges::used;
use crate::process::Operator;
use crate::status::message_of;
use crate::wait::eventually;

const RELEASE: &str = "pads";
pub const CHART: &str = "charts/pad-operator";

/// Returns the rendered chart for these values, or helm's error.
pub async fn render(
    cluster: &Cluster,
    release: &str,
    namespace: &str,
    values: &Value,
) -> Result<Vec<Value>, String> {
    let chart = source(CHART);
    let template = ["template", release, &chart, "--namespace", namespace, "--values=-"];
    cluster.run("helm", &template, Some(&values.to_string())).await.map(|text| documents(&text))
}

/// Returns the objects in a file with several YAML documents.
pub fn documents(text: &str) -> Vec<Value> {
    let documents = serde_yaml_ng::Deserializer::from_str(text).map(|one| Value::deserialize(one).unwrap());
    documents.filter(|document| !document.is_null()).collect()
}

/// Installs or upgrades the chart of the repository.
pub async fn helm(env: &TestEnv, command: &str, values: &[String]) {
    let chart = source("charts/pad-operator");
    let mut arguments = vec![command, RELEASE, &chart, "--namespace", env.namespace, "--create-namespace"];
    if command == "upgrade" {
        arguments.push("--install");
    }
    for value in values {
        arguments.extend(["--set", value]);
    }
    env.cluster.run("helm", &arguments, None).await.unwrap();
}

/// Returns the values for `spec.webhook.mode: Managed`.
pub fn managed_webhooks() -> [String; 2] {
    ["managedWebhooks.enabled=true", "publicURL=https://hooks.example.com"].map(str::to_owned)
}

/// Process of the operator as described by the Deployment.
pub struct Deployed {
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub account: String,
}

/// Reads the Deployment in the environment's namespace.
pub async fn deployed(env: &TestEnv) -> Deployed {
    let text = env.kubectl(&["get", "deployments", "--output", "json"]).await.unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list:#}");
    Deployed::from_deployment(&list["items"][0])
}

impl Deployed {
    /// Reads a Deployment.
    pub fn from_deployment(deployment: &Value) -> Self {
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let arguments: Vec<String> = serde_json::from_value(container["args"].clone()).unwrap();
        assert_eq!(arguments[0], "run");
        // The test has its own addresses.
        let own = ["--webhook-address", "--admin-address", "--public-url"];
        let is_kept = |flag: &String| !own.iter().any(|own| flag.starts_with(own));
        let variables = container["env"].as_array().unwrap().iter().map(|variable| {
            let name = variable["name"].as_str().unwrap().to_owned();
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.namespace") => &deployment["metadata"]["namespace"],
                None => &variable["value"],
                Some(other) => panic!("unknown field {other} of a Pod"),
            };
            (name, value.as_str().unwrap().to_owned())
        });
        Self {
            environment: variables.collect(),
            arguments: arguments.into_iter().skip(1).filter(is_kept).collect(),
            account: pod["serviceAccountName"].as_str().unwrap().to_owned(),
        }
    }

    /// Returns the operator's user for the API server.
    pub fn user(&self, namespace: &str) -> String {
        format!("system:serviceaccount:{namespace}:{}", self.account)
    }

    /// Configures the operator as it is deployed, except for its addresses.
    pub fn configure(self, operator: &mut Operator) {
        let public = format!("--public-url=http://127.0.0.1:{}", operator.webhooks);
        operator.set_arguments([self.arguments, vec![public]].concat());
        operator.set_environment(self.environment);
    }

    /// Starts the operator as it is deployed, with exactly the permissions of its ServiceAccount. Returns its user.
    pub async fn start(self, env: &mut TestEnv) -> String {
        let (user, groups) = (self.user(env.namespace), groups(env.namespace));
        let mut operator = Operator::new(&env.cluster, &user, &groups.each_ref().map(String::as_str)).await;
        self.configure(&mut operator);
        operator.start().await;
        env.operators.push(operator);
        user
    }
}

/// Returns the groups of a namespace's ServiceAccounts.
pub fn groups(namespace: &str) -> [String; 2] {
    ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
}

#[tokio::test(flavor = "multi_thread")]
async fn chart_permissions_suffice_for_the_main_job() {
    let cluster = Cluster::start().await;
    let chart = source("charts/pad-operator");
    let lint = ["lint", "--strict", &chart, "--set", "image.repository=registry.example.com/pad-operator"];
    cluster.run("helm", &lint, None).await.unwrap();

    let options = Options::new("chart");
    let mut env = TestEnv::prepare(cluster, &options).await;
    let values = vec![
        "image.repository=registry.example.com/pad-operator".to_owned(),
        format!("allowApiOrigins={{{},{}}}", env.lever.origin(), env.interview.origin()),
    ];
    helm(&env, "install", &values).await;
    let user = deployed(&env).await.start(&mut env).await;
    env.create_resources(options).await;

    check_main_job(&env).await;
    // Deleting an object with a finalizer and creating a Warning Event need additional permissions.
    let stale = env.candidate();
    env.patch("padconfigurations", "phone-screen", json!({"spec": {"deletionPolicy": "Delete"}})).await;
    env.wait_for("padconfigurations", "phone-screen", "Ready", "True/InUse").await;
    env.enter(&stale).await;
    let pad = env.wait_for_pad(&stale, "Open/Open").await;
    let delete = ["delete", "pad", pad["metadata"]["name"].as_str().unwrap(), "--timeout=60s"];
    env.kubectl(&delete).await.unwrap();
    env.patch("padconfigurations", "phone-screen", json!({"spec": {"stage": "Nowhere"}})).await;
    env.wait_for("padconfigurations", "phone-screen", "Ready", "False/StageNotFound").await;
    eventually("there is a Warning Event", async || {
        let events = env.list("events").await;
        let found =
            events.iter().any(|event| event["reason"] == "StageNotFound" && event["type"] == "Warning");
        if found { Ok(()) } else { Err(format!("{events:#?}")) }
    })
    .await;
    env.patch("padconfigurations", "phone-screen", json!({"spec": {"stage": "Phone Screen"}})).await;
    env.wait_for("padconfigurations", "phone-screen", "Ready", "True/InUse").await;

    // The same for the whole cluster.
    let values = [values, vec!["clusterWide=true".to_owned()]].concat();
    helm(&env, "upgrade", &values).await;
    let deployment = deployed(&env).await;
    assert!(!deployment.environment.iter().any(|(name, _)| name == "PAD_OPERATOR_NAMESPACE"));
    env.operator().terminate().await;
    deployment.configure(env.operator());
    env.operator().start().await;
    check_main_job(&env).await;

    let (rights, refused) = used(&env, &user).await;
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(!rights.is_empty(), "the audit log contains the user");

    managed_webhooks_are_a_value(&env, &values).await;

    env.cluster.run("helm", &["uninstall", RELEASE, "--namespace", env.namespace], None).await.unwrap();
    let left =
        env.kubectl(&["get", "deployments,services,roles,serviceaccounts", "-o", "name"]).await.unwrap();
    assert_eq!(left.trim(), "serviceaccount/default");
    env.get("leverconnections", CONNECTION).await;
    assert_eq!(env.list("pads").await.len(), 2);
    let kinds = env.cluster.kubectl(&["get", "crds", "--output", "name"], None).await.unwrap();
    assert_eq!(kinds.lines().count(), 3, "{kinds}");

    // The operator has no permissions anymore; it must still exit cleanly.
    env.finish().await;
}

async fn check_main_job(env: &TestEnv) {
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
}

/// Without the value the operator may not write a Secret, and reports which value to set.
async fn managed_webhooks_are_a_value(env: &TestEnv, values: &[String]) {
    let mode = async |mode: &str, secret: &str| {
        let reference = json!({"name": secret, "key": "lever-signing-token"});
        let spec = json!({"spec": {"webhook": {"mode": mode, "signingTokenSecretRef": reference}}});
        env.patch("leverconnections", CONNECTION, spec).await;
    };
    mode("Managed", "lever-webhook").await;
    let refused = "False/ManagedWebhooksDisabled";
    let connection = env.wait_for("leverconnections", CONNECTION, "WebhookVerified", refused).await;
    let message = message_of(&connection, "WebhookVerified");
    assert!(message.contains("managedWebhooks.enabled"), "{message}");
    assert_eq!(env.lever.webhooks().len(), 1, "the one that a person made");

    helm(env, "upgrade", &[values, &managed_webhooks()].concat()).await;
    let expected = "False/AwaitingVerification";
    env.wait_for("leverconnections", CONNECTION, "WebhookVerified", expected).await;
    let webhooks = env.lever.webhooks();
    assert_eq!(webhooks.len(), 2);
    env.declare_private(webhooks[1]["signatureToken"].as_str().unwrap());
    mode("Manual", SECRET).await;
    eventually("the webhook and the finalizer are removed", async || {
        let connection = env.get("leverconnections", CONNECTION).await;
        let is_free = connection["metadata"]["finalizers"].is_null();
        if is_free && env.lever.webhooks().len() == 1 { Ok(()) } else { Err(format!("{connection:#}")) }
    })
    .await;
}
