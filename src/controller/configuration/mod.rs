//! Controller of PadConfigurations: resolves the stage, checks question and owner, and reports whether the rule is in
//! use.  The stages are those of the connection's status, without a request. Only the question and the owner are
//! checked in CoderPad, when that is due ([`check_schedule`]) and while the connection is ready.

pub mod check_schedule;
pub mod duplicate_rules;
pub mod observe;
pub mod status;

use super::runtime::{self, Reconcile, ReconcileError, Requeue, broadcast_stream};
use super::schedule::ObjectStates;
use super::service_clients::ServiceClientError;
use super::{Context, schedule, warning_events};
use crate::k8s::ObjectKey;
use crate::k8s::cache::Cache;
use crate::k8s::patch::write_status;
use api::{HasConditions, LeverConnection, PadConfiguration, PadConfigurationStatus, names};
use check_schedule::{CheckKey, CheckSchedule};
use duplicate_rules::ServedEntries;
use engine::stage;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt, stream};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use observe::ExternalChecks;
use status::ConfigurationObservation;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Minimum delay before a due check is retried.
const CHECK_RETRY_DELAY_MIN: Duration = Duration::from_secs(5);

/// Reconciles all PadConfigurations in the namespaces of the context until `stop` is cancelled.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let syncs = broadcast_stream(context.syncs.completions());
    if stop.run_until_cancelled(context.scope.ready()).await != Some(true) {
        return;
    }
    let reconciler = Arc::new(ConfigurationController {
        context: context.clone(),
        schedules: ObjectStates::default(),
        permits: Arc::new(Semaphore::new(context.settings.concurrency.into())),
        stop: stop.clone(),
    });
    let (connections, configurations) = (&context.scope.connections, &context.scope.configurations);
    context
        .controller(configurations, reconciler)
        .reconcile_on(configurations_of(configurations.clone(), connections.changes()))
        .reconcile_on(configurations_of(configurations.clone(), triggers_from_sync(context.clone(), syncs)))
        .reconcile_on(context.duplicates.concerned(configurations.clone()))
        .reconcile_on(precedence_changes(configurations.clone(), configurations.changes()))
        .run(stop)
        .await;
}

/// Returns a stream of configurations whose connections change.
fn configurations_of(
    configurations: Cache<PadConfiguration>,
    changes: impl Stream<Item = Arc<LeverConnection>> + Send,
) -> impl Stream<Item = ObjectRef<PadConfiguration>> + Send {
    changes.flat_map(move |connection| {
        let mut concerned = configurations.in_namespace(&connection.namespace().unwrap_or_default());
        concerned.retain(|configuration| configuration.spec.connection_ref == connection.reference());
        stream::iter(concerned.into_iter().map(|configuration| ObjectRef::from_obj(&*configuration)))
    })
}

/// Returns a stream of connections whose sync has ended. Only then is a reconcile request handled.
fn triggers_from_sync(
    context: Arc<Context>,
    ends: impl Stream<Item = Option<ObjectKey>> + Send,
) -> impl Stream<Item = Arc<LeverConnection>> + Send {
    ends.flat_map(move |end| stream::iter(context.changed_connections(end)))
}

/// Properties of a configuration that determine its precedence over others.
#[derive(Clone, Debug, Eq, PartialEq)]
struct PrecedenceKey {
    uid: Option<String>,
    generation: Option<i64>,
    stage: Option<String>,
    leaves: bool,
}

impl PrecedenceKey {
    fn from_configuration(configuration: &PadConfiguration) -> Self {
        let stage = configuration.status.as_ref().and_then(|status| status.stage.as_ref());
        Self {
            uid: configuration.metadata.uid.clone(),
            generation: configuration.metadata.generation,
            stage: stage.map(|stage| stage.id.clone()),
            leaves: configuration.metadata.deletion_timestamp.is_some(),
        }
    }
}

/// Returns a stream of configurations whose precedence may have changed because another one of the same connection did.
/// Other changes, such as most status updates, trigger nothing. Otherwise, configurations would trigger each other.
fn precedence_changes(
    configurations: Cache<PadConfiguration>,
    changes: impl Stream<Item = Arc<PadConfiguration>> + Send,
) -> impl Stream<Item = ObjectRef<PadConfiguration>> + Send {
    let mut claims = HashMap::new();
    changes.flat_map(move |changed| {
        let (namespace, name) = (changed.namespace().unwrap_or_default(), changed.name_any());
        let key = (namespace.clone(), name.clone());
        let news = match configurations.get(&namespace, &name) {
            Some(now) => {
                let claim = PrecedenceKey::from_configuration(&now);
                claims.insert(key, claim.clone()) != Some(claim)
            }
            None => {
                claims.remove(&key);
                true
            }
        };
        let mut concerned = if news { configurations.in_namespace(&namespace) } else { Vec::new() };
        concerned.retain(|other| {
            other.spec.connection_ref == changed.spec.connection_ref && other.name_any() != name
        });
        stream::iter(concerned.into_iter().map(|configuration| ObjectRef::from_obj(&*configuration)))
    })
}

/// Outcome of the checks of a configuration.
enum CheckResult {
    /// All due checks were executed.
    Done,
    /// CoderPad did not confirm the organization of a new key. Requires a requeue, because the connection may not
    /// change.
    NotNow,
    /// The process is shutting down.
    Stopped,
}

struct ConfigurationController {
    context: Arc<Context>,
    schedules: ObjectStates<CheckSchedule>,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Reconcile<PadConfiguration> for ConfigurationController {
    type Turn = OwnedSemaphorePermit;

    fn turn(&self, _configuration: &PadConfiguration) -> Option<BoxFuture<'static, Option<Self::Turn>>> {
        Some(runtime::permit(&self.permits))
    }

    async fn reconcile(
        &self,
        configuration: Arc<PadConfiguration>,
        _permit: Self::Turn,
    ) -> Result<Requeue, ReconcileError> {
        if configuration.metadata.deletion_timestamp.is_some() {
            let (namespace, name) = (configuration.namespace().unwrap_or_default(), configuration.name_any());
            self.context.duplicates.note(&namespace, &name, None);
            return Ok(None);
        }
        let (namespace, name) = (configuration.namespace().unwrap_or_default(), configuration.name_any());
        let id = (namespace.as_str(), name.as_str());
        let requested = names::reconcile_requested_at(configuration.as_ref());
        let requested = requested.as_deref();
        let scope = &self.context.scope;
        let connection = scope.connections.get(&namespace, &configuration.spec.connection_ref.name);
        let may_ask = !configuration.spec.suspend
            && observe::needs_checks(&configuration.spec)
            && connection.as_deref().is_some_and(status::usable);
        let mut check = CheckResult::Done;
        if let Some(connection) = connection.as_deref().filter(|_| may_ask) {
            check = self.check(id, &configuration, connection, requested).await;
            if matches!(check, CheckResult::Stopped) {
                return Ok(None);
            }
        }

        let interval = connection.as_deref().and_then(LeverConnection::polling_interval);
        let count = || observe::count(&scope.pads.in_namespace(&namespace), &name);
        let (checks, counts) = self.schedules.with(&*configuration, |schedule| {
            let checks = schedule.checks(configuration.metadata.generation);
            (checks, schedule.counts(requested, interval, Instant::now(), count))
        });
        // Read the connection again, because the checks may have taken a while.
        let connection = scope.connections.get(&namespace, &configuration.spec.connection_ref.name);
        let others = scope.configurations.in_namespace(&namespace);
        let stages = connection.as_deref().map(LeverConnection::stages).unwrap_or_default();
        let preferred = stage::conflict(&configuration, others.iter().map(Arc::as_ref), stages)
            .map(ResourceExt::name_any);
        let observation = ConfigurationObservation {
            configuration: &configuration,
            connection: connection.as_deref(),
            preferred: preferred.as_deref(),
            checks: &checks,
            counts: Some(&counts),
            handled: requested
                .filter(|request| self.is_synced(id, &configuration, connection.as_deref(), request)),
        };
        let serves = self.serves(&configuration, connection.as_deref()).filter(|_| preferred.is_none());
        let duplicates = &self.context.duplicates;
        duplicates.note(&namespace, &name, serves);
        let mut after = status::status(&observation, schedule::now_ms());
        duplicates.set_condition(&namespace, &name, &mut after.conditions);
        self.write(&configuration, after).await?;
        self.sync_if_new(id, &configuration, connection.as_deref());
        Ok(match self.schedules.with(&*configuration, |schedule| schedule.next(may_ask)) {
            _ if matches!(check, CheckResult::NotNow) => Some(CHECK_RETRY_DELAY_MIN),
            Some(time) => Some(time.saturating_duration_since(Instant::now()).max(CHECK_RETRY_DELAY_MIN)),
            None => None,
        })
    }

    fn forget(&self, ObjectKey { namespace, name }: &ObjectKey) {
        self.schedules.forget(namespace, name);
        self.context.duplicates.note(namespace, name, None);
    }
}

impl ConfigurationController {
    /// Returns the candidates that a configuration serves, if it is in use.
    fn serves(
        &self,
        configuration: &PadConfiguration,
        connection: Option<&LeverConnection>,
    ) -> Option<ServedEntries> {
        let connection = connection.filter(|one| status::usable(one) && !configuration.spec.suspend)?;
        Some(ServedEntries {
            connection: connection.name_any(),
            key: self.context.service_clients.known(connection)?.lever_key.clone(),
            stage_id: stage::stage_of(configuration, connection.stages()).ok()?.stage.id,
            tag: configuration.spec.tag.clone(),
        })
    }

    /// Reports whether the sync of a reconcile request is complete; requests it if not. While the connection is not
    /// ready, the request stays pending (contract S4).
    fn is_synced(
        &self,
        id: (&str, &str),
        configuration: &PadConfiguration,
        connection: Option<&LeverConnection>,
        request: &str,
    ) -> bool {
        let handled =
            configuration.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref());
        let Some(connection) = connection.filter(|one| status::usable(one)) else { return false };
        let of = (id.0, &*connection.name_any());
        if handled == Some(request) || self.context.syncs.is_answered(of, id.1, request) {
            return true;
        }
        self.context.syncs.request_rule_sync(of, id.1, Some(request));
        false
    }

    /// Requests a sync of a rule that came into use, instead of waiting for the next periodic one.
    fn sync_if_new(
        &self,
        id: (&str, &str),
        configuration: &PadConfiguration,
        connection: Option<&LeverConnection>,
    ) {
        let Some(connection) =
            connection.filter(|one| status::usable(one) && one.polling_interval().is_some())
        else {
            return;
        };
        if self.schedules.with(configuration, |schedule| schedule.became_active(configuration)) {
            self.context.syncs.request_rule_sync((id.0, &connection.name_any()), id.1, None);
        }
    }

    /// Executes the checks in CoderPad that are due.
    async fn check(
        &self,
        id: (&str, &str),
        configuration: &PadConfiguration,
        connection: &LeverConnection,
        requested: Option<&str>,
    ) -> CheckResult {
        // The connection's status reports errors of its settings.
        let account = match self.context.service_clients.get(connection).await {
            Ok(account) => account,
            Err(ServiceClientError::Unconfirmed { .. }) => return CheckResult::NotNow,
            Err(_) => return CheckResult::Done,
        };
        let key =
            CheckKey { generation: configuration.metadata.generation, account: account.version.clone() };
        let is_due = |schedule: &mut CheckSchedule| schedule.check_is_due(&key, requested, Instant::now());
        if !self.schedules.with(configuration, is_due) {
            return CheckResult::Done;
        }
        let asked: Option<ExternalChecks> =
            self.stop.run_until_cancelled(observe::checks(&account.interview, &configuration.spec)).await;
        let Some(checks) = asked else { return CheckResult::Stopped };
        if checks.errors().any(observe::suggests_bad_key) {
            self.context.request_probe(id.0, &connection.name_any());
        }
        let interval = connection.polling_interval();
        self.schedules.with(configuration, |schedule| {
            schedule.checked(key, checks, requested, interval, Instant::now());
        });
        CheckResult::Done
    }

    /// Writes the status if it differs, and publishes a warning Event if the configuration has become stalled.
    async fn write(
        &self,
        configuration: &PadConfiguration,
        after: PadConfigurationStatus,
    ) -> Result<(), ReconcileError> {
        let before: PadConfigurationStatus = configuration.status.clone().unwrap_or_default();
        if write_status(&self.context.client, configuration, &before, &after).await?.is_some()
            && let Some((reason, note)) =
                warning_events::newly_stalled(configuration.conditions(), &after.conditions)
        {
            self.context.publish_warning(&configuration.object_ref(&()), &reason, &note).await;
        }
        Ok(())
    }
}
