//! Deletion of Pads after their TTL, always as with Retain (contract E11). [`crate::ttl`] computes whether it has passed.

use super::rest;
use crate::command::{Command, Outcome};
use crate::state::{PadState, TtlState};

/// The TTL of the Pad has passed. The finalizer of another policy is removed immediately before the deletion, in the
/// same pass: no other reconcile can add it again in between, and none treats the Pad as one that is being deleted.
pub(crate) fn ttl(state: &PadState) -> Option<Command> {
    match state.ttl {
        TtlState::NotExpired => None,
        TtlState::Expired if state.pad.finalizer => Some(Command::SetFinalizer(false)),
        TtlState::Expired => Some(Command::DeleteObject),
        TtlState::Deleted => Some(rest(Outcome::NoDecision)),
    }
}
