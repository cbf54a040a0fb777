//! Webhooks of an account, and the deliveries of their events.

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    pub id: String,
    pub event: String,
    pub url: String,
    pub signature_token: String,
    pub origins: Vec<String>,
    pub created_at: i64,
    /// API key that created it; `None` = created by a person, out of the API's reach.
    pub created_by: Option<String>,
}

/// Misbehaviour of deliveries; none by default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct DeliveryBehaviour {
    /// Number of deliveries of each event.
    pub copies: usize,
    /// Whether events are lost: listed, but never sent.
    pub drop: bool,
    /// Whether events are held until they are released, in any order.
    pub hold: bool,
    /// Whether bodies have the optional `id`.
    pub with_id: bool,
    /// Delay before events are sent.
    pub delay_milliseconds: u64,
}

impl Default for DeliveryBehaviour {
    fn default() -> Self {
        Self { copies: 1, drop: false, hold: false, with_id: true, delay_milliseconds: 0 }
    }
}

/// Attempt to deliver.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// Time of sending, in milliseconds since the epoch.
    pub at: i64,
    /// Status of the response.
    pub status: Option<u16>,
    /// Body of the response, at most 4 KiB.
    pub answer: String,
    /// Reason why there was no response.
    pub error: Option<String>,
}

impl Attempt {
    /// Reports whether Lever counts it as received: any 2xx.
    #[must_use]
    pub fn received(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// State of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DeliveryOutcome {
    /// Being sent, or waiting for the next attempt.
    Pending,
    /// Waiting for [`release_deliveries`](crate::LeverSimulator::release_deliveries).
    Held,
    /// Lost on purpose.
    Dropped,
    /// Acknowledged with 2xx.
    Received,
    /// Not received by the last attempt.
    GivenUp,
}

/// Event sent to one webhook, as the settings page lists it.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    /// Sequence number from zero.
    pub number: usize,
    /// ID of the webhook.
    pub webhook: String,
    /// Target URL.
    pub url: String,
    /// Event.
    pub event: String,
    /// Body, the same for each attempt and each rerun.
    pub body: Value,
    /// Attempts so far.
    pub attempts: Vec<Attempt>,
    /// State.
    pub outcome: DeliveryOutcome,
}
