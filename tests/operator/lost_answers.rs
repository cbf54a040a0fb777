//! Requests whose answer is lost, late or broken: found out about, never repeated blindly.

use std::time::Duration;

use simulators::{Fault, FaultHandle};

use crate::wait::soon;
use crate::world::{Options, World};

const CREATE: &str = "^/api/pads/?$";

/// Each fault meets one candidate's request. All of them get exactly one pad and one link.
async fn all_get_one_pad(
    mut options: Options,
    faults: &[(&str, fn(&World, &str) -> FaultHandle)],
    links: impl Fn(&World, &str) -> usize,
) {
    options.interview.settings.list_lag_milliseconds = 700;
    let world = World::start(options).await;
    let mut cases = Vec::new();
    for (what, order) in faults {
        let candidate = world.candidate();
        let fault = order(&world, &candidate);
        world.lever.move_to_stage(&candidate, crate::world::STAGE).await;
        cases.push((what, candidate, fault));
    }
    for (what, candidate, fault) in &cases {
        soon(what, fault.reached()).await;
        world.wait_for_one_pad(candidate).await;
        let made = world.pads_made_for(candidate);
        assert_eq!(made.len(), 1, "{what}: {made:#?}");
        let links = links(&world, candidate);
        assert!(links >= 1, "{what}: {links}");
    }
    world.finish().await;
}

fn create(world: &World, candidate: &str, fault: impl Fn(Fault) -> Fault) -> FaultHandle {
    world.interview.faults().add(fault(Fault::on("POST", CREATE).containing(candidate)))
}

fn link(world: &World, candidate: &str, fault: impl Fn(Fault) -> Fault) -> FaultHandle {
    world.lever.faults().add(fault(Fault::on("POST", &format!("/{candidate}/addLinks$"))))
}

fn link_requests(world: &World, candidate: &str) -> usize {
    let path = format!("/v1/opportunities/{candidate}/addLinks");
    world.lever.calls().iter().filter(|call| call.path == path).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pad_whose_creation_was_not_answered_is_found_and_linked() {
    let faults: &[(&str, fn(&World, &str) -> FaultHandle)] = &[
        ("the answer is lost", |world, one| create(world, one, Fault::lose_answer)),
        ("the answer does not come", |world, one| create(world, one, Fault::hang_after_effect)),
        ("the answer is late", |world, one| create(world, one, |f| f.delay_answer(Duration::from_secs(3)))),
        ("the answer is 502", |world, one| create(world, one, |f| f.status_after_effect(502))),
        ("the answer is garbage", |world, one| create(world, one, Fault::garbage_after_effect)),
        ("the answer breaks off", |world, one| create(world, one, Fault::truncate_after_effect)),
        ("the answer is huge", |world, one| create(world, one, Fault::huge_after_effect)),
    ];
    all_get_one_pad(Options::new("create-answer-lost"), faults, link_requests).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pad_that_was_not_created_is_created_after_a_search() {
    let faults: &[(&str, fn(&World, &str) -> FaultHandle)] = &[
        ("the request is lost", |world, one| create(world, one, Fault::reset)),
        ("the request hangs", |world, one| create(world, one, Fault::hang)),
        ("the answer is 500", |world, one| create(world, one, |f| f.status(500))),
        ("the answer is 503", |world, one| create(world, one, |f| f.status(503))),
        ("too many requests", |world, one| create(world, one, |f| f.status(429))),
    ];
    all_get_one_pad(Options::new("create-lost"), faults, link_requests).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_whose_writing_was_not_answered_is_there_once() {
    let faults: &[(&str, fn(&World, &str) -> FaultHandle)] = &[
        ("the answer is lost", |world, one| link(world, one, Fault::lose_answer)),
        ("the answer is 502", |world, one| link(world, one, |f| f.status_after_effect(502))),
        ("the answer is garbage", |world, one| link(world, one, Fault::garbage_after_effect)),
        ("the request is lost", |world, one| link(world, one, Fault::reset)),
        ("the answer is 503", |world, one| link(world, one, |f| f.status(503))),
        ("too many requests", |world, one| link(world, one, |f| f.status(429))),
    ];
    all_get_one_pad(Options::new("link-lost"), faults, link_requests).await;
}
