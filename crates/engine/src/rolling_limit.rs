//! Rolling hourly limit of a connection (spec.interview.maxPadsPerHour). Pure arithmetic over times.
//!
//! A pad is permitted if fewer pads than the limit were created within the 60 minutes before it.

use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Length of the rolling window.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Delay after which a Pad near the front checks again whether older Pads have used the free slot.
pub const FRONT_RECHECK_DELAY: Duration = Duration::from_secs(5);
/// Number of Pads at the front of the queue that check again when a slot is free, because the candidates of older Pads
/// may have left. Pads behind them check again at the usual interval.
pub const FRONT_OF_QUEUE_PADS: usize = 100;

/// Reached limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LimitExceeded {
    /// Number of pads within the last hour, including those that older pending Pads will create.
    pub made: u32,
    /// The limit.
    pub limit: u32,
    /// Expected time of the creation.
    pub until: Timestamp,
    /// Delay before the next check.
    pub rest: Duration,
}

/// Reports whether a pad created at this time counts now. A time far in the future is ignored, because it would count
/// indefinitely.
pub fn is_in_window(created_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(created_at).abs() < WINDOW
}

/// Returns the reached limit, or None if another pad is permitted. `waiting_before` older Pads take precedence.
pub fn limit_exceeded(
    limit: u32,
    mut made: Vec<Timestamp>,
    waiting_before: usize,
    now: Timestamp,
) -> Option<LimitExceeded> {
    let places = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
    made.retain(|at| is_in_window(*at, now));
    if made.len().saturating_add(waiting_before) < places {
        return None;
    }
    made.sort_unstable();
    // In the sequence of all created and pending pads, each is created an hour after the one `limit` positions before
    // it.
    let (rounds, place) = (waiting_before / places, waiting_before % places);
    let first_round = match (made.len() + place).checked_sub(places) {
        Some(leaves) => made.get(leaves).and_then(|at| at.checked_add(WINDOW).ok()).unwrap_or(now),
        None => now,
    };
    let is_in_front = waiting_before < FRONT_OF_QUEUE_PADS.max(places);
    let place_is_free = match made.len().checked_sub(places) {
        Some(leaves) => made.get(leaves).and_then(|at| at.checked_add(WINDOW).ok()).unwrap_or(now),
        None => now,
    };
    let front_looks = place_is_free.duration_since(now).unsigned_abs().saturating_add(FRONT_RECHECK_DELAY);
    let rounds = WINDOW.saturating_mul(i32::try_from(rounds).unwrap_or(i32::MAX));
    let until = first_round.checked_add(rounds).unwrap_or(Timestamp::MAX);
    let rest = until.duration_since(now).unsigned_abs();
    Some(LimitExceeded {
        made: u32::try_from(made.len()).unwrap_or(u32::MAX).max(limit),
        limit,
        until,
        rest: if is_in_front { rest.min(front_looks) } else { rest },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + minute * 60).unwrap()
    }

    /// Returns the minute at which a pad is permitted; None: now.
    fn room(limit: u32, made: &[i64], waiting_before: usize, now: i64) -> Option<i64> {
        let made = made.iter().map(|minute| at(*minute)).collect();
        let full = limit_exceeded(limit, made, waiting_before, at(now))?;
        Some((full.until.as_second() - at(0).as_second()) / 60)
    }

    #[test]
    fn a_pad_is_permitted_if_fewer_than_the_limit_were_created_in_the_last_hour() {
        assert_eq!(room(3, &[], 0, 0), None);
        assert_eq!(room(3, &[0, 10], 0, 20), None);
        assert_eq!(room(3, &[10, 0, 20], 0, 20), Some(60));
        assert_eq!(room(3, &[10, 0, 20], 0, 59), Some(60));
        assert_eq!(room(3, &[10, 0, 20], 0, 60), None);
        assert_eq!(room(3, &[0, 1, 2, 3, 4], 0, 5), Some(62), "the limit was lowered");
    }

    #[test]
    fn older_pending_pads_take_precedence_and_each_has_an_expected_time() {
        assert_eq!(room(3, &[0], 1, 5), None);
        assert_eq!(room(3, &[0], 2, 5), Some(60));
        let turns = (0..8).map(|before| room(3, &[0, 10, 20], before, 25).unwrap());
        assert_eq!(turns.collect::<Vec<_>>(), [60, 70, 80, 120, 130, 140, 180, 190]);
        assert_eq!(room(3, &[], 4, 5), Some(65), "those ahead are created now, and this one an hour later");
    }

    #[test]
    fn a_slot_reserved_for_an_older_pad_is_rechecked_soon() {
        let rest =
            |waiting_before| limit_exceeded(3, vec![at(0), at(1)], waiting_before, at(2)).unwrap().rest;
        assert_eq!(
            (rest(1), rest(2), rest(FRONT_OF_QUEUE_PADS - 1)),
            (FRONT_RECHECK_DELAY, FRONT_RECHECK_DELAY, FRONT_RECHECK_DELAY)
        );
        assert!(rest(FRONT_OF_QUEUE_PADS) > Duration::from_secs(60 * 60), "not the whole queue");
        let none_free = limit_exceeded(2, vec![at(0), at(1)], 0, at(2)).unwrap();
        assert_eq!(none_free.rest, Duration::from_secs(58 * 60));
    }

    /// The candidate of the oldest Pad may have left. Its slot must not stay unused until the next one is free.
    #[test]
    fn pads_at_the_front_check_again_right_after_a_slot_is_free() {
        let rest =
            |waiting_before| limit_exceeded(2, vec![at(0), at(40)], waiting_before, at(50)).unwrap().rest;
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(rest(0), minutes(10), "it is created immediately");
        assert_eq!(
            (rest(1), rest(2)),
            (minutes(10) + FRONT_RECHECK_DELAY, minutes(10) + FRONT_RECHECK_DELAY)
        );
        assert!(rest(FRONT_OF_QUEUE_PADS) > minutes(60));
    }

    /// The expected time of a pending Pad does not change when a Pad before it is served.
    #[test]
    fn the_expected_time_is_stable() {
        assert_eq!(room(3, &[0, 10, 20], 1, 59), Some(70));
        assert_eq!(room(3, &[10, 20], 1, 60), Some(70));
        assert_eq!(room(3, &[10, 20, 60], 0, 61), Some(70));
        assert_eq!(room(3, &[10, 20, 60], 3, 61), Some(130));
    }

    #[test]
    fn times_far_in_the_future_do_not_count() {
        assert_eq!(room(1, &[3], 0, 0), Some(63), "clocks differ a little");
        assert_eq!(room(1, &[100_000], 0, 0), None);
    }
}
