//! What the plan decides on: plain values, no client, no clock, no Kubernetes object.
//!
//! `observe` fills them in from the cluster, `execute` adds what the services answered, and a test or a model makes them up.

use super::series::SeriesMember;
use super::tags::TagState;
use crate::api::configuration::{DeletionPolicy, Existing, PadType, Repeat, WriteBack};
use crate::api::installation::Installation;
use crate::api::names::{Claim, CreateIntent, OnceOnlyWrite, Reference, Series};
use crate::api::pad::{DesiredState, Phase};
use crate::coderpad::{Environment, PadEvent, PadRecord};
use crate::controller::rolling_limit::LimitExceeded;
use crate::lever::Opportunity;
use crate::transport;
use jiff::Timestamp;
use std::time::Duration;

/// Everything that is known about one Pad at one moment.
#[derive(Clone, Debug)]
pub struct PadState {
    /// The Pad itself.
    pub pad: StoredPad,
    /// The connection that its calls go through.
    pub connection: ConnectionState,
    /// The configuration that says what kind of pad it is.
    pub configuration: RuleState,
    /// The candidate's opportunity in Lever.
    pub opportunity: CandidateLookup,
    /// The pad at CoderPad that belongs to the Pad.
    pub record: PadLookup,
    /// What is known of an attempt whose outcome is not stored.
    pub flight: CreateOutcome,
    /// What is known of the write to Lever that was claimed last.
    pub claimed: WriteClaim,
    /// The other Pads of the candidate by the configuration, but for those that are being deleted.
    pub others: Vec<SeriesMember>,
    /// When the configuration makes a further pad; None: there is no configuration.
    pub repeat: Option<Repeat>,
    /// The stage entries that need no further pad, as the configuration's status stores them.
    pub served_entries: Option<String>,
    /// Whether the opportunity is from a page or a read that other Pads share: it may be some seconds old.
    pub read_is_shared: bool,
    /// Whether the served entries that this Pad's deletion leaves behind were stored in this pass.
    pub served_stored: bool,
    /// The stage that the configuration means, also while it is not Ready.
    pub stage_id: Option<String>,
    /// Whether the pad must be a take-home.
    pub wants_take_home: bool,
    /// Whether the configuration says that CoderPad refuses to create take-homes for it.
    pub take_home_refused: bool,
    /// Whether the refusal of a take-home was stored on the configuration in this pass.
    pub refusal_stored: bool,
    /// Whether the pad was read again because its type was not the requested one.
    pub kind_read_again: bool,
    /// The signed webhook that this Pad is to be judged by, and what follows from a read that is older.
    pub event: Option<SignedEvent>,
    /// The candidate's last entry into the stage when the plan came to rest.
    pub judged: Option<Timestamp>,
    /// Whether sync has news of the candidate.
    pub judge: bool,
    /// Whether another Pad of the series was made, or asked to be judged, in this pass.
    pub passed_on: bool,
    /// Which pads count as own, and what is known of other installations.
    pub ownership: Ownership,
    /// The pads behind the CoderPad links that were on the candidate before; None: not looked at.
    pub linked_before: Option<Vec<PadRecord>>,
    /// Whether the link was written in this pass.
    pub link_written: bool,
    /// Tags that were put on or taken off in this pass: each once, whatever Lever makes of it.
    pub tags_written: Vec<String>,
    /// Whether the link was taken off in this pass.
    pub link_removed: bool,
    /// Ids of pads that were deleted at CoderPad in this pass.
    pub deleted: Vec<String>,
    /// What the configuration asks to be written to Lever; None: there is no configuration.
    pub write_back: Option<WriteBack>,
    /// Whether CoderPad was asked in this pass to end the interview.
    pub end_asked: bool,
    /// Whether somebody asked for a look at the pad at CoderPad.
    pub look: bool,
    /// Whether sync has heard that the candidate was archived.
    pub archived: bool,
    /// Whether sync has heard that the candidate's data is gone from Lever.
    pub gone: bool,
    /// Whether the interview is to be ended when the candidate is archived.
    pub ends_on_archive: bool,
    /// What has happened in the pad; None: not asked for in this pass.
    pub events: Option<Vec<PadEvent>>,
    /// Why a pad that was refused cannot be made from its question; the outer None: not asked for in this pass.
    pub misfit: Option<Option<&'static str>>,
    /// The final code; None: not asked for in this pass.
    pub code: Option<Vec<Environment>>,
    /// The note at the end of the interview.
    pub note: NoteLookup,
    /// A call or write of this pass that did not succeed. The pass ends with it.
    pub error: Option<PassError>,
    /// The same of what was done about the tag of a pad that fails: no trouble of the Pad itself.
    pub failure_tag_error: Option<PassError>,
    /// After a failure: how long no call may be made yet.
    pub pause: Option<Duration>,
    /// What is known of the tags besides those of the candidate.
    pub tags: TagState,
    /// Whether Lever refused the note with the code in this pass.
    pub code_refused: bool,
    /// Delay until the next look of a Pad that waits for quota while older Pads have what is left.
    pub front: Option<Duration>,
    /// When a request of this pass to create a pad was sent that CoderPad has answered.
    pub create_answered_at: Option<Timestamp>,
}

impl PadState {
    /// Before any service was asked, and with nothing that sync or other Pads have to tell.
    pub fn new(pad: StoredPad, connection: ConnectionState, configuration: RuleState) -> Self {
        Self {
            pad,
            connection,
            configuration,
            opportunity: CandidateLookup::NotRead,
            record: PadLookup::NotRead,
            flight: CreateOutcome::NotSent,
            claimed: WriteClaim::Unclaimed,
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
            passed_on: false,
            ownership: Ownership::default(),
            linked_before: None,
            link_written: false,
            tags_written: Vec::new(),
            link_removed: false,
            deleted: Vec::new(),
            write_back: None,
            end_asked: false,
            look: false,
            archived: false,
            gone: false,
            ends_on_archive: false,
            events: None,
            misfit: None,
            code: None,
            note: NoteLookup::NotRead,
            error: None,
            failure_tag_error: None,
            pause: None,
            tags: TagState::default(),
            code_refused: false,
            front: None,
            create_answered_at: None,
        }
    }
}

impl PadState {
    /// When the interview began, as far as it is known.
    pub fn started_at(&self) -> Option<Timestamp> {
        let of = |kind: &str| {
            let events = self.events.iter().flatten().filter(|event| event.kind == kind);
            events.map(|event| event.created_at).min()
        };
        self.pad.started_at.or_else(|| of("started")).or_else(|| of("joined"))
    }
}

/// The Pad, as the cluster has it.
#[derive(Clone, Debug)]
pub struct StoredPad {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Name of its configuration.
    pub configuration: String,
    /// Id of the candidate's opportunity.
    pub opportunity_id: String,
    /// Whether a person made it.
    pub manual: bool,
    /// What the user wants.
    pub desired_state: DesiredState,
    /// What deleting it leaves behind.
    pub deletion_policy: DeletionPolicy,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether our finalizer is on it.
    pub finalizer: bool,
    /// The intention to create a pad, as stored.
    pub attempt: Option<CreateIntent>,
    /// The id of the pad at CoderPad, as stored.
    pub pad_id: Option<String>,
    /// The link of the pad, as last written.
    pub url: Option<String>,
    /// Whether another Pad of the same series is being deleted, and it is not settled yet what becomes of its pad.
    pub sibling_terminating: bool,
    /// What it is in its series.
    pub member: SeriesMember,
    /// If sync made it for a candidate who was there before the rule took effect: when the rule did.
    pub existing_since: Option<Timestamp>,
    /// Whether it was skipped because the candidate was there before the rule took effect.
    pub was_before: bool,
    /// Whether a person asked for it to be judged again since it was last judged.
    pub asked_by_person: bool,
    /// The stage entry that its pad serves.
    pub entry: Option<Timestamp>,
    /// The last stage entry that it was judged for.
    pub judged_entry: Option<Timestamp>,
    /// The last stage entry for which a person asked for a pad.
    pub requested_entry: Option<Timestamp>,
    /// Whether its pad was found to be deleted in CoderPad.
    pub pad_was_deleted: bool,
    /// The phase as last written.
    pub phase: Option<Phase>,
    /// Whether it was last seen to wait for quota, or for room in the hour.
    pub waits_for_room: bool,
    /// The write to Lever that was claimed last, as stored.
    pub claim: Option<Claim>,
    /// Whether the link is known to have been on the candidate.
    pub linked: bool,
    /// When the interview began, as far as it is known.
    pub started_at: Option<Timestamp>,
    /// The id of the note, if it is known.
    pub note_id: Option<String>,
    /// Whether all is settled that has to be written to Lever after the end.
    pub recorded: bool,
    /// Whether its status names the candidate.
    pub names_candidate: bool,
    /// The tag of a pad that fails, once it is settled that the candidate carries it, or cannot.
    pub failed_tag: Option<String>,
    /// Whether somebody asked for it to be judged again since it was last judged.
    pub requested: bool,
    /// Whether its configuration has changed since it was last judged.
    pub configuration_changed: bool,
}

impl PadState {
    /// Whether somebody asks for the candidate to be judged again.
    pub fn is_asked(&self) -> bool {
        self.pad.requested || self.judge
    }

    /// The candidate's last entry into the stage, as far as it was read in this pass.
    pub fn entry(&self) -> Option<Timestamp> {
        match (&self.opportunity, &self.stage_id) {
            (CandidateLookup::Read(opportunity), Some(stage_id)) => {
                Timestamp::from_millisecond(opportunity.entry_into(stage_id)).ok()
            }
            _ => None,
        }
    }

    /// The stage entry that the stored pad was created for, as its notes or the attempt name it.
    pub fn entry_of_pad(&self) -> Option<Timestamp> {
        let of_notes = match &self.record {
            PadLookup::Read(record) => Reference::of_notes(&record.notes),
            PadLookup::NotRead | PadLookup::NotFound => None,
        };
        let reference = of_notes.or_else(|| Some(self.pad.attempt.as_ref()?.reference.clone()))?;
        Timestamp::from_millisecond(reference.entry().parse().ok()?).ok()
    }

    /// The candidate's last change of stage, as far as it was read in this pass.
    pub fn last_stage_change(&self) -> Option<Timestamp> {
        let CandidateLookup::Read(opportunity) = &self.opportunity else { return None };
        let last = opportunity.stage_changes.iter().map(|change| change.updated_at_ms).max();
        last.or(opportunity.created_at_ms).and_then(|at| Timestamp::from_millisecond(at).ok())
    }

    /// All Pads of the series, this one included.
    pub fn series(&self) -> Vec<SeriesMember> {
        self.others.iter().chain([&self.pad.member]).cloned().collect()
    }
}

impl StoredPad {
    /// The series of pads that it belongs to.
    pub fn series(&self) -> Series {
        Series::new(&self.namespace, &self.configuration, &self.opportunity_id)
    }

    /// The attempt whose outcome is not stored.
    pub fn open_attempt(&self) -> Option<&CreateIntent> {
        self.attempt.as_ref().filter(|_| self.pad_id.is_none())
    }

    /// Whether this tag, of a pad that fails, must be taken off the candidate before the Pad may go.
    pub fn must_remove_tag(&self, tag: Option<&String>) -> bool {
        tag.is_some() && self.deletion_policy != DeletionPolicy::Retain
    }

    /// Whether it has made a pad, or has begun to.
    pub fn has_attempted_pad(&self) -> bool {
        self.pad_id.is_some() || self.attempt.is_some()
    }

    /// The write to Lever whose outcome is not stored, and its mark.
    pub fn open_claim(&self) -> Option<(OnceOnlyWrite, String)> {
        let claim = self.claim.as_ref();
        if !self.linked {
            // Whoever stores the pad's id goes on to add its link.
            let id = self.pad_id.as_ref()?;
            return Some((OnceOnlyWrite::Link, claim.map_or_else(|| id.clone(), Claim::to_string)));
        }
        let claim = claim.filter(|claim| claim.effect == OnceOnlyWrite::Note && !self.recorded)?;
        Some((OnceOnlyWrite::Note, claim.to_string()))
    }
}

/// A signed webhook: Lever's answers must be at least as new before they decide (contract P7a).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SignedEvent {
    /// When Lever triggered it.
    pub at: Timestamp,
    /// Delay until the next read if the present one is older; None: what is read then decides.
    pub read_again_in: Option<Duration>,
}

/// Which pads count as own, and what is known of other installations (contract, "Several installations").
#[derive(Clone, Debug, Default)]
pub struct Ownership {
    /// The installation of the connection.
    pub installation: Installation,
    /// Name of the connection that the Pad was created through, if that is gone and the Pad continues through another one.
    pub former_connection: Option<String>,
    /// The other installation that the status names.
    pub reported: Option<String>,
    /// The installation that the pad gives way to, as stored.
    pub yields_to: Option<String>,
    /// Whether sync asks to look for pads of other installations among the candidate's links.
    pub look: bool,
    /// IDs of the linked pads that were looked at in this pass.
    pub links_read: Vec<String>,
}

/// The connection, as far as a Pad cares.
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
    /// Its probe has not succeeded, or not yet since it was changed.
    NotReady {
        /// The name.
        name: String,
        /// The reason of its Ready condition.
        reason: String,
        /// The message of its Ready condition.
        message: String,
    },
    /// Both services answer.
    Ready {
        /// The name.
        name: String,
        /// Pads that may still be made; None: no limit, or overage is allowed.
        pads_left: Option<i64>,
        /// How many pads it may make in an hour; None: no limit.
        per_hour: Option<u32>,
        /// Why there is no room for this Pad in the hour; None: there is.
        hour_full: Option<LimitExceeded>,
        /// The base URL of the Interview API: links to its host are pads too, besides those to coderpad.io.
        interview_url: String,
    },
}

/// The configuration, as far as a Pad cares.
#[derive(Clone, Debug)]
pub enum RuleState {
    /// There is none of that name, or it is of another connection than the Pad.
    NotFound {
        /// What to tell the user.
        message: String,
    },
    /// A person has suspended it.
    Suspended,
    /// It has a fault, or was not looked at yet.
    NotReady {
        /// The tag that a candidate must carry.
        tag: String,
        /// The reason of its Ready condition.
        reason: String,
        /// The message of its Ready condition.
        message: String,
    },
    /// It is in use.
    Ready(Rule),
}

/// What a configuration says about its pads.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Lever's id of the stage.
    pub stage_id: String,
    /// The stage's name.
    pub stage_name: String,
    /// The tag that a candidate must carry.
    pub tag: String,
    /// The kind of pad.
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
    /// When a further pad is made.
    pub repeat: Repeat,
    /// What candidates get who were there before the rule took effect.
    pub existing: Existing,
    /// When it took effect.
    pub effective_since: Option<Timestamp>,
}

/// The candidate's opportunity, as Lever has it.
#[derive(Clone, Debug)]
pub enum CandidateLookup {
    /// Not asked for in this pass.
    NotRead,
    /// Lever knows none of that id.
    NotFound,
    /// Lever keeps this one from the API key.
    Refused,
    /// As read in this pass.
    Read(Box<Opportunity>),
}

/// The pad at CoderPad.
#[derive(Clone, Debug)]
pub enum PadLookup {
    /// Not asked for in this pass.
    NotRead,
    /// CoderPad knows none of that id any more.
    NotFound,
    /// As created or read in this pass.
    Read(Box<PadRecord>),
}

/// What is known of an attempt whose outcome is not stored.
#[derive(Clone, Debug)]
pub enum CreateOutcome {
    /// The request may still be under way, or CoderPad's lists may not show its pad yet. A pad that a search finds is
    /// the right one all the same (contract X5a).
    InFlight {
        /// How long that may last.
        rest: Duration,
        /// Delay until the next search; zero: now.
        search_in: Duration,
    },
    /// Every request has ended and the lists are fresh: a search can conclude.
    Completed,
    /// CoderPad's newest pads were searched: these carry the reference, oldest first.
    Searched(Vec<PadRecord>),
    /// It certainly made no pad: refused, or never sent.
    NotSent,
}

/// What is known of a write to Lever that must take effect once. It is made only by who has claimed it, right after that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WriteClaim {
    /// None is under way.
    Unclaimed,
    /// One may still take effect, or its effect may not be seen yet.
    InFlight {
        /// How long that may last.
        rest: Duration,
    },
    /// This pass has claimed it.
    Owned(OnceOnlyWrite),
}

/// The note at the end of the interview.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoteLookup {
    /// Not looked for in this pass.
    NotRead,
    /// No note of the opportunity carries the reference.
    Absent,
    /// It is there, or was and somebody has deleted it: its id.
    Written(String),
}

/// What stopped a pass.
#[derive(Clone, Debug)]
pub enum PassError {
    /// A service refused or did not answer.
    Service(transport::Error),
    /// The creation of a pad was sent, and it is not known whether there is one.
    CreateOutcomeUnknown(transport::Error),
    /// The keys of the connection could not be had.
    NoCredentials {
        /// The connection's name.
        connection: String,
        /// Why.
        message: String,
    },
    /// Somebody else has changed the Pad since it was read: look again at once.
    Conflict,
    /// The API server refuses a write to the Pad, and will until a person changes what refuses it.
    Refused {
        /// The API server's answer.
        answer: String,
    },
    /// The API server did not take a write, or what was read does not fit together: look again later.
    Cluster {
        /// What happened.
        message: String,
    },
}

/// The entry that a Pad stands for, and the reference that follows from it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StageEntry {
    /// When the candidate entered the stage; None for a Pad made by hand.
    pub at: Option<Timestamp>,
    /// What the pad at CoderPad will be found by.
    pub reference: Reference,
}
