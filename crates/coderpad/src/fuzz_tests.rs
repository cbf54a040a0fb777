//! Property tests against a broken or hostile CoderPad: whatever it answers, each call ends, and no data of the answer
//! gets further than its types allow.

#![allow(clippy::unwrap_used)]

use super::*;
use http_client::SendDeadline;
use http_client::testing::{FixedAnswer, server, transport};
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;
use testkit::fuzz::{like, try_all};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

/// Personal data of a candidate.
const PRIVATE: &str = "Noor Baker";

fn client_at(url: &Url, create_timeout: Duration) -> InterviewClient {
    InterviewClient::new(&transport(create_timeout), url, "cp-9b81d6e04c".into()).unwrap()
}

async fn create(client: &InterviewClient) -> Result<PadRecord, CreateError> {
    let departure =
        SendDeadline { permit: client.permit().await, leave_by: Instant::now() + Duration::from_secs(60) };
    client.create_pad(departure, &NewPad { title: "T".into(), ..NewPad::default() }).await
}

/// The answer never stalls, so only a timeout for the whole answer ends it.
#[tokio::test]
async fn a_dripping_answer_is_cut_off() {
    let (url, _seen) = server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").await;
        while stream.write_all(b" ").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let limit = Duration::from_millis(400);
    let client = client_at(&url, limit);
    let began = Instant::now();
    let outcome = create(&client).await;
    assert!(matches!(outcome, Err(CreateError::OutcomeUnknown(_))), "{outcome:?}");
    assert!((limit..limit * 10).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[test]
fn any_answer_is_read_or_refused() {
    let pad = json!({
        "status": "OK", "id": "QX7Z2MPL", "title": PRIVATE, "state": "pending", "owner_email": "lead@example.com",
        "language": null, "private": true, "execution_enabled": "true", "contents": null, "participants": [PRIVATE],
        "notes": "Reference: x/y", "created_at": "2026-02-03T10:00:01Z", "updated_at": "2026-02-03T10:00:01.250-07:00",
        "ended_at": null, "url": "https://coderpad.io/QX7Z2MPL", "playback": "https://coderpad.io/QX7Z2MPL/playback",
        "type": "live", "question_ids": [314], "pad_environment_ids": [21, 22], "active_environment_id": 21,
    });
    let documents = vec![
        pad.clone(),
        json!({"status": "OK", "pads": [pad], "next_page": null, "total": 1}),
        json!({"status": "OK", "organization_name": PRIVATE, "user_count": 3}),
        json!({"status": "OK", "unlimited": false, "pads_used": 3, "quota": 20, "overage": 0}),
        json!({"status": "OK", "users": [{"name": PRIVATE, "email": "lead@example.com"}]}),
        json!({"status": "OK", "events": [{"kind": "ran", "user_name": PRIVATE, "created_at": "2026-02-03T10:00:01Z"}]}),
        json!({"status": "OK", "id": 21, "language": "python3", "file_contents": [{"path": "main.py", "contents": PRIVATE}]}),
        json!({"status": "OK", "id": 314, "title": "Q", "pad_type": "live", "take_home": false, "is_draft": false}),
        json!({"status": "ERROR", "message": PRIVATE}),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (url, shown) = runtime.block_on(FixedAnswer::start());
    let client = client_at(&url, Duration::from_secs(5));
    try_all("answers of CoderPad, each to 9 calls", like(documents), |answer| {
        shown.set(answer);
        let (made, errors) = runtime.block_on(async {
            let made = [client.pad("QX7Z2MPL").await.ok(), create(&client).await.ok()];
            let errors = [
                client.organization().await.err(),
                client.quota().await.err(),
                client.user_by_email("lead@example.com").await.err(),
                client.organization_pads(None, PadSort::Updated).await.err(),
                client.pad_events("QX7Z2MPL").await.err(),
                client.environment(21).await.err(),
                client.question(314).await.err(),
            ];
            (made, errors)
        });
        for pad in made.into_iter().flatten() {
            let is_id =
                pad.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
            prop_assert!(is_id && (1..=64).contains(&pad.id.len()), "{:?}", pad.id);
            prop_assert!(pad.url.starts_with("http://") || pad.url.starts_with("https://"), "{}", pad.url);
        }
        for error in errors.into_iter().flatten() {
            prop_assert!(error.to_string().chars().count() < 400, "{error}");
        }
        Ok(())
    });
}
