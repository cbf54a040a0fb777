//! `make bench`: what the operator costs and how fast it is, each figure against its budget.
//!
//! The real control plane, the release binary and the simulated services run on this machine, which is noisy: so times
//! are compared with what the same machine needs for the bare requests in the same run. What each figure means stands
//! in benches/README.md.

mod bench;
mod load;
mod operator;
mod process;
mod report;
mod scenarios;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use crate::bench::Bench;
use crate::report::Figure;

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

/// Runs the scenarios that the arguments name, or all. Returns whether all budgets hold.
async fn run() -> anyhow::Result<bool> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|name| !scenarios::NAMES.contains(&name.as_str())) {
        anyhow::bail!("there is no scenario {unknown}; there are {}", scenarios::NAMES.join(", "));
    }
    let mut all: Vec<Figure> = Vec::new();
    for name in scenarios::NAMES {
        if !wanted.is_empty() && !wanted.iter().any(|one| one == name) {
            continue;
        }
        let began = Instant::now();
        println!("\n{name}");
        // A control plane of its own: what one scenario leaves in it is no burden for the next.
        let bench = Bench::start().await?;
        let figures = scenarios::run(name, &bench).await?;
        bench.stop().await?;
        for figure in &figures {
            println!("  {}", figure.line());
        }
        println!("  ({:.0} s)", began.elapsed().as_secs_f64());
        all.extend(figures);
    }
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bench/figures.json");
    report::write(&file, &all)?;
    let over = all.iter().filter(|figure| !figure.holds()).count();
    println!("\n{} figures, {over} over budget; as JSON in target/bench/figures.json", all.len());
    Ok(over == 0)
}
