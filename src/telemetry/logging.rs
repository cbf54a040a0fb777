//! Log lines on standard error: text for people, JSON for machines. Never a secret, a signature or a candidate's data,
//! whatever `RUST_LOG` says.
//!
//! What we log ourselves is safe at every level. What libraries log is not ours: at debug and trace they show headers,
//! bodies and whole objects. So of them only what concerns operation is heard.

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

/// What is shown unless RUST_LOG says otherwise. The controller library would repeat the object in each line of a
/// reconcile, which our own lines name already.
const DEFAULT_LEVEL: &str = "info,kube_runtime::controller=warn";
/// What everything of our own is logged under.
const OWN_TARGET: &str = "pad_operator";
/// The Kubernetes client logs whole answers that it cannot read, at any level, and so candidates' names.
const SILENCED_TARGET: &str = "kube_client";

/// Sets up logging for the whole process, and beside it the traces, if there are any: then each line that belongs to one
/// carries its ids. A second call has no effect.
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
    // A filter of its own, because a more exact directive of RUST_LOG would win over any that is added to it.
    let lines = lines.with_filter(wanted.and(filter_fn(is_safe)));
    let lines = tracing_subscriber::registry().with(lines);
    // A layer that may be there or not would have every span made that no layer hears of.
    let started = match traces {
        Some(traces) => lines.with(traces.layer()).try_init(),
        None => lines.try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was set up before");
    }
}

/// Whether a line of this origin and level can be shown at all.
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

/// The ids of the span that is under way here.
fn ids() -> Option<SpanContext> {
    Some(Context::current().span().span_context().clone()).filter(SpanContext::is_valid)
}

/// Lines with the ids first; in JSON, as fields.
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
