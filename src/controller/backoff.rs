//! Exponential backoff of objects whose last pass failed.  A failing object must never send more requests than a
//! healthy one, regardless of how often it is triggered, so each failure doubles the delay. A change by a user resets
//! the backoff, because it may fix the cause. The state is in memory only: after a restart, the object is retried once
//! immediately.

use crate::k8s::ObjectKey;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use tokio::time::Instant;

/// Delay after the first failure.
const BACKOFF_INITIAL: Duration = Duration::from_secs(2);
/// Maximum delay.
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// Backoff of many objects, by namespace and name.
#[derive(Debug, Default)]
pub struct Backoff {
    pauses: Mutex<HashMap<ObjectKey, BackoffEntry>>,
}

#[derive(Debug)]
struct BackoffEntry {
    inputs: u64,
    failures: u32,
    until: Instant,
}

impl Backoff {
    /// Returns the remaining delay of an object; None if it may continue. `inputs` is everything that a user can
    /// change: if it differs from the value at the failure, the backoff is reset.
    pub fn remaining(&self, namespace: &str, name: &str, inputs: &impl Hash) -> Option<Duration> {
        let pauses = self.pauses.lock();
        let pause = pauses
            .get(&ObjectKey::new(namespace, name))
            .filter(|pause| pause.inputs == fingerprint(inputs))?;
        Some(pause.until.saturating_duration_since(Instant::now())).filter(|rest| !rest.is_zero())
    }

    /// Records a failure and returns the delay.
    pub fn record_failure(&self, namespace: &str, name: &str, inputs: &impl Hash) -> Duration {
        let inputs = fingerprint(inputs);
        let mut pauses = self.pauses.lock();
        let before = pauses.get(&ObjectKey::new(namespace, name)).filter(|pause| pause.inputs == inputs);
        let failures = before.map_or(0, |pause| pause.failures).saturating_add(1);
        let pause = jittered(
            BACKOFF_INITIAL.saturating_mul(1 << (failures - 1).min(10)).min(BACKOFF_MAX),
            inputs ^ u64::from(failures),
        );
        pauses.insert(
            ObjectKey::new(namespace, name),
            BackoffEntry { inputs, failures, until: Instant::now() + pause },
        );
        pause
    }

    /// Resets the backoff of an object that succeeded or was deleted.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.pauses.lock().remove(&ObjectKey::new(namespace, name));
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
        let retries = Backoff::default();
        assert_eq!(retries.remaining("ns", "a", &1), None);
        let first = retries.record_failure("ns", "a", &1);
        let second = retries.record_failure("ns", "a", &1);
        assert!(
            first >= BACKOFF_INITIAL && second >= BACKOFF_INITIAL * 2 && second < BACKOFF_INITIAL * 3,
            "{first:?}, {second:?}"
        );
        assert!(retries.remaining("ns", "a", &1).is_some());
        assert_eq!(retries.remaining("ns", "a", &2), None);
        assert_eq!(retries.remaining("ns", "b", &1), None);
        tokio::time::advance(second).await;
        assert_eq!(retries.remaining("ns", "a", &1), None);
        for _ in 0..40 {
            assert!(retries.record_failure("ns", "a", &1) <= BACKOFF_MAX.mul_f64(1.2));
        }
        retries.forget("ns", "a");
        assert!(retries.record_failure("ns", "a", &1) < BACKOFF_INITIAL * 2);
    }
}
