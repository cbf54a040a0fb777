//! Counts the reads that were older than the signed webhook by which a Pad is judged (contract P7a).
//!
//! Lever's API can lag behind its webhooks. An older read decides nothing: the opportunity is read again with growing
//! delays. The counts may be lost: the delays then start again.

use crate::k8s::ObjectKey;
use api::Pad;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;

/// Delays before the opportunity is read again; the read after the last one decides.
const STALE_READ_DELAYS: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(30)];

/// Counts of reads that were older than an event, by namespace and name of the Pad.
#[derive(Debug, Default)]
pub struct StaleReads {
    counts: Mutex<HashMap<ObjectKey, (Timestamp, usize)>>,
}

impl StaleReads {
    /// Returns the delay before the next read, in case the coming read is older than the event as well; `None`: the
    /// coming read decides.
    pub fn read_again_in(&self, pad: &Pad, event: Timestamp) -> Option<Duration> {
        let counts = self.counts.lock();
        let known = counts.get(&ObjectKey::from_object(pad));
        let count = known.filter(|(at, _)| *at == event).map_or(0, |(_, count)| *count);
        STALE_READ_DELAYS.get(count).copied()
    }

    /// Counts a read that was older than the event.
    pub fn record(&self, namespace: &str, name: &str, event: Timestamp) {
        let mut counts = self.counts.lock();
        let entry = counts.entry(ObjectKey::new(namespace, name)).or_insert((event, 0));
        *entry = if entry.0 == event { (event, entry.1 + 1) } else { (event, 1) };
    }

    /// Removes the count of a Pad that was judged or deleted.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.counts.lock().remove(&ObjectKey::new(namespace, name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_reads_are_repeated_after_growing_delays_for_each_event() {
        let pad: Pad = serde_json::from_value(serde_json::json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "metadata": {"name": "p", "namespace": "hiring"},
            "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"},
        }))
        .unwrap();
        let (reads, at) = (StaleReads::default(), |second| Timestamp::from_second(second).unwrap());
        let delay = |event| reads.read_again_in(&pad, event).map(|delay| delay.as_secs());
        for expected in [Some(2), Some(5), Some(15), Some(30), None] {
            assert_eq!(delay(at(1)), expected);
            reads.record("hiring", "p", at(1));
        }
        assert_eq!(delay(at(2)), Some(2), "another event");
        reads.record("hiring", "p", at(2));
        assert_eq!((delay(at(2)), delay(at(1))), (Some(5), Some(2)));
        reads.forget("hiring", "p");
        assert_eq!(delay(at(2)), Some(2));
    }
}
