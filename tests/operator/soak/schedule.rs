//! Schedule of all events, generated in advance from the seed alone, so that the seed repeats it.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use simulators::{DeliveryBehaviour, FaultAction, PausePoint};

use super::{RULES, Size};
use crate::environment::{STAGE, TAG};

/// Event of the schedule. Candidates are identified by number; Pads and deliveries by a number modulo their current
/// count.
#[derive(Clone, Debug)]
pub enum Event {
    /// A candidate is added to Lever, in the first stage.
    AddCandidate {
        candidate: usize,
        tags: Vec<&'static str>,
    },
    Tag {
        candidate: usize,
        tag: &'static str,
    },
    Untag {
        candidate: usize,
        tag: &'static str,
    },
    Move {
        candidate: usize,
        stage: &'static str,
    },
    /// Sets how webhooks are delivered.
    Deliver(DeliveryBehaviour),
    /// Held webhooks are delivered.
    Release {
        newest_first: bool,
    },
    /// A person presses Rerun for a delivery.
    Rerun(usize),
    FaultPlan(FaultPlan),
    /// CoderPad's lists are delayed by this number of milliseconds.
    ListLag(u64),
    PagesByCursor(bool),
    /// A person creates a pad in CoderPad: all pages shift.
    PadByHand,
    /// Lever's page tokens expire.
    ExpireTokens,
    Kill(ReplicaChoice),
    Terminate(ReplicaChoice),
    /// All stopped replicas are started.
    Start,
    /// The connection to the API server is cut.
    Cut(ReplicaChoice),
    EndFaults,
    StopService(SoakService),
    ResumeService(SoakService),
    /// The Secret contains an invalid key.
    RejectKey(SoakService),
    AcceptKey(SoakService),
    Suspend(bool),
    WipeStatus(usize),
    /// A Pad is lost and restored from a backup, without its status.
    Restore(usize),
    /// A user deletes a Pad.
    Delete(usize),
    /// A user changes the deletion policy of a Pad and deletes it.
    DeleteWith {
        which: usize,
        policy: &'static str,
    },
    /// A user deletes a Pad that is Skipped.
    DeleteSkipped(usize),
    /// A user deletes a configuration and applies it again later.
    Unconfigure(usize),
    Configure(usize),
    /// A user deletes the connection with all its configurations and applies them again later, with another name of the
    /// connection.
    Disconnect,
    Reconnect,
    /// A user changes the tag of a configuration and changes it back later.
    ChangeTag(usize),
    ChangeTagBack(usize),
    /// A user changes the title of a configuration.
    ChangeTitle(usize),
    /// A user applies a Pad, whether or not its configuration exists.
    Apply {
        rule: usize,
        candidate: usize,
    },
    /// A person deletes a pad in CoderPad.
    DeletePad(usize),
    /// The Secret contains the key of another CoderPad organization.
    SwapKey,
    /// A person opens the pad of a Pad or ends its interview.
    Begin(usize),
    End(usize),
}

/// One replica or all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReplicaChoice {
    Leader,
    Other,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SoakService {
    Lever,
    Interview,
}

/// Fault to inject.
#[derive(Clone, Debug)]
pub struct FaultPlan {
    pub target: FaultTarget,
    pub action: FaultAction,
    /// Number of requests that pass first, and number of requests that meet the fault.
    pub skip: u32,
    pub times: u32,
    /// For a pause: what happens to the request, and after how many milliseconds.
    pub then: Option<(u64, PauseEnd)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PauseEnd {
    Release,
    Discard,
}

/// Requests to which a fault applies; with a number, those of one candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultTarget {
    Create(usize),
    Opportunity(usize),
    AddLink(usize),
    RemoveLink(usize),
    Tags(usize),
    Note(usize),
    Opportunities,
    Pad,
    PadList,
    Every(SoakService),
}

impl FaultTarget {
    pub fn is_of_one_candidate(self) -> bool {
        match self {
            Self::Create(_)
            | Self::Opportunity(_)
            | Self::AddLink(_)
            | Self::RemoveLink(_)
            | Self::Tags(_)
            | Self::Note(_) => true,
            Self::Opportunities | Self::Pad | Self::PadList | Self::Every(_) => false,
        }
    }
}

/// Stage that no configuration names.
const UNUSED_STAGE: &str = "Offer";

/// Sequences of stages of the candidates.
const ROUTES: [&[&str]; 9] = [
    &[STAGE],
    &[STAGE],
    &["Take-home"],
    &["Onsite"],
    &[STAGE, "Take-home"],
    &[STAGE, "Take-home", "Onsite"],
    &[STAGE, UNUSED_STAGE],
    &[STAGE, UNUSED_STAGE, STAGE],
    &["Onsite", UNUSED_STAGE, "Onsite"],
];

/// Maximum delay, in milliseconds, after which a request to create a pad takes effect: within the operator's
/// `--interview-create-timeout=2s`. The maximum delay of the lists is within its `--interview-list-lag=1s`.
const CREATE_TIMEOUT: u64 = 1500;
const MAX_LIST_LAG: u64 = 700;
/// Maximum delay of all other requests, for whose timeout the operator waits 20 s.
const WRITE_TIMEOUT: u64 = 12_000;

/// Returns all events of a run, in order.
pub fn schedule(seed: u64, size: Size) -> Vec<(Duration, Event)> {
    let mut seeds = Rng::with_seed(seed);
    let parts: [fn(&mut Part); 8] =
        [candidates, deliveries, faults, lists, replicas, services_and_suspension, pads, actions_of_people];
    let mut events = Vec::new();
    for part in parts {
        // Each part has its own random source: a change to one part leaves the others unchanged.
        let mut part_of = Part { rng: seeds.fork(), size, events: Vec::new() };
        part(&mut part_of);
        events.extend(part_of.events);
    }
    events.sort_by_key(|(at, _)| *at);
    events.into_iter().map(|(at, event)| (Duration::from_millis(at), event)).collect()
}

/// Returns the number of events of each kind.
pub fn summary(events: &[(Duration, Event)]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (_, event) in events {
        let text = format!("{event:?}");
        *counts.entry(text.split([' ', '(']).next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    counts.join(", ")
}

/// Times of faults of replicas and services.
pub fn fault_times(events: &[(Duration, Event)]) -> String {
    let is_trouble = |event: &Event| {
        use Event::{
            AcceptKey, ChangeTag, ChangeTagBack, Configure, Cut, Disconnect, EndFaults, Kill, Reconnect,
            RejectKey, ResumeService, Start, StopService, Suspend, SwapKey, Terminate, Unconfigure,
        };
        matches!(
            event,
            Kill(_)
                | Terminate(_)
                | Start
                | Cut(_)
                | EndFaults
                | StopService(_)
                | ResumeService(_)
                | RejectKey(_)
                | AcceptKey(_)
                | Suspend(_)
                | SwapKey
                | Unconfigure(_)
                | Configure(_)
                | Disconnect
                | Reconnect
                | ChangeTag(_)
                | ChangeTagBack(_)
        )
    };
    let fault_times = events.iter().filter(|(_, event)| is_trouble(event));
    let fault_times: Vec<_> =
        fault_times.map(|(at, event)| format!("{:.1} s {event:?}", at.as_secs_f32())).collect();
    fault_times.join(", ")
}

struct Part {
    rng: Rng,
    size: Size,
    events: Vec<(u64, Event)>,
}

impl Part {
    fn length(&self) -> u64 {
        self.size.seconds * 1000
    }

    fn add(&mut self, at: u64, event: Event) {
        self.events.push((at, event));
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    fn one<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.rng.usize(..all.len())]
    }

    fn any_number(&mut self) -> usize {
        self.rng.usize(..1_000_000)
    }

    fn any_time(&mut self) -> u64 {
        let length = self.length();
        self.rng.u64(length / 10..length)
    }

    /// Returns non-overlapping time spans, with a mean distance in milliseconds, each of a length in this range.
    fn spans(&mut self, apart: u64, lengths: std::ops::Range<u64>) -> Vec<(u64, u64)> {
        let (first, last) = (self.length() / 10, self.length() * 9 / 10);
        let count = ((last - first) / apart).max(1);
        let room = (last - first) / count;
        let span = |number| {
            let length = self.rng.u64(lengths.clone()).min(room * 3 / 4);
            let start = first + number * room + self.rng.u64(0..=(room - length));
            (start, start + length)
        };
        (0..count).map(span).collect()
    }
}

/// Candidates who are added, are tagged before or after the stage change, leave the stage and return.
fn candidates(part: &mut Part) {
    for candidate in 0..part.size.candidates {
        let appears = added_at(candidate, part.size);
        let route = part.one(&ROUTES);
        let mut moves = Vec::new();
        let mut at = appears;
        for stage in route {
            at = (at + part.rng.u64(50..6000)).min(part.length() * 95 / 100);
            moves.push((at, *stage));
        }
        let mut tags = Vec::new();
        for tag in [TAG, RULES[1].tag] {
            match part.rng.u32(..100) {
                0..80 => tags.push(tag),
                80..92 => {
                    let late = at + part.rng.u64(..2000);
                    part.add(late, Event::Tag { candidate, tag });
                }
                _ => {}
            }
        }
        if part.percent(4) {
            let must_finish = moves[0].0 + part.rng.u64(..1000);
            part.add(must_finish, Event::Untag { candidate, tag: TAG });
        }
        part.add(appears, Event::AddCandidate { candidate, tags });
        for (at, stage) in moves {
            part.add(at, Event::Move { candidate, stage });
        }
    }
}

/// Distributes candidates evenly, by number alone, so that other parts can compute it too.
fn added_at(candidate: usize, size: Size) -> u64 {
    let share = if size.is_long() { 750 } else { 450 };
    size.seconds * share * candidate as u64 / size.candidates as u64
}

/// Webhooks are repeated, delayed, reordered or lost.
fn deliveries(part: &mut Part) {
    for (start, end) in part.spans(2500, 500..2000) {
        let mut behaviour = DeliveryBehaviour { with_id: part.rng.bool(), ..DeliveryBehaviour::default() };
        match part.rng.u32(..100) {
            0..30 => behaviour.copies = part.rng.usize(2..4),
            30..55 => behaviour.delay_milliseconds = part.rng.u64(200..4000),
            55..90 => behaviour.hold = true,
            _ => behaviour.drop = true,
        }
        let held = behaviour.hold;
        part.add(start, Event::Deliver(behaviour));
        part.add(end, Event::Deliver(DeliveryBehaviour::default()));
        if held {
            let newest_first = part.percent(70);
            let release = end + part.rng.u64(..3000);
            part.add(release, Event::Release { newest_first });
        }
    }
    for _ in 0..part.size.candidates / 4 {
        let (at, which) = (part.any_time(), part.any_number());
        part.add(at, Event::Rerun(which));
    }
}

/// Each candidate's own requests meet faults, and from time to time any request does.
fn faults(part: &mut Part) {
    for candidate in 0..part.size.candidates {
        let at = added_at(candidate, part.size) + 1;
        for (percent, target) in [
            (40, FaultTarget::Create(candidate)),
            (40, FaultTarget::AddLink(candidate)),
            (30, FaultTarget::Opportunity(candidate)),
            (10, FaultTarget::RemoveLink(candidate)),
        ] {
            if part.percent(percent) {
                let order = order(part, target);
                part.add(at, Event::FaultPlan(order));
            }
        }
        if part.percent(10) {
            let order = order(part, FaultTarget::Tags(candidate));
            part.add(at, Event::FaultPlan(order));
        }
        if part.size.is_long() && part.percent(20) {
            let order = order(part, FaultTarget::Note(candidate));
            part.add(at, Event::FaultPlan(order));
        }
    }
    for _ in 0..part.length() / 1000 {
        let at = part.any_time();
        let target = part.one(&[
            FaultTarget::Every(SoakService::Lever),
            FaultTarget::Every(SoakService::Interview),
            FaultTarget::Opportunities,
            FaultTarget::Pad,
            FaultTarget::PadList,
        ]);
        let order = order(part, target);
        part.add(at, Event::FaultPlan(order));
    }
}

fn order(part: &mut Part, target: FaultTarget) -> FaultPlan {
    let latest = match target {
        FaultTarget::Create(_) => CREATE_TIMEOUT,
        // A reconcile sends several of these one after the other.
        FaultTarget::Opportunity(_)
        | FaultTarget::Opportunities
        | FaultTarget::Pad
        | FaultTarget::PadList => 3000,
        _ if part.size.is_long() => WRITE_TIMEOUT,
        _ => 5000,
    };
    let code = part.one(&[500, 502, 503, 504]);
    let milliseconds = part.rng.u64(100..latest);
    let patience = part.rng.u64(100..8000);
    let (before, after) = (PausePoint::BeforeEffect, PausePoint::AfterEffect);
    let plain = |action| (action, None);
    let (action, then) = match part.rng.u32(..100) {
        0..10 => plain(FaultAction::Status { code, body: None }),
        10..17 => plain(FaultAction::Status { code: 429, body: None }),
        17..27 => plain(FaultAction::Reset),
        27..29 => plain(FaultAction::Hang),
        29..31 => plain(FaultAction::HangAfterEffect),
        31..43 => plain(FaultAction::LoseAnswer),
        43..53 => plain(FaultAction::StatusAfterEffect { code, body: None }),
        53..60 => plain(FaultAction::GarbageAfterEffect),
        60..67 => plain(FaultAction::TruncateAfterEffect),
        67..70 => plain(FaultAction::HugeAfterEffect { bytes: 9 << 20 }),
        // A request that meets two of the following would exceed the maximum delay.
        _ if matches!(target, FaultTarget::Every(_)) => plain(FaultAction::LoseAnswer),
        70..78 => plain(FaultAction::Delay { milliseconds }),
        78..84 => plain(FaultAction::DelayAnswer { milliseconds: patience }),
        84..90 => (FaultAction::Pause { at: before }, Some((milliseconds, PauseEnd::Release))),
        90..93 => (FaultAction::Pause { at: before }, Some((patience, PauseEnd::Discard))),
        93..97 => (FaultAction::Pause { at: after }, Some((patience, PauseEnd::Release))),
        _ => (FaultAction::Pause { at: after }, Some((patience, PauseEnd::Discard))),
    };
    let times = if matches!(target, FaultTarget::Every(_)) { part.rng.u32(1..4) } else { 1 };
    let skip = u32::from(target.is_of_one_candidate() && part.percent(15));
    FaultPlan { target, action, skip, times, then }
}

/// Lists are delayed and their pages shift.
fn lists(part: &mut Part) {
    for _ in 0..part.length() / 5000 {
        let (at, lag) = (part.any_time(), part.rng.u64(..MAX_LIST_LAG));
        part.add(at, Event::ListLag(lag));
        let (at, by_cursor) = (part.any_time(), part.rng.bool());
        part.add(at, Event::PagesByCursor(by_cursor));
        let at = part.any_time();
        part.add(at, Event::ExpireTokens);
    }
    for _ in 0..part.length() / 1000 {
        let at = part.any_time();
        part.add(at, Event::PadByHand);
    }
}

/// Replicas are killed, stopped and disconnected. After a leader was killed there is no leader for 15 s; in a short run
/// it is killed once, and late.
fn replicas(part: &mut Part) {
    let spans = part.spans(if part.size.is_long() { 20_000 } else { 12_000 }, 300..5000);
    let last = spans.len() - 1;
    for (number, (start, end)) in spans.into_iter().enumerate() {
        let dice = part.rng.u32(..100);
        let (trouble, over) = match dice {
            _ if number == last => (Event::Kill(ReplicaChoice::Leader), Event::Start),
            0..20 => (Event::Kill(ReplicaChoice::Other), Event::Start),
            20..30 => (Event::Terminate(ReplicaChoice::Other), Event::Start),
            30..45 => (Event::Cut(ReplicaChoice::Leader), Event::EndFaults),
            45..55 => (Event::Cut(ReplicaChoice::Both), Event::EndFaults),
            _ if !part.size.is_long() => (Event::Cut(ReplicaChoice::Other), Event::EndFaults),
            55..75 => (Event::Kill(ReplicaChoice::Leader), Event::Start),
            75..85 => (Event::Kill(ReplicaChoice::Both), Event::Start),
            85..95 => (Event::Terminate(ReplicaChoice::Leader), Event::Start),
            _ => (Event::Terminate(ReplicaChoice::Both), Event::Start),
        };
        // Long enough that the leader gives up.
        let longer = if part.size.is_long() && part.percent(10) { 12_000 } else { 0 };
        part.add(start, trouble);
        part.add(end + longer, over);
    }
}

/// Services fail, keys are rejected, the connection is suspended.
fn services_and_suspension(part: &mut Part) {
    for (start, end) in part.spans(12_000, 300..4000) {
        let service = part.one(&[SoakService::Lever, SoakService::Interview]);
        let (trouble, over) = match part.rng.u32(..3) {
            0 => (Event::StopService(service), Event::ResumeService(service)),
            1 => (Event::RejectKey(service), Event::AcceptKey(service)),
            _ => (Event::Suspend(true), Event::Suspend(false)),
        };
        part.add(start, trouble);
        part.add(end, over);
    }
}

/// Actions of people and failures of the cluster that affect Pads, and actions of interviewers that affect pads.
fn pads(part: &mut Part) {
    let kinds: [fn(usize) -> Event; 3] = [Event::WipeStatus, Event::Restore, Event::Delete];
    for kind in kinds {
        for _ in 0..part.size.candidates.div_ceil(12) {
            let (at, which) = (part.any_time(), part.any_number());
            part.add(at, kind(which));
        }
    }
    // Whether a note was written is known only a minute later; in a short run this happens early enough.
    let (share, last) = if part.size.is_long() { (2, 90) } else { (6, 60) };
    for _ in 0..part.size.candidates / share {
        let (at, which) = (part.any_time() * last / 100, part.any_number());
        part.add(at, Event::Begin(which));
        let later = at + part.rng.u64(100..3000);
        part.add(later, Event::End(which));
    }
}

/// Actions of people that affect Pads, configurations, keys and pads.
fn actions_of_people(part: &mut Part) {
    for _ in 0..part.size.candidates.div_ceil(16) {
        let (at, which) = (part.any_time(), part.any_number());
        let policy = part.one(&["Retain", "Unlink", "Delete"]);
        part.add(at, Event::DeleteWith { which, policy });
        let (at, which) = (part.any_time(), part.any_number());
        part.add(at, Event::DeleteSkipped(which));
        let (at, which) = (part.any_time(), part.any_number());
        part.add(at, Event::DeletePad(which));
    }
    let (rule, kind) = (part.rng.usize(..RULES.len()), part.rng.usize(..4));
    for (number, (start, end)) in part.spans(12_000, 500..4000).into_iter().enumerate() {
        let rule = (rule + number) % RULES.len();
        match (kind + number) % 4 {
            0 => {
                part.add(start, Event::Unconfigure(rule));
                for _ in 0..2 {
                    let (at, candidate) = (part.rng.u64(start..end), part.rng.usize(..part.size.candidates));
                    part.add(at, Event::Apply { rule, candidate });
                }
                part.add(end, Event::Configure(rule));
            }
            1 => {
                part.add(start, Event::ChangeTag(rule));
                part.add(end, Event::ChangeTagBack(rule));
            }
            2 => {
                part.add(start, Event::Disconnect);
                part.add(end, Event::Reconnect);
            }
            _ => {
                part.add(start, Event::SwapKey);
                part.add(end, Event::AcceptKey(SoakService::Interview));
            }
        }
    }
    for _ in 0..part.length() / 10_000 {
        let (at, rule) = (part.any_time(), part.rng.usize(..RULES.len()));
        part.add(at, Event::ChangeTitle(rule));
    }
}

#[test]
fn each_seed_determines_a_unique_schedule() {
    let size = Size { seconds: 40, candidates: 60 };
    let of = |seed| format!("{:?}", schedule(seed, size));
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
}

/// No fault persists, every candidate is added, and only events that end something happen after the end, for any seed
/// and size.
#[test]
fn every_fault_of_a_schedule_ends() {
    for seed in 0..200 {
        for size in [Size { seconds: 30, candidates: 60 }, Size { seconds: 300, candidates: 7 }] {
            let events = schedule(seed, size);
            assert!(events.is_sorted_by_key(|(at, _)| *at));
            let count = |wanted: fn(&Event) -> bool| events.iter().filter(|(_, one)| wanted(one)).count();
            assert_eq!(count(|one| matches!(one, Event::AddCandidate { .. })), size.candidates);
            let ended = count(|one| matches!(one, Event::Kill(_) | Event::Terminate(_)));
            assert_eq!(ended, count(|one| matches!(one, Event::Start)));
            let disconnect = count(|one| matches!(one, Event::Cut(_)));
            assert_eq!(disconnect, count(|one| matches!(one, Event::EndFaults)));
            let away = count(|one| matches!(one, Event::StopService(_)));
            assert_eq!(away, count(|one| matches!(one, Event::ResumeService(_))));
            let refused = count(|one| matches!(one, Event::RejectKey(_) | Event::SwapKey));
            assert_eq!(refused, count(|one| matches!(one, Event::AcceptKey(_))));
            let removed = count(|one| matches!(one, Event::Unconfigure(_)));
            assert_eq!(removed, count(|one| matches!(one, Event::Configure(_))));
            let disconnected = count(|one| matches!(one, Event::Disconnect));
            assert_eq!(disconnected, count(|one| matches!(one, Event::Reconnect)));
            let changed = count(|one| matches!(one, Event::ChangeTag(_)));
            assert_eq!(changed, count(|one| matches!(one, Event::ChangeTagBack(_))));
            let suspended = count(|one| matches!(one, Event::Suspend(true)));
            assert_eq!(suspended, count(|one| matches!(one, Event::Suspend(false))));
        }
    }
}
