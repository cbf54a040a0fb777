//! The Pad controller: reconciles each Pad until its pad is created, linked to the candidate, and ended.
//!
//! A reconcile is a loop over one observed state: `observe` builds it from the caches, [`engine::decide`]
//! decides the next command, `execute` executes it, the state grows by its event, and [`engine::status`] builds the status
//! at the end.

pub mod candidate_loader;
mod execute;
#[cfg(test)]
mod histories;
pub mod in_flight;
pub mod memory;
mod observe;
mod shared_reads;

use super::Context;
use super::fair_share::WorkPermit;
use super::runtime::{Reconcile, ReconcileError, Requeue, broadcast_stream};
use super::service_clients::ServiceClientError;
use super::{long_wait_events, schedule};
use crate::k8s::ObjectKey;
use crate::k8s::patch::{WriteError, write_status};
use crate::telemetry::traces::span_definitions;
use api::condition::{Condition, is_true, types};
use api::names;
use api::pad::{Pad, PadStatus, Phase, TriggerSource};
use api::sanitize;
use candidate_loader::Ticket;
use engine::command::{Command, Outcome};
use engine::decide::{Decision, decide};
use engine::hints::{Hint, PendingHints};
use engine::observe::RelatedObjects;
use engine::rules::errors::key_not_confirmed;
use engine::state::{CandidateLookup, PadHealth, PadLookup, PadState, PassError, StoredPad};
use engine::wake::{
    REQUEUE_INTERVAL, RequeueDelays, concerns_connection, is_of_connection, may_wait, next_requeue,
};
use engine::{status, warning_events};
use execute::PadReconcile;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use memory::PadEntry;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Maximum number of commands per pass, more than any needs: stops rules that do not terminate.
const MAX_COMMANDS_PER_PASS: usize = 64;
/// Requeue delay after a write conflict.
const PAD_CONFLICT_REQUEUE_DELAY: Duration = Duration::from_millis(200);
/// Fallback requeue delay while the watch has not delivered the operator's own write yet.
const OWN_WRITE_REQUEUE_DELAY: Duration = Duration::from_secs(2);

/// Runs the controller until `stop`, then finishes the reconciles in flight.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let wakes = broadcast_stream(context.memory.wakes());
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
                let configuration = configurations.get(&namespace, &pad.spec.configuration_ref.name);
                is_of_connection(pad, configuration.as_deref(), &name)
            })
        }
    });
    let asked_about = wakes.flat_map({
        let context = context.clone();
        move |wake| {
            let pads = wake.map_or_else(|| context.memory.hinted(), |pad| vec![pad]);
            futures::stream::iter(pads.into_iter().map(reference).collect::<Vec<_>>())
        }
    });
    context
        .controller(&scope.pads, Arc::new(PadController { context: context.clone() }))
        .reconcile_on(by_configuration)
        .reconcile_on(by_connection)
        .reconcile_on(asked_about)
        .run(stop)
        .await;
}

fn reference(key: ObjectKey) -> ObjectRef<Pad> {
    ObjectRef::new(&key.name).within(&key.namespace)
}

struct PadController {
    context: Arc<Context>,
}

/// Held by a pass over a Pad.
struct PadTurn {
    /// Its ticket for a batched read of its candidate.
    demand: Option<Ticket>,
    /// Time for which it has waited.
    waited: Duration,
    _permit: WorkPermit,
}

impl Reconcile<Pad> for PadController {
    type Turn = PadTurn;

    /// Waits for a work permit of the Pad's connection. The Pad registers for a batched read before it waits.
    fn turn(&self, pad: &Pad) -> Option<BoxFuture<'static, Option<PadTurn>>> {
        let context = &self.context;
        // The watch is about to deliver the version that was written, and that triggers a reconcile.
        if context.memory.is_stale(pad) {
            return None;
        }
        let around = observe::related_objects(pad, context);
        let demand = observe::enroll(&around, pad, context);
        let (waits, began) = (context.metrics.track_waiting(), Instant::now());
        let (fair_share, namespace) = (context.fair_share.clone(), pad.namespace().unwrap_or_default());
        let connection = around.connection_name.unwrap_or_default();
        let turn = async move {
            let _permit = fair_share.acquire(&namespace, &connection).await?;
            drop(waits);
            Some(PadTurn { demand, waited: began.elapsed(), _permit })
        };
        Some(turn.boxed())
    }

    async fn reconcile(&self, pad: Arc<Pad>, mut turn: PadTurn) -> Result<Requeue, ReconcileError> {
        span_definitions::took_turn(turn.waited);
        let demand = turn.demand.take();
        // Boxed, because the future is large and many are in flight.
        Box::pin(reconcile(pad, demand, &self.context)).await
    }

    fn continues_trace(&self, pad: &Pad) -> bool {
        let asked = names::reconcile_requested_at(pad).filter(|_| engine::observe::is_requested(pad));
        let by_webhook = asked.is_some_and(|asked| names::delivered_at(&asked).is_some());
        by_webhook || matches!(pad.phase(), None | Some(Phase::Pending))
    }

    fn forget(&self, key: &ObjectKey) {
        self.context.memory.forget(key);
    }
}

/// Returns the Pads of a namespace that may wait for a changed object. Settled Pads are not reconciled.
fn affected_pads(
    context: &Context,
    namespace: Option<String>,
    concerns: impl Fn(&Pad) -> bool,
) -> futures::stream::Iter<std::vec::IntoIter<ObjectRef<Pad>>> {
    let waiting =
        |pad: &Pad| may_wait(pad, || context.memory.read(&ObjectKey::from_object(pad), PadEntry::has_hints));
    let all = context.scope.pads.in_namespace(&namespace.unwrap_or_default());
    let concerned =
        all.iter().filter(|pad| waiting(pad) && concerns(pad)).map(|pad| ObjectRef::from_obj(pad.as_ref()));
    futures::stream::iter(concerned.collect::<Vec<_>>())
}

async fn reconcile(
    pad: Arc<Pad>,
    demand: Option<Ticket>,
    context: &Context,
) -> Result<Requeue, ReconcileError> {
    if context.memory.is_stale(&pad) {
        return Ok(Some(OWN_WRITE_REQUEUE_DELAY));
    }
    let key = ObjectKey::from_object(pad.as_ref());
    let hints = context.memory.read(&key, PadEntry::hints);
    let around = observe::related_objects(&pad, context);
    // A batched read for an older version of the Pad is discarded.
    let demand =
        demand.filter(|demand| demand.is_of(&pad)).or_else(|| observe::enroll(&around, &pad, context));
    context.memory.update(&key, |entry| entry.complete(Hint::Expired, &hints));
    let inputs = around.fingerprint(&pad);
    let mut state = observe::state(&pad, &around, context, &hints);
    context.memory.read(&key, |entry| {
        state.backoff_remaining = entry.backoff.remaining(&inputs);
        state.failure_tag_backoff = entry.failure_tag_backoff.remaining(&inputs);
        state.tags.pause = entry.tag_backoff.remaining(&inputs);
    });

    let configuration = around.configuration.clone();
    let mut pass = PadReconcile {
        context,
        key: key.clone(),
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
    let pause = context.memory.update(&key, |entry| remember(entry, &pass.state, &outcome, &hints, inputs));
    if let Some(error) = &pass.state.error {
        record_failure(&pass, error, &around);
    }
    let configuration = around.configuration.as_deref();
    let now = schedule::now_ms();
    let mut after = status::status(&pass.pad, &pass.state, &outcome, configuration, now);
    let mut flag_pause = None;
    if let Some(stands) = after.as_ref().map(|after| PadHealth::from_conditions(&after.conditions, now)) {
        pass.state.health = Some(stands);
        flag_pause = reconcile_failure_tag(&mut pass, &around, inputs).await;
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
        context.memory.update(&key, |entry| entry.in_flight.forget(&mark));
    }
    let delays =
        RequeueDelays { decided: again, backoff: pause, failure_tag: flag_pause, refused_tag: tag_pause };
    Ok(next_requeue(&outcome, delays))
}

/// Remembers the result of the rules: answered hints, stale reads, and the backoff. Returns the delay after an error.
fn remember(
    entry: &mut PadEntry,
    state: &PadState,
    outcome: &Outcome,
    hints: &PendingHints,
    inputs: u64,
) -> Option<Duration> {
    match (outcome, state.event) {
        (Outcome::StaleRead, Some(event)) => entry.record_stale_read(event.at),
        (Outcome::NoDecision, _) => {}
        _ => entry.forget_stale_reads(),
    }
    let is_decided = !matches!(outcome, Outcome::NoDecision | Outcome::StaleRead);
    let is_read = !matches!(state.opportunity, CandidateLookup::NotRead);
    let answered = [
        (Hint::Record, !matches!(state.record, PadLookup::NotRead)),
        (Hint::Archived, is_read),
        (Hint::Erased, is_read),
        (Hint::OtherInstallations, is_decided && state.error.is_none()),
        (Hint::Judge, is_decided),
    ];
    for (hint, _) in answered.iter().filter(|(_, is_answered)| *is_answered) {
        entry.complete(*hint, hints);
    }
    if is_decided && state.error.is_none() {
        entry.record_foreign_links(&state.ownership.links_read);
    }
    match &state.error {
        // The watch is about to deliver the conflicting write; no call to a service was wasted.
        Some(PassError::Conflict) => Some(PAD_CONFLICT_REQUEUE_DELAY),
        Some(_) => Some(entry.backoff.record_failure(&inputs)),
        None => {
            if state.backoff_remaining.is_none() {
                entry.backoff.reset();
            }
            None
        }
    }
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
            pass.state.fail(error);
            continue;
        }
        pass.execute(rule, &step).await;
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
            ServiceClientError::Unconfirmed { source } => key_not_confirmed(name, source),
            error => PassError::NoCredentials { connection: name, message: error.to_string() },
        })?);
    }
    Ok(())
}

/// Reconciles the tag `tags.failed`. Returns the retry delay after a failure: the tag has its own backoff, and does not
/// affect the Pad's error.
async fn reconcile_failure_tag(
    pass: &mut PadReconcile<'_>,
    around: &RelatedObjects,
    inputs: u64,
) -> Option<Duration> {
    let (memory, key) = (&pass.context.memory, pass.key.clone());
    let (_, again) = run_to_completion(pass, around).await;
    match &pass.state.failure_tag_error {
        Some(error) => {
            record_failure(pass, error, around);
            Some(memory.update(&key, |entry| entry.failure_tag_backoff.record_failure(&inputs)))
        }
        None => {
            if again.is_none() {
                memory.update(&key, |entry| entry.failure_tag_backoff.reset());
            }
            again
        }
    }
}

/// Returns the delay before a refused tag of an open pad is sent again (contract K4a). Its backoff delays nothing else
/// of the Pad.
fn tag_retry_delay(pass: &PadReconcile<'_>, around: &RelatedObjects, inputs: u64) -> Option<Duration> {
    let memory = &pass.context.memory;
    if let Some(refused) = &pass.state.tags.refused {
        record_failure(pass, &PassError::Service(refused.error.clone()), around);
        return Some(memory.update(&pass.key, |entry| entry.tag_backoff.record_failure(&inputs)));
    }
    if pass.state.tags.pause.is_none() {
        memory.update(&pass.key, |entry| entry.tag_backoff.reset());
    }
    pass.state.tags.pause
}

/// Logs a failure without the service's message, which may quote a candidate, and requests a probe of the connection.
fn record_failure(pass: &PadReconcile<'_>, error: &PassError, around: &RelatedObjects) {
    let (pad, namespace) = (&pass.state.pad.name, &pass.state.pad.namespace);
    if concerns_connection(error, &pass.state.opportunity)
        && let Some(connection) = &around.connection_name
    {
        pass.context.request_probe(namespace, connection);
    }
    match error {
        PassError::Service(error) | PassError::CreateOutcomeUnknown(error) => {
            let (service, operation, status) = (error.service, error.operation, error.status);
            let class = error.class.label();
            tracing::warn!(%pad, %namespace, %service, operation, status, class, "call for a Pad failed; see its status");
        }
        PassError::NoCredentials { connection, .. } => {
            tracing::warn!(%pad, %namespace, %connection, "API keys of a connection cannot be used; see its status");
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
        pass.context.memory.record_written(&written);
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
    let (memory, key, now) = (&context.memory, ObjectKey::from_object(pad), Timestamp::now());
    let alarm =
        warning_events::needs_attention(conditions, now).filter(|one| one.type_ == types::RECONCILING);
    let Some(waiting) = alarm else {
        if !is_true(conditions, types::RECONCILING) {
            memory.update(&key, PadEntry::forget_wait);
        }
        return;
    };
    let (uid, since) = (pad.uid().unwrap_or_default(), waiting.last_transition_time);
    if memory.update(&key, |entry| entry.report_wait(uid, since)) && long_wait_events::is_due(since, now) {
        let note = warning_events::truncate_note(&without_name(&waiting.message));
        long_wait_events::write(&context.client, &pad.object_ref(&()), since, &waiting.reason, note).await;
    }
}
