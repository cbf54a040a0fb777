//! Limits the creation of pads by the quota of the API key and by spec.interview.maxPadsPerHour of the connection.
//!
//! The hourly limit counts create requests that CoderPad answered, also those without a lasting pad, such as rejected
//! requests (contract F2). The Pads in the cluster record their requests, so that the count survives restarts. In
//! addition, this process counts its own requests, because the cache lags behind.

use super::quotas::{self, Quotas};
use crate::k8s::ObjectKey;
use engine::rolling_limit::{LimitExceeded, WINDOW, is_in_window, limit_exceeded};
use http_client::AccountId;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Maximum time between the records of the same creation in the cluster and in this process. Two different creations of
/// one Pad within this time count as one.
const SAME_CREATION_TOLERANCE: SignedDuration = SignedDuration::from_secs(30);

/// Creation within the last hour, as recorded by a Pad.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordedCreation {
    /// UID of the Pad.
    pub pad: String,
    /// Time of the request.
    pub at: Timestamp,
    /// Whether the Pad has a pad or its request is in flight.
    pub holds: bool,
}

/// Creations within the last hour that count for one Pad.
#[derive(Debug, Default)]
pub struct RecentPads {
    /// Times of the requests.
    pub times: Vec<Timestamp>,
    /// UIDs of Pads that are included in the count, so that they do not wait.
    pub placed: HashSet<String>,
}

/// Counts of all connections of a context, and of the API keys, which all contexts share.
#[derive(Debug, Default)]
pub struct PadBudget {
    quotas: Arc<Quotas>,
    hours: Mutex<HashMap<ObjectKey, Vec<SentCreation>>>,
}

/// Request that this process has sent or is about to send.
#[derive(Debug)]
struct SentCreation {
    pad: String,
    at: Timestamp,
    came: CreationResult,
}

/// Result of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CreationResult {
    /// The request is in flight, or its outcome is unknown.
    Unknown,
    /// A pad was created.
    Pad,
    /// CoderPad answered, but no pad was kept.
    NoPad,
}

/// Request for a reservation.
#[derive(Debug)]
pub struct PadRequest {
    /// UID of the Pad.
    pub pad: String,
    /// Identity of the CoderPad API key.
    pub account: AccountId,
    /// Remaining quota in the status, used until this process has probed. None: unlimited.
    pub remaining: Option<i64>,
    /// Maximum number of pads per hour. None: unlimited.
    pub per_hour: Option<u32>,
    /// Creations within the last hour, as recorded in the cluster.
    pub made: Vec<RecordedCreation>,
}

/// Reservation to create one pad.
#[derive(Debug)]
#[must_use = "report the result"]
pub struct PadReservation {
    quota: quotas::QuotaReservation,
    pad: String,
    at: Timestamp,
}

/// Limit that prevents the creation of a pad now.
#[derive(Debug, PartialEq)]
pub enum Denied {
    /// The quota of the plan is used up.
    Quota,
    /// The hourly limit is reached.
    Hour(LimitExceeded),
}

impl PadBudget {
    /// Returns a budget without recorded creations. All connections of the process share `quotas`.
    pub fn new(quotas: Arc<Quotas>) -> Self {
        Self { quotas, hours: Mutex::default() }
    }

    /// Returns the counts of the API keys.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// Returns the creations within the last hour that count for a Pad: those recorded in the cluster and those of this
    /// process.
    pub fn recent_pads(
        &self,
        namespace: &str,
        connection: &str,
        pad: &str,
        made: Vec<RecordedCreation>,
        now: Timestamp,
    ) -> RecentPads {
        merge_recent_creations(
            self.hours.lock().entry(ObjectKey::new(namespace, connection)).or_default(),
            pad,
            made,
            now,
        )
    }

    /// Reserves one pad, if both limits permit it.
    pub fn reserve(
        &self,
        namespace: &str,
        connection: &str,
        wanted: PadRequest,
        now: Timestamp,
    ) -> Result<PadReservation, Denied> {
        let PadRequest { pad, account, remaining, per_hour, made } = wanted;
        let mut hours = self.hours.lock();
        let sent = hours.entry(ObjectKey::new(namespace, connection)).or_default();
        let quota = self.quotas.reserve(account, remaining).ok_or(Denied::Quota)?;
        if let Some(limit) = per_hour {
            // The decision to create this pad has already taken older pending Pads into account.
            if let Some(full) =
                limit_exceeded(limit, merge_recent_creations(sent, &pad, made, now).times, 0, now)
            {
                self.quotas.release(quota);
                return Err(Denied::Hour(full));
            }
        }
        sent.retain(|one| is_recent(one, now) && (one.pad != pad || one.came != CreationResult::Unknown));
        sent.push(SentCreation { pad: pad.clone(), at: now, came: CreationResult::Unknown });
        Ok(PadReservation { quota, pad, at: now })
    }

    /// Records that CoderPad created the pad.
    pub fn created(&self, namespace: &str, connection: &str, taken: &PadReservation) {
        self.record_result(namespace, connection, taken, CreationResult::Pad);
    }

    /// Records that CoderPad rejected the request. It counts towards the hourly limit, but not towards the quota.
    pub fn refused(&self, namespace: &str, connection: &str, taken: &PadReservation) {
        self.record_result(namespace, connection, taken, CreationResult::NoPad);
        self.quotas.release(taken.quota);
    }

    /// Records that no request was sent.
    pub fn not_sent(&self, namespace: &str, connection: &str, taken: &PadReservation) {
        if let Some(sent) = self.hours.lock().get_mut(&ObjectKey::new(namespace, connection)) {
            sent.retain(|one| one.pad != taken.pad || one.at != taken.at);
        }
        self.quotas.release(taken.quota);
    }

    /// Records that the Pad gave up its attempt: its pad was deleted, or the request without a response created none.
    pub fn forget_intent(&self, namespace: &str, connection: &str, pad: &str) {
        if let Some(sent) = self.hours.lock().get_mut(&ObjectKey::new(namespace, connection)) {
            sent.retain(|one| one.pad != pad || one.came != CreationResult::Unknown);
            for one in sent.iter_mut().filter(|one| one.pad == pad) {
                one.came = CreationResult::NoPad;
            }
        }
    }

    /// Drops the counts of a deleted connection.
    pub fn forget(&self, namespace: &str, connection: &str) {
        self.hours.lock().remove(&ObjectKey::new(namespace, connection));
    }

    fn record_result(&self, namespace: &str, connection: &str, taken: &PadReservation, came: CreationResult) {
        let mut hours = self.hours.lock();
        let sent = hours.get_mut(&ObjectKey::new(namespace, connection)).into_iter().flatten();
        for one in sent.filter(|one| one.pad == taken.pad && one.at == taken.at) {
            one.came = came;
        }
    }
}

fn is_recent(one: &SentCreation, now: Timestamp) -> bool {
    now.duration_since(one.at) < WINDOW
}

/// Returns the creations that count for a Pad, without its own unanswered request, which the Pad has already resolved.
fn merge_recent_creations(
    sent: &mut Vec<SentCreation>,
    pad: &str,
    made: Vec<RecordedCreation>,
    now: Timestamp,
) -> RecentPads {
    sent.retain(|one| is_recent(one, now));
    // Index by Pad: each pass of a pending Pad runs this code, so it must not be quadratic.
    let mut by_pad: HashMap<&str, Vec<Timestamp>> = HashMap::with_capacity(sent.len());
    for one in sent.iter() {
        by_pad.entry(&one.pad).or_default().push(one.at);
    }
    let is_same = |one: &RecordedCreation| {
        let known = by_pad.get(one.pad.as_str()).into_iter().flatten();
        known.into_iter().any(|at| one.at.duration_since(*at).abs() < SAME_CREATION_TOLERANCE)
    };
    let mut all = RecentPads::default();
    for one in made.into_iter().filter(|one| is_in_window(one.at, now)) {
        if !is_same(&one) {
            all.times.push(one.at);
        }
        if one.holds {
            all.placed.insert(one.pad);
        }
    }
    for one in sent.iter() {
        if one.pad != pad || one.came != CreationResult::Unknown {
            all.times.push(one.at);
        }
        if one.came != CreationResult::NoPad {
            all.placed.insert(one.pad.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: &str = "hiring";

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + minute * 60).unwrap()
    }

    fn request(pad: usize, per_hour: Option<u32>, made: &[(&str, i64)]) -> PadRequest {
        let made = made.iter().map(|(pad, minute)| creation(pad, *minute, true)).collect();
        let account = AccountId::for_key("https://app.coderpad.io", "key");
        PadRequest { pad: pad.to_string(), account, remaining: None, per_hour, made }
    }

    fn creation(pad: &str, minute: i64, holds: bool) -> RecordedCreation {
        RecordedCreation { pad: pad.to_owned(), at: at(minute), holds }
    }

    #[test]
    fn connections_with_one_key_share_its_quota() {
        let allowances = PadBudget::default();
        let take = |connection, pad| {
            allowances.reserve(
                NS,
                connection,
                PadRequest { remaining: Some(3), ..request(pad, Some(9), &[]) },
                at(0),
            )
        };
        let mut taken: Vec<_> = (0..3).filter_map(|pad| take("acme", pad).ok()).collect();
        assert_eq!(taken.len(), 3);
        assert_eq!(take("other", 3).unwrap_err(), Denied::Quota);
        allowances.refused(NS, "acme", &taken.remove(0));
        assert!(take("other", 3).is_ok());
        assert_eq!(take("acme", 4).unwrap_err(), Denied::Quota);
        allowances.not_sent(NS, "acme", &taken.remove(0));
        assert!(take("acme", 4).is_ok());
    }

    #[test]
    fn the_hourly_limit_holds_although_the_cache_lags() {
        let allowances = PadBudget::default();
        let take = |pad, known: &[(&str, i64)], minute| {
            allowances.reserve(NS, "acme", request(pad, Some(3), known), at(minute))
        };
        let before = [("before", -30)];
        assert!(take(1, &before, 0).is_ok());
        assert!(take(2, &before, 10).is_ok());
        let Err(Denied::Hour(full)) = take(3, &before, 11) else { panic!("a fourth pad in the hour") };
        assert_eq!((full.made, full.until), (3, at(30)));
        assert!(
            take(3, &[("before", -30), ("1", 0), ("2", 10)], 12).is_err(),
            "the same pads, reported late"
        );
        assert!(take(4, &before, 30).is_ok(), "the first is an hour old");
        assert!(take(5, &before, 59).is_err());
        assert!(take(5, &before, 60).is_ok());
        assert!(allowances.reserve(NS, "other", request(1, Some(1), &[]), at(60)).is_ok());
    }

    #[test]
    fn a_reached_hourly_limit_does_not_use_the_quota() {
        let allowances = PadBudget::default();
        let take = |pad, per_hour| {
            let wanted = PadRequest { remaining: Some(2), ..request(pad, Some(per_hour), &[]) };
            allowances.reserve(NS, "acme", wanted, at(0))
        };
        assert!(take(1, 1).is_ok());
        assert!(matches!(take(2, 1), Err(Denied::Hour(_))));
        assert!(take(2, 2).is_ok());
        assert_eq!(take(3, 9).unwrap_err(), Denied::Quota);
    }

    /// A Pad whose creation is rejected, or whose pad is deleted immediately, retries on every trigger.
    #[test]
    fn an_answered_request_counts_for_an_hour_with_any_result() {
        let allowances = PadBudget::default();
        let take = |pad, minute| allowances.reserve(NS, "acme", request(pad, Some(3), &[]), at(minute));
        allowances.refused(NS, "acme", &take(1, 0).unwrap());
        allowances.created(NS, "acme", &take(1, 1).unwrap());
        allowances.forget_intent(NS, "acme", "1");
        allowances.refused(NS, "acme", &take(2, 2).unwrap());
        let Err(Denied::Hour(full)) = take(1, 3) else { panic!("the same Pad, a fourth time in the hour") };
        assert_eq!((full.made, full.until), (3, at(60)));
        assert!(take(3, 59).is_err());
        assert!(take(3, 60).is_ok());
    }

    #[test]
    fn an_unsent_or_unanswered_request_does_not_count_for_the_same_pad() {
        let allowances = PadBudget::default();
        let take = |pad, minute| allowances.reserve(NS, "acme", request(pad, Some(1), &[]), at(minute));
        let taken = take(1, 0).unwrap();
        assert!(take(2, 1).is_err());
        assert!(take(1, 2).is_ok(), "the same Pad again: its first request was not answered");
        allowances.not_sent(NS, "acme", &taken);
        assert!(take(2, 3).is_err(), "the second request is in flight");
        allowances.forget_intent(NS, "acme", "1");
        assert!(take(2, 4).is_ok(), "it created no pad");
    }

    /// After a restart, only the Pads contain the record.
    #[test]
    fn recorded_creations_count_once_and_failed_ones_do_not_count() {
        let allowances = PadBudget::default();
        let taken = allowances.reserve(NS, "acme", request(1, Some(9), &[]), at(0)).unwrap();
        let reported = |holds| {
            let made = vec![creation("1", 0, true), creation("2", -5, holds), creation("3", -61, true)];
            allowances.recent_pads(NS, "acme", "4", made, at(1))
        };
        let mut all = reported(false);
        all.times.sort();
        assert_eq!(all.times, [at(-5), at(0)]);
        assert_eq!(all.placed, HashSet::from(["1".to_owned()]));
        assert_eq!(reported(true).placed, HashSet::from(["1".to_owned(), "2".to_owned()]));
        allowances.refused(NS, "acme", &taken);
        let none = allowances.recent_pads(NS, "acme", "4", Vec::new(), at(1));
        assert_eq!((none.times, none.placed), (vec![at(0)], HashSet::new()));
    }
}
