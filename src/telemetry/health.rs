//! Liveness of the process. Each part that must neither end nor stall sends heartbeats; `/livez` checks them and names
//! the parts that ended or stalled.
//!
//! Only problems that a restart can fix count. No part depends on Lever, CoderPad or the API server, even if they are
//! unreachable, slow, or answer 429 for hours: calls to them have timeouts, and a pass that waits for a concurrency
//! slot or for the rate limit is not stalled.

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
/// Maximum time between two signs of progress of a pass, in addition to the duration of the longest call.
const PASS_PROGRESS_MARGIN: Duration = Duration::from_secs(120);

/// Name of a part, and its problem if it has one.
pub type PartHealth = (String, Result<(), String>);

/// Registry of the supervised parts of the process; a cheap handle.
#[derive(Clone, Debug)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<String, PartState>>>,
    passes: Arc<Mutex<BTreeMap<u64, Arc<SupervisedPass>>>>,
    longest_call: Duration,
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
    /// Creates an empty registry. `longest_call` is the maximum duration of a call.
    pub fn new(longest_call: Duration) -> Self {
        Self { parts: Arc::default(), passes: Arc::default(), longest_call }
    }

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

    /// Runs a pass over an object, which must not stall; see [`record_progress`] and [`exempt_from_watchdog`].
    pub async fn supervise_pass<T>(&self, what: String, pass: impl Future<Output = T>) -> T {
        let watched = Arc::new(SupervisedPass {
            what,
            state: Mutex::new(PassActivity { seen: Instant::now(), waits: 0 }),
        });
        let number = {
            let mut passes = self.passes.lock();
            let number = passes.last_key_value().map_or(0, |(last, _)| last + 1);
            passes.insert(number, watched.clone());
            number
        };
        let _end = PassGuard { health: self, number };
        PASS.scope(watched, pass).await
    }

    /// Returns the health of each part, and of each pass that is stalled.
    pub fn findings(&self) -> Vec<PartHealth> {
        let mut findings: Vec<PartHealth> = self
            .parts
            .lock()
            .iter()
            .map(|(name, part)| {
                let found = match part {
                    PartState::Runs { seen, limit } if seen.elapsed() > *limit => {
                        Err(format!("it has stood still for {} s", seen.elapsed().as_secs()))
                    }
                    PartState::Runs { .. } => Ok(()),
                    PartState::Ended => Err("it has ended".to_owned()),
                };
                (name.clone(), found)
            })
            .collect();
        let limit = self.longest_call + PASS_PROGRESS_MARGIN;
        findings.extend(self.passes.lock().values().filter_map(|pass| {
            let silence = pass.silence().filter(|silence| *silence > limit)?;
            Some((pass.what.clone(), Err(format!("it has stood still for {} s", silence.as_secs()))))
        }));
        findings
    }
}

/// Pass in progress.
#[derive(Debug)]
struct SupervisedPass {
    what: String,
    state: Mutex<PassActivity>,
}

#[derive(Debug)]
struct PassActivity {
    seen: Instant,
    /// Number of current waits that may take any amount of time.
    waits: u32,
}

impl SupervisedPass {
    fn silence(&self) -> Option<Duration> {
        let state = self.state.lock();
        (state.waits == 0).then(|| state.seen.elapsed())
    }

    fn note(&self, change: impl FnOnce(&mut u32)) {
        let mut state = self.state.lock();
        change(&mut state.waits);
        state.seen = Instant::now();
    }
}

struct PassGuard<'a> {
    health: &'a Health,
    number: u64,
}

impl Drop for PassGuard<'_> {
    fn drop(&mut self) {
        self.health.passes.lock().remove(&self.number);
    }
}

tokio::task_local! {
    static PASS: Arc<SupervisedPass>;
}

/// Records that the current pass makes progress, so that it does not count as stalled. Has no effect outside a pass.
pub fn record_progress() {
    let _ = PASS.try_with(|pass| pass.note(|_| ()));
}

/// Waits for a future that may take any amount of time. The pass does not count as stalled meanwhile.
pub async fn exempt_from_watchdog<T>(wait: impl Future<Output = T>) -> T {
    let Ok(pass) = PASS.try_with(Arc::clone) else { return wait.await };
    pass.note(|waits| *waits += 1);
    let _end = WaitGuard(&pass);
    wait.await
}

struct WaitGuard<'a>(&'a SupervisedPass);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.note(|waits| *waits = waits.saturating_sub(1));
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

    fn health() -> Health {
        Health::new(Duration::from_secs(30))
    }

    /// Returns the parts that have a problem.
    fn problems(health: &Health) -> String {
        let mut findings = health.findings();
        findings.retain(|(_, found)| found.is_err());
        page(&findings)
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_task_counts_as_alive() {
        let (health, stop) = (health(), CancellationToken::new());
        tokio::spawn(health.clone().supervise_task("sync".into(), stop, pending::<()>()));
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(page(&health.findings()), "ok sync\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_without_a_request_is_detected() {
        let (health, stop) = (health(), CancellationToken::new());
        health.clone().supervise_task("controller of Pads".into(), stop.clone(), async {}).await;
        assert_eq!(problems(&health), "failed controller of Pads: it has ended\n");
        stop.cancel();
        health.clone().supervise_task("controller of Pads".into(), stop, async {}).await;
        assert_eq!(problems(&health), "");
    }

    /// A task that blocks sends no heartbeats. The test simulates it by not polling the task.
    #[tokio::test(start_paused = true)]
    async fn a_blocked_task_is_detected() {
        let (health, stop) = (health(), CancellationToken::new());
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
        let health = health();
        let pulse = health.pulse("lease", Duration::from_secs(30));
        advance(Duration::from_secs(31)).await;
        assert_eq!(problems(&health), "failed lease: it has stood still for 31 s\n");
        pulse.beat();
        assert_eq!(problems(&health), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_pass_is_detected_and_a_slow_one_is_not() {
        let health = health();
        let slow = async {
            for _ in 0..100 {
                sleep(Duration::from_secs(29)).await;
                record_progress();
            }
            exempt_from_watchdog(sleep(Duration::from_secs(7200))).await;
            pending::<()>().await;
        };
        tokio::spawn({
            let health = health.clone();
            async move { health.supervise_pass("pass over Pad hiring/a".into(), slow).await }
        });
        sleep(Duration::from_secs(2900)).await;
        assert_eq!(problems(&health), "", "calls that take long");
        sleep(Duration::from_secs(7199)).await;
        assert_eq!(problems(&health), "", "the rate limit");
        sleep(Duration::from_secs(200)).await;
        assert!(problems(&health).starts_with("failed pass over Pad hiring/a: it has stood still for 1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_finished_or_dropped_pass_is_removed() {
        let health = health();
        health.supervise_pass("one".into(), async { exempt_from_watchdog(async {}).await }).await;
        assert!(health.supervise_pass("two".into(), pending::<()>()).now_or_never().is_none());
        advance(Duration::from_secs(3600)).await;
        assert_eq!(problems(&health), "");
        assert!(health.passes.lock().is_empty());
    }
}
