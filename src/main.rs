//! Entry point: parses the command line and calls the library.

use clap::Parser;
use pad_operator::api::crd;
use pad_operator::check::{self, Level};
use pad_operator::cli::{CheckArgs, CrdsArgs, OperatorCli, OperatorCommand};
use pad_operator::telemetry::traces::Traces;
use pad_operator::{run, telemetry};
use std::io::Write;
use std::process::ExitCode;

/// jemalloc keeps the memory of a long-running process small and is faster than the allocator of the C library
/// (docs/performance.md). .cargo/config.toml contains its settings.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let outcome = match OperatorCli::parse().command {
        OperatorCommand::Crds(args) => crds(&args),
        OperatorCommand::Check(args) => return check(*args),
        OperatorCommand::Run(args) => {
            let args = args.drop_empty();
            // The workload is almost only network I/O. More threads would mostly add wake-ups.
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(anyhow::Error::from)
                .and_then(|runtime| {
                    let traces = telemetry::start(&args, runtime.handle())?;
                    let outcome = runtime.block_on(run::run(args));
                    traces.inspect(Traces::end);
                    runtime.shutdown_background();
                    outcome
                })
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "pad-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the check. Its errors have the exit code of a failure.
fn check(args: CheckArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(check::run(args));
        // A read of the terminal may still be waiting.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "pad-operator check: {error:#}");
            ExitCode::from(Level::Failure.exit_code())
        }
    }
}

fn crds(args: &CrdsArgs) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for crd in crd::all()? {
        let yaml = crd::yaml(&crd)?;
        match &args.output_dir {
            Some(folder) => {
                let file = folder.join(format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural));
                std::fs::write(&file, yaml)
                    .map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
            }
            None => write!(out, "---\n{yaml}")?,
        }
    }
    Ok(())
}
