//! Records on a connection that a correctly signed request has arrived, so that the leader, which may be another
//! replica, can set WebhookVerified to True.

use crate::telemetry::traces::span_definitions;
use api::reason::ConnectionReason::{AwaitingVerification, ClockSkew, DeliveryMissed, SignatureMismatch};
use api::{FIELD_MANAGER, LeverConnection, condition};
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Minimum age of the recorded time before it is written again.
const LAST_DELIVERY_VALIDITY: SignedDuration = SignedDuration::from_mins(5);
/// Delay between two writes of this process for one connection, while the cache does not contain the first yet.
const LAST_DELIVERY_WRITE_INTERVAL: Duration = Duration::from_secs(30);
/// Maximum time for the write. Lever waits for the response meanwhile.
const LAST_DELIVERY_WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Namespace and name of a connection, and the delivery that it is waiting for.
type DeliveryKey = (String, String, Option<PendingVerification>);

/// Reason and start of the wait for a delivery, and the ID of the webhook if the operator manages it. The time has
/// whole seconds: without the ID, two waits that begin within the same second would be equal.
type PendingVerification = (String, Timestamp, Option<String>);

/// Recorder of deliveries, with a limited number of writes.
pub struct LastDelivery {
    client: Client,
    noted: Mutex<HashMap<DeliveryKey, Instant>>,
}

impl LastDelivery {
    /// Creates a recorder that has not recorded anything.
    pub fn new(client: Client) -> Self {
        Self { client, noted: Mutex::default() }
    }

    /// Records that a signed request for the connection arrived, if the recorded time is stale or the connection is
    /// waiting for one. The response to Lever does not depend on the result.
    pub async fn note(&self, connection: &LeverConnection, now: Timestamp) {
        if !is_news(connection, now) || !self.is_due(connection) {
            return;
        }
        let namespace = connection.namespace().unwrap_or_default();
        let connections: Api<LeverConnection> = Api::namespaced(self.client.clone(), &namespace);
        let patch = Patch::Merge(json!({"status": {"lastWebhookAt": now}}));
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let name = connection.name_any();
        let noting = connections.patch_status(&name, &parameters, &patch);
        let noting = span_definitions::write("patch status of LeverConnection", &namespace, &name, noting);
        if !matches!(timeout(LAST_DELIVERY_WRITE_TIMEOUT, noting).await, Ok(Ok(_))) {
            tracing::warn!(namespace, connection = name, "could not note that a signed webhook arrived");
        }
    }

    fn is_due(&self, connection: &LeverConnection) -> bool {
        let now = Instant::now();
        let mut noted = self.noted.lock();
        noted.retain(|_, at| now.duration_since(*at) < LAST_DELIVERY_WRITE_INTERVAL);
        let key = (connection.namespace().unwrap_or_default(), connection.name_any(), wait(connection));
        let is_due = !noted.contains_key(&key);
        noted.entry(key).or_insert(now);
        is_due
    }
}

fn is_news(connection: &LeverConnection, now: Timestamp) -> bool {
    let last = connection.status.as_ref().and_then(|status| status.last_webhook_at);
    wait(connection).is_some() || last.is_none_or(|last| now.duration_since(last) > LAST_DELIVERY_VALIDITY)
}

/// Returns the pending verification of the connection, if it waits for a delivery: one was missed, or the webhook has
/// changed. The next delivery ends the wait, so it is recorded even directly after another write.
fn wait(connection: &LeverConnection) -> Option<PendingVerification> {
    let status = connection.status.as_ref()?;
    let verified = condition::find(&status.conditions, condition::types::WEBHOOK_VERIFIED)?;
    let reasons = [AwaitingVerification, DeliveryMissed, SignatureMismatch, ClockSkew];
    let waits = reasons.iter().any(|reason| verified.reason == *reason);
    waits.then(|| (verified.reason.clone(), verified.last_transition_time, status.webhook_id.clone()))
}
