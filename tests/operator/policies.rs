//! Admission policies that reject what the operator must store.

use serde_json::json;

use crate::cluster::Cluster;
use crate::environment::{Options, TestEnv};
use crate::status::{message_of, phase};
use crate::wait::eventually;

/// Policy that rejects updates of Pads by this user while they add a finalizer.
fn policy(user: &str) -> String {
    let rules = json!([{"apiGroups": ["padoperator.dev"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["pads"]}]);
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "no-finalizers"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": rules},
            "validations": [{
                "expression": format!("request.userInfo.username != '{user}' || !has(object.metadata.finalizers)"),
                "message": "finalizers need a ticket",
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "no-finalizers"},
        "spec": {"policyName": "no-finalizers", "validationActions": ["Deny"]},
    });
    format!("{policy}\n---\n{binding}")
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_write_is_reported_on_the_pad_and_retried() {
    let env = TestEnv::start_in(Cluster::with_crds().await, Options::new("policy")).await;
    let manifests = policy(&env.user(0));
    env.cluster.kubectl(&["apply", "--filename", "-"], Some(&manifests)).await.unwrap();
    // A policy takes effect some time after it is stored.
    eventually("the policy is in effect", async || {
        let candidate = env.candidate();
        env.enter(&candidate).await;
        let found = eventually("the Pad is decided", async || {
            let pad = env.pads_of(&candidate).await.pop().ok_or("none")?;
            let phase = phase(&pad);
            if ["Open/Open", "Pending/WriteRefused"].contains(&phase.as_str()) { Ok(pad) } else { Err(phase) }
        })
        .await;
        if phase(&found) == "Open/Open" { Err("not yet".into()) } else { Ok(()) }
    })
    .await;

    let (candidate, creates) = (env.candidate(), env.creates());
    env.enter(&candidate).await;
    let pad = env.wait_for_pad(&candidate, "Pending/WriteRefused").await;
    let message = message_of(&pad, "Ready");
    assert!(message.contains("finalizers need a ticket"), "{message}");
    let name = pad["metadata"]["name"].as_str().unwrap();
    let log = env.operators[0].logged();
    let line = log.lines().find(|line| line.contains(name) && line.contains("finalizers need a ticket"));
    assert!(line.is_some_and(|line| line.contains("\"level\":\"WARN\"") && line.contains("policy")), "{log}");
    assert_eq!(env.creates(), creates, "nothing was sent");

    let policy = ["delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "no-finalizers"];
    env.cluster.kubectl(&policy, None).await.unwrap();
    eventually("the policy is no longer in effect", async || {
        let candidate = env.candidate();
        env.enter(&candidate).await;
        eventually("the Pad is decided", async || {
            let pad = env.pads_of(&candidate).await.pop().ok_or("none")?;
            let phase = phase(&pad);
            if ["Open/Open", "Pending/WriteRefused"].contains(&phase.as_str()) {
                Ok(phase)
            } else {
                Err(phase)
            }
        })
        .await
        .strip_prefix("Open")
        .map(|_| ())
        .ok_or("not yet".into())
    })
    .await;
    env.request("pads", name).await;
    env.wait_for_one_pad(&candidate).await;
    env.finish().await;
}
