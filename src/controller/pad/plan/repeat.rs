//! A further pad for a candidate who has, or had, one: the rules are those of [`series`], here they meet the Pad.

use super::eligibility::{Eligibility, judge};
use super::{Command, Outcome, connection_not_usable, rest, wait_for_fresh_read};
use crate::controller::pad::series::{self, Progress, RepeatDecision};
use crate::controller::pad::state::{PadState, Rule, RuleState};
use crate::lever::Opportunity;
use jiff::Timestamp;
use std::time::Duration;

/// A question that cannot be answered now is asked again this often, if nothing wakes the Pad before.
const REPEAT_RECHECK_DELAY: Duration = Duration::from_secs(300);

/// A Pad that has, or had, its pad is asked about: whether the candidate has entered the stage anew, so that a further
/// one is to be made. None: there is nothing to do about that.
pub(super) fn repeat(facts: &PadState) -> Option<Command> {
    if !facts.is_asked() || !facts.pad.member.is_served() || facts.passed_on {
        return None;
    }
    if !series::can_repeat(&facts.series(), facts.repeat?) {
        return None;
    }
    let rule = match &facts.configuration {
        RuleState::Ready(rule) if connection_not_usable(facts).is_none() => rule,
        // The question stays open until it can be answered.
        _ => return Some(Command::Done { outcome: Outcome::NoDecision, again: Some(REPEAT_RECHECK_DELAY) }),
    };
    match judge(facts, rule, false) {
        Eligibility::Unknown => Some(Command::ReadOpportunity),
        Eligibility::Stale(again) => Some(wait_for_fresh_read(again)),
        Eligibility::Ineligible(..) => None,
        Eligibility::Eligible(opportunity) => match repeat_decision(facts, rule, opportunity) {
            RepeatDecision::NoPad => None,
            RepeatDecision::Judge(name) => Some(Command::JudgeSibling(name)),
            RepeatDecision::Create(n) => Some(Command::CreateNextPad(n)),
        },
    }
}

/// A Pad that came to nothing is judged again, but the entry is not for it: another Pad of the series serves it, or is
/// the one to be re-opened.
pub(super) fn served_by_sibling(facts: &PadState, rule: &Rule, opportunity: &Opportunity) -> Option<Command> {
    let pad = &facts.pad;
    if pad.manual || pad.member.progress != Progress::NotCounted {
        return None;
    }
    match repeat_decision(facts, rule, opportunity) {
        RepeatDecision::Judge(name) if name == pad.name => None,
        RepeatDecision::Judge(name) if !facts.passed_on => Some(Command::JudgeSibling(name)),
        RepeatDecision::Judge(_) | RepeatDecision::NoPad | RepeatDecision::Create(_) => {
            Some(rest(Outcome::Keep))
        }
    }
}

fn repeat_decision(facts: &PadState, rule: &Rule, opportunity: &Opportunity) -> RepeatDecision {
    let entry = Timestamp::from_millisecond(opportunity.entry_into(&rule.stage_id));
    entry.map_or(RepeatDecision::NoPad, |entry| series::repeat_decision(&facts.series(), entry, rule.repeat))
}
