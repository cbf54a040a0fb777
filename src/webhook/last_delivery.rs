//! Notes on a connection that a correctly signed request has arrived, so that the leader, which may be another
//! replica, can turn WebhookVerified True.

use crate::api::{FIELD_MANAGER, LeverConnection, condition};
use crate::controller::connection::status::{
    AWAITING_VERIFICATION, CLOCK_SKEW, DELIVERY_MISSED, SIGNATURE_MISMATCH,
};
use crate::telemetry::traces::spans;
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// A note that is younger than this is good enough.
const LAST_DELIVERY_VALIDITY: SignedDuration = SignedDuration::from_mins(5);
/// Between two notes of this process on one connection, while the cache does not show the first yet.
const LAST_DELIVERY_WRITE_INTERVAL: Duration = Duration::from_secs(30);
/// Lever waits for the answer meanwhile.
const LAST_DELIVERY_WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Namespace and name of a connection, and for what delivery it waits.
type DeliveryKey = (String, String, Option<PendingVerification>);

/// Why a connection waits for a delivery, since when, and the id of the webhook if the operator manages it. The time is
/// in whole seconds: alone it does not tell two waits apart that begin within one.
type PendingVerification = (String, Timestamp, Option<String>);

/// Notes deliveries, at most one now and then.
pub struct LastDelivery {
    client: Client,
    noted: Mutex<HashMap<DeliveryKey, Instant>>,
}

impl LastDelivery {
    /// Nothing noted yet.
    pub fn new(client: Client) -> Self {
        Self { client, noted: Mutex::default() }
    }

    /// Notes that a signed request for the connection arrived, if that is news. Lever's answer does not depend on it.
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
        let noting = spans::write("patch status of LeverConnection", &namespace, &name, noting);
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

/// What the connection says of its wait for a delivery, if it waits: because one was missed, or because the webhook is
/// another one now. That ends with the next one, which is news even just after a note.
fn wait(connection: &LeverConnection) -> Option<PendingVerification> {
    let status = connection.status.as_ref()?;
    let verified = condition::find(&status.conditions, condition::types::WEBHOOK_VERIFIED)?;
    let reasons = [AWAITING_VERIFICATION, DELIVERY_MISSED, SIGNATURE_MISMATCH, CLOCK_SKEW];
    let waits = reasons.contains(&verified.reason.as_str());
    waits.then(|| (verified.reason.clone(), verified.last_transition_time, status.webhook_id.clone()))
}
