//! A further pad for a candidate who has, or had, one: the rules are those of [`series`], here they meet the Pad.

use super::eligibility::{Judgement, judge};
use super::{Outcome, Step, connection_not_usable, rest, stale};
use crate::controller::pad::series::{self, Standing, Verdict};
use crate::controller::pad::state::{ConfigurationFacts, Facts, Rule};
use crate::lever::Opportunity;
use jiff::Timestamp;
use std::time::Duration;

/// A question that cannot be answered now is asked again this often, if nothing wakes the Pad before.
const ASKED_AGAIN: Duration = Duration::from_secs(300);

/// A Pad that has, or had, its pad is asked about: whether the candidate has entered the stage anew, so that a further
/// one is to be made. None: there is nothing to do about that.
pub(super) fn further(facts: &Facts) -> Option<Step> {
    if !facts.is_asked() || !facts.pad.member.is_served() || facts.passed_on {
        return None;
    }
    if !series::may_ask(&facts.series(), facts.repeat?) {
        return None;
    }
    let rule = match &facts.configuration {
        ConfigurationFacts::Ready(rule) if connection_not_usable(facts).is_none() => rule,
        // The question stays open until it can be answered.
        _ => return Some(Step::Rest { outcome: Outcome::Undecided, again: Some(ASKED_AGAIN) }),
    };
    match judge(facts, rule, false) {
        Judgement::Unread => Some(Step::ReadOpportunity),
        Judgement::Stale(again) => Some(stale(again)),
        Judgement::Skip(..) => None,
        Judgement::Qualifies(opportunity) => match verdict(facts, rule, opportunity) {
            Verdict::Nothing => None,
            Verdict::Judge(name) => Some(Step::PassOn(name)),
            Verdict::Make(n) => Some(Step::MakeFurther(n)),
        },
    }
}

/// A Pad that came to nothing is judged again, but the entry is not for it: another Pad of the series serves it, or is
/// the one to be re-opened.
pub(super) fn not_for_this_one(facts: &Facts, rule: &Rule, opportunity: &Opportunity) -> Option<Step> {
    let pad = &facts.pad;
    if pad.manual || pad.member.standing != Standing::Void {
        return None;
    }
    match verdict(facts, rule, opportunity) {
        Verdict::Judge(name) if name == pad.name => None,
        Verdict::Judge(name) if !facts.passed_on => Some(Step::PassOn(name)),
        Verdict::Judge(_) | Verdict::Nothing | Verdict::Make(_) => Some(rest(Outcome::Unchanged)),
    }
}

fn verdict(facts: &Facts, rule: &Rule, opportunity: &Opportunity) -> Verdict {
    let entry = Timestamp::from_millisecond(opportunity.entry_into(&rule.stage_id));
    entry.map_or(Verdict::Nothing, |entry| series::next(&facts.series(), entry, rule.repeat))
}
