//! A Pad that is being deleted.

use super::{Outcome, Step, connection_not_usable, installation, rest};
use crate::api::configuration::DeletionPolicy;
use crate::api::pad::Phase;
use crate::api::served::Fingerprint;
use crate::controller::pad::series::Member;
use crate::controller::pad::state::{Candidate, Claimed, ConnectionFacts, Facts, Flight, PadFacts, Record};
use crate::lever::Opportunity;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// A Pad that is being deleted: what is in mid-flight is resolved first, then the policy is followed. Before anything of
/// its pad goes, the configuration stores that its entries were served (contract P9).
pub(super) fn removal(facts: &Facts) -> Step {
    let step = remove(facts);
    let removes = matches!(
        step,
        Step::RemoveLink(_) | Step::RemoveTags(_) | Step::DeletePad(_) | Step::SetFinalizer(false)
    );
    let entries = entries_left_behind(facts);
    if removes && !facts.served_stored && !entries.is_empty() { Step::StoreServed(entries) } else { step }
}

/// The entries that had the pad of this Pad, as far as the configuration does not know them yet.
fn entries_left_behind(facts: &Facts) -> Vec<Timestamp> {
    let pad = &facts.pad;
    if pad.pad_id.is_none() || facts.repeat.is_none() {
        return Vec::new();
    }
    let attempted = pad.attempt.as_ref().and_then(|attempt| attempt.reference.entry().parse().ok());
    let attempted = attempted.and_then(|entry| Timestamp::from_millisecond(entry).ok());
    let all: BTreeSet<Timestamp> =
        [attempted, pad.entry, pad.judged_entry, facts.entry()].into_iter().flatten().collect();
    let is_known = |entry: &Timestamp| {
        Fingerprint::new(&pad.opportunity_id, *entry).is_in(facts.served_entries.as_deref())
    };
    all.into_iter().filter(|entry| !is_known(entry)).collect()
}

fn remove(facts: &Facts) -> Step {
    let pad = &facts.pad;
    if !pad.finalizer {
        return rest(Outcome::Undecided);
    }
    match &facts.connection {
        // A connection that is gone does not delay the deletion; a broken one does.
        ConnectionFacts::Missing { .. } => return Step::SetFinalizer(false),
        ConnectionFacts::Ready { .. } => {}
        ConnectionFacts::Suspended { .. } | ConnectionFacts::NotReady { .. } if retained(pad) => {
            return Step::SetFinalizer(false);
        }
        ConnectionFacts::Suspended { .. } | ConnectionFacts::NotReady { .. } => {
            return rest(connection_not_usable(facts).unwrap_or(Outcome::Undecided));
        }
    }
    if facts.ownership.yields_to.is_some() {
        return installation::give_up(facts).unwrap_or(Step::SetFinalizer(false));
    }
    if retained(pad) {
        return Step::SetFinalizer(false);
    }
    let Some(id) = &pad.pad_id else {
        return match remove_attempt(facts) {
            Step::SetFinalizer(false) => take_flag_off(facts).unwrap_or(Step::SetFinalizer(false)),
            step => step,
        };
    };
    if let Claimed::MayStillLand { rest } = facts.claimed
        && !pad.linked
    {
        return Step::Rest { outcome: Outcome::Undecided, again: Some(rest) };
    }
    let record = match &facts.record {
        Record::NotRead => return Step::ReadPad(id.clone()),
        // contract I3
        Record::Read(record) if installation::foreign(facts, record).is_some() => {
            return Step::SetFinalizer(false);
        }
        Record::Read(record) => Some(record),
        Record::NotFound => None,
    };
    let opportunity = match &facts.opportunity {
        Candidate::NotRead => return Step::ReadOpportunity,
        Candidate::Read(opportunity) => Some(opportunity),
        Candidate::NotFound | Candidate::Refused => None,
    };
    let url = record.map(|record| &record.url).or(pad.url.as_ref());
    let link = url.filter(|url| opportunity.is_some_and(|opportunity| opportunity.links.contains(url)));
    if let Some(url) = link
        && pad.deletion_policy != DeletionPolicy::Retain
    {
        return Step::RemoveLink(url.clone());
    }
    if pad.deletion_policy != DeletionPolicy::Retain
        && let Some(opportunity) = opportunity
    {
        let tags = own_tags(facts, opportunity);
        if !tags.is_empty() {
            return Step::RemoveTags(tags);
        }
    }
    let linked = link.is_some() || pad.linked || facts.link_removed;
    match record {
        Some(record)
            if !record.is_deleted() && !facts.deleted.contains(&record.id) && must_delete(pad, linked) =>
        {
            Step::DeletePad(record.id.clone())
        }
        _ => Step::SetFinalizer(false),
    }
}

/// The tags on the candidate that the operator puts there, unless they tell of another interview by now.
fn own_tags(facts: &Facts, opportunity: &Opportunity) -> Vec<String> {
    // The tags on the candidate may be those of the other installation.
    if facts.others.iter().any(Member::is_open) || facts.ownership.reported.is_some() {
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

/// Of a Pad that has made no pad only the tag of its failure can be on the candidate.
fn take_flag_off(facts: &Facts) -> Option<Step> {
    let configured = facts.write_back.as_ref().and_then(|write_back| write_back.tags.failed.as_ref());
    if facts.pad.deletion_policy == DeletionPolicy::Retain
        || (configured.is_none() && facts.pad.failed_tag.is_none())
    {
        return None;
    }
    let opportunity = match &facts.opportunity {
        Candidate::NotRead => return Some(Step::ReadOpportunity),
        Candidate::Read(opportunity) => opportunity,
        Candidate::NotFound | Candidate::Refused => return None,
    };
    Some(own_tags(facts, opportunity)).filter(|tags| !tags.is_empty()).map(Step::RemoveTags)
}

/// Whether deleting the Pad leaves all as it is.
fn retained(pad: &PadFacts) -> bool {
    // A person ended it before it was linked: it stays as it is (contract E6, E9).
    let is_over = pad.phase == Some(Phase::Ended);
    pad.deletion_policy == DeletionPolicy::Retain && (pad.linked || is_over || !pad.has_made_one())
}

/// Whether the pad at CoderPad goes with the Pad: by policy, or because nobody was ever given its link.
fn must_delete(pad: &PadFacts, linked: bool) -> bool {
    pad.deletion_policy == DeletionPolicy::Delete || !linked
}

fn remove_attempt(facts: &Facts) -> Step {
    if facts.pad.attempt.is_none() {
        return Step::SetFinalizer(false);
    }
    match &facts.flight {
        // A pad that is found is the right one, however early it shows (contract X5a).
        Flight::MayStillLand { search_in, .. }
            if search_in.is_zero()
                && let Some(attempt) = facts.pad.open_attempt() =>
        {
            Step::Search { reference: attempt.reference.clone() }
        }
        Flight::MayStillLand { rest, search_in } => {
            Step::Rest { outcome: Outcome::Undecided, again: Some(*rest.min(search_in)) }
        }
        Flight::WithoutEffect => Step::SetFinalizer(false),
        Flight::Landed => match facts.pad.open_attempt() {
            Some(attempt) => Step::Search { reference: attempt.reference.clone() },
            None => Step::SetFinalizer(false),
        },
        Flight::Searched(found) => match found.last() {
            Some(record) => Step::DeletePad(record.id.clone()),
            None => Step::SetFinalizer(false),
        },
    }
}
