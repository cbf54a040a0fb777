//! Objects that the API server accepts but the operator cannot decode: only they are affected, and logs name them.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, objects};
use crate::environment::{CONFIGURATION, CONNECTION, Options, TestEnv};
use crate::plugin::Kubectl;
use crate::wait::eventually;

/// Sets fields of a status without decoding the response.
async fn set_status(env: &TestEnv, plural: &str, name: &str, status: Value) {
    let api = objects(&env.client, env.namespace, plural);
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

/// Moves a candidate out of the stage and back.
async fn enter_again(env: &TestEnv, candidate: &str) -> Value {
    env.lever.move_to_stage(candidate, "Onsite").await;
    env.enter(candidate).await
}

async fn logs(env: &TestEnv, name: &str, field: &str) {
    eventually(&format!("the log names {name} and {field}"), async || {
        let log = env.operators[0].logged();
        let named = log.lines().any(|line| {
            line.contains(&format!("\"name\":\"{name}\""))
                && line.contains(field)
                && line.contains(env.namespace)
        });
        if named { Ok(()) } else { Err("no such line".into()) }
    })
    .await;
}

async fn metric(env: &TestEnv, line: &str) {
    eventually(line, async || {
        let (_, metrics) = env.operators[0].get("/metrics").await.map_err(|error| error.to_string())?;
        if metrics.lines().any(|one| one == line) { Ok(()) } else { Err(metrics) }
    })
    .await;
}

/// A date that no program can read, and a list in place of a time: API servers accept both.
#[tokio::test(flavor = "multi_thread")]
async fn invalid_time_in_one_status_affects_no_other_pad() {
    let mut env = TestEnv::start(Options::new("odd-times")).await;
    let (first, second) = (env.candidate(), env.candidate());
    for candidate in [&first, &second] {
        env.enter(candidate).await;
        env.wait_for_one_pad(candidate).await;
    }
    let name = |pads: &[Value]| pads[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let (far, list) = (name(&env.pads_of(&first).await), name(&env.pads_of(&second).await));
    set_status(&env, "pads", &far, json!({"createdAt": "9999-12-31T23:59:59Z"})).await;
    set_status(&env, "pads", &list, json!({"entryAt": ["2026-01-01T00:00:00Z"]})).await;
    set_status(&env, "leverconnections", CONNECTION, json!({"lastSyncAt": "9999-12-30T21:00:00Z"})).await;
    set_status(&env, "padconfigurations", CONFIGURATION, json!({"effectiveSince": [[]]})).await;
    logs(&env, &far, "status.createdAt").await;
    logs(&env, &list, "status.entryAt").await;
    metric(&env, "pad_operator_undecodable_objects{kind=\"Pad\",effect=\"partly\"} 2").await;

    // Others are not affected, neither immediately nor after a restart.
    for restart in [false, true] {
        if restart {
            env.operator().terminate().await;
            env.operator().start().await;
        }
        let candidate = env.candidate();
        assert_eq!(env.enter(&candidate).await["outcome"], "Accepted");
        env.wait_for_one_pad(&candidate).await;
    }
    let again = enter_again(&env, &first).await;
    assert_eq!(again["outcome"], "Accepted", "{again}");
    env.finish().await;
}

/// An object of a newer version of the CustomResourceDefinitions, as after a rollback of the operator.
#[tokio::test(flavor = "multi_thread")]
async fn undecodable_object_is_skipped_and_its_deliveries_are_accepted() {
    let cluster = Cluster::with_crds().await;
    let mut env = TestEnv::start_in(cluster, Options::new("odd-object")).await;
    let (odd, healthy) = (env.candidate(), env.candidate());
    for candidate in [&odd, &healthy] {
        env.enter(candidate).await;
        env.wait_for_one_pad(candidate).await;
    }
    let crd = "customresourcedefinition/pads.padoperator.dev";
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/deletionPolicy/enum/-";
    let patch = json!([{"op": "add", "path": path, "value": "Hold"}]).to_string();
    env.cluster.kubectl(&["patch", crd, "--type=json", "--patch", &patch], None).await.unwrap();
    let name = env.pads_of(&odd).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    eventually("the API server accepts it", async || {
        let patch = json!({"spec": {"deletionPolicy": "Hold"}}).to_string();
        env.kubectl(&["patch", "pad", &name, "--type=merge", "--patch", &patch]).await
    })
    .await;
    logs(&env, &name, "spec.deletionPolicy").await;
    metric(&env, "pad_operator_undecodable_objects{kind=\"Pad\",effect=\"skipped\"} 1").await;

    env.operator().terminate().await;
    env.operator().start().await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    // A sync finds the candidate without a decodable Pad, and does not stop.
    env.sync().await;
    let again = enter_again(&env, &odd).await;
    assert_eq!(again, json!({"outcome": "Accepted", "pads": [name]}));
    let status = Kubectl::new(&env).pad(&["status"]).await.unwrap();
    assert!(status.contains(&format!("Pad {}/{name}: spec.deletionPolicy", env.namespace)), "{status}");

    // As soon as it decodes, it is reconciled again.
    let patch = json!({"spec": {"deletionPolicy": "Retain"}}).to_string();
    env.kubectl(&["patch", "pad", &name, "--type=merge", "--patch", &patch]).await.unwrap();
    metric(&env, "pad_operator_undecodable_objects{kind=\"Pad\",effect=\"skipped\"} 0").await;
    eventually("the delivery is handled", async || {
        let pad = env.get("pads", &name).await;
        let asked = &pad["metadata"]["annotations"]["padoperator.dev/reconcile-requested-at"];
        if !asked.is_null() && pad["status"]["lastHandledReconcileAt"] == *asked {
            Ok(())
        } else {
            Err(format!("{pad:#}"))
        }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(env.created_pads_of(&odd).len(), 1);
    env.finish().await;
}
