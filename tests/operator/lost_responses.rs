//! Requests whose response is lost, late or broken: their effect is determined first, and they are never repeated
//! blindly.

use std::time::Duration;

use futures::future::join_all;
use simulators::{Fault, FaultHandle};

use crate::effects::{self, EFFECTS, Effect, Of};
use crate::environment::{Options, STAGE, World};
use crate::wait::soon;

const CREATE: &str = "^/api/pads/?$";

/// Fault and how it is injected for one candidate.
type Case = (&'static str, fn(&World, &str) -> FaultHandle);

/// Each fault affects the request of one candidate. All of them get exactly one pad and one link.
async fn all_get_one_pad(mut options: Options, cases: &[Case]) {
    options.interview.settings.list_lag_milliseconds = 700;
    let world = World::start(options).await;
    let mut ordered = Vec::new();
    for (what, order) in cases {
        let candidate = world.candidate();
        let fault = order(&world, &candidate);
        world.lever.move_to_stage(&candidate, STAGE).await;
        ordered.push((what, candidate, fault));
    }
    for (what, candidate, fault) in &ordered {
        soon(what, fault.reached()).await;
        world.wait_for_one_pad(candidate).await;
        let made = world.pads_made_for(candidate);
        assert_eq!(made.len(), 1, "{what}: {made:#?}");
    }
    world.finish().await;
}

fn create(world: &World, candidate: &str, fault: impl Fn(Fault) -> Fault) -> FaultHandle {
    world.interview.faults().add(fault(Fault::on("POST", CREATE).containing(candidate)))
}

fn link(world: &World, candidate: &str, fault: impl Fn(Fault) -> Fault) -> FaultHandle {
    world.lever.faults().add(fault(Fault::on("POST", &format!("/{candidate}/addLinks$"))))
}

#[tokio::test(flavor = "multi_thread")]
async fn pad_whose_creation_was_not_answered_is_found_and_linked() {
    let cases: &[Case] = &[
        ("the answer is lost", |world, one| create(world, one, Fault::lose_answer)),
        ("the answer does not come", |world, one| create(world, one, Fault::hang_after_effect)),
        ("the answer is late", |world, one| create(world, one, |f| f.delay_answer(Duration::from_secs(3)))),
        ("the answer is 502", |world, one| create(world, one, |f| f.status_after_effect(502))),
        ("the answer is garbage", |world, one| create(world, one, Fault::garbage_after_effect)),
        ("the answer breaks off", |world, one| create(world, one, Fault::truncate_after_effect)),
        ("the answer is huge", |world, one| create(world, one, Fault::huge_after_effect)),
    ];
    all_get_one_pad(Options::new("create-answer-lost"), cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pad_that_was_not_created_is_created_after_a_search() {
    let cases: &[Case] = &[
        ("the request is lost", |world, one| create(world, one, Fault::reset)),
        ("the request hangs", |world, one| create(world, one, Fault::hang)),
        ("the answer is 500", |world, one| create(world, one, |f| f.status(500))),
        ("the answer is 503", |world, one| create(world, one, |f| f.status(503))),
        ("too many requests", |world, one| create(world, one, |f| f.status(429))),
    ];
    all_get_one_pad(Options::new("create-lost"), cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn link_whose_write_was_not_answered_exists_once() {
    let cases: &[Case] = &[
        ("the answer is lost", |world, one| link(world, one, Fault::lose_answer)),
        ("the answer is 502", |world, one| link(world, one, |f| f.status_after_effect(502))),
        ("the answer is garbage", |world, one| link(world, one, Fault::garbage_after_effect)),
        ("the request is lost", |world, one| link(world, one, Fault::reset)),
        ("the answer is 503", |world, one| link(world, one, |f| f.status(503))),
        ("too many requests", |world, one| link(world, one, |f| f.status(429))),
    ];
    all_get_one_pad(Options::new("link-lost"), cases).await;
}

type Way = fn(Fault) -> Fault;

/// Every write to the API server, with every kind of real or apparent failure.
#[tokio::test(flavor = "multi_thread")]
async fn unanswered_write_to_the_api_server_happens_once() {
    const WAYS: [(&str, Way); 12] = [
        ("the answer is lost", Fault::lose_answer),
        ("the answer does not come", Fault::hang_after_effect),
        ("the answer is late", |fault| fault.delay_answer(Duration::from_secs(3))),
        ("the answer is 500", |fault| fault.status_after_effect(500)),
        ("the answer is 504", |fault| fault.status_after_effect(504)),
        ("the answer is garbage", Fault::garbage_after_effect),
        ("the answer breaks off", Fault::truncate_after_effect),
        ("the request is lost", Fault::reset),
        ("the request hangs", Fault::hang),
        ("the request is late", |fault| fault.delay(Duration::from_secs(3))),
        ("it is refused with 500", |fault| fault.status(500)),
        ("too many requests", |fault| fault.status(429)),
    ];
    let world = World::start(effects::world("cluster-lost")).await;
    let writes = EFFECTS.iter().filter(|effect| effect.of == Of::ApiServer);
    let cases = writes.flat_map(|effect| WAYS.map(|(what, way)| (effect, what, way)));
    let case = async |(effect, what, way): (&'static Effect, &str, Way)| {
        let subject = effect.prepare(&world, what).await;
        let fault = world.cluster_faults(0).add(way((effect.request)(&subject)));
        effect.provoke(&world, &subject).await;
        soon(what, fault.reached()).await;
        effect.ends(&world, &subject).await;
    };
    join_all(cases.map(case)).await;
    world.finish().await;
}
