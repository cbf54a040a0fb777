//! Each response of the contract, in its order.

use super::fake::*;
use crate::k8s::{Cache, Caches, WatchScope};
use crate::webhook::Receiver;
use crate::webhook::last_delivery::LastDelivery;
use crate::webhook::metrics::WebhookMetrics;
use crate::webhook::signing_tokens::SigningTokens;
use api::names::pad_name;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Method, Request, StatusCode};
use futures::stream;
use hyper::body::{Frame, SizeHint};
use jiff::{SignedDuration, Timestamp};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

const DAY: i64 = 24 * 60 * 60 * 1000;

fn usual() -> WatchScope {
    scope(vec![connection()], vec![configuration("phone", "Phone Screen", "coderpad", 1)], vec![])
}

fn request(method: Method, path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder().method(method).uri(path).body(body.into()).unwrap()
}

fn is_refusal(answer: &Value) -> bool {
    let text = answer["error"].as_str().unwrap();
    answer.as_object().unwrap().len() == 1
        && !text.is_empty()
        && !text.contains(SIGNING_TOKEN)
        && !text.contains(TOKEN)
}

#[tokio::test]
async fn the_method_is_checked_first() {
    let server = ApiServer::default();
    let receiver = receiver(&server, usual());
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS, Method::DELETE] {
        for path in ["/webhooks/lever/hiring/acme", "/healthz/", "/webhooks/lever/hiring/none"] {
            let response = send(&receiver, request(method.clone(), path, "x".repeat(300 * 1024))).await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(response.headers()["allow"], "POST");
        }
    }
}

/// contract W1a
#[tokio::test]
async fn a_health_check_is_answered_as_ready_only_while_webhooks_are_taken() {
    let ready = receiver(&ApiServer::default(), usual());
    let starting = WatchScope { pads: Cache::from_events(stream::pending()), ..usual() };
    let starting = receiver(&ApiServer::default(), starting);
    for method in [Method::GET, Method::HEAD] {
        for path in ["/", "/healthz"] {
            let status =
                async |receiver: &Receiver| send(receiver, request(method.clone(), path, "")).await.status();
            assert_eq!(status(&ready).await, StatusCode::OK, "{method} {path}");
            assert_eq!(status(&starting).await, StatusCode::SERVICE_UNAVAILABLE, "{method} {path}");
        }
    }
    for (method, path, expected) in [
        (Method::POST, "/healthz", StatusCode::NOT_FOUND),
        (Method::PUT, "/", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/livez", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(send(&ready, request(method, path, "")).await.status(), expected, "{path}");
    }
}

#[tokio::test]
async fn the_path_is_checked_second() {
    let receiver = receiver(&ApiServer::default(), usual());
    for path in [
        "/",
        "/webhooks/lever",
        "/webhooks/lever/hiring",
        "/webhooks/lever/hiring/",
        "/webhooks/lever//acme",
        "/webhooks/lever/hiring/acme/",
        "/webhooks/lever/hiring/acme/x",
        "/webhooks/lever/hiring/none",
        "/webhooks/lever/unwatched/acme",
        "/Webhooks/lever/hiring/acme",
    ] {
        let response = send(&receiver, request(Method::POST, path, "x".repeat(300 * 1024))).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(is_refusal(&json_of(response).await));
    }
}

/// An empty body whose head announces a length.
struct Announced(u64);

impl HttpBody for Announced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn the_size_is_checked_third() {
    let receiver = receiver(&ApiServer::default(), usual());
    let path = "/webhooks/lever/hiring/acme";
    let announced = send(&receiver, request(Method::POST, path, Body::new(Announced(262_145)))).await;
    assert_eq!(announced.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let parts = |n: usize| Body::from_stream(stream::iter((0..n).map(|_| Ok::<_, String>(vec![b' '; 1024]))));
    let streamed = send(&receiver, request(Method::POST, path, parts(257))).await;
    assert_eq!(streamed.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let within = send(&receiver, request(Method::POST, path, parts(256))).await;
    assert_eq!(within.status(), StatusCode::BAD_REQUEST);

    let mut body = delivery("candidateHired", json!({"more": "x"})).to_string();
    body.push_str(&" ".repeat(256 * 1024 - body.len()));
    assert_eq!(post(&receiver, &body).await.0, StatusCode::OK);
    assert_eq!(post(&receiver, body + " ").await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_its_body_is_disconnected() {
    let receiver = receiver(&ApiServer::default(), usual());
    let begun = tokio::time::Instant::now();
    let body = Body::from_stream(stream::pending::<Result<Vec<u8>, String>>());
    let response = send(&receiver, request(Method::POST, "/webhooks/lever/hiring/acme", body)).await;
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(response.headers()["connection"], "close");
    assert!(begun.elapsed() <= Duration::from_secs(11));
}

#[tokio::test]
async fn the_shape_is_checked_fourth() {
    let server = ApiServer::default();
    let receiver = receiver_with(&server, usual(), SigningTokens::default());
    for body in ["", "{", "[]", "{}", r#"{"event":"candidateStageChange","token":"t","triggeredAt":"1"}"#] {
        let (status, answer) = post(&receiver, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(is_refusal(&answer));
    }
    assert!(server.calls().is_empty());
}

#[tokio::test]
async fn a_known_signing_token_is_required() {
    let receiver = receiver_with(&ApiServer::default(), usual(), SigningTokens::default());
    let path = "/webhooks/lever/hiring/acme";
    let response = send(&receiver, request(Method::POST, path, stage_change("s-1").to_string())).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "5");
    assert!(is_refusal(&json_of(response).await));
}

#[tokio::test]
async fn the_signature_is_checked_before_any_call_to_the_api_server() {
    let server = ApiServer::default();
    let receiver = receiver(&server, usual());
    let mut unsigned = stage_change("s-1");
    unsigned.as_object_mut().unwrap().remove("signature");
    let mut wrong = stage_change("s-1");
    wrong["signature"] = json!(sign("another", TOKEN, wrong["triggeredAt"].as_i64().unwrap()));
    let mut verify = delivery("candidateHired", json!({}));
    verify["signature"] = json!("00");
    // Only requests with a valid signature reveal whether IDs are wrong or the delivery is old.
    let mut ids = delivery("candidateStageChange", json!({"opportunityId": "/"}));
    ids["signature"] = json!("0".repeat(64));
    for body in [unsigned, wrong, verify, ids] {
        let (status, answer) = post(&receiver, &body).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{body}");
        assert!(is_refusal(&answer));
    }
    assert!(server.calls().is_empty());
}

#[tokio::test]
async fn the_age_is_checked_after_the_signature_except_for_verify() {
    let server = ApiServer::default();
    let receiver = receiver(&server, usual());
    let now = Timestamp::now().as_millisecond();
    let data = || json!({"opportunityId": OPPORTUNITY, "toStageId": "s-1"});
    for at in [now - 15 * DAY - 1000, now + 6 * 60 * 1000, 1_431_458_021_951, 0, -1] {
        let (status, _) = post(&receiver, delivery_at(at, "candidateStageChange", data())).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{at}");
    }
    assert!(server.calls().is_empty());
    let (status, _) = post(&receiver, delivery_at(now - 14 * DAY, "candidateStageChange", data())).await;
    assert_eq!(status, StatusCode::OK);
    let (status, answer) = post(&receiver, delivery_at(1_431_458_021_951, "candidateHired", json!({}))).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"outcome": "Verified"})));
}

#[tokio::test]
async fn verify_is_answered_before_other_checks_of_the_event() {
    let server = ApiServer::default();
    let mut bare = connection();
    bare.status = None;
    let receiver = receiver(&server, scope(vec![bare], vec![], vec![]));
    for event in ["candidateHired", "candidateStageChange"] {
        let answer = post(&receiver, delivery(event, json!({}))).await;
        assert_eq!(answer, (StatusCode::OK, json!({"outcome": "Verified"})));
    }
    assert_eq!(server.calls(), ["PATCH leverconnections/acme/status"]);
    let noted = server.object("leverconnections/acme/status").unwrap()["status"]["lastWebhookAt"].clone();
    let noted: Timestamp = serde_json::from_value(noted).unwrap();
    assert!(Timestamp::now().duration_since(noted).abs() < SignedDuration::from_mins(1));
}

#[tokio::test]
async fn the_event_and_the_ids_are_checked_after_the_age() {
    let receiver = receiver(&ApiServer::default(), usual());
    let other = delivery("candidateArchiveChange", json!({"opportunityId": "/"}));
    assert_eq!(post(&receiver, other).await, (StatusCode::OK, json!({"outcome": "Ignored"})));
    for data in [json!({"opportunityId": OPPORTUNITY}), json!({"toStageId": "s-9"}), json!([1])] {
        let (status, answer) = post(&receiver, delivery("candidateStageChange", data)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(is_refusal(&answer));
    }
}

#[tokio::test]
async fn the_stage_is_checked_last() {
    let server = ApiServer::default();
    let receiver = receiver(&server, usual());
    for stage in ["s-2", "s-9", "Phone Screen"] {
        assert_eq!(
            post(&receiver, stage_change(stage)).await,
            (StatusCode::OK, json!({"outcome": "Ignored"}))
        );
    }
    assert!(server.calls().iter().all(|call| !call.contains("pads")));
    let expected = json!({"outcome": "Accepted", "pads": [pad_name("phone", OPPORTUNITY, 1)]});
    // The cache is still the same: an event that is stored already is accepted too.
    for _ in 0..2 {
        assert_eq!(post(&receiver, stage_change("s-1")).await, (StatusCode::OK, expected.clone()));
    }
}

#[tokio::test]
async fn a_stage_change_waits_until_the_stages_are_known() {
    let mut bare = connection();
    bare.status = None;
    let receiver = receiver(&ApiServer::default(), scope(vec![bare], vec![], vec![]));
    let (status, answer) = post(&receiver, stage_change("s-1")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(is_refusal(&answer));
    assert_eq!(post(&receiver, delivery("candidateHired", json!({"a": 1}))).await.0, StatusCode::OK);
}

#[tokio::test]
async fn deliveries_wait_until_the_caches_are_complete() {
    let starting = WatchScope { pads: Cache::from_events(stream::pending()), ..usual() };
    let receiver = receiver(&ApiServer::default(), starting);
    assert_eq!(post(&receiver, stage_change("s-1")).await.0, StatusCode::SERVICE_UNAVAILABLE);
    let unknown = request(Method::POST, "/webhooks/lever/hiring/none", "");
    assert_eq!(send(&receiver, unknown).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_failing_api_server_causes_a_retry_except_for_verify() {
    let server = ApiServer::default();
    server.fail(Some(500));
    let receiver = receiver(&server, usual());
    let (status, answer) = post(&receiver, stage_change("s-1")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(is_refusal(&answer));
    assert_eq!(post(&receiver, delivery("candidateHired", json!({}))).await.0, StatusCode::OK);
    server.fail(None);
    assert_eq!(post(&receiver, stage_change("s-1")).await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn the_answer_comes_within_5_seconds() {
    let server = ApiServer::default();
    server.hang();
    let begun = tokio::time::Instant::now();
    let receiver = receiver(&server, usual());
    assert_eq!(post(&receiver, stage_change("s-1")).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(begun.elapsed() < Duration::from_secs(5));

    tokio::time::advance(Duration::from_secs(60)).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(post(&receiver, delivery("candidateHired", json!({}))).await.0, StatusCode::OK);
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_fresh_note_of_a_delivery_is_not_written_again() {
    for (age, writes) in [(1, 0), (6, 1)] {
        let server = ApiServer::default();
        let mut noted = connection();
        noted.status.as_mut().unwrap().last_webhook_at =
            Some(Timestamp::now() - SignedDuration::from_mins(age));
        let receiver = receiver(&server, scope(vec![noted], vec![], vec![]));
        for _ in 0..3 {
            assert_eq!(post(&receiver, delivery("candidateHired", json!({"a": 1}))).await.0, StatusCode::OK);
        }
        assert_eq!(server.calls().len(), writes, "{age} minutes old");
    }
}

/// Transition times have whole seconds: a wait that begins in the second in which another one ended is separate from
/// it.
#[tokio::test]
async fn each_wait_for_a_delivery_ends_with_the_next_one() {
    let since = "2026-01-02T03:04:05Z";
    let entered_by_hand = ("AwaitingVerification", None);
    let managed = ("AwaitingVerification", Some("w-1"));
    let missed = ("DeliveryMissed", None);
    for waits in
        [vec![entered_by_hand, missed], vec![entered_by_hand, managed], vec![managed, entered_by_hand]]
    {
        let server = ApiServer::default();
        let heard = LastDelivery::new(server.client());
        let mut waiting = connection();
        for (reason, webhook) in waits {
            let condition = json!({"type": "WebhookVerified", "status": "False", "reason": reason,
                "message": "M", "observedGeneration": 1, "lastTransitionTime": since});
            let status = waiting.status.as_mut().unwrap();
            status.conditions = vec![serde_json::from_value(condition).unwrap()];
            status.webhook_id = webhook.map(ToOwned::to_owned);
            for notes in [1, 0] {
                heard.note(&waiting, Timestamp::now()).await;
                assert_eq!(server.calls().len(), notes, "{reason} {webhook:?}");
            }
        }
    }
}

#[tokio::test]
async fn answers_are_counted_by_outcome() {
    let mut registry = Registry::default();
    let tokens = SigningTokens::from_known([(NAMESPACE, "acme", SIGNING_TOKEN)]);
    let caches = Caches::from_scopes(vec![usual()]);
    let receiver = Receiver::new(
        ApiServer::default().client(),
        caches,
        tokens,
        WebhookMetrics::new(&mut registry),
        || true,
    );
    post(&receiver, "{").await;
    post(&receiver, stage_change("s-1")).await;
    post(&receiver, stage_change("s-1")).await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains(r#"pad_operator_webhooks_total{outcome="Accepted"} 2"#), "{text}");
    assert!(text.contains(r#"pad_operator_webhooks_total{outcome="Malformed"} 1"#), "{text}");
}
