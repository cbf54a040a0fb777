//! Builds the observed state of a Pad from the objects that it refers to.

use crate::hints::{Hint, PendingHints};
use crate::rules::write_back::is_recorded;
use crate::series::SeriesMember;
use crate::state::{ConnectionState, Ownership, PadState, Rule, RuleState, SignedEvent, StoredPad, TtlState};
use crate::tags::{self, TagState};
use crate::ttl;
use api::condition::{self, Condition, types};
use api::configuration::{OnArchive, PadConfiguration, PadType};
use api::connection::{LeverConnection, Overage};
use api::installation::{REQUESTED_BY, RequestedBy, YIELDS_TO};
use api::names::{self, Claim, CreateIntent, FailedCreations, OnceOnlyWrite};
use api::pad::{Pad, Phase, TriggerSource};
use api::reason::{ConfigurationReason, ConnectionReason, Reason};
use jiff::Timestamp;
use kube::ResourceExt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The objects that a Pad refers to.
pub struct RelatedObjects {
    /// Its configuration, if it exists.
    pub configuration: Option<Arc<PadConfiguration>>,
    /// Its connection, if it exists.
    pub connection: Option<Arc<LeverConnection>>,
    /// The name of its connection, if known.
    pub connection_name: Option<String>,
    /// The Pad's original connection, if its configuration now has another one of the same account.
    pub former: Option<FormerConnection>,
}

/// A LeverConnection that was replaced by another one of the same account, for example after a rename.
pub struct FormerConnection {
    /// Its name.
    pub name: String,
    /// The connection, if it still exists.
    pub connection: Option<Arc<LeverConnection>>,
}

impl RelatedObjects {
    /// Returns a hash that changes whenever a user or a probe changes something that this Pad may wait for.
    pub fn fingerprint(&self, pad: &Pad) -> u64 {
        let mut hasher = DefaultHasher::new();
        (pad.metadata.uid.as_ref(), pad.metadata.generation, names::reconcile_requested_at(pad))
            .hash(&mut hasher);
        pad.metadata.deletion_timestamp.is_some().hash(&mut hasher);
        if let Some(configuration) = &self.configuration {
            (configuration.metadata.uid.as_ref(), configuration.metadata.generation).hash(&mut hasher);
            ready_since(configuration.status.as_ref().map(|status| status.conditions.as_slice()))
                .hash(&mut hasher);
        }
        if let Some(connection) = &self.connection {
            (connection.metadata.uid.as_ref(), connection.metadata.generation).hash(&mut hasher);
            ready_since(connection.status.as_ref().map(|status| status.conditions.as_slice()))
                .hash(&mut hasher);
            let quota = connection.status.as_ref().and_then(|status| status.quota.as_ref());
            quota.map(|quota| (quota.unlimited, quota.remaining)).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Returns the name of a Pad's connection: its own, or that of its configuration.
pub fn connection_name<'a>(pad: &'a Pad, configuration: Option<&'a PadConfiguration>) -> Option<&'a str> {
    let of_configuration = configuration.map(|configuration| &configuration.spec.connection_ref);
    pad.spec.connection_ref.as_ref().or(of_configuration).map(|reference| reference.name.as_str())
}

fn ready_since(conditions: Option<&[Condition]>) -> Option<(i64, bool)> {
    let ready = condition::find(conditions?, types::READY)?;
    Some((ready.last_transition_time.as_second(), ready.status == condition::Status::True))
}

/// Builds the part of the state that the objects contain. `others` are the candidate's other Pads of the configuration.
pub fn observe(
    pad: &Pad,
    around: &RelatedObjects,
    others: &[Arc<Pad>],
    wanted: &PendingHints,
    now: Timestamp,
) -> PadState {
    let object = pad;
    let configuration = around.configuration.as_deref();
    let another_goes = others.iter().any(|other| is_terminating(other));
    let pad = StoredPad { sibling_terminating: another_goes, ..stored_pad(pad, configuration) };
    let rule = rule_state(&pad, around);
    let mut state = PadState {
        others: others
            .iter()
            .filter(|other| other.metadata.deletion_timestamp.is_none())
            .map(|other| SeriesMember::from_pad(other))
            .collect(),
        repeat: configuration.map(|one| one.spec.repeat),
        stage_id: configuration
            .and_then(|one| one.status.as_ref()?.stage.as_ref())
            .map(|stage| stage.id.clone()),
        wants_take_home: wants_take_home(object, configuration),
        take_home_refused: configuration.is_some_and(PadConfiguration::is_take_home_refused),
        event: signed_event(object).map(|at| SignedEvent { at, read_again_in: None }),
        write_back: configuration.map(|one| one.spec.write_back.clone()),
        ends_on_archive: configuration.is_some_and(|one| one.spec.on_archive == OnArchive::End),
        ownership: ownership(object, around, wanted),
        judge: wanted.has(Hint::Judge),
        read_requested: wanted.has(Hint::Record),
        archived: wanted.has(Hint::Archived),
        erased: wanted.has(Hint::Erased),
        ttl: ttl_state(object, configuration, wanted, now),
        tags: TagState { reported: tags::is_reported(object.status.as_ref()), ..TagState::default() },
        observed_at: now,
        ..PadState::new(pad, connection_state(around), rule)
    };
    if state.pad.pad_id.is_none() || state.pad.deleting {
        let status = configuration.and_then(|one| one.status.as_ref());
        state.served_entries = status.and_then(|status| status.served_entries.clone());
    }
    state
}

/// Returns the state of the TTL. A Pad stays while a reconcile is requested.
fn ttl_state(
    pad: &Pad,
    configuration: Option<&PadConfiguration>,
    wanted: &PendingHints,
    now: Timestamp,
) -> TtlState {
    let is_expired = wanted.has(Hint::Expired)
        && !is_requested(pad)
        && configuration.is_some_and(|configuration| ttl::is_expired(pad, configuration, now));
    if is_expired { TtlState::Expired } else { TtlState::NotExpired }
}

/// Reports whether the pad must be a take-home: by the configuration, or by the label from the Pad's creation.
fn wants_take_home(pad: &Pad, configuration: Option<&PadConfiguration>) -> bool {
    match configuration {
        Some(configuration) => configuration.spec.type_ == PadType::TakeHome,
        None => pad.labels().get(names::TYPE_LABEL).is_some_and(|type_| type_ == PadType::TakeHome.as_str()),
    }
}

/// Returns the time of the signed webhook by which the Pad is judged; `None`: there is none, or it was handled already.
pub fn signed_event(pad: &Pad) -> Option<Timestamp> {
    if is_requested(pad) {
        let delivered_at = names::delivered_at(&names::reconcile_requested_at(pad)?)?;
        return Timestamp::from_millisecond(delivered_at).ok();
    }
    let trigger = &pad.spec.trigger;
    let is_new = matches!(pad.phase(), None | Some(Phase::Pending));
    trigger.at.filter(|_| is_new && trigger.source == TriggerSource::Webhook)
}

/// Returns the ownership of pads: the own installations and the stored foreign ones.
fn ownership(pad: &Pad, around: &RelatedObjects, wanted: &PendingHints) -> Ownership {
    let of_former = around.former.as_ref().and_then(|former| former.connection.as_deref()?.installation_id());
    let status = pad.status.as_ref();
    let gone = around.former.as_ref().filter(|former| former.connection.is_none());
    let requested_by = pad.annotations().get(REQUESTED_BY).and_then(|text| RequestedBy::parse(text));
    let requested_by = requested_by.filter(|by| Some(by.uid) == pad.metadata.uid.as_deref());
    let installation = around.connection.as_deref().map(LeverConnection::installation).unwrap_or_default();
    Ownership {
        installation: installation.with(of_former).with(requested_by.map(|by| by.installation)),
        former_connection: gone.map(|former| former.name.clone()),
        reported: status.and_then(|status| status.other_installation.clone()),
        yields_to: pad.annotations().get(YIELDS_TO).cloned(),
        look: wanted.has(Hint::OtherInstallations),
        links_read: Vec::new(),
    }
}

/// Reports whether the Pad was skipped because of a pad of another installation.
pub fn is_owned_elsewhere(pad: &Pad) -> bool {
    pad.status.as_ref().is_some_and(|status| status.other_installation.is_some())
}

/// Returns the Pad as stored in the cluster.
pub fn stored_pad(pad: &Pad, configuration: Option<&PadConfiguration>) -> StoredPad {
    let annotation = |key: &str| pad.annotations().get(key);
    let status = pad.status.as_ref();
    // A recreated configuration starts at the same generation, so the UID is compared as well.
    let judged_by = status.and_then(|status| status.observed_configuration_uid.as_ref());
    let is_another = |configuration: &PadConfiguration| {
        judged_by.is_some_and(|uid| configuration.metadata.uid.as_ref() != Some(uid))
    };
    let has_reason = |reason: Reason| {
        status.and_then(|status| status.reason.as_deref()).is_some_and(|one| one == reason.as_str())
    };
    let claim = annotation(names::CLAIM).and_then(|text| Claim::parse(text));
    let requested = is_requested(pad);
    let judged_with = status.and_then(|status| status.observed_configuration_generation);
    StoredPad {
        namespace: pad.namespace().unwrap_or_default(),
        name: pad.name_any(),
        configuration: pad.spec.configuration_ref.name.clone(),
        opportunity_id: pad.spec.opportunity_id.clone(),
        manual: pad.is_manual(),
        desired_state: pad.spec.state,
        deletion_policy: pad.spec.deletion_policy,
        deleting: pad.metadata.deletion_timestamp.is_some(),
        finalizer: pad.finalizers().iter().any(|one| one == names::FINALIZER),
        attempt: annotation(names::ATTEMPT).and_then(|text| CreateIntent::parse(text)),
        failed_creations: annotation(names::FAILED_CREATIONS).and_then(|text| FailedCreations::parse(text)),
        pad_id: annotation(names::PAD_ID).cloned(),
        url: status.and_then(|status| status.url.clone()),
        has_service_error: pad.phase() == Some(Phase::Failed) && has_reason(Reason::ServiceError),
        phase: pad.phase(),
        member: SeriesMember::from_pad(pad),
        existing_since: annotation(names::EXISTING_SINCE).and_then(|since| since.parse().ok()),
        was_before: has_reason(Reason::BeforeConfiguration),
        asked_by_person: requested
            && annotation(names::RECONCILE_REQUESTED_AT)
                .is_some_and(|asked| names::delivered_at(asked).is_none()),
        entry: status.and_then(|status| status.entry_at),
        judged_entry: status.and_then(|status| status.judged_entry_at),
        requested_entry: status.and_then(|status| status.requested_entry_at),
        pad_was_deleted: has_reason(Reason::PadDeleted),
        sibling_terminating: false,
        waits_for_room: waits_for_room(pad),
        // The note comes after the link.
        linked: status.is_some_and(|status| status.linked_at.is_some())
            || claim.as_ref().is_some_and(|claim| claim.effect == OnceOnlyWrite::Note),
        claim,
        started_at: status.and_then(|status| status.started_at),
        note_id: status.and_then(|status| status.note_id.clone()),
        recorded: status.is_some_and(|status| is_recorded(status, requested)),
        names_candidate: status.is_some_and(|status| status.candidate.is_some()),
        failed_tag: status.and_then(|status| status.failed_tag.clone()),
        requested,
        configuration_changed: configuration.is_some_and(|configuration| {
            configuration.metadata.generation != judged_with || is_another(configuration)
        }),
    }
}

/// Reports whether a reconcile of the Pad is requested.
pub fn is_requested(pad: &Pad) -> bool {
    let handled = pad.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
    names::reconcile_requested_at(pad).is_some_and(|at| handled != Some(&at))
}

/// Reports whether another Pad of the series is being deleted. Pads of one series share references and links, so this
/// Pad could adopt the pad that is deleted with the other one.
fn is_terminating(other: &Pad) -> bool {
    other.metadata.deletion_timestamp.is_some() && stored_pad(other, None).finalizer
}

/// Reports whether the status of a Pad says that it waits for quota or the hourly limit.
pub fn waits_for_room(pad: &Pad) -> bool {
    waits_for(pad, &[Reason::QuotaExceeded, Reason::LimitReached])
}

/// Reports whether a Pad is pending for one of these reasons.
pub fn waits_for(pad: &Pad, reasons: &[Reason]) -> bool {
    let reason = pad.status.as_ref().and_then(|status| status.reason.as_deref());
    pad.phase() == Some(Phase::Pending) && reasons.iter().any(|one| Some(one.as_str()) == reason)
}

fn connection_state(around: &RelatedObjects) -> ConnectionState {
    let name = around.connection_name.clone().unwrap_or_default();
    let Some(connection) = &around.connection else { return ConnectionState::Missing { name } };
    if connection.spec.suspend {
        return ConnectionState::Suspended { name };
    }
    let status = connection.status.as_ref();
    let seen =
        status.is_some_and(|status| Some(status.observed_generation) == connection.metadata.generation);
    let ready = status.and_then(|status| condition::find(&status.conditions, types::READY));
    match ready {
        Some(ready) if seen && ready.status == condition::Status::True => {}
        Some(ready) if seen => {
            return ConnectionState::NotReady {
                name,
                reason: ready.reason.clone(),
                message: ready.message.clone(),
            };
        }
        _ => {
            let message = "it has not been checked since its last change. No action needed.".to_owned();
            return ConnectionState::NotReady { name, reason: ConnectionReason::Connecting.into(), message };
        }
    }
    // The notes of a pad contain the installation ID (contract I1).
    if connection.installation_id().is_none() {
        let message = "it has no installation ID yet. No action needed.".to_owned();
        return ConnectionState::NotReady { name, reason: ConnectionReason::Connecting.into(), message };
    }
    let quota = status.and_then(|status| status.quota.as_ref()).filter(|quota| !quota.unlimited);
    let limited = quota.filter(|_| connection.spec.interview.overage == Overage::Deny);
    let per_hour = u32::try_from(connection.spec.interview.max_pads_per_hour).ok().filter(|limit| *limit > 0);
    ConnectionState::Ready {
        name,
        pads_left: limited.and_then(|quota| quota.remaining),
        per_hour,
        hour_full: None,
        interview_url: connection.spec.interview.url.clone(),
    }
}

/// Reports whether a person requested another attempt for this Pad, which may still wait for a limit (contract F7).
fn wants_retry(pad: &StoredPad) -> bool {
    pad.asked_by_person || (pad.phase == Some(Phase::Pending) && pad.requested_entry.is_some())
}

fn rule_state(pad: &StoredPad, around: &RelatedObjects) -> RuleState {
    let name = &pad.configuration;
    let Some(configuration) = &around.configuration else {
        let message = format!(
            "PadConfiguration {name} does not exist in this namespace. Create it, or delete this Pad."
        );
        return RuleState::NotFound { message };
    };
    let of = &configuration.spec.connection_ref.name;
    if around.connection_name.as_ref() != Some(of) {
        let own = around.connection_name.as_deref().unwrap_or_default();
        let message = format!(
            "PadConfiguration {name} belongs to LeverConnection {of}, but this Pad names {own}. Delete this Pad and create one without spec.connectionRef."
        );
        return RuleState::NotFound { message };
    }
    if configuration.spec.suspend {
        return RuleState::Suspended;
    }
    let status = configuration.status.as_ref();
    let seen =
        status.is_some_and(|status| Some(status.observed_generation) == configuration.metadata.generation);
    let ready = status.and_then(|status| condition::find(&status.conditions, types::READY));
    let stage = status.and_then(|status| status.stage.as_ref());
    match (ready, stage) {
        (Some(ready), Some(stage))
            if seen
                && (ready.status == condition::Status::True
                    || wants_retry(pad) && ready.reason == Reason::TakeHomeRefused.as_str()) =>
        {
            let spec = configuration.spec.clone();
            RuleState::Ready(Rule {
                stage_id: stage.id.clone(),
                stage_name: stage.name.clone(),
                tag: spec.tag,
                type_: spec.type_,
                question_id: spec.question_id,
                language: spec.language,
                title: spec.title,
                waiting_room: spec.waiting_room,
                owner_email: spec.owner_email,
                repeat: spec.repeat,
                existing: spec.existing,
                effective_since: status.and_then(|status| status.effective_since),
            })
        }
        (Some(ready), _) if seen && ready.status != condition::Status::True => RuleState::NotReady {
            tag: configuration.spec.tag.clone(),
            reason: ready.reason.clone(),
            message: ready.message.clone(),
        },
        _ => RuleState::NotReady {
            tag: configuration.spec.tag.clone(),
            reason: ConfigurationReason::NotLookedAtYet.into(),
            message: "it has not been checked since its last change. No action needed.".into(),
        },
    }
}
