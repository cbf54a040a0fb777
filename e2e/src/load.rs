//! A constant stream of stage changes, and what became of the webhooks that told of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use simulators::DeliveryOutcome;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::world::{Candidate, World};

/// Time between two changes of stage.
const TICK: Duration = Duration::from_millis(50);
/// One in so many is an entry into the rule's stage: 2.5 a second, each of which takes two of the ten requests a second
/// that Lever allows. The others are to stages that no rule names.
const ENTRY: usize = 8;

/// What the simulated Lever says of a connection that was closed after the request had gone out on it.
const CROSSED: [&str; 2] = ["IncompleteMessage", "kind: ConnectionReset"];

/// It runs until it is ended.
pub struct Load {
    end: oneshot::Sender<()>,
    task: JoinHandle<Vec<Candidate>>,
    first: usize,
}

/// What became of it.
pub struct Told {
    pub entered: Vec<Candidate>,
    pub webhooks: usize,
    /// How often a connection that was kept open was closed just as a webhook went out on it. HTTP/1.1 cannot rule
    /// that out, and Lever sends it again.
    pub crossed: usize,
    /// How often a try failed in any other way.
    pub failures: BTreeMap<String, usize>,
}

impl Load {
    /// Starts it. `name` tells its candidates from others.
    pub fn start(world: &Arc<World>, name: &'static str) -> Self {
        let (end, ended) = oneshot::channel();
        let first = world.lever.deliveries().len();
        Self { end, task: tokio::spawn(change_stages(world.clone(), name, ended)), first }
    }

    /// Ends it and waits until Lever has given up on no webhook.
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
