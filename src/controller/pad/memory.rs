//! The memory of this process about each Pad: one entry per Pad, with one [`PadMemory::forget`]. All of it may be lost
//! at any time, at the cost of a repeated read, a restarted wait or a restarted backoff.

use super::in_flight::InFlight;
use crate::controller::backoff::Backoff;
use crate::k8s::ObjectKey;
use api::Pad;
use engine::hints::{Hint, PendingHints};
use jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::broadcast;

/// Maximum number of wake-ups that a slow receiver may lag behind before it has to reconcile all Pads with hints.
const HINT_WAKES_CAPACITY: usize = 4096;
/// Maximum number of remembered foreign links per Pad; a candidate has fewer.
const MAX_LINKS_PER_PAD: usize = 100;
/// Delays before an opportunity that is older than a webhook is read again; the read after the last one decides
/// (contract P7a).
const STALE_READ_DELAYS: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(30)];

/// The entries of all Pads, by namespace and name.
#[derive(Debug)]
pub struct PadMemory {
    pads: Mutex<HashMap<ObjectKey, Box<PadEntry>>>,
    hint_requests: AtomicU64,
    wakes: broadcast::Sender<ObjectKey>,
}

/// The entry of one Pad.
#[derive(Debug, Default)]
pub struct PadEntry {
    /// Backoff after a failure.
    pub backoff: Backoff,
    /// Backoff of adding and removing the failure tag.
    pub failure_tag_backoff: Backoff,
    /// Backoff of rejected tags of an open pad.
    pub tag_backoff: Backoff,
    /// Requests that must not be repeated and whose outcome is not stored.
    pub in_flight: InFlight,
    written: Option<WrittenVersion>,
    hints: PendingHints,
    foreign_links: HashSet<String>,
    stale_reads: Option<(Timestamp, usize)>,
    reported_wait: Option<(String, Timestamp)>,
}

/// The last version that this process wrote. The watch lags slightly behind the operator's own writes, and a reconcile
/// of an older version would repeat calls to the services. Exactly-once guarantees do not depend on this, but on
/// conflict-failing writes.
#[derive(Debug)]
struct WrittenVersion {
    uid: Option<String>,
    number: u64,
}

impl Default for PadMemory {
    fn default() -> Self {
        let wakes = broadcast::channel(HINT_WAKES_CAPACITY).0;
        Self { pads: Mutex::default(), hint_requests: AtomicU64::new(0), wakes }
    }
}

impl PadMemory {
    /// Reads the entry of a Pad.
    pub fn read<T>(&self, key: &ObjectKey, read: impl FnOnce(&PadEntry) -> T) -> T {
        match self.pads.lock().get(key) {
            Some(entry) => read(entry),
            None => read(&PadEntry::default()),
        }
    }

    /// Changes the entry of a Pad. An entry without content is removed.
    pub fn update<T>(&self, key: &ObjectKey, change: impl FnOnce(&mut PadEntry) -> T) -> T {
        let mut pads = self.pads.lock();
        let mut entry = pads.remove(key).unwrap_or_default();
        let result = change(&mut entry);
        if !entry.is_empty() {
            pads.insert(key.clone(), entry);
        }
        result
    }

    /// Adds a hint and wakes the Pad. Sync scans the lists of both services and detects changes of settled Pads, which
    /// nothing else would reconcile. It decides nothing itself: the Pad's own reconcile reads the current state. If the
    /// hint is lost, the next sync adds it again.
    pub fn request(&self, key: &ObjectKey, hint: Hint) {
        let number = self.hint_requests.fetch_add(1, Ordering::Relaxed);
        self.update(key, |entry| entry.hints.add(hint, number));
        let _ = self.wakes.send(key.clone());
    }

    /// Subscribes to the Pads with new hints. A receiver that lags behind uses [`Self::hinted`].
    pub fn wakes(&self) -> broadcast::Receiver<ObjectKey> {
        self.wakes.subscribe()
    }

    /// Returns every Pad with pending hints.
    pub fn hinted(&self) -> Vec<ObjectKey> {
        let pads = self.pads.lock();
        pads.iter().filter(|(_, entry)| !entry.hints.is_empty()).map(|(key, _)| key.clone()).collect()
    }

    /// Records a version that this process has just written.
    pub fn record_written(&self, pad: &Pad) {
        self.record_version(pad, pad.resource_version().as_deref());
    }

    /// Records the version that the API server reported for a Pad.
    pub fn record_version(&self, pad: &Pad, version: Option<&str>) {
        if let Some(number) = version.and_then(|version| version.parse().ok()) {
            let written = WrittenVersion { uid: pad.uid(), number };
            self.update(&ObjectKey::from_object(pad), |entry| entry.written = Some(written));
        }
    }

    /// Reports whether this version of the Pad, from the watch, is older than one written by this process. Resource
    /// versions of one object grow (Kubernetes documentation, "Resource versions"); another form disables the check.
    pub fn is_stale(&self, pad: &Pad) -> bool {
        let Some(seen) = pad.resource_version().and_then(|version| version.parse::<u64>().ok()) else {
            return false;
        };
        let is_ahead = |written: &WrittenVersion| written.uid == pad.uid() && written.number > seen;
        let key = ObjectKey::from_object(pad);
        match self.read(&key, |entry| entry.written.as_ref().map(is_ahead)) {
            Some(false) => {
                self.update(&key, |entry| entry.written = None);
                false
            }
            is_ahead => is_ahead.unwrap_or_default(),
        }
    }

    /// Removes the entry of a deleted Pad.
    pub fn forget(&self, key: &ObjectKey) {
        self.pads.lock().remove(key);
    }
}

impl PadEntry {
    fn is_empty(&self) -> bool {
        let backoffs = [&self.backoff, &self.failure_tag_backoff, &self.tag_backoff];
        backoffs.iter().all(|backoff| backoff.is_reset())
            && self.in_flight.is_empty()
            && self.written.is_none()
            && self.hints.is_empty()
            && self.foreign_links.is_empty()
            && self.stale_reads.is_none()
            && self.reported_wait.is_none()
    }

    /// Returns a snapshot of the pending hints. A hint that is added later stays pending when the snapshot is completed.
    pub fn hints(&self) -> PendingHints {
        self.hints.clone()
    }

    /// Reports whether hints are pending.
    pub fn has_hints(&self) -> bool {
        !self.hints.is_empty()
    }

    /// Removes a hint, unless it was added again since the snapshot.
    pub fn complete(&mut self, hint: Hint, snapshot: &PendingHints) {
        self.hints.complete(hint, snapshot);
    }

    /// Records the linked pads that a reconcile has read. Sync finds foreign links in every scan; each is read once.
    pub fn record_foreign_links(&mut self, ids: &[String]) {
        let room = MAX_LINKS_PER_PAD.saturating_sub(self.foreign_links.len());
        self.foreign_links.extend(ids.iter().take(room).cloned());
    }

    /// Reports whether all these linked pads were read before.
    pub fn knows_links(&self, ids: &[&String]) -> bool {
        ids.iter().all(|id| self.foreign_links.contains(*id))
    }

    /// Returns the delay before the next read of the opportunity, in case the coming read is older than the webhook as
    /// well; `None`: the coming read decides (contract P7a).
    pub fn read_again_in(&self, event: Timestamp) -> Option<Duration> {
        let count = self.stale_reads.filter(|(at, _)| *at == event).map_or(0, |(_, count)| count);
        STALE_READ_DELAYS.get(count).copied()
    }

    /// Counts a read that was older than the webhook.
    pub fn record_stale_read(&mut self, event: Timestamp) {
        let count = self.stale_reads.filter(|(at, _)| *at == event).map_or(0, |(_, count)| count);
        self.stale_reads = Some((event, count + 1));
    }

    /// Removes the count of a Pad that was judged.
    pub fn forget_stale_reads(&mut self) {
        self.stale_reads = None;
    }

    /// Records that the Event about a wait is written. Returns false if it was recorded before.
    pub fn report_wait(&mut self, uid: String, since: Timestamp) -> bool {
        let wait = Some((uid, since));
        let is_new = self.reported_wait != wait;
        self.reported_wait = wait;
        is_new
    }

    /// Removes the wait of a Pad that no longer waits.
    pub fn forget_wait(&mut self) {
        self.reported_wait = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn pad(version: &str) -> Pad {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
            "metadata": {"name": "p", "namespace": "hiring", "uid": "u-1", "resourceVersion": version},
            "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"},
        }))
        .unwrap()
    }

    fn key() -> ObjectKey {
        ObjectKey::new("hiring", "p")
    }

    #[test]
    fn only_versions_before_the_own_write_are_stale() {
        let memory = PadMemory::default();
        assert!(!memory.is_stale(&pad("9")));
        memory.record_written(&pad("10"));
        assert!(memory.is_stale(&pad("9")) && !memory.is_stale(&pad("strange")));
        assert!(!memory.is_stale(&pad("10")));
        assert!(memory.pads.lock().is_empty(), "the watch has caught up");
        memory.record_written(&pad("10"));
        assert!(!memory.is_stale(&pad("11")));
        let earlier =
            Pad { metadata: ObjectMeta { uid: Some("u-0".into()), ..pad("9").metadata }, ..pad("9") };
        memory.record_written(&pad("10"));
        assert!(!memory.is_stale(&earlier), "another Pad of this name");
    }

    #[test]
    fn a_hint_is_pending_until_completed_and_one_added_meanwhile_stays_pending() {
        let memory = PadMemory::default();
        let mut wakes = memory.wakes();
        let pending = || memory.read(&key(), PadEntry::hints);
        assert!(!pending().has(Hint::Record));
        memory.request(&key(), Hint::Record);
        memory.request(&key(), Hint::Judge);
        assert_eq!(wakes.try_recv().unwrap(), key());
        let snapshot = pending();
        assert!(snapshot.has(Hint::Record) && snapshot.has(Hint::Judge) && !snapshot.has(Hint::Archived));

        memory.request(&key(), Hint::Record);
        let complete =
            |hint, snapshot: &PendingHints| memory.update(&key(), |entry| entry.complete(hint, snapshot));
        complete(Hint::Record, &snapshot);
        complete(Hint::Judge, &snapshot);
        let later = pending();
        assert!(later.has(Hint::Record) && !later.has(Hint::Judge));
        assert_eq!(memory.hinted(), [key()]);
        complete(Hint::Record, &later);
        assert_eq!(memory.hinted(), []);
        assert!(memory.pads.lock().is_empty(), "an entry without content is removed");
    }

    #[test]
    fn stale_reads_are_repeated_after_growing_delays_for_each_event() {
        let (mut entry, at) = (PadEntry::default(), |second| Timestamp::from_second(second).unwrap());
        for expected in [Some(2), Some(5), Some(15), Some(30), None] {
            assert_eq!(entry.read_again_in(at(1)).map(|delay| delay.as_secs()), expected);
            entry.record_stale_read(at(1));
        }
        assert_eq!(entry.read_again_in(at(2)), Some(STALE_READ_DELAYS[0]), "another event");
        entry.record_stale_read(at(2));
        assert_eq!(entry.read_again_in(at(2)), Some(STALE_READ_DELAYS[1]));
        assert_eq!(entry.read_again_in(at(1)), Some(STALE_READ_DELAYS[0]));
        entry.forget_stale_reads();
        assert!(entry.is_empty());
    }

    #[test]
    fn each_wait_is_reported_once() {
        let (mut entry, at) = (PadEntry::default(), |second| Timestamp::from_second(second).unwrap());
        assert!(entry.report_wait("u-1".into(), at(0)) && !entry.report_wait("u-1".into(), at(0)));
        assert!(entry.report_wait("u-1".into(), at(30)), "another wait");
        assert!(entry.report_wait("u-2".into(), at(30)), "another Pad of this name");
        entry.forget_wait();
        assert!(entry.is_empty());
    }

    #[test]
    fn links_are_read_once_and_their_number_is_bounded() {
        let mut entry = PadEntry::default();
        let ids: Vec<String> = (0..2 * MAX_LINKS_PER_PAD).map(|id| id.to_string()).collect();
        assert!(!entry.knows_links(&[&ids[0]]) && entry.knows_links(&[]));
        entry.record_foreign_links(&ids);
        assert!(
            entry.knows_links(&[&ids[0], &ids[1]]) && !entry.knows_links(&[&ids[0], &ids[MAX_LINKS_PER_PAD]])
        );
    }
}
