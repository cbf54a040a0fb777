//! pad-operator: a Kubernetes operator that connects Lever with CoderPad Interview.
//!
//! The path of one stage change through the modules:
//!
//! 1. **Receive**: [`webhook`] verifies the webhook and stores a [`Pad`](api::Pad) before it responds to Lever. It
//!    contains no rules.
//! 2. **Reconcile**: [`controller::pad`] runs on the leader and takes each Pad through the next four steps.
//! 3. **Observe**: the state of the Pad and its related objects is collected as plain data (`pad/observe.rs`,
//!    `pad/state.rs`).
//! 4. **Plan**: decides the next command from this state. Pure; it contains every rule, in order of precedence
//!    (`pad/plan/mod.rs`).
//! 5. **Execute**: the command is executed in a service or on the Pad, and its result is added to the state
//!    (`pad/execute.rs`). Then the plan decides again, until it is done.
//! 6. **Status**: the final state becomes the complete status, which is written if it differs (`pad/status.rs`).
//!
//! [`controller::connection`] and [`controller::configuration`] have the same steps. [`sync`] detects changes without a
//! webhook and triggers the affected Pads. [`lever`] and [`coderpad`] are the clients of the two services, over a
//! shared [`transport`] and independent of Kubernetes. [`k8s`] watches and writes Kubernetes objects. [`rules`],
//! [`api`] contains the resources, [`engine`] the rules. [`run`] connects all components.

pub use ::api;
pub use api::sanitize;
pub mod cli;
pub mod coderpad;
pub mod controller;
pub mod k8s;
pub mod lever;
mod listen;
pub use engine::rules;
pub mod run;
#[cfg(test)]
mod snapshots;
pub mod sync;
pub mod telemetry;
pub mod transport;
pub mod webhook;
