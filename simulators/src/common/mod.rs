//! Parts that both simulated services share: server, faults, call log, rate limits and IDs.

pub(crate) mod bucket;
pub(crate) mod control;
pub(crate) mod faults;
pub(crate) mod handle;
pub(crate) mod pipeline;
pub(crate) mod server;
pub(crate) mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Ignores poisoning: a test that failed while it held the lock must not hide the results of other tests.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without randomness IDs would repeat, and the maps keyed by them would reveal that immediately.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns 48 hex digits, the format of Lever's tokens.
pub(crate) fn token48() -> String {
    hex(&random::<24>())
}

pub(crate) fn uuid() -> String {
    let mut bytes = random::<16>();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let text = hex(&bytes);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

/// Returns a pad ID: eight letters and digits without those that are easily confused.
pub(crate) fn pad_id() -> String {
    const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    random::<8>().iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}
