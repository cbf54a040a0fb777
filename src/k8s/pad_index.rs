//! Finds objects by more than their name, so that what is done for one Pad does not cost more the more Pads there are.
//!
//! It only says where to look: whoever asks still compares what was found. An object that no longer belongs where it
//! was put is dropped when somebody looks there, so that nothing has to be remembered of each object.

use crate::api::pad::Phase;
use crate::api::{LeverConnection, Pad, PadConfiguration};
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Seconds of an hour.
const SECONDS_PER_HOUR: i64 = 3600;

/// Where an object can be found, besides under its name.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum IndexKey {
    /// Among the Pads of a candidate, by the opportunity's id.
    Candidate(String),
    /// Among the Pads that wait: those that are Pending, or that nobody has looked at yet.
    Waiting,
    /// Among the Pads whose pad was made, or was created in vain, in this hour, counted from 1970.
    CreatedInHour(i64),
}

impl IndexKey {
    /// Where the Pads are that were made in the last hour or are said to be made in the next.
    pub fn adjacent_hours(now: Timestamp) -> [Self; 3] {
        let hour = hour_of(now);
        [hour - 1, hour, hour + 1].map(IndexKey::CreatedInHour)
    }
}

/// An object that a [`PadIndex`] holds.
pub trait Indexed {
    /// Where it belongs as it is now.
    fn keys(&self) -> Vec<IndexKey>;

    /// Whether it belongs there as it is now.
    fn has_key(&self, place: &IndexKey) -> bool;
}

impl Indexed for Pad {
    fn keys(&self) -> Vec<IndexKey> {
        let candidate = IndexKey::Candidate(self.spec.opportunity_id.clone());
        let made = [self.made_at(), self.created_in_vain_at()];
        let made = made.into_iter().flatten().map(|at| IndexKey::CreatedInHour(hour_of(at)));
        [candidate, IndexKey::Waiting].into_iter().chain(made).filter(|place| self.has_key(place)).collect()
    }

    fn has_key(&self, place: &IndexKey) -> bool {
        match place {
            IndexKey::Candidate(opportunity_id) => self.spec.opportunity_id == *opportunity_id,
            IndexKey::Waiting => matches!(self.phase(), None | Some(Phase::Pending)),
            IndexKey::CreatedInHour(hour) => [self.made_at(), self.created_in_vain_at()]
                .into_iter()
                .flatten()
                .any(|at| hour_of(at) == *hour),
        }
    }
}

fn hour_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(SECONDS_PER_HOUR)
}

/// There are few of them.
impl Indexed for LeverConnection {
    fn keys(&self) -> Vec<IndexKey> {
        Vec::new()
    }

    fn has_key(&self, _: &IndexKey) -> bool {
        false
    }
}

/// There are few of them.
impl Indexed for PadConfiguration {
    fn keys(&self) -> Vec<IndexKey> {
        Vec::new()
    }

    fn has_key(&self, _: &IndexKey) -> bool {
        false
    }
}

/// Names of objects by their namespace and place.
#[derive(Debug, Default)]
pub struct PadIndex {
    /// A place is told by its hash: what is found is compared anyway, and there is one for each Pad.
    names: Mutex<HashMap<u64, HashSet<Box<str>>>>,
    hasher: RandomState,
}

impl PadIndex {
    /// This object is there, or has changed.
    pub fn insert(&self, namespace: &str, name: &str, object: &impl Indexed) {
        let mut names = self.names.lock();
        for place in object.keys() {
            let there = names.entry(self.hash_key(namespace, &place)).or_default();
            if !there.contains(name) {
                there.insert(name.into());
            }
        }
    }

    /// This object, as it last was, is gone.
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

    /// What is at a place now. `find` returns the object of a name, as it is now.
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

    /// No more than so many are at a place now.
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
    fn what_has_moved_on_or_gone_is_found_no_more() {
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
    fn pads_of_the_last_hour_are_around_now() {
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
