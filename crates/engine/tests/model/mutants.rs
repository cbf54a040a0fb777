//! Mutants of the protocol, each of which the model must find: a model that finds nothing proves nothing.
//!
//! The unchanged protocol holds in the same scenarios (see `scenarios`).

use super::properties::{
    FLAG_GONE, LINK_ONCE, NONE_LEFT, NOT_AGAIN, NOT_LOST, NOTE_ONCE, ONE_IN_THE_END, UNTOUCHED,
};
use super::world::{FaultBudget, InitialPad, Mutant, NONE, Scenario, Spec};
use api::configuration::DeletionPolicy;

/// Returns a scenario with one process that crashes or does not receive an answer.
fn one(mutant: Mutant) -> Scenario {
    let faults = FaultBudget { crashes: 1, creates: 1, ..NONE };
    Scenario { mutant: Some(mutant), ..Scenario::calm() }.with(faults)
}

/// Returns a scenario with two processes, of which the second becomes the leader.
fn two(mutant: Mutant) -> Scenario {
    let faults = FaultBudget { handovers: 1, ..NONE };
    Scenario { processes: 2, mutant: Some(mutant), ..Scenario::calm() }.with(faults)
}

#[test]
fn no_intention() {
    one(Mutant::NoAttempt).breaks("no intention", NONE_LEFT);
}

#[test]
fn no_wait_before_the_search() {
    one(Mutant::NoWait).breaks("no wait", NONE_LEFT);
}

#[test]
fn blind_retry_after_an_unknown_outcome() {
    one(Mutant::BlindRetry).breaks("blind retry", NONE_LEFT);
}

#[test]
fn an_intention_that_does_not_fail_on_a_conflict() {
    two(Mutant::AttemptWithoutConflict).breaks("intention without conflict", NONE_LEFT);
}

#[test]
fn a_wait_from_the_intentions_own_clock() {
    two(Mutant::ClockOfTheMark).breaks("the intention's clock", NONE_LEFT);
}

#[test]
fn a_link_before_the_id_is_stored() {
    two(Mutant::LinkBeforeStore).breaks("link before the ID is stored", LINK_ONCE);
}

#[test]
fn deliveries_distinguished_by_their_id() {
    let faults = FaultBudget { deliveries: 1, ..NONE };
    let scenario = Scenario { mutant: Some(Mutant::DeliveryIds), ..Scenario::calm() };
    scenario.with(faults).breaks("dedupe by delivery id", NOT_LOST);
}

#[test]
fn a_reference_from_the_uid() {
    let faults = FaultBudget { recreations: 1, ..NONE };
    let scenario = Scenario { mutant: Some(Mutant::ReferenceFromUid), ..Scenario::calm() };
    scenario.with(faults).breaks("reference from the uid", NONE_LEFT);
}

#[test]
fn a_link_without_a_claim() {
    let mutant = Some(Mutant::WriteWithoutClaim);
    let scenario =
        Scenario { processes: 2, all_lead: true, initial: InitialPad::Stored, mutant, ..Scenario::calm() };
    scenario.breaks("link without a claim", LINK_ONCE);
}

#[test]
fn a_note_without_a_claim() {
    let faults = FaultBudget { ends: 1, ..NONE };
    let mutant = Some(Mutant::WriteWithoutClaim);
    let scenario =
        Scenario { processes: 2, all_lead: true, initial: InitialPad::Open, mutant, ..Scenario::calm() };
    scenario.with(faults).breaks("note without a claim", NOTE_ONCE);
}

#[test]
fn a_link_that_leaves_late() {
    let faults = FaultBudget { handovers: 1, ..NONE };
    let scenario =
        Scenario { processes: 2, delayed_sends: true, mutant: Some(Mutant::LateWrite), ..Scenario::calm() };
    scenario.with(faults).breaks("late link", LINK_ONCE);
}

#[test]
fn a_served_entry_stored_only_on_its_pad() {
    let faults = FaultBudget { deletions: 1, repeats: 1, ..NONE };
    let mutant = Some(Mutant::ForgetServed);
    let scenario =
        Scenario { policy: DeletionPolicy::Delete, initial: InitialPad::Open, mutant, ..Scenario::calm() };
    scenario.with(faults).breaks("served entry forgotten", NOT_AGAIN);
}

fn two_installations(mutant: Mutant) -> Scenario {
    Scenario { processes: 2, two_clusters: true, all_lead: true, mutant: Some(mutant), ..Scenario::calm() }
}

#[test]
fn pads_of_the_other_installation_count_as_own() {
    two_installations(Mutant::MixedInstallations).breaks("installations that are mixed up", UNTOUCHED);
}

#[test]
fn no_check_follows_the_link() {
    two_installations(Mutant::NoOwnershipCheck).breaks("no second look", ONE_IN_THE_END);
}

#[test]
fn the_same_id_stored_by_two_processes() {
    two(Mutant::StoreNotExclusive).breaks("the ID is stored twice", LINK_ONCE);
}

#[test]
fn sync_that_forgets_served_entries() {
    let faults = FaultBudget { deletions: 1, ..NONE };
    let scenario = Scenario {
        sync: true,
        policy: DeletionPolicy::Delete,
        initial: InitialPad::Open,
        mutant: Some(Mutant::ForgetServed),
        ..Scenario::calm()
    };
    scenario.with(faults).breaks("served entry forgotten, sync", NOT_AGAIN);
}

#[test]
fn sync_that_creates_no_pads() {
    let mutant = Some(Mutant::SyncCreatesNothing);
    Scenario { sync: true, initial: InitialPad::Absent, mutant, ..Scenario::calm() }
        .with(FaultBudget { deletions: 1, ..NONE })
        .breaks("sync creates nothing", NOT_LOST);
}

#[test]
fn a_missing_candidate_that_is_not_confirmed() {
    let scenario = Scenario { mutant: Some(Mutant::BelievedMissing), ..Scenario::calm() };
    scenario.with(FaultBudget { missing: 1, ..NONE }).breaks("404 believed", NOT_LOST);
}

#[test]
fn an_expired_pad_deleted_in_a_newer_version() {
    let spec = Spec { ttl: true, ..Spec::default() };
    let mutant = Some(Mutant::ExpiredWithoutConflict);
    let faults = FaultBudget { slow_scans: 1, moves: 2, ..NONE };
    Scenario { spec, mutant, ..Scenario::calm() }.with(faults).breaks("TTL without conflict", NOT_LOST);
}

#[test]
fn a_failure_tag_that_is_not_removed() {
    let spec = Spec { failed_tag: true, ..Spec::default() };
    let mutant = Some(Mutant::KeptTag);
    let faults = FaultBudget { refusals: 1, retries: 1, ..NONE };
    Scenario { spec, mutant, ..Scenario::calm() }.with(faults).breaks("failure tag kept", FLAG_GONE);
}
