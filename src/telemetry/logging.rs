//! Log lines on standard error: text for people, JSON for machines. Never a secret, a signature or a candidate's data,
//! whatever `RUST_LOG` says.
//!
//! What we log ourselves is safe at every level. What libraries log is not ours: at debug and trace they show headers,
//! bodies and whole objects. So of them only what concerns operation is heard.

use crate::cli::LogFormat;
use std::io::IsTerminal;
use tracing::{Level, Metadata};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, filter::filter_fn, fmt};

/// What is shown unless RUST_LOG says otherwise. The controller library would repeat the object in each line of a
/// reconcile, which our own lines name already.
const DEFAULT_LEVEL: &str = "info,kube_runtime::controller=warn";
/// What everything of our own is logged under.
const OURS: &str = "pad_operator";
/// The Kubernetes client logs whole answers that it cannot read, at any level, and so candidates' names.
const NEVER: &str = "kube_client";

/// Sets up logging for the whole process. A second call has no effect.
pub fn start(format: Option<LogFormat>) {
    let default = if std::io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    let wanted = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LEVEL));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format.unwrap_or(default) {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // A filter of its own, because a more exact directive of RUST_LOG would win over any that is added to it.
    let safe = filter_fn(is_safe);
    if tracing_subscriber::registry().with(wanted).with(safe).with(lines).try_init().is_err() {
        tracing::debug!("logging was set up before");
    }
}

/// Whether a line of this origin and level can be shown at all.
fn is_safe(line: &Metadata<'_>) -> bool {
    match line.target().split("::").next() {
        Some(OURS) => true,
        Some(NEVER) => false,
        _ => *line.level() <= Level::INFO,
    }
}
