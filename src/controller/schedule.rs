//! Time for the controllers: the current time, and the schedule of polling (each interval, and earlier after a
//! transient failure).

use super::backoff::jittered;
use crate::k8s::ObjectKey;
use engine::backoff::exponential;
use jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use tokio::time::Instant;

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

/// Result of the last poll of an object, and the schedule of the next one.
#[derive(Clone, Debug)]
pub struct Polled<K, T> {
    /// Inputs of the poll. A change makes another poll due.
    pub key: K,
    /// The result.
    pub result: T,
    /// The reconcile request that the poll handled.
    pub handled: Option<String>,
    /// Number of consecutive transient failures, including this poll.
    pub failures: u32,
    /// Time of the next poll. None: on request or on a change.
    pub next: Option<Instant>,
}

impl<K, T> Polled<K, T> {
    /// Reports whether another poll is due. `requested` is the value of the annotation for reconcile requests.
    pub fn is_outdated<Q: ?Sized>(&self, key: &Q, requested: Option<&str>, now: Instant) -> bool
    where
        K: PartialEq<Q>,
    {
        let is_new_request = requested.is_some() && requested != self.handled.as_deref();
        self.key != *key || is_new_request || self.next.is_some_and(|next| next <= now)
    }
}

/// Returns the time of the poll after one at `now`: after the interval, or earlier after transient failures.
pub fn next_poll(
    now: Instant,
    failures: u32,
    asked_for: Option<Duration>,
    interval: Option<Duration>,
) -> Option<Instant> {
    let pause = match failures {
        0 => with_jitter(interval?, now),
        _ => after_failures(failures, interval, asked_for),
    };
    Some(now + pause)
}

/// Adds up to 10% jitter to an interval, so that connections do not poll in lockstep.
fn with_jitter(interval: Duration, seed: impl Hash) -> Duration {
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    interval + (jittered(interval, hasher.finish()) - interval) / 2
}

/// Returns the delay after a number of consecutive failures. It grows exponentially up to the interval, if set. A
/// longer delay that the service requested takes precedence.
pub fn after_failures(failures: u32, interval: Option<Duration>, asked_for: Option<Duration>) -> Duration {
    let pause = exponential(RETRY_DELAY_INITIAL, RETRY_DELAY_MAX, failures);
    let pause = interval.map_or(pause, |interval| pause.min(interval));
    pause.max(asked_for.unwrap_or_default().min(REQUEUE_RETRY_AFTER_MAX))
}

/// State of many objects in memory, by namespace and name. A restart loses it, and an object that is deleted and created
/// again starts without it.
#[derive(Debug, Default)]
pub struct ObjectStates<T> {
    states: Mutex<HashMap<ObjectKey, (Option<String>, T)>>,
}

impl<T: Default> ObjectStates<T> {
    /// Calls a function with the state of an object.
    pub fn with<R>(&self, object: &impl ResourceExt, use_state: impl FnOnce(&mut T) -> R) -> R {
        let mut states = self.states.lock();
        let (uid, state) = states.entry(ObjectKey::from_object(object)).or_default();
        if *uid != object.uid() {
            (*uid, *state) = (object.uid(), T::default());
        }
        use_state(state)
    }

    /// Drops the state of a deleted object.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.states.lock().remove(&ObjectKey::new(namespace, name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Secret;

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
    fn an_object_that_is_created_again_starts_without_state() {
        let states = ObjectStates::<u32>::default();
        let object = |name: &str, uid: &str| {
            let metadata = serde_json::json!({"name": name, "namespace": "hiring", "uid": uid});
            serde_json::from_value::<Secret>(serde_json::json!({"metadata": metadata})).unwrap()
        };
        let count = |object: &Secret| {
            states.with(object, |count| {
                *count += 1;
                *count
            })
        };
        assert_eq!([count(&object("a", "1")), count(&object("b", "1")), count(&object("a", "1"))], [1, 1, 2]);
        assert_eq!(count(&object("a", "2")), 1);
        states.forget("hiring", "a");
        assert_eq!(count(&object("a", "2")), 1);
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
