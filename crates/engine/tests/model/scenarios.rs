//! The scenarios in which the protocol must hold.

use super::state::{Begins, FaultBudget, Scenario};
use api::configuration::DeletionPolicy;

const NONE: FaultBudget = FaultBudget {
    crashes: 0,
    handovers: 0,
    creates: 0,
    writes: 0,
    deliveries: 0,
    repeats: 0,
    moves: 0,
    restores: 0,
    recreations: 0,
    deletions: 0,
    ends: 0,
};

#[test]
fn a_calm_world() {
    Scenario::calm().holds("calm");
}

#[test]
fn crashes_and_lost_answers() {
    let faults = FaultBudget { crashes: 3, creates: 2, writes: 2, ..NONE };
    Scenario::calm().with(faults).holds("crashes and lost answers");
}

/// Returns a scenario with two processes, of which the second becomes the leader. The first finishes its pass.
fn handed_over() -> Scenario {
    Scenario { processes: 2, ..Scenario::calm() }
}

/// Returns a scenario with two processes that both always act as the leader.
fn two_lead() -> Scenario {
    Scenario { processes: 2, all_lead: true, ..Scenario::calm() }
}

#[test]
fn a_deposed_leader_that_continues() {
    let faults = FaultBudget { handovers: 1, creates: 1, ..NONE };
    handed_over().with(faults).holds("deposed leader");
}

#[test]
fn a_deposed_leader_that_is_delayed() {
    let world = Scenario { frozen: true, ..handed_over() };
    world.with(FaultBudget { handovers: 1, ..NONE }).holds("deposed leader that is held up");
}

#[test]
fn a_deposed_leader_that_continues_and_crashes() {
    let faults = FaultBudget { crashes: 1, handovers: 1, ..NONE };
    handed_over().with(faults).holds("deposed leader that crashes");
}

#[test]
fn two_leaders_create_one_pad() {
    two_lead().with(NONE).holds("two leaders, pads");
}

#[test]
fn two_leaders_that_crash_create_one_pad() {
    two_lead().with(FaultBudget { crashes: 1, ..NONE }).holds("two leaders that crash, pads");
}

#[test]
fn candidates_that_move_and_deliveries_that_repeat() {
    let faults = FaultBudget { deliveries: 1, repeats: 1, moves: 2, ..NONE };
    Scenario::calm().with(faults).holds("moves and deliveries");
}

#[test]
fn candidates_that_move_while_their_pad_is_created() {
    let faults = FaultBudget { crashes: 1, creates: 1, moves: 2, ..NONE };
    Scenario::calm().with(faults).holds("moves and crashes");
}

#[test]
fn memory_that_is_lost() {
    let faults =
        FaultBudget { crashes: 1, creates: 1, writes: 1, repeats: 1, restores: 1, recreations: 1, ..NONE };
    Scenario::calm().with(faults).holds("lost memory");
}

#[test]
fn pads_that_are_deleted_with_their_pad() {
    let faults = FaultBudget { crashes: 2, creates: 1, writes: 1, deletions: 1, ..NONE };
    let world = Scenario { policy: DeletionPolicy::Delete, ..Scenario::calm() };
    world.with(faults).holds("deletion");
}

/// With the policy Retain, the write of the pad ID removes the finalizer. A Pad that is being deleted at that time
/// keeps it.
#[test]
fn a_retained_pad_that_is_deleted_before_its_link() {
    Scenario::calm().with(FaultBudget { deletions: 1, ..NONE }).holds("deleted before the link");
}

/// If two processes store the ID of the same pad, only one of them may claim the link.
#[test]
fn two_processes_that_store_the_same_id() {
    let world = Scenario { processes: 2, ..Scenario::calm() };
    world.with(FaultBudget { handovers: 1, ..NONE }).holds("the ID is stored by two");
}

/// If the answer of its own request is lost, the process waits for the end of the request before it checks for the
/// link.
#[test]
fn a_link_that_appears_after_its_answer_was_lost() {
    let world = Scenario { late_writes: true, ..Scenario::calm() };
    world.with(FaultBudget { writes: 1, ..NONE }).holds("a link after a lost answer");
}

/// The annotation contains one request. A repeated older delivery must not replace a later one.
#[test]
fn an_older_delivery_that_is_repeated() {
    let world = Scenario { old_hides_new: true, ..Scenario::calm() };
    world
        .with(FaultBudget { deliveries: 1, repeats: 1, moves: 2, ..NONE })
        .holds("an older delivery is repeated");
}

/// An interview ends. The outcome of its note is unknown if a process crashes or the answer is lost.
#[test]
fn a_note_with_crashes_and_lost_answers() {
    let faults = FaultBudget { crashes: 2, writes: 2, ends: 1, ..NONE };
    Scenario { begins: Begins::Open, late_writes: true, ..Scenario::calm() }.with(faults).holds("note");
}

#[test]
fn a_note_of_two_leaders() {
    let world = Scenario { begins: Begins::Open, late_writes: true, ..two_lead() };
    world.with(FaultBudget { crashes: 1, writes: 1, ends: 1, ..NONE }).holds("note of two leaders");
}

#[test]
fn a_note_while_memory_is_lost() {
    let faults = FaultBudget { crashes: 1, writes: 1, restores: 1, recreations: 1, ends: 1, ..NONE };
    Scenario { begins: Begins::Open, late_writes: true, ..Scenario::calm() }
        .with(faults)
        .holds("note and lost memory");
}

/// Two leaders find the same pad ID, which a crashed process has stored. Only one of them may add the link.
#[test]
fn a_link_of_two_leaders() {
    let world = Scenario { begins: Begins::Stored, late_writes: true, frozen: true, ..two_lead() };
    world.with(FaultBudget { writes: 1, ..NONE }).holds("link of two leaders");
}

/// A deleted Pad and the next Pad of the same entry have the same reference.
#[test]
fn a_terminating_pad_and_its_successor() {
    let faults = FaultBudget { creates: 1, deletions: 1, repeats: 1, ..NONE };
    let world = Scenario { policy: DeletionPolicy::Delete, ..Scenario::calm() };
    world.with(faults).holds("the next one");
}

/// A person deletes the Pad, and Lever repeats the webhook. The histories test entries in between. In the model, the
/// cache of a process that has just started contains no Pads, and the rules of one Pad do not have the other Pad as an
/// input.
#[test]
fn an_open_pad_deleted_by_a_person() {
    let faults = FaultBudget { crashes: 1, deletions: 1, repeats: 1, ..NONE };
    let world = Scenario { policy: DeletionPolicy::Delete, begins: Begins::Open, ..Scenario::calm() };
    world.with(faults).holds("deleted by a person");
}

/// Returns a scenario with two installations in separate clusters. Both receive webhooks of the same account (contract
/// I1 to I5).
fn two_installations() -> Scenario {
    Scenario { processes: 2, apart: true, all_lead: true, ..Scenario::calm() }
}

#[test]
fn two_installations_create_one_pad() {
    two_installations().with(NONE).holds("two installations");
}

#[test]
fn two_installations_that_crash_create_one_pad() {
    two_installations().with(FaultBudget { crashes: 1, ..NONE }).holds("two installations that crash");
}

#[test]
fn a_pad_that_is_deleted_in_one_of_two_installations() {
    let world = Scenario { policy: DeletionPolicy::Delete, ..two_installations() };
    world.with(FaultBudget { deletions: 1, ..NONE }).holds("two installations, deletion");
}
