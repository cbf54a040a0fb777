//! Why a Pad is in its phase: the closed list of the contract, and which of them need a person.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The reason of a Pad's Ready condition.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Reason { $($(#[$doc])* $name),* }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Reason] = &[$(Reason::$name),*];

            /// The spelling of the contract.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name)),* }
            }
        }
    };
}

reasons! {
    /// Lever does not accept the API key.
    LeverUnauthorized,
    /// The Lever API key lacks a permission.
    LeverForbidden,
    /// Lever does not answer.
    LeverUnavailable,
    /// Lever asks for fewer requests.
    LeverRateLimited,
    /// CoderPad does not accept the API key.
    InterviewUnauthorized,
    /// The CoderPad API key lacks a permission.
    InterviewForbidden,
    /// CoderPad does not answer.
    InterviewUnavailable,
    /// CoderPad asks for fewer requests.
    InterviewRateLimited,
    /// The plan's pads are used up.
    QuotaExceeded,
    /// The connection has made as many pads in the last hour as it may.
    LimitReached,
    /// It is not known whether CoderPad made the pad.
    CreateOutcomeUnknown,
    /// The API server refuses to store what the operator must record on the Pad.
    WriteRefused,
    /// There is no such configuration.
    ConfigurationNotFound,
    /// The configuration has a fault.
    ConfigurationNotReady,
    /// The connection has a fault.
    ConnectionNotReady,
    /// A person has suspended the connection or the configuration.
    Suspended,
    /// The pad is open and linked.
    Open,
    /// The interview goes on.
    Started,
    /// The interview is over.
    Ended,
    /// The pad was deleted at CoderPad.
    PadDeleted,
    /// The candidate lacks the tag.
    TagMissing,
    /// The candidate is in another stage.
    StageChanged,
    /// The candidate is archived.
    CandidateArchived,
    /// Lever does not know the candidate (any more).
    CandidateNotFound,
    /// Lever keeps the candidate from the API key.
    CandidateConfidential,
    /// The candidate was in the stage with the tag before the rule took effect.
    BeforeConfiguration,
    /// The stage entry had its pad, whose Pad was deleted.
    AlreadyServed,
    /// Another installation of the operator has created the pad for this stage entry.
    OwnedByAnotherInstallation,
    /// A person ended it before there was a pad.
    Cancelled,
    /// A service refused the request as wrong.
    InvalidRequest,
    /// CoderPad does not know the question.
    QuestionNotFound,
    /// The question is a draft, or for the other type of pad.
    QuestionNotUsable,
    /// CoderPad made a live pad where a take-home was asked for.
    TakeHomeRefused,
}

impl Reason {
    /// Whether a person must act while a Pad waits for this reason (contract, Pad, the table of phases).
    pub fn needs_a_person(self) -> bool {
        matches!(
            self,
            Reason::LeverUnauthorized
                | Reason::LeverForbidden
                | Reason::InterviewUnauthorized
                | Reason::InterviewForbidden
                | Reason::ConfigurationNotFound
        )
    }

    /// The reason of that name, if there is one.
    pub fn parse(text: &str) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
