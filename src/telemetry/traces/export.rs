//! Export of spans: the filter of spans, and the HTTP client that sends them.

use super::span_definitions::IDLE_ATTRIBUTE;
use opentelemetry::Context;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Timeout of one export request.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Delay before the same failure is logged again.
const EXPORT_LOG_INTERVAL: Duration = Duration::from_secs(600);
/// Delay before a different failure is logged.
const NEW_FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Advice for the most frequent mistake: a request to a gRPC port looks like a broken connection.
const HINT: &str =
    "It must be the collector's port for OTLP over HTTP, usually 4318; gRPC, usually 4317, is not supported";

/// Span processor that drops the spans of passes without work. A new leader reconciles every Pad; the spans of these
/// passes would fill the collector and displace the others.
#[derive(Debug)]
pub struct DropIdleSpans<P>(pub P);

impl<P: SpanProcessor> SpanProcessor for DropIdleSpans<P> {
    fn on_start(&self, span: &mut Span, parent: &Context) {
        super::span_definitions::acts(parent);
        self.0.on_start(span, parent);
    }

    fn on_end(&self, span: SpanData) {
        if !span.attributes.iter().any(|one| one.key.as_str() == IDLE_ATTRIBUTE) {
            self.0.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

/// HTTP client for the exporter. The exporter runs on its own thread, and the HTTP client needs the runtime.
#[derive(Debug)]
pub struct OtlpHttpClient {
    client: reqwest::Client,
    runtime: Handle,
    failure: Mutex<Option<ExportFailure>>,
}

/// Export failure that persists.
#[derive(Debug)]
struct ExportFailure {
    logged: Instant,
    reason: String,
}

impl OtlpHttpClient {
    /// Creates a client with its own connections, so that a faulty collector does not affect calls to Lever and
    /// CoderPad.
    pub fn new(runtime: Handle) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("pad-operator/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(EXPORT_TIMEOUT)
            .build()?;
        Ok(Self { client, runtime, failure: Mutex::default() })
    }

    async fn deliver(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let client = self.client.clone();
        let exchange = self.runtime.spawn(async move {
            let answer = client.execute(request).await?;
            let status = answer.status();
            answer.bytes().await.map(|body| (status, body))
        });
        let (status, body) = exchange.await?.inspect_err(|error| {
            self.failed(&http_client::root_cause(error));
        })?;
        if status.is_success() {
            self.succeeded();
        } else {
            self.failed(&format!("it answered {status}"));
        }
        Ok(Response::builder().status(status.as_u16()).body(body)?)
    }

    /// Logs a failure: one line when it begins, and one line per [`EXPORT_LOG_INTERVAL`] while it persists.
    /// `succeeded` logs its end.
    fn failed(&self, reason: &str) {
        let mut failure = self.failure.lock();
        if is_due(failure.as_ref(), reason, Instant::now()) {
            tracing::warn!(%reason, "traces cannot be delivered to the collector of --otlp-endpoint; nothing else depends on it. {HINT}");
            *failure = Some(ExportFailure { logged: Instant::now(), reason: reason.to_owned() });
        }
    }

    fn succeeded(&self) {
        if self.failure.lock().take().is_some() {
            tracing::info!("traces are delivered to the collector again");
        }
    }
}

/// Reports whether a failure must be logged now.
fn is_due(last: Option<&ExportFailure>, reason: &str, now: Instant) -> bool {
    last.is_none_or(|last| {
        let pause = if last.reason == reason { EXPORT_LOG_INTERVAL } else { NEW_FAILURE_LOG_INTERVAL };
        now.saturating_duration_since(last.logged) >= pause
    })
}

impl HttpClient for OtlpHttpClient {
    fn send_bytes<'a, 'f>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        'a: 'f,
        Self: 'f,
    {
        Box::pin(self.deliver(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_lasts_is_logged_at_a_bounded_rate() {
        let logged = Instant::now();
        let last = ExportFailure { logged, reason: "it answered 404".into() };
        assert!(is_due(None, "it answered 404", logged));
        assert!(!is_due(Some(&last), "it answered 404", logged + EXPORT_LOG_INTERVAL / 2));
        assert!(is_due(Some(&last), "it answered 404", logged + EXPORT_LOG_INTERVAL));
        assert!(!is_due(Some(&last), "connection refused", logged + NEW_FAILURE_LOG_INTERVAL / 2));
        assert!(is_due(Some(&last), "connection refused", logged + NEW_FAILURE_LOG_INTERVAL));
    }
}
