//! Load at a steady pace, whatever the answers take.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::ensure;
use futures::future::{BoxFuture, try_join_all};
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

/// Begins two kinds of work at a steady pace, so many pieces of the one, then as many of the other, and returns what came
/// of each kind, in order. What happens to the machine meanwhile happens to both.
///
/// # Errors
/// That of the first piece that has one.
pub async fn in_turns<T>(
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
    ensure!(work.len() == count, "both kinds of work come in as many full turns");
    let came = paced(per_second, work).await?.into_iter().enumerate();
    let (ones, others): (Vec<_>, Vec<_>) = came.partition(|(place, _)| is_of_one(*place));
    let plain = |came: Vec<(usize, T)>| came.into_iter().map(|(_, what)| what).collect();
    Ok((plain(ones), plain(others)))
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
