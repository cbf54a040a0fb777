//! pad-operator: joins Lever with CoderPad Interview on Kubernetes.
//!


pub mod api;
pub mod text;
