//! pad-operator: a Kubernetes operator that joins Lever with CoderPad Interview.
//!
//! The path of one stage change, and where to read on:
//!
//! 1. **Receive**: [`webhook`] checks the webhook and stores a [`Pad`](api::Pad) before Lever is answered. It has no rules.
//! 2. **Wake**: [`controller::pad`] is the driver. On the leader it takes each Pad through the next four steps; its file
//!    reads as they do.
//! 3. **Observe**: all that the cluster knows of the Pad becomes one set of plain facts (`pad/observe.rs`, `pad/state.rs`).
//! 4. **Plan**: facts → one step. Pure; every rule is there, in the order in which it counts (`pad/plan/mod.rs`).
//! 5. **Act**: the step is done, at a service or at the Pad, and the facts grow by what came of it (`pad/execute.rs`). Then the
//!    plan is asked again, until it rests.
//! 6. **Status**: what it rests with becomes the whole status, and is written where it differs (`pad/status.rs`).
//!
//! [`controller::connection`] and [`controller::configuration`] have the same steps. What no webhook tells, [`sync`]
//! finds, and wakes the Pads concerned. The two services are called through [`lever`] and [`coderpad`], over one
//! [`transport`]; they know nothing of Kubernetes. [`k8s`] is what is watched and written there. Rules that several
//! parts ask for have one place each: [`rules`], [`pad_builder`], [`sanitize`], [`controller::pad::series`]. [`run`] wires it all.

pub mod api;
pub mod cli;
pub mod coderpad;
pub mod controller;
#[cfg(test)]
mod fuzz;
pub mod k8s;
pub mod lever;
mod listen;
pub mod pad_builder;
pub mod rules;
pub mod run;
pub mod sanitize;
#[cfg(test)]
mod snapshots;
pub mod sync;
pub mod telemetry;
pub mod transport;
pub mod webhook;
