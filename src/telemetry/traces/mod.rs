//! Traces, for whoever wants to see where the time of one candidate went: from the webhook over the stored Pad to the
//! calls of both services and the link. Sent as OTLP over HTTP to the collector that `--otlp-endpoint` names.
//!
//! Without that flag nothing is set up: a span that nobody wants is a comparison, and no Pad is annotated. With it
//! nothing waits for the collector: spans are queued, up to a bound, and a thread of its own sends them.
//!
//! Only our own spans leave, and no log line: neither candidates' data nor keys are in them ([`spans`] names all there
//! is). How much is sent is set as everywhere: `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_RESOURCE_ATTRIBUTES`,
//! `OTEL_SERVICE_NAME`, and `OTEL_EXPORTER_OTLP_HEADERS` for a collector that wants to know who sends.

mod export;
pub mod spans;
#[cfg(test)]
mod tests;

use anyhow::Context as _;
use export::{DropIdleSpans, OtlpHttpClient};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider};
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// What all spans that are exported are under; no other span and no log line is.
pub const TRACE_TARGET: &str = "pad_operator_trace";
/// Who made them.
const SERVICE_NAME: &str = "pad-operator";
/// How long the end of the process may wait for a collector that is slow to take the last spans.
const TRACE_FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// The way to the collector.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Begins to send to a collector. Its requests run on `runtime`.
    pub fn to(endpoint: &str, runtime: Handle) -> anyhow::Result<Self> {
        let carrier =
            OtlpHttpClient::new(runtime).context("the HTTP client for traces could not be set up")?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(carrier)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .build()
            .context("--otlp-endpoint cannot be used")?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_span_processor(DropIdleSpans(BatchSpanProcessor::builder(exporter).build()))
            .build();
        Ok(Self { provider })
    }

    /// What turns our spans into those of OpenTelemetry.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(SERVICE_NAME))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(is_of_a_trace))
    }

    /// Sends what is left, for as long as that is worth waiting for.
    pub fn end(&self) {
        if self.provider.shutdown_with_timeout(TRACE_FLUSH_TIMEOUT).is_err() {
            tracing::warn!("the last traces could not be delivered");
        }
    }
}

/// Whether this is a span for traces. Log lines never are.
pub(super) fn is_of_a_trace(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == TRACE_TARGET
}

/// Who we are, as far as nobody has set it otherwise.
fn resource() -> Resource {
    let ours = [
        Some(KeyValue::new("service.name", SERVICE_NAME)),
        Some(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))),
        // The name of the Pod.
        set("HOSTNAME").map(|host| KeyValue::new("service.instance.id", host)),
    ];
    let resource = Resource::builder_empty()
        .with_attributes(ours.into_iter().flatten())
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match set("OTEL_SERVICE_NAME") {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

fn set(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}
