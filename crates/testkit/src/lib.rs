//! Random inputs and snapshots for the unit tests of all crates.

#![allow(clippy::unwrap_used)] // Test code.

pub mod fuzz;
mod snapshot;

pub use snapshot::{assert_snapshot, describe};
