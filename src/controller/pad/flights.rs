//! What this process knows of attempts to create a pad whose outcome is not stored.
//!
//! A search may conclude "not there" only when no request can be under way any more and CoderPad's lists are fresh.
//! For one's own request that is the list lag after its end; for another process's, whose clock says nothing, it is
//! counted from when the attempt was first seen here (contract, "Exactly once", Unknown outcome). Losing this memory
//! only makes the wait start again.

use super::facts::Flight;
use crate::api::names::Attempt;
use crate::interview::PadRecord;
use crate::transport::TIME_LIMIT;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// A POST leaves within this time of its intention, or not at all; so does the link after the storing of the id.
pub const LEAVES_WITHIN: Duration = Duration::from_secs(10);

/// The attempts that were seen, by their text: two attempts never share it.
#[derive(Debug, Default)]
pub struct Flights {
    seen: Mutex<HashMap<String, Seen>>,
    links: Mutex<HashMap<String, Instant>>,
}

#[derive(Clone, Debug)]
enum Seen {
    LandsBy(Instant),
    WithoutEffect,
}

impl Flights {
    /// What is known of an attempt. One that was never seen is another process's, or one's own from before a restart.
    pub fn look(&self, attempt: &Attempt, create_timeout: Duration, list_lag: Duration) -> Flight {
        let mut all = self.seen.lock();
        let first_seen = || Seen::LandsBy(Instant::now() + LEAVES_WITHIN + create_timeout + list_lag);
        match all.entry(attempt.to_string()).or_insert_with(first_seen) {
            Seen::WithoutEffect => Flight::WithoutEffect,
            Seen::LandsBy(time) => {
                let rest = time.saturating_duration_since(Instant::now());
                if rest.is_zero() { Flight::Landed } else { Flight::MayStillLand { rest } }
            }
        }
    }

    /// One's own request has ended, and it is not known how.
    pub fn ended(&self, attempt: &Attempt, list_lag: Duration) {
        self.seen.lock().insert(attempt.to_string(), Seen::LandsBy(Instant::now() + list_lag));
    }

    /// One's own request was refused, or never sent.
    pub fn without_effect(&self, attempt: &Attempt) {
        self.seen.lock().insert(attempt.to_string(), Seen::WithoutEffect);
    }

    /// How long another process's request to add the link of this pad may still take effect; None: not any more. It is
    /// sent soon after the pad's id is stored, so whoever finds only the id waits it out before looking for the link.
    pub fn link_lands_in(&self, pad_id: &str) -> Option<Duration> {
        let mut links = self.links.lock();
        let lands_by =
            links.entry(pad_id.to_owned()).or_insert_with(|| Instant::now() + LEAVES_WITHIN + TIME_LIMIT);
        Some(lands_by.saturating_duration_since(Instant::now())).filter(|rest| !rest.is_zero())
    }

    /// One's own request to add the link was sent, and it is not known whether it takes effect.
    pub fn link_may_land(&self, pad_id: &str) {
        self.links.lock().insert(pad_id.to_owned(), Instant::now() + TIME_LIMIT);
    }

    /// This process has stored the id of the pad: nobody else adds its link.
    pub fn link_is_ours(&self, pad_id: &str) {
        self.links.lock().insert(pad_id.to_owned(), Instant::now());
    }

    /// The link is known to be there: nothing needs to be remembered.
    pub fn forget_link(&self, pad_id: &str) {
        self.links.lock().remove(pad_id);
    }

    /// The outcome is stored: nothing needs to be remembered.
    pub fn forget(&self, attempt: &Attempt) {
        self.seen.lock().remove(&attempt.to_string());
    }
}

/// What two walks over CoderPad's newest pads say together; None, if they do not agree.
pub fn agree(mut first: Vec<PadRecord>, mut second: Vec<PadRecord>) -> Option<Vec<PadRecord>> {
    for walk in [&mut first, &mut second] {
        walk.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        walk.dedup_by(|a, b| a.id == b.id);
    }
    let ids = |walk: &[PadRecord]| walk.iter().map(|record| record.id.clone()).collect::<Vec<_>>();
    (ids(&first) == ids(&second)).then_some(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::{Reference, Series};

    const CREATE: Duration = Duration::from_secs(30);
    const LAG: Duration = Duration::from_secs(90);

    fn attempt(second: i64) -> Attempt {
        let reference = Reference::new(Series::new("ns", "cfg", "op"), 1);
        Attempt::new(reference, jiff::Timestamp::from_second(second).unwrap())
    }

    fn rest(flight: Flight) -> Option<Duration> {
        match flight {
            Flight::MayStillLand { rest } => Some(rest),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn anothers_flight_is_waited_out_from_when_it_was_first_seen() {
        let flights = Flights::default();
        assert_eq!(rest(flights.look(&attempt(1), CREATE, LAG)), Some(LEAVES_WITHIN + CREATE + LAG));
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(rest(flights.look(&attempt(1), CREATE, LAG)), Some(Duration::from_secs(30)));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(matches!(flights.look(&attempt(1), CREATE, LAG), Flight::Landed));
        assert!(rest(flights.look(&attempt(2), CREATE, LAG)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn ones_own_flight_is_waited_out_from_its_end() {
        let flights = Flights::default();
        flights.ended(&attempt(1), LAG);
        assert_eq!(rest(flights.look(&attempt(1), CREATE, LAG)), Some(LAG));
        flights.without_effect(&attempt(2));
        assert!(matches!(flights.look(&attempt(2), CREATE, LAG), Flight::WithoutEffect));
    }

    #[tokio::test(start_paused = true)]
    async fn anothers_link_is_waited_out_and_ones_own_is_not() {
        let flights = Flights::default();
        assert_eq!(flights.link_lands_in("PAD1"), Some(LEAVES_WITHIN + TIME_LIMIT));
        tokio::time::advance(LEAVES_WITHIN + TIME_LIMIT).await;
        assert_eq!(flights.link_lands_in("PAD1"), None);
        flights.link_is_ours("PAD2");
        assert_eq!(flights.link_lands_in("PAD2"), None);
    }
}
