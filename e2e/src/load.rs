//! Constant stream of stage changes, and the results of the webhooks that reported them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use simulators::DeliveryOutcome;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::environment::{Candidate, TestEnv};

/// Time between two stage changes.
const CHANGE_INTERVAL: Duration = Duration::from_millis(50);
/// One in this many changes is an entry into the rule's stage: 2.5 per second, each of which needs two of the ten
/// requests per second that Lever allows. The others lead to stages that no rule names.
const ENTRY_EVERY: usize = 8;

/// Errors of the simulated Lever for a connection that was closed after the request had been sent on it.
const CONNECTION_CLOSED_ERRORS: [&str; 2] = ["IncompleteMessage", "kind: ConnectionReset"];

/// Load that runs until [`stop`](Self::stop).
pub struct Load {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Vec<Candidate>>,
    first: usize,
}

/// Results of the load.
pub struct LoadResult {
    pub entered: Vec<Candidate>,
    pub webhooks: usize,
    /// Number of times that a kept connection was closed just as a webhook was sent on it. HTTP/1.1 cannot rule that
    /// out, and Lever retries it.
    pub crossed: usize,
    /// Number of attempts that failed in any other way.
    pub failures: BTreeMap<String, usize>,
}

impl Load {
    /// Starts the load. `name` distinguishes its candidates from others.
    pub fn start(environment: &Arc<TestEnv>, name: &'static str) -> Self {
        let (stop, stopped) = oneshot::channel();
        let first = environment.lever.deliveries().len();
        Self { stop, task: tokio::spawn(change_stages(environment.clone(), name, stopped)), first }
    }

    /// Stops the load and waits until Lever has no pending webhook.
    pub async fn stop(self, environment: &TestEnv) -> anyhow::Result<LoadResult> {
        let _ = self.stop.send(());
        let entered = self.task.await?;
        let deliveries = environment.lever.wait_for_deliveries(self.first).await.split_off(self.first);
        let (mut crossed, mut failures) = (0, BTreeMap::new());
        for delivery in &deliveries {
            ensure!(delivery.outcome == DeliveryOutcome::Received, "a webhook was given up: {delivery:#?}");
            for attempt in delivery.attempts.iter().filter(|attempt| !attempt.received()) {
                let how = attempt.status.map(|status| format!("{status} {}", attempt.answer));
                let how = how.or_else(|| attempt.error.clone()).context("no answer and no error")?;
                match CONNECTION_CLOSED_ERRORS.iter().any(|crossing| how.contains(crossing)) {
                    true => crossed += 1,
                    false => *failures.entry(how).or_default() += 1,
                }
            }
        }
        Ok(LoadResult { entered, webhooks: deliveries.len(), crossed, failures })
    }
}

async fn change_stages(
    environment: Arc<TestEnv>,
    name: &'static str,
    mut stopped: oneshot::Receiver<()>,
) -> Vec<Candidate> {
    let others: Vec<_> =
        (0..4).map(|number| environment.candidate(&format!("{name} bystander {number}"))).collect();
    let mut entered = Vec::new();
    let mut ticks = tokio::time::interval(CHANGE_INTERVAL);
    for number in 0_usize.. {
        tokio::select! {
            _ = &mut stopped => break,
            _ = ticks.tick() => {}
        }
        if number % ENTRY_EVERY == 0 {
            entered.push(environment.candidate_in_stage(&format!("{name} {number:04}")).await);
        } else {
            let stage = ["Onsite", "Offer"][number / others.len() % 2];
            environment.lever.move_to_stage(&others[number % others.len()].id, stage).await;
        }
    }
    entered
}
