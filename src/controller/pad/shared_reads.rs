//! Deduplicates concurrent reads of one candidate.
//!
//! If several rules name one stage, each move into it creates several Pads of one candidate. They register here before
//! they read, and share a read that began after each of them registered: no Pad is decided on data older than its
//! trigger (contract P7).

use http_client::{ErrorKind, Permit, ServiceError};
use lever::{LeverClient, Opportunity};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// Maximum age of a shared answer: the last of many Pads may start late.
const SHARED_READ_TTL: Duration = Duration::from_secs(30);
/// Delay of the read after the last registration, if more Pads of the candidate are expected.
const SHARED_READ_ARRIVAL_GAP: Duration = Duration::from_millis(25);
/// Maximum delay of a read for Pads that have not registered yet.
const SHARED_READ_WINDOW_MAX: Duration = Duration::from_millis(250);

/// Namespace, connection, and opportunity.
type SharedReadKey = (String, String, String);

/// Number of entries from which unused ones are removed.
const CLEANUP_MIN_ENTRIES: usize = 64;

/// Shared reads of the candidates that Pads wait for.
#[derive(Debug, Default)]
pub struct SharedReads {
    all: Mutex<SharedReadTable>,
}

#[derive(Debug, Default)]
struct SharedReadTable {
    known: HashMap<SharedReadKey, Weak<SharedRead>>,
    /// Entries that were in use at the last cleanup.
    in_use: usize,
}

#[derive(Debug)]
struct SharedRead {
    opportunity_id: String,
    arrivals: Mutex<Arrivals>,
    answer: tokio::sync::Mutex<Option<SharedAnswer>>,
}

#[derive(Debug)]
struct Arrivals {
    waiting: usize,
    last: Instant,
}

#[derive(Debug)]
struct SharedAnswer {
    began: Instant,
    result: Result<Box<Opportunity>, ServiceError>,
}

/// Registration of a Pad that waits for its candidate, until this is dropped.
#[derive(Debug)]
pub struct SharedReadTicket {
    single: Arc<SharedRead>,
    since: Instant,
    expects_more: bool,
}

impl SharedReads {
    /// Registers a Pad. `expects_more`: more Pads of the candidate are likely to register at the same time.
    pub fn register(
        &self,
        namespace: &str,
        connection: &str,
        opportunity_id: &str,
        expects_more: bool,
    ) -> SharedReadTicket {
        let key = (namespace.to_owned(), connection.to_owned(), opportunity_id.to_owned());
        let since = Instant::now();
        let mut all = self.all.lock();
        let known = all.known.get(&key).and_then(Weak::upgrade);
        let single = known.unwrap_or_else(|| {
            if all.known.len() >= CLEANUP_MIN_ENTRIES.max(2 * all.in_use) {
                all.known.retain(|_, one| one.strong_count() > 0);
                all.in_use = all.known.len();
            }
            let single = Arc::new(SharedRead {
                opportunity_id: opportunity_id.to_owned(),
                arrivals: Mutex::new(Arrivals { waiting: 0, last: since }),
                answer: tokio::sync::Mutex::default(),
            });
            all.known.insert(key, Arc::downgrade(&single));
            single
        });
        let mut arrivals = single.arrivals.lock();
        arrivals.waiting += 1;
        arrivals.last = since;
        drop(arrivals);
        SharedReadTicket { single, since, expects_more }
    }
}

impl SharedReadTicket {
    /// Reports whether another Pad waits for the same candidate, or is likely to.
    pub fn is_shared(&self) -> bool {
        self.expects_more || self.single.arrivals.lock().waiting > 1
    }

    /// Returns the candidate from a read that began after this Pad registered. `permit` is used if a read is necessary.
    ///
    /// # Errors
    /// As [`LeverClient::opportunity`].
    pub async fn read(
        &self,
        lever: &LeverClient,
        permit: Option<Permit>,
    ) -> Result<Opportunity, ServiceError> {
        let mut answer = self.single.answer.lock().await;
        if let Some(known) = answer.as_ref().filter(|answer| answer.serves(self.since)) {
            return known.result.clone().map(|opportunity| *opportunity);
        }
        self.wait_for_more().await;
        let permit = match permit {
            Some(permit) => permit,
            None => lever.permit().await,
        };
        let began = Instant::now();
        let result = lever.opportunity_now(permit, &self.single.opportunity_id).await;
        // Other errors are not shared: they may be temporary.
        let is_answer = result.as_ref().err().is_none_or(|error| error.class == ErrorKind::NotFound);
        *answer = is_answer.then(|| SharedAnswer { began, result: result.clone().map(Box::new) });
        result
    }

    async fn wait_for_more(&self) {
        let latest = Instant::now() + SHARED_READ_WINDOW_MAX;
        while self.is_shared() {
            let until = (self.single.arrivals.lock().last + SHARED_READ_ARRIVAL_GAP).min(latest);
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

impl Drop for SharedReadTicket {
    fn drop(&mut self) {
        self.single.arrivals.lock().waiting -= 1;
    }
}

impl SharedAnswer {
    fn serves(&self, since: Instant) -> bool {
        self.began >= since && self.began.elapsed() <= SHARED_READ_TTL
    }
}
