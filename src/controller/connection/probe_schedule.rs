//! Schedule of the probes: the next due time and the number of consecutive failures of each connection.
//!
//! The state is in memory only. After a restart, each connection is probed again; its conditions stay until then.

use super::diagnosis::Diagnosis;
use super::observe::{InterviewFacts, LeverFacts, Probe};
use super::webhook::WebhookState;
use crate::controller::schedule::{Polled, next_poll};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Minimum interval between probes that rejected calls of Pads trigger.
const ASKED_AT_MOST_EVERY: Duration = Duration::from_secs(5);

/// Result of the last probe of a connection.
#[derive(Clone, Debug, Default)]
pub struct ProbeResult {
    /// Result for Lever.
    pub lever: ServiceProbe<LeverFacts>,
    /// Result for CoderPad Interview.
    pub interview: ServiceProbe<InterviewFacts>,
}

/// Result of the last probe of one service, and the number of failures.
#[derive(Clone, Debug, Default)]
pub struct ServiceProbe<Facts> {
    /// Result of the probe.
    pub probe: Probe<Facts>,
    /// Number of consecutive transient failures, including this one.
    pub failures: u32,
}

impl<Facts> ServiceProbe<Facts> {
    /// Returns the result with the number of failures.
    pub fn new(probe: Probe<Facts>, failures_before: u32) -> Self {
        let may_pass = probe.diagnosis.as_ref().is_some_and(Diagnosis::is_transient);
        Self { probe, failures: if may_pass { failures_before.saturating_add(1) } else { 0 } }
    }

    /// Returns the delay that the service requested in Retry-After.
    pub fn retry_after(&self) -> Option<Duration> {
        self.probe.diagnosis.as_ref().and_then(|diagnosis| diagnosis.retry_after)
    }
}

/// Inputs of a probe that its result stores.
#[derive(Clone, Debug)]
pub struct ProbeStart<'a> {
    /// Version of everything that the result depends on. A change makes another probe due.
    pub version: String,
    /// The reconcile request, if any.
    pub requested: Option<&'a str>,
    /// Interval until the next regular probe.
    pub interval: Option<Duration>,
    /// Start of the probe.
    pub began: Instant,
}

/// Probe state of one connection.
#[derive(Debug, Default)]
pub struct ProbeSchedule {
    wanted: bool,
    began: Option<Instant>,
    last: Option<Polled<String, Arc<ProbeResult>>>,
    /// State of the webhook in Lever, which is reconciled after each probe that Lever answers.
    pub webhook: ServiceProbe<WebhookState>,
}

impl ProbeSchedule {
    /// Requests a probe after a rejected call.
    pub fn request_probe(&mut self) {
        self.wanted = true;
    }

    /// Returns the time of the next probe; None: on request or on a change. `requested` is the value of the annotation.
    pub fn next(&self, version: &str, requested: Option<&str>, now: Instant) -> Option<Instant> {
        match &self.last {
            Some(last) if !last.is_outdated(version, requested, now) => {
                let asked = self.began.filter(|_| self.wanted).map(|began| began + ASKED_AT_MOST_EVERY);
                asked.into_iter().chain(last.next).min()
            }
            _ => Some(now),
        }
    }

    /// Records the start of a probe, which handles all earlier requests.
    pub fn begin(&mut self, now: Instant) {
        (self.wanted, self.began) = (false, Some(now));
    }

    /// Records the result of a probe.
    pub fn record(
        &mut self,
        start: ProbeStart<'_>,
        lever: Probe<LeverFacts>,
        interview: Probe<InterviewFacts>,
        webhook: Probe<WebhookState>,
    ) {
        let before = self.last.take();
        let handled = start.requested.map(str::to_owned);
        let handled = handled.or_else(|| before.as_ref().and_then(|before| before.handled.clone()));
        // Failures with another key or URL do not count for this one.
        let before = before.filter(|before| before.key == start.version).map(|before| before.result);
        let failures = |of: fn(&ProbeResult) -> u32| before.as_deref().map_or(0, of);
        let lever = ServiceProbe::new(lever, failures(|before| before.lever.failures));
        let interview = ServiceProbe::new(interview, failures(|before| before.interview.failures));
        self.webhook = ServiceProbe::new(webhook, self.webhook.failures);
        let failures = lever.failures.max(interview.failures).max(self.webhook.failures);
        // The longest delay: the probe of one service must not ignore the Retry-After of the other.
        let asked_for = lever.retry_after().max(interview.retry_after()).max(self.webhook.retry_after());
        let next = next_poll(start.began, failures, asked_for, start.interval);
        let result = Arc::new(ProbeResult { lever, interview });
        self.last = Some(Polled { key: start.version, result, handled, failures, next });
    }

    /// Returns the result of the last probe, and the reconcile request that it handled.
    pub fn last(&self) -> Option<(Arc<ProbeResult>, Option<String>)> {
        self.last.as_ref().map(|last| (last.result.clone(), last.handled.clone()))
    }

    /// Drops the result of the last probe, because the connection cannot be probed any more.
    pub fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::diagnosis::Remedy;
    use super::*;

    fn diagnosis(nature: Remedy) -> Diagnosis {
        Diagnosis {
            reason: api::reason::ConnectionReason::LeverUnavailable,
            message: "message".into(),
            service: http_client::Service::Lever,
            remedy: nature,
            retry_after: None,
        }
    }

    fn start(version: &str, interval: Option<u64>) -> ProbeStart<'static> {
        ProbeStart {
            version: version.into(),
            requested: None,
            interval: interval.map(Duration::from_secs),
            began: Instant::now(),
        }
    }

    /// Records a probe with a problem in Lever, and returns the number of Lever's failures.
    fn record(schedule: &mut ProbeSchedule, start: ProbeStart<'_>, nature: Option<Remedy>) -> u32 {
        let lever = Probe { facts: LeverFacts::default(), diagnosis: nature.map(diagnosis) };
        schedule.begin(Instant::now());
        schedule.record(start, lever, Probe::default(), Probe::default());
        schedule.last().unwrap().0.lever.failures
    }

    /// Returns the delay until the next probe, in seconds.
    fn pause(schedule: &ProbeSchedule, version: &str, requested: Option<&str>) -> Option<u64> {
        let now = Instant::now();
        schedule.next(version, requested, now).map(|next| (next - now).as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_is_due_at_first_on_change_on_request_and_after_the_interval() {
        let mut schedule = ProbeSchedule::default();
        assert_eq!(pause(&schedule, "1", None), Some(0));
        record(&mut schedule, start("1", Some(300)), None);
        assert!((300..=330).contains(&pause(&schedule, "1", None).unwrap()));
        assert_eq!(pause(&schedule, "2", None), Some(0));
        assert_eq!(pause(&schedule, "1", Some("now")), Some(0));
        record(&mut schedule, ProbeStart { requested: Some("now"), ..start("1", Some(300)) }, None);
        assert!(pause(&schedule, "1", Some("now")).unwrap() >= 300);
        assert!(pause(&schedule, "1", None).unwrap() >= 300);
        tokio::time::advance(Duration::from_secs(331)).await;
        assert_eq!(pause(&schedule, "1", None), Some(0));
        record(&mut schedule, start("1", None), None);
        assert_eq!(schedule.last().unwrap().1.as_deref(), Some("now"));
        assert_eq!(pause(&schedule, "1", None), None);
        schedule.reset();
        assert_eq!(pause(&schedule, "1", None), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn rejected_calls_trigger_a_probe_at_most_every_five_seconds() {
        let mut schedule = ProbeSchedule::default();
        record(&mut schedule, start("1", None), None);
        schedule.request_probe();
        assert_eq!(pause(&schedule, "1", None), Some(5));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(pause(&schedule, "1", None), Some(0));
        record(&mut schedule, start("1", None), None);
        assert_eq!(pause(&schedule, "1", None), None);
    }

    #[tokio::test(start_paused = true)]
    async fn transient_failures_are_retried_with_backoff_even_without_interval() {
        let mut schedule = ProbeSchedule::default();
        for (count, seconds) in [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60)] {
            assert_eq!(record(&mut schedule, start("1", None), Some(Remedy::Retry)), count);
            assert_eq!(pause(&schedule, "1", None), Some(seconds));
        }
        assert_eq!(record(&mut schedule, start("2", Some(2)), Some(Remedy::Ambiguous)), 1);
        record(&mut schedule, start("1", Some(2)), Some(Remedy::Ambiguous));
        assert_eq!(pause(&schedule, "1", None), Some(2));

        assert_eq!(record(&mut schedule, start("1", Some(300)), Some(Remedy::UserAction)), 0);
        assert!(pause(&schedule, "1", None).unwrap() >= 300);
    }

    #[tokio::test(start_paused = true)]
    async fn a_transient_failure_of_the_webhook_is_retried_like_one_of_the_probe() {
        let mut schedule = ProbeSchedule::default();
        for seconds in [5, 10, 20] {
            let webhook = Probe { diagnosis: Some(diagnosis(Remedy::Retry)), facts: WebhookState::default() };
            schedule.begin(Instant::now());
            schedule.record(start("1", Some(300)), Probe::default(), Probe::default(), webhook);
            assert_eq!(pause(&schedule, "1", None), Some(seconds));
        }
        record(&mut schedule, start("1", Some(300)), None);
        assert!(pause(&schedule, "1", None).unwrap() >= 300);
    }
}
