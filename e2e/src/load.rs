//! Constant stream of stage changes, and the results of the webhooks that reported them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use simulators::DeliveryOutcome;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::world::{Candidate, World};

/// Time between two stage changes.
const TICK: Duration = Duration::from_millis(50);
/// One in this many changes is an entry into the rule's stage: 2.5 per second, each of which needs two of the ten
/// requests per second that Lever allows. The others lead to stages that no rule names.
const ENTRY: usize = 8;

/// Errors of the simulated Lever for a connection that was closed after the request had been sent on it.
const CROSSED: [&str; 2] = ["IncompleteMessage", "kind: ConnectionReset"];

/// Load that runs until [`stop`](Self::stop).
pub struct Load {
    end: oneshot::Sender<()>,
    task: JoinHandle<Vec<Candidate>>,
    first: usize,
}

/// Results of the load.
pub struct Told {
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
    pub fn start(world: &Arc<World>, name: &'static str) -> Self {
        let (end, ended) = oneshot::channel();
        let first = world.lever.deliveries().len();
        Self { end, task: tokio::spawn(change_stages(world.clone(), name, ended)), first }
    }

    /// Stops the load and waits until Lever has no pending webhook.
    pub async fn end(self, world: &World) -> anyhow::Result<Told> {
        let _ = self.end.send(());
        let entered = self.task.await?;
        let deliveries = world.lever.wait_for_deliveries(self.first).await.split_off(self.first);
        let (mut crossed, mut failures) = (0, BTreeMap::new());
        for delivery in &deliveries {
            ensure!(delivery.outcome == DeliveryOutcome::Received, "a webhook was given up: {delivery:#?}");
            for attempt in delivery.attempts.iter().filter(|attempt| !attempt.received()) {
                let how = attempt.status.map(|status| format!("{status} {}", attempt.answer));
                let how = how.or_else(|| attempt.error.clone()).context("no answer and no error")?;
                match CROSSED.iter().any(|crossing| how.contains(crossing)) {
                    true => crossed += 1,
                    false => *failures.entry(how).or_default() += 1,
                }
            }
        }
        Ok(Told { entered, webhooks: deliveries.len(), crossed, failures })
    }
}

async fn change_stages(
    world: Arc<World>,
    name: &'static str,
    mut ended: oneshot::Receiver<()>,
) -> Vec<Candidate> {
    let others: Vec<_> =
        (0..4).map(|number| world.candidate(&format!("{name} bystander {number}"))).collect();
    let mut entered = Vec::new();
    let mut ticks = tokio::time::interval(TICK);
    for number in 0_usize.. {
        tokio::select! {
            _ = &mut ended => break,
            _ = ticks.tick() => {}
        }
        if number % ENTRY == 0 {
            entered.push(world.entered(&format!("{name} {number:04}")).await);
        } else {
            let stage = ["Onsite", "Offer"][number / others.len() % 2];
            world.lever.move_to_stage(&others[number % others.len()].id, stage).await;
        }
    }
    entered
}
