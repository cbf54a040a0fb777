//! Negative answers of the services that another read has to confirm: no other rule applies meanwhile.

use crate::command::Command;
use crate::state::{PadState, UnconfirmedCandidate, UnconfirmedPad};

/// A service answered 404 or 403. A 404 is read again some seconds later, because the services are eventually
/// consistent (contract P7b). A 403 for the candidate is compared with the answer for another one (contract P2b).
pub(crate) fn unconfirmed(state: &PadState) -> Option<Command> {
    let unconfirmed = &state.unconfirmed;
    match &unconfirmed.candidate {
        Some(UnconfirmedCandidate::Missing) => return Some(Command::ReadOpportunityAgain),
        Some(UnconfirmedCandidate::Forbidden { other: None, .. }) => {
            return Some(Command::ReadAnyOpportunity);
        }
        Some(UnconfirmedCandidate::Forbidden { other: Some(id), .. }) => {
            return Some(Command::ReadOtherOpportunity(id.clone()));
        }
        None => {}
    }
    match &unconfirmed.pad {
        Some(UnconfirmedPad::Stored(id)) => return Some(Command::ReadPadAgain(id.clone())),
        Some(UnconfirmedPad::Kind(id)) => return Some(Command::ReadKindAgain(id.clone())),
        None => {}
    }
    if !unconfirmed.linked_pads.is_empty() {
        return Some(Command::ReadLinkedPadsAgain(unconfirmed.linked_pads.clone()));
    }
    unconfirmed.write.as_ref().map(|_| Command::ReadOpportunity)
}
