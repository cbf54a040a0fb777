//! Every message about a webhook that the operator registers, as a snapshot.

use super::*;
use crate::controller::connection::webhook::deletion_blocked;
use api::condition::{Conditions, types};
use http_client::Service;
use serde_json::json;
use testkit::{assert_snapshot, describe};

fn connection() -> LeverConnection {
    serde_json::from_value(json!({
        "apiVersion": "padoperator.dev/v1alpha1", "kind": "LeverConnection",
        "metadata": {"name": "acme", "namespace": "hiring"},
        "spec": {"lever": {"apiKeySecretRef": {"name": "acme", "key": "lever-api-key"}},
            "interview": {"apiKeySecretRef": {"name": "acme", "key": "interview-api-key"}}},
    }))
    .unwrap()
}

fn trouble_of(stop: WebhookError) -> Diagnosis {
    match stop {
        WebhookError::Diagnosed(diagnosis) => diagnosis,
        WebhookError::Failure(failure) => panic!("{failure:?}"),
    }
}

#[test]
fn messages_about_managed_webhooks() {
    let secret = SecretKeyRef { name: "acme-webhook".into(), key: "lever-signing-token".into() };
    let of_secret = |code: u16| {
        let status = kube::core::Status::failure("MESSAGE", "Denied").with_code(code);
        let source = Box::new(kube::Error::Api(Box::new(status)));
        trouble_of(TokenError::Api { name: secret.name.clone(), source }.into())
    };
    let forbidden = kube::core::Status::failure("MESSAGE", "Forbidden").with_code(403);
    let forbidden = Box::new(kube::Error::Api(Box::new(forbidden)));
    let call =
        |class, status| ServiceError::new(class, Service::Lever, "POST /webhooks", Some(status), "MESSAGE");
    let url = "https://hooks.example.com/webhooks/lever/hiring/acme";
    let cases = [
        ("no Secret is named", no_secret()),
        ("no public address", no_public_url("/webhooks/lever/hiring/acme")),
        ("the Secret lacks the label", not_owned(&secret, "it lacks the label")),
        ("the Secret must not be written", of_secret(403)),
        ("the Secret cannot be written", of_secret(422)),
        ("the connection must not be written", trouble_of(WriteError::Api(forbidden).into())),
        ("Lever refuses the webhook", refused(&call(ErrorKind::Invalid, 400))),
        (
            "the key must not register webhooks",
            diagnose_lever(&call(ErrorKind::Forbidden, 403), &connection()),
        ),
        ("Lever does not list the webhook", not_listed(&connection(), &secret, url, "w-1")),
    ];
    let text: String = cases
        .iter()
        .map(|(case, diagnosis)| {
            let mut conditions = Conditions::new(&[], 1, Timestamp::UNIX_EPOCH);
            conditions.set(types::WEBHOOK_VERIFIED, false, diagnosis.reason, &diagnosis.message);
            describe(case, &conditions.finish())
        })
        .collect();
    let denied = diagnose_lever(&call(ErrorKind::Forbidden, 403), &connection());
    let event =
        format!("# Event: the deletion waits for Lever\n\n{}", deletion_blocked("hiring", "acme", &denied));
    assert_snapshot("connection-managed-webhook", &(text + &event));
}
