//! The operator's main job from end to end (`make demo`): a real Kubernetes API server, the operator's release binary
//! and kubectl, with simulated Lever and CoderPad Interview services.
//! || Each step is printed and checked as it happens; the exit code is 0 only if all steps succeed. Every child process
//! is stopped, however the demo ends. With `KEEP=1` everything stays up until Ctrl-C, for trying things by hand; `demo
//! dev` (`make dev`) keeps it up during development.

mod candidates;
mod console;
mod dev;
mod examples;
mod keep;
mod kubectl;
mod operator;
mod stage;
mod story;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{anyhow, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::console::{Console, seconds};
use crate::stage::Stage;
use crate::story::{Cast, Story};

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
    let mut stage = Stage::default();
    let outcome = tokio::select! {
        played = play(&mut stage, console) => played.map(Some),
        () = signals.received() => {
            console.line("\nInterrupted.");
            Ok(None)
        }
    };
    let took = seconds(start.elapsed());
    let outcome = match outcome {
        Ok(Some(cast)) if keeping() => {
            keep_up(&mut stage, console, &mut signals, &cast).await.map(|()| Some(cast))
        }
        outcome => outcome,
    };
    if outcome.is_err() {
        stage::diagnose(&stage).await;
    }
    let stopped = stage.strike(console, outcome.is_err()).await;
    // Its cause matters more than an error while stopping.
    let finished = outcome?.is_some();
    stopped?;
    if !finished {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    console.line(format_args!("\nDone in {took}: each candidate with the tag has one pad, linked in Lever."));
    if !keeping() {
        console.line("To try things yourself: KEEP=1 make demo");
    }
    Ok(ExitCode::SUCCESS)
}

async fn play(stage: &mut Stage, console: &Console) -> anyhow::Result<Cast> {
    stage.set(console).await?;
    let (story, operator) = Story::on(stage, console)?;
    tokio::select! {
        told = story.tell() => told,
        status = operator.ended() => bail!("the operator exited unexpectedly ({})", status?),
    }
}

fn keeping() -> bool {
    std::env::var_os("KEEP").is_some_and(|keep| !keep.is_empty() && keep != "0")
}

async fn keep_up(
    stage: &mut Stage,
    console: &Console,
    signals: &mut Signals,
    cast: &Cast,
) -> anyhow::Result<()> {
    let [ada, _, _, joan, _] = &cast.candidates;
    console.line(keep::explain(stage, joan, ada)?);
    let Some(operator) = &mut stage.operator else { bail!("there is no operator") };
    tokio::select! {
        () = signals.received() => Ok(()),
        status = operator.ended() => bail!("the operator exited unexpectedly ({})", status?),
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

    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
