//! Answers that are not believed at the first time (contract P7a, P7b), and pads that are found early (contract X5a).

use std::time::Duration;

use serde_json::json;
use simulators::Fault;
use tokio::time::{Instant, sleep};

use crate::wait::soon;
use crate::world::{Options, STAGE, TAG, World};

fn reads(candidate: &str) -> Fault {
    Fault::on("GET", &format!("^/v1/opportunities/{candidate}$"))
}

/// Contract P7a: the move shows in Lever's API some seconds after its webhook, and no sync comes to help.
#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_who_shows_after_the_webhook_gets_the_pad() {
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
    // 2, 5, 15 and 30 s; then it is believed.
    let pads = world.pads_of(&gone).await;
    assert_eq!(pads[0]["status"]["phase"], serde_json::Value::Null, "nothing is decided yet: {pads:#?}");
    world.wait_for_pad(&gone, "Skipped/CandidateNotFound").await;
    assert!(began.elapsed() > Duration::from_secs(50), "{:?}", began.elapsed());
    world.finish().await;
}

/// Contract P7b: one 404 ends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn one_negative_answer_has_no_final_consequence() {
    let world = World::start(Options::new("one-negative")).await;
    let (linked, looked_at, by_hand) = (world.candidate(), world.candidate(), world.candidate());
    // Lever's 404 for the link is about something else; the candidate is there.
    let fault =
        world.lever.faults().add(Fault::on("POST", &format!("/{linked}/addLinks$")).status(404).times(1));
    world.enter(&linked).await;
    soon("the link is refused", fault.reached()).await;
    world.wait_for_pad(&linked, "Failed/InvalidRequest").await;
    assert_eq!(world.interview.live_pads().len(), 1, "the pad stays");
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
    world.by_hand("by-hand", crate::world::CONFIGURATION, &by_hand).await;
    world.wait_for_one_pad(&by_hand).await;
    assert_eq!(world.creates(), 3);
    world.finish().await;
}

/// Contract P7b: a take-home that CoderPad calls live at first.
#[tokio::test(flavor = "multi_thread")]
async fn a_take_home_that_looks_live_at_first_is_kept() {
    let spec = json!({"type": "TakeHome", "questionID": 1002});
    let world = World::start(Options::new("late-take-home").configuration(spec)).await;
    world.interview.change_settings(|settings| settings.take_home_type = "live".into());
    let candidate = world.candidate();
    let fault =
        world.interview.faults().add(Fault::on("GET", "^/api/pads/[A-Z0-9]+$").delay(Duration::from_secs(1)));
    world.enter(&candidate).await;
    soon("the pad is read again", fault.reached()).await;
    world.interview.change_settings(|settings| settings.take_home_type = "take_home".into());
    let made = world.wait_for_one_pad(&candidate).await;
    assert!(made.take_home);
    assert_eq!(world.pads_made_for(&candidate).len(), 1);
    world.finish().await;
}

/// Contract E2: a pad that is there again.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pad_that_is_there_again_is_followed() {
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
async fn a_pad_of_a_killed_leader_is_adopted_when_it_shows() {
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
