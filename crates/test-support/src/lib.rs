//! Random inputs and snapshots for the unit tests of all crates.

#![allow(clippy::unwrap_used)] // Test code.

pub mod fuzz;
mod help;
mod snapshot;

pub use help::long_help;
pub use snapshot::{assert_snapshot, describe};
