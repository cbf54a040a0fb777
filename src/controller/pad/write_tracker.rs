//! Tracks the last version of each Pad that this process wrote, so that no reconcile starts from an older one.
//!
//! The watch lags slightly behind the operator's own writes. A reconcile of an older version would repeat calls to the
//! services. Exactly-once guarantees do not depend on this, but on conflict-failing writes.

use crate::k8s::ObjectKey;
use api::Pad;
use kube::ResourceExt;
use parking_lot::Mutex;
use std::collections::HashMap;

/// The written versions, by namespace and name. An entry is removed when the watch has caught up.
#[derive(Debug, Default)]
pub struct WriteTracker {
    versions: Mutex<HashMap<ObjectKey, WrittenVersion>>,
}

#[derive(Debug)]
struct WrittenVersion {
    uid: Option<String>,
    number: u64,
}

impl WriteTracker {
    /// Records a version that was just written.
    pub fn record(&self, pad: &Pad) {
        if let Some(number) = version(pad) {
            self.versions
                .lock()
                .insert(ObjectKey::from_object(pad), WrittenVersion { uid: pad.uid(), number });
        }
    }

    /// Records the version that the API server reported for the Pad.
    pub fn record_version(&self, pad: &Pad, version: Option<&str>) {
        if let Some(number) = version.and_then(|version| version.parse().ok()) {
            self.versions
                .lock()
                .insert(ObjectKey::from_object(pad), WrittenVersion { uid: pad.uid(), number });
        }
    }

    /// Reports whether this version, from the watch, is older than one written by this process.
    pub fn is_stale(&self, pad: &Pad) -> bool {
        let Some(seen) = version(pad) else { return false };
        let mut versions = self.versions.lock();
        let written = versions.get(&ObjectKey::from_object(pad)).filter(|written| written.uid == pad.uid());
        let is_ahead = written.is_some_and(|written| written.number > seen);
        if !is_ahead {
            versions.remove(&ObjectKey::from_object(pad));
        }
        is_ahead
    }

    /// Removes the state of a deleted Pad.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.versions.lock().remove(&ObjectKey::new(namespace, name));
    }
}

/// Returns the resource version as a number, which grows for each object (Kubernetes documentation, "Resource
/// versions"). `None` disables the check.
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
    fn only_versions_before_the_own_write_are_stale() {
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
