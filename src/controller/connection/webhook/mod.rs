//! Managed webhooks: the operator registers the webhook in Lever, keeps its token, and takes it away again.
//!
//! It is looked after with every probe, and when the Secret changes ([`WebhookController`]). What a pass does is in `reconcile`, what
//! there is to do in `plan`; the Secret is in `tokens`, and which token is whose in `book`.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;
mod token_ledger;
mod tokens;

use super::diagnosis::{self, Diagnosis, Remedy};
use crate::api::connection::WebhookMode;
use crate::api::{LeverConnection, names};
use crate::controller::runtime::ReconcileError;
use crate::controller::service_clients::{ServiceClientError, ServiceClients};
use crate::controller::{Context, schedule};
use crate::k8s::in_time;
use crate::k8s::patch::is_status;
use crate::k8s::secrets::SecretError;
use crate::transport::Priority;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Resource, ResourceExt};
use parking_lot::Mutex;
use reconcile::{WebhookError, WebhookReconcile, remove_finalizer};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A Secret that somebody keeps changing makes no more work than this.
const AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// The reason of a Secret that the operator must not write: the connection is not Ready.
pub const SECRET_NOT_OWNED: &str = "SecretNotOwned";

/// How the webhook of a connection stands.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum WebhookState {
    /// Not looked at yet.
    #[default]
    Unknown,
    /// It is for a person to care for.
    Manual,
    /// It is in Lever, and its token in the Secret.
    Registered {
        /// Its id.
        id: String,
    },
    /// Something keeps it from that.
    Failed(Diagnosis),
}

/// What is remembered of a connection's webhook. It may be lost.
#[derive(Debug, Default)]
struct WebhookEntry {
    uid: Option<String>,
    state: WebhookState,
    /// The Secret's version after the last look.
    secret: Option<String>,
    failures: u32,
    began: Option<Instant>,
    /// When to look again, if not with the next probe.
    next: Option<Instant>,
}

impl WebhookEntry {
    /// Whether to look now: Lever has just answered a probe, the Secret has another version than after the last look, or
    /// the pause after a failure is over. If so, the look has begun.
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

    /// What passes leaves a webhook that was there: as far as is known it still is.
    fn fail(&mut self, trouble: Diagnosis, interval: Option<Duration>, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.next = trouble
            .is_transient()
            .then(|| now + schedule::after_failures(self.failures, interval, trouble.retry_after));
        if trouble.remedy != Remedy::Retry || !matches!(self.state, WebhookState::Registered { .. }) {
            self.state = WebhookState::Failed(trouble);
        }
    }
}

/// Cares for the webhooks of all connections.
pub struct WebhookController {
    context: Arc<Context>,
    entries: Mutex<HashMap<(String, String), WebhookEntry>>,
}

impl WebhookController {
    /// Nothing is known yet.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, entries: Mutex::default() }
    }

    /// How the webhook stands by what is remembered, and when to look again before the next probe.
    pub fn state(&self, connection: &LeverConnection) -> (WebhookState, Option<Instant>) {
        self.entry(connection, |entry| (entry.state.clone(), entry.next))
    }

    /// The connection is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.entries.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Looks after the webhook, if that is due. `url` is status.webhookURL, `probed` whether Lever has just answered a
    /// probe. Returns whether it did; the connection is replaced by what it is then.
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
            Err(WebhookError::Trouble(trouble)) => self.fail(connection, trouble),
            Err(WebhookError::Failure(failure)) => {
                self.entry(connection, |entry| entry.next = Some(Instant::now()));
                return Err(failure);
            }
        }
        let secret = self.secret_version(connection).await?;
        self.entry(connection, |entry| entry.secret = secret);
        Ok(true)
    }

    /// The version of the Secret for the tokens; None, if there is none, or it may not be read.
    async fn secret_version(&self, connection: &LeverConnection) -> Result<Option<String>, ReconcileError> {
        let Some(reference) = &connection.spec.webhook.signing_token_secret_ref else { return Ok(None) };
        let secrets: Api<Secret> =
            Api::namespaced(self.context.client.clone(), &connection.namespace().unwrap_or_default());
        match in_time(secrets.get_metadata_opt(&reference.name)).await {
            Ok(secret) => Ok(secret.and_then(|secret| secret.resource_version())),
            Err(error) if is_status(&error, 403) => Ok(None),
            Err(source) => {
                let name = reference.name.clone();
                Err(SecretError::Unreadable { name, source: Box::new(source) }.into())
            }
        }
    }

    /// The connection is being deleted: removes the webhook. Returns when to try again, if Lever cannot be asked now.
    pub async fn finalize(
        &self,
        connection: &mut Arc<LeverConnection>,
        url: &str,
    ) -> Result<Option<Instant>, ReconcileError> {
        if !has_finalizer(connection) {
            return Ok(None);
        }
        let (namespace, name) = key(connection);
        let account = match self.context.accounts.unconfirmed(connection).await {
            // contract C14: with a namespace, the Secret may go first. The key in memory is as good.
            Err(error) => match self.context.accounts.last(connection) {
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
                if diagnosis::of_secret(&source, &namespace).is_none() =>
            {
                return Err(source.into());
            }
            // Without a key there is nobody who could remove it.
            Err(error) => {
                tracing::warn!(%namespace, connection = %name, %error, "the webhook stays in Lever");
                remove_finalizer(&self.context, connection).await
            }
        };
        let trouble = match result {
            Ok(()) => return Ok(None),
            Err(WebhookError::Failure(failure)) => return Err(failure),
            Err(WebhookError::Trouble(trouble)) => trouble,
        };
        let (_, tried_before) = self.state(connection);
        self.fail(connection, trouble.clone());
        if tried_before.is_none() {
            let note = format!(
                "The deletion waits until the webhook is removed from Lever: {} It is tried again by itself. To let \
                 go without, take the finalizer {} off.",
                diagnosis::sentence(&trouble.message),
                names::WEBHOOK_FINALIZER
            );
            self.context.publish_warning(&connection.object_ref(&()), trouble.reason, &note).await;
        }
        Ok(self.state(connection).1)
    }

    fn fail(&self, connection: &LeverConnection, trouble: Diagnosis) {
        let (namespace, name) = key(connection);
        tracing::warn!(%namespace, connection = %name, reason = trouble.reason, "the webhook in Lever could not be looked after");
        let interval = schedule::interval(connection);
        self.entry(connection, |entry| entry.fail(trouble, interval, Instant::now()));
    }

    fn entry<T>(&self, connection: &LeverConnection, use_it: impl FnOnce(&mut WebhookEntry) -> T) -> T {
        let mut entries = self.entries.lock();
        let entry = entries.entry(key(connection)).or_default();
        if entry.uid != connection.uid() {
            *entry = WebhookEntry { uid: connection.uid(), ..WebhookEntry::default() };
        }
        use_it(entry)
    }
}

fn key(connection: &LeverConnection) -> (String, String) {
    (connection.namespace().unwrap_or_default(), connection.name_any())
}

/// Whether a key is not there any more.
fn is_gone(error: &ServiceClientError) -> bool {
    let ServiceClientError::Secret { source, .. } = error else { return false };
    match source {
        SecretError::NotFound { .. } | SecretError::KeyMissing { .. } => true,
        // The rights in a namespace go with it, too.
        SecretError::Unreadable { source, .. } => is_status(source, 403),
        SecretError::NotText { .. } => false,
    }
}

/// Whether there may be a webhook to remove.
pub fn has_finalizer(connection: &LeverConnection) -> bool {
    connection.finalizers().iter().any(|one| one == names::WEBHOOK_FINALIZER)
}
