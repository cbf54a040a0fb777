//! The meaning of a request that may be in flight. Pure: the process keeps the requests and their deadlines.

use crate::state::{CreateOutcome, StoredPad, WriteClaim};
use api::names::OnceOnlyWrite;
use services::ServiceError;
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

/// Reports whether a service has answered a request of unknown outcome with a server error.
pub fn is_server_error(error: &ServiceError) -> bool {
    error.status.is_some_and(|status| (500..600).contains(&status))
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
