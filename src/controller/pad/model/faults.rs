//! Faults that the model has found in the protocol as it is. Each test shows one, by its shortest way, and fails once
//! the fault is mended: then it moves to the worlds in which the protocol holds.

use super::properties::{LINK_ONCE, LINKED_LIVES, NONE_LEFT, NOT_LOST};
use super::state::{Trouble, World};
use crate::api::configuration::DeletionPolicy;

/// A write that fails is read back, and counts as one's own if its content stands there. Of two processes that store
/// the same pad's id both then believe that the link is theirs to add.
#[test]
fn two_store_the_same_id_and_both_add_the_link() {
    let trouble = Trouble { handovers: 1, ..Trouble::default() };
    let world = World { processes: 2, ..World::calm() };
    world.with(trouble).breaks("the id is stored by two", LINK_ONCE);
}

/// Nothing holds back a leader that was deposed between the storing of the id and the sending of the link.
#[test]
fn a_deposed_leader_adds_the_link_late() {
    let trouble = Trouble { handovers: 1, ..Trouble::default() };
    let world = World { processes: 2, reads_back: false, slow_link: true, ..World::calm() };
    world.with(trouble).breaks("a late link of a deposed leader", LINK_ONCE);
}

/// After a crash both of two leaders find the id, wait, find no link, and add it: comparing and adding are two calls.
#[test]
fn two_leaders_compare_and_add_the_link() {
    let trouble = Trouble { crashes: 1, ..Trouble::default() };
    let world = World { processes: 2, reads_back: false, all_lead: true, ..World::calm() };
    world.with(trouble).breaks("two leaders add the link", LINK_ONCE);
}

/// One's own request whose answer was lost is not waited for before the link is looked for.
#[test]
fn a_link_that_appears_after_its_answer_was_lost() {
    let trouble = Trouble { links: 1, ..Trouble::default() };
    let world = World { late_link: true, ..World::calm() };
    world.with(trouble).breaks("a link after a lost answer", LINK_ONCE);
}

/// With Retain the finalizer goes when the id is stored, before there is a link: who deletes the Pad then leaves behind
/// a pad that nobody was given.
#[test]
fn a_retained_pad_is_deleted_before_its_link() {
    let trouble = Trouble { deletions: 1, ..Trouble::default() };
    World::calm().with(trouble).breaks("deleted before the link", NONE_LEFT);
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

/// The annotation holds one request. A delivery that was judged already and is repeated (its answer was lost) takes the
/// place of a later one that was not judged yet, and looks as if nothing were to be done.
#[test]
fn a_repeated_delivery_hides_a_later_one() {
    let trouble = Trouble { deliveries: 1, repeats: 1, moves: 2, ..Trouble::default() };
    let world = World { old_hides_new: true, ..World::calm() };
    world.with(trouble).breaks("a repeated delivery hides a later one", NOT_LOST);
}
