//! Faults that the model has found in the protocol as it is. Each test shows one, by its shortest way, and fails once
//! the fault is mended: then it moves to the worlds in which the protocol holds.

use super::properties::{LINK_ONCE, LINKED_LIVES, NONE_LEFT};
use super::state::{Trouble, World};
use crate::api::configuration::DeletionPolicy;

/// Nothing holds back a leader that was deposed between the storing of the id and the sending of the link.
#[test]
fn a_deposed_leader_adds_the_link_late() {
    let trouble = Trouble { handovers: 1, ..Trouble::default() };
    let world = World { processes: 2, slow_link: true, ..World::calm() };
    world.with(trouble).breaks("a late link of a deposed leader", LINK_ONCE);
}

/// After a crash both of two leaders find the id, wait, find no link, and add it: comparing and adding are two calls.
#[test]
fn two_leaders_compare_and_add_the_link() {
    let trouble = Trouble { crashes: 1, ..Trouble::default() };
    let world = World { processes: 2, all_lead: true, ..World::calm() };
    world.with(trouble).breaks("two leaders add the link", LINK_ONCE);
}

/// A Pad that is deleted in mid-flight and the next one of the same entry share a reference: the search of the one
/// finds the pad of the other, and deletes it.
#[test]
fn a_pad_that_goes_takes_the_pad_of_the_next() {
    let trouble = Trouble { creates: 1, deletions: 1, repeats: 1, ..Trouble::default() };
    let world = World { policy: DeletionPolicy::Delete, ..World::calm() };
    world.with(trouble).breaks("the pad of the next one is deleted", LINKED_LIVES);
}

/// A Pad that loses its annotations while its pad is being made, or not yet linked, makes another.
#[test]
fn an_old_backup_in_mid_flight() {
    let trouble = Trouble { crashes: 1, recreations: 1, ..Trouble::default() };
    let world = World { old_backup: true, ..World::calm() };
    world.with(trouble).breaks("an old backup in mid-flight", NONE_LEFT);
}
