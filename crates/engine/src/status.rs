//! Builds the status of a Pad from the outcome of a pass. Pure; the controller writes only differences.

use super::note;
use super::state::{CandidateLookup, NoteLookup, PadLookup, PadState};
use crate::command::{Outcome, WriteBackState};
use crate::rules::eligibility::profile_url;
use crate::rules::write_back::is_tag_settled;
use crate::rules::{self, ownership};
use api::condition::{Conditions, Readiness, types};
use api::configuration::{PadConfiguration, PadType};
use api::names::{self, CreateIntent, Reference};
use api::pad::{Pad, PadStatus, Phase};
use api::reason::{Reason, StepReason};
use api::sanitize;
use jiff::Timestamp;
use services::coderpad::{PadKind, PadRecord};

/// Returns the status after a pass; `None` if the pass decided nothing.
///
/// `configuration` is the Pad's configuration, if it exists.
pub fn status(
    pad: &Pad,
    state: &PadState,
    outcome: &Outcome,
    configuration: Option<&PadConfiguration>,
    now: Timestamp,
) -> Option<PadStatus> {
    let mut status = pad.status.clone().unwrap_or_default();
    let generation = pad.metadata.generation.unwrap_or_default();
    let mut conditions = Conditions::new(&status.conditions, generation, now);
    status.observed_generation = generation;
    // A request that arrives while nothing may be sent is handled later, and echoed only then.
    if !rules::is_blocked(state) {
        status.last_handled_reconcile_at = names::reconcile_requested_at(pad);
    }
    merge_service_state(&mut status, state, now);
    take_entries(&mut status, state, outcome);
    status.failed_tag = rules::failure_tag::handled_tag(state);
    if !state.pad.has_attempted_pad() {
        status.last_create_at = state.create_answered_at.or(status.last_create_at);
    }
    status.other_installation = other_installation(status.other_installation, state, outcome);
    match outcome {
        Outcome::NoDecision | Outcome::StaleRead => return None,
        Outcome::Keep => {
            let refused = |type_: &str| type_ == types::TAG_REFUSED;
            for before in pad.status.as_ref()?.conditions.iter().filter(|before| !refused(&before.type_)) {
                conditions.keep(&before.type_);
            }
            set_tag_refused(&mut conditions, state);
        }
        Outcome::Waiting(reason, message) => {
            set(&mut status, Phase::Pending, *reason, &mut conditions, message);
            if *reason == Reason::Suspended {
                conditions.set(types::SUSPENDED, true, *reason, message);
            }
        }
        Outcome::Skipped(reason, message) => {
            if *reason == Reason::OwnedByAnotherInstallation {
                without_pad(&mut status, state);
            }
            set(&mut status, Phase::Skipped, *reason, &mut conditions, message);
        }
        Outcome::Failed(reason, message) => {
            status.observed_configuration_generation = configuration.and_then(|one| one.metadata.generation);
            status.observed_configuration_uid = configuration.and_then(|one| one.metadata.uid.clone());
            set(&mut status, Phase::Failed, *reason, &mut conditions, message);
        }
        Outcome::Open => {
            status.linked_at.get_or_insert(now);
            let message = "The pad is open and its link is on the candidate in Lever. Share status.url with the candidate and the interviewer.";
            let message = beside_another(&status, message);
            set(&mut status, Phase::Open, Reason::Open, &mut conditions, &message);
            set_tag_refused(&mut conditions, state);
        }
        Outcome::Started => {
            status.linked_at.get_or_insert(now);
            let message = beside_another(&status, "The interview has begun.");
            set(&mut status, Phase::Started, Reason::Started, &mut conditions, &message);
            set_tag_refused(&mut conditions, state);
        }
        Outcome::Ended(recorded) => {
            status.linked_at.get_or_insert(now);
            let message = "The interview has ended. Its link stays on the candidate in Lever; status.playbackURL plays it back.";
            set(&mut status, Phase::Ended, Reason::Ended, &mut conditions, message);
            record(&mut conditions, recorded);
        }
        Outcome::PadDeleted => {
            let message = "The pad was deleted in CoderPad. The operator does not create it again; if another one is needed, create a new Pad.";
            set(&mut status, Phase::Ended, Reason::PadDeleted, &mut conditions, message);
        }
        Outcome::EndedUnlinked => {
            let message = "The interview was ended in CoderPad before its link was on the candidate: spec.state is Ended. The operator adds no link, note or tag in Lever. For another pad, create a new Pad.";
            set(&mut status, Phase::Ended, Reason::Ended, &mut conditions, message);
            record(&mut conditions, &WriteBackState::Impossible(Reason::Cancelled, message.into()));
        }
    }
    // An unchanged status of version 0.1.0 must not be written only to set phaseSince.
    let is_unknown = status.phase_since.is_none() && *outcome != Outcome::Keep;
    if is_unknown || phase_of(pad.status.as_ref()) != phase_of(Some(&status)) {
        status.phase_since = Some(now);
    }
    status.conditions = conditions.finish();
    let named = pad.status.as_ref().and_then(|before| before.candidate.as_deref());
    if let (Some(name), None) = (named, &status.candidate) {
        // A service may have quoted the title.
        for condition in &mut status.conditions {
            condition.message = sanitize::without_name(&condition.message, name);
        }
    }
    Some(status)
}

/// Returns the values whose change resets `phaseSince`: the phase, and the reason of a final phase.
fn phase_of(status: Option<&PadStatus>) -> (Option<Phase>, Option<&str>) {
    let phase = status.and_then(|status| status.phase);
    let is_final = matches!(phase, Some(Phase::Skipped | Phase::Failed | Phase::Ended));
    (phase, status.and_then(|status| status.reason.as_deref()).filter(|_| is_final))
}

/// Stores the times that later decisions use, by Lever's clock.
fn take_entries(status: &mut PadStatus, state: &PadState, outcome: &Outcome) {
    // Without a configuration the stage is unknown: the last stage change is no earlier than any entry.
    let is_cancelled = matches!(outcome, Outcome::Skipped(Reason::Cancelled, _));
    let last_change = || state.last_stage_change().filter(|_| is_cancelled && state.stage_id.is_none());
    let Some(entry) = state.judged.or_else(last_change) else { return };
    // A Pad whose pad has ended covers the entries until its end, and no later ones.
    let was_over = state.pad.member.is_served() && !state.pad.member.is_open();
    match outcome {
        Outcome::Skipped(Reason::Cancelled, _) | Outcome::PadDeleted if was_over => {}
        Outcome::Skipped(..) | Outcome::Failed(..) | Outcome::PadDeleted => {
            status.judged_entry_at = Some(entry)
        }
        _ => {}
    }
    if state.pad.asked_by_person && !matches!(outcome, Outcome::Keep) {
        status.requested_entry_at = Some(entry);
    }
}

/// Copies the services' answers of this pass into the status.
fn merge_service_state(status: &mut PadStatus, state: &PadState, now: Timestamp) {
    match &state.opportunity {
        CandidateLookup::Read(opportunity) if !opportunity.is_anonymized => {
            status.candidate = Some(sanitize::candidate_name(&opportunity.name, &state.pad.opportunity_id));
            status.candidate_url = Some(sanitize::cut(&profile_url(opportunity), 1000));
        }
        CandidateLookup::Read(_) | CandidateLookup::NotFound => {
            (status.candidate, status.candidate_url) = (None, None);
            status.participants.clear();
        }
        CandidateLookup::NotRead | CandidateLookup::Refused => {}
    }
    if let Some(id) = &state.pad.pad_id {
        status.pad_id = Some(id.clone());
    }
    if let (PadLookup::Read(record), Some(_)) = (&state.record, &state.pad.pad_id) {
        status.url = Some(record.url.clone());
        status.created_at = Some(record.created_at);
        status.type_ = match record.kind {
            PadKind::Live => Some(PadType::Live),
            PadKind::TakeHome => Some(PadType::TakeHome),
            PadKind::Unknown => status.type_,
        };
        status.entry_at = entry_at(state.pad.attempt.as_ref(), record).or(status.entry_at);
        if record.is_started() {
            status.started_at = state.started_at();
            // No participants are named once Lever has removed the candidate's data (contract E12).
            if status.candidate.is_some() {
                status.participants = note::participants(record).collect();
            }
        }
        if record.is_ended() {
            status.playback_url = record.playback.as_deref().map(|url| sanitize::cut(url, 1000));
            status.ended_at = status.ended_at.or(record.ended_at).or(record.updated_at);
        }
    }
    if let NoteLookup::Written(id) = &state.note {
        status.note_id = Some(id.clone());
    }
    let is_linked = |record: &PadRecord| match &state.opportunity {
        CandidateLookup::Read(opportunity) => opportunity.links.contains(&record.url),
        CandidateLookup::NotRead | CandidateLookup::NotFound | CandidateLookup::Refused => false,
    };
    if let (PadLookup::Read(record), Some(_)) = (&state.record, &state.pad.pad_id)
        && !state.pad.deleting
        && is_linked(record)
    {
        status.linked_at.get_or_insert(now);
    }
}

/// Returns the other installation for the status after a pass (contract I4, I5).
fn other_installation(before: Option<String>, state: &PadState, outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Skipped(Reason::OwnedByAnotherInstallation, _) => {
            ownership::other_installation(state).or(before)
        }
        Outcome::Keep | Outcome::NoDecision | Outcome::StaleRead => before,
        Outcome::Open | Outcome::Started => ownership::stays_beside(state).unwrap_or(before),
        Outcome::Waiting(..) | Outcome::Failed(..) | Outcome::Skipped(..) => None,
        Outcome::Ended(_) | Outcome::PadDeleted | Outcome::EndedUnlinked => None,
    }
}

/// Clears the pad from the status of a Pad whose candidate has the pad of another installation. The entry remains.
fn without_pad(status: &mut PadStatus, state: &PadState) {
    if !state.pad.manual {
        status.entry_at = state.entry().or(status.entry_at);
    }
    (status.pad_id, status.url, status.playback_url, status.type_) = (None, None, None, None);
    (status.created_at, status.linked_at, status.started_at, status.ended_at) = (None, None, None, None);
    status.participants.clear();
}

/// Extends the message of a pad that stays next to a pad of another installation for the same stage entry.
fn beside_another(status: &PadStatus, message: &str) -> String {
    match &status.other_installation {
        None => message.to_owned(),
        Some(id) => format!(
            "{message} Installation {id} of the operator has created another pad for the same stage entry, and somebody has \
             joined this one already. In Lever, remove the link of the unused pad from the candidate."
        ),
    }
}

/// Sets the condition `RecordAdded`: the state of the note and the tags after the interview.
fn record(conditions: &mut Conditions, recorded: &WriteBackState) {
    const TYPE: &str = types::RECORD_ADDED;
    match recorded {
        WriteBackState::Written => {
            let message = "The requested note and tags were written to the candidate in Lever.";
            conditions.set(TYPE, true, StepReason::Written, message)
        }
        WriteBackState::NotRequested => {
            let message = "The configuration requests no note and no tags.";
            conditions.set(TYPE, true, StepReason::NotAsked, message)
        }
        WriteBackState::Pending(reason, message) | WriteBackState::Impossible(reason, message) => {
            conditions.set(TYPE, false, *reason, message)
        }
    };
}

/// Sets the condition `TagRefused` of a linked pad whose interview has not ended. It is absent unless a tag was refused.
fn set_tag_refused(conditions: &mut Conditions, state: &PadState) {
    if let Some(refused) = &state.tags.refused {
        let message = refused.message(&state.pad.configuration);
        conditions.set(types::TAG_REFUSED, true, refused.reason(), message);
    } else if state.tags.reported && !is_tag_settled(state) {
        conditions.keep(types::TAG_REFUSED);
    }
}

/// Returns the stage entry that the pad serves: from the pad's notes, else from the attempt.
fn entry_at(attempt: Option<&CreateIntent>, record: &PadRecord) -> Option<Timestamp> {
    let reference =
        Reference::from_notes(&record.notes).or_else(|| attempt.map(|attempt| attempt.reference.clone()))?;
    reference.entry_time()
}

/// Sets the phase, the reason and the conditions of every outcome.
fn set(status: &mut PadStatus, phase: Phase, reason: Reason, conditions: &mut Conditions, message: &str) {
    status.phase = Some(phase);
    status.reason = Some(reason.as_str().into());
    match phase {
        Phase::Pending | Phase::Failed => conditions.not_ready(reason, message),
        Phase::Skipped | Phase::Open | Phase::Started | Phase::Ended => {
            conditions.ready(Readiness::Ready, reason, message)
        }
    };
    match &status.pad_id {
        Some(_) => {
            conditions.set(types::PAD_CREATED, true, StepReason::Created, "The pad exists in CoderPad.")
        }
        None => conditions.set(types::PAD_CREATED, false, reason, message),
    };
    match &status.linked_at {
        Some(_) => conditions.set(
            types::LINK_ADDED,
            true,
            StepReason::Linked,
            "The link was added to the candidate in Lever.",
        ),
        None => conditions.set(types::LINK_ADDED, false, reason, message),
    };
}
