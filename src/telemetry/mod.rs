//! Telemetry of the operator: log lines, metrics, traces, health.

pub mod health;
pub mod logging;
pub mod process;
pub mod traces;

use crate::cli::RunArgs;
use tokio::runtime::Handle;
use traces::Traces;

/// Sets up logging and, if an endpoint is set, traces. The export of the traces runs on `runtime`.
pub fn start(args: &RunArgs, runtime: &Handle) -> anyhow::Result<Option<Traces>> {
    let endpoint = args.otlp_endpoint.as_deref();
    let traces = endpoint.map(|endpoint| Traces::to(endpoint, runtime.clone())).transpose()?;
    logging::start(args.log_format, traces.as_ref());
    Ok(traces)
}
