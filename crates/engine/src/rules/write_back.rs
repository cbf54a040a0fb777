//! A linked pad: its status tags, the end of the interview, and the note.

use super::{connection_not_usable, is_blocked, ownership, rest};
use crate::command::{Command, Outcome, WriteBackState};
use crate::note::{self, Code};
use crate::series::SeriesMember;
use crate::state::{CandidateLookup, NoteLookup, PadLookup, PadState, StoredPad, WriteClaim};
use api::condition::{self, types};
use api::configuration::{DeletionPolicy, Note, StatusTags, WriteBack};
use api::names::{OnceOnlyWrite, Reference};
use api::pad::{DesiredState, PadStatus, Phase};
use api::reason::Reason;
use services::coderpad::PadRecord;
use std::time::Duration;

/// Delay before the pad is read again after a request to end its interview.
const END_RECHECK_DELAY: Duration = Duration::from_secs(30);

/// The link is on the candidate.
pub(crate) fn linked(state: &PadState) -> Option<Command> {
    state.pad.linked.then(|| after_link(state))
}

/// Returns the next command after the link was added, until the note and tags of the interview are written.
pub(super) fn after_link(state: &PadState) -> Command {
    let pad = &state.pad;
    let wanted = pad.deletion_policy != DeletionPolicy::Retain;
    if pad.finalizer != wanted {
        return Command::SetFinalizer(wanted);
    }
    // A pad that was deleted in CoderPad may exist again: then the phase follows it (contract E2).
    let asks_for_deleted = pad.pad_was_deleted && (state.read_requested || pad.requested);
    if pad.phase == Some(Phase::Ended) && pad.recorded && !asks_for_deleted {
        return rest(Outcome::Keep);
    }
    if let Some(waiting) = connection_not_usable(state) {
        return rest(match (pad.phase, waiting) {
            (Some(Phase::Open | Phase::Started), _) => Outcome::Keep,
            (Some(Phase::Ended), Outcome::Waiting(reason, message)) => {
                Outcome::Ended(WriteBackState::Pending(reason, message))
            }
            (_, waiting) => waiting,
        });
    }
    ownership::contest(state).unwrap_or_else(|| track_interview(state))
}

/// Returns the next command for a pad that was deleted in CoderPad. Reads the last stage entry from Lever first,
/// because no pad is created again for it or an earlier entry (contract E2).
pub(super) fn pad_deleted(state: &PadState) -> Command {
    match state.opportunity {
        CandidateLookup::NotRead if !state.pad.pad_was_deleted && !is_blocked(state) => {
            Command::ReadOpportunity
        }
        _ => rest(Outcome::PadDeleted),
    }
}

/// Reports whether the write-back to Lever after the interview is settled. An impossible write is retried on request.
pub fn is_recorded(status: &PadStatus, requested: bool) -> bool {
    let never =
        [Reason::CandidateNotFound, Reason::CandidateConfidential, Reason::InvalidRequest, Reason::Cancelled]
            .map(Reason::as_str);
    let recorded = condition::find(&status.conditions, types::RECORD_ADDED);
    recorded.is_some_and(|recorded| {
        recorded.status == condition::Status::True
            || (!requested && never.contains(&recorded.reason.as_str()))
    }) || status.reason.as_deref() == Some(Reason::PadDeleted.as_str())
}

/// Reports whether the Pad was Open before.
fn was_open(pad: &StoredPad) -> bool {
    matches!(pad.phase, Some(Phase::Open | Phase::Started | Phase::Ended))
}

/// Returns the next command that follows the state of the pad in CoderPad.
fn track_interview(state: &PadState) -> Command {
    let pad = &state.pad;
    let has_ended = pad.phase == Some(Phase::Ended) && !pad.pad_was_deleted;
    if state.archived && state.ends_on_archive && matches!(state.opportunity, CandidateLookup::NotRead) {
        return Command::ReadOpportunity;
    }
    let shall_end = should_end(state);
    // The sync of CoderPad's list has already passed changes from before the Pad was Open, so read the pad itself.
    let must_look = state.read_requested || pad.requested || shall_end || has_ended || !was_open(pad);
    let record = match (&state.record, &pad.pad_id) {
        (PadLookup::Read(record), _) => record.as_ref(),
        (PadLookup::NotFound, _) => return pad_deleted(state),
        (PadLookup::NotRead, Some(id)) if must_look || pad.pad_was_deleted => {
            return Command::ReadPad(id.clone());
        }
        (PadLookup::NotRead, _) if was_open(pad) => {
            return ready_tag(state).unwrap_or_else(|| rest(Outcome::Keep));
        }
        (PadLookup::NotRead, _) => return rest(Outcome::Open),
    };
    // contract I3
    if let Some(id) = ownership::foreign(state, record) {
        return ownership::owned(state, id);
    }
    if record.is_deleted() {
        return pad_deleted(state);
    }
    // The status names participants only if Lever still has the candidate's data (contract E12).
    if record.is_started() && !pad.names_candidate && matches!(state.opportunity, CandidateLookup::NotRead) {
        return Command::ReadOpportunity;
    }
    if record.is_ended() || has_ended {
        return end(state, record);
    }
    if shall_end && !state.end_requested {
        return Command::EndPad(record.id.clone());
    }
    // An interview that ended before its Pad was Open gets only tags.ended.
    if let Some(step) = ready_tag(state) {
        return step;
    }
    let outcome = match record.is_started() {
        true if start_time_unknown(state) => return Command::ReadEvents(record.id.clone()),
        true => Outcome::Started,
        false => Outcome::Open,
    };
    Command::Done { outcome, again: state.end_requested.then_some(END_RECHECK_DELAY) }
}

/// Returns the next command until `tags.ready` is on the candidate; `None`: nothing to do now. The tag is added when
/// the Pad becomes Open, and again after a refusal (contract K4a).
fn ready_tag(state: &PadState) -> Option<Command> {
    let is_due = !was_open(&state.pad) || (state.tags.reported && state.tags.pause.is_none());
    let exchange = || sync_tags(state, |tags| &tags.ready, &[|tags| &tags.failed]);
    is_due.then(exchange).flatten()
}

/// Reports whether a refused tag of an open pad is now on the candidate, or no longer configured.
pub fn is_tag_settled(state: &PadState) -> bool {
    state.tags.pause.is_none() && connection_not_usable(state).is_none() && ready_tag(state).is_none()
}

/// Reports whether to end the interview: on request, or because the candidate is archived and `onArchive` is `End`.
fn should_end(state: &PadState) -> bool {
    let is_archived =
        || matches!(&state.opportunity, CandidateLookup::Read(opportunity) if opportunity.archived);
    state.pad.desired_state == DesiredState::Ended
        || (state.archived && state.ends_on_archive && is_archived())
}

fn start_time_unknown(state: &PadState) -> bool {
    state.pad.started_at.is_none() && state.events.is_none()
}

/// Returns the next command after the interview: write the note, then the tags.
fn end(state: &PadState, record: &PadRecord) -> Command {
    if start_time_unknown(state) {
        return Command::ReadEvents(record.id.clone());
    }
    let Some(write_back) = &state.write_back else {
        let message = format!(
            "PadConfiguration {} does not exist in this namespace, so the operator cannot write the note and tags to Lever. Create it.",
            state.pad.configuration
        );
        return rest(Outcome::Ended(WriteBackState::Pending(Reason::ConfigurationNotFound, message)));
    };
    if write_back.note == Note::None && write_back.tags == StatusTags::default() {
        return rest(Outcome::Ended(WriteBackState::NotRequested));
    }
    if write_back.note != Note::None
        && state.pad.note_id.is_none()
        && let Some(step) = write_note(state, write_back, record)
    {
        return step;
    }
    // The tags show the latest interview.
    if !state.others.iter().any(SeriesMember::is_open)
        && let Some(step) = sync_tags(state, |tags| &tags.ended, &[|tags| &tags.ready, |tags| &tags.failed])
    {
        return step;
    }
    rest(Outcome::Ended(WriteBackState::Written))
}

/// Returns the next command for the note; `None`: it is written. The note is searched for before it is written, and
/// written only with a claim, because Lever does not detect duplicate notes.
fn write_note(state: &PadState, write_back: &WriteBack, record: &PadRecord) -> Option<Command> {
    let reference = reference(state, record);
    Some(match &state.note {
        NoteLookup::Written(_) => return None,
        NoteLookup::NotRead => match state.write_claim {
            WriteClaim::InFlight { rest } => {
                let message = "Lever did not confirm the note. The operator waits for the request to time out, checks the candidate's notes, and retries only if the note is missing. No action needed.";
                let outcome =
                    Outcome::Ended(WriteBackState::Pending(Reason::LeverUnavailable, message.into()));
                Command::Done { outcome, again: Some(rest) }
            }
            WriteClaim::Unclaimed | WriteClaim::Owned(_) => Command::ReadNotes { reference },
        },
        NoteLookup::Absent => {
            let with_code = write_back.note == Note::SummaryWithCode && !state.code_refused;
            if with_code && state.code.is_none() && !record.environment_ids.is_empty() {
                return Some(Command::ReadCode(record.environment_ids.clone()));
            }
            if state.write_claim != WriteClaim::Owned(OnceOnlyWrite::Note) {
                return Some(Command::Claim(OnceOnlyWrite::Note));
            }
            let code = match (write_back.note, with_code) {
                (Note::SummaryWithCode, false) => Code::Refused,
                (_, true) => Code::Of(state.code.as_deref().unwrap_or_default()),
                (Note::None | Note::Summary, false) => Code::NotAsked,
            };
            Command::AddNote(note::text(record, state.started_at(), code, &reference))
        }
    })
}

/// Returns the reference of the pad: from its notes, else from the stored attempt.
fn reference(state: &PadState, record: &PadRecord) -> Reference {
    let attempted = || state.pad.attempt.as_ref().map(|attempt| attempt.reference.clone());
    Reference::from_notes(&record.notes)
        .or_else(attempted)
        .unwrap_or_else(|| Reference::new(state.pad.series(), &state.pad.name))
}

/// One of the tags of a configuration.
type TagSelector = fn(&StatusTags) -> &Option<String>;

/// Returns the next command until the candidate carries one tag and not the others; `None`: done.
fn sync_tags(state: &PadState, put: TagSelector, take: &[TagSelector]) -> Option<Command> {
    let tags = &state.write_back.as_ref()?.tags;
    let (put, take) = (put(tags), take.iter().filter_map(|pick| pick(tags).as_ref()));
    let take: Vec<_> = take.collect();
    if put.is_none() && take.is_empty() {
        return None;
    }
    let opportunity = match &state.opportunity {
        CandidateLookup::NotRead => return Some(Command::ReadOpportunity),
        CandidateLookup::NotFound | CandidateLookup::Refused => return None,
        CandidateLookup::Read(opportunity) => opportunity,
    };
    // Each tag is written once per pass: a recruiter's change after that is kept.
    let due = |tag: &str, present: bool| {
        opportunity.tags.iter().any(|one| one == tag) == present
            && !state.tags_written.iter().any(|one| one == tag)
    };
    let off: Vec<String> =
        take.into_iter().filter(|tag| due(tag, true) && !state.tags.needed.contains(tag)).cloned().collect();
    if !off.is_empty() {
        return Some(Command::RemoveTags(off));
    }
    put.as_ref().filter(|tag| due(tag, false)).map(|tag| Command::AddTags(vec![tag.clone()]))
}
