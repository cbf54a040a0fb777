//! Cases that the protocol does not cover. Each test shows the shortest path to one case, and fails as soon as the
//! protocol is fixed. Then the test moves to the scenarios. `docs/exactly-once.md` describes the cases.

use super::properties::{LINK_ONCE, LINKED_LIVES, NONE_LEFT, STAYS_REMOVED};
use super::world::{FaultBudget, InitialPad, NONE, Scenario};

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
