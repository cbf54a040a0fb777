//! The operator is killed at each of its effects; the one that is started after it finds out what has happened.

use std::time::Duration;

use simulators::{Fault, FaultHandle, Moment};

use crate::wait::{eventually, soon};
use crate::world::{Options, STAGE, World};

/// What becomes of the request that was held when the operator was killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Lost,
    /// It takes effect before the next operator starts.
    Down,
    /// It takes effect when the next operator is at work already.
    Late,
}

fn create(world: &World, candidate: &str, moment: Moment) -> FaultHandle {
    let fault = Fault::on("POST", "^/api/pads/?$").containing(candidate).pause(moment);
    world.interview.faults().add(fault)
}

fn link(world: &World, candidate: &str, moment: Moment) -> FaultHandle {
    world.lever.faults().add(Fault::on("POST", &format!("/{candidate}/addLinks$")).pause(moment))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_effect_there_is_one_pad_and_one_link() {
    type Order = fn(&World, &str, Moment) -> FaultHandle;
    let moments: [(&str, Order, Moment, Then); 6] = [
        ("before the pad, which is never made", create, Moment::BeforeEffect, Then::Lost),
        ("before the pad, which is made after the restart", create, Moment::BeforeEffect, Then::Late),
        ("after the pad, before its id is stored", create, Moment::AfterEffect, Then::Lost),
        ("before the link, which is never added", link, Moment::BeforeEffect, Then::Lost),
        ("before the link, which is added meanwhile", link, Moment::BeforeEffect, Then::Down),
        ("after the link, before the status", link, Moment::AfterEffect, Then::Lost),
    ];
    let mut options = Options::new("killed");
    // Without waiting for the Lease of the one that was killed.
    options.flags.push("--leader-election=false");
    let mut world = World::start(options).await;
    world.interview.set_list_lag(Duration::from_millis(700));
    let mut cases = Vec::new();
    for (what, order, moment, then) in moments {
        let candidate = world.candidate();
        let fault = order(&world, &candidate, moment);
        world.lever.move_to_stage(&candidate, STAGE).await;
        cases.push((what, candidate, fault, then));
    }
    for (what, _, fault, _) in &cases {
        soon(what, fault.reached()).await;
    }

    world.operator().kill().await;
    for (what, candidate, fault, then) in &cases {
        match then {
            Then::Lost => fault.discard(),
            Then::Down => {
                fault.release();
                eventually(what, async || {
                    let links = world.lever.links(candidate).len();
                    if links == 1 { Ok(()) } else { Err(format!("{links} links")) }
                })
                .await;
            }
            Then::Late => {}
        }
    }
    world.operator().start().await;
    // And once more, while it waits until it may search.
    world.wait_for_pad(&cases[0].1, "Pending/CreateOutcomeUnknown").await;
    world.operator().kill().await;
    world.operator().start().await;
    for (_, _, fault, _) in cases.iter().filter(|case| case.3 == Then::Late) {
        fault.release();
    }

    for (what, candidate, ..) in &cases {
        world.wait_for_one_pad(candidate).await;
        let made = world.pads_made_for(candidate);
        assert_eq!(made.len(), 1, "killed {what}: {made:#?}");
    }
    world.finish().await;
}

/// Whether Lever notices that it has a link already is not documented.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_takes_effect_after_the_restart_is_there_once() {
    let mut options = Options::new("late-link");
    options.flags.push("--leader-election=false");
    let mut world = World::start(options).await;
    let candidate = world.candidate();
    let held = link(&world, &candidate, Moment::BeforeEffect);
    world.enter(&candidate).await;
    soon("the link is held", held.reached()).await;
    world.operator().kill().await;
    world.operator().start().await;
    // It knows of the pad, and that its link may be under way.
    world.wait_for_pad(&candidate, "Pending/LeverUnavailable").await;
    assert!(world.lever.links(&candidate).is_empty());
    held.release();
    eventually("the late one has taken effect", async || {
        let calls = world.lever.calls();
        let late = calls.iter().find(|call| call.path.ends_with("/addLinks")).unwrap();
        late.handled.map(|_| ()).ok_or_else(|| format!("{late:#?}"))
    })
    .await;
    world.wait_for_one_pad(&candidate).await;
    world.finish().await;
}

/// What a webhook was answered with 200 for is in the API server, and nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn killed_right_after_the_webhooks_nothing_is_lost() {
    let mut options = Options::new("killed-early");
    options.flags.push("--leader-election=false");
    let mut world = World::start(options).await;
    // Nothing gets further than the first read.
    let hang = world.lever.faults().add(Fault::on("GET", "/opportunities/").hang().until_removed());
    let candidates = [(); 5].map(|()| world.candidate());
    for candidate in &candidates {
        world.enter(candidate).await;
    }
    world.operator().kill().await;
    hang.remove();
    world.operator().start().await;
    for candidate in &candidates {
        world.wait_for_one_pad(candidate).await;
    }
    assert_eq!(world.creates(), candidates.len());
    world.finish().await;
}
