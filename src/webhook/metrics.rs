//! Metrics of deliveries. The label values are the closed set of outcomes.

use super::response::OUTCOME_NAMES;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    outcome: &'static str,
}

/// Counter of deliveries by outcome; a cheap handle.
#[derive(Clone, Debug)]
pub struct WebhookMetrics {
    webhooks: Family<WebhookLabels, Counter>,
}

impl WebhookMetrics {
    /// Creates the metric and registers it by its full name; the registry must not have a prefix.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self { webhooks: Family::default() };
        // Outcomes start at 0: Prometheus would otherwise not recognize the first rejection as an increase.
        for outcome in OUTCOME_NAMES {
            drop(metrics.webhooks.get_or_create(&WebhookLabels { outcome }));
        }
        registry.register(
            "pad_operator_webhooks",
            "Requests to the webhook endpoint by how they were answered",
            metrics.webhooks.clone(),
        );
        metrics
    }

    pub(super) fn answered(&self, outcome: &'static str) {
        self.webhooks.get_or_create(&WebhookLabels { outcome }).inc();
    }
}
