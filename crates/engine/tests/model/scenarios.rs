//! The scenarios in which the protocol must hold.

use super::world::{FaultBudget, InitialPad, NONE, Scenario, Spec};
use api::configuration::DeletionPolicy;

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
    let scenario = Scenario { delayed_sends: true, ..handed_over() };
    scenario.with(FaultBudget { handovers: 1, ..NONE }).holds("deposed leader that is held up");
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
    let scenario = Scenario { policy: DeletionPolicy::Delete, ..Scenario::calm() };
    scenario.with(faults).holds("deletion");
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
    let scenario = Scenario { processes: 2, ..Scenario::calm() };
    scenario.with(FaultBudget { handovers: 1, ..NONE }).holds("the ID is stored by two");
}

/// If the answer of its own request is lost, the process waits for the end of the request before it checks for the
/// link.
#[test]
fn a_link_that_appears_after_its_answer_was_lost() {
    let scenario = Scenario { late_writes: true, ..Scenario::calm() };
    scenario.with(FaultBudget { writes: 1, ..NONE }).holds("a link after a lost answer");
}

/// The annotation contains one request. A repeated older delivery must not replace a later one.
#[test]
fn an_older_delivery_that_is_repeated() {
    let scenario = Scenario { old_hides_new: true, ..Scenario::calm() };
    scenario
        .with(FaultBudget { deliveries: 1, repeats: 1, moves: 2, ..NONE })
        .holds("an older delivery is repeated");
}

/// An interview ends. The outcome of its note is unknown if a process crashes or the answer is lost.
#[test]
fn a_note_with_crashes_and_lost_answers() {
    let faults = FaultBudget { crashes: 2, writes: 2, ends: 1, ..NONE };
    Scenario { initial: InitialPad::Open, late_writes: true, ..Scenario::calm() }.with(faults).holds("note");
}

#[test]
fn a_note_of_two_leaders() {
    let scenario = Scenario { initial: InitialPad::Open, late_writes: true, ..two_lead() };
    scenario.with(FaultBudget { crashes: 1, writes: 1, ends: 1, ..NONE }).holds("note of two leaders");
}

#[test]
fn a_note_while_memory_is_lost() {
    let faults = FaultBudget { crashes: 1, writes: 1, restores: 1, recreations: 1, ends: 1, ..NONE };
    Scenario { initial: InitialPad::Open, late_writes: true, ..Scenario::calm() }
        .with(faults)
        .holds("note and lost memory");
}

/// Two leaders find the same pad ID, which a crashed process has stored. Only one of them may add the link.
#[test]
fn a_link_of_two_leaders() {
    let scenario =
        Scenario { initial: InitialPad::Stored, late_writes: true, delayed_sends: true, ..two_lead() };
    scenario.with(FaultBudget { writes: 1, ..NONE }).holds("link of two leaders");
}

/// A deleted Pad and the next Pad of the same entry have the same reference.
#[test]
fn a_terminating_pad_and_its_successor() {
    let faults = FaultBudget { creates: 1, deletions: 1, repeats: 1, ..NONE };
    let scenario = Scenario { policy: DeletionPolicy::Delete, ..Scenario::calm() };
    scenario.with(faults).holds("the next one");
}

/// A person deletes the Pad, and Lever repeats the webhook. The histories test entries in between. In the model, the
/// cache of a process that has just started contains no Pads, and the rules of one Pad do not have the other Pad as an
/// input.
#[test]
fn an_open_pad_deleted_by_a_person() {
    let faults = FaultBudget { crashes: 1, deletions: 1, repeats: 1, ..NONE };
    let scenario = Scenario { policy: DeletionPolicy::Delete, initial: InitialPad::Open, ..Scenario::calm() };
    scenario.with(faults).holds("deleted by a person");
}

/// Returns a scenario with two installations in separate clusters. Both receive webhooks of the same account (contract
/// I1 to I5).
fn two_installations() -> Scenario {
    Scenario { processes: 2, two_clusters: true, all_lead: true, ..Scenario::calm() }
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
    let scenario = Scenario { policy: DeletionPolicy::Delete, ..two_installations() };
    scenario.with(FaultBudget { deletions: 1, ..NONE }).holds("two installations, deletion");
}

/// Sync finds the candidate without a delivery, next to deliveries that are lost or late.
#[test]
fn candidates_that_sync_finds() {
    let scenario = Scenario { sync: true, ..Scenario::calm() };
    let faults = FaultBudget { deliveries: 1, moves: 2, slow_scans: 1, ..NONE };
    scenario.with(faults).holds("sync");
}

#[test]
fn sync_while_a_process_crashes() {
    let scenario = Scenario { sync: true, ..Scenario::calm() };
    let faults = FaultBudget { crashes: 1, creates: 1, writes: 1, slow_scans: 1, ..NONE };
    scenario.with(faults).holds("sync and crashes");
}

/// The list of a scan is older than the deletion of the Pad, which stores its entry as served.
#[test]
fn sync_while_a_person_deletes_the_pad() {
    let scenario = Scenario {
        sync: true,
        policy: DeletionPolicy::Delete,
        initial: InitialPad::Open,
        ..Scenario::calm()
    };
    let faults = FaultBudget { crashes: 1, deletions: 1, repeats: 1, slow_scans: 1, ..NONE };
    scenario.with(faults).holds("sync and deletion");
}

#[test]
fn sync_of_two_leaders() {
    let scenario = Scenario { sync: true, processes: 2, ..Scenario::calm() };
    let faults = FaultBudget { handovers: 1, ..NONE };
    scenario.with(faults).holds("sync and a deposed leader");
}

/// A person creates the Pad: neither the stage nor the tag is checked.
#[test]
fn a_pad_that_a_person_creates() {
    let scenario = Scenario { initial: InitialPad::Manual, late_writes: true, ..Scenario::calm() };
    let faults = FaultBudget { crashes: 2, creates: 1, writes: 1, moves: 2, ends: 1, ..NONE };
    scenario.with(faults).holds("by hand");
}

#[test]
fn a_pad_that_a_person_creates_again() {
    let scenario =
        Scenario { initial: InitialPad::Manual, policy: DeletionPolicy::Delete, ..Scenario::calm() };
    let faults = FaultBudget { crashes: 1, creates: 1, restores: 1, recreations: 1, deletions: 1, ..NONE };
    scenario.with(faults).holds("by hand, lost memory");
}

/// Other Pads use up the quota or the hourly limit, before the pass or between its decision and the request.
#[test]
fn limits_that_other_pads_use_up() {
    let faults = FaultBudget { limits: 2, crashes: 1, creates: 1, ..NONE };
    Scenario::calm().with(faults).holds("limits");
}

#[test]
fn limits_while_a_candidate_moves() {
    let scenario = Scenario { sync: true, ..Scenario::calm() };
    let faults = FaultBudget { limits: 1, moves: 2, ..NONE };
    scenario.with(faults).holds("limits and moves");
}

#[test]
fn creations_that_coderpad_refuses() {
    let faults = FaultBudget { refusals: 2, crashes: 1, creates: 1, ..NONE };
    Scenario::calm().with(faults).holds("refusals");
}

/// A write to the API server takes effect, and its answer is lost.
#[test]
fn lost_answers_of_the_api_server() {
    let faults = FaultBudget { api_answers: 2, crashes: 1, creates: 1, writes: 1, ..NONE };
    Scenario::calm().with(faults).holds("answers of the API server");
}

#[test]
fn lost_answers_of_the_api_server_with_a_finalizer() {
    let scenario = Scenario { policy: DeletionPolicy::Delete, late_writes: true, ..Scenario::calm() };
    let faults = FaultBudget { api_answers: 2, deletions: 1, writes: 1, ..NONE };
    scenario.with(faults).holds("answers of the API server, deletion");
}

#[test]
fn lost_answers_of_the_api_server_and_a_deposed_leader() {
    let faults = FaultBudget { api_answers: 1, handovers: 1, ..NONE };
    handed_over().with(faults).holds("answers of the API server, deposed leader");
}

#[test]
fn lost_answers_of_the_api_server_while_a_note_is_written() {
    let scenario = Scenario { initial: InitialPad::Open, late_writes: true, ..Scenario::calm() };
    let faults = FaultBudget { api_answers: 2, crashes: 1, writes: 1, ends: 1, ..NONE };
    scenario.with(faults).holds("answers of the API server, note");
}

/// A backup contains the attempt, or the link of the pad is on the candidate when the backup is restored.
#[test]
fn backups_that_are_restored() {
    let faults = FaultBudget { backups: 2, crashes: 1, creates: 1, writes: 1, ..NONE };
    Scenario::calm().with(faults).holds("backups");
}

#[test]
fn backups_that_are_restored_after_the_interview() {
    let scenario = Scenario { late_writes: true, ..Scenario::calm() };
    let faults = FaultBudget { backups: 2, writes: 1, ends: 1, ..NONE };
    scenario.with(faults).holds("backups, note");
}

#[test]
fn backups_of_pads_that_sync_finds() {
    let scenario = Scenario { sync: true, policy: DeletionPolicy::Delete, ..Scenario::calm() };
    let faults = FaultBudget { backups: 2, deletions: 1, ..NONE };
    scenario.with(faults).holds("backups, sync and deletion");
}

/// A service answers 404 although the candidate or the pad exists. Another read decides.
#[test]
fn wrong_answers_that_something_is_missing() {
    let scenario = Scenario { late_writes: true, ..Scenario::calm() };
    scenario.with(FaultBudget { missing: 2, crashes: 1, writes: 1, ..NONE }).holds("404");
}

#[test]
fn wrong_answers_that_something_is_missing_after_the_interview() {
    let scenario = Scenario { initial: InitialPad::Open, late_writes: true, ..Scenario::calm() };
    scenario.with(FaultBudget { missing: 2, crashes: 1, writes: 1, ends: 1, ..NONE }).holds("404, note");
}

#[test]
fn wrong_answers_that_something_is_missing_while_a_pad_is_deleted() {
    let scenario = Scenario { policy: DeletionPolicy::Delete, initial: InitialPad::Open, ..Scenario::calm() };
    scenario.with(FaultBudget { missing: 2, crashes: 1, deletions: 1, ..NONE }).holds("404, deletion");
}

/// Lever answers 403 for the candidate. The operator checks whether the API key can read another one.
#[test]
fn candidates_that_become_confidential() {
    let faults = FaultBudget { confidences: 1, missing: 1, creates: 1, ends: 1, ..NONE };
    Scenario::calm().with(faults).holds("confidential");
}

#[test]
fn confidential_candidates_that_sync_finds_again() {
    let scenario = Scenario { sync: true, policy: DeletionPolicy::Delete, ..Scenario::calm() };
    let faults = FaultBudget { confidences: 2, refusals: 1, ends: 1, ..NONE };
    scenario.with(faults).holds("confidential, sync");
}

/// Returns a scenario in which Pads are deleted as soon as they are skipped or ended and sync does not find their
/// candidate.
fn with_ttl() -> Scenario {
    Scenario { spec: Spec { ttl: true, ..Spec::default() }, ..Scenario::calm() }
}

/// The candidate loses the tag and gets it back for the same entry, or moves.
#[test]
fn pads_that_are_deleted_after_their_ttl() {
    let scenario =
        Scenario { sync: true, policy: DeletionPolicy::Delete, initial: InitialPad::Open, ..with_ttl() };
    let faults = FaultBudget { crashes: 1, ends: 1, moves: 2, ..NONE };
    scenario.with(faults).holds("TTL");
}

/// A delivery arrives between the scan and the deletion.
#[test]
fn deliveries_for_pads_that_are_deleted_after_their_ttl() {
    let faults = FaultBudget { slow_scans: 1, moves: 2, api_answers: 1, ..NONE };
    with_ttl().with(faults).holds("TTL and deliveries");
}

/// Returns a scenario in which CoderPad refuses creations as invalid, and `tags.failed` is set.
fn with_failed_tag() -> Scenario {
    let spec = Spec { failed_tag: true, ..Spec::default() };
    Scenario { spec, policy: DeletionPolicy::Delete, ..Scenario::calm() }
}

/// A request of sync to judge a skipped Pad is lost with the process, after the creation was requested.
#[test]
fn skipped_pads_whose_creation_is_interrupted() {
    let faults = FaultBudget { crashes: 1, slow_scans: 1, moves: 2, ..NONE };
    Scenario::calm().with(faults).holds("skipped, then interrupted");
}

#[test]
fn failed_pads_that_are_retried() {
    let faults = FaultBudget { refusals: 2, retries: 2, crashes: 1, missing: 1, ..NONE };
    with_failed_tag().with(faults).holds("failure tag");
}

#[test]
fn failed_pads_that_are_deleted() {
    let faults = FaultBudget { refusals: 1, retries: 1, deletions: 1, creates: 1, api_answers: 1, ..NONE };
    with_failed_tag().with(faults).holds("failure tag, deletion");
}

#[test]
fn failed_pads_whose_candidate_moves() {
    let faults = FaultBudget { refusals: 1, retries: 1, moves: 2, ..NONE };
    with_failed_tag().with(faults).holds("failure tag, moves");
}
