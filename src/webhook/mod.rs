//! The webhook endpoint: receives Lever's deliveries and stores them in the API server before it responds.
//!
//! Every replica responds. The contract defines the order of the checks; until the signature is verified, a request
//! causes no call to the API server and no log line. The endpoint has no rules of its own: [`engine::stage_change`] chooses the
//! Pad for a stage change, `persist` writes it, and the leader decides what follows ([`crate::controller::pad`]).

mod body;
mod concurrency;
pub(crate) mod event;
mod last_delivery;
mod metrics;
mod persist;
mod rejection_reports;
mod response;
mod server;
mod signing_tokens;
mod tcp_connections;

#[cfg(test)]
mod tests;

pub use metrics::WebhookMetrics;
pub use server::serve;
pub use signing_tokens::SigningTokens;

use crate::k8s::{Caches, WatchScope};
use crate::telemetry::traces::span_definitions;
use crate::webhook::concurrency::KeyedSemaphore;
use api::{LeverConnection, names};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use body::LimitedBody;
use event::{EventKind, LeverEvent, Malformed, Timeliness};
use futures::FutureExt;
use jiff::Timestamp;
use kube::{Client, ResourceExt};
use last_delivery::LastDelivery;
use persist::Persisted;
use rejection_reports::RejectionReporter;
use response::{Accepted, Rejection};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tracing::Instrument;

/// Maximum time for a response. Lever waits for at most 5 s.
const DELIVERY_TIMEOUT: Duration = Duration::from_millis(4500);
/// Maximum number of signed deliveries of one connection that are stored at the same time; others wait.
const PERSIST_CONCURRENCY: usize = 16;
/// Maximum number of signed deliveries of one LeverConnection that are in progress at the same time, including
/// deliveries that wait to be stored. The endpoint answers further deliveries with 503 immediately. The limit is a
/// quarter of the TCP connections that the endpoint serves, so that one LeverConnection cannot occupy all of them.
const MAX_PENDING_DELIVERIES: usize = server::MAX_CONNECTIONS / 4;

/// Receiver of deliveries; a cheap handle.
#[derive(Clone)]
pub struct Receiver {
    inner: Arc<ReceiverInner>,
}

struct ReceiverInner {
    client: Client,
    caches: Caches,
    tokens: SigningTokens,
    heard: LastDelivery,
    refused: RejectionReporter,
    pending: KeyedSemaphore,
    persisting: KeyedSemaphore,
    metrics: WebhookMetrics,
    is_ready: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Receiver {
    /// Creates a receiver. `client` must not retry automatically: Lever retries, and waits for the response meanwhile.
    /// `is_ready` reports whether this replica can accept webhooks now.
    pub fn new(
        client: Client,
        caches: Caches,
        tokens: SigningTokens,
        metrics: WebhookMetrics,
        is_ready: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner: Arc::new(ReceiverInner {
                heard: LastDelivery::new(client.clone()),
                refused: RejectionReporter::new(client.clone()),
                pending: KeyedSemaphore::new(MAX_PENDING_DELIVERIES),
                persisting: KeyedSemaphore::new(PERSIST_CONCURRENCY),
                is_ready: Box::new(is_ready),
                client,
                caches,
                tokens,
                metrics,
            }),
        }
    }

    /// Returns the endpoint as a service.
    pub fn router(&self) -> Router {
        Router::new().fallback(handle).with_state(self.clone())
    }
}

async fn handle(State(receiver): State<Receiver>, request: Request) -> Response {
    if is_health_check(request.method(), request.uri().path()) {
        let (status, text) = match (receiver.inner.is_ready)() {
            true => (StatusCode::OK, "ok\n"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        };
        return (status, text).into_response();
    }
    let (parts, body) = request.into_parts();
    let mut body = LimitedBody::new(body);
    let answer = receiver.inner.answer(&parts, &mut body).await;
    body.discard().await;
    let outcome = match &answer {
        Ok(taken) => taken.name(),
        Err(refusal) => refusal.name(),
    };
    receiver.inner.metrics.answered(outcome);
    answer.into_response()
}

impl ReceiverInner {
    async fn answer(&self, parts: &Parts, body: &mut LimitedBody) -> Result<Accepted, Rejection> {
        if parts.method != Method::POST {
            return Err(Rejection::Method);
        }
        let (namespace, name) = target(parts.uri.path()).ok_or(Rejection::Path)?;
        let scope = self.caches.for_namespace(namespace).ok_or(Rejection::Connection)?;
        if scope.ready().now_or_never() != Some(true) {
            return Err(Rejection::Starting);
        }
        let connection = scope.connections.get(namespace, name).ok_or(Rejection::Connection)?;
        let event = LeverEvent::parse(&body.read().await?)?;
        let signing_tokens = self.tokens.get(namespace, name).ok_or(Rejection::NoToken)?;
        let now = Timestamp::now();
        if !event.is_signed_with(&signing_tokens) {
            if event.has_signature_shape() {
                self.refused.mismatch(&connection, now).await;
            }
            return Err(Rejection::Signature);
        }
        match event.timeliness(now) {
            Timeliness::Timely => {}
            Timeliness::Outdated => {
                self.refused.outdated(&connection);
                return Err(Rejection::Age);
            }
            Timeliness::Ahead { seconds } => {
                self.refused.ahead(&connection, now, seconds).await;
                return Err(Rejection::Age);
            }
        }
        // Anybody who knows the token, or has seen one delivery, can send any number. These are not logged either.
        let pending = self.pending.for_connection(namespace, name).try_acquire_owned();
        let _pending = pending.map_err(|_| Rejection::Crowded)?;
        let span = span_definitions::webhook(namespace, name);
        let answering = async {
            let in_turn = async {
                let _permit = self.persisting.for_connection(namespace, name).acquire_owned().await;
                self.take(scope, &connection, &event).await
            };
            let (taken, ()) =
                futures::join!(timeout(DELIVERY_TIMEOUT, in_turn), self.heard.note(&connection, now));
            let taken = taken.unwrap_or(Err(Rejection::TimedOut));
            log(&connection, &taken);
            taken
        };
        let taken = answering.instrument(span.clone()).await;
        match &taken {
            Ok(taken) => span_definitions::answered(&span, taken.name(), StatusCode::OK),
            Err(refusal) => span_definitions::answered(&span, refusal.name(), refusal.status()),
        }
        taken
    }

    async fn take(
        &self,
        scope: &WatchScope,
        connection: &LeverConnection,
        event: &LeverEvent,
    ) -> Result<Accepted, Rejection> {
        let change = match event.meaning()? {
            EventKind::Verify => return Ok(Accepted::Verified),
            EventKind::Other => return Ok(Accepted::Ignored),
            EventKind::StageChange(change) => change,
        };
        Ok(match persist::store(&self.client, scope, connection, &change).await? {
            Persisted::NotNamed => Accepted::Ignored,
            Persisted::Pads(pads) => Accepted::Stored(pads),
        })
    }
}

/// Logs one line per signed delivery. It contains only names of the cluster and nothing of the delivery itself.
fn log(connection: &LeverConnection, taken: &Result<Accepted, Rejection>) {
    let (namespace, connection) = (connection.namespace().unwrap_or_default(), connection.name_any());
    match taken {
        Ok(taken) => {
            tracing::info!(
                namespace,
                connection,
                outcome = taken.name(),
                pads = taken.pads().len(),
                "webhook"
            );
        }
        Err(refusal) => tracing::warn!(namespace, connection, outcome = refusal.name(), %refusal, "webhook"),
    }
}

/// Reports whether a request is a health check of a load balancer (contract W1a).
fn is_health_check(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && matches!(path, "/" | "/healthz")
}

/// Returns the namespace and the connection in a path.
fn target(path: &str) -> Option<(&str, &str)> {
    let (namespace, name) = path.strip_prefix(names::WEBHOOK_PATH_PREFIX)?.split_once('/')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains('/')).then_some((namespace, name))
}

impl From<Malformed> for Rejection {
    fn from(Malformed(problem): Malformed) -> Self {
        Rejection::Malformed(problem)
    }
}
