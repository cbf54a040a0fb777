//! Builds the observed state of a Pad from the caches. `execute` calls the services when the plan decides so.

use super::candidate_loader::Ticket;
use super::hints::{Hint, PendingHints};
use super::in_flight::{InFlightState, max_flight_time};
use crate::controller::Context;
use crate::controller::pad_budget::RecordedCreation;
use crate::k8s::pad_index::IndexKey;
use crate::pad_builder::is_of;
use api::condition::{self, Condition, types};
use api::configuration::{OnArchive, PadConfiguration, PadType};
use api::connection::{LeverConnection, Overage};
use api::installation::{REQUESTED_BY, RequestedBy, YIELDS_TO};
use api::names::{self, Claim, CreateIntent, OnceOnlyWrite};
use api::pad::{Pad, PadStatus, Phase, TriggerSource};
use api::reason::CONNECTING;
use api::reason::Reason;
use engine::plan::is_final;
use engine::rolling_limit;
use engine::series::SeriesMember;
use engine::state::{
    ConnectionState, CreateOutcome, Ownership, PadState, Rule, RuleState, SignedEvent, StoredPad, WriteClaim,
};
use engine::tags::{self, TagState};
use jiff::Timestamp;
use kube::ResourceExt;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

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

/// A connection that another one of the same account has replaced, such as after a rename.
pub struct FormerConnection {
    /// Its name.
    pub name: String,
    /// The connection, if it still exists.
    pub connection: Option<Arc<LeverConnection>>,
}

impl RelatedObjects {
    /// Looks up the objects in the caches.
    pub fn new(pad: &Pad, context: &Context) -> Self {
        let namespace = pad.namespace().unwrap_or_default();
        let configuration = context.scope.configurations.get(&namespace, &pad.spec.configuration_ref.name);
        let own = connection_name(pad, configuration.as_deref());
        let former = configuration.as_deref().zip(own).and_then(|(one, own)| former(one, own, context));
        let of_rule = configuration.as_ref().map(|one| one.spec.connection_ref.name.as_str());
        let connection_name = if former.is_some() { of_rule } else { own }.map(ToOwned::to_owned);
        let connection =
            connection_name.as_ref().and_then(|name| context.scope.connections.get(&namespace, name));
        Self { configuration, connection, connection_name, former }
    }

    /// Registers the Pad for a batched read of its candidate. Another Pad of the candidate is likely to register as
    /// well if several rules name the stage.
    pub fn enroll(&self, pad: &Pad, context: &Context) -> Option<Ticket> {
        let rules_of_stage = || {
            let status = |configuration: &PadConfiguration| configuration.status.as_ref()?.stage.clone();
            let stage = self.configuration.as_deref().and_then(status).map(|stage| stage.id);
            let is_one = |other: &PadConfiguration| {
                Some(other.spec.connection_ref.name.as_str()) == self.connection_name.as_deref()
                    && status(other).map(|stage| stage.id) == stage
            };
            let namespace = pad.namespace().unwrap_or_default();
            if stage.is_some() { context.scope.configurations.matching(&namespace, is_one).len() } else { 0 }
        };
        context.candidate_loader.enroll(pad, self, rules_of_stage)
    }

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

/// Returns the connection that a Pad names, if the Pad continues through its configuration's connection instead. It
/// does if the named one no longer exists, as after a rename, or has the same keys.
fn former(configuration: &PadConfiguration, own: &str, context: &Context) -> Option<FormerConnection> {
    let (namespace, of_rule) =
        (configuration.namespace().unwrap_or_default(), &configuration.spec.connection_ref.name);
    if own == of_rule {
        return None;
    }
    let connections = &context.scope.connections;
    let present = connections.get(&namespace, of_rule)?;
    let connection = connections.get(&namespace, own);
    let is_same = connection.as_ref().is_none_or(|former| context.service_clients.are_same(former, &present));
    is_same.then(|| FormerConnection { name: own.to_owned(), connection })
}

fn connection_name<'a>(pad: &'a Pad, configuration: Option<&'a PadConfiguration>) -> Option<&'a str> {
    let of_configuration = configuration.map(|configuration| &configuration.spec.connection_ref);
    pad.spec.connection_ref.as_ref().or(of_configuration).map(|reference| reference.name.as_str())
}

fn ready_since(conditions: Option<&[Condition]>) -> Option<(i64, bool)> {
    let ready = condition::find(conditions?, types::READY)?;
    Some((ready.last_transition_time.as_second(), ready.status == condition::Status::True))
}

/// Builds the observed state before any call to a service.
pub fn state(pad: &Pad, around: &RelatedObjects, context: &Context, wanted: &PendingHints) -> PadState {
    let mut state = observe_objects(pad, around, &others(pad, context), wanted);
    state.create_outcome = flight(&state.pad, context);
    state.write_claim = claimed(&state.pad, context);
    state.tags.needed = tags_needed(pad, context);
    if let Some(event) = &mut state.event {
        event.read_again_in = context.stale_reads.read_again_in(pad, event.at);
    }
    // Most Pads have their pad already, and need no comparison with all others.
    if state.pad.pad_id.is_none() && !state.pad.deleting && !is_final(&state) {
        state.quota_requeue = apply_fifo_limits(pad, &mut state.connection, context);
    }
    state
}

/// Builds the part of the state that the objects contain. `others` are the candidate's other Pads of the configuration.
pub(super) fn observe_objects(
    pad: &Pad,
    around: &RelatedObjects,
    others: &[Arc<Pad>],
    wanted: &PendingHints,
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
        tags: TagState { reported: tags::is_reported(object.status.as_ref()), ..TagState::default() },
        ..PadState::new(pad, connection_state(around), rule)
    };
    if state.pad.pad_id.is_none() || state.pad.deleting {
        let status = configuration.and_then(|one| one.status.as_ref());
        state.served_entries = status.and_then(|status| status.served_entries.clone());
    }
    state
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

/// Returns the [`CreateOutcome`] of the Pad's open attempt: the attempt is recorded on the Pad, but its outcome is not.
/// Without an open attempt, the outcome is [`CreateOutcome::NotSent`].
pub fn flight(pad: &StoredPad, context: &Context) -> CreateOutcome {
    let Some(attempt) = pad.open_attempt() else { return CreateOutcome::NotSent };
    let lands = context.settings.create_timeout + context.settings.list_lag;
    match context.in_flight.state_of(&attempt.to_string(), lands) {
        InFlightState::InFlight { rest, search_in } => CreateOutcome::InFlight { rest, search_in },
        InFlightState::Completed => CreateOutcome::Completed,
        InFlightState::NotSent => CreateOutcome::NotSent,
    }
}

/// Returns the state of the write to Lever whose outcome is not stored.
pub fn claimed(pad: &StoredPad, context: &Context) -> WriteClaim {
    let Some((effect, mark)) = pad.open_claim() else { return WriteClaim::Unclaimed };
    match context.in_flight.state_of(&mark, max_flight_time(effect)) {
        InFlightState::InFlight { rest, .. } => WriteClaim::InFlight { rest },
        InFlightState::Completed | InFlightState::NotSent => WriteClaim::Unclaimed,
    }
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
        pad_id: annotation(names::PAD_ID).cloned(),
        url: status.and_then(|status| status.url.clone()),
        phase: pad.phase(),
        member: SeriesMember::from_pad(pad),
        existing_since: annotation(names::EXISTING_SINCE).and_then(|since| since.parse().ok()),
        was_before: status.and_then(|status| status.reason.as_deref())
            == Some(Reason::BeforeConfiguration.as_str()),
        asked_by_person: requested
            && annotation(names::RECONCILE_REQUESTED_AT)
                .is_some_and(|asked| names::delivered_at(asked).is_none()),
        entry: status.and_then(|status| status.entry_at),
        judged_entry: status.and_then(|status| status.judged_entry_at),
        requested_entry: status.and_then(|status| status.requested_entry_at),
        pad_was_deleted: status.and_then(|status| status.reason.as_deref())
            == Some(Reason::PadDeleted.as_str()),
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

/// Reports whether the write-back to Lever after the interview is settled. An impossible write is retried on request.
pub fn is_recorded(status: &PadStatus, requested: bool) -> bool {
    let never =
        [Reason::CandidateNotFound, Reason::CandidateConfidential, Reason::InvalidRequest, Reason::Cancelled]
            .map(Reason::as_str);
    let recorded = condition::find(&status.conditions, types::RECORD_ADDED);
    recorded.is_some_and(|recorded| {
        recorded.status == condition::Status::True
            || (!requested && never.contains(&recorded.reason.as_str()))
    }) || status.reason.as_deref() == Some(Reason::PadDeleted.as_str())
}

/// Reports whether a reconcile of the Pad is requested.
pub fn is_requested(pad: &Pad) -> bool {
    let handled = pad.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
    names::reconcile_requested_at(pad).is_some_and(|at| handled != Some(&at))
}

/// Returns the candidate's other Pads of the same configuration.
fn others(pad: &Pad, context: &Context) -> Vec<Arc<Pad>> {
    let (configuration, opportunity_id) = (&pad.spec.configuration_ref.name, &pad.spec.opportunity_id);
    let is_other = |other: &Pad| is_of(other, configuration, opportunity_id) && other.uid() != pad.uid();
    let namespace = pad.namespace().unwrap_or_default();
    context.scope.pads.lookup(&namespace, &IndexKey::Candidate(opportunity_id.clone()), is_other)
}

/// Returns the tags that the candidate's Pads of other configurations need.
fn tags_needed(pad: &Pad, context: &Context) -> Vec<String> {
    let (namespace, configuration) = (pad.namespace().unwrap_or_default(), &pad.spec.configuration_ref.name);
    let is_other = |other: &Pad| {
        other.spec.opportunity_id == pad.spec.opportunity_id
            && other.spec.configuration_ref.name != *configuration
            && other.metadata.deletion_timestamp.is_none()
    };
    let others = context.scope.pads.lookup(
        &namespace,
        &IndexKey::Candidate(pad.spec.opportunity_id.clone()),
        is_other,
    );
    let needed = others.iter().flat_map(|other| {
        let configuration = context.scope.configurations.get(&namespace, &other.spec.configuration_ref.name);
        tags::needed_by(other, configuration.as_deref())
    });
    needed.collect()
}

/// Reports whether another Pad of the series is being deleted. Pads of one series share references and links, so this
/// Pad could adopt the pad that is deleted with the other one.
fn is_terminating(other: &Pad) -> bool {
    other.metadata.deletion_timestamp.is_some() && stored_pad(other, None).finalizer
}

fn waits_for_room(pad: &Pad) -> bool {
    waits_for(pad, &[Reason::QuotaExceeded, Reason::LimitReached])
}

fn waits_for(pad: &Pad, reasons: &[Reason]) -> bool {
    let reason = pad.status.as_ref().and_then(|status| status.reason.as_deref());
    pad.phase() == Some(Phase::Pending) && reasons.iter().any(|one| Some(one.as_str()) == reason)
}

/// Reduces the connection's limits for this Pad by older waiting Pads and by the pads of the last hour. Returns the
/// requeue delay if older Pads have reserved the remaining quota, because their candidates may have left the stage.
fn apply_fifo_limits(pad: &Pad, connection: &mut ConnectionState, context: &Context) -> Option<Duration> {
    let ConnectionState::Ready { name, pads_left, per_hour, hour_full, .. } = connection else { return None };
    if pads_left.is_none() && per_hour.is_none() {
        return None;
    }
    let (namespace, uid) = (pad.namespace().unwrap_or_default(), pad.uid().unwrap_or_default());
    let now = Timestamp::now();
    let made = per_hour.map(|_| reported_creations(pad, name, context, now)).unwrap_or_default();
    let made = context.pad_budget.recent_pads(&namespace, name, &uid, made, now);
    // A Pad whose pad is being created is counted already, although its status still says that it waits.
    let has_place = |other: &Pad| other.uid().is_some_and(|uid| made.placed.contains(&uid));
    let waiting = older_waiting_pads(pad, name, context);
    let before = waiting.iter().filter(|other| !has_place(other)).count();
    if let Some(limit) = *per_hour {
        *hour_full = rolling_limit::limit_exceeded(limit, made.times, before, now);
    }
    let left = pads_left.as_mut().filter(|left| **left > 0)?;
    // The status is as old as the last probe, and omits pads created since by other connections with the same key.
    let connection = context.scope.connections.get(&namespace, name);
    let account = connection.and_then(|connection| context.service_clients.known(&connection));
    let all = account
        .map_or(*left, |account| context.pad_budget.quotas().left(account.interview.account_id(), *left));
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    *left = all.saturating_sub(before);
    let is_in_front =
        before < all.saturating_add(i64::try_from(rolling_limit::FRONT_OF_QUEUE_PADS).unwrap_or(i64::MAX));
    let hour_is_free = hour_full.is_none_or(|full| full.rest <= rolling_limit::FRONT_RECHECK_DELAY);
    (all > 0 && *left <= 0 && is_in_front && hour_is_free).then_some(rolling_limit::FRONT_RECHECK_DELAY)
}

/// Returns the older Pads of the connection that wait for quota, the hourly limit, or the connection itself: the oldest
/// are served first. A Pad that waits for another reason does not hold up the others.
fn older_waiting_pads(pad: &Pad, connection: &str, context: &Context) -> Vec<Arc<Pad>> {
    fn age(pad: &Pad) -> (Option<Timestamp>, Option<&String>) {
        (pad.metadata.creation_timestamp.as_ref().map(|time| time.0), pad.metadata.name.as_ref())
    }
    let suspended = |other: &Pad| {
        let namespace = other.namespace().unwrap_or_default();
        let configuration = context.scope.configurations.get(&namespace, &other.spec.configuration_ref.name);
        configuration.is_none_or(|configuration| configuration.spec.suspend)
    };
    let waits = |other: &Pad| {
        (waits_for_room(other)
            || waits_for(other, &[Reason::ConnectionNotReady])
            || waits_for(other, &[Reason::Suspended]) && !suspended(other))
            && other.metadata.deletion_timestamp.is_none()
            && age(other) < age(pad)
            && uses_connection(other, connection, context)
    };
    context.scope.pads.lookup(&pad.namespace().unwrap_or_default(), &IndexKey::Waiting, waits)
}

/// Returns the creations of the last hour by the Pads of a connection. Attempts with unknown outcome count as well,
/// except this Pad's own.
pub fn reported_creations(
    pad: &Pad,
    connection: &str,
    context: &Context,
    now: Timestamp,
) -> Vec<RecordedCreation> {
    let (namespace, own) = (pad.namespace().unwrap_or_default(), pad.uid());
    let is_meant = |other: &Pad| other.uid() != own && uses_connection(other, connection, context);
    let around = IndexKey::adjacent_hours(now);
    let others: HashMap<_, _> = around
        .iter()
        .flat_map(|place| context.scope.pads.lookup(&namespace, place, is_meant))
        .map(|other| (other.uid(), other))
        .collect();
    let of = |pad: &Pad, at: Option<Timestamp>, holds| {
        let at = at.filter(|at| rolling_limit::is_in_window(*at, now))?;
        Some(RecordedCreation { pad: pad.uid()?, at, holds })
    };
    let kept = others.values().filter_map(|other| of(other, other.attempt_began_at(), true));
    let all = others.values().map(AsRef::as_ref).chain([pad]);
    kept.chain(all.filter_map(|one| of(one, one.last_failed_attempt_at(), false))).collect()
}

fn uses_connection(pad: &Pad, connection: &str, context: &Context) -> bool {
    let look_up = || {
        let namespace = pad.namespace().unwrap_or_default();
        context.scope.configurations.get(&namespace, &pad.spec.configuration_ref.name)
    };
    let configuration = if pad.spec.connection_ref.is_none() { look_up() } else { None };
    connection_name(pad, configuration.as_deref()) == Some(connection)
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
            return ConnectionState::NotReady { name, reason: CONNECTING.into(), message };
        }
    }
    // The notes of a pad contain the installation ID (contract I1).
    if connection.installation_id().is_none() {
        let message = "it has no installation ID yet. No action needed.".to_owned();
        return ConnectionState::NotReady { name, reason: CONNECTING.into(), message };
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
            reason: "NotLookedAtYet".into(),
            message: "it has not been checked since its last change. No action needed.".into(),
        },
    }
}
