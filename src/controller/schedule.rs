//! Time for the controllers: what now is, and how often the services are asked by the clock (each interval, and sooner
//! after a failure that may pass by itself).

use super::backoff::jittered;
use crate::api::LeverConnection;
use jiff::Timestamp;
use std::time::Duration;

/// The pause after the first failed try.
const RETRY_DELAY_INITIAL: Duration = Duration::from_secs(5);
/// The longest pause between tries that fail.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(60);
/// The longest pause that a service may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// The time, in whole seconds as Kubernetes writes it.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// The time as Lever writes it, to compare with its own.
pub fn now_ms() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// The interval of a connection as its user set it. None: only when asked for.
pub fn interval(connection: &LeverConnection) -> Option<Duration> {
    Some(Duration::from(connection.spec.sync.interval)).filter(|interval| !interval.is_zero())
}

/// Up to a tenth more than the interval, so that what began together does not stay together.
pub fn with_jitter(interval: Duration, seed: u64) -> Duration {
    interval + (jittered(interval, seed) - interval) / 2
}

/// The pause after so many failed tries in a row: growing, and never longer than the interval, which may be unset. If
/// the service itself asked for a pause, it gets that.
pub fn after_failures(failures: u32, interval: Option<Duration>, asked_for: Option<Duration>) -> Duration {
    let pause =
        RETRY_DELAY_INITIAL.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(RETRY_DELAY_MAX);
    let pause = interval.map_or(pause, |interval| pause.min(interval));
    pause.max(asked_for.unwrap_or_default().min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_interval_is_spread_by_at_most_a_tenth() {
        let pauses: Vec<_> = (0..200).map(|seed| with_jitter(seconds(300), seed)).collect();
        assert!(pauses.iter().all(|pause| (seconds(300)..=seconds(330)).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause > seconds(315)));
    }

    #[test]
    fn failures_are_tried_again_soon_then_less_often() {
        let pauses: Vec<_> = (1..=6).map(|n| after_failures(n, Some(seconds(300)), None).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        assert_eq!(after_failures(3, Some(seconds(2)), None), seconds(2));
        assert_eq!(after_failures(40, None, None), seconds(60));
        assert_eq!(after_failures(1, None, Some(seconds(90))), seconds(90));
        assert_eq!(after_failures(1, None, Some(seconds(90_000))), RETRY_AFTER_MAX);
    }
}
