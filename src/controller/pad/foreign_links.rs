//! Cache of the foreign links that a candidate carries next to the link of our pad and that were already read.
//!
//! Sync finds such links in every scan. Without this cache, each of them would cost a call per sync. It may be lost:
//! each link is then read once more.

use crate::k8s::ObjectKey;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};

/// Maximum number of cached links per Pad; a candidate has fewer.
const MAX_LINKS_PER_PAD: usize = 100;

/// IDs of pads by namespace and name of the Pad.
#[derive(Debug, Default)]
pub struct ForeignLinks {
    known: Mutex<HashMap<ObjectKey, HashSet<String>>>,
}

impl ForeignLinks {
    /// Records the linked pads that a reconcile of the Pad has read.
    pub fn record(&self, namespace: &str, name: &str, ids: &[String]) {
        if ids.is_empty() {
            return;
        }
        let mut known = self.known.lock();
        let of_pad = known.entry(ObjectKey::new(namespace, name)).or_default();
        let room = MAX_LINKS_PER_PAD.saturating_sub(of_pad.len());
        of_pad.extend(ids.iter().take(room).cloned());
    }

    /// Reports whether all these linked pads were read before.
    pub fn are_known(&self, namespace: &str, name: &str, ids: &[&String]) -> bool {
        let known = self.known.lock();
        let of_pad = known.get(&ObjectKey::new(namespace, name));
        ids.iter().all(|id| of_pad.is_some_and(|of_pad| of_pad.contains(*id)))
    }

    /// Removes the state of a deleted Pad.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.known.lock().remove(&ObjectKey::new(namespace, name));
    }
}
