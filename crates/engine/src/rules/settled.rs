//! A Pad that is decided stays as it is until a new decision is requested.

use super::{failed_creations, ownership};
use crate::command::Command;
use crate::state::PadState;
use api::pad::Phase;

/// The Pad is decided, and no new decision was requested.
pub(crate) fn settled(state: &PadState) -> Option<Command> {
    is_final(state).then(|| failed_creations::keep(state))
}

/// Reports whether the Pad is decided and no new decision was requested.
pub fn is_final(state: &PadState) -> bool {
    let pad = &state.pad;
    match pad.phase {
        Some(Phase::Skipped) => !state.is_asked() && !ownership::is_released(state) && !is_interrupted(state),
        // With an attempt or a pad, the cause may be fixed elsewhere, such as in the connection: retry.
        Some(Phase::Failed) if pad.pad_id.is_some() || pad.attempt.is_some() => false,
        Some(Phase::Failed) => {
            !state.is_asked() && !pad.configuration_changed && !failed_creations::is_retry_due(state)
        }
        Some(Phase::Ended) => true,
        Some(Phase::Pending | Phase::Open | Phase::Started) | None => false,
    }
}

/// Reports whether a process stopped between the creation of a skipped Pad's pad and the write of its status, for example
/// by a crash: the status contains no pad yet. The request to judge the Pad again may be lost with the process.
fn is_interrupted(state: &PadState) -> bool {
    let (pad, ownership) = (&state.pad, &state.ownership);
    let is_foreign = ownership.reported.is_some() || ownership.yields_to.is_some();
    pad.open_attempt().is_some() || pad.pad_id.is_some() && pad.url.is_none() && !pad.linked && !is_foreign
}
