//! What the program tells about itself: log lines, metrics, health.

pub mod admin;
pub mod logging;
pub mod process;
pub mod state;
