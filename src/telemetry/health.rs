//! Whether the process still does what it is for. Each part that must not end and must not stand still says now and then
//! that it goes on; `/livez` asks, and names the parts that do not.
//!
//! Only what a restart can mend counts. A service or an API server that is away, slow, or answers 429 for hours is
//! waited for, so no part depends on them: their calls end by themselves, and waiting for a turn or for the rate limit
//! is not standing still.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often a task shows that it is still being run.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// A task that has not shown that for so long is stuck: something in it blocks, or never comes to an end.
const TASK_HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(60);
/// How much longer than the longest call a pass may need between two things that it does.
const PASS_PROGRESS_MARGIN: Duration = Duration::from_secs(120);

/// What is known of a part: nothing, or what is wrong with it.
pub type PartHealth = (String, Result<(), String>);

/// The parts of the process; a cheap handle.
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

/// What shows that a part goes on.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    health: Health,
    name: String,
    limit: Duration,
}

impl Heartbeat {
    /// It goes on.
    pub fn beat(&self) {
        let part = PartState::Runs { seen: Instant::now(), limit: self.limit };
        self.health.parts.lock().insert(self.name.clone(), part);
    }
}

impl Health {
    /// Nothing runs yet. No call takes longer than `longest_call`.
    pub fn new(longest_call: Duration) -> Self {
        Self { parts: Arc::default(), passes: Arc::default(), longest_call }
    }

    /// A part that shows by itself that it goes on, at least this often.
    pub fn pulse(&self, name: &str, limit: Duration) -> Heartbeat {
        let pulse = Heartbeat { health: self.clone(), name: name.to_owned(), limit };
        pulse.beat();
        pulse
    }

    /// Runs a task that must not end before `stop`, nor stand still.
    pub async fn guarded<T>(self, name: String, stop: CancellationToken, task: impl Future<Output = T>) -> T {
        let pulse = self.pulse(&name, TASK_HEARTBEAT_TIMEOUT);
        let ticking = async {
            loop {
                tokio::time::sleep(HEARTBEAT_INTERVAL).await;
                pulse.beat();
            }
        };
        // In one task: where the one is not run, the other is not either.
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

    /// Runs a pass over an object, which must not stand still; see [`goes_on`] and [`patiently`].
    pub async fn watched<T>(&self, what: String, pass: impl Future<Output = T>) -> T {
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

    /// Each part, and what is wrong with it.
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

/// One pass that is under way.
#[derive(Debug)]
struct SupervisedPass {
    what: String,
    state: Mutex<PassActivity>,
}

#[derive(Debug)]
struct PassActivity {
    seen: Instant,
    /// For how much it waits now that may take any time.
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

/// The pass that is under way here has done something.
pub fn goes_on() {
    let _ = PASS.try_with(|pass| pass.note(|_| ()));
}

/// Waits for something that may take any time without anything being wrong.
pub async fn patiently<T>(wait: impl Future<Output = T>) -> T {
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

/// The findings as a page: a line for each part.
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

    /// The parts with which something is wrong.
    fn problems(health: &Health) -> String {
        let mut findings = health.findings();
        findings.retain(|(_, found)| found.is_err());
        page(&findings)
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_run_is_alive_however_long_it_waits() {
        let (health, stop) = (health(), CancellationToken::new());
        tokio::spawn(health.clone().guarded("sync".into(), stop, pending::<()>()));
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(page(&health.findings()), "ok sync\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_is_noticed_unless_it_was_told_to() {
        let (health, stop) = (health(), CancellationToken::new());
        health.clone().guarded("controller of Pads".into(), stop.clone(), async {}).await;
        assert_eq!(problems(&health), "failed controller of Pads: it has ended\n");
        stop.cancel();
        health.clone().guarded("controller of Pads".into(), stop, async {}).await;
        assert_eq!(problems(&health), "");
    }

    /// A task that blocks is not run, and neither is what ticks in it: here it is not polled.
    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_stuck_is_noticed() {
        let (health, stop) = (health(), CancellationToken::new());
        let task = health.clone().guarded("controller of Pads".into(), stop, pending::<()>());
        let mut task = std::pin::pin!(task);
        assert!(task.as_mut().now_or_never().is_none());
        advance(Duration::from_secs(59)).await;
        assert_eq!(problems(&health), "");
        advance(Duration::from_secs(16)).await;
        assert_eq!(problems(&health), "failed controller of Pads: it has stood still for 75 s\n");
        assert!(task.now_or_never().is_none());
        assert_eq!(problems(&health), "", "it goes on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_looked_after_is_noticed() {
        let health = health();
        let pulse = health.pulse("lease", Duration::from_secs(30));
        advance(Duration::from_secs(31)).await;
        assert_eq!(problems(&health), "failed lease: it has stood still for 31 s\n");
        pulse.beat();
        assert_eq!(problems(&health), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_stands_still_is_noticed_and_one_that_is_slow_is_not() {
        let health = health();
        let slow = async {
            for _ in 0..100 {
                sleep(Duration::from_secs(29)).await;
                goes_on();
            }
            patiently(sleep(Duration::from_secs(7200))).await;
            pending::<()>().await;
        };
        tokio::spawn({
            let health = health.clone();
            async move { health.watched("pass over Pad hiring/a".into(), slow).await }
        });
        sleep(Duration::from_secs(2900)).await;
        assert_eq!(problems(&health), "", "calls that take long");
        sleep(Duration::from_secs(7199)).await;
        assert_eq!(problems(&health), "", "the rate limit");
        sleep(Duration::from_secs(200)).await;
        assert!(problems(&health).starts_with("failed pass over Pad hiring/a: it has stood still for 1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_ends_or_is_dropped_is_forgotten() {
        let health = health();
        health.watched("one".into(), async { patiently(async {}).await }).await;
        assert!(health.watched("two".into(), pending::<()>()).now_or_never().is_none());
        advance(Duration::from_secs(3600)).await;
        assert_eq!(problems(&health), "");
        assert!(health.passes.lock().is_empty());
    }
}
