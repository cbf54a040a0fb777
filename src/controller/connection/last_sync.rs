//! Status fields of a connection that the last complete sync sets.

use crate::controller::sync::requests::CompletedSync;
use api::LeverConnectionStatus;
use jiff::SignedDuration;

/// Maximum age of lastSyncAt while nothing else is written.
const LAST_SYNC_RESOLUTION: SignedDuration = SignedDuration::from_hours(1);

/// Adds the times of the last complete sync (contract S4), if the status is written anyway or the stored times are
/// older than [`LAST_SYNC_RESOLUTION`].
pub fn add(
    before: &LeverConnectionStatus,
    after: &mut LeverConnectionStatus,
    complete: Option<CompletedSync>,
) {
    let Some(CompletedSync { at, erasures }) = complete else { return };
    let is_old = before.last_sync_at.is_none_or(|before| at.duration_since(before) >= LAST_SYNC_RESOLUTION);
    if is_old || after != before {
        after.last_sync_at = Some(at);
        after.erasures_checked_until = erasures.or(after.erasures_checked_until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn added(before: Option<i64>, is_changed: bool, complete: Option<i64>) -> (Option<i64>, Option<i64>) {
        let before = LeverConnectionStatus {
            last_sync_at: before.map(at),
            erasures_checked_until: before.map(at),
            ..LeverConnectionStatus::default()
        };
        let mut after = before.clone();
        after.organization = is_changed.then(|| "New".into());
        let complete =
            complete.map(|second| CompletedSync { at: at(second), erasures: Some(at(second - 1)) });
        add(&before, &mut after, complete);
        let second = |time: Option<Timestamp>| Some(time?.as_second() - at(0).as_second());
        (second(after.last_sync_at), second(after.erasures_checked_until))
    }

    #[test]
    fn times_of_a_complete_sync_are_written_with_another_change_or_hourly() {
        assert_eq!(added(None, false, Some(0)), (Some(0), Some(-1)));
        assert_eq!(added(Some(-3599), false, Some(0)), (Some(-3599), Some(-3599)));
        assert_eq!(added(Some(-3600), false, Some(0)), (Some(0), Some(-1)));
        assert_eq!(added(Some(-5), true, Some(0)), (Some(0), Some(-1)));
        assert_eq!(added(Some(-9000), true, None), (Some(-9000), Some(-9000)));
    }
}
