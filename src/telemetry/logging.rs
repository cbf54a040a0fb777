//! Log lines on standard error: text for people, JSON for machines. They never contain a secret, a signature or a
//! candidate's data, regardless of `RUST_LOG`.
//!
//! The operator's own lines are safe at every level. Lines of libraries are not: at debug and trace they contain
//! headers, bodies and whole objects. Therefore lines of libraries appear only at level info and above.

use super::traces::{Traces, is_of_a_trace};
use crate::cli::LogFormat;
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use std::io::IsTerminal;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// Default filter, unless RUST_LOG is set. The controller library would repeat the object in each line of a reconcile,
/// although the operator's own lines name it already.
const DEFAULT_LEVEL: &str = "info,kube_runtime::controller=warn";
/// Target of all log lines of the operator itself.
const OWN_TARGET: &str = "pad_operator";
/// Target of the Kubernetes client, whose lines never appear. It logs whole answers that it cannot decode, at any
/// level, and they may contain candidates' names.
const SILENCED_TARGET: &str = "kube_client";

/// Sets up logging for the whole process, and traces if they are enabled. Each line that belongs to a trace then
/// contains the IDs of the trace and the span. A second call has no effect.
pub fn start(format: Option<LogFormat>, traces: Option<&Traces>) {
    let default = if std::io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    let wanted = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LEVEL));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match (format.unwrap_or(default), traces) {
        (LogFormat::Text, None) => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        (LogFormat::Text, Some(_)) => {
            let lines = lines.with_ansi(std::io::stderr().is_terminal());
            lines.map_event_format(|inner| WithTraceIds { form: LogFormat::Text, inner }).boxed()
        }
        (LogFormat::Json, None) => lines.json().flatten_event(true).boxed(),
        (LogFormat::Json, Some(_)) => {
            let lines = lines.json().flatten_event(true);
            lines.map_event_format(|inner| WithTraceIds { form: LogFormat::Json, inner }).boxed()
        }
    };
    // A separate filter, because a more specific directive in RUST_LOG would override a directive that is added here.
    let lines = lines.with_filter(wanted.and(filter_fn(is_safe)));
    let lines = tracing_subscriber::registry().with(lines);
    // With an optional layer, the subscriber would create spans even if no layer processes them.
    let started = match traces {
        Some(traces) => lines.with(traces.layer()).try_init(),
        None => lines.try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was set up before");
    }
}

/// Reports whether lines of this target and level may appear at all.
fn is_safe(line: &Metadata<'_>) -> bool {
    if is_of_a_trace(line) {
        return false;
    }
    match line.target().split("::").next() {
        Some(OWN_TARGET) => true,
        Some(SILENCED_TARGET) => false,
        _ => *line.level() <= Level::INFO,
    }
}

/// Returns the context of the current span, with the IDs of trace and span.
fn ids() -> Option<SpanContext> {
    Some(Context::current().span().span_context().clone()).filter(SpanContext::is_valid)
}

/// Formatter that puts the IDs of trace and span at the start of a line; in JSON, as fields.
struct WithTraceIds<F> {
    form: LogFormat,
    inner: F,
}

impl<S, N, F> FormatEvent<S, N> for WithTraceIds<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let Some(ids) = ids() else { return self.inner.format_event(context, line, event) };
        let (trace, span) = (ids.trace_id(), ids.span_id());
        match self.form {
            LogFormat::Text => {
                write!(line, "trace_id={trace} span_id={span} ")?;
                self.inner.format_event(context, line, event)
            }
            LogFormat::Json => {
                let mut object = String::new();
                self.inner.format_event(context, Writer::new(&mut object), event)?;
                let fields = object.strip_prefix('{').unwrap_or(&object);
                write!(line, r#"{{"trace_id":"{trace}","span_id":"{span}",{fields}"#)
            }
        }
    }
}
