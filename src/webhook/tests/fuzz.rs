//! Any request is answered, costs nothing before its signature is verified, and reveals nothing.

use super::fake::*;
use crate::webhook::event::{EventKind, LeverEvent};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use proptest::prelude::*;
use proptest::sample::Index;
use secrecy::SecretString;
use serde_json::{Value, json};
use testkit::fuzz::{any_text, like, try_all};

fn documents() -> Vec<Value> {
    let application = json!({"opportunityId": OPPORTUNITY, "applicationId": "a", "contactId": "c"});
    vec![
        stage_change("s-1"),
        stage_change("Phone Screen"),
        delivery("candidateHired", json!({})),
        delivery("applicationCreated", application),
        delivery_at(i64::MAX, "candidateStageChange", json!({"opportunityId": "o", "toStageId": "s"})),
    ]
}

/// Performs every stateless check on a body.
fn is_judged_signed(body: &[u8]) -> bool {
    let Ok(event) = LeverEvent::parse(body) else { return false };
    let _ = event.timeliness(jiff::Timestamp::now());
    if let Ok(EventKind::StageChange(change)) = event.meaning() {
        assert!((1..=64).contains(&change.opportunity_id.len()), "it becomes part of a label and a path");
        assert!(change.opportunity_id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'));
        assert!(!change.request.chars().any(char::is_control) && change.request.len() < 64);
    }
    event.is_signed_with(&[SecretString::from(SIGNING_TOKEN)])
}

#[test]
fn any_body_is_answered_and_costs_nothing_before_it_is_signed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let server = ApiServer::default();
    let configurations = || vec![configuration("phone", "Phone Screen", "coderpad", 1)];
    let receiver = receiver(&server, scope(vec![connection()], configurations(), vec![]));
    try_all("bodies of webhooks", like(documents()), |body| {
        let is_signed = is_judged_signed(&body);
        let request = Request::post("/webhooks/lever/hiring/acme").body(Body::from(body)).unwrap();
        let (status, answer) = runtime.block_on(async {
            let response = send(&receiver, request).await;
            (response.status(), json_of(response).await)
        });
        let calls = server.calls();
        server.clear();
        prop_assert!(matches!(status.as_u16(), 200 | 400 | 401), "{status} {answer}");
        prop_assert!(is_signed || (status != StatusCode::OK && calls.is_empty()), "{status} {calls:?}");
        let answer = answer.to_string();
        prop_assert!(!answer.contains(SIGNING_TOKEN) && !answer.contains(TOKEN), "{answer}");
        Ok(())
    });
}

#[test]
fn only_token_and_time_signed_with_the_same_secret_hold() {
    // Only valid JSON can be signed here; other tests cover the characters that a token must not contain.
    let token = any_text().prop_map(|text| {
        let text: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
        format!("t{text}")
    });
    let inputs = (token, any::<i64>(), "[ -~]{1,40}", any::<Index>(), 1..16_u8, any_text());
    try_all("signatures", inputs, |(token, at, secret, place, change, other)| {
        let signature = sign(&secret, &token, at);
        let body = |token: &str, at: i64, signature: &str, more: &str| {
            json!({"event": "e".to_owned() + more, "token": token, "triggeredAt": at, "signature": signature, "data": more})
                .to_string()
                .into_bytes()
        };
        let holds = |body: Vec<u8>, secret: &str| {
            LeverEvent::parse(&body).is_ok_and(|event| event.is_signed_with(&[SecretString::from(secret)]))
        };
        prop_assert!(holds(body(&token, at, &signature, ""), &secret));
        prop_assert!(holds(body(&token, at, &signature, &other), &secret), "event and data are not covered");
        let at_digit = place.index(signature.len());
        let digit = char::from(signature.as_bytes()[at_digit]).to_digit(16).unwrap() ^ u32::from(change);
        let mut forged = signature.clone();
        forged.replace_range(at_digit..=at_digit, &char::from_digit(digit, 16).unwrap().to_string());
        prop_assert!(!holds(body(&token, at, &forged, ""), &secret));
        prop_assert!(!holds(body(&token, at.wrapping_add(1), &signature, ""), &secret));
        let (longer, other) = (token.clone() + "x", secret.clone() + "x");
        prop_assert!(!holds(body(&longer, at, &signature, ""), &secret));
        prop_assert!(!holds(body(&token, at, &signature, ""), &other));
        Ok(())
    });
}
