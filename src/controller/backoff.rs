//! When an object that met an error may call the services again.
//!
//! An object in error must never call more than a healthy one, however often it is woken: each failure doubles the
//! pause. What a person changed ends the pause at once, because the cause may be gone. This memory may be lost: then
//! the object tries once more.

use crate::k8s::key;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use tokio::time::Instant;

/// The pause after the first failure.
const BACKOFF_INITIAL: Duration = Duration::from_secs(2);
/// The longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// The pauses of many objects, by namespace and name.
#[derive(Debug, Default)]
pub struct Backoff {
    pauses: Mutex<HashMap<(String, String), BackoffEntry>>,
}

#[derive(Debug)]
struct BackoffEntry {
    inputs: u64,
    failures: u32,
    until: Instant,
}

impl Backoff {
    /// How long the object has still to wait; None if it may go on. `inputs` is all that a person can change about it:
    /// if it differs from that of the failure, the pause is over.
    pub fn remaining(&self, namespace: &str, name: &str, inputs: &impl Hash) -> Option<Duration> {
        let pauses = self.pauses.lock();
        let pause = pauses.get(&key(namespace, name)).filter(|pause| pause.inputs == fingerprint(inputs))?;
        Some(pause.until.saturating_duration_since(Instant::now())).filter(|rest| !rest.is_zero())
    }

    /// Notes a failure, and says how long to wait.
    pub fn record_failure(&self, namespace: &str, name: &str, inputs: &impl Hash) -> Duration {
        let inputs = fingerprint(inputs);
        let mut pauses = self.pauses.lock();
        let before = pauses.get(&key(namespace, name)).filter(|pause| pause.inputs == inputs);
        let failures = before.map_or(0, |pause| pause.failures).saturating_add(1);
        let pause = jittered(
            BACKOFF_INITIAL.saturating_mul(1 << (failures - 1).min(10)).min(BACKOFF_MAX),
            inputs ^ u64::from(failures),
        );
        pauses.insert(key(namespace, name), BackoffEntry { inputs, failures, until: Instant::now() + pause });
        pause
    }

    /// Notes that all went well, or that the object is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.pauses.lock().remove(&key(namespace, name));
    }
}

fn fingerprint(inputs: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    inputs.hash(&mut hasher);
    hasher.finish()
}

/// Up to a fifth more than the pause, differing by object, so that those that failed together do not return together.
pub fn jittered(pause: Duration, seed: u64) -> Duration {
    pause + pause.mul_f64(0.2 * (fingerprint(&seed) % 1000) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_pause_grows_and_a_change_by_a_person_ends_it() {
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
