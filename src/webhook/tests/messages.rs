//! Every response of the webhook endpoint, as a snapshot.

use crate::webhook::persist::PersistError;
use crate::webhook::response::{Accepted, Rejection};
use axum::body::to_bytes;
use axum::response::{IntoResponse, Response};
use testkit::assert_snapshot;

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
    for taken in
        [Accepted::Verified, Accepted::Ignored, Accepted::Stored(vec!["phone-screen-0123456789-1".into()])]
    {
        text.push_str(&show(taken.into_response()).await);
    }
    for refusal in [
        Rejection::Method,
        Rejection::Path,
        Rejection::Connection,
        Rejection::TooLarge,
        Rejection::Slow,
        Rejection::BrokenOff,
        Rejection::Malformed("it is not JSON"),
        Rejection::Signature,
        Rejection::Age,
        Rejection::Starting,
        Rejection::NoToken,
        Rejection::Crowded,
        Rejection::NotStored(PersistError::StagesUnknown),
        Rejection::NotStored(PersistError::TooManyUnjudged),
        Rejection::NotStored(PersistError::Unsettled),
        Rejection::NotStored(PersistError::Api(Box::new(kube::Error::Api(Box::new(status))))),
        Rejection::TimedOut,
    ] {
        text.push_str(&show(refusal.into_response()).await);
    }
    assert_snapshot("webhook-responses", text.trim_end());
}
