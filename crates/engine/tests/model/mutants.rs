//! Mutants of the protocol, each of which the model must find: a model that finds nothing proves nothing.
//!
//! The unchanged protocol holds in the same scenarios (see `scenarios`).

use super::properties::{LINK_ONCE, NONE_LEFT, NOT_AGAIN, NOT_LOST, NOTE_ONCE, ONE_IN_THE_END, UNTOUCHED};
use super::state::{Begins, FaultBudget, Scenario, Wrong};
use api::configuration::DeletionPolicy;

/// Returns a scenario with one process that crashes or does not receive an answer.
fn one(wrong: Wrong) -> Scenario {
    let faults = FaultBudget { crashes: 1, creates: 1, ..FaultBudget::default() };
    Scenario { wrong: Some(wrong), ..Scenario::calm() }.with(faults)
}

/// Returns a scenario with two processes, of which the second becomes the leader.
fn two(wrong: Wrong) -> Scenario {
    let faults = FaultBudget { handovers: 1, ..FaultBudget::default() };
    Scenario { processes: 2, wrong: Some(wrong), ..Scenario::calm() }.with(faults)
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
fn deliveries_distinguished_by_their_id() {
    let faults = FaultBudget { deliveries: 1, ..FaultBudget::default() };
    let world = Scenario { wrong: Some(Wrong::DeliveryIds), ..Scenario::calm() };
    world.with(faults).breaks("dedupe by delivery id", NOT_LOST);
}

#[test]
fn a_reference_from_the_uid() {
    let faults = FaultBudget { crashes: 1, restores: 1, ..FaultBudget::default() };
    let world = Scenario { wrong: Some(Wrong::ReferenceFromUid), ..Scenario::calm() };
    world.with(faults).breaks("reference from the uid", NONE_LEFT);
}

#[test]
fn a_link_without_a_claim() {
    let wrong = Some(Wrong::WriteWithoutClaim);
    let world = Scenario { processes: 2, all_lead: true, begins: Begins::Stored, wrong, ..Scenario::calm() };
    world.breaks("link without a claim", LINK_ONCE);
}

#[test]
fn a_note_without_a_claim() {
    let faults = FaultBudget { ends: 1, ..FaultBudget::default() };
    let wrong = Some(Wrong::WriteWithoutClaim);
    let world = Scenario { processes: 2, all_lead: true, begins: Begins::Open, wrong, ..Scenario::calm() };
    world.with(faults).breaks("note without a claim", NOTE_ONCE);
}

#[test]
fn a_link_that_leaves_late() {
    let faults = FaultBudget { handovers: 1, ..FaultBudget::default() };
    let world = Scenario { processes: 2, frozen: true, wrong: Some(Wrong::LateWrite), ..Scenario::calm() };
    world.with(faults).breaks("late link", LINK_ONCE);
}

#[test]
fn a_served_entry_stored_only_on_its_pad() {
    let faults = FaultBudget { deletions: 1, repeats: 1, ..FaultBudget::default() };
    let wrong = Some(Wrong::ForgetServed);
    let world = Scenario { policy: DeletionPolicy::Delete, begins: Begins::Open, wrong, ..Scenario::calm() };
    world.with(faults).breaks("served entry forgotten", NOT_AGAIN);
}

fn two_installations(wrong: Wrong) -> Scenario {
    Scenario { processes: 2, apart: true, all_lead: true, wrong: Some(wrong), ..Scenario::calm() }
}

#[test]
fn pads_of_the_other_installation_count_as_own() {
    two_installations(Wrong::NoInstallations).breaks("installations that are mixed up", UNTOUCHED);
}

#[test]
fn no_check_follows_the_link() {
    two_installations(Wrong::NoContest).breaks("no second look", ONE_IN_THE_END);
}
