//! What the protocol does not cover. Each test shows one such case, by its shortest way, and fails once it is mended: then
//! it moves to the worlds in which the protocol holds. `docs/exactly-once.md` tells of them.

use super::properties::NONE_LEFT;
use super::state::{Trouble, World};

/// A Pad that loses its annotations while its pad is being made, or not yet linked, makes another.
#[test]
fn an_old_backup_in_mid_flight() {
    let trouble = Trouble { crashes: 1, recreations: 1, ..Trouble::default() };
    let world = World { old_backup: true, ..World::calm() };
    world.with(trouble).breaks("an old backup in mid-flight", NONE_LEFT);
}

/// With Retain no finalizer holds a Pad between the storing of the id and its link, which follows at once. If just then
/// the Pad is deleted and the link fails, the pad stays behind.
#[test]
fn a_retained_pad_that_is_deleted_before_a_link_that_fails() {
    let trouble = Trouble { deletions: 1, ..Trouble::default() };
    let world = World { frozen: true, ..World::calm() };
    world.with(trouble).breaks("deleted before a link that fails", NONE_LEFT);
}
