//! Scenarios: each measures some metrics in its own control plane.

mod limit;
mod pace;
mod rest;
mod rush;
mod single;

use crate::bench::Bench;
use crate::report::Figure;

/// Names of the scenarios, in the order in which they run.
pub const NAMES: [&str; 9] =
    ["single", "limit", "rush", "answers", "latency", "slow-services", "pads", "connections", "secrets"];

/// Runs the scenario with this name.
pub async fn run(name: &str, bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    match name {
        "single" => single::single(bench).await,
        "limit" => limit::limit(bench).await,
        "rush" => rush::rush(bench).await,
        "answers" => pace::answers(bench).await,
        "latency" => pace::latency(bench).await,
        "slow-services" => pace::slow_services(bench).await,
        "pads" => rest::pads(bench).await,
        "connections" => rest::connections(bench).await,
        "secrets" => rest::secrets(bench).await,
        other => anyhow::bail!("there is no scenario {other}"),
    }
}
