//! Shared parts of all tests, the demo and the benches.
//!
//! The feature `unit`, the default, has what unit tests need: random inputs and snapshots. The feature `system` has
//! what every harness needs that runs the operator's program: the process, its ports, the resources, kubectl and waits.

#[cfg(feature = "system")]
mod command_line;
#[cfg(feature = "unit")]
pub mod fuzz;
#[cfg(feature = "unit")]
mod help;
#[cfg(feature = "system")]
mod operator;
#[cfg(feature = "system")]
pub mod ports;
#[cfg(feature = "system")]
pub mod process;
#[cfg(feature = "system")]
pub mod resources;
#[cfg(feature = "unit")]
mod snapshot;
#[cfg(feature = "system")]
mod wait;
#[cfg(feature = "system")]
pub mod webhook;

use std::path::Path;

#[cfg(feature = "system")]
pub use command_line::{CommandError, CommandLine, output};
#[cfg(feature = "unit")]
pub use help::long_help;
#[cfg(feature = "system")]
pub use operator::Operator;
#[cfg(feature = "unit")]
pub use snapshot::{assert_snapshot, describe};
#[cfg(feature = "system")]
pub use wait::Wait;

/// Returns the root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("/"))
}
