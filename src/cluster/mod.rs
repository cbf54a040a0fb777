//! The API server as this program sees it: what is watched, which namespaces, and the writes that fail on a conflict.

pub mod caches;
pub mod lease;
pub mod secrets;
pub mod writes;

pub use caches::{Cache, Caches, Scope};
