//! Every message of a LeverConnection's conditions, as a snapshot.

use super::tests::{after, at, connected, connection, failure, pass, probed, with_quota};
use super::*;
use crate::controller::coderpad_organization::Organization;
use crate::controller::connection::surprises::tests::{conditions, surprise};
use crate::controller::service_clients::ServiceClientError;
use crate::k8s::secrets::SecretError;
use ::lever::UserState;
use api::SecretKeyRef;
use http_client::{ErrorKind, SurpriseKind};
use serde_json::json;
use testkit::{assert_snapshot, describe};

fn assert_all(name: &str, cases: Vec<(String, LeverConnectionStatus)>) {
    let text: String = cases.iter().map(|(case, status)| describe(case, &status.conditions)).collect();
    assert_snapshot(name, text.trim_end());
}

/// The status without the conditions that do not depend on the services.
fn service_conditions(mut status: LeverConnectionStatus) -> LeverConnectionStatus {
    let others =
        [types::WEBHOOK_VERIFIED, types::QUOTA_AVAILABLE, types::EXCLUSIVE, types::SERVICES_AS_EXPECTED];
    status.conditions.retain(|one| !others.contains(&one.type_.as_str()));
    status
}

fn only(mut status: LeverConnectionStatus, type_: &str) -> LeverConnectionStatus {
    status.conditions.retain(|one| one.type_ == type_);
    status
}

#[test]
fn messages_about_the_services() {
    use ErrorKind::{Forbidden, NotFound, Throttled, Unauthorized, Unavailable};
    let unusable = |diagnosis: Diagnosis| {
        service_conditions(pass(
            &after(connection(json!({})), Services::Connecting),
            Services::Unusable(&diagnosis),
        ))
    };
    let mut suspended = connected(json!({}));
    suspended.spec.suspend = true;
    let mut cases = vec![
        ("new".to_owned(), pass(&connection(json!({})), Services::Connecting)),
        ("connected".into(), connected(json!({})).status.unwrap()),
        ("suspended".into(), service_conditions(pass(&suspended, Services::Suspended))),
        (
            "suspended from the beginning".into(),
            service_conditions(pass(&connection(json!({"suspend": true})), Services::Suspended)),
        ),
    ];
    for service in [Service::Lever, Service::Interview] {
        for (class, failures) in [
            (Unauthorized, 1),
            (Forbidden, 1),
            (Throttled, 1),
            (Unavailable, 1),
            (Unavailable, 2),
            (Unavailable, 3),
            (NotFound, 3),
        ] {
            let diagnosis = Some(failure(service, class));
            let probed = match service {
                Service::Lever => probed(diagnosis, None, failures),
                Service::Interview => probed(None, diagnosis, failures),
            };
            let status = service_conditions(pass(&connection(json!({})), Services::Probed(&probed)));
            cases.push((format!("{service} {class:?}, {failures} in a row"), status));
        }
    }
    let mut read_only = (*probed(None, None, 1)).clone();
    read_only.lever.probe.facts.refused = Some("POST /opportunities/{id}/addLinks");
    let read_only = service_conditions(pass(&connection(json!({})), Services::Probed(&read_only)));
    cases.push(("the key must not add links".to_owned(), read_only));
    let key = SecretKeyRef { name: "acme".into(), key: "interview-api-key".into() };
    let secret = |source| {
        let service = Service::Lever;
        diagnosis::diagnose_clients(ServiceClientError::Secret { service, source }, &connection(json!({})))
            .unwrap()
    };
    let (name, entry) = ("acme", "lever-api-key");
    let denied = kube::core::Status::failure("secrets is forbidden", "Forbidden").with_code(403);
    let denied = Box::new(kube::Error::Api(Box::new(denied)));
    let origin = ServiceClientError::OriginNotAllowed {
        service: Service::Lever,
        field: "spec.lever.url",
        url: "https://evil.example".into(),
        problem: "its origin is not allowed",
    };
    let mut known = connected(json!({}));
    known.status.as_mut().unwrap().organization_id = Some("42".into());
    let other = Organization { name: "Other".into(), id: Some("43".into()) };
    let changed = diagnosis::organization_changed(other.check(&known).unwrap_err());
    let performer =
        |user| diagnosis::perform_as_invalid(&connection(json!({"lever": {"performAs": "u-1"}})), user);
    let not_found = SecretError::NotFound { name: name.into(), key: entry.into() };
    let not_text = SecretError::NotText {
        name: name.into(),
        key: entry.into(),
        instead: "not UTF-8 text",
        version: String::new(),
    };
    let no_value = SecretError::KeyMissing { name: name.into(), key: entry.into(), version: String::new() };
    for (case, diagnosis) in [
        ("the Secret does not exist", secret(not_found)),
        ("the Secret lacks the key", secret(no_value)),
        ("the Secret contains no text", secret(not_text)),
        (
            "the Secret must not be read",
            secret(SecretError::Unreadable { name: name.into(), source: denied }),
        ),
        ("the URL is not allowed", diagnosis::diagnose_clients(origin, &connection(json!({}))).unwrap()),
        ("the key has no organization", diagnosis::no_organization("CoderPad: no organization", &key)),
        ("the key is of another organization", changed),
        ("performAs is deactivated", performer(UserState::Deactivated)),
        ("performAs does not exist", performer(UserState::Unknown)),
    ] {
        cases.push((case.to_owned(), unusable(diagnosis)));
    }
    let mut edited = connected(json!({}));
    for (case, value) in [("the installation ID is missing", None), ("it is invalid", Some("production"))] {
        edited.metadata.annotations =
            value.map(|value| [("padoperator.dev/installation".to_owned(), value.to_owned())].into());
        let status = pass(&edited, Services::Probed(&probed(None, None, 1)));
        cases.push((case.to_owned(), service_conditions(status)));
    }
    assert_all("connection-services", cases);
}

#[test]
fn messages_about_the_webhook() {
    let verified = types::WEBHOOK_VERIFIED;
    let probed = probed(None, None, 1);
    let observe = |connection: &LeverConnection,
                   token: &SigningTokenStatus,
                   webhook: &WebhookState,
                   public_url: Option<&str>,
                   missed: Option<&MissedDelivery>| {
        let observation = ConnectionObservation {
            connection,
            public_url,
            token,
            webhook,
            services: Services::Probed(&probed),
            missed,
            others: &BTreeSet::new(),
            surprises: &[],
            handled: None,
        };
        only(status(&observation, at(0)), verified)
    };
    let url = Some("hooks.example.com");
    let missed = MissedDelivery { stage: "Phone Screen".into(), entry: at(-200), found: at(5) };
    let missing = SigningTokenStatus::Missing { message: "MESSAGE".into(), version: String::new() };
    let manual = connected(json!({}));
    let managed = connected(json!({"webhook": {"mode": "Managed"}}));
    let mut delivered = manual.clone();
    delivered.status.as_mut().unwrap().last_webhook_at = Some(at(-9));
    let refusing = |connection: &LeverConnection, reason: Reason, ahead| {
        let mut connection = connection.clone();
        let refusal = WebhookRefusal { reason: reason.into(), at: Some(at(10)), ahead };
        connection.status.as_mut().unwrap().webhook_refusal = Some(refusal);
        connection
    };
    let mismatch = refusing(&manual, Reason::SignatureMismatch, None);
    let managed_mismatch = refusing(&managed, Reason::SignatureMismatch, None);
    let skewed = refusing(&manual, Reason::ClockSkew, Some(600));
    let (present, by_hand) = (&SigningTokenStatus::Present { version: String::new() }, &WebhookState::Manual);
    let registered = &WebhookState::Registered { id: "w-1".into() };
    let cases = vec![
        ("Manual, new", observe(&manual, present, by_hand, url, None)),
        ("Manual, without --public-url", observe(&manual, present, by_hand, None, None)),
        ("Manual, without a token", observe(&manual, &missing, by_hand, url, None)),
        ("Manual, verified", observe(&delivered, present, by_hand, url, None)),
        ("Manual, a missed delivery", observe(&delivered, present, by_hand, url, Some(&missed))),
        ("Manual, another token", observe(&mismatch, present, by_hand, url, None)),
        ("Manual, the clock is behind", observe(&skewed, present, by_hand, url, None)),
        ("Managed, new", observe(&managed, present, &WebhookState::Unknown, url, None)),
        ("Managed, registered", observe(&managed, present, registered, url, None)),
        ("Managed, another token", observe(&managed_mismatch, present, registered, url, None)),
    ];
    assert_all(
        "connection-webhook",
        cases.into_iter().map(|(case, status)| (case.to_owned(), status)).collect(),
    );
}

#[test]
fn messages_about_quota_and_other_installations() {
    let mut cases = vec![(
        "unknown quota".to_owned(),
        only(pass(&connection(json!({})), Services::Connecting), types::QUOTA_AVAILABLE),
    )];
    for (unlimited, remaining, limit, overage) in [
        (true, None, Some(20), "Deny"),
        (false, None, Some(20), "Deny"),
        (false, Some(2), Some(20), "Deny"),
        (false, Some(2), None, "Deny"),
        (false, Some(1), Some(20), "Deny"),
        (false, Some(1), Some(20), "Allow"),
        (false, Some(0), Some(20), "Deny"),
        (false, Some(-2), Some(20), "Allow"),
    ] {
        let connection = connected(json!({"interview": {"overage": overage}}));
        let status = with_quota(connection, (unlimited, remaining, limit)).status.unwrap();
        let case = format!("unlimited {unlimited}, remaining {remaining:?} of {limit:?}, overage {overage}");
        cases.push((case, only(status, types::QUOTA_AVAILABLE)));
    }
    let connection = connection(json!({"takeOver": ["aaaaaaaaaaaaaaaa"]}));
    for (case, others) in [("alone", vec![]), ("shared", vec!["fedcba9876543210".to_owned()])] {
        let mut conditions = Conditions::new(&[], 1, at(0));
        installation_id::exclusive(&mut conditions, &connection, &others.into_iter().collect());
        let conditions = conditions.finish();
        cases.push((case.into(), LeverConnectionStatus { conditions, ..LeverConnectionStatus::default() }));
    }
    assert_all("connection-quota", cases);
}

#[test]
fn messages_about_surprises() {
    let status = |surprises: &[Surprise]| LeverConnectionStatus {
        conditions: conditions(surprises),
        ..LeverConnectionStatus::default()
    };
    let mut cases = vec![("none".to_owned(), status(&[]))];
    let all: Vec<Surprise> =
        SurpriseKind::ALL.iter().map(|kind| surprise(*kind, Service::Interview)).collect();
    for one in &all {
        cases.push((format!("{:?}", one.kind), status(std::slice::from_ref(one))));
    }
    cases.push(("all".to_owned(), status(&all)));
    assert_all("connection-surprises", cases);
}
