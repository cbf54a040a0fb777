//! The span of a call to a service. It contains the operation with placeholders, and outcomes from closed sets. It contains
//! no ID from Lever or CoderPad, no address with an ID, and no message of a service.

use super::rate_limit::Priority;
use services::{ErrorKind, Service};
use std::time::Duration;
use tracing::field::Empty;
use tracing::{Span, info_span};
use url::Url;

/// Target of all exported spans. No other span and no log line has it.
pub const TRACE_TARGET: &str = "pad_operator_trace";

/// Creates the span of one call to a service. `waited` is the time that the call waited for the rate limit.
pub(crate) fn call(
    service: Service,
    operation: &'static str,
    method: &str,
    url: &Url,
    priority: Priority,
    waited: Duration,
) -> Span {
    info_span!(
        target: TRACE_TARGET,
        "call",
        otel.name = operation,
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = method,
        http.response.status_code = Empty,
        server.address = url.host_str(),
        server.port = url.port_or_known_default(),
        "error.type" = Empty,
        pad_operator.service = service.label(),
        pad_operator.priority = priority.label(),
        pad_operator.rate_limit_wait_ms = milliseconds(waited),
    )
}

/// Records the result of a call.
pub(crate) fn called(span: &Span, status: Option<u16>, failure: Option<ErrorKind>) {
    if let Some(status) = status {
        span.record("http.response.status_code", status);
    }
    if let Some(class) = failure {
        span.record("error.type", class.label()).record("otel.status_code", "error");
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
