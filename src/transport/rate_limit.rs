//! The rate limit: one bucket of tokens per service and API key.
//!
//! Written here and not taken from a library because three things share its state: the pause after a 429, new pads
//! going before polls, and a clock that tests can hold still.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Share of the documented rate that is used: the service's clock is not ours.
const RATE_SHARE: f64 = 0.97;
/// Share of the documented burst that is used: requests that leave in good order may arrive closer together.
const BURST_SHARE: f64 = 0.9;
const THROTTLE_BACKOFF_INITIAL: Duration = Duration::from_secs(1);
const THROTTLE_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A service that asks for more than this is asked again all the same, by one call, so that a wrong header cannot
/// hold up an account for hours.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// How long the foremost poll stands back for pads, so that polls are slow but never starved.
const POLL_YIELD_MAX: Duration = Duration::from_secs(10);
/// Accounts remembered before those no client uses any more are forgotten.
const BUCKETS_CAPACITY: usize = 1024;

/// What a service allows one API key, as it is documented; the client stays a margin below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per second; 0 = no limit.
    pub per_second: u32,
    /// Requests that may be made at once after a quiet time.
    pub burst: u32,
}

/// Who goes first when calls wait for the rate limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Work on one pad that somebody waits for.
    #[default]
    Pad,
    /// Sync and probes: they wait while any pad's call waits.
    Poll,
}

impl Priority {
    /// Its name in metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Priority::Pad => "pad",
            Priority::Poll => "poll",
        }
    }
}

/// The bucket of one account.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    rate: Option<f64>,
    capacity: f64,
    state: Mutex<BucketState>,
    pads: tokio::sync::Mutex<()>,
    polls: tokio::sync::Mutex<()>,
    pads_waiting: AtomicUsize,
    pads_gone: Notify,
    id: AccountId,
}

/// Identifies an API key at an origin: a digest, so that neither can be read from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccountId([u8; digest::SHA256_OUTPUT_LEN]);

impl AccountId {
    /// The ID of a key at an origin.
    pub(crate) fn of(origin: &str, key: &str) -> Self {
        let mut text = digest::Context::new(&digest::SHA256);
        text.update(origin.as_bytes());
        text.update(&[0]);
        text.update(key.as_bytes());
        let mut id = [0; digest::SHA256_OUTPUT_LEN];
        id.copy_from_slice(text.finish().as_ref());
        Self(id)
    }
}

/// Without the digest: a short key can be found by trying.
impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountId")
    }
}

#[derive(Debug)]
struct BucketState {
    tokens: f64,
    counted_at: Instant,
    paused_until: Option<Instant>,
    refused_at: Option<Instant>,
    next_pause: Duration,
}

impl TokenBucket {
    fn new(id: AccountId, limit: RateLimit) -> Self {
        let capacity = (f64::from(limit.burst) * BURST_SHARE).floor().max(1.0);
        Self {
            rate: (limit.per_second > 0).then(|| (f64::from(limit.per_second) * RATE_SHARE).max(1.0)),
            capacity,
            state: Mutex::new(BucketState {
                tokens: capacity,
                counted_at: Instant::now(),
                paused_until: None,
                refused_at: None,
                next_pause: THROTTLE_BACKOFF_INITIAL,
            }),
            pads: tokio::sync::Mutex::new(()),
            polls: tokio::sync::Mutex::new(()),
            pads_waiting: AtomicUsize::new(0),
            pads_gone: Notify::new(),
            id,
        }
    }

    /// Whose bucket it is.
    pub(crate) fn id(&self) -> AccountId {
        self.id
    }

    /// Waits for a token and takes it. First come, first served within a priority.
    pub(crate) async fn take(&self, priority: Priority) {
        match priority {
            Priority::Pad => {
                let _waiting = WaitingPadGuard::new(self);
                let _turn = self.pads.lock().await;
                while let Err(again) = self.try_take() {
                    sleep_until(again).await;
                }
            }
            Priority::Poll => {
                let _turn = self.polls.lock().await;
                let patience = Instant::now() + POLL_YIELD_MAX;
                loop {
                    if self.pads_waiting.load(Ordering::Acquire) > 0 && Instant::now() < patience {
                        // Either end of the wait leads to another look.
                        let _ = timeout_at(patience, self.pads_gone.notified()).await;
                        continue;
                    }
                    match self.try_take() {
                        Ok(()) => return,
                        Err(again) => sleep_until(again).await,
                    }
                }
            }
        }
    }

    /// Takes a token, or says when to look again.
    fn try_take(&self) -> Result<(), Instant> {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(until) = state.paused_until.filter(|until| *until > now) {
            return Err(until);
        }
        let Some(rate) = self.rate else { return Ok(()) };
        let gained = now.saturating_duration_since(state.counted_at).as_secs_f64() * rate;
        state.tokens = (state.tokens + gained).min(self.capacity);
        state.counted_at = state.counted_at.max(now);
        if state.tokens >= 1.0 {
            state.tokens -= 1.0;
            Ok(())
        } else {
            // A millisecond is what the timer can tell apart; less would spin.
            let missing = Duration::from_secs_f64((1.0 - state.tokens) / rate);
            Err(now + missing.max(Duration::from_millis(1)))
        }
    }

    /// A call sent at `sent_at` was answered 429: pause, longer each time in a row.
    pub(crate) fn refused(&self, sent_at: Instant, retry_after: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.lock();
        // Calls that were under way together are refused together: that is one refusal, not many.
        let same_refusal = state.refused_at.is_some_and(|refused| sent_at <= refused);
        let pause = match retry_after {
            Some(asked) => asked.min(RETRY_AFTER_MAX),
            None if same_refusal => return,
            None => state.next_pause,
        };
        if !same_refusal {
            state.next_pause = (state.next_pause * 2).min(THROTTLE_BACKOFF_MAX);
            state.refused_at = Some(now);
        }
        let until = state.paused_until.map_or(now + pause, |until| until.max(now + pause));
        state.paused_until = Some(until);
        // What was saved up is lost: after the pause it goes on at the steady rate, without a burst.
        state.tokens = 1.0;
        state.counted_at = until;
    }

    /// A call sent at `sent_at` was not answered 429.
    pub(crate) fn accepted(&self, sent_at: Instant) {
        let mut state = self.lock();
        if state.refused_at.is_some_and(|refused| sent_at > refused) {
            state.refused_at = None;
            state.next_pause = THROTTLE_BACKOFF_INITIAL;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BucketState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a waiting pad call for as long as it lives, also when the call is dropped.
struct WaitingPadGuard<'a>(&'a TokenBucket);

impl<'a> WaitingPadGuard<'a> {
    fn new(bucket: &'a TokenBucket) -> Self {
        bucket.pads_waiting.fetch_add(1, Ordering::AcqRel);
        Self(bucket)
    }
}

impl Drop for WaitingPadGuard<'_> {
    fn drop(&mut self) {
        if self.0.pads_waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.pads_gone.notify_one();
        }
    }
}

/// The buckets of all accounts, so that every client of one key shares one.
#[derive(Debug, Default)]
pub(crate) struct TokenBuckets(Mutex<HashMap<AccountId, Arc<TokenBucket>>>);

impl TokenBuckets {
    /// The bucket of a key at an origin, made at first sight. Only a hash of the key is kept.
    pub(crate) fn of(&self, origin: &str, key: &str, limit: RateLimit) -> Arc<TokenBucket> {
        let id = AccountId::of(origin, key);
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_CAPACITY {
            buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1);
        }
        Arc::clone(buckets.entry(id).or_insert_with(|| Arc::new(TokenBucket::new(id, limit))))
    }
}
