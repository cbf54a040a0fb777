//! Observes a Pad: looks up its related objects in the caches, and what this process knows about requests in flight and
//! limits. [`engine::observe`] builds the state from them.

use super::candidate_loader::Ticket;
use super::in_flight::max_flight_time;
use crate::controller::Context;
use crate::controller::pad_budget::RecordedCreation;
use crate::k8s::pad_index::IndexKey;
use api::configuration::PadConfiguration;
use api::pad::Pad;
use api::pad_builder::is_of;
use api::reason::Reason;
use engine::hints::PendingHints;
use engine::in_flight;
use engine::observe::{
    FormerConnection, RelatedObjects, connection_name, observe, waits_for, waits_for_room,
};
use engine::rolling_limit;
use engine::rules::is_final;
use engine::state::{ConnectionState, CreateOutcome, PadState, StoredPad, WriteClaim};
use engine::tags;
use jiff::Timestamp;
use kube::ResourceExt;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Looks up the objects in the caches.
pub fn related_objects(pad: &Pad, context: &Context) -> RelatedObjects {
    let namespace = pad.namespace().unwrap_or_default();
    let configuration = context.scope.configurations.get(&namespace, &pad.spec.configuration_ref.name);
    let own = connection_name(pad, configuration.as_deref());
    let former = configuration.as_deref().zip(own).and_then(|(one, own)| former(one, own, context));
    let of_rule = configuration.as_ref().map(|one| one.spec.connection_ref.name.as_str());
    let connection_name = if former.is_some() { of_rule } else { own }.map(ToOwned::to_owned);
    let connection =
        connection_name.as_ref().and_then(|name| context.scope.connections.get(&namespace, name));
    RelatedObjects { configuration, connection, connection_name, former }
}

/// Registers the Pad for a batched read of its candidate. Another Pad of the candidate is likely to register as
/// well if several rules name the stage.
pub fn enroll(around: &RelatedObjects, pad: &Pad, context: &Context) -> Option<Ticket> {
    let rules_of_stage = || {
        let status = |configuration: &PadConfiguration| configuration.status.as_ref()?.stage.clone();
        let stage = around.configuration.as_deref().and_then(status).map(|stage| stage.id);
        let is_one = |other: &PadConfiguration| {
            Some(other.spec.connection_ref.name.as_str()) == around.connection_name.as_deref()
                && status(other).map(|stage| stage.id) == stage
        };
        let namespace = pad.namespace().unwrap_or_default();
        if stage.is_some() { context.scope.configurations.matching(&namespace, is_one).len() } else { 0 }
    };
    context.candidate_loader.enroll(pad, around, rules_of_stage)
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

/// Builds the observed state before any call to a service.
pub fn state(pad: &Pad, around: &RelatedObjects, context: &Context, wanted: &PendingHints) -> PadState {
    let mut state = observe(pad, around, &others(pad, context), wanted);
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

/// Returns the outcome of the Pad's open attempt.
pub fn flight(pad: &StoredPad, context: &Context) -> CreateOutcome {
    let lands = context.settings.create_timeout + context.settings.list_lag;
    in_flight::create_outcome(pad, |mark| context.in_flight.state_of(mark, lands))
}

/// Returns the state of the write to Lever whose outcome is not stored.
pub fn claimed(pad: &StoredPad, context: &Context) -> WriteClaim {
    in_flight::write_claim(pad, |mark, effect| context.in_flight.state_of(mark, max_flight_time(effect)))
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
