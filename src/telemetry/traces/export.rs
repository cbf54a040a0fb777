//! How spans leave: which of them, and over which HTTP client.

use super::spans::IDLE;
use crate::transport;
use opentelemetry::Context;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long a delivery may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Leaves out passes that did nothing. A leader that begins looks at each Pad there is, and a collector that is told of
/// all that would have no room for the rest.
#[derive(Debug)]
pub struct Worthwhile<P>(pub P);

impl<P: SpanProcessor> SpanProcessor for Worthwhile<P> {
    fn on_start(&self, span: &mut Span, parent: &Context) {
        super::spans::acts(parent);
        self.0.on_start(span, parent);
    }

    fn on_end(&self, span: SpanData) {
        if !span.attributes.iter().any(|one| one.key.as_str() == IDLE) {
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
pub struct Carrier {
    client: reqwest::Client,
    runtime: Handle,
    fails: AtomicBool,
}

impl Carrier {
    /// With connections of its own: what a collector does must not touch the calls to the services.
    pub fn new(runtime: Handle) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("pad-operator/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIME_LIMIT)
            .build()?;
        Ok(Self { client, runtime, fails: AtomicBool::new(false) })
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

    /// One line when it begins to fail, and one when that is over, however long it lasts.
    fn failed(&self, reason: &str) {
        if !self.fails.swap(true, Ordering::Relaxed) {
            tracing::warn!(%reason, "traces cannot be delivered to the collector of --otlp-endpoint; nothing else depends on it");
        }
    }

    fn succeeded(&self) {
        if self.fails.swap(false, Ordering::Relaxed) {
            tracing::info!("traces are delivered to the collector again");
        }
    }
}

impl HttpClient for Carrier {
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
