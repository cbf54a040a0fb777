//! Account at one service (address, key, rate limit) and the instrumented send function.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument;
use url::Url;

use super::error_response::{self, Envelope};
use super::observed::{AnswerHead, ObservedAnswers};
use super::rate_limit::{AccountId, Priority, TokenBucket};
use super::{
    AnswerPart, ErrorKind, Oddities, Service, ServiceError, SetupError, Sighting, SurpriseKind, Surprises,
    Transport,
};
use crate::spans;
use api::sanitize;

/// Maximum size of an answer, in bytes. The largest answers are pages of 100 opportunities and the files of a pad: a
/// few megabytes at most.
const MAX_ANSWER_BYTES: usize = 8 << 20;
const MAX_ERROR_ANSWER_BYTES: usize = 64 << 10;
/// Minimum length of a key that is redacted in messages. A shorter key could occur in any text by chance.
const MIN_REDACTED_KEY_LENGTH: usize = 8;
/// Maximum length of a path segment. No known service has longer IDs.
const MAX_SEGMENT_LENGTH: usize = 128;
/// Minimum time between two log lines about the odd rows, or the odd members, of one operation of one account.
const ODDITY_LOG_INTERVAL: Duration = Duration::from_secs(600);

/// Target of the log lines. The prefix marks lines of the operator itself, which are safe at every level.
const LOG_TARGET: &str = "pad_operator::http_client";

/// Call to a service.
#[derive(Debug)]
pub struct Call {
    /// Name with placeholders for IDs. It becomes a label and part of messages.
    pub operation: &'static str,
    /// HTTP method. Every method except GET is a write.
    pub method: Method,
    /// Address.
    pub url: Url,
    /// Request body.
    pub payload: Body,
    /// Timeout, from sending the request to the end of its answer.
    pub time_limit: Duration,
}

/// Request body of a call.
#[derive(Debug)]
pub enum Body {
    /// No body.
    Nothing,
    /// JSON.
    Json(serde_json::Value),
    /// Form with encoded fields.
    Form(String),
}

impl Call {
    /// Creates a read.
    pub fn get(operation: &'static str, url: Url) -> Self {
        Self {
            operation,
            method: Method::GET,
            url,
            payload: Body::Nothing,
            time_limit: super::REQUEST_TIMEOUT,
        }
    }

    /// Creates a write.
    pub fn write(operation: &'static str, method: Method, url: Url, payload: Body) -> Self {
        Self { operation, method, url, payload, time_limit: super::REQUEST_TIMEOUT }
    }

    fn is_write(&self) -> bool {
        self.method != Method::GET
    }
}

/// Returns the trimmed key of a Secret, or an error if it cannot be an API key.
pub fn api_key(key: &SecretString) -> Result<SecretString, SetupError> {
    let trimmed = sanitize::trimmed(key.expose_secret());
    if trimmed.is_empty() {
        return Err(SetupError::EmptyKey);
    }
    if !trimmed.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\') {
        return Err(SetupError::MalformedKey);
    }
    Ok(SecretString::from(trimmed))
}

/// Permission to send one request: a token of the rate limit that has already been taken.
#[derive(Debug)]
#[must_use = "the rate limit's token is spent"]
pub struct Permit {
    priority: Priority,
    waited: Duration,
}

/// Successful answer to a request.
struct Answer {
    status: u16,
    body: Vec<u8>,
    /// Its content type and length, for messages.
    form: String,
}

/// Deadline for a request that must be sent at most once: it is sent in time or not at all.
///
/// Waiting for the rate limit may take long, so the caller takes the token first, then records durably that it is about
/// to send, and then sends the request at once. From that record, a later reader can compute the time after which the
/// request is no longer in flight.
#[derive(Debug)]
pub struct SendDeadline {
    /// Token of the rate limit.
    pub permit: Permit,
    /// Deadline for sending. Up to 5 s of the time before it may be spent on opening a connection.
    pub leave_by: Instant,
}

/// Account at one service. Its Debug output contains neither the key nor the header.
#[derive(Clone, Debug)]
pub struct ServiceClient {
    transport: Transport,
    service: Service,
    base: Url,
    key: SecretString,
    bucket: Arc<TokenBucket>,
    /// Namespace and name of the account's connection, for log lines.
    connection: Arc<str>,
    /// Time of the last log line about odd rows (true) or odd members (false), by operation.
    odd_logged: Arc<Mutex<HashMap<(&'static str, bool), Instant>>>,
    /// Record of the account's connection.
    surprises: Surprises,
}

impl ServiceClient {
    /// Creates a client. `key` is a result of [`api_key`]; paths are appended to `base`.
    pub fn new(
        transport: &Transport,
        service: Service,
        base: &Url,
        key: SecretString,
    ) -> Result<Self, SetupError> {
        let plain = matches!(base.scheme(), "http" | "https")
            && base.has_host()
            && base.username().is_empty()
            && base.password().is_none()
            && base.query().is_none()
            && base.fragment().is_none();
        if !plain {
            return Err(SetupError::BadUrl);
        }
        let origin = base.origin().ascii_serialization();
        let bucket = transport.0.buckets.for_key(&origin, key.expose_secret(), transport.limit(service));
        Ok(Self {
            transport: transport.clone(),
            service,
            base: base.clone(),
            key,
            bucket,
            connection: "".into(),
            odd_logged: Arc::default(),
            surprises: Surprises::default(),
        })
    }

    /// Returns the same account for a connection: its name for log lines, and the record that surprises are added to.
    pub fn for_connection(self, connection: &str, surprises: Surprises) -> Self {
        Self { connection: connection.into(), surprises, ..self }
    }

    /// Counts and records a surprise.
    fn surprise(&self, operation: &'static str, seen: Sighting) {
        self.transport.0.metrics.surprise(self.service, seen.kind, seen.count);
        self.surprises.record(self.service, operation, seen);
    }

    /// Reads an answer tolerantly, and reports its oddities in a metric and in rate-limited log lines.
    pub fn read_answer<T>(
        &self,
        operation: &'static str,
        answer: &Value,
        read: impl FnOnce(&AnswerPart<'_>) -> T,
    ) -> T {
        let odd = Oddities::default();
        let result = read(&AnswerPart::whole(answer, &odd));
        self.report_oddities(operation, &odd);
        odd.surprises().into_iter().for_each(|seen| self.surprise(operation, seen));
        result
    }

    fn report_oddities(&self, operation: &'static str, odd: &Oddities) {
        let (service, connection) = (self.service.label(), &self.connection);
        if let Some(rows) = odd.rows() {
            self.transport.0.metrics.odd(self.service, operation, "row", rows.count);
            if self.may_log(operation, true) {
                let (count, path) = (rows.count, rows.first);
                tracing::warn!(target: LOG_TARGET, %connection, service, operation, count, path, "left out rows of an answer that cannot be read; the other rows are processed");
            }
        }
        if let Some(members) = odd.members() {
            self.transport.0.metrics.odd(self.service, operation, "member", members.count);
            if self.may_log(operation, false) {
                let (count, path) = (members.count, members.first);
                tracing::warn!(target: LOG_TARGET, %connection, service, operation, count, path, "dropped members of an answer that cannot be read");
            }
        }
    }

    fn may_log(&self, operation: &'static str, rows: bool) -> bool {
        let mut logged = self.odd_logged.lock();
        let last = logged.get(&(operation, rows));
        let may = last.is_none_or(|last| last.elapsed() >= ODDITY_LOG_INTERVAL);
        if may {
            logged.insert((operation, rows), Instant::now());
        }
        may
    }

    /// Returns the ID of the key at its origin. All clients of one key share it.
    pub fn id(&self) -> AccountId {
        self.bucket.id()
    }

    /// Returns the transport of the account.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Returns the address of a path below the base. Segments are percent-encoded; an empty last segment adds a
    /// trailing slash.
    pub fn url(&self, operation: &'static str, segments: &[&str]) -> Result<Url, ServiceError> {
        let mut url = self.base.clone();
        let fits =
            |s: &str| s.len() <= MAX_SEGMENT_LENGTH && s != "." && s != ".." && !s.contains(char::is_control);
        let last = segments.len().saturating_sub(1);
        if segments.iter().enumerate().any(|(i, s)| !fits(s) || (s.is_empty() && i < last)) {
            return Err(self.error(ErrorKind::Invalid, operation, None, "an invalid ID"));
        }
        match url.path_segments_mut() {
            Ok(mut path) => {
                path.pop_if_empty().extend(segments);
            }
            Err(()) => {
                return Err(self.error(ErrorKind::Invalid, operation, None, "the address cannot have paths"));
            }
        }
        Ok(url)
    }

    /// Waits for a token of the rate limit. The token does not expire, but the longer it is kept, the less it reflects
    /// the current rate.
    pub async fn permit(&self, priority: Priority) -> Permit {
        let began = Instant::now();
        self.bucket.take(priority).await;
        let waited = began.elapsed();
        self.transport.0.metrics.wait(self.service, waited);
        Permit { priority, waited }
    }

    /// Waits for the rate limit, then sends.
    pub async fn send<Raw: DeserializeOwned, T>(
        &self,
        priority: Priority,
        call: Call,
        convert: impl FnOnce(Raw) -> Result<T, &'static str>,
    ) -> Result<T, ServiceError> {
        let permit = self.permit(priority).await;
        self.send_now(permit, call, convert).await
    }

    /// Sends before the deadline or not at all. If it is too late, the error is [`ErrorKind::Unavailable`], as if no
    /// connection could be opened.
    pub async fn send_once<Raw: DeserializeOwned, T>(
        &self,
        SendDeadline { permit, leave_by }: SendDeadline,
        call: Call,
        convert: impl FnOnce(Raw) -> Result<T, &'static str>,
    ) -> Result<T, ServiceError> {
        if Instant::now() + super::CONNECT_TIMEOUT > leave_by {
            let reason = "not sent: too little time was left";
            return Err(self.error(ErrorKind::Unavailable, call.operation, None, reason));
        }
        self.send_now(permit, call, convert).await
    }

    /// Sends at once. `convert` checks the decoded answer; an answer that it rejects counts as unreadable.
    pub async fn send_now<Raw: DeserializeOwned, T>(
        &self,
        Permit { priority, waited }: Permit,
        call: Call,
        convert: impl FnOnce(Raw) -> Result<T, &'static str>,
    ) -> Result<T, ServiceError> {
        let (service, operation) = (self.service, call.operation);
        let span = spans::call(service, operation, call.method.as_str(), &call.url, priority, waited);
        let began = Instant::now();
        let answer = self.exchange(&call).instrument(span.clone()).await;
        let answered = answer.as_ref().map_or_else(|error| error.status, |answer| Some(answer.status));
        let result = answer.and_then(|Answer { status, body, form }| {
            // An answer with status 204 has no body.
            let raw = serde_json::from_slice(if body.is_empty() { b"null" } else { &body });
            let surprise = error_response::unreadable(raw.as_ref().err());
            // The decoder's message may quote the answer, and with it a candidate's data.
            raw.map_err(|error: serde_json::Error| {
                error_response::describe_unreadable(service, error.is_data(), &form)
            })
            .and_then(|raw| convert(raw).map_err(|reason| format!("{reason} ({form})")))
            .map_err(|reason| {
                self.surprise(operation, Sighting::new(surprise, error_response::place(status)));
                self.error(kind_without_answer(&call), operation, Some(status), &reason)
            })
        });
        let took = began.elapsed();
        let failure = result.as_ref().err().map(|error| error.class);
        let outcome = failure.map_or("ok", ErrorKind::label);
        match &result {
            Err(error) if error.class == ErrorKind::Throttled && !error.is_quota() => {
                self.bucket.refused(began, error.retry_after);
            }
            Err(ServiceError { status: None, .. }) => {}
            Ok(_) | Err(_) => self.bucket.accepted(began),
        }
        self.transport.0.metrics.request(service, operation, outcome, priority, took);
        spans::called(&span, answered, failure);
        span.in_scope(|| {
            let (service, elapsed_ms) = (service.label(), took.as_millis());
            tracing::debug!(target: LOG_TARGET, service, operation, outcome, status = answered, elapsed_ms, "called a service");
        });
        result
    }

    /// Sends one request and returns its answer, if that is a success.
    async fn exchange(&self, call: &Call) -> Result<Answer, ServiceError> {
        let began = Instant::now();
        let sent = self.request(call).send().await;
        let mut response = sent.map_err(|error| self.no_answer(call, None, &error))?;
        let observed = self.transport.0.observed.as_ref();
        let observed = observed.map(|all| (all, AnswerHead::new(&response, began.elapsed())));
        let status = response.status();
        if !status.is_success() {
            return Err(self.refusal(call, response, observed).await);
        }
        let code = Some(status.as_u16());
        match read_body(&mut response, MAX_ANSWER_BYTES).await {
            Ok(Some(body)) => {
                let form = error_response::form(response.headers(), Some(body.len()));
                if let Some((all, head)) = observed {
                    all.add(head, &body);
                }
                Ok(Answer { status: status.as_u16(), body, form })
            }
            Ok(None) => {
                Err(self.error(kind_without_answer(call), call.operation, code, "the answer is over 8 MiB"))
            }
            Err(error) => Err(self.no_answer(call, code, &error)),
        }
    }

    fn request(&self, call: &Call) -> RequestBuilder {
        let http = if call.is_write() { &self.transport.0.writes } else { &self.transport.0.reads };
        let request = http
            .request(call.method.clone(), call.url.clone())
            .timeout(call.time_limit)
            .header(ACCEPT, "application/json");
        let key = self.key.expose_secret();
        let request = match self.service {
            // reference: lever-api.md, 1. Authentication: the key is the user, the password is empty.
            Service::Lever => request.basic_auth(key, Some("")),
            // reference: interview-api.md, 1. Transport, Auth header.
            Service::Interview => match HeaderValue::try_from(format!("Token token=\"{key}\"")) {
                Ok(mut header) => {
                    header.set_sensitive(true);
                    request.header(AUTHORIZATION, header)
                }
                Err(_) => request,
            },
        };
        match &call.payload {
            Body::Nothing => request,
            Body::Json(value) => request.header(CONTENT_TYPE, "application/json").body(value.to_string()),
            Body::Form(form) => {
                request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.clone())
            }
        }
    }

    /// Returns the error for an answer whose status is not a success.
    async fn refusal(
        &self,
        call: &Call,
        mut response: Response,
        observed: Option<(&ObservedAnswers, AnswerHead)>,
    ) -> ServiceError {
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let redirect =
            error_response::redirect(&call.url, response.headers()).filter(|_| status.is_redirection());
        let body = read_body(&mut response, MAX_ERROR_ANSWER_BYTES).await.ok().flatten();
        if let Some((all, head)) = observed {
            all.add(head, body.as_deref().unwrap_or_default());
        }
        let own = body.as_deref().and_then(|body| Envelope::parse(self.service, body));
        let class = error_response::class(status, own.is_some(), kind_without_answer(call));
        let length = body.as_deref().map(<[u8]>::len);
        if error_response::is_foreign(status, own.is_some()) {
            let place = error_response::place(status.as_u16());
            self.surprise(call.operation, Sighting::new(SurpriseKind::ForeignAnswer, place));
        }
        let described =
            || error_response::description(self.service, status, response.headers(), own.as_ref(), length);
        let message = redirect.unwrap_or_else(described);
        let mut error = self.error(class, call.operation, Some(status.as_u16()), &message);
        error.retry_after = retry_after;
        error
    }

    /// Returns the error for a call without a complete answer.
    fn no_answer(&self, call: &Call, status: Option<u16>, error: &reqwest::Error) -> ServiceError {
        let class = if error.is_builder() {
            ErrorKind::Invalid
        } else if error.is_connect() {
            ErrorKind::Unavailable
        } else {
            kind_without_answer(call)
        };
        let message = if error.is_timeout() && error.is_connect() {
            format!("no connection within {} s", super::CONNECT_TIMEOUT.as_secs())
        } else if error.is_timeout() {
            format!("timed out after {} s", call.time_limit.as_secs_f64())
        } else if error.is_connect() && is_tls(error) {
            format!(
                "no TLS connection: {}. Check the address, any proxy in between, and the certificates that the operator trusts",
                root_cause(error)
            )
        } else if error.is_connect() {
            format!("no connection: {}", root_cause(error))
        } else {
            root_cause(error)
        };
        self.error(class, call.operation, status, &message)
    }

    /// Creates an error of this account. If the message quotes the key, the key is replaced.
    pub fn error(
        &self,
        class: ErrorKind,
        operation: &'static str,
        status: Option<u16>,
        message: &str,
    ) -> ServiceError {
        let key = self.key.expose_secret();
        if key.len() >= MIN_REDACTED_KEY_LENGTH && message.contains(key) {
            return ServiceError::new(class, self.service, operation, status, &message.replace(key, "(key)"));
        }
        ServiceError::new(class, self.service, operation, status, message)
    }
}

/// Returns the class of a call that may have reached the service but has no usable answer.
fn kind_without_answer(call: &Call) -> ErrorKind {
    if call.is_write() { ErrorKind::OutcomeUnknown } else { ErrorKind::Unavailable }
}

/// Reads the whole body. Returns None if it is longer than `limit` bytes.
async fn read_body(response: &mut Response, limit: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// Returns the value of `Retry-After`. A date in this header is ignored: neither service documents the header at all.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Reports whether a connection failed because of TLS: the peer's certificate is not trusted, or the peer does not
/// speak TLS.
fn is_tls(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let mut io = error.downcast_ref::<std::io::Error>();
        while let Some(error) = io {
            if error.kind() == std::io::ErrorKind::InvalidData {
                return true;
            }
            // `source` skips an inner error of the same type.
            io = error.get_ref().and_then(|inner| inner.downcast_ref());
        }
        cause = error.source();
    }
    false
}

/// Returns the message of the innermost error, such as "Connection refused". The outer errors contain the URL.
pub fn root_cause(error: &dyn StdError) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
