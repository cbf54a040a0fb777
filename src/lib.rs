//! pad-operator: a Kubernetes operator that connects Lever with CoderPad Interview.
//!
//! The path of one stage change through the modules:
//!
//! 1. **Receive**: [`webhook`] verifies the webhook and stores a [`Pad`](api::Pad) before it responds to Lever. It
//!    contains no rules.
//! 2. **Reconcile**: [`controller::pad`] runs on the leader and takes each Pad through the next four steps.
//! 3. **Observe**: the state of the Pad is built as plain data, from the objects in the caches (`pad/observe.rs`,
//!    [`engine::observe`]).
//! 4. **Decide**: the first rule that applies to this state decides the next command ([`engine::decide`]). Pure.
//! 5. **Execute**: the command is executed in a service or on the Pad (`pad/execute.rs`), and the state grows by its event
//!    ([`engine::event`]). Then the rules decide again, until they are done.
//! 6. **Status**: the final state becomes the complete status, which is written if it differs ([`engine::status`]).
//!
//! [`controller::connection`] and [`controller::configuration`] reconcile the other two kinds. [`controller::sync`] detects changes
//! without a webhook and adds hints for the affected Pads. [`lever`] and [`coderpad`] are the clients of the two
//! services, over one [`http_client`]; these crates do not depend on Kubernetes. [`k8s`] watches and writes Kubernetes
//! objects. [`run`] connects all components. [`check`] tries both accounts without any of them.

pub use ::api;
pub use api::sanitize;
pub mod admin;
pub mod check;
pub mod cli;
pub mod controller;
pub mod k8s;
mod listen;
pub mod run;
#[cfg(test)]
mod snapshots;
pub mod telemetry;
pub mod webhook;
