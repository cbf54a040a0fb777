//! Tests of the deletion after the TTL (contract E11).

use super::*;
use crate::event::{Event, Fact};
use rstest::rstest;

fn expired(phase: Phase, change: impl FnOnce(&mut PadState)) -> PadState {
    with(|f| {
        (f.pad.phase, f.ttl) = (Some(phase), TtlState::Expired);
        change(f);
    })
}

#[rstest]
#[case::skipped(expired(Phase::Skipped, |_| {}), "delete Pad")]
#[case::ended(expired(Phase::Ended, |f| f.pad.linked = true), "delete Pad")]
#[case::without_calls(expired(Phase::Skipped, |f| f.backoff_remaining = Some(Duration::from_secs(9))), "delete Pad")]
#[case::without_a_connection(
    expired(Phase::Skipped, |f| f.connection = ConnectionState::Missing { name: "acme".into() }),
    "delete Pad"
)]
#[case::finalizer_of_another_policy(expired(Phase::Ended, |f| f.pad.finalizer = true), "set finalizer")]
#[case::deleted_by_a_person(
    expired(Phase::Ended, |f| (f.pad.deleting, f.pad.finalizer, f.pad.linked) = (true, true, true)),
    "set finalizer"
)]
#[case::failed_deletion(expired(Phase::Skipped, |f| f.error = Some(PassError::Conflict)), "rest")]
#[case::not_expired(with(|f| f.pad.phase = Some(Phase::Skipped)), "rest")]
fn an_expired_pad_is_deleted_after_its_finalizer(#[case] state: PadState, #[case] expected: &str) {
    assert_eq!(plan(&state).name(), expected);
}

#[test]
fn nothing_follows_the_deletion() {
    let mut state = expired(Phase::Ended, |f| f.pad.linked = true);
    let command = plan(&state);
    state.apply(&command, Event { stored: None, result: Ok(Fact::Done) });
    assert_eq!(outcome(&state), Outcome::NoDecision);
}
