//! The operator as users run it (`make e2e`): its container image in real Pods on one real Kubernetes node, installed
//! with helm, with Lever and CoderPad outside of the cluster.
//!
//! The other tests run the program as a process. Only this one covers the image and its permissions, the Service and
//! its DNS name, webhooks while Pods are replaced, and the kubelet's reaction to a Pod that dies or hangs. Lever and
//! CoderPad are the strict simulators of the other tests, and the final ledger must be correct: one pad and one link
//! for each stage entry.

mod cluster;
mod environment;
mod image;
mod ledger;
mod load;
mod node;
mod pods;
mod report;
mod scenario;

use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::node::Node;
use crate::report::Report;

/// Exit code that shells use for a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let mut report = Report::default();
    let ended = tokio::select! {
        // Includes stopping the node, if it was started.
        outcome = run(&mut report) => outcome,
        interrupted = interrupted() => match interrupted {
            Ok(()) => return ExitCode::from(INTERRUPTED),
            Err(error) => Err(error),
        },
    };
    if let Err(error) = ended {
        eprintln!("e2e: {error:#}");
    }
    report.close()
}

async fn run(report: &mut Report) -> anyhow::Result<()> {
    let image = std::env::args().nth(1).context("missing argument: e2e IMAGE:TAG")?;
    image::check(report, &image).await?;
    let node = report.step("one real Kubernetes node", Node::start()).await?;
    let outcome = scenario::run(report, &node, &image).await;
    if outcome.is_err() {
        node.cluster.diagnose().await;
    }
    let stopped = report.step("the node stops and leaves nothing behind", node.stop()).await;
    outcome.and(stopped.map(drop))
}

async fn interrupted() -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    eprintln!("e2e: interrupted");
    Ok(())
}
