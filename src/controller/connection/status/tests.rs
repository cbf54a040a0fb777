use super::super::diagnosis;
use super::super::observe::{InterviewFacts, LeverFacts, Probe};
use super::super::probe_schedule::{ProbeSchedule, ProbeStart};
use super::*;
use crate::controller::coderpad_organization::Organization;
use api::SecretKeyRef;
use engine::warning_events;
use http_client::{ErrorKind, ServiceError};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

pub(super) fn connection(spec: Value) -> LeverConnection {
    let mut all = json!({
        "lever": {"apiKeySecretRef": {"name": "acme", "key": "lever-api-key"}},
        "interview": {"apiKeySecretRef": {"name": "acme", "key": "interview-api-key"}},
        "webhook": {"signingTokenSecretRef": {"name": "acme", "key": "token"}},
    });
    for (field, value) in spec.as_object().unwrap() {
        match value {
            Value::Object(fields) => all[field].as_object_mut().unwrap().extend(fields.clone()),
            value => all[field] = value.clone(),
        }
    }
    serde_json::from_value(json!({
        "apiVersion": "padoperator.dev/v1alpha1", "kind": "LeverConnection",
        "metadata": {"name": "acme", "namespace": "hiring", "generation": 3,
            "annotations": {"padoperator.dev/installation": "0123456789abcdef"}},
        "spec": all, "status": {"observedGeneration": -1},
    }))
    .unwrap()
}

pub(super) fn failure(service: Service, class: ErrorKind) -> Diagnosis {
    let key = SecretKeyRef { name: "acme".into(), key: "k".into() };
    diagnosis::diagnose_call(
        &ServiceError::new(class, service, "GET /some", Some(500), "Sorry"),
        &key,
        "It needs more.",
    )
}

/// Returns the result of `times` probes in a row, with these problems.
pub(super) fn probed(lever: Option<Diagnosis>, interview: Option<Diagnosis>, times: u32) -> Arc<ProbeResult> {
    let mut schedule = ProbeSchedule::default();
    for _ in 0..times {
        let start = ProbeStart {
            version: "1".into(),
            requested: None,
            interval: None,
            began: tokio::time::Instant::now(),
        };
        let stages = vec![lever::LeverStage { id: "s-1".into(), name: "Phone Screen".into() }];
        let facts = LeverFacts { stages: lever.is_none().then_some(stages), refused: None };
        let lever = Probe { facts, diagnosis: lever.clone() };
        let quota = coderpad::PadQuota {
            unlimited: false,
            used: 3,
            remaining: Some(7),
            limit: Some(10),
            overages_enabled: None,
        };
        let known = interview.is_none();
        let facts = InterviewFacts {
            organization: known.then(|| Organization { name: "Acme".into(), id: None }),
            quota: known.then_some(quota),
        };
        let interview = Probe { facts, diagnosis: interview.clone() };
        schedule.record(start, lever, interview, Probe::default());
    }
    schedule.last().unwrap().0
}

pub(super) fn pass(connection: &LeverConnection, services: Services<'_>) -> LeverConnectionStatus {
    with_webhook(connection, services, &WebhookState::Manual)
}

pub(super) fn with_webhook(
    connection: &LeverConnection,
    services: Services<'_>,
    webhook: &WebhookState,
) -> LeverConnectionStatus {
    let (token, public_url) =
        (&SigningTokenStatus::Present { version: String::new() }, Some("hooks.example.com"));
    let observation = ConnectionObservation {
        connection,
        public_url,
        token,
        webhook,
        services,
        missed: None,
        others: &BTreeSet::new(),
        surprises: &[],
        handled: None,
    };
    status(&observation, at(0))
}

/// Returns the connection after a pass.
pub(super) fn after(mut connection: LeverConnection, services: Services<'_>) -> LeverConnection {
    connection.status = Some(pass(&connection, services));
    connection
}

pub(super) fn connected(spec: Value) -> LeverConnection {
    after(connection(spec), Services::Probed(&probed(None, None, 1)))
}

/// Returns the status and reason of a condition, such as `False LeverForbidden`.
fn short(status: &LeverConnectionStatus, type_: &str) -> String {
    find(&status.conditions, type_).map_or("absent".into(), |one| format!("{:?} {}", one.status, one.reason))
}

fn message(status: &LeverConnectionStatus, type_: &str) -> String {
    find(&status.conditions, type_).unwrap().message.clone()
}

fn has(status: &LeverConnectionStatus, type_: &str) -> bool {
    find(&status.conditions, type_).is_some()
}

#[test]
fn a_new_connection_shows_the_webhook_url_before_the_first_probe() {
    let new = connection(json!({}));
    assert!(is_new(&new));
    let status = pass(&new, Services::Connecting);
    assert_eq!(status.observed_generation, 3);
    assert_eq!(status.webhook_url.as_deref(), Some("https://hooks.example.com/webhooks/lever/hiring/acme"));
    assert_eq!(short(&status, types::READY), "False Connecting");
    assert_eq!(short(&status, types::LEVER_CONNECTED), "Unknown Connecting");
    assert_eq!(short(&status, types::QUOTA_AVAILABLE), "Unknown NotKnownYet");
    assert!(has(&status, types::RECONCILING) && !has(&status, types::STALLED));
    assert!(!is_new(&after(new, Services::Connecting)));
}

#[test]
fn the_webhook_url_starts_with_the_public_url() {
    for (flag, expected) in [
        (None, "/webhooks/lever/hiring/acme"),
        (Some(" "), "/webhooks/lever/hiring/acme"),
        (Some("hooks.example.com/"), "https://hooks.example.com/webhooks/lever/hiring/acme"),
        (Some("http://127.0.0.1:8080"), "http://127.0.0.1:8080/webhooks/lever/hiring/acme"),
        (Some("https://example.com/base/"), "https://example.com/base/webhooks/lever/hiring/acme"),
    ] {
        assert_eq!(webhook_url(flag, &connection(json!({}))), expected);
    }
}

#[test]
fn a_successful_probe_fills_the_status_and_a_second_one_changes_nothing() {
    let connection = connected(json!({}));
    let status = connection.status.clone().unwrap();
    assert_eq!(short(&status, types::READY), "True Connected");
    assert_eq!(short(&status, types::LEVER_CONNECTED), "True Connected");
    assert_eq!(short(&status, types::INTERVIEW_CONNECTED), "True Connected");
    assert_eq!(short(&status, types::QUOTA_AVAILABLE), "True QuotaAvailable");
    assert_eq!(short(&status, types::SUSPENDED), "absent");
    assert!(!has(&status, types::RECONCILING) && !has(&status, types::STALLED));
    assert_eq!((status.organization.as_deref(), status.stages.len()), (Some("Acme"), 1));
    assert_eq!(status.quota.as_ref().unwrap().remaining, Some(7));
    assert_eq!(pass(&connection, Services::Probed(&probed(None, None, 1))), status);
}

#[test]
fn rejected_keys_take_effect_immediately_and_transient_failures_after_three_in_a_row() {
    use ErrorKind::{Forbidden, NotFound, Throttled, Unauthorized, Unavailable};
    // (service, class, attempts in a row, connected before, Ready, condition next to it)
    let cases = [
        (Service::Lever, Unauthorized, 1, true, "False LeverUnauthorized", types::STALLED),
        (Service::Lever, Forbidden, 1, true, "False LeverForbidden", types::STALLED),
        (Service::Interview, Unauthorized, 1, true, "False InterviewUnauthorized", types::STALLED),
        (Service::Interview, Forbidden, 1, true, "False InterviewForbidden", types::STALLED),
        (Service::Lever, Unavailable, 1, true, "True Connected", ""),
        (Service::Lever, Unavailable, 2, true, "True Connected", ""),
        (Service::Lever, Unavailable, 3, true, "False LeverUnavailable", types::RECONCILING),
        (Service::Lever, Throttled, 3, true, "False LeverRateLimited", types::RECONCILING),
        (Service::Interview, Unavailable, 3, true, "False InterviewUnavailable", types::RECONCILING),
        (Service::Interview, Throttled, 3, true, "False InterviewRateLimited", types::RECONCILING),
        (Service::Lever, NotFound, 2, true, "True Connected", ""),
        (Service::Lever, NotFound, 3, true, "False LeverUnexpectedAnswer", types::STALLED),
        (Service::Interview, NotFound, 3, true, "False InterviewUnexpectedAnswer", types::STALLED),
        (Service::Lever, Unavailable, 1, false, "False LeverUnavailable", types::RECONCILING),
        (Service::Interview, Throttled, 1, false, "False InterviewRateLimited", types::RECONCILING),
        (Service::Interview, NotFound, 1, false, "False InterviewUnexpectedAnswer", types::STALLED),
    ];
    for (service, class, times, before, expected, beside) in cases {
        let diagnosis = Some(failure(service, class));
        let (probed, own, other) = match service {
            Service::Lever => {
                (probed(diagnosis, None, times), types::LEVER_CONNECTED, types::INTERVIEW_CONNECTED)
            }
            Service::Interview => {
                (probed(None, diagnosis, times), types::INTERVIEW_CONNECTED, types::LEVER_CONNECTED)
            }
        };
        let connection =
            if before { connected(json!({})) } else { after(connection(json!({})), Services::Connecting) };
        let status = pass(&connection, Services::Probed(&probed));
        let case = format!("{service} {class:?} {times} {before}");
        assert_eq!(short(&status, types::READY), expected, "{case}");
        assert_eq!(short(&status, own), expected, "{case}");
        assert_eq!(short(&status, other), "True Connected", "{case}");
        for type_ in [types::RECONCILING, types::STALLED] {
            assert_eq!(has(&status, type_), type_ == beside, "{case}");
        }
        if before {
            assert_eq!(status.stages.len(), 1, "{case}: what was known stays");
            assert_eq!(status.organization.as_deref(), Some("Acme"), "{case}");
        }
    }
}

#[test]
fn a_long_outage_causes_no_repeated_status_writes() {
    let down = |text: &str, times| {
        let error = ServiceError::new(ErrorKind::Unavailable, Service::Lever, "GET /stages", Some(503), text);
        probed(Some(diagnosis::diagnose_call(&error, &SecretKeyRef::default(), "")), None, times)
    };
    let connection = after(connection(json!({})), Services::Connecting);
    let first = after(connection, Services::Probed(&down("request 1", 1)));
    assert!(message(first.status.as_ref().unwrap(), types::READY).contains("1 attempt failed"));
    let third = after(first, Services::Probed(&down("request 3", 3)));
    assert!(message(third.status.as_ref().unwrap(), types::READY).contains("3 or more attempts"));
    assert_eq!(pass(&third, Services::Probed(&down("request 4", 4))), third.status.unwrap());
}

#[test]
fn the_failure_that_requires_user_action_is_the_reason() {
    let (lever, interview) =
        (failure(Service::Lever, ErrorKind::Unavailable), failure(Service::Interview, ErrorKind::Forbidden));
    let status = pass(&connection(json!({})), Services::Probed(&probed(Some(lever), Some(interview), 1)));
    assert_eq!(short(&status, types::READY), "False InterviewForbidden");
    assert!(has(&status, types::STALLED) && !has(&status, types::RECONCILING));
    let message = message(&status, types::READY);
    assert!(
        message.contains("CoderPad Interview: GET /some") && message.contains("Lever: GET /some"),
        "{message}"
    );
}

#[test]
fn unusable_settings_stall_and_the_other_service_is_not_probed() {
    let mut diagnosis = failure(Service::Interview, ErrorKind::Forbidden);
    diagnosis.reason = Reason::SecretNotFound;
    let status = pass(&connected(json!({})), Services::Unusable(&diagnosis));
    assert_eq!(short(&status, types::READY), "False SecretNotFound");
    assert_eq!(short(&status, types::INTERVIEW_CONNECTED), "False SecretNotFound");
    assert_eq!(short(&status, types::LEVER_CONNECTED), "Unknown NotAsked");
    assert!(has(&status, types::STALLED));
}

#[test]
fn a_suspended_connection_keeps_its_conditions() {
    let mut suspended = connected(json!({}));
    suspended.spec.suspend = true;
    let status = pass(&suspended, Services::Suspended);
    assert_eq!(short(&status, types::READY), "True Connected");
    assert_eq!(short(&status, types::LEVER_CONNECTED), "True Connected");
    assert_eq!(short(&status, types::QUOTA_AVAILABLE), "True QuotaAvailable");
    assert_eq!(short(&status, types::SUSPENDED), "True Suspended");

    let diagnosis = failure(Service::Lever, ErrorKind::Forbidden);
    let mut refused = after(connection(json!({})), Services::Probed(&probed(Some(diagnosis), None, 1)));
    refused.spec.suspend = true;
    let status = pass(&refused, Services::Suspended);
    assert_eq!(short(&status, types::READY), "False LeverForbidden");
    assert!(has(&status, types::STALLED));

    for unknown in [connection(json!({"suspend": true})), after(connection(json!({})), Services::Connecting)]
    {
        let never = after(unknown, Services::Suspended);
        let status = never.status.as_ref().unwrap();
        assert_eq!(short(status, types::READY), "False Suspended");
        assert!(has(status, types::STALLED) && !has(status, types::RECONCILING));
        assert_eq!(&pass(&never, Services::Suspended), status);
        assert!(is_new(&never));
    }
}

#[test]
fn the_webhook_is_verified_only_while_a_token_exists() {
    let probed = probed(None, None, 1);
    let webhook = |connection: &LeverConnection, token: &SigningTokenStatus, public_url| {
        let services = Services::Probed(&probed);
        let webhook = &WebhookState::Manual;
        let observation = ConnectionObservation {
            connection,
            public_url,
            token,
            webhook,
            services,
            missed: None,
            others: &BTreeSet::new(),
            surprises: &[],
            handled: None,
        };
        let status = status(&observation, at(0));
        (short(&status, types::WEBHOOK_VERIFIED), message(&status, types::WEBHOOK_VERIFIED))
    };
    let mut connection = connection(json!({}));
    let (state, message) = webhook(
        &connection,
        &SigningTokenStatus::Present { version: String::new() },
        Some("hooks.example.com"),
    );
    assert_eq!(state, "False AwaitingVerification");
    for part in ["https://hooks.example.com/webhooks/lever/hiring/acme", "Secret acme, key token", "Verify"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(
        webhook(&connection, &SigningTokenStatus::Present { version: String::new() }, None)
            .1
            .contains("--public-url")
    );
    connection.status.as_mut().unwrap().last_webhook_at = Some(at(-9));
    assert_eq!(
        webhook(&connection, &SigningTokenStatus::Present { version: String::new() }, None).0,
        "True SignatureVerified"
    );
    let missing =
        SigningTokenStatus::Missing { message: "Secret acme does not exist.".into(), version: String::new() };
    assert_eq!(
        webhook(&connection, &missing, None),
        ("False SigningTokenMissing".into(), "Secret acme does not exist.".into())
    );
}

/// Returns the connection after a pass with this quota.
pub(super) fn with_quota(
    mut connection: LeverConnection,
    quota: (bool, Option<i64>, Option<i64>),
) -> LeverConnection {
    let (unlimited, remaining, limit) = quota;
    let mut status = connection.status.take().unwrap();
    status.quota = Some(Quota { unlimited, used: 5, remaining, limit });
    connection.status = Some(status);
    let interview_down = failure(Service::Interview, ErrorKind::Unavailable);
    after(connection, Services::Probed(&probed(None, Some(interview_down), 1)))
}

#[test]
fn a_missed_delivery_is_reported_until_the_next_delivery() {
    let probed = probed(None, None, 1);
    let webhook = |connection: &LeverConnection, missed: Option<&MissedDelivery>, now| {
        let (services, token) =
            (Services::Probed(&probed), &SigningTokenStatus::Present { version: String::new() });
        let public_url = Some("hooks.example.com");
        let webhook = &WebhookState::Manual;
        let observation = ConnectionObservation {
            connection,
            public_url,
            token,
            webhook,
            services,
            missed,
            others: &BTreeSet::new(),
            surprises: &[],
            handled: None,
        };
        status(&observation, at(now))
    };
    let mut connection = connection(json!({}));
    connection.status.as_mut().unwrap().last_webhook_at = Some(at(-9));
    connection.status = Some(webhook(&connection, None, 0));
    let missed = MissedDelivery { stage: "Phone Screen".into(), entry: at(-200), found: at(5) };
    let status = webhook(&connection, Some(&missed), 5);
    assert_eq!(short(&status, types::WEBHOOK_VERIFIED), "False DeliveryMissed");
    let message = message(&status, types::WEBHOOK_VERIFIED);
    for part in ["'Phone Screen'", "https://hooks.example.com/webhooks/lever/hiring/acme", "enabled"] {
        assert!(message.contains(part), "{message}");
    }
    connection.status = Some(status.clone());
    assert_eq!(webhook(&connection, None, 9), status, "also after a restart");
    connection.status.as_mut().unwrap().last_webhook_at = Some(at(7));
    for missed in [None, Some(&missed)] {
        let status = webhook(&connection, missed, 9);
        assert_eq!(short(&status, types::WEBHOOK_VERIFIED), "True SignatureVerified");
    }
}

#[test]
fn an_exhausted_quota_is_reported_with_its_consequence() {
    let with = |unlimited, remaining, overage: &str| {
        let connection = connected(json!({"interview": {"overage": overage}}));
        let status = with_quota(connection, (unlimited, remaining, Some(20))).status.unwrap();
        assert_eq!(short(&status, types::READY), "True Connected", "it is no part of Ready");
        (short(&status, types::QUOTA_AVAILABLE), message(&status, types::QUOTA_AVAILABLE))
    };
    assert_eq!(with(true, None, "Deny").0, "True Unlimited");
    assert_eq!(with(false, None, "Deny").0, "True QuotaAvailable");
    assert_eq!(with(false, Some(2), "Deny").0, "True QuotaAvailable");
    for (remaining, overage, expected, words) in [
        (1, "Deny", "True QuotaLow", ["1 of 20", "pending"]),
        (1, "Allow", "True QuotaLow", ["1 of 20", "bills"]),
        (0, "Deny", "False QuotaExceeded", ["used up", "pending"]),
        (-2, "Allow", "False QuotaExceeded", ["used up", "bills"]),
    ] {
        let (state, message) = with(false, Some(remaining), overage);
        assert_eq!(state, expected);
        for part in words.into_iter().chain(["spec.interview.overage", "larger CoderPad plan"]) {
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn a_low_quota_is_reported_once_until_it_has_recovered() {
    let mut connection = connected(json!({}));
    let mut news = Vec::new();
    for remaining in [7, 1, 1, 0, 1, 0, 20, 0, 2] {
        let before = connection.conditions().to_vec();
        connection = with_quota(connection, (false, Some(remaining), Some(20)));
        let message = warning_events::quota_ran_low(&before, connection.conditions());
        news.push(message.map(|(reason, _)| reason).unwrap_or_default());
    }
    assert_eq!(news, ["", "QuotaLow", "", "", "", "", "", "QuotaExceeded", ""]);
    let unknown = after(super::tests::connection(json!({})), Services::Connecting);
    let low = with_quota(unknown.clone(), (false, Some(1), Some(20)));
    assert!(warning_events::quota_ran_low(unknown.conditions(), low.conditions()).is_some());
}

#[test]
fn a_managed_webhook_shows_the_next_step_until_its_first_delivery() {
    let probed = probed(None, None, 1);
    let mut connection = connected(json!({"webhook": {"mode": "Managed"}}));
    connection.status.as_mut().unwrap().last_webhook_at = Some(at(-9));
    let mut look = |webhook: &WebhookState| {
        let status = with_webhook(&connection, Services::Probed(&probed), webhook);
        connection.status = Some(status.clone());
        let verified = types::WEBHOOK_VERIFIED;
        (short(&status, verified), message(&status, verified), short(&status, types::READY), status)
    };
    assert_eq!(look(&WebhookState::Unknown).0, "False WebhookNotRegistered");
    let registered = WebhookState::Registered { id: "w-1".into() };
    let (state, message, ready, status) = look(&registered);
    assert_eq!((state.as_str(), ready.as_str()), ("False AwaitingVerification", "True Connected"));
    assert!(message.contains("Super Admin") && message.contains("Candidate Stage Change"), "{message}");
    assert_eq!((status.webhook_id.as_deref(), status.last_webhook_at), (Some("w-1"), None));

    connection.status.as_mut().unwrap().last_webhook_at = Some(at(9));
    let mut look = |webhook: &WebhookState| {
        let status = with_webhook(&connection, Services::Probed(&probed), webhook);
        connection.status = Some(status.clone());
        (short(&status, types::WEBHOOK_VERIFIED), short(&status, types::READY), status)
    };
    assert_eq!(look(&registered).0, "True SignatureVerified");
    assert_eq!(look(&WebhookState::Unknown).0, "True SignatureVerified", "after a restart");
    assert_eq!(
        look(&WebhookState::Registered { id: "w-2".into() }).0,
        "True SignatureVerified",
        "registered again"
    );
    let diagnosis = |reason| WebhookState::Failed(Diagnosis::for_webhook(reason, "Fix it.".into()));
    let (state, ready, status) = look(&diagnosis(Reason::PublicURLMissing));
    assert_eq!((state.as_str(), ready.as_str()), ("False PublicURLMissing", "True Connected"));
    assert_eq!(status.webhook_id.as_deref(), Some("w-2"));
    let (state, ready, status) = look(&diagnosis(Reason::SecretNotOwned));
    assert_eq!((state.as_str(), ready.as_str()), ("False SecretNotOwned", "False SecretNotOwned"));
    assert!(has(&status, types::STALLED) && !has(&status, types::RECONCILING));

    connection.spec.webhook.mode = WebhookMode::Manual;
    let status = with_webhook(&connection, Services::Probed(&probed), &WebhookState::Manual);
    assert_eq!((status.webhook_id.as_deref(), status.last_webhook_at), (None, None));
    assert_eq!(short(&status, types::WEBHOOK_VERIFIED), "False AwaitingVerification");
    connection.status = Some(status);

    // contract C7a
    connection.spec.webhook.mode = WebhookMode::None;
    let status = with_webhook(&connection, Services::Probed(&probed), &WebhookState::Manual);
    assert_eq!(
        (status.webhook_url.as_deref(), short(&status, types::WEBHOOK_VERIFIED).as_str()),
        (None, "absent")
    );
    assert_eq!(short(&status, types::READY), "True Connected");
}

#[test]
fn a_reconcile_request_is_copied_to_the_status() {
    let connection = connected(json!({}));
    let probed = probed(None, None, 1);
    let services = Services::Probed(&probed);
    let observation = ConnectionObservation {
        connection: &connection,
        public_url: None,
        token: &SigningTokenStatus::Present { version: String::new() },
        webhook: &WebhookState::Manual,
        services,
        missed: None,
        others: &BTreeSet::new(),
        surprises: &[],
        handled: Some("now"),
    };
    assert_eq!(status(&observation, at(0)).last_handled_reconcile_at.as_deref(), Some("now"));
}

#[test]
fn stages_are_cut_to_the_limits_of_the_schema() {
    let stage = |id: String, name: &str| lever::LeverStage { id, name: name.into() };
    let odd = [
        stage("a".into(), "A"),
        stage("a".into(), "twice"),
        stage("x".repeat(129), "long"),
        stage("".into(), ""),
    ];
    let long_name = [stage("b".into(), &"é".repeat(300))];
    let many = (0..600).map(|n| stage(format!("s-{n}"), "S"));
    let stages = stages_of(&odd.into_iter().chain(long_name).chain(many).collect::<Vec<_>>());
    assert_eq!(stages.len(), 500);
    assert_eq!((stages[0].id.as_str(), stages[1].id.as_str(), stages[2].id.as_str()), ("a", "b", "s-0"));
    assert_eq!(stages[1].name.chars().count(), 256);
}

/// The webhook server and the leader must compute the same conditions. Otherwise, each would revert the other's write.
#[test]
fn a_rejected_webhook_is_reported_until_a_signed_one_is_accepted() {
    for (reason, ahead) in [(Reason::SignatureMismatch, None), (Reason::ClockSkew, Some(600))] {
        let mut connection = connection(json!({}));
        connection.status = Some(pass(&connection, Services::Connecting));
        let refusal = WebhookRefusal { reason: reason.into(), at: Some(at(10)), ahead };
        let written = refusing(&connection, &refusal, at(10)).unwrap();
        let status = connection.status.as_mut().unwrap();
        status.webhook_refusal = Some(refusal.clone());
        status.conditions = written;
        let after = pass(&connection, Services::Connecting);
        assert_eq!(connection.status.as_ref(), Some(&after));
        assert_eq!(find(&after.conditions, types::WEBHOOK_VERIFIED).unwrap().reason, reason);
        assert_eq!(refusing(&connection, &refusal, at(400)), None, "nothing changes");

        connection.status.as_mut().unwrap().last_webhook_at = Some(at(11));
        let after = pass(&connection, Services::Connecting);
        assert_eq!(
            find(&after.conditions, types::WEBHOOK_VERIFIED).unwrap().reason,
            Reason::SignatureVerified
        );
    }
}

// contract I1
#[test]
fn a_connection_without_a_valid_installation_id_is_not_ready_and_shows_the_next_step() {
    let probed = probed(None, None, 1);
    let mut one = connected(json!({}));
    assert_eq!(one.status.as_ref().unwrap().installation.as_deref(), Some("0123456789abcdef"));
    let mut annotate = |value: Option<&str>| {
        let annotations = one.metadata.annotations.get_or_insert_default();
        match value {
            Some(value) => annotations.insert("padoperator.dev/installation".into(), value.into()),
            None => annotations.remove("padoperator.dev/installation"),
        };
        pass(&one, Services::Probed(&probed))
    };
    let status = annotate(Some("production"));
    assert_eq!(short(&status, types::READY), "False InstallationIDInvalid");
    assert!(has(&status, types::STALLED));
    let fix = "annotate leverconnection acme padoperator.dev/installation=0123456789abcdef --overwrite";
    assert!(message(&status, types::READY).contains(fix), "{}", message(&status, types::READY));
    assert_eq!(status.installation.as_deref(), Some("0123456789abcdef"), "kept in the status");

    let status = annotate(None);
    assert_eq!(short(&status, types::READY), "False InstallationIDMissing");
    assert!(message(&status, types::READY).contains("patch on leverconnections"));
    assert_eq!(short(&annotate(Some("0123456789abcdef")), types::READY), "True Connected");
}

// contract I4
#[test]
fn another_installation_is_reported_once_until_it_is_gone() {
    let exclusive = |connection: &LeverConnection, others: &[&str]| {
        let others: BTreeSet<String> = others.iter().map(|id| (*id).to_owned()).collect();
        let observation = ConnectionObservation {
            connection,
            public_url: None,
            token: &SigningTokenStatus::Present { version: String::new() },
            webhook: &WebhookState::Manual,
            services: Services::Probed(&probed(None, None, 1)),
            missed: None,
            others: &others,
            surprises: &[],
            handled: None,
        };
        status(&observation, at(0))
    };
    let mut one = connection(json!({"takeOver": ["aaaaaaaaaaaaaaaa"]}));
    let alone = exclusive(&one, &[]);
    assert_eq!(short(&alone, types::EXCLUSIVE), "True Exclusive");
    one.status = Some(alone.clone());
    let shared = exclusive(&one, &["fedcba9876543210"]);
    assert_eq!(short(&shared, types::EXCLUSIVE), "False AccountShared");
    assert_eq!(short(&shared, types::READY), "True Connected", "it is no part of Ready");
    let message = message(&shared, types::EXCLUSIVE);
    for part in ["fedcba9876543210", r#"{"spec":{"takeOver":["aaaaaaaaaaaaaaaa","fedcba9876543210"]}}"#] {
        assert!(message.contains(part), "{message}");
    }
    let (reason, note) = warning_events::became_shared(&alone.conditions, &shared.conditions).unwrap();
    assert_eq!((reason.as_str(), note), ("AccountShared", message));
    assert_eq!(warning_events::became_shared(&shared.conditions, &shared.conditions), None);
}
