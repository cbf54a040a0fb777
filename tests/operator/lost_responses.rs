//! Requests whose response is lost, late or broken: their effect is determined first, and they are never repeated
//! blindly.

use std::time::Duration;

use futures::future::join_all;
use simulators::{Fault, FaultHandle};

use crate::effects::{self, EFFECTS, Effect, Target};
use crate::environment::{Options, STAGE, TestEnv};
use crate::wait::must_finish;

const CREATE: &str = "^/api/pads/?$";

/// Fault and how it is injected for one candidate.
type Case = (&'static str, fn(&TestEnv, &str) -> FaultHandle);

/// Each fault affects the request of one candidate. All of them get exactly one pad and one link.
async fn check_one_pad_each(mut options: Options, cases: &[Case]) {
    options.interview.settings.list_lag_milliseconds = 700;
    check_one_pad_each_in(TestEnv::start(options).await, cases).await;
}

async fn check_one_pad_each_in(env: TestEnv, cases: &[Case]) {
    let mut ordered = Vec::new();
    for (what, order) in cases {
        let candidate = env.candidate();
        let fault = order(&env, &candidate);
        env.lever.move_to_stage(&candidate, STAGE).await;
        ordered.push((what, candidate, fault));
    }
    for (what, candidate, fault) in &ordered {
        must_finish(what, fault.reached()).await;
        env.wait_for_one_pad(candidate).await;
        let made = env.created_pads_of(candidate);
        assert_eq!(made.len(), 1, "{what}: {made:#?}");
    }
    env.finish().await;
}

fn create(env: &TestEnv, candidate: &str, fault: impl Fn(Fault) -> Fault) -> FaultHandle {
    env.interview.faults().add(fault(Fault::on("POST", CREATE).containing(candidate)))
}

fn link(env: &TestEnv, candidate: &str, fault: impl Fn(Fault) -> Fault) -> FaultHandle {
    env.lever.faults().add(fault(Fault::on("POST", &format!("/{candidate}/addLinks$"))))
}

#[tokio::test(flavor = "multi_thread")]
async fn pad_whose_creation_was_not_answered_is_found_and_linked() {
    let cases: &[Case] = &[
        ("the answer is lost", |env, one| create(env, one, Fault::lose_answer)),
        ("the answer does not come", |env, one| create(env, one, Fault::hang_after_effect)),
        ("the answer is late", |env, one| create(env, one, |f| f.delay_answer(Duration::from_secs(3)))),
        ("the answer is 502", |env, one| create(env, one, |f| f.status_after_effect(502))),
        ("the answer is garbage", |env, one| create(env, one, Fault::garbage_after_effect)),
        ("the answer breaks off", |env, one| create(env, one, Fault::truncate_after_effect)),
        ("the answer is huge", |env, one| create(env, one, Fault::huge_after_effect)),
    ];
    check_one_pad_each(Options::new("create-answer-lost"), cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pad_that_was_not_created_is_created_after_a_search() {
    let cases: &[Case] = &[
        ("the request is lost", |env, one| create(env, one, Fault::reset)),
        ("the request hangs", |env, one| create(env, one, Fault::hang)),
        ("the answer is 500", |env, one| create(env, one, |f| f.status(500))),
        ("the answer is 503", |env, one| create(env, one, |f| f.status(503))),
        ("too many requests", |env, one| create(env, one, |f| f.status(429))),
        ("too many requests for a proxy", |env, one| create(env, one, |f| f.page(429))),
    ];
    check_one_pad_each(Options::new("create-lost"), cases).await;
}

/// Whether links are a set in Lever is not documented.
// contract X9
#[tokio::test(flavor = "multi_thread")]
async fn link_whose_write_was_not_answered_exists_once() {
    let cases: &[Case] = &[
        ("the answer is lost", |env, one| link(env, one, Fault::lose_answer)),
        ("the answer is 502", |env, one| link(env, one, |f| f.status_after_effect(502))),
        ("the answer is garbage", |env, one| link(env, one, Fault::garbage_after_effect)),
        ("the request is lost", |env, one| link(env, one, Fault::reset)),
        ("the answer is 503", |env, one| link(env, one, |f| f.status(503))),
        ("too many requests", |env, one| link(env, one, |f| f.status(429))),
    ];
    for (name, repeat_links) in [("link-lost", false), ("link-lost-repeated", true)] {
        let env = TestEnv::start(Options::new(name)).await;
        env.lever.change_settings(|settings| settings.repeat_links = repeat_links);
        check_one_pad_each_in(env, cases).await;
    }
}

type FaultAction = fn(Fault) -> Fault;

/// Every write to the API server, with every kind of real or apparent failure.
#[tokio::test(flavor = "multi_thread")]
async fn unanswered_write_to_the_api_server_happens_once() {
    const FAULTS: [(&str, FaultAction); 12] = [
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
    let env = TestEnv::start(effects::env("cluster-lost")).await;
    let writes = EFFECTS.iter().filter(|effect| effect.target == Target::ApiServer);
    let cases = writes.flat_map(|effect| FAULTS.map(|(what, action)| (effect, what, action)));
    let case = async |(effect, what, action): (&'static Effect, &str, FaultAction)| {
        let subject = effect.prepare(&env, what).await;
        let fault = env.cluster_faults(0).add(action((effect.request)(&subject)));
        effect.provoke(&env, &subject).await;
        must_finish(what, fault.reached()).await;
        effect.assert_outcome(&env, &subject).await;
    };
    join_all(cases.map(case)).await;
    env.finish().await;
}
