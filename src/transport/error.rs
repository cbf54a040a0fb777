//! What can go wrong with a call to a service, already classed by what the caller may conclude from it.

use std::fmt;
use std::time::Duration;

/// Longest message of a service that is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 256;

/// Which of the two services a call went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Lever's Data API.
    Lever,
    /// CoderPad's Interview API.
    Interview,
}

impl Service {
    /// The label value in metrics and traces.
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

/// What a failed call means. Every class but [`ErrorKind::OutcomeUnknown`] is certain: the call had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is wrong: 400, 422 and every 4xx not named below; also refused before sending. As every other
    /// class that follows from a status, but for 429, only if the answer is the service's own error envelope.
    Invalid,
    /// 401: the API key is not accepted.
    Unauthorized,
    /// 403: the API key may not do this.
    Forbidden,
    /// 404 or 410: no such object, or no such path.
    NotFound,
    /// 429: too many requests, or, on creating a pad, over the quota (see [`Error::is_quota`]).
    Throttled,
    /// A read that got no usable answer, or a write that certainly was not sent.
    Unavailable,
    /// A write that may have taken effect: it was sent, and the answer is missing, 5xx, 3xx or unreadable.
    OutcomeUnknown,
}

impl ErrorKind {
    /// The label value in metrics and traces.
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

/// A call that failed.
///
/// The message is fit for a resource's status: no key, no URL. It may quote the service, and so a candidate's data:
/// it does not belong into logs, metrics or traces.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// What the failure means.
    pub class: ErrorKind,
    /// Who was called.
    pub service: Service,
    /// What was called, with placeholders for ids: `GET /opportunities/{id}`.
    pub operation: &'static str,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The service's own message, or what happened; without control characters, at most 256 characters.
    pub message: String,
    /// The pause the service asked for (`Retry-After`), if it did.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// An error with a message made fit for showing: control and bidi characters dropped, cut to 256 characters.
    pub fn new(
        class: ErrorKind,
        service: Service,
        operation: &'static str,
        status: Option<u16>,
        message: &str,
    ) -> Self {
        Self { class, service, operation, status, message: presentable(message), retry_after: None }
    }

    /// Whether the same call may simply be made again later. A write of unknown outcome may not: whoever made it must
    /// look first whether it took effect.
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

    /// Whether a 429 of the Interview API means that the plan's pads are used up, and not that requests come too fast.
    ///
    /// CoderPad documents 429 as "Over quota" and documents no rate limit (reference: interview-api.md, 1. Transport,
    /// Errors), yet the API stands behind a proxy that may limit rates with the same status. So a 429 of creating a pad
    /// is the quota, unless it speaks of the request rate, says when to come back, or has no message of CoderPad's
    /// (contract C3a): a pause is always safe, and the quota itself is read with the next probe.
    pub fn is_quota(&self) -> bool {
        if self.class != ErrorKind::Throttled || self.operation != crate::coderpad::CREATE_PAD {
            return false;
        }
        // Without a message of the service, the message is the status line's: "Too Many Requests".
        let message = self.message.to_lowercase();
        let speaks_of_rate =
            ["too many requests", "rate limit", "throttl", "slow down"].iter().any(|w| message.contains(w));
        let may_be = !speaks_of_rate && self.retry_after.is_none() && !message.is_empty();
        message.contains("quota") || may_be
    }

    /// Whether Lever no longer accepts a page token, so that a walk has to begin anew (reference: lever-api.md, 2.
    /// Paging: "Invalid offset token").
    pub fn is_stale_page(&self) -> bool {
        self.class == ErrorKind::Invalid && self.message.to_lowercase().contains("offset token")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, operation, message, .. } = self;
        match self.status {
            Some(status) => write!(f, "{service}: {operation} answered {status}: {message}"),
            None => write!(f, "{service}: {operation} failed: {message}"),
        }
    }
}

/// A client that cannot be set up. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The key is empty or only white space.
    #[error("the API key is empty")]
    EmptyKey,
    /// The key holds characters that no API key has, such as a line break in its middle.
    #[error("the API key holds characters that no API key has (white space, quotes or control characters)")]
    MalformedKey,
    /// The base address is not a plain http or https address.
    #[error("the address is not a plain http or https address without user, query and fragment")]
    BadUrl,
    /// The HTTP client could not be made, for example because no certificate authorities were found.
    #[error("cannot set up the HTTP client: {0}")]
    HttpClient(String),
}

/// Text from outside made fit for showing.
fn presentable(text: &str) -> String {
    let mut clean = String::new();
    for c in text.chars().filter(|c| !is_bidi(*c)) {
        let c = if c.is_whitespace() { ' ' } else { c };
        if c.is_control() || (c == ' ' && (clean.is_empty() || clean.ends_with(' '))) {
            continue;
        }
        clean.push(c);
    }
    let clean = clean.trim_end();
    match clean.char_indices().nth(MAX_MESSAGE_CHARS) {
        None => clean.to_owned(),
        Some((end, _)) => clean[..end].to_owned(),
    }
}

/// Characters that change the direction of the text around them.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
