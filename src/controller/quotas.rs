//! Remaining quota of each CoderPad API key.  The quota in a connection's status is as old as the last probe, and the
//! cached Pads lag behind the writes of this process. After a bulk move, many candidates would each find the same last
//! pad available. Therefore each creation decrements a count in this process. Connections with the same API key share
//! the count in all namespaces, because they share the plan (contract C8, F2).  Each probe resets the count. Creations
//! during a probe are subtracted from its result: one pad too few until the next probe is better than a billed one.

use http_client::AccountId;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Maximum number of tracked API keys. Beyond it, all counts are dropped, and the status applies until the next probe.
const MAX_API_KEYS: usize = 4096;

/// Counts of all API keys.
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

/// Probe of the quota in progress.
#[derive(Debug)]
#[must_use = "record the result of the probe"]
pub struct QuotaProbe(u64);

/// Reservation of one pad.
#[derive(Clone, Copy, Debug)]
#[must_use = "release it if no pad is created"]
pub struct QuotaReservation {
    account: AccountId,
    number: u64,
}

impl Quotas {
    /// Records the start of a probe.
    pub fn begin_probe(&self, account: AccountId) -> QuotaProbe {
        QuotaProbe(self.with(account, |count| count.taken))
    }

    /// Records the result of a probe: the number of remaining pads.
    pub fn end_probe(&self, account: AccountId, look: QuotaProbe, remaining: i64) {
        let quota = ProbedQuota { remaining, taken_before: look.0 };
        self.with(account, |count| count.quota = Some(quota));
    }

    /// Returns the number of remaining pads: the result of the last probe minus later reservations, or `remaining` if
    /// this process has not probed.
    pub fn left(&self, account: AccountId, remaining: i64) -> i64 {
        let counts = self.counts.lock();
        let count = counts.get(&account).and_then(|count| Some((count.taken, count.quota?)));
        count.map_or(remaining, |(taken, quota)| {
            let taken_since = taken.saturating_sub(quota.taken_before);
            quota.remaining.saturating_sub(i64::try_from(taken_since).unwrap_or(i64::MAX))
        })
    }

    /// Reserves one pad; None if the quota is used up. `remaining` is the value in the status, used until this process
    /// has probed; None means unlimited.
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

    /// Releases a reservation whose pad was not created. Has no effect if a later probe has already reset the count.
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
        AccountId::for_key("https://app.coderpad.io", key)
    }

    #[test]
    fn reservations_do_not_exceed_the_quota_of_the_key() {
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
    fn creations_during_a_probe_are_subtracted_from_its_result() {
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
    fn the_debug_output_contains_no_key() {
        assert_eq!(format!("{:?}", account("secret-key")), "AccountId");
    }
}
