//! Problems of a connection: how it reports them, and that fixing the cause alone resolves them.

use std::time::Duration;

use serde_json::{Value, json};
use simulators::DeliveryOutcome;

use crate::environment::{CONFIGURATION, CONNECTION, NO_PUBLIC_URL, Options, SECRET, STAGE, TestEnv};
use crate::status::{message_of, status_of};
use crate::wait::{eventually, eventually_within, must_finish};

/// "Within seconds", on a busy machine.
const SECONDS: Duration = Duration::from_secs(15);

/// Asserts that the condition and the status of the connection report the reason and the place to fix.
async fn assert_reported(env: &TestEnv, plural: &str, name: &str, reason: &str, place: &str) {
    let table = env.kubectl(&["get", plural, "--output", "wide"]).await.unwrap();
    let row = table.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(row.split_whitespace().any(|cell| cell == reason), "{table}");
    let description = env.kubectl(&["describe", plural, name]).await.unwrap();
    assert!(description.contains(reason) && description.contains(place), "{description}");
    let events = env.list("events").await;
    let of_object = events.iter().filter(|event| event["regarding"]["name"] == name);
    assert!(
        of_object.clone().any(|event| event["reason"] == reason && event["type"] == "Warning"),
        "{events:#?}"
    );
}

/// Asserts that no Pad has sent a request.
fn assert_nothing_for(env: &TestEnv, opportunity: &str) {
    let mut calls: Vec<_> = [env.lever.calls(), env.interview.calls()].concat();
    // A probe may read any opportunity, but nothing is written.
    calls.retain(|call| call.method != "GET" || call.path.contains(opportunity));
    let writes: Vec<_> = calls.iter().filter(|call| call.method != "GET").collect();
    assert!(writes.is_empty(), "{writes:#?}");
    assert!(calls.len() <= 1, "more requests than a probe sends: {calls:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_lever_key_is_reported_until_the_secret_is_fixed() {
    let mut options = Options::new("wrong-lever-key").without_setup();
    let right = options.lever.api_key.clone();
    options.secret = json!({"lever-api-key": "lever-1d00-mistyped"});
    let env = TestEnv::start(options).await;
    let place = "Secret acme, key lever-api-key";
    let connection = env.wait_for("leverconnections", CONNECTION, "Ready", "False/LeverUnauthorized").await;
    assert_eq!(status_of(&connection, "InterviewConnected"), "True");
    assert_reported(&env, "leverconnections", CONNECTION, "LeverUnauthorized", place).await;

    let candidate = env.candidate();
    let spec = json!({"configurationRef": {"name": CONFIGURATION}, "opportunityID": candidate});
    env.apply("pads", "by-hand", spec).await;
    env.wait_for_pad(&candidate, "Pending/LeverUnauthorized").await;
    assert_reported(&env, "pads", "by-hand", "LeverUnauthorized", place).await;
    assert_nothing_for(&env, &candidate);

    env.set_secret("lever-api-key", &format!("\u{feff}  {right}\r\n")).await;
    env.wait_for_one_pad(&candidate).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_interview_key_is_reported_until_the_secret_is_fixed() {
    let mut options = Options::new("wrong-interview-key").without_setup();
    let right = options.interview.api_key.clone();
    options.secret = json!({"interview-api-key": "interview-1d00-mistyped"});
    let env = TestEnv::start(options).await;
    let place = "Secret acme, key interview-api-key";
    env.wait_for("leverconnections", CONNECTION, "Ready", "False/InterviewUnauthorized").await;
    assert_reported(&env, "leverconnections", CONNECTION, "InterviewUnauthorized", place).await;

    // The stages are known, so webhooks can be accepted.
    env.configure_webhook().await;
    let candidate = env.candidate();
    assert_eq!(env.enter(&candidate).await["outcome"], "Accepted");
    let pad = env.wait_for_pad(&candidate, "Pending/InterviewUnauthorized").await;
    let name = pad["metadata"]["name"].as_str().unwrap();
    assert_reported(&env, "pads", name, "InterviewUnauthorized", place).await;
    assert_nothing_for(&env, &candidate);

    env.set_secret("interview-api-key", &right).await;
    env.wait_for_one_pad(&candidate).await;
    env.finish().await;
}

/// A key that is revoked during operation: the Pads that encounter it trigger a probe of the connection.
#[tokio::test(flavor = "multi_thread")]
async fn pads_detect_a_key_that_is_revoked_while_in_use() {
    let env = TestEnv::start(Options::new("revoked-key")).await;
    env.lever.revoke_key("lever-9f31c5-revoked-key");
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_pad(&candidate, "Pending/LeverUnauthorized").await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "False/LeverUnauthorized").await;

    env.lever.set_key("lever-2b61-renewed", simulators::Permissions::all());
    env.set_secret("lever-api-key", "lever-2b61-renewed").await;
    env.wait_for_one_pad(&candidate).await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_secret_and_missing_permission_are_reported() {
    let mut options = Options::new("missing-secret").without_setup();
    options.secret = json!({"interview-api-key": null});
    let env = TestEnv::start(options).await;
    let connection = env.wait_for("leverconnections", CONNECTION, "Ready", "False/SecretKeyMissing").await;
    let message = message_of(&connection, "Ready");
    assert!(message.contains("Secret acme") && message.contains("interview-api-key"), "{message}");

    env.delete("secrets", SECRET).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "False/SecretNotFound").await;
    assert!(env.lever.calls().is_empty() && env.interview.calls().is_empty(), "there is no key to send with");

    let weak = simulators::Permissions::all().without("stages:list");
    env.lever.set_key("lever-88aa-weak", weak);
    let values = json!({"lever-api-key": "lever-88aa-weak", "lever-signing-token": env.signing_token,
        "interview-api-key": "interview-77b02e-missing-secret"});
    env.create_secret(values).await;
    let connection = env.wait_for("leverconnections", CONNECTION, "Ready", "False/LeverForbidden").await;
    assert!(message_of(&connection, "Ready").contains("stages"), "{connection:#}");

    env.set_secret("lever-api-key", "lever-9f31c5-missing-secret").await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_a_url_that_is_not_allowed() {
    let mut options = Options::new("origin").without_setup();
    options.connection["lever"] = json!({"url": "http://127.0.0.1:9/v1"});
    let env = TestEnv::start(options).await;
    let connection = env.wait_for("leverconnections", CONNECTION, "Ready", "False/OriginNotAllowed").await;
    assert_eq!(status_of(&connection, "Stalled"), "True");
    assert!(message_of(&connection, "Ready").contains("--allow-api-origin"), "{connection:#}");
    assert!(env.interview.calls().is_empty());
    env.patch("leverconnections", CONNECTION, json!({"spec": {"lever": {"url": env.lever.url()}}})).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_signing_token_is_reported_until_the_secret_is_fixed() {
    let mut options = Options::new("signing-token").without_setup();
    options.secret = json!({"lever-signing-token": null});
    // Lever does not retry, so that only Rerun delivers later.
    options.lever.retry_delays = Vec::new();
    let env = TestEnv::start(options).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    env.wait_for("leverconnections", CONNECTION, "WebhookVerified", "False/SigningTokenMissing").await;
    env.configure_webhook().await;
    assert_eq!(env.lever.verify().await.status, Some(503), "try again once there is a token");

    env.set_secret("lever-signing-token", "signing-4c1e-of-another-webhook").await;
    env.wait_for("leverconnections", CONNECTION, "WebhookVerified", "False/AwaitingVerification").await;
    eventually_within(SECONDS, "the wrong token is in effect", async || {
        let status = env.lever.verify().await.status;
        if status == Some(401) { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    // contract C7
    let connection =
        env.wait_for("leverconnections", CONNECTION, "WebhookVerified", "False/SignatureMismatch").await;
    assert!(message_of(&connection, "WebhookVerified").contains("Secret acme, key lever-signing-token"));
    let candidate = env.candidate();
    let moved = env.lever.move_to_stage(&candidate, STAGE).await;
    let refused = must_finish("the delivery ends", env.lever.wait_for_delivery(moved.deliveries[0])).await;
    assert_eq!(refused.outcome, DeliveryOutcome::GivenUp);
    assert_eq!(refused.attempts[0].status, Some(401));
    assert!(env.pads_of(&candidate).await.is_empty());

    // The new token next to the old one, as during a rotation, and with a byte order mark, as a Windows editor saves it
    // (contract A8).
    let both = format!("\u{feff}{}\r\nsigning-4c1e-of-another-webhook\r\n", env.signing_token);
    env.set_secret("lever-signing-token", &both).await;
    eventually_within(SECONDS, "Verify works", async || {
        let answer = env.lever.verify().await;
        if answer.verified { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    env.wait_for("leverconnections", CONNECTION, "WebhookVerified", "True/SignatureVerified").await;
    let again = env.lever.redeliver(moved.deliveries[0]).await;
    let answer: Value = serde_json::from_str(&again.answer).unwrap();
    assert_eq!((again.status, &answer["outcome"]), (Some(200), &json!("Accepted")));
    env.wait_for_one_pad(&candidate).await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_url_is_built_from_the_public_url() {
    let path = |namespace: &str| format!("/webhooks/lever/{namespace}/{CONNECTION}");
    let cases = [
        ("url-bare", "--public-url=hooks.example.com", "https://hooks.example.com"),
        ("url-https", "--public-url=https://hooks.example.com/", "https://hooks.example.com"),
        ("url-path", "--public-url=https://example.com/lever", "https://example.com/lever"),
        ("url-none", NO_PUBLIC_URL, ""),
    ];
    for (name, flag, base) in cases {
        let mut options = Options::new(name).without_setup();
        options.flags.push(flag);
        // It does not depend on the services.
        options.secret = json!({"lever-api-key": null});
        let env = TestEnv::start(options).await;
        let expected = format!("{base}{}", path(name));
        eventually("the URL is set", async || {
            let connection = env.get("leverconnections", CONNECTION).await;
            let url = connection["status"]["webhookURL"].as_str().ok_or(format!("{connection:#}"))?;
            assert_eq!(url, expected);
            Ok(())
        })
        .await;
        env.finish().await;
    }
}
