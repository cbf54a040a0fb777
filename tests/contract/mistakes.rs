//! The mistakes of a new user: each output says what to do.

use crate::accounts::{Accounts, LEVER_KEY, assert_report, unused_webhook_url};
use api::connection::WebhookMode;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::IntoResponse;
use pad_operator::check::{Level, Target};
use simulators::{Fault, Permissions};

fn lever_key(accounts: &Accounts, key: &str) -> Target {
    let mut target = accounts.target();
    target.lever.as_mut().unwrap().key = key.to_owned().into();
    target
}

#[tokio::test]
async fn a_wrong_key() {
    let accounts = Accounts::start().await;
    let mut target = lever_key(&accounts, "a-key-that-was-deleted");
    target.interview.as_mut().unwrap().key = "a-key-that-was-deleted".to_owned().into();
    assert_report("check-wrong-key", &accounts, &accounts.check(&target).await, Level::Failure);
}

#[tokio::test]
async fn a_key_that_is_none() {
    let accounts = Accounts::start().await;
    let report = accounts.check(&lever_key(&accounts, "two\nlines")).await;
    assert_report("check-malformed-key", &accounts, &report, Level::Failure);
}

#[tokio::test]
async fn a_key_without_permissions() {
    let accounts = Accounts::start().await;
    accounts.lever.set_key(LEVER_KEY, Permissions::only(&["stages:list", "opportunities:list"]));
    let report = accounts.check(&accounts.target()).await;
    assert_report("check-missing-permission", &accounts, &report, Level::Failure);
}

#[tokio::test]
async fn a_wrong_host() {
    let accounts = Accounts::start().await;
    let mut target = accounts.target();
    // The URL of the other service, and a host that nobody has.
    target.lever.as_mut().unwrap().url = accounts.interview.origin().parse().unwrap();
    target.interview.as_mut().unwrap().url = "https://coderpad.invalid/api".parse().unwrap();
    let options = pad_operator::check::CheckOptions { interval: std::time::Duration::ZERO, record: None };
    let report = pad_operator::check::report(&target, &options).await.unwrap();
    assert_report("check-wrong-host", &accounts, &report, Level::Failure);
}

#[tokio::test]
async fn a_proxy_that_answers_with_a_page() {
    let accounts = Accounts::start().await;
    accounts.lever.faults().add(Fault::on("*", "").page(403).until_removed());
    accounts.interview.faults().add(Fault::on("*", "").page(200).until_removed());
    let report = accounts.check(&accounts.target()).await;
    assert_report("check-proxy-page", &accounts, &report, Level::Failure);
}

#[tokio::test]
async fn a_stage_that_does_not_exist() {
    let accounts = Accounts::start().await;
    let mut target = accounts.target();
    target.rules[0].stage = Some("phone screen".to_owned());
    assert_report("check-unknown-stage", &accounts, &accounts.check(&target).await, Level::Failure);
}

#[tokio::test]
async fn other_settings_that_do_not_fit_the_keys() {
    let accounts = Accounts::start().await;
    accounts.lever.set_key(LEVER_KEY, Permissions::all().without("webhooks:list"));
    accounts.interview.faults().add(Fault::on("GET", "/quota$").status(403).until_removed());
    let perform_as = Some("nobody".to_owned());
    let target = Target { perform_as, webhook_mode: WebhookMode::Managed, ..accounts.target() };
    assert_report("check-other-settings", &accounts, &accounts.check(&target).await, Level::Failure);
}

// contract C7a
#[tokio::test]
async fn without_a_webhook_nothing_asks_for_one() {
    let accounts = Accounts::start().await;
    accounts.lever.set_key(LEVER_KEY, Permissions::all().without("webhooks:list"));
    let target = Target { webhook_mode: WebhookMode::None, ..accounts.target() };
    let report = accounts.check(&target).await;
    assert_eq!(report.level(), Level::Ok, "{}", report.text());
    assert!(!report.text().to_lowercase().contains("webhook"), "{}", report.text());
}

#[tokio::test]
async fn a_webhook_url_that_is_not_reachable() {
    let accounts = Accounts::start().await;
    let target = Target { webhook_url: unused_webhook_url(), ..accounts.target() };
    let report = accounts.check(&target).await;
    assert_eq!(report.level(), Level::Warning);
    assert!(report.text().contains("webhook URL: not reached from here"), "{}", report.text());
}

/// Forwards a read to a simulator, and moves the date of its answer by some seconds.
async fn forward(
    State((origin, seconds)): State<(String, i64)>,
    uri: Uri,
    headers: HeaderMap,
) -> impl IntoResponse {
    let url = format!("{origin}{uri}");
    let authorization = headers[header::AUTHORIZATION].clone();
    let answer =
        reqwest::Client::new().get(url).header(header::AUTHORIZATION, authorization).send().await.unwrap();
    let date = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
    let body: Bytes = answer.bytes().await.unwrap();
    (status, [(header::DATE, date), (header::CONTENT_TYPE, "application/json".to_owned())], body)
}

#[tokio::test]
async fn a_clock_that_is_six_minutes_off() {
    let accounts = Accounts::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(forward).with_state((accounts.lever.origin(), 360));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut target = accounts.target();
    target.lever.as_mut().unwrap().url = format!("http://{address}/v1").parse().unwrap();
    let report = accounts.check(&target).await;
    let text = report.text().replace(" 359 s ", " 360 s ").replace(" 361 s ", " 360 s ");
    assert_eq!(report.level(), Level::Failure, "{text}");
    let expected = "clock against 127.0.0.1: this machine is 360 s behind";
    let line = text.lines().find(|line| line.contains(expected)).expect(&text);
    assert!(line.starts_with("  × "), "{line}");
}
