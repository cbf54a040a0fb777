//! The tag that tells recruiters that a pad fails, or waits long (contract, Pad: `tags.failed`).
//!
//! It comes after the Pad's own plan has come to rest, and changes nothing about it: what keeps the tag from the
//! candidate is no trouble of the Pad's. It is put on once, when a person is called, and taken off when all is well.
//! That it was dealt with is kept in the status, so that nobody is asked again, and what a recruiter takes off stays off.

use super::eligibility::{Eligibility, can_have_pad, judge};
use super::{Command, is_blocked};
use crate::api::condition::{Condition, is_true, types};
use crate::controller::events;
use crate::controller::pad::state::{CandidateLookup, PadState, PassError, RuleState};
use crate::transport::{Class, Service};
use jiff::Timestamp;

/// How a Pad stands, for people who only look now and then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PadHealth {
    /// A person is called.
    Failing,
    /// It goes on by itself, for all that is known yet.
    Pending,
    /// It is what it should be.
    Healthy,
}

impl PadHealth {
    /// As the conditions say.
    pub fn from_conditions(conditions: &[Condition], now: Timestamp) -> Self {
        match events::needs_attention(conditions, now) {
            Some(_) => PadHealth::Failing,
            None if is_true(conditions, types::READY) => PadHealth::Healthy,
            None => PadHealth::Pending,
        }
    }
}

/// What is to be done about the tag.
#[derive(Clone, Debug)]
pub enum FailureTag {
    /// This; then ask again.
    Execute(Command),
    /// Nothing more: this is the tag that was dealt with.
    Settled(Option<String>),
    /// Nothing now.
    Later,
}

/// The next thing to do about the tag.
pub fn next_action(facts: &PadState, stands: PadHealth) -> FailureTag {
    let known = facts.pad.failed_tag.as_ref();
    let wanted = match (stands, &facts.write_back) {
        (PadHealth::Healthy, _) => None,
        (PadHealth::Failing, Some(write_back)) => write_back.tags.failed.as_ref(),
        (PadHealth::Failing, None) | (PadHealth::Pending, _) => known,
    };
    if facts.pad.deleting {
        return FailureTag::Later;
    }
    if wanted == known {
        return settled(facts, wanted);
    }
    match &facts.failure_tag_error {
        // It would be refused again.
        Some(PassError::Service(error)) if matches!(error.class, Class::Forbidden | Class::Invalid) => {
            return settled(facts, wanted);
        }
        Some(_) => return FailureTag::Later,
        None if is_blocked(facts) || lever_has_failed(facts) => return FailureTag::Later,
        None => {}
    }
    let opportunity = match &facts.opportunity {
        CandidateLookup::NotRead => return FailureTag::Execute(Command::ReadOpportunity),
        CandidateLookup::NotFound | CandidateLookup::Refused => return settled(facts, wanted),
        CandidateLookup::Read(opportunity) => opportunity,
    };
    let due = |tag: &&String, present: bool| {
        opportunity.tags.contains(tag) == present && !facts.tags_written.contains(tag)
    };
    if let Some(tag) = known.filter(|tag| due(tag, true) && !facts.tags.needed.contains(tag)) {
        return FailureTag::Execute(Command::RemoveTags(vec![tag.clone()]));
    }
    match wanted.filter(|tag| due(tag, false) && should_have_pad(facts)) {
        Some(_) if facts.pad.must_remove_tag(wanted) && !facts.pad.finalizer => {
            FailureTag::Execute(Command::SetFinalizer(true))
        }
        Some(tag) => FailureTag::Execute(Command::AddTags(vec![tag.clone()])),
        None => settled(facts, wanted),
    }
}

/// The finalizer is on as long as the tag must be taken off before the Pad goes.
fn settled(facts: &PadState, tag: Option<&String>) -> FailureTag {
    let pad = &facts.pad;
    match pad.must_remove_tag(tag) {
        true if !pad.finalizer => FailureTag::Execute(Command::SetFinalizer(true)),
        false if pad.finalizer && !pad.has_attempted_pad() => {
            FailureTag::Execute(Command::SetFinalizer(false))
        }
        _ => FailureTag::Settled(tag.cloned()),
    }
}

/// The Pad's own pass has just found that Lever cannot be asked.
fn lever_has_failed(facts: &PadState) -> bool {
    match &facts.error {
        Some(PassError::Service(error) | PassError::CreateOutcomeUnknown(error)) => {
            error.service == Service::Lever
        }
        Some(
            PassError::NoCredentials { .. }
            | PassError::Conflict
            | PassError::Refused { .. }
            | PassError::Cluster { .. },
        ) => true,
        None => false,
    }
}

/// Whether the candidate is to have the pad: nobody else's profile is marked for it.
fn should_have_pad(facts: &PadState) -> bool {
    let is_chosen = facts.pad.manual || facts.pad.pad_id.is_some();
    let judgement = match &facts.configuration {
        RuleState::Ready(rule) => judge(facts, rule, is_chosen),
        _ => can_have_pad(facts),
    };
    match (judgement, &facts.configuration) {
        (Eligibility::Eligible(opportunity), RuleState::NotReady { tag, .. }) => {
            is_chosen || opportunity.tags.contains(tag)
        }
        (Eligibility::Eligible(_), RuleState::Ready(_)) => true,
        _ => false,
    }
}
