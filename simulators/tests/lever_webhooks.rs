//! Webhooks of the simulated Lever: signed, retried, repeated, and managed through the API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use simulators::{
    DeliveryBehaviour, DeliveryOutcome, LeverOptions, LeverSimulator, NewCandidate, Permissions, signature,
};

type Seen = Arc<Mutex<(Vec<u16>, Vec<(HeaderMap, Value)>)>>;

/// Starts a server that responds with the given statuses in order, then 200. Returns host and path without a scheme.
async fn receiver(statuses: &[u16]) -> (String, Seen) {
    let seen: Seen = Arc::new(Mutex::new((statuses.iter().rev().copied().collect(), Vec::new())));
    let answer = async |State(seen): State<Seen>, headers: HeaderMap, body: String| {
        let mut seen = seen.lock().unwrap();
        seen.1.push((headers, serde_json::from_str(&body).unwrap()));
        let status = StatusCode::from_u16(seen.0.pop().unwrap_or(200)).unwrap();
        (status, [("location", "/elsewhere")])
    };
    let router = Router::new().route("/hook", post(answer)).with_state(seen.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("{address}/hook"), seen)
}

async fn start() -> LeverSimulator {
    let retry_delays = [1, 2, 3, 4, 5].map(Duration::from_millis).to_vec();
    LeverSimulator::start(LeverOptions { retry_delays, ..Default::default() }).await.unwrap()
}

#[test]
fn signature_follows_the_documented_rule() {
    // Computed independently: printf '%s' <token>1800000000456 | openssl dgst -sha256 -hmac <signature token>
    let token = "fedcba9876543210fedcba9876543210fedcba9876543210";
    let expected = "d674c0b6a45e5877a99a38c73244cce888eaf50d6711893cdcfcdd1af246108f";
    assert_eq!(
        signature("0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a6978", token, 1_800_000_000_456),
        expected
    );
}

#[tokio::test]
async fn stage_change_is_delivered_in_a_signed_body() {
    let lever = start().await;
    let (url, seen) = receiver(&[]).await;
    lever.set_webhook(&url, "signing");
    let id = lever.add_candidate(NewCandidate::default());
    let moved = lever.move_to_stage(&id, "Phone Screen").await;
    let delivery = lever.wait_for_delivery(moved.deliveries[0]).await;
    assert_eq!(delivery.outcome, DeliveryOutcome::Received);
    let (headers, body) = seen.lock().unwrap().1.remove(0);
    assert_eq!(headers["user-agent"], "Lever-Webhooks");
    assert_eq!(body["event"], "candidateStageChange");
    assert_eq!(body["data"]["opportunityId"], json!(id));
    assert_eq!(body["data"]["fromStageId"], "lead-new");
    let (token, at) = (body["token"].as_str().unwrap(), body["triggeredAt"].as_i64().unwrap());
    assert_eq!(token.len(), 48);
    assert_eq!(body["signature"], signature("signing", token, at));
    assert_eq!(lever.opportunity(&id).unwrap()["stageChanges"][1]["updatedAt"], json!(moved.at));
}

#[tokio::test]
async fn delivery_is_retried_five_times_with_the_same_body() {
    let lever = start().await;
    let (url, seen) = receiver(&[500, 301, 401, 503, 404, 500]).await;
    lever.set_webhook(&url, "signing");
    let id = lever.add_candidate(NewCandidate::default());
    let moved = lever.move_to_stage(&id, "Onsite").await;
    let delivery = lever.wait_for_delivery(moved.deliveries[0]).await;
    assert_eq!(delivery.outcome, DeliveryOutcome::GivenUp);
    let statuses: Vec<_> = delivery.attempts.iter().filter_map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [500, 301, 401, 503, 404, 500]);
    // A person presses Rerun.
    assert!(lever.redeliver(delivery.number).await.received());
    let bodies = seen.lock().unwrap().1.clone();
    assert_eq!(bodies.len(), 7);
    assert!(bodies.iter().all(|(_, body)| *body == delivery.body));
}

#[tokio::test]
async fn verify_request_is_signed_and_has_no_data() {
    let lever = start().await;
    let (url, seen) = receiver(&[200, 401]).await;
    lever.set_webhook(&url, "signing");
    let result = lever.verify().await;
    assert_eq!((result.status, result.verified), (Some(200), true));
    assert!(!lever.verify().await.verified);
    let body = seen.lock().unwrap().1[0].1.clone();
    assert_eq!((&body["data"], body.get("id")), (&json!({}), None));
    let at = body["triggeredAt"].as_i64().unwrap();
    assert_eq!(body["signature"], signature("signing", body["token"].as_str().unwrap(), at));
}

#[tokio::test]
async fn deliveries_can_be_duplicated_reordered_and_dropped() {
    let lever = start().await;
    let (url, seen) = receiver(&[]).await;
    lever.set_webhook(&url, "signing");
    let id = lever.add_candidate(NewCandidate::default());
    lever.set_delivery_behaviour(DeliveryBehaviour { copies: 2, with_id: false, ..Default::default() });
    lever.move_to_stage(&id, "Phone Screen").await;
    assert_eq!(lever.wait_for_deliveries(2).await.len(), 2);
    let bodies: Vec<Value> = seen.lock().unwrap().1.drain(..).map(|(_, body)| body).collect();
    assert_eq!(bodies[0], bodies[1]);
    assert!(bodies[0].get("id").is_none());

    lever.set_delivery_behaviour(DeliveryBehaviour { hold: true, ..Default::default() });
    lever.move_to_stage(&id, "Onsite").await;
    lever.move_to_stage(&id, "offer").await;
    lever.release_deliveries(true).await;
    let stages: Vec<Value> =
        seen.lock().unwrap().1.drain(..).map(|(_, body)| body["data"]["toStageId"].clone()).collect();
    assert_eq!(stages, [json!("offer"), json!(lever.stage_id("Onsite"))]);

    lever.set_delivery_behaviour(DeliveryBehaviour { drop: true, ..Default::default() });
    let moved = lever.move_to_stage(&id, "lead-new").await;
    assert_eq!(lever.wait_for_delivery(moved.deliveries[0]).await.outcome, DeliveryOutcome::Dropped);
    assert!(seen.lock().unwrap().1.is_empty());
}

#[tokio::test]
async fn webhooks_created_through_the_api_need_a_super_admin() {
    let lever = start().await;
    lever.set_key("other", Permissions::all());
    let (url, _seen) = receiver(&[]).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let webhooks = format!("{}/webhooks", lever.url());
    let create = json!({"url": format!("http://{url}"), "event": "candidateStageChange"});
    let response =
        client.post(&webhooks).basic_auth("lever-key", Some("")).json(&create).send().await.unwrap();
    assert_eq!(response.status(), 201);
    let made: Value = response.json().await.unwrap();
    let token = made["data"]["configuration"]["signatureToken"].as_str().unwrap();
    assert_eq!(token.len(), 48);

    let list = async |key: &str| {
        let response = client.get(&webhooks).basic_auth(key, Some("")).send().await.unwrap();
        response.json::<Value>().await.unwrap()
    };
    let by_hand = lever.set_webhook_for("candidateHired", &url, "x");
    let own = list("lever-key").await;
    assert_eq!(own["data"].as_array().unwrap().len(), 1);
    assert!(own["data"][0]["configuration"].get("signatureToken").is_none());
    assert!(own.get("hasNext").is_none());
    assert_eq!(list("other").await["data"], json!([]));

    // Repeating the request creates another webhook.
    let twin = client.post(&webhooks).basic_auth("lever-key", Some("")).json(&create).send().await.unwrap();
    let twin: Value = twin.json().await.unwrap();
    assert_ne!(twin["data"]["id"], made["data"]["id"]);
    assert_eq!(list("lever-key").await["data"].as_array().unwrap().len(), 2);
    lever.remove_webhook(twin["data"]["id"].as_str().unwrap());

    let id = lever.add_candidate(NewCandidate::default());
    assert!(lever.move_to_stage(&id, "Onsite").await.deliveries.is_empty());
    lever.switch_event("candidateStageChange", true);
    assert_eq!(lever.move_to_stage(&id, "offer").await.deliveries.len(), 1);

    let delete = async |id: &str| {
        let request = client.delete(format!("{webhooks}/{id}")).basic_auth("lever-key", Some(""));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(delete(&by_hand).await, 403);
    let id = made["data"]["id"].as_str().unwrap();
    assert_eq!((delete(id).await, delete(id).await), (204, 404));
    assert_eq!(lever.violations(), Vec::<String>::new());
}
