//! How many pads may still be created before CoderPad bills them, by API key.
//!
//! The quota in a connection's status is as old as the connection's last probe, and the Pads in the cache lag behind this
//! process's own writes. Many candidates who are moved at once would each find the same last pad there. So each creation
//! takes one from a count of this process. Connections with the same API key share the count, in any namespace: they
//! share the plan (contract C8, F2).
//!
//! Each probe restarts the count. What is created during a probe counts against its answer: one pad too few until the
//! next probe is better than one that is billed.

use crate::transport::AccountId;
use parking_lot::Mutex;
use std::collections::HashMap;

/// API keys that are remembered. Beyond it all are forgotten, and the status counts until the next probe.
const MAX_API_KEYS: usize = 4096;

/// The counts of all API keys.
#[derive(Debug, Default)]
pub struct Quotas {
    counts: Mutex<HashMap<AccountId, KeyQuota>>,
}

#[derive(Debug, Default)]
struct KeyQuota {
    taken: u64,
    quota: Option<ProbedQuota>,
}

#[derive(Clone, Copy, Debug)]
struct ProbedQuota {
    remaining: i64,
    taken_before: u64,
}

/// A probe of the quota that has begun.
#[derive(Debug)]
#[must_use = "what the probe reports is to be noted"]
pub struct QuotaProbe(u64);

/// A pad that may be created.
#[derive(Clone, Copy, Debug)]
#[must_use = "give it back if no pad is created"]
pub struct QuotaReservation {
    account: AccountId,
    number: u64,
}

impl Quotas {
    /// A probe begins.
    pub fn begin_probe(&self, account: AccountId) -> QuotaProbe {
        QuotaProbe(self.with(account, |count| count.taken))
    }

    /// The answer of a probe: pads that remain.
    pub fn end_probe(&self, account: AccountId, look: QuotaProbe, remaining: i64) {
        let quota = ProbedQuota { remaining, taken_before: look.0 };
        self.with(account, |count| count.quota = Some(quota));
    }

    /// Pads that are left by the last probe, less those taken since; `remaining` if this process has not probed.
    pub fn left(&self, account: AccountId, remaining: i64) -> i64 {
        let counts = self.counts.lock();
        let count = counts.get(&account).and_then(|count| Some((count.taken, count.quota?)));
        count.map_or(remaining, |(taken, quota)| {
            let taken_since = taken.saturating_sub(quota.taken_before);
            quota.remaining.saturating_sub(i64::try_from(taken_since).unwrap_or(i64::MAX))
        })
    }

    /// Takes one pad; None if none is left. `remaining` is what the status says: it counts until this process has
    /// probed. None there: no limit.
    pub fn reserve(&self, account: AccountId, remaining: Option<i64>) -> Option<QuotaReservation> {
        self.with(account, |count| {
            if let Some(remaining) = remaining {
                let quota = *count.quota.get_or_insert(ProbedQuota { remaining, taken_before: count.taken });
                let taken_since = count.taken.saturating_sub(quota.taken_before);
                if quota.remaining <= i64::try_from(taken_since).unwrap_or(i64::MAX) {
                    return None;
                }
            }
            count.taken += 1;
            Some(QuotaReservation { account, number: count.taken })
        })
    }

    /// Gives one back: no pad was created. One that the last probe has not counted is not given back.
    pub fn release(&self, taken: QuotaReservation) {
        self.with(taken.account, |count| {
            if let Some(quota) = count.quota.as_mut().filter(|quota| taken.number > quota.taken_before) {
                quota.remaining += 1;
            }
        });
    }

    fn with<T>(&self, account: AccountId, work: impl FnOnce(&mut KeyQuota) -> T) -> T {
        let mut counts = self.counts.lock();
        if counts.len() >= MAX_API_KEYS && !counts.contains_key(&account) {
            counts.clear();
        }
        work(counts.entry(account).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(key: &str) -> AccountId {
        AccountId::of("https://app.coderpad.io", key)
    }

    #[test]
    fn no_more_are_taken_than_the_key_has() {
        let quotas = Quotas::default();
        let take = || quotas.reserve(account("a"), Some(3));
        let taken: Vec<_> = (0..10).filter_map(|_| take()).collect();
        assert_eq!(taken.len(), 3);
        assert!(quotas.reserve(account("b"), Some(1)).is_some(), "another key");
        quotas.release(taken[0]);
        assert!(take().is_some());
        assert!(take().is_none());
        assert_eq!((quotas.left(account("a"), 9), quotas.left(account("c"), 9)), (0, 9));
        assert!(quotas.reserve(account("a"), None).is_some(), "overage is allowed there");
    }

    #[test]
    fn what_is_created_during_a_probe_counts_against_its_answer() {
        let quotas = Quotas::default();
        let take = || quotas.reserve(account("a"), Some(5));
        let early = take();
        let look = quotas.begin_probe(account("a"));
        let during = take();
        quotas.end_probe(account("a"), look, 2);
        assert!(take().is_some());
        assert!(take().is_none());
        quotas.release(early.unwrap());
        assert!(take().is_none(), "the probe has not counted it");
        quotas.release(during.unwrap());
        assert!(take().is_some());
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        assert_eq!(format!("{:?}", account("secret-key")), "AccountId");
    }
}
