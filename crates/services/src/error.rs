//! Errors of calls to a service, classified by what the caller may conclude from them.

use api::sanitize;
use std::fmt;
use std::time::Duration;

/// Maximum length of a service's message in an error, in characters.
const MAX_MESSAGE_CHARS: usize = 256;

/// Service that a call was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Lever's Data API.
    Lever,
    /// CoderPad's Interview API.
    Interview,
}

impl Service {
    /// Returns the label value in metrics and traces.
    pub fn label(self) -> &'static str {
        match self {
            Self::Lever => "lever",
            Self::Interview => "interview",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lever => "Lever",
            Self::Interview => "CoderPad Interview",
        })
    }
}

/// Class of a failed call. Every class but [`ErrorKind::OutcomeUnknown`] guarantees that the call had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is wrong: status 400, 422 or any other 4xx that is not listed below, or the client rejected
    /// the request before sending it. Except for 429, a class is derived from a status only if the answer is the
    /// service's own error envelope.
    Invalid,
    /// Status 401: the service does not accept the API key.
    Unauthorized,
    /// Status 403: the API key lacks the permission.
    Forbidden,
    /// Status 404 or 410: the object or the path does not exist.
    NotFound,
    /// Status 429: too many requests, or, when creating a pad, the quota is used up (see [`ServiceError::is_quota`]).
    Throttled,
    /// A read without a usable answer, or a write that certainly was not sent.
    Unavailable,
    /// A write that may have taken effect: it was sent, but the answer is missing, 5xx, 3xx or unreadable.
    OutcomeUnknown,
}

impl ErrorKind {
    /// Returns the label value in metrics and traces.
    pub fn label(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
}

/// Error of a failed call.
///
/// The message can be shown in a resource's status: it contains no key and no URL. It may quote the service, and so
/// contain a candidate's data: it must not be written to logs, metrics or traces.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ServiceError {
    /// Class of the failure.
    pub class: ErrorKind,
    /// Service that was called.
    pub service: Service,
    /// Operation that was called, with placeholders for IDs: `GET /opportunities/{id}`.
    pub operation: &'static str,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Message of the service, or a description of the failure; no control characters, at most 256 characters.
    pub message: String,
    /// Delay that the service asked for with `Retry-After`, if any.
    pub retry_after: Option<Duration>,
}

impl ServiceError {
    /// Creates an error whose message is safe to show: without control and bidi characters, cut to 256 characters.
    pub fn new(
        class: ErrorKind,
        service: Service,
        operation: &'static str,
        status: Option<u16>,
        message: &str,
    ) -> Self {
        Self {
            class,
            service,
            operation,
            status,
            message: sanitize::one_line(message, MAX_MESSAGE_CHARS),
            retry_after: None,
        }
    }

    /// Reports whether the caller may retry the call later without further checks. Before retrying a write of unknown
    /// outcome, the caller must check whether it took effect.
    pub fn is_retryable(&self) -> bool {
        match self.class {
            ErrorKind::Throttled | ErrorKind::Unavailable => true,
            ErrorKind::Invalid
            | ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::NotFound
            | ErrorKind::OutcomeUnknown => false,
        }
    }

    /// Reports whether a 429 of the Interview API means that the plan's pads are used up, and not that the request rate
    /// is too high.
    ///
    /// CoderPad documents 429 as "Over quota" and documents no rate limit (reference: interview-api.md, 1. Transport,
    /// Errors), but a proxy in front of the API may limit rates with the same status. A 429 on creating a pad therefore
    /// counts as the quota, unless its message mentions the request rate, it has a `Retry-After` header, or it has no
    /// message of CoderPad's (contract C3a). Backing off is always safe, and the next probe reads the quota itself.
    pub fn is_quota(&self) -> bool {
        if self.class != ErrorKind::Throttled || self.operation != crate::coderpad::CREATE_PAD {
            return false;
        }
        // Without a message of the service, `message` is the reason phrase of the status: "Too Many Requests".
        let message = self.message.to_lowercase();
        let speaks_of_rate =
            ["too many requests", "rate limit", "throttl", "slow down"].iter().any(|w| message.contains(w));
        let may_be = !speaks_of_rate && self.retry_after.is_none() && !message.is_empty();
        message.contains("quota") || may_be
    }

    /// Reports whether Lever no longer accepts a page token, so that the caller must list from the first page again
    /// (reference: lever-api.md, 2. Paging: "Invalid offset token").
    pub fn is_stale_page(&self) -> bool {
        self.class == ErrorKind::Invalid && self.message.to_lowercase().contains("offset token")
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, operation, message, .. } = self;
        match self.status {
            Some(status) => write!(f, "{service}: {operation} answered {status}: {message}"),
            None => write!(f, "{service}: {operation} failed: {message}"),
        }
    }
}

/// Error of creating a client. No request was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The key is empty or contains only white space.
    #[error("the API key is empty")]
    EmptyKey,
    /// The key contains characters that no API key has, such as a line break in its middle.
    #[error("the API key holds characters that no API key has (white space, quotes or control characters)")]
    MalformedKey,
    /// The base address is not a plain http or https address.
    #[error("the address is not a plain http or https address without user, query and fragment")]
    BadUrl,
    /// The HTTP client could not be created, for example because no certificate authorities were found.
    #[error("cannot set up the HTTP client: {0}")]
    HttpClient(String),
}
