//! Outgoing webhooks: signing, five retries, the list of deliveries, and delivery failures.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use serde::Serialize;
use serde_json::{Value, json};

use super::Lever;
use super::model::Opportunity;
use super::webhooks::{Attempt, Delivery, DeliveryOutcome, Webhook};
use crate::common::{hex, lock, now_ms, token48, uuid};

/// Returns the signature that Lever puts into a webhook's body. It covers the token and the time, not the data.
#[must_use]
pub fn signature(signature_token: &str, token: &str, triggered_at: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, signature_token.as_bytes());
    hex(hmac::sign(&key, format!("{token}{triggered_at}").as_bytes()).as_ref())
}

/// Result that the Verify button shows.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyResult {
    /// Status of the response; `None` if there was no response.
    pub status: Option<u16>,
    /// Body of the response.
    pub answer: String,
    /// Whether the page shows success.
    pub verified: bool,
}

pub(crate) fn envelope(webhook: &Webhook, event: &str, data: Value, with_id: bool) -> Value {
    let (token, at) = (token48(), now_ms());
    let mut body = json!({"triggeredAt": at, "event": event, "data": data, "token": token});
    if let Some(fields) = body.as_object_mut() {
        if !webhook.signature_token.is_empty() {
            fields.insert("signature".into(), json!(signature(&webhook.signature_token, &token, at)));
        }
        if with_id {
            fields.insert("id".into(), json!(uuid()));
        }
    }
    body
}

impl Lever {
    /// Delivers an event to each webhook that is registered for it. Returns the numbers of the deliveries.
    pub(crate) fn fire(
        self: &Arc<Self>,
        event: &str,
        opportunity: &Opportunity,
        mut data: Value,
    ) -> Vec<usize> {
        if let Some(fields) = data.as_object_mut() {
            fields.insert("opportunityId".into(), json!(opportunity.id));
            fields.insert("candidateId".into(), json!(opportunity.id));
            fields.insert("contactId".into(), json!(opportunity.contact));
        }
        let mut model = lock(&self.model);
        let behaviour = model.behaviour.clone();
        let switched_on = model.switched_on.contains(event);
        let concerned = |webhook: &&Webhook| {
            switched_on && webhook.event == event && webhook.origins.contains(&opportunity.origin)
        };
        let webhooks: Vec<Webhook> = model.webhooks.iter().filter(concerned).cloned().collect();
        let mut numbers = Vec::new();
        for webhook in webhooks {
            let body = envelope(&webhook, event, data.clone(), behaviour.with_id);
            for _ in 0..behaviour.copies {
                let number = model.deliveries.len();
                let outcome = match (behaviour.drop, behaviour.hold) {
                    (true, _) => DeliveryOutcome::Dropped,
                    (false, true) => DeliveryOutcome::Held,
                    (false, false) => DeliveryOutcome::Pending,
                };
                model.deliveries.push(Delivery {
                    number,
                    webhook: webhook.id.clone(),
                    url: webhook.url.clone(),
                    event: event.to_owned(),
                    body: body.clone(),
                    attempts: Vec::new(),
                    outcome,
                });
                if outcome == DeliveryOutcome::Pending {
                    self.spawn_delivery(number, Duration::from_millis(behaviour.delay_milliseconds));
                }
                numbers.push(number);
            }
        }
        numbers
    }

    /// Sends held deliveries, oldest or newest first, each after the response to the previous one.
    pub(crate) async fn release(self: &Arc<Self>, newest_first: bool) {
        let mut held = Vec::new();
        for delivery in lock(&self.model).deliveries.iter_mut() {
            if delivery.outcome == DeliveryOutcome::Held {
                delivery.outcome = DeliveryOutcome::Pending;
                held.push(delivery.number);
            }
        }
        if newest_first {
            held.reverse();
        }
        for number in held {
            self.clone().deliver(number, Duration::ZERO).await;
        }
    }

    pub(crate) fn spawn_delivery(self: &Arc<Self>, number: usize, delay: Duration) {
        let lever = Arc::clone(self);
        self.runtime.spawn(async move {
            let life = lever.life.clone();
            tokio::select! {
                () = life.cancelled() => {}
                () = lever.deliver(number, delay) => {}
            }
        });
    }

    async fn deliver(self: Arc<Self>, number: usize, delay: Duration) {
        tokio::time::sleep(delay).await;
        let found = lock(&self.model)
            .deliveries
            .get(number)
            .map(|delivery| (delivery.url.clone(), delivery.body.clone()));
        let Some((url, body)) = found else { return };
        let pauses = self.options.retry_delays.iter().copied().map(Some).chain([None]);
        for pause in pauses {
            let attempt = self.post(&url, body.to_string().into_bytes()).await;
            let received = attempt.received();
            let outcome = match (received, pause) {
                (true, _) => DeliveryOutcome::Received,
                (false, Some(_)) => DeliveryOutcome::Pending,
                (false, None) => DeliveryOutcome::GivenUp,
            };
            if let Some(delivery) = lock(&self.model).deliveries.get_mut(number) {
                delivery.attempts.push(attempt);
                delivery.outcome = outcome;
            }
            self.progress.send_modify(|version| *version += 1);
            match pause {
                Some(pause) if !received => tokio::time::sleep(pause).await,
                _ => return,
            }
        }
    }

    pub(crate) async fn post(&self, url: &str, body: Vec<u8>) -> Attempt {
        let at = now_ms();
        let request = self
            .client
            .post(self.full_url(url))
            .header("user-agent", "Lever-Webhooks")
            .header("content-type", "application/json")
            .timeout(self.options.webhook_timeout)
            .body(body);
        let answered = async {
            let response = request.send().await?;
            let status = response.status().as_u16();
            Ok::<_, reqwest::Error>((status, response.text().await.unwrap_or_default()))
        };
        match answered.await {
            Ok((status, answer)) => {
                let answer = answer.chars().take(4 << 10).collect();
                Attempt { at, status: Some(status), answer, error: None }
            }
            Err(error) => {
                Attempt { at, status: None, answer: String::new(), error: Some(format!("{error:?}")) }
            }
        }
    }

    /// Returns the URL with a scheme. Lever accepts a URL without one and then uses https.
    fn full_url(&self, url: &str) -> String {
        match url.contains("://") {
            true => url.to_owned(),
            false if self.options.assume_http => format!("http://{url}"),
            false => format!("https://{url}"),
        }
    }
}
