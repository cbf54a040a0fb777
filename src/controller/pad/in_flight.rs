//! Tracks requests that must not be repeated and whose outcome is not stored: the creation of a pad, and the claimed
//! writes to Lever.
//!
//! Each request is identified by its mark: the text that was stored on the Pad before the request was sent. "It did not
//! take effect" may be concluded only when no such request can be in flight and a read shows current data. The wait
//! starts at the end of an own request. For a request of another process, whose clock cannot be trusted, it starts when
//! its mark is first seen by this process (contract X5b). If this state is lost, the wait only starts again.

use api::names::OnceOnlyWrite;
use engine::backoff::exponential;
use engine::in_flight::InFlightState;
use http_client::REQUEST_TIMEOUT;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Deadline for sending a request after its mark was stored: it is sent by then or not at all.
pub const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// Delay between the first two searches for a pad whose creation was not confirmed; each further delay is twice as long.
const SEARCH_DELAY_MIN: Duration = Duration::from_secs(2);
/// Maximum delay between two such searches.
const SEARCH_DELAY_MAX: Duration = Duration::from_secs(30);
/// Minimum delay before a search for a note, after the request to add it has ended (contract X9).
const NOTE_VISIBILITY_DELAY: Duration = Duration::from_secs(60);

/// The known requests of one Pad, by their unique marks.
#[derive(Debug, Default)]
pub struct InFlight {
    seen: HashMap<String, RequestState>,
}

#[derive(Clone, Debug)]
enum RequestState {
    CompletesBy { time: Instant, searches: SearchBackoff, is_server_error: bool },
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
        let searches = SearchBackoff { made: 0, next: now };
        RequestState::CompletesBy { time: now + time, searches, is_server_error: false }
    }
}

impl InFlight {
    /// Returns the state of a request. An unknown mark is from another process, or from before a restart, and may have
    /// just been stored: such a request may be in flight for `SEND_DEADLINE + lands`.
    pub fn state_of(&mut self, mark: &str, lands: Duration) -> InFlightState {
        let first_seen = || RequestState::completes_in(SEND_DEADLINE + lands);
        match self.seen.entry(mark.to_owned()).or_insert_with(first_seen) {
            RequestState::NotSent => InFlightState::NotSent,
            RequestState::CompletesBy { time, searches, .. } => {
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

    /// Records a search that did not find the effect of a request in flight. Returns the growing delay before the next
    /// search (contract X5a).
    pub fn next_search_delay(&mut self, mark: &str) -> Duration {
        match self.seen.get_mut(mark) {
            Some(RequestState::CompletesBy { searches, .. }) => {
                searches.made += 1;
                let delay = exponential(SEARCH_DELAY_MIN, SEARCH_DELAY_MAX, searches.made);
                searches.next = Instant::now() + delay;
                delay
            }
            Some(RequestState::NotSent) | None => SEARCH_DELAY_MIN,
        }
    }

    /// Records the end of an own request with unknown outcome. Its effect may stay invisible for `shows`.
    pub fn mark_ended(&mut self, mark: &str, shows: Duration) {
        self.seen.insert(mark.to_owned(), RequestState::completes_in(shows));
    }

    /// Records that the service has answered an own request of unknown outcome with a server error.
    pub fn mark_server_error(&mut self, mark: &str) {
        if let Some(RequestState::CompletesBy { is_server_error, .. }) = self.seen.get_mut(mark) {
            *is_server_error = true;
        }
    }

    /// Reports whether the service has answered an own request with a server error.
    pub fn is_server_error(&self, mark: &str) -> bool {
        matches!(self.seen.get(mark), Some(RequestState::CompletesBy { is_server_error: true, .. }))
    }

    /// Records that an own request was refused or never sent.
    pub fn mark_not_sent(&mut self, mark: &str) {
        self.seen.insert(mark.to_owned(), RequestState::NotSent);
    }

    /// Removes a request whose outcome is stored.
    pub fn forget(&mut self, mark: &str) {
        self.seen.remove(mark);
    }

    /// Reports whether no request is known.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

/// Returns how long a write to Lever may stay invisible after its end. Lever documents nothing; the assumption is that
/// a write without a response takes effect within the timeout of a call, if at all.
pub fn visibility_delay(effect: OnceOnlyWrite) -> Duration {
    match effect {
        OnceOnlyWrite::Link => REQUEST_TIMEOUT,
        OnceOnlyWrite::Note => NOTE_VISIBILITY_DELAY,
    }
}

/// Returns the maximum time from sending a write to Lever until its effect is visible.
pub fn max_flight_time(effect: OnceOnlyWrite) -> Duration {
    match effect {
        OnceOnlyWrite::Link => REQUEST_TIMEOUT,
        OnceOnlyWrite::Note => REQUEST_TIMEOUT + NOTE_VISIBILITY_DELAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_FLIGHT_TIME: Duration = Duration::from_secs(120);
    const LIST_LAG: Duration = Duration::from_secs(90);

    fn rest(look: InFlightState) -> Option<Duration> {
        match look {
            InFlightState::InFlight { rest, .. } => Some(rest),
            InFlightState::Completed | InFlightState::NotSent => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn wait_for_a_foreign_request_starts_when_its_mark_is_first_seen() {
        let mut flights = InFlight::default();
        assert_eq!(rest(flights.state_of("one", MAX_FLIGHT_TIME)), Some(SEND_DEADLINE + MAX_FLIGHT_TIME));
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(rest(flights.state_of("one", MAX_FLIGHT_TIME)), Some(Duration::from_secs(30)));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(flights.state_of("one", MAX_FLIGHT_TIME), InFlightState::Completed);
        assert!(rest(flights.state_of("two", MAX_FLIGHT_TIME)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn wait_for_an_own_request_starts_at_its_end() {
        let mut flights = InFlight::default();
        flights.mark_ended("one", LIST_LAG);
        assert_eq!(rest(flights.state_of("one", MAX_FLIGHT_TIME)), Some(LIST_LAG));
        assert!(!flights.is_server_error("one"));
        flights.mark_server_error("one");
        assert!(flights.is_server_error("one") && !flights.is_server_error("two"));
        flights.mark_not_sent("two");
        assert_eq!(flights.state_of("two", MAX_FLIGHT_TIME), InFlightState::NotSent);
        flights.forget("two");
        assert!(rest(flights.state_of("two", MAX_FLIGHT_TIME)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pad_is_searched_for_immediately_and_then_with_growing_delays() {
        let mut flights = InFlight::default();
        let search_in = |look| match look {
            InFlightState::InFlight { search_in, .. } => search_in.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!(search_in(flights.state_of("one", MAX_FLIGHT_TIME)), 0);
        for delay in [2, 4, 8, 16, 30, 30] {
            assert_eq!(flights.next_search_delay("one").as_secs(), delay);
            assert_eq!(search_in(flights.state_of("one", MAX_FLIGHT_TIME)), delay);
            tokio::time::advance(Duration::from_secs(delay)).await;
            assert_eq!(search_in(flights.state_of("one", MAX_FLIGHT_TIME)), 0);
        }
        flights.mark_ended("one", LIST_LAG);
        assert_eq!(search_in(flights.state_of("one", MAX_FLIGHT_TIME)), 0, "the own request has just ended");
    }
}
