//! Exponential backoff of an object whose last pass failed.  A failing object must never send more requests than a
//! healthy one, regardless of how often it is triggered, so each failure doubles the delay. A change by a user resets
//! the backoff, because it may fix the cause. The state is in memory only: after a restart, the object is retried once
//! immediately.

use engine::backoff::exponential;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use tokio::time::Instant;

/// Delay after the first failure.
const BACKOFF_INITIAL: Duration = Duration::from_secs(2);
/// Maximum delay.
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// Backoff of one object.
#[derive(Debug, Default)]
pub struct Backoff(Option<Failures>);

#[derive(Debug)]
struct Failures {
    inputs: u64,
    count: u32,
    until: Instant,
}

impl Backoff {
    /// Returns the remaining delay; `None` if the object may continue. `inputs` is everything that a user can change: if
    /// it differs from the value at the failure, the backoff is reset.
    pub fn remaining(&self, inputs: &impl Hash) -> Option<Duration> {
        let failures = self.0.as_ref().filter(|failures| failures.inputs == fingerprint(inputs))?;
        Some(failures.until.saturating_duration_since(Instant::now())).filter(|rest| !rest.is_zero())
    }

    /// Records a failure and returns the delay.
    pub fn record_failure(&mut self, inputs: &impl Hash) -> Duration {
        let inputs = fingerprint(inputs);
        let before = self.0.as_ref().filter(|failures| failures.inputs == inputs);
        let count = before.map_or(0, |failures| failures.count).saturating_add(1);
        let delay = exponential(BACKOFF_INITIAL, BACKOFF_MAX, count);
        let delay = jittered(delay, inputs ^ u64::from(count));
        self.0 = Some(Failures { inputs, count, until: Instant::now() + delay });
        delay
    }

    /// Resets the backoff of an object that succeeded.
    pub fn reset(&mut self) {
        self.0 = None;
    }

    /// Reports whether the object has not failed since the last reset.
    pub fn is_reset(&self) -> bool {
        self.0.is_none()
    }
}

fn fingerprint(inputs: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    inputs.hash(&mut hasher);
    hasher.finish()
}

/// Adds up to 20% jitter to a delay, so that objects that failed together do not retry together.
pub fn jittered(pause: Duration, seed: u64) -> Duration {
    pause + pause.mul_f64(0.2 * (fingerprint(&seed) % 1000) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_delay_grows_and_a_change_by_a_user_resets_it() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.remaining(&1), None);
        let first = backoff.record_failure(&1);
        let second = backoff.record_failure(&1);
        assert!(
            first >= BACKOFF_INITIAL && second >= BACKOFF_INITIAL * 2 && second < BACKOFF_INITIAL * 3,
            "{first:?}, {second:?}"
        );
        assert!(backoff.remaining(&1).is_some());
        assert_eq!(backoff.remaining(&2), None);
        tokio::time::advance(second).await;
        assert_eq!(backoff.remaining(&1), None);
        for _ in 0..40 {
            assert!(backoff.record_failure(&1) <= BACKOFF_MAX.mul_f64(1.2));
        }
        backoff.reset();
        assert!(backoff.is_reset() && backoff.record_failure(&1) < BACKOFF_INITIAL * 2);
    }
}
