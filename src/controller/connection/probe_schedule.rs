//! Schedule of the probes: the next due time and the number of consecutive failures of each connection.
//!
//! The state is in memory only. After a restart, each connection is probed again; its conditions stay until then.

use super::diagnosis::Diagnosis;
use super::observe::{InterviewFacts, LeverFacts, Probe};
use crate::controller::schedule;
use crate::k8s::ObjectKey;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Minimum interval between probes that rejected calls of Pads trigger.
const ASKED_AT_MOST_EVERY: Duration = Duration::from_secs(5);

/// Result of the last probe of a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeResult {
    /// Version of the clients: [`crate::controller::service_clients::ServiceClients::version`].
    pub version: String,
    /// The reconcile request that this probe handled.
    pub handled: Option<String>,
    /// Result for Lever.
    pub lever: ServiceProbe<LeverFacts>,
    /// Result for CoderPad Interview.
    pub interview: ServiceProbe<InterviewFacts>,
    began: Instant,
    next: Option<Instant>,
}

/// Result of the last probe of one service, and the number of failures.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceProbe<Facts> {
    /// Result of the probe.
    pub probe: Probe<Facts>,
    /// Number of consecutive transient failures, including this one.
    pub failures: u32,
}

impl<Facts> ServiceProbe<Facts> {
    fn new(probe: Probe<Facts>, failures_before: u32) -> Self {
        let may_pass = probe.diagnosis.as_ref().is_some_and(Diagnosis::is_transient);
        Self { probe, failures: if may_pass { failures_before.saturating_add(1) } else { 0 } }
    }

    /// Returns the backoff before the next probe after a transient failure.
    fn pause(&self, interval: Option<Duration>) -> Option<Duration> {
        let diagnosis = self.probe.diagnosis.as_ref().filter(|diagnosis| diagnosis.is_transient())?;
        Some(schedule::after_failures(self.failures, interval, diagnosis.retry_after))
    }
}

/// Time of the next probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NextProbe {
    /// Immediately.
    Now,
    /// At this time.
    At(Instant),
    /// On request or on a change.
    OnRequest,
}

/// Inputs of a probe that its result stores.
#[derive(Clone, Debug)]
pub struct ProbeStart {
    /// Version of the clients.
    pub version: String,
    /// The reconcile request, if any.
    pub requested: Option<String>,
    /// Interval until the next regular probe.
    pub interval: Option<Duration>,
    /// Start of the probe.
    pub began: Instant,
    /// Start of the probe, by the wall clock.
    pub at: Timestamp,
}

#[derive(Debug, Default)]
struct ProbeEntry {
    uid: Option<String>,
    wanted: bool,
    probed: Option<Arc<ProbeResult>>,
}

/// Probe state of all connections, by namespace and name.
#[derive(Debug, Default)]
pub struct ProbeSchedule {
    entries: Mutex<HashMap<ObjectKey, ProbeEntry>>,
}

impl ProbeSchedule {
    /// Requests a probe after a rejected call.
    pub fn request_probe(&self, namespace: &str, name: &str) {
        self.entries.lock().entry(ObjectKey::new(namespace, name)).or_default().wanted = true;
    }

    /// Returns the time of the next probe of a connection. `requested` is the value of the annotation.
    pub fn due(
        &self,
        (namespace, name, uid): (&str, &str, Option<&str>),
        version: &str,
        requested: Option<&str>,
        now: Instant,
    ) -> NextProbe {
        let mut entries = self.entries.lock();
        let entry = entries.entry(ObjectKey::new(namespace, name)).or_default();
        if entry.uid.as_deref() != uid {
            *entry = ProbeEntry { uid: uid.map(str::to_owned), ..ProbeEntry::default() };
        }
        due(entry, version, requested, now)
    }

    /// Records the start of a probe, which handles all earlier requests.
    pub fn begin(&self, namespace: &str, name: &str) {
        if let Some(entry) = self.entries.lock().get_mut(&ObjectKey::new(namespace, name)) {
            entry.wanted = false;
        }
    }

    /// Records the result of a probe.
    pub fn record(
        &self,
        namespace: &str,
        name: &str,
        start: ProbeStart,
        lever: Probe<LeverFacts>,
        interview: Probe<InterviewFacts>,
    ) -> Arc<ProbeResult> {
        let mut entries = self.entries.lock();
        let entry = entries.entry(ObjectKey::new(namespace, name)).or_default();
        let probed = Arc::new(following(entry.probed.as_deref(), start, lever, interview, name));
        entry.probed = Some(probed.clone());
        probed
    }

    /// Returns the result of the last probe.
    pub fn last(&self, namespace: &str, name: &str) -> Option<Arc<ProbeResult>> {
        self.entries.lock().get(&ObjectKey::new(namespace, name)).and_then(|entry| entry.probed.clone())
    }

    /// Drops the state of a connection that cannot be probed any more or was deleted.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.entries.lock().remove(&ObjectKey::new(namespace, name));
    }
}

fn due(entry: &ProbeEntry, version: &str, requested: Option<&str>, now: Instant) -> NextProbe {
    let Some(probed) = &entry.probed else { return NextProbe::Now };
    if probed.version != version || (requested.is_some() && requested != probed.handled.as_deref()) {
        return NextProbe::Now;
    }
    let asked = entry.wanted.then(|| probed.began + ASKED_AT_MOST_EVERY);
    match [asked, probed.next].into_iter().flatten().min() {
        Some(time) if time <= now => NextProbe::Now,
        Some(time) => NextProbe::At(time),
        None => NextProbe::OnRequest,
    }
}

/// Returns the result of a probe, given the previous result.
fn following(
    before: Option<&ProbeResult>,
    start: ProbeStart,
    lever: Probe<LeverFacts>,
    interview: Probe<InterviewFacts>,
    seed: &str,
) -> ProbeResult {
    let ProbeStart { version, requested, interval, began, at } = start;
    // Failures with another key or URL do not count for this one.
    let same = before.filter(|before| before.version == version);
    let lever = ServiceProbe::new(lever, same.map_or(0, |before| before.lever.failures));
    let interview = ServiceProbe::new(interview, same.map_or(0, |before| before.interview.failures));
    let mut hasher = DefaultHasher::new();
    (seed, at.as_nanosecond()).hash(&mut hasher);
    let regular = interval.map(|interval| schedule::with_jitter(interval, hasher.finish()));
    let pause = match (lever.pause(interval), interview.pause(interval)) {
        (None, None) => regular,
        // Use the later time, so that the probe of one service does not ignore the Retry-After of the other.
        (lever, interview) => lever.max(interview),
    };
    ProbeResult {
        handled: requested.or_else(|| before.and_then(|before| before.handled.clone())),
        next: pause.map(|pause| began + pause),
        version,
        lever,
        interview,
        began,
    }
}

#[cfg(test)]
mod tests {
    use super::super::diagnosis::Remedy;
    use super::*;

    const ID: (&str, &str, Option<&str>) = ("hiring", "acme", Some("uid"));

    fn diagnosis(nature: Remedy) -> Diagnosis {
        Diagnosis {
            reason: api::reason::ConnectionReason::LeverUnavailable,
            message: "message".into(),
            service: crate::transport::Service::Lever,
            remedy: nature,
            retry_after: None,
        }
    }

    fn start(version: &str, interval: Option<u64>) -> ProbeStart {
        ProbeStart {
            version: version.into(),
            requested: None,
            interval: interval.map(Duration::from_secs),
            began: Instant::now(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    fn record(memory: &ProbeSchedule, start: ProbeStart, nature: Option<Remedy>) -> Arc<ProbeResult> {
        let lever = Probe { facts: LeverFacts::default(), diagnosis: nature.map(diagnosis) };
        let interview = Probe { facts: InterviewFacts::default(), diagnosis: None };
        memory.begin("hiring", "acme");
        memory.record("hiring", "acme", start, lever, interview)
    }

    fn due(memory: &ProbeSchedule, version: &str, requested: Option<&str>) -> NextProbe {
        memory.due(ID, version, requested, Instant::now())
    }

    /// Returns the delay until the next probe, in seconds.
    fn pause(memory: &ProbeSchedule) -> Option<u64> {
        match due(memory, "1", None) {
            NextProbe::Now => Some(0),
            NextProbe::At(time) => Some((time - Instant::now()).as_secs()),
            NextProbe::OnRequest => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_is_due_at_first_on_change_on_request_and_after_the_interval() {
        let memory = ProbeSchedule::default();
        assert_eq!(due(&memory, "1", None), NextProbe::Now);
        record(&memory, start("1", Some(300)), None);
        assert!((300..=330).contains(&pause(&memory).unwrap()));
        assert_eq!(due(&memory, "2", None), NextProbe::Now);
        assert_eq!(due(&memory, "1", Some("now")), NextProbe::Now);
        record(&memory, ProbeStart { requested: Some("now".into()), ..start("1", Some(300)) }, None);
        assert!(matches!(due(&memory, "1", Some("now")), NextProbe::At(_)));
        assert!(matches!(due(&memory, "1", None), NextProbe::At(_)));
        tokio::time::advance(Duration::from_secs(331)).await;
        assert_eq!(due(&memory, "1", None), NextProbe::Now);
        let probed = record(&memory, start("1", None), None);
        assert_eq!(probed.handled.as_deref(), Some("now"));
        assert_eq!(pause(&memory), None);
        assert_eq!(
            memory.due(("hiring", "acme", Some("another")), "1", None, Instant::now()),
            NextProbe::Now
        );
    }

    #[tokio::test(start_paused = true)]
    async fn rejected_calls_trigger_a_probe_at_most_every_five_seconds() {
        let memory = ProbeSchedule::default();
        assert_eq!(due(&memory, "1", None), NextProbe::Now);
        record(&memory, start("1", None), None);
        memory.request_probe("hiring", "acme");
        assert_eq!(pause(&memory), Some(5));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(due(&memory, "1", None), NextProbe::Now);
        record(&memory, start("1", None), None);
        assert_eq!(pause(&memory), None);
    }

    #[tokio::test(start_paused = true)]
    async fn transient_failures_are_retried_with_backoff_even_without_interval() {
        let memory = ProbeSchedule::default();
        assert_eq!(due(&memory, "1", None), NextProbe::Now);
        for (count, seconds) in [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60)] {
            let probed = record(&memory, start("1", None), Some(Remedy::Retry));
            assert_eq!((probed.lever.failures, pause(&memory)), (count, Some(seconds)));
        }
        assert_eq!(record(&memory, start("2", Some(2)), Some(Remedy::Ambiguous)).lever.failures, 1);
        record(&memory, start("1", Some(2)), Some(Remedy::Ambiguous));
        assert_eq!(pause(&memory), Some(2));

        assert_eq!(record(&memory, start("1", Some(300)), Some(Remedy::UserAction)).lever.failures, 0);
        assert!(pause(&memory).unwrap() >= 300);
    }
}
