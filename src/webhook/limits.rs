//! Limits concurrent deliveries per connection, so that one flooded or slow connection cannot starve the others.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::Semaphore;

/// Semaphores with the same number of permits, by namespace and name.
#[derive(Debug)]
pub struct KeyedSemaphore {
    width: usize,
    used: Mutex<HashMap<(String, String), Weak<Semaphore>>>,
}

impl KeyedSemaphore {
    /// Creates a set whose semaphores have `width` permits each.
    pub fn new(width: usize) -> Self {
        Self { width, used: Mutex::default() }
    }

    /// Returns the semaphore of a connection. It is removed as soon as no handle to it is left, so that invented names
    /// cost no memory.
    pub fn of(&self, namespace: &str, name: &str) -> Arc<Semaphore> {
        let mut used = self.used.lock();
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(lane) = used.get(&key).and_then(Weak::upgrade) {
            return lane;
        }
        used.retain(|_, lane| lane.strong_count() > 0);
        let lane = Arc::new(Semaphore::new(self.width));
        used.insert(key, Arc::downgrade(&lane));
        lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_lane_is_in_nobody_elses_way() {
        let lanes = KeyedSemaphore::new(2);
        let busy = lanes.of("hiring", "acme");
        let _working = (busy.try_acquire().unwrap(), busy.try_acquire().unwrap());
        assert!(lanes.of("hiring", "acme").try_acquire().is_err());
        assert!(lanes.of("hiring", "other").try_acquire().is_ok());
        assert!(lanes.of("sales", "acme").try_acquire().is_ok());
    }

    #[test]
    fn lanes_that_nobody_uses_are_forgotten() {
        let lanes = KeyedSemaphore::new(2);
        let held = lanes.of("hiring", "acme");
        (0..1000).for_each(|number| drop(lanes.of("hiring", &number.to_string())));
        assert!(Arc::ptr_eq(&held, &lanes.of("hiring", "acme")));
        assert!(lanes.used.lock().len() <= 2);
    }
}
