//! A linked pad: the tags that show where it stands, the end of the interview, and the note that stays.

use super::link::pad_deleted;
use super::{Command, Outcome, WriteBackState, connection_not_usable, installation, rest};
use crate::api::configuration::{DeletionPolicy, Note, StatusTags, WriteBack};
use crate::api::names::{OnceOnlyWrite, Reference};
use crate::api::pad::{DesiredState, Phase};
use crate::coderpad::PadRecord;
use crate::controller::pad::note::{self, Code};
use crate::controller::pad::reason::Reason;
use crate::controller::pad::series::SeriesMember;
use crate::controller::pad::state::{
    CandidateLookup, NoteLookup, PadLookup, PadState, StoredPad, WriteClaim,
};
use std::time::Duration;

/// When to see whether CoderPad has ended an interview that it was asked to end.
const END_RECHECK_DELAY: Duration = Duration::from_secs(30);

/// The link is on the candidate, or was: what follows until the record of the interview is complete.
pub(super) fn after_link(facts: &PadState) -> Command {
    let pad = &facts.pad;
    let wanted = pad.deletion_policy != DeletionPolicy::Retain;
    if pad.finalizer != wanted {
        return Command::SetFinalizer(wanted);
    }
    // A pad that was deleted in CoderPad may be there again: then the phase follows it (contract E2).
    let asks_for_deleted = pad.pad_was_deleted && (facts.look || pad.requested);
    if pad.phase == Some(Phase::Ended) && pad.recorded && !asks_for_deleted {
        return rest(Outcome::Keep);
    }
    if let Some(waiting) = connection_not_usable(facts) {
        return rest(match (pad.phase, waiting) {
            (Some(Phase::Open | Phase::Started), _) => Outcome::Keep,
            (Some(Phase::Ended), Outcome::Waiting(reason, message)) => {
                Outcome::Ended(WriteBackState::Pending(reason, message))
            }
            (_, waiting) => waiting,
        });
    }
    installation::contest(facts).unwrap_or_else(|| track_interview(facts))
}

/// Whether the Pad was seen to be Open before.
fn was_open(pad: &StoredPad) -> bool {
    matches!(pad.phase, Some(Phase::Open | Phase::Started | Phase::Ended))
}

/// Follows what CoderPad says of the pad.
fn track_interview(facts: &PadState) -> Command {
    let pad = &facts.pad;
    let has_ended = pad.phase == Some(Phase::Ended) && !pad.pad_was_deleted;
    if facts.archived && facts.ends_on_archive && matches!(facts.opportunity, CandidateLookup::NotRead) {
        return Command::ReadOpportunity;
    }
    let shall_end = should_end(facts);
    // What came before a Pad was called Open is not news to the walk over CoderPad's list any more.
    let must_look = facts.look || pad.requested || shall_end || has_ended || !was_open(pad);
    let record = match (&facts.record, &pad.pad_id) {
        (PadLookup::Read(record), _) => record.as_ref(),
        (PadLookup::NotFound, _) => return pad_deleted(facts),
        (PadLookup::NotRead, Some(id)) if must_look || pad.pad_was_deleted => {
            return Command::ReadPad(id.clone());
        }
        (PadLookup::NotRead, _) if was_open(pad) => {
            return ready_tag(facts).unwrap_or_else(|| rest(Outcome::Keep));
        }
        (PadLookup::NotRead, _) => return rest(Outcome::Open),
    };
    // contract I3
    if let Some(id) = installation::foreign(facts, record) {
        return installation::owned(facts, id);
    }
    if record.is_deleted() {
        return pad_deleted(facts);
    }
    // Before anybody who took part is named: whether the candidate may still be.
    if record.is_started() && !pad.names_candidate && matches!(facts.opportunity, CandidateLookup::NotRead) {
        return Command::ReadOpportunity;
    }
    if record.is_ended() || has_ended {
        return end(facts, record);
    }
    if shall_end && !facts.end_asked {
        return Command::EndPad(record.id.clone());
    }
    // An interview that is over before its pad was called Open gets only the tag of its end.
    if let Some(step) = ready_tag(facts) {
        return step;
    }
    let outcome = match record.is_started() {
        true if start_time_unknown(facts) => return Command::ReadEvents(record.id.clone()),
        true => Outcome::Started,
        false => Outcome::Open,
    };
    Command::Done { outcome, again: facts.end_asked.then_some(END_RECHECK_DELAY) }
}

/// The next step until the tag of an open pad is on the candidate; None: there is none now. It is added when the Pad
/// becomes Open, and after a refusal (contract K4a).
fn ready_tag(facts: &PadState) -> Option<Command> {
    let is_due = !was_open(&facts.pad) || (facts.tags.reported && facts.tags.pause.is_none());
    let exchange = || sync_tags(facts, |tags| &tags.ready, &[|tags| &tags.failed]);
    is_due.then(exchange).flatten()
}

/// Whether a refused tag of an open pad is on the candidate by now, or not configured any more.
pub fn is_tag_settled(facts: &PadState) -> bool {
    facts.tags.pause.is_none() && connection_not_usable(facts).is_none() && ready_tag(facts).is_none()
}

/// Whether the interview is to be ended: a person wishes it, or the candidate is archived and the configuration says so.
fn should_end(facts: &PadState) -> bool {
    let is_archived =
        || matches!(&facts.opportunity, CandidateLookup::Read(opportunity) if opportunity.archived);
    facts.pad.desired_state == DesiredState::Ended
        || (facts.archived && facts.ends_on_archive && is_archived())
}

fn start_time_unknown(facts: &PadState) -> bool {
    facts.pad.started_at.is_none() && facts.events.is_none()
}

/// The interview is over: the note, then the tags.
fn end(facts: &PadState, record: &PadRecord) -> Command {
    if start_time_unknown(facts) {
        return Command::ReadEvents(record.id.clone());
    }
    let Some(write_back) = &facts.write_back else {
        let message = format!(
            "PadConfiguration {} does not exist in this namespace, so it is not known what to write to Lever. Create it.",
            facts.pad.configuration
        );
        return rest(Outcome::Ended(WriteBackState::Pending(Reason::ConfigurationNotFound, message)));
    };
    if write_back.note == Note::None && write_back.tags == StatusTags::default() {
        return rest(Outcome::Ended(WriteBackState::NotRequested));
    }
    if write_back.note != Note::None
        && facts.pad.note_id.is_none()
        && let Some(step) = write_note(facts, write_back, record)
    {
        return step;
    }
    // The tags tell of the latest interview.
    if !facts.others.iter().any(SeriesMember::is_open)
        && let Some(step) = sync_tags(facts, |tags| &tags.ended, &[|tags| &tags.ready, |tags| &tags.failed])
    {
        return step;
    }
    rest(Outcome::Ended(WriteBackState::Written))
}

/// The next step to the note; None: it is written. It is looked for before it is written, and written only by who has
/// claimed it, because Lever cannot tell a second note from a repeated one.
fn write_note(facts: &PadState, write_back: &WriteBack, record: &PadRecord) -> Option<Command> {
    let reference = reference(facts, record);
    Some(match &facts.note {
        NoteLookup::Written(_) => return None,
        NoteLookup::NotRead => match facts.claimed {
            WriteClaim::InFlight { rest } => {
                let message = "It is not known whether Lever has the note already: what is under way is waited for, then the note is looked for before it is written; nobody has to act.";
                let outcome =
                    Outcome::Ended(WriteBackState::Pending(Reason::LeverUnavailable, message.into()));
                Command::Done { outcome, again: Some(rest) }
            }
            WriteClaim::Unclaimed | WriteClaim::Owned(_) => Command::ReadNotes { reference },
        },
        NoteLookup::Absent => {
            let with_code = write_back.note == Note::SummaryWithCode && !facts.code_refused;
            if with_code && facts.code.is_none() && !record.environment_ids.is_empty() {
                return Some(Command::ReadCode(record.environment_ids.clone()));
            }
            if facts.claimed != WriteClaim::Owned(OnceOnlyWrite::Note) {
                return Some(Command::Claim(OnceOnlyWrite::Note));
            }
            let code = match (write_back.note, with_code) {
                (Note::SummaryWithCode, false) => Code::Refused,
                (_, true) => Code::Of(facts.code.as_deref().unwrap_or_default()),
                (Note::None | Note::Summary, false) => Code::NotAsked,
            };
            Command::AddNote(note::text(record, facts.started_at(), code, &reference))
        }
    })
}

/// The reference of the pad: as its own notes say, or else as it was made.
fn reference(facts: &PadState, record: &PadRecord) -> Reference {
    let attempted = || facts.pad.attempt.as_ref().map(|attempt| attempt.reference.clone());
    Reference::of_notes(&record.notes)
        .or_else(attempted)
        .unwrap_or_else(|| Reference::new(facts.pad.series(), &facts.pad.name))
}

/// One of the tags of a configuration.
type TagSelector = fn(&StatusTags) -> &Option<String>;

/// The next step until one tag is on the candidate and others are off; None: they are.
fn sync_tags(facts: &PadState, put: TagSelector, take: &[TagSelector]) -> Option<Command> {
    let tags = &facts.write_back.as_ref()?.tags;
    let (put, take) = (put(tags), take.iter().filter_map(|pick| pick(tags).as_ref()));
    let take: Vec<_> = take.collect();
    if put.is_none() && take.is_empty() {
        return None;
    }
    let opportunity = match &facts.opportunity {
        CandidateLookup::NotRead => return Some(Command::ReadOpportunity),
        CandidateLookup::NotFound | CandidateLookup::Refused => return None,
        CandidateLookup::Read(opportunity) => opportunity,
    };
    // What a recruiter changes in the same moment is left as it is.
    let due = |tag: &str, present: bool| {
        opportunity.tags.iter().any(|one| one == tag) == present
            && !facts.tags_written.iter().any(|one| one == tag)
    };
    let off: Vec<String> =
        take.into_iter().filter(|tag| due(tag, true) && !facts.tags.needed.contains(tag)).cloned().collect();
    if !off.is_empty() {
        return Some(Command::RemoveTags(off));
    }
    put.as_ref().filter(|tag| due(tag, false)).map(|tag| Command::AddTags(vec![tag.clone()]))
}
