//! Additional pads for repeated stage entries: applies the rules of [`series`] to a Pad.

use super::eligibility::{Eligibility, eligible, judge};
use super::{connection_not_usable, rest, wait_for_fresh_read};
use crate::command::{Command, Outcome};
use crate::series::{self, Progress, RepeatDecision};
use crate::state::{PadState, Rule, RuleState};
use jiff::Timestamp;
use services::lever::Opportunity;
use std::time::Duration;

/// Requeue delay while the repeat decision cannot be made.
const REPEAT_RECHECK_DELAY: Duration = Duration::from_secs(300);

/// Returns the next command for a reconcile request on a Pad that has or had its pad: another Pad is created if the
/// candidate entered the stage again. `None`: there is nothing to do.
pub(crate) fn repeat(state: &PadState) -> Option<Command> {
    if !state.is_asked() || !state.pad.member.is_served() || state.sibling_requested {
        return None;
    }
    if !series::can_repeat(&state.series(), state.repeat?) {
        return None;
    }
    let rule = match &state.configuration {
        RuleState::Ready(rule) if connection_not_usable(state).is_none() => rule,
        // The request stays pending until the decision can be made.
        _ => return Some(Command::Done { outcome: Outcome::NoDecision, again: Some(REPEAT_RECHECK_DELAY) }),
    };
    match judge(state, rule, false) {
        Eligibility::Unknown => Some(Command::ReadOpportunity),
        Eligibility::Stale(again) => Some(wait_for_fresh_read(again)),
        Eligibility::Ineligible(..) => None,
        Eligibility::Eligible(opportunity) => match repeat_decision(state, rule, opportunity) {
            RepeatDecision::NoPad => None,
            RepeatDecision::Judge(name) => Some(Command::JudgeSibling(name)),
            RepeatDecision::Create(n) => Some(Command::CreateNextPad(n)),
        },
    }
}

/// Returns the next command for a Pad without a pad if another Pad of the series serves the entry or is reopened.
pub(crate) fn served_by_sibling(state: &PadState) -> Option<Command> {
    let pad = &state.pad;
    let (rule, opportunity) = eligible(state)?;
    if pad.manual || pad.member.progress != Progress::NotCounted {
        return None;
    }
    match repeat_decision(state, rule, opportunity) {
        RepeatDecision::Judge(name) if name == pad.name => None,
        RepeatDecision::Judge(name) if !state.sibling_requested => Some(Command::JudgeSibling(name)),
        RepeatDecision::Judge(_) | RepeatDecision::NoPad | RepeatDecision::Create(_) => {
            Some(rest(Outcome::Keep))
        }
    }
}

fn repeat_decision(state: &PadState, rule: &Rule, opportunity: &Opportunity) -> RepeatDecision {
    let entry = Timestamp::from_millisecond(opportunity.entry_into(&rule.stage_id));
    entry.map_or(RepeatDecision::NoPad, |entry| series::repeat_decision(&state.series(), entry, rule.repeat))
}
