//! Refusals that do not stop a pass.

use super::PadReconcile;
use crate::controller::pad::plan::Command;
use crate::controller::pad::state::{PadLookup, PassError};
use crate::controller::pad::tags::RefusedTag;
use crate::transport::Class;

/// What follows if a step is refused, beyond stopping the pass.
pub enum OnRefusal {
    /// The tags are left as they are (contract K4a).
    SkipTags(Command),
    /// The note is sent again without the code.
    OmitCode,
    /// The pass stops.
    Stop,
}

impl OnRefusal {
    /// What follows a refusal of this step.
    pub fn of(step: &Command) -> Self {
        match step {
            Command::AddTags(_) | Command::RemoveTags(_) => Self::SkipTags(step.clone()),
            Command::AddNote(_) => Self::OmitCode,
            _ => Self::Stop,
        }
    }
}

impl PadReconcile<'_> {
    /// Moves the trouble of the last step out of the way, if the pass can continue without its effect.
    pub fn tolerate_refusal(&mut self, then: OnRefusal) {
        let facts = &mut self.facts;
        let Some(PassError::Service(error)) = &facts.error else { return };
        let is_over = matches!(&facts.record, PadLookup::Read(record) if record.is_ended());
        let is_aside = match then {
            // The end of an interview has a condition of its own: RecordAdded.
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
                facts.code_refused |= had_code && error.class == Class::Invalid;
                had_code && facts.code_refused
            }
            OnRefusal::Stop => false,
        };
        if is_aside {
            facts.error = None;
        }
    }
}
