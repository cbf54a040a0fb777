//! The chart grants exactly the permissions that are used: compares the API server's audit log with the Roles.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use simulators::{Fault, FaultAction, NewCandidate};

use crate::chart::{deployed, groups, helm, managed_webhooks};
use crate::cluster::Cluster;
use crate::environment::{CONFIGURATION, CONNECTION, Options, SECRET, TestEnv};
use crate::process::Operator;
use crate::wait::eventually;

/// Permission such as `patch padoperator.dev/pads/status`.
type Rights = BTreeSet<String>;

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap())
}

async fn granted(env: &TestEnv) -> Rights {
    let roles = env.kubectl(&["get", "roles", "--output", "json"]).await.unwrap();
    let roles: Value = serde_json::from_str(&roles).unwrap();
    let rules = roles["items"].as_array().unwrap().iter().flat_map(|role| role["rules"].as_array().unwrap());
    let mut rights = Rights::new();
    for rule in rules {
        for (group, resource) in
            texts(&rule["apiGroups"]).flat_map(|group| texts(&rule["resources"]).map(move |one| (group, one)))
        {
            rights.extend(texts(&rule["verbs"]).map(|verb| format!("{verb} {group}/{resource}")));
        }
    }
    rights
}

/// Returns the permissions that this user has used. Asserts that no request was forbidden.
pub async fn used(env: &TestEnv, user: &str) -> (Rights, Vec<Value>) {
    let events = env.cluster.plane.audit_events().await.unwrap();
    let (mut rights, mut refused) = (Rights::new(), Vec::new());
    for event in events.into_iter().filter(|event| event["user"]["username"] == *user) {
        let text = |field: &str| event["objectRef"][field].as_str().unwrap_or_default();
        let (group, resource, below) = (text("apiGroup"), text("resource"), text("subresource"));
        let below = if below.is_empty() { String::new() } else { format!("/{below}") };
        rights.insert(format!("{} {group}/{resource}{below}", event["verb"].as_str().unwrap()));
        if event["responseStatus"]["code"] == 403 {
            refused.push(event);
        }
    }
    (rights, refused)
}

/// Simulates one conflict, after which the operator reads the current object.
fn conflict_on(path: &str) -> Fault {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "code": 409,
        "message": "the object has been modified"});
    Fault::on("PATCH", path).action(FaultAction::Status { code: 409, body: Some(body) })
}

#[tokio::test(flavor = "multi_thread")]
async fn chart_grants_exactly_the_used_permissions() {
    let options = Options::new("privileges");
    let mut env = TestEnv::prepare(Cluster::start().await, &options).await;
    let values = vec![
        "image.repository=registry.example.com/pad-operator".to_owned(),
        format!("allowApiOrigins={{{},{}}}", env.lever.origin(), env.interview.origin()),
    ];
    helm(&env, "install", &[values.as_slice(), &managed_webhooks()].concat()).await;
    let deployment = deployed(&env).await;
    let (user, groups) = (deployment.user(env.namespace), groups(env.namespace));
    let groups = groups.each_ref().map(String::as_str);
    let relay = env.cluster.relay(&user, &groups).await;
    let mut operator = Operator::with_api_server_url(&relay.origin(), &env.cluster, &user, &groups).await;
    deployment.configure(&mut operator);
    operator.start().await;
    env.operators.push(operator);
    env.create_resources(options).await;

    // The complete main job.
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    env.end_interview(&candidate, &made.id).await;
    env.sync().await;
    // Concurrent writes by others.
    for path in ["/padconfigurations/[^/]+/status$", "/leverconnections/[^/]+/status$", "/pads/[^/]+/status$"]
    {
        relay.faults().add(conflict_on(path));
    }
    let stale = env.add_candidate(NewCandidate::default());
    env.enter(&stale).await;
    env.wait_for_pad(&stale, "Skipped/TagMissing").await;
    // An ended Pad is deleted after its TTL.
    let spec = json!({"spec": {"ttlSecondsAfterSkipped": 0}});
    env.patch("padconfigurations", CONFIGURATION, spec).await;
    env.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;
    env.lever.move_to_stage(&stale, "Onsite").await;
    env.sync().await;
    eventually("it is deleted", async || {
        let pads = env.pads_of(&stale).await;
        if pads.is_empty() { Ok(()) } else { Err(format!("{pads:#?}")) }
    })
    .await;
    // The same problem twice: one Event with a count.
    for (stage, reason) in [
        ("Nowhere", "False/StageNotFound"),
        ("Phone Screen", "True/InUse"),
        ("Nowhere", "False/StageNotFound"),
    ] {
        env.patch("padconfigurations", CONFIGURATION, json!({"spec": {"stage": stage}})).await;
        env.wait_for("padconfigurations", CONFIGURATION, "Ready", reason).await;
    }
    // The operator registers a managed webhook and removes it.
    for (mode, secret) in [("Managed", "lever-webhook"), ("Manual", SECRET)] {
        let reference = json!({"name": secret, "key": "lever-signing-token"});
        let spec = json!({"spec": {"webhook": {"mode": mode, "signingTokenSecretRef": reference}}});
        env.patch("leverconnections", CONNECTION, spec).await;
        let wanted = if mode == "Managed" { 2 } else { 1 };
        eventually("the webhook is registered or removed", async || {
            let connection = env.get("leverconnections", CONNECTION).await;
            let webhooks = env.lever.webhooks();
            let token = webhooks.get(1).and_then(|one| one["signatureToken"].as_str());
            token.into_iter().for_each(|token| env.declare_private(token));
            let is_free = connection["metadata"]["finalizers"].is_null();
            let is_done = webhooks.len() == wanted && is_free == (mode == "Manual");
            if is_done { Ok(()) } else { Err(format!("{connection:#}")) }
        })
        .await;
    }

    // Watches are logged when they have ended.
    env.operator().terminate().await;
    env.operator().start().await;
    let granted = granted(&env).await;
    let used = eventually("all granted permissions are used", async || {
        let (used, refused) = used(&env, &user).await;
        assert!(refused.is_empty(), "{refused:#?}");
        let unused: Vec<_> = granted.difference(&used).collect();
        if unused.is_empty() { Ok(used) } else { Err(format!("{unused:#?}")) }
    })
    .await;
    println!("rights: {} granted, {} used: {used:#?}", granted.len(), used.len());
    let missing: Vec<_> = used.difference(&granted).collect();
    assert!(missing.is_empty(), "used, but not granted by the Roles: {missing:#?}");
    env.finish().await;
}
