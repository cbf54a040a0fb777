//! pad-operator: a Kubernetes operator that joins Lever with CoderPad Interview.
//!
//! The path of one stage change: the [`receiver`] stores a Pad; the [`controller`]s observe, plan, act and write the
//! status. What no webhook tells, [`sync`] finds. The two services are called through [`lever`] and [`interview`],
//! over one [`transport`].

pub mod api;
pub mod cli;
pub mod cluster;
pub mod controller;
#[cfg(test)]
mod fuzz;
pub mod interview;
pub mod lanes;
pub mod lever;
pub mod making;
pub mod receiver;
pub mod rules;
pub mod run;
pub mod sync;
pub mod telemetry;
pub mod text;
pub mod transport;
