//! Responses to Lever: the closed set of outcomes, their HTTP form and their names in the metric.

use super::persist::PersistError;
use axum::Json;
use axum::http::header::{ALLOW, CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Delay in seconds before a client that received a 503 may retry.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// All names of outcomes.
pub const OUTCOME_NAMES: [&str; 10] = [
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

/// A delivery that was accepted.
#[derive(Debug, Eq, PartialEq)]
pub enum Accepted {
    /// Lever's Verify button.
    Verified,
    /// No action needed.
    Ignored,
    /// Stored on these Pads.
    Stored(Vec<String>),
}

/// Reason why a request is refused. The messages are for people who open the delivery in Lever's settings, and anybody
/// may see them.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// The method is not POST.
    #[error("webhooks are sent by POST")]
    Method,
    /// The path is not the address of a webhook.
    #[error(
        "there is nothing here. The address of a webhook is /webhooks/lever/<namespace>/<connection>; copy it from status.webhookURL of the LeverConnection"
    )]
    Path,
    /// The path contains no existing connection.
    #[error(
        "there is no such LeverConnection. Compare the address with status.webhookURL of the LeverConnection"
    )]
    Connection,
    /// The body is too large.
    #[error("the body is larger than 256 KiB, which no event of Lever is")]
    TooLarge,
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    Slow,
    /// The body ended early.
    #[error("the body broke off")]
    BrokenOff,
    /// The body is not an event of Lever.
    #[error("this is not an event of Lever: {0}")]
    Malformed(&'static str),
    /// The request is not signed with a known token.
    #[error(
        "the signature is missing or wrong. The signature token that Lever shows for this webhook must be in the Secret that the LeverConnection names"
    )]
    Signature,
    /// The delivery is stale or from the future.
    #[error("triggeredAt is more than 15 days old or more than 5 minutes ahead")]
    Age,
    /// The watches are not complete.
    #[error("the operator is starting. Try again")]
    Starting,
    /// The connection has no signature token.
    #[error(
        "no signature token is known for this LeverConnection yet. Put the token that Lever shows for this webhook into the Secret that the LeverConnection names, then try again"
    )]
    NoToken,
    /// Too many deliveries of the connection are being stored.
    #[error("too many deliveries of this LeverConnection arrive at once. Try again")]
    Crowded,
    /// The event could not be stored now.
    #[error("the event could not be stored now: {0}. Try again")]
    NotStored(#[from] PersistError),
    /// The event could not be stored in time.
    #[error("the event could not be stored in time. Try again")]
    TimedOut,
}

impl Accepted {
    /// Returns the name in the response and in the metric.
    pub fn name(&self) -> &'static str {
        match self {
            Accepted::Verified => "Verified",
            Accepted::Ignored => "Ignored",
            Accepted::Stored(_) => "Accepted",
        }
    }

    /// Returns the Pads on which the event is stored.
    pub fn pads(&self) -> &[String] {
        match self {
            Accepted::Stored(pads) => pads,
            Accepted::Verified | Accepted::Ignored => &[],
        }
    }
}

impl Rejection {
    /// Returns the value of the label `outcome` of the metric `pad_operator_webhooks`.
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

    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Rejection::Method => StatusCode::METHOD_NOT_ALLOWED,
            Rejection::Path | Rejection::Connection => StatusCode::NOT_FOUND,
            Rejection::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Rejection::Slow => StatusCode::REQUEST_TIMEOUT,
            Rejection::BrokenOff | Rejection::Malformed(_) => StatusCode::BAD_REQUEST,
            Rejection::Signature | Rejection::Age => StatusCode::UNAUTHORIZED,
            Rejection::Starting
            | Rejection::NoToken
            | Rejection::Crowded
            | Rejection::NotStored(_)
            | Rejection::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let outcome = self.name();
        match self {
            Accepted::Verified | Accepted::Ignored => Json(json!({"outcome": outcome})).into_response(),
            Accepted::Stored(pads) => Json(json!({"outcome": outcome, "pads": pads})).into_response(),
        }
    }
}

impl IntoResponse for Rejection {
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
