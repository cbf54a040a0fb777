//! Load at a steady pace, whatever the answers take.

use std::future::Future;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokio::time::{MissedTickBehavior, interval};

/// Begins one piece of work after the other, so many a second, and returns what came of each, in order.
///
/// # Errors
/// That of the first piece that has one.
pub async fn paced<T, F>(per_second: u32, work: impl IntoIterator<Item = F>) -> anyhow::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    let mut ticks = interval(Duration::from_secs(1) / per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut begun = Vec::new();
    for piece in work {
        ticks.tick().await;
        begun.push(tokio::spawn(piece));
    }
    try_join_all(begun).await?.into_iter().collect()
}

/// What came of something, and how long it took.
///
/// # Errors
/// That of the work.
pub async fn timed<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<(T, Duration)> {
    let began = Instant::now();
    let came = work.await?;
    Ok((came, began.elapsed()))
}
