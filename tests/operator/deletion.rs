//! Deletion of a Pad: what remains, and that it never hangs.

use serde_json::json;
use simulators::{Fault, Moment};

use crate::environment::{CONNECTION, Options, World};
use crate::status::phase;
use crate::wait::{eventually, soon};

/// Deletes the only Pad of a candidate and waits until it is gone.
async fn delete_pad(world: &World, candidate: &str) {
    let name = world.pads_of(candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.delete("pads", &name).await;
    is_gone(world, candidate).await;
}

async fn is_gone(world: &World, candidate: &str) {
    eventually("the Pad is deleted", async || {
        let pads = world.pads_of(candidate).await;
        if pads.is_empty() { Ok(()) } else { Err(format!("{pads:#?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retain_keeps_link_and_pad() {
    let world = World::start(Options::new("retain")).await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    let made = world.wait_for_one_pad(&candidate).await;
    delete_pad(&world, &candidate).await;
    assert_eq!(world.lever.links(&candidate), [made.url]);
    assert!(!world.interview.pad(&made.id).unwrap().deleted);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unlink_removes_the_link_and_keeps_the_pad() {
    let options = Options::new("unlink").configuration(json!({"deletionPolicy": "Unlink"}));
    let world = World::start(options).await;
    let candidate = world.candidate();
    world.lever.add_link(&candidate, "https://example.com/portfolio");
    world.enter(&candidate).await;
    let pad = world.wait_for_pad(&candidate, "Open/Open").await;
    delete_pad(&world, &candidate).await;
    assert_eq!(world.lever.links(&candidate), ["https://example.com/portfolio"]);
    assert!(!world.interview.pad(pad["status"]["padID"].as_str().unwrap()).unwrap().deleted);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_removes_link_and_pad() {
    let options = Options::new("delete").configuration(json!({"deletionPolicy": "Delete"}));
    let world = World::start(options).await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    let made = world.wait_for_one_pad(&candidate).await;
    delete_pad(&world, &candidate).await;
    assert!(world.lever.links(&candidate).is_empty());
    assert!(world.interview.pad(&made.id).unwrap().deleted);

    // The policy of the Pad counts, not that of its configuration, and missing links or pads are no obstacle.
    let second = world.candidate();
    world.enter(&second).await;
    let made = world.wait_for_one_pad(&second).await;
    world.interview.delete_pad(&made.id);
    world.lever.delete(&second);
    delete_pad(&world, &second).await;

    let third = world.candidate();
    world.enter(&third).await;
    let made = world.wait_for_one_pad(&third).await;
    let name = world.pads_of(&third).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.patch("pads", &name, json!({"spec": {"deletionPolicy": "Retain"}})).await;
    delete_pad(&world, &third).await;
    assert_eq!(world.lever.links(&third), [made.url]);
    world.finish().await;
}

/// A pad that no one has received yet is removed, whatever the policy.
#[tokio::test(flavor = "multi_thread")]
async fn pad_deleted_during_creation_leaves_nothing() {
    let world = World::start(Options::new("delete-in-flight")).await;
    let candidate = world.candidate();
    let fault = Fault::on("POST", "^/api/pads/?$").pause(Moment::AfterEffect);
    let fault = world.interview.faults().add(fault);
    world.enter(&candidate).await;
    soon("the pad is created", fault.reached()).await;
    let name = world.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.delete("pads", &name).await;
    assert_eq!(world.pads_of(&candidate).await.len(), 1, "it remains until the creation is resolved");
    fault.discard();
    is_gone(&world, &candidate).await;
    let made = world.pads_made_for(&candidate);
    assert!(made.len() == 1 && made[0].deleted, "{made:#?}");
    assert!(world.lever.links(&candidate).is_empty());
    world.finish().await;
}

/// A repeated webhook creates a new Pad next to a terminating one. The new Pad must not adopt a pad that is about to be
/// deleted.
#[tokio::test(flavor = "multi_thread")]
async fn pad_about_to_be_deleted_is_not_adopted() {
    let options = Options::new("delete-and-repeat").configuration(json!({"deletionPolicy": "Delete"}));
    let world = World::start(options).await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    let first = world.wait_for_one_pad(&candidate).await;
    let name = world.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let fault = Fault::on("POST", "/removeLinks$").pause(Moment::BeforeEffect);
    let fault = world.lever.faults().add(fault);
    world.delete("pads", &name).await;
    soon("its link is about to be removed", fault.reached()).await;

    let delivery = world.lever.deliveries().last().unwrap().number;
    assert_eq!(world.lever.redeliver(delivery).await.status, Some(200));
    eventually("the other Pad waits for it", async || {
        let pads = world.pads_of(&candidate).await;
        let waits = pads.iter().any(|pad| phase(pad) == "Pending/CreateOutcomeUnknown");
        if waits { Ok(()) } else { Err(format!("{pads:#?}")) }
    })
    .await;
    fault.release();
    eventually("the first Pad is deleted", async || {
        world.find("pads", &name).await.map_or(Ok(()), |pad| Err(format!("{pad:#}")))
    })
    .await;
    // Contract P9: that entry had its pad.
    world.wait_for_pad(&candidate, "Skipped/AlreadyServed").await;
    assert_eq!(world.creates(), 1);
    world.lever.move_to_stage(&candidate, "Onsite").await;
    world.enter(&candidate).await;
    assert_ne!(world.wait_for_one_pad(&candidate).await.id, first.id);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_connection_does_not_block_deletion_of_its_pads() {
    let options = Options::new("delete-connection").configuration(json!({"deletionPolicy": "Delete"}));
    let world = World::start(options).await;
    let [candidate, other] = [(); 2].map(|()| world.candidate());
    for candidate in [&candidate, &other] {
        world.enter(candidate).await;
        world.wait_for_one_pad(candidate).await;
    }
    // A broken connection delays the deletion, and editing the policy releases it.
    world.set_secret("lever-api-key", "lever-0000-broken").await;
    world.wait_for("leverconnections", CONNECTION, "Ready", "False/LeverUnauthorized").await;
    let name = world.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.delete("pads", &name).await;
    world.wait_for_pad(&candidate, "Pending/LeverUnauthorized").await;
    world.patch("pads", &name, json!({"spec": {"deletionPolicy": "Retain"}})).await;
    is_gone(&world, &candidate).await;

    world.delete("leverconnections", CONNECTION).await;
    delete_pad(&world, &other).await;
    world.finish().await;
}
