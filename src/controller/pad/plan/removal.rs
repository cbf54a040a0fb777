//! A Pad that is being deleted.

use super::{Outcome, Step, connection_not_usable, rest};
use crate::api::configuration::DeletionPolicy;
use crate::controller::pad::facts::{Candidate, ConnectionFacts, Facts, Flight, PadFacts, Record};

/// A Pad that is being deleted: what is in mid-flight is resolved first, then the policy is followed.
pub(super) fn removal(facts: &Facts) -> Step {
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
    if retained(pad) {
        return Step::SetFinalizer(false);
    }
    let Some(id) = &pad.pad_id else { return remove_attempt(facts) };
    if let Some(rest) = facts.link_flight {
        return Step::Rest { outcome: Outcome::Undecided, again: Some(rest) };
    }
    match (&facts.opportunity, &facts.record) {
        (Candidate::NotRead, _) => Step::ReadOpportunity,
        (_, Record::NotRead) => Step::ReadPad(id.clone()),
        (Candidate::Read(opportunity), Record::Read(record)) if opportunity.links.contains(&record.url) => {
            match pad.deletion_policy {
                DeletionPolicy::Retain => Step::SetFinalizer(false),
                DeletionPolicy::Unlink | DeletionPolicy::Delete => Step::RemoveLink(record.url.clone()),
            }
        }
        (_, Record::Read(record))
            if must_delete(pad) && !record.is_deleted() && !facts.deleted.contains(&record.id) =>
        {
            Step::DeletePad(record.id.clone())
        }
        (_, Record::Read(_) | Record::NotFound) => Step::SetFinalizer(false),
    }
}

/// Whether deleting the Pad leaves all as it is.
fn retained(pad: &PadFacts) -> bool {
    pad.deletion_policy == DeletionPolicy::Retain && pad.linked
}

/// Whether the pad at CoderPad goes with the Pad: by policy, or because nobody was ever given its link.
fn must_delete(pad: &PadFacts) -> bool {
    pad.deletion_policy == DeletionPolicy::Delete || !pad.linked
}

fn remove_attempt(facts: &Facts) -> Step {
    if facts.pad.attempt.is_none() {
        return Step::SetFinalizer(false);
    }
    match &facts.flight {
        Flight::MayStillLand { rest } => Step::Rest { outcome: Outcome::Undecided, again: Some(*rest) },
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
