//! Definitions of all spans, and the Pad annotation by which a trace continues in another process.
//!
//! This module defines all names and attributes of spans, except those of a call to a service, which the HTTP client
//! defines. They contain names of cluster objects, operations with
//! placeholders, and outcomes from closed sets. They contain no ID from Lever or CoderPad, no address with an ID, no
//! message of a service, and no data of a candidate.

use super::TRACE_TARGET;
use api::names::TRACEPARENT;
use axum::http::StatusCode;
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Attribute of a pass that did no work.
pub(super) const IDLE_ATTRIBUTE: &str = "pad_operator.idle";
/// Name of the header with the trace context, from the W3C Trace Context specification.
const TRACEPARENT_HEADER: &str = "traceparent";

/// Creates the span of a signed delivery, which lasts until the answer. Unsigned deliveries have no span, so that a
/// flood of them does not flood the collector.
pub fn webhook(namespace: &str, connection: &str) -> Span {
    info_span!(
        target: TRACE_TARGET,
        "POST /webhooks/lever/{namespace}/{connection}",
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = "POST",
        http.route = "/webhooks/lever/{namespace}/{connection}",
        http.response.status_code = Empty,
        k8s.namespace.name = namespace,
        pad_operator.connection = connection,
        pad_operator.outcome = Empty,
    )
}

/// Records the answer to a delivery.
pub fn answered(span: &Span, outcome: &str, status: StatusCode) {
    span.record("pad_operator.outcome", outcome).record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "error");
    }
}

/// Creates the span of one sync of a connection.
pub fn sync(namespace: &str, connection: &str) -> Span {
    info_span!(target: TRACE_TARGET, "sync", k8s.namespace.name = namespace, pad_operator.connection = connection)
}

/// Creates the span of one command of a Pad, with the rule that decided it.
pub fn step(name: &'static str, rule: &'static str) -> Span {
    info_span!(
        target: TRACE_TARGET,
        "step",
        otel.name = name,
        otel.status_code = Empty,
        pad_operator.rule = rule,
    )
}

/// Runs a write to the API server in its own span.
pub async fn write<T>(
    operation: &str,
    namespace: &str,
    name: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> kube::Result<T> {
    let span = info_span!(
        target: TRACE_TARGET,
        "write",
        otel.name = operation,
        otel.kind = "client",
        otel.status_code = Empty,
        http.response.status_code = Empty,
        "error.type" = Empty,
        k8s.namespace.name = namespace,
        pad_operator.object = name,
    );
    let result = request.instrument(span.clone()).await;
    match &result {
        Ok(_) => {}
        Err(kube::Error::Api(status)) => {
            span.record("http.response.status_code", status.code).record("otel.status_code", "error");
        }
        Err(_) => {
            span.record("error.type", "no_answer").record("otel.status_code", "error");
        }
    }
    result
}

/// Returns the annotation by which the reconcile of the object continues the current trace; None if there is no trace.
pub fn traceparent_annotation() -> Option<(String, String)> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&Context::current(), &mut carrier);
    Some((TRACEPARENT.to_owned(), carrier.remove(TRACEPARENT_HEADER)?))
}

/// Returns the span context in an annotation. An invalid annotation counts as absent, because anybody who may write
/// Pads may set it.
fn marked(annotation: &str) -> Option<SpanContext> {
    let carrier = HashMap::from([(TRACEPARENT_HEADER.to_owned(), annotation.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    Some(context.span().span_context().clone()).filter(SpanContext::is_valid)
}

/// Flag that is set as soon as a pass does some work.
#[derive(Clone, Default)]
struct HadWork(Arc<AtomicBool>);

/// Marks the pass that contains `parent` as having work, because a span begins under it.
pub(super) fn acts(parent: &Context) {
    // A pass itself has no parent, or a remote parent: the webhook, possibly in another process.
    let of_pass = parent.has_active_span() && !parent.span().span_context().is_remote();
    if let Some(HadWork(acts)) = parent.get::<HadWork>().filter(|_| of_pass) {
        acts.store(true, Ordering::Relaxed);
    }
}

/// Records how long the current pass waited for its concurrency slot.
pub fn took_turn(waited: Duration) {
    Span::current().record("pad_operator.turn_wait_ms", milliseconds(waited));
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Span of one pass over an object.
pub struct ReconcileSpan {
    span: Span,
    acts: HadWork,
}

impl ReconcileSpan {
    /// Creates the span. `annotation` is the object's trace annotation. The pass belongs to that trace until the work
    /// of the trace is done (`continues`); each later pass is a separate trace, with a link to the first.
    pub fn new(kind: &str, namespace: &str, name: &str, annotation: Option<&str>, continues: bool) -> Self {
        let span = info_span!(
            target: TRACE_TARGET,
            "reconcile",
            otel.name = format!("reconcile {kind}"),
            otel.status_code = Empty,
            k8s.namespace.name = namespace,
            pad_operator.kind = kind,
            pad_operator.object = name,
            pad_operator.turn_wait_ms = Empty,
            pad_operator.idle = Empty,
        );
        let acts = HadWork::default();
        if span.is_disabled() {
            return Self { span, acts };
        }
        let marked = annotation.and_then(marked);
        let mut parent = Context::new().with_value(acts.clone());
        match marked {
            Some(began) if continues => parent = parent.with_remote_span_context(began),
            Some(began) => span.add_link(began),
            None => {}
        }
        // This can only fail if traces are off.
        let _ = span.set_parent(parent);
        Self { span, acts }
    }

    /// Runs the pass in its span.
    pub async fn run<T, E>(self, pass: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let result = pass.instrument(self.span.clone()).await;
        if result.is_err() {
            self.span.record("otel.status_code", "error");
        } else if !self.acts.0.load(Ordering::Relaxed) {
            self.span.record(IDLE_ATTRIBUTE, true);
        }
        result
    }
}
