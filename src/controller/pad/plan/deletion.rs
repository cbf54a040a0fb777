//! Deletion of a Pad.

use super::{Command, Outcome, connection_not_usable, installation, rest};
use crate::api::configuration::DeletionPolicy;
use crate::api::pad::Phase;
use crate::api::served::Fingerprint;
use crate::controller::pad::series::SeriesMember;
use crate::controller::pad::state::{
    CandidateLookup, ConnectionState, CreateOutcome, PadLookup, PadState, StoredPad, WriteClaim,
};
use crate::lever::Opportunity;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Returns the next command for a Pad that is being deleted: in-flight requests are resolved first, then the deletion
/// policy applies. Before anything of its pad is removed, the configuration stores the served entries (contract P9).
pub(super) fn delete(facts: &PadState) -> Command {
    let step = remove(facts);
    let removes = matches!(
        step,
        Command::RemoveLink(_)
            | Command::RemoveTags(_)
            | Command::DeletePad(_)
            | Command::SetFinalizer(false)
    );
    let entries = entries_left_behind(facts);
    if removes && !facts.served_stored && !entries.is_empty() { Command::StoreServed(entries) } else { step }
}

/// Returns the entries served by this Pad that the configuration does not store yet.
fn entries_left_behind(facts: &PadState) -> Vec<Timestamp> {
    let pad = &facts.pad;
    if pad.pad_id.is_none() || facts.repeat.is_none() {
        return Vec::new();
    }
    let attempted = pad.attempt.as_ref().and_then(|attempt| attempt.reference.entry_time());
    let all: BTreeSet<Timestamp> =
        [attempted, pad.entry, pad.judged_entry, facts.entry()].into_iter().flatten().collect();
    let is_known = |entry: &Timestamp| {
        Fingerprint::new(&pad.opportunity_id, *entry).is_in(facts.served_entries.as_deref())
    };
    all.into_iter().filter(|entry| !is_known(entry)).collect()
}

fn remove(facts: &PadState) -> Command {
    let pad = &facts.pad;
    if !pad.finalizer {
        return rest(Outcome::NoDecision);
    }
    match &facts.connection {
        // A missing connection does not delay the deletion; a broken one does (contract E10).
        ConnectionState::Missing { .. } => return Command::SetFinalizer(false),
        ConnectionState::Ready { .. } => {}
        ConnectionState::Suspended { .. } | ConnectionState::NotReady { .. } if leaves_pad_behind(pad) => {
            return Command::SetFinalizer(false);
        }
        ConnectionState::Suspended { .. } | ConnectionState::NotReady { .. } => {
            return rest(connection_not_usable(facts).unwrap_or(Outcome::NoDecision));
        }
    }
    if facts.ownership.yields_to.is_some() {
        return installation::give_up(facts).unwrap_or(Command::SetFinalizer(false));
    }
    if leaves_pad_behind(pad) {
        return Command::SetFinalizer(false);
    }
    let Some(id) = &pad.pad_id else {
        return match remove_attempt(facts) {
            Command::SetFinalizer(false) => remove_failure_tag(facts).unwrap_or(Command::SetFinalizer(false)),
            step => step,
        };
    };
    if let WriteClaim::InFlight { rest } = facts.claimed
        && !pad.linked
    {
        return Command::Done { outcome: Outcome::NoDecision, again: Some(rest) };
    }
    let record = match &facts.record {
        PadLookup::NotRead => return Command::ReadPad(id.clone()),
        // contract I3
        PadLookup::Read(record) if installation::foreign(facts, record).is_some() => {
            return Command::SetFinalizer(false);
        }
        PadLookup::Read(record) => Some(record),
        PadLookup::NotFound => None,
    };
    let opportunity = match &facts.opportunity {
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
        let tags = operator_tags(facts, opportunity);
        if !tags.is_empty() {
            return Command::RemoveTags(tags);
        }
    }
    let linked = link.is_some() || pad.linked || facts.link_removed;
    match record {
        Some(record)
            if !record.is_deleted() && !facts.deleted.contains(&record.id) && deletes_pad(pad, linked) =>
        {
            Command::DeletePad(record.id.clone())
        }
        _ => Command::SetFinalizer(false),
    }
}

/// The tags on the candidate that the operator puts there, unless they tell of another interview by now.
fn operator_tags(facts: &PadState, opportunity: &Opportunity) -> Vec<String> {
    // The tags on the candidate may be those of the other installation.
    if facts.others.iter().any(SeriesMember::is_open) || facts.ownership.reported.is_some() {
        return Vec::new();
    }
    let tags = facts.write_back.as_ref().map(|write_back| &write_back.tags);
    let configured = tags.into_iter().flat_map(|tags| [&tags.ready, &tags.ended, &tags.failed]);
    let own: BTreeSet<&String> = configured.chain([&facts.pad.failed_tag]).flatten().collect();
    let is_on = |tag: &&String| {
        opportunity.tags.contains(tag)
            && !facts.tags_written.contains(tag)
            && !facts.tags.needed.contains(tag)
    };
    own.into_iter().filter(is_on).cloned().collect()
}

/// Returns the command that removes `tags.failed`: the only tag that a Pad without a pad can have added.
fn remove_failure_tag(facts: &PadState) -> Option<Command> {
    let configured = facts.write_back.as_ref().and_then(|write_back| write_back.tags.failed.as_ref());
    if facts.pad.deletion_policy == DeletionPolicy::Retain
        || (configured.is_none() && facts.pad.failed_tag.is_none())
    {
        return None;
    }
    let opportunity = match &facts.opportunity {
        CandidateLookup::NotRead => return Some(Command::ReadOpportunity),
        CandidateLookup::Read(opportunity) => opportunity,
        CandidateLookup::NotFound | CandidateLookup::Refused => return None,
    };
    Some(operator_tags(facts, opportunity)).filter(|tags| !tags.is_empty()).map(Command::RemoveTags)
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

fn remove_attempt(facts: &PadState) -> Command {
    if facts.pad.attempt.is_none() {
        return Command::SetFinalizer(false);
    }
    match &facts.flight {
        // A pad that is found is the right one, however early the list shows it (contract X5a).
        CreateOutcome::InFlight { search_in, .. }
            if search_in.is_zero()
                && let Some(attempt) = facts.pad.open_attempt() =>
        {
            Command::Search { reference: attempt.reference.clone() }
        }
        CreateOutcome::InFlight { rest, search_in } => {
            Command::Done { outcome: Outcome::NoDecision, again: Some(*rest.min(search_in)) }
        }
        CreateOutcome::NotSent => Command::SetFinalizer(false),
        CreateOutcome::Completed => match facts.pad.open_attempt() {
            Some(attempt) => Command::Search { reference: attempt.reference.clone() },
            None => Command::SetFinalizer(false),
        },
        CreateOutcome::Searched(found) => match found.last() {
            Some(record) => Command::DeletePad(record.id.clone()),
            None => Command::SetFinalizer(false),
        },
    }
}
