//! The adapter between the model and the product. It converts the state of a pass to the real `PadState`, and the real
//! rules decide.
//!
//! The rules are pure. The adapter therefore caches its result for the same state, without which the model could not
//! explore millions of states.

use super::state::{
    ClaimedKnown, CoderPad, FlightKnown, Known, Mark, NoteKnown, Object, Person, RecordKnown, SLOTS, Stopped,
    Wrong,
};
use api::Pad;
use api::configuration::{DeletionPolicy, Existing, PadType, Repeat, WriteBack};
use api::installation::Installation;
use api::names::{self, Claim, CreateIntent, OnceOnlyWrite, Reference, Series};
use api::pad::{DesiredState, Phase};
use api::reason::Reason;
use api::served_stage_entries::{self, Fingerprint};
use engine::command::{Command, Outcome, WriteBackState};
use engine::decide::decide;
use engine::series::{Progress, SeriesMember};
use engine::stage_change::{PadAction, choose_action};
use engine::state::{
    CandidateLookup, ConnectionState, CreateOutcome, NoteLookup, Ownership, PadLookup, PadState, PassError,
    Rule, RuleState, StoredPad, WriteClaim,
};
use jiff::Timestamp;
use serde_json::json;
use services::coderpad::PadRecord;
use services::lever::{Opportunity, StageHistoryEntry};
use services::{ErrorKind, Service, ServiceError};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

const NAMESPACE: &str = "hiring";
const CONFIGURATION: &str = "phone-screen";
const OPPORTUNITY: &str = "op-1";
const STAGE: &str = "stage-phone";
const TAG: &str = "coderpad";
/// Time of the first stage entry, in milliseconds since the epoch. Each repeat is one second later.
const ENTRY_MS: i64 = 1_700_000_000_000;

/// A command of the rules, in the model's types.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Planned {
    Rest(ReportedStatus),
    ReadPerson,
    ReadPad(u8),
    ReadLinkedPads(Vec<u8>),
    Create { entry: u8 },
    Search { entry: u8 },
    StoreServed(Vec<u8>),
    Store { pad: u8, keep_finalizer: bool, claim_link: bool },
    Forget,
    Claim(OnceOnlyWrite),
    ReadNotes,
    AddNote,
    AddLink(u8),
    RemoveLink(u8),
    DeletePad(u8),
    SetFinalizer(bool),
    ReadEvents,
    Yield(bool),
    ForgetPad,
}

/// The status that a pass writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReportedStatus {
    Nothing,
    Unchanged,
    Phase(Mark),
    /// Skipped, because the other installation has the pad.
    Owned,
    Recorded,
}

/// The input of the receiver: each Pad in its cache (slot, whether it is being deleted, last request), and the
/// delivery.
type Delivered = (Vec<(u8, bool, u8)>, u8);

thread_local! {
    static PLANNED: RefCell<HashMap<(Known, u8, bool), Planned>> = RefCell::default();
    static DECIDED: RefCell<HashMap<Delivered, Decided>> = RefCell::default();
}

/// Returns the next command of the real rules.
pub fn planned(known: &Known, policy: DeletionPolicy, wrong: Option<Wrong>) -> Planned {
    let number = match policy {
        DeletionPolicy::Retain => 0,
        DeletionPolicy::Unlink => 1,
        DeletionPolicy::Delete => 2,
    };
    // The version is not an input of the rules, and therefore not a part of the cache key.
    let mut known = known.clone();
    known.object.version = 0;
    let mixes = wrong == Some(Wrong::NoInstallations);
    let key = (known, number, mixes);
    if let Some(planned) = PLANNED.with_borrow(|all| all.get(&key).cloned()) {
        return planned;
    }
    let planned = in_the_models_words(decide(&state(&key.0, policy, mixes)).command);
    PLANNED.with_borrow_mut(|all| all.insert(key, planned.clone()));
    planned
}

fn in_the_models_words(step: Command) -> Planned {
    match step.clone() {
        Command::Done { outcome, .. } => Planned::Rest(match &outcome {
            Outcome::NoDecision | Outcome::StaleRead => ReportedStatus::Nothing,
            Outcome::Keep => ReportedStatus::Unchanged,
            Outcome::Waiting(..) => ReportedStatus::Phase(Mark::Pending),
            Outcome::Skipped(Reason::OwnedByAnotherInstallation, _) => ReportedStatus::Owned,
            Outcome::Skipped(..) => ReportedStatus::Phase(Mark::Skipped),
            Outcome::Failed(..) => ReportedStatus::Phase(Mark::Failed),
            Outcome::Open => ReportedStatus::Phase(Mark::Open),
            Outcome::Ended(WriteBackState::Written) => ReportedStatus::Recorded,
            Outcome::Ended(WriteBackState::Pending(..)) => ReportedStatus::Phase(Mark::Ended),
            Outcome::PadDeleted | Outcome::EndedUnlinked => ReportedStatus::Recorded,
            Outcome::Started
            | Outcome::Ended(WriteBackState::NotRequested | WriteBackState::Impossible(..)) => {
                panic!("nothing in the model leads to this: {outcome:?}")
            }
        }),
        Command::ReadOpportunity => Planned::ReadPerson,
        Command::ReadPad(id) => Planned::ReadPad(number(&id)),
        Command::ReadLinkedPads(ids) => Planned::ReadLinkedPads(ids.iter().map(|id| number(id)).collect()),
        Command::Create { reference, pad } => {
            assert_eq!(
                Reference::from_notes(&pad.notes).as_ref(),
                Some(&reference),
                "the notes lack the reference"
            );
            Planned::Create { entry: entry_of(&reference) }
        }
        Command::Search { reference } => Planned::Search { entry: entry_of(&reference) },
        Command::StorePad { record, keep_finalizer, claim_link } => {
            Planned::Store { pad: number(&record.id), keep_finalizer, claim_link }
        }
        Command::StoreServed(entries) => {
            let number = |entry: Timestamp| u8::try_from((entry.as_millisecond() - ENTRY_MS) / 1000).unwrap();
            Planned::StoreServed(entries.into_iter().map(number).collect())
        }
        Command::Claim(effect) => Planned::Claim(effect),
        Command::ReadNotes { .. } => Planned::ReadNotes,
        Command::AddNote(_) => Planned::AddNote,
        step @ (Command::AddTags(_)
        | Command::RemoveTags(_)
        | Command::ReadCode(_)
        | Command::CheckQuestion { .. }
        | Command::ReadKindAgain(_)
        | Command::StoreRefusal { .. }
        | Command::DeleteObject
        | Command::ReadOpportunityAgain
        | Command::ReadAnyOpportunity
        | Command::ReadOtherOpportunity(_)
        | Command::ReadPadAgain(_)
        | Command::ReadLinkedPadsAgain(_)
        | Command::EndPad(_)) => panic!("nothing in the model leads to this: {step:?}"),
        Command::ReadEvents(_) => Planned::ReadEvents,
        Command::Yield(id) => Planned::Yield(id.is_some()),
        Command::ClearPad => Planned::ForgetPad,
        Command::ClearAttempt => Planned::Forget,
        Command::AddLink(url) => Planned::AddLink(number(url.rsplit('/').next().unwrap())),
        Command::RemoveLink(url) => Planned::RemoveLink(number(url.rsplit('/').next().unwrap())),
        Command::DeletePad(id) => Planned::DeletePad(number(&id)),
        Command::SetFinalizer(present) => Planned::SetFinalizer(present),
        Command::CreateNextPad(_) | Command::JudgeSibling(_) => {
            panic!("{step:?}: the model has one Pad at a time")
        }
    }
}

/// Returns the ID of an installation.
fn id_of(installation: u8) -> String {
    format!("{installation:016x}")
}

/// Converts the state of a pass to the real `PadState`. With `mixes`, the pads of both installations count as own pads.
fn state(known: &Known, policy: DeletionPolicy, mixes: bool) -> PadState {
    let record = |pad: &CoderPad| record(pad, known.object.uid);
    let pad = StoredPad { sibling_terminating: known.another_goes, ..pad_facts(&known.object, policy) };
    let connection = ConnectionState::Ready {
        name: "acme".into(),
        pads_left: None,
        per_hour: None,
        hour_full: None,
        interview_url: String::new(),
    };
    let other = id_of(1 - known.installation);
    let ownership = Ownership {
        installation: Installation::new(Some(id_of(known.installation)), mixes.then(|| other.clone())),
        yields_to: known.object.yields.then_some(other),
        look: known.rivals,
        links_read: known.links_read.iter().map(|id| pad_id(*id)).collect(),
        ..Ownership::default()
    };
    PadState {
        ownership,
        events: known.events.then(Vec::new),
        opportunity: known
            .person
            .as_ref()
            .map_or(CandidateLookup::NotRead, |person| CandidateLookup::Read(Box::new(opportunity(person)))),
        record: match &known.record {
            RecordKnown::NotRead => PadLookup::NotRead,
            RecordKnown::NotFound => PadLookup::NotFound,
            RecordKnown::Read(pad) => PadLookup::Read(Box::new(record(pad))),
        },
        create_outcome: match &known.flight {
            FlightKnown::MayStillLand { searched } => CreateOutcome::InFlight {
                rest: Duration::from_secs(1),
                search_in: Duration::from_secs(u64::from(*searched)),
            },
            FlightKnown::Landed => CreateOutcome::Completed,
            FlightKnown::Searched(found) => CreateOutcome::Searched(found.iter().map(record).collect()),
            FlightKnown::WithoutEffect => CreateOutcome::NotSent,
        },
        write_claim: match known.claimed {
            ClaimedKnown::Nothing => WriteClaim::Unclaimed,
            ClaimedKnown::MayStillLand => WriteClaim::InFlight { rest: Duration::from_secs(1) },
            ClaimedKnown::Ours(effect) => WriteClaim::Owned(effect),
        },
        repeat: Some(Repeat::AfterEnd),
        stage_id: Some(STAGE.into()),
        served_entries: served_stage_entries::add(None, known.served.iter().map(|entry| fingerprint(*entry))),
        served_stored: known.served_stored,
        linked_before: known.linked_before.as_ref().map(|pads| pads.iter().map(record).collect()),
        link_written: known.link_written,
        write_back: Some(WriteBack::default()),
        read_requested: known.look,
        note: match known.note {
            NoteKnown::NotRead => NoteLookup::NotRead,
            NoteKnown::Absent => NoteLookup::Absent,
            NoteKnown::Written => NoteLookup::Written("note-1".into()),
        },
        deleted: known.deleted.iter().map(|id| pad_id(*id)).collect(),
        error: known.stopped.map(faults),
        ..PadState::new(pad, connection, RuleState::Ready(rule()))
    }
}

fn pad_facts(object: &Object, policy: DeletionPolicy) -> StoredPad {
    StoredPad {
        namespace: NAMESPACE.into(),
        name: names::pad_name(CONFIGURATION, OPPORTUNITY, 1),
        configuration: CONFIGURATION.into(),
        opportunity_id: OPPORTUNITY.into(),
        manual: false,
        desired_state: DesiredState::Open,
        deletion_policy: policy,
        deleting: object.deleting,
        finalizer: object.finalizer,
        attempt: object.attempt.map(|attempt| {
            CreateIntent::new(
                reference(attempt.entry, 0),
                Timestamp::from_second(i64::from(attempt.id)).unwrap(),
            )
        }),
        pad_id: object.pad.map(pad_id),
        url: None,
        sibling_terminating: false,
        claim: object
            .claim
            .map(|claim| Claim::new(claim.effect, Timestamp::from_second(i64::from(claim.id)).unwrap())),
        started_at: Some(Timestamp::from_millisecond(ENTRY_MS).unwrap()),
        note_id: None,
        recorded: object.recorded,
        names_candidate: true,
        failed_tag: None,
        waits_for_room: false,
        member: member(object),
        existing_since: None,
        was_before: false,
        asked_by_person: false,
        entry: None,
        judged_entry: None,
        requested_entry: None,
        pad_was_deleted: false,
        phase: object.phase.map(|mark| match mark {
            Mark::Pending => Phase::Pending,
            Mark::Open => Phase::Open,
            Mark::Skipped => Phase::Skipped,
            Mark::Failed => Phase::Failed,
            Mark::Ended => Phase::Ended,
        }),
        linked: object.is_linked(),
        requested: object.asked != 0 && object.asked != object.handled,
        configuration_changed: false,
    }
}

/// Returns the Pad as a member of its series. For the series, no interview ends before an entry, so that a Pad with a
/// pad serves every entry.
fn member(object: &Object) -> SeriesMember {
    let standing = match object.phase {
        Some(Mark::Skipped) => Progress::NotCounted,
        Some(Mark::Failed) if object.pad.is_none() && object.attempt.is_none() => Progress::NotCounted,
        None | Some(Mark::Pending | Mark::Failed) => Progress::InProgress,
        Some(Mark::Open) => Progress::Open { entry: Timestamp::UNIX_EPOCH },
        Some(Mark::Ended) => Progress::Ended { entry: Timestamp::UNIX_EPOCH, at: Timestamp::MAX },
    };
    let name = names::pad_name(CONFIGURATION, OPPORTUNITY, 1);
    SeriesMember {
        name,
        number: Some(1),
        created_at: Timestamp::UNIX_EPOCH,
        pad_id: object.pad.map(pad_id),
        progress: standing,
    }
}

fn rule() -> Rule {
    Rule {
        stage_id: STAGE.into(),
        stage_name: "Phone Screen".into(),
        tag: TAG.into(),
        type_: PadType::Live,
        question_id: None,
        language: None,
        title: "{candidate} - {stage}".into(),
        waiting_room: None,
        owner_email: None,
        repeat: Repeat::AfterEnd,
        existing: Existing::Skip,
        effective_since: Timestamp::from_millisecond(ENTRY_MS - 1000).ok(),
    }
}

fn opportunity(person: &Person) -> Opportunity {
    let entry = StageHistoryEntry { to_stage_id: STAGE.into(), updated_at_ms: milliseconds(person.entry) };
    Opportunity {
        id: OPPORTUNITY.into(),
        name: "Ada Lovelace".into(),
        contact: None,
        stage: if person.in_stage { STAGE } else { "offer" }.into(),
        stage_changes: vec![entry],
        tags: person.tagged.then(|| TAG.to_owned()).into_iter().collect(),
        links: person.links.iter().map(|id| url(*id)).collect(),
        archived: false,
        archived_at_ms: None,
        confidential: false,
        is_anonymized: false,
        profile_url: None,
        created_at_ms: None,
        updated_at_ms: None,
    }
}

/// Returns the pad as CoderPad reports it. A reference derived from another UID belongs to another series for the rules.
fn record(pad: &CoderPad, uid: u8) -> PadRecord {
    let salt = if pad.salt == uid + 1 { 0 } else { pad.salt };
    PadRecord::from_json(&json!({
        "status": "OK", "id": pad_id(pad.id), "title": "t", "state": if pad.deleted { "deleted" } else { "pending" },
        "type": "live", "url": url(pad.id), "playback": null,
        "created_at": Timestamp::from_millisecond(ENTRY_MS + 1000 * i64::from(pad.id)).unwrap(),
        "ended_at": pad.ended.then(|| Timestamp::from_millisecond(ENTRY_MS + 1_000_000).unwrap()),
        "notes": Installation::new(Some(id_of(pad.installation)), [])
            .sign(&reference(pad.entry, salt).notes("https://hire.example.com/candidates/op-1")),
    }))
    .unwrap()
}

fn faults(stopped: Stopped) -> PassError {
    let error = |class, service, operation| ServiceError::new(class, service, operation, None, "details");
    match stopped {
        Stopped::Conflict => PassError::Conflict,
        Stopped::NotSent => {
            PassError::Service(error(ErrorKind::Unavailable, Service::Interview, "POST /pads"))
        }
        Stopped::CreateUnknown => PassError::CreateOutcomeUnknown(error(
            ErrorKind::OutcomeUnknown,
            Service::Interview,
            "POST /pads",
        )),
        Stopped::WriteNotSent => {
            PassError::Service(error(ErrorKind::Unavailable, Service::Lever, "POST addLinks"))
        }
        Stopped::WriteUnknown => {
            PassError::Service(error(ErrorKind::OutcomeUnknown, Service::Lever, "POST addLinks"))
        }
    }
}

fn pad_id(id: u8) -> String {
    format!("PAD{id}")
}

fn url(id: u8) -> String {
    format!("https://app.coderpad.io/{}", pad_id(id))
}

fn number(id: &str) -> u8 {
    id.strip_prefix("PAD").unwrap().parse().unwrap()
}

fn milliseconds(entry: u8) -> i64 {
    ENTRY_MS + 1000 * i64::from(entry)
}

fn fingerprint(entry: u8) -> Fingerprint {
    Fingerprint::new(OPPORTUNITY, Timestamp::from_millisecond(milliseconds(entry)).unwrap())
}

fn series(salt: u8) -> Series {
    let other = format!("{OPPORTUNITY}-{salt}");
    Series::new(NAMESPACE, CONFIGURATION, if salt == 0 { OPPORTUNITY } else { &other })
}

fn reference(entry: u8, salt: u8) -> Reference {
    Reference::new(series(salt), milliseconds(entry))
}

fn entry_of(reference: &Reference) -> u8 {
    u8::try_from((reference.entry().parse::<i64>().unwrap() - ENTRY_MS) / 1000).unwrap()
}

/// A decision of the receiver, with the slot of the Pad.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decided {
    Create(usize),
    Annotate(usize),
    Nothing,
}

/// Returns the decision of the real receiver about a delivery, given the Pads in its cache.
pub fn decided(known: &[Option<Object>; SLOTS], delivery: u8) -> Decided {
    let of = |(slot, object): (usize, &Option<Object>)| {
        let object = object.as_ref()?;
        Some((u8::try_from(slot).unwrap(), object.deleting, object.asked))
    };
    let key = (known.iter().enumerate().filter_map(of).collect::<Vec<_>>(), delivery);
    if let Some(decided) = DECIDED.with_borrow(|all| all.get(&key).copied()) {
        return decided;
    }
    let pads: Vec<Arc<Pad>> =
        key.0.iter().map(|(slot, deleting, asked)| Arc::new(pad(*slot, *deleting, *asked))).collect();
    let change = engine::stage_change::StageChangeEvent {
        opportunity_id: OPPORTUNITY.into(),
        stage_id: STAGE.into(),
        at: Timestamp::from_millisecond(triggered_at(delivery)).unwrap(),
        request: request(delivery),
    };
    let slot_of = |name: &str| {
        let n = names::pad_number(name, CONFIGURATION, OPPORTUNITY).unwrap();
        usize::try_from(n - 1).unwrap()
    };
    let decided = match choose_action(&pads, &BTreeSet::new(), CONFIGURATION, &change) {
        PadAction::Create { n } => Decided::Create(usize::try_from(n - 1).unwrap()),
        PadAction::Annotate { name } => Decided::Annotate(slot_of(&name)),
        PadAction::Nothing { .. } => Decided::Nothing,
    };
    DECIDED.with_borrow_mut(|all| all.insert(key, decided));
    decided
}

/// Returns the time at which a delivery was triggered, in milliseconds. A later delivery has a higher number.
fn triggered_at(delivery: u8) -> i64 {
    1_431_458_021_951 + i64::from(delivery)
}

fn request(delivery: u8) -> String {
    format!("{}-{delivery:08}", triggered_at(delivery))
}

fn pad(slot: u8, deleting: bool, asked: u8) -> Pad {
    let mut json = json!({
        "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
        "metadata": {"name": names::pad_name(CONFIGURATION, OPPORTUNITY, u32::from(slot) + 1), "namespace": NAMESPACE},
        "spec": {"configurationRef": {"name": CONFIGURATION}, "opportunityID": OPPORTUNITY},
    });
    if deleting {
        json["metadata"]["deletionTimestamp"] = json!("2025-01-01T00:00:00Z");
    }
    if asked != 0 {
        json["metadata"]["annotations"] = json!({names::RECONCILE_REQUESTED_AT: request(asked)});
    }
    serde_json::from_value(json).unwrap()
}
