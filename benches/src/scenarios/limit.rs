//! Throughput with Lever's documented rate limit, which must never be exceeded.

use std::time::{Duration, Instant};

use simulators::RateLimit;

use crate::bench::Bench;
use crate::environment::{Setup, TestEnv};
use crate::load::run_at_rate;
use crate::report::Metric;

/// Many candidates, and the smallest number for which reading a list pays off.
const CANDIDATES: usize = 400;
const FEW_CANDIDATES: usize = 100;
/// Faster than the rate limit, but slow enough that the webhooks take no CPU time from the pads.
const PER_SECOND: u32 = 100;
/// The smallest number is moved at once, so that those candidates wait for the rule together.
const ONE_CLICK_RATE: u32 = 10_000;

/// Measures candidates that are all moved within a few seconds.
pub async fn limit(bench: &Bench) -> anyhow::Result<Vec<Metric>> {
    let environment = TestEnv::start(bench, Setup { limited: true, ..Setup::new("limit") }).await?;
    let few = measure(&environment, FEW_CANDIDATES, ONE_CLICK_RATE).await?;
    let many = measure(&environment, CANDIDATES, PER_SECOND).await?;
    environment.check_violations()?;
    let calls = |measured: &Measured| {
        let what =
            format!("calls for a live pad, with {} candidates waiting for one rule", measured.candidates);
        Metric::new(what, measured.calls as f64 / measured.candidates as f64, "").at_most(2.1)
    };
    Ok(vec![
        calls(&few),
        calls(&many),
        Metric::new("share of Lever's rate limit that is used", many.share, "").at_least(0.95),
        Metric::new("pads per second with Lever's rate limit", many.candidates as f64 / many.seconds, "/s"),
        Metric::new("answers 429", (few.throttled + many.throttled) as f64, "").at_most(0.0),
    ])
}

struct Measured {
    candidates: usize,
    calls: usize,
    /// Share of the requests that Lever would have accepted in that time, including the burst.
    share: f64,
    seconds: f64,
    /// Responses with 429.
    throttled: usize,
}

async fn measure(environment: &TestEnv<'_>, candidates: usize, per_second: u32) -> anyhow::Result<Measured> {
    // Waits until the burst is available again.
    let limit = RateLimit::default();
    tokio::time::sleep(Duration::from_secs_f64(limit.burst / limit.per_second)).await;
    environment.clear_calls();
    let moved: Vec<_> = (0..candidates).map(|_| environment.candidate()).collect();
    let started = Instant::now();
    let moves =
        moved.iter().map(|one| environment.change_stage(one.clone())).collect::<Result<Vec<_>, _>>()?;
    run_at_rate(per_second, moves).await?;
    environment.wait_for_links(&moved).await?;
    let seconds = started.elapsed().as_secs_f64();
    let calls = environment.calls();
    Ok(Measured {
        candidates,
        calls: calls.len(),
        share: environment.lever.calls().len() as f64 / (limit.burst + limit.per_second * seconds),
        seconds,
        throttled: calls.iter().filter(|call| call.status == Some(429)).count(),
    })
}
