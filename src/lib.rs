//! A Kubernetes operator that joins Lever with CoderPad Interview.

pub mod interview;
pub mod lever;
pub mod transport;
