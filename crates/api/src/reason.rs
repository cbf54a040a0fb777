//! The reasons of the conditions of all three kinds, as closed lists. Each entry answers the question whether a person must
//! act: an object that is not Ready is Stalled if so, and Reconciling otherwise (`Conditions::not_ready`).

use std::fmt;

/// Reason of a condition.
pub trait ConditionReason: AsRef<str> {
    /// Reports whether a person must act before the object can continue (contract, Phases).
    fn needs_user_action(&self) -> bool;
}

/// Answer of an entry to the question whether a person must act.
#[derive(Eq, PartialEq)]
enum Remedy {
    UserAction,
    NoAction,
}

macro_rules! reasons {
    ($(#[$kind_doc:meta])* $kind:ident { $($(#[$doc:meta])* $name:ident => $remedy:ident,)* }) => {
        $(#[$kind_doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum $kind { $($(#[$doc])* $name),* }

        impl $kind {
            /// All reasons.
            pub const ALL: &[$kind] = &[$($kind::$name),*];

            /// Returns the name of the reason in the API.
            pub fn as_str(self) -> &'static str {
                match self { $($kind::$name => stringify!($name)),* }
            }

            /// Returns the reason of that name, if there is one.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
            }
        }

        impl ConditionReason for $kind {
            fn needs_user_action(&self) -> bool {
                let remedy = match self { $($kind::$name => Remedy::$remedy),* };
                remedy == Remedy::UserAction
            }
        }

        impl AsRef<str> for $kind {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl From<$kind> for String {
            fn from(reason: $kind) -> Self {
                reason.as_str().into()
            }
        }

        impl PartialEq<$kind> for String {
            fn eq(&self, reason: &$kind) -> bool {
                self == reason.as_str()
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

reasons! {
    /// Reason of a Pad's Ready condition.
    Reason {
        /// Lever rejects the API key.
        LeverUnauthorized => UserAction,
        /// The Lever API key lacks a permission.
        LeverForbidden => UserAction,
        /// Lever is unavailable.
        LeverUnavailable => NoAction,
        /// Lever limits the request rate.
        LeverRateLimited => NoAction,
        /// CoderPad rejects the API key.
        InterviewUnauthorized => UserAction,
        /// The CoderPad API key lacks a permission.
        InterviewForbidden => UserAction,
        /// CoderPad is unavailable.
        InterviewUnavailable => NoAction,
        /// CoderPad limits the request rate.
        InterviewRateLimited => NoAction,
        /// The CoderPad plan has no pads left.
        QuotaExceeded => NoAction,
        /// The connection has reached spec.interview.maxPadsPerHour.
        LimitReached => NoAction,
        /// The outcome of the creation is unknown.
        CreateOutcomeUnknown => NoAction,
        /// The API server refuses the operator's writes to the Pad.
        WriteRefused => NoAction,
        /// The configuration does not exist.
        ConfigurationNotFound => UserAction,
        /// The configuration is not Ready.
        ConfigurationNotReady => NoAction,
        /// The connection is not Ready.
        ConnectionNotReady => NoAction,
        /// A person has suspended the connection or the configuration.
        Suspended => NoAction,
        /// The pad is open and linked.
        Open => NoAction,
        /// The interview is in progress.
        Started => NoAction,
        /// The interview has ended.
        Ended => NoAction,
        /// The pad was deleted in CoderPad.
        PadDeleted => NoAction,
        /// The candidate lacks the tag.
        TagMissing => NoAction,
        /// The candidate is in another stage.
        StageChanged => NoAction,
        /// The candidate is archived.
        CandidateArchived => NoAction,
        /// Lever has no such candidate (any more).
        CandidateNotFound => NoAction,
        /// The candidate is confidential, or the API key may not read it.
        CandidateConfidential => NoAction,
        /// The candidate was in the stage with the tag before the rule took effect.
        BeforeConfiguration => NoAction,
        /// The stage entry had its pad, whose Pad was deleted.
        AlreadyServed => NoAction,
        /// Another installation of the operator has created the pad for this stage entry.
        OwnedByAnotherInstallation => NoAction,
        /// A person ended the Pad before it had a pad.
        Cancelled => NoAction,
        /// A service rejected the request as invalid.
        InvalidRequest => UserAction,
        /// CoderPad has no such question.
        QuestionNotFound => UserAction,
        /// The question is a draft, or does not fit the type of pad.
        QuestionNotUsable => UserAction,
        /// CoderPad created a live pad where a take-home was requested.
        TakeHomeRefused => UserAction,
        /// CoderPad answers the creation of the pad with server errors.
        ServiceError => UserAction,
    }
}

reasons! {
    /// Reason of the conditions of a Pad about one step that is done.
    StepReason {
        /// The pad exists in CoderPad.
        Created => NoAction,
        /// The link was added to the candidate in Lever.
        Linked => NoAction,
        /// The note and the tags are written to the candidate in Lever.
        Written => NoAction,
        /// The configuration requests no note and no tags.
        NotAsked => NoAction,
    }
}

reasons! {
    /// Reason of a condition of a LeverConnection.
    ConnectionReason {
        /// Both services are reachable, or one of them is.
        Connected => NoAction,
        /// The first probe is in progress.
        Connecting => NoAction,
        /// The service is not checked until both services are usable.
        NotAsked => NoAction,
        /// A person has suspended the connection. It causes no Event, because a person requested it.
        Suspended => UserAction,
        /// The URL of the service is not allowed.
        OriginNotAllowed => UserAction,
        /// The Secret of a key does not exist.
        SecretNotFound => UserAction,
        /// The Secret lacks the key.
        SecretKeyMissing => UserAction,
        /// The value in the Secret cannot be a key.
        SecretKeyInvalid => UserAction,
        /// The operator must not read the Secret.
        SecretUnreadable => UserAction,
        /// Lever rejects the API key.
        LeverUnauthorized => UserAction,
        /// The Lever API key lacks a permission.
        LeverForbidden => UserAction,
        /// Lever is unavailable.
        LeverUnavailable => NoAction,
        /// Lever limits the request rate.
        LeverRateLimited => NoAction,
        /// Lever rejects a request that should be valid.
        LeverUnexpectedAnswer => UserAction,
        /// CoderPad rejects the API key.
        InterviewUnauthorized => UserAction,
        /// The CoderPad API key lacks a permission.
        InterviewForbidden => UserAction,
        /// CoderPad is unavailable.
        InterviewUnavailable => NoAction,
        /// CoderPad limits the request rate.
        InterviewRateLimited => NoAction,
        /// CoderPad rejects a request that should be valid.
        InterviewUnexpectedAnswer => UserAction,
        /// The CoderPad API key belongs to no organization.
        OrganizationMissing => UserAction,
        /// The CoderPad API key belongs to another organization than before.
        OrganizationChanged => UserAction,
        /// Lever has no active user with the ID in spec.lever.performAs.
        PerformAsInvalid => UserAction,
        /// The connection has no installation ID, and the operator cannot write one.
        InstallationIDMissing => UserAction,
        /// The annotation is not a valid installation ID.
        InstallationIDInvalid => UserAction,
        /// The operator must not write the Secret of the signing token. The connection is not Ready then.
        SecretNotOwned => UserAction,
        /// The API server rejects the content of the Secret of the signing token.
        SecretNotWritable => UserAction,
        /// The operator lacks the permissions for managed webhooks.
        ManagedWebhooksDisabled => UserAction,
        /// There is no signing token.
        SigningTokenMissing => UserAction,
        /// The public URL of the operator is not known.
        PublicURLMissing => UserAction,
        /// Lever rejects the URL of the webhook.
        WebhookRefused => UserAction,
        /// Lever does not list the webhook that the operator registered.
        WebhookNotListed => UserAction,
        /// The webhook is not registered yet.
        WebhookNotRegistered => NoAction,
        /// No signed request has arrived yet.
        AwaitingVerification => UserAction,
        /// Signed requests have arrived.
        SignatureVerified => NoAction,
        /// Requests arrive that are signed with another token.
        SignatureMismatch => UserAction,
        /// Signed requests are rejected because of the operator's clock.
        ClockSkew => UserAction,
        /// Sync found a stage entry for which no webhook had arrived.
        DeliveryMissed => UserAction,
        /// The number of pads in the plan is unlimited.
        Unlimited => NoAction,
        /// The plan has pads left.
        QuotaAvailable => NoAction,
        /// Less than a tenth of the plan is left.
        QuotaLow => NoAction,
        /// The plan has no pads left.
        QuotaExceeded => NoAction,
        /// The quota has not been read yet.
        NotKnownYet => NoAction,
        /// No other installation creates pads for the same candidates.
        Exclusive => NoAction,
        /// Another installation creates pads for the same candidates.
        AccountShared => UserAction,
        /// The answers of both services are as documented.
        AsExpected => NoAction,
        /// CoderPad returns another waiting room for a new pad than requested.
        WaitingRoomNotReturned => UserAction,
        /// CoderPad returns other private notes for a new pad than sent.
        NotesNotReturned => UserAction,
        /// CoderPad returns another owner for a new pad than requested.
        OwnerNotReturned => UserAction,
        /// CoderPad returns an unknown type of pad.
        UnknownType => UserAction,
        /// CoderPad returns an unknown state of a pad.
        UnknownState => UserAction,
        /// Lever returns opportunities without their stage entries.
        StageChangesMissing => UserAction,
        /// CoderPad's list lacks a value of the single pad.
        ListIncomplete => UserAction,
        /// Rows of an answer cannot be read.
        RowsLeftOut => UserAction,
        /// A whole answer cannot be read.
        AnswerUnreadable => UserAction,
        /// An answer does not come from the service's API.
        ForeignAnswer => UserAction,
        /// CoderPad returns an unknown kind of event.
        UnknownEventKind => NoAction,
        /// Members of an answer cannot be read.
        MembersDropped => UserAction,
    }
}

reasons! {
    /// Reason of a condition of a PadConfiguration.
    ConfigurationReason {
        /// Candidates who enter the stage get a pad.
        InUse => NoAction,
        /// The stage has another name in Lever now.
        StageRenamed => NoAction,
        /// A configuration of another connection serves the same candidates.
        Duplicate => NoAction,
        /// A person has suspended the configuration. It causes no Event, because a person requested it.
        Suspended => UserAction,
        /// The connection does not exist.
        ConnectionNotFound => UserAction,
        /// The connection is not Ready.
        ConnectionNotReady => NoAction,
        /// The operator has not checked the configuration since its last change. Only in the message of a Pad.
        NotLookedAtYet => NoAction,
        /// The stage exists in Lever.
        StageFound => NoAction,
        /// Lever has no such stage.
        StageNotFound => UserAction,
        /// Several stages have this name.
        StageAmbiguous => UserAction,
        /// An older configuration has the same stage and tag.
        Conflict => UserAction,
        /// The question can be used.
        Usable => NoAction,
        /// No question is set.
        NoQuestion => NoAction,
        /// CoderPad has no such question.
        QuestionNotFound => UserAction,
        /// The question is a draft, or does not fit the type of pad.
        QuestionNotUsable => UserAction,
        /// The owner is not a user of the CoderPad organization.
        OwnerNotFound => UserAction,
        /// CoderPad rejects the API key.
        InterviewUnauthorized => UserAction,
        /// The CoderPad API key lacks a permission.
        InterviewForbidden => UserAction,
        /// CoderPad is unavailable.
        InterviewUnavailable => NoAction,
        /// CoderPad limits the request rate.
        InterviewRateLimited => NoAction,
        /// CoderPad rejects a request that should be valid.
        InterviewUnexpectedAnswer => UserAction,
        /// CoderPad created a live pad where a take-home was requested.
        TakeHomeRefused => UserAction,
    }
}
