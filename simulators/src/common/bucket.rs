//! Token bucket per API key. Lever documents ten requests per second with bursts of twenty. The Interview API documents
//! no limit, so it gets the same one.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use super::lock;

/// Rate limit of an API key; `None` in the options means unlimited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// Sustained requests per second.
    pub per_second: f64,
    /// Maximum burst of requests.
    pub burst: f64,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { per_second: 10.0, burst: 20.0 }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Buckets {
    limit: Mutex<Option<RateLimit>>,
    levels: Mutex<HashMap<String, (f64, Instant)>>,
}

impl Buckets {
    pub(crate) fn new(limit: Option<RateLimit>) -> Self {
        Self { limit: Mutex::new(limit), levels: Mutex::default() }
    }

    pub(crate) fn set(&self, limit: Option<RateLimit>) {
        *lock(&self.limit) = limit;
        lock(&self.levels).clear();
    }

    pub(crate) fn take(&self, key: &str) -> bool {
        let Some(limit) = *lock(&self.limit) else { return true };
        let now = Instant::now();
        let mut levels = lock(&self.levels);
        let (level, seen) = levels.entry(key.to_owned()).or_insert((limit.burst, now));
        *level = (*level + now.duration_since(*seen).as_secs_f64() * limit.per_second).min(limit.burst);
        *seen = now;
        if *level < 1.0 {
            return false;
        }
        *level -= 1.0;
        true
    }
}
