//! Waits for conditions, no longer than necessary.

use std::future::Future;
use std::time::Duration;

use testkit::Wait;
use tokio::sync::Mutex;

/// Timeout far above what any step takes, so that a busy machine makes tests slow but not red.
const LONG: Duration = Duration::from_secs(60);
/// More than the time until a note that a dead process may have written is searched for, twice.
pub const NOTE_SEARCH_COMPLETE: Duration = Duration::from_secs(260);
/// Serializes tests that hold requests for a time with those that use all of the machine.
pub static MACHINE: Mutex<()> = Mutex::const_new(());
const POLL: Duration = Duration::from_millis(50);
/// Limits of the wait until an operator is ready.
pub const READY: Wait = Wait { timeout: LONG, poll: POLL };

/// Waits until the check succeeds. Its error describes the current state.
pub async fn eventually<T>(what: &str, check: impl AsyncFnMut() -> Result<T, String>) -> T {
    eventually_within(LONG, what, check).await
}

/// Like [`eventually`], where speed is part of what is tested.
pub async fn eventually_within<T>(
    timeout: Duration,
    what: &str,
    check: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let wait = Wait { timeout, poll: POLL };
    wait.until(what, check).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the result of a future that must finish in time.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, future)
        .await
        .unwrap_or_else(|_| panic!("timed out after {limit:?} waiting until {what}"))
}

/// Returns the result of a future that must finish at all.
pub async fn must_finish<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(LONG, what, future).await
}
