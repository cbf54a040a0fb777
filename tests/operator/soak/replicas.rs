//! Replicas, which are killed, stopped and disconnected, and restarted as Kubernetes does it.

use std::time::{Duration, Instant};

use super::schedule::ReplicaChoice;
use crate::cluster::objects;
use crate::environment::TestEnv;
use crate::process::Operator;

/// Maximum time until a disconnected leader detects that.
const LOSS_DETECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Desired state of one replica, and the reason why it may exit.
#[derive(Clone, Copy, Debug)]
struct Replica {
    wanted: bool,
    is_up: bool,
    asked_to_end: bool,
    cut_at: Option<Instant>,
}

/// Replicas of a run.
pub struct Replicas {
    all: Vec<Replica>,
    pub kills: usize,
}

impl Replicas {
    pub fn new(env: &TestEnv) -> Self {
        let up = Replica { wanted: true, is_up: true, asked_to_end: false, cut_at: None };
        Self { all: vec![up; env.operators.len()], kills: 0 }
    }

    pub async fn kill(&mut self, env: &mut TestEnv, who: ReplicaChoice) {
        for number in self.stop_desiring(env, who).await {
            env.operators[number].kill().await;
            self.all[number].is_up = false;
            self.kills += 1;
        }
    }

    pub async fn terminate(&mut self, env: &mut TestEnv, who: ReplicaChoice) {
        for number in self.stop_desiring(env, who).await {
            env.operators[number].signal("TERM").await;
            self.all[number].asked_to_end = true;
        }
    }

    /// Stops the replicas that are no longer desired.
    async fn stop_desiring(&mut self, env: &mut TestEnv, who: ReplicaChoice) -> Vec<usize> {
        let mut running = choose(env, who).await;
        running.retain(|number| {
            let replica = &mut self.all[*number];
            replica.wanted = false;
            replica.is_up && env.operators[*number].is_alive()
        });
        running
    }

    pub async fn disconnect(&mut self, env: &TestEnv, who: ReplicaChoice) {
        for number in choose(env, who).await {
            env.operators[number].proxy.cut();
            self.all[number].cut_at = Some(Instant::now());
        }
    }

    pub fn restore(&self, env: &TestEnv) {
        env.operators.iter().for_each(|operator| operator.proxy.restore());
    }

    /// Desires all replicas to run.
    pub fn start(&mut self) {
        self.all.iter_mut().for_each(|replica| replica.wanted = true);
    }

    /// Starts the desired replicas that do not run. Asserts that none has exited without a reason.
    pub async fn supervise(&mut self, env: &mut TestEnv) {
        for (replica, operator) in self.all.iter_mut().zip(&mut env.operators) {
            if replica.is_up && !operator.is_alive() {
                let code = operator.ended().await;
                let was_cut = replica.cut_at.is_some_and(|at| at.elapsed() < LOSS_DETECTION_TIMEOUT);
                let expected = was_cut || (replica.asked_to_end && code == Some(0));
                assert!(
                    expected,
                    "a replica exited with {code:?}: {replica:?}:\n{}",
                    last_log_lines(operator)
                );
                (replica.is_up, replica.asked_to_end) = (false, false);
            }
            if replica.wanted && !replica.is_up {
                operator.spawn();
                replica.is_up = true;
            }
        }
    }
}

fn last_log_lines(operator: &Operator) -> String {
    let log = operator.logged();
    let lines: Vec<_> = log.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

async fn choose(env: &TestEnv, who: ReplicaChoice) -> Vec<usize> {
    let leader = leader(env).await;
    match who {
        ReplicaChoice::Leader => vec![leader],
        ReplicaChoice::Other => vec![1 - leader],
        ReplicaChoice::Both => vec![0, 1],
    }
}

/// Returns the replica that holds the Lease, or held it last.
async fn leader(env: &TestEnv) -> usize {
    let leases = objects(&env.client, env.namespace, "leases");
    let lease = leases.get_opt("pad-operator").await.unwrap();
    let holder = lease.and_then(|lease| lease.data["spec"]["holderIdentity"].as_str().map(str::to_owned));
    let Some(holder) = holder else { return 0 };
    let holds = |operator: &Operator| operator.id().is_some_and(|id| holder.contains(&format!("_{id}_")));
    env.operators.iter().position(holds).unwrap_or(0)
}
