//! The commands of the rules, and the results from which the status is built.

use api::configuration::PadType;
use api::names::{FailedCreations, OnceOnlyWrite, Reference};
use api::reason::Reason;
use jiff::Timestamp;
use services::coderpad::{NewPad, PadRecord};
use std::time::Duration;

/// The next thing to do about one Pad.
#[derive(Clone, Debug)]
pub enum Command {
    /// Ends the pass and writes the status of the outcome.
    Done {
        /// Content of the new status.
        outcome: Outcome,
        /// Requeue delay; `None`: only after an event, or after the backoff of a failure.
        again: Option<Duration>,
    },
    /// Read the opportunity from Lever.
    ReadOpportunity,
    /// Read the opportunity again some seconds after a 404 (contract P7b).
    ReadOpportunityAgain,
    /// List one opportunity, whichever it is.
    ReadAnyOpportunity,
    /// Read the opportunity with this ID, which is another one than the candidate's.
    ReadOtherOpportunity(String),
    /// Read the pad with this ID from CoderPad.
    ReadPad(String),
    /// Read the pad with this ID again some seconds after a 404.
    ReadPadAgain(String),
    /// Read the pads with these IDs, which are linked on the candidate: one of them may be ours if the Pad lost its
    /// status.
    ReadLinkedPads(Vec<String>),
    /// Read these linked pads again some seconds after a 404.
    ReadLinkedPadsAgain(Vec<String>),
    /// Record the attempt on the Pad, then create the pad.
    Create {
        /// Reference by which a search finds the pad.
        reference: Reference,
        /// The pad.
        pad: Box<NewPad>,
        /// Whether earlier failed creations no longer count (contract F8).
        forget_failures: bool,
    },
    /// Read the pad with this ID again, some seconds later: its type is not the requested one (contract P7b).
    ReadKindAgain(String),
    /// Store on the configuration whether CoderPad refuses to create take-homes for it (contract F7).
    StoreRefusal {
        /// Whether CoderPad refuses.
        refused: bool,
    },
    /// Store the stage entries that stay served after this Pad is deleted (contract P9).
    StoreServed(Vec<Timestamp>),
    /// Search CoderPad's newest pads for the reference of an attempt whose outcome is unknown.
    Search {
        /// Reference in the pad's notes.
        reference: Reference,
    },
    /// Store the ID of the pad, before its link is written.
    StorePad {
        /// The pad.
        record: Box<PadRecord>,
        /// Whether the finalizer is still needed.
        keep_finalizer: bool,
        /// Whether the link is added next: then storing the ID also claims the link.
        claim_link: bool,
    },
    /// Clear the attempt: it certainly created no pad, or its pad is deleted.
    ClearAttempt,
    /// Clear the attempt, which CoderPad answered with a server error, and store the number of such creations (contract
    /// F8).
    CountFailedCreation(FailedCreations),
    /// Claim a write to Lever that must take effect once, immediately before it is sent.
    Claim(OnceOnlyWrite),
    /// Add the claimed link to the candidate in Lever.
    AddLink(String),
    /// Remove the link from the candidate in Lever.
    RemoveLink(String),
    /// Add tags to the candidate in Lever.
    AddTags(Vec<String>),
    /// Remove tags from the candidate in Lever.
    RemoveTags(Vec<String>),
    /// Search the candidate's notes in Lever for this reference.
    ReadNotes {
        /// Last line of the note.
        reference: Reference,
    },
    /// Write the claimed note on the candidate in Lever.
    AddNote(String),
    /// Read the events of the pad with this ID.
    ReadEvents(String),
    /// Read the files of these environments of a pad.
    ReadCode(Vec<i64>),
    /// Check whether the question of a refused pad can be used for it.
    CheckQuestion {
        /// The question.
        question: i64,
        /// The type of the pad.
        type_: PadType,
    },
    /// End the interview in CoderPad.
    EndPad(String),
    /// Delete a pad in CoderPad.
    DeletePad(String),
    /// Annotate the Pad: its pad yields to that of the installation with this ID. `None` removes the annotation.
    Yield(Option<String>),
    /// Remove the ID and the attempt of the pad that yielded from the Pad.
    ClearPad,
    /// Create another Pad with this number for the candidate.
    CreateNextPad(u32),
    /// Request that the Pad of this name, another one of the candidate, is judged again.
    JudgeSibling(String),
    /// Delete the Pad in exactly the version that was last read or written.
    DeleteObject,
    /// Add the finalizer to the Pad (true), or remove it so that a deleted Pad can disappear (false).
    SetFinalizer(bool),
}

impl Command {
    /// Returns the name of the command in traces, without its arguments.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Done { .. } => "rest",
            Command::ReadOpportunity => "read opportunity",
            Command::ReadOpportunityAgain => "read opportunity again",
            Command::ReadAnyOpportunity => "read any opportunity",
            Command::ReadOtherOpportunity(_) => "read other opportunity",
            Command::ReadPad(_) => "read pad",
            Command::ReadPadAgain(_) => "read pad again",
            Command::ReadLinkedPads(_) => "read linked pads",
            Command::ReadLinkedPadsAgain(_) => "read linked pads again",
            Command::ReadKindAgain(_) => "read kind again",
            Command::StoreRefusal { .. } => "store refusal",
            Command::StoreServed(_) => "store served entries",
            Command::Create { .. } => "create",
            Command::Search { .. } => "search",
            Command::StorePad { .. } => "store pad",
            Command::ClearAttempt => "forget attempt",
            Command::CountFailedCreation(_) => "count failed creation",
            Command::Claim(_) => "claim",
            Command::AddLink(_) => "add link",
            Command::RemoveLink(_) => "remove link",
            Command::AddTags(_) => "add tags",
            Command::RemoveTags(_) => "remove tags",
            Command::ReadNotes { .. } => "read notes",
            Command::AddNote(_) => "add note",
            Command::ReadEvents(_) => "read events",
            Command::ReadCode(_) => "read code",
            Command::CheckQuestion { .. } => "ask whether fits",
            Command::EndPad(_) => "end pad",
            Command::DeletePad(_) => "delete pad",
            Command::Yield(_) => "yield",
            Command::ClearPad => "forget pad",
            Command::CreateNextPad(_) => "make further",
            Command::JudgeSibling(_) => "pass on",
            Command::DeleteObject => "delete Pad",
            Command::SetFinalizer(_) => "set finalizer",
        }
    }

    /// Reports whether the command calls a service.
    pub fn calls_service(&self) -> bool {
        match self {
            Command::Done { .. }
            | Command::ClearAttempt
            | Command::CountFailedCreation(_)
            | Command::StoreRefusal { .. }
            | Command::StoreServed(_)
            | Command::Yield(_)
            | Command::ClearPad
            | Command::DeleteObject
            | Command::SetFinalizer(_)
            | Command::CreateNextPad(_)
            | Command::JudgeSibling(_) => false,
            // The claim acquires the rate-limit token of the write that follows.
            Command::Claim(_) => true,
            Command::StorePad { claim_link, .. } => *claim_link,
            Command::ReadOpportunity
            | Command::ReadOpportunityAgain
            | Command::ReadAnyOpportunity
            | Command::ReadOtherOpportunity(_)
            | Command::ReadPad(_)
            | Command::ReadPadAgain(_)
            | Command::ReadLinkedPads(_)
            | Command::ReadLinkedPadsAgain(_)
            | Command::ReadKindAgain(_)
            | Command::Create { .. }
            | Command::Search { .. }
            | Command::AddLink(_)
            | Command::RemoveLink(_)
            | Command::AddTags(_)
            | Command::RemoveTags(_)
            | Command::ReadNotes { .. }
            | Command::AddNote(_)
            | Command::ReadEvents(_)
            | Command::ReadCode(_)
            | Command::EndPad(_)
            | Command::CheckQuestion { .. }
            | Command::DeletePad(_) => true,
        }
    }
}

/// Result of a pass, from which the status is built.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Keeps the conditions of the previous status: nothing changed since.
    Keep,
    /// The pass decided nothing, so the status is not written.
    NoDecision,
    /// The read from Lever is older than the webhook by which the Pad is judged, so nothing is decided.
    StaleRead,
    /// The Pad is waiting.
    Waiting(Reason, String),
    /// The candidate gets no pad.
    Skipped(Reason, String),
    /// The pad cannot be created.
    Failed(Reason, String),
    /// The pad is open and linked.
    Open,
    /// The interview is in progress.
    Started,
    /// The interview has ended.
    Ended(WriteBackState),
    /// The pad was deleted in CoderPad.
    PadDeleted,
    /// A person ended the interview before the link could be added.
    EndedUnlinked,
}

impl Outcome {
    /// Reports whether its status stores that the last claimed write to Lever took effect.
    pub fn stores_write(&self) -> bool {
        matches!(self, Outcome::Open | Outcome::Started | Outcome::Ended(WriteBackState::Written))
    }
}

/// Progress of the note and tags that are written to Lever after the interview.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WriteBackState {
    /// Everything is written.
    Written,
    /// The configuration requests nothing.
    NotRequested,
    /// The write is pending for this reason. It continues automatically or after a user action.
    Pending(Reason, String),
    /// The write is impossible.
    Impossible(Reason, String),
}
