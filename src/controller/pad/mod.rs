//! The Pad controller: reconciles each Pad until its pad is created, linked to the candidate, and ended.
//!
//! A reconcile is a loop over one observed state: `observe` builds it from the caches, [`engine::decide`]
//! decides the next command, `execute` executes it, the state grows by its event, and [`engine::status`] builds the status
//! at the end.

pub mod candidate_loader;
mod execute;
mod foreign_links;
pub mod hints;
#[cfg(test)]
mod histories;
pub mod in_flight;
mod observe;
mod shared_reads;
pub mod stale_lever_reads;
pub mod ttl;
mod workqueue;
pub mod write_tracker;

use super::Context;
use super::runtime::{self, Reconcile, ReconcileError, broadcast_stream};
use super::service_clients::ServiceClientError;
use super::{long_wait_events, schedule};
use crate::k8s::ObjectKey;
use crate::k8s::patch::{WriteError, write_status};
use crate::telemetry::traces::span_definitions;
use crate::transport::{self, ErrorKind};
use api::condition::{Condition, is_true, types};
use api::names;
use api::pad::{DesiredState, Pad, PadStatus, Phase, TriggerSource};
use api::sanitize;
use candidate_loader::Ticket;
use engine::command::{Command, Outcome, WriteBackState};
use engine::decide::{Decision, decide};
use engine::hints::Hint;
use engine::observe::RelatedObjects;
use engine::rules::failure_tag::{FailureTag, PadHealth};
use engine::state::{CandidateLookup, PadLookup, PassError, StoredPad};
use engine::{status, tags, warning_events};
use execute::PadReconcile;
use futures::StreamExt;
use jiff::Timestamp;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use workqueue::WorkQueue;

/// Name of the rule for `tags.failed` in traces.
const FAILURE_TAG_RULE: &str = "failure tag";
/// Maximum number of commands per pass, more than any needs: stops rules that do not terminate.
const MAX_COMMANDS_PER_PASS: usize = 64;
/// Requeue delay of a waiting Pad without events.
const REQUEUE_INTERVAL: Duration = Duration::from_secs(300);
/// Requeue delay after a write conflict.
const PAD_CONFLICT_REQUEUE_DELAY: Duration = Duration::from_millis(200);
/// Fallback requeue delay while the watch has not delivered the operator's own write yet.
const OWN_WRITE_REQUEUE_DELAY: Duration = Duration::from_secs(2);

/// Runs the controller until `stop`, then finishes the reconciles in flight.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let wakes = broadcast_stream(context.hints.wakes());
    let scope = &context.scope;
    if stop.run_until_cancelled(scope.ready()).await != Some(true) {
        return;
    }
    let by_configuration = scope.configurations.changes().flat_map({
        let context = context.clone();
        move |configuration| {
            let name = configuration.name_any();
            affected_pads(&context, configuration.namespace(), move |pad| {
                pad.spec.configuration_ref.name == name
            })
        }
    });
    let by_connection = scope.connections.changes().flat_map({
        let (context, configurations) = (context.clone(), scope.configurations.clone());
        move |connection| {
            let (namespace, name) = (connection.namespace().unwrap_or_default(), connection.name_any());
            let configurations = configurations.clone();
            affected_pads(&context, Some(namespace.clone()), move |pad| {
                let of_rule = || {
                    configurations
                        .get(&namespace, &pad.spec.configuration_ref.name)
                        .is_some_and(|configuration| configuration.spec.connection_ref.name == name)
                };
                pad.spec.connection_ref.as_ref().is_some_and(|reference| reference.name == name) || of_rule()
            })
        }
    });
    let asked_about = wakes.flat_map({
        let context = context.clone();
        move |wake| {
            let pads = wake.map_or_else(|| context.hints.all(), |pad| vec![pad]);
            futures::stream::iter(pads.into_iter().map(reference).collect::<Vec<_>>())
        }
    });
    let (queue, called) = WorkQueue::new(context.clone(), stop.clone());
    let controller = Controller::for_shared_stream(scope.pads.changes(), scope.pads.store())
        .reconcile_on(by_configuration)
        .reconcile_on(by_connection)
        .reconcile_on(asked_about)
        .reconcile_on(called.map(reference));
    let pads = PadController { context: context.clone(), queue };
    runtime::run_controller(controller, runtime::UNBOUNDED, Arc::new(pads), &context, stop).await;
}

fn reference(key: ObjectKey) -> ObjectRef<Pad> {
    ObjectRef::new(&key.name).within(&key.namespace)
}

/// The Pad controller, as run by [`runtime`].
struct PadController {
    context: Arc<Context>,
    queue: Arc<WorkQueue>,
}

impl Reconcile<Pad> for PadController {
    /// Admits Pads with a work permit. The few connections and configurations need none and never wait behind Pads.
    fn admit(&self, pad: &Pad) -> bool {
        self.queue.admit(pad)
    }

    async fn reconcile(&self, pad: Arc<Pad>) -> Result<Action, ReconcileError> {
        let (namespace, name) = (pad.namespace().unwrap_or_default(), pad.name_any());
        let Some(mut called) = self.queue.begin(&namespace, &name) else {
            return Ok(Action::await_change());
        };
        span_definitions::took_turn(called.waited);
        let demand = called.demand.take();
        // Boxed, because the future is large and many are in flight.
        Box::pin(reconcile(pad, demand, &self.context)).await
    }

    fn continues_trace(&self, pad: &Pad) -> bool {
        let asked = names::reconcile_requested_at(pad).filter(|_| engine::observe::is_requested(pad));
        let by_webhook = asked.is_some_and(|asked| names::delivered_at(&asked).is_some());
        by_webhook || matches!(pad.phase(), None | Some(Phase::Pending))
    }

    fn forget(&self, namespace: &str, name: &str) {
        self.queue.forget(namespace, name);
        self.context.pad_backoff.forget(namespace, name);
        self.context.failure_tag_backoff.forget(namespace, name);
        self.context.tag_backoff.forget(namespace, name);
        self.context.write_tracker.forget(namespace, name);
        self.context.hints.forget(namespace, name);
        self.context.stale_reads.forget(namespace, name);
        self.context.long_wait_events.forget(namespace, name);
    }
}

/// Returns the Pads of a namespace that may wait for a changed object. Settled Pads are not reconciled.
fn affected_pads(
    context: &Context,
    namespace: Option<String>,
    concerns: impl Fn(&Pad) -> bool,
) -> futures::stream::Iter<std::vec::IntoIter<ObjectRef<Pad>>> {
    let waiting = |pad: &Pad| {
        pad.metadata.deletion_timestamp.is_some()
            || match pad.phase() {
                None | Some(Phase::Pending | Phase::Failed) => true,
                Some(Phase::Ended) => !engine::observe::stored_pad(pad, None).recorded,
                // The end may have been requested while nothing could be sent.
                Some(Phase::Open | Phase::Started) => pad.spec.state == DesiredState::Ended,
                // Its connection may now count the pads of that installation as own (contract I6).
                Some(Phase::Skipped) => engine::observe::is_owned_elsewhere(pad),
            }
            || engine::observe::is_requested(pad)
            || pad.status.as_ref().is_some_and(|status| status.failed_tag.is_some())
            || tags::is_reported(pad.status.as_ref())
            || context.hints.has_pending(&pad.namespace().unwrap_or_default(), &pad.name_any())
    };
    let all = context.scope.pads.in_namespace(&namespace.unwrap_or_default());
    let concerned =
        all.iter().filter(|pad| waiting(pad) && concerns(pad)).map(|pad| ObjectRef::from_obj(pad.as_ref()));
    futures::stream::iter(concerned.collect::<Vec<_>>())
}

async fn reconcile(
    pad: Arc<Pad>,
    demand: Option<Ticket>,
    context: &Context,
) -> Result<Action, ReconcileError> {
    if context.write_tracker.is_stale(&pad) {
        return Ok(Action::requeue(OWN_WRITE_REQUEUE_DELAY));
    }
    let (namespace, name) = (pad.namespace().unwrap_or_default(), pad.name_any());
    let wanted = context.hints.pending(&namespace, &name);
    let around = observe::related_objects(&pad, context);
    // A batched read for an older version of the Pad is discarded.
    let demand =
        demand.filter(|demand| demand.is_of(&pad)).or_else(|| observe::enroll(&around, &pad, context));
    if wanted.has(Hint::Expired) {
        context.hints.complete(&namespace, &name, Hint::Expired, &wanted);
        if is_expired(&pad, &around) {
            ttl::delete(&context.client, &pad, &context.write_tracker).await?;
            tracing::info!(pad = %name, %namespace, "deleted Pad after TTL");
            return Ok(Action::await_change());
        }
    }
    let inputs = around.fingerprint(&pad);
    let mut state = observe::state(&pad, &around, context, &wanted);
    state.backoff_remaining = context.pad_backoff.remaining(&namespace, &name, &inputs);
    state.tags.pause = context.tag_backoff.remaining(&namespace, &name, &inputs);

    let configuration = around.configuration.clone();
    let mut pass = PadReconcile {
        context,
        pad,
        configuration,
        clients: None,
        demand,
        departure: None,
        made: None,
        stored: None,
        state,
    };
    let (outcome, again) = run_to_completion(&mut pass, &around).await;
    // Later reads in this reconcile did not affect the decision.
    pass.state.judged = pass.state.entry();
    match (&outcome, pass.state.event) {
        (Outcome::StaleRead, Some(event)) => context.stale_reads.record(&namespace, &name, event.at),
        (Outcome::NoDecision, _) => {}
        _ => context.stale_reads.forget(&namespace, &name),
    }

    if !matches!(pass.state.record, PadLookup::NotRead) {
        context.hints.complete(&namespace, &name, Hint::Record, &wanted);
    }
    if !matches!(pass.state.opportunity, CandidateLookup::NotRead) {
        context.hints.complete(&namespace, &name, Hint::Archived, &wanted);
        context.hints.complete(&namespace, &name, Hint::Erased, &wanted);
    }
    let is_decided = !matches!(outcome, Outcome::NoDecision | Outcome::StaleRead);
    if is_decided && pass.state.error.is_none() {
        context.hints.foreign_links.record(&namespace, &name, &pass.state.ownership.links_read);
        context.hints.complete(&namespace, &name, Hint::OtherInstallations, &wanted);
    }
    if is_decided {
        context.hints.complete(&namespace, &name, Hint::Judge, &wanted);
    }
    let pause = match &pass.state.error {
        // The watch is about to deliver the conflicting write; no call to a service was wasted.
        Some(PassError::Conflict) => Some(PAD_CONFLICT_REQUEUE_DELAY),
        Some(error) => {
            record_failure(&pass, error, &around);
            Some(context.pad_backoff.record_failure(&namespace, &name, &inputs))
        }
        None => {
            if pass.state.backoff_remaining.is_none() {
                context.pad_backoff.forget(&namespace, &name);
            }
            None
        }
    };
    let configuration = around.configuration.as_deref();
    let now = schedule::now_ms();
    let mut after = status::status(&pass.pad, &pass.state, &outcome, configuration, now);
    let mut flag_pause = None;
    if let Some(stands) = after.as_ref().map(|after| PadHealth::from_conditions(&after.conditions, now)) {
        flag_pause = reconcile_failure_tag(&mut pass, &around, stands, inputs).await;
        after = status::status(&pass.pad, &pass.state, &outcome, configuration, now);
    }
    let tag_pause = tag_retry_delay(&pass, &around, inputs);
    let claimed = pass.state.pad.open_claim();
    if let Some(after) = after {
        let moved_at = latency_start(&pass.pad, &after);
        write(&pass, after).await?;
        if let Some(moved_at) = moved_at {
            context.metrics.observe_link(moved_at);
        }
    }
    if let Some((_, mark)) = claimed
        && outcome.stores_write()
    {
        context.in_flight.forget(&mark);
    }
    let rest = match (again, pause, &outcome) {
        (Some(again), Some(pause), _) => Some(again.max(pause)),
        (Some(again), None, _) => Some(again.min(REQUEUE_INTERVAL)),
        (None, Some(pause), _) => Some(pause),
        (None, None, Outcome::Waiting(..) | Outcome::Ended(WriteBackState::Pending(..))) => {
            Some(REQUEUE_INTERVAL)
        }
        (None, None, _) => None,
    };
    // The Pad's own backoff is not shortened.
    let rest = match pause {
        Some(_) => rest,
        None => rest.into_iter().chain(flag_pause).chain(tag_pause).min(),
    };
    Ok(rest.map_or_else(Action::await_change, Action::requeue))
}

/// Returns the time of the candidate's move, if a webhook created the Pad and the link has just been added. A Pad that
/// was skipped in between is excluded, because its delay is not the operator's.
fn latency_start(pad: &Pad, after: &PadStatus) -> Option<Timestamp> {
    let trigger = &pad.spec.trigger;
    let is_first = after.linked_at.is_some()
        && matches!(pad.phase(), None | Some(Phase::Pending))
        && pad.status.as_ref().is_none_or(|before| before.linked_at.is_none());
    trigger.at.filter(|_| is_first && trigger.source == TriggerSource::Webhook)
}

/// Reports whether the Pad's TTL has passed and no reconcile is requested.
fn is_expired(pad: &Pad, around: &RelatedObjects) -> bool {
    let configuration = around.configuration.as_deref();
    !engine::observe::is_requested(pad)
        && configuration
            .is_some_and(|configuration| engine::ttl::is_expired(pad, configuration, Timestamp::now()))
}

/// Decides and executes commands until the rules are done.
async fn run_to_completion(
    pass: &mut PadReconcile<'_>,
    around: &RelatedObjects,
) -> (Outcome, Option<Duration>) {
    for _ in 0..MAX_COMMANDS_PER_PASS {
        let Decision { rule, command: step } = decide(&pass.state);
        let StoredPad { name, namespace, .. } = &pass.state.pad;
        tracing::debug!(pad = %name, %namespace, rule, command = step.name(), "decided");
        if let Command::Done { outcome, again } = step {
            return (outcome, again);
        }
        if step.calls_service()
            && let Err(error) = ensure_clients(pass, around).await
        {
            pass.state.error = Some(error);
            continue;
        }
        pass.execute(rule, &step).await;
        pass.state.tolerate_refusal(&step);
    }
    tracing::error!(pad = %pass.state.pad.name, namespace = %pass.state.pad.namespace, "the rules do not terminate; please report this bug");
    (Outcome::NoDecision, Some(REQUEUE_INTERVAL))
}

/// Loads the service clients of the connection, unless they are loaded.
async fn ensure_clients(pass: &mut PadReconcile<'_>, around: &RelatedObjects) -> Result<(), PassError> {
    if pass.clients.is_none()
        && let Some(connection) = &around.connection
    {
        let account = pass.context.service_clients.get(connection).await;
        let name = connection.name_any();
        pass.clients = Some(account.map_err(|error| match error {
            ServiceClientError::Unconfirmed { source } if !is_permanent(&source) => {
                PassError::Service(source)
            }
            error => PassError::NoCredentials { connection: name, message: error.to_string() },
        })?);
    }
    Ok(())
}

/// Reports whether this error would turn a Pad Failed although it concerns only the key.
fn is_permanent(error: &transport::ServiceError) -> bool {
    matches!(error.class, ErrorKind::NotFound | ErrorKind::Invalid)
}

/// Reconciles the tag `tags.failed`. Returns the retry delay after a failure: the tag has its own backoff, and does not
/// affect the Pad's error.
async fn reconcile_failure_tag(
    pass: &mut PadReconcile<'_>,
    around: &RelatedObjects,
    stands: PadHealth,
    inputs: u64,
) -> Option<Duration> {
    let retries = &pass.context.failure_tag_backoff;
    let (namespace, name) = (pass.state.pad.namespace.clone(), pass.state.pad.name.clone());
    for _ in 0..MAX_COMMANDS_PER_PASS {
        let step = match engine::rules::failure_tag::next_action(&pass.state, stands) {
            FailureTag::Execute(step) => step,
            FailureTag::Settled(tag) => {
                pass.state.pad.failed_tag = tag;
                break;
            }
            FailureTag::Later => break,
        };
        if step.calls_service()
            && let Some(rest) = retries.remaining(&namespace, &name, &inputs)
        {
            return Some(rest);
        }
        let own = pass.state.error.take();
        match ensure_clients(pass, around).await {
            Ok(()) => pass.execute(FAILURE_TAG_RULE, &step).await,
            Err(error) => pass.state.error = Some(error),
        }
        pass.state.failure_tag_error = std::mem::replace(&mut pass.state.error, own);
    }
    match &pass.state.failure_tag_error {
        Some(error) => {
            record_failure(pass, error, around);
            Some(retries.record_failure(&namespace, &name, &inputs))
        }
        None => {
            retries.forget(&namespace, &name);
            None
        }
    }
}

/// Returns the delay before a refused tag of an open pad is sent again (contract K4a). Its backoff delays nothing else
/// of the Pad.
fn tag_retry_delay(pass: &PadReconcile<'_>, around: &RelatedObjects, inputs: u64) -> Option<Duration> {
    let (retries, pad) = (&pass.context.tag_backoff, &pass.state.pad);
    if let Some(refused) = &pass.state.tags.refused {
        record_failure(pass, &PassError::Service(refused.error.clone()), around);
        return Some(retries.record_failure(&pad.namespace, &pad.name, &inputs));
    }
    if pass.state.tags.pause.is_none() {
        retries.forget(&pad.namespace, &pad.name);
    }
    pass.state.tags.pause
}

/// Logs a failure without the service's message, which may quote a candidate, and requests a probe of the connection.
fn record_failure(pass: &PadReconcile<'_>, error: &PassError, around: &RelatedObjects) {
    let (pad, namespace) = (&pass.state.pad.name, &pass.state.pad.namespace);
    match error {
        PassError::Service(error) | PassError::CreateOutcomeUnknown(error) => {
            let (service, operation, status) = (error.service, error.operation, error.status);
            let class = error.class.label();
            tracing::warn!(%pad, %namespace, %service, operation, status, class, "call for a Pad failed; see its status");
            // It concerns this candidate only.
            if matches!(pass.state.opportunity, CandidateLookup::Refused) {
                return;
            }
            // The connection's probe decides on errors that may concern all Pads (contract F4).
            let is_for_all = match error.class {
                ErrorKind::Unauthorized
                | ErrorKind::Forbidden
                | ErrorKind::Unavailable
                | ErrorKind::OutcomeUnknown => true,
                ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Throttled => error.is_quota(),
            };
            if let Some(connection) = &around.connection_name
                && is_for_all
            {
                pass.context.request_probe(namespace, connection);
            }
        }
        PassError::NoCredentials { connection, .. } => {
            tracing::warn!(%pad, %namespace, %connection, "API keys of a connection cannot be used; see its status");
            pass.context.request_probe(namespace, connection);
        }
        PassError::Conflict => {}
        PassError::Refused { answer } => {
            // A policy's message may quote the status.
            let candidate = pass.pad.status.as_ref().and_then(|status| status.candidate.as_deref());
            let answer = sanitize::without_name(answer, candidate.unwrap_or_default());
            tracing::warn!(%pad, %namespace, %answer, "API server refused a write to a Pad; will retry");
        }
        PassError::Cluster { message } => {
            tracing::debug!(%pad, %namespace, %message, "requeued Pad")
        }
    }
}

async fn write(pass: &PadReconcile<'_>, after: PadStatus) -> Result<(), WriteError> {
    let before = pass.pad.status.clone().unwrap_or_default();
    if let Some(written) = write_status(&pass.context.client, pass.pad.as_ref(), &before, &after).await? {
        pass.context.write_tracker.record(&written);
    }
    // A service's message may repeat the title, and so the candidate's name: Events are read by more people.
    let without_name =
        |note: &str| sanitize::without_name(note, after.candidate.as_deref().unwrap_or_default());
    match warning_events::newly_stalled(&before.conditions, &after.conditions) {
        Some((reason, note)) => {
            let note = without_name(&note);
            pass.context.publish_warning(&pass.pad.object_ref(&()), &reason, &note).await;
        }
        None => report_long_wait(pass.context, &pass.pad, &after.conditions, without_name).await,
    }
    Ok(())
}

/// Emits the Event of a long-waiting Pad, once per wait (contract K6).
async fn report_long_wait(
    context: &Context,
    pad: &Pad,
    conditions: &[Condition],
    without_name: impl Fn(&str) -> String,
) {
    let (namespace, name) = (pad.namespace().unwrap_or_default(), pad.name_any());
    let now = Timestamp::now();
    let alarm =
        warning_events::needs_attention(conditions, now).filter(|one| one.type_ == types::RECONCILING);
    let Some(waiting) = alarm else {
        if !is_true(conditions, types::RECONCILING) {
            context.long_wait_events.forget(&namespace, &name);
        }
        return;
    };
    let (uid, since) = (pad.uid().unwrap_or_default(), waiting.last_transition_time);
    if context.long_wait_events.is_due(&namespace, &name, &uid, since, now) {
        let note = warning_events::truncate_note(&without_name(&waiting.message));
        long_wait_events::write(&context.client, &pad.object_ref(&()), since, &waiting.reason, note).await;
    }
}
