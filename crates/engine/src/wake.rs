//! Which Pads a change concerns, when a Pad is reconciled again, and which failures concern the whole connection.

use crate::command::{Outcome, WriteBackState};
use crate::observe::{is_owned_elsewhere, is_requested, stored_pad};
use crate::state::{CandidateLookup, PassError};
use crate::tags;
use api::configuration::PadConfiguration;
use api::pad::{DesiredState, Pad, Phase};
use services::ErrorKind;
use std::time::Duration;

/// Requeue delay of a waiting Pad without events.
pub const REQUEUE_INTERVAL: Duration = Duration::from_secs(300);

/// Reports whether a Pad may wait for a change of its configuration or its connection. Settled Pads do not.
pub fn may_wait(pad: &Pad, has_hints: impl FnOnce() -> bool) -> bool {
    let waits = match pad.phase() {
        None | Some(Phase::Pending | Phase::Failed) => true,
        Some(Phase::Ended) => !stored_pad(pad, None).recorded,
        // The end may have been requested while nothing could be sent.
        Some(Phase::Open | Phase::Started) => pad.spec.state == DesiredState::Ended,
        // Its connection may now count the pads of that installation as own (contract I6).
        Some(Phase::Skipped) => is_owned_elsewhere(pad),
    };
    waits
        || pad.metadata.deletion_timestamp.is_some()
        || is_requested(pad)
        || pad.status.as_ref().is_some_and(|status| status.failed_tag.is_some())
        || tags::is_reported(pad.status.as_ref())
        || has_hints()
}

/// Reports whether a change of a connection concerns a Pad: the Pad names it, or its configuration does.
pub fn is_of_connection(pad: &Pad, configuration: Option<&PadConfiguration>, connection: &str) -> bool {
    let of_configuration = configuration.map(|one| &one.spec.connection_ref);
    pad.spec.connection_ref.as_ref().into_iter().chain(of_configuration).any(|one| one.name == connection)
}

/// Delays until a Pad is reconciled again, by cause.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequeueDelays {
    /// Of the decision.
    pub decided: Option<Duration>,
    /// Backoff after a failure of this pass.
    pub backoff: Option<Duration>,
    /// Of `tags.failed`.
    pub failure_tag: Option<Duration>,
    /// Of a refused tag of an open pad.
    pub refused_tag: Option<Duration>,
}

/// Returns the delay until a Pad is reconciled again; `None`: only after an event.
pub fn next_requeue(outcome: &Outcome, delays: RequeueDelays) -> Option<Duration> {
    let RequeueDelays { decided, backoff, failure_tag, refused_tag } = delays;
    // The Pad's own backoff is not shortened.
    if let Some(backoff) = backoff {
        return Some(decided.map_or(backoff, |decided| decided.max(backoff)));
    }
    let waits = matches!(outcome, Outcome::Waiting(..) | Outcome::Ended(WriteBackState::Pending(..)));
    let own = match decided {
        Some(decided) => Some(decided.min(REQUEUE_INTERVAL)),
        None => waits.then_some(REQUEUE_INTERVAL),
    };
    own.into_iter().chain(failure_tag).chain(refused_tag).min()
}

/// Reports whether a failure may concern all Pads of the connection: then its probe decides (contract F4).
pub fn concerns_connection(error: &PassError, candidate: &CandidateLookup) -> bool {
    match error {
        PassError::NoCredentials { .. } => true,
        PassError::Conflict | PassError::Refused { .. } | PassError::Cluster { .. } => false,
        PassError::Service(_) | PassError::CreateOutcomeUnknown(_)
            if matches!(candidate, CandidateLookup::Refused) =>
        {
            false
        }
        PassError::Service(error) | PassError::CreateOutcomeUnknown(error) => match error.class {
            ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::Unavailable
            | ErrorKind::OutcomeUnknown => true,
            ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Throttled => error.is_quota(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::reason::Reason;
    use rstest::rstest;
    use serde_json::{Value, json};
    use services::{Service, ServiceError};

    fn pad(phase: &str, change: impl FnOnce(&mut Value)) -> Pad {
        let mut pad = json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "metadata": {"name": "p", "annotations": {}},
            "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"},
            "status": {"observedGeneration": 1, "phase": phase, "conditions": []},
        });
        change(&mut pad);
        serde_json::from_value(pad).unwrap()
    }

    fn condition(type_: &str) -> Value {
        json!([{"type": type_, "status": "True", "reason": "R", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-03-01T10:00:00Z"}])
    }

    #[rstest]
    #[case::new(pad("Pending", |pad| pad["status"] = json!(null)), true)]
    #[case::pending(pad("Pending", |_| {}), true)]
    #[case::failed(pad("Failed", |_| {}), true)]
    #[case::open(pad("Open", |_| {}), false)]
    #[case::open_to_be_ended(pad("Open", |pad| pad["spec"]["state"] = json!("Ended")), true)]
    #[case::started(pad("Started", |_| {}), false)]
    #[case::ended_without_record(pad("Ended", |_| {}), true)]
    #[case::ended(pad("Ended", |pad| pad["status"]["conditions"] = condition("RecordAdded")), false)]
    #[case::skipped(pad("Skipped", |_| {}), false)]
    #[case::owned_elsewhere(pad("Skipped", |pad| pad["status"]["otherInstallation"] = json!("0123")), true)]
    #[case::deleted(pad("Open", |pad| pad["metadata"]["deletionTimestamp"] = json!("2026-03-01T10:00:00Z")), true)]
    #[case::requested(
        pad("Open", |pad| pad["metadata"]["annotations"] = json!({"padoperator.dev/reconcile-requested-at": "x"})),
        true
    )]
    #[case::failure_tag(pad("Open", |pad| pad["status"]["failedTag"] = json!("error")), true)]
    #[case::refused_tag(pad("Open", |pad| pad["status"]["conditions"] = condition("TagRefused")), true)]
    fn settled_pads_do_not_wait(#[case] pad: Pad, #[case] expected: bool) {
        assert_eq!(may_wait(&pad, || false), expected);
        assert!(may_wait(&pad, || true), "a hint is pending");
    }

    #[rstest]
    #[case::names_it(Some("acme"), None, true)]
    #[case::names_another(Some("other"), None, false)]
    #[case::configuration_names_it(None, Some("acme"), true)]
    #[case::only_its_configuration_names_it(Some("other"), Some("acme"), true)]
    #[case::neither(None, None, false)]
    fn a_connection_concerns_the_pads_that_use_it(
        #[case] own: Option<&str>,
        #[case] of_configuration: Option<&str>,
        #[case] expected: bool,
    ) {
        let pad = pad("Pending", |pad| {
            pad["spec"]["connectionRef"] = own.map_or(json!(null), |name| json!({"name": name}));
        });
        let configuration = of_configuration.map(|name| {
            serde_json::from_value(json!({
                "apiVersion": "padoperator.dev/v1alpha1", "kind": "PadConfiguration",
                "metadata": {"name": "c"}, "spec": {"connectionRef": {"name": name}},
            }))
            .unwrap()
        });
        assert_eq!(is_of_connection(&pad, configuration.as_ref(), "acme"), expected);
    }

    fn waiting() -> Outcome {
        Outcome::Waiting(Reason::LeverUnavailable, "m".into())
    }

    fn record_pending() -> Outcome {
        Outcome::Ended(WriteBackState::Pending(Reason::LeverUnavailable, "m".into()))
    }

    /// Columns: outcome, delays in seconds (decided, backoff, failure tag, refused tag), expected delay.
    #[rstest]
    #[case::settled(Outcome::Open, [None, None, None, None], None)]
    #[case::waiting(waiting(), [None, None, None, None], Some(300))]
    #[case::record_pending(record_pending(), [None, None, None, None], Some(300))]
    #[case::decided(waiting(), [Some(2), None, None, None], Some(2))]
    #[case::decided_far_ahead(waiting(), [Some(3000), None, None, None], Some(300))]
    #[case::failed(waiting(), [None, Some(7), None, None], Some(7))]
    #[case::failed_and_decided_earlier(waiting(), [Some(2), Some(7), None, None], Some(7))]
    #[case::failed_and_decided_later(waiting(), [Some(30), Some(7), None, None], Some(30))]
    #[case::failure_tag(Outcome::Open, [None, None, Some(9), None], Some(9))]
    #[case::both_tags(waiting(), [None, None, Some(9), Some(8)], Some(8))]
    #[case::tags_do_not_shorten_the_backoff(waiting(), [None, Some(70), Some(9), Some(8)], Some(70))]
    fn the_next_reconcile_follows_the_nearest_cause_but_no_earlier_than_the_backoff(
        #[case] outcome: Outcome,
        #[case] delays: [Option<u64>; 4],
        #[case] expected: Option<u64>,
    ) {
        let [decided, backoff, failure_tag, refused_tag] = delays.map(|delay| delay.map(Duration::from_secs));
        let delay = next_requeue(&outcome, RequeueDelays { decided, backoff, failure_tag, refused_tag });
        assert_eq!(delay.map(|delay| delay.as_secs()), expected);
    }

    #[rstest]
    #[case::unauthorized(ErrorKind::Unauthorized, true)]
    #[case::forbidden(ErrorKind::Forbidden, true)]
    #[case::unavailable(ErrorKind::Unavailable, true)]
    #[case::outcome_unknown(ErrorKind::OutcomeUnknown, true)]
    #[case::invalid(ErrorKind::Invalid, false)]
    #[case::not_found(ErrorKind::NotFound, false)]
    #[case::throttled(ErrorKind::Throttled, false)]
    fn errors_of_the_key_or_the_service_concern_the_connection(
        #[case] class: ErrorKind,
        #[case] expected: bool,
    ) {
        let error = ServiceError::new(class, Service::Lever, "GET /opportunities/{id}", None, "details");
        let errors = [PassError::Service(error.clone()), PassError::CreateOutcomeUnknown(error)];
        for error in errors {
            assert_eq!(concerns_connection(&error, &CandidateLookup::NotRead), expected);
            assert!(
                !concerns_connection(&error, &CandidateLookup::Refused),
                "only this candidate is confidential"
            );
        }
    }

    #[test]
    fn used_up_quota_and_missing_keys_concern_the_connection_and_failed_writes_do_not() {
        let quota = ServiceError::new(
            ErrorKind::Throttled,
            Service::Interview,
            "POST /pads",
            Some(429),
            "quota exceeded",
        );
        let keys = PassError::NoCredentials { connection: "acme".into(), message: "m".into() };
        for (error, expected) in [
            (PassError::Service(quota), true),
            (keys, true),
            (PassError::Conflict, false),
            (PassError::Refused { answer: "no".into() }, false),
            (PassError::Cluster { message: "m".into() }, false),
        ] {
            assert_eq!(concerns_connection(&error, &CandidateLookup::NotRead), expected, "{error:?}");
        }
    }
}
