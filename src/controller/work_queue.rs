//! The queue of one controller, in the manner of client-go: an object is queued at most once, never reconciled twice at
//! a time, and can be queued after a delay. An object that is triggered during its pass is queued again afterwards.

use super::backoff::Backoff;
use crate::k8s::ObjectKey;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::hash::Hash;
use std::time::Duration;
use tokio_util::time::{DelayQueue, delay_queue};

/// The objects that are queued, delayed or being reconciled, by namespace and name.
#[derive(Debug, Default)]
pub struct WorkQueue {
    items: HashMap<ObjectKey, Progress>,
    delays: DelayQueue<ObjectKey>,
    delayed: HashMap<ObjectKey, delay_queue::Key>,
    failures: HashMap<ObjectKey, Backoff>,
}

#[derive(Debug, Eq, PartialEq)]
enum Progress {
    Queued,
    Running { triggered: bool },
}

impl WorkQueue {
    /// Queues an object. Returns false if it is already queued, or will be queued after its pass.
    pub fn add(&mut self, key: &ObjectKey) -> bool {
        match self.items.entry(key.clone()) {
            Entry::Vacant(unknown) => {
                unknown.insert(Progress::Queued);
                true
            }
            Entry::Occupied(mut known) => {
                if let Progress::Running { triggered } = known.get_mut() {
                    *triggered = true;
                }
                false
            }
        }
    }

    /// Queues an object after a delay, in place of its earlier delay.
    pub fn add_after(&mut self, key: ObjectKey, delay: Duration) {
        self.cancel_delay(&key);
        let delayed = self.delays.insert(key.clone(), delay);
        self.delayed.insert(key, delayed);
    }

    /// Queues an object with exponential backoff after a failure, and returns the delay. A change of `inputs` resets the
    /// backoff.
    pub fn add_rate_limited(&mut self, key: ObjectKey, inputs: &impl Hash) -> Duration {
        let delay = self.failures.entry(key.clone()).or_default().record_failure(inputs);
        self.add_after(key, delay);
        delay
    }

    /// Returns the next object whose delay has ended; `None` if no object is delayed. Cancel safe.
    pub async fn next_delayed(&mut self) -> Option<ObjectKey> {
        let key = poll_fn(|cx| self.delays.poll_expired(cx)).await?.into_inner();
        self.delayed.remove(&key);
        Some(key)
    }

    /// Marks a queued object as running. Returns false if it was removed or is running already.
    pub fn begin(&mut self, key: &ObjectKey) -> bool {
        let Some(progress @ Progress::Queued) = self.items.get_mut(key) else { return false };
        *progress = Progress::Running { triggered: false };
        self.cancel_delay(key);
        true
    }

    /// Ends the pass over an object. Returns whether the object was triggered meanwhile.
    pub fn done(&mut self, key: &ObjectKey) -> bool {
        let ended = self.items.remove(key);
        // At startup all objects are queued; the map is rarely that large again.
        if self.items.is_empty() {
            self.items.shrink_to_fit();
        }
        ended == Some(Progress::Running { triggered: true })
    }

    /// Resets the backoff of an object whose pass succeeded.
    pub fn succeeded(&mut self, key: &ObjectKey) {
        self.failures.remove(key);
    }

    /// Removes an object that does not exist. Returns false if a pass over it is running: then its end decides.
    pub fn forget(&mut self, key: &ObjectKey) -> bool {
        if let Some(Progress::Running { triggered }) = self.items.get_mut(key) {
            *triggered = true;
            return false;
        }
        self.items.remove(key);
        self.cancel_delay(key);
        self.failures.remove(key);
        true
    }

    fn cancel_delay(&mut self, key: &ObjectKey) {
        if let Some(delayed) = self.delayed.remove(key) {
            self.delays.remove(&delayed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("hiring", name)
    }

    #[tokio::test]
    async fn an_object_is_queued_once_and_again_after_a_pass_in_which_it_was_triggered() {
        let mut queue = WorkQueue::default();
        assert!(queue.add(&key("a")));
        assert!(!queue.add(&key("a")), "it is queued");
        assert!(queue.begin(&key("a")));
        assert!(!queue.begin(&key("a")), "one pass at a time");
        assert!(!queue.done(&key("a")));

        assert!(queue.add(&key("a")) && queue.begin(&key("a")));
        assert!(!queue.add(&key("a")) && !queue.add(&key("a")));
        assert!(queue.done(&key("a")), "triggered meanwhile");
        assert!(queue.add(&key("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_is_replaced_by_the_next_and_cancelled_by_a_pass() {
        let mut queue = WorkQueue::default();
        assert_eq!(queue.next_delayed().await, None);
        queue.add_after(key("a"), Duration::from_secs(10));
        queue.add_after(key("a"), Duration::from_secs(60));
        queue.add_after(key("b"), Duration::from_secs(30));
        assert_eq!(queue.next_delayed().await, Some(key("b")));
        assert!(queue.add(&key("a")) && queue.begin(&key("a")));
        assert_eq!(queue.next_delayed().now_or_never(), Some(None));
        assert!(queue.delayed.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_delay_longer_each_time_until_a_success_or_a_change() {
        let mut queue = WorkQueue::default();
        let first = queue.add_rate_limited(key("a"), &1);
        let second = queue.add_rate_limited(key("a"), &1);
        assert!(second > first);
        assert!(queue.add_rate_limited(key("a"), &2) < second, "an edited object is retried soon");
        queue.succeeded(&key("a"));
        assert!(queue.add_rate_limited(key("a"), &1) < second);
    }

    #[tokio::test]
    async fn a_deleted_object_leaves_nothing_behind_even_if_its_pass_is_running() {
        let mut queue = WorkQueue::default();
        queue.add_rate_limited(key("a"), &1);
        assert!(queue.add(&key("a")));
        assert!(queue.forget(&key("a")));
        assert!(!queue.begin(&key("a")), "it was removed while it was queued");
        assert!(queue.items.is_empty() && queue.delayed.is_empty() && queue.failures.is_empty());

        assert!(queue.add(&key("a")) && queue.begin(&key("a")));
        assert!(!queue.forget(&key("a")));
        assert!(queue.done(&key("a")), "the end of the pass looks for the object again");
    }
}
