//! What the plan decides on: plain values, no client, no clock, no Kubernetes object.
//!
//! `observe` fills them in from the cluster, `act` adds what the services answered, and a test or a model makes them up.

use super::series::Member;
use crate::api::configuration::{DeletionPolicy, Existing, PadType, Repeat};
use crate::api::names::{Attempt, Reference, Series};
use crate::api::pad::{DesiredState, Phase};
use crate::interview::PadRecord;
use crate::lever::Opportunity;
use crate::transport;
use jiff::Timestamp;
use std::time::Duration;

/// Everything that is known about one Pad at one moment.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The Pad itself.
    pub pad: PadFacts,
    /// The connection that its calls go through.
    pub connection: ConnectionFacts,
    /// The configuration that says what kind of pad it is.
    pub configuration: ConfigurationFacts,
    /// The candidate's opportunity in Lever.
    pub opportunity: Candidate,
    /// The pad at CoderPad that belongs to the Pad.
    pub record: Record,
    /// What is known of an attempt whose outcome is not stored.
    pub flight: Flight,
    /// How long a link that another process has sent may still appear on the candidate.
    pub link_flight: Option<Duration>,
    /// The other Pads of the candidate by the configuration, but for those that are being deleted.
    pub others: Vec<Member>,
    /// When the configuration makes a further pad; None: there is no configuration.
    pub repeat: Option<Repeat>,
    /// Whether sync has news of the candidate.
    pub judge: bool,
    /// Whether another Pad of the series was made, or asked to be judged, in this pass.
    pub passed_on: bool,
    /// The pads behind the CoderPad links that were on the candidate before; None: not looked at.
    pub linked_before: Option<Vec<PadRecord>>,
    /// Whether the link was written in this pass.
    pub link_written: bool,
    /// Whether the link was taken off in this pass.
    pub link_removed: bool,
    /// Ids of pads that were deleted at CoderPad in this pass.
    pub deleted: Vec<String>,
    /// A call or write of this pass that did not succeed. The pass ends with it.
    pub trouble: Option<Trouble>,
    /// After a failure: how long no call may be made yet.
    pub pause: Option<Duration>,
}

/// The Pad, as the cluster has it.
#[derive(Clone, Debug)]
pub struct PadFacts {
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
    pub wish: DesiredState,
    /// What deleting it leaves behind.
    pub deletion_policy: DeletionPolicy,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether our finalizer is on it.
    pub finalizer: bool,
    /// The intention to create a pad, as stored.
    pub attempt: Option<Attempt>,
    /// The id of the pad at CoderPad, as stored.
    pub pad_id: Option<String>,
    /// The link of the pad, as last written.
    pub url: Option<String>,
    /// What it is in its series.
    pub member: Member,
    /// If sync made it for a candidate who was there before the rule took effect: when the rule did.
    pub existing_since: Option<Timestamp>,
    /// Whether it was skipped because the candidate was there before the rule took effect.
    pub was_before: bool,
    /// Whether it was a person who last asked for it to be judged.
    pub asked_by_person: bool,
    /// Whether another Pad of the same series is being deleted while it is not known whether its pad was made.
    pub another_in_flight: bool,
    /// The phase as last written.
    pub phase: Option<Phase>,
    /// Whether it was last seen to wait for quota.
    pub waits_for_quota: bool,
    /// Whether the link is known to have been on the candidate.
    pub linked: bool,
    /// Whether somebody asked for it to be judged again since it was last judged.
    pub requested: bool,
    /// Whether its configuration has changed since it was last judged.
    pub configuration_changed: bool,
}

impl Facts {
    /// Whether somebody asks for the candidate to be judged again.
    pub fn is_asked(&self) -> bool {
        self.pad.requested || self.judge
    }

    /// All Pads of the series, this one included.
    pub fn series(&self) -> Vec<Member> {
        self.others.iter().chain([&self.pad.member]).cloned().collect()
    }
}

impl PadFacts {
    /// The series of pads that it belongs to.
    pub fn series(&self) -> Series {
        Series::new(&self.namespace, &self.configuration, &self.opportunity_id)
    }

    /// The attempt whose outcome is not stored.
    pub fn open_attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref().filter(|_| self.pad_id.is_none())
    }
}

/// The connection, as far as a Pad cares.
#[derive(Clone, Debug)]
pub enum ConnectionFacts {
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
        /// The host of the Interview API: links to it are pads too, besides those to coderpad.io.
        pad_host: Option<String>,
    },
}

/// The configuration, as far as a Pad cares.
#[derive(Clone, Debug)]
pub enum ConfigurationFacts {
    /// There is none of that name, or it is of another connection than the Pad.
    NotFound {
        /// What to tell the user.
        message: String,
    },
    /// A person has suspended it.
    Suspended,
    /// It has a fault, or was not looked at yet.
    NotReady {
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
    /// Whether a whole walk has found out who was there before.
    pub existing_settled: bool,
}

/// The candidate's opportunity, as Lever has it.
#[derive(Clone, Debug)]
pub enum Candidate {
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
pub enum Record {
    /// Not asked for in this pass.
    NotRead,
    /// CoderPad knows none of that id any more.
    NotFound,
    /// As created or read in this pass.
    Read(Box<PadRecord>),
}

/// What is known of an attempt whose outcome is not stored.
#[derive(Clone, Debug)]
pub enum Flight {
    /// The request may still be under way, or CoderPad's lists may not show its pad yet.
    MayStillLand {
        /// How long that may last.
        rest: Duration,
    },
    /// Every request has ended and the lists are fresh: a search can conclude.
    Landed,
    /// CoderPad's newest pads were searched: these carry the reference, oldest first.
    Searched(Vec<PadRecord>),
    /// It certainly made no pad: refused, or never sent.
    WithoutEffect,
}

/// What stopped a pass.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// A service refused or did not answer.
    Service(transport::Error),
    /// The creation of a pad was sent, and it is not known whether there is one.
    CreateOutcomeUnknown(transport::Error),
    /// The keys of the connection could not be had.
    NoAccount {
        /// The connection's name.
        connection: String,
        /// Why.
        message: String,
    },
    /// Somebody else has changed the Pad since it was read: look again at once.
    Conflict,
    /// The API server did not take a write, or what was read does not fit together: look again later.
    Cluster {
        /// What happened.
        message: String,
    },
}

/// The entry that a Pad stands for, and the reference that follows from it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// When the candidate entered the stage; None for a Pad made by hand.
    pub at: Option<Timestamp>,
    /// What the pad at CoderPad will be found by.
    pub reference: Reference,
}
