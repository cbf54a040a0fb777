//! Adds the link of a pad in CoderPad to the candidate in Lever.

use super::settled::is_final;
use super::write_back::{after_link, pad_deleted};
use super::{ownership, rest};
use crate::command::{Command, Outcome};
use crate::state::{CandidateLookup, PadLookup, PadState, WriteClaim};
use api::configuration::DeletionPolicy;
use api::names::OnceOnlyWrite;
use api::pad::Phase;
use api::reason::Reason;
use services::coderpad::{PadKind, PadRecord};

/// Without the finalizer, the Pad could disappear before the operator knows whether its pad is linked. Usually the link
/// follows in the same pass, and no finalizer is needed.
pub(crate) fn finalizer_before_link(state: &PadState) -> Option<Command> {
    let is_first_pass =
        matches!(state.write_claim, WriteClaim::Owned(_)) || !matches!(state.record, PadLookup::NotRead);
    let is_missing = state.pad.pad_id.is_some() && !state.pad.finalizer && !is_first_pass && !is_final(state);
    is_missing.then_some(Command::SetFinalizer(true))
}

/// The pad exists in CoderPad, and its link is not on the candidate.
pub(crate) fn link(state: &PadState) -> Option<Command> {
    let exists = state.pad.pad_id.is_some() || matches!(state.record, PadLookup::Read(_));
    exists.then(|| store_and_link(state))
}

/// Returns the next command for a pad that exists in CoderPad: store its ID, then link it.
fn store_and_link(state: &PadState) -> Command {
    let pad = &state.pad;
    if let WriteClaim::InFlight { rest } = state.write_claim {
        let message = "Lever did not confirm the link. The operator waits for the request to time out, checks the candidate's links, and retries only if the link is missing. No action needed.";
        return Command::Done {
            outcome: Outcome::Waiting(Reason::LeverUnavailable, message.into()),
            again: Some(rest),
        };
    }
    let record = match (&state.record, &pad.pad_id) {
        (PadLookup::Read(record), _) => record,
        (PadLookup::NotRead, Some(id)) => return Command::ReadPad(id.clone()),
        (PadLookup::NotFound, _) => return pad_deleted(state),
        (PadLookup::NotRead, None) => return rest(Outcome::NoDecision),
    };
    // contract I3
    if let Some(id) = ownership::foreign(state, record) {
        // A new decision does not start from a stored pad that is foreign: the candidate's links show it, if it counts.
        let is_reported = pad.phase == Some(Phase::Skipped);
        return if is_reported && state.is_asked() { Command::ClearPad } else { ownership::owned(state, id) };
    }
    if record.is_deleted() {
        return pad_deleted(state);
    }
    if pad.pad_id.is_none() && state.wants_take_home && record.kind != PadKind::TakeHome {
        // CoderPad may report another type at first (contract P7b).
        return match record.kind {
            _ if !state.kind_read_again => Command::ReadKindAgain(record.id.clone()),
            PadKind::Unknown => store_unlinked(record),
            PadKind::Live | PadKind::TakeHome => refuse_live(state, record),
        };
    }
    if pad.pad_id.is_none() {
        return if state.take_home_refused && record.kind == PadKind::TakeHome && !state.refusal_stored {
            Command::StoreRefusal { refused: false }
        } else {
            store(state, record)
        };
    }
    if state.wants_take_home && record.kind == PadKind::Unknown && !pad.linked && !pad.asked_by_person {
        return unknown_kind(state, record);
    }
    // A row of a list may lack the link.
    if record.url.is_empty() {
        return Command::ReadPad(record.id.clone());
    }
    if state.link_written {
        return after_link(state);
    }
    match &state.opportunity {
        CandidateLookup::NotRead => Command::ReadOpportunity,
        CandidateLookup::Read(opportunity) if opportunity.links.contains(&record.url) => after_link(state),
        // contract I4
        CandidateLookup::Read(_) if let Some(step) = ownership::not_beside_another(state, record) => step,
        CandidateLookup::Read(_) if state.write_claim == WriteClaim::Owned(OnceOnlyWrite::Link) => {
            Command::AddLink(record.url.clone())
        }
        CandidateLookup::Read(_) => Command::Claim(OnceOnlyWrite::Link),
        // The link can no longer be given to anyone.
        CandidateLookup::NotFound | CandidateLookup::Refused if !state.deleted.contains(&record.id) => {
            Command::DeletePad(record.id.clone())
        }
        CandidateLookup::NotFound | CandidateLookup::Refused => rest(Outcome::Skipped(
            Reason::CandidateNotFound,
            "The candidate became inaccessible in Lever before the link was added, so the pad was deleted in CoderPad.".into(),
        )),
    }
}

/// Returns the next command for a live pad where a take-home was requested: it is deleted immediately and never linked.
fn refuse_live(state: &PadState, record: &PadRecord) -> Command {
    if !state.deleted.contains(&record.id) {
        return Command::DeletePad(record.id.clone());
    }
    if state.repeat.is_some() && !state.refusal_stored {
        return Command::StoreRefusal { refused: true };
    }
    if state.pad.open_attempt().is_some() {
        return Command::ClearAttempt;
    }
    let (name, namespace) = (&state.pad.name, &state.pad.namespace);
    let message = format!(
        "CoderPad created a live pad where a take-home was requested; the pad was deleted. No further pad of PadConfiguration {} is created until its spec changes or you retry. Ask CoderPad whether your plan has take-homes and whether the question may be used as one, then run: kubectl pad retry {name} --namespace {namespace}",
        state.pad.configuration
    );
    rest(Outcome::Failed(Reason::TakeHomeRefused, message))
}

/// Returns the next command for a pad of unknown type: it is kept and not linked, and a person decides (contract F7).
fn unknown_kind(state: &PadState, record: &PadRecord) -> Command {
    if state.repeat.is_some() && !state.refusal_stored {
        return Command::StoreRefusal { refused: true };
    }
    let (name, namespace) = (&state.pad.name, &state.pad.namespace);
    let message = format!(
        "CoderPad does not say whether pad {} is the take-home that was requested. The pad was kept and not linked. Ask CoderPad, or open the pad there; if it is a take-home, link it: kubectl pad retry {name} --namespace {namespace}. If it is not, delete this Pad and the pad.",
        record.id
    );
    rest(Outcome::Failed(Reason::TakeHomeRefused, message))
}

fn store_unlinked(record: &PadRecord) -> Command {
    Command::StorePad { record: Box::new(record.clone()), keep_finalizer: true, claim_link: false }
}

/// Returns the command that stores the pad's ID. If the link follows in the same pass, it needs no finalizer.
pub(super) fn store(state: &PadState, record: &PadRecord) -> Command {
    let follows = |links: &[String]| !record.url.is_empty() && !links.contains(&record.url);
    Command::StorePad {
        record: Box::new(record.clone()),
        keep_finalizer: state.pad.deletion_policy != DeletionPolicy::Retain,
        claim_link: matches!(&state.opportunity, CandidateLookup::Read(opportunity) if follows(&opportunity.links)),
    }
}
