//! pad-operator: a Kubernetes operator that joins Lever with CoderPad Interview.
//!
//! The path of one stage change: the receiver stores a Pad; the controllers observe, plan, act and write the status.

pub mod api;
pub mod cluster;
pub mod controller;
pub mod interview;
pub mod lever;
pub mod rules;
pub mod text;
pub mod transport;
