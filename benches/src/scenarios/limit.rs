//! As fast as Lever's documented rate limit allows, and never faster.

use std::time::Instant;

use simulators::RateLimit;

use crate::bench::Bench;
use crate::load::paced;
use crate::report::Figure;
use crate::world::{Setup, World};

const CANDIDATES: usize = 400;
/// Faster than the limit, and slow enough that the webhooks themselves take nothing from the pads.
const PER_SECOND: u32 = 100;

/// All candidates are moved within a few seconds.
pub async fn limit(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let world = World::start(bench, Setup { limited: true, ..Setup::new("limit") }).await?;
    // The probes have taken of the burst.
    let limit = RateLimit::default();
    tokio::time::sleep(std::time::Duration::from_secs_f64(limit.burst / limit.per_second)).await;
    world.forget_calls();
    let candidates: Vec<_> = (0..CANDIDATES).map(|_| world.candidate()).collect();
    let began = Instant::now();
    let moves =
        candidates.iter().map(|one| world.change_stage(one.clone())).collect::<Result<Vec<_>, _>>()?;
    paced(PER_SECOND, moves).await?;
    world.wait_for_links(&candidates).await?;
    let took = began.elapsed().as_secs_f64();
    let lever = world.lever.calls();
    let refused = world.calls().iter().filter(|call| call.status == Some(429)).count();
    // What the service would have taken in this time, burst and all.
    let allowed = limit.burst + limit.per_second * took;
    world.check()?;
    Ok(vec![
        Figure::new(
            format!("calls for a live pad, with {CANDIDATES} candidates waiting for one rule"),
            world.calls().len() as f64 / CANDIDATES as f64,
            "",
        )
        .at_most(2.1),
        Figure::new("share of Lever's rate limit that is used", lever.len() as f64 / allowed, "")
            .at_least(0.95),
        Figure::new("pads per second at Lever's limit", CANDIDATES as f64 / took, "/s"),
        Figure::new("answers 429", refused as f64, "").at_most(0.0),
    ])
}
