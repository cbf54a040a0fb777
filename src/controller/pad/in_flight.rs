//! What this process knows of requests that must not be repeated and whose outcome is not stored: the creation of a pad,
//! and the writes to Lever that were claimed.
//!
//! Each is known by its mark: the text that stands on the Pad since before it left. Whoever finds a mark may conclude "it
//! did not take effect" only when no such request can be under way any more, and what shows its effect is fresh. For one's
//! own request that is counted from its end; for another process's, whose clock says nothing, from when its mark was first
//! seen here (contract, "Exactly once", Unknown outcome). Losing this memory only makes the wait start again.

use crate::api::names::OnceOnlyWrite;
use crate::coderpad::PadRecord;
use crate::transport::TIME_LIMIT;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// A request leaves within this time of its mark, or not at all.
pub const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// Delay between the first two searches for a pad whose creation was not confirmed; each further delay is twice as long.
const SEARCH_DELAY_MIN: Duration = Duration::from_secs(2);
/// Longest delay between two such searches.
const SEARCH_DELAY_MAX: Duration = Duration::from_secs(30);
/// A note is looked for no sooner than this after a request to add it has ended (contract, "Exactly once").
const NOTE_VISIBILITY_DELAY: Duration = Duration::from_secs(60);

/// The requests that were seen, by their marks: two requests never share one.
#[derive(Debug, Default)]
pub struct InFlight {
    seen: Mutex<HashMap<String, RequestState>>,
}

#[derive(Clone, Debug)]
enum RequestState {
    CompletesBy { time: Instant, searches: SearchBackoff },
    NotSent,
}

/// The searches for the effect of a request while it may still take effect.
#[derive(Clone, Debug)]
struct SearchBackoff {
    made: u32,
    next: Instant,
}

impl RequestState {
    fn completes_in(time: Duration) -> Self {
        let now = Instant::now();
        RequestState::CompletesBy { time: now + time, searches: SearchBackoff { made: 0, next: now } }
    }
}

/// What is known of one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InFlightState {
    /// It may still take effect, or its effect may not be seen yet.
    InFlight {
        /// How long that may last.
        rest: Duration,
        /// Delay until its effect is to be searched for next; zero: now.
        search_in: Duration,
    },
    /// It has ended; its effect can be looked for.
    Completed,
    /// It certainly took no effect.
    NotSent,
}

impl InFlight {
    /// Looks at one. If it was never seen it is another process's, or one's own from before a restart: it may have been
    /// marked just now, so it takes `leaves + lands`.
    pub fn state_of(&self, mark: &str, lands: Duration) -> InFlightState {
        let mut all = self.seen.lock();
        let first_seen = || RequestState::completes_in(SEND_DEADLINE + lands);
        match all.entry(mark.to_owned()).or_insert_with(first_seen) {
            RequestState::NotSent => InFlightState::NotSent,
            RequestState::CompletesBy { time, searches } => {
                let now = Instant::now();
                let rest = time.saturating_duration_since(now);
                let search_in = searches.next.saturating_duration_since(now);
                if rest.is_zero() {
                    InFlightState::Completed
                } else {
                    InFlightState::InFlight { rest, search_in }
                }
            }
        }
    }

    /// A search has not found the effect of a request that may still take effect. Returns the delay until the next one:
    /// the delays grow (contract X5a).
    pub fn next_search_delay(&self, mark: &str) -> Duration {
        match self.seen.lock().get_mut(mark) {
            Some(RequestState::CompletesBy { searches, .. }) => {
                let delay = SEARCH_DELAY_MIN.saturating_mul(1 << searches.made.min(5)).min(SEARCH_DELAY_MAX);
                searches.made += 1;
                searches.next = Instant::now() + delay;
                delay
            }
            Some(RequestState::NotSent) | None => SEARCH_DELAY_MIN,
        }
    }

    /// One's own request has ended, and it is not known how. `shows` is how long its effect may stay hidden.
    pub fn mark_ended(&self, mark: &str, shows: Duration) {
        self.seen.lock().insert(mark.to_owned(), RequestState::completes_in(shows));
    }

    /// One's own request was refused, or never sent.
    pub fn mark_not_sent(&self, mark: &str) {
        self.seen.lock().insert(mark.to_owned(), RequestState::NotSent);
    }

    /// The outcome is stored: nothing needs to be remembered.
    pub fn forget(&self, mark: &str) {
        self.seen.lock().remove(mark);
    }
}

/// How long a write to Lever may stay hidden after its end. One whose answer is lost takes effect within the time limit
/// of a call, if ever: nothing is documented, and this is assumed.
pub fn visibility_delay(effect: OnceOnlyWrite) -> Duration {
    match effect {
        OnceOnlyWrite::Link => TIME_LIMIT,
        OnceOnlyWrite::Note => NOTE_VISIBILITY_DELAY,
    }
}

/// How long a write to Lever may take from its leaving until its effect is seen.
pub fn max_flight_time(effect: OnceOnlyWrite) -> Duration {
    match effect {
        OnceOnlyWrite::Link => TIME_LIMIT,
        OnceOnlyWrite::Note => TIME_LIMIT + NOTE_VISIBILITY_DELAY,
    }
}

/// What two walks over CoderPad's newest pads say together; None, if they do not agree.
pub fn merge_scans(mut first: Vec<PadRecord>, mut second: Vec<PadRecord>) -> Option<Vec<PadRecord>> {
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

    const LANDS: Duration = Duration::from_secs(120);
    const LAG: Duration = Duration::from_secs(90);

    fn rest(look: InFlightState) -> Option<Duration> {
        match look {
            InFlightState::InFlight { rest, .. } => Some(rest),
            InFlightState::Completed | InFlightState::NotSent => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn anothers_flight_is_waited_out_from_when_it_was_first_seen() {
        let flights = InFlight::default();
        assert_eq!(rest(flights.state_of("one", LANDS)), Some(SEND_DEADLINE + LANDS));
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(rest(flights.state_of("one", LANDS)), Some(Duration::from_secs(30)));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(flights.state_of("one", LANDS), InFlightState::Completed);
        assert!(rest(flights.state_of("two", LANDS)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn ones_own_flight_is_waited_out_from_its_end() {
        let flights = InFlight::default();
        flights.mark_ended("one", LAG);
        assert_eq!(rest(flights.state_of("one", LANDS)), Some(LAG));
        flights.mark_not_sent("two");
        assert_eq!(flights.state_of("two", LANDS), InFlightState::NotSent);
        flights.forget("two");
        assert!(rest(flights.state_of("two", LANDS)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pad_is_searched_for_at_once_and_then_with_growing_delays() {
        let flights = InFlight::default();
        let search_in = |look| match look {
            InFlightState::InFlight { search_in, .. } => search_in.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!(search_in(flights.state_of("one", LANDS)), 0);
        for delay in [2, 4, 8, 16, 30, 30] {
            assert_eq!(flights.next_search_delay("one").as_secs(), delay);
            assert_eq!(search_in(flights.state_of("one", LANDS)), delay);
            tokio::time::advance(Duration::from_secs(delay)).await;
            assert_eq!(search_in(flights.state_of("one", LANDS)), 0);
        }
        flights.mark_ended("one", LAG);
        assert_eq!(search_in(flights.state_of("one", LANDS)), 0, "one's own request has just ended");
    }
}
