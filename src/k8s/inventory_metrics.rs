//! Metrics about the objects in the cluster, computed from the caches at each scrape. Every replica reports them.

use super::Caches;
use api::condition::{Status, find, types};
use api::pad::Phase;
use api::reason::Reason;
use api::{HasConditions, LeverConnection, Pad};
use jiff::Timestamp;
use kube::ResourceExt;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::collections::BTreeMap;
use std::fmt;

/// Reason label of a Pad that was not reconciled yet.
const UNOBSERVED_REASON: &str = "NotLookedAt";

/// Collector of metrics about Pads, connections and configurations.
pub struct InventoryMetrics {
    caches: Caches,
}

impl InventoryMetrics {
    /// Creates the collector for all watched scopes.
    pub fn new(caches: Caches) -> Self {
        Self { caches }
    }

    fn connections(&self) -> Vec<std::sync::Arc<LeverConnection>> {
        self.caches.scopes().iter().flat_map(|scope| scope.connections.all()).collect()
    }

    /// Returns the number of Pads in each phase.
    fn phases(&self) -> BTreeMap<&'static str, i64> {
        let mut counts: BTreeMap<&str, i64> =
            ["Pending", "Open", "Started", "Ended", "Skipped", "Failed"].map(|phase| (phase, 0)).into();
        for scope in self.caches.scopes() {
            scope.pads.all().iter().for_each(|pad| *counts.entry(phase(pad)).or_default() += 1);
        }
        counts
    }

    /// Returns, for each reason of waiting Pads, the time since which the longest-waiting Pad waits.
    fn waiting_since(&self) -> BTreeMap<&'static str, Timestamp> {
        let mut longest = BTreeMap::new();
        for scope in self.caches.scopes() {
            for (reason, since) in scope.pads.all().iter().filter_map(|pad| waits(pad)) {
                let known = longest.entry(reason).or_insert(since);
                *known = since.min(*known);
            }
        }
        longest
    }

    /// Returns the number of objects that do not decode, by kind and effect.
    fn undecodable(&self) -> BTreeMap<[&'static str; 2], i64> {
        let mut counts = BTreeMap::new();
        for scope in self.caches.scopes() {
            let of_kinds = [
                ("LeverConnection", scope.connections.undecodable()),
                ("PadConfiguration", scope.configurations.undecodable()),
                ("Pad", scope.pads.undecodable()),
            ];
            for (kind, (skipped, partly)) in of_kinds {
                for (effect, count) in [("skipped", skipped), ("partly", partly)] {
                    *counts.entry([kind, effect]).or_insert(0) += i64::try_from(count).unwrap_or(i64::MAX);
                }
            }
        }
        counts
    }

    /// Returns the number of configurations that are Ready, and of the others.
    fn configurations(&self) -> [(&'static str, i64); 2] {
        let mut counts = [("true", 0), ("false", 0)];
        for rule in self.caches.scopes().iter().flat_map(|scope| scope.configurations.all()) {
            counts[usize::from(!is_ready(rule.as_ref()))].1 += 1;
        }
        counts
    }
}

impl fmt::Debug for InventoryMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}

/// Returns the phase of a Pad. A Pad that was not reconciled yet counts as Pending.
fn phase(pad: &Pad) -> &'static str {
    match pad.phase() {
        None | Some(Phase::Pending) => "Pending",
        Some(Phase::Open) => "Open",
        Some(Phase::Started) => "Started",
        Some(Phase::Ended) => "Ended",
        Some(Phase::Skipped) => "Skipped",
        Some(Phase::Failed) => "Failed",
    }
}

/// Returns the reason and the start of a Pad's waiting time, if it waits. The time does not restart when the reason
/// changes.
fn waits(pad: &Pad) -> Option<(&'static str, Timestamp)> {
    let made = pad.metadata.creation_timestamp.as_ref()?.0;
    match pad.phase() {
        None => Some((UNOBSERVED_REASON, made)),
        Some(Phase::Pending) => {
            let ready = find(pad.conditions(), types::READY)?;
            // An unknown reason does not become a label: another writer may have set it.
            Some((Reason::parse(&ready.reason)?.as_str(), ready.last_transition_time))
        }
        Some(Phase::Open | Phase::Started | Phase::Ended | Phase::Skipped | Phase::Failed) => None,
    }
}

fn is_ready(object: &impl HasConditions) -> bool {
    find(object.conditions(), types::READY).is_some_and(|ready| ready.status == Status::True)
}

impl Collector for InventoryMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = MetricType::Gauge;
        let mut family = encoder.encode_descriptor("pad_operator_pads", "Pads by phase", None, gauge)?;
        for (phase, count) in self.phases() {
            ConstGauge::new(count).encode(family.encode_family(&[("phase", phase)])?)?;
        }
        let help = "Since when the Pad waits that has waited longest for this reason";
        let name = "pad_operator_pads_waiting_since_timestamp_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, gauge)?;
        for (reason, since) in self.waiting_since() {
            ConstGauge::new(since.as_second()).encode(family.encode_family(&[("reason", reason)])?)?;
        }
        let help = "PadConfigurations by whether they are Ready";
        let mut family = encoder.encode_descriptor("pad_operator_configurations", help, None, gauge)?;
        for (ready, count) in self.configurations() {
            ConstGauge::new(count).encode(family.encode_family(&[("ready", ready)])?)?;
        }
        let help = "Objects that do not decode (skipped) or of which fields are ignored (partly)";
        let name = "pad_operator_undecodable_objects";
        let mut family = encoder.encode_descriptor(name, help, None, gauge)?;
        for ([kind, effect], count) in self.undecodable() {
            let labels = [("kind", kind), ("effect", effect)];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        let help = "Whether the API server refuses to list or watch a kind";
        let mut family = encoder.encode_descriptor("pad_operator_watch_refused", help, None, gauge)?;
        for scope in self.caches.scopes() {
            for (kind, _, refusal) in scope.kinds() {
                let namespace = scope.namespace.clone().unwrap_or_default();
                let labels = [("namespace", namespace), ("kind", kind.to_owned())];
                let is_refused = ConstGauge::new(i64::from(refusal.is_some()));
                is_refused.encode(family.encode_family(&labels)?)?;
            }
        }
        let connections = self.connections();
        let is_verified = |connection: &LeverConnection| {
            let verified = find(connection.conditions(), types::WEBHOOK_VERIFIED);
            verified.is_some_and(|one| one.status == Status::True)
        };
        let quota = |connection: &LeverConnection| connection.status.as_ref()?.quota.clone();
        let interval = |connection: &LeverConnection| {
            let interval = connection.polling_interval().filter(|_| !connection.spec.suspend)?;
            i64::try_from(interval.as_secs()).ok()
        };
        let mut tell = |name, help, value: &dyn Fn(&LeverConnection) -> Option<i64>| {
            let mut family = encoder.encode_descriptor(name, help, None, gauge)?;
            for connection in &connections {
                let Some(value) = value(connection) else { continue };
                let labels = [
                    ("namespace", connection.namespace().unwrap_or_default()),
                    ("connection", connection.name_any()),
                ];
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
            Ok(())
        };
        tell("pad_operator_connection_ready", "Whether a LeverConnection is Ready", &|one| {
            Some(i64::from(is_ready(one)))
        })?;
        let help = "Whether the newest webhook of a LeverConnection arrived and was signed rightly; absent with mode None";
        tell("pad_operator_webhook_verified", help, &|one| {
            one.has_webhook().then(|| i64::from(is_verified(one)))
        })?;
        let help = "Pads left in the CoderPad plan; absent where it has no limit";
        tell("pad_operator_quota_remaining", help, &|one| quota(one)?.remaining)?;
        let help = "Pads of a billing cycle of the CoderPad plan; absent where it has no limit";
        tell("pad_operator_quota_limit", help, &|one| quota(one)?.limit)?;
        let help =
            "How often a connection is synced by the clock; absent where it is suspended or only asked";
        tell("pad_operator_sync_interval_seconds", help, &interval)
    }
}
