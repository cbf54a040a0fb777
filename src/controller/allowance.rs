//! How many pads may still be made before CoderPad bills them, counted in this process.
//!
//! The quota in a connection's status is as old as the last look at it. Many candidates moved at once would each find
//! the same last pad there. So each creation takes one from a count that starts anew with every look. What was made
//! while a look was under way counts against it: rather one pad too few until the next look than one that is billed.

use parking_lot::Mutex;
use std::collections::HashMap;

/// The counts of all connections, by namespace and name.
#[derive(Debug, Default)]
pub struct Allowances {
    counts: Mutex<HashMap<(String, String), Count>>,
}

#[derive(Debug, Default)]
struct Count {
    taken: u64,
    quota: Option<Quota>,
}

#[derive(Clone, Copy, Debug)]
struct Quota {
    remaining: i64,
    taken_before: u64,
}

/// A look at the quota that has begun.
#[derive(Debug)]
#[must_use = "what the look finds is to be noted"]
pub struct Look(u64);

/// A pad that may be made.
#[derive(Debug)]
#[must_use = "give it back if no pad is made"]
pub struct Taken(u64);

impl Allowances {
    /// A look at the quota begins.
    pub fn look(&self, namespace: &str, connection: &str) -> Look {
        Look(self.counts.lock().entry(key(namespace, connection)).or_default().taken)
    }

    /// What the look has found: pads that remain.
    pub fn found(&self, namespace: &str, connection: &str, look: Look, remaining: i64) {
        let quota = Quota { remaining, taken_before: look.0 };
        self.counts.lock().entry(key(namespace, connection)).or_default().quota = Some(quota);
    }

    /// Takes one pad, if there is one left. `remaining` is what the status says: it counts until this process has
    /// looked for itself.
    pub fn take(&self, namespace: &str, connection: &str, remaining: i64) -> Option<Taken> {
        let mut counts = self.counts.lock();
        let count = counts.entry(key(namespace, connection)).or_default();
        let quota = *count.quota.get_or_insert(Quota { remaining, taken_before: count.taken });
        let taken_since = i64::try_from(count.taken.saturating_sub(quota.taken_before)).unwrap_or(i64::MAX);
        if quota.remaining <= taken_since {
            return None;
        }
        count.taken += 1;
        Some(Taken(count.taken))
    }

    /// Gives one back: it is certain that no pad was made. One that the last look has not counted is not given back.
    pub fn give_back(&self, namespace: &str, connection: &str, taken: Taken) {
        let mut counts = self.counts.lock();
        let quota = counts.get_mut(&key(namespace, connection)).and_then(|count| count.quota.as_mut());
        if let Some(quota) = quota.filter(|quota| taken.0 > quota.taken_before) {
            quota.remaining += 1;
        }
    }

    /// Forgets a connection that is gone.
    pub fn forget(&self, namespace: &str, connection: &str) {
        self.counts.lock().remove(&key(namespace, connection));
    }
}

fn key(namespace: &str, connection: &str) -> (String, String) {
    (namespace.to_owned(), connection.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: &str = "hiring";

    #[test]
    fn no_more_are_taken_than_the_quota_has() {
        let allowances = Allowances::default();
        let mut taken: Vec<_> = (0..10).filter_map(|_| allowances.take(NS, "acme", 3)).collect();
        assert_eq!(taken.len(), 3);
        assert!(allowances.take(NS, "other", 1).is_some());
        allowances.give_back(NS, "acme", taken.remove(0));
        assert!(allowances.take(NS, "acme", 3).is_some());
        assert!(allowances.take(NS, "acme", 3).is_none());
    }

    #[test]
    fn what_is_made_during_a_look_counts_against_it() {
        let allowances = Allowances::default();
        let early = allowances.take(NS, "acme", 5);
        let look = allowances.look(NS, "acme");
        let during = allowances.take(NS, "acme", 5);
        allowances.found(NS, "acme", look, 2);
        assert!(allowances.take(NS, "acme", 5).is_some());
        assert!(allowances.take(NS, "acme", 5).is_none());
        allowances.give_back(NS, "acme", early.unwrap());
        assert!(allowances.take(NS, "acme", 5).is_none(), "the look has not counted it");
        allowances.give_back(NS, "acme", during.unwrap());
        assert!(allowances.take(NS, "acme", 5).is_some());
    }
}
