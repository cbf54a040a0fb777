//! The operator's main job from end to end (`make demo`): a real Kubernetes API server, the operator's release binary
//! and kubectl, with simulated Lever and CoderPad Interview services.
//!
//! Each step is printed and checked as it happens; the exit code is 0 only if all steps succeed. Every child process
//! is stopped, however the demo ends. With `KEEP=1` everything stays up until Ctrl-C, for trying things by hand; `demo
//! dev` (`make dev`) keeps it up during development.

mod console;
mod dev;
mod environment;
mod examples;
mod fixtures;
mod keep_alive;
mod kubectl;
mod scenario;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{anyhow, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::console::{Console, seconds};
use crate::environment::Environment;
use crate::scenario::{Candidates, Scenario};

/// Exit code that shells use for a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let (console, argument) = (Console::new(), std::env::args().nth(1));
    let outcome = match argument.as_deref() {
        None => demo(&console).await,
        Some("dev") => dev::dev(&console).await.map(|()| ExitCode::SUCCESS),
        Some(other) => Err(anyhow!("unknown argument {other:?}; the only one is \"dev\"")),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("\ndemo failed: {error:#}");
        ExitCode::FAILURE
    })
}

async fn demo(console: &Console) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let mut signals = Signals::new()?;
    console.line(
        "A real Kubernetes API server, the real operator and kubectl. Lever and CoderPad are simulated, so the links\n\
         to pads do not work. Each step is checked. The time it took is in brackets.\n",
    );
    let mut environment = Environment::default();
    let outcome = tokio::select! {
        played = run_scenario(&mut environment, console) => played.map(Some),
        () = signals.wait() => {
            console.line("\nInterrupted.");
            Ok(None)
        }
    };
    let took = seconds(start.elapsed());
    let outcome = match outcome {
        Ok(Some(candidates)) if keep_requested() => {
            wait_for_interrupt(&mut environment, console, &mut signals, &candidates)
                .await
                .map(|()| Some(candidates))
        }
        outcome => outcome,
    };
    if outcome.is_err() {
        environment::diagnose(&environment).await;
    }
    let stopped = environment.stop(console, outcome.is_err()).await;
    // Its cause matters more than an error while stopping.
    let finished = outcome?.is_some();
    stopped?;
    if !finished {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    console.line(format_args!("\nDone in {took}: each candidate with the tag has one pad, linked in Lever."));
    if !keep_requested() {
        console.line("To try things yourself: KEEP=1 make demo");
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_scenario(environment: &mut Environment, console: &Console) -> anyhow::Result<Candidates> {
    environment.start(console).await?;
    let (scenario, operator) = Scenario::new(environment, console)?;
    tokio::select! {
        deliveries = scenario.run() => deliveries,
        status = operator.exited() => bail!("the operator exited unexpectedly ({})", status?),
    }
}

fn keep_requested() -> bool {
    std::env::var_os("KEEP").is_some_and(|keep_alive| !keep_alive.is_empty() && keep_alive != "0")
}

async fn wait_for_interrupt(
    environment: &mut Environment,
    console: &Console,
    signals: &mut Signals,
    candidates: &Candidates,
) -> anyhow::Result<()> {
    let [ada, _, _, joan, _] = &candidates.fixtures;
    console.line(keep_alive::instructions(environment, joan, ada)?);
    let Some(operator) = &mut environment.operator else { bail!("there is no operator") };
    tokio::select! {
        () = signals.wait() => Ok(()),
        status = operator.exited() => bail!("the operator exited unexpectedly ({})", status?),
    }
}

/// Signals that end the demo.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
