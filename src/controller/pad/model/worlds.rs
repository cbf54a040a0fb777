//! The worlds in which the protocol must hold.

use super::state::{Trouble, World};
use crate::api::configuration::DeletionPolicy;

const NONE: Trouble = Trouble {
    crashes: 0,
    handovers: 0,
    creates: 0,
    links: 0,
    deliveries: 0,
    repeats: 0,
    moves: 0,
    restores: 0,
    recreations: 0,
    deletions: 0,
};

#[test]
fn a_calm_world() {
    World::calm().holds("calm");
}

#[test]
fn crashes_and_lost_answers() {
    let trouble = Trouble { crashes: 3, creates: 2, links: 2, ..NONE };
    World::calm().with(trouble).holds("crashes and lost answers");
}

/// The leader before finishes what it has begun, however late; only a link that it is about to send it sends in time.
#[test]
fn a_leader_that_is_deposed_and_goes_on() {
    let trouble = Trouble { crashes: 1, handovers: 1, creates: 1, ..NONE };
    World { processes: 2, reads_back: false, ..World::calm() }.with(trouble).holds("deposed leader");
}

/// Two processes that both lead all the time make one pad all the same. (The link needs more: see the known faults.)
#[test]
fn two_that_lead_at_once_make_one_pad() {
    let trouble = Trouble { crashes: 1, ..NONE };
    let world = World { processes: 2, all_lead: true, link_counts: false, ..World::calm() };
    world.with(trouble).holds("two leaders, pads");
}

#[test]
fn candidates_that_move_and_deliveries_that_repeat() {
    let trouble = Trouble { crashes: 1, creates: 1, deliveries: 1, repeats: 1, moves: 3, ..NONE };
    World::calm().with(trouble).holds("moves and deliveries");
}

#[test]
fn memory_that_is_lost() {
    let trouble =
        Trouble { crashes: 1, creates: 1, links: 1, repeats: 1, restores: 1, recreations: 1, ..NONE };
    World::calm().with(trouble).holds("lost memory");
}

#[test]
fn pads_that_are_deleted_with_their_pad() {
    let trouble = Trouble { crashes: 2, creates: 1, links: 1, deletions: 1, ..NONE };
    let world = World { policy: DeletionPolicy::Delete, ..World::calm() };
    world.with(trouble).holds("deletion");
}
