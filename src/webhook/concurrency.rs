//! Limits concurrent deliveries per connection, so that one flooded or slow connection cannot starve the others.

use crate::k8s::ObjectKey;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::Semaphore;

/// Semaphores with the same number of permits, by namespace and name.
#[derive(Debug)]
pub struct KeyedSemaphore {
    width: usize,
    semaphores: Mutex<HashMap<ObjectKey, Weak<Semaphore>>>,
}

impl KeyedSemaphore {
    /// Creates a set whose semaphores have `width` permits each.
    pub fn new(width: usize) -> Self {
        Self { width, semaphores: Mutex::default() }
    }

    /// Returns the semaphore of a connection. It is removed as soon as no handle to it is left, so that invented names
    /// cost no memory.
    pub fn for_connection(&self, namespace: &str, name: &str) -> Arc<Semaphore> {
        let mut semaphores = self.semaphores.lock();
        let key = ObjectKey::new(namespace, name);
        if let Some(semaphore) = semaphores.get(&key).and_then(Weak::upgrade) {
            return semaphore;
        }
        semaphores.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.width));
        semaphores.insert(key, Arc::downgrade(&semaphore));
        semaphore
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_semaphore_does_not_block_other_connections() {
        let lanes = KeyedSemaphore::new(2);
        let busy = lanes.for_connection("hiring", "acme");
        let _working = (busy.try_acquire().unwrap(), busy.try_acquire().unwrap());
        assert!(lanes.for_connection("hiring", "acme").try_acquire().is_err());
        assert!(lanes.for_connection("hiring", "other").try_acquire().is_ok());
        assert!(lanes.for_connection("sales", "acme").try_acquire().is_ok());
    }

    #[test]
    fn unused_semaphores_are_removed() {
        let lanes = KeyedSemaphore::new(2);
        let held = lanes.for_connection("hiring", "acme");
        (0..1000).for_each(|number| drop(lanes.for_connection("hiring", &number.to_string())));
        assert!(Arc::ptr_eq(&held, &lanes.for_connection("hiring", "acme")));
        assert!(lanes.semaphores.lock().len() <= 2);
    }
}
