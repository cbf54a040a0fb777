//! Liveness of the process. Each part that must neither end nor stall sends heartbeats; `/livez` checks them and names
//! the parts that ended or stalled.
//!
//! Only problems that a restart can fix count. No part depends on Lever, CoderPad or the API server, even if they are
//! unreachable, slow, or answer 429 for hours. A single pass over an object is not supervised: each of its calls has a
//! timeout, and it may wait for the rate limit for any amount of time.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Delay between two heartbeats of a task.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Time without a heartbeat after which a task counts as stalled: it blocks its thread or never yields.
const TASK_HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(60);

/// Name of a part, and its problem if it has one.
pub type PartHealth = (String, Result<(), String>);

/// Registry of the supervised parts of the process; a cheap handle.
#[derive(Clone, Debug, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<String, PartState>>>,
}

#[derive(Debug)]
enum PartState {
    Runs { seen: Instant, limit: Duration },
    Ended,
}

/// Handle by which a part sends heartbeats.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    health: Health,
    name: String,
    limit: Duration,
}

impl Heartbeat {
    /// Records a heartbeat.
    pub fn beat(&self) {
        let part = PartState::Runs { seen: Instant::now(), limit: self.limit };
        self.health.parts.lock().insert(self.name.clone(), part);
    }
}

impl Health {
    /// Registers a part that sends its own heartbeats, at least once per `limit`.
    pub fn pulse(&self, name: &str, limit: Duration) -> Heartbeat {
        let pulse = Heartbeat { health: self.clone(), name: name.to_owned(), limit };
        pulse.beat();
        pulse
    }

    /// Runs a task that must neither stall nor end before `stop`.
    pub async fn supervise_task<T>(
        self,
        name: String,
        stop: CancellationToken,
        task: impl Future<Output = T>,
    ) -> T {
        let pulse = self.pulse(&name, TASK_HEARTBEAT_TIMEOUT);
        let ticking = async {
            loop {
                tokio::time::sleep(HEARTBEAT_INTERVAL).await;
                pulse.beat();
            }
        };
        // Both run in the same task, so that the heartbeats stop if the task blocks.
        let outcome = tokio::select! {
            outcome = task => outcome,
            never = ticking => never,
        };
        if stop.is_cancelled() {
            self.parts.lock().remove(&name);
        } else {
            self.parts.lock().insert(name, PartState::Ended);
        }
        outcome
    }

    /// Returns the health of each part.
    pub fn findings(&self) -> Vec<PartHealth> {
        let parts = self.parts.lock();
        let findings = parts.iter().map(|(name, part)| {
            let found = match part {
                PartState::Runs { seen, limit } if seen.elapsed() > *limit => {
                    Err(format!("it has stood still for {} s", seen.elapsed().as_secs()))
                }
                PartState::Runs { .. } => Ok(()),
                PartState::Ended => Err("it has ended".to_owned()),
            };
            (name.clone(), found)
        });
        findings.collect()
    }
}

/// Formats the findings as a page, with a line for each part.
pub fn page(findings: &[PartHealth]) -> String {
    let line = |(part, found): &PartHealth| match found {
        Ok(()) => format!("ok {part}\n"),
        Err(problem) => format!("failed {part}: {problem}\n"),
    };
    findings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::future::pending;
    use tokio::time::{advance, sleep};

    /// Returns the parts that have a problem.
    fn problems(health: &Health) -> String {
        let mut findings = health.findings();
        findings.retain(|(_, found)| found.is_err());
        page(&findings)
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_task_counts_as_alive() {
        let (health, stop) = (Health::default(), CancellationToken::new());
        tokio::spawn(health.clone().supervise_task("sync".into(), stop, pending::<()>()));
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(page(&health.findings()), "ok sync\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_without_a_request_is_detected() {
        let (health, stop) = (Health::default(), CancellationToken::new());
        health.clone().supervise_task("controller of Pads".into(), stop.clone(), async {}).await;
        assert_eq!(problems(&health), "failed controller of Pads: it has ended\n");
        stop.cancel();
        health.clone().supervise_task("controller of Pads".into(), stop, async {}).await;
        assert_eq!(problems(&health), "");
    }

    /// A task that blocks sends no heartbeats. The test simulates it by not polling the task.
    #[tokio::test(start_paused = true)]
    async fn a_blocked_task_is_detected() {
        let (health, stop) = (Health::default(), CancellationToken::new());
        let task = health.clone().supervise_task("controller of Pads".into(), stop, pending::<()>());
        let mut task = std::pin::pin!(task);
        assert!(task.as_mut().now_or_never().is_none());
        advance(Duration::from_secs(59)).await;
        assert_eq!(problems(&health), "");
        advance(Duration::from_secs(16)).await;
        assert_eq!(problems(&health), "failed controller of Pads: it has stood still for 75 s\n");
        assert!(task.now_or_never().is_none());
        assert_eq!(problems(&health), "", "the work continues");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_renewed_is_detected() {
        let health = Health::default();
        let pulse = health.pulse("lease", Duration::from_secs(30));
        advance(Duration::from_secs(31)).await;
        assert_eq!(problems(&health), "failed lease: it has stood still for 31 s\n");
        pulse.beat();
        assert_eq!(problems(&health), "");
    }
}
