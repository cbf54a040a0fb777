//! Schedule of the checks in CoderPad, with their last results, and cache of the Pad counts of each configuration.
//!
//! The state is in memory only. After a restart, each configuration is checked again; its status stays until then.

use super::observe::ExternalChecks;
use crate::controller::schedule::{Polled, next_poll};
use api::PadConfiguration;
use api::condition::{is_true, types};
use api::configuration::PadCounts;
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// Key of a check. If it changes, the last result is outdated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckKey {
    /// metadata.generation of the configuration.
    pub generation: Option<i64>,
    /// Version of the service clients.
    pub account: String,
}

/// Properties of a rule whose change requires a sync.
#[derive(Clone, Debug, Eq, PartialEq)]
struct RuleUse {
    since: Option<Timestamp>,
    ready: bool,
    suspended: bool,
}

/// State of one configuration.
#[derive(Debug, Default)]
pub struct CheckSchedule {
    in_use: Option<RuleUse>,
    checked: Option<Polled<CheckKey, ExternalChecks>>,
    counted: Option<Polled<Option<Duration>, PadCounts>>,
}

impl CheckSchedule {
    /// Reports whether a check in CoderPad is due. `requested` is the value of the annotation.
    pub fn check_is_due(&self, key: &CheckKey, requested: Option<&str>, now: Instant) -> bool {
        self.checked.as_ref().is_none_or(|checked| checked.is_outdated(key, requested, now))
    }

    /// Records the result of a check.
    pub fn checked(
        &mut self,
        key: CheckKey,
        checks: ExternalChecks,
        requested: Option<&str>,
        interval: Option<Duration>,
        now: Instant,
    ) {
        let before = self.checked.take().filter(|before| before.key == key);
        let failures = match checks.errors().any(|error| error.is_retryable()) {
            true => before.as_ref().map_or(0, |before| before.failures).saturating_add(1),
            false => 0,
        };
        let asked_for = checks.errors().filter_map(|error| error.retry_after).max();
        self.checked = Some(Polled {
            key,
            result: checks.after(before.map(|before| before.result).unwrap_or_default()),
            handled: requested.map(str::to_owned),
            failures,
            next: next_poll(now, failures, asked_for, interval),
        });
    }

    /// Returns the last results for this generation of the configuration, with any API key.
    pub fn checks(&self, generation: Option<i64>) -> ExternalChecks {
        let same = self.checked.as_ref().filter(|checked| checked.key.generation == generation);
        same.map(|checked| checked.result.clone()).unwrap_or_default()
    }

    /// Returns the Pads by phase; calls `count` if a new count is due.
    pub fn counts(
        &mut self,
        requested: Option<&str>,
        interval: Option<Duration>,
        now: Instant,
        count: impl FnOnce() -> PadCounts,
    ) -> PadCounts {
        let known = self.counted.take().filter(|counted| !counted.is_outdated(&interval, requested, now));
        let counted = known.unwrap_or_else(|| Polled {
            key: interval,
            result: count(),
            handled: requested.map(str::to_owned),
            failures: 0,
            next: next_poll(now, 0, None, interval),
        });
        self.counted.insert(counted).result.clone()
    }

    /// Reports whether a rule, as last written, came into use since the last call, or was never synced.
    pub fn became_active(&mut self, configuration: &PadConfiguration) -> bool {
        let Some(status) = &configuration.status else { return false };
        let now = RuleUse {
            since: status.effective_since,
            ready: is_true(&status.conditions, types::READY),
            suspended: configuration.spec.suspend,
        };
        let is_counted = now.since.is_some() && (now.ready || now.suspended);
        let is_known = status.existing_is_settled() || (now.suspended && status.matching.is_some());
        let before = self.in_use.replace(now.clone());
        is_counted && before.map_or(!is_known, |before| before != now)
    }

    /// Returns the next due time. Checks are included only while requests to CoderPad are allowed.
    pub fn next(&self, may_ask: bool) -> Option<Instant> {
        let check = self.checked.as_ref().filter(|_| may_ask).and_then(|checked| checked.next);
        let count = self.counted.as_ref().and_then(|counted| counted.next);
        check.into_iter().chain(count).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_client::{ErrorKind, Service, ServiceError};

    const INTERVAL: Option<Duration> = Some(Duration::from_secs(300));

    fn subject(generation: i64, account: &str) -> CheckKey {
        CheckKey { generation: Some(generation), account: account.into() }
    }

    fn owner(owner: Result<bool, ServiceError>) -> ExternalChecks {
        ExternalChecks { owner: Some(owner), ..ExternalChecks::default() }
    }

    fn unavailable() -> ServiceError {
        ServiceError::new(ErrorKind::Unavailable, Service::Interview, "GET /organization/users", None, "")
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_is_repeated_on_change_on_request_and_after_the_interval() {
        let mut schedule = CheckSchedule::default();
        let due = |schedule: &CheckSchedule, subject: &CheckKey, requested| {
            schedule.check_is_due(subject, requested, Instant::now())
        };
        let now = subject(1, "a");
        assert!(due(&schedule, &now, None));
        schedule.checked(now.clone(), owner(Ok(true)), None, INTERVAL, Instant::now());
        assert!(!due(&schedule, &now, None));
        assert!(
            due(&schedule, &subject(2, "a"), None)
                && due(&schedule, &subject(1, "b"), None)
                && due(&schedule, &now, Some("x"))
        );
        schedule.checked(now.clone(), owner(Ok(true)), Some("x"), INTERVAL, Instant::now());
        assert!(!due(&schedule, &now, Some("x")));
        let next = schedule.next(true).unwrap() - Instant::now();
        assert!((300..=330).contains(&next.as_secs()), "{next:?}");
        assert_eq!(schedule.next(false), None);
        tokio::time::advance(next).await;
        assert!(due(&schedule, &now, Some("x")));
        schedule.checked(now.clone(), owner(Ok(true)), None, None, Instant::now());
        assert_eq!(schedule.next(true), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_check_is_retried_with_backoff_and_keeps_the_last_result() {
        let mut schedule = CheckSchedule::default();
        schedule.checked(subject(1, "a"), owner(Ok(true)), None, INTERVAL, Instant::now());
        for seconds in [5, 10, 20] {
            schedule.checked(subject(1, "a"), owner(Err(unavailable())), None, INTERVAL, Instant::now());
            assert_eq!((schedule.next(true).unwrap() - Instant::now()).as_secs(), seconds);
        }
        assert_eq!(schedule.checks(Some(1)), owner(Ok(true)));
        assert_eq!(schedule.checks(Some(2)), ExternalChecks::default());
        schedule.checked(subject(2, "a"), owner(Err(unavailable())), None, INTERVAL, Instant::now());
        assert_eq!(schedule.checks(Some(2)), owner(Err(unavailable())));
    }

    #[tokio::test(start_paused = true)]
    async fn pads_are_counted_at_most_once_per_interval() {
        let mut schedule = CheckSchedule::default();
        let mut counts = |open, requested, interval| {
            let count = || PadCounts { open, ..PadCounts::default() };
            schedule.counts(requested, interval, Instant::now(), count).open
        };
        assert_eq!(counts(1, None, INTERVAL), 1);
        assert_eq!(counts(2, None, INTERVAL), 1);
        assert_eq!(counts(2, Some("x"), INTERVAL), 2);
        tokio::time::advance(Duration::from_secs(331)).await;
        assert_eq!(counts(3, Some("x"), INTERVAL), 3);
        assert_eq!(counts(4, Some("x"), None), 4);
        tokio::time::advance(Duration::from_secs(100_000)).await;
        assert_eq!(counts(5, Some("x"), None), 4);
        assert_eq!(counts(5, Some("y"), None), 5);
    }
}
