//! Observes a Pad: looks up its related objects in the caches, and what this process knows about requests in flight and
//! limits. [`engine::observe`] builds the state from them.

use super::candidate_loader::Ticket;
use super::in_flight::max_flight_time;
use crate::controller::Context;
use crate::controller::pad_budget::RecordedCreation;
use crate::k8s::ObjectKey;
use crate::k8s::pad_index::IndexKey;
use api::configuration::PadConfiguration;
use api::pad::Pad;
use api::pad_builder::is_of;
use engine::hints::PendingHints;
use engine::in_flight;
use engine::limits::{LimitInputs, QuotaLeft, limits, takes_precedence};
use engine::observe::{FormerConnection, RelatedObjects, connection_name, observe};
use engine::rolling_limit;
use engine::rules::settled::is_final;
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
    let mut state = observe(pad, around, &others(pad, context), wanted, Timestamp::now());
    let key = ObjectKey::from_object(pad);
    state.create_outcome = flight(&key, &state.pad, context);
    state.create_answered_5xx = state.pad.open_attempt().is_some_and(|attempt| {
        context.memory.read(&key, |entry| entry.in_flight.is_server_error(&attempt.to_string()))
    });
    state.write_claim = claimed(&key, &state.pad, context);
    state.tags.needed = tags_needed(pad, context);
    if let Some(event) = &mut state.event {
        event.read_again_in = context.memory.read(&key, |entry| entry.read_again_in(event.at));
    }
    // Most Pads have their pad already, and need no comparison with all others.
    if state.pad.pad_id.is_none() && !state.pad.deleting && !is_final(&state) {
        state.quota_requeue = observe_limits(pad, &mut state.connection, context);
    }
    state
}

/// Returns the outcome of the Pad's open attempt.
pub fn flight(key: &ObjectKey, pad: &StoredPad, context: &Context) -> CreateOutcome {
    let lands = context.settings.create_timeout + context.settings.list_lag;
    let state_of = |mark: &str| context.memory.update(key, |entry| entry.in_flight.state_of(mark, lands));
    in_flight::create_outcome(pad, state_of)
}

/// Returns the state of the write to Lever whose outcome is not stored.
pub fn claimed(key: &ObjectKey, pad: &StoredPad, context: &Context) -> WriteClaim {
    let state_of = |mark: &str, effect| {
        context.memory.update(key, |entry| entry.in_flight.state_of(mark, max_flight_time(effect)))
    };
    in_flight::write_claim(pad, state_of)
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

/// Looks up the inputs of the limits of a Pad, and sets the limits on the connection. Returns the requeue delay of a
/// Pad whose quota older Pads have reserved.
fn observe_limits(pad: &Pad, connection: &mut ConnectionState, context: &Context) -> Option<Duration> {
    let ConnectionState::Ready { name, pads_left, per_hour, hour_full, .. } = connection else { return None };
    if pads_left.is_none() && per_hour.is_none() {
        return None;
    }
    let (namespace, uid) = (pad.namespace().unwrap_or_default(), pad.uid().unwrap_or_default());
    let now = Timestamp::now();
    let made = per_hour.map(|_| reported_creations(pad, name, context, now)).unwrap_or_default();
    let made = context.pad_budget.recent_pads(&namespace, name, &uid, made, now);
    let older = older_waiting_pads(pad, name, context);
    let limits = limits(
        LimitInputs {
            quota: pads_left.map(|reported| QuotaLeft {
                reported,
                current: current_quota(&namespace, name, reported, context),
            }),
            per_hour: *per_hour,
            created: made.times,
            counted: made.placed,
            older: older.iter().map(|other| other.uid().unwrap_or_default()).collect(),
        },
        now,
    );
    (*pads_left, *hour_full) = (limits.pads_left, limits.hour_full);
    limits.requeue
}

/// Returns the remaining quota. The status is as old as the last probe, and omits pads created since by other
/// connections with the same key.
fn current_quota(namespace: &str, connection: &str, reported: i64, context: &Context) -> i64 {
    let connection = context.scope.connections.get(namespace, connection);
    let account = connection.and_then(|connection| context.service_clients.known(&connection));
    account.map_or(reported, |account| {
        context.pad_budget.quotas().left(account.interview.account_id(), reported)
    })
}

/// Returns the older Pads of the connection that take precedence.
fn older_waiting_pads(pad: &Pad, connection: &str, context: &Context) -> Vec<Arc<Pad>> {
    let is_suspended = |other: &Pad| {
        let namespace = other.namespace().unwrap_or_default();
        let configuration = context.scope.configurations.get(&namespace, &other.spec.configuration_ref.name);
        configuration.is_none_or(|configuration| configuration.spec.suspend)
    };
    let waits = |other: &Pad| {
        takes_precedence(other, pad, || is_suspended(other)) && uses_connection(other, connection, context)
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
