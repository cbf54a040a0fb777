//! What is printed: a line for each step, with the time it took and what it saw, and how many passed in the end.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;

/// How it stands.
#[derive(Default)]
pub struct Report {
    passed: u32,
    failed: u32,
}

/// What a step tells of itself beside what later steps need of it.
pub trait Seen {
    fn seen(&self) -> String;
}

impl Seen for String {
    fn seen(&self) -> String {
        self.clone()
    }
}

impl Report {
    /// Carries out a step and prints what came of it. No later step makes sense after one that has failed.
    pub async fn step<T: Seen>(
        &mut self,
        what: &str,
        step: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let start = Instant::now();
        let outcome = step.await;
        let took = format!("[{:5.1} s]", start.elapsed().as_secs_f32());
        match &outcome {
            Ok(seen) => {
                self.passed += 1;
                println!("{took} ok      {what}");
                seen.seen().lines().for_each(Self::detail);
            }
            Err(error) => {
                self.failed += 1;
                println!("{took} FAILED  {what}");
                format!("{error:#}").lines().for_each(Self::detail);
            }
        }
        outcome.with_context(|| format!("failed: {what}"))
    }

    /// More about the step before.
    pub fn detail(text: impl Display) {
        println!("                  {text}");
    }

    /// Says in the end how many steps passed; nothing after one that failed was tried.
    pub fn close(&self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
