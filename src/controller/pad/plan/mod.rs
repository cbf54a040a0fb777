//! The plan: what was observed → one step. Pure; all rules about Pads stand here, in the order in which they count.
//!
//! The driver calls it again after each step, with what the step has found out, until it says [`Command::Done`].

mod cancellation;
mod deletion;
mod eligibility;
mod errors;
pub mod failure_tag;
pub mod installation;
mod link;
mod repeat;
#[cfg(test)]
mod tests;
mod write_back;

pub use eligibility::{pad_id_of_link, profile_url};
pub use write_back::is_tag_settled;

use super::reason::Reason;
use super::state::{
    CandidateLookup, ConnectionState, CreateOutcome, PadLookup, PadState, PassError, RuleState, StoredPad,
    WriteClaim,
};
use crate::api::configuration::PadType;
use crate::api::names::{OnceOnlyWrite, Reference};
use crate::api::pad::{DesiredState, Phase};
use crate::coderpad::{NewPad, PadKind, PadRecord};
use crate::controller::connection::status::CONNECTING;
use cancellation::end_unlinked;
use deletion::delete;
use eligibility::{Eligibility, create, judge, limit_reached};
use errors::after_error;
use jiff::Timestamp;
use link::{link, store};
use repeat::{repeat, served_by_sibling};
use std::time::Duration;
use write_back::after_link;

/// Nothing wakes a Pad when another one of its candidate goes.
const SIBLING_DELETION_RECHECK_DELAY: Duration = Duration::from_secs(2);

/// The next thing to do about one Pad.
#[derive(Clone, Debug)]
pub enum Command {
    /// Nothing more now: write the status that follows from the outcome.
    Done {
        /// What the status shall say.
        outcome: Outcome,
        /// When to look again without being woken; None: only when woken, or after the pause of a failure.
        again: Option<Duration>,
    },
    /// Read the opportunity from Lever.
    ReadOpportunity,
    /// Read the pad of this id from CoderPad.
    ReadPad(String),
    /// Read the pads behind the CoderPad links on the candidate: one of them may be ours, from before memory was lost.
    ReadLinkedPads(Vec<String>),
    /// Write the intention down, then create the pad.
    Create {
        /// What it will be found by.
        reference: Reference,
        /// The pad.
        pad: Box<NewPad>,
    },
    /// Read the pad of this id from CoderPad again, some seconds later: its type is not the requested one (contract P7b).
    ReadKindAgain(String),
    /// Store on the configuration whether CoderPad refuses to create take-homes for it (contract F7).
    StoreRefusal {
        /// Whether it does.
        refused: bool,
    },
    /// Store the stage entries that stay served when this Pad is gone (contract P9).
    StoreServed(Vec<Timestamp>),
    /// Search CoderPad's newest pads for the reference of an attempt whose outcome is unknown.
    Search {
        /// What to look for.
        reference: Reference,
    },
    /// Store the id of the pad, before its link is written.
    StorePad {
        /// The pad.
        record: Box<PadRecord>,
        /// Whether the finalizer is still needed.
        keep_finalizer: bool,
        /// Whether the link is added next: then storing the id claims it.
        claim_link: bool,
    },
    /// Take back the intention: it is certain that it made no pad, or that its pad is deleted.
    ClearAttempt,
    /// Claim a write to Lever that must take effect once, right before it is made.
    Claim(OnceOnlyWrite),
    /// Add the link, which was claimed, to the candidate in Lever.
    AddLink(String),
    /// Take the link off the candidate in Lever.
    RemoveLink(String),
    /// Put tags on the candidate in Lever.
    AddTags(Vec<String>),
    /// Take tags off the candidate in Lever.
    RemoveTags(Vec<String>),
    /// Look for the note of this reference among the candidate's notes in Lever.
    ReadNotes {
        /// What the note ends with.
        reference: Reference,
    },
    /// Write the note, which was claimed, on the candidate in Lever.
    AddNote(String),
    /// Read what has happened in the pad of this id.
    ReadEvents(String),
    /// Read the files of these environments of a pad.
    ReadCode(Vec<i64>),
    /// Ask whether the pad that was refused can be made from its question at all.
    CheckQuestion {
        /// The question.
        question: i64,
        /// The type of the pad.
        type_: PadType,
    },
    /// End the interview at CoderPad.
    EndPad(String),
    /// Delete a pad at CoderPad.
    DeletePad(String),
    /// Mark the Pad: its pad gives way to that of another installation, by ID. None: take the mark off.
    Yield(Option<String>),
    /// Remove from the Pad what names the pad that gave way.
    ClearPad,
    /// Make a further Pad, of this number, for the candidate.
    CreateNextPad(u32),
    /// Have another Pad of the candidate judged again, by name.
    JudgeSibling(String),
    /// Put the finalizer on the Pad (true), or take it off and let a deleted Pad go (false).
    SetFinalizer(bool),
}

impl Command {
    /// What it is called in a trace: nothing of what it carries.
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

    /// Whether the step calls a service.
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
            // The rate limit's token for what follows is taken first.
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

/// What the status shall say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// What it says already: it was judged before, and nothing has come up since.
    Keep,
    /// Nothing: this pass has decided nothing.
    NoDecision,
    /// Nothing: Lever's answer is older than the webhook that the Pad is judged by.
    StaleRead,
    /// It waits.
    Waiting(Reason, String),
    /// The candidate gets no pad.
    Skipped(Reason, String),
    /// It cannot be made.
    Failed(Reason, String),
    /// The pad is open, and linked.
    Open,
    /// The interview goes on.
    Started,
    /// The interview is over.
    Ended(WriteBackState),
    /// The pad was deleted at CoderPad.
    PadDeleted,
    /// A person ended the interview before the link could be added.
    EndedUnlinked,
}

/// How far what is written to Lever after the end has got.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WriteBackState {
    /// It is written.
    Written,
    /// The configuration asks for nothing.
    NotRequested,
    /// Not yet, for this reason; it goes on by itself or once a person has acted.
    Pending(Reason, String),
    /// It cannot be written.
    Impossible(Reason, String),
}

/// Decides the next step.
pub fn plan(facts: &PadState) -> Command {
    let step = match &facts.error {
        Some(PassError::Service(_) | PassError::NoCredentials { .. }) if is_cancelled(facts) => cancel(facts),
        Some(trouble) => after_error(facts, trouble),
        None if facts.pad.deleting => delete(facts),
        None => decide(facts),
    };
    match facts.pause {
        Some(rest) if step.calls_service() => {
            Command::Done { outcome: Outcome::NoDecision, again: Some(rest) }
        }
        _ => step,
    }
}

/// The life of a Pad that is not being deleted.
fn decide(facts: &PadState) -> Command {
    let pad = &facts.pad;
    if facts.gone && matches!(facts.opportunity, CandidateLookup::NotRead) && !is_blocked(facts) {
        return Command::ReadOpportunity;
    }
    if let Some(step) = installation::other_account(facts) {
        return step;
    }
    if let Some(step) = installation::yielding(facts).or_else(|| repeat(facts)) {
        return step;
    }
    if pad.linked {
        return after_link(facts);
    }
    // Without the finalizer the Pad could go before it is settled whether its pad is linked. Where all goes well the
    // link follows in the same pass, and this is not needed.
    let is_first_pass =
        matches!(facts.claimed, WriteClaim::Owned(_)) || !matches!(facts.record, PadLookup::NotRead);
    if pad.pad_id.is_some() && !pad.finalizer && !is_first_pass && !is_final(facts) {
        return Command::SetFinalizer(true);
    }
    if is_cancelled(facts) {
        return cancel(facts);
    }
    if is_final(facts) {
        return rest(Outcome::Keep);
    }
    if let Some(waiting) = connection_not_usable(facts) {
        return rest(if stays_queued(facts) { Outcome::Keep } else { waiting });
    }
    // contract E6
    if pad.desired_state == DesiredState::Ended && pad.pad_id.is_some() && !facts.link_written {
        return end_unlinked(facts);
    }
    if pad.pad_id.is_some() || matches!(facts.record, PadLookup::Read(_)) {
        return link(facts);
    }
    if pad.open_attempt().is_some() {
        return resolve_attempt(facts);
    }
    let rule = match &facts.configuration {
        RuleState::Ready(rule) => rule,
        other => return rest(configuration_not_usable(pad, other)),
    };
    if pad.sibling_terminating {
        let message = "Another Pad of this candidate is being deleted, and it is not settled yet what becomes of its pad at CoderPad: that comes first. No action needed.";
        let outcome = Outcome::Waiting(Reason::CreateOutcomeUnknown, message.into());
        return Command::Done { outcome, again: Some(SIBLING_DELETION_RECHECK_DELAY) };
    }
    if let Some(waiting) = limit_reached(facts)
        && pad.waits_for_room
        && !pad.requested
    {
        return waiting;
    }
    let opportunity = match judge(facts, rule, pad.manual) {
        Eligibility::Unknown => return Command::ReadOpportunity,
        Eligibility::Stale(again) => return wait_for_fresh_read(again),
        Eligibility::Ineligible(reason, message) => return rest(Outcome::Skipped(reason, message)),
        Eligibility::Eligible(opportunity) => opportunity,
    };
    // What has failed fails again: it is tried once for each entry, unless a person changes something (contract, Phases).
    let is_same_entry =
        || facts.entry().is_some_and(|entry| pad.judged_entry.is_some_and(|judged| entry <= judged));
    if pad.phase == Some(Phase::Failed)
        && pad.attempt.is_none()
        && !pad.configuration_changed
        && !pad.asked_by_person
        && is_same_entry()
    {
        return rest(Outcome::Keep);
    }
    served_by_sibling(facts, rule, opportunity).unwrap_or_else(|| create(facts, rule, opportunity))
}

/// Whether a person has ended the Pad before there was a pad.
fn is_cancelled(facts: &PadState) -> bool {
    let pad = &facts.pad;
    let nothing_made =
        pad.pad_id.is_none() && pad.open_attempt().is_none() && matches!(facts.record, PadLookup::NotRead);
    pad.desired_state == DesiredState::Ended && nothing_made && !pad.deleting && !pad.linked
}

/// Only a later entry is another matter. Which one is the last is for Lever to say, not for the operator's clock; if Lever
/// cannot be asked, that clock must do.
fn cancel(facts: &PadState) -> Command {
    let is_known = facts.pad.member.is_served() || !matches!(facts.opportunity, CandidateLookup::NotRead);
    if !is_known && facts.error.is_none() && facts.pause.is_none() && !is_blocked(facts) {
        return Command::ReadOpportunity;
    }
    rest(Outcome::Skipped(
        Reason::Cancelled,
        "spec.state is Ended: no pad was made. If there should be one, make a new Pad.".into(),
    ))
}

/// Whether the Pad was judged before and nobody has asked for another judgement.
pub fn is_final(facts: &PadState) -> bool {
    let pad = &facts.pad;
    match pad.phase {
        Some(Phase::Skipped) => !facts.is_asked() && !installation::is_released(facts),
        // With a pad in the making the refusal may be mended elsewhere, such as in the connection: it is tried again.
        Some(Phase::Failed) if pad.pad_id.is_some() || pad.attempt.is_some() => false,
        Some(Phase::Failed) => !facts.is_asked() && !pad.configuration_changed,
        Some(Phase::Ended) => true,
        Some(Phase::Pending | Phase::Open | Phase::Started) | None => false,
    }
}

/// A connection that was changed, such as its limit, is tried again within seconds: who waits for room goes on waiting,
/// and need not be judged anew.
fn stays_queued(facts: &PadState) -> bool {
    let is_tried =
        matches!(&facts.connection, ConnectionState::NotReady { reason, .. } if reason == CONNECTING);
    is_tried && facts.pad.waits_for_room && !facts.pad.requested
}

/// Whether nothing may be sent for the Pad now.
pub fn is_blocked(facts: &PadState) -> bool {
    connection_not_usable(facts).is_some()
}

/// Nothing is sent while the connection is not usable: its own probe decides for all its Pads.
fn connection_not_usable(facts: &PadState) -> Option<Outcome> {
    match &facts.connection {
        ConnectionState::Ready { .. } if matches!(facts.configuration, RuleState::Suspended) => {
            let message = format!(
                "PadConfiguration {} is suspended. The pad is made when spec.suspend is false again.",
                facts.pad.configuration
            );
            Some(Outcome::Waiting(Reason::Suspended, message))
        }
        ConnectionState::Ready { .. } => None,
        ConnectionState::Suspended { name } => {
            let message = format!(
                "LeverConnection {name} is suspended. The pad is made when spec.suspend is false again."
            );
            Some(Outcome::Waiting(Reason::Suspended, message))
        }
        // Without a configuration a Pad made by hand has no connection either: the configuration is what to mend.
        ConnectionState::Missing { .. } if matches!(facts.configuration, RuleState::NotFound { .. }) => {
            Some(configuration_not_usable(&facts.pad, &facts.configuration))
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

/// An attempt whose outcome is not stored: never retried blindly (contract, "Exactly once", Unknown outcome).
fn resolve_attempt(facts: &PadState) -> Command {
    let Some(attempt) = facts.pad.open_attempt() else { return rest(Outcome::NoDecision) };
    match &facts.flight {
        // A pad that is found is the right one, however early it shows (contract X5a).
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
            // What becomes of it is decided as right after its creation.
            [oldest] if facts.wants_take_home && oldest.kind != PadKind::TakeHome => {
                Command::ReadKindAgain(oldest.id.clone())
            }
            [oldest] => store(facts, oldest),
            [_, .., youngest] => Command::DeletePad(youngest.id.clone()),
        },
    }
}

/// Lever's answer is older than the webhook: it is read again before it decides.
fn wait_for_fresh_read(again: Duration) -> Command {
    Command::Done { outcome: Outcome::StaleRead, again: Some(again) }
}

fn rest(outcome: Outcome) -> Command {
    Command::Done { outcome, again: None }
}
