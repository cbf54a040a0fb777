//! The limits of a Pad: the quota of its CoderPad plan and the hourly limit of its connection, after the older Pads that
//! take precedence (contract F1, F2).

use crate::observe::{waits_for, waits_for_room};
use crate::rolling_limit::{FRONT_OF_QUEUE_PADS, FRONT_RECHECK_DELAY, LimitExceeded, limit_exceeded};
use api::pad::Pad;
use api::reason::Reason;
use jiff::Timestamp;
use std::collections::HashSet;
use std::time::Duration;

/// Inputs of the limits of a Pad.
#[derive(Clone, Debug, Default)]
pub struct LimitInputs {
    /// The quota; `None`: unlimited, or overage is allowed.
    pub quota: Option<QuotaLeft>,
    /// Maximum number of pads per hour; `None`: unlimited.
    pub per_hour: Option<u32>,
    /// Times of the creations within the last hour that count for the Pad.
    pub created: Vec<Timestamp>,
    /// UIDs of the Pads whose creations are counted. Their status may still say that they wait.
    pub counted: HashSet<String>,
    /// UIDs of the older Pads of the connection that wait: see [`takes_precedence`].
    pub older: Vec<String>,
}

/// Remaining pads of the plan.
#[derive(Clone, Copy, Debug)]
pub struct QuotaLeft {
    /// In the status of the connection, at the last probe.
    pub reported: i64,
    /// After the creations since, also those of other connections with the same API key.
    pub current: i64,
}

/// The limits of a Pad.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Pads left in the quota for this Pad; `None`: unlimited, or overage is allowed.
    pub pads_left: Option<i64>,
    /// The exceeded hourly limit.
    pub hour_full: Option<LimitExceeded>,
    /// Requeue delay if older Pads have reserved the remaining quota, because their candidates may have left the stage.
    pub requeue: Option<Duration>,
}

/// Reduces the limits for one Pad by the creations of the last hour and by the older waiting Pads.
pub fn limits(inputs: LimitInputs, now: Timestamp) -> Limits {
    let LimitInputs { quota, per_hour, created, counted, older } = inputs;
    let before = older.iter().filter(|uid| !counted.contains(*uid)).count();
    let hour_full = per_hour.and_then(|limit| limit_exceeded(limit, created, before, now));
    let Some(QuotaLeft { current, .. }) = quota.filter(|quota| quota.reported > 0) else {
        return Limits { pads_left: quota.map(|quota| quota.reported), hour_full, requeue: None };
    };
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let pads_left = current.saturating_sub(before);
    let front = i64::try_from(FRONT_OF_QUEUE_PADS).unwrap_or(i64::MAX);
    let is_in_front = before < current.saturating_add(front);
    let hour_is_free = hour_full.is_none_or(|full| full.rest <= FRONT_RECHECK_DELAY);
    let is_reserved = current > 0 && pads_left <= 0 && is_in_front && hour_is_free;
    Limits { pads_left: Some(pads_left), hour_full, requeue: is_reserved.then_some(FRONT_RECHECK_DELAY) }
}

/// Reports whether another Pad of the connection is older and waits for quota, the hourly limit, or the connection
/// itself: the oldest are served first. A Pad that waits for another reason does not hold up the others.
/// `is_suspended` reports whether the other Pad's configuration is suspended or missing.
pub fn takes_precedence(other: &Pad, pad: &Pad, is_suspended: impl FnOnce() -> bool) -> bool {
    fn age(pad: &Pad) -> (Option<Timestamp>, Option<&String>) {
        (pad.metadata.creation_timestamp.as_ref().map(|time| time.0), pad.metadata.name.as_ref())
    }
    age(other) < age(pad)
        && other.metadata.deletion_timestamp.is_none()
        && (waits_for_room(other)
            || waits_for(other, &[Reason::ConnectionNotReady])
            || waits_for(other, &[Reason::Suspended]) && !is_suspended())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + minute * 60).unwrap()
    }

    /// A quota that no creation has reduced since the last probe.
    fn quota(left: i64) -> Option<QuotaLeft> {
        Some(QuotaLeft { reported: left, current: left })
    }

    fn inputs(quota: Option<QuotaLeft>, per_hour: Option<u32>, made: i64, older: usize) -> LimitInputs {
        LimitInputs {
            quota,
            per_hour,
            created: (0..made).map(at).collect(),
            counted: HashSet::new(),
            older: (0..older).map(|n| n.to_string()).collect(),
        }
    }

    const SOON: Option<u64> = Some(FRONT_RECHECK_DELAY.as_secs());

    /// Columns: inputs, pads left, whether the hour is full, requeue delay in seconds.
    #[rstest]
    #[case::unlimited(inputs(None, None, 9, 9), None, false, None)]
    #[case::enough(inputs(quota(5), Some(3), 1, 1), Some(4), false, None)]
    #[case::exhausted_at_the_probe(inputs(quota(0), Some(3), 0, 0), Some(0), false, None)]
    #[case::exhausted_since(inputs(Some(QuotaLeft { reported: 2, current: 0 }), None, 0, 0), Some(0), false, None)]
    #[case::reserved_by_older_pads(inputs(quota(2), None, 0, 2), Some(0), false, SOON)]
    #[case::one_is_left(inputs(quota(2), None, 0, 1), Some(1), false, None)]
    #[case::far_behind(inputs(quota(2), None, 0, 2 + FRONT_OF_QUEUE_PADS), Some(-100), false, None)]
    #[case::hour_is_full(inputs(quota(5), Some(3), 3, 0), Some(5), true, None)]
    #[case::hour_is_full_for_older_pads(inputs(None, Some(3), 1, 2), None, true, None)]
    #[case::both(inputs(quota(1), Some(3), 3, 1), Some(0), true, None)]
    #[case::both_reserved_by_older_pads(inputs(quota(3), Some(3), 0, 3), Some(0), true, SOON)]
    fn limits_are_reduced_by_creations_and_older_pads(
        #[case] inputs: LimitInputs,
        #[case] pads_left: Option<i64>,
        #[case] hour_is_full: bool,
        #[case] requeue: Option<u64>,
    ) {
        let limits = limits(inputs, at(10));
        assert_eq!((limits.pads_left, limits.hour_full.is_some()), (pads_left, hour_is_full));
        assert_eq!(limits.requeue.map(|delay| delay.as_secs()), requeue);
    }

    #[test]
    fn an_older_pad_whose_creation_is_counted_does_not_count_twice() {
        let waiting = inputs(quota(2), Some(3), 1, 2);
        assert_eq!(limits(waiting.clone(), at(10)).pads_left, Some(0));
        let counted = LimitInputs { counted: HashSet::from(["0".to_owned()]), ..waiting };
        let limits = limits(counted, at(10));
        assert_eq!((limits.pads_left, limits.hour_full), (Some(1), None));
    }

    fn pad(name: &str, minute: i64, status: Value) -> Pad {
        let mut status = status;
        if let Some(status) = status.as_object_mut() {
            status.insert("observedGeneration".into(), json!(1));
            status.insert("conditions".into(), json!([]));
        }
        serde_json::from_value(json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
            "metadata": {"name": name, "creationTimestamp": at(minute)},
            "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"}, "status": status,
        }))
        .unwrap()
    }

    fn waiting(minute: i64, reason: &str) -> Pad {
        pad("b", minute, json!({"phase": "Pending", "reason": reason}))
    }

    #[rstest]
    #[case::quota(waiting(0, "QuotaExceeded"), false, true)]
    #[case::hourly_limit(waiting(0, "LimitReached"), false, true)]
    #[case::connection(waiting(0, "ConnectionNotReady"), false, true)]
    #[case::was_suspended(waiting(0, "Suspended"), false, true)]
    #[case::is_suspended(waiting(0, "Suspended"), true, false)]
    #[case::other_reason(waiting(0, "LeverUnavailable"), false, false)]
    #[case::no_status(pad("b", 0, json!(null)), false, false)]
    #[case::settled(pad("b", 0, json!({"phase": "Skipped", "reason": "QuotaExceeded"})), false, false)]
    #[case::younger(waiting(9, "QuotaExceeded"), false, false)]
    #[case::same_age_later_name(waiting(5, "QuotaExceeded"), false, true)]
    fn older_waiting_pads_take_precedence(
        #[case] other: Pad,
        #[case] suspended: bool,
        #[case] expected: bool,
    ) {
        let own = pad("c", 5, json!(null));
        assert_eq!(takes_precedence(&other, &own, || suspended), expected);
        let mut deleting = other;
        deleting.metadata.deletion_timestamp = own.metadata.creation_timestamp.clone();
        assert!(!takes_precedence(&deleting, &own, || suspended));
    }
}
