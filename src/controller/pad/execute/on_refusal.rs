//! Refusals that do not end a pass.

use super::PadReconcile;
use crate::transport::ErrorKind;
use engine::command::Command;
use engine::state::{PadLookup, PassError};
use engine::tags::RefusedTag;

/// Reaction to the refusal of a command.
pub enum OnRefusal {
    /// Continue without the tags (contract K4a).
    SkipTags(Command),
    /// Send the note again without the code.
    OmitCode,
    /// End the pass.
    Stop,
}

impl OnRefusal {
    /// Returns the reaction to a refusal of this command.
    pub fn for_command(step: &Command) -> Self {
        match step {
            Command::AddTags(_) | Command::RemoveTags(_) => Self::SkipTags(step.clone()),
            Command::AddNote(_) => Self::OmitCode,
            _ => Self::Stop,
        }
    }
}

impl PadReconcile<'_> {
    /// Clears the error of the last command, if the pass can continue without its effect.
    pub fn tolerate_refusal(&mut self, then: OnRefusal) {
        let state = &mut self.state;
        let Some(PassError::Service(error)) = &state.error else { return };
        let is_over = matches!(&state.record, PadLookup::Read(record) if record.is_ended());
        let is_aside = match then {
            // After the end of the interview, the condition RecordAdded reports refused tags.
            OnRefusal::SkipTags(_) if state.pad.deleting || is_over => false,
            OnRefusal::SkipTags(step) => match RefusedTag::from_error(&step, error) {
                Some(refused) => {
                    state.tags.refused = Some(refused);
                    true
                }
                None => false,
            },
            OnRefusal::OmitCode => {
                let had_code = state.code.is_some() && !state.code_refused;
                state.code_refused |= had_code && error.class == ErrorKind::Invalid;
                had_code && state.code_refused
            }
            OnRefusal::Stop => false,
        };
        if is_aside {
            state.error = None;
        }
    }
}
