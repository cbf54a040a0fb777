//! Responses that are not trusted the first time (contract P7a, P7b), and pads that are found early (contract X5a).

use std::time::Duration;

use kube::api::{DynamicObject, PostParams};
use serde_json::json;
use simulators::Fault;
use tokio::time::{Instant, sleep};

use crate::cluster::objects;
use crate::environment::{Options, STAGE, TAG, TestEnv};
use crate::wait::{eventually, must_finish};

fn reads(candidate: &str) -> Fault {
    Fault::on("GET", &format!("^/v1/opportunities/{candidate}$"))
}

/// Contract P7a: Lever's API shows the stage change some seconds after its webhook, without a sync in between.
#[tokio::test(flavor = "multi_thread")]
async fn candidate_visible_after_the_webhook_gets_the_pad() {
    let env = TestEnv::start(Options::new("stale-reads")).await;
    let (stale, missing, gone) = (env.candidate(), env.candidate(), env.candidate());
    let before = env.lever.opportunity(&stale).unwrap();
    let body = json!({"data": before});
    let old = env.lever.faults().add(
        reads(&stale).action(simulators::FaultAction::Status { code: 200, body: Some(body) }).until_removed(),
    );
    env.lever.faults().add(reads(&missing).status(404));
    env.lever.faults().add(reads(&gone).status(404).until_removed());
    let started = Instant::now();
    for candidate in [&stale, &missing, &gone] {
        env.enter(candidate).await;
    }
    sleep(Duration::from_secs(3)).await;
    old.remove();
    env.wait_for_one_pad(&missing).await;
    env.wait_for_one_pad(&stale).await;
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    // After 2, 5, 15 and 30 s the response is trusted.
    let pads = env.pads_of(&gone).await;
    assert_eq!(pads[0]["status"]["phase"], serde_json::Value::Null, "nothing is decided yet: {pads:#?}");
    env.wait_for_pad(&gone, "Skipped/CandidateNotFound").await;
    assert!(started.elapsed() > Duration::from_secs(50), "{:?}", started.elapsed());
    env.finish().await;
}

/// Contract P7b: one 404 ends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn one_404_is_not_final() {
    let env = TestEnv::start(Options::new("one-negative")).await;
    let (linked, looked_at, create_pad_by_hand) = (env.candidate(), env.candidate(), env.candidate());
    // Lever's 404 for the link has another cause; the candidate exists.
    let fault =
        env.lever.faults().add(Fault::on("POST", &format!("/{linked}/addLinks$")).status(404).times(1));
    env.enter(&linked).await;
    must_finish("the link is rejected", fault.reached()).await;
    env.wait_for_pad(&linked, "Failed/InvalidRequest").await;
    assert_eq!(env.interview.live_pads().len(), 1, "the pad remains");
    let name = env.pads_of(&linked).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    env.request("pads", &name).await;
    env.wait_for_one_pad(&linked).await;

    env.enter(&looked_at).await;
    let made = env.wait_for_one_pad(&looked_at).await;
    env.interview.faults().add(Fault::on("GET", &format!("^/api/pads/{}$", made.id)).status(404));
    let name = env.pads_of(&looked_at).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    env.reconcile("pads", &name).await;
    env.wait_for_one_pad(&looked_at).await;

    env.lever.faults().add(reads(&create_pad_by_hand).status(404));
    env.create_pad_by_hand("by-hand", crate::environment::CONFIGURATION, &create_pad_by_hand).await;
    env.wait_for_one_pad(&create_pad_by_hand).await;
    assert_eq!(env.creates(), 3);
    env.finish().await;
}

/// Contract P7b: a take-home that CoderPad first reports as live.
#[tokio::test(flavor = "multi_thread")]
async fn take_home_reported_as_live_at_first_is_kept() {
    let spec = json!({"type": "TakeHome", "questionID": 1002});
    let env = TestEnv::start(Options::new("late-take-home").configuration(spec)).await;
    let created = async |type_: &str| {
        env.interview.change_settings(|settings| settings.take_home_type = type_.to_owned());
        let candidate = env.candidate();
        env.enter(&candidate).await;
        let pad = eventually("the pad is created", async || {
            env.created_pads_of(&candidate).pop().ok_or("there is none".to_owned())
        });
        (pad.await, candidate)
    };
    let (pad, candidate) = created("live").await;
    env.interview.set_pad_type(&pad.id, "take_home");
    assert!(env.wait_for_one_pad(&candidate).await.take_home);

    // Contract F7: its type stays unknown, so a person decides.
    let (pad, candidate) = created("homework").await;
    let stored = env.wait_for_pad(&candidate, "Failed/TakeHomeRefused").await;
    assert_eq!(stored["status"]["padID"], pad.id);
    assert!(env.lever.links(&candidate).is_empty());
    env.sync().await;
    let waits = env.candidate();
    env.enter(&waits).await;
    env.wait_for_pad(&waits, "Pending/ConfigurationNotReady").await;
    env.request("pads", stored["metadata"]["name"].as_str().unwrap()).await;
    assert_eq!(env.wait_for_one_pad(&candidate).await.id, pad.id);
    assert_eq!(env.creates(), 2);
    env.finish().await;
}

/// Contract X6: restored Pads of one candidate, without annotations and status, each adopt their own pad.
#[tokio::test(flavor = "multi_thread")]
async fn restored_pads_of_one_candidate_adopt_their_own_pads() {
    let mut env = TestEnv::start(Options::new("restored-two")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let first = env.wait_for_one_pad(&candidate).await;
    env.end_interview(&candidate, &first.id).await;
    env.lever.move_to_stage(&candidate, "Onsite").await;
    env.enter(&candidate).await;
    let second = env.wait_for_nth_pad(&candidate, 2, "Open/Open").await["status"]["padID"].clone();
    env.operator().terminate().await;
    let mut backup = env.pads_of(&candidate).await;
    for pad in &mut backup {
        env.delete("pads", pad["metadata"]["name"].as_str().unwrap()).await;
        let kept = json!({"name": pad["metadata"]["name"], "labels": pad["metadata"]["labels"]});
        *pad = json!({"apiVersion": pad["apiVersion"], "kind": "Pad", "metadata": kept, "spec": pad["spec"]});
    }
    for pad in backup {
        let pad: DynamicObject = serde_json::from_value(pad).unwrap();
        let api = objects(&env.client, env.namespace, "pads");
        api.create(&PostParams::default(), &pad).await.unwrap();
    }
    env.operator().start().await;
    let ended = env.wait_for_nth_pad(&candidate, 1, "Ended/Ended").await;
    let open = env.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    assert_eq!((&ended["status"]["padID"], &open["status"]["padID"]), (&json!(first.id), &second));
    env.sync().await;
    assert_eq!((env.creates(), env.pads_of(&candidate).await.len()), (2, 2));
    env.finish().await;
}

/// Contract E2: a deleted pad that exists again.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_pad_that_exists_again_is_tracked() {
    let env = TestEnv::start(Options::new("pad-again")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    let name = env.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let fault = env
        .interview
        .faults()
        .add(Fault::on("GET", &format!("^/api/pads/{}$", made.id)).status(404).until_removed());
    env.request("pads", &name).await;
    env.wait_for_pad(&candidate, "Ended/PadDeleted").await;
    fault.remove();
    env.request("pads", &name).await;
    env.wait_for_one_pad(&candidate).await;
    env.interview.end_interview(&made.id);
    env.request("pads", &name).await;
    env.wait_for_pad(&candidate, "Ended/Ended").await;
    env.finish().await;
}

/// Contract X5a: a pad whose creation was not answered is adopted as soon as the list shows it.
#[tokio::test(flavor = "multi_thread")]
async fn pad_of_a_killed_leader_is_adopted_once_visible() {
    let mut options = Options::new("killed-leader");
    options.flags =
        vec!["--leader-election=false", "--interview-create-timeout=30s", "--interview-list-lag=90s"];
    options.interview.settings.list_lag_milliseconds = 3000;
    let mut env = TestEnv::start(options).await;
    let candidate = env.candidate();
    let fault = env
        .interview
        .faults()
        .add(Fault::on("POST", "^/api/pads/?$").containing(&candidate).hang_after_effect());
    env.lever.move_to_stage(&candidate, STAGE).await;
    must_finish("the pad is being created", fault.reached()).await;
    sleep(Duration::from_millis(300)).await;
    env.operator().kill().await;
    let started = Instant::now();
    env.operator().start().await;
    env.wait_for_one_pad(&candidate).await;
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(env.created_pads_of(&candidate).len(), 1);
    assert!(env.lever.tags(&candidate).contains(&TAG.to_owned()));
    env.finish().await;
}
