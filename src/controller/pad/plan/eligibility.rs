//! Whether the candidate gets a pad, and what kind: judged by Lever's own books, never by what a webhook says.

use super::link::store;
use super::{Command, Outcome, SIBLING_DELETION_RECHECK_DELAY, installation, rest};
use crate::api::configuration::{Existing, PadType, Repeat};
use crate::api::names::Reference;
use crate::api::served;
use crate::coderpad::{NewPad, PadRecord};
use crate::controller::pad::reason::Reason;
use crate::controller::pad::series::{Progress, SeriesMember};
use crate::controller::pad::state::{
    CandidateLookup, ConnectionState, PadState, Rule, SignedEvent, StageEntry, StoredPad,
};
use crate::controller::rolling_limit::LimitExceeded;
use crate::lever::Opportunity;
use crate::sanitize;
use jiff::{Timestamp, ToSpan};
use std::time::Duration;

/// How much older than the webhook a stage change may look: Lever's API and its webhooks have clocks of their own.
const EVENT_TOLERANCE_MS: i64 = 5_000;

/// How a Pad goes on that was skipped for what can change in Lever.
const RETRY_HINT: &str =
    "The next sync finds that; to be faster, annotate this Pad with padoperator.dev/reconcile-requested-at.";

/// Maximum number of characters of a profile's address in a pad's notes: it is one line there.
const PROFILE_URL_MAX_CHARS: usize = 1000;

/// What Lever says of the candidate.
pub(super) enum Eligibility<'a> {
    /// Nothing yet: it was not asked.
    Unknown,
    /// Nothing yet: the answer is older than the webhook. It is read again after this delay.
    Stale(Duration),
    /// No pad, and why.
    Ineligible(Reason, String),
    /// A pad.
    Eligible(&'a Opportunity),
}

/// Whether the candidate gets a pad now, by Lever's own books (contract, "When a pad is made", 2). `manual`: a Pad made
/// by hand asks for neither stage nor tag.
pub(super) fn judge<'a>(facts: &'a PadState, rule: &Rule, manual: bool) -> Eligibility<'a> {
    if let Some(again) = stale_read(facts) {
        return Eligibility::Stale(again);
    }
    let opportunity = match can_have_pad(facts) {
        Eligibility::Eligible(opportunity) if !manual => opportunity,
        judgement => return judgement,
    };
    if opportunity.stage != rule.stage_id {
        let message = format!(
            "The candidate is not in the stage '{}' any more. To have a pad, move the candidate into it again.",
            rule.stage_name
        );
        return Eligibility::Ineligible(Reason::StageChanged, message);
    }
    if !opportunity.tags.contains(&rule.tag) {
        let message = format!(
            "The candidate does not carry the tag '{}' (compared exactly, case and all). To have a pad, add the tag in Lever. {RETRY_HINT}",
            rule.tag
        );
        return Eligibility::Ineligible(Reason::TagMissing, message);
    }
    Eligibility::Eligible(opportunity)
}

/// Delay until the opportunity is read again, if what was read is older than the signed webhook (contract P7a).
fn stale_read(facts: &PadState) -> Option<Duration> {
    let SignedEvent { at, read_again_in } = facts.event?;
    let is_current = match &facts.opportunity {
        CandidateLookup::NotRead | CandidateLookup::Refused => true,
        CandidateLookup::NotFound => false,
        CandidateLookup::Read(opportunity) => {
            let event = at.as_millisecond();
            // At the time of the event and shortly before, only a change into the stage can be what the event is about.
            opportunity.stage_changes.is_empty()
                || opportunity.stage_changes.iter().any(|change| {
                    let is_into_stage =
                        facts.stage_id.as_ref().is_none_or(|stage| *stage == change.to_stage_id);
                    if is_into_stage {
                        change.updated_at_ms >= event.saturating_sub(EVENT_TOLERANCE_MS)
                    } else {
                        change.updated_at_ms > event
                    }
                })
        }
    };
    read_again_in.filter(|_| !is_current)
}

/// Whether the candidate can have a pad at all, whatever the rule.
pub(super) fn can_have_pad(facts: &PadState) -> Eligibility<'_> {
    let opportunity = match &facts.opportunity {
        CandidateLookup::NotRead => return Eligibility::Unknown,
        CandidateLookup::NotFound => {
            let message = "Lever knows no opportunity of this id: it was deleted, or merged with another. For another candidate, make another Pad.";
            return Eligibility::Ineligible(Reason::CandidateNotFound, message.into());
        }
        CandidateLookup::Refused => {
            let message = "Lever keeps this opportunity from the API key: it is confidential. Only a new key that may see confidential data can have pads for it.";
            return Eligibility::Ineligible(Reason::CandidateConfidential, message.into());
        }
        CandidateLookup::Read(opportunity) => opportunity.as_ref(),
    };
    if opportunity.confidential {
        let message = "The opportunity is confidential in Lever: no pad is made for it. If it should not be, take that off in Lever and ask again.";
        return Eligibility::Ineligible(Reason::CandidateConfidential, message.into());
    }
    if opportunity.is_anonymized {
        let message = "Lever has removed this candidate's data: no pad is made.";
        return Eligibility::Ineligible(Reason::CandidateNotFound, message.into());
    }
    if opportunity.archived {
        let message = format!(
            "The candidate is archived in Lever. Take the candidate out of the archive. {RETRY_HINT}"
        );
        return Eligibility::Ineligible(Reason::CandidateArchived, message);
    }
    Eligibility::Eligible(opportunity)
}

/// The entry that a pad made now would stand for.
fn entry(pad: &StoredPad, rule: &Rule, opportunity: &Opportunity) -> StageEntry {
    if pad.manual {
        return StageEntry { at: None, reference: Reference::new(pad.series(), &pad.name) };
    }
    let milliseconds = opportunity.entry_into(&rule.stage_id);
    StageEntry {
        at: Timestamp::from_millisecond(milliseconds).ok(),
        reference: Reference::new(pad.series(), milliseconds),
    }
}

/// The candidate qualifies: adopt a pad from before memory was lost, or create one.
pub(super) fn create(facts: &PadState, rule: &Rule, opportunity: &Opportunity) -> Command {
    let pad = &facts.pad;
    let entry = entry(pad, rule, opportunity);
    let links: Vec<String> =
        opportunity.links.iter().filter_map(|link| linked_pad_id(link, &facts.connection)).collect();
    if facts.linked_before.is_none() && !links.is_empty() {
        return Command::ReadLinkedPads(links);
    }
    let is_linked = |record: &&PadRecord| links.contains(&record.id);
    let records: Vec<PadRecord> = facts.linked_before.iter().flatten().filter(is_linked).cloned().collect();
    match adoption(facts, &records, &entry, rule.repeat) {
        // Another Pad's deletion may have removed the link since.
        Adoption::Adopt(_) if facts.read_is_shared => return Command::ReadOpportunity,
        Adoption::Adopt(record) => return store(facts, record),
        Adoption::LeaveToAnother => return left_to_sibling(pad),
        Adoption::Wait => return yield_to_older(),
        Adoption::Nothing => {}
    }
    // contract I4
    if let Some(step) = installation::served_elsewhere(facts, &records, &entry, rule.repeat) {
        return step;
    }
    if predates_rule(pad, rule, entry.at) {
        let message = format!(
            "The candidate was in the stage '{}' with the tag '{}' before this rule took effect, and spec.existing of the configuration is Skip. To have a pad, move the candidate into the stage again, or request one: kubectl pad retry {} --namespace {}",
            rule.stage_name, rule.tag, pad.name, pad.namespace
        );
        return rest(Outcome::Skipped(Reason::BeforeConfiguration, message));
    }
    if is_served(facts, rule, entry.at) {
        return already_served(pad);
    }
    if let Some(waiting) = limit_reached(facts) {
        return waiting;
    }
    let profile = sanitize::one_line(&profile_url(opportunity), PROFILE_URL_MAX_CHARS);
    let candidate = sanitize::candidate_name(&opportunity.name, &pad.opportunity_id);
    let new = NewPad {
        title: sanitize::title(&rule.title, &candidate, &rule.stage_name, &pad.configuration),
        language: rule.language.clone(),
        question_id: rule.question_id,
        notes: facts.ownership.installation.sign(&entry.reference.notes(&profile)),
        private: rule.waiting_room,
        owner_email: rule.owner_email.clone(),
        take_home: rule.type_ == PadType::TakeHome,
    };
    Command::Create { reference: entry.reference, pad: Box::new(new) }
}

/// Whether the candidate was there before the rule took effect, and gets no pad for that (contract P5). Only sync finds
/// such candidates, and marks the Pad that it creates for them (contract P10).
fn predates_rule(pad: &StoredPad, rule: &Rule, entry: Option<Timestamp>) -> bool {
    let (Some(entry), Some(since)) = (entry, rule.effective_since) else { return false };
    let is_existing = match pad.existing_since {
        Some(existing_since) => existing_since == since,
        None => pad.was_before,
    };
    rule.existing == Existing::Skip && entry <= since && is_existing && !is_requested_for(pad, entry)
}

/// Whether the entry had its pad, though its Pad is gone (contract P9).
fn is_served(facts: &PadState, rule: &Rule, entry: Option<Timestamp>) -> bool {
    let entries = facts.served_entries.as_deref();
    entry.is_some_and(|entry| {
        served::contains(entries, &facts.pad.opportunity_id, entry, rule.effective_since)
            && !is_requested_for(&facts.pad, entry)
    })
}

/// Whether a person wants a pad for this entry, whatever was before.
fn is_requested_for(pad: &StoredPad, entry: Timestamp) -> bool {
    pad.manual || pad.asked_by_person || pad.requested_entry.is_some_and(|requested| entry <= requested)
}

fn already_served(pad: &StoredPad) -> Command {
    let message = format!(
        "The candidate had a pad for this entry into the stage, and its Pad was deleted. To have another one, move the candidate into the stage again, or request one: kubectl pad retry {} --namespace {}",
        pad.name, pad.namespace
    );
    rest(Outcome::Skipped(Reason::AlreadyServed, message))
}

fn left_to_sibling(pad: &StoredPad) -> Command {
    let message = format!(
        "Another Pad of the candidate serves the present entry into the stage, and no pad of an earlier one is linked. To have another pad nevertheless: kubectl pad retry {} --namespace {}",
        pad.name, pad.namespace
    );
    rest(Outcome::Skipped(Reason::AlreadyServed, message))
}

fn yield_to_older() -> Command {
    let message = "An older Pad of this candidate is not decided yet: that comes first. No action needed.";
    let outcome = Outcome::Waiting(Reason::CreateOutcomeUnknown, message.into());
    Command::Done { outcome, again: Some(SIBLING_DELETION_RECHECK_DELAY) }
}

/// What a Pad without memory does about the pads that are linked on its candidate (contract X6).
enum Adoption<'a> {
    /// This one is its own.
    Adopt(&'a PadRecord),
    /// None is its own, and the present entry is for another Pad.
    LeaveToAnother,
    /// None is its own, and an older Pad may still have a pad for the present entry.
    Wait,
    /// None is its own.
    Nothing,
}

/// Chooses the linked pad that a Pad adopts. Of several Pads that are not decided, the newest serves the present entry; the
/// others take the pads of earlier entries, in order. Such Pads were restored without their memory, or two receivers
/// created them at once. No Pad is for an entry that another one serves (contract P3, X1).
fn adoption<'a>(
    facts: &PadState,
    records: &'a [PadRecord],
    entry: &StageEntry,
    repeat: Repeat,
) -> Adoption<'a> {
    let pad = &facts.pad;
    let is_free = |record: &PadRecord| {
        let is_taken = facts.others.iter().any(|other| other.pad_id.as_ref() == Some(&record.id));
        !is_taken && installation::foreign(facts, record).is_none()
    };
    let own = records.iter().filter(|record| is_free(record)).find(|record| serves(record, entry, repeat));
    let age = |member: &SeriesMember| (member.number, member.created_at);
    let has_lost_memory = |other: &&SeriesMember| {
        other.progress == Progress::InProgress && other.pad_id.is_none() && other.number.is_some()
    };
    let lost: Vec<&SeriesMember> = facts.others.iter().filter(has_lost_memory).collect();
    if pad.manual {
        return own.map_or(Adoption::Nothing, Adoption::Adopt);
    }
    if !lost.iter().any(|other| age(other) > age(&pad.member)) {
        let serves =
            |other: &SeriesMember| other.is_served() && entry.at.is_some_and(|at| other.serves(at, repeat));
        let is_requested = entry.at.is_some_and(|at| is_requested_for(pad, at));
        return match own {
            Some(own) => Adoption::Adopt(own),
            None if facts.others.iter().any(serves) && !is_requested => Adoption::LeaveToAnother,
            None if !lost.is_empty() => Adoption::Wait,
            None => Adoption::Nothing,
        };
    }
    let mut earlier: Vec<(i64, &PadRecord)> = records
        .iter()
        .filter(|record| is_free(record) && !record.is_deleted() && own.is_none_or(|own| own.id != record.id))
        .filter_map(|record| {
            let reference = Reference::of_notes(&record.notes)?;
            let at = reference.entry().parse().ok()?;
            (reference.series() == entry.reference.series()).then_some((at, record))
        })
        .collect();
    earlier.sort_by_key(|(at, record)| (*at, record.created_at));
    let older = lost.iter().filter(|other| age(other) < age(&pad.member)).count();
    earlier.get(older).map_or(Adoption::LeaveToAnother, |(_, record)| Adoption::Adopt(record))
}

/// What a Pad waits for if no pad may be made for it now, though the candidate is to have one: quota, or room in the
/// hour.
pub(super) fn limit_reached(facts: &PadState) -> Option<Command> {
    let ConnectionState::Ready { name, pads_left, hour_full, .. } = &facts.connection else { return None };
    if pads_left.is_some_and(|left| left <= 0) {
        let message = format!(
            "The CoderPad plan of LeverConnection {name} has no pads left for this one, and spec.interview.overage is Deny. The pad is made when there is quota again, or when overage is allowed."
        );
        let outcome = Outcome::Waiting(Reason::QuotaExceeded, message);
        return Some(Command::Done { outcome, again: facts.front });
    }
    let LimitExceeded { made, limit, until, rest } = (*hour_full)?;
    let message = format!(
        "LeverConnection {name} has made {made} pads in the last hour, and may make {limit} (spec.interview.maxPadsPerHour). Older Pads go first; this pad is made by itself at about {}. If so many are meant, raise the limit; 0 is none.",
        // Up to the next minute, so that a look a moment later finds the same.
        until.checked_add(59.seconds()).unwrap_or(until).strftime("%Y-%m-%d %H:%M UTC")
    );
    Some(Command::Done { outcome: Outcome::Waiting(Reason::LimitReached, message), again: Some(rest) })
}

/// Whether a pad found on the candidate is the one that this entry would make (contract, "Exactly once", Lost memory).
pub(super) fn serves(record: &PadRecord, entry: &StageEntry, repeat: Repeat) -> bool {
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
pub(super) fn linked_pad_id(link: &str, connection: &ConnectionState) -> Option<String> {
    let ConnectionState::Ready { interview_url, .. } = connection else { return None };
    pad_id_of_link(link, interview_url)
}

/// Returns the ID of a pad from a link to it: one to coderpad.io, or to the host of the Interview API.
pub fn pad_id_of_link(link: &str, interview_url: &str) -> Option<String> {
    let url = url::Url::parse(link).or_else(|_| url::Url::parse(&format!("https://{link}"))).ok()?;
    let host = url.host_str()?;
    let is_own = || url::Url::parse(interview_url).is_ok_and(|own| own.host_str() == Some(host));
    let is_coderpad = host == "coderpad.io" || host.ends_with(".coderpad.io") || is_own();
    let id = url.path_segments()?.next().filter(|id| is_pad_id(id))?;
    is_coderpad.then(|| id.to_owned())
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
