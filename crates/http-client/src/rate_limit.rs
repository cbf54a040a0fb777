//! Rate limit: one token bucket per service and API key.
//!
//! No library is used because three features share the state: the backoff after a 429, the priority of new pads over
//! polls, and a clock that tests can pause.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Share of the documented rate that is used. The service's clock may differ from the local one.
const RATE_SHARE: f64 = 0.97;
/// Share of the documented burst that is used. Requests that are sent at the right intervals may arrive closer
/// together.
const BURST_SHARE: f64 = 0.9;
const THROTTLE_BACKOFF_INITIAL: Duration = Duration::from_secs(1);
const THROTTLE_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Maximum `Retry-After` that is respected. After that, one call tries again even if the service asked for a longer
/// delay, so that a wrong header cannot block an account for hours.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Maximum time that the first poll in the queue yields to pads, so that polls are slow but never starve.
const POLL_YIELD_MAX: Duration = Duration::from_secs(10);
/// Number of accounts at which the buckets that no client uses are removed.
const BUCKETS_CAPACITY: usize = 1024;

/// Documented rate limit of a service per API key. The client stays a margin below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per second; 0 = unlimited.
    pub per_second: u32,
    /// Number of requests that may be sent at once after an idle time.
    pub burst: u32,
}

/// Priority of a call that waits for the rate limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Work on one pad that a person waits for.
    #[default]
    Pad,
    /// Sync and probes. They wait while the call of any pad waits.
    Poll,
}

impl Priority {
    /// Returns the label value in metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Priority::Pad => "pad",
            Priority::Poll => "poll",
        }
    }
}

/// Token bucket of one account.
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

/// Identifier of an API key at an origin: a digest that exposes neither of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccountId([u8; digest::SHA256_OUTPUT_LEN]);

impl AccountId {
    /// Returns the ID of a key at an origin.
    pub fn for_key(origin: &str, key: &str) -> Self {
        let mut text = digest::Context::new(&digest::SHA256);
        text.update(origin.as_bytes());
        text.update(&[0]);
        text.update(key.as_bytes());
        let mut id = [0; digest::SHA256_OUTPUT_LEN];
        id.copy_from_slice(text.finish().as_ref());
        Self(id)
    }
}

/// Debug output without the digest, because a short key can be found from a digest by brute force.
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

    /// Returns the ID of the account that the bucket belongs to.
    pub(crate) fn id(&self) -> AccountId {
        self.id
    }

    /// Waits for a token and takes it. Calls of the same priority are served in order of arrival.
    pub(crate) async fn take(&self, priority: Priority) {
        match priority {
            Priority::Pad => {
                let _waiting = WaitingPadGuard::new(self);
                let _permit = self.pads.lock().await;
                while let Err(again) = self.try_take() {
                    sleep_until(again).await;
                }
            }
            Priority::Poll => {
                let _permit = self.polls.lock().await;
                let patience = Instant::now() + POLL_YIELD_MAX;
                loop {
                    if self.pads_waiting.load(Ordering::Acquire) > 0 && Instant::now() < patience {
                        // Both the notification and the timeout lead to another check.
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

    /// Takes a token, or returns the time of the next attempt.
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
            // The timer's resolution is one millisecond; a shorter sleep would spin.
            let missing = Duration::from_secs_f64((1.0 - state.tokens) / rate);
            Err(now + missing.max(Duration::from_millis(1)))
        }
    }

    /// Records that a call sent at `sent_at` was answered 429. Starts a backoff that grows with each consecutive
    /// refusal.
    pub(crate) fn refused(&self, sent_at: Instant, retry_after: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.lock();
        // Calls that were in flight at the same time are refused together. They count as one refusal.
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
        // Drops the saved tokens, so that calls resume at the steady rate after the backoff, without a burst.
        state.tokens = 1.0;
        state.counted_at = until;
    }

    /// Records that a call sent at `sent_at` was not answered 429. Resets the backoff unless the call was sent before
    /// the last refusal.
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

/// Guard that counts a waiting pad call until it is dropped, including when the call is cancelled.
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

/// Token buckets of all accounts. All clients of one key share one bucket.
#[derive(Debug, Default)]
pub(crate) struct TokenBuckets(Mutex<HashMap<AccountId, Arc<TokenBucket>>>);

impl TokenBuckets {
    /// Returns the bucket of a key at an origin, and creates it on first use. Only a hash of the key is stored.
    pub(crate) fn for_key(&self, origin: &str, key: &str, limit: RateLimit) -> Arc<TokenBucket> {
        let id = AccountId::for_key(origin, key);
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_CAPACITY {
            buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1);
        }
        Arc::clone(buckets.entry(id).or_insert_with(|| Arc::new(TokenBucket::new(id, limit))))
    }
}
