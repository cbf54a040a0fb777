//! Managed webhooks: the operator registers the webhook in Lever, stores its token, and removes the webhook.
//! The webhook is reconciled after each probe that Lever answers; a change of the Secret makes a probe due. `reconcile`
//! executes a pass, `plan` decides its commands, `token_secret` reads and writes the Secret, and `token_ledger` maps
//! tokens to webhooks.

mod plan;
mod reconcile;
mod token_ledger;
mod token_secret;

use super::diagnosis::{self, Diagnosis, Remedy};
use super::observe::Probe;
use crate::controller::Context;
use crate::controller::runtime::ReconcileError;
use crate::controller::service_clients::{ServiceClientError, ServiceClients};
use crate::k8s::ObjectKey;
use crate::k8s::patch::is_status;
use crate::k8s::secrets::SecretError;
use api::connection::WebhookMode;
use api::{LeverConnection, names};
use http_client::Priority;
use kube::ResourceExt;
use reconcile::{WebhookError, WebhookReconcile, remove_finalizer};
use std::sync::Arc;

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

/// Registers the webhook, or removes it if the mode is no longer Managed. Requires that Lever has just answered a probe.
/// `before` is the last state, `url` is status.webhookURL. Writes of the connection replace `connection`.
pub async fn reconcile(
    context: &Context,
    connection: &mut Arc<LeverConnection>,
    account: &ServiceClients,
    url: &str,
    before: WebhookState,
) -> Result<Probe<WebhookState>, ReconcileError> {
    let lever = account.lever.with_priority(Priority::Poll);
    let pass = WebhookReconcile { context, lever: &lever, url };
    let result = match connection.spec.webhook.mode {
        WebhookMode::Managed => pass.register(connection).await.map(|id| WebhookState::Registered { id }),
        _ if has_finalizer(connection) => pass.remove(connection).await.map(|()| WebhookState::Manual),
        _ => Ok(WebhookState::Manual),
    };
    match result {
        Ok(facts) => Ok(Probe { facts, diagnosis: None }),
        Err(WebhookError::Diagnosed(diagnosis)) => Ok(failed(connection, before, diagnosis)),
        Err(WebhookError::Failure(failure)) => Err(failure),
    }
}

/// Returns the state after a failure. After a transient one, a registered webhook still counts as registered.
fn failed(connection: &LeverConnection, before: WebhookState, diagnosis: Diagnosis) -> Probe<WebhookState> {
    let ObjectKey { namespace, name } = ObjectKey::from_object(connection);
    tracing::warn!(%namespace, connection = %name, reason = diagnosis.reason.as_str(), "failed to reconcile the webhook in Lever");
    let stays = diagnosis.remedy == Remedy::Retry && matches!(before, WebhookState::Registered { .. });
    let facts = if stays { before } else { WebhookState::Failed(diagnosis.clone()) };
    Probe { facts, diagnosis: Some(diagnosis) }
}

/// Removes the webhook of a connection that is being deleted. Returns the problem if it could not be removed.
pub async fn finalize(
    context: &Context,
    connection: &mut Arc<LeverConnection>,
    url: &str,
) -> Result<Option<Probe<WebhookState>>, ReconcileError> {
    if !has_finalizer(connection) {
        return Ok(None);
    }
    let ObjectKey { namespace, name } = ObjectKey::from_object(&**connection);
    let account = match context.service_clients.unconfirmed(connection).await {
        // contract C14: when a namespace is deleted, the Secret may be deleted first. Use the key in memory.
        Err(error) => match context.service_clients.last(connection) {
            Some(account) if is_gone(&error) => Ok(account),
            _ => Err(error),
        },
        account => account,
    };
    let result = match account {
        Ok(account) => WebhookReconcile { context, lever: &account.lever, url }.remove(connection).await,
        Err(ServiceClientError::Secret { source, .. })
            if diagnosis::diagnose_secret(&source, &namespace).is_none() =>
        {
            return Err(source.into());
        }
        // Without a key, the operator cannot remove the webhook.
        Err(error) => {
            tracing::warn!(%namespace, connection = %name, %error, "webhook remains in Lever: no API key");
            remove_finalizer(context, connection).await
        }
    };
    match result {
        Ok(()) => Ok(None),
        Err(WebhookError::Failure(failure)) => Err(failure),
        Err(WebhookError::Diagnosed(diagnosis)) => {
            Ok(Some(failed(connection, WebhookState::Unknown, diagnosis)))
        }
    }
}

/// Returns the note of the Event about a deletion that waits for Lever.
pub fn deletion_blocked(namespace: &str, name: &str, diagnosis: &Diagnosis) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use api::reason::ConnectionReason;
    use serde_json::json;

    #[test]
    fn a_registered_webhook_stays_registered_after_a_transient_failure() {
        let connection: LeverConnection = serde_json::from_value(json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "LeverConnection", "metadata": {"name": "acme"},
            "spec": {"lever": {"apiKeySecretRef": {"name": "acme", "key": "l"}},
                "interview": {"apiKeySecretRef": {"name": "acme", "key": "i"}}},
        }))
        .unwrap();
        let diagnosis = |remedy| Diagnosis {
            remedy,
            ..Diagnosis::for_webhook(ConnectionReason::WebhookNotListed, "message".into())
        };
        let after = |before: &WebhookState, remedy| {
            let probe = failed(&connection, before.clone(), diagnosis(remedy));
            assert_eq!(probe.diagnosis, Some(diagnosis(remedy)));
            probe.facts
        };
        let registered = WebhookState::Registered { id: "w-1".into() };
        assert_eq!(after(&registered, Remedy::Retry), registered);
        for (before, remedy) in [
            (WebhookState::Unknown, Remedy::Retry),
            (registered.clone(), Remedy::UserAction),
            (registered, Remedy::Ambiguous),
        ] {
            assert_eq!(after(&before, remedy), WebhookState::Failed(diagnosis(remedy)));
        }
    }
}
