//! How spans leave: which of them, and over which HTTP client.

use super::spans::IDLE_ATTRIBUTE;
use crate::transport;
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

/// How long a delivery may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Delay before the same failure is logged again, and before another one is.
const EXPORT_LOG_INTERVAL: Duration = Duration::from_secs(600);
const NEW_FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// The mistake that is made most often: to a gRPC port it looks like a broken connection.
const HINT: &str =
    "It must be the collector's port for OTLP over HTTP, usually 4318; gRPC, usually 4317, is not supported";

/// Leaves out passes that did nothing. A leader that begins looks at each Pad there is, and a collector that is told of
/// all that would have no room for the rest.
#[derive(Debug)]
pub struct DropIdleSpans<P>(pub P);

impl<P: SpanProcessor> SpanProcessor for DropIdleSpans<P> {
    fn on_start(&self, span: &mut Span, parent: &Context) {
        super::spans::acts(parent);
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

/// Sends requests of the exporter, which runs on a thread of its own, over our HTTP client, which needs the runtime.
#[derive(Debug)]
pub struct OtlpHttpClient {
    client: reqwest::Client,
    runtime: Handle,
    failure: Mutex<Option<ExportFailure>>,
}

/// A failure that lasts.
#[derive(Debug)]
struct ExportFailure {
    logged: Instant,
    reason: String,
}

impl OtlpHttpClient {
    /// With connections of its own: what a collector does must not touch the calls to the services.
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
            self.failed(&transport::innermost(error));
        })?;
        if status.is_success() {
            self.succeeded();
        } else {
            self.failed(&format!("it answered {status}"));
        }
        Ok(Response::builder().status(status.as_u16()).body(body)?)
    }

    /// One line when it begins to fail, one each [`EXPORT_LOG_INTERVAL`] while it lasts, and one when it is over.
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

/// Whether a failure is to be logged now.
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
