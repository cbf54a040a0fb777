//! The relay forwards requests that no fault holds back, without buffering.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use simulators::{Fault, PausePoint, Relay};

/// Starts a relay to a service that counts and echoes posts, and has one endless response.
async fn relay() -> (Relay, Arc<AtomicU32>) {
    let effects = Arc::new(AtomicU32::new(0));
    let counted = effects.clone();
    let echo = async move |body: String| {
        counted.fetch_add(1, Ordering::Relaxed);
        body
    };
    let endless = || {
        let pieces = stream::iter([Ok::<_, std::io::Error>("first ")]).chain(stream::pending());
        Body::from_stream(pieces)
    };
    let service = Router::new().route("/", get(async move || endless()).post(echo));
    (Relay::start(service).await.unwrap(), effects)
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap()
}

#[tokio::test]
async fn endless_response_is_streamed() {
    let (relay, _) = relay().await;
    let mut answer = client().get(relay.origin()).send().await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "first ");
}

#[tokio::test]
async fn faults_hold_back_the_request_or_its_response() {
    let (relay, effects) = relay().await;
    let post = async |text: &'static str| client().post(relay.origin()).body(text).send().await;
    let on = |text: &str| Fault::on("POST", "^/$").containing(text);
    let effects = || effects.load(Ordering::Relaxed);

    assert_eq!(post("plain").await.unwrap().text().await.unwrap(), "plain");
    relay.faults().add(on("refused").status(503));
    assert_eq!(post("refused").await.unwrap().status(), 503);
    assert_eq!(effects(), 1);
    relay.faults().add(on("lost").lose_answer());
    post("lost").await.unwrap_err();
    relay.faults().add(on("failed").status_after_effect(500));
    assert_eq!(post("failed").await.unwrap().status(), 500);
    relay.faults().add(on("broken").truncate_after_effect());
    post("broken").await.unwrap().text().await.unwrap_err();
    assert_eq!(effects(), 4);

    let held = relay.faults().add(on("held").pause(PausePoint::BeforeEffect));
    let answer = async {
        held.reached().await;
        assert_eq!(effects(), 4, "it is held before its effect");
        held.release();
    };
    let (answered, ()) = tokio::join!(post("held"), answer);
    assert_eq!(answered.unwrap().text().await.unwrap(), "held");
    let held = relay.faults().add(on("dropped").pause(PausePoint::AfterEffect));
    let answer = async {
        held.reached().await;
        held.discard();
    };
    let (answered, ()) = tokio::join!(post("dropped"), answer);
    answered.unwrap_err();
    assert_eq!(effects(), 6);
}
