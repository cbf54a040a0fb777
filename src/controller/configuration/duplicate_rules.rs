//! Detects duplicate rules: rules of different connections with the same Lever key, stage and tag (contract I7). They
//! are reported, not prevented.  The registry spans all namespaces of the process, because the connections may be in
//! different ones. It is in memory only: after a start, each configuration is reconciled and registers its rule again.

use crate::controller::runtime::broadcast_stream;
use crate::controller::service_clients::KeyDigest;
use crate::k8s::ObjectKey;
use crate::k8s::cache::Cache;
use api::condition::{Status, types};
use api::reason::ConfigurationReason;
use api::sanitize;
use api::{Condition, PadConfiguration};
use futures::{Stream, StreamExt, stream};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use tokio::sync::broadcast;

/// Maximum number of triggers by which a slow subscriber may lag before it reconciles all its configurations.
const DUPLICATE_WAKES_CAPACITY: usize = 1024;
/// Maximum number of duplicates that a message lists.
const MAX_NAMED_DUPLICATES: usize = 5;

/// Candidates that a configuration serves.
#[derive(Clone, Eq, PartialEq)]
pub struct ServedEntries {
    /// Name of the connection.
    pub connection: String,
    /// Digest of the connection's Lever key.
    pub key: KeyDigest,
    /// ID of the stage.
    pub stage_id: String,
    /// Tag of the candidates.
    pub tag: String,
}

impl ServedEntries {
    fn is_twin(&self, other: &Self) -> bool {
        (&self.key, &self.stage_id, &self.tag) == (&other.key, &other.stage_id, &other.tag)
    }
}

/// Registry of the configurations in use, by namespace and name.
pub struct Duplicates {
    rules: Mutex<BTreeMap<ObjectKey, ServedEntries>>,
    wakes: broadcast::Sender<ObjectKey>,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self { rules: Mutex::default(), wakes: broadcast::channel(DUPLICATE_WAKES_CAPACITY).0 }
    }
}

impl Duplicates {
    /// Registers the candidates that a configuration serves, or removes it with None. Triggers the configurations that
    /// become or cease to be its duplicates.
    pub fn note(&self, namespace: &str, name: &str, now: Option<ServedEntries>) {
        let own = ObjectKey::new(namespace, name);
        let mut rules = self.rules.lock();
        let before = match now.clone() {
            Some(serves) => rules.insert(own.clone(), serves),
            None => rules.remove(&own),
        };
        if before == now {
            return;
        }
        let concerned = rules.iter().filter(|(other, serves)| {
            **other != own && before.iter().chain(&now).any(|one| one.is_twin(serves))
        });
        for (other, _) in concerned {
            let _ = self.wakes.send(other.clone());
        }
    }

    /// Returns the configurations of other connections that serve the same candidates, with their connections.
    fn twins(&self, namespace: &str, name: &str) -> Vec<(ObjectKey, String)> {
        let own = ObjectKey::new(namespace, name);
        let rules = self.rules.lock();
        let Some(serves) = rules.get(&own) else { return Vec::new() };
        let is_of_another = |other: &ObjectKey, one: &ServedEntries| {
            other.namespace != own.namespace || one.connection != serves.connection
        };
        let twins = rules.iter().filter(|(other, one)| serves.is_twin(one) && is_of_another(other, one));
        twins.map(|(other, one)| (other.clone(), one.connection.clone())).collect()
    }

    /// Adds the duplicates of a configuration to its Ready=True condition.
    pub fn set_condition(&self, namespace: &str, name: &str, conditions: &mut [Condition]) {
        let twins = self.twins(namespace, name);
        let ready = conditions.iter_mut().find(|one| one.type_ == types::READY && one.status == Status::True);
        let (Some(ready), [(first, _), ..]) = (ready, twins.as_slice()) else { return };
        let name_of =
            |(key, connection): &(ObjectKey, String)| format!("{key} (LeverConnection {connection})");
        let named: Vec<_> = twins.iter().take(MAX_NAMED_DUPLICATES).map(name_of).collect();
        let message = format!(
            "{} PadConfiguration {} has the same Lever key, stage and tag, so each candidate gets a pad from each. \
             Keep only one: kubectl --namespace {} delete padconfiguration {}",
            ready.message,
            named.join(", "),
            first.namespace,
            first.name
        );
        (ready.reason, ready.message) =
            (ConfigurationReason::Duplicate.into(), sanitize::cut(&message, 4000));
    }

    /// Returns a stream of configurations in a scope whose duplicates change.
    pub fn concerned(
        &self,
        configurations: Cache<PadConfiguration>,
    ) -> impl Stream<Item = ObjectRef<PadConfiguration>> + Send + use<> {
        broadcast_stream(self.wakes.subscribe()).flat_map(move |wake| {
            let concerned = match wake {
                Some(key) => configurations.get(&key.namespace, &key.name).into_iter().collect(),
                None => configurations.all(),
            };
            stream::iter(
                concerned
                    .into_iter()
                    .map(|one| ObjectRef::new(&one.name_any()).within(&one.namespace().unwrap_or_default())),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::condition::{Conditions, Readiness};
    use jiff::Timestamp;

    fn serves(connection: &str, account_key: &str, tag: &str) -> Option<ServedEntries> {
        let key = KeyDigest::new("https://api.lever.co/v1", account_key);
        Some(ServedEntries { connection: connection.into(), key, stage_id: "s-1".into(), tag: tag.into() })
    }

    fn condition_of(duplicates: &Duplicates, namespace: &str, name: &str) -> (String, String) {
        let mut conditions = Conditions::new(&[], 1, Timestamp::UNIX_EPOCH);
        conditions.ready(Readiness::Ready, ConfigurationReason::InUse, "In use.");
        let mut conditions = conditions.finish();
        duplicates.set_condition(namespace, name, &mut conditions);
        (conditions[0].reason.clone(), conditions[0].message.clone())
    }

    // contract I7
    #[test]
    fn rules_of_two_connections_with_one_key_stage_and_tag_are_reported_on_both() {
        let duplicates = Duplicates::default();
        let mut wakes = duplicates.wakes.subscribe();
        duplicates.note("hiring", "a", serves("acme", "key-1", "coderpad"));
        assert_eq!(condition_of(&duplicates, "hiring", "a").0, "InUse");
        duplicates.note("staging", "b", serves("acme", "key-1", "coderpad"));
        assert_eq!(wakes.try_recv().unwrap(), ObjectKey::new("hiring", "a"), "triggers another reconcile");
        let (reason, message) = condition_of(&duplicates, "hiring", "a");
        assert_eq!(reason, "Duplicate");
        for part in
            ["In use.", "staging/b (LeverConnection acme)", "--namespace staging delete padconfiguration b"]
        {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(condition_of(&duplicates, "staging", "b").0, "Duplicate");
        duplicates.note("staging", "b", serves("acme", "key-1", "coderpad"));
        assert!(wakes.try_recv().is_err(), "no trigger without a change");

        for other in [serves("acme", "key-2", "coderpad"), serves("acme", "key-1", "other"), None] {
            duplicates.note("staging", "b", serves("acme", "key-1", "coderpad"));
            duplicates.note("staging", "b", other);
            assert_eq!(condition_of(&duplicates, "hiring", "a").0, "InUse");
        }
        // Within one connection, the older rule takes precedence, which has its own reason.
        duplicates.note("hiring", "c", serves("acme", "key-1", "coderpad"));
        assert_eq!(condition_of(&duplicates, "hiring", "a").0, "InUse");
        duplicates.note("hiring", "c", serves("acme-2", "key-1", "coderpad"));
        assert_eq!(condition_of(&duplicates, "hiring", "a").0, "Duplicate");
    }

    #[test]
    fn messages_about_duplicates() {
        let duplicates = Duplicates::default();
        duplicates.note("hiring", "a", serves("acme", "key-1", "coderpad"));
        duplicates.note("staging", "b", serves("acme", "key-1", "coderpad"));
        let mut conditions = Conditions::new(&[], 1, Timestamp::UNIX_EPOCH);
        conditions.ready(Readiness::Ready, ConfigurationReason::InUse, "MESSAGE");
        let mut conditions = conditions.finish();
        duplicates.set_condition("hiring", "a", &mut conditions);
        let text = testkit::describe("another connection has the same rule", &conditions);
        testkit::assert_snapshot("configuration-duplicate", text.trim_end());
    }

    #[test]
    fn a_key_cannot_be_read_from_its_digest() {
        let digest = KeyDigest::new("https://api.lever.co/v1", "key-1");
        assert_eq!(format!("{digest:?}"), "KeyDigest");
        assert!(digest == KeyDigest::new("https://api.lever.co/v1/", " key-1\n"));
        assert!(digest != KeyDigest::new("https://api.eu.lever.co/v1", "key-1"));
    }
}
