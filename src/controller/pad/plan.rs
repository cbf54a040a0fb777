//! The plan: what was observed → one step. Pure; all rules about Pads stand here, in the order in which they count.
//!
//! The driver calls it again after each step, with what the step has found out, until it says [`Step::Rest`].

use super::facts::{
    Candidate, ConfigurationFacts, ConnectionFacts, Entry, Facts, Flight, PadFacts, Record, Rule, Trouble,
};
use super::reason::Reason;
use crate::api::configuration::{DeletionPolicy, PadType, Repeat};
use crate::api::names::Reference;
use crate::api::pad::{DesiredState, Phase};
use crate::interview::{NewPad, PadKind, PadRecord};
use crate::lever::Opportunity;
use crate::text;
use crate::transport::{Class, Service};
use jiff::Timestamp;
use std::time::Duration;

/// The next thing to do about one Pad.
#[derive(Clone, Debug)]
pub enum Step {
    /// Nothing more now: write the status that follows from the outcome.
    Rest {
        /// What the status shall say.
        outcome: Outcome,
        /// When to look again without being woken; None: only when woken, or after the pause of a failure.
        again: Option<Duration>,
    },
    /// Read the opportunity from Lever.
    ReadOpportunity,
    /// Read the pad of this id from CoderPad.
    ReadPad(String),
    /// Read the pads behind the CoderPad links on the candidate: one of them may be ours, from before memory was lost.
    ReadLinkedPads(Vec<String>),
    /// Write the intention down, then create the pad.
    Create {
        /// What it will be found by.
        reference: Reference,
        /// The pad.
        pad: Box<NewPad>,
    },
    /// Search CoderPad's newest pads for the reference of an attempt whose outcome is unknown.
    Search {
        /// What to look for.
        reference: Reference,
    },
    /// Store the id of the pad, before its link is written.
    StorePad {
        /// The pad.
        record: Box<PadRecord>,
        /// Whether the finalizer is still needed.
        keep_finalizer: bool,
    },
    /// Take back the intention: it is certain that it made no pad, or that its pad is deleted.
    ForgetAttempt,
    /// Add the link to the candidate in Lever.
    AddLink(String),
    /// Take the link off the candidate in Lever.
    RemoveLink(String),
    /// Delete a pad at CoderPad.
    DeletePad(String),
    /// Put the finalizer on the Pad (true), or take it off and let a deleted Pad go (false).
    SetFinalizer(bool),
}

impl Step {
    /// Whether the step calls a service.
    pub fn calls(&self) -> bool {
        match self {
            Step::Rest { .. } | Step::StorePad { .. } | Step::ForgetAttempt | Step::SetFinalizer(_) => false,
            Step::ReadOpportunity
            | Step::ReadPad(_)
            | Step::ReadLinkedPads(_)
            | Step::Create { .. }
            | Step::Search { .. }
            | Step::AddLink(_)
            | Step::RemoveLink(_)
            | Step::DeletePad(_) => true,
        }
    }
}

/// What the status shall say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// What it says already: it was judged before, and nothing has come up since.
    Unchanged,
    /// Nothing: this pass has decided nothing.
    Undecided,
    /// It waits.
    Waiting(Reason, String),
    /// The candidate gets no pad.
    Skipped(Reason, String),
    /// It cannot be made.
    Failed(Reason, String),
    /// The pad is open, and linked.
    Open,
    /// The pad was deleted at CoderPad.
    PadDeleted,
}

/// Decides the next step.
pub fn plan(facts: &Facts) -> Step {
    let step = match &facts.trouble {
        Some(trouble) => after_trouble(facts, trouble),
        None if facts.pad.deleting => removal(facts),
        None => life(facts),
    };
    match facts.pause {
        Some(rest) if step.calls() => Step::Rest { outcome: Outcome::Undecided, again: Some(rest) },
        _ => step,
    }
}

/// The life of a Pad that is not being deleted.
fn life(facts: &Facts) -> Step {
    let pad = &facts.pad;
    if pad.linked {
        return keep_linked(pad);
    }
    let nothing_made =
        pad.pad_id.is_none() && pad.open_attempt().is_none() && matches!(facts.record, Record::NotRead);
    if pad.wish == DesiredState::Ended && nothing_made {
        return rest(Outcome::Skipped(Reason::Cancelled, "spec.state is Ended: no pad was made.".into()));
    }
    if settled(pad) {
        return rest(Outcome::Unchanged);
    }
    if let Some(waiting) = connection_not_usable(facts) {
        return rest(waiting);
    }
    if pad.pad_id.is_some() || matches!(facts.record, Record::Read(_)) {
        return link(facts);
    }
    if pad.open_attempt().is_some() {
        return resolve_attempt(facts);
    }
    let rule = match &facts.configuration {
        ConfigurationFacts::Ready(rule) => rule,
        other => return rest(configuration_not_usable(pad, other)),
    };
    let opportunity = match judge(facts, rule) {
        Judgement::Unread => return Step::ReadOpportunity,
        Judgement::Skip(reason, message) => return rest(Outcome::Skipped(reason, message)),
        Judgement::Qualifies(opportunity) => opportunity,
    };
    create(facts, rule, opportunity)
}

/// An open pad: only the finalizer may still have to follow the deletion policy.
fn keep_linked(pad: &PadFacts) -> Step {
    let wanted = pad.deletion_policy != DeletionPolicy::Retain;
    if pad.finalizer != wanted {
        return Step::SetFinalizer(wanted);
    }
    match pad.phase {
        Some(Phase::Ended) => rest(Outcome::Unchanged),
        _ => rest(Outcome::Open),
    }
}

/// Whether the Pad was judged before and nobody has asked for another judgement.
fn settled(pad: &PadFacts) -> bool {
    match pad.phase {
        Some(Phase::Skipped) => !pad.requested,
        Some(Phase::Failed) => !pad.requested && !pad.configuration_changed,
        Some(Phase::Ended) => true,
        Some(Phase::Pending | Phase::Open | Phase::Started) | None => false,
    }
}

/// Nothing is sent while the connection is not usable: its own probe decides for all its Pads.
fn connection_not_usable(facts: &Facts) -> Option<Outcome> {
    match &facts.connection {
        ConnectionFacts::Ready { .. } if matches!(facts.configuration, ConfigurationFacts::Suspended) => {
            let message = format!(
                "PadConfiguration {} is suspended. The pad is made when spec.suspend is false again.",
                facts.pad.configuration
            );
            Some(Outcome::Waiting(Reason::Suspended, message))
        }
        ConnectionFacts::Ready { .. } => None,
        ConnectionFacts::Suspended { name } => {
            let message = format!(
                "LeverConnection {name} is suspended. The pad is made when spec.suspend is false again."
            );
            Some(Outcome::Waiting(Reason::Suspended, message))
        }
        // Without a configuration a Pad made by hand has no connection either: the configuration is what to mend.
        ConnectionFacts::Missing { .. }
            if matches!(facts.configuration, ConfigurationFacts::NotFound { .. }) =>
        {
            Some(configuration_not_usable(&facts.pad, &facts.configuration))
        }
        ConnectionFacts::Missing { name } => {
            let message = format!("LeverConnection {name} does not exist in this namespace. Create it.");
            Some(Outcome::Waiting(Reason::ConnectionNotReady, message))
        }
        ConnectionFacts::NotReady { name, reason, message } => {
            let reason = Reason::parse(reason).filter(|reason| reason.needs_a_person());
            let message = format!("LeverConnection {name} is not Ready: {message}");
            Some(Outcome::Waiting(reason.unwrap_or(Reason::ConnectionNotReady), message))
        }
    }
}

fn configuration_not_usable(pad: &PadFacts, configuration: &ConfigurationFacts) -> Outcome {
    let name = &pad.configuration;
    match configuration {
        ConfigurationFacts::NotFound { message } => {
            Outcome::Waiting(Reason::ConfigurationNotFound, message.clone())
        }
        ConfigurationFacts::NotReady { reason, message } => Outcome::Waiting(
            Reason::ConfigurationNotReady,
            format!("PadConfiguration {name} is not Ready ({reason}): {message}"),
        ),
        ConfigurationFacts::Suspended | ConfigurationFacts::Ready(_) => {
            Outcome::Waiting(Reason::Suspended, format!("PadConfiguration {name} is suspended."))
        }
    }
}

enum Judgement<'a> {
    Unread,
    Skip(Reason, String),
    Qualifies(&'a Opportunity),
}

/// Whether the candidate gets a pad now, by Lever's own books (contract, "When a pad is made", 2).
fn judge<'a>(facts: &'a Facts, rule: &Rule) -> Judgement<'a> {
    let pad = &facts.pad;
    let again = "Then move the candidate into the stage again, or annotate this Pad with padoperator.dev/reconcile-requested-at.";
    let opportunity = match &facts.opportunity {
        Candidate::NotRead => return Judgement::Unread,
        Candidate::NotFound => {
            let message = "Lever knows no opportunity of this id: it was deleted, or merged with another.";
            return Judgement::Skip(Reason::CandidateNotFound, message.into());
        }
        Candidate::Refused => {
            let message = "Lever keeps this opportunity from the API key: it is confidential. Only a new key that may see confidential data can have pads for it.";
            return Judgement::Skip(Reason::CandidateConfidential, message.into());
        }
        Candidate::Read(opportunity) => opportunity.as_ref(),
    };
    if opportunity.confidential {
        let message = "The opportunity is confidential in Lever: no pad is made for it.";
        return Judgement::Skip(Reason::CandidateConfidential, message.into());
    }
    if opportunity.is_anonymized {
        let message = "Lever has removed this candidate's data: no pad is made.";
        return Judgement::Skip(Reason::CandidateNotFound, message.into());
    }
    if opportunity.archived {
        let message =
            format!("The candidate is archived in Lever. Take the candidate out of the archive. {again}");
        return Judgement::Skip(Reason::CandidateArchived, message);
    }
    if pad.manual {
        return Judgement::Qualifies(opportunity);
    }
    if opportunity.stage != rule.stage_id {
        let message = format!("The candidate is not in the stage '{}' any more.", rule.stage_name);
        return Judgement::Skip(Reason::StageChanged, message);
    }
    if !opportunity.tags.contains(&rule.tag) {
        let message = format!(
            "The candidate does not carry the tag '{}' (compared exactly, case and all). To have a pad, add the tag in Lever. {again}",
            rule.tag
        );
        return Judgement::Skip(Reason::TagMissing, message);
    }
    Judgement::Qualifies(opportunity)
}

/// The entry that a pad made now would stand for.
pub fn entry(pad: &PadFacts, rule: &Rule, opportunity: &Opportunity) -> Entry {
    if pad.manual {
        return Entry { at: None, reference: Reference::new(pad.series(), &pad.name) };
    }
    let milliseconds =
        opportunity.last_entry_into(&rule.stage_id).or(opportunity.created_at_ms).unwrap_or_default();
    Entry {
        at: Timestamp::from_millisecond(milliseconds).ok(),
        reference: Reference::new(pad.series(), milliseconds),
    }
}

/// The candidate qualifies: adopt a pad from before memory was lost, or create one.
fn create(facts: &Facts, rule: &Rule, opportunity: &Opportunity) -> Step {
    let pad = &facts.pad;
    let entry = entry(pad, rule, opportunity);
    let links: Vec<String> = opportunity.links.iter().filter_map(|link| linked_pad_id(link)).collect();
    match &facts.linked_before {
        None if !links.is_empty() => return Step::ReadLinkedPads(links),
        Some(records) => {
            if let Some(record) = records.iter().find(|record| belongs(record, &entry, rule.repeat)) {
                return store(pad, record);
            }
        }
        None => {}
    }
    if let ConnectionFacts::Ready { name, pads_left: Some(left) } = &facts.connection
        && *left <= 0
    {
        let message = format!(
            "The CoderPad plan of LeverConnection {name} has no pads left, and spec.interview.overage is Deny. The pad is made when there is quota again, or when overage is allowed."
        );
        return rest(Outcome::Waiting(Reason::QuotaExceeded, message));
    }
    let profile = profile_url(opportunity);
    let candidate = text::candidate_name(&opportunity.name, &pad.opportunity_id);
    let new = NewPad {
        title: text::title(&rule.title, &candidate, &rule.stage_name, &pad.configuration),
        language: rule.language.clone(),
        question_id: rule.question_id,
        notes: entry.reference.notes(&profile),
        private: rule.waiting_room,
        owner_email: rule.owner_email.clone(),
        take_home: rule.type_ == PadType::TakeHome,
    };
    Step::Create { reference: entry.reference, pad: Box::new(new) }
}

/// Whether a pad found on the candidate is the one that this entry would make (contract, "Exactly once", Lost memory).
fn belongs(record: &PadRecord, entry: &Entry, repeat: Repeat) -> bool {
    let Some(reference) = Reference::of_notes(&record.notes) else { return false };
    if record.is_deleted() || reference.series() != entry.reference.series() {
        return false;
    }
    let Some(at) = entry.at else { return reference == entry.reference };
    match repeat {
        Repeat::Never => true,
        Repeat::Always => reference == entry.reference,
        // A pad that had not ended when the candidate entered stands for this entry too.
        Repeat::AfterEnd => reference == entry.reference || record.ended_at.is_none_or(|ended| at <= ended),
    }
}

/// The id of a pad, from a link to it on the candidate.
fn linked_pad_id(link: &str) -> Option<String> {
    let url = url::Url::parse(link).or_else(|_| url::Url::parse(&format!("https://{link}"))).ok()?;
    let host = url.host_str()?;
    let is_coderpad = host == "coderpad.io" || host.ends_with(".coderpad.io");
    let id = url.path_segments()?.next().filter(|id| is_pad_id(id))?;
    is_coderpad.then(|| id.to_owned())
}

fn is_pad_id(text: &str) -> bool {
    (4..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The candidate's profile in Lever.
pub fn profile_url(opportunity: &Opportunity) -> String {
    let by_id = || format!("https://hire.lever.co/candidates/{}", opportunity.id);
    opportunity.profile_url.clone().unwrap_or_else(by_id)
}

/// An attempt whose outcome is not stored: never retried blindly (contract, "Exactly once", Unknown outcome).
fn resolve_attempt(facts: &Facts) -> Step {
    let Some(attempt) = facts.pad.open_attempt() else { return rest(Outcome::Undecided) };
    match &facts.flight {
        Flight::MayStillLand { rest } => {
            let message = "CoderPad did not say whether it made the pad. Its list of pads is searched before another one is made; nobody has to act.";
            Step::Rest {
                outcome: Outcome::Waiting(Reason::CreateOutcomeUnknown, message.into()),
                again: Some(*rest),
            }
        }
        Flight::Landed => Step::Search { reference: attempt.reference.clone() },
        Flight::WithoutEffect => Step::ForgetAttempt,
        Flight::Searched(found) => match found.as_slice() {
            [] => Step::ForgetAttempt,
            [oldest] => store(&facts.pad, oldest),
            [_, .., youngest] => Step::DeletePad(youngest.id.clone()),
        },
    }
}

/// There is a pad at CoderPad: store its id, then link it.
fn link(facts: &Facts) -> Step {
    let pad = &facts.pad;
    if let Some(rest) = facts.link_flight {
        let message = "It is not known whether Lever has the link already: what is under way is waited for, then the link is looked for before it is added; nobody has to act.";
        return Step::Rest {
            outcome: Outcome::Waiting(Reason::LeverUnavailable, message.into()),
            again: Some(rest),
        };
    }
    let record = match (&facts.record, &pad.pad_id) {
        (Record::Read(record), _) => record,
        (Record::NotRead, Some(id)) => return Step::ReadPad(id.clone()),
        (Record::NotFound, _) => return rest(Outcome::PadDeleted),
        (Record::NotRead, None) => return rest(Outcome::Undecided),
    };
    if record.is_deleted() {
        return rest(Outcome::PadDeleted);
    }
    if pad.pad_id.is_none() && wants_take_home(facts) && record.kind != PadKind::TakeHome {
        return refuse_live(facts, record);
    }
    if pad.pad_id.is_none() {
        return store(pad, record);
    }
    if facts.link_written {
        return keep_linked_now(pad);
    }
    match &facts.opportunity {
        Candidate::NotRead => Step::ReadOpportunity,
        Candidate::Read(opportunity) if opportunity.links.contains(&record.url) => keep_linked_now(pad),
        Candidate::Read(_) => Step::AddLink(record.url.clone()),
        // Nobody can be given the link any more.
        Candidate::NotFound | Candidate::Refused if !facts.deleted.contains(&record.id) => {
            Step::DeletePad(record.id.clone())
        }
        Candidate::NotFound | Candidate::Refused => rest(Outcome::Skipped(
            Reason::CandidateNotFound,
            "The candidate went out of sight in Lever before the link could be added: the pad was deleted at CoderPad.".into(),
        )),
    }
}

/// A live pad where a take-home was asked for is deleted at once and never linked.
fn refuse_live(facts: &Facts, record: &PadRecord) -> Step {
    if !facts.deleted.contains(&record.id) {
        return Step::DeletePad(record.id.clone());
    }
    if facts.pad.open_attempt().is_some() {
        return Step::ForgetAttempt;
    }
    let message = "CoderPad made a live pad where a take-home was asked for; it was deleted at once. Ask CoderPad whether your plan has take-homes and whether the question may be used as one, then annotate this Pad with padoperator.dev/reconcile-requested-at.";
    rest(Outcome::Failed(Reason::TakeHomeRefused, message.into()))
}

fn keep_linked_now(pad: &PadFacts) -> Step {
    let wanted = pad.deletion_policy != DeletionPolicy::Retain;
    if pad.finalizer != wanted { Step::SetFinalizer(wanted) } else { rest(Outcome::Open) }
}

fn wants_take_home(facts: &Facts) -> bool {
    matches!(&facts.configuration, ConfigurationFacts::Ready(rule) if rule.type_ == PadType::TakeHome)
}

fn store(pad: &PadFacts, record: &PadRecord) -> Step {
    Step::StorePad {
        record: Box::new(record.clone()),
        keep_finalizer: pad.deletion_policy != DeletionPolicy::Retain,
    }
}

/// A Pad that is being deleted: what is in mid-flight is resolved first, then the policy is followed.
fn removal(facts: &Facts) -> Step {
    let pad = &facts.pad;
    if !pad.finalizer {
        return rest(Outcome::Undecided);
    }
    match &facts.connection {
        // A connection that is gone does not delay the deletion; a broken one does.
        ConnectionFacts::Missing { .. } => return Step::SetFinalizer(false),
        ConnectionFacts::Ready { .. } => {}
        ConnectionFacts::Suspended { .. } | ConnectionFacts::NotReady { .. } if retained(pad) => {
            return Step::SetFinalizer(false);
        }
        ConnectionFacts::Suspended { .. } | ConnectionFacts::NotReady { .. } => {
            return rest(connection_not_usable(facts).unwrap_or(Outcome::Undecided));
        }
    }
    if retained(pad) {
        return Step::SetFinalizer(false);
    }
    let Some(id) = &pad.pad_id else { return remove_attempt(facts) };
    if let Some(rest) = facts.link_flight {
        return Step::Rest { outcome: Outcome::Undecided, again: Some(rest) };
    }
    match (&facts.opportunity, &facts.record) {
        (Candidate::NotRead, _) => Step::ReadOpportunity,
        (_, Record::NotRead) => Step::ReadPad(id.clone()),
        (Candidate::Read(opportunity), Record::Read(record)) if opportunity.links.contains(&record.url) => {
            match pad.deletion_policy {
                DeletionPolicy::Retain => Step::SetFinalizer(false),
                DeletionPolicy::Unlink | DeletionPolicy::Delete => Step::RemoveLink(record.url.clone()),
            }
        }
        (_, Record::Read(record))
            if must_delete(pad) && !record.is_deleted() && !facts.deleted.contains(&record.id) =>
        {
            Step::DeletePad(record.id.clone())
        }
        (_, Record::Read(_) | Record::NotFound) => Step::SetFinalizer(false),
    }
}

/// Whether deleting the Pad leaves all as it is.
fn retained(pad: &PadFacts) -> bool {
    pad.deletion_policy == DeletionPolicy::Retain && pad.linked
}

/// Whether the pad at CoderPad goes with the Pad: by policy, or because nobody was ever given its link.
fn must_delete(pad: &PadFacts) -> bool {
    pad.deletion_policy == DeletionPolicy::Delete || !pad.linked
}

fn remove_attempt(facts: &Facts) -> Step {
    if facts.pad.attempt.is_none() {
        return Step::SetFinalizer(false);
    }
    match &facts.flight {
        Flight::MayStillLand { rest } => Step::Rest { outcome: Outcome::Undecided, again: Some(*rest) },
        Flight::WithoutEffect => Step::SetFinalizer(false),
        Flight::Landed => match facts.pad.open_attempt() {
            Some(attempt) => Step::Search { reference: attempt.reference.clone() },
            None => Step::SetFinalizer(false),
        },
        Flight::Searched(found) => match found.last() {
            Some(record) => Step::DeletePad(record.id.clone()),
            None => Step::SetFinalizer(false),
        },
    }
}

/// What follows from a call or write that did not succeed.
fn after_trouble(facts: &Facts, trouble: &Trouble) -> Step {
    match trouble {
        Trouble::Conflict | Trouble::Cluster { .. } => rest(Outcome::Undecided),
        Trouble::NoAccount { connection, message } => rest(Outcome::Waiting(
            Reason::ConnectionNotReady,
            format!("The keys of LeverConnection {connection} cannot be used: {message}"),
        )),
        Trouble::CreateOutcomeUnknown(error) => {
            let message = format!(
                "It is not known whether CoderPad made the pad ({error}). Its list of pads is searched before another one is made; nobody has to act."
            );
            rest(Outcome::Waiting(Reason::CreateOutcomeUnknown, message))
        }
        Trouble::Service(error) if facts.pad.deleting => {
            let reason = waiting_reason(error).unwrap_or(unavailable(error.service));
            rest(Outcome::Waiting(
                reason,
                format!("What the deletion of this Pad asks for could not be done: {error}"),
            ))
        }
        Trouble::Service(error) => rest(match waiting_reason(error) {
            Some(reason) => Outcome::Waiting(reason, error.to_string()),
            None if error.class == Class::NotFound && has_question(facts) => Outcome::Failed(
                Reason::QuestionNotFound,
                format!("{error}. Check spec.questionID of the configuration."),
            ),
            None => Outcome::Failed(
                Reason::InvalidRequest,
                format!(
                    "{error}. Mend the configuration, or annotate this Pad with padoperator.dev/reconcile-requested-at to try again."
                ),
            ),
        }),
    }
}

fn has_question(facts: &Facts) -> bool {
    matches!(&facts.configuration, ConfigurationFacts::Ready(rule) if rule.question_id.is_some())
}

/// The reason to wait for after an error of a service; None if waiting does not help.
fn waiting_reason(error: &crate::transport::Error) -> Option<Reason> {
    let lever = error.service == Service::Lever;
    let pick = |of_lever, of_interview| Some(if lever { of_lever } else { of_interview });
    match error.class {
        Class::Unauthorized => pick(Reason::LeverUnauthorized, Reason::InterviewUnauthorized),
        Class::Forbidden => pick(Reason::LeverForbidden, Reason::InterviewForbidden),
        Class::Throttled if error.is_quota() => Some(Reason::QuotaExceeded),
        Class::Throttled => pick(Reason::LeverRateLimited, Reason::InterviewRateLimited),
        Class::Unavailable | Class::OutcomeUnknown => Some(unavailable(error.service)),
        Class::Invalid | Class::NotFound => None,
    }
}

fn unavailable(service: Service) -> Reason {
    match service {
        Service::Lever => Reason::LeverUnavailable,
        Service::Interview => Reason::InterviewUnavailable,
    }
}

fn rest(outcome: Outcome) -> Step {
    Step::Rest { outcome, again: None }
}
