//! Every answer of the webhook endpoint, as a snapshot.

use crate::snapshots::assert_snapshot;
use crate::webhook::persist::StoreError;
use crate::webhook::response::{Refusal, Taken};
use axum::body::to_bytes;
use axum::response::{IntoResponse, Response};

async fn show(response: Response) -> String {
    let (parts, body) = response.into_parts();
    let mut head = parts.status.to_string();
    for name in ["allow", "retry-after", "connection"] {
        if let Some(value) = parts.headers.get(name) {
            head.push_str(&format!("\n{name}: {}", value.to_str().unwrap()));
        }
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    format!("{head}\n{}\n\n", String::from_utf8_lossy(&body))
}

#[tokio::test]
async fn messages_of_all_answers() {
    let status = kube::core::Status::failure("etcdserver: request timed out", "Timeout").with_code(504);
    let mut text = String::new();
    for taken in [Taken::Verified, Taken::Ignored, Taken::Accepted(vec!["phone-screen-0123456789-1".into()])]
    {
        text.push_str(&show(taken.into_response()).await);
    }
    for refusal in [
        Refusal::Method,
        Refusal::Path,
        Refusal::Connection,
        Refusal::TooLarge,
        Refusal::Slow,
        Refusal::BrokenOff,
        Refusal::Malformed("it is not JSON"),
        Refusal::Signature,
        Refusal::Age,
        Refusal::Starting,
        Refusal::NoToken,
        Refusal::Crowded,
        Refusal::NotStored(StoreError::StagesUnknown),
        Refusal::NotStored(StoreError::TooManyUnjudged),
        Refusal::NotStored(StoreError::Unsettled),
        Refusal::NotStored(StoreError::Api(Box::new(kube::Error::Api(Box::new(status))))),
        Refusal::TimedOut,
    ] {
        text.push_str(&show(refusal.into_response()).await);
    }
    assert_snapshot("webhook-responses", text.trim_end());
}
