//! Simulated Lever and CoderPad Interview services: what the operator's tests, its demonstration and
//! its benchmarks talk to instead of the real ones.
//!
//! They are as strict and as awkward as the real services are known to be: a wrong form of
//! authorization, encoding, field or path is refused (or ignored, where the real one ignores it) and
//! recorded among the *violations*, which a test asserts to be empty. [`Faults`] can be ordered for any
//! request. Where the vendors' documentation is silent, the comment says "a guess".

mod common;
mod interview;
mod lever;
mod relay;

pub use common::bucket::RateLimit;
pub use common::faults::{Action, Fault, FaultHandle, Faults, Moment};
pub use common::front::Call;
pub use interview::{
    ELSEWHERE, InterviewOptions, InterviewSimulator, KeyRole, NewPad, OrganizationUser, PadView, Question,
    Quota, Settings,
};
pub use lever::{
    Attempt, Delivery, DeliveryBehaviour, DeliveryOutcome, LeverOptions, LeverSimulator, Moved, NewCandidate,
    NewPosting, PERMISSIONS, Permissions, Stage, VerifyResult, signature,
};
pub use relay::Relay;

/// Waits for SIGTERM or Ctrl-C; for the two programs.
///
/// # Errors
/// If signals cannot be received.
pub async fn until_stopped() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        pressed = tokio::signal::ctrl_c() => Ok(pressed?),
    }
}
