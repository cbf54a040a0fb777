//! Schedule of the checks in CoderPad, with their last results, and cache of the Pad counts of each configuration.
//!
//! The state is in memory only. After a restart, each configuration is checked again; its status stays until then.

use super::observe::ExternalChecks;
use crate::controller::schedule;
use crate::k8s::ObjectKey;
use api::PadConfiguration;
use api::condition::{is_true, types};
use api::configuration::PadCounts;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use tokio::time::Instant;

/// Key of a check. If it changes, the last result is outdated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckKey {
    /// metadata.uid of the configuration.
    pub uid: Option<String>,
    /// metadata.generation of the configuration.
    pub generation: Option<i64>,
    /// Version of the service clients.
    pub account: String,
}

#[derive(Debug)]
struct LastCheck {
    subject: CheckKey,
    checks: ExternalChecks,
    failures: u32,
    handled: Option<String>,
    next: Option<Instant>,
}

#[derive(Debug)]
struct PadCountCache {
    uid: Option<String>,
    counts: PadCounts,
    handled: Option<String>,
    interval: Option<Duration>,
    next: Option<Instant>,
}

/// Properties of a rule whose change requires a sync.
#[derive(Clone, Debug, Eq, PartialEq)]
struct RuleUse {
    since: Option<Timestamp>,
    ready: bool,
    suspended: bool,
}

#[derive(Debug, Default)]
struct CheckEntry {
    in_use: Option<RuleUse>,
    checked: Option<LastCheck>,
    counted: Option<PadCountCache>,
}

/// State of all configurations, by namespace and name.
#[derive(Debug, Default)]
pub struct CheckSchedule {
    entries: Mutex<HashMap<ObjectKey, CheckEntry>>,
}

impl CheckSchedule {
    /// Reports whether a check in CoderPad is due. `requested` is the value of the annotation.
    pub fn check_is_due(
        &self,
        id: (&str, &str),
        subject: &CheckKey,
        requested: Option<&str>,
        now: Instant,
    ) -> bool {
        self.entries
            .lock()
            .get(&ObjectKey::new(id.0, id.1))
            .and_then(|entry| entry.checked.as_ref())
            .is_none_or(|checked| {
                checked.subject != *subject
                    || is_new_request(requested, &checked.handled)
                    || is_due(checked.next, now)
            })
    }

    /// Records the result of a check.
    pub fn checked(
        &self,
        id: (&str, &str),
        subject: CheckKey,
        checks: ExternalChecks,
        requested: Option<&str>,
        interval: Option<Duration>,
        now: Instant,
    ) {
        let mut entries = self.entries.lock();
        let entry = entries.entry(ObjectKey::new(id.0, id.1)).or_default();
        let before = entry.checked.take().filter(|before| before.subject == subject);
        let failing = checks.errors().any(|error| error.is_retryable());
        let failures =
            if failing { before.as_ref().map_or(0, |before| before.failures).saturating_add(1) } else { 0 };
        let pause = if failing {
            let asked_for = checks.errors().filter_map(|error| error.retry_after).max();
            Some(schedule::after_failures(failures, interval, asked_for))
        } else {
            interval.map(|interval| schedule::with_jitter(interval, seed(id)))
        };
        entry.checked = Some(LastCheck {
            subject,
            failures,
            handled: requested.map(str::to_owned),
            next: pause.map(|pause| now + pause),
            checks: checks.after(before.map(|before| before.checks).unwrap_or_default()),
        });
    }

    /// Returns the last results for this generation of the configuration, with any API key.
    pub fn checks(&self, id: (&str, &str), uid: Option<&str>, generation: Option<i64>) -> ExternalChecks {
        let entries = self.entries.lock();
        let checked = entries.get(&ObjectKey::new(id.0, id.1)).and_then(|entry| entry.checked.as_ref());
        let same =
            checked.filter(|one| one.subject.uid.as_deref() == uid && one.subject.generation == generation);
        same.map(|checked| checked.checks.clone()).unwrap_or_default()
    }

    /// Returns the Pads by phase; calls `count` if a new count is due.
    pub fn counts(
        &self,
        id: (&str, &str),
        uid: Option<&str>,
        requested: Option<&str>,
        interval: Option<Duration>,
        now: Instant,
        count: impl FnOnce() -> PadCounts,
    ) -> PadCounts {
        let mut entries = self.entries.lock();
        let entry = entries.entry(ObjectKey::new(id.0, id.1)).or_default();
        match &entry.counted {
            Some(counted)
                if counted.uid.as_deref() == uid
                    && counted.interval == interval
                    && !is_new_request(requested, &counted.handled)
                    && !is_due(counted.next, now) =>
            {
                counted.counts.clone()
            }
            _ => {
                let counts = count();
                let next = interval.map(|interval| now + schedule::with_jitter(interval, seed(id)));
                let (uid, handled) = (uid.map(str::to_owned), requested.map(str::to_owned));
                entry.counted = Some(PadCountCache { uid, counts: counts.clone(), handled, interval, next });
                counts
            }
        }
    }

    /// Reports whether a rule, as last written, came into use since the last call, or was never synced.
    pub fn became_active(&self, id: (&str, &str), configuration: &PadConfiguration) -> bool {
        let Some(status) = &configuration.status else { return false };
        let now = RuleUse {
            since: status.effective_since,
            ready: is_true(&status.conditions, types::READY),
            suspended: configuration.spec.suspend,
        };
        let is_counted = now.since.is_some() && (now.ready || now.suspended);
        let is_known = status.existing_is_settled() || (now.suspended && status.matching.is_some());
        let mut entries = self.entries.lock();
        let before = entries.entry(ObjectKey::new(id.0, id.1)).or_default().in_use.replace(now.clone());
        is_counted && before.map_or(!is_known, |before| before != now)
    }

    /// Returns the next due time. Checks are included only while requests to CoderPad are allowed.
    pub fn next(&self, id: (&str, &str), may_ask: bool) -> Option<Instant> {
        let entries = self.entries.lock();
        let entry = entries.get(&ObjectKey::new(id.0, id.1))?;
        let check = entry.checked.as_ref().filter(|_| may_ask).and_then(|checked| checked.next);
        let count = entry.counted.as_ref().and_then(|counted| counted.next);
        check.into_iter().chain(count).min()
    }

    /// Drops the state of a deleted configuration.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.entries.lock().remove(&ObjectKey::new(namespace, name));
    }
}

fn seed(id: (&str, &str)) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

fn is_new_request(requested: Option<&str>, handled: &Option<String>) -> bool {
    requested.is_some() && requested != handled.as_deref()
}

fn is_due(time: Option<Instant>, now: Instant) -> bool {
    time.is_some_and(|time| time <= now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{ErrorKind, Service, ServiceError};

    const ID: (&str, &str) = ("hiring", "phone-screen");
    const INTERVAL: Option<Duration> = Some(Duration::from_secs(300));

    fn subject(generation: i64, account: &str) -> CheckKey {
        CheckKey { uid: Some("u".into()), generation: Some(generation), account: account.into() }
    }

    fn owner(owner: Result<bool, ServiceError>) -> ExternalChecks {
        ExternalChecks { owner: Some(owner), ..ExternalChecks::default() }
    }

    fn unavailable() -> ServiceError {
        ServiceError::new(ErrorKind::Unavailable, Service::Interview, "GET /organization/users", None, "")
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_is_repeated_on_change_on_request_and_after_the_interval() {
        let memory = CheckSchedule::default();
        let due = |subject: &CheckKey, requested| memory.check_is_due(ID, subject, requested, Instant::now());
        let now = subject(1, "a");
        assert!(due(&now, None));
        memory.checked(ID, now.clone(), owner(Ok(true)), None, INTERVAL, Instant::now());
        assert!(!due(&now, None));
        assert!(due(&subject(2, "a"), None) && due(&subject(1, "b"), None) && due(&now, Some("x")));
        memory.checked(ID, now.clone(), owner(Ok(true)), Some("x"), INTERVAL, Instant::now());
        assert!(!due(&now, Some("x")));
        let next = memory.next(ID, true).unwrap() - Instant::now();
        assert!((300..=330).contains(&next.as_secs()), "{next:?}");
        assert_eq!(memory.next(ID, false), None);
        tokio::time::advance(next).await;
        assert!(due(&now, Some("x")));
        memory.checked(ID, now.clone(), owner(Ok(true)), None, None, Instant::now());
        assert_eq!(memory.next(ID, true), None);
        memory.forget("hiring", "phone-screen");
        assert!(due(&now, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_check_is_retried_with_backoff_and_keeps_the_last_result() {
        let memory = CheckSchedule::default();
        memory.checked(ID, subject(1, "a"), owner(Ok(true)), None, INTERVAL, Instant::now());
        for seconds in [5, 10, 20] {
            memory.checked(ID, subject(1, "a"), owner(Err(unavailable())), None, INTERVAL, Instant::now());
            assert_eq!((memory.next(ID, true).unwrap() - Instant::now()).as_secs(), seconds);
        }
        assert_eq!(memory.checks(ID, Some("u"), Some(1)), owner(Ok(true)));
        assert_eq!(memory.checks(ID, Some("u"), Some(2)), ExternalChecks::default());
        assert_eq!(memory.checks(ID, Some("another"), Some(1)), ExternalChecks::default());
        memory.checked(ID, subject(2, "a"), owner(Err(unavailable())), None, INTERVAL, Instant::now());
        assert_eq!(memory.checks(ID, Some("u"), Some(2)), owner(Err(unavailable())));
    }

    #[tokio::test(start_paused = true)]
    async fn pads_are_counted_at_most_once_per_interval() {
        let memory = CheckSchedule::default();
        let counts = |open, requested, interval| {
            let count = || PadCounts { open, ..PadCounts::default() };
            memory.counts(ID, Some("u"), requested, interval, Instant::now(), count).open
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
