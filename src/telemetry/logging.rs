//! Log lines on standard error: text for people, JSON for machines. Never a secret, a signature or a candidate's data.

use crate::cli::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// What is shown unless RUST_LOG says otherwise. The controller library would repeat the object in each line of a
/// reconcile, which our own lines name already.
const DEFAULT_LEVEL: &str = "info,kube_runtime::controller=warn";

/// Sets up logging for the whole process. A second call has no effect.
pub fn start(format: Option<LogFormat>) {
    let default = if std::io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LEVEL));
    // The Kubernetes client logs whole answers that it cannot read, and so candidates' names: whatever RUST_LOG says.
    let filter = match "kube_client=off".parse() {
        Ok(off) => filter.add_directive(off),
        Err(_) => filter,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format.unwrap_or(default) {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was set up before");
    }
}
