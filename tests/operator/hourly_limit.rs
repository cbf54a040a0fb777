//! spec.interview.maxPadsPerHour: a bulk move or a wrong tag does not create hundreds of pads.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use simulators::{Fault, PausePoint};

use crate::environment::{CONFIGURATION, CONNECTION, Options, STAGE, TestEnv};
use crate::status::{message_of, phase};
use crate::wait::{eventually, must_finish};

async fn limit(env: &TestEnv, limit: u32) {
    let spec = json!({"spec": {"interview": {"maxPadsPerHour": limit}}});
    env.patch("leverconnections", CONNECTION, spec).await;
}

/// Waits until the given numbers of Pads are open and waiting. Returns the waiting candidates, that of the oldest Pad
/// first.
async fn counts(env: &TestEnv, open: usize, waiting: usize) -> Vec<Value> {
    let mut pads = eventually(&format!("{open} are open and {waiting} wait"), async || {
        let mut pads = env.list("pads").await;
        let is_open = pads.iter().filter(|pad| phase(pad) == "Open/Open").count();
        pads.retain(|pad| phase(pad) == "Pending/LimitReached");
        if (is_open, pads.len()) == (open, waiting) { Ok(pads) } else { Err(format!("{pads:#?}")) }
    })
    .await;
    pads.sort_by_key(|pad| {
        let text = |field: &str| pad["metadata"][field].as_str().unwrap().to_owned();
        (text("creationTimestamp"), text("name"))
    });
    pads
}

fn calls(env: &TestEnv) -> usize {
    env.lever.calls().len() + env.interview.calls().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn hourly_limit_is_never_exceeded() {
    let mut options = Options::new("limit");
    options.connection["interview"] = json!({"maxPadsPerHour": 3});
    options.flags.push("--leader-election=false");
    let mut env = TestEnv::start(options).await;

    // A pad created by hand counts too.
    let create_pad_by_hand = env.candidate();
    let spec = json!({"configurationRef": {"name": CONFIGURATION}, "opportunityID": create_pad_by_hand});
    env.apply("pads", "by-hand", spec).await;
    env.wait_for_one_pad(&create_pad_by_hand).await;

    let candidates = [(); 12].map(|()| env.candidate());
    for candidate in &candidates {
        env.lever.move_to_stage(candidate, STAGE).await;
    }
    let waiting = counts(&env, 3, 10).await;
    assert_eq!(env.creates(), 3);
    let message = message_of(&waiting[0], "Ready");
    for part in ["3 pads in the last hour", "the limit is 3", "maxPadsPerHour", "UTC"] {
        assert!(message.contains(part), "{message}");
    }

    // Another operator knows the pads of the previous one, and another reconcile costs no call.
    env.operator().kill().await;
    env.operator().start().await;
    // The API server stores the time of creation in whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let newcomer = env.candidate();
    env.enter(&newcomer).await;
    env.wait_for_pad(&newcomer, "Pending/LimitReached").await;
    let (before, oldest) = (calls(&env), waiting[0]["metadata"]["name"].as_str().unwrap());
    env.patch("pads", oldest, json!({"spec": {"deletionPolicy": "Unlink"}})).await;
    env.wait_for("pads", oldest, "Ready", "False/LimitReached").await;
    eventually("the change was observed", async || {
        let pad = env.get("pads", oldest).await;
        let seen = pad["status"]["observedGeneration"] == pad["metadata"]["generation"];
        if seen { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;
    assert_eq!((calls(&env), env.creates()), (before, 3));

    // Older Pads take precedence.
    limit(&env, 5).await;
    let rest = counts(&env, 5, 9).await;
    let name = |pad: &Value| pad["metadata"]["name"].clone();
    assert_eq!(
        rest.iter().map(name).collect::<Vec<_>>(),
        waiting.iter().skip(2).map(name).chain([name(&rest[8])]).collect::<Vec<_>>()
    );
    assert_eq!(rest[8]["spec"]["opportunityID"], newcomer);
    assert_eq!(env.creates(), 5);

    limit(&env, 0).await;
    for candidate in candidates.iter().chain([&newcomer]) {
        env.wait_for_one_pad(candidate).await;
    }
    assert_eq!(env.creates(), 14);
    env.finish().await;
}

/// Adds three candidates, one after the other, of whom the first gets the only pad of the hour.
async fn three_pads_for_one_slot(env: &TestEnv) -> [String; 3] {
    let candidates = [(); 3].map(|()| env.candidate());
    for (index, candidate) in candidates.iter().enumerate() {
        env.enter(candidate).await;
        let expected = if index == 0 { "Open/Open" } else { "Pending/LimitReached" };
        env.wait_for_pad(candidate, expected).await;
        // The API server stores the time of creation in whole seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    candidates
}

/// The test does not wait for an hour: the first pad is changed to look almost an hour old.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_pad_continues_automatically_after_the_hour() {
    let mut options = Options::new("limit-over");
    options.connection["interview"] = json!({"maxPadsPerHour": 1});
    options.flags.push("--leader-election=false");
    let mut env = TestEnv::start(options).await;
    let candidates = three_pads_for_one_slot(&env).await;

    env.operator().kill().await;
    let first = env.wait_for_pad(&candidates[0], "Open/Open").await;
    let attempt = first["metadata"]["annotations"]["padoperator.dev/attempt"].as_str().unwrap();
    let (reference, _) = attempt.rsplit_once('@').unwrap();
    let almost = jiff::Timestamp::now() - SignedDuration::from_secs(60 * 60 - 6);
    let older = json!({"padoperator.dev/attempt": format!("{reference}@{almost}")});
    let name = first["metadata"]["name"].as_str().unwrap();
    env.patch("pads", name, json!({"metadata": {"annotations": older}})).await;
    env.operator().start().await;

    env.wait_for_one_pad(&candidates[1]).await;
    assert!(jiff::Timestamp::now() >= almost + SignedDuration::from_hours(1), "too early");
    env.wait_for_pad(&candidates[2], "Pending/LimitReached").await;
    assert_eq!(env.creates(), 2);
    env.finish().await;
}

/// A Pad whose pad is being created still reports that it waits; it must not count twice.
#[tokio::test(flavor = "multi_thread")]
async fn pad_in_flight_counts_once_against_the_limit() {
    let mut options = Options::new("limit-under-way");
    options.connection["interview"] = json!({"maxPadsPerHour": 1});
    options.flags[0] = "--interview-create-timeout=50s";
    let env = TestEnv::start(options).await;
    let candidates = three_pads_for_one_slot(&env).await;
    let first = Fault::on("POST", "^/api/pads/?$").containing(&candidates[1]).pause(PausePoint::AfterEffect);
    let held = env.interview.faults().add(first);
    limit(&env, 2).await;
    must_finish("the first creation is in flight", held.reached()).await;
    limit(&env, 3).await;
    env.wait_for_one_pad(&candidates[2]).await;
    held.release();
    env.wait_for_one_pad(&candidates[1]).await;
    assert_eq!(env.creates(), 3);
    env.finish().await;
}

/// contract F2: CoderPad responded, so the request counts, whatever the result.
#[tokio::test(flavor = "multi_thread")]
async fn rejected_creations_count_against_the_limit_across_restarts() {
    let mut options = Options::new("limit-refused");
    options.connection["interview"] = json!({"maxPadsPerHour": 3});
    options.flags.push("--leader-election=false");
    let mut env = TestEnv::start(options).await;
    let refused = env.interview.faults().add(Fault::on("POST", "^/api/pads/?$").status(400).until_removed());
    let candidates = [(); 4].map(|()| env.candidate());
    let [first, second, third, fourth] = &candidates;
    for candidate in [first, second] {
        env.enter(candidate).await;
        let pad = env.wait_for_pad(candidate, "Failed/InvalidRequest").await;
        assert!(pad["status"]["lastCreateAt"].is_string(), "{pad:#}");
    }
    let name = async |candidate: &String| {
        let pad = env.pads_of(candidate).await.remove(0);
        pad["metadata"]["name"].as_str().unwrap().to_owned()
    };
    // The same Pad, a second and a third time.
    env.reconcile("pads", &name(first).await).await;
    env.wait_for_pad(first, "Failed/InvalidRequest").await;
    assert_eq!(refused.hits(), 3);
    env.reconcile("pads", &name(first).await).await;
    env.wait_for_pad(first, "Pending/LimitReached").await;
    env.enter(third).await;
    env.wait_for_pad(third, "Pending/LimitReached").await;
    assert_eq!((refused.hits(), env.creates()), (3, 3));

    // The reports of the Pads suffice for another process: one creation for each Pad.
    let limit = json!({"spec": {"interview": {"maxPadsPerHour": 2}}});
    env.patch("leverconnections", CONNECTION, limit).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    env.operator().kill().await;
    env.operator().start().await;
    env.enter(fourth).await;
    env.wait_for_pad(fourth, "Pending/LimitReached").await;
    assert_eq!(env.creates(), 3);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_take_homes_count_against_the_limit() {
    let spec = json!({"type": "TakeHome", "questionID": 1002});
    let mut options = Options::new("limit-take-home").configuration(spec);
    options.connection["interview"] = json!({"maxPadsPerHour": 2});
    let env = TestEnv::start(options).await;
    env.interview.change_settings(|settings| settings.accept_take_home = false);
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let pad = env.wait_for_pad(&candidate, "Failed/TakeHomeRefused").await;
    assert!(pad["status"]["lastCreateAt"].is_string(), "{pad:#}");
    let name = pad["metadata"]["name"].as_str().unwrap();
    env.reconcile("pads", name).await;
    env.wait_for_pad(&candidate, "Failed/TakeHomeRefused").await;
    assert_eq!(env.creates(), 2);
    env.reconcile("pads", name).await;
    env.wait_for_pad(&candidate, "Pending/LimitReached").await;
    assert_eq!(env.creates(), 2);
    assert!(env.created_pads_of(&candidate).iter().all(|pad| pad.deleted));
    env.finish().await;
}
