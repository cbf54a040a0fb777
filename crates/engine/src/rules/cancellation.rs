//! Cancellation: `spec.state: Ended` before the link of the pad is on the candidate (contract E6).

use super::write_back::{after_link, pad_deleted};
use super::{is_blocked, ownership, rest};
use crate::command::{Command, Outcome};
use crate::state::{CandidateLookup, PadLookup, PadState, PassError, WriteClaim};
use api::pad::DesiredState;
use api::reason::Reason;
use services::{ErrorKind, Service, ServiceError};
use std::time::Duration;

/// Delay before the pad is read again if CoderPad has not ended it yet.
const CANCEL_RECHECK_DELAY: Duration = Duration::from_secs(30);

/// A Pad that was cancelled before it had a pad stays cancelled, whatever the services answer.
pub(crate) fn cancelled_after_error(state: &PadState) -> Option<Command> {
    let is_of_service = matches!(state.error, Some(PassError::Service(_) | PassError::NoCredentials { .. }));
    (is_of_service && is_cancelled(state)).then(|| cancel(state))
}

/// A person ended the Pad before it had a pad.
pub(crate) fn cancelled(state: &PadState) -> Option<Command> {
    is_cancelled(state).then(|| cancel(state))
}

/// Reports whether a person ended the Pad before it had a pad.
fn is_cancelled(state: &PadState) -> bool {
    let pad = &state.pad;
    let nothing_made =
        pad.pad_id.is_none() && pad.open_attempt().is_none() && matches!(state.record, PadLookup::NotRead);
    pad.desired_state == DesiredState::Ended && nothing_made && !pad.deleting && !pad.linked
}

/// Returns the next command for a cancelled Pad. A later stage entry is not cancelled, so the last entry is read from
/// Lever first; the operator's clock replaces it only while Lever cannot be called.
fn cancel(state: &PadState) -> Command {
    let is_known = state.pad.member.is_served() || !matches!(state.opportunity, CandidateLookup::NotRead);
    if !is_known && state.error.is_none() && state.backoff_remaining.is_none() && !is_blocked(state) {
        return Command::ReadOpportunity;
    }
    rest(Outcome::Skipped(
        Reason::Cancelled,
        "spec.state is Ended, so no pad was created. To get one, create a new Pad.".into(),
    ))
}

/// A person ended the Pad before its link was added (contract E6).
pub(crate) fn end_unlinked(state: &PadState) -> Option<Command> {
    let pad = &state.pad;
    let is_meant = pad.desired_state == DesiredState::Ended && pad.pad_id.is_some() && !state.link_written;
    is_meant.then(|| end(state))
}

/// Returns the next command for a cancelled pad. The interview is ended in CoderPad first, whatever Lever answers. If
/// the link did reach the candidate, the end is an ordinary one, with note and tags.
fn end(state: &PadState) -> Command {
    let record = match (&state.record, &state.pad.pad_id) {
        (PadLookup::Read(record), _) => record,
        (PadLookup::NotRead, Some(id)) => return Command::ReadPad(id.clone()),
        (PadLookup::NotRead, None) => return rest(Outcome::NoDecision),
        (PadLookup::NotFound, _) => return pad_deleted(state),
    };
    // contract I3
    if let Some(id) = ownership::foreign(state, record) {
        return ownership::owned(state, id);
    }
    if record.is_deleted() {
        return pad_deleted(state);
    }
    if !record.is_ended() {
        return match state.end_requested {
            false => Command::EndPad(record.id.clone()),
            true => Command::Done { outcome: Outcome::NoDecision, again: Some(CANCEL_RECHECK_DELAY) },
        };
    }
    if let WriteClaim::InFlight { rest } = state.write_claim {
        let message = "The interview is ended in CoderPad. Lever did not confirm the link; the operator checks whether the candidate has it. No action needed.";
        let outcome = Outcome::Waiting(Reason::LeverUnavailable, message.into());
        return Command::Done { outcome, again: Some(rest) };
    }
    match &state.opportunity {
        CandidateLookup::NotRead => Command::ReadOpportunity,
        CandidateLookup::Read(opportunity) if opportunity.links.contains(&record.url) => after_link(state),
        CandidateLookup::Read(_) | CandidateLookup::NotFound | CandidateLookup::Refused => {
            rest(Outcome::EndedUnlinked)
        }
    }
}

/// Returns the outcome if Lever refuses to show whether the link is there: the interview has ended, and Lever is not
/// called again.
pub(super) fn after_refusal(state: &PadState, error: &ServiceError) -> Option<Outcome> {
    let is_refusal =
        error.service == Service::Lever && matches!(error.class, ErrorKind::Forbidden | ErrorKind::Invalid);
    let is_over = matches!(&state.record, PadLookup::Read(record) if record.is_ended());
    let is_called_off = state.pad.desired_state == DesiredState::Ended
        && state.pad.pad_id.is_some()
        && !state.pad.linked
        && !state.link_written;
    (is_refusal && is_over && is_called_off).then_some(Outcome::EndedUnlinked)
}
