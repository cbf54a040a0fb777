//! An attempt to create the pad whose outcome is not stored: search for its pad, and never create another one blindly.

use super::link::store;
use super::{failed_creations, rest};
use crate::command::{Command, Outcome};
use crate::state::{CreateOutcome, PadState};
use api::reason::Reason;
use services::coderpad::PadKind;

/// The outcome of an attempt to create the pad is not stored. It is never retried blindly (contract X5).
pub(crate) fn unknown_outcome(state: &PadState) -> Option<Command> {
    state.pad.open_attempt().map(|_| resolve_attempt(state))
}

/// Returns the next command for an attempt whose outcome is not stored. It is never retried blindly (contract X5).
fn resolve_attempt(state: &PadState) -> Command {
    let Some(attempt) = state.pad.open_attempt() else { return rest(Outcome::NoDecision) };
    match &state.create_outcome {
        // A pad that is found is adopted, however early the list shows it (contract X5a).
        CreateOutcome::InFlight { search_in, .. } if search_in.is_zero() => {
            Command::Search { reference: attempt.reference.clone() }
        }
        CreateOutcome::InFlight { rest, search_in } => {
            let message = "CoderPad did not confirm the creation of the pad. The operator searches CoderPad's list of pads for it and creates another one only if it is missing. No action needed.";
            Command::Done {
                outcome: Outcome::Waiting(Reason::CreateOutcomeUnknown, message.into()),
                again: Some(*rest.min(search_in)),
            }
        }
        CreateOutcome::Completed => Command::Search { reference: attempt.reference.clone() },
        CreateOutcome::NotSent => Command::ClearAttempt,
        CreateOutcome::Searched(found) => match found.as_slice() {
            [] if state.create_answered_5xx => failed_creations::count(state, attempt),
            [] => Command::ClearAttempt,
            // The same decision follows as right after the creation.
            [oldest] if state.wants_take_home && oldest.kind != PadKind::TakeHome => {
                Command::ReadKindAgain(oldest.id.clone())
            }
            [oldest] => store(state, oldest),
            [_, .., youngest] => Command::DeletePad(youngest.id.clone()),
        },
    }
}
