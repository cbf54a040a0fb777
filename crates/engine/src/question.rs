//! Whether a question can be used for a type of pad.

use api::configuration::PadType;
use services::coderpad::{PadKind, QuestionRecord};

/// Returns the reason for which a question cannot be used for this type of pad, with the next step. None if it can.
pub fn question_problem(question: &QuestionRecord, type_: PadType) -> Option<&'static str> {
    match type_ {
        _ if question.is_draft => Some("is a draft. Publish it in CoderPad, or choose another one."),
        PadType::Live if !question.usable_for(PadKind::Live) => {
            Some("is for take-homes only. Choose another one, or set spec.type to TakeHome.")
        }
        PadType::TakeHome if !question.usable_for(PadKind::TakeHome) => {
            Some("is for live pads only. Choose another one, or set spec.type to Live.")
        }
        PadType::Live | PadType::TakeHome => None,
    }
}
