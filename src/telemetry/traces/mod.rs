//! Traces that show how long each step for one candidate took: from the webhook through the stored Pad to the calls to
//! Lever and CoderPad and the link. The operator sends them as OTLP over HTTP to the collector in `--otlp-endpoint`.
//!
//! Without that flag, traces are off: a disabled span costs one comparison, and the operator annotates no Pad. With the
//! flag, no code path waits for the collector: spans go to a bounded queue, and a separate thread sends them.
//!
//! The operator exports only its own spans, and no log lines. Spans contain neither candidates' data nor keys
//! ([`span_definitions`] defines all of them). The usual variables configure the export: `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`,
//! `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`, and `OTEL_EXPORTER_OTLP_HEADERS` for a collector that requires
//! authentication.

pub use http_client::TRACE_TARGET;

mod export;
pub mod span_definitions;
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

/// Default service name in traces.
const SERVICE_NAME: &str = "pad-operator";
/// Maximum time that shutdown waits for a slow collector to accept the last spans.
const TRACE_FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Export of traces to the collector.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Creates the export to a collector and starts it. Its requests run on `runtime`.
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

    /// Returns the layer that converts the operator's spans to OpenTelemetry spans.
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

    /// Sends the remaining spans, within `TRACE_FLUSH_TIMEOUT`, and stops the export.
    pub fn end(&self) {
        if self.provider.shutdown_with_timeout(TRACE_FLUSH_TIMEOUT).is_err() {
            tracing::warn!("the last traces could not be delivered");
        }
    }
}

/// Reports whether the metadata is of a span for traces. Log lines never belong to traces.
pub(super) fn is_of_a_trace(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == TRACE_TARGET
}

/// Returns the resource attributes of this process. Environment variables override the defaults.
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
