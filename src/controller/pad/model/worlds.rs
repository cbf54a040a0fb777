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

/// Two processes of which the second takes over. The first finishes what it has begun, however late; only a link that
/// it is about to send it sends in time.
fn handed_over() -> World {
    World { processes: 2, ..World::calm() }
}

/// Two processes that both lead, all the time. (The link needs one leader at a time: see the known faults.)
fn two_lead() -> World {
    World { processes: 2, all_lead: true, link_counts: false, ..World::calm() }
}

#[test]
fn a_leader_that_is_deposed_and_goes_on() {
    let trouble = Trouble { handovers: 1, creates: 1, ..NONE };
    handed_over().with(trouble).holds("deposed leader");
}

#[test]
fn a_leader_that_is_deposed_and_goes_on_and_crashes() {
    let trouble = Trouble { crashes: 1, handovers: 1, creates: 1, ..NONE };
    handed_over().with(trouble).holds("deposed leader that crashes");
}

#[test]
fn two_that_lead_at_once_make_one_pad() {
    two_lead().with(NONE).holds("two leaders, pads");
}

#[test]
fn two_that_lead_at_once_and_crash_make_one_pad() {
    two_lead().with(Trouble { crashes: 1, ..NONE }).holds("two leaders that crash, pads");
}

#[test]
fn candidates_that_move_and_deliveries_that_repeat() {
    let trouble = Trouble { deliveries: 1, repeats: 1, moves: 2, ..NONE };
    World::calm().with(trouble).holds("moves and deliveries");
}

#[test]
fn candidates_that_move_while_their_pad_is_made() {
    let trouble = Trouble { crashes: 1, creates: 1, moves: 2, ..NONE };
    World::calm().with(trouble).holds("moves and crashes");
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

/// With Retain the finalizer goes when the id is stored; a Pad that is being deleted by then keeps it.
#[test]
fn a_retained_pad_that_is_deleted_before_its_link() {
    World::calm().with(Trouble { deletions: 1, ..NONE }).holds("deleted before the link");
}

/// Of two processes that store the same pad's id only one may think that the link is its own to add.
#[test]
fn two_that_store_the_same_id() {
    let world = World { processes: 2, ..World::calm() };
    world.with(Trouble { handovers: 1, ..NONE }).holds("the id is stored by two");
}

/// One's own request whose answer was lost is waited out before the link is looked for.
#[test]
fn a_link_that_appears_after_its_answer_was_lost() {
    let world = World { late_link: true, ..World::calm() };
    world.with(Trouble { links: 1, ..NONE }).holds("a link after a lost answer");
}

/// The annotation holds one request: an older delivery that is repeated must not take the place of a later one.
#[test]
fn an_older_delivery_that_is_repeated() {
    let world = World { old_hides_new: true, ..World::calm() };
    world
        .with(Trouble { deliveries: 1, repeats: 1, moves: 2, ..NONE })
        .holds("an older delivery is repeated");
}
