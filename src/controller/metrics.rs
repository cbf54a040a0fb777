//! Numbers about what the leader does. Labels come from closed sets, but for the names of connections that there are.

use crate::controller::runtime::ReconcileError;
use crate::k8s::patch::WriteError;
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
struct ConnectionLabels {
    namespace: String,
    connection: String,
}

/// How a Pad came to its pad.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// It was made in this pass.
    Created,
    /// It was there already: found by a search, or behind a link on the candidate.
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

/// How a pass ended that the API server failed.
const FAILURE_OUTCOMES: [&str; 2] = ["write_failed", "secret_unreadable"];
/// How a sync ended that walked all to the end, and one that did not.
const SYNC_OUTCOMES: [&str; 2] = ["ok", "broken_off"];

/// What the leader counts; a cheap handle.
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
    last_sync: Family<ConnectionLabels, Gauge<f64, AtomicU64>>,
}

impl ControllerMetrics {
    /// Makes the metrics and registers them by their full names; the registry must have no prefix of its own.
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
            last_sync: Family::default(),
        };
        // What has not happened yet is told as 0: the first time would else not be seen to be an increase.
        for origin in [Origin::Created, Origin::Adopted] {
            drop(metrics.pads.get_or_create(&OriginLabels { origin: origin.label() }));
        }
        for outcome in SYNC_OUTCOMES {
            drop(metrics.syncs.get_or_create(&OutcomeLabels { outcome }));
        }
        registry.register(
            "pad_operator_leader",
            "1 on the replica that reconciles, else 0",
            metrics.leader.clone(),
        );
        registry.register(
            "pad_operator_reconciles",
            "Passes over an object by how they ended",
            metrics.reconciles.clone(),
        );
        registry.register(
            "pad_operator_reconcile_seconds",
            "How long passes over an object took",
            metrics.reconcile_seconds.clone(),
        );
        registry.register(
            "pad_operator_reconciles_waiting",
            "Pads that wait because --concurrency others are at work",
            metrics.waiting.clone(),
        );
        registry.register(
            "pad_operator_pads_stored",
            "Pads whose pad at CoderPad was stored, by where it came from",
            metrics.pads.clone(),
        );
        registry.register(
            "pad_operator_create_outcomes_unknown",
            "Creations at CoderPad whose answer was lost, and that are searched for",
            metrics.unknown.clone(),
        );
        registry.register("pad_operator_webhook_to_link_seconds", "From the stage change in Lever to the link on the candidate, for candidates who get a pad at once", metrics.webhook_to_link.clone());
        registry.register(
            "pad_operator_syncs",
            "Walks over both services' lists by how they ended",
            metrics.syncs.clone(),
        );
        registry.register(
            "pad_operator_sync_seconds",
            "How long walks over both services' lists took",
            metrics.sync_seconds.clone(),
        );
        registry.register(
            "pad_operator_sync_walks_cut",
            "Walks over CoderPad's pads that were too long for one sync and continue with the next",
            metrics.walks_cut.clone(),
        );
        registry.register(
            "pad_operator_last_sync_timestamp_seconds",
            "When a connection was last walked to the end",
            metrics.last_sync.clone(),
        );
        metrics
    }

    /// This replica reconciles from now on.
    pub fn set_leader(&self) {
        self.leader.set(1);
    }

    /// A pass over an object of a kind has ended.
    pub(super) fn observe_reconcile(&self, kind: &str, failure: Option<&ReconcileError>, took: Duration) {
        let labels = |outcome| PassLabels { kind: kind.to_owned(), outcome };
        // The first failure of a kind is then seen to be an increase.
        if failure.is_none() {
            FAILURE_OUTCOMES.iter().for_each(|outcome| drop(self.reconciles.get_or_create(&labels(outcome))));
        }
        let outcome = match failure {
            None => "ok",
            Some(ReconcileError::Write(WriteError::Conflict { .. })) => "conflict",
            Some(ReconcileError::Write(WriteError::Gone)) => "gone",
            Some(ReconcileError::Write(WriteError::Api(_) | WriteError::Json(_))) => FAILURE_OUTCOMES[0],
            Some(ReconcileError::Secret(_)) => FAILURE_OUTCOMES[1],
        };
        self.reconciles.get_or_create(&labels(outcome)).inc();
        self.reconcile_seconds
            .get_or_create(&KindLabels { kind: kind.to_owned() })
            .observe(took.as_secs_f64());
    }

    /// A Pad waits until others are done; it does no more when the guard is dropped.
    pub(super) fn track_waiting(&self) -> WaitingGauge {
        self.waiting.inc();
        WaitingGauge(self.waiting.clone())
    }

    /// The id of a pad at CoderPad was stored.
    pub(super) fn inc_pads_stored(&self, origin: Origin) {
        self.pads.get_or_create(&OriginLabels { origin: origin.label() }).inc();
    }

    /// The answer to a creation was lost.
    pub(super) fn inc_outcomes_unknown(&self) {
        self.unknown.inc();
    }

    /// A candidate who was moved at this time has the link now.
    pub(super) fn observe_link(&self, moved_at: Timestamp) {
        let took = Timestamp::now().duration_since(moved_at).as_secs_f64();
        self.webhook_to_link.observe(took.max(0.0));
    }

    /// A sync has ended. `complete`: it walked all to the end.
    pub(crate) fn observe_sync(&self, namespace: &str, connection: &str, complete: bool, took: Duration) {
        let outcome = SYNC_OUTCOMES[usize::from(!complete)];
        self.syncs.get_or_create(&OutcomeLabels { outcome }).inc();
        self.sync_seconds.observe(took.as_secs_f64());
        if complete {
            let now = Timestamp::now().as_duration().as_secs_f64();
            self.last_sync.get_or_create(&labels(namespace, connection)).set(now);
        }
    }

    /// A walk over CoderPad's pads was too long for one sync.
    pub(crate) fn inc_scans_cut(&self) {
        self.walks_cut.inc();
    }

    /// A connection is gone.
    pub(super) fn forget(&self, namespace: &str, connection: &str) {
        self.last_sync.remove(&labels(namespace, connection));
    }
}

/// A Pad that waits.
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
