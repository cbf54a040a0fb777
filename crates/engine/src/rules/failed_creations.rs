//! Creations that CoderPad answers with a server error although nothing is wrong with CoderPad: it answers some bad input
//! like this (contract F8).

use super::eligibility::{eligible, is_later_entry};
use super::retry_command;
use crate::command::{Command, Outcome};
use crate::state::{PadState, Rule, StoredPad};
use api::names::{CreateIntent, FailedCreations};
use api::reason::Reason;
use jiff::SignedDuration;
use std::time::Duration;

/// Number of failed creations after which the Pad fails.
const MAX_FAILED_CREATIONS: u32 = 3;
/// Delay before the next creation for a Pad that failed.
const RETRY_DELAY: SignedDuration = SignedDuration::from_hours(24);

/// Returns the command that clears a failed attempt and counts it. The time of the attempt is the time of the failure:
/// both are by the operator's clock.
pub(super) fn count(state: &PadState, attempt: &CreateIntent) -> Command {
    let count = state.pad.failed_creations.as_ref().map_or(0, |before| before.count).saturating_add(1);
    Command::CountFailedCreation(FailedCreations {
        count,
        last: attempt.at.parse().unwrap_or(state.observed_at),
    })
}

/// CoderPad has answered several creations of the pad with a server error.
pub(crate) fn failed_repeatedly(state: &PadState) -> Option<Command> {
    let (rule, _) = eligible(state)?;
    let failed = state.pad.failed_creations.as_ref()?;
    let rest = retry_delay(state).filter(|_| !starts_anew(state))?;
    let outcome = Outcome::Failed(Reason::ServiceError, message(&state.pad, rule, failed.count));
    Some(Command::Done { outcome, again: Some(rest) })
}

/// Returns the delay before the pad of a failed Pad is created again; `None`: nothing delays it.
fn retry_delay(state: &PadState) -> Option<Duration> {
    let failed = state.pad.failed_creations.as_ref().filter(|failed| failed.count >= MAX_FAILED_CREATIONS)?;
    let rest = RETRY_DELAY - state.observed_at.duration_since(failed.last);
    // A time in the future is from another clock.
    Duration::try_from(rest.min(RETRY_DELAY)).ok().filter(|rest| !rest.is_zero())
}

/// Returns the command for a decided Pad. With reason `ServiceError`, it is decided only until the daily creation.
pub(super) fn keep(state: &PadState) -> Command {
    let again = retry_delay(state).filter(|_| state.pad.has_service_error);
    Command::Done { outcome: Outcome::Keep, again }
}

/// Reports whether the daily creation of a failed Pad is due.
pub(super) fn is_retry_due(state: &PadState) -> bool {
    state.pad.has_service_error && retry_delay(state).is_none()
}

/// Reports whether earlier failures no longer count: a person requests a retry or, after the last failure, has changed the
/// configuration or moved the candidate into the stage again. The phase does not matter, because the Pad is Pending until a
/// changed configuration was checked.
pub(super) fn starts_anew(state: &PadState) -> bool {
    let pad = &state.pad;
    let has_failed = pad.failed_creations.as_ref().is_some_and(|failed| failed.count >= MAX_FAILED_CREATIONS);
    let is_changed = pad.configuration_changed || is_later_entry(state);
    pad.asked_by_person || has_failed && is_changed && !state.failure_counted
}

fn message(pad: &StoredPad, rule: &Rule, count: u32) -> String {
    let configuration = &pad.configuration;
    let suspects: Vec<String> = [
        rule.question_id.map(|id| format!("question {id}")),
        rule.language.as_ref().map(|language| format!("language {language}")),
        rule.owner_email.as_ref().map(|owner| format!("owner {owner}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let cause = if suspects.is_empty() {
        format!(
            "PadConfiguration {configuration} sets no question, language or owner, so the cause is probably in CoderPad: ask CoderPad's support."
        )
    } else {
        format!(
            "CoderPad may not accept a value of PadConfiguration {configuration}: {}. Check whether each exists in CoderPad and can be used, and correct the PadConfiguration.",
            suspects.join(", ")
        )
    };
    format!(
        "CoderPad answered {count} requests to create this pad with a server error, and created none. {cause} The operator retries once a day. To retry now: {}",
        retry_command(pad)
    )
}
