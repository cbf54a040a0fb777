//! Request pipeline of both services: records each request, applies the faults, calls the service and sends the
//! response.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use serde_json::Value;

use super::bucket::{Buckets, RateLimit};
use super::faults::{ActiveFault, FaultAction, Faults, Gate, PausePoint};
use super::server::Abort;
use super::wire::{Incoming, Reply};
use super::{lock, now_ms};

const RECORDED_BODY_MAX: usize = 64 << 10;

/// Request that a simulated service received.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    /// Sequence number from zero, not reset by [`clear_calls`](crate::LeverSimulator::clear_calls).
    pub number: usize,
    /// Arrival time, in milliseconds since the epoch.
    pub at: i64,
    /// HTTP method.
    pub method: String,
    /// Path with its prefix, such as `/v1/stages`.
    pub path: String,
    /// Decoded query.
    pub query: Vec<(String, String)>,
    /// Body as text, at most 64 KiB.
    pub body: String,
    /// API key, if the request had one.
    pub key: Option<String>,
    /// Form of the authorization: `basic`, `token`, `bare token` or `bearer`.
    pub auth: Option<&'static str>,
    /// Status that the service itself returned; `None` if the request never reached it.
    pub handled: Option<u16>,
    /// Status that was sent; `None` if no response was.
    pub status: Option<u16>,
    /// IDs of the faults that the request met.
    pub faults: Vec<u64>,
}

#[derive(Debug, Default)]
struct Calls {
    first: usize,
    list: Vec<Call>,
}

#[derive(Debug, Default)]
pub(crate) struct Caller {
    pub key: Option<String>,
    pub auth: Option<&'static str>,
}

pub(crate) trait Service: Send + Sync + 'static {
    fn pipeline(&self) -> &Pipeline;
    fn answer(&self, request: &Incoming, caller: &mut Caller) -> Reply;
    /// Returns the service's usual body for an error status.
    fn error_body(&self, status: u16) -> Value;
}

#[derive(Debug)]
pub(crate) struct Pipeline {
    pub faults: Faults,
    pub buckets: Buckets,
    calls: Mutex<Calls>,
    violations: Mutex<Vec<String>>,
}

pub(crate) enum Outcome {
    Reply(Reply),
    Throttle(Reply, u64),
    Redirect(u16, String),
    Page(u16),
    Raw(u16, Bytes),
    Truncated(u16, Bytes),
    Abort,
    Hang,
}

impl Pipeline {
    pub(crate) fn new(limit: Option<RateLimit>) -> Self {
        Self {
            faults: Faults::default(),
            buckets: Buckets::new(limit),
            calls: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    pub(crate) fn violation(&self, request: &Incoming, what: impl std::fmt::Display) {
        lock(&self.violations).push(format!("{} {}: {what}", request.method, request.path));
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }

    pub(crate) fn clear_violations(&self) {
        lock(&self.violations).clear();
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        lock(&self.calls).list.clone()
    }

    pub(crate) fn clear_calls(&self) {
        let mut calls = lock(&self.calls);
        calls.first += calls.list.len();
        calls.list.clear();
    }

    fn record(&self, request: &Incoming) -> usize {
        let mut calls = lock(&self.calls);
        let number = calls.first + calls.list.len();
        calls.list.push(Call {
            number,
            at: now_ms(),
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query().unwrap_or_default(),
            body: request.text().chars().take(RECORDED_BODY_MAX).collect(),
            key: None,
            auth: None,
            handled: None,
            status: None,
            faults: Vec::new(),
        });
        number
    }

    fn update(&self, number: usize, change: impl FnOnce(&mut Call)) {
        let mut calls = lock(&self.calls);
        let index = number.checked_sub(calls.first);
        if let Some(call) = index.and_then(|index| calls.list.get_mut(index)) {
            change(call);
        }
    }
}

/// Handles every path outside the control API.
pub(crate) async fn receive<S: Service>(State(service): State<Arc<S>>, request: Request) -> Response {
    let Some(incoming) = Incoming::read(request).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    run_detached(process(service, incoming)).await
}

/// Runs `work` on its own task and returns its response: a client that disconnects must not cancel a request in flight.
pub(crate) async fn run_detached(work: impl Future<Output = Outcome> + Send + 'static) -> Response {
    match tokio::spawn(work).await {
        Ok(Outcome::Hang) => std::future::pending().await,
        Ok(outcome) => outcome.into_response(),
        Err(_) => Outcome::Abort.into_response(),
    }
}

async fn process<S: Service>(service: Arc<S>, request: Incoming) -> Outcome {
    let pipeline = service.pipeline();
    let number = pipeline.record(&request);
    let entries = pipeline.faults.take(&request);
    pipeline.update(number, |call| call.faults = entries.iter().map(|entry| entry.id()).collect());
    let finish = |outcome: Outcome| {
        let status = outcome.status();
        pipeline.update(number, |call| call.status = status);
        outcome
    };
    let error_body = |code: u16| service.error_body(code);
    if let Some(outcome) = before_effect(&entries, error_body).await {
        return finish(outcome);
    }

    let mut caller = Caller::default();
    let reply = service.answer(&request, &mut caller);
    pipeline.update(number, |call| {
        call.key = caller.key;
        call.auth = caller.auth;
        call.handled = Some(reply.status);
    });
    let instead = after_effect(&entries, reply.status, || reply.text().into(), error_body).await;
    finish(instead.unwrap_or(Outcome::Reply(reply)))
}

fn error(code: u16, body: &Option<Value>, usual: impl Fn(u16) -> Value) -> Outcome {
    Outcome::Reply(Reply::json(code, body.clone().unwrap_or_else(|| usual(code))))
}

/// Applies faults before the request takes effect. `None` means that the request continues.
pub(crate) async fn before_effect(
    entries: &[Arc<ActiveFault>],
    error_body: impl Fn(u16) -> Value,
) -> Option<Outcome> {
    for entry in entries {
        let outcome = match entry.action() {
            FaultAction::Delay { milliseconds } => {
                entry.hit();
                tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
                continue;
            }
            FaultAction::Pause { at: PausePoint::BeforeEffect } => {
                entry.hit();
                match entry.wait_released().await {
                    Gate::Discard => return Some(Outcome::Abort),
                    _ => continue,
                }
            }
            FaultAction::Status { code, body } => error(*code, body, &error_body),
            FaultAction::Page { code } => Outcome::Page(*code),
            FaultAction::Empty { code } => Outcome::Reply(Reply::empty(*code)),
            FaultAction::Redirect { code, location } => Outcome::Redirect(*code, location.clone()),
            FaultAction::Throttle { retry_after_seconds } => {
                Outcome::Throttle(Reply::json(429, error_body(429)), *retry_after_seconds)
            }
            FaultAction::Reset => Outcome::Abort,
            FaultAction::Hang => Outcome::Hang,
            _ => continue,
        };
        entry.hit();
        return Some(outcome);
    }
    None
}

/// Applies faults after the request took effect. `None` means that the response is sent unchanged.
pub(crate) async fn after_effect(
    entries: &[Arc<ActiveFault>],
    status: u16,
    body: impl Fn() -> Bytes,
    error_body: impl Fn(u16) -> Value,
) -> Option<Outcome> {
    for entry in entries {
        let outcome = match entry.action() {
            FaultAction::DelayAnswer { milliseconds } => {
                entry.hit();
                tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
                continue;
            }
            FaultAction::Pause { at: PausePoint::AfterEffect } => {
                entry.hit();
                match entry.wait_released().await {
                    Gate::Discard => return Some(Outcome::Abort),
                    _ => continue,
                }
            }
            FaultAction::LoseAnswer => Outcome::Abort,
            FaultAction::HangAfterEffect => Outcome::Hang,
            FaultAction::StatusAfterEffect { code, body } => error(*code, body, &error_body),
            FaultAction::Edit { adds } => Outcome::Raw(status, edited(&body(), adds)),
            FaultAction::GarbageAfterEffect => Outcome::Raw(status, Bytes::from_static(b"<html>{oops")),
            FaultAction::TruncateAfterEffect => Outcome::Truncated(status, body()),
            FaultAction::HugeAfterEffect { bytes } => Outcome::Raw(status, huge(*bytes)),
            _ => continue,
        };
        entry.hit();
        return Some(outcome);
    }
    None
}

fn edited(body: &[u8], adds: &[(String, Value)]) -> Bytes {
    let mut answer: Value = serde_json::from_slice(body).unwrap_or_default();
    for (pointer, value) in adds {
        let Some((parent, name)) = pointer.rsplit_once('/') else { continue };
        match (answer.pointer_mut(parent), name.parse()) {
            (Some(Value::Array(items)), Ok(index)) if index <= items.len() => {
                items.insert(index, value.clone())
            }
            (Some(Value::Array(items)), _) if name == "-" => items.push(value.clone()),
            (Some(Value::Object(members)), _) => drop(members.insert(name.to_owned(), value.clone())),
            _ => {}
        }
    }
    answer.to_string().into()
}

fn huge(bytes: usize) -> Bytes {
    let mut text = br#"{"data":""#.to_vec();
    text.resize(bytes.max(text.len() + 2) - 2, b'x');
    text.extend_from_slice(br#""}"#);
    text.into()
}

impl Outcome {
    fn status(&self) -> Option<u16> {
        match self {
            Self::Reply(reply) | Self::Throttle(reply, _) => Some(reply.status),
            Self::Page(code) => Some(*code),
            Self::Redirect(code, _) | Self::Raw(code, _) | Self::Truncated(code, _) => Some(*code),
            Self::Abort | Self::Hang => None,
        }
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        let raw = |code: u16, name: &'static str, value: String, body: Body| {
            let response = Response::builder().status(code).header(name, value).body(body);
            response.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
        };
        match self {
            Self::Reply(reply) => reply.into_response(),
            Self::Throttle(reply, seconds) => {
                let mut response = reply.into_response();
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
                response
            }
            Self::Redirect(code, location) => raw(code, "location", location, Body::empty()),
            Self::Page(code) => {
                let page = Body::from("<html><head><title>Blocked</title></head></html>");
                let mut response = raw(code, "content-type", "text/html".to_owned(), page);
                response.headers_mut().insert("server", HeaderValue::from_static("edge"));
                response
            }
            Self::Raw(code, bytes) => raw(code, "content-type", "application/json".to_owned(), bytes.into()),
            Self::Truncated(code, whole) => {
                let half = whole.slice(..whole.len() / 2);
                let body = Body::from_stream(stream::unfold(Some(half), |half| async move {
                    if let Some(half) = half {
                        return Some((Ok(half), None));
                    }
                    // Later than the first half; otherwise the connection closes before that half is sent.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Some((Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted)), None))
                }));
                raw(code, "content-length", whole.len().to_string(), body)
            }
            Self::Abort | Self::Hang => {
                let mut response = Response::new(Body::empty());
                response.extensions_mut().insert(Abort);
                response
            }
        }
    }
}
