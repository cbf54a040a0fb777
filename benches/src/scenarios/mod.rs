//! Scenarios: each measures some metrics in its own control plane.

mod burst;
mod idle;
mod latency;
mod limit;
mod sequential;

use crate::bench::Bench;
use crate::report::Metric;

/// Names of the scenarios, in the order in which they run.
pub const NAMES: [&str; 9] =
    ["sequential", "limit", "burst", "answers", "latency", "slow-services", "pads", "connections", "secrets"];

/// Runs the scenario with this name.
pub async fn run(name: &str, bench: &Bench) -> anyhow::Result<Vec<Metric>> {
    match name {
        "sequential" => sequential::sequential(bench).await,
        "limit" => limit::limit(bench).await,
        "burst" => burst::burst(bench).await,
        "answers" => latency::answers(bench).await,
        "latency" => latency::latency(bench).await,
        "slow-services" => latency::slow_services(bench).await,
        "pads" => idle::pads(bench).await,
        "connections" => idle::connections(bench).await,
        "secrets" => idle::secrets(bench).await,
        other => anyhow::bail!("there is no scenario {other}"),
    }
}
