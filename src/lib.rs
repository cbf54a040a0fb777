//! pad-operator: joins Lever with CoderPad Interview on Kubernetes.
//!


pub mod api;
pub mod cluster;
pub mod rules;
pub mod text;
