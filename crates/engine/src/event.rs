//! The event of a command: its result. `PadState::apply` adds it to the state.

use crate::rolling_limit::LimitExceeded;
use crate::state::{CreateOutcome, PassError, StoredPad, WriteClaim};
use jiff::Timestamp;
use services::coderpad::{Environment, PadEvent, PadRecord, QuestionRecord};
use services::lever::{Notes, Opportunity};
use services::{ErrorKind, ServiceError};

/// Result of one command.
#[derive(Clone, Debug)]
pub struct Event {
    /// The Pad as the API server returned it, if the command wrote or read it, even if the command failed afterwards.
    pub stored: Option<StoredVersion>,
    /// The new knowledge, or the error.
    pub result: Result<Fact, PassError>,
}

/// A version of the Pad from the API server, with the state of the requests that it records.
#[derive(Clone, Debug)]
pub struct StoredVersion {
    /// The Pad.
    pub pad: StoredPad,
    /// State of the attempt that it records.
    pub create_outcome: CreateOutcome,
    /// State of the write to Lever that it records.
    pub write_claim: WriteClaim,
}

/// New knowledge: the answer of a service, or an effect.
#[derive(Clone, Debug)]
pub enum Fact {
    /// The command took effect; nothing else is known.
    Done,
    /// The candidate was read.
    Candidate {
        /// Lever's answer.
        answer: Result<Box<Opportunity>, ServiceError>,
        /// Whether the answer is from a list page or a shared read, and may be some seconds old.
        shared: bool,
    },
    /// One opportunity was listed. Contains its ID; `None`: the API key sees none.
    AnyOpportunity(Option<String>),
    /// Another opportunity than the candidate's was read.
    OtherOpportunity(Result<(), ServiceError>),
    /// The pad was read.
    Pad(Result<Box<PadRecord>, ServiceError>),
    /// The pads behind links were read, by ID. The reads stop after an error that would repeat for the others.
    LinkedPads(Vec<(String, Result<PadRecord, ServiceError>)>),
    /// No request was sent: other Pads have used the remaining quota.
    NoQuota,
    /// No request was sent: other Pads have used the hourly limit.
    HourFull(LimitExceeded),
    /// The pad was created.
    Created {
        /// The pad.
        record: Box<PadRecord>,
        /// Time of the request.
        sent_at: Timestamp,
    },
    /// CoderPad refused to create the pad.
    CreateRefused {
        /// CoderPad's answer.
        error: ServiceError,
        /// Time of the request.
        sent_at: Timestamp,
    },
    /// A search found nothing while the request may still be in flight.
    NotFoundYet(CreateOutcome),
    /// A conclusive search. Contains the pads with the reference, oldest first.
    Found(Vec<PadRecord>),
    /// The ID of the pad is stored, which also claims the link if the command says so.
    PadStored {
        /// State of the link's write.
        write_claim: WriteClaim,
    },
    /// Lever answered a write to the candidate.
    LeverWrite {
        /// The opportunity, or the error.
        answer: Result<Box<Opportunity>, ServiceError>,
    },
    /// The candidate's notes were read.
    Notes(Notes),
    /// The note was written. Contains its ID.
    NoteAdded(String),
    /// The events of the pad.
    Events(Vec<PadEvent>),
    /// The files of the environments, in order. The reads stop after an error that would repeat for the others.
    Code(Vec<Result<Environment, ServiceError>>),
    /// The question of a refused pad was read.
    Question(Result<QuestionRecord, ServiceError>),
}

/// Reports whether an error of one of several reads concerns only that item. Other errors would repeat for each item.
pub(crate) fn concerns_one_item(error: &ServiceError) -> bool {
    matches!(error.class, ErrorKind::NotFound | ErrorKind::Forbidden | ErrorKind::Invalid)
}

/// Reports whether the remaining of several reads would fail as this one did.
pub fn stops_reading<T>(answer: &Result<T, ServiceError>) -> bool {
    answer.as_ref().is_err_and(|error| !concerns_one_item(error))
}
