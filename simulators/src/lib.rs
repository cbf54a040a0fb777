//! Simulated Lever and CoderPad Interview services, which the operator's tests, demo and benchmarks use instead of the
//! real services.
//!
//! The simulators are as strict and as awkward as the real services are known to be. They reject a wrong form of
//! authorization, encoding, field or path (or ignore it, where the real service ignores it) and record it among the
//! *violations*, which tests assert to be empty. Any request can be given [`Faults`]. Where the vendors' documentation
//! is silent, the comment says "a guess".

mod common;
mod interview;
mod lever;
mod relay;

pub use common::bucket::RateLimit;
pub use common::faults::{Fault, FaultAction, FaultHandle, Faults, PausePoint};
pub use common::pipeline::Call;
pub use interview::{
    InterviewOptions, InterviewSimulator, KeyRole, NewPad, OTHER_ORGANIZATION, OrganizationUser, PadView,
    Question, Quota, Settings,
};
pub use lever::{
    Attempt, Delivery, DeliveryBehaviour, DeliveryOutcome, LeverOptions, LeverSettings, LeverSimulator,
    NewCandidate, NewPosting, PERMISSIONS, Permissions, Stage, StageMove, VerifyResult, signature,
};
pub use relay::Relay;

/// Waits for SIGTERM or Ctrl-C. Used by both programs.
///
/// # Errors
/// If the process cannot receive signals.
pub async fn until_stopped() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        pressed = tokio::signal::ctrl_c() => Ok(pressed?),
    }
}
