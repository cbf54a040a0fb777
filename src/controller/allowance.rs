//! How many pads may still be made: before CoderPad bills them, and in this hour.
//!
//! The quota in a connection's status is as old as the last look at it, and the Pads that this process knows lie a
//! little behind its own writes. Many candidates moved at once would each find the same last pad there. So each creation
//! takes one from a count of this process.
//!
//! The quota's count starts anew with every look. What was made while a look was under way counts against it: rather
//! one pad too few until the next look than one that is billed. The hour's count is what the Pads in the cluster say of
//! themselves, so that it holds over restarts, and beside it what was taken here.

use super::hourly::{Full, HOUR, full};
use crate::cluster::key;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::HashMap;

/// When pads were made, by the uid of their Pads.
pub type Made = HashMap<String, Timestamp>;

/// The counts of all connections, by namespace and name.
#[derive(Debug, Default)]
pub struct Allowances {
    counts: Mutex<HashMap<(String, String), Count>>,
}

#[derive(Debug, Default)]
struct Count {
    taken: u64,
    quota: Option<Quota>,
    lately: Made,
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

/// A pad that is about to be made.
#[derive(Debug)]
pub struct Wanted {
    /// The uid of its Pad.
    pub pad: String,
    /// What the status says of the quota: it counts until this process has looked for itself. None: no limit.
    pub remaining: Option<i64>,
    /// Pads an hour. None: no limit.
    pub per_hour: Option<u32>,
    /// What the cluster knows of the last hour.
    pub made: Made,
}

/// A pad that may be made.
#[derive(Debug)]
#[must_use = "give it back if no pad is made"]
pub struct Taken {
    number: u64,
    pad: String,
}

/// Why a pad may not be made now.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// The plan has none left.
    Quota,
    /// The hour has none left.
    Hour(Full),
}

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

    /// When the pads of the last hour were made, those of this Pad left out: by what the cluster knows, and by what was
    /// taken here.
    pub fn lately(&self, namespace: &str, connection: &str, pad: &str, made: Made, now: Timestamp) -> Made {
        let mut counts = self.counts.lock();
        counts.entry(key(namespace, connection)).or_default().others(pad, made, now)
    }

    /// Takes one pad, if there is one left.
    pub fn take(
        &self,
        namespace: &str,
        connection: &str,
        wanted: Wanted,
        now: Timestamp,
    ) -> Result<Taken, Refusal> {
        let Wanted { pad, remaining, per_hour, made } = wanted;
        let mut counts = self.counts.lock();
        let count = counts.entry(key(namespace, connection)).or_default();
        if let Some(remaining) = remaining {
            let quota = *count.quota.get_or_insert(Quota { remaining, taken_before: count.taken });
            let taken_since =
                i64::try_from(count.taken.saturating_sub(quota.taken_before)).unwrap_or(i64::MAX);
            if quota.remaining <= taken_since {
                return Err(Refusal::Quota);
            }
        }
        if let Some(limit) = per_hour {
            let others = count.others(&pad, made, now).into_values().collect();
            // Older Pads that wait have been given way to already, where it was decided to make this pad.
            if let Some(full) = full(limit, others, 0, now) {
                return Err(Refusal::Hour(full));
            }
            count.lately.insert(pad.clone(), now);
        }
        count.taken += 1;
        Ok(Taken { number: count.taken, pad })
    }

    /// Gives one back: it is certain that no pad was made. One that the last look has not counted is not given back to
    /// the quota.
    pub fn give_back(&self, namespace: &str, connection: &str, taken: Taken) {
        let mut counts = self.counts.lock();
        let Some(count) = counts.get_mut(&key(namespace, connection)) else { return };
        count.lately.remove(&taken.pad);
        if let Some(quota) = count.quota.as_mut().filter(|quota| taken.number > quota.taken_before) {
            quota.remaining += 1;
        }
    }

    /// Forgets a connection that is gone.
    pub fn forget(&self, namespace: &str, connection: &str) {
        self.counts.lock().remove(&key(namespace, connection));
    }
}

impl Count {
    fn others(&mut self, pad: &str, mut made: Made, now: Timestamp) -> Made {
        self.lately.retain(|_, at| now.duration_since(*at) < HOUR);
        for (pad, at) in &self.lately {
            let known = made.entry(pad.clone()).or_insert(*at);
            *known = (*known).max(*at);
        }
        made.remove(pad);
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: &str = "hiring";

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + minute * 60).unwrap()
    }

    fn of_quota(pad: usize, remaining: i64) -> Wanted {
        Wanted { pad: pad.to_string(), remaining: Some(remaining), per_hour: None, made: Made::new() }
    }

    fn of_hour(pad: usize, per_hour: u32, made: &[(&str, i64)]) -> Wanted {
        let made = made.iter().map(|(pad, minute)| ((*pad).to_owned(), at(*minute))).collect();
        Wanted { pad: pad.to_string(), remaining: None, per_hour: Some(per_hour), made }
    }

    #[test]
    fn no_more_are_taken_than_the_quota_has() {
        let allowances = Allowances::default();
        let take = |pad| allowances.take(NS, "acme", of_quota(pad, 3), at(0));
        let mut taken: Vec<_> = (0..10).filter_map(|pad| take(pad).ok()).collect();
        assert_eq!(taken.len(), 3);
        assert!(allowances.take(NS, "other", of_quota(0, 1), at(0)).is_ok());
        allowances.give_back(NS, "acme", taken.remove(0));
        assert!(take(10).is_ok());
        assert_eq!(take(11).unwrap_err(), Refusal::Quota);
    }

    #[test]
    fn what_is_made_during_a_look_counts_against_it() {
        let allowances = Allowances::default();
        let take = |pad| allowances.take(NS, "acme", of_quota(pad, 5), at(0));
        let early = take(1);
        let look = allowances.look(NS, "acme");
        let during = take(2);
        allowances.found(NS, "acme", look, 2);
        assert!(take(3).is_ok());
        assert!(take(4).is_err());
        allowances.give_back(NS, "acme", early.unwrap());
        assert!(take(4).is_err(), "the look has not counted it");
        allowances.give_back(NS, "acme", during.unwrap());
        assert!(take(4).is_ok());
    }

    #[test]
    fn no_more_are_taken_than_the_hour_has_whatever_the_watch_has_told_of() {
        let allowances = Allowances::default();
        let take = |pad, known: &[(&str, i64)], minute| {
            allowances.take(NS, "acme", of_hour(pad, 3, known), at(minute))
        };
        let before = [("before", -30)];
        assert!(take(1, &before, 0).is_ok());
        assert!(take(2, &before, 10).is_ok());
        let Err(Refusal::Hour(full)) = take(3, &before, 11) else { panic!("a fourth pad in the hour") };
        assert_eq!((full.made, full.until), (3, at(30)));
        assert!(take(3, &[("before", -30), ("1", 0), ("2", 10)], 12).is_err(), "the same pads, told of late");
        assert!(take(4, &before, 30).is_ok(), "the first is an hour old");
        assert!(take(5, &before, 59).is_err());
        assert!(take(5, &before, 60).is_ok());
        assert!(allowances.take(NS, "other", of_hour(1, 1, &[]), at(60)).is_ok());
    }

    #[test]
    fn a_pad_that_was_not_made_leaves_its_place_and_a_second_try_needs_none() {
        let allowances = Allowances::default();
        let take = |pad, minute| allowances.take(NS, "acme", of_hour(pad, 1, &[]), at(minute));
        let taken = take(1, 0).unwrap();
        assert!(take(2, 1).is_err());
        assert!(take(1, 2).is_ok(), "the same Pad again: its first try has made none");
        allowances.give_back(NS, "acme", taken);
        assert!(take(2, 3).is_ok());
        let lately = |pad| allowances.lately(NS, "acme", pad, Made::new(), at(4));
        assert_eq!(lately("3"), Made::from([("2".to_owned(), at(3))]));
        assert_eq!(lately("2"), Made::new());
    }
}
