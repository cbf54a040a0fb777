//! Metrics of the leader. Label values come from closed sets, except the names of existing connections.

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
    kind: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OriginLabels {
    origin: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListLabels {
    list: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    namespace: String,
    connection: String,
}

/// Origin of the pad of a Pad.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The pad was created in this pass.
    Created,
    /// The pad already existed: found by a search, or by a link on the candidate.
    Adopted,
}

impl Origin {
    fn label(self) -> &'static str {
        match self {
            Origin::Created => "created",
            Origin::Adopted => "adopted",
        }
    }
}

/// Lists that may differ from the other answers of their service: Lever's list by tag, and CoderPad's list of changed
/// pads.
const LIST_DIFFERENCES: [&str; 2] = [TAG_FILTER, CHANGED_PADS];
/// Lever's list of opportunities by tag.
pub const TAG_FILTER: &str = "tag_filter";
/// CoderPad's list of changed pads.
pub const CHANGED_PADS: &str = "changed_pads";
/// Outcome of a pass without an error.
pub const SUCCEEDED: &str = "ok";
/// Outcome of a pass that could not write an object.
pub const WRITE_FAILED: &str = "write_failed";
/// Outcome of a pass that could not read a Secret.
pub const SECRET_UNREADABLE: &str = "secret_unreadable";
/// Outcomes of a sync: complete and incomplete.
const SYNC_OUTCOMES: [&str; 2] = ["ok", "broken_off"];

/// Metrics of the leader; cheap to clone.
#[derive(Clone, Debug)]
pub struct ControllerMetrics {
    leader: Gauge,
    reconciles: Family<PassLabels, Counter>,
    reconcile_seconds: Family<KindLabels, Histogram>,
    waiting: Gauge,
    pads: Family<OriginLabels, Counter>,
    unknown: Counter,
    webhook_to_link: Histogram,
    syncs: Family<OutcomeLabels, Counter>,
    sync_seconds: Histogram,
    walks_cut: Counter,
    list_differences: Family<ListLabels, Counter>,
    last_sync: Family<ConnectionLabels, Gauge<f64, AtomicU64>>,
}

impl ControllerMetrics {
    /// Creates the metrics and registers them by their full names. The registry must have no prefix.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            leader: Gauge::default(),
            reconciles: Family::default(),
            reconcile_seconds: Family::new_with_constructor(pass_buckets),
            waiting: Gauge::default(),
            pads: Family::default(),
            unknown: Counter::default(),
            webhook_to_link: Histogram::new([
                0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
            ]),
            syncs: Family::default(),
            sync_seconds: Histogram::new([0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]),
            walks_cut: Counter::default(),
            list_differences: Family::default(),
            last_sync: Family::default(),
        };
        // Pre-register every label, so that `increase()` sees the first event.
        for origin in [Origin::Created, Origin::Adopted] {
            drop(metrics.pads.get_or_create(&OriginLabels { origin: origin.label() }));
        }
        for list in LIST_DIFFERENCES {
            drop(metrics.list_differences.get_or_create(&ListLabels { list }));
        }
        for outcome in SYNC_OUTCOMES {
            drop(metrics.syncs.get_or_create(&OutcomeLabels { outcome }));
        }
        registry.register(
            "pad_operator_leader",
            "1 on the leader, 0 on other replicas",
            metrics.leader.clone(),
        );
        registry.register(
            "pad_operator_reconciles",
            "Number of reconciles by kind and outcome",
            metrics.reconciles.clone(),
        );
        registry.register(
            "pad_operator_reconcile_seconds",
            "Duration of reconciles by kind",
            metrics.reconcile_seconds.clone(),
        );
        registry.register(
            "pad_operator_reconciles_waiting",
            "Number of Pads that wait because of the --concurrency limit",
            metrics.waiting.clone(),
        );
        registry.register(
            "pad_operator_pads_stored",
            "Number of Pads whose pad in CoderPad was stored, by origin",
            metrics.pads.clone(),
        );
        registry.register(
            "pad_operator_create_outcomes_unknown",
            "Number of create requests to CoderPad without a response, whose pad is searched for",
            metrics.unknown.clone(),
        );
        registry.register("pad_operator_webhook_to_link_seconds", "Time from the stage change in Lever to the link on the candidate, for pads that are created without waiting", metrics.webhook_to_link.clone());
        registry.register("pad_operator_syncs", "Number of syncs by outcome", metrics.syncs.clone());
        registry.register("pad_operator_sync_seconds", "Duration of syncs", metrics.sync_seconds.clone());
        registry.register(
            "pad_operator_sync_walks_cut",
            "Number of scans of CoderPad's pads that exceeded one sync and continue with the next",
            metrics.walks_cut.clone(),
        );
        registry.register(
            "pad_operator_list_differences",
            "Differences between a list and the other answers of a service, by list",
            metrics.list_differences.clone(),
        );
        registry.register(
            "pad_operator_last_sync_timestamp_seconds",
            "Time of the last complete sync of a connection",
            metrics.last_sync.clone(),
        );
        metrics
    }

    /// Marks this replica as the leader.
    pub fn set_leader(&self) {
        self.leader.set(1);
    }

    /// Records the outcome and duration of a pass.
    pub(super) fn observe_reconcile(&self, kind: &str, outcome: &'static str, took: Duration) {
        let labels = |outcome| PassLabels { kind: kind.to_owned(), outcome };
        // Pre-register the failures, so that `increase()` sees the first one.
        for failure in [WRITE_FAILED, SECRET_UNREADABLE] {
            drop(self.reconciles.get_or_create(&labels(failure)));
        }
        self.reconciles.get_or_create(&labels(outcome)).inc();
        self.reconcile_seconds
            .get_or_create(&KindLabels { kind: kind.to_owned() })
            .observe(took.as_secs_f64());
    }

    /// Counts a waiting Pad until the guard is dropped.
    pub(super) fn track_waiting(&self) -> WaitingGauge {
        self.waiting.inc();
        WaitingGauge(self.waiting.clone())
    }

    /// Counts a Pad whose pad ID was stored.
    pub(super) fn inc_pads_stored(&self, origin: Origin) {
        self.pads.get_or_create(&OriginLabels { origin: origin.label() }).inc();
    }

    /// Counts a create request without a response.
    pub(super) fn inc_outcomes_unknown(&self) {
        self.unknown.inc();
    }

    /// Records the time from a stage change to the link on the candidate.
    pub(super) fn observe_link(&self, moved_at: Timestamp) {
        let took = Timestamp::now().duration_since(moved_at).as_secs_f64();
        self.webhook_to_link.observe(took.max(0.0));
    }

    /// Records the outcome and duration of a sync. `complete` is set if all scans were completed.
    pub(crate) fn observe_sync(&self, namespace: &str, connection: &str, complete: bool, took: Duration) {
        let outcome = SYNC_OUTCOMES[usize::from(!complete)];
        self.syncs.get_or_create(&OutcomeLabels { outcome }).inc();
        self.sync_seconds.observe(took.as_secs_f64());
        if complete {
            let now = Timestamp::now().as_duration().as_secs_f64();
            self.last_sync.get_or_create(&labels(namespace, connection)).set(now);
        }
    }

    /// Counts a scan of CoderPad's pads that exceeded one sync.
    pub(crate) fn inc_scans_cut(&self) {
        self.walks_cut.inc();
    }

    /// Counts a difference between a list and the other answers of a service.
    pub(crate) fn inc_list_differences(&self, list: &'static str) {
        self.list_differences.get_or_create(&ListLabels { list }).inc();
    }

    /// Removes the metrics of a deleted connection.
    pub(super) fn forget(&self, namespace: &str, connection: &str) {
        self.last_sync.remove(&labels(namespace, connection));
    }
}

/// Guard of a waiting Pad.
pub(super) struct WaitingGauge(Gauge);

impl Drop for WaitingGauge {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn labels(namespace: &str, connection: &str) -> ConnectionLabels {
    ConnectionLabels { namespace: namespace.to_owned(), connection: connection.to_owned() }
}

fn pass_buckets() -> Histogram {
    Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0])
}
