//! One of the three that the operator talks to is away for a while.

use std::time::Duration;

use serde_json::json;
use simulators::{DeliveryOutcome, Fault, Moment};

use crate::wait::{eventually, eventually_within, soon};
use crate::world::{CONFIGURATION, CONNECTION, Options, STAGE, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_away_is_told_and_waited_for() {
    let world = World::start(Options::new("services-away").polling("1s")).await;
    world.interview.stop().await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    world.wait_for("leverconnections", CONNECTION, "Ready", "False/InterviewUnavailable").await;
    world.wait_for_pad(&candidate, "Pending/ConnectionNotReady").await;
    world.interview.resume().await.unwrap();
    world.wait_for_one_pad(&candidate).await;

    world.lever.stop().await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    world.wait_for("leverconnections", CONNECTION, "Ready", "False/LeverUnavailable").await;
    world.lever.resume().await.unwrap();
    world.wait_for_one_pad(&candidate).await;
    assert_eq!(world.creates(), 2);
    world.finish().await;
}

/// The API server dies when a pad has been made and nothing of it is stored; webhooks meanwhile are sent again.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_dies_at_the_worst_moment() {
    let mut options = Options::new("api-server-away");
    options.flags.push("--leader-election=false");
    options.lever.retry_delays = [500, 1_000, 2_000, 4_000, 8_000].map(Duration::from_millis).to_vec();
    let world = World::start(options).await;
    let link = world.operators[0].link.clone();
    let [before_id, before_link, before_status, during] = [(); 4].map(|()| world.candidate());
    let pause = |path: &str| Fault::on("POST", path).pause(Moment::AfterEffect);
    let made = pause("^/api/pads/?$").containing(&before_id);
    let linked = |candidate: &str| pause(&format!("/{candidate}/addLinks$"));
    let held = [
        world.interview.faults().add(made),
        world.lever.faults().add(linked(&before_status)),
        world.lever.faults().add(linked(&before_link).pause(Moment::BeforeEffect)),
    ];
    for candidate in [&before_id, &before_link, &before_status] {
        world.lever.move_to_stage(candidate, STAGE).await;
    }
    for fault in &held {
        soon("it is held", fault.reached()).await;
    }

    link.cut();
    held.iter().for_each(simulators::FaultHandle::release);
    let moved = world.lever.move_to_stage(&during, STAGE).await;
    let refused = eventually("the webhook is refused", async || {
        let delivery = world.lever.deliveries().swap_remove(moved.deliveries[0]);
        delivery.attempts.first().map(|attempt| attempt.status).ok_or("not yet".to_owned())
    })
    .await;
    assert_eq!(refused, Some(503));
    link.mend();

    let delivery = soon("it is delivered", world.lever.wait_for_delivery(moved.deliveries[0])).await;
    assert_eq!(delivery.outcome, DeliveryOutcome::Received, "{delivery:#?}");
    for candidate in [&before_id, &before_link, &before_status, &during] {
        world.wait_for_one_pad(candidate).await;
        assert_eq!(world.pads_made_for(candidate).len(), 1);
    }
    world.finish().await;
}

/// A leader that cannot renew its Lease ends, for another one may be at work already.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_ends() {
    let mut world = World::start(Options::new("cut-off")).await;
    let link = world.operators[0].link.clone();
    link.cut();
    let operator = world.operator();
    eventually_within(Duration::from_secs(25), "it ends", async || {
        if operator.is_alive() { Err("it is alive".into()) } else { Ok(()) }
    })
    .await;
    assert_ne!(operator.ended().await, Some(0), "that it ended is a failure");
    link.mend();
    operator.start().await;

    let candidate = world.candidate();
    let spec = json!({"configurationRef": {"name": CONFIGURATION}, "opportunityID": candidate});
    world.apply("pads", "by-hand", spec).await;
    world.wait_for_one_pad(&candidate).await;
    world.finish().await;
}
