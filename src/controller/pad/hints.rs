//! Hints: requests of other tasks of the leader to refresh part of a Pad's state.
//!
//! Sync scans both services' lists and detects changes of settled Pads, which nothing else would reconcile. It decides
//! nothing itself: it adds a hint, and the Pad's own reconcile reads the current state. Hints may be lost: the next sync
//! finds the same changes and adds them again.

use super::foreign_links::ForeignLinks;
use crate::k8s::ObjectKey;
use engine::hints::{Hint, PendingHints};
use parking_lot::Mutex;
use std::collections::HashMap;
use tokio::sync::broadcast;

/// Maximum number of wake-ups that a slow receiver may lag behind before it has to reconcile all Pads with hints.
const HINT_WAKES_CAPACITY: usize = 4096;

/// The pending hints, by namespace and name of the Pad.
#[derive(Debug)]
pub struct Hints {
    /// Links that were already checked for pads of other installations.
    pub foreign_links: ForeignLinks,
    asked: Mutex<HintTable>,
    wakes: broadcast::Sender<ObjectKey>,
}

#[derive(Debug, Default)]
struct HintTable {
    number: u64,
    pending: HashMap<ObjectKey, PendingHints>,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            foreign_links: ForeignLinks::default(),
            asked: Mutex::default(),
            wakes: broadcast::channel(HINT_WAKES_CAPACITY).0,
        }
    }
}

impl Hints {
    /// Adds a hint and wakes the Pad.
    pub fn request(&self, namespace: &str, name: &str, what: Hint) {
        let mut asked = self.asked.lock();
        asked.number += 1;
        let number = asked.number;
        asked.pending.entry(ObjectKey::new(namespace, name)).or_default().0.insert(what, number);
        drop(asked);
        let _ = self.wakes.send(ObjectKey::new(namespace, name));
    }

    /// Returns a snapshot of the pending hints of a Pad. A hint that is added later stays pending when the snapshot is
    /// completed.
    pub fn pending(&self, namespace: &str, name: &str) -> PendingHints {
        self.asked.lock().pending.get(&ObjectKey::new(namespace, name)).cloned().unwrap_or_default()
    }

    /// Reports whether a Pad has pending hints.
    pub fn has_pending(&self, namespace: &str, name: &str) -> bool {
        self.asked.lock().pending.contains_key(&ObjectKey::new(namespace, name))
    }

    /// Removes a hint, unless it was added again since the snapshot `wanted`.
    pub fn complete(&self, namespace: &str, name: &str, what: Hint, wanted: &PendingHints) {
        let mut asked = self.asked.lock();
        let Some(left) = asked.pending.get_mut(&ObjectKey::new(namespace, name)) else { return };
        if left.0.get(&what) == wanted.0.get(&what) {
            left.0.remove(&what);
        }
        if left.0.is_empty() {
            asked.pending.remove(&ObjectKey::new(namespace, name));
        }
    }

    /// Removes the state of a deleted Pad.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.foreign_links.forget(namespace, name);
        self.asked.lock().pending.remove(&ObjectKey::new(namespace, name));
    }

    /// Subscribes to the namespaces and names of Pads with new hints. A receiver that lags behind uses [`Self::all`].
    pub fn wakes(&self) -> broadcast::Receiver<ObjectKey> {
        self.wakes.subscribe()
    }

    /// Returns namespace and name of every Pad with pending hints.
    pub fn all(&self) -> Vec<ObjectKey> {
        self.asked.lock().pending.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_pending_until_completed_and_one_added_meanwhile_stays_pending() {
        let hints = Hints::default();
        let mut wakes = hints.wakes();
        assert!(!hints.pending("hiring", "a").has(Hint::Record));
        hints.request("hiring", "a", Hint::Record);
        hints.request("hiring", "a", Hint::Judge);
        assert_eq!(wakes.try_recv().unwrap(), ObjectKey::new("hiring", "a"));
        let wanted = hints.pending("hiring", "a");
        assert!(wanted.has(Hint::Record) && wanted.has(Hint::Judge) && !wanted.has(Hint::Archived));
        assert!(!hints.pending("hiring", "b").has(Hint::Record));

        hints.request("hiring", "a", Hint::Record);
        hints.complete("hiring", "a", Hint::Record, &wanted);
        hints.complete("hiring", "a", Hint::Judge, &wanted);
        let later = hints.pending("hiring", "a");
        assert!(later.has(Hint::Record) && !later.has(Hint::Judge));
        hints.complete("hiring", "a", Hint::Record, &later);
        assert_eq!(hints.all(), []);
        hints.request("hiring", "a", Hint::Archived);
        assert!(hints.has_pending("hiring", "a") && !hints.has_pending("hiring", "b"));
        assert_eq!(hints.all(), [ObjectKey::new("hiring", "a")]);
        hints.forget("hiring", "a");
        assert_eq!(hints.all(), []);
    }
}
