//! What Lever is told: the closed set of answers, their HTTP form and their names in the metric.

use super::persist::StoreError;
use axum::Json;
use axum::http::header::{ALLOW, CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Seconds after which somebody who got a 503 may come again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// All names of answers.
pub const OUTCOMES: [&str; 10] = [
    "Accepted",
    "Ignored",
    "Verified",
    "Malformed",
    "Unauthorized",
    "NotFound",
    "MethodNotAllowed",
    "TooLarge",
    "Slow",
    "Unavailable",
];

/// A delivery that is taken note of.
#[derive(Debug, Eq, PartialEq)]
pub enum Taken {
    /// Lever's Verify button.
    Verified,
    /// Nothing to do.
    Ignored,
    /// Stored as these Pads.
    Accepted(Vec<String>),
}

/// Why a request is not taken. The messages are for whoever looks at the delivery in Lever's settings, and may be seen
/// by anybody.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not POST.
    #[error("webhooks are sent by POST")]
    Method,
    /// Not an address of a webhook.
    #[error(
        "there is nothing here. The address of a webhook is /webhooks/lever/<namespace>/<connection>; copy it from status.webhookURL of the LeverConnection"
    )]
    Path,
    /// The address names no connection.
    #[error(
        "there is no such LeverConnection. Compare the address with status.webhookURL of the LeverConnection"
    )]
    Connection,
    /// The body is too large.
    #[error("the body is larger than 256 KiB, which no event of Lever is")]
    TooLarge,
    /// The body did not come in time.
    #[error("the body did not arrive in time")]
    Slow,
    /// The body broke off.
    #[error("the body broke off")]
    BrokenOff,
    /// Not an event of Lever.
    #[error("this is not an event of Lever: {0}")]
    Malformed(&'static str),
    /// Not signed with a known token.
    #[error(
        "the signature is missing or wrong. The signature token that Lever shows for this webhook must be in the Secret that the LeverConnection names"
    )]
    Signature,
    /// Too old or from the future.
    #[error("triggeredAt is more than 15 days old or more than 5 minutes ahead")]
    Age,
    /// The watches are not complete.
    #[error("the operator is starting. Try again")]
    Starting,
    /// No signature token.
    #[error(
        "no signature token is known for this LeverConnection yet. Put the token that Lever shows for this webhook into the Secret that the LeverConnection names, then try again"
    )]
    NoToken,
    /// Too many deliveries of the connection are being stored.
    #[error("too many deliveries of this LeverConnection arrive at once. Try again")]
    Crowded,
    /// Could not be stored now.
    #[error("the event could not be stored now: {0}. Try again")]
    NotStored(#[from] StoreError),
    /// Could not be stored in time.
    #[error("the event could not be stored in time. Try again")]
    TimedOut,
}

impl Taken {
    /// Its name, in the answer and in the metric.
    pub fn name(&self) -> &'static str {
        match self {
            Taken::Verified => "Verified",
            Taken::Ignored => "Ignored",
            Taken::Accepted(_) => "Accepted",
        }
    }

    /// The Pads that stand for it.
    pub fn pads(&self) -> &[String] {
        match self {
            Taken::Accepted(pads) => pads,
            Taken::Verified | Taken::Ignored => &[],
        }
    }
}

impl Refusal {
    /// Its name in the metric.
    pub fn name(&self) -> &'static str {
        match self.status() {
            StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
            StatusCode::NOT_FOUND => "NotFound",
            StatusCode::PAYLOAD_TOO_LARGE => "TooLarge",
            StatusCode::REQUEST_TIMEOUT => "Slow",
            StatusCode::UNAUTHORIZED => "Unauthorized",
            StatusCode::SERVICE_UNAVAILABLE => "Unavailable",
            _ => "Malformed",
        }
    }

    /// Its status over HTTP.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Path | Refusal::Connection => StatusCode::NOT_FOUND,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Slow => StatusCode::REQUEST_TIMEOUT,
            Refusal::BrokenOff | Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
            Refusal::Signature | Refusal::Age => StatusCode::UNAUTHORIZED,
            Refusal::Starting
            | Refusal::NoToken
            | Refusal::Crowded
            | Refusal::NotStored(_)
            | Refusal::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Taken {
    fn into_response(self) -> Response {
        let outcome = self.name();
        match self {
            Taken::Verified | Taken::Ignored => Json(json!({"outcome": outcome})).into_response(),
            Taken::Accepted(pads) => Json(json!({"outcome": outcome, "pads": pads})).into_response(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(json!({"error": self.to_string()}))).into_response();
        let headers = response.headers_mut();
        match status {
            StatusCode::METHOD_NOT_ALLOWED => headers.insert(ALLOW, HeaderValue::from_static("POST")),
            StatusCode::SERVICE_UNAVAILABLE => headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS),
            StatusCode::REQUEST_TIMEOUT => headers.insert(CONNECTION, HeaderValue::from_static("close")),
            _ => None,
        };
        response
    }
}
