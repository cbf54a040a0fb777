//! Loss of the cluster: all Pads are restored from a backup, or none. The operator finds the existing pads and links.

use futures::future::join_all;
use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};
use simulators::PadView;

use crate::cluster::objects;
use crate::effects::links_added;
use crate::environment::{Options, TestEnv};
use crate::wait::eventually;

/// Candidates with an open pad each.
async fn open_pads(env: &TestEnv, count: usize) -> Vec<(String, PadView)> {
    let candidates: Vec<_> = (0..count).map(|_| env.candidate()).collect();
    join_all(candidates.iter().map(|candidate| env.enter(candidate))).await;
    let pads = join_all(candidates.iter().map(|candidate| env.wait_for_one_pad(candidate))).await;
    candidates.into_iter().zip(pads).collect()
}

/// Deletes every Pad, and waits until none is left.
async fn delete_all(env: &TestEnv) {
    for pad in env.list("pads").await {
        env.delete("pads", pad["metadata"]["name"].as_str().unwrap()).await;
    }
    eventually("no Pad is left", async || {
        let left = env.list("pads").await;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
    })
    .await;
}

/// Asserts that each candidate has the previous pad and link, and that nothing else was created.
async fn are_as_before(env: &TestEnv, before: &[(String, PadView)]) {
    for (candidate, pad) in before {
        assert_eq!(env.wait_for_one_pad(candidate).await.id, pad.id);
        assert_eq!(links_added(env, candidate).len(), 1);
    }
    assert_eq!(env.creates(), before.len());
}

/// Returns what a backup tool keeps of an object: neither its status nor metadata of the old cluster.
fn kept(pad: &Value) -> Value {
    let metadata = &pad["metadata"];
    let of_metadata = |field: &str| metadata.get(field).cloned().unwrap_or_default();
    json!({"apiVersion": pad["apiVersion"], "kind": pad["kind"], "spec": pad["spec"], "metadata": {
        "name": of_metadata("name"), "labels": of_metadata("labels"),
        "annotations": of_metadata("annotations"), "finalizers": of_metadata("finalizers"),
    }})
}

/// Backups of different age: of open Pads, of Pads whose pad was being created, and of new Pads.
#[tokio::test(flavor = "multi_thread")]
async fn pads_restored_from_a_backup_adopt_their_previous_pads() {
    const FINALIZER: &str = "padoperator.dev/pad";
    let mut options = Options::new("backup");
    options.flags.push("--leader-election=false");
    let mut env = TestEnv::start(options).await;
    let before = open_pads(&env, 9).await;
    let name_of = |pad: &Value| pad["metadata"]["name"].as_str().unwrap().to_owned();
    for (number, pad) in env.list("pads").await.iter().enumerate() {
        // With a finalizer too: its cleanup must not run when a cluster is lost.
        if number % 2 == 0 {
            let spec = json!({"spec": {"deletionPolicy": "Delete"}});
            env.patch("pads", &name_of(pad), spec).await;
        }
    }
    eventually("the Pads have the finalizer", async || {
        let pads = env.list("pads").await;
        let held = pads.iter().filter(|pad| pad["metadata"]["finalizers"] == json!([FINALIZER])).count();
        if held == 5 { Ok(()) } else { Err(format!("{pads:#?}")) }
    })
    .await;
    let mut backup: Vec<Value> = env.list("pads").await.iter().map(kept).collect();

    env.operator().kill().await;
    for pad in &backup {
        env.patch("pads", &name_of(pad), json!({"metadata": {"finalizers": null}})).await;
    }
    delete_all(&env).await;
    for (number, pad) in backup.iter_mut().enumerate() {
        let metadata = pad["metadata"].as_object_mut().unwrap();
        match number % 3 {
            0 => {}
            1 => {
                let annotations = metadata["annotations"].as_object_mut().unwrap();
                annotations.remove("padoperator.dev/pad-id").unwrap();
                metadata["finalizers"] = json!([FINALIZER]);
            }
            _ => metadata.retain(|field, _| field != "annotations" && field != "finalizers"),
        }
    }
    let api = objects(&env.client, env.namespace, "pads");
    for pad in backup {
        let pad: DynamicObject = serde_json::from_value(pad).unwrap();
        api.create(&PostParams::default(), &pad).await.unwrap();
    }
    env.operator().start().await;
    are_as_before(&env, &before).await;
    env.finish().await;
}

/// Without a backup: Lever's settings page can send every webhook again.
#[tokio::test(flavor = "multi_thread")]
async fn lost_pads_are_recreated_from_rerun_webhooks() {
    let env = TestEnv::start(Options::new("rerun")).await;
    let before = open_pads(&env, 6).await;
    delete_all(&env).await;
    let deliveries = env.lever.deliveries().len();
    // Twice each, as an uncertain person does.
    let reruns = (0..deliveries).chain(0..deliveries).map(|number| env.lever.redeliver(number));
    for attempt in join_all(reruns).await {
        assert_eq!(attempt.status, Some(200), "{attempt:?}");
    }
    are_as_before(&env, &before).await;
    assert_eq!(env.list("pads").await.len(), before.len());
    env.finish().await;
}
