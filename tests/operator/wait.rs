//! Waiting for what must come true, without waiting longer than that.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// Far more than anything takes, so that a crowded machine only makes tests slow and not red.
const LONG: Duration = Duration::from_secs(60);
/// More than it takes until a note is looked for of which a dead process may be the author, twice.
pub const NOTE_IS_SURE: Duration = Duration::from_secs(260);
/// Held by tests that hold requests for a time, and by those that take all of the machine: never beside each other.
pub static MACHINE: Mutex<()> = Mutex::const_new(());
const POLL: Duration = Duration::from_millis(50);

/// Waits until the check is Ok. Its Err says what there is instead.
pub async fn eventually<T>(what: &str, check: impl AsyncFnMut() -> Result<T, String>) -> T {
    eventually_within(LONG, what, check).await
}

/// The same, where being fast is part of what is tested.
pub async fn eventually_within<T>(
    limit: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match check().await {
            Ok(value) => return value,
            Err(instead) if start.elapsed() > limit => {
                panic!("waited {limit:?} in vain until {what}. Instead: {instead}")
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// The outcome of something that must end in time.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, future)
        .await
        .unwrap_or_else(|_| panic!("waited {limit:?} in vain until {what}"))
}

/// The outcome of something that must end at all.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(LONG, what, future).await
}
