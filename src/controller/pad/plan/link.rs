//! From a pad at CoderPad to its link on the candidate.

use super::record::keep_linked;
use super::{Outcome, Step, installation, rest};
use crate::api::configuration::{DeletionPolicy, PadType};
use crate::api::names::Effect;
use crate::controller::pad::facts::{Candidate, Claimed, ConfigurationFacts, Facts, Record};
use crate::controller::pad::reason::Reason;
use crate::interview::{PadKind, PadRecord};

/// There is a pad at CoderPad: store its id, then link it.
pub(super) fn link(facts: &Facts) -> Step {
    let pad = &facts.pad;
    if let Claimed::MayStillLand { rest } = facts.claimed {
        let message = "It is not known whether Lever has the link already: what is under way is waited for, then the link is looked for before it is added; nobody has to act.";
        return Step::Rest {
            outcome: Outcome::Waiting(Reason::LeverUnavailable, message.into()),
            again: Some(rest),
        };
    }
    let record = match (&facts.record, &pad.pad_id) {
        (Record::Read(record), _) => record,
        (Record::NotRead, Some(id)) => return Step::ReadPad(id.clone()),
        (Record::NotFound, _) => return rest(Outcome::PadDeleted),
        (Record::NotRead, None) => return rest(Outcome::Undecided),
    };
    // contract I3
    if let Some(id) = installation::foreign(facts, record) {
        return installation::owned(facts, id);
    }
    if record.is_deleted() {
        return rest(Outcome::PadDeleted);
    }
    if pad.pad_id.is_none() && wants_take_home(facts) && record.kind != PadKind::TakeHome {
        return refuse_live(facts, record);
    }
    if pad.pad_id.is_none() {
        return store(facts, record);
    }
    // A row of a list may come without the link.
    if record.url.is_empty() {
        return Step::ReadPad(record.id.clone());
    }
    if facts.link_written {
        return keep_linked(facts);
    }
    match &facts.opportunity {
        Candidate::NotRead => Step::ReadOpportunity,
        Candidate::Read(opportunity) if opportunity.links.contains(&record.url) => keep_linked(facts),
        // contract I4
        Candidate::Read(_) if let Some(step) = installation::not_beside_another(facts, record) => step,
        Candidate::Read(_) if facts.claimed == Claimed::Ours(Effect::Link) => {
            Step::AddLink(record.url.clone())
        }
        Candidate::Read(_) => Step::Claim(Effect::Link),
        // Nobody can be given the link any more.
        Candidate::NotFound | Candidate::Refused if !facts.deleted.contains(&record.id) => {
            Step::DeletePad(record.id.clone())
        }
        Candidate::NotFound | Candidate::Refused => rest(Outcome::Skipped(
            Reason::CandidateNotFound,
            "The candidate went out of sight in Lever before the link could be added: the pad was deleted at CoderPad.".into(),
        )),
    }
}

/// A live pad where a take-home was asked for is deleted at once and never linked.
fn refuse_live(facts: &Facts, record: &PadRecord) -> Step {
    if !facts.deleted.contains(&record.id) {
        return Step::DeletePad(record.id.clone());
    }
    if facts.pad.open_attempt().is_some() {
        return Step::ForgetAttempt;
    }
    let message = "CoderPad made a live pad where a take-home was asked for; it was deleted at once. Ask CoderPad whether your plan has take-homes and whether the question may be used as one, then annotate this Pad with padoperator.dev/reconcile-requested-at.";
    rest(Outcome::Failed(Reason::TakeHomeRefused, message.into()))
}

pub(super) fn wants_take_home(facts: &Facts) -> bool {
    matches!(&facts.configuration, ConfigurationFacts::Ready(rule) if rule.type_ == PadType::TakeHome)
}

/// Stores the id. Where the link follows at once, the Pad needs no finalizer of its own for that.
pub(super) fn store(facts: &Facts, record: &PadRecord) -> Step {
    let follows = |links: &[String]| !record.url.is_empty() && !links.contains(&record.url);
    Step::StorePad {
        record: Box::new(record.clone()),
        keep_finalizer: facts.pad.deletion_policy != DeletionPolicy::Retain,
        claim_link: matches!(&facts.opportunity, Candidate::Read(opportunity) if follows(&opportunity.links)),
    }
}
