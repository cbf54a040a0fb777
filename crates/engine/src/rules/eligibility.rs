//! Eligibility: decides from Lever's API, never from webhook data, whether the candidate gets a pad and of what kind.

use super::link::store;
use super::linked_pads::{MAX_LINKS_READ, linked_pad_id, serves};
use super::{
    SIBLING_DELETION_RECHECK_DELAY, failed_creations, ownership, rest, retry_command, wait_for_fresh_read,
};
use crate::command::{Command, Outcome};
use crate::rolling_limit::LimitExceeded;
use crate::series::{Progress, SeriesMember};
use crate::state::{
    CandidateLookup, ConnectionState, PadState, Rule, RuleState, SignedEvent, StageEntry, StoredPad,
};
use api::configuration::{Existing, PadType, Repeat};
use api::names::Reference;
use api::pad::Phase;
use api::reason::Reason;
use api::sanitize;
use api::served_stage_entries;
use jiff::{Timestamp, ToSpan};
use services::coderpad::{NewPad, PadRecord};
use services::lever::Opportunity;
use std::time::Duration;

/// Tolerance, in milliseconds, by which a stage change may be older than its webhook. The clocks of Lever's API and of
/// its webhooks differ.
const EVENT_TOLERANCE_MS: i64 = 5_000;

/// Maximum number of characters of the profile URL, which takes one line of the pad's notes.
const PROFILE_URL_MAX_CHARS: usize = 1000;

/// Eligibility of the candidate, according to Lever.
pub(super) enum Eligibility<'a> {
    /// The opportunity was not read yet.
    Unknown,
    /// The read is older than the webhook. Contains the delay before the next read.
    Stale(Duration),
    /// The candidate gets no pad. Contains the reason and the message.
    Ineligible(Reason, String),
    /// The candidate gets a pad.
    Eligible(&'a Opportunity),
}

/// Returns whether the candidate is eligible for a pad now (contract P2). `manual` skips the checks of stage and tag, as
/// for a manually created Pad.
pub(super) fn judge<'a>(state: &'a PadState, rule: &Rule, manual: bool) -> Eligibility<'a> {
    if let Some(again) = stale_read(state) {
        return Eligibility::Stale(again);
    }
    let opportunity = match can_have_pad(state) {
        Eligibility::Eligible(opportunity) if !manual => opportunity,
        judgement => return judgement,
    };
    if opportunity.stage != rule.stage_id {
        let message = format!(
            "The candidate is not in the stage '{}' any more. To get a pad, move the candidate into it again.",
            rule.stage_name
        );
        return Eligibility::Ineligible(Reason::StageChanged, message);
    }
    if !opportunity.tags.contains(&rule.tag) {
        let message = format!(
            "The candidate does not carry the tag '{}' (compared exactly, case and all). To get a pad, add the tag in Lever. {}",
            rule.tag,
            retry_hint(&state.pad)
        );
        return Eligibility::Ineligible(Reason::TagMissing, message);
    }
    Eligibility::Eligible(opportunity)
}

/// Returns the hint for a Pad that the next sync re-evaluates.
fn retry_hint(pad: &StoredPad) -> String {
    format!("The next sync picks this up. To retry now: {}", retry_command(pad))
}

/// Returns the delay before the next read of the opportunity, if this one is older than the webhook (contract P7a).
fn stale_read(state: &PadState) -> Option<Duration> {
    let SignedEvent { at, read_again_in } = state.event?;
    let is_current = match &state.opportunity {
        CandidateLookup::NotRead | CandidateLookup::Refused => true,
        CandidateLookup::NotFound => false,
        CandidateLookup::Read(opportunity) => {
            let event = at.as_millisecond();
            // Only a change into the stage can be the event's own change if it is at or shortly before the event.
            opportunity.stage_changes.is_empty()
                || opportunity.stage_changes.iter().any(|change| {
                    let is_into_stage =
                        state.stage_id.as_ref().is_none_or(|stage| *stage == change.to_stage_id);
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

/// Returns whether the candidate can have a pad under any rule.
pub(super) fn can_have_pad(state: &PadState) -> Eligibility<'_> {
    let opportunity = match &state.opportunity {
        CandidateLookup::NotRead => return Eligibility::Unknown,
        CandidateLookup::NotFound => {
            let message = "Lever has no opportunity with this ID: it was deleted, or merged into another one. For another opportunity, create another Pad.";
            return Eligibility::Ineligible(Reason::CandidateNotFound, message.into());
        }
        CandidateLookup::Refused => {
            let message = format!(
                "The opportunity is confidential in Lever and the API key cannot read it, so no pad is created. If that is unintended, remove the confidential flag in Lever, then run: {}",
                retry_command(&state.pad)
            );
            return Eligibility::Ineligible(Reason::CandidateConfidential, message);
        }
        CandidateLookup::Read(opportunity) => opportunity.as_ref(),
    };
    if opportunity.confidential {
        let message = format!(
            "The opportunity is confidential in Lever, so no pad is created. If that is unintended, remove the confidential flag in Lever, then run: {}",
            retry_command(&state.pad)
        );
        return Eligibility::Ineligible(Reason::CandidateConfidential, message);
    }
    if opportunity.is_anonymized {
        let message = "Lever has removed this candidate's data, so no pad is created. No action needed.";
        return Eligibility::Ineligible(Reason::CandidateNotFound, message.into());
    }
    if opportunity.archived {
        let message = format!(
            "The candidate is archived in Lever. To get a pad, take the candidate out of the archive. {}",
            retry_hint(&state.pad)
        );
        return Eligibility::Ineligible(Reason::CandidateArchived, message);
    }
    Eligibility::Eligible(opportunity)
}

/// Returns the stage entry that a pad created now would serve.
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

/// Returns the rule of a Ready configuration and the candidate, if the candidate is eligible for a pad.
pub(super) fn eligible(state: &PadState) -> Option<(&Rule, &Opportunity)> {
    let RuleState::Ready(rule) = &state.configuration else { return None };
    match judge(state, rule, state.pad.manual) {
        Eligibility::Eligible(opportunity) => Some((rule, opportunity)),
        Eligibility::Unknown | Eligibility::Stale(_) | Eligibility::Ineligible(..) => None,
    }
}

/// The candidate was not read yet, or is not eligible.
pub(crate) fn ineligible(state: &PadState) -> Option<Command> {
    let RuleState::Ready(rule) = &state.configuration else { return None };
    match judge(state, rule, state.pad.manual) {
        Eligibility::Unknown => Some(Command::ReadOpportunity),
        Eligibility::Stale(again) => Some(wait_for_fresh_read(again)),
        Eligibility::Ineligible(reason, message) => Some(rest(Outcome::Skipped(reason, message))),
        Eligibility::Eligible(_) => None,
    }
}

/// A failed creation would fail again: it is tried once per entry, unless a person changes something (contract,
/// Phases).
pub(crate) fn failed_before(state: &PadState) -> Option<Command> {
    let pad = &state.pad;
    let is_same_entry =
        || state.entry().is_some_and(|entry| pad.judged_entry.is_some_and(|judged| entry <= judged));
    let has_failed = pad.phase == Some(Phase::Failed)
        && pad.attempt.is_none()
        && !pad.configuration_changed
        && !pad.asked_by_person
        && !failed_creations::is_retry_due(state)
        && is_same_entry();
    has_failed.then(|| failed_creations::keep(state))
}

/// Reports whether the candidate has entered the stage since the Pad was last judged.
pub(super) fn is_later_entry(state: &PadState) -> bool {
    state.entry().is_some_and(|entry| state.pad.judged_entry.is_some_and(|judged| entry > judged))
}

/// Returns the IDs of the pads behind the candidate's links.
fn links(state: &PadState, opportunity: &Opportunity) -> Vec<String> {
    opportunity.links.iter().filter_map(|link| linked_pad_id(link, &state.connection)).collect()
}

/// Returns the pads behind the links that the candidate has now.
fn linked_records(state: &PadState, opportunity: &Opportunity) -> Vec<PadRecord> {
    let links = links(state, opportunity);
    let is_linked = |record: &&PadRecord| links.contains(&record.id);
    state.linked_before.iter().flatten().filter(is_linked).cloned().collect()
}

/// The pads behind the candidate's links were not read yet: one may be the Pad's own.
pub(crate) fn read_links(state: &PadState) -> Option<Command> {
    let (_, opportunity) = eligible(state)?;
    let links = links(state, opportunity);
    let newest = || links.iter().rev().take(MAX_LINKS_READ).cloned().collect();
    (state.linked_before.is_none() && !links.is_empty()).then(|| Command::ReadLinkedPads(newest()))
}

/// Of several Pads of a candidate that have no stored pad, each has its own linked pad or none (contract X6): adopts the
/// own one, leaves the entry to another Pad, or waits for an older Pad.
pub(crate) fn adopt(state: &PadState) -> Option<Command> {
    let (rule, opportunity) = eligible(state)?;
    let entry = entry(&state.pad, rule, opportunity);
    match adoption(state, &linked_records(state, opportunity), &entry, rule.repeat) {
        // The deletion of another Pad may have removed the link since the shared read.
        Adoption::Adopt(_) if state.read_is_shared => Some(Command::ReadOpportunity),
        Adoption::Adopt(record) => Some(store(state, record)),
        Adoption::LeaveToAnother => Some(left_to_sibling(&state.pad)),
        Adoption::Wait => Some(yield_to_older()),
        Adoption::Nothing => None,
    }
}

/// A linked pad of another installation serves the entry (contract I4).
pub(crate) fn served_elsewhere(state: &PadState) -> Option<Command> {
    let (rule, opportunity) = eligible(state)?;
    let entry = entry(&state.pad, rule, opportunity);
    ownership::owner_of_serving_pad(state, &linked_records(state, opportunity), &entry, rule.repeat)
}

/// The candidate was in the stage before the rule took effect (contract P5).
pub(crate) fn predates_rule(state: &PadState) -> Option<Command> {
    let (rule, opportunity) = eligible(state)?;
    let is_existing = is_existing(&state.pad, rule, entry(&state.pad, rule, opportunity).at);
    is_existing.then(|| {
        let message = format!(
            "The candidate was in the stage '{}' with the tag '{}' before this rule took effect, and spec.existing of the configuration is Skip. To get a pad, move the candidate into the stage again, or request one: {}",
            rule.stage_name,
            rule.tag,
            retry_command(&state.pad)
        );
        rest(Outcome::Skipped(Reason::BeforeConfiguration, message))
    })
}

/// The entry had its pad, and the Pad was deleted since (contract P9).
pub(crate) fn already_served(state: &PadState) -> Option<Command> {
    let (rule, opportunity) = eligible(state)?;
    is_served(state, rule, entry(&state.pad, rule, opportunity).at).then(|| {
        let message = format!(
            "The candidate had a pad for this entry into the stage, and its Pad was deleted. To get another one, move the candidate into the stage again, or request one: {}",
            retry_command(&state.pad)
        );
        rest(Outcome::Skipped(Reason::AlreadyServed, message))
    })
}

/// A Pad that waits for quota or the hourly limit costs no read of its candidate until there is room.
pub(crate) fn limit_before_the_read(state: &PadState) -> Option<Command> {
    limit(state).filter(|_| state.pad.waits_for_room && !state.pad.requested)
}

/// The pad of an eligible candidate is created.
pub(crate) fn create(state: &PadState) -> Option<Command> {
    let (rule, opportunity) = eligible(state)?;
    let pad = &state.pad;
    let entry = entry(pad, rule, opportunity);
    let profile = sanitize::one_line(&profile_url(opportunity), PROFILE_URL_MAX_CHARS);
    let candidate = sanitize::candidate_name(&opportunity.name, &pad.opportunity_id);
    let new = NewPad {
        title: sanitize::title(&rule.title, &candidate, &rule.stage_name, &pad.configuration),
        language: rule.language.clone(),
        question_id: rule.question_id,
        notes: state.ownership.installation.sign(&entry.reference.notes(&profile)),
        private: rule.waiting_room,
        owner_email: rule.owner_email.clone(),
        take_home: rule.type_ == PadType::TakeHome,
    };
    Some(Command::Create {
        reference: entry.reference,
        pad: Box::new(new),
        forget_failures: failed_creations::starts_anew(state),
    })
}

/// Reports whether the candidate gets no pad because it was in the stage before the rule took effect (contract P5). Only
/// sync finds such candidates, and annotates the Pads that it creates for them (contract P10).
fn is_existing(pad: &StoredPad, rule: &Rule, entry: Option<Timestamp>) -> bool {
    let (Some(entry), Some(since)) = (entry, rule.effective_since) else { return false };
    let is_annotated = match pad.existing_since {
        Some(existing_since) => existing_since == since,
        None => pad.was_before,
    };
    rule.existing == Existing::Skip && entry <= since && is_annotated && !is_requested_for(pad, entry)
}

/// Reports whether the entry had its pad and the Pad was deleted since (contract P9).
fn is_served(state: &PadState, rule: &Rule, entry: Option<Timestamp>) -> bool {
    let entries = state.served_entries.as_deref();
    entry.is_some_and(|entry| {
        served_stage_entries::contains(entries, &state.pad.opportunity_id, entry, rule.effective_since)
            && !is_requested_for(&state.pad, entry)
    })
}

/// Reports whether a person requested a pad for this entry. A request overrides earlier pads of the entry.
fn is_requested_for(pad: &StoredPad, entry: Timestamp) -> bool {
    pad.manual || pad.asked_by_person || pad.requested_entry.is_some_and(|requested| entry <= requested)
}

fn left_to_sibling(pad: &StoredPad) -> Command {
    let message = format!(
        "Another Pad of this candidate serves the current stage entry, and no pad of an earlier entry is linked. To get an additional pad: {}",
        retry_command(pad)
    );
    rest(Outcome::Skipped(Reason::AlreadyServed, message))
}

fn yield_to_older() -> Command {
    let message = "The operator decides an older Pad of this candidate first. No action needed.";
    let outcome = Outcome::Waiting(Reason::CreateOutcomeUnknown, message.into());
    Command::Done { outcome, again: Some(SIBLING_DELETION_RECHECK_DELAY) }
}

/// Action of a Pad without a stored pad ID on the pads that are already linked on its candidate (contract X6).
enum Adoption<'a> {
    /// Adopts this pad.
    Adopt(&'a PadRecord),
    /// No linked pad is its own, and another Pad serves the current entry.
    LeaveToAnother,
    /// No linked pad is its own, but an older Pad may still have a pad for the current entry.
    Wait,
    /// No linked pad is its own.
    Nothing,
}

/// Chooses the linked pad that a Pad adopts. Of several undecided Pads, the newest serves the current entry; the others
/// adopt the pads of earlier entries, in order. Such Pads were restored without their status, or two receivers created
/// them at once. No two Pads serve the same entry (contract P3, X1).
fn adoption<'a>(
    state: &PadState,
    records: &'a [PadRecord],
    entry: &StageEntry,
    repeat: Repeat,
) -> Adoption<'a> {
    let pad = &state.pad;
    let is_free = |record: &PadRecord| {
        let is_taken = state.others.iter().any(|other| other.pad_id.as_ref() == Some(&record.id));
        !is_taken && ownership::foreign(state, record).is_none()
    };
    let own = records.iter().filter(|record| is_free(record)).find(|record| serves(record, entry, repeat));
    let age = |member: &SeriesMember| (member.number, member.created_at);
    let has_lost_memory = |other: &&SeriesMember| {
        other.progress == Progress::InProgress && other.pad_id.is_none() && other.number.is_some()
    };
    let lost: Vec<&SeriesMember> = state.others.iter().filter(has_lost_memory).collect();
    if pad.manual {
        return own.map_or(Adoption::Nothing, Adoption::Adopt);
    }
    if !lost.iter().any(|other| age(other) > age(&pad.member)) {
        let serves =
            |other: &SeriesMember| other.is_served() && entry.at.is_some_and(|at| other.serves(at, repeat));
        let is_storing =
            |other: &SeriesMember| other.progress == Progress::InProgress && other.pad_id.is_some();
        let is_requested = entry.at.is_some_and(|at| is_requested_for(pad, at));
        return match own {
            Some(own) => Adoption::Adopt(own),
            None if state.others.iter().any(serves) && !is_requested => Adoption::LeaveToAnother,
            // Its pad serves any entry until its status is written.
            None if !lost.is_empty() || state.others.iter().any(is_storing) && !is_requested => {
                Adoption::Wait
            }
            None => Adoption::Nothing,
        };
    }
    let mut earlier: Vec<(i64, &PadRecord)> = records
        .iter()
        .filter(|record| is_free(record) && !record.is_deleted() && own.is_none_or(|own| own.id != record.id))
        .filter_map(|record| {
            let reference = Reference::from_notes(&record.notes)?;
            let at = reference.entry().parse().ok()?;
            (reference.series() == entry.reference.series()).then_some((at, record))
        })
        .collect();
    earlier.sort_by_key(|(at, record)| (*at, record.created_at));
    let older = lost.iter().filter(|other| age(other) < age(&pad.member)).count();
    earlier.get(older).map_or(Adoption::LeaveToAnother, |(_, record)| Adoption::Adopt(record))
}

/// The quota or the hourly limit is exhausted.
pub(crate) fn limit(state: &PadState) -> Option<Command> {
    let ConnectionState::Ready { name, pads_left, hour_full, .. } = &state.connection else { return None };
    if pads_left.is_some_and(|left| left <= 0) {
        let message = format!(
            "The CoderPad plan of LeverConnection {name} has no pads left for this Pad, and spec.interview.overage is Deny. The pad will be created once quota is available or overage is allowed."
        );
        let outcome = Outcome::Waiting(Reason::QuotaExceeded, message);
        return Some(Command::Done { outcome, again: state.quota_requeue });
    }
    let LimitExceeded { made, limit, until, rest } = (*hour_full)?;
    let message = format!(
        "LeverConnection {name} has created {made} pads in the last hour; the limit is {limit} (spec.interview.maxPadsPerHour). Pads are created oldest first; this one is expected at about {}. Raise the limit if this volume is intended (0 disables it).",
        // Rounded up to the minute, so that the next pass produces the same message and writes no status.
        until.checked_add(59.seconds()).unwrap_or(until).strftime("%Y-%m-%d %H:%M UTC")
    );
    Some(Command::Done { outcome: Outcome::Waiting(Reason::LimitReached, message), again: Some(rest) })
}

/// Returns the URL of the candidate's profile in Lever.
pub fn profile_url(opportunity: &Opportunity) -> String {
    let by_id = || format!("https://hire.lever.co/candidates/{}", opportunity.id);
    opportunity.profile_url.clone().unwrap_or_else(by_id)
}
