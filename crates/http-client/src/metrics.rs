//! Metrics of the calls to the two services. The values of every label come from a closed set.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::rate_limit::Priority;
use services::{ErrorKind, Service, SurpriseKind};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    service: &'static str,
    operation: &'static str,
    outcome: &'static str,
    priority: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    service: &'static str,
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OddLabels {
    service: &'static str,
    operation: &'static str,
    part: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SurpriseLabels {
    service: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: &'static str,
}

/// Counters and histograms of the calls. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct TransportMetrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<OperationLabels, Histogram>,
    wait: Family<ServiceLabels, Histogram>,
    odd: Family<OddLabels, Counter>,
    surprises: Family<SurpriseLabels, Counter>,
}

impl TransportMetrics {
    /// Creates the metrics and registers them by their full names. The registry must have no prefix of its own.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(request_buckets),
            wait: Family::new_with_constructor(wait_buckets),
            odd: Family::default(),
            surprises: Family::default(),
        };
        // Creates the series with 0, so that Prometheus sees the first surprise as an increase.
        for service in [Service::Lever, Service::Interview] {
            SurpriseKind::ALL.iter().for_each(|kind| metrics.surprise(service, *kind, 0));
        }
        registry.register(
            "pad_operator_service_requests",
            "Calls to Lever and the Interview API by how they ended",
            metrics.requests.clone(),
        );
        registry.register(
            "pad_operator_service_request_seconds",
            "How long calls to Lever and the Interview API took",
            metrics.seconds.clone(),
        );
        registry.register(
            "pad_operator_service_rate_limit_wait_seconds",
            "How long calls waited for the rate limit before they were made",
            metrics.wait.clone(),
        );
        registry.register(
            "pad_operator_service_odd_parts",
            "Rows left out and members dropped from answers because they cannot be read",
            metrics.odd.clone(),
        );
        registry.register(
            "pad_operator_service_surprises",
            "Differences between the answers of a service and its documentation, by kind",
            metrics.surprises.clone(),
        );
        metrics
    }

    pub(super) fn request(
        &self,
        service: Service,
        operation: &'static str,
        outcome: &'static str,
        priority: Priority,
        took: Duration,
    ) {
        let (service_of, service) = (service, service.label());
        let priority = priority.label();
        let labels = |outcome| RequestLabels { service, operation, outcome, priority };
        // Creates the series with 0, so that Prometheus sees the first 429 as an increase.
        drop(self.requests.get_or_create(&labels(ErrorKind::Throttled.label())));
        self.requests.get_or_create(&labels(outcome)).inc();
        if operation.starts_with("GET ") {
            // Creates the series with 0, so that Prometheus sees the first odd row as an increase.
            for part in ["row", "member"] {
                self.odd(service_of, operation, part, 0);
            }
        }
        self.seconds.get_or_create(&OperationLabels { service, operation }).observe(took.as_secs_f64());
    }

    pub(super) fn odd(&self, service: Service, operation: &'static str, part: &'static str, count: u64) {
        self.odd.get_or_create(&OddLabels { service: service.label(), operation, part }).inc_by(count);
    }

    pub(super) fn surprise(&self, service: Service, kind: SurpriseKind, count: u64) {
        let labels = SurpriseLabels { service: service.label(), kind: kind.label() };
        self.surprises.get_or_create(&labels).inc_by(count);
    }

    pub(super) fn wait(&self, service: Service, waited: Duration) {
        self.wait.get_or_create(&ServiceLabels { service: service.label() }).observe(waited.as_secs_f64());
    }
}

fn request_buckets() -> Histogram {
    Histogram::new([0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

fn wait_buckets() -> Histogram {
    Histogram::new([0.001, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0])
}
