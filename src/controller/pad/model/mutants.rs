//! Mutants of the protocol, each of which the model must find: a model that finds nothing proves nothing.
//!
//! The unchanged protocol holds in the same scenarios (see `scenarios`).

use super::properties::{LINK_ONCE, NONE_LEFT, NOT_AGAIN, NOT_LOST, NOTE_ONCE, ONE_IN_THE_END, UNTOUCHED};
use super::state::{Begins, Trouble, World, Wrong};
use crate::api::configuration::DeletionPolicy;

/// Returns a scenario with one process that crashes or does not receive an answer.
fn one(wrong: Wrong) -> World {
    let trouble = Trouble { crashes: 1, creates: 1, ..Trouble::default() };
    World { wrong: Some(wrong), ..World::calm() }.with(trouble)
}

/// Returns a scenario with two processes, of which the second becomes the leader.
fn two(wrong: Wrong) -> World {
    let trouble = Trouble { handovers: 1, ..Trouble::default() };
    World { processes: 2, wrong: Some(wrong), ..World::calm() }.with(trouble)
}

#[test]
fn no_intention() {
    one(Wrong::NoIntention).breaks("no intention", NONE_LEFT);
}

#[test]
fn no_wait_before_the_search() {
    one(Wrong::NoWait).breaks("no wait", NONE_LEFT);
}

#[test]
fn blind_retry_after_an_unknown_outcome() {
    one(Wrong::BlindRetry).breaks("blind retry", NONE_LEFT);
}

#[test]
fn an_intention_that_does_not_fail_on_a_conflict() {
    two(Wrong::IntentionWithoutConflict).breaks("intention without conflict", NONE_LEFT);
}

#[test]
fn a_wait_from_the_intentions_own_clock() {
    two(Wrong::IntentionsClock).breaks("the intention's clock", NONE_LEFT);
}

#[test]
fn a_link_before_the_id_is_stored() {
    two(Wrong::LinkBeforeStore).breaks("link before the ID is stored", LINK_ONCE);
}

#[test]
fn deliveries_told_by_their_id() {
    let trouble = Trouble { deliveries: 1, ..Trouble::default() };
    let world = World { wrong: Some(Wrong::DeliveryIds), ..World::calm() };
    world.with(trouble).breaks("dedupe by delivery id", NOT_LOST);
}

#[test]
fn a_reference_from_the_uid() {
    let trouble = Trouble { crashes: 1, restores: 1, ..Trouble::default() };
    let world = World { wrong: Some(Wrong::ReferenceFromUid), ..World::calm() };
    world.with(trouble).breaks("reference from the uid", NONE_LEFT);
}

#[test]
fn a_link_without_a_claim() {
    let wrong = Some(Wrong::WriteWithoutClaim);
    let world = World { processes: 2, all_lead: true, begins: Begins::Stored, wrong, ..World::calm() };
    world.breaks("link without a claim", LINK_ONCE);
}

#[test]
fn a_note_without_a_claim() {
    let trouble = Trouble { ends: 1, ..Trouble::default() };
    let wrong = Some(Wrong::WriteWithoutClaim);
    let world = World { processes: 2, all_lead: true, begins: Begins::Open, wrong, ..World::calm() };
    world.with(trouble).breaks("note without a claim", NOTE_ONCE);
}

#[test]
fn a_link_that_leaves_late() {
    let trouble = Trouble { handovers: 1, ..Trouble::default() };
    let world = World { processes: 2, frozen: true, wrong: Some(Wrong::LateWrite), ..World::calm() };
    world.with(trouble).breaks("late link", LINK_ONCE);
}

#[test]
fn a_served_entry_that_only_its_pad_knows_of() {
    let trouble = Trouble { deletions: 1, repeats: 1, ..Trouble::default() };
    let wrong = Some(Wrong::ForgetServed);
    let world = World { policy: DeletionPolicy::Delete, begins: Begins::Open, wrong, ..World::calm() };
    world.with(trouble).breaks("served entry forgotten", NOT_AGAIN);
}

fn two_installations(wrong: Wrong) -> World {
    World { processes: 2, apart: true, all_lead: true, wrong: Some(wrong), ..World::calm() }
}

#[test]
fn pads_of_the_other_installation_count_as_own() {
    two_installations(Wrong::NoInstallations).breaks("installations that are mixed up", UNTOUCHED);
}

#[test]
fn nobody_looks_again_after_its_link() {
    two_installations(Wrong::NoContest).breaks("no second look", ONE_IN_THE_END);
}
