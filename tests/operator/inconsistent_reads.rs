//! Responses that are not trusted the first time (contract P7a, P7b), and pads that are found early (contract X5a).

use std::time::Duration;

use kube::api::{DynamicObject, PostParams};
use serde_json::json;
use simulators::Fault;
use tokio::time::{Instant, sleep};

use crate::cluster::objects;
use crate::environment::{Options, STAGE, TAG, World};
use crate::wait::{eventually, soon};

fn reads(candidate: &str) -> Fault {
    Fault::on("GET", &format!("^/v1/opportunities/{candidate}$"))
}

/// Contract P7a: Lever's API shows the stage change some seconds after its webhook, without a sync in between.
#[tokio::test(flavor = "multi_thread")]
async fn candidate_visible_after_the_webhook_gets_the_pad() {
    let world = World::start(Options::new("stale-reads")).await;
    let (stale, missing, gone) = (world.candidate(), world.candidate(), world.candidate());
    let before = world.lever.opportunity(&stale).unwrap();
    let body = json!({"data": before});
    let old = world.lever.faults().add(
        reads(&stale).action(simulators::Action::Status { code: 200, body: Some(body) }).until_removed(),
    );
    world.lever.faults().add(reads(&missing).status(404));
    world.lever.faults().add(reads(&gone).status(404).until_removed());
    let began = Instant::now();
    for candidate in [&stale, &missing, &gone] {
        world.enter(candidate).await;
    }
    sleep(Duration::from_secs(3)).await;
    old.remove();
    world.wait_for_one_pad(&missing).await;
    world.wait_for_one_pad(&stale).await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    // After 2, 5, 15 and 30 s the response is trusted.
    let pads = world.pads_of(&gone).await;
    assert_eq!(pads[0]["status"]["phase"], serde_json::Value::Null, "nothing is decided yet: {pads:#?}");
    world.wait_for_pad(&gone, "Skipped/CandidateNotFound").await;
    assert!(began.elapsed() > Duration::from_secs(50), "{:?}", began.elapsed());
    world.finish().await;
}

/// Contract P7b: one 404 ends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn one_negative_response_has_no_final_consequence() {
    let world = World::start(Options::new("one-negative")).await;
    let (linked, looked_at, by_hand) = (world.candidate(), world.candidate(), world.candidate());
    // Lever's 404 for the link has another cause; the candidate exists.
    let fault =
        world.lever.faults().add(Fault::on("POST", &format!("/{linked}/addLinks$")).status(404).times(1));
    world.enter(&linked).await;
    soon("the link is rejected", fault.reached()).await;
    world.wait_for_pad(&linked, "Failed/InvalidRequest").await;
    assert_eq!(world.interview.live_pads().len(), 1, "the pad remains");
    let name = world.pads_of(&linked).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.request("pads", &name).await;
    world.wait_for_one_pad(&linked).await;

    world.enter(&looked_at).await;
    let made = world.wait_for_one_pad(&looked_at).await;
    world.interview.faults().add(Fault::on("GET", &format!("^/api/pads/{}$", made.id)).status(404));
    let name = world.pads_of(&looked_at).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.look_at("pads", &name).await;
    world.wait_for_one_pad(&looked_at).await;

    world.lever.faults().add(reads(&by_hand).status(404));
    world.by_hand("by-hand", crate::environment::CONFIGURATION, &by_hand).await;
    world.wait_for_one_pad(&by_hand).await;
    assert_eq!(world.creates(), 3);
    world.finish().await;
}

/// Contract P7b: a take-home that CoderPad first reports as live.
#[tokio::test(flavor = "multi_thread")]
async fn take_home_reported_as_live_at_first_is_kept() {
    let spec = json!({"type": "TakeHome", "questionID": 1002});
    let world = World::start(Options::new("late-take-home").configuration(spec)).await;
    let created = async |type_: &str| {
        world.interview.change_settings(|settings| settings.take_home_type = type_.to_owned());
        let candidate = world.candidate();
        world.enter(&candidate).await;
        let pad = eventually("the pad is created", async || {
            world.pads_made_for(&candidate).pop().ok_or("there is none".to_owned())
        });
        (pad.await, candidate)
    };
    let (pad, candidate) = created("live").await;
    world.interview.set_pad_type(&pad.id, "take_home");
    assert!(world.wait_for_one_pad(&candidate).await.take_home);

    // Contract F7: its type stays unknown, so a person decides.
    let (pad, candidate) = created("homework").await;
    let stored = world.wait_for_pad(&candidate, "Failed/TakeHomeRefused").await;
    assert_eq!(stored["status"]["padID"], pad.id);
    assert!(world.lever.links(&candidate).is_empty());
    world.sync().await;
    let waits = world.candidate();
    world.enter(&waits).await;
    world.wait_for_pad(&waits, "Pending/ConfigurationNotReady").await;
    world.request("pads", stored["metadata"]["name"].as_str().unwrap()).await;
    assert_eq!(world.wait_for_one_pad(&candidate).await.id, pad.id);
    assert_eq!(world.creates(), 2);
    world.finish().await;
}

/// Contract X6: restored Pads of one candidate, without annotations and status, each adopt their own pad.
#[tokio::test(flavor = "multi_thread")]
async fn restored_pads_of_one_candidate_adopt_their_own_pads() {
    let mut world = World::start(Options::new("restored-two")).await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    let first = world.wait_for_one_pad(&candidate).await;
    world.end_interview(&candidate, &first.id).await;
    world.lever.move_to_stage(&candidate, "Onsite").await;
    world.enter(&candidate).await;
    let second = world.wait_for_nth_pad(&candidate, 2, "Open/Open").await["status"]["padID"].clone();
    world.operator().terminate().await;
    let mut backup = world.pads_of(&candidate).await;
    for pad in &mut backup {
        world.delete("pads", pad["metadata"]["name"].as_str().unwrap()).await;
        let kept = json!({"name": pad["metadata"]["name"], "labels": pad["metadata"]["labels"]});
        *pad = json!({"apiVersion": pad["apiVersion"], "kind": "Pad", "metadata": kept, "spec": pad["spec"]});
    }
    for pad in backup {
        let pad: DynamicObject = serde_json::from_value(pad).unwrap();
        let api = objects(&world.client, world.namespace, "pads");
        api.create(&PostParams::default(), &pad).await.unwrap();
    }
    world.operator().start().await;
    let ended = world.wait_for_nth_pad(&candidate, 1, "Ended/Ended").await;
    let open = world.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    assert_eq!((&ended["status"]["padID"], &open["status"]["padID"]), (&json!(first.id), &second));
    world.sync().await;
    assert_eq!((world.creates(), world.pads_of(&candidate).await.len()), (2, 2));
    world.finish().await;
}

/// Contract E2: a deleted pad that exists again.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_pad_that_exists_again_is_tracked() {
    let world = World::start(Options::new("pad-again")).await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    let made = world.wait_for_one_pad(&candidate).await;
    let name = world.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let fault = world
        .interview
        .faults()
        .add(Fault::on("GET", &format!("^/api/pads/{}$", made.id)).status(404).until_removed());
    world.request("pads", &name).await;
    world.wait_for_pad(&candidate, "Ended/PadDeleted").await;
    fault.remove();
    world.request("pads", &name).await;
    world.wait_for_one_pad(&candidate).await;
    world.interview.end_interview(&made.id);
    world.request("pads", &name).await;
    world.wait_for_pad(&candidate, "Ended/Ended").await;
    world.finish().await;
}

/// Contract X5a: a pad whose creation was not answered is adopted as soon as the list shows it.
#[tokio::test(flavor = "multi_thread")]
async fn pad_of_a_killed_leader_is_adopted_once_visible() {
    let mut options = Options::new("killed-leader");
    options.flags =
        vec!["--leader-election=false", "--interview-create-timeout=30s", "--interview-list-lag=90s"];
    options.interview.settings.list_lag_milliseconds = 3000;
    let mut world = World::start(options).await;
    let candidate = world.candidate();
    let fault = world
        .interview
        .faults()
        .add(Fault::on("POST", "^/api/pads/?$").containing(&candidate).hang_after_effect());
    world.lever.move_to_stage(&candidate, STAGE).await;
    soon("the pad is being created", fault.reached()).await;
    sleep(Duration::from_millis(300)).await;
    world.operator().kill().await;
    let began = Instant::now();
    world.operator().start().await;
    world.wait_for_one_pad(&candidate).await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(world.pads_made_for(&candidate).len(), 1);
    assert!(world.lever.tags(&candidate).contains(&TAG.to_owned()));
    world.finish().await;
}
