//! Refused requests: how they become visible, and their limit on writes (contract W3, C7).

use super::fake::*;
use crate::webhook::Receiver;
use api::LeverConnection;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

const MINUTE: i64 = 60_000;

/// Returns the connection with this state of WebhookVerified.
fn verified(status: &str, reason: &str) -> LeverConnection {
    let mut connection = connection();
    let condition = |type_: &str, status: &str, reason: &str| {
        json!({"type": type_, "status": status, "reason": reason, "message": "as it was",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1})
    };
    let conditions =
        json!([condition("Ready", "True", "Connected"), condition("WebhookVerified", status, reason)]);
    let known = connection.status.as_mut().unwrap();
    known.conditions = serde_json::from_value(conditions).unwrap();
    known.webhook_url = Some("https://hooks.example.com/webhooks/lever/hiring/acme".into());
    connection.metadata.resource_version = Some("7".into());
    connection
}

fn receiver_of(server: &ApiServer, connection: LeverConnection) -> Receiver {
    receiver(
        server,
        scope(vec![connection], vec![configuration("phone", "Phone Screen", "coderpad", 1)], vec![]),
    )
}

fn signed_with_another(mut body: Value) -> Value {
    body["signature"] = json!(sign("another-token", TOKEN, body["triggeredAt"].as_i64().unwrap()));
    body
}

fn stage_change_at(at: i64) -> Value {
    delivery_at(at, "candidateStageChange", json!({"opportunityId": OPPORTUNITY, "toStageId": "s-1"}))
}

fn written(server: &ApiServer) -> Value {
    server.object("leverconnections/acme/status").unwrap()["status"].clone()
}

fn condition_of(status: &Value) -> Value {
    let conditions = status["conditions"].as_array().unwrap();
    conditions.iter().find(|one| one["type"] == "WebhookVerified").unwrap().clone()
}

#[tokio::test]
async fn a_mismatch_is_written_once_with_its_condition_while_none_is_verified() {
    for reason in ["AwaitingVerification", "DeliveryMissed"] {
        let server = ApiServer::default();
        let receiver = receiver_of(&server, verified("False", reason));
        for _ in 0..20 {
            let answer = post(&receiver, signed_with_another(stage_change("s-1"))).await;
            assert_eq!(answer.0, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(server.calls(), ["PATCH leverconnections/acme/status"]);
        let patched = server.object("leverconnections/acme/status").unwrap();
        assert_eq!(patched["metadata"]["resourceVersion"], "7", "only on top of what was read");
        let condition = condition_of(&patched["status"]);
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&json!("False"), &json!("SignatureMismatch"))
        );
        assert_eq!(condition["lastTransitionTime"], "2026-01-01T00:00:00Z", "it was False before");
        let message = condition["message"].as_str().unwrap();
        for part in ["Secret acme, key signing", "kubectl patch secret acme -n hiring", "press Verify"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(patched["status"]["conditions"].as_array().unwrap().len(), 2, "the others stay");
        assert!(!patched.to_string().contains(TOKEN));
    }
}

#[tokio::test]
async fn nothing_unsigned_changes_a_connection_that_is_verified_or_has_no_lever_shape() {
    let server = ApiServer::default();
    let receiver = receiver_of(&server, verified("True", "SignatureVerified"));
    post(&receiver, signed_with_another(stage_change("s-1"))).await;
    let receiver = receiver_of(&server, verified("False", "AwaitingVerification"));
    for signature in [json!(null), json!("abc"), json!("zz".repeat(32)), json!(7)] {
        let mut body = stage_change("s-1");
        body["signature"] = signature;
        assert_eq!(post(&receiver, body).await.0, StatusCode::UNAUTHORIZED);
    }
    post(&receiver, json!({"hello": "world"})).await;
    for reason in ["SigningTokenMissing", "PublicURLMissing", "LeverUnavailable", "SignatureMismatch"] {
        let receiver = receiver_of(&server, verified("False", reason));
        post(&receiver, signed_with_another(stage_change("s-1"))).await;
    }
    assert_eq!(server.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_clock_that_is_behind_is_named_also_after_a_signed_request() {
    let server = ApiServer::default();
    let receiver = receiver_of(&server, verified("True", "SignatureVerified"));
    let ahead = Timestamp::now().as_millisecond() + 10 * MINUTE;
    for _ in 0..5 {
        assert_eq!(post(&receiver, stage_change_at(ahead)).await.0, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(server.calls(), ["PATCH leverconnections/acme/status"]);
    let condition = condition_of(&written(&server));
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("ClockSkew")));
    assert!(condition["message"].as_str().unwrap().contains("s ahead of its clock"), "{condition}");
    let seconds = written(&server)["webhookRefusal"]["aheadSeconds"].as_i64().unwrap();
    assert!((590..=600).contains(&seconds), "{seconds}");

    // A signed request that is accepted is recorded at once.
    let receiver = receiver_of(&server, verified("False", "ClockSkew"));
    post(&receiver, delivery("candidateHired", json!({}))).await;
    assert_eq!(server.calls(), ["PATCH leverconnections/acme/status"]);
    assert!(written(&server)["lastWebhookAt"].is_string());
}

#[tokio::test]
async fn a_replayed_outdated_request_changes_nothing() {
    let server = ApiServer::default();
    let receiver = receiver_of(&server, verified("True", "SignatureVerified"));
    let outdated = Timestamp::now().as_millisecond() - 16 * 24 * 60 * MINUTE;
    assert_eq!(post(&receiver, stage_change_at(outdated)).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(server.calls(), Vec::<String>::new());
}
