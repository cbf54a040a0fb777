//! Burst of candidates without a rate limit: the CPU cost of a pad.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use testkit::process::{cpu, memory};

use crate::bench::Bench;
use crate::environment::{Setup, TestEnv};
use crate::report::{Metric, mebibytes, milliseconds};

const CANDIDATES: usize = 5_000;
/// Maximum number of webhooks in flight.
const MAX_IN_FLIGHT: usize = 32;

/// Moves 5,000 candidates as fast as their webhooks are accepted.
pub async fn burst(bench: &Bench) -> anyhow::Result<Vec<Metric>> {
    let environment = TestEnv::start(bench, Setup::new("burst")).await?;
    let candidates: Vec<_> = (0..CANDIDATES).map(|_| environment.candidate()).collect();
    let (operator, api_server) = (environment.running()?.id()?, bench.api_server()?);
    let before = (cpu(operator)?, cpu(api_server)?);
    let started = Instant::now();
    let moves =
        candidates.iter().map(|one| environment.change_stage(one.clone())).collect::<Result<Vec<_>, _>>()?;
    stream::iter(moves).buffer_unordered(MAX_IN_FLIGHT).try_collect::<Vec<_>>().await?;
    let accepted = started.elapsed();
    environment.wait_for_links(&candidates).await?;
    let took = started.elapsed().as_secs_f64();
    // The last status writes.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = |after: Duration, before: Duration| milliseconds(after - before) / CANDIDATES as f64;
    let own = each(cpu(operator)?, before.0);
    let servers = each(cpu(api_server)?, before.1);
    environment.check_violations()?;
    Ok(vec![
        Metric::new(
            "5,000 candidates moved at once: webhooks taken",
            CANDIDATES as f64 / accepted.as_secs_f64(),
            "/s",
        ),
        Metric::new("5,000 candidates moved at once: pads linked", CANDIDATES as f64 / took, "/s"),
        Metric::new(
            "calls to the services for a live pad, then",
            environment.calls().len() as f64 / CANDIDATES as f64,
            "",
        ),
        Metric::new("CPU of the operator for a Pad", own, "ms"),
        Metric::new("CPU of the API server for a Pad", servers, "ms"),
        Metric::new("CPU of the operator, compared with the API server's", own / servers, "x").at_most(0.1),
        Metric::new("memory afterwards", mebibytes(memory(operator)?), "MiB"),
    ])
}
