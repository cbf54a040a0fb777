//! Controller of LeverConnections: probes both services periodically and reports the results in the status.
//!
//! Only this controller decides whether a connection is Ready; configurations and Pads depend on it. Requests are sent
//! only when a probe is due ([`probe_schedule`]), regardless of how often a connection is reconciled.

pub mod diagnosis;
pub mod installation_id;
mod last_sync;
pub mod observe;
pub mod probe_schedule;
pub mod status;
mod surprises;
pub mod webhook;

use super::runtime::{self, Reconcile, ReconcileError, Requeue, broadcast_stream};
use super::schedule::ObjectStates;
use super::service_clients::ServiceClients;
use super::{Context, coderpad_organization, schedule, warning_events};
use crate::k8s::ObjectKey;
use crate::k8s::patch::write_status;
use crate::k8s::secrets::SecretChange;
use api::connection::WebhookMode;
use api::{HasConditions, LeverConnection, LeverConnectionStatus, names};
use futures::future::BoxFuture;
use futures::{Stream, StreamExt, stream};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use observe::{Probe, SigningTokenStatus};
use probe_schedule::{ProbeSchedule, ProbeStart, ServiceProbe};
use status::{ConnectionObservation, Services};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Reconciles all connections that `context` watches, until `stop` is cancelled.
pub fn run(context: Arc<Context>, stop: CancellationToken) -> impl Future<Output = ()> + Send {
    // Subscribe before the first read, so that no change is missed.
    let (secrets, probes) =
        (broadcast_stream(context.secrets.changes()), broadcast_stream(context.probes.subscribe()));
    let syncs = broadcast_stream(context.syncs.completions());
    let surprises = broadcast_stream(context.service_clients.surprised());
    async move {
        if stop.run_until_cancelled(context.scope.ready()).await != Some(true) {
            return;
        }
        let reconciler = Arc::new(ConnectionController {
            context: context.clone(),
            schedules: ObjectStates::default(),
            permits: Arc::new(Semaphore::new(context.settings.concurrency.into())),
            stop: stop.clone(),
        });
        let connections = &context.scope.connections;
        let pads = installation_id::concerned_by_pads(context.scope.clone(), context.scope.pads.changes());
        context
            .controller(connections, reconciler.clone())
            .reconcile_on(pads)
            .reconcile_on(triggers_from_secrets(context.clone(), secrets))
            .reconcile_on(triggers_from_refusals(reconciler, probes))
            .reconcile_on(triggers_from_sync(context.clone(), syncs))
            .reconcile_on(triggers_from_surprises(context.clone(), surprises))
            .run(stop)
            .await;
    }
}

/// Returns a stream of connections whose Secrets change. Clients with the old values are dropped first.
fn triggers_from_secrets(
    context: Arc<Context>,
    changes: impl Stream<Item = Option<SecretChange>> + Send,
) -> impl Stream<Item = ObjectRef<LeverConnection>> + Send {
    changes.flat_map(move |change| {
        let change = change.unwrap_or(SecretChange::Any);
        context.service_clients.forget_changed(&change);
        let mut connections = context.scope.connections.store().state();
        if let SecretChange::One { namespace, name } = &change {
            connections.retain(|connection| {
                connection.namespace().as_ref() == Some(namespace)
                    && connection.secret_names().any(|one| one == name)
            });
        }
        references(connections)
    })
}

/// Returns a stream of connections for which a service rejected a call of a Pad.
fn triggers_from_refusals(
    reconciler: Arc<ConnectionController>,
    refusals: impl Stream<Item = Option<ObjectKey>> + Send,
) -> impl Stream<Item = ObjectRef<LeverConnection>> + Send {
    refusals.flat_map(move |refusal| {
        let concerned = reconciler.context.changed_connections(refusal);
        for connection in &concerned {
            reconciler.schedules.with(&**connection, ProbeSchedule::request_probe);
        }
        references(concerned)
    })
}

/// Returns a stream of connections whose sync has ended. Only then is a reconcile request handled, and the sync may
/// have results to report.
fn triggers_from_sync(
    context: Arc<Context>,
    ends: impl Stream<Item = Option<ObjectKey>> + Send,
) -> impl Stream<Item = ObjectRef<LeverConnection>> + Send {
    ends.flat_map(move |end| references(context.changed_connections(end)))
}

/// Returns a stream of connections with an answer that differs from the documentation.
fn triggers_from_surprises(
    context: Arc<Context>,
    surprises: impl Stream<Item = Option<ObjectKey>> + Send,
) -> impl Stream<Item = ObjectRef<LeverConnection>> + Send {
    surprises.flat_map(move |surprised| references(context.changed_connections(surprised)))
}

fn references(
    connections: Vec<Arc<LeverConnection>>,
) -> impl Stream<Item = ObjectRef<LeverConnection>> + Send {
    stream::iter(connections.into_iter().map(|connection| ObjectRef::from_obj(&*connection)))
}

fn is_handled(connection: &LeverConnection, request: &str) -> bool {
    let status = connection.status.as_ref();
    status.and_then(|status| status.last_handled_reconcile_at.as_deref()) == Some(request)
}

struct ConnectionController {
    context: Arc<Context>,
    schedules: ObjectStates<ProbeSchedule>,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Reconcile<LeverConnection> for ConnectionController {
    type Turn = OwnedSemaphorePermit;

    fn turn(&self, _connection: &LeverConnection) -> Option<BoxFuture<'static, Option<Self::Turn>>> {
        Some(runtime::permit(&self.permits))
    }

    async fn reconcile(
        &self,
        seen: Arc<LeverConnection>,
        _permit: Self::Turn,
    ) -> Result<Requeue, ReconcileError> {
        let mut connection = seen.clone();
        let (namespace, name) = (connection.namespace().unwrap_or_default(), connection.name_any());
        let public_url = self.context.settings.public_url.as_deref();
        let url = status::webhook_url(public_url, &connection);
        if connection.metadata.deletion_timestamp.is_some() {
            return self.finalize(connection, &url).await;
        }
        installation_id::ensure(&self.context, &mut connection).await?;
        let mut token = observe::token(&self.context.secrets, &connection).await?;
        let requested = names::reconcile_requested_at(seen.as_ref());
        let requested = requested.as_deref();
        if connection.spec.suspend {
            self.schedules.with(&*seen, ProbeSchedule::reset);
            self.write(&connection, &token, Services::Suspended, None).await?;
            return Ok(None);
        }
        let account = match self.context.service_clients.unconfirmed(&connection).await {
            Ok(account) => account,
            Err(error) => {
                let diagnosis = diagnosis::diagnose_clients(error, &connection)?;
                if !webhook::has_finalizer(&connection) {
                    // Do not keep a removed key in memory, unless the deletion of the webhook needs it.
                    self.context.service_clients.forget(&namespace, &name);
                }
                self.schedules.with(&*seen, ProbeSchedule::reset);
                self.write(&connection, &token, Services::Unusable(&diagnosis), None).await?;
                return Ok(None);
            }
        };

        let next = |token: &SigningTokenStatus| {
            let version = version(&seen, &account, token);
            self.schedules.with(&*seen, |schedule| schedule.next(&version, requested, Instant::now()))
        };
        if next(&token).is_some_and(|next| next <= Instant::now()) {
            if status::is_new(&connection)
                && let Some(written) = self.write(&connection, &token, Services::Connecting, None).await?
            {
                connection = Arc::new(written);
            }
            let (began, interval) = (Instant::now(), connection.polling_interval());
            let handled = self.schedules.with(&*seen, |schedule| {
                schedule.begin(began);
                schedule.last().and_then(|(_, handled)| handled)
            });
            if requested.is_some_and(|request| handled.as_deref() != Some(request)) {
                account.surprises.clear();
            }
            let key = account.interview.account_id();
            let look = self.context.pad_budget.quotas().begin_probe(key);
            // Reads can be cancelled at any time, and a service that hangs must not delay the shutdown.
            let probe = self.stop.run_until_cancelled(observe::probe(&account, &connection)).await;
            let Some((lever, interview)) = probe else { return Ok(None) };
            if let Some(remaining) = interview.facts.quota.as_ref().and_then(|quota| quota.remaining) {
                self.context.pad_budget.quotas().end_probe(key, look, remaining);
            }
            // Do not compare with the time of the last complete probe, which has only whole seconds.
            let is_complete = lever.diagnosis.is_none() && interview.diagnosis.is_none();
            let asked = requested.filter(|request| !is_handled(&seen, request));
            if is_complete && (interval.is_some() || asked.is_some()) {
                self.context.syncs.request_sync(&namespace, &name, asked);
            }
            let before = self.schedules.with(&*seen, |schedule| schedule.webhook.probe.facts.clone());
            let webhook = if lever.diagnosis.is_none() {
                let pass = webhook::reconcile(&self.context, &mut connection, &account, &url, before).await;
                // The next attempt is a probe, too.
                pass.inspect_err(|_| self.schedules.with(&*seen, ProbeSchedule::request_probe))?
            } else {
                Probe { facts: before, diagnosis: None }
            };
            token = observe::token(&self.context.secrets, &connection).await?;
            let start = ProbeStart { version: version(&seen, &account, &token), requested, interval, began };
            self.schedules.with(&*seen, |schedule| schedule.record(start, lever, interview, webhook));
        }
        let last = self.schedules.with(&*seen, |schedule| schedule.last());
        let Some((probed, handled)) = last else { return Ok(None) };
        let syncs = &self.context.syncs;
        let handled = handled.as_deref().filter(|request| syncs.is_complete(&namespace, &name, request));
        self.write(&connection, &token, Services::Probed(&probed), handled).await?;
        let next = next(&token).into_iter().chain(account.surprises.next_expiry()).min();
        Ok(next.map(|next| next.saturating_duration_since(Instant::now())))
    }

    fn forget(&self, ObjectKey { namespace, name }: &ObjectKey) {
        self.schedules.forget(namespace, name);
        self.context.service_clients.forget(namespace, name);
        self.context.pad_budget.forget(namespace, name);
        self.context.syncs.forget(namespace, name);
        self.context.metrics.forget(namespace, name);
    }
}

/// Returns the version of everything that a probe of a connection depends on.
fn version(connection: &LeverConnection, account: &ServiceClients, token: &SigningTokenStatus) -> String {
    // An accepted organization triggers a new probe, like a new key.
    let accepted = coderpad_organization::accepted(connection).unwrap_or_default();
    // A changed Secret may have lost the token of the webhook that the operator manages, or may be writable now.
    let is_managed = connection.spec.webhook.mode == WebhookMode::Managed;
    let token = if is_managed { token.version() } else { "" };
    format!("{} {accepted} {token}", account.version)
}

impl ConnectionController {
    /// Removes the webhook of a connection that is being deleted. A Warning Event reports that the deletion waits.
    async fn finalize(
        &self,
        mut connection: Arc<LeverConnection>,
        url: &str,
    ) -> Result<Requeue, ReconcileError> {
        let Some(failed) = webhook::finalize(&self.context, &mut connection, url).await? else {
            return Ok(None);
        };
        let (before, webhook) = self.schedules.with(&*connection, |schedule| {
            let before = schedule.webhook.failures;
            schedule.webhook = ServiceProbe::new(failed, before);
            (before, schedule.webhook.clone())
        });
        let Some(diagnosis) = &webhook.probe.diagnosis else { return Ok(None) };
        if before == 0 {
            let ObjectKey { namespace, name } = ObjectKey::from_object(&*connection);
            let note = webhook::deletion_blocked(&namespace, &name, diagnosis);
            self.context.publish_warning(&connection.object_ref(&()), diagnosis.reason.as_str(), &note).await;
        }
        let interval = connection.polling_interval();
        let pause = schedule::after_failures(webhook.failures, interval, diagnosis.retry_after);
        Ok(diagnosis.is_transient().then_some(pause))
    }

    /// Writes the status if it differs, and publishes warning Events for new problems. Returns the written object.
    async fn write(
        &self,
        connection: &LeverConnection,
        token: &SigningTokenStatus,
        services: Services<'_>,
        handled: Option<&str>,
    ) -> Result<Option<LeverConnection>, ReconcileError> {
        let public_url = self.context.settings.public_url.as_deref();
        let namespace = connection.namespace().unwrap_or_default();
        let missed = self.context.syncs.missed(&namespace, &connection.name_any());
        let missed = missed.as_ref();
        let webhook = &self.schedules.with(connection, |schedule| schedule.webhook.probe.facts.clone());
        let others = &installation_id::others(&self.context.scope, connection);
        let surprises = &self.context.service_clients.surprises(connection);
        let observation = ConnectionObservation {
            connection,
            public_url,
            token,
            webhook,
            services,
            missed,
            others,
            surprises,
            handled,
        };
        let mut after = status::status(&observation, schedule::now());
        let before: LeverConnectionStatus = connection.status.clone().unwrap_or_default();
        last_sync::add(&before, &mut after, self.context.syncs.complete(&namespace, &connection.name_any()));
        let written = write_status(&self.context.client, connection, &before, &after).await?;
        if written.is_some() {
            let before = connection.conditions();
            let news = [
                warning_events::newly_stalled(before, &after.conditions),
                warning_events::quota_ran_low(before, &after.conditions),
                warning_events::became_shared(before, &after.conditions),
            ];
            for (reason, note) in news.into_iter().flatten() {
                self.context.publish_warning(&connection.object_ref(&()), &reason, &note).await;
            }
        }
        Ok(written)
    }
}
