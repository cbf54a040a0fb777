//! The tag that shows recruiters a failing or long-waiting Pad (contract K6, `tags.failed`).
//!
//! It is reconciled after the Pad's own rules and never affects its outcome: an error on the tag is no error of the Pad.
//! The tag is added once, when the Pad needs attention, and removed when the Pad is healthy. The status stores the
//! handled tag, so that a tag which a recruiter removes stays removed.

use super::eligibility::{Eligibility, can_have_pad, judge};
use super::{is_blocked, rest};
use crate::command::{Command, Outcome};
use crate::state::{CandidateLookup, PadHealth, PadState, PassError, RuleState};
use crate::warning_events;
use api::condition::{Condition, is_true, types};
use jiff::Timestamp;
use services::{ErrorKind, Service};

impl PadHealth {
    /// Derives the health from the conditions.
    pub fn from_conditions(conditions: &[Condition], now: Timestamp) -> Self {
        match warning_events::needs_attention(conditions, now) {
            Some(_) => PadHealth::Failing,
            None if is_true(conditions, types::READY) => PadHealth::Healthy,
            None => PadHealth::Pending,
        }
    }
}

/// Next action on the tag.
#[derive(Clone, Debug)]
pub(super) enum FailureTag {
    /// Execute this command, then decide again.
    Execute(Command),
    /// Everything is done for this tag.
    Settled(Option<String>),
    /// Nothing can be done now.
    Later,
}

/// Reconciles the tag after the Pad's own rules are done.
pub(crate) fn failure_tag(state: &PadState) -> Option<Command> {
    Some(match next_action(state, state.health?) {
        FailureTag::Execute(command) => command,
        FailureTag::Settled(_) | FailureTag::Later => rest(Outcome::NoDecision),
    })
}

/// Returns the handled value of the tag for the status.
pub fn handled_tag(state: &PadState) -> Option<String> {
    match state.health.map(|health| next_action(state, health)) {
        Some(FailureTag::Settled(tag)) => tag,
        Some(FailureTag::Execute(_) | FailureTag::Later) | None => state.pad.failed_tag.clone(),
    }
}

/// Returns the next action on the tag.
pub(super) fn next_action(state: &PadState, stands: PadHealth) -> FailureTag {
    let known = state.pad.failed_tag.as_ref();
    let wanted = match (stands, &state.write_back) {
        (PadHealth::Healthy, _) => None,
        (PadHealth::Failing, Some(write_back)) => write_back.tags.failed.as_ref(),
        (PadHealth::Failing, None) | (PadHealth::Pending, _) => known,
    };
    if state.pad.deleting {
        return FailureTag::Later;
    }
    if wanted == known {
        return final_flag(state, wanted);
    }
    match &state.failure_tag_error {
        // A retry would be refused as well.
        Some(PassError::Service(error))
            if matches!(error.class, ErrorKind::Forbidden | ErrorKind::Invalid) =>
        {
            return final_flag(state, wanted);
        }
        Some(_) => return FailureTag::Later,
        None if is_blocked(state) || lever_has_failed(state) => return FailureTag::Later,
        None => {}
    }
    let opportunity = match &state.opportunity {
        CandidateLookup::NotRead => return FailureTag::Execute(Command::ReadOpportunity),
        CandidateLookup::NotFound | CandidateLookup::Refused => return final_flag(state, wanted),
        CandidateLookup::Read(opportunity) => opportunity,
    };
    let due = |tag: &&String, present: bool| {
        opportunity.tags.contains(tag) == present && !state.tags_written.contains(tag)
    };
    if let Some(tag) = known.filter(|tag| due(tag, true) && !state.tags.needed.contains(tag)) {
        return FailureTag::Execute(Command::RemoveTags(vec![tag.clone()]));
    }
    match wanted.filter(|tag| due(tag, false) && should_have_pad(state)) {
        Some(_) if state.pad.must_remove_tag(wanted) && !state.pad.finalizer => {
            FailureTag::Execute(Command::SetFinalizer(true))
        }
        Some(tag) => FailureTag::Execute(Command::AddTags(vec![tag.clone()])),
        None => final_flag(state, wanted),
    }
}

/// Adds or removes the finalizer: the Pad needs it while the tag must be removed before the Pad is deleted.
fn final_flag(state: &PadState, tag: Option<&String>) -> FailureTag {
    let pad = &state.pad;
    match pad.must_remove_tag(tag) {
        true if !pad.finalizer => FailureTag::Execute(Command::SetFinalizer(true)),
        false if pad.finalizer && !pad.has_attempted_pad() => {
            FailureTag::Execute(Command::SetFinalizer(false))
        }
        _ => FailureTag::Settled(tag.cloned()),
    }
}

/// Reports whether the Pad's own pass just failed in a way that rules out calls to Lever.
fn lever_has_failed(state: &PadState) -> bool {
    match &state.error {
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

/// Reports whether the candidate should have a pad. Profiles of other candidates are never tagged.
fn should_have_pad(state: &PadState) -> bool {
    let is_chosen = state.pad.manual || state.pad.pad_id.is_some();
    let judgement = match &state.configuration {
        RuleState::Ready(rule) => judge(state, rule, is_chosen),
        _ => can_have_pad(state),
    };
    match (judgement, &state.configuration) {
        (Eligibility::Eligible(opportunity), RuleState::NotReady { tag, .. }) => {
            is_chosen || opportunity.tags.contains(tag)
        }
        (Eligibility::Eligible(_), RuleState::Ready(_)) => true,
        _ => false,
    }
}
