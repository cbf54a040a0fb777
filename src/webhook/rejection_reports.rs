//! Shows on a connection why requests that resemble Lever's are refused: signed with a token that is not in the Secret,
//! or signed and timely for Lever but not for the operator's clock.
//!
//! An unsigned request must not cost anything (contract W3). The only exception is one status write per 5 minutes, and
//! only while the connection waits for its first signed request (contract C7). The same write contains the condition,
//! so that the leader has nothing to add.

use crate::controller::connection::status;
use crate::telemetry::traces::span_definitions;
use api::connection::WebhookRefusal;
use api::reason::ConnectionReason::{ClockSkew, SignatureMismatch};
use api::{FIELD_MANAGER, LeverConnection, condition};
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Minimum time between two writes, and between two log lines, for one connection.
const REJECTION_REPORT_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Minimum time between two writes of all processes, based on the status.
const REJECTION_VALIDITY: SignedDuration = SignedDuration::from_mins(5);
/// Delay before a retry after the API server refused a write, for example one of two at the same time.
const REJECTION_RETRY_DELAY: Duration = Duration::from_secs(30);
/// Maximum time for the write. Lever waits for the response meanwhile.
const REJECTION_WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Namespace and name of a connection, and the reason.
type RejectionKey = (String, String, &'static str);

/// Reporter of rejected requests, in the status of the LeverConnection and in the log: at most once in 5 minutes for
/// each LeverConnection and reason.
pub struct RejectionReporter {
    client: Client,
    next: Mutex<HashMap<RejectionKey, Instant>>,
}

impl RejectionReporter {
    /// Creates a reporter that has not reported anything.
    pub fn new(client: Client) -> Self {
        Self { client, next: Mutex::default() }
    }

    /// Reports a request that has Lever's format, but is not signed with a known token.
    pub async fn mismatch(&self, connection: &LeverConnection, now: Timestamp) {
        // An unsigned request never changes a connection that has received signed requests.
        if is_verified(connection) || !self.is_due(connection, SignatureMismatch.as_str()) {
            return;
        }
        self.write(
            connection,
            WebhookRefusal { reason: SignatureMismatch.into(), at: Some(now), ahead: None },
            now,
        )
        .await;
    }

    /// Reports a signed request that was refused, because it is `ahead` seconds ahead of the operator's clock.
    pub async fn ahead(&self, connection: &LeverConnection, now: Timestamp, ahead: i64) {
        if !self.is_due(connection, ClockSkew.as_str()) {
            return;
        }
        let (namespace, name) = (connection.namespace().unwrap_or_default(), connection.name_any());
        tracing::warn!(
            namespace,
            connection = name,
            ahead_seconds = ahead,
            "refused signed webhook: the operator's clock is behind Lever's; check the time of the node"
        );
        self.write(
            connection,
            WebhookRefusal { reason: ClockSkew.into(), at: Some(now), ahead: Some(ahead) },
            now,
        )
        .await;
    }

    /// Reports a signed request that was refused, because it is too old. Anybody who has seen one can repeat it, so
    /// only the log contains it.
    pub fn outdated(&self, connection: &LeverConnection) {
        if self.is_due(connection, "outdated") {
            let (namespace, name) = (connection.namespace().unwrap_or_default(), connection.name_any());
            tracing::warn!(
                namespace,
                connection = name,
                "refused signed webhook: it is over 15 days old; if it is not, the operator's clock is ahead"
            );
        }
    }

    async fn write(&self, connection: &LeverConnection, refusal: WebhookRefusal, now: Timestamp) {
        let before = connection.status.as_ref().and_then(|status| status.webhook_refusal.as_ref());
        if before
            .and_then(|before| before.at)
            .is_some_and(|at| now.duration_since(at).abs() < REJECTION_VALIDITY)
        {
            return;
        }
        let Some(conditions) = status::refusing(connection, &refusal, now) else { return };
        let (namespace, name) = (connection.namespace().unwrap_or_default(), connection.name_any());
        let connections: Api<LeverConnection> = Api::namespaced(self.client.clone(), &namespace);
        // The write is conditional on the version that was read: only one of two replicas writes, and no newer
        // condition is overwritten.
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": connection.resource_version()},
            "status": {"webhookRefusal": refusal, "conditions": conditions},
        }));
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let writing = connections.patch_status(&name, &parameters, &patch);
        let writing = span_definitions::write("patch status of LeverConnection", &namespace, &name, writing);
        if !matches!(timeout(REJECTION_WRITE_TIMEOUT, writing).await, Ok(Ok(_))) {
            let of_this = |key: &RejectionKey| key.0 == namespace && key.1 == name;
            let until = Instant::now() + REJECTION_RETRY_DELAY;
            let mut next = self.next.lock();
            next.iter_mut().filter(|(key, _)| of_this(key)).for_each(|(_, next)| *next = until);
        }
    }

    fn is_due(&self, connection: &LeverConnection, reason: &'static str) -> bool {
        let now = Instant::now();
        let mut next = self.next.lock();
        next.retain(|_, next| *next > now);
        let key = (connection.namespace().unwrap_or_default(), connection.name_any(), reason);
        let is_due = !next.contains_key(&key);
        next.entry(key).or_insert(now + REJECTION_REPORT_INTERVAL);
        is_due
    }
}

fn is_verified(connection: &LeverConnection) -> bool {
    connection
        .status
        .as_ref()
        .is_none_or(|status| condition::is_true(&status.conditions, condition::types::WEBHOOK_VERIFIED))
}
