//! The rules of Pads, in files by topic. [`crate::decide`] has their order.

pub(crate) mod attempt;
pub(crate) mod cancellation;
pub(crate) mod deletion;
pub(crate) mod eligibility;
pub mod errors;
pub(crate) mod failed_creations;
pub mod failure_tag;
pub(crate) mod link;
pub mod linked_pads;
pub mod ownership;
pub(crate) mod repeat;
pub mod settled;
#[cfg(test)]
mod tests;
pub(crate) mod ttl;
pub(crate) mod unconfirmed;
pub(crate) mod write_back;

use crate::command::{Command, Outcome};
use crate::state::{CandidateLookup, ConnectionState, PadState, RuleState, StoredPad};
use api::reason::{ConditionReason as _, ConnectionReason, Reason};
use std::time::Duration;

/// Requeue delay while another Pad of the candidate is being deleted or decided: the end of that triggers no reconcile.
const SIBLING_DELETION_RECHECK_DELAY: Duration = Duration::from_secs(2);

/// Sync found the candidate's data removed from Lever: the read confirms it, and the Pad stops naming the candidate.
pub(crate) fn erased(state: &PadState) -> Option<Command> {
    let is_due = state.erased && matches!(state.opportunity, CandidateLookup::NotRead) && !is_blocked(state);
    is_due.then_some(Command::ReadOpportunity)
}

/// The connection cannot be used.
pub(crate) fn blocked(state: &PadState) -> Option<Command> {
    let waiting = connection_not_usable(state)?;
    Some(rest(if stays_queued(state) { Outcome::Keep } else { waiting }))
}

/// The configuration does not exist, or cannot be used.
pub(crate) fn unusable_configuration(state: &PadState) -> Option<Command> {
    match &state.configuration {
        RuleState::Ready(_) => None,
        other => Some(rest(configuration_not_usable(&state.pad, other))),
    }
}

/// Pads of one series share references and links, so the cleanup of a deleted one comes first.
pub(crate) fn sibling_terminating(state: &PadState) -> Option<Command> {
    state.pad.sibling_terminating.then(|| {
        let message = "Another Pad of this candidate is being deleted. The operator finishes its cleanup in CoderPad first. No action needed.";
        let outcome = Outcome::Waiting(Reason::CreateOutcomeUnknown, message.into());
        Command::Done { outcome, again: Some(SIBLING_DELETION_RECHECK_DELAY) }
    })
}

/// Reports whether a Pad that waits for quota or the hourly limit keeps its state while its changed connection is
/// probed. The probe takes seconds, and the Pad need not be judged again.
fn stays_queued(state: &PadState) -> bool {
    let is_tried = matches!(&state.connection, ConnectionState::NotReady { reason, .. } if *reason == ConnectionReason::Connecting);
    is_tried && state.pad.waits_for_room && !state.pad.requested
}

/// Reports whether no request may be sent for the Pad now.
pub fn is_blocked(state: &PadState) -> bool {
    connection_not_usable(state).is_some()
}

/// Returns the outcome while the connection is not usable. Nothing is sent meanwhile: the connection's own probe
/// decides for all its Pads (contract F4).
fn connection_not_usable(state: &PadState) -> Option<Outcome> {
    match &state.connection {
        ConnectionState::Ready { .. } if matches!(state.configuration, RuleState::Suspended) => {
            let message = format!(
                "PadConfiguration {} is suspended. The operator continues once its spec.suspend is false.",
                state.pad.configuration
            );
            Some(Outcome::Waiting(Reason::Suspended, message))
        }
        ConnectionState::Ready { .. } => None,
        ConnectionState::Suspended { name } => {
            let message = format!(
                "LeverConnection {name} is suspended. The operator continues once its spec.suspend is false."
            );
            Some(Outcome::Waiting(Reason::Suspended, message))
        }
        // Without a configuration, a manually created Pad has no connection either: report the configuration.
        ConnectionState::Missing { .. } if matches!(state.configuration, RuleState::NotFound { .. }) => {
            Some(configuration_not_usable(&state.pad, &state.configuration))
        }
        ConnectionState::Missing { name } => {
            let message = format!("LeverConnection {name} does not exist in this namespace. Create it.");
            Some(Outcome::Waiting(Reason::ConnectionNotReady, message))
        }
        ConnectionState::NotReady { name, reason, message } => {
            let reason = Reason::parse(reason).filter(|reason| reason.needs_user_action());
            let message = format!("LeverConnection {name} is not Ready: {message}");
            Some(Outcome::Waiting(reason.unwrap_or(Reason::ConnectionNotReady), message))
        }
    }
}

fn configuration_not_usable(pad: &StoredPad, configuration: &RuleState) -> Outcome {
    let name = &pad.configuration;
    match configuration {
        RuleState::NotFound { message } => Outcome::Waiting(Reason::ConfigurationNotFound, message.clone()),
        RuleState::NotReady { reason, message, .. } => Outcome::Waiting(
            Reason::ConfigurationNotReady,
            format!("PadConfiguration {name} is not Ready ({reason}): {message}"),
        ),
        RuleState::Suspended | RuleState::Ready(_) => {
            Outcome::Waiting(Reason::Suspended, format!("PadConfiguration {name} is suspended."))
        }
    }
}

/// Returns the command for a read from Lever that is older than the webhook: read again before deciding.
fn wait_for_fresh_read(again: Duration) -> Command {
    Command::Done { outcome: Outcome::StaleRead, again: Some(again) }
}

fn rest(outcome: Outcome) -> Command {
    Command::Done { outcome, again: None }
}

/// Returns the command by which a user retries a Pad.
fn retry_command(pad: &StoredPad) -> String {
    format!("kubectl pad retry {} --namespace {}", pad.name, pad.namespace)
}
