//! Time for the controllers: the current time, and the schedule of polling (each interval, and earlier after a
//! transient failure).

use super::backoff::jittered;
use api::LeverConnection;
use jiff::Timestamp;
use std::time::Duration;

/// Delay after the first failed attempt.
const RETRY_DELAY_INITIAL: Duration = Duration::from_secs(5);
/// Maximum delay between failed attempts.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(60);
/// Maximum delay that a service can request.
const REQUEUE_RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// Returns the current time in whole seconds, as in Kubernetes timestamps.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Returns the current time in milliseconds, as in Lever's timestamps.
pub fn now_ms() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// Returns the polling interval of a connection. None: only on request.
pub fn interval(connection: &LeverConnection) -> Option<Duration> {
    Some(Duration::from(connection.spec.sync.interval)).filter(|interval| !interval.is_zero())
}

/// Adds up to 10% jitter to an interval, so that connections do not poll in lockstep.
pub fn with_jitter(interval: Duration, seed: u64) -> Duration {
    interval + (jittered(interval, seed) - interval) / 2
}

/// Returns the delay after a number of consecutive failures. It grows exponentially up to the interval, if set. A
/// longer delay that the service requested takes precedence.
pub fn after_failures(failures: u32, interval: Option<Duration>, asked_for: Option<Duration>) -> Duration {
    let pause =
        RETRY_DELAY_INITIAL.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(RETRY_DELAY_MAX);
    let pause = interval.map_or(pause, |interval| pause.min(interval));
    pause.max(asked_for.unwrap_or_default().min(REQUEUE_RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_jitter_is_at_most_a_tenth_of_the_interval() {
        let pauses: Vec<_> = (0..200).map(|seed| with_jitter(seconds(300), seed)).collect();
        assert!(pauses.iter().all(|pause| (seconds(300)..=seconds(330)).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause > seconds(315)));
    }

    #[test]
    fn failures_are_retried_with_growing_delays() {
        let pauses: Vec<_> = (1..=6).map(|n| after_failures(n, Some(seconds(300)), None).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        assert_eq!(after_failures(3, Some(seconds(2)), None), seconds(2));
        assert_eq!(after_failures(40, None, None), seconds(60));
        assert_eq!(after_failures(1, None, Some(seconds(90))), seconds(90));
        assert_eq!(after_failures(1, None, Some(seconds(90_000))), REQUEUE_RETRY_AFTER_MAX);
    }
}
