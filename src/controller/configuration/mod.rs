//! The controller of PadConfigurations: finds the stage, checks question and owner, and says whether the rule counts.
//!
//! Most of it needs no call: the stages are those of the connection's status. CoderPad is asked for the question and
//! the owner only, when that is due ([`check_schedule`]) and while the connection is in use.

pub mod check_schedule;
pub mod duplicates;
pub mod observe;
pub mod status;

use super::runtime::{self, Reconcile, ReconcileError, broadcast_stream};
use super::service_clients::ServiceClientError;
use super::{Context, events, schedule};
use crate::api::{HasConditions, LeverConnection, PadConfiguration, PadConfigurationStatus, names};
use crate::k8s::cache::Cache;
use crate::k8s::patch::write_status;
use crate::rules;
use check_schedule::{CheckKey, CheckSchedule};
use duplicates::ServedEntries;
use futures::{Stream, StreamExt, stream};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use observe::ExternalChecks;
use status::ConfigurationObservation;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The shortest pause before something that was due, but could not be done.
const CHECK_RETRY_DELAY_MIN: Duration = Duration::from_secs(5);

/// Reconciles the configurations of a context's scope until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let syncs = broadcast_stream(context.syncs.ends());
    if stop.run_until_cancelled(context.scope.ready()).await != Some(true) {
        return;
    }
    let reconciler = Arc::new(ConfigurationController {
        context: context.clone(),
        memory: CheckSchedule::default(),
        stop: stop.clone(),
    });
    let (connections, configurations) = (&context.scope.connections, &context.scope.configurations);
    let controller = Controller::for_shared_stream(configurations.changes(), configurations.store())
        .reconcile_on(of_connections(configurations.clone(), connections.changes()))
        .reconcile_on(of_connections(configurations.clone(), triggers_from_sync(context.clone(), syncs)))
        .reconcile_on(context.accounts.duplicates.concerned(configurations.clone()))
        .reconcile_on(precedence_changes(configurations.clone(), configurations.changes()));
    runtime::run_controller(controller, context.settings.concurrency, reconciler, &context, stop).await;
}

/// The configurations of connections that change.
fn of_connections(
    configurations: Cache<PadConfiguration>,
    changes: impl Stream<Item = Arc<LeverConnection>> + Send,
) -> impl Stream<Item = ObjectRef<PadConfiguration>> + Send {
    changes.flat_map(move |connection| {
        let mut concerned = configurations.of_namespace(&connection.namespace().unwrap_or_default());
        concerned.retain(|configuration| configuration.spec.connection_ref == connection.reference());
        stream::iter(concerned.into_iter().map(|configuration| ObjectRef::from_obj(&*configuration)))
    })
}

/// The connections whose sync has ended: a request is answered only then.
fn triggers_from_sync(
    context: Arc<Context>,
    ends: impl Stream<Item = Option<(String, String)>> + Send,
) -> impl Stream<Item = Arc<LeverConnection>> + Send {
    ends.flat_map(move |end| stream::iter(context.changed_connections(end)))
}

/// What other configurations look at, to see whether one takes precedence over them.
#[derive(Clone, Debug, Eq, PartialEq)]
struct PrecedenceKey {
    uid: Option<String>,
    generation: Option<i64>,
    stage: Option<String>,
    leaves: bool,
}

impl PrecedenceKey {
    fn of(configuration: &PadConfiguration) -> Self {
        let stage = configuration.status.as_ref().and_then(|status| status.stage.as_ref());
        Self {
            uid: configuration.metadata.uid.clone(),
            generation: configuration.metadata.generation,
            stage: stage.map(|stage| stage.id.clone()),
            leaves: configuration.metadata.deletion_timestamp.is_some(),
        }
    }
}

/// The configurations that another one of the same connection may now give way to, or take precedence over. Changes
/// that do not bear on that, such as most of a status, wake nobody: else many would wake each other.
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
                let claim = PrecedenceKey::of(&now);
                claims.insert(key, claim.clone()) != Some(claim)
            }
            None => {
                claims.remove(&key);
                true
            }
        };
        let mut concerned = if news { configurations.of_namespace(&namespace) } else { Vec::new() };
        concerned.retain(|other| {
            other.spec.connection_ref == changed.spec.connection_ref && other.name_any() != name
        });
        stream::iter(concerned.into_iter().map(|configuration| ObjectRef::from_obj(&*configuration)))
    })
}

/// How the checks of a configuration ended.
enum CheckResult {
    /// Those that were due are made.
    Done,
    /// CoderPad did not confirm the organization of a new key; the connection may not change, so nothing else wakes it.
    NotNow,
    /// The process ends.
    Stopped,
}

struct ConfigurationController {
    context: Arc<Context>,
    memory: CheckSchedule,
    stop: CancellationToken,
}

impl Reconcile<PadConfiguration> for ConfigurationController {
    async fn reconcile(&self, configuration: Arc<PadConfiguration>) -> Result<Action, ReconcileError> {
        if configuration.metadata.deletion_timestamp.is_some() {
            let (namespace, name) = (configuration.namespace().unwrap_or_default(), configuration.name_any());
            self.context.accounts.duplicates.note(&namespace, &name, None);
            return Ok(Action::await_change());
        }
        let (namespace, name) = (configuration.namespace().unwrap_or_default(), configuration.name_any());
        let (id, uid) = ((namespace.as_str(), name.as_str()), configuration.metadata.uid.as_deref());
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
                return Ok(Action::await_change());
            }
        }

        let checks = self.memory.checks(id, uid, configuration.metadata.generation);
        let interval = connection.as_deref().and_then(schedule::interval);
        let count = || observe::count(&scope.pads.of_namespace(&namespace), &name);
        let counts = self.memory.counts(id, uid, requested, interval, Instant::now(), count);
        // The connection as it is now: asking CoderPad may have taken a while.
        let connection = scope.connections.get(&namespace, &configuration.spec.connection_ref.name);
        let others = scope.configurations.of_namespace(&namespace);
        let stages = connection.as_deref().map(LeverConnection::stages).unwrap_or_default();
        let rival = rules::conflict(&configuration, others.iter().map(Arc::as_ref), stages)
            .map(ResourceExt::name_any);
        let observation = ConfigurationObservation {
            configuration: &configuration,
            connection: connection.as_deref(),
            rival: rival.as_deref(),
            checks: &checks,
            counts: Some(&counts),
            handled: requested
                .filter(|request| self.is_synced(id, &configuration, connection.as_deref(), request)),
        };
        let serves = self.serves(&configuration, connection.as_deref()).filter(|_| rival.is_none());
        let duplicates = &self.context.accounts.duplicates;
        duplicates.note(&namespace, &name, serves);
        let mut after = status::status(&observation, schedule::now_ms());
        duplicates.report(&namespace, &name, &mut after.conditions);
        self.write(&configuration, after).await?;
        self.sync_if_new(id, &configuration, connection.as_deref());
        Ok(match self.memory.next(id, may_ask) {
            _ if matches!(check, CheckResult::NotNow) => Action::requeue(CHECK_RETRY_DELAY_MIN),
            Some(time) => {
                Action::requeue(time.saturating_duration_since(Instant::now()).max(CHECK_RETRY_DELAY_MIN))
            }
            None => Action::await_change(),
        })
    }

    fn forget(&self, namespace: &str, name: &str) {
        self.memory.forget(namespace, name);
        self.context.accounts.duplicates.note(namespace, name, None);
    }
}

impl ConfigurationController {
    /// What a configuration serves, if it makes pads.
    fn serves(
        &self,
        configuration: &PadConfiguration,
        connection: Option<&LeverConnection>,
    ) -> Option<ServedEntries> {
        let connection = connection.filter(|one| status::usable(one) && !configuration.spec.suspend)?;
        Some(ServedEntries {
            connection: connection.name_any(),
            key: self.context.accounts.known(connection)?.lever_key.clone(),
            stage_id: rules::stage_of(configuration, connection.stages()).ok()?.stage.id,
            tag: configuration.spec.tag.clone(),
        })
    }

    /// Whether the walk that a request asks for has been made; asks for it, if not. A connection that cannot be used now is
    /// waited for (contract S4).
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
        self.context.syncs.want_rule(of, id.1, Some(request));
        false
    }

    /// Asks for the walk of a rule that has come into use, so that nobody waits for the next sync.
    fn sync_if_new(
        &self,
        id: (&str, &str),
        configuration: &PadConfiguration,
        connection: Option<&LeverConnection>,
    ) {
        let Some(connection) =
            connection.filter(|one| status::usable(one) && schedule::interval(one).is_some())
        else {
            return;
        };
        if self.memory.has_come_into_use(id, configuration) {
            self.context.syncs.want_rule((id.0, &connection.name_any()), id.1, None);
        }
    }

    /// Asks CoderPad what is due to be asked.
    async fn check(
        &self,
        id: (&str, &str),
        configuration: &PadConfiguration,
        connection: &LeverConnection,
        requested: Option<&str>,
    ) -> CheckResult {
        // What is wrong with the account is for the connection's own status to say.
        let account = match self.context.accounts.get(connection).await {
            Ok(account) => account,
            Err(ServiceClientError::Unconfirmed { .. }) => return CheckResult::NotNow,
            Err(_) => return CheckResult::Done,
        };
        let subject = CheckKey {
            uid: configuration.metadata.uid.clone(),
            generation: configuration.metadata.generation,
            account: account.version.clone(),
        };
        if !self.memory.check_is_due(id, &subject, requested, Instant::now()) {
            return CheckResult::Done;
        }
        let asked: Option<ExternalChecks> =
            self.stop.run_until_cancelled(observe::checks(&account.interview, &configuration.spec)).await;
        let Some(checks) = asked else { return CheckResult::Stopped };
        if checks.errors().any(observe::doubts_key) {
            self.context.request_probe(id.0, &connection.name_any());
        }
        let interval = schedule::interval(connection);
        self.memory.checked(id, subject, checks, requested, interval, Instant::now());
        CheckResult::Done
    }

    /// Writes the status if it differs, and warns if the configuration has come to a halt.
    async fn write(
        &self,
        configuration: &PadConfiguration,
        after: PadConfigurationStatus,
    ) -> Result<(), ReconcileError> {
        let before: PadConfigurationStatus = configuration.status.clone().unwrap_or_default();
        if write_status(&self.context.client, configuration, &before, &after).await?.is_some()
            && let Some((reason, note)) = events::newly_stalled(configuration.conditions(), &after.conditions)
        {
            self.context.publish_warning(&configuration.object_ref(&()), &reason, &note).await;
        }
        Ok(())
    }
}
