//! The real pass of the operator: the real `observe` builds the state, the real `decide` decides, the real `apply` adds
//! each event, and the real `status` builds the status.
//!
//! All of them are pure. Their results are therefore cached by their small inputs, without which the model could not
//! explore millions of states.

use super::interned::{Interned, Memo, Table};
use super::objects::{
    CONNECTION, OTHER_OPPORTUNITY, PadObject, configuration, connection, entry_time, installation_id, now,
    opportunity, record,
};
use super::world::{Candidate, CoderPad, Limit, Mutant, Observed, ObservedPad, Spec};
use api::Pad;
use api::configuration::DeletionPolicy;
use api::names::{Claim, CreateIntent, OnceOnlyWrite, Reference};
use api::pad::PadStatus;
use engine::command::{Command, Outcome};
use engine::decide::{Decision, decide};
use engine::event::{Event, Fact, StoredVersion};
use engine::hints::{Hint, PendingHints};
use engine::in_flight::{self, InFlightState};
use engine::observe::{RelatedObjects, observe};
use engine::pad_changes;
use engine::patch::{FailedWrite, MetadataChange, difference, fields_unchanged_since};
use engine::rolling_limit::LimitExceeded;
use engine::search::{is_searched, needs_second_scan, search_result};
use engine::state::{
    CandidateLookup, ConnectionState, CreateOutcome, PadHealth, PadState, PassError, StoredPad, WriteClaim,
};
use engine::status::status;
use engine::ttl;
use kube::ResourceExt;
use serde_json::Value;
use services::coderpad::{CREATE_PAD, PadRecord};
use services::lever::{
    ADD_LINKS, ADD_NOTE, ADD_TAGS, GET_OPPORTUNITY, LIST_NOTES, LeverNote, Notes, REMOVE_LINKS, REMOVE_TAGS,
};
use services::{ErrorKind, Service, ServiceError};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The observed state of a pass, and its next command.
pub struct PassState {
    pub state: PadState,
    /// Outcome of the Pad's own rules, as soon as they are done. The rules of `tags.failed` follow.
    pub outcome: Option<Outcome>,
    pub decision: Decision,
}

static STATES: Table<PassState> = Table::new();

impl PassState {
    fn intern(mut state: PadState, outcome: Option<Outcome>) -> Interned<Self> {
        // No rule reads the outcome of an attempt whose pad is stored.
        if state.pad.pad_id.is_some() {
            state.create_outcome = CreateOutcome::NotSent;
        }
        let text = format!("{state:?} {outcome:?}");
        STATES.intern(&text, || Self { decision: decide(&state), outcome, state })
    }
}

impl fmt::Debug for PassState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.decision.rule, self.decision.command.name())
    }
}

/// The input of a new pass.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Begin {
    pub pad: ObservedPad,
    /// The other Pad of the candidate.
    pub other: Option<Interned<PadObject>>,
    pub policy: DeletionPolicyKey,
    pub spec: Spec,
    pub served: Vec<u8>,
    pub installation: u8,
    pub limit: Limit,
    pub hints: Vec<HintKey>,
    pub mutant: Option<Mutant>,
}

/// Number of a deletion policy.
pub type DeletionPolicyKey = u8;

/// The hints that the model uses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HintKey {
    Record,
    Judge,
    OtherInstallations,
    Expired,
}

/// Returns the number of a deletion policy.
pub fn policy_key(policy: DeletionPolicy) -> DeletionPolicyKey {
    match policy {
        DeletionPolicy::Retain => 0,
        DeletionPolicy::Unlink => 1,
        DeletionPolicy::Delete => 2,
    }
}

fn policy_of(key: DeletionPolicyKey) -> DeletionPolicy {
    [DeletionPolicy::Retain, DeletionPolicy::Unlink, DeletionPolicy::Delete][usize::from(key)]
}

static BEGUN: Memo<Begin, Interned<PassState>> = Memo::new();

/// Returns the state of a new pass.
pub fn begin(key: Begin) -> Interned<PassState> {
    BEGUN.get(key, |key| {
        let mixes = key.mutant == Some(Mutant::MixedInstallations);
        let other_id = installation_id(1 - key.installation);
        let connection = connection(
            &installation_id(key.installation),
            mixes.then_some(other_id.as_str()),
            (key.limit == Limit::NoQuota).then_some(0),
        );
        let around = RelatedObjects {
            configuration: Some(Arc::new(configuration(policy_of(key.policy), key.spec, &key.served))),
            connection: Some(Arc::new(connection)),
            connection_name: Some(CONNECTION.into()),
            former: None,
        };
        let hints = key.hints.iter().map(|hint| match hint {
            HintKey::Record => Hint::Record,
            HintKey::Judge => Hint::Judge,
            HintKey::OtherInstallations => Hint::OtherInstallations,
            HintKey::Expired => Hint::Expired,
        });
        let others: Vec<Arc<Pad>> = key.other.iter().map(|other| Arc::new(other.pad.clone())).collect();
        let mut state = observe(&key.pad.pad.pad, &around, &others, &PendingHints::from_hints(hints), now());
        let version = stored_version(&key.pad);
        (state.create_outcome, state.write_claim) = (version.create_outcome, version.write_claim);
        if let (Limit::HourFull, ConnectionState::Ready { hour_full, .. }) =
            (key.limit, &mut state.connection)
        {
            *hour_full = Some(limit_exceeded());
        }
        if key.mutant == Some(Mutant::ReferenceFromUid) {
            state.pad.namespace = key.pad.pad.pad.uid().unwrap();
        }
        PassState::intern(state, None)
    })
}

fn limit_exceeded() -> LimitExceeded {
    LimitExceeded { made: 20, limit: 20, until: now(), rest: Duration::from_secs(60) }
}

fn stored_version(observed: &ObservedPad) -> StoredVersion {
    let state = |observed| match observed {
        Observed::InFlight => {
            InFlightState::InFlight { rest: Duration::from_secs(1), search_in: Duration::ZERO }
        }
        Observed::Completed => InFlightState::Completed,
        Observed::NotSent => InFlightState::NotSent,
    };
    let pad = observed.pad.stored.clone();
    StoredVersion {
        create_outcome: in_flight::create_outcome(&pad, |_| state(observed.attempt)),
        write_claim: in_flight::write_claim(&pad, |_, _| state(observed.claim)),
        pad,
    }
}

/// The world's answer to a command.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Answer {
    Done,
    Candidate(Candidate),
    /// Lever answers this error for the candidate.
    Denied(Denial),
    /// ID of another opportunity.
    AnyOpportunity,
    OtherOpportunity,
    Pad(Option<CoderPad>),
    /// The pads behind links, by their numbers.
    LinkedPads(Vec<(u8, Option<CoderPad>)>),
    NoQuota,
    HourFull,
    Created(CoderPad),
    /// CoderPad refuses the POST: over quota, or as invalid.
    Refused {
        is_invalid: bool,
    },
    /// The pads in CoderPad's lists. A conclusive search reads them twice.
    Listed(Vec<CoderPad>),
    /// The ID is stored, and whether the pass may send the link.
    PadStored {
        claims_link: bool,
    },
    /// The ID was stored before, and the state of the link's write.
    PadStoredBefore(Observed),
    LeverWrite(Candidate),
    /// The notes of the candidate, by the numbers of their pads.
    Notes(Vec<u8>),
    NoteAdded,
    NoEvents,
    Error(ErrorAnswer),
}

/// An error that Lever answers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Denial {
    Missing,
    Forbidden,
}

impl Denial {
    fn error(self, operation: &'static str) -> ServiceError {
        let (class, status) = match self {
            Denial::Missing => (ErrorKind::NotFound, 404),
            Denial::Forbidden => (ErrorKind::Forbidden, 403),
        };
        ServiceError::new(class, Service::Lever, operation, Some(status), "details")
    }

    /// Returns the answer to a command about the candidate.
    fn result(self, command: &Command) -> Result<Fact, PassError> {
        let write = |operation| Fact::LeverWrite { answer: Err(self.error(operation)) };
        Ok(match command {
            Command::ReadOpportunity | Command::ReadOpportunityAgain => {
                Fact::Candidate { answer: Err(self.error(GET_OPPORTUNITY)), shared: false }
            }
            Command::ReadNotes { .. } => return Err(PassError::Service(self.error(LIST_NOTES))),
            Command::AddNote(_) => return Err(PassError::Service(self.error(ADD_NOTE))),
            Command::AddLink(_) => write(ADD_LINKS),
            Command::RemoveLink(_) => write(REMOVE_LINKS),
            Command::AddTags(_) => write(ADD_TAGS),
            Command::RemoveTags(_) => write(REMOVE_TAGS),
            other => panic!("not about the candidate: {other:?}"),
        })
    }
}

/// A failure of a command.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ErrorAnswer {
    Conflict,
    Cluster,
    CreateNotSent,
    CreateUnknown,
    LeverNotSent,
    LeverUnknown,
}

impl ErrorAnswer {
    fn error(self) -> PassError {
        let error = |class, service, operation| ServiceError::new(class, service, operation, None, "details");
        match self {
            Self::Conflict => PassError::Conflict,
            Self::Cluster => PassError::Cluster { message: "details".into() },
            Self::CreateNotSent => {
                PassError::Service(error(ErrorKind::Unavailable, Service::Interview, CREATE_PAD))
            }
            Self::CreateUnknown => PassError::CreateOutcomeUnknown(error(
                ErrorKind::OutcomeUnknown,
                Service::Interview,
                CREATE_PAD,
            )),
            Self::LeverNotSent => {
                PassError::Service(error(ErrorKind::Unavailable, Service::Lever, "POST addLinks"))
            }
            Self::LeverUnknown => {
                PassError::Service(error(ErrorKind::OutcomeUnknown, Service::Lever, "POST addLinks"))
            }
        }
    }
}

impl Answer {
    fn result(&self, state: &PadState, command: &Command) -> Result<Fact, PassError> {
        let records = |pads: &[CoderPad]| pads.iter().map(record).collect::<Vec<_>>();
        Ok(match self {
            Answer::Done => Fact::Done,
            Answer::Candidate(candidate) => {
                Fact::Candidate { answer: Ok(Box::new(opportunity(candidate))), shared: false }
            }
            Answer::Denied(denial) => return denial.result(command),
            Answer::AnyOpportunity => Fact::AnyOpportunity(Some(OTHER_OPPORTUNITY.into())),
            Answer::OtherOpportunity => Fact::OtherOpportunity(Ok(())),
            Answer::Pad(pad) => Fact::Pad(record_or_missing(pad.as_ref()).map(Box::new)),
            Answer::LinkedPads(pads) => {
                let answer = |(id, pad): &(u8, Option<CoderPad>)| {
                    (super::objects::pad_id(*id), record_or_missing(pad.as_ref()))
                };
                Fact::LinkedPads(pads.iter().map(answer).collect())
            }
            Answer::NoQuota => Fact::NoQuota,
            Answer::HourFull => Fact::HourFull(limit_exceeded()),
            Answer::Created(pad) => Fact::Created { record: Box::new(record(pad)), sent_at: now() },
            Answer::Refused { is_invalid } => {
                let (class, status, text) = match is_invalid {
                    true => (ErrorKind::Invalid, 400, "Invalid"),
                    false => (ErrorKind::Throttled, 429, "Over quota"),
                };
                let error = ServiceError::new(class, Service::Interview, CREATE_PAD, Some(status), text);
                Fact::CreateRefused { error, sent_at: now() }
            }
            Answer::Listed(pads) => {
                let Command::Search { reference } = command else { panic!("no search: {command:?}") };
                let mut found = records(pads);
                found.retain(|record| is_searched(record, reference, &state.ownership.installation));
                let outcome = &state.create_outcome;
                let second = needs_second_scan(outcome).then(|| found.clone());
                return search_result(outcome, found, second, || Duration::from_secs(1));
            }
            Answer::PadStored { claims_link } => pad_changes::pad_stored(*claims_link),
            Answer::PadStoredBefore(Observed::InFlight) => {
                Fact::PadStored { write_claim: WriteClaim::InFlight { rest: Duration::from_secs(1) } }
            }
            Answer::PadStoredBefore(_) => Fact::PadStored { write_claim: WriteClaim::Unclaimed },
            Answer::LeverWrite(candidate) => {
                Fact::LeverWrite { answer: Ok(Box::new(opportunity(candidate))) }
            }
            Answer::Notes(pads) => {
                let Command::ReadNotes { reference } = command else { panic!("no notes: {command:?}") };
                Fact::Notes(notes(pads, reference, state))
            }
            Answer::NoteAdded => Fact::NoteAdded(NOTE.into()),
            Answer::NoEvents => Fact::Events(Vec::new()),
            Answer::Error(error) => return Err(error.error()),
        })
    }
}

/// ID of every note.
const NOTE: &str = "note-1";

/// Returns the pad as CoderPad returns it, or a 404.
fn record_or_missing(pad: Option<&CoderPad>) -> Result<PadRecord, ServiceError> {
    pad.map(record).ok_or_else(|| {
        ServiceError::new(ErrorKind::NotFound, Service::Interview, "GET /pads/:id", Some(404), "details")
    })
}

/// Returns the candidate's notes. Only the note of the pass's own pad has the reference.
fn notes(pads: &[u8], reference: &Reference, state: &PadState) -> Notes {
    let is_own = |id: &u8| state.pad.pad_id.as_deref() == Some(&super::objects::pad_id(*id));
    let own = LeverNote {
        id: NOTE.into(),
        values: vec![format!("Interview\n{}", reference.line())],
        created_at_ms: None,
        deleted: false,
    };
    Notes { notes: pads.iter().filter(|id| is_own(id)).map(|_| own.clone()).collect(), left_out: 0 }
}

type Applied = (Interned<PassState>, Option<ObservedPad>, Answer, Option<u8>);

static APPLIED: Memo<Applied, Interned<PassState>> = Memo::new();

impl Interned<PassState> {
    /// Returns the state after the event of the decided command.
    pub fn apply(self, stored: Option<ObservedPad>, answer: Answer) -> Self {
        self.apply_to(stored, answer, None)
    }

    /// Returns the state after a link was added in place of the decided command.
    pub fn apply_link(self, answer: Answer, pad: u8) -> Self {
        self.apply_to(None, answer, Some(pad))
    }

    fn apply_to(self, stored: Option<ObservedPad>, answer: Answer, link: Option<u8>) -> Self {
        APPLIED.get((self, stored, answer, link), |(pass, stored, answer, link)| {
            let command = match link {
                Some(pad) => Command::AddLink(super::objects::url(*pad)),
                None => pass.decision.command.clone(),
            };
            let mut state = pass.state.clone();
            let result = answer.result(&state, &command);
            let stored = stored.as_ref().map(stored_version);
            state.apply(&command, Event { stored, result });
            PassState::intern(state, pass.outcome.clone())
        })
    }
}

/// A write to the metadata of a Pad. The rest of it is in the decided command.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Write {
    RecordAttempt(u8),
    StorePad,
    ClearAttempt,
    Claim(u8),
    Yield,
    ClearPad,
    SetFinalizer,
}

impl Write {
    fn change(self, pass: &PassState, before: &PadObject) -> MetadataChange {
        match (self, &pass.decision.command) {
            (Write::RecordAttempt(number), Command::Create { reference, forget_failures, .. }) => {
                let attempt = CreateIntent::new(reference.clone(), super::objects::numbered_time(number));
                let installation = &pass.state.ownership.installation;
                pad_changes::record_attempt(&before.pad, &attempt, installation, *forget_failures)
            }
            (Write::StorePad, Command::StorePad { record, keep_finalizer, .. }) => {
                pad_changes::store_pad(&before.pad, record, *keep_finalizer)
            }
            (Write::ClearAttempt, _) => pad_changes::clear_attempt(&before.stored),
            (Write::Claim(number), Command::Claim(effect)) => {
                pad_changes::claim(&Claim::new(*effect, super::objects::numbered_time(number)))
            }
            (Write::Yield, Command::Yield(id)) => pad_changes::yields_to(id.as_ref()),
            (Write::ClearPad, _) => pad_changes::clear_pad(),
            (Write::SetFinalizer, Command::SetFinalizer(present)) => pad_changes::set_finalizer(*present),
            (write, command) => panic!("{write:?} is not a part of {command:?}"),
        }
    }
}

/// The result of a write to the metadata.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Written {
    /// The API server stores this version.
    Stored(Interned<PadObject>),
    Failed(FailedWrite),
}

/// A write: the pass, the version that it read, the current version, and whether the API server accepts the patch.
type WriteKey = (Interned<PassState>, Write, Interned<PadObject>, Interned<PadObject>, bool);

static WRITTEN: Memo<WriteKey, Written> = Memo::new();
static REREAD: Memo<WriteKey, FailedWrite> = Memo::new();

/// Returns the result of a write. The API server applies the patch if `accepts`.
pub fn written(key: WriteKey) -> Written {
    WRITTEN.get(key, |(pass, write, before, now, accepts)| {
        let change = write.change(pass, before);
        match accepts {
            true => Written::Stored(now.with(|json| merge(json, change.patch(&before.pad)))),
            false => Written::Failed(change.failed(&before.pad, true, Some(Some(&now.pad)))),
        }
    })
}

/// Returns the meaning of a write that took effect, if its answer is lost and the object is read again.
pub fn read_again(key: WriteKey) -> FailedWrite {
    REREAD.get(key, |(pass, write, before, now, _)| {
        write.change(pass, before).failed(&before.pad, false, Some(Some(&now.pad)))
    })
}

/// Applies a JSON merge patch, as the API server does.
fn merge(json: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *json = patch;
        return;
    };
    if !json.is_object() {
        *json = Value::Object(serde_json::Map::new());
    }
    let object = json.as_object_mut().unwrap();
    for (key, value) in patch {
        match value {
            _ if key == "resourceVersion" => {}
            Value::Null => drop(object.remove(&key)),
            value => merge(object.entry(key).or_insert(Value::Null), value),
        }
    }
}

type ConcludeKey = (Interned<PassState>, Interned<PadObject>);

static CONCLUDED: Memo<ConcludeKey, Option<Interned<PassState>>> = Memo::new();

/// Returns the state after the Pad's own rules are done: the rules of `tags.failed` follow. `None`: they do not, because
/// nothing was decided.
pub fn concluded(key: ConcludeKey) -> Option<Interned<PassState>> {
    CONCLUDED.get(key, |(pass, pad)| {
        let Command::Done { outcome, .. } = &pass.decision.command else { panic!("not done") };
        let mut state = pass.state.clone();
        state.judged = state.entry();
        let after = status_after(pad, &state, outcome)?;
        state.health = Some(PadHealth::from_conditions(&after.conditions, now()));
        Some(PassState::intern(state, Some(outcome.clone())))
    })
}

fn status_after(pad: &PadObject, state: &PadState, outcome: &Outcome) -> Option<PadStatus> {
    let configuration = configuration(DeletionPolicy::Retain, Spec::default(), &[]);
    status(&pad.pad, state, outcome, Some(&configuration), now())
}

static EXPIRED: Memo<Interned<PadObject>, bool> = Memo::new();

/// Reports whether the TTL of a Pad has passed.
pub fn is_expired(pad: Interned<PadObject>) -> bool {
    EXPIRED.get(pad, |pad| {
        let spec = Spec { ttl: true, ..Spec::default() };
        ttl::is_expired(&pad.pad, &configuration(DeletionPolicy::Retain, spec, &[]), now())
    })
}

/// The end of a pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct End {
    /// Whether the pass decided something. Then its hints are done.
    pub is_decided: bool,
    pub has_failed: bool,
    /// Whether the status stores that the last claimed write took effect.
    pub stores_write: bool,
    pub status: StatusWrite,
}

/// The write of a status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StatusWrite {
    Nothing,
    Stored(Interned<PadObject>),
    Conflict,
}

type EndKey = (Interned<PassState>, Interned<PadObject>, Interned<PadObject>, bool);

static ENDED: Memo<EndKey, End> = Memo::new();

/// Returns the end of a pass: its status, written on the current version of the Pad.
pub fn end(key: EndKey) -> End {
    ENDED.get(key, |(pass, before, now_stored, is_current)| {
        let Command::Done { outcome, .. } = &pass.decision.command else { panic!("not done") };
        let outcome = pass.outcome.as_ref().unwrap_or(outcome);
        let after = pass.outcome.as_ref().and_then(|outcome| status_after(before, &pass.state, outcome));
        let value =
            |pad: &PadObject| serde_json::to_value(pad.pad.status.clone().unwrap_or_default()).unwrap();
        let before_json = value(before);
        let change = after.and_then(|after| difference(&before_json, serde_json::to_value(after).unwrap()));
        let is_same = before.pad.uid() == now_stored.pad.uid();
        let status = match change {
            None => StatusWrite::Nothing,
            Some(change)
                if *is_current
                    || is_same
                        && fields_unchanged_since(&change, &before_json, &now_stored.json["status"]) =>
            {
                StatusWrite::Stored(now_stored.with(|json| {
                    merge(json.as_object_mut().unwrap().entry("status").or_insert(Value::Null), change);
                }))
            }
            Some(_) => StatusWrite::Conflict,
        };
        End {
            is_decided: !matches!(outcome, Outcome::NoDecision | Outcome::StaleRead),
            has_failed: pass.state.error.is_some(),
            stores_write: outcome.stores_write(),
            status,
        }
    })
}

impl PassState {
    /// Returns the stored Pad of the pass.
    pub fn pad(&self) -> &StoredPad {
        &self.state.pad
    }

    /// Reports whether the candidate, as read, is eligible for a pad. A person who creates a Pad decides that alone.
    pub fn may_create(&self) -> bool {
        self.pad().manual
            || matches!(&self.state.opportunity, CandidateLookup::Read(read) if super::objects::is_eligible(read))
    }

    /// Returns the numbers of stage entries.
    pub fn served_entries(entries: &[jiff::Timestamp]) -> Vec<u8> {
        (0..=u8::MAX).filter(|entry| entries.contains(&entry_time(*entry))).collect()
    }

    /// Returns the write to Lever that the command claims or sends.
    pub fn effect(&self) -> Option<OnceOnlyWrite> {
        match &self.decision.command {
            Command::Claim(effect) => Some(*effect),
            Command::AddLink(_) => Some(OnceOnlyWrite::Link),
            Command::AddNote(_) => Some(OnceOnlyWrite::Note),
            _ => None,
        }
    }
}
