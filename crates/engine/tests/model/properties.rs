//! The properties of the protocol. Some must hold in every state, others only in states in which nothing more happens
//! automatically.

use super::state::{CoderPad, Mark, ModelState, Object, Scenario};
use stateright::Property;
use std::collections::BTreeSet;

pub const ONE_LINKED: &str = "at most one pad is linked";
pub const ONE_IN_THE_END: &str = "in the end at most one pad is linked";
pub const UNTOUCHED: &str = "no installation touches a pad of the other";
pub const LINK_ONCE: &str = "a link is added once";
pub const NOTE_ONCE: &str = "a note is written once";
pub const NOTE_THERE: &str = "an interview that has ended has its note";
pub const LINKED_LIVES: &str = "a linked pad is not deleted";
pub const QUALIFIED: &str = "no pad without a candidate who qualifies";
pub const NONE_LEFT: &str = "no pad is left behind";
pub const SETTLED: &str = "every Pad is settled in the end";
pub const NOT_AGAIN: &str = "an entry has a linked pad once, also if its Pad is deleted";
pub const NOT_LOST: &str = "what was acknowledged is not lost";

/// Returns all properties.
pub fn all() -> Vec<Property<Scenario>> {
    vec![
        Property::always(ONE_LINKED, |world: &Scenario, state: &ModelState| {
            world.apart || state.person.links.iter().collect::<BTreeSet<_>>().len() <= 1
        }),
        Property::always(ONE_IN_THE_END, |world: &Scenario, state: &ModelState| {
            state.person.links.len() <= 1 || !world.is_quiet(state)
        }),
        Property::always(UNTOUCHED, |_, state: &ModelState| !state.touched),
        Property::always(LINK_ONCE, |_, state: &ModelState| is_once(&state.person.links)),
        Property::always(NOTE_ONCE, |_, state: &ModelState| is_once(&state.person.notes)),
        Property::always(NOTE_THERE, |world: &Scenario, state: &ModelState| {
            let lacks = |object: &Object| {
                let mut pads = state.pads.iter();
                let has_ended = pads.any(|pad| Some(pad.id) == object.pad && pad.ended && !pad.deleted);
                has_ended && !object.pad.is_some_and(|pad| state.person.notes.contains(&pad))
            };
            !state.objects.iter().flatten().any(lacks) || !world.is_quiet(state)
        }),
        // Both of two installations may link a pad before one of them yields.
        Property::always(NOT_AGAIN, |world: &Scenario, state: &ModelState| {
            let linked = |pad: &&CoderPad| state.ever_linked.contains(&pad.id);
            let entries: Vec<u8> = state.pads.iter().filter(linked).map(|pad| pad.entry).collect();
            world.apart || is_once(&entries)
        }),
        Property::always(LINKED_LIVES, |_, state: &ModelState| {
            state.pads.iter().all(|pad| !pad.deleted || !state.person.links.contains(&pad.id))
        }),
        Property::always(QUALIFIED, |_, state: &ModelState| !state.unqualified),
        Property::always(NONE_LEFT, |world: &Scenario, state: &ModelState| {
            let is_left = |state: &ModelState| {
                let alive = state.pads.iter().filter(|pad| !pad.deleted);
                alive.clone().count() > 1 || alive.clone().any(|pad| !state.person.links.contains(&pad.id))
            };
            !is_left(state) || !world.is_quiet(state)
        }),
        Property::always(SETTLED, |world: &Scenario, state: &ModelState| {
            let is_settled = state.objects.iter().flatten().all(|object| {
                matches!(object.phase, Some(Mark::Open | Mark::Skipped | Mark::Ended))
                    && object.asked == object.handled
                    && !object.deleting
            });
            is_settled || !world.is_quiet(state)
        }),
        Property::always(NOT_LOST, |world: &Scenario, state: &ModelState| {
            let is_kept = !state.told
                || (state.objects.iter().flatten().any(|object| !object.deleting)
                    && (!state.person.qualifies()
                        || !state.person.links.is_empty()
                        || state.served.contains(&state.person.entry)));
            is_kept || !world.is_quiet(state)
        }),
        Property::sometimes("a pad is linked and the Pad is Open", |_, state: &ModelState| {
            let is_open = state.objects.iter().flatten().any(|object| object.phase == Some(Mark::Open));
            is_open && !state.person.links.is_empty()
        }),
        Property::sometimes("it settles", |world: &Scenario, state: &ModelState| world.is_quiet(state)),
    ]
}

fn is_once(all: &[u8]) -> bool {
    all.iter().collect::<BTreeSet<_>>().len() == all.len()
}

impl Scenario {
    /// Reports whether nothing more happens automatically: the leader has nothing to do and nothing to wait for.
    pub fn is_quiet(&self, state: &ModelState) -> bool {
        // The cheap checks are first, because the model calls this function for every state.
        let is_busy = state.processes.iter().any(|process| process.passes.iter().any(Option::is_some))
            || !state.flights.is_empty()
            || !state.lever_flights.is_empty()
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
}
