//! The meaning of a request that may be in flight, and of a search for its pad. Pure: the process keeps
//! the requests and their deadlines.

use crate::event::Fact;
use crate::state::{CreateOutcome, PadState, PassError, StoredPad, WriteClaim};
use api::names::{OnceOnlyWrite, Reference};
use services::coderpad::PadRecord;
use std::time::Duration;

/// State of one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InFlightState {
    /// It may still take effect, or its effect may not be visible yet.
    InFlight {
        /// Longest remaining time.
        rest: Duration,
        /// Delay before the next search for its effect; zero: now.
        search_in: Duration,
    },
    /// It has ended; a search for its effect is conclusive.
    Completed,
    /// It certainly took no effect.
    NotSent,
}

/// Returns the [`CreateOutcome`] of the Pad's open attempt: the attempt is recorded on the Pad, but its outcome is not.
/// Without an open attempt, the outcome is [`CreateOutcome::NotSent`]. `state_of` returns the state by the mark.
pub fn create_outcome(pad: &StoredPad, state_of: impl FnOnce(&str) -> InFlightState) -> CreateOutcome {
    let Some(attempt) = pad.open_attempt() else { return CreateOutcome::NotSent };
    match state_of(&attempt.to_string()) {
        InFlightState::InFlight { rest, search_in } => CreateOutcome::InFlight { rest, search_in },
        InFlightState::Completed => CreateOutcome::Completed,
        InFlightState::NotSent => CreateOutcome::NotSent,
    }
}

/// Returns the state of the write to Lever whose outcome is not stored. `state_of` returns the state by the mark.
pub fn write_claim(
    pad: &StoredPad,
    state_of: impl FnOnce(&str, OnceOnlyWrite) -> InFlightState,
) -> WriteClaim {
    let Some((effect, mark)) = pad.open_claim() else { return WriteClaim::Unclaimed };
    match state_of(&mark, effect) {
        InFlightState::InFlight { rest, .. } => WriteClaim::InFlight { rest },
        InFlightState::Completed | InFlightState::NotSent => WriteClaim::Unclaimed,
    }
}

/// Reports whether a pad of CoderPad's list is the one that is searched. Pads of other installations are not
/// (contract I3).
pub fn is_searched(state: &PadState, reference: &Reference, record: &PadRecord) -> bool {
    state.ownership.installation.foreign(&record.notes).is_none()
        && !record.is_deleted()
        && Reference::from_notes(&record.notes).as_ref() == Some(reference)
}

/// Reports whether a search needs a second scan: only if its result is conclusive. A pad that is found while the
/// request may be in flight is adopted immediately (contract X5a).
pub fn needs_second_scan(outcome: &CreateOutcome) -> bool {
    !matches!(outcome, CreateOutcome::InFlight { .. })
}

/// Returns the event of a search. "There is none" requires two scans that agree, after no request can be in flight
/// (contract X5b). `next_search` returns the delay before the next search.
pub fn search_result(
    outcome: &CreateOutcome,
    first: Vec<PadRecord>,
    second: Option<Vec<PadRecord>>,
    next_search: impl FnOnce() -> Duration,
) -> Result<Fact, PassError> {
    let found = match second {
        Some(second) => merge_scans(first, second).ok_or_else(|| PassError::Cluster {
            message: "two scans of CoderPad's pads did not agree".into(),
        })?,
        None => merge_scans(first.clone(), first).unwrap_or_default(),
    };
    match outcome {
        CreateOutcome::InFlight { rest, .. } if found.is_empty() => {
            Ok(Fact::NotFoundYet(CreateOutcome::InFlight { rest: *rest, search_in: next_search() }))
        }
        _ => Ok(Fact::Found(found)),
    }
}

/// Returns the common result of two scans of CoderPad's newest pads, oldest first; `None` if they do not agree.
fn merge_scans(mut first: Vec<PadRecord>, mut second: Vec<PadRecord>) -> Option<Vec<PadRecord>> {
    for scan in [&mut first, &mut second] {
        scan.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        scan.dedup_by(|a, b| a.id == b.id);
    }
    let ids = |scan: &[PadRecord]| scan.iter().map(|record| record.id.clone()).collect::<Vec<_>>();
    (ids(&first) == ids(&second)).then_some(second)
}
