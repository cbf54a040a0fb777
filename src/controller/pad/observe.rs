//! Reads what the plan needs to know, from the caches; the services are asked by `act`, when the plan says so.

use super::facts::{Candidate, ConfigurationFacts, ConnectionFacts, Facts, Flight, PadFacts, Record, Rule};
use crate::api::condition::{self, Condition, types};
use crate::api::configuration::{PadConfiguration, PadConfigurationStatus};
use crate::api::connection::{LeverConnection, Overage};
use crate::api::names::{self, Attempt};
use crate::api::pad::{Pad, Phase};
use crate::controller::Context;
use crate::controller::pad::reason::Reason;
use crate::controller::pad::series::Member;
use crate::making::is_of;
use kube::ResourceExt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What surrounds a Pad.
pub struct Surroundings {
    /// Its configuration, if there is one of that name.
    pub configuration: Option<Arc<PadConfiguration>>,
    /// Its connection, if there is one of that name.
    pub connection: Option<Arc<LeverConnection>>,
    /// The name of its connection, if it is known.
    pub connection_name: Option<String>,
}

impl Surroundings {
    /// Looks them up in the caches.
    pub fn of(pad: &Pad, context: &Context) -> Self {
        let namespace = pad.namespace().unwrap_or_default();
        let configuration = context.scope.configurations.get(&namespace, &pad.spec.configuration_ref.name);
        let of_configuration = configuration.as_ref().map(|configuration| &configuration.spec.connection_ref);
        let connection_name =
            pad.spec.connection_ref.as_ref().or(of_configuration).map(|reference| reference.name.clone());
        let connection =
            connection_name.as_ref().and_then(|name| context.scope.connections.get(&namespace, name));
        Self { configuration, connection, connection_name }
    }

    /// A value that changes whenever a person, or a probe, has changed something that this Pad may wait for.
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

fn ready_since(conditions: Option<&[Condition]>) -> Option<(i64, bool)> {
    let ready = condition::find(conditions?, types::READY)?;
    Some((ready.last_transition_time.as_second(), ready.status == condition::Status::True))
}

/// Puts together what is known before any service is asked.
pub fn facts(pad: &Pad, around: &Surroundings, context: &Context) -> Facts {
    let ahead = || waiting_before(pad, around, context);
    let others = others(pad, context);
    let another_in_flight = others.iter().any(|other| is_in_flight(other));
    let pad = PadFacts { another_in_flight, ..pad_facts(pad, around.configuration.as_deref()) };
    let flight = match pad.open_attempt() {
        Some(attempt) => {
            context.flights.look(attempt, context.settings.create_timeout, context.settings.list_lag)
        }
        None => Flight::WithoutEffect,
    };
    let may_be_linked = pad.pad_id.as_ref().filter(|_| !pad.linked);
    let link_flight = may_be_linked.and_then(|id| context.flights.link_lands_in(id));
    Facts {
        connection: connection_facts(around, ahead),
        configuration: configuration_facts(&pad, around),
        pad,
        opportunity: Candidate::NotRead,
        record: Record::NotRead,
        flight,
        link_flight,
        others: others
            .iter()
            .filter(|other| other.metadata.deletion_timestamp.is_none())
            .map(|other| Member::of(other))
            .collect(),
        repeat: around.configuration.as_ref().map(|configuration| configuration.spec.repeat),
        judge: false,
        passed_on: false,
        linked_before: None,
        link_written: false,
        link_removed: false,
        deleted: Vec::new(),
        trouble: None,
        pause: None,
    }
}

/// The Pad itself, as the cluster has it.
pub fn pad_facts(pad: &Pad, configuration: Option<&PadConfiguration>) -> PadFacts {
    let annotation = |key: &str| pad.annotations().get(key);
    let status = pad.status.as_ref();
    let judged_at = status
        .and_then(|status| condition::find(&status.conditions, types::READY))
        .map(|ready| ready.last_transition_time);
    // A configuration that was deleted and made again begins with the same generation.
    let is_new = |configuration: &PadConfiguration| {
        configuration.metadata.creation_timestamp.as_ref().map(|time| time.0) > judged_at
    };
    let judged_with = status.and_then(|status| status.observed_configuration_generation);
    PadFacts {
        namespace: pad.namespace().unwrap_or_default(),
        name: pad.name_any(),
        configuration: pad.spec.configuration_ref.name.clone(),
        opportunity_id: pad.spec.opportunity_id.clone(),
        manual: pad.is_manual(),
        wish: pad.spec.state,
        deletion_policy: pad.spec.deletion_policy,
        deleting: pad.metadata.deletion_timestamp.is_some(),
        finalizer: pad.finalizers().iter().any(|one| one == names::FINALIZER),
        attempt: annotation(names::ATTEMPT).and_then(|text| Attempt::parse(text)),
        pad_id: annotation(names::PAD_ID).cloned(),
        url: status.and_then(|status| status.url.clone()),
        phase: pad.phase(),
        member: Member::of(pad),
        existing_since: annotation(names::EXISTING_SINCE).and_then(|since| since.parse().ok()),
        was_before: status.and_then(|status| status.reason.as_deref())
            == Some(Reason::BeforeConfiguration.as_str()),
        asked_by_person: annotation(names::RECONCILE_REQUESTED_AT)
            .is_some_and(|asked| names::delivered_at(asked).is_none()),
        another_in_flight: false,
        waits_for_quota: pad.phase() == Some(Phase::Pending)
            && status.and_then(|status| status.reason.as_deref()) == Some(Reason::QuotaExceeded.as_str()),
        linked: status.is_some_and(|status| status.linked_at.is_some()),
        requested: is_requested(pad),
        configuration_changed: configuration.is_some_and(|configuration| {
            configuration.metadata.generation != judged_with || is_new(configuration)
        }),
    }
}

/// Whether somebody asks for the Pad to be judged again.
pub fn is_requested(pad: &Pad) -> bool {
    let handled = pad.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
    names::reconcile_requested_at(pad).is_some_and(|at| handled != Some(&at))
}

/// The other Pads of the candidate by the same configuration.
fn others(pad: &Pad, context: &Context) -> Vec<Arc<Pad>> {
    let (configuration, opportunity_id) = (&pad.spec.configuration_ref.name, &pad.spec.opportunity_id);
    let is_other = |other: &Pad| is_of(other, configuration, opportunity_id) && other.uid() != pad.uid();
    context.scope.pads.matching(&pad.namespace().unwrap_or_default(), is_other)
}

/// Pads of one series share their references, so a search for the one would find the pad of the other.
fn is_in_flight(other: &Pad) -> bool {
    other.metadata.deletion_timestamp.is_some() && pad_facts(other, None).open_attempt().is_some()
}

/// How many older Pads of the connection wait for quota: what there is goes to the oldest first.
fn waiting_before(pad: &Pad, around: &Surroundings, context: &Context) -> i64 {
    let age = |pad: &Pad| (pad.metadata.creation_timestamp.as_ref().map(|time| time.0), pad.name_any());
    let waits = |other: &Pad| {
        other.status.as_ref().and_then(|status| status.reason.as_deref())
            == Some(Reason::QuotaExceeded.as_str())
            && other.metadata.deletion_timestamp.is_none()
            && Surroundings::of(other, context).connection_name == around.connection_name
            && age(other) < age(pad)
    };
    let count = context.scope.pads.matching(&pad.namespace().unwrap_or_default(), waits).len();
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn connection_facts(around: &Surroundings, waiting_before: impl Fn() -> i64) -> ConnectionFacts {
    let name = around.connection_name.clone().unwrap_or_default();
    let Some(connection) = &around.connection else { return ConnectionFacts::Missing { name } };
    if connection.spec.suspend {
        return ConnectionFacts::Suspended { name };
    }
    let status = connection.status.as_ref();
    let seen =
        status.is_some_and(|status| Some(status.observed_generation) == connection.metadata.generation);
    let ready = status.and_then(|status| condition::find(&status.conditions, types::READY));
    match ready {
        Some(ready) if seen && ready.status == condition::Status::True => {}
        Some(ready) if seen => {
            return ConnectionFacts::NotReady {
                name,
                reason: ready.reason.clone(),
                message: ready.message.clone(),
            };
        }
        _ => {
            let message = "it has not been tried yet since it was last changed.".to_owned();
            return ConnectionFacts::NotReady { name, reason: "Connecting".into(), message };
        }
    }
    let quota = status.and_then(|status| status.quota.as_ref()).filter(|quota| !quota.unlimited);
    let limited = quota.filter(|_| connection.spec.interview.overage == Overage::Deny);
    let remaining = limited.and_then(|quota| quota.remaining);
    let pads_left = remaining.map(|left| if left > 0 { left - waiting_before() } else { left });
    ConnectionFacts::Ready { name, pads_left, pad_host: host(&connection.spec.interview.url) }
}

fn host(url: &str) -> Option<String> {
    url::Url::parse(url).ok()?.host_str().map(ToOwned::to_owned)
}

fn configuration_facts(pad: &PadFacts, around: &Surroundings) -> ConfigurationFacts {
    let name = &pad.configuration;
    let Some(configuration) = &around.configuration else {
        let message = format!(
            "PadConfiguration {name} does not exist in this namespace. Create it, or delete this Pad."
        );
        return ConfigurationFacts::NotFound { message };
    };
    let of = &configuration.spec.connection_ref.name;
    if around.connection_name.as_ref() != Some(of) {
        let own = around.connection_name.as_deref().unwrap_or_default();
        let message = format!(
            "PadConfiguration {name} belongs to LeverConnection {of}, but this Pad names {own}. Delete this Pad and make one without spec.connectionRef."
        );
        return ConfigurationFacts::NotFound { message };
    }
    if configuration.spec.suspend {
        return ConfigurationFacts::Suspended;
    }
    let status = configuration.status.as_ref();
    let seen =
        status.is_some_and(|status| Some(status.observed_generation) == configuration.metadata.generation);
    let ready = status.and_then(|status| condition::find(&status.conditions, types::READY));
    let stage = status.and_then(|status| status.stage.as_ref());
    match (ready, stage) {
        (Some(ready), Some(stage)) if seen && ready.status == condition::Status::True => {
            let spec = configuration.spec.clone();
            ConfigurationFacts::Ready(Rule {
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
                existing_settled: status.is_some_and(PadConfigurationStatus::existing_is_settled),
            })
        }
        (Some(ready), _) if seen && ready.status != condition::Status::True => {
            ConfigurationFacts::NotReady { reason: ready.reason.clone(), message: ready.message.clone() }
        }
        _ => ConfigurationFacts::NotReady {
            reason: "NotLookedAtYet".into(),
            message: "it has not been looked at yet since it was last changed.".into(),
        },
    }
}
