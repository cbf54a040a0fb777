//! When a connection may make its next pad by spec.interview.maxPadsPerHour. Pure arithmetic over times.
//!
//! Any hour counts, not the one of the clock: a pad has room when fewer than the limit were made in the hour before it.

use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// The time in which pads are counted.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Older Pads that have room take it within this time, or turn out not to need it.
pub const FRONT_RECHECK_DELAY: Duration = Duration::from_secs(5);
/// Pads at the front of the line that look again when a place is free, although older Pads go first: the candidates of
/// those may have left. Pads behind them look again at the usual interval.
pub const FRONT_OF_QUEUE_PADS: usize = 100;

/// An hour that has no room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LimitExceeded {
    /// The pads of the last hour, those included that older Pads are about to make.
    pub made: u32,
    /// The limit.
    pub limit: u32,
    /// When there is room, if nothing comes between.
    pub until: Timestamp,
    /// When to look again, from now.
    pub rest: Duration,
}

/// Whether a pad made at this time counts now. One that is far ahead was not written by a clock that can be trusted, and
/// would count for ever.
pub fn is_in_window(made_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(made_at).abs() < WINDOW
}

/// Why there is no room for a further pad; None, if there is. `waiting_before` Pads are older and go first.
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
    // Each pad goes an hour after the one that is a whole limit before it in the row of all pads, made or waiting.
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

    /// The minute at which there is room for a pad; None: now.
    fn room(limit: u32, made: &[i64], waiting_before: usize, now: i64) -> Option<i64> {
        let made = made.iter().map(|minute| at(*minute)).collect();
        let full = limit_exceeded(limit, made, waiting_before, at(now))?;
        Some((full.until.as_second() - at(0).as_second()) / 60)
    }

    #[test]
    fn there_is_room_when_fewer_than_the_limit_were_made_in_the_last_hour() {
        assert_eq!(room(3, &[], 0, 0), None);
        assert_eq!(room(3, &[0, 10], 0, 20), None);
        assert_eq!(room(3, &[10, 0, 20], 0, 20), Some(60));
        assert_eq!(room(3, &[10, 0, 20], 0, 59), Some(60));
        assert_eq!(room(3, &[10, 0, 20], 0, 60), None);
        assert_eq!(room(3, &[0, 1, 2, 3, 4], 0, 5), Some(62), "the limit was lowered");
    }

    #[test]
    fn older_ones_that_wait_go_first_and_each_knows_its_turn() {
        assert_eq!(room(3, &[0], 1, 5), None);
        assert_eq!(room(3, &[0], 2, 5), Some(60));
        let turns = (0..8).map(|before| room(3, &[0, 10, 20], before, 25).unwrap());
        assert_eq!(turns.collect::<Vec<_>>(), [60, 70, 80, 120, 130, 140, 180, 190]);
        assert_eq!(room(3, &[], 4, 5), Some(65), "those ahead go at once, and this one an hour later");
    }

    #[test]
    fn a_place_that_an_older_one_may_not_need_is_looked_at_again_soon() {
        let rest =
            |waiting_before| limit_exceeded(3, vec![at(0), at(1)], waiting_before, at(2)).unwrap().rest;
        assert_eq!(
            (rest(1), rest(2), rest(FRONT_OF_QUEUE_PADS - 1)),
            (FRONT_RECHECK_DELAY, FRONT_RECHECK_DELAY, FRONT_RECHECK_DELAY)
        );
        assert!(rest(FRONT_OF_QUEUE_PADS) > Duration::from_secs(60 * 60), "not all of a long row");
        let none_free = limit_exceeded(2, vec![at(0), at(1)], 0, at(2)).unwrap();
        assert_eq!(none_free.rest, Duration::from_secs(58 * 60));
    }

    /// The candidate of the oldest may have left: its place is not lost until the next one is free.
    #[test]
    fn those_in_front_look_again_right_after_a_place_is_free() {
        let rest =
            |waiting_before| limit_exceeded(2, vec![at(0), at(40)], waiting_before, at(50)).unwrap().rest;
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(rest(0), minutes(10), "it goes at once");
        assert_eq!(
            (rest(1), rest(2)),
            (minutes(10) + FRONT_RECHECK_DELAY, minutes(10) + FRONT_RECHECK_DELAY)
        );
        assert!(rest(FRONT_OF_QUEUE_PADS) > minutes(60));
    }

    /// The turn of one that waits does not move when one before it has had its own.
    #[test]
    fn a_turn_stays_where_it_is() {
        assert_eq!(room(3, &[0, 10, 20], 1, 59), Some(70));
        assert_eq!(room(3, &[10, 20], 1, 60), Some(70));
        assert_eq!(room(3, &[10, 20, 60], 0, 61), Some(70));
        assert_eq!(room(3, &[10, 20, 60], 3, 61), Some(130));
    }

    #[test]
    fn what_is_far_ahead_of_the_clock_does_not_count() {
        assert_eq!(room(1, &[3], 0, 0), Some(63), "clocks differ a little");
        assert_eq!(room(1, &[100_000], 0, 0), None);
    }
}
