//! The rules of Pads as a pure function from the observed state to the next command, in order of precedence.
//!
//! The reconcile loop executes each command, adds its result to the state, and calls [`plan`] again until it returns
//! [`Command::Done`].

mod cancellation;
mod deletion;
mod eligibility;
mod errors;
pub mod failure_tag;
mod link;
pub mod ownership;
mod repeat;
#[cfg(test)]
mod tests;
mod write_back;

pub use eligibility::{pad_id_of_link, profile_url};
pub use write_back::is_tag_settled;

use super::state::{
    CandidateLookup, ConnectionState, CreateOutcome, PadLookup, PadState, PassError, RuleState, StoredPad,
    WriteClaim,
};
use api::configuration::PadType;
use api::names::{OnceOnlyWrite, Reference};
use api::pad::{DesiredState, Phase};
use api::reason::CONNECTING;
use api::reason::Reason;
use cancellation::end_unlinked;
use deletion::delete;
use eligibility::{Eligibility, create, judge, limit_reached};
use errors::after_error;
use jiff::Timestamp;
use link::{link, store};
use repeat::{repeat, served_by_sibling};
use services::coderpad::{NewPad, PadKind, PadRecord};
use std::time::Duration;
use write_back::after_link;

/// Requeue delay while another Pad of the candidate is being deleted or decided: the end of that triggers no reconcile.
const SIBLING_DELETION_RECHECK_DELAY: Duration = Duration::from_secs(2);

/// The next thing to do about one Pad.
#[derive(Clone, Debug)]
pub enum Command {
    /// Ends the pass and writes the status of the outcome.
    Done {
        /// Content of the new status.
        outcome: Outcome,
        /// Requeue delay; `None`: only after an event, or after the backoff of a failure.
        again: Option<Duration>,
    },
    /// Read the opportunity from Lever.
    ReadOpportunity,
    /// Read the pad with this ID from CoderPad.
    ReadPad(String),
    /// Read the pads behind the CoderPad links on the candidate: one of them may be ours if the Pad lost its status.
    ReadLinkedPads(Vec<String>),
    /// Record the attempt on the Pad, then create the pad.
    Create {
        /// Reference by which a search finds the pad.
        reference: Reference,
        /// The pad.
        pad: Box<NewPad>,
    },
    /// Read the pad with this ID again, some seconds later: its type is not the requested one (contract P7b).
    ReadKindAgain(String),
    /// Store on the configuration whether CoderPad refuses to create take-homes for it (contract F7).
    StoreRefusal {
        /// Whether CoderPad refuses.
        refused: bool,
    },
    /// Store the stage entries that stay served after this Pad is deleted (contract P9).
    StoreServed(Vec<Timestamp>),
    /// Search CoderPad's newest pads for the reference of an attempt whose outcome is unknown.
    Search {
        /// Reference in the pad's notes.
        reference: Reference,
    },
    /// Store the ID of the pad, before its link is written.
    StorePad {
        /// The pad.
        record: Box<PadRecord>,
        /// Whether the finalizer is still needed.
        keep_finalizer: bool,
        /// Whether the link is added next: then storing the ID also claims the link.
        claim_link: bool,
    },
    /// Clear the attempt: it certainly created no pad, or its pad is deleted.
    ClearAttempt,
    /// Claim a write to Lever that must take effect once, immediately before it is sent.
    Claim(OnceOnlyWrite),
    /// Add the claimed link to the candidate in Lever.
    AddLink(String),
    /// Remove the link from the candidate in Lever.
    RemoveLink(String),
    /// Add tags to the candidate in Lever.
    AddTags(Vec<String>),
    /// Remove tags from the candidate in Lever.
    RemoveTags(Vec<String>),
    /// Search the candidate's notes in Lever for this reference.
    ReadNotes {
        /// Last line of the note.
        reference: Reference,
    },
    /// Write the claimed note on the candidate in Lever.
    AddNote(String),
    /// Read the events of the pad with this ID.
    ReadEvents(String),
    /// Read the files of these environments of a pad.
    ReadCode(Vec<i64>),
    /// Check whether the question of a refused pad can be used for it.
    CheckQuestion {
        /// The question.
        question: i64,
        /// The type of the pad.
        type_: PadType,
    },
    /// End the interview in CoderPad.
    EndPad(String),
    /// Delete a pad in CoderPad.
    DeletePad(String),
    /// Annotate the Pad: its pad yields to that of the installation with this ID. `None` removes the annotation.
    Yield(Option<String>),
    /// Remove the ID and the attempt of the pad that yielded from the Pad.
    ClearPad,
    /// Create another Pad with this number for the candidate.
    CreateNextPad(u32),
    /// Request that the Pad of this name, another one of the candidate, is judged again.
    JudgeSibling(String),
    /// Add the finalizer to the Pad (true), or remove it so that a deleted Pad can disappear (false).
    SetFinalizer(bool),
}

impl Command {
    /// Returns the name of the command in traces, without its arguments.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Done { .. } => "rest",
            Command::ReadOpportunity => "read opportunity",
            Command::ReadPad(_) => "read pad",
            Command::ReadLinkedPads(_) => "read linked pads",
            Command::ReadKindAgain(_) => "read kind again",
            Command::StoreRefusal { .. } => "store refusal",
            Command::StoreServed(_) => "store served entries",
            Command::Create { .. } => "create",
            Command::Search { .. } => "search",
            Command::StorePad { .. } => "store pad",
            Command::ClearAttempt => "forget attempt",
            Command::Claim(_) => "claim",
            Command::AddLink(_) => "add link",
            Command::RemoveLink(_) => "remove link",
            Command::AddTags(_) => "add tags",
            Command::RemoveTags(_) => "remove tags",
            Command::ReadNotes { .. } => "read notes",
            Command::AddNote(_) => "add note",
            Command::ReadEvents(_) => "read events",
            Command::ReadCode(_) => "read code",
            Command::CheckQuestion { .. } => "ask whether fits",
            Command::EndPad(_) => "end pad",
            Command::DeletePad(_) => "delete pad",
            Command::Yield(_) => "yield",
            Command::ClearPad => "forget pad",
            Command::CreateNextPad(_) => "make further",
            Command::JudgeSibling(_) => "pass on",
            Command::SetFinalizer(_) => "set finalizer",
        }
    }

    /// Reports whether the command calls a service.
    pub fn calls_service(&self) -> bool {
        match self {
            Command::Done { .. }
            | Command::ClearAttempt
            | Command::StoreRefusal { .. }
            | Command::StoreServed(_)
            | Command::Yield(_)
            | Command::ClearPad
            | Command::SetFinalizer(_)
            | Command::CreateNextPad(_)
            | Command::JudgeSibling(_) => false,
            // The claim acquires the rate-limit token of the write that follows.
            Command::Claim(_) => true,
            Command::StorePad { claim_link, .. } => *claim_link,
            Command::ReadOpportunity
            | Command::ReadPad(_)
            | Command::ReadLinkedPads(_)
            | Command::ReadKindAgain(_)
            | Command::Create { .. }
            | Command::Search { .. }
            | Command::AddLink(_)
            | Command::RemoveLink(_)
            | Command::AddTags(_)
            | Command::RemoveTags(_)
            | Command::ReadNotes { .. }
            | Command::AddNote(_)
            | Command::ReadEvents(_)
            | Command::ReadCode(_)
            | Command::EndPad(_)
            | Command::CheckQuestion { .. }
            | Command::DeletePad(_) => true,
        }
    }
}

/// Result of a pass, from which the status is built.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Keeps the conditions of the previous status: nothing changed since.
    Keep,
    /// The pass decided nothing, so the status is not written.
    NoDecision,
    /// The read from Lever is older than the webhook by which the Pad is judged, so nothing is decided.
    StaleRead,
    /// The Pad is waiting.
    Waiting(Reason, String),
    /// The candidate gets no pad.
    Skipped(Reason, String),
    /// The pad cannot be created.
    Failed(Reason, String),
    /// The pad is open and linked.
    Open,
    /// The interview is in progress.
    Started,
    /// The interview has ended.
    Ended(WriteBackState),
    /// The pad was deleted in CoderPad.
    PadDeleted,
    /// A person ended the interview before the link could be added.
    EndedUnlinked,
}

/// Progress of the note and tags that are written to Lever after the interview.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WriteBackState {
    /// Everything is written.
    Written,
    /// The configuration requests nothing.
    NotRequested,
    /// The write is pending for this reason. It continues automatically or after a user action.
    Pending(Reason, String),
    /// The write is impossible.
    Impossible(Reason, String),
}

/// Returns the next command for a Pad.
pub fn plan(state: &PadState) -> Command {
    let step = match &state.error {
        Some(PassError::Service(_) | PassError::NoCredentials { .. }) if is_cancelled(state) => cancel(state),
        Some(error) => after_error(state, error),
        None if state.pad.deleting => delete(state),
        None => decide(state),
    };
    match state.backoff_remaining {
        Some(rest) if step.calls_service() => {
            Command::Done { outcome: Outcome::NoDecision, again: Some(rest) }
        }
        _ => step,
    }
}

/// Returns the next command for a Pad that is not being deleted.
fn decide(state: &PadState) -> Command {
    let pad = &state.pad;
    if state.erased && matches!(state.opportunity, CandidateLookup::NotRead) && !is_blocked(state) {
        return Command::ReadOpportunity;
    }
    if let Some(step) = ownership::other_account(state) {
        return step;
    }
    if let Some(step) = ownership::yielding(state).or_else(|| repeat(state)) {
        return step;
    }
    if pad.linked {
        return after_link(state);
    }
    // Without the finalizer, the Pad could disappear before the operator knows whether its pad is linked. Usually the
    // link follows in the same pass, and no finalizer is needed.
    let is_first_pass =
        matches!(state.write_claim, WriteClaim::Owned(_)) || !matches!(state.record, PadLookup::NotRead);
    if pad.pad_id.is_some() && !pad.finalizer && !is_first_pass && !is_final(state) {
        return Command::SetFinalizer(true);
    }
    if is_cancelled(state) {
        return cancel(state);
    }
    if is_final(state) {
        return rest(Outcome::Keep);
    }
    if let Some(waiting) = connection_not_usable(state) {
        return rest(if stays_queued(state) { Outcome::Keep } else { waiting });
    }
    // contract E6
    if pad.desired_state == DesiredState::Ended && pad.pad_id.is_some() && !state.link_written {
        return end_unlinked(state);
    }
    if pad.pad_id.is_some() || matches!(state.record, PadLookup::Read(_)) {
        return link(state);
    }
    if pad.open_attempt().is_some() {
        return resolve_attempt(state);
    }
    let rule = match &state.configuration {
        RuleState::Ready(rule) => rule,
        other => return rest(configuration_not_usable(pad, other)),
    };
    if pad.sibling_terminating {
        let message = "Another Pad of this candidate is being deleted. The operator finishes its cleanup in CoderPad first. No action needed.";
        let outcome = Outcome::Waiting(Reason::CreateOutcomeUnknown, message.into());
        return Command::Done { outcome, again: Some(SIBLING_DELETION_RECHECK_DELAY) };
    }
    if let Some(waiting) = limit_reached(state)
        && pad.waits_for_room
        && !pad.requested
    {
        return waiting;
    }
    let opportunity = match judge(state, rule, pad.manual) {
        Eligibility::Unknown => return Command::ReadOpportunity,
        Eligibility::Stale(again) => return wait_for_fresh_read(again),
        Eligibility::Ineligible(reason, message) => return rest(Outcome::Skipped(reason, message)),
        Eligibility::Eligible(opportunity) => opportunity,
    };
    // A failed creation would fail again: try it once per entry, unless a person changes something (contract, Phases).
    let is_same_entry =
        || state.entry().is_some_and(|entry| pad.judged_entry.is_some_and(|judged| entry <= judged));
    if pad.phase == Some(Phase::Failed)
        && pad.attempt.is_none()
        && !pad.configuration_changed
        && !pad.asked_by_person
        && is_same_entry()
    {
        return rest(Outcome::Keep);
    }
    served_by_sibling(state, rule, opportunity).unwrap_or_else(|| create(state, rule, opportunity))
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

/// Reports whether the Pad is decided and no new decision was requested.
pub fn is_final(state: &PadState) -> bool {
    let pad = &state.pad;
    match pad.phase {
        Some(Phase::Skipped) => !state.is_asked() && !ownership::is_released(state),
        // With an attempt or a pad, the cause may be fixed elsewhere, such as in the connection: retry.
        Some(Phase::Failed) if pad.pad_id.is_some() || pad.attempt.is_some() => false,
        Some(Phase::Failed) => !state.is_asked() && !pad.configuration_changed,
        Some(Phase::Ended) => true,
        Some(Phase::Pending | Phase::Open | Phase::Started) | None => false,
    }
}

/// Reports whether a Pad that waits for quota or the hourly limit keeps its state while its changed connection is
/// probed. The probe takes seconds, and the Pad need not be judged again.
fn stays_queued(state: &PadState) -> bool {
    let is_tried =
        matches!(&state.connection, ConnectionState::NotReady { reason, .. } if reason == CONNECTING);
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
            let reason = Reason::parse(reason).filter(|reason| reason.needs_a_person());
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
