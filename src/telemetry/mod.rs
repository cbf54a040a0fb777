//! What the program tells about itself: log lines, metrics, health.

pub mod admin;
mod exposition;
pub mod logging;
pub mod process;
pub mod state;
