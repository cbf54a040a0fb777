//! The reasons of conditions: of Pads as the closed list of the contract, with those that require a user action; and those
//! of other kinds that several modules use.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The reason of a Pad's Ready condition.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Reason { $($(#[$doc])* $name),* }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Reason] = &[$(Reason::$name),*];

            /// Returns the name of the reason in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name)),* }
            }
        }
    };
}

reasons! {
    /// Lever rejects the API key.
    LeverUnauthorized,
    /// The Lever API key lacks a permission.
    LeverForbidden,
    /// Lever is unavailable.
    LeverUnavailable,
    /// Lever limits the request rate.
    LeverRateLimited,
    /// CoderPad rejects the API key.
    InterviewUnauthorized,
    /// The CoderPad API key lacks a permission.
    InterviewForbidden,
    /// CoderPad is unavailable.
    InterviewUnavailable,
    /// CoderPad limits the request rate.
    InterviewRateLimited,
    /// The CoderPad plan has no pads left.
    QuotaExceeded,
    /// The connection has reached spec.interview.maxPadsPerHour.
    LimitReached,
    /// The outcome of the creation is unknown.
    CreateOutcomeUnknown,
    /// The API server refuses the operator's writes to the Pad.
    WriteRefused,
    /// The configuration does not exist.
    ConfigurationNotFound,
    /// The configuration is not Ready.
    ConfigurationNotReady,
    /// The connection is not Ready.
    ConnectionNotReady,
    /// A person has suspended the connection or the configuration.
    Suspended,
    /// The pad is open and linked.
    Open,
    /// The interview is in progress.
    Started,
    /// The interview has ended.
    Ended,
    /// The pad was deleted in CoderPad.
    PadDeleted,
    /// The candidate lacks the tag.
    TagMissing,
    /// The candidate is in another stage.
    StageChanged,
    /// The candidate is archived.
    CandidateArchived,
    /// Lever has no such candidate (any more).
    CandidateNotFound,
    /// The candidate is confidential, or the API key may not read it.
    CandidateConfidential,
    /// The candidate was in the stage with the tag before the rule took effect.
    BeforeConfiguration,
    /// The stage entry had its pad, whose Pad was deleted.
    AlreadyServed,
    /// Another installation of the operator has created the pad for this stage entry.
    OwnedByAnotherInstallation,
    /// A person ended the Pad before it had a pad.
    Cancelled,
    /// A service rejected the request as invalid.
    InvalidRequest,
    /// CoderPad has no such question.
    QuestionNotFound,
    /// The question is a draft, or does not fit the type of pad.
    QuestionNotUsable,
    /// CoderPad created a live pad where a take-home was requested.
    TakeHomeRefused,
}

impl Reason {
    /// Reports whether a Pad that waits for this reason requires a user action (contract, Phases).
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

    /// Returns the reason of that name, if there is one.
    pub fn parse(text: &str) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reason of a suspended object of any kind. It causes no Event, because a user requested it.
pub const SUSPENDED: &str = "Suspended";
/// Reason of a LeverConnection until its first probe has ended.
pub const CONNECTING: &str = "Connecting";
/// Reason of WebhookVerified=False after sync found a stage entry for which no webhook had arrived.
pub const DELIVERY_MISSED: &str = "DeliveryMissed";
/// Reason of WebhookVerified=False before the first signed request.
pub const AWAITING_VERIFICATION: &str = "AwaitingVerification";
/// Reason of WebhookVerified=True.
pub const SIGNATURE_VERIFIED: &str = "SignatureVerified";
/// Reason of WebhookVerified=False while requests arrive that are signed with another token.
pub const SIGNATURE_MISMATCH: &str = "SignatureMismatch";
/// Reason of WebhookVerified=False while signed requests are rejected because of the operator's clock.
pub const CLOCK_SKEW: &str = "ClockSkew";
/// Reason of QuotaAvailable=True while less than a tenth of the plan is left.
pub const QUOTA_LOW: &str = "QuotaLow";
/// Reason of QuotaAvailable=False.
pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";
