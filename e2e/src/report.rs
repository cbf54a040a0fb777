//! Printed report: a line for each step with its time and observations, and the number of passed steps.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;

/// Counts of passed and failed steps.
#[derive(Default)]
pub struct Report {
    passed: u32,
    failed: u32,
}

/// Observations that a step prints, in addition to what later steps need.
pub trait Observation {
    fn observations(&self) -> String;
}

impl Observation for String {
    fn observations(&self) -> String {
        self.clone()
    }
}

impl Report {
    /// Runs a step and prints its result. No later step makes sense after a failed one.
    pub async fn step<T: Observation>(
        &mut self,
        what: &str,
        step: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let start = Instant::now();
        let outcome = step.await;
        let took = format!("[{:5.1} s]", start.elapsed().as_secs_f32());
        match &outcome {
            Ok(observations) => {
                self.passed += 1;
                println!("{took} ok      {what}");
                observations.observations().lines().for_each(Self::detail);
            }
            Err(error) => {
                self.failed += 1;
                println!("{took} FAILED  {what}");
                format!("{error:#}").lines().for_each(Self::detail);
            }
        }
        outcome.with_context(|| format!("failed: {what}"))
    }

    /// Prints a detail of the previous step.
    pub fn detail(text: impl Display) {
        println!("                  {text}");
    }

    /// Prints how many steps passed. No step runs after a failed one.
    pub fn close(&self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
