//! Kills the operator at each of its effects, at every point of it; the next operator must find out what has happened.
//! The result of each crash is also written to `crash-points.txt` in the build folder.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use simulators::{FaultHandle, PausePoint};

use crate::effects::{self, Cause, EFFECTS, Effect, Subject, Target, links_added, pads_created, written};
use crate::environment::TestEnv;
use crate::status::phase;
use crate::wait::{MACHINE, eventually, must_finish};

/// Point at which the operator is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum CrashPoint {
    /// The request never arrives.
    BeforeSending,
    /// The request has been sent, and takes effect while the next operator is already working.
    BeforeTheEffect,
    /// The response never arrives.
    BeforeTheAnswer,
    /// The response has arrived, but nothing follows it.
    AtTheEnd,
}

impl CrashPoint {
    fn description(self) -> &'static str {
        match self {
            Self::BeforeSending => "before it is sent",
            Self::BeforeTheEffect => "sent, in effect after the restart",
            Self::BeforeTheAnswer => "in effect, before the answer",
            Self::AtTheEnd => "after the answer, nothing follows",
        }
    }
}

/// A crash.
struct Crash {
    effect: &'static Effect,
    point: CrashPoint,
    subject: Subject,
    held: Option<FaultHandle>,
    /// Fault that is met when the held request has taken effect.
    landed: Option<FaultHandle>,
}

impl Crash {
    async fn prepare(env: &TestEnv, effect: &'static Effect, point: CrashPoint) -> Self {
        Self {
            effect,
            point,
            subject: effect.prepare(env, point.description()).await,
            held: None,
            landed: None,
        }
    }

    /// Brings the candidate to the crash point.
    async fn provoke(&mut self, env: &TestEnv) {
        let (faults, fault) = (self.effect.faults(env), (self.effect.request)(&self.subject));
        let pause = |moment| Some(faults.add(fault.clone().pause(moment)));
        self.held = match self.point {
            CrashPoint::BeforeSending | CrashPoint::BeforeTheEffect => pause(PausePoint::BeforeEffect),
            CrashPoint::BeforeTheAnswer => pause(PausePoint::AfterEffect),
            CrashPoint::AtTheEnd => None,
        };
        if self.point == CrashPoint::BeforeTheEffect {
            self.landed = Some(faults.add(fault.delay_answer(std::time::Duration::ZERO)));
        }
        self.effect.provoke(env, &self.subject).await;
        match &self.held {
            Some(held) => must_finish(self.effect.name, held.reached()).await,
            None => self.effect.assert_outcome(env, &self.subject).await,
        }
        if self.effect.cause == Cause::Cancelled {
            env.delete("pads", &self.subject.pad).await;
        }
    }

    /// Drops the requests in flight with the killed operator, unless they arrive late.
    fn is_lost(&self) {
        if let (Some(held), None) = (&self.held, &self.landed) {
            held.discard();
        }
    }

    /// Lets late requests arrive: at a service as soon as the next operator runs, at the API server when everything is
    /// done.
    async fn arrives(&self, env: &TestEnv) {
        let (Some(held), Some(landed)) = (&self.held, &self.landed) else { return };
        if self.effect.target == Target::ApiServer {
            self.effect.assert_outcome(env, &self.subject).await;
        }
        held.release();
        must_finish(self.effect.name, landed.reached()).await;
    }

    /// Waits for the final state and describes it.
    async fn assert_outcome(&self, env: &TestEnv, restart: i64) -> String {
        self.effect.assert_outcome(env, &self.subject).await;
        let candidate = &self.subject.candidate;
        let by_whom = |times: Vec<i64>| match times.first() {
            Some(at) if *at < restart => "made before the crash",
            _ => "made after it",
        };
        match self.effect.cause {
            Cause::Entry | Cause::Return | Cause::Policy => {
                let (pad, link) = (pads_created(env, candidate), links_added(env, candidate));
                format!("Pad Open; 1 pad, {}; 1 link, {}", by_whom(pad), by_whom(link))
            }
            Cause::End => {
                let note = written(env, candidate, "notes");
                format!("Pad Ended; 1 note, {}; the tags replaced", by_whom(note))
            }
            Cause::Cancelled | Cause::Deletion(_) => {
                let pad = match env.created_pads_of(candidate).as_slice() {
                    [] => "never made",
                    [pad] if pad.deleted => "deleted",
                    _ => "left, as the policy says",
                };
                format!("Pad deleted; pad {pad}; no link")
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_effect_happens_once_after_a_crash_at_any_point() {
    let _alone = MACHINE.lock().await;
    let mut options = effects::env("killed");
    // No waiting for the Lease of the killed operator, and enough time to bring all candidates to their crash points.
    options.flags.retain(|flag| !flag.starts_with("--interview-create-timeout"));
    options.flags.extend(["--leader-election=false", "--interview-create-timeout=18s"]);
    let mut env = TestEnv::start(options).await;
    let moments = |effect: &'static Effect| {
        let last = effect.next.is_none().then_some(CrashPoint::AtTheEnd);
        let held = [CrashPoint::BeforeSending, CrashPoint::BeforeTheEffect, CrashPoint::BeforeTheAnswer];
        held.into_iter().chain(last).map(move |point| (effect, point))
    };
    let cases = EFFECTS.iter().flat_map(moments);
    let mut crashes = join_all(cases.map(|(effect, point)| Crash::prepare(&env, effect, point))).await;
    join_all(crashes.iter_mut().map(|crash| crash.provoke(&env))).await;

    env.operator().kill().await;
    crashes.iter().for_each(Crash::is_lost);
    let restart = now();
    env.operator().start().await;
    // Kills it again while it waits for requests in flight.
    for crash in crashes.iter().filter(|crash| crash.effect.cause == Cause::Entry) {
        match crash.effect.target {
            // A pad in CoderPad's list is adopted immediately (contract X5a).
            Target::CoderPad => {
                eventually("its creation is unknown, or its pad is adopted", async || {
                    let pads = env.pads_of(&crash.subject.candidate).await;
                    let phases: Vec<String> = pads.iter().map(phase).collect();
                    let is_either =
                        ["Pending/CreateOutcomeUnknown", "Open/Open"].contains(&&*phases.concat());
                    if is_either { Ok(()) } else { Err(format!("{pads:#?}")) }
                })
                .await
            }
            Target::Lever => {
                drop(env.wait_for_pad(&crash.subject.candidate, "Pending/LeverUnavailable").await)
            }
            Target::ApiServer => {}
        }
    }
    env.operator().kill().await;
    env.operator().start().await;
    join_all(crashes.iter().map(|crash| crash.arrives(&env))).await;

    let results = join_all(crashes.iter().map(|crash| crash.assert_outcome(&env, restart))).await;
    let lines = crashes.iter().zip(results);
    let table = table(lines.map(|(crash, result)| (crash.effect, crash.point, result)).collect());
    println!("{table}");
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    std::fs::write(built.join("crash-points.txt"), table).unwrap();
    env.finish().await;
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Prints one line for each crash, and for each crash point that is also the start of another effect.
fn table(results: Vec<(&Effect, CrashPoint, String)>) -> String {
    let mut table = String::from("The operator killed at each effect, and again while it found out:\n\n");
    let mut line = |effect: &str, moment: &str, result: &str| {
        writeln!(table, "{effect:<22}| {moment:<38}| {result}").unwrap();
    };
    line("effect", "killed", "result");
    for (effect, point, result) in results {
        line(effect.name, point.description(), &result);
        let CrashPoint::BeforeTheAnswer = point else { continue };
        if let Some(next) = effect.next {
            line(
                effect.name,
                "after the response, before the status",
                &format!("that is: {next}, before it is sent"),
            );
        }
        if effect.next.is_some() && matches!(effect.cause, Cause::Entry | Cause::Return) {
            line(effect.name, "after the status", "that is: status, after the answer");
        } else if effect.next.is_some() && effect.cause == Cause::End {
            line(effect.name, "after the status", "that is: status of the end, after the answer");
        }
    }
    table
}
