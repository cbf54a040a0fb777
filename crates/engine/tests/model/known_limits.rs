//! Cases that the protocol does not cover. Each test shows the shortest path to one case, and fails as soon as the
//! protocol is fixed. Then the test moves to the scenarios. `docs/exactly-once.md` describes the cases.

use super::properties::{FLAG_GONE, LINK_ONCE, LINKED_LIVES, NONE_LEFT, STAYS_REMOVED};
use super::world::{FaultBudget, InitialPad, NONE, Scenario, Spec};
use api::configuration::DeletionPolicy;

/// If a Pad loses its annotations before its pad is created and linked, the operator creates a second pad.
#[test]
fn an_old_backup_in_mid_flight() {
    let faults = FaultBudget { crashes: 1, recreations: 1, ..NONE };
    let scenario = Scenario { early_restore: true, ..Scenario::calm() };
    scenario.with(faults).breaks("an old backup in mid-flight", NONE_LEFT);
}

/// With the policy Retain, the Pad has no finalizer between the write of the pad ID and the write of the link, which
/// follows immediately. If a person deletes the Pad in between and the link fails, the pad is left behind.
#[test]
fn a_retained_pad_that_is_deleted_before_a_link_that_fails() {
    let faults = FaultBudget { deletions: 1, ..NONE };
    let scenario = Scenario { delayed_sends: true, ..Scenario::calm() };
    scenario.with(faults).breaks("deleted before a link that fails", NONE_LEFT);
}

/// A backup from before the mark of a link is restored while the link is in flight: the link is added twice.
#[test]
fn an_old_backup_while_a_link_is_in_flight() {
    let faults = FaultBudget { backups: 2, ..NONE };
    let scenario = Scenario { early_restore: true, ..Scenario::calm() };
    scenario.with(faults).breaks("an old backup while a link is in flight", LINK_ONCE);
}

/// A restored Pad does not show that its link was on the candidate. If a person has removed the link meanwhile, the
/// operator adds it again: it cannot distinguish this from a link that was never added.
#[test]
fn a_removed_link_and_a_lost_status() {
    let faults = FaultBudget { unlinks: 1, restores: 1, ..NONE };
    let scenario = Scenario { initial: InitialPad::Open, ..Scenario::calm() };
    scenario.with(faults).breaks("a removed link and a lost status", STAYS_REMOVED);
}

/// The answer to the link of one installation is lost, and a later read of the candidate lacks that link. That pad then
/// yields although the pad of the other installation may have yielded to it, and it is deleted with its link in place.
#[test]
fn two_installations_and_a_lost_link() {
    let scenario = Scenario { processes: 2, two_clusters: true, all_lead: true, ..Scenario::calm() };
    let faults = FaultBudget { writes: 1, stale_reads: 1, ..NONE };
    scenario.with(faults).breaks("two installations and a lost link", LINKED_LIVES);
}

/// The process crashes after the link was added, and the candidate becomes confidential before the link is read. The pad
/// is deleted, as if its link had never been added.
#[test]
fn a_link_that_is_not_confirmed_on_a_confidential_candidate() {
    let faults = FaultBudget { crashes: 1, confidences: 1, ..NONE };
    let scenario = Scenario { early_confidence: true, ..Scenario::calm() };
    scenario.with(faults).breaks("a link on a confidential candidate", LINKED_LIVES);
}

/// The process crashes after the failure tag was added and before the status stores it. The Pad is deleted or skipped
/// before the operator adds the tag again: nothing shows that the tag is the operator's.
#[test]
fn a_failure_tag_that_is_not_stored() {
    let spec = Spec { failed_tag: true, ..Spec::default() };
    let scenario = Scenario { spec, policy: DeletionPolicy::Delete, ..Scenario::calm() };
    let faults = FaultBudget { refusals: 1, crashes: 1, deletions: 1, ..NONE };
    scenario.with(faults).breaks("a failure tag that is not stored", FLAG_GONE);
    let faults = FaultBudget { refusals: 1, crashes: 1, moves: 1, ..NONE };
    scenario.with(faults).breaks("a failure tag that is not stored, skipped", FLAG_GONE);
}
