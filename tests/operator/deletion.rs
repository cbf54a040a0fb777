//! Deletion of a Pad: what remains, and that it never hangs.

use serde_json::json;
use simulators::{Fault, PausePoint};

use crate::environment::{CONNECTION, Options, TestEnv};
use crate::status::phase;
use crate::wait::{eventually, must_finish};

/// Deletes the only Pad of a candidate and waits until it is gone.
async fn delete_pad(env: &TestEnv, candidate: &str) {
    let name = env.pads_of(candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    env.delete("pads", &name).await;
    is_gone(env, candidate).await;
}

async fn is_gone(env: &TestEnv, candidate: &str) {
    eventually("the Pad is deleted", async || {
        let pads = env.pads_of(candidate).await;
        if pads.is_empty() { Ok(()) } else { Err(format!("{pads:#?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retain_keeps_link_and_pad() {
    let env = TestEnv::start(Options::new("retain")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    delete_pad(&env, &candidate).await;
    assert_eq!(env.lever.links(&candidate), [made.url]);
    assert!(!env.interview.pad(&made.id).unwrap().deleted);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unlink_removes_the_link_and_keeps_the_pad() {
    let options = Options::new("unlink").configuration(json!({"deletionPolicy": "Unlink"}));
    let env = TestEnv::start(options).await;
    let candidate = env.candidate();
    env.lever.add_link(&candidate, "https://example.com/portfolio");
    env.enter(&candidate).await;
    let pad = env.wait_for_pad(&candidate, "Open/Open").await;
    delete_pad(&env, &candidate).await;
    assert_eq!(env.lever.links(&candidate), ["https://example.com/portfolio"]);
    assert!(!env.interview.pad(pad["status"]["padID"].as_str().unwrap()).unwrap().deleted);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_removes_link_and_pad() {
    let options = Options::new("delete").configuration(json!({"deletionPolicy": "Delete"}));
    let env = TestEnv::start(options).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    delete_pad(&env, &candidate).await;
    assert!(env.lever.links(&candidate).is_empty());
    assert!(env.interview.pad(&made.id).unwrap().deleted);

    // The policy of the Pad counts, not that of its configuration, and missing links or pads are no obstacle.
    let second = env.candidate();
    env.enter(&second).await;
    let made = env.wait_for_one_pad(&second).await;
    env.interview.delete_pad(&made.id);
    env.lever.delete(&second);
    delete_pad(&env, &second).await;

    let third = env.candidate();
    env.enter(&third).await;
    let made = env.wait_for_one_pad(&third).await;
    let name = env.pads_of(&third).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    env.patch("pads", &name, json!({"spec": {"deletionPolicy": "Retain"}})).await;
    delete_pad(&env, &third).await;
    assert_eq!(env.lever.links(&third), [made.url]);
    env.finish().await;
}

/// A pad that no one has received yet is removed, whatever the policy.
#[tokio::test(flavor = "multi_thread")]
async fn pad_deleted_during_creation_leaves_nothing() {
    let env = TestEnv::start(Options::new("delete-in-flight")).await;
    let candidate = env.candidate();
    let fault = Fault::on("POST", "^/api/pads/?$").pause(PausePoint::AfterEffect);
    let fault = env.interview.faults().add(fault);
    env.enter(&candidate).await;
    must_finish("the pad is created", fault.reached()).await;
    let name = env.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    env.delete("pads", &name).await;
    assert_eq!(env.pads_of(&candidate).await.len(), 1, "it remains until the creation is resolved");
    fault.discard();
    is_gone(&env, &candidate).await;
    let made = env.created_pads_of(&candidate);
    assert!(made.len() == 1 && made[0].deleted, "{made:#?}");
    assert!(env.lever.links(&candidate).is_empty());
    env.finish().await;
}

/// A repeated webhook creates a new Pad next to a terminating one. The new Pad must not adopt a pad that is about to be
/// deleted.
#[tokio::test(flavor = "multi_thread")]
async fn pad_about_to_be_deleted_is_not_adopted() {
    let options = Options::new("delete-and-repeat").configuration(json!({"deletionPolicy": "Delete"}));
    let env = TestEnv::start(options).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let first = env.wait_for_one_pad(&candidate).await;
    let name = env.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let fault = Fault::on("POST", "/removeLinks$").pause(PausePoint::BeforeEffect);
    let fault = env.lever.faults().add(fault);
    env.delete("pads", &name).await;
    must_finish("its link is about to be removed", fault.reached()).await;

    let delivery = env.lever.deliveries().last().unwrap().number;
    assert_eq!(env.lever.redeliver(delivery).await.status, Some(200));
    eventually("the other Pad waits for it", async || {
        let pads = env.pads_of(&candidate).await;
        let waits = pads.iter().any(|pad| phase(pad) == "Pending/CreateOutcomeUnknown");
        if waits { Ok(()) } else { Err(format!("{pads:#?}")) }
    })
    .await;
    fault.release();
    eventually("the first Pad is deleted", async || {
        env.find("pads", &name).await.map_or(Ok(()), |pad| Err(format!("{pad:#}")))
    })
    .await;
    // Contract P9: that entry had its pad.
    env.wait_for_pad(&candidate, "Skipped/AlreadyServed").await;
    assert_eq!(env.creates(), 1);
    env.lever.move_to_stage(&candidate, "Onsite").await;
    env.enter(&candidate).await;
    assert_ne!(env.wait_for_one_pad(&candidate).await.id, first.id);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_connection_does_not_block_deletion_of_its_pads() {
    let options = Options::new("delete-connection").configuration(json!({"deletionPolicy": "Delete"}));
    let env = TestEnv::start(options).await;
    let [candidate, other] = [(); 2].map(|()| env.candidate());
    for candidate in [&candidate, &other] {
        env.enter(candidate).await;
        env.wait_for_one_pad(candidate).await;
    }
    // A broken connection delays the deletion, and editing the policy releases it.
    env.set_secret("lever-api-key", "lever-0000-broken").await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "False/LeverUnauthorized").await;
    let name = env.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    env.delete("pads", &name).await;
    env.wait_for_pad(&candidate, "Pending/LeverUnauthorized").await;
    env.patch("pads", &name, json!({"spec": {"deletionPolicy": "Retain"}})).await;
    is_gone(&env, &candidate).await;

    env.delete("leverconnections", CONNECTION).await;
    delete_pad(&env, &other).await;
    env.finish().await;
}
