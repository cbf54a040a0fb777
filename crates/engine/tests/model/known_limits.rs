//! Cases that the protocol does not cover. Each test shows the shortest path to one case, and fails as soon as the
//! protocol is fixed. Then the test moves to the scenarios. `docs/exactly-once.md` describes the cases.

use super::properties::NONE_LEFT;
use super::state::{FaultBudget, Scenario};

/// If a Pad loses its annotations before its pad is created and linked, the operator creates a second pad.
#[test]
fn an_old_backup_in_mid_flight() {
    let faults = FaultBudget { crashes: 1, recreations: 1, ..FaultBudget::default() };
    let world = Scenario { old_backup: true, ..Scenario::calm() };
    world.with(faults).breaks("an old backup in mid-flight", NONE_LEFT);
}

/// With the policy Retain, the Pad has no finalizer between the write of the pad ID and the write of the link, which
/// follows immediately. If a person deletes the Pad in between and the link fails, the pad is left behind.
#[test]
fn a_retained_pad_that_is_deleted_before_a_link_that_fails() {
    let faults = FaultBudget { deletions: 1, ..FaultBudget::default() };
    let world = Scenario { frozen: true, ..Scenario::calm() };
    world.with(faults).breaks("deleted before a link that fails", NONE_LEFT);
}
