//! Random histories of one candidate: people, Lever and CoderPad act in any order, and the real code of sync, the
//! receiver and the rules decides. The tests check the rules of [`truth`] after each event and at the end.
//!
//! The model checks every order of a few actions. A history has many kinds of events, and real objects with real times.

mod ground_truth;
mod mutants;
mod simulated_operator;
mod world;

use api::Pad;
use api::names;
use api::pad::Phase;
use ground_truth::Broken;
use kube::ResourceExt;
use mutants::Mutant;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use serde_json::json;
use std::collections::BTreeSet;
use world::{HistoryCreation, World, configuration_name};

/// Number of histories that must keep every rule; `PROPTEST_CASES` can raise it.
const CASES: u32 = 2000;
/// Maximum number of histories until one of them finds a mutant.
const MUTANT_CASES: u32 = 3000;

/// The constants of a history.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    configurations: usize,
    existing: &'static str,
    repeat: &'static str,
    deletion_policy: &'static str,
    take_home: bool,
    /// Difference between Lever's clock and the operator's clock, in milliseconds; positive if Lever's clock is ahead.
    skew: i64,
    begins_tagged: bool,
    begins_in_stage: bool,
    begins_configured: bool,
}

/// An event of a history.
#[derive(Clone, Debug)]
enum Event {
    MoveIn {
        is_delivered: bool,
    },
    MoveOut,
    /// The candidate leaves the stage and enters it again one second later.
    Reenter {
        is_delivered: bool,
    },
    AddTag(usize),
    RemoveTag(usize),
    Deliver,
    RepeatDelivery(usize),
    Sync,
    DeletePad(usize),
    DeleteSkipped(usize),
    End(usize),
    Request(usize),
    RequestConfiguration(usize),
    EditTag(usize),
    EditTagBack(usize),
    EditTitle(usize),
    EditPolicy(usize, &'static str),
    DeleteConfiguration(usize),
    Apply(usize),
    /// A person deletes the configuration and applies it again immediately.
    Replace(usize),
    CreateByHand(usize),
    Refuse,
    CreateLive,
    Create,
    NoQuota,
    Quota,
    DeleteRecord(usize),
    BeginInterview(usize),
    EndInterview(usize),
    Stop,
    StopAfter(u32),
    Start,
}

/// An event, its delay after the previous event in milliseconds, and whether the operator settles before the next
/// event.
type Moment = (Event, i64, bool);

const POLICIES: [&str; 3] = ["Retain", "Unlink", "Delete"];

fn settings() -> impl Strategy<Value = Setting> {
    let kinds = (
        prop_oneof![3 => Just(1usize), 1 => Just(2usize)],
        prop_oneof![3 => Just("Skip"), 1 => Just("Create")],
        prop_oneof![4 => Just("AfterEnd"), 1 => Just("Always"), 1 => Just("Never")],
        select(&POLICIES[..]),
        prop::bool::weighted(0.25),
    );
    let begin = (
        select(&[0, 0, 0, 1, -1, 250, -250, 3000, -3000][..]),
        any::<[bool; 2]>(),
        prop::bool::weighted(0.75),
    );
    (kinds, begin).prop_map(|((configurations, existing, repeat, deletion_policy, take_home), begin)| {
        let (skew, [begins_in_stage, begins_tagged], begins_configured) = begin;
        Setting {
            configurations,
            existing,
            repeat,
            deletion_policy,
            take_home,
            skew,
            begins_tagged,
            begins_in_stage,
            begins_configured,
        }
    })
}

fn events() -> impl Strategy<Value = Event> {
    let number = || 0..2usize;
    let pick = || 0..4usize;
    prop_oneof![
        12 => prop::bool::weighted(0.7).prop_map(|is_delivered| Event::MoveIn { is_delivered }),
        6 => Just(Event::MoveOut),
        8 => any::<bool>().prop_map(|is_delivered| Event::Reenter { is_delivered }),
        6 => number().prop_map(Event::AddTag),
        3 => number().prop_map(Event::RemoveTag),
        4 => Just(Event::Deliver),
        3 => pick().prop_map(Event::RepeatDelivery),
        12 => Just(Event::Sync),
        5 => pick().prop_map(Event::DeletePad),
        2 => pick().prop_map(Event::DeleteSkipped),
        5 => pick().prop_map(Event::End),
        2 => pick().prop_map(Event::Request),
        1 => number().prop_map(Event::RequestConfiguration),
        2 => number().prop_map(Event::EditTag),
        4 => number().prop_map(Event::EditTagBack),
        1 => number().prop_map(Event::EditTitle),
        1 => (number(), select(&POLICIES[..])).prop_map(|(number, policy)| Event::EditPolicy(number, policy)),
        2 => number().prop_map(Event::DeleteConfiguration),
        6 => number().prop_map(Event::Apply),
        3 => number().prop_map(Event::Replace),
        2 => number().prop_map(Event::CreateByHand),
        4 => Just(Event::Refuse),
        1 => Just(Event::CreateLive),
        3 => Just(Event::Create),
        2 => Just(Event::NoQuota),
        3 => Just(Event::Quota),
        3 => pick().prop_map(Event::DeleteRecord),
        2 => pick().prop_map(Event::BeginInterview),
        3 => pick().prop_map(Event::EndInterview),
        1 => Just(Event::Stop),
        2 => (0..6u32).prop_map(Event::StopAfter),
        3 => Just(Event::Start),
    ]
}

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let after = prop_oneof![Just(1i64), Just(40), Just(700), Just(4_000), Just(60_000)];
    prop::collection::vec((events(), after, prop::bool::weighted(0.75)), 1..24)
}

/// Plays a history. Returns the first rule that it breaks.
fn play(setting: Setting, moments: &[Moment], mutant: Option<Mutant>) -> Result<(), (Broken, String)> {
    let mut world = World::new(setting, mutant);
    world.run_until_idle();
    for (event, after, is_settled) in moments {
        world.now += after;
        happen(&mut world, event);
        if *is_settled {
            world.run_until_idle();
        }
        if let Some(broken) = world.truth.broken.first() {
            return Err(broken.clone());
        }
    }
    end_as_it_is(&mut world);
    end_well(&mut world);
    world.truth.broken.first().map_or(Ok(()), |broken| Err(broken.clone()))
}

fn happen(world: &mut World, event: &Event) {
    let configurations = world.setting.configurations;
    let number = |number: usize| number % configurations;
    match *event {
        Event::MoveIn { is_delivered } => world.move_in(is_delivered),
        Event::MoveOut => world.move_out(),
        Event::Reenter { is_delivered } => {
            world.move_out();
            world.now += 1000;
            world.move_in(is_delivered);
        }
        Event::AddTag(one) => world.add_tag(number(one)),
        Event::RemoveTag(one) => world.remove_tag(number(one)),
        Event::Deliver => {
            world.deliver();
        }
        Event::RepeatDelivery(pick) => world.repeat_delivery(pick),
        Event::Sync => world.sync(),
        Event::DeletePad(pick) => delete(world, pick, |_| true),
        Event::DeleteSkipped(pick) => delete(world, pick, |pad| pad.phase() == Some(Phase::Skipped)),
        Event::End(pick) => world.end(pick),
        Event::Request(pick) => world.request(pick),
        Event::RequestConfiguration(one) => world.request_configuration(number(one)),
        Event::EditTag(one) => world.edit(number(one), "tag", json!("another")),
        Event::EditTagBack(one) => {
            let one = number(one);
            world.edit(one, "tag", json!(world::tag(one)));
        }
        Event::EditTitle(one) => {
            let title = format!("title {}", world.id());
            world.edit(number(one), "title", json!(title));
        }
        Event::EditPolicy(one, policy) => world.set_policy(number(one), policy),
        Event::DeleteConfiguration(one) => world.delete_configuration(number(one)),
        Event::Apply(one) => world.apply(number(one)),
        Event::Replace(one) => {
            world.delete_configuration(number(one));
            world.apply(number(one));
        }
        Event::CreateByHand(one) => world.create_by_hand(number(one)),
        Event::Refuse => world.creation = HistoryCreation::Refused,
        Event::CreateLive => world.creation = HistoryCreation::Live,
        Event::Create => world.creation = HistoryCreation::Works,
        Event::NoQuota => world.set_quota(0),
        Event::Quota => world.set_quota(1000),
        Event::DeleteRecord(pick) => world.delete_record(pick),
        Event::BeginInterview(pick) => world.begin_interview(pick),
        Event::EndInterview(pick) => world.end_interview(pick),
        Event::Stop => world.is_up = false,
        Event::StopAfter(effects) => world.stops_after = Some(effects),
        Event::Start => world.start(),
    }
}

fn delete(world: &mut World, pick: usize, which: impl Fn(&Pad) -> bool) {
    if let Some(name) = world.pick_pad(pick, which) {
        world.delete_pad(&name);
    }
}

/// Ends a history without further events. Syncs and reconciles must settle, also while CoderPad refuses to create pads.
fn end_as_it_is(world: &mut World) {
    world.start();
    while world.deliver() {}
    calm(world);
    let most = world.truth.most_posts(world.setting.configurations);
    if world.truth.posts > most {
        let message = format!("{} requests to create a pad, and causes for {most}", world.truth.posts);
        world.truth.fails(Broken::Restless, message);
    }
}

fn calm(world: &mut World) {
    for _ in 0..4 {
        world.now += 4_000;
        world.sync();
        world.run_until_idle();
    }
    let before = (world.pads.clone(), world.configurations.clone(), world.truth.posts);
    for _ in 0..3 {
        world.now += 4_000;
        world.sync();
        world.run_until_idle();
    }
    if before.2 != world.truth.posts {
        world.truth.fails(Broken::Restless, "requests to create pads do not end");
    } else if before.0 != world.pads || before.1 != world.configurations {
        world.truth.fails(Broken::Restless, "writes do not end");
    }
}

/// Ends a history after all faults are resolved. Every pending Pad must continue.
fn end_well(world: &mut World) {
    world.creation = HistoryCreation::Works;
    world.set_quota(1000);
    for number in 0..world.setting.configurations {
        world.edit(number, "tag", json!(world::tag(number)));
        world.apply(number);
        world.run_until_idle();
        stay_failed(world, number);
        world.edit(number, "title", json!("a new title"));
    }
    calm(world);
    for number in 0..world.setting.configurations {
        all_are_served(world, number);
    }
}

/// Checks that a Pad stays Failed only with the configuration with which it failed.
fn stay_failed(world: &mut World, number: usize) {
    let Some(configuration) = &world.configurations[number] else { return };
    let uid = configuration.uid().unwrap();
    let is_stale = |pad: &&Pad| {
        is_stuck(world, number, pad)
            && pad.phase() == Some(Phase::Failed)
            && pad.metadata.deletion_timestamp.is_none()
            && world.truth.failed_with(&pad.uid().unwrap()) != Some(uid.as_str())
    };
    let stale: Vec<String> = world.pads.iter().filter(is_stale).map(ResourceExt::name_any).collect();
    for name in stale {
        let message = format!("{name} stays Failed, though its configuration is another one now");
        world.truth.fails(Broken::Stuck, message);
    }
}

/// Reports whether a Pad of the configuration lacks a final decision. A failed Pad may stay Failed if another Pad of
/// the candidate serves the entry, or was cancelled.
fn is_stuck(world: &World, number: usize, pad: &Pad) -> bool {
    let name = configuration_name(number);
    let is_over = |other: &Pad| matches!(other.phase(), Some(Phase::Open | Phase::Started | Phase::Ended));
    let of = |one: &&Pad| one.spec.configuration_ref.name == name;
    let is_served = || world.pads.iter().filter(of).any(is_over) || world.truth.has_ended_one(number);
    of(&pad)
        && match pad.phase() {
            None | Some(Phase::Pending) => true,
            Some(Phase::Failed) => !is_served(),
            _ => false,
        }
}

fn all_are_served(world: &mut World, number: usize) {
    let waiting: Vec<String> = world
        .pads
        .iter()
        .filter(|pad| is_stuck(world, number, pad))
        .map(|pad| {
            format!("{} {:?}", pad.name_any(), pad.status.as_ref().and_then(|status| status.reason.clone()))
        })
        .collect();
    for pad in waiting {
        world.truth.fails(Broken::Stuck, format!("{pad} is still undecided"));
    }
    let status = world.configurations[number].as_ref().and_then(|one| one.status.as_ref());
    let since = status.and_then(|status| status.effective_since).map(|since| since.as_millisecond());
    let entry = world.entry();
    if world.is_in_stage_with(number)
        && since.is_some_and(|since| world.truth.deserves(number, entry, since, world.setting.skew))
        && world.setting.repeat != "Never"
    {
        world.truth.fails(Broken::Stuck, format!("entry {entry} of {number} gets no pad"));
    }
    let ids: Vec<&String> =
        world.pads.iter().filter_map(|pad| pad.annotations().get(names::PAD_ID)).collect();
    if ids.iter().collect::<BTreeSet<_>>().len() != ids.len() {
        world.truth.fails(Broken::Twice, "two Pads have the same pad");
    }
}

fn run(cases: u32, mutant: Option<Mutant>) -> Result<(), String> {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: if mutant.is_some() { 0 } else { 4000 },
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let history = (settings(), moments());
    let played = runner.run(&history, |(setting, moments)| {
        play(setting, &moments, mutant)
            .map_err(|(rule, message)| TestCaseError::fail(format!("{rule:?}: {message}")))
    });
    match played {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, (setting, moments))) => {
            let moments: Vec<String> = moments.iter().map(|moment| format!("{moment:?}")).collect();
            Err(format!("{reason}\n{setting:?}\n{}", moments.join("\n")))
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

#[test]
fn histories_keep_every_rule() {
    if let Err(history) = run(Config::default().cases.max(CASES), None) {
        panic!("{history}");
    }
}

/// Asserts that a history finds the mutant: without this stored value, the product breaks one of the expected rules.
fn is_found(mutant: Mutant, expected: &[Broken]) {
    let Err(history) = run(MUTANT_CASES, Some(mutant)) else { panic!("no history misses {mutant:?}") };
    let is_expected = expected.iter().any(|rule| history.starts_with(&format!("{rule:?}:")));
    assert!(is_expected, "{mutant:?} led to {history}");
}

#[test]
fn a_failed_pad_without_its_entry_is_created_again_and_again() {
    is_found(Mutant::FailedEntry, &[Broken::Restless]);
}

#[test]
fn a_deleted_pad_without_served_entries_is_created_again() {
    is_found(Mutant::ServedEntries, &[Broken::Twice, Broken::BeforeEnd, Broken::Before]);
}

#[test]
fn a_deleted_skipped_pad_without_served_entries_gets_a_pad() {
    is_found(Mutant::ServedExisting, &[Broken::Before]);
}

#[test]
fn a_failed_pad_without_the_uid_of_its_configuration_is_stuck() {
    is_found(Mutant::ConfigurationUid, &[Broken::Stuck]);
}

#[test]
fn a_waiting_pad_without_the_annotation_of_sync_is_not_existing() {
    is_found(Mutant::ExistingMark, &[Broken::NotBefore]);
}

#[test]
fn a_second_pad_is_created_before_the_end_without_the_entry_of_the_deletion() {
    is_found(Mutant::DeletedEntry, &[Broken::BeforeEnd, Broken::Twice]);
}

#[test]
fn a_cancelled_entry_gets_a_pad_without_the_entry_of_the_cancellation() {
    is_found(Mutant::CancelledEntry, &[Broken::Cancelled]);
}

const SETTING: Setting = Setting {
    configurations: 1,
    existing: "Skip",
    repeat: "AfterEnd",
    deletion_policy: "Retain",
    take_home: false,
    skew: 0,
    begins_tagged: false,
    begins_in_stage: true,
    begins_configured: true,
};

fn assert_kept(setting: Setting, events: Vec<(Event, bool)>) {
    let moments: Vec<Moment> = events.into_iter().map(|(event, settled)| (event, 1, settled)).collect();
    assert_eq!(play(setting, &moments, None), Ok(()));
}

/// Without the configuration, the stage is unknown, and therefore the entry is unknown too (contract P3b, E6).
#[test]
fn a_pad_that_is_cancelled_without_its_configuration_stays_cancelled() {
    assert_kept(
        SETTING,
        vec![
            (Event::Deliver, true),
            (Event::DeleteConfiguration(0), false),
            (Event::Reenter { is_delivered: false }, false),
            (Event::End(0), false),
            (Event::AddTag(0), false),
        ],
    );
}

/// The scan that finds the entry must not store it as served, because the interview ended before the entry (contract
/// P3d).
#[test]
fn an_entry_after_an_unseen_end_gets_its_pad() {
    assert_kept(
        Setting { begins_tagged: true, begins_in_stage: false, ..SETTING },
        vec![
            (Event::MoveIn { is_delivered: true }, true),
            (Event::EndInterview(0), false),
            (Event::Reenter { is_delivered: false }, false),
            (Event::Sync, true),
        ],
    );
}
