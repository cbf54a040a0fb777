//! The observed state of a Pad, on which the rules decide: plain values, no client, no clock, no Kubernetes object.
//!
//! `observe` builds it from the cluster, `execute` adds the services' answers, and tests and the model construct it.

use super::series::SeriesMember;
use super::tags::TagState;
use crate::rolling_limit::LimitExceeded;
use api::configuration::{DeletionPolicy, Existing, PadType, Repeat, WriteBack};
use api::installation::Installation;
use api::names::{Claim, CreateIntent, FailedCreations, OnceOnlyWrite, Reference, Series};
use api::pad::{DesiredState, Phase};
use jiff::Timestamp;
use services as transport;
use services::coderpad::{Environment, PadEvent, PadRecord};
use services::lever::Opportunity;
use std::time::Duration;

/// Observed state of one Pad during a pass.
#[derive(Clone, Debug)]
pub struct PadState {
    /// The Pad itself.
    pub pad: StoredPad,
    /// The connection of its calls.
    pub connection: ConnectionState,
    /// Its configuration.
    pub configuration: RuleState,
    /// The candidate's opportunity in Lever.
    pub opportunity: CandidateLookup,
    /// Its pad in CoderPad.
    pub record: PadLookup,
    /// State of an attempt whose outcome is not stored.
    pub create_outcome: CreateOutcome,
    /// Whether CoderPad answered the request of the open attempt with a server error, as far as this process knows.
    pub create_answered_5xx: bool,
    /// Whether a failed creation was counted in this pass.
    pub failure_counted: bool,
    /// State of the last claimed write to Lever.
    pub write_claim: WriteClaim,
    /// The candidate's other Pads of the configuration, except those that are being deleted.
    pub others: Vec<SeriesMember>,
    /// `spec.repeat` of the configuration; `None`: there is no configuration.
    pub repeat: Option<Repeat>,
    /// The stage entries that need no other pad, as stored in the configuration's status.
    pub served_entries: Option<String>,
    /// Whether the opportunity is from a list page or a shared read, and may be some seconds old.
    pub read_is_shared: bool,
    /// Whether the served entries that this Pad's deletion leaves behind were stored in this pass.
    pub served_stored: bool,
    /// ID of the configuration's stage, also while the configuration is not Ready.
    pub stage_id: Option<String>,
    /// Whether the pad must be a take-home.
    pub wants_take_home: bool,
    /// Whether CoderPad refused to create take-homes for the configuration.
    pub take_home_refused: bool,
    /// Whether the refusal of a take-home was stored on the configuration in this pass.
    pub refusal_stored: bool,
    /// Whether the pad was read again because its type was not the requested one.
    pub kind_read_again: bool,
    /// The signed webhook by which this Pad is judged, and the delay after an older read.
    pub event: Option<SignedEvent>,
    /// The candidate's last stage entry when the pass was decided.
    pub judged: Option<Timestamp>,
    /// Whether sync requested that the candidate is judged.
    pub judge: bool,
    /// Whether another Pad of the series was created, or requested to be judged, in this pass.
    pub sibling_requested: bool,
    /// Negative answers that another read has to confirm.
    pub unconfirmed: Unconfirmed,
    /// Ownership of the pads.
    pub ownership: Ownership,
    /// The pads behind the CoderPad links that the candidate already carried; `None`: not read.
    pub linked_before: Option<Vec<PadRecord>>,
    /// Whether the link was written in this pass.
    pub link_written: bool,
    /// Tags that were added or removed in this pass: each is sent once, whatever Lever answers.
    pub tags_written: Vec<String>,
    /// Whether the link was removed in this pass.
    pub link_removed: bool,
    /// IDs of pads that were deleted in CoderPad in this pass.
    pub deleted: Vec<String>,
    /// `spec.writeBack` of the configuration; `None`: there is no configuration.
    pub write_back: Option<WriteBack>,
    /// Whether a request to end the interview was sent in this pass.
    pub end_requested: bool,
    /// Whether a read of the pad in CoderPad was requested.
    pub read_requested: bool,
    /// Whether sync found the candidate archived.
    pub archived: bool,
    /// Whether sync found the candidate's data removed from Lever.
    pub erased: bool,
    /// Whether `spec.onArchive` is `End`.
    pub ends_on_archive: bool,
    /// Events of the pad; `None`: not read in this pass.
    pub events: Option<Vec<PadEvent>>,
    /// Why the question cannot be used for the refused pad; the outer `None`: not checked in this pass.
    pub question_problem: Option<Option<&'static str>>,
    /// The final code; `None`: not read in this pass.
    pub code: Option<Vec<Environment>>,
    /// The note at the end of the interview.
    pub note: NoteLookup,
    /// The failed call or write that ends this pass.
    pub error: Option<PassError>,
    /// Health of the Pad after its own rules are done; `None`: they are not. The rules of `tags.failed` follow.
    pub health: Option<PadHealth>,
    /// A failed call or write for `tags.failed`, which is no error of the Pad itself.
    pub failure_tag_error: Option<PassError>,
    /// Remaining backoff of `tags.failed` after a failure: no service is called for it meanwhile.
    pub failure_tag_backoff: Option<Duration>,
    /// Remaining backoff after a failure: no service is called meanwhile.
    pub backoff_remaining: Option<Duration>,
    /// State of the tags, besides those on the candidate.
    pub tags: TagState,
    /// Whether Lever refused the note with the code in this pass.
    pub code_refused: bool,
    /// State of the TTL.
    pub ttl: TtlState,
    /// Requeue delay of a Pad that waits for quota which older Pads have reserved.
    pub quota_requeue: Option<Duration>,
    /// Time at which this pass sent a create request that CoderPad answered.
    pub create_answered_at: Option<Timestamp>,
    /// Time at which the Pad was observed.
    pub observed_at: Timestamp,
}

impl PadState {
    /// Creates the state before any call to a service, without hints of sync and without other Pads.
    pub fn new(pad: StoredPad, connection: ConnectionState, configuration: RuleState) -> Self {
        Self {
            pad,
            connection,
            configuration,
            opportunity: CandidateLookup::NotRead,
            record: PadLookup::NotRead,
            create_outcome: CreateOutcome::NotSent,
            create_answered_5xx: false,
            failure_counted: false,
            write_claim: WriteClaim::Unclaimed,
            others: Vec::new(),
            repeat: None,
            served_entries: None,
            read_is_shared: false,
            served_stored: false,
            stage_id: None,
            wants_take_home: false,
            take_home_refused: false,
            refusal_stored: false,
            kind_read_again: false,
            event: None,
            judged: None,
            judge: false,
            sibling_requested: false,
            unconfirmed: Unconfirmed::default(),
            ownership: Ownership::default(),
            linked_before: None,
            link_written: false,
            tags_written: Vec::new(),
            link_removed: false,
            deleted: Vec::new(),
            write_back: None,
            end_requested: false,
            read_requested: false,
            archived: false,
            erased: false,
            ends_on_archive: false,
            events: None,
            question_problem: None,
            code: None,
            note: NoteLookup::NotRead,
            error: None,
            health: None,
            failure_tag_error: None,
            failure_tag_backoff: None,
            backoff_remaining: None,
            tags: TagState::default(),
            code_refused: false,
            ttl: TtlState::NotExpired,
            quota_requeue: None,
            create_answered_at: None,
            observed_at: Timestamp::UNIX_EPOCH,
        }
    }
}

impl PadState {
    /// Returns the known start of the interview.
    pub fn started_at(&self) -> Option<Timestamp> {
        let of = |kind: &str| {
            let events = self.events.iter().flatten().filter(|event| event.kind == kind);
            events.map(|event| event.created_at).min()
        };
        self.pad.started_at.or_else(|| of("started")).or_else(|| of("joined"))
    }
}

/// The Pad as stored in the cluster.
#[derive(Clone, Debug)]
pub struct StoredPad {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Name of its configuration.
    pub configuration: String,
    /// ID of the candidate's opportunity.
    pub opportunity_id: String,
    /// Whether it was created manually.
    pub manual: bool,
    /// `spec.state`.
    pub desired_state: DesiredState,
    /// `spec.deletionPolicy`.
    pub deletion_policy: DeletionPolicy,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it has the operator's finalizer.
    pub finalizer: bool,
    /// The stored attempt to create a pad.
    pub attempt: Option<CreateIntent>,
    /// The stored creations that CoderPad answered with a server error.
    pub failed_creations: Option<FailedCreations>,
    /// The stored ID of the pad in CoderPad.
    pub pad_id: Option<String>,
    /// The URL of the pad, as last written.
    pub url: Option<String>,
    /// Whether another Pad of the same series is being deleted and its pad is not cleaned up yet.
    pub sibling_terminating: bool,
    /// Its state within the series.
    pub member: SeriesMember,
    /// Effective time of the rule, if sync created the Pad for a candidate from before that time.
    pub existing_since: Option<Timestamp>,
    /// Whether it was skipped with reason `BeforeConfiguration`.
    pub was_before: bool,
    /// Whether a person requested a reconcile since it was last judged.
    pub asked_by_person: bool,
    /// The stage entry that its pad serves.
    pub entry: Option<Timestamp>,
    /// The last stage entry for which it was judged.
    pub judged_entry: Option<Timestamp>,
    /// The last stage entry for which a person requested a pad.
    pub requested_entry: Option<Timestamp>,
    /// Whether its pad was found to be deleted in CoderPad.
    pub pad_was_deleted: bool,
    /// Whether it failed with reason `ServiceError`.
    pub has_service_error: bool,
    /// The phase, as last written.
    pub phase: Option<Phase>,
    /// Whether its status reports that it waits for quota or the hourly limit.
    pub waits_for_room: bool,
    /// The stored claim of the last write to Lever.
    pub claim: Option<Claim>,
    /// Whether the link is known to have been added to the candidate.
    pub linked: bool,
    /// The known start of the interview.
    pub started_at: Option<Timestamp>,
    /// The ID of the note, if known.
    pub note_id: Option<String>,
    /// Whether the write-back to Lever after the interview is settled.
    pub recorded: bool,
    /// Whether its status names the candidate.
    pub names_candidate: bool,
    /// The value of `tags.failed` that was handled: the candidate carries it, or cannot.
    pub failed_tag: Option<String>,
    /// Whether a reconcile was requested since it was last judged.
    pub requested: bool,
    /// Whether its configuration has changed since it was last judged.
    pub configuration_changed: bool,
}

impl PadState {
    /// Reports whether the candidate is to be judged again.
    pub fn is_asked(&self) -> bool {
        self.pad.requested || self.judge
    }

    /// Returns the candidate's last stage entry, if the opportunity was read in this pass.
    pub fn entry(&self) -> Option<Timestamp> {
        match (&self.opportunity, &self.stage_id) {
            (CandidateLookup::Read(opportunity), Some(stage_id)) => {
                Timestamp::from_millisecond(opportunity.entry_into(stage_id)).ok()
            }
            _ => None,
        }
    }

    /// Returns the candidate's last stage change, if the opportunity was read in this pass.
    pub fn last_stage_change(&self) -> Option<Timestamp> {
        let CandidateLookup::Read(opportunity) = &self.opportunity else { return None };
        let last = opportunity.stage_changes.iter().map(|change| change.updated_at_ms).max();
        last.or(opportunity.created_at_ms).and_then(|at| Timestamp::from_millisecond(at).ok())
    }

    /// Returns all Pads of the series, including this one.
    pub fn series(&self) -> Vec<SeriesMember> {
        self.others.iter().chain([&self.pad.member]).cloned().collect()
    }
}

impl StoredPad {
    /// Returns the series of the Pad.
    pub fn series(&self) -> Series {
        Series::new(&self.namespace, &self.configuration, &self.opportunity_id)
    }

    /// Returns the attempt whose outcome is not stored.
    pub fn open_attempt(&self) -> Option<&CreateIntent> {
        self.attempt.as_ref().filter(|_| self.pad_id.is_none())
    }

    /// Reports whether this value of `tags.failed` must be removed from the candidate before the Pad is deleted.
    pub fn must_remove_tag(&self, tag: Option<&String>) -> bool {
        tag.is_some() && self.deletion_policy != DeletionPolicy::Retain
    }

    /// Reports whether it has a pad or an attempt.
    pub fn has_attempted_pad(&self) -> bool {
        self.pad_id.is_some() || self.attempt.is_some()
    }

    /// Returns the write to Lever whose outcome is not stored, and its mark.
    pub fn open_claim(&self) -> Option<(OnceOnlyWrite, String)> {
        let claim = self.claim.as_ref();
        if !self.linked {
            // Storing the pad's ID is also the claim of its link.
            let id = self.pad_id.as_ref()?;
            return Some((OnceOnlyWrite::Link, claim.map_or_else(|| id.clone(), Claim::to_string)));
        }
        let claim = claim.filter(|claim| claim.effect == OnceOnlyWrite::Note && !self.recorded)?;
        Some((OnceOnlyWrite::Note, claim.to_string()))
    }
}

/// TTL of a Pad that has ended or was skipped (contract E11).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TtlState {
    /// The Pad stays.
    NotExpired,
    /// Its TTL has passed, and a complete scan of sync does not find the candidate in the stage with the tag any more.
    Expired,
    /// It was deleted in this pass.
    Deleted,
}

/// A signed webhook. A read from Lever decides only if it is at least as new (contract P7a).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SignedEvent {
    /// Time at which Lever triggered it.
    pub at: Timestamp,
    /// Delay before the next read if the current one is older; `None`: the current read decides.
    pub read_again_in: Option<Duration>,
}

/// Ownership of pads: the own installations and the known foreign ones (contract, "Several installations").
#[derive(Clone, Debug, Default)]
pub struct Ownership {
    /// The installation of the connection.
    pub installation: Installation,
    /// Name of the Pad's original connection, if that no longer exists and the Pad continues through another one.
    pub former_connection: Option<String>,
    /// The other installation that the status names.
    pub reported: Option<String>,
    /// The stored installation to which the pad yields.
    pub yields_to: Option<String>,
    /// Whether sync requested a check of the candidate's links for pads of other installations.
    pub look: bool,
    /// IDs of the linked pads that were read in this pass.
    pub links_read: Vec<String>,
}

/// State of the connection.
#[derive(Clone, Debug)]
pub enum ConnectionState {
    /// There is none of that name.
    Missing {
        /// The name.
        name: String,
    },
    /// A person has suspended it.
    Suspended {
        /// The name.
        name: String,
    },
    /// Its probe failed, or has not run since its last change.
    NotReady {
        /// The name.
        name: String,
        /// The reason of its Ready condition.
        reason: String,
        /// The message of its Ready condition.
        message: String,
    },
    /// Both services are connected.
    Ready {
        /// The name.
        name: String,
        /// Pads left in the quota; `None`: unlimited, or overage is allowed.
        pads_left: Option<i64>,
        /// Maximum number of pads per hour; `None`: unlimited.
        per_hour: Option<u32>,
        /// The exceeded hourly limit; `None`: this Pad is within the limit.
        hour_full: Option<LimitExceeded>,
        /// The base URL of the Interview API: links to its host are pads, as links to coderpad.io are.
        interview_url: String,
    },
}

/// State of the configuration.
#[derive(Clone, Debug)]
pub enum RuleState {
    /// It does not exist, or belongs to another connection than the Pad.
    NotFound {
        /// Message for the user.
        message: String,
    },
    /// A person has suspended it.
    Suspended,
    /// It is not Ready, or was not checked yet.
    NotReady {
        /// The tag that a candidate must carry.
        tag: String,
        /// The reason of its Ready condition.
        reason: String,
        /// The message of its Ready condition.
        message: String,
    },
    /// It is Ready.
    Ready(Rule),
}

/// Rule of a configuration: which candidates get which pads.
#[derive(Clone, Debug)]
pub struct Rule {
    /// ID of the stage in Lever.
    pub stage_id: String,
    /// The stage's name.
    pub stage_name: String,
    /// The tag that a candidate must carry.
    pub tag: String,
    /// Type of the pad.
    pub type_: PadType,
    /// The question.
    pub question_id: Option<i64>,
    /// The language.
    pub language: Option<String>,
    /// The title with its placeholders.
    pub title: String,
    /// The waiting room.
    pub waiting_room: Option<bool>,
    /// The owner.
    pub owner_email: Option<String>,
    /// `spec.repeat`.
    pub repeat: Repeat,
    /// `spec.existing`.
    pub existing: Existing,
    /// Time at which it took effect.
    pub effective_since: Option<Timestamp>,
}

/// Result of reading the candidate's opportunity from Lever.
#[derive(Clone, Debug)]
pub enum CandidateLookup {
    /// It was not read in this pass.
    NotRead,
    /// Lever has none with that ID.
    NotFound,
    /// The API key may not read this opportunity.
    Refused,
    /// It was read in this pass.
    Read(Box<Opportunity>),
}

/// Negative answers of the services. Their consequences are irreversible, so further reads confirm them first: the
/// services are eventually consistent, and some answers are ambiguous.
#[derive(Clone, Debug, Default)]
pub struct Unconfirmed {
    /// Lever's answer about the candidate.
    pub candidate: Option<UnconfirmedCandidate>,
    /// Lever's 404 to a write. It may concern something else than the candidate, such as the user of performAs.
    pub write: Option<transport::ServiceError>,
    /// CoderPad's 404 for a pad.
    pub pad: Option<UnconfirmedPad>,
    /// IDs of the pads behind the candidate's links for which CoderPad answered 404.
    pub linked_pads: Vec<String>,
}

/// Lever's negative answer about the candidate.
#[derive(Clone, Debug)]
pub enum UnconfirmedCandidate {
    /// Lever answered 404 once (contract P7b).
    Missing,
    /// Lever answered 403. The candidate is confidential only if the API key can read another one (contract P2b).
    Forbidden {
        /// Lever's answer.
        error: transport::ServiceError,
        /// ID of another opportunity; `None`: not listed yet.
        other: Option<String>,
    },
}

/// A pad for which CoderPad answered 404 once. Contains its ID.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum UnconfirmedPad {
    /// It was read as a stored pad.
    Stored(String),
    /// It was read again because of its type.
    Kind(String),
}

/// Result of reading the pad from CoderPad.
#[derive(Clone, Debug)]
pub enum PadLookup {
    /// It was not read in this pass.
    NotRead,
    /// CoderPad has none with that ID any more.
    NotFound,
    /// It was created or read in this pass.
    Read(Box<PadRecord>),
}

/// State of an attempt whose outcome is not stored.
#[derive(Clone, Debug)]
pub enum CreateOutcome {
    /// The request may be in flight, or CoderPad's lists may not show its pad yet. A pad that a search finds is adopted
    /// anyway (contract X5a).
    InFlight {
        /// Longest remaining time.
        rest: Duration,
        /// Delay before the next search; zero: now.
        search_in: Duration,
    },
    /// Every request has ended and the lists are current: a search is conclusive.
    Completed,
    /// CoderPad's newest pads were searched. Contains the pads with the reference, oldest first.
    Searched(Vec<PadRecord>),
    /// It certainly created no pad: it was refused or never sent.
    NotSent,
}

/// State of a write to Lever that must take effect once. Only the process that claimed it sends it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WriteClaim {
    /// No write is in flight.
    Unclaimed,
    /// A write may still take effect, or its effect may not be visible yet.
    InFlight {
        /// Longest remaining time.
        rest: Duration,
    },
    /// This pass has claimed it.
    Owned(OnceOnlyWrite),
}

/// Result of searching for the note of the interview.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoteLookup {
    /// The notes were not read in this pass.
    NotRead,
    /// No note of the opportunity carries the reference.
    Absent,
    /// The note was written, even if somebody deleted it since. Contains its ID.
    Written(String),
}

/// Health of a Pad, as `tags.failed` shows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PadHealth {
    /// The Pad needs attention.
    Failing,
    /// The Pad is waiting and continues automatically, as far as known.
    Pending,
    /// The Pad is Ready.
    Healthy,
}

/// Error that ends a pass.
#[derive(Clone, Debug)]
pub enum PassError {
    /// A call to a service failed.
    Service(transport::ServiceError),
    /// A create request was sent, and its outcome is unknown.
    CreateOutcomeUnknown(transport::ServiceError),
    /// The API keys of the connection are unavailable.
    NoCredentials {
        /// The connection's name.
        connection: String,
        /// Cause.
        message: String,
    },
    /// The Pad was changed since it was read: reconcile again soon.
    Conflict,
    /// The API server refuses a write to the Pad, which requires a user action.
    Refused {
        /// The API server's answer.
        answer: String,
    },
    /// The API server failed a write, or the reads are inconsistent: retry later.
    Cluster {
        /// Description of the error.
        message: String,
    },
}

/// The stage entry that a Pad serves, and its reference.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StageEntry {
    /// Time of the stage entry; `None` for a manually created Pad.
    pub at: Option<Timestamp>,
    /// Reference of the pad in CoderPad.
    pub reference: Reference,
}
