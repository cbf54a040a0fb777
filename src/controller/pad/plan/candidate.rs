//! Whether the candidate gets a pad, and what kind: judged by Lever's own books, never by what a webhook says.

use super::link::store;
use super::{Outcome, Step, rest};
use crate::api::configuration::{Existing, PadType, Repeat};
use crate::api::names::Reference;
use crate::controller::hourly::Full;
use crate::controller::pad::facts::{Candidate, ConnectionFacts, Entry, Facts, PadFacts, Rule};
use crate::controller::pad::reason::Reason;
use crate::interview::{NewPad, PadRecord};
use crate::lever::Opportunity;
use crate::text;
use jiff::{Timestamp, ToSpan};

/// How a Pad goes on that was skipped for what can change in Lever.
const FOUND_LATER: &str =
    "The next sync finds that; to be faster, annotate this Pad with padoperator.dev/reconcile-requested-at.";

/// What Lever says of the candidate.
pub(super) enum Judgement<'a> {
    /// Nothing yet: it was not asked.
    Unread,
    /// No pad, and why.
    Skip(Reason, String),
    /// A pad.
    Qualifies(&'a Opportunity),
}

/// Whether the candidate gets a pad now, by Lever's own books (contract, "When a pad is made", 2). `manual`: a Pad made
/// by hand asks for neither stage nor tag.
pub(super) fn judge<'a>(facts: &'a Facts, rule: &Rule, manual: bool) -> Judgement<'a> {
    let opportunity = match can_have_pad(facts) {
        Judgement::Qualifies(opportunity) if !manual => opportunity,
        judgement => return judgement,
    };
    if opportunity.stage != rule.stage_id {
        let message = format!(
            "The candidate is not in the stage '{}' any more. To have a pad, move the candidate into it again.",
            rule.stage_name
        );
        return Judgement::Skip(Reason::StageChanged, message);
    }
    if !opportunity.tags.contains(&rule.tag) {
        let message = format!(
            "The candidate does not carry the tag '{}' (compared exactly, case and all). To have a pad, add the tag in Lever. {FOUND_LATER}",
            rule.tag
        );
        return Judgement::Skip(Reason::TagMissing, message);
    }
    Judgement::Qualifies(opportunity)
}

/// Whether the candidate can have a pad at all, whatever the rule.
pub(super) fn can_have_pad(facts: &Facts) -> Judgement<'_> {
    let opportunity = match &facts.opportunity {
        Candidate::NotRead => return Judgement::Unread,
        Candidate::NotFound => {
            let message = "Lever knows no opportunity of this id: it was deleted, or merged with another. For another candidate, make another Pad.";
            return Judgement::Skip(Reason::CandidateNotFound, message.into());
        }
        Candidate::Refused => {
            let message = "Lever keeps this opportunity from the API key: it is confidential. Only a new key that may see confidential data can have pads for it.";
            return Judgement::Skip(Reason::CandidateConfidential, message.into());
        }
        Candidate::Read(opportunity) => opportunity.as_ref(),
    };
    if opportunity.confidential {
        let message = "The opportunity is confidential in Lever: no pad is made for it. If it should not be, take that off in Lever and ask again.";
        return Judgement::Skip(Reason::CandidateConfidential, message.into());
    }
    if opportunity.is_anonymized {
        let message = "Lever has removed this candidate's data: no pad is made.";
        return Judgement::Skip(Reason::CandidateNotFound, message.into());
    }
    if opportunity.archived {
        let message = format!(
            "The candidate is archived in Lever. Take the candidate out of the archive. {FOUND_LATER}"
        );
        return Judgement::Skip(Reason::CandidateArchived, message);
    }
    Judgement::Qualifies(opportunity)
}

/// The entry that a pad made now would stand for.
fn entry(pad: &PadFacts, rule: &Rule, opportunity: &Opportunity) -> Entry {
    if pad.manual {
        return Entry { at: None, reference: Reference::new(pad.series(), &pad.name) };
    }
    let milliseconds = opportunity.entry_into(&rule.stage_id);
    Entry {
        at: Timestamp::from_millisecond(milliseconds).ok(),
        reference: Reference::new(pad.series(), milliseconds),
    }
}

/// The candidate qualifies: adopt a pad from before memory was lost, or create one.
pub(super) fn create(facts: &Facts, rule: &Rule, opportunity: &Opportunity) -> Step {
    let pad = &facts.pad;
    let entry = entry(pad, rule, opportunity);
    let links: Vec<String> =
        opportunity.links.iter().filter_map(|link| linked_pad_id(link, &facts.connection)).collect();
    match &facts.linked_before {
        None if !links.is_empty() => return Step::ReadLinkedPads(links),
        Some(records) => {
            let is_free = |record: &PadRecord| {
                !facts.others.iter().any(|other| other.pad_id.as_ref() == Some(&record.id))
            };
            let ours = |record: &&PadRecord| is_free(record) && belongs(record, &entry, rule.repeat);
            if let Some(record) = records.iter().find(ours) {
                return store(facts, record);
            }
        }
        None => {}
    }
    if was_before(pad, rule, entry.at) {
        let message = format!(
            "The candidate was in the stage '{}' with the tag '{}' before this rule took effect, and spec.existing of the configuration is Skip. To have a pad, move the candidate into the stage again, or annotate this Pad with padoperator.dev/reconcile-requested-at.",
            rule.stage_name, rule.tag
        );
        return rest(Outcome::Skipped(Reason::BeforeConfiguration, message));
    }
    if let Some(waiting) = no_room(facts) {
        return waiting;
    }
    let profile = profile_url(opportunity);
    let candidate = text::candidate_name(&opportunity.name, &pad.opportunity_id);
    let new = NewPad {
        title: text::title(&rule.title, &candidate, &rule.stage_name, &pad.configuration),
        language: rule.language.clone(),
        question_id: rule.question_id,
        notes: entry.reference.notes(&profile),
        private: rule.waiting_room,
        owner_email: rule.owner_email.clone(),
        take_home: rule.type_ == PadType::TakeHome,
    };
    Step::Create { reference: entry.reference, pad: Box::new(new) }
}

/// Whether the candidate was there before the rule took effect, and gets no pad for that (contract, "When a pad is
/// made"). Until a whole walk has found out who was, everybody who came earlier counts.
fn was_before(pad: &PadFacts, rule: &Rule, entry: Option<Timestamp>) -> bool {
    let (Some(entry), Some(since)) = (entry, rule.effective_since) else { return false };
    let is_existing = match pad.existing_since {
        Some(existing_since) => existing_since == since,
        None => pad.was_before,
    };
    let is_existing = is_existing || !rule.existing_settled;
    rule.existing == Existing::Skip && entry <= since && is_existing && !pad.asked_by_person && !pad.manual
}

/// What a Pad waits for if no pad may be made for it now, though the candidate is to have one: quota, or room in the
/// hour.
pub(super) fn no_room(facts: &Facts) -> Option<Step> {
    let ConnectionFacts::Ready { name, pads_left, hour_full, .. } = &facts.connection else { return None };
    if pads_left.is_some_and(|left| left <= 0) {
        let message = format!(
            "The CoderPad plan of LeverConnection {name} has no pads left for this one, and spec.interview.overage is Deny. The pad is made when there is quota again, or when overage is allowed."
        );
        let outcome = Outcome::Waiting(Reason::QuotaExceeded, message);
        return Some(Step::Rest { outcome, again: facts.front });
    }
    let Full { made, limit, until, rest } = (*hour_full)?;
    let message = format!(
        "LeverConnection {name} has made {made} pads in the last hour, and may make {limit} (spec.interview.maxPadsPerHour). Older Pads go first; this pad is made by itself at about {}. If so many are meant, raise the limit; 0 is none.",
        // Up to the next minute, so that a look a moment later finds the same.
        until.checked_add(59.seconds()).unwrap_or(until).strftime("%Y-%m-%d %H:%M UTC")
    );
    Some(Step::Rest { outcome: Outcome::Waiting(Reason::LimitReached, message), again: Some(rest) })
}

/// Whether a pad found on the candidate is the one that this entry would make (contract, "Exactly once", Lost memory).
fn belongs(record: &PadRecord, entry: &Entry, repeat: Repeat) -> bool {
    let Some(reference) = Reference::of_notes(&record.notes) else { return false };
    if record.is_deleted() || reference.series() != entry.reference.series() {
        return false;
    }
    let Some(at) = entry.at else { return reference == entry.reference };
    match repeat {
        Repeat::Never => true,
        Repeat::Always => reference == entry.reference,
        // A pad that had not ended when the candidate entered stands for this entry too.
        Repeat::AfterEnd => {
            reference == entry.reference || record.ended_at.map_or(!record.is_ended(), |ended| at <= ended)
        }
    }
}

/// The id of a pad, from a link to it on the candidate.
fn linked_pad_id(link: &str, connection: &ConnectionFacts) -> Option<String> {
    let url = url::Url::parse(link).or_else(|_| url::Url::parse(&format!("https://{link}"))).ok()?;
    let host = url.host_str()?;
    let is_own = || pad_host(connection).is_some_and(|own| own == host);
    let is_coderpad = host == "coderpad.io" || host.ends_with(".coderpad.io") || is_own();
    let id = url.path_segments()?.next().filter(|id| is_pad_id(id))?;
    is_coderpad.then(|| id.to_owned())
}

fn pad_host(connection: &ConnectionFacts) -> Option<String> {
    let ConnectionFacts::Ready { interview_url, .. } = connection else { return None };
    url::Url::parse(interview_url).ok()?.host_str().map(ToOwned::to_owned)
}

fn is_pad_id(text: &str) -> bool {
    (4..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The candidate's profile in Lever.
pub fn profile_url(opportunity: &Opportunity) -> String {
    let by_id = || format!("https://hire.lever.co/candidates/{}", opportunity.id);
    opportunity.profile_url.clone().unwrap_or_else(by_id)
}
