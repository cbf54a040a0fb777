//! Metrics as Prometheus reads them, and their complete description in docs/metrics.md.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use simulators::{Fault, NewCandidate};
use tokio::process::Command;

use crate::cluster::{Output, run, source};
use crate::environment::{Options, TestEnv};

/// Kind and labels of each metric, by name.
pub type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

/// Parses a response of `/metrics`.
fn parse(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap();
            metrics.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let (sample, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
            let whose = metrics.iter_mut().rfind(|(metric, _)| name.starts_with(metric.as_str()));
            let (_, (_, known)) = whose.unwrap_or_else(|| panic!("{name} has no type"));
            let names = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            known.extend(names.filter(|label| label != "le"));
        }
    }
    metrics
}

/// Returns the metrics that docs/metrics.md lists.
pub fn documented() -> Metrics {
    let page = std::fs::read_to_string(source("docs/metrics.md")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        let kind = cells.get(2)?.split(',').next()?.to_owned();
        let labels = cells.get(3)?.split('`').skip(1).step_by(2).map(ToOwned::to_owned);
        Some((name.to_owned(), (kind, labels.collect())))
    };
    page.lines().filter_map(row).collect()
}

/// Returns the values that docs/metrics.md lists for labels, by metric and label.
fn listed() -> BTreeMap<(String, String), BTreeSet<String>> {
    let page = std::fs::read_to_string(source("docs/metrics.md")).unwrap();
    let mut listed = BTreeMap::new();
    for cells in page.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>()) {
        let [_, name, _, labels, ..] = cells[..] else { continue };
        for (label, values) in labels.split("; ").filter_map(|label| label.split_once(": ")) {
            let values = values.split(", ").map(|value| value.split(' ').next().unwrap().to_owned());
            listed.insert((name.replace('`', ""), label.replace('`', "")), values.collect());
        }
    }
    listed
}

/// Asserts that no label has an unlisted value, where values are listed.
fn assert_closed(text: &str) {
    let listed = listed();
    assert!(listed.len() >= 10, "{listed:#?}");
    for sample in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, labels)) = sample.split_once('{') else { continue };
        let metric = ["_total", "_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        for (label, value) in labels.split("\",").filter_map(|label| label.split_once("=\"")) {
            let key = (metric.unwrap_or(name).to_owned(), label.to_owned());
            let value = value.split('"').next().unwrap();
            assert!(
                listed.get(&key).is_none_or(|values| values.contains(value)),
                "docs/metrics.md lacks {sample}"
            );
        }
    }
}

/// Runs the real promtool. Returns its output without and with problems.
pub async fn promtool(arguments: &[&str], input: Option<&str>) -> Output {
    run(Command::new(source(".tools/bin/promtool")).args(arguments), input).await
}

/// Renames the descriptions of counters to the names of their samples, as promtool's older text format requires.
fn counters_described_by_sample(text: &str) -> String {
    let metrics = parse(text);
    let counters = metrics.iter().filter(|(_, (kind, _))| kind == "counter").map(|(name, _)| name);
    counters.fold(text.to_owned(), |text, name| {
        text.replace(&format!("# HELP {name} "), &format!("# HELP {name}_total "))
            .replace(&format!("# TYPE {name} "), &format!("# TYPE {name}_total "))
    })
}

fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{sample} is not in\n{text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_exported_and_documented() {
    let mut env = TestEnv::start(Options::new("metrics").polling("1h")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    let other = env.add_candidate(NewCandidate::default());
    env.enter(&other).await;
    env.wait_for_pad(&other, "Skipped/TagMissing").await;
    env.sync().await;
    env.apply("pads", "waits", json!({"configurationRef": {"name": "nowhere"}, "opportunityID": candidate}))
        .await;
    env.wait_for("pads", "waits", "Ready", "False/ConfigurationNotFound").await;

    let (_, text) = env.operator().get("/metrics").await.unwrap();
    assert_eq!(parse(&text), documented(), "docs/metrics.md, on the right, lists the existing metrics");
    assert_closed(&text);
    for (sample, expected) in [
        ("pad_operator_leader", 1.0),
        ("pad_operator_pads{phase=\"Open\"}", 1.0),
        ("pad_operator_pads{phase=\"Skipped\"}", 1.0),
        ("pad_operator_pads{phase=\"Failed\"}", 0.0),
        ("pad_operator_pads{phase=\"Pending\"}", 1.0),
        ("pad_operator_configurations{ready=\"true\"}", 1.0),
        ("pad_operator_connection_ready{namespace=\"metrics\",connection=\"acme\"}", 1.0),
        ("pad_operator_webhook_verified{namespace=\"metrics\",connection=\"acme\"}", 1.0),
        ("pad_operator_pads_stored_total{origin=\"created\"}", 1.0),
        ("pad_operator_create_outcomes_unknown_total", 0.0),
        ("pad_operator_webhook_to_link_seconds_count", 1.0),
        ("pad_operator_webhooks_total{outcome=\"Accepted\"}", 2.0),
        ("pad_operator_webhooks_total{outcome=\"Unauthorized\"}", 0.0),
        ("pad_operator_reconciles_total{kind=\"Pad\",outcome=\"write_failed\"}", 0.0),
        ("pad_operator_sync_interval_seconds{namespace=\"metrics\",connection=\"acme\"}", 3600.0),
        ("pad_operator_reconciles_waiting", 0.0),
    ] {
        assert_eq!(value(&text, sample), expected, "{sample} in\n{text}");
    }
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    let waiting = "pad_operator_pads_waiting_since_timestamp_seconds{reason=\"ConfigurationNotFound\"}";
    let waits_for = Timestamp::now().as_second() as f64 - value(&text, waiting);
    assert!((0.0..60.0).contains(&waits_for), "{waits_for} in\n{text}");

    let text = counters_described_by_sample(&text);
    assert_eq!(promtool(&["check", "metrics"], Some(&text)).await.as_deref(), Ok(""), "{text}");
    env.finish().await;
}

/// A lost response is counted, and so is the pad that is found again.
#[tokio::test(flavor = "multi_thread")]
async fn lost_response_and_found_pad_are_counted() {
    let mut env = TestEnv::start(Options::new("metrics-lost")).await;
    let candidate = env.candidate();
    env.interview.faults().add(Fault::on("POST", "^/api/pads/?$").status_after_effect(502));
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    let (_, text) = env.operator().get("/metrics").await.unwrap();
    assert_eq!(value(&text, "pad_operator_create_outcomes_unknown_total"), 1.0);
    assert_eq!(value(&text, "pad_operator_pads_stored_total{origin=\"adopted\"}"), 1.0);
    assert!(value(&text, "pad_operator_webhook_to_link_seconds_sum") < Duration::from_secs(60).as_secs_f64());
    env.finish().await;
}
