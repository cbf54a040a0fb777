//! Reconciles a connection's webhook: observes, executes the planned command, and repeats until nothing is left to do.
//!
//! A write may take effect although its response is lost. Then the pass ends, and the next one observes the result in
//! Lever's list and in the Secret.

use super::super::diagnosis::{self, Diagnosis, Remedy};
use super::has_finalizer;
use super::plan::{KnownWebhook, WebhookCommand, WebhookInputs, owned_webhooks, plan};
use super::token_secret::{TokenError, TokenSecret};
use crate::controller::Context;
use crate::controller::runtime::ReconcileError;
use crate::k8s::ObjectKey;
use crate::k8s::patch::{MetadataChange, WriteError, is_status, write_metadata};
use crate::k8s::secrets::SecretError;
use api::reason::ConnectionReason;
use api::{LeverConnection, SecretKeyRef, names};
use http_client::{ErrorKind, ServiceError};
use jiff::Timestamp;
use kube::ResourceExt;
use lever::{self, LeverClient, STAGE_CHANGE_EVENT, Webhook};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Maximum number of commands in one pass; more than any pass needs.
const MAX_WEBHOOK_STEPS: usize = 64;

/// Dependencies of a pass.
pub struct WebhookReconcile<'a> {
    /// The leader's context.
    pub context: &'a Context,
    /// The connection's Lever account.
    pub lever: &'a LeverClient,
    /// status.webhookURL.
    pub url: &'a str,
}

/// Error that ended a pass early.
pub enum WebhookError {
    /// A problem in Lever, or one that requires user action.
    Diagnosed(Diagnosis),
    /// An error of the API server.
    Failure(ReconcileError),
}

impl From<Diagnosis> for WebhookError {
    fn from(diagnosis: Diagnosis) -> Self {
        Self::Diagnosed(diagnosis)
    }
}

impl From<TokenError> for WebhookError {
    fn from(error: TokenError) -> Self {
        let text = error.to_string();
        match error {
            TokenError::Conflict => Self::Failure(WriteError::Conflict { now: None }.into()),
            TokenError::Api { source, .. } if is_status(&source, 403) => not_permitted(&text).into(),
            TokenError::Api { source, .. } if is_status(&source, 422) => {
                let message = format!(
                    "{} Set spec.webhook.signingTokenSecretRef to another Secret.",
                    diagnosis::sentence(&text)
                );
                Diagnosis::for_webhook(ConnectionReason::SecretNotWritable, message).into()
            }
            TokenError::Api { source, .. } => Self::Failure(WriteError::Api(source).into()),
        }
    }
}

impl From<WriteError> for WebhookError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Api(source) if is_status(&source, 403) => {
                not_permitted(&format!("The connection could not be written: {source}")).into()
            }
            error => Self::Failure(error.into()),
        }
    }
}

/// Returns the diagnosis of a write that the API server rejects with 403. The chart grants write access only if managed
/// webhooks are enabled.
fn not_permitted(error: &str) -> Diagnosis {
    let message = format!(
        "{} Managed webhooks require additional permissions: set managedWebhooks.enabled to true in the values of \
         the operator's chart, or use spec.webhook.mode: Manual.",
        diagnosis::sentence(error)
    );
    Diagnosis::for_webhook(ConnectionReason::ManagedWebhooksDisabled, message)
}

impl WebhookReconcile<'_> {
    /// Ensures that exactly one webhook exists for the URL and that the Secret contains its token. Returns its ID.
    pub async fn register(&self, connection: &mut Arc<LeverConnection>) -> Result<String, WebhookError> {
        let reference = self.secret_for(connection)?;
        // Read the Secret before the list: if another process stores the token of a webhook in between, the claim fails.
        let mut secret = self.read(connection, &reference).await?;
        if !secret.is_ours() {
            return Err(not_owned(&reference, "it lacks the label").into());
        }
        let (mut listed, mut claimed) = (self.list(connection).await?, false);
        for _ in 0..MAX_WEBHOOK_STEPS {
            let recorded = secret.recorded();
            let facts = WebhookInputs {
                url: self.url,
                listed: &listed,
                named: connection.status.as_ref().and_then(|status| status.webhook_id.as_deref()),
                recorded: &recorded,
                finalizer: has_finalizer(connection),
                claimed,
            };
            match plan(&facts) {
                WebhookCommand::Settled(id) => {
                    let is_unconfirmed = recorded.iter().any(|one| one.id == id && !one.listed);
                    // Once per webhook: if it is missing later, it was removed and must be created again.
                    if is_unconfirmed && self.list(connection).await?.iter().any(|one| one.id == id) {
                        secret.confirm(&id).await?;
                    }
                    return Ok(id);
                }
                WebhookCommand::NotListed(id) => {
                    return Err(not_listed(connection, &reference, self.url, &id).into());
                }
                WebhookCommand::AddFinalizer => set_finalizer(self.context, connection, true).await?,
                WebhookCommand::Claim => {
                    secret.claim().await?;
                    claimed = true;
                }
                WebhookCommand::Register => listed.push(self.make(connection, &mut secret).await?),
                WebhookCommand::Delete(id) => {
                    self.delete(connection, &id).await.map_err(|error| diagnose_lever(&error, connection))?;
                    listed.retain(|one| one.id != id);
                }
            }
        }
        Err(TokenError::Conflict.into())
    }

    async fn list(&self, connection: &LeverConnection) -> Result<Vec<Webhook>, Diagnosis> {
        self.lever.webhooks().await.map_err(|error| diagnose_lever(&error, connection))
    }

    /// Removes the webhooks of the connection from Lever, their tokens from the Secret, and the finalizer. A key
    /// without the permission for that does not block the removal.
    pub async fn remove(&self, connection: &mut Arc<LeverConnection>) -> Result<(), WebhookError> {
        let mut secret = match &connection.spec.webhook.signing_token_secret_ref {
            Some(reference) => match TokenSecret::read(&self.context.client, connection, reference).await {
                Ok(secret) => Some(secret),
                Err(error) if is_status(&error, 403) => None,
                Err(error) => return Err(WebhookError::Failure(unreadable(reference, error))),
            },
            None => None,
        };
        let recorded = secret.as_ref().map(TokenSecret::recorded).unwrap_or_default();
        match self.remove_from_lever(connection, &recorded).await {
            Ok(()) => {}
            Err(error) => match error.class {
                ErrorKind::Unauthorized | ErrorKind::Forbidden | ErrorKind::NotFound | ErrorKind::Invalid => {
                    let ObjectKey { namespace, name } = ObjectKey::from_object(&**connection);
                    let class = error.class.label();
                    tracing::warn!(%namespace, connection = %name, class, "webhook remains in Lever: the API key is not allowed to remove it");
                }
                ErrorKind::Throttled | ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => {
                    return Err(diagnose_lever(&error, connection).into());
                }
            },
        }
        if let Some(secret) = &mut secret {
            match secret.clear().await {
                Err(TokenError::Api { source, .. }) if is_status(&source, 403) => {}
                cleared => cleared?,
            }
        }
        remove_finalizer(self.context, connection).await
    }

    async fn remove_from_lever(
        &self,
        connection: &LeverConnection,
        recorded: &[KnownWebhook],
    ) -> Result<(), ServiceError> {
        let named = connection.status.as_ref().and_then(|status| status.webhook_id.as_deref());
        let listed = self.lever.webhooks().await?;
        for webhook in owned_webhooks(&listed, Some(self.url), named, recorded) {
            self.delete(connection, &webhook.id).await?;
        }
        // Lever lists webhooks per API key, so an unlisted webhook may still exist.
        let unseen = recorded.iter().filter(|one| !one.listed).map(|one| one.id.as_str()).chain(named);
        for id in unseen.collect::<BTreeSet<_>>() {
            if listed.iter().all(|one| one.id != id) {
                self.delete(connection, id).await?;
            }
        }
        Ok(())
    }

    /// Creates a webhook and stores its token.
    async fn make(
        &self,
        connection: &LeverConnection,
        secret: &mut TokenSecret,
    ) -> Result<Webhook, WebhookError> {
        let new = self.lever.create_webhook(self.url).await.map_err(|error| match error.class {
            ErrorKind::Invalid => refused(&error),
            _ => diagnose_lever(&error, connection),
        })?;
        let ObjectKey { namespace, name } = ObjectKey::from_object(connection);
        tracing::info!(%namespace, connection = %name, webhook = %new.id, "registered a webhook in Lever");
        match secret.store(&new.id, &new.token).await {
            Ok(()) => {}
            Err(TokenError::Conflict) => {
                // Another process has changed the Secret, so the token of this webhook is lost. If this deletion fails,
                // the next pass deletes the webhook.
                self.delete(connection, &new.id).await.ok();
                return Err(TokenError::Conflict.into());
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Webhook {
            id: new.id,
            url: self.url.to_owned(),
            event: STAGE_CHANGE_EVENT.to_owned(),
            created_at_ms: Some(Timestamp::now().as_millisecond()),
        })
    }

    async fn delete(&self, connection: &LeverConnection, id: &str) -> Result<(), ServiceError> {
        match self.lever.delete_webhook(id).await {
            Ok(()) => {
                let ObjectKey { namespace, name } = ObjectKey::from_object(connection);
                tracing::info!(%namespace, connection = %name, webhook = %id, "deleted a webhook in Lever");
                Ok(())
            }
            Err(error) if error.class == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the Secret key for the tokens.
    fn secret_for(&self, connection: &LeverConnection) -> Result<SecretKeyRef, Diagnosis> {
        let Some(reference) = connection.spec.webhook.signing_token_secret_ref.clone() else {
            return Err(no_secret());
        };
        let namespace = connection.namespace().unwrap_or_default();
        let holds_key = |other: &Arc<LeverConnection>| {
            let spec = &other.spec;
            [&spec.lever.api_key_secret_ref, &spec.interview.api_key_secret_ref]
                .iter()
                .any(|key| key.name == reference.name)
        };
        let connections = self.context.scope.connections.in_namespace(&namespace);
        if let Some(other) = connections.iter().find(|other| holds_key(other)) {
            let why = format!("it contains an API key of LeverConnection {}", other.name_any());
            return Err(not_owned(&reference, &why));
        }
        if !self.url.contains("://") {
            return Err(no_public_url(self.url));
        }
        Ok(reference)
    }

    async fn read(
        &self,
        connection: &LeverConnection,
        reference: &SecretKeyRef,
    ) -> Result<TokenSecret, WebhookError> {
        let read = TokenSecret::read(&self.context.client, connection, reference).await;
        read.map_err(|error| {
            let error = SecretError::Unreadable { name: reference.name.clone(), source: Box::new(error) };
            match diagnosis::diagnose_secret(&error, &connection.namespace().unwrap_or_default()) {
                Some((reason, hint)) => {
                    let message =
                        diagnosis::sentence(&format!("spec.webhook.signingTokenSecretRef: {error}{hint}"));
                    let diagnosis = Diagnosis::for_webhook(reason, message);
                    // Retried, because nothing reports that the operator may read the Secret now.
                    Diagnosis { remedy: Remedy::Ambiguous, ..diagnosis }.into()
                }
                None => WebhookError::Failure(error.into()),
            }
        })
    }
}

/// Removes the finalizer.
pub async fn remove_finalizer(
    context: &Context,
    connection: &mut Arc<LeverConnection>,
) -> Result<(), WebhookError> {
    set_finalizer(context, connection, false).await
}

async fn set_finalizer(
    context: &Context,
    connection: &mut Arc<LeverConnection>,
    present: bool,
) -> Result<(), WebhookError> {
    let change = MetadataChange::default().finalizer(names::WEBHOOK_FINALIZER, present);
    *connection = Arc::new(write_metadata(&context.client, connection.as_ref(), &change).await?);
    Ok(())
}

fn refused(error: &ServiceError) -> Diagnosis {
    let error = diagnosis::sentence(&error.to_string());
    let message = format!(
        "{error} Lever accepts only https URLs that it can reach: check the operator's --public-url."
    );
    Diagnosis::for_webhook(ConnectionReason::WebhookRefused, message)
}

fn no_secret() -> Diagnosis {
    let message = "spec.webhook.signingTokenSecretRef is not set. Set it to a Secret name and a key: the operator \
                   creates the Secret and stores the signature token in it.";
    Diagnosis::for_webhook(ConnectionReason::SigningTokenMissing, message.into())
}

fn no_public_url(path: &str) -> Diagnosis {
    let message = format!(
        "The public URL of the operator is not set, so no webhook is registered. Set --public-url (publicURL in the \
         values of the chart), or use spec.webhook.mode: Manual and the path {path}."
    );
    Diagnosis::for_webhook(ConnectionReason::PublicURLMissing, message)
}

fn not_owned(reference: &SecretKeyRef, why: &str) -> Diagnosis {
    let message = format!(
        "spec.webhook.signingTokenSecretRef: the operator must not write to Secret {}, because {why}. Set the field \
         to a Secret that does not exist yet, or to a dedicated one with the label app.kubernetes.io/managed-by: \
         pad-operator.",
        reference.name
    );
    Diagnosis::for_webhook(ConnectionReason::SecretNotOwned, message)
}

/// Returns the diagnosis for a webhook that the operator created but Lever does not list. The operator cannot check
/// such a webhook, and creates no further one (contract C15).
fn not_listed(connection: &LeverConnection, secret: &SecretKeyRef, url: &str, id: &str) -> Diagnosis {
    let ObjectKey { namespace, name } = ObjectKey::from_object(connection);
    let message = format!(
        "Lever does not list webhook {id}, which the operator registered. The operator registers no further webhook. \
         In Lever's settings, under Integrations and API, Webhooks, search for {url} and keep at most one webhook. \
         If there is none, or if it does not work, remove it and let the operator register a new one: kubectl \
         annotate secret {} -n {namespace} {}{name}-",
        secret.name,
        names::WEBHOOKS_PREFIX,
    );
    Diagnosis::for_webhook(ConnectionReason::WebhookNotListed, message)
}

fn diagnose_lever(error: &ServiceError, connection: &LeverConnection) -> Diagnosis {
    let permission = diagnosis::lever_permission(lever::permission(error.operation));
    diagnosis::diagnose_call(error, &connection.spec.lever.api_key_secret_ref, &permission)
}

fn unreadable(reference: &SecretKeyRef, error: kube::Error) -> ReconcileError {
    SecretError::Unreadable { name: reference.name.clone(), source: Box::new(error) }.into()
}

#[cfg(test)]
#[path = "messages.rs"]
mod messages;
