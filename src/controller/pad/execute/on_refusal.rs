//! Refusals that do not stop a pass.

use super::Pass;
use crate::controller::pad::plan::Step;
use crate::controller::pad::state::{Record, Trouble};
use crate::controller::pad::tags::Refused;
use crate::transport::Class;

/// What follows if a step is refused, beyond stopping the pass.
pub enum IfRefused {
    /// The tags are left as they are (contract K4a).
    LeaveTags(Step),
    /// The note is sent again without the code.
    LeaveCodeOut,
    /// The pass stops.
    Stop,
}

impl IfRefused {
    /// What follows a refusal of this step.
    pub fn of(step: &Step) -> Self {
        match step {
            Step::AddTags(_) | Step::RemoveTags(_) => Self::LeaveTags(step.clone()),
            Step::AddNote(_) => Self::LeaveCodeOut,
            _ => Self::Stop,
        }
    }
}

impl Pass<'_> {
    /// Moves the trouble of the last step out of the way, if the pass can continue without its effect.
    pub fn set_aside(&mut self, then: IfRefused) {
        let facts = &mut self.facts;
        let Some(Trouble::Service(error)) = &facts.trouble else { return };
        let is_over = matches!(&facts.record, Record::Read(record) if record.is_ended());
        let is_aside = match then {
            // The end of an interview has a condition of its own: RecordAdded.
            IfRefused::LeaveTags(_) if facts.pad.deleting || is_over => false,
            IfRefused::LeaveTags(step) => match Refused::of(&step, error) {
                Some(refused) => {
                    facts.tags.refused = Some(refused);
                    true
                }
                None => false,
            },
            IfRefused::LeaveCodeOut => {
                let had_code = facts.code.is_some() && !facts.code_refused;
                facts.code_refused |= had_code && error.class == Class::Invalid;
                had_code && facts.code_refused
            }
            IfRefused::Stop => false,
        };
        if is_aside {
            facts.trouble = None;
        }
    }
}
