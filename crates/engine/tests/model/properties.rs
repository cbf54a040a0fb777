//! The properties of the protocol. Some must hold in every state, others only in states in which nothing more happens
//! automatically.

use super::world::{CoderPad, InitialPad, ModelState, Scenario, StoredObject};
use api::pad::Phase;
use stateright::Property;
use std::collections::BTreeSet;

pub const ONE_LINKED: &str = "at most one pad is linked";
pub const ONE_IN_THE_END: &str = "in the end at most one pad is linked";
pub const UNTOUCHED: &str = "no installation touches a pad of the other";
pub const LINK_ONCE: &str = "a link is added once";
pub const NOTE_ONCE: &str = "a note is written once";
pub const NOTE_THERE: &str = "an interview that has ended has its note";
pub const LINKED_LIVES: &str = "a linked pad is not deleted";
pub const ELIGIBLE: &str = "no pad without an eligible candidate";
pub const NONE_LEFT: &str = "no pad is left behind";
pub const SETTLED: &str = "every Pad is settled in the end";
pub const NOT_AGAIN: &str = "an entry has a linked pad once, also if its Pad is deleted";
pub const NOT_LOST: &str = "what was acknowledged is not lost";
const LINKED_IN_THE_END: &str = "of two installations one has its pad linked in the end";
pub const FLAG_GONE: &str = "a failure tag shows a failed Pad in the end";
pub const FLAG_THERE: &str = "a failed Pad has its failure tag in the end";
pub const STAYS_REMOVED: &str = "a link that a person removed is not added again";

/// Returns all properties.
pub fn all() -> Vec<Property<Scenario>> {
    vec![
        Property::always(ONE_LINKED, |scenario: &Scenario, state: &ModelState| {
            scenario.two_clusters || state.candidate.links.iter().collect::<BTreeSet<_>>().len() <= 1
        }),
        Property::always(ONE_IN_THE_END, |scenario: &Scenario, state: &ModelState| {
            state.candidate.links.len() <= 1 || !scenario.is_quiet(state)
        }),
        Property::always(UNTOUCHED, |_, state: &ModelState| !state.touched_foreign),
        Property::always(LINK_ONCE, |_, state: &ModelState| is_once(&state.candidate.links)),
        Property::always(NOTE_ONCE, |_, state: &ModelState| is_once(&state.candidate.notes)),
        Property::always(NOTE_THERE, |scenario: &Scenario, state: &ModelState| {
            let lacks_note = |object: &StoredObject| {
                let mut pads = state.pads.iter();
                pads.any(|pad| {
                    has_pad(object, pad)
                        && pad.ended
                        && !pad.deleted
                        && !state.candidate.notes.contains(&pad.id)
                })
            };
            // The note of a confidential candidate is given up.
            let was_confidential = state.left.confidences < scenario.faults.confidences;
            was_confidential || !state.objects.iter().flatten().any(lacks_note) || !scenario.is_quiet(state)
        }),
        // Both of two installations may link a pad before one of them yields.
        Property::always(NOT_AGAIN, |scenario: &Scenario, state: &ModelState| {
            let linked = |pad: &&CoderPad| state.ever_linked.contains(&pad.id);
            let references: Vec<_> =
                state.pads.iter().filter(linked).map(|pad| &pad.notes.value().reference).collect();
            scenario.two_clusters || is_once(&references)
        }),
        Property::always(LINKED_LIVES, |_, state: &ModelState| {
            state.pads.iter().all(|pad| !pad.deleted || !state.candidate.links.contains(&pad.id))
        }),
        Property::always(ELIGIBLE, |_, state: &ModelState| !state.created_ineligible),
        Property::always(NONE_LEFT, |scenario: &Scenario, state: &ModelState| {
            let alive = || state.pads.iter().filter(|pad| !pad.deleted);
            let is_unlinked = |pad: &CoderPad| !state.candidate.links.contains(&pad.id);
            // A person who removes a link leaves its pad to the operator.
            let is_left = alive().count() > 1 || scenario.faults.unlinks == 0 && alive().any(is_unlinked);
            !is_left || !scenario.is_quiet(state)
        }),
        Property::always(LINKED_IN_THE_END, |scenario: &Scenario, state: &ModelState| {
            let is_deleted = |object: &Option<StoredObject>| object.is_none_or(|one| one.pad.stored.deleting);
            let is_expected = scenario.two_clusters
                && state.candidate.is_eligible()
                && !state.objects.iter().any(is_deleted);
            !is_expected || !state.candidate.links.is_empty() || !scenario.is_quiet(state)
        }),
        Property::always(STAYS_REMOVED, |scenario: &Scenario, state: &ModelState| {
            let has_removed = state.left.unlinks < scenario.faults.unlinks;
            !has_removed || state.candidate.links.is_empty()
        }),
        Property::always(SETTLED, |scenario: &Scenario, state: &ModelState| {
            let is_settled = state.objects.iter().flatten().all(|object| {
                let stored = &object.pad.stored;
                let has_failed = scenario.spec.failed_tag && stored.phase == Some(Phase::Failed);
                (has_failed || matches!(stored.phase, Some(Phase::Open | Phase::Skipped | Phase::Ended)))
                    && !stored.requested
                    && !stored.deleting
            });
            is_settled || !scenario.is_quiet(state)
        }),
        Property::always(FLAG_GONE, |scenario: &Scenario, state: &ModelState| {
            !state.candidate.flagged || has_failed_pad(state) || !scenario.is_quiet(state)
        }),
        Property::always(FLAG_THERE, |scenario: &Scenario, state: &ModelState| {
            let is_missing = scenario.spec.failed_tag && !state.candidate.flagged && has_failed_pad(state);
            !is_missing || !state.candidate.is_eligible() || !scenario.is_quiet(state)
        }),
        Property::always(NOT_LOST, |scenario: &Scenario, state: &ModelState| {
            let is_served = || {
                !state.candidate.is_eligible()
                    || has_failed_pad(state)
                    || !state.candidate.links.is_empty()
                    || state.served.contains(&state.candidate.entry)
            };
            let has_pad = || state.objects.iter().flatten().any(|object| !object.pad.stored.deleting);
            // Sync finds each candidate, also if no delivery was stored.
            // The TTL deletes the Pad of a candidate who has left.
            let may_be_gone = scenario.sync || scenario.spec.ttl && !state.candidate.is_eligible();
            let is_kept = || is_served() && (may_be_gone || has_pad());
            !(state.delivery_answered || scenario.sync) || is_kept() || !scenario.is_quiet(state)
        }),
        Property::sometimes("a pad is linked and the Pad is Open", |_, state: &ModelState| {
            let is_open = |object: &StoredObject| object.pad.stored.phase == Some(Phase::Open);
            state.objects.iter().flatten().any(is_open) && !state.candidate.links.is_empty()
        }),
        Property::sometimes("it settles", |scenario: &Scenario, state: &ModelState| scenario.is_quiet(state)),
        Property::sometimes("sync, a limit, a refusal or a backup has an effect", |scenario, state| {
            scenario.has_effect(state)
        }),
    ]
}

fn has_failed_pad(state: &ModelState) -> bool {
    state.objects.iter().flatten().any(|object| object.pad.stored.phase == Some(Phase::Failed))
}

fn has_pad(object: &StoredObject, pad: &CoderPad) -> bool {
    object.pad.stored.pad_id.as_deref() == Some(&super::objects::pad_id(pad.id))
}

fn is_once<T: Ord>(all: &[T]) -> bool {
    all.iter().collect::<BTreeSet<_>>().len() == all.len()
}

impl Scenario {
    /// Reports whether nothing more happens automatically: the leader has nothing to do and nothing to wait for.
    pub fn is_quiet(&self, state: &ModelState) -> bool {
        // The cheap checks are first, because the model calls this function for every state.
        let is_busy = state
            .processes
            .iter()
            .any(|process| process.passes.iter().any(Option::is_some) || process.list.is_some())
            || !state.creates.is_empty()
            || !state.lever_writes.is_empty()
            || state.deliveries.iter().any(|delivery| !delivery.answered);
        if is_busy {
            return false;
        }
        let mut actions = Vec::new();
        // A repeated delivery is a new fault.
        let mut at_rest = state.clone();
        at_rest.left.repeats = 0;
        self.progress(&at_rest, &mut actions);
        actions.into_iter().all(|action| self.after(&at_rest, action).is_none())
    }

    /// Reports whether the scenario's special fault was used and the Pad is Open nevertheless.
    fn has_effect(&self, state: &ModelState) -> bool {
        let (all, left) = (&self.faults, &state.left);
        let is_open = |object: &StoredObject| object.pad.stored.phase == Some(Phase::Open);
        let is_used = [
            (all.limits, left.limits),
            (all.refusals, left.refusals),
            (all.api_answers, left.api_answers),
            (all.backups, left.backups),
        ]
        .iter()
        .all(|(all, left)| *all == 0 || *left == 0);
        is_used && (self.initial == InitialPad::Open || state.objects.iter().flatten().any(is_open))
    }
}
