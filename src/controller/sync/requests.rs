//! Queue of sync requests, and their results for the rest of the leader: whether a request is completed, and whether
//! sync found a stage entry that no webhook reported. All in memory: after a restart everything is synced anyway.

use crate::controller::schedule;
use crate::k8s::ObjectKey;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;
use tokio::sync::{Notify, broadcast};

/// Maximum number of completions that a slow receiver may lag behind before it must check everything.
const COMPLETIONS_CAPACITY: usize = 256;

/// The requested syncs of one connection.
#[derive(Clone, Debug, Default)]
pub struct SyncRequest {
    /// Whether everything is requested.
    pub whole: bool,
    /// The request that this sync completes.
    pub request: Option<String>,
    /// The configurations whose rules are scanned, and the request that each scan completes.
    pub rules: BTreeMap<String, Option<String>>,
}

impl SyncRequest {
    fn is_empty(&self) -> bool {
        !self.whole && self.rules.is_empty()
    }
}

/// A stage entry that no webhook reported.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MissedDelivery {
    /// The stage's name.
    pub stage: String,
    /// When the candidate entered.
    pub entry: Timestamp,
    /// When sync found it.
    pub found: Timestamp,
}

/// Result of a sync.
#[derive(Debug, Default)]
pub struct SyncOutcome {
    /// The last stage entry that this sync found and that no webhook had reported.
    pub missed: Option<MissedDelivery>,
    /// When it began, if everything was requested and all scans were completed.
    pub complete: Option<CompletedSync>,
    /// The configurations whose scans were not completed.
    pub failed_rules: BTreeSet<String>,
    /// Whether a scan was cut because it was too long for one sync, and continues with the next.
    pub continues: bool,
}

/// A sync of everything that completed all its scans.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CompletedSync {
    /// When it began.
    pub at: Timestamp,
    /// Time up to which the lists of deleted and anonymized candidates have been scanned; None if Lever refused one of
    /// the lists.
    pub erasures: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct ConnectionQueue {
    wanted: SyncRequest,
    running: Option<SyncRequest>,
    /// Requests that were not completed: they are queued again after a delay.
    unfinished: SyncRequest,
    /// Number of syncs in a row that left something unfinished.
    failures: u32,
    missed: Option<MissedDelivery>,
    answered: HashMap<String, String>,
    /// The last request for everything whose scans were completed.
    answered_whole: Option<String>,
    complete: Option<CompletedSync>,
}

/// The sync requests of all connections.
#[derive(Debug)]
pub struct SyncQueue {
    connections: Mutex<HashMap<ObjectKey, ConnectionQueue>>,
    asked: Notify,
    ends: broadcast::Sender<ObjectKey>,
}

impl Default for SyncQueue {
    fn default() -> Self {
        Self {
            connections: Mutex::default(),
            asked: Notify::new(),
            ends: broadcast::channel(COMPLETIONS_CAPACITY).0,
        }
    }
}

impl SyncQueue {
    /// Requests a sync of everything for a connection: by the timer, or by a request.
    pub fn request_sync(&self, namespace: &str, connection: &str, request: Option<&str>) {
        let mut connections = self.connections.lock();
        let wanted = &mut connections.entry(ObjectKey::new(namespace, connection)).or_default().wanted;
        wanted.whole = true;
        wanted.request = request.map(str::to_owned).or(wanted.request.take());
        drop(connections);
        self.asked.notify_one();
    }

    /// Requests the scan of a configuration's rule. A repeat of the same request is ignored.
    pub fn request_rule_sync(
        &self,
        (namespace, connection): (&str, &str),
        rule: &str,
        request: Option<&str>,
    ) {
        let mut connections = self.connections.lock();
        let entry = connections.entry(ObjectKey::new(namespace, connection)).or_default();
        let by_it =
            |running: &SyncRequest| running.rules.get(rule).is_some_and(|known| known.as_deref() == request);
        let is_retried = by_it(&entry.unfinished);
        if request.is_some() && (is_retried || entry.running.as_ref().is_some_and(by_it)) {
            return;
        }
        let known = entry.wanted.rules.entry(rule.to_owned()).or_default();
        if request.is_some() {
            *known = request.map(str::to_owned);
        }
        drop(connections);
        self.asked.notify_one();
    }

    /// Reports whether the scan that a request by annotation asks for is completed.
    pub fn is_answered(&self, (namespace, connection): (&str, &str), rule: &str, request: &str) -> bool {
        let connections = self.connections.lock();
        let entry = connections.get(&ObjectKey::new(namespace, connection));
        entry.and_then(|entry| entry.answered.get(rule)).is_some_and(|answered| answered == request)
    }

    /// Reports whether all scans that a request for everything of a connection asks for are completed (contract S2b,
    /// S4).
    pub fn is_complete(&self, namespace: &str, connection: &str, request: &str) -> bool {
        let connections = self.connections.lock();
        let entry = connections.get(&ObjectKey::new(namespace, connection));
        entry.and_then(|entry| entry.answered_whole.as_deref()) == Some(request)
    }

    /// Returns the last sync of everything that completed all its scans.
    pub fn complete(&self, namespace: &str, connection: &str) -> Option<CompletedSync> {
        self.connections.lock().get(&ObjectKey::new(namespace, connection)).and_then(|entry| entry.complete)
    }

    /// Returns the last stage entry that no webhook reported.
    pub fn missed(&self, namespace: &str, connection: &str) -> Option<MissedDelivery> {
        self.connections
            .lock()
            .get(&ObjectKey::new(namespace, connection))
            .and_then(|entry| entry.missed.clone())
    }

    /// Returns a receiver of the namespace and name of each connection whose sync ends from now on.
    pub fn completions(&self) -> broadcast::Receiver<ObjectKey> {
        self.ends.subscribe()
    }

    /// Removes a connection that was deleted.
    pub fn forget(&self, namespace: &str, connection: &str) {
        self.connections.lock().remove(&ObjectKey::new(namespace, connection));
    }

    /// Waits until something is requested.
    pub(super) async fn notified(&self) {
        self.asked.notified().await;
    }

    /// Starts the pending requests of each connection that is not being synced.
    pub(super) fn begin(&self) -> Vec<(ObjectKey, SyncRequest)> {
        let mut connections = self.connections.lock();
        let free = connections.iter_mut().filter(|(_, one)| one.running.is_none() && !one.wanted.is_empty());
        free.map(|(key, one)| {
            let running = std::mem::take(&mut one.wanted);
            one.running = Some(running.clone());
            (key.clone(), running)
        })
        .collect()
    }

    /// Records the end of a sync. Returns the delay before [`Self::retry`], if a scan that was requested by a person or
    /// by a rule that took effect was not completed.
    pub(super) fn end(&self, key: &ObjectKey, ended: SyncOutcome) -> Option<Duration> {
        let mut pause = None;
        if let Some(entry) = self.connections.lock().get_mut(key) {
            let SyncRequest { whole, request, rules } = entry.running.take().unwrap_or_default();
            let (failed, done): (BTreeMap<_, _>, _) =
                rules.into_iter().partition(|(rule, _)| ended.failed_rules.contains(rule));
            entry.answered.extend(done.into_iter().filter_map(|(rule, request)| Some((rule, request?))));
            entry.unfinished.rules.extend(failed);
            entry.missed = ended.missed.or(entry.missed.take());
            if whole && ended.complete.is_some() {
                entry.complete = ended.complete;
                entry.answered_whole = request.or(entry.answered_whole.take());
            } else if whole && request.is_some() {
                (entry.unfinished.whole, entry.unfinished.request) = (true, request);
            }
            let is_unfinished = !entry.unfinished.is_empty();
            let failures = if ended.continues { 1 } else { entry.failures.saturating_add(1) };
            entry.failures = if is_unfinished { failures } else { 0 };
            pause = is_unfinished.then(|| schedule::after_failures(failures, None, None));
        }
        let _ = self.ends.send(key.clone());
        self.asked.notify_one();
        pause
    }

    /// Queues the unfinished requests again, unless the connection sends no requests (not `is_usable`): that one is
    /// synced as soon as it does.
    pub(super) fn retry(&self, key: &ObjectKey, is_usable: bool) {
        let mut connections = self.connections.lock();
        let Some(entry) = connections.get_mut(key) else { return };
        let SyncRequest { whole, request, rules } = std::mem::take(&mut entry.unfinished);
        if is_usable {
            entry.wanted.whole |= whole;
            // A request that arrived meanwhile is newer.
            entry.wanted.request = entry.wanted.request.take().or(request);
            for (rule, request) in rules {
                let known = entry.wanted.rules.entry(rule).or_default();
                *known = known.take().or(request);
            }
        }
        drop(connections);
        self.asked.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: (&str, &str) = ("hiring", "acme");

    fn complete() -> SyncOutcome {
        let complete = CompletedSync { at: Timestamp::UNIX_EPOCH, erasures: None };
        SyncOutcome { complete: Some(complete), ..SyncOutcome::default() }
    }

    #[test]
    fn a_connection_has_one_sync_at_a_time_and_loses_no_request() {
        let syncs = SyncQueue::default();
        assert!(syncs.begin().is_empty());
        syncs.request_sync(ID.0, ID.1, Some("all"));
        syncs.request_sync(ID.0, ID.1, None);
        syncs.request_rule_sync(ID, "phone-screen", Some("now"));
        let is_complete = || syncs.is_complete(ID.0, ID.1, "all");
        let begun = syncs.begin();
        assert_eq!(begun.len(), 1);
        assert!(begun[0].1.whole && begun[0].1.rules.contains_key("phone-screen"));
        assert!(!is_complete() && !syncs.is_answered(ID, "phone-screen", "now"));

        syncs.request_sync(ID.0, ID.1, None);
        syncs.request_rule_sync(ID, "phone-screen", Some("now"));
        syncs.request_rule_sync(ID, "onsite", None);
        assert!(syncs.begin().is_empty(), "it is in progress");
        let mut ends = syncs.completions();
        assert_eq!(syncs.end(&begun[0].0, complete()), None);
        assert_eq!(ends.try_recv().unwrap(), begun[0].0);
        assert!(is_complete() && syncs.is_answered(ID, "phone-screen", "now"));
        assert!(!syncs.is_answered(ID, "phone-screen", "later"));
        let next = syncs.begin();
        assert_eq!(next[0].1.rules.keys().collect::<Vec<_>>(), ["onsite"], "once by the same request");
    }

    // contract S2b, S4
    #[test]
    fn requests_are_answered_only_by_completed_scans_and_retried_until_then() {
        let syncs = SyncQueue::default();
        let seconds = |pause: Option<Duration>| pause.map(|pause| pause.as_secs());
        syncs.request_sync(ID.0, ID.1, Some("all"));
        syncs.request_rule_sync(ID, "good", Some("now"));
        syncs.request_rule_sync(ID, "bad", Some("now"));
        let bad = || SyncOutcome { failed_rules: BTreeSet::from(["bad".into()]), ..SyncOutcome::default() };
        let key = syncs.begin().remove(0).0;
        assert_eq!(seconds(syncs.end(&key, bad())), Some(5));
        let is_complete = || syncs.is_complete(ID.0, ID.1, "all");
        assert!(!is_complete() && syncs.complete(ID.0, ID.1).is_none());
        assert!(syncs.is_answered(ID, "good", "now") && !syncs.is_answered(ID, "bad", "now"));

        // The end of the sync wakes the configuration, which requests again: that does not shorten the delay.
        syncs.request_rule_sync(ID, "bad", Some("now"));
        assert!(syncs.begin().is_empty());
        syncs.retry(&key, true);
        let again = syncs.begin().remove(0).1;
        assert_eq!((again.whole, again.request.as_deref()), (true, Some("all")));
        assert_eq!(again.rules, BTreeMap::from([("bad".into(), Some("now".into()))]));
        assert_eq!(seconds(syncs.end(&key, bad())), Some(10));
        syncs.retry(&key, true);
        assert_eq!(syncs.begin().len(), 1);
        assert_eq!(syncs.end(&key, complete()), None);
        assert!(is_complete() && syncs.is_answered(ID, "bad", "now"));
        assert!(syncs.complete(ID.0, ID.1).is_some());

        // For the timer alone, the next interval is soon enough.
        syncs.request_sync(ID.0, ID.1, None);
        assert_eq!(syncs.begin().len(), 1);
        assert_eq!(syncs.end(&key, SyncOutcome::default()), None);
        assert!(is_complete(), "an old answer stays one");
    }

    #[test]
    fn nothing_is_retried_for_a_connection_that_sends_nothing_and_a_newer_request_wins() {
        let syncs = SyncQueue::default();
        syncs.request_sync(ID.0, ID.1, Some("first"));
        let key = syncs.begin().remove(0).0;
        assert!(syncs.end(&key, SyncOutcome::default()).is_some());
        syncs.retry(&key, false);
        assert!(syncs.begin().is_empty());
        syncs.request_sync(ID.0, ID.1, Some("first"));
        assert_eq!(syncs.begin().len(), 1);
        assert!(syncs.end(&key, SyncOutcome { continues: true, ..SyncOutcome::default() }).is_some());
        syncs.request_sync(ID.0, ID.1, Some("second"));
        syncs.retry(&key, true);
        assert_eq!(syncs.begin()[0].1.request.as_deref(), Some("second"));
    }
}
