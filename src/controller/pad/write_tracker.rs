//! Which version of each Pad this process has written last, so that a pass never starts from an older one.
//!
//! The watch lies a little behind one's own writes. A pass that starts from the version before them would ask the
//! services again for what is known already. Nothing that must happen once rests on this: the conflict-failing writes do.

use crate::api::Pad;
use kube::ResourceExt;
use parking_lot::Mutex;
use std::collections::HashMap;

/// The versions by namespace and name. An entry goes when the watch has caught up.
#[derive(Debug, Default)]
pub struct WriteTracker {
    versions: Mutex<HashMap<(String, String), WrittenVersion>>,
}

#[derive(Debug)]
struct WrittenVersion {
    uid: Option<String>,
    number: u64,
}

impl WriteTracker {
    /// This version was just written.
    pub fn record(&self, pad: &Pad) {
        if let Some(number) = version(pad) {
            self.versions.lock().insert(key(pad), WrittenVersion { uid: pad.uid(), number });
        }
    }

    /// The API server has this version of the Pad.
    pub fn record_version(&self, pad: &Pad, version: Option<&str>) {
        if let Some(number) = version.and_then(|version| version.parse().ok()) {
            self.versions.lock().insert(key(pad), WrittenVersion { uid: pad.uid(), number });
        }
    }

    /// Whether this version, from the watch, is older than one that was written here.
    pub fn is_stale(&self, pad: &Pad) -> bool {
        let Some(seen) = version(pad) else { return false };
        let mut versions = self.versions.lock();
        let written = versions.get(&key(pad)).filter(|written| written.uid == pad.uid());
        let is_ahead = written.is_some_and(|written| written.number > seen);
        if !is_ahead {
            versions.remove(&key(pad));
        }
        is_ahead
    }

    /// The Pad is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.versions.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }
}

fn key(pad: &Pad) -> (String, String) {
    (pad.namespace().unwrap_or_default(), pad.name_any())
}

/// Versions of one object grow as numbers (Kubernetes documentation, "Resource versions"). If they are no numbers, every
/// version passes.
fn version(pad: &Pad) -> Option<u64> {
    pad.resource_version()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pad(version: &str) -> Pad {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
            "metadata": {"name": "p", "namespace": "hiring", "uid": "u-1", "resourceVersion": version},
            "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"},
        }))
        .unwrap()
    }

    #[test]
    fn only_a_version_before_ones_own_write_is_too_old() {
        let written = WriteTracker::default();
        assert!(!written.is_stale(&pad("9")));
        written.record(&pad("10"));
        assert!(written.is_stale(&pad("9")));
        assert!(!written.is_stale(&pad("10")));
        written.record(&pad("10"));
        assert!(!written.is_stale(&pad("11")));
        assert!(!written.is_stale(&pad("strange")));
    }
}
