//! The plan: what was observed → one step. Pure; all rules about Pads stand here, in the order in which they count.
//!
//! The driver calls it again after each step, with what the step has found out, until it says [`Step::Rest`].

mod candidate;
mod further;
mod removal;
#[cfg(test)]
mod tests;
mod trouble;

pub use candidate::profile_url;

use super::facts::{Candidate, ConfigurationFacts, ConnectionFacts, Facts, Flight, PadFacts, Record};
use super::reason::Reason;
use crate::api::configuration::{DeletionPolicy, PadType};
use crate::api::names::Reference;
use crate::api::pad::{DesiredState, Phase};
use crate::interview::{NewPad, PadKind, PadRecord};
use candidate::{Judgement, create, judge, no_pads_left, quota_exceeded};
use further::{further, not_for_this_one};
use removal::removal;
use std::time::Duration;
use trouble::after_trouble;

/// Nothing wakes a Pad when another one of its candidate goes.
const SETTLES_SOON: Duration = Duration::from_secs(2);

/// The next thing to do about one Pad.
#[derive(Clone, Debug)]
pub enum Step {
    /// Nothing more now: write the status that follows from the outcome.
    Rest {
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
    },
    /// Take back the intention: it is certain that it made no pad, or that its pad is deleted.
    ForgetAttempt,
    /// Add the link to the candidate in Lever.
    AddLink(String),
    /// Take the link off the candidate in Lever.
    RemoveLink(String),
    /// Delete a pad at CoderPad.
    DeletePad(String),
    /// Make a further Pad, of this number, for the candidate.
    MakeFurther(u32),
    /// Have another Pad of the candidate judged again, by name.
    PassOn(String),
    /// Put the finalizer on the Pad (true), or take it off and let a deleted Pad go (false).
    SetFinalizer(bool),
}

impl Step {
    /// Whether the step calls a service.
    pub fn calls(&self) -> bool {
        match self {
            Step::Rest { .. }
            | Step::StorePad { .. }
            | Step::ForgetAttempt
            | Step::SetFinalizer(_)
            | Step::MakeFurther(_)
            | Step::PassOn(_) => false,
            Step::ReadOpportunity
            | Step::ReadPad(_)
            | Step::ReadLinkedPads(_)
            | Step::Create { .. }
            | Step::Search { .. }
            | Step::AddLink(_)
            | Step::RemoveLink(_)
            | Step::DeletePad(_) => true,
        }
    }
}

/// What the status shall say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// What it says already: it was judged before, and nothing has come up since.
    Unchanged,
    /// Nothing: this pass has decided nothing.
    Undecided,
    /// It waits.
    Waiting(Reason, String),
    /// The candidate gets no pad.
    Skipped(Reason, String),
    /// It cannot be made.
    Failed(Reason, String),
    /// The pad is open, and linked.
    Open,
    /// The pad was deleted at CoderPad.
    PadDeleted,
}

/// Decides the next step.
pub fn plan(facts: &Facts) -> Step {
    let step = match &facts.trouble {
        Some(trouble) => after_trouble(facts, trouble),
        None if facts.pad.deleting => removal(facts),
        None => life(facts),
    };
    match facts.pause {
        Some(rest) if step.calls() => Step::Rest { outcome: Outcome::Undecided, again: Some(rest) },
        _ => step,
    }
}

/// The life of a Pad that is not being deleted.
fn life(facts: &Facts) -> Step {
    let pad = &facts.pad;
    if let Some(step) = further(facts) {
        return step;
    }
    if pad.linked {
        return keep_linked(pad);
    }
    let nothing_made =
        pad.pad_id.is_none() && pad.open_attempt().is_none() && matches!(facts.record, Record::NotRead);
    if pad.wish == DesiredState::Ended && nothing_made {
        return rest(Outcome::Skipped(Reason::Cancelled, "spec.state is Ended: no pad was made.".into()));
    }
    if settled(facts) {
        return rest(Outcome::Unchanged);
    }
    if let Some(waiting) = connection_not_usable(facts) {
        return rest(waiting);
    }
    if pad.pad_id.is_some() || matches!(facts.record, Record::Read(_)) {
        return link(facts);
    }
    if pad.open_attempt().is_some() {
        return resolve_attempt(facts);
    }
    let rule = match &facts.configuration {
        ConfigurationFacts::Ready(rule) => rule,
        other => return rest(configuration_not_usable(pad, other)),
    };
    if pad.another_in_flight {
        let message = "Another Pad of this candidate is being deleted, and it is not known yet whether CoderPad has made its pad: that is settled first; nobody has to act.";
        let outcome = Outcome::Waiting(Reason::CreateOutcomeUnknown, message.into());
        return Step::Rest { outcome, again: Some(SETTLES_SOON) };
    }
    if let Some(name) = no_pads_left(facts)
        && pad.waits_for_quota
        && !pad.requested
    {
        return rest(quota_exceeded(name));
    }
    let opportunity = match judge(facts, rule, pad.manual) {
        Judgement::Unread => return Step::ReadOpportunity,
        Judgement::Skip(reason, message) => return rest(Outcome::Skipped(reason, message)),
        Judgement::Qualifies(opportunity) => opportunity,
    };
    not_for_this_one(facts, rule, opportunity).unwrap_or_else(|| create(facts, rule, opportunity))
}

/// An open pad: only the finalizer may still have to follow the deletion policy.
fn keep_linked(pad: &PadFacts) -> Step {
    let wanted = pad.deletion_policy != DeletionPolicy::Retain;
    if pad.finalizer != wanted {
        return Step::SetFinalizer(wanted);
    }
    match pad.phase {
        Some(Phase::Ended) => rest(Outcome::Unchanged),
        _ => rest(Outcome::Open),
    }
}

/// Whether the Pad was judged before and nobody has asked for another judgement.
fn settled(facts: &Facts) -> bool {
    let pad = &facts.pad;
    match pad.phase {
        Some(Phase::Skipped) => !facts.is_asked(),
        // With a pad in the making the refusal may be mended elsewhere, such as in the connection: it is tried again.
        Some(Phase::Failed) if pad.pad_id.is_some() || pad.attempt.is_some() => false,
        Some(Phase::Failed) => !facts.is_asked() && !pad.configuration_changed,
        Some(Phase::Ended) => true,
        Some(Phase::Pending | Phase::Open | Phase::Started) | None => false,
    }
}

/// Nothing is sent while the connection is not usable: its own probe decides for all its Pads.
fn connection_not_usable(facts: &Facts) -> Option<Outcome> {
    match &facts.connection {
        ConnectionFacts::Ready { .. } if matches!(facts.configuration, ConfigurationFacts::Suspended) => {
            let message = format!(
                "PadConfiguration {} is suspended. The pad is made when spec.suspend is false again.",
                facts.pad.configuration
            );
            Some(Outcome::Waiting(Reason::Suspended, message))
        }
        ConnectionFacts::Ready { .. } => None,
        ConnectionFacts::Suspended { name } => {
            let message = format!(
                "LeverConnection {name} is suspended. The pad is made when spec.suspend is false again."
            );
            Some(Outcome::Waiting(Reason::Suspended, message))
        }
        // Without a configuration a Pad made by hand has no connection either: the configuration is what to mend.
        ConnectionFacts::Missing { .. }
            if matches!(facts.configuration, ConfigurationFacts::NotFound { .. }) =>
        {
            Some(configuration_not_usable(&facts.pad, &facts.configuration))
        }
        ConnectionFacts::Missing { name } => {
            let message = format!("LeverConnection {name} does not exist in this namespace. Create it.");
            Some(Outcome::Waiting(Reason::ConnectionNotReady, message))
        }
        ConnectionFacts::NotReady { name, reason, message } => {
            let reason = Reason::parse(reason).filter(|reason| reason.needs_a_person());
            let message = format!("LeverConnection {name} is not Ready: {message}");
            Some(Outcome::Waiting(reason.unwrap_or(Reason::ConnectionNotReady), message))
        }
    }
}

fn configuration_not_usable(pad: &PadFacts, configuration: &ConfigurationFacts) -> Outcome {
    let name = &pad.configuration;
    match configuration {
        ConfigurationFacts::NotFound { message } => {
            Outcome::Waiting(Reason::ConfigurationNotFound, message.clone())
        }
        ConfigurationFacts::NotReady { reason, message } => Outcome::Waiting(
            Reason::ConfigurationNotReady,
            format!("PadConfiguration {name} is not Ready ({reason}): {message}"),
        ),
        ConfigurationFacts::Suspended | ConfigurationFacts::Ready(_) => {
            Outcome::Waiting(Reason::Suspended, format!("PadConfiguration {name} is suspended."))
        }
    }
}

/// An attempt whose outcome is not stored: never retried blindly (contract, "Exactly once", Unknown outcome).
fn resolve_attempt(facts: &Facts) -> Step {
    let Some(attempt) = facts.pad.open_attempt() else { return rest(Outcome::Undecided) };
    match &facts.flight {
        Flight::MayStillLand { rest } => {
            let message = "CoderPad did not say whether it made the pad. Its list of pads is searched before another one is made; nobody has to act.";
            Step::Rest {
                outcome: Outcome::Waiting(Reason::CreateOutcomeUnknown, message.into()),
                again: Some(*rest),
            }
        }
        Flight::Landed => Step::Search { reference: attempt.reference.clone() },
        Flight::WithoutEffect => Step::ForgetAttempt,
        Flight::Searched(found) => match found.as_slice() {
            [] => Step::ForgetAttempt,
            [oldest] if wants_take_home(facts) && oldest.kind == PadKind::Live => {
                Step::DeletePad(oldest.id.clone())
            }
            [oldest] => store(&facts.pad, oldest),
            [_, .., youngest] => Step::DeletePad(youngest.id.clone()),
        },
    }
}

/// There is a pad at CoderPad: store its id, then link it.
fn link(facts: &Facts) -> Step {
    let pad = &facts.pad;
    if let Some(rest) = facts.link_flight {
        let message = "It is not known whether Lever has the link already: what is under way is waited for, then the link is looked for before it is added; nobody has to act.";
        return Step::Rest {
            outcome: Outcome::Waiting(Reason::LeverUnavailable, message.into()),
            again: Some(rest),
        };
    }
    let record = match (&facts.record, &pad.pad_id) {
        (Record::Read(record), _) => record,
        (Record::NotRead, Some(id)) => return Step::ReadPad(id.clone()),
        (Record::NotFound, _) => return rest(Outcome::PadDeleted),
        (Record::NotRead, None) => return rest(Outcome::Undecided),
    };
    if record.is_deleted() {
        return rest(Outcome::PadDeleted);
    }
    if pad.pad_id.is_none() && wants_take_home(facts) && record.kind != PadKind::TakeHome {
        return refuse_live(facts, record);
    }
    if pad.pad_id.is_none() {
        return store(pad, record);
    }
    // A row of a list may come without the link.
    if record.url.is_empty() {
        return Step::ReadPad(record.id.clone());
    }
    if facts.link_written {
        return keep_linked(pad);
    }
    match &facts.opportunity {
        Candidate::NotRead => Step::ReadOpportunity,
        Candidate::Read(opportunity) if opportunity.links.contains(&record.url) => keep_linked(pad),
        Candidate::Read(_) => Step::AddLink(record.url.clone()),
        // Nobody can be given the link any more.
        Candidate::NotFound | Candidate::Refused if !facts.deleted.contains(&record.id) => {
            Step::DeletePad(record.id.clone())
        }
        Candidate::NotFound | Candidate::Refused => rest(Outcome::Skipped(
            Reason::CandidateNotFound,
            "The candidate went out of sight in Lever before the link could be added: the pad was deleted at CoderPad.".into(),
        )),
    }
}

/// A live pad where a take-home was asked for is deleted at once and never linked.
fn refuse_live(facts: &Facts, record: &PadRecord) -> Step {
    if !facts.deleted.contains(&record.id) {
        return Step::DeletePad(record.id.clone());
    }
    if facts.pad.open_attempt().is_some() {
        return Step::ForgetAttempt;
    }
    let message = "CoderPad made a live pad where a take-home was asked for; it was deleted at once. Ask CoderPad whether your plan has take-homes and whether the question may be used as one, then annotate this Pad with padoperator.dev/reconcile-requested-at.";
    rest(Outcome::Failed(Reason::TakeHomeRefused, message.into()))
}

fn wants_take_home(facts: &Facts) -> bool {
    matches!(&facts.configuration, ConfigurationFacts::Ready(rule) if rule.type_ == PadType::TakeHome)
}

fn store(pad: &PadFacts, record: &PadRecord) -> Step {
    Step::StorePad {
        record: Box::new(record.clone()),
        keep_finalizer: pad.deletion_policy != DeletionPolicy::Retain,
    }
}

fn rest(outcome: Outcome) -> Step {
    Step::Rest { outcome, again: None }
}
