//! Managed webhooks: the operator registers the webhook in Lever, stores its token, and removes the webhook.
//! [`WebhookController`] reconciles a webhook after each probe and when the Secret changes. `reconcile` executes a
//! pass, `plan` decides its commands, `token_secret` reads and writes the Secret, and `token_ledger` maps tokens to webhooks.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;
mod token_ledger;
mod token_secret;

use super::diagnosis::{self, Diagnosis, Remedy};
use crate::controller::runtime::ReconcileError;
use crate::controller::service_clients::{ServiceClientError, ServiceClients};
use crate::controller::{Context, schedule};
use crate::k8s::ObjectKey;
use crate::k8s::patch::is_status;
use crate::k8s::secrets::SecretError;
use crate::k8s::with_timeout;
use crate::transport::Priority;
use api::connection::WebhookMode;
use api::{LeverConnection, names};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Resource, ResourceExt};
use parking_lot::Mutex;
use reconcile::{WebhookError, WebhookReconcile, remove_finalizer};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Minimum interval between reconciles that changes of the Secret trigger.
const AT_MOST_EVERY: Duration = Duration::from_secs(10);

/// State of the webhook of a connection.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum WebhookState {
    /// Not reconciled yet.
    #[default]
    Unknown,
    /// A Super Admin manages the webhook in Lever.
    Manual,
    /// The webhook exists in Lever and its token in the Secret.
    Registered {
        /// ID of the webhook.
        id: String,
    },
    /// A problem prevents the registration.
    Failed(Diagnosis),
}

/// In-memory state of a connection's webhook. It may be lost.
#[derive(Debug, Default)]
struct WebhookEntry {
    uid: Option<String>,
    state: WebhookState,
    /// Version of the Secret after the last reconcile.
    secret: Option<String>,
    failures: u32,
    began: Option<Instant>,
    /// Time of the next reconcile, if earlier than the next probe.
    next: Option<Instant>,
}

impl WebhookEntry {
    /// Reports whether to reconcile now: Lever has just answered a probe, the Secret has changed since the last
    /// reconcile, or the backoff after a failure is over. If so, records the start.
    fn begin(&mut self, probed: bool, secret: Option<&str>, now: Instant) -> bool {
        let soonest = self.began.map(|began| began + AT_MOST_EVERY).filter(|soonest| *soonest > now);
        let changed = self.state != WebhookState::Unknown && self.secret.as_deref() != secret;
        if let (true, false, Some(soonest)) = (changed, probed, soonest) {
            self.next = Some(self.next.map_or(soonest, |next| next.min(soonest)));
        }
        let is_due = self.next.is_some_and(|next| next <= now);
        let begins = probed || is_due || (changed && soonest.is_none());
        if begins {
            (self.began, self.next) = (Some(now), None);
        }
        begins
    }

    fn end(&mut self, state: WebhookState) {
        (self.state, self.failures, self.next) = (state, 0, None);
    }

    /// Records a failure. After a transient one, a registered webhook still counts as registered.
    fn fail(&mut self, diagnosis: Diagnosis, interval: Option<Duration>, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.next = diagnosis
            .is_transient()
            .then(|| now + schedule::after_failures(self.failures, interval, diagnosis.retry_after));
        if diagnosis.remedy != Remedy::Retry || !matches!(self.state, WebhookState::Registered { .. }) {
            self.state = WebhookState::Failed(diagnosis);
        }
    }
}

/// Controller of the webhooks of all connections.
pub struct WebhookController {
    context: Arc<Context>,
    entries: Mutex<HashMap<ObjectKey, WebhookEntry>>,
}

impl WebhookController {
    /// Returns a controller without state.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, entries: Mutex::default() }
    }

    /// Returns the last state of the webhook, and the time of the next reconcile if it is before the next probe.
    pub fn state(&self, connection: &LeverConnection) -> (WebhookState, Option<Instant>) {
        self.entry(connection, |entry| (entry.state.clone(), entry.next))
    }

    /// Drops the state of a deleted connection.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.entries.lock().remove(&ObjectKey::new(namespace, name));
    }

    /// Reconciles the webhook if that is due. `url` is status.webhookURL, `probed` reports whether Lever has just
    /// answered a probe. Returns whether a reconcile took place; `connection` is replaced by the written object.
    pub async fn reconcile(
        &self,
        connection: &mut Arc<LeverConnection>,
        account: &ServiceClients,
        url: &str,
        probed: bool,
    ) -> Result<bool, ReconcileError> {
        let is_managed = connection.spec.webhook.mode == WebhookMode::Managed;
        if !is_managed && !has_finalizer(connection) {
            self.entry(connection, |entry| entry.end(WebhookState::Manual));
            return Ok(false);
        }
        let secret = self.secret_version(connection).await?;
        if !self.entry(connection, |entry| entry.begin(probed, secret.as_deref(), Instant::now())) {
            return Ok(false);
        }
        let lever = account.lever.with_priority(Priority::Poll);
        let pass = WebhookReconcile { context: &self.context, lever: &lever, url };
        let result = if is_managed {
            pass.register(connection).await.map(|id| WebhookState::Registered { id })
        } else {
            pass.remove(connection).await.map(|()| WebhookState::Manual)
        };
        match result {
            Ok(state) => self.entry(connection, |entry| entry.end(state)),
            Err(WebhookError::Diagnosed(diagnosis)) => self.fail(connection, diagnosis),
            Err(WebhookError::Failure(failure)) => {
                self.entry(connection, |entry| entry.next = Some(Instant::now()));
                return Err(failure);
            }
        }
        let secret = self.secret_version(connection).await?;
        self.entry(connection, |entry| entry.secret = secret);
        Ok(true)
    }

    /// Returns the version of the Secret for the tokens. None if it does not exist or access is forbidden.
    async fn secret_version(&self, connection: &LeverConnection) -> Result<Option<String>, ReconcileError> {
        let Some(reference) = &connection.spec.webhook.signing_token_secret_ref else { return Ok(None) };
        let secrets: Api<Secret> =
            Api::namespaced(self.context.client.clone(), &connection.namespace().unwrap_or_default());
        match with_timeout(secrets.get_metadata_opt(&reference.name)).await {
            Ok(secret) => Ok(secret.and_then(|secret| secret.resource_version())),
            Err(error) if is_status(&error, 403) => Ok(None),
            Err(source) => {
                let name = reference.name.clone();
                Err(SecretError::Unreadable { name, source: Box::new(source) }.into())
            }
        }
    }

    /// Removes the webhook of a connection that is being deleted. Returns the time of the next attempt if Lever is not
    /// available.
    pub async fn finalize(
        &self,
        connection: &mut Arc<LeverConnection>,
        url: &str,
    ) -> Result<Option<Instant>, ReconcileError> {
        if !has_finalizer(connection) {
            return Ok(None);
        }
        let ObjectKey { namespace, name } = ObjectKey::from_object(&**connection);
        let account = match self.context.service_clients.unconfirmed(connection).await {
            // contract C14: when a namespace is deleted, the Secret may be deleted first. Use the key in memory.
            Err(error) => match self.context.service_clients.last(connection) {
                Some(account) if is_gone(&error) => Ok(account),
                _ => Err(error),
            },
            account => account,
        };
        let result = match account {
            Ok(account) => {
                WebhookReconcile { context: &self.context, lever: &account.lever, url }
                    .remove(connection)
                    .await
            }
            Err(ServiceClientError::Secret { source, .. })
                if diagnosis::diagnose_secret(&source, &namespace).is_none() =>
            {
                return Err(source.into());
            }
            // Without a key, the operator cannot remove the webhook.
            Err(error) => {
                tracing::warn!(%namespace, connection = %name, %error, "webhook remains in Lever: no API key");
                remove_finalizer(&self.context, connection).await
            }
        };
        let diagnosis = match result {
            Ok(()) => return Ok(None),
            Err(WebhookError::Failure(failure)) => return Err(failure),
            Err(WebhookError::Diagnosed(diagnosis)) => diagnosis,
        };
        let (_, tried_before) = self.state(connection);
        self.fail(connection, diagnosis.clone());
        if tried_before.is_none() {
            let note = deletion_blocked(&namespace, &name, &diagnosis);
            self.context.publish_warning(&connection.object_ref(&()), diagnosis.reason.as_str(), &note).await;
        }
        Ok(self.state(connection).1)
    }

    fn fail(&self, connection: &LeverConnection, diagnosis: Diagnosis) {
        let ObjectKey { namespace, name } = ObjectKey::from_object(connection);
        tracing::warn!(%namespace, connection = %name, reason = diagnosis.reason.as_str(), "failed to reconcile the webhook in Lever");
        let interval = schedule::interval(connection);
        self.entry(connection, |entry| entry.fail(diagnosis, interval, Instant::now()));
    }

    fn entry<T>(&self, connection: &LeverConnection, use_it: impl FnOnce(&mut WebhookEntry) -> T) -> T {
        let mut entries = self.entries.lock();
        let entry = entries.entry(ObjectKey::from_object(connection)).or_default();
        if entry.uid != connection.uid() {
            *entry = WebhookEntry { uid: connection.uid(), ..WebhookEntry::default() };
        }
        use_it(entry)
    }
}

/// Returns the note of the Event about a deletion that waits for Lever.
fn deletion_blocked(namespace: &str, name: &str, diagnosis: &Diagnosis) -> String {
    format!(
        "The deletion is blocked until the webhook is removed from Lever: {} The operator retries automatically. To \
         delete without removing the webhook, remove the finalizer {}: kubectl --namespace {namespace} edit \
         leverconnection {name}",
        diagnosis::sentence(&diagnosis.message),
        names::WEBHOOK_FINALIZER
    )
}

/// Reports whether a Secret or its key is gone.
fn is_gone(error: &ServiceClientError) -> bool {
    let ServiceClientError::Secret { source, .. } = error else { return false };
    match source {
        SecretError::NotFound { .. } | SecretError::KeyMissing { .. } => true,
        // The Role may be deleted with the namespace.
        SecretError::Unreadable { source, .. } => is_status(source, 403),
        SecretError::NotText { .. } => false,
    }
}

/// Reports whether a webhook may exist that must be removed.
pub fn has_finalizer(connection: &LeverConnection) -> bool {
    connection.finalizers().iter().any(|one| one == names::WEBHOOK_FINALIZER)
}
