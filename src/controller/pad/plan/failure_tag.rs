//! The tag that tells recruiters that a pad fails, or waits long (contract, Pad: `tags.failed`).
//!
//! It comes after the Pad's own plan has come to rest, and changes nothing about it: what keeps the tag from the
//! candidate is no trouble of the Pad's. It is put on once, when a person is called, and taken off when all is well.
//! That it was dealt with is kept in the status, so that nobody is asked again, and what a recruiter takes off stays off.

use super::eligibility::{Judgement, can_have_pad, judge};
use super::{Step, sends_nothing};
use crate::api::condition::{Condition, is_true, types};
use crate::controller::events;
use crate::controller::pad::state::{Candidate, ConfigurationFacts, Facts, Trouble};
use crate::transport::{Class, Service};
use jiff::Timestamp;

/// How a Pad stands, for people who only look now and then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stands {
    /// A person is called.
    Badly,
    /// It goes on by itself, for all that is known yet.
    Underway,
    /// It is what it should be.
    Well,
}

impl Stands {
    /// As the conditions say.
    pub fn of(conditions: &[Condition], now: Timestamp) -> Self {
        match events::alarm(conditions, now) {
            Some(_) => Stands::Badly,
            None if is_true(conditions, types::READY) => Stands::Well,
            None => Stands::Underway,
        }
    }
}

/// What is to be done about the tag.
#[derive(Clone, Debug)]
pub enum Flag {
    /// This; then ask again.
    Do(Step),
    /// Nothing more: this is the tag that was dealt with.
    Settled(Option<String>),
    /// Nothing now.
    Later,
}

/// The next thing to do about the tag.
pub fn flag(facts: &Facts, stands: Stands) -> Flag {
    let known = facts.pad.failed_tag.as_ref();
    let wanted = match (stands, &facts.write_back) {
        (Stands::Well, _) => None,
        (Stands::Badly, Some(write_back)) => write_back.tags.failed.as_ref(),
        (Stands::Badly, None) | (Stands::Underway, _) => known,
    };
    if facts.pad.deleting {
        return Flag::Later;
    }
    if wanted == known {
        return settled(facts, wanted);
    }
    match &facts.flag_trouble {
        // It would be refused again.
        Some(Trouble::Service(error)) if matches!(error.class, Class::Forbidden | Class::Invalid) => {
            return settled(facts, wanted);
        }
        Some(_) => return Flag::Later,
        None if sends_nothing(facts) || lever_is_in_trouble(facts) => return Flag::Later,
        None => {}
    }
    let opportunity = match &facts.opportunity {
        Candidate::NotRead => return Flag::Do(Step::ReadOpportunity),
        Candidate::NotFound | Candidate::Refused => return settled(facts, wanted),
        Candidate::Read(opportunity) => opportunity,
    };
    let due = |tag: &&String, present: bool| {
        opportunity.tags.contains(tag) == present && !facts.tags_written.contains(tag)
    };
    if let Some(tag) = known.filter(|tag| due(tag, true) && !facts.tags.needed.contains(tag)) {
        return Flag::Do(Step::RemoveTags(vec![tag.clone()]));
    }
    match wanted.filter(|tag| due(tag, false) && is_to_have_pad(facts)) {
        Some(_) if facts.pad.owes(wanted) && !facts.pad.finalizer => Flag::Do(Step::SetFinalizer(true)),
        Some(tag) => Flag::Do(Step::AddTags(vec![tag.clone()])),
        None => settled(facts, wanted),
    }
}

/// The finalizer is on as long as the tag must be taken off before the Pad goes.
fn settled(facts: &Facts, tag: Option<&String>) -> Flag {
    let pad = &facts.pad;
    match pad.owes(tag) {
        true if !pad.finalizer => Flag::Do(Step::SetFinalizer(true)),
        false if pad.finalizer && !pad.has_made_one() => Flag::Do(Step::SetFinalizer(false)),
        _ => Flag::Settled(tag.cloned()),
    }
}

/// The Pad's own pass has just found that Lever cannot be asked.
fn lever_is_in_trouble(facts: &Facts) -> bool {
    match &facts.trouble {
        Some(Trouble::Service(error) | Trouble::CreateOutcomeUnknown(error)) => {
            error.service == Service::Lever
        }
        Some(
            Trouble::NoAccount { .. } | Trouble::Conflict | Trouble::Refused { .. } | Trouble::Cluster { .. },
        ) => true,
        None => false,
    }
}

/// Whether the candidate is to have the pad: nobody else's profile is marked for it.
fn is_to_have_pad(facts: &Facts) -> bool {
    let is_chosen = facts.pad.manual || facts.pad.pad_id.is_some();
    let judgement = match &facts.configuration {
        ConfigurationFacts::Ready(rule) => judge(facts, rule, is_chosen),
        _ => can_have_pad(facts),
    };
    match (judgement, &facts.configuration) {
        (Judgement::Qualifies(opportunity), ConfigurationFacts::NotReady { tag, .. }) => {
            is_chosen || opportunity.tags.contains(tag)
        }
        (Judgement::Qualifies(_), ConfigurationFacts::Ready(_)) => true,
        _ => false,
    }
}
