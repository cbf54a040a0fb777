//! Deletion of a Pad.

use super::{connection_not_usable, ownership, rest};
use crate::command::{Command, Outcome};
use crate::series::SeriesMember;
use crate::state::{
    CandidateLookup, ConnectionState, CreateOutcome, PadLookup, PadState, StoredPad, WriteClaim,
};
use api::configuration::DeletionPolicy;
use api::pad::Phase;
use api::served_stage_entries::Fingerprint;
use jiff::Timestamp;
use services::coderpad::PadRecord;
use services::lever::Opportunity;
use std::collections::BTreeSet;

/// The Pad is being deleted.
pub(crate) fn deletion(state: &PadState) -> Option<Command> {
    state.pad.deleting.then(|| delete(state))
}

/// Returns the next command for a Pad that is being deleted: in-flight requests are resolved first, then the deletion
/// policy applies. Before anything of its pad is removed, the configuration stores the served entries (contract P9).
fn delete(state: &PadState) -> Command {
    let step = remove(state);
    let removes = matches!(
        step,
        Command::RemoveLink(_)
            | Command::RemoveTags(_)
            | Command::DeletePad(_)
            | Command::SetFinalizer(false)
    );
    let entries = entries_left_behind(state);
    if removes && !state.served_stored && !entries.is_empty() { Command::StoreServed(entries) } else { step }
}

/// Returns the entries served by this Pad that the configuration does not store yet.
fn entries_left_behind(state: &PadState) -> Vec<Timestamp> {
    let pad = &state.pad;
    if pad.pad_id.is_none() || state.repeat.is_none() {
        return Vec::new();
    }
    let attempted = pad.attempt.as_ref().and_then(|attempt| attempt.reference.entry_time());
    let all: BTreeSet<Timestamp> =
        [attempted, pad.entry, pad.judged_entry, state.entry()].into_iter().flatten().collect();
    let is_known = |entry: &Timestamp| {
        Fingerprint::new(&pad.opportunity_id, *entry).is_in(state.served_entries.as_deref())
    };
    all.into_iter().filter(|entry| !is_known(entry)).collect()
}

fn remove(state: &PadState) -> Command {
    let pad = &state.pad;
    if !pad.finalizer {
        return rest(Outcome::NoDecision);
    }
    match &state.connection {
        // A missing connection does not delay the deletion; a broken one does (contract E10).
        ConnectionState::Missing { .. } => return Command::SetFinalizer(false),
        ConnectionState::Ready { .. } => {}
        ConnectionState::Suspended { .. } | ConnectionState::NotReady { .. } if leaves_pad_behind(pad) => {
            return Command::SetFinalizer(false);
        }
        ConnectionState::Suspended { .. } | ConnectionState::NotReady { .. } => {
            return rest(connection_not_usable(state).unwrap_or(Outcome::NoDecision));
        }
    }
    if state.ownership.yields_to.is_some() {
        return ownership::give_up(state).unwrap_or(Command::SetFinalizer(false));
    }
    if leaves_pad_behind(pad) {
        return Command::SetFinalizer(false);
    }
    let Some(id) = &pad.pad_id else {
        return match remove_attempt(state) {
            Command::SetFinalizer(false) => remove_failure_tag(state).unwrap_or(Command::SetFinalizer(false)),
            step => step,
        };
    };
    if let WriteClaim::InFlight { rest } = state.write_claim
        && !pad.linked
    {
        return Command::Done { outcome: Outcome::NoDecision, again: Some(rest) };
    }
    let record = match &state.record {
        PadLookup::NotRead => return Command::ReadPad(id.clone()),
        // contract I3
        PadLookup::Read(record) if ownership::foreign(state, record).is_some() => {
            return Command::SetFinalizer(false);
        }
        PadLookup::Read(record) => Some(record),
        PadLookup::NotFound => None,
    };
    let opportunity = match &state.opportunity {
        CandidateLookup::NotRead => return Command::ReadOpportunity,
        CandidateLookup::Read(opportunity) => Some(opportunity),
        CandidateLookup::NotFound | CandidateLookup::Refused => None,
    };
    let url = record.map(|record| &record.url).or(pad.url.as_ref());
    let link = url.filter(|url| opportunity.is_some_and(|opportunity| opportunity.links.contains(url)));
    if let Some(url) = link
        && pad.deletion_policy != DeletionPolicy::Retain
    {
        return Command::RemoveLink(url.clone());
    }
    if pad.deletion_policy != DeletionPolicy::Retain
        && let Some(opportunity) = opportunity
    {
        let tags = operator_tags(state, opportunity);
        if !tags.is_empty() {
            return Command::RemoveTags(tags);
        }
    }
    let linked = link.is_some() || pad.linked || state.link_removed;
    match record {
        Some(record)
            if !record.is_deleted() && !state.deleted.contains(&record.id) && deletes_pad(pad, linked) =>
        {
            Command::DeletePad(record.id.clone())
        }
        _ => Command::SetFinalizer(false),
    }
}

/// The tags on the candidate that the operator puts there, unless they tell of another interview by now.
fn operator_tags(state: &PadState, opportunity: &Opportunity) -> Vec<String> {
    // The tags on the candidate may be those of the other installation.
    if state.others.iter().any(SeriesMember::is_open) || state.ownership.reported.is_some() {
        return Vec::new();
    }
    let tags = state.write_back.as_ref().map(|write_back| &write_back.tags);
    let configured = tags.into_iter().flat_map(|tags| [&tags.ready, &tags.ended, &tags.failed]);
    let own: BTreeSet<&String> = configured.chain([&state.pad.failed_tag]).flatten().collect();
    let is_on = |tag: &&String| {
        opportunity.tags.contains(tag)
            && !state.tags_written.contains(tag)
            && !state.tags.needed.contains(tag)
    };
    own.into_iter().filter(is_on).cloned().collect()
}

/// Returns the command that removes `tags.failed`: the only tag that a Pad without a pad can have added.
fn remove_failure_tag(state: &PadState) -> Option<Command> {
    let configured = state.write_back.as_ref().and_then(|write_back| write_back.tags.failed.as_ref());
    if state.pad.deletion_policy == DeletionPolicy::Retain
        || (configured.is_none() && state.pad.failed_tag.is_none())
    {
        return None;
    }
    let opportunity = match &state.opportunity {
        CandidateLookup::NotRead => return Some(Command::ReadOpportunity),
        CandidateLookup::Read(opportunity) => opportunity,
        CandidateLookup::NotFound | CandidateLookup::Refused => return None,
    };
    Some(operator_tags(state, opportunity)).filter(|tags| !tags.is_empty()).map(Command::RemoveTags)
}

/// Reports whether deleting the Pad leaves everything in place.
fn leaves_pad_behind(pad: &StoredPad) -> bool {
    // A pad that was ended before it was linked also stays (contract E6, E9).
    let is_over = pad.phase == Some(Phase::Ended);
    pad.deletion_policy == DeletionPolicy::Retain && (pad.linked || is_over || !pad.has_attempted_pad())
}

/// Reports whether the pad in CoderPad is deleted with the Pad: by policy, or because it was never linked.
fn deletes_pad(pad: &StoredPad, linked: bool) -> bool {
    pad.deletion_policy == DeletionPolicy::Delete || !linked
}

fn remove_attempt(state: &PadState) -> Command {
    if state.pad.attempt.is_none() {
        return Command::SetFinalizer(false);
    }
    match &state.create_outcome {
        // A pad that is found is the right one, however early the list shows it (contract X5a).
        CreateOutcome::InFlight { search_in, .. }
            if search_in.is_zero()
                && let Some(attempt) = state.pad.open_attempt() =>
        {
            Command::Search { reference: attempt.reference.clone() }
        }
        CreateOutcome::InFlight { rest, search_in } => {
            Command::Done { outcome: Outcome::NoDecision, again: Some(*rest.min(search_in)) }
        }
        CreateOutcome::NotSent => Command::SetFinalizer(false),
        CreateOutcome::Completed => match state.pad.open_attempt() {
            Some(attempt) => Command::Search { reference: attempt.reference.clone() },
            None => Command::SetFinalizer(false),
        },
        CreateOutcome::Searched(found) if found.is_empty() => Command::SetFinalizer(false),
        CreateOutcome::Searched(found) => remove_found(state, found),
    }
}

/// Returns the next command for pads that a search found. A Pad that was restored from a backup may have an open attempt
/// although the link of its pad is on the candidate: that pad is stored first, and the deletion policy applies to it.
fn remove_found(state: &PadState, found: &[PadRecord]) -> Command {
    let links: &[String] = match &state.opportunity {
        CandidateLookup::NotRead => return Command::ReadOpportunity,
        CandidateLookup::Read(opportunity) => &opportunity.links,
        CandidateLookup::NotFound | CandidateLookup::Refused => &[],
    };
    let unlinked = found.iter().rev().find(|record| !links.contains(&record.url));
    match (unlinked, found.first()) {
        (Some(record), _) => Command::DeletePad(record.id.clone()),
        (None, Some(record)) => {
            Command::StorePad { record: Box::new(record.clone()), keep_finalizer: true, claim_link: false }
        }
        (None, None) => Command::SetFinalizer(false),
    }
}
