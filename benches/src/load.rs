//! Load at a constant rate, independent of the response times.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::ensure;
use futures::future::{BoxFuture, try_join_all};
use tokio::time::{MissedTickBehavior, interval};

/// Starts `per_second` pieces of work per second and returns their results, in order.
///
/// # Errors
/// If a piece of work fails.
pub async fn run_at_rate<T, F>(per_second: u32, work: impl IntoIterator<Item = F>) -> anyhow::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    let mut ticks = interval(Duration::from_secs(1) / per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut tasks = Vec::new();
    for piece in work {
        ticks.tick().await;
        tasks.push(tokio::spawn(piece));
    }
    try_join_all(tasks).await?.into_iter().collect()
}

/// Starts two kinds of work at a constant rate, alternating after `turn` pieces, and returns the results of each kind,
/// in order. Disturbances of the machine then affect both kinds.
///
/// # Errors
/// If a piece of work fails.
pub async fn alternate<T>(
    per_second: u32,
    turn: usize,
    one: Vec<BoxFuture<'static, anyhow::Result<T>>>,
    other: Vec<BoxFuture<'static, anyhow::Result<T>>>,
) -> anyhow::Result<(Vec<T>, Vec<T>)>
where
    T: Send + 'static,
{
    let is_of_one = |place: usize| (place / turn).is_multiple_of(2);
    let (count, mut one, mut other) = (one.len() + other.len(), one.into_iter(), other.into_iter());
    let work: Vec<_> =
        (0..count).filter_map(|place| if is_of_one(place) { one.next() } else { other.next() }).collect();
    ensure!(work.len() == count, "both kinds of work need the same number of full turns");
    let results = run_at_rate(per_second, work).await?.into_iter().enumerate();
    let (ones, others): (Vec<_>, Vec<_>) = results.partition(|(place, _)| is_of_one(*place));
    let plain = |results: Vec<(usize, T)>| results.into_iter().map(|(_, what)| what).collect();
    Ok((plain(ones), plain(others)))
}

/// Returns the result of some work and the time it took.
///
/// # Errors
/// If the work fails.
pub async fn timed<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<(T, Duration)> {
    let started = Instant::now();
    let results = work.await?;
    Ok((results, started.elapsed()))
}
