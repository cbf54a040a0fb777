//! What is asked of sync, and what the rest of the leader may know of it: whether a request is answered, and whether a
//! stage entry was found that no webhook told of. All in memory: after a restart everything is synced anyway.

use crate::cluster::key;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use tokio::sync::{Notify, broadcast};

/// How many ends a slow listener may lie behind before it is told to look at everything.
const ENDS_KEPT: usize = 256;

/// Namespace and name.
type Key = (String, String);

/// What is asked for about one connection.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Everything.
    pub whole: bool,
    /// The request that is answered so.
    pub request: Option<String>,
    /// The walks of the rules of these configurations, and the request of each that is answered so.
    pub rules: BTreeMap<String, Option<String>>,
}

impl Wish {
    fn is_empty(&self) -> bool {
        !self.whole && self.rules.is_empty()
    }
}

/// A stage entry that no webhook told of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Missed {
    /// The stage's name.
    pub stage: String,
    /// When the candidate entered.
    pub entry: Timestamp,
    /// When sync found it.
    pub found: Timestamp,
}

#[derive(Debug, Default)]
struct Connection {
    wanted: Wish,
    running: Option<Wish>,
    missed: Option<Missed>,
    answered: HashMap<String, String>,
}

/// The wishes of all connections.
#[derive(Debug)]
pub struct Syncs {
    connections: Mutex<HashMap<Key, Connection>>,
    asked: Notify,
    ends: broadcast::Sender<Key>,
}

impl Default for Syncs {
    fn default() -> Self {
        Self { connections: Mutex::default(), asked: Notify::new(), ends: broadcast::channel(ENDS_KEPT).0 }
    }
}

impl Syncs {
    /// Asks for everything of a connection: by the clock, or by a request.
    pub fn want(&self, namespace: &str, connection: &str, request: Option<&str>) {
        let mut connections = self.connections.lock();
        let wanted = &mut connections.entry(key(namespace, connection)).or_default().wanted;
        wanted.whole = true;
        wanted.request = request.map(str::to_owned).or(wanted.request.take());
        drop(connections);
        self.asked.notify_one();
    }

    /// Asks for the walk of a configuration's rule. What is asked twice by the same request is done once.
    pub fn want_rule(&self, (namespace, connection): (&str, &str), rule: &str, request: Option<&str>) {
        let mut connections = self.connections.lock();
        let entry = connections.entry(key(namespace, connection)).or_default();
        let by_it = |wish: &Wish| wish.rules.get(rule).is_some_and(|known| known.as_deref() == request);
        if request.is_some() && entry.running.as_ref().is_some_and(by_it) {
            return;
        }
        let known = entry.wanted.rules.entry(rule.to_owned()).or_default();
        if request.is_some() {
            *known = request.map(str::to_owned);
        }
        drop(connections);
        self.asked.notify_one();
    }

    /// Whether the walk that a request by annotation asks for has been made.
    pub fn is_answered(&self, (namespace, connection): (&str, &str), rule: &str, request: &str) -> bool {
        let connections = self.connections.lock();
        let entry = connections.get(&key(namespace, connection));
        entry.and_then(|entry| entry.answered.get(rule)).is_some_and(|answered| answered == request)
    }

    /// Whether a request for everything of a connection is not answered yet.
    pub fn is_pending(&self, namespace: &str, connection: &str, request: &str) -> bool {
        self.connections.lock().get(&key(namespace, connection)).is_some_and(|entry| {
            let mut open = entry.running.iter().chain([&entry.wanted]);
            open.any(|wish| wish.request.as_deref() == Some(request))
        })
    }

    /// The last stage entry that no webhook told of.
    pub fn missed(&self, namespace: &str, connection: &str) -> Option<Missed> {
        self.connections.lock().get(&key(namespace, connection)).and_then(|entry| entry.missed.clone())
    }

    /// Namespace and name of each connection whose sync ends from now on.
    pub fn ends(&self) -> broadcast::Receiver<Key> {
        self.ends.subscribe()
    }

    /// The connection is gone.
    pub fn forget(&self, namespace: &str, connection: &str) {
        self.connections.lock().remove(&key(namespace, connection));
    }

    /// Waits until something is asked for.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Takes up what is asked for, of each connection that is not being synced.
    pub(super) fn begin(&self) -> Vec<(Key, Wish)> {
        let mut connections = self.connections.lock();
        let free = connections.iter_mut().filter(|(_, one)| one.running.is_none() && !one.wanted.is_empty());
        free.map(|(key, one)| {
            let wish = std::mem::take(&mut one.wanted);
            one.running = Some(wish.clone());
            (key.clone(), wish)
        })
        .collect()
    }

    /// A sync has ended.
    pub(super) fn end(&self, key: &Key, missed: Option<Missed>) {
        if let Some(entry) = self.connections.lock().get_mut(key) {
            let rules = entry.running.take().unwrap_or_default().rules;
            entry.answered.extend(rules.into_iter().filter_map(|(rule, request)| Some((rule, request?))));
            entry.missed = missed.or(entry.missed.take());
        }
        let _ = self.ends.send(key.clone());
        self.asked.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: (&str, &str) = ("hiring", "acme");

    #[test]
    fn a_connection_is_synced_once_at_a_time_and_nothing_that_is_asked_meanwhile_is_lost() {
        let syncs = Syncs::default();
        assert!(syncs.begin().is_empty());
        syncs.want(ID.0, ID.1, Some("all"));
        syncs.want(ID.0, ID.1, None);
        syncs.want_rule(ID, "phone-screen", Some("now"));
        let is_pending = || syncs.is_pending(ID.0, ID.1, "all");
        assert!(is_pending());
        let begun = syncs.begin();
        assert_eq!(begun.len(), 1);
        assert!(begun[0].1.whole && begun[0].1.rules.contains_key("phone-screen"));
        assert!(is_pending() && !syncs.is_answered(ID, "phone-screen", "now"));

        syncs.want(ID.0, ID.1, None);
        syncs.want_rule(ID, "phone-screen", Some("now"));
        syncs.want_rule(ID, "onsite", None);
        assert!(syncs.begin().is_empty(), "it is under way");
        let mut ends = syncs.ends();
        syncs.end(&begun[0].0, None);
        assert_eq!(ends.try_recv().unwrap(), begun[0].0);
        assert!(!is_pending() && syncs.is_answered(ID, "phone-screen", "now"));
        assert!(!syncs.is_answered(ID, "phone-screen", "later"));
        let next = syncs.begin();
        assert_eq!(next[0].1.rules.keys().collect::<Vec<_>>(), ["onsite"], "once by the same request");
    }
}
