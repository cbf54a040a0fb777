//! Refusals that do not end a pass.

use super::PadReconcile;
use crate::controller::pad::plan::Command;
use crate::controller::pad::state::{PadLookup, PassError};
use crate::controller::pad::tags::RefusedTag;
use crate::transport::ErrorKind;

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
    pub fn of(step: &Command) -> Self {
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
        let facts = &mut self.facts;
        let Some(PassError::Service(error)) = &facts.error else { return };
        let is_over = matches!(&facts.record, PadLookup::Read(record) if record.is_ended());
        let is_aside = match then {
            // After the end of the interview, the condition RecordAdded reports refused tags.
            OnRefusal::SkipTags(_) if facts.pad.deleting || is_over => false,
            OnRefusal::SkipTags(step) => match RefusedTag::of(&step, error) {
                Some(refused) => {
                    facts.tags.refused = Some(refused);
                    true
                }
                None => false,
            },
            OnRefusal::OmitCode => {
                let had_code = facts.code.is_some() && !facts.code_refused;
                facts.code_refused |= had_code && error.class == ErrorKind::Invalid;
                had_code && facts.code_refused
            }
            OnRefusal::Stop => false,
        };
        if is_aside {
            facts.error = None;
        }
    }
}
