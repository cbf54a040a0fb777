//! `make bench`: measures cost and speed of the operator and compares each metric with its budget.
//!
//! The real control plane, the release binary and the simulated services run on this machine, which is noisy. Times
//! are therefore compared with those of the bare requests on the same machine in the same run. benches/README.md
//! describes each metric.

mod bench;
mod environment;
mod load;
mod report;
mod scenarios;

use std::process::ExitCode;
use std::time::Instant;

use crate::bench::Bench;
use crate::report::Metric;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenarios that the arguments name, or all of them. Returns whether all budgets hold.
async fn run() -> anyhow::Result<bool> {
    let selected: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = selected.iter().find(|name| !scenarios::NAMES.contains(&name.as_str())) {
        anyhow::bail!("there is no scenario {unknown}; available: {}", scenarios::NAMES.join(", "));
    }
    let mut all: Vec<Metric> = Vec::new();
    for name in scenarios::NAMES {
        if !selected.is_empty() && !selected.iter().any(|one| one == name) {
            continue;
        }
        let started = Instant::now();
        println!("\n{name}");
        // Each scenario has its own control plane, so that it is not slowed down by the objects of the previous one.
        let bench = Bench::start().await?;
        let metrics = scenarios::run(name, &bench).await?;
        bench.stop().await?;
        for metric in &metrics {
            println!("  {}", metric.line());
        }
        println!("  ({:.0} s)", started.elapsed().as_secs_f64());
        all.extend(metrics);
    }
    let file = testkit::repository().join("target/bench/figures.json");
    report::write(&file, &all)?;
    let over = all.iter().filter(|metric| !metric.holds()).count();
    println!("\n{} metrics, {over} over budget; written as JSON to target/bench/figures.json", all.len());
    Ok(over == 0)
}
