//! Cancellation: `spec.state: Ended` before the link of the pad is on the candidate (contract E6).

use super::link::pad_deleted;
use super::write_back::after_link;
use super::{Command, Outcome, ownership, rest};
use crate::state::{CandidateLookup, PadLookup, PadState, WriteClaim};
use api::reason::Reason;
use services::{ErrorKind, Service, ServiceError};
use std::time::Duration;

/// Delay before the pad is read again if CoderPad has not ended it yet.
const CANCEL_RECHECK_DELAY: Duration = Duration::from_secs(30);

/// Returns the next command for a cancelled pad. The interview is ended in CoderPad first, whatever Lever answers. If
/// the link did reach the candidate, the end is an ordinary one, with note and tags.
pub(super) fn end_unlinked(state: &PadState) -> Command {
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
    let is_called_off = state.pad.desired_state == api::pad::DesiredState::Ended
        && state.pad.pad_id.is_some()
        && !state.pad.linked
        && !state.link_written;
    (is_refusal && is_over && is_called_off).then_some(Outcome::EndedUnlinked)
}
