//! Creations that CoderPad answers with a server error (contract F8).

use super::*;
use api::names::FailedCreations;
use jiff::{SignedDuration, ToSpan};
use rstest::rstest;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A Pad with this number of failed creations, the last of them an hour ago.
pub(super) fn failed(count: u32) -> PadState {
    let mut state = read(|_| {});
    let last = at(ENTRY_TIME_MS + 1000);
    state.pad.failed_creations = Some(FailedCreations { count, last });
    state.observed_at = last.checked_add(1.hour()).unwrap();
    state
}

/// The same Pad after it failed.
fn decided(count: u32) -> PadState {
    let mut state = failed(count);
    (state.pad.phase, state.pad.has_service_error) = (Some(Phase::Failed), true);
    state.pad.judged_entry = state.entry();
    state
}

fn again(state: &PadState) -> Option<Duration> {
    match plan(state) {
        Command::Done { again, .. } => again,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_an_answered_creation_without_a_pad_counts() {
    let mut state = failed(1);
    attempted(&mut state);
    state.create_outcome = CreateOutcome::Searched(Vec::new());
    assert!(matches!(plan(&state), Command::ClearAttempt), "a timeout does not count");
    state.create_answered_5xx = true;
    let Command::CountFailedCreation(counted) = plan(&state) else { panic!("{:?}", plan(&state)) };
    assert_eq!(counted, FailedCreations { count: 2, last: at(ENTRY_TIME_MS + 1000) });
    state.create_outcome = CreateOutcome::Searched(vec![record("PAD1", 0)]);
    assert!(matches!(plan(&state), Command::StorePad { .. }), "the pad exists after all");
    state.create_outcome = CreateOutcome::Completed;
    assert!(matches!(plan(&state), Command::Search { .. }), "the list decides first");
}

#[test]
fn the_third_failed_creation_is_the_last_of_the_day() {
    for count in [1, 2] {
        assert!(matches!(plan(&failed(count)), Command::Create { forget_failures: false, .. }), "{count}");
    }
    for count in [3, 4] {
        assert_eq!(reason(&failed(count)), "failed: ServiceError");
        assert_eq!(again(&failed(count)), Some(DAY - Duration::from_secs(3600)));
    }
    let mut skewed = failed(3);
    skewed.observed_at = at(ENTRY_TIME_MS).checked_sub(1000.hours()).unwrap();
    assert_eq!(again(&skewed), Some(DAY), "a time of another clock delays no longer than a day");
    let mut limited = failed(3);
    limited.connection = ready(Some(0), None);
    assert_eq!(reason(&limited), "failed: ServiceError", "a limit does not hide the failure");
    let moved = PadState { opportunity: candidate(|one| one.stage = "onsite".into()), ..failed(3) };
    assert_eq!(reason(&moved), "skipped: StageChanged");
}

/// Columns: change of the failed Pad, whether its failed creations no longer count.
#[rstest]
#[case::requested(|state: &mut PadState| (state.pad.requested, state.pad.asked_by_person) = (true, true), true)]
#[case::configuration_changed(|state: &mut PadState| state.pad.configuration_changed = true, true)]
#[case::changed_configuration_was_checked(
    |state: &mut PadState| {
        (state.pad.phase, state.pad.has_service_error) = (Some(Phase::Pending), false);
        state.pad.configuration_changed = true;
    },
    true
)]
#[case::entered_again(
    |state: &mut PadState| {
        state.judge = true;
        state.pad.judged_entry = Some(at(ENTRY_TIME_MS - 1));
    },
    true
)]
#[case::a_day_later(
    |state: &mut PadState| state.observed_at = state.observed_at.checked_add(23.hours()).unwrap(),
    false
)]
fn a_failed_pad_is_retried(#[case] change: fn(&mut PadState), #[case] forgets: bool) {
    let mut state = decided(3);
    assert_eq!(outcome(&state), Outcome::Keep);
    assert_eq!(again(&state), Some(DAY - Duration::from_secs(3600)));
    change(&mut state);
    assert!(
        matches!(plan(&state), Command::Create { forget_failures, .. } if forget_failures == forgets),
        "{:?}",
        plan(&state)
    );
}

#[test]
fn a_failed_pad_stays_failed_otherwise() {
    let judged = PadState { judge: true, ..decided(3) };
    assert_eq!((outcome(&judged), again(&judged)), (Outcome::Keep, Some(DAY - Duration::from_secs(3600))));
    let mut waiting = failed(3);
    (waiting.pad.phase, waiting.pad.configuration_changed) = (Some(Phase::Pending), true);
    waiting.pad.judged_entry = Some(at(ENTRY_TIME_MS - 1));
    waiting.failure_counted = true;
    assert_eq!(reason(&waiting), "failed: ServiceError", "a retry that failed as well");
    let mut unchanged = failed(3);
    unchanged.pad.phase = Some(Phase::Pending);
    assert_eq!(reason(&unchanged), "failed: ServiceError", "the configuration was not Ready in between");
    let mut other = decided(3);
    other.pad.has_service_error = false;
    other.observed_at += SignedDuration::from_hours(1000);
    assert_eq!((outcome(&other), again(&other)), (Outcome::Keep, None), "it failed for another reason since");
}
