//! Index of objects by keys other than their name, so that the cost of reconciling one Pad does not grow with the
//! number of Pads.
//!
//! The index returns candidates; the caller still compares them. A lookup drops entries that no longer match their key,
//! so the index need not store the previous keys of each object.

use api::pad::Phase;
use api::{LeverConnection, Pad, PadConfiguration};
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Number of seconds per hour.
const SECONDS_PER_HOUR: i64 = 3600;

/// Key of an index entry.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum IndexKey {
    /// Pads of a candidate, by the ID of the opportunity.
    Candidate(String),
    /// Waiting Pads: phase Pending, or not reconciled yet.
    Waiting,
    /// Pads whose pad in CoderPad was created in this hour, even if in vain. Hours are counted from 1970.
    CreatedInHour(i64),
}

impl IndexKey {
    /// Returns the keys that cover Pads created in the last hour, or with a creation time up to one hour ahead.
    pub fn adjacent_hours(now: Timestamp) -> [Self; 3] {
        let hour = hour_of(now);
        [hour - 1, hour, hour + 1].map(IndexKey::CreatedInHour)
    }
}

/// Object that a [`PadIndex`] can contain.
pub trait Indexed {
    /// Returns the keys of the object in its current state.
    fn keys(&self) -> Vec<IndexKey> {
        Vec::new()
    }

    /// Reports whether the object in its current state has this key.
    fn has_key(&self, _: &IndexKey) -> bool {
        false
    }
}

impl Indexed for Pad {
    fn keys(&self) -> Vec<IndexKey> {
        let candidate = IndexKey::Candidate(self.spec.opportunity_id.clone());
        let made = [self.attempt_began_at(), self.last_failed_attempt_at()];
        let made = made.into_iter().flatten().map(|at| IndexKey::CreatedInHour(hour_of(at)));
        [candidate, IndexKey::Waiting].into_iter().chain(made).filter(|place| self.has_key(place)).collect()
    }

    fn has_key(&self, place: &IndexKey) -> bool {
        match place {
            IndexKey::Candidate(opportunity_id) => self.spec.opportunity_id == *opportunity_id,
            IndexKey::Waiting => matches!(self.phase(), None | Some(Phase::Pending)),
            IndexKey::CreatedInHour(hour) => [self.attempt_began_at(), self.last_failed_attempt_at()]
                .into_iter()
                .flatten()
                .any(|at| hour_of(at) == *hour),
        }
    }
}

fn hour_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(SECONDS_PER_HOUR)
}

/// No index keys: a namespace contains few LeverConnections.
impl Indexed for LeverConnection {}

/// No index keys: a namespace contains few PadConfigurations.
impl Indexed for PadConfiguration {}

/// Names of objects by namespace and index key.
#[derive(Debug, Default)]
pub struct PadIndex {
    /// Names by the hash of namespace and key. Each Pad adds a key, so hashes save memory; lookups compare the objects
    /// anyway, so collisions do no harm.
    names: Mutex<HashMap<u64, HashSet<Box<str>>>>,
    hasher: RandomState,
}

impl PadIndex {
    /// Adds an object that was created or changed.
    pub fn insert(&self, namespace: &str, name: &str, object: &impl Indexed) {
        let mut names = self.names.lock();
        for place in object.keys() {
            let there = names.entry(self.hash_key(namespace, &place)).or_default();
            if !there.contains(name) {
                there.insert(name.into());
            }
        }
    }

    /// Removes a deleted object, given its last state.
    pub fn remove(&self, namespace: &str, name: &str, object: &impl Indexed) {
        let mut names = self.names.lock();
        for place in object.keys() {
            let key = self.hash_key(namespace, &place);
            if let Some(there) = names.get_mut(&key) {
                there.remove(name);
                if there.is_empty() {
                    names.remove(&key);
                }
            }
        }
    }

    /// Returns the objects that have the key now. `find` returns the current object with a name.
    pub fn lookup<K: Indexed>(
        &self,
        namespace: &str,
        place: &IndexKey,
        find: impl Fn(&str) -> Option<Arc<K>>,
    ) -> Vec<Arc<K>> {
        let mut names = self.names.lock();
        let key = self.hash_key(namespace, place);
        let Some(there) = names.get_mut(&key) else { return Vec::new() };
        let mut found = Vec::with_capacity(there.len());
        there.retain(|name| {
            let object = find(name).filter(|object| object.has_key(place));
            let is_there = object.is_some();
            found.extend(object);
            is_there
        });
        if there.is_empty() {
            names.remove(&key);
        }
        found
    }

    /// Returns an upper bound for the number of objects that have the key now.
    pub fn upper_bound(&self, namespace: &str, place: &IndexKey) -> usize {
        self.names.lock().get(&self.hash_key(namespace, place)).map_or(0, HashSet::len)
    }

    fn hash_key(&self, namespace: &str, place: &IndexKey) -> u64 {
        self.hasher.hash_one((namespace, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pad(opportunity: &str, phase: &str) -> Arc<Pad> {
        let pad = json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "metadata": {"name": "p"},
            "spec": {"configurationRef": {"name": "c"}, "opportunityID": opportunity},
            "status": {"phase": phase, "createdAt": "2026-03-02T10:59:59Z"},
        });
        Arc::new(serde_json::from_value(pad).unwrap())
    }

    #[test]
    fn moved_or_deleted_objects_are_removed_from_the_index() {
        let (index, waiting, open) = (PadIndex::default(), pad("o-1", "Pending"), pad("o-1", "Open"));
        let places = |place: &IndexKey, now: Option<&Arc<Pad>>| {
            index.lookup("hiring", place, |name| now.filter(|_| name == "p").cloned()).len()
        };
        let candidate = IndexKey::Candidate("o-1".into());
        assert_eq!(places(&candidate, Some(&waiting)), 0);
        index.insert("hiring", "p", waiting.as_ref());
        assert_eq!(places(&candidate, Some(&waiting)), 1);
        assert_eq!(places(&IndexKey::Waiting, Some(&waiting)), 1);
        assert_eq!(index.lookup("sales", &candidate, |_| Some(waiting.clone())).len(), 0);

        index.insert("hiring", "p", open.as_ref());
        assert_eq!(index.upper_bound("hiring", &IndexKey::Waiting), 1, "nobody has looked");
        assert_eq!(places(&IndexKey::Waiting, Some(&open)), 0);
        assert_eq!(index.upper_bound("hiring", &IndexKey::Waiting), 0);
        assert_eq!(places(&candidate, Some(&open)), 1);

        index.remove("hiring", "p", open.as_ref());
        assert_eq!(places(&candidate, Some(&open)), 0);
        assert!(index.names.lock().is_empty());
    }

    #[test]
    fn creations_of_the_last_hour_are_in_adjacent_hours() {
        let index = PadIndex::default();
        let made = pad("o-1", "Open");
        index.insert("hiring", "p", made.as_ref());
        let around = |now: &str| {
            let places = IndexKey::adjacent_hours(now.parse().unwrap());
            places
                .iter()
                .map(|place| index.lookup("hiring", place, |_| Some(made.clone())).len())
                .sum::<usize>()
        };
        assert_eq!(around("2026-03-02T11:59:58Z"), 1);
        assert_eq!(around("2026-03-02T10:00:00Z"), 1);
        assert_eq!(around("2026-03-02T12:00:00Z"), 0);
    }
}
