//! Cost of one live pad.

use crate::bench::Bench;
use crate::report::Figure;
use crate::world::{Setup, World, wait_until};
use pad_operator::api::Pad;
use pad_operator::api::pad::Phase;

const CANDIDATES: usize = 20;

/// Measures candidates one after the other.
pub async fn single(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let world = World::start(bench, Setup::new("single")).await?;
    world.forget_calls();
    let before = world.writes().await?;
    for _ in 0..CANDIDATES {
        let candidate = world.candidate();
        world.change_stage(candidate.clone())?.await?;
        world.wait_for_links(&[candidate]).await?;
    }
    // The status is the last write and follows the link.
    wait_until("all are Open", async || {
        let pads = world.api::<Pad>().list(&Default::default()).await?;
        Ok(pads.iter().filter(|pad| pad.phase() == Some(Phase::Open)).count() == CANDIDATES)
    })
    .await?;
    let (calls, writes) = (world.calls().len(), world.writes().await? - before);
    world.check()?;
    let each = |count: usize| count as f64 / CANDIDATES as f64;
    Ok(vec![
        Figure::new("calls to the services for a live pad", each(calls), "").at_most(3.0),
        Figure::new("writes to the API server for a Pad, Events counted", each(writes), "").at_most(4.0),
    ])
}
