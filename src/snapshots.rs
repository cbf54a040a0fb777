//! Snapshots of the texts that users read, in `tests/snapshots`, so that a review shows each text as a user sees it.
//!
//! `INSTA_UPDATE=always cargo test --locked -p pad-operator -p engine -p kubectl-pad --lib --bins` writes most of them. Each reason and
//! each message must be in one of them.

mod literals;

use api::reason::Reason;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use testkit::{assert_snapshot, long_help};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All snapshots, on one line each text.
fn all_snapshots() -> String {
    let files = std::fs::read_dir(root().join("tests/snapshots")).unwrap();
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "snap"));
    let texts = paths.iter().map(|path| std::fs::read_to_string(path).unwrap());
    one_line(&texts.collect::<Vec<_>>().join("\n"))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Files whose messages only a real API server or service provokes: the tests in `tests/operator` cover them.
const NOT_SHOWN: [&str; 9] = [
    "crates/engine/src/observe.rs",
    "crates/http-client/src",
    "crates/services/src",
    "src/admin.rs",
    "src/check/connection.rs",
    "src/controller/connection/observe.rs",
    "src/controller/service_clients.rs",
    "src/run.rs",
    "src/telemetry",
];

#[test]
fn every_message_has_a_snapshot() {
    let snapshots = all_snapshots();
    for path in NOT_SHOWN {
        assert!(root().join(path).exists(), "{path} does not exist");
    }
    let sources = [
        "src",
        "crates/coderpad/src",
        "crates/engine/src",
        "crates/http-client/src",
        "crates/k8s-connect/src",
        "crates/kubectl-pad/src",
        "crates/lever/src",
        "crates/services/src",
    ]
    .map(|folder| literals::messages(&root().join(folder)));
    let missing: Vec<String> = sources
        .into_iter()
        .flatten()
        .filter(|message| !NOT_SHOWN.iter().any(|path| message.place.starts_with(path)))
        .filter(|message| !snapshots.contains(&message.text))
        .map(|message| format!("{}: {}", message.place, message.text))
        .collect();
    assert!(missing.is_empty(), "no snapshot shows:\n{}", missing.join("\n"));
}

/// The reasons of a row such as "| `A`, `B` | ..." or "| `Condition`: `A` | ...".
fn documented_reasons(line: &str) -> Vec<&str> {
    let cell = line.strip_prefix("| `").and_then(|row| row.split(" | ").next()).unwrap_or_default();
    let names = cell.split_once("`: `").map_or(cell, |(_, reasons)| reasons);
    let is_name = |name: &&str| {
        name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric) && name.len() > 3
    };
    names.split('`').filter(is_name).collect()
}

#[test]
fn every_reason_has_a_snapshot() {
    let snapshots = all_snapshots();
    let page = std::fs::read_to_string(root().join("docs/reasons.md")).unwrap();
    let documented: Vec<&str> = page.lines().flat_map(documented_reasons).collect();
    let all: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).chain(documented).collect();
    assert!(all.len() > 60, "{all:?}");
    let is_shown = |reason: &str| {
        ["True", "False", "Unknown"].iter().any(|status| {
            let head = format!("={status} {reason}");
            snapshots.match_indices(&head).any(|(at, _)| {
                snapshots[at + head.len()..].chars().next().is_none_or(|next| !next.is_alphanumeric())
            })
        })
    };
    let is_type = |name: &str| snapshots.contains(&format!("{name}="));
    let missing: Vec<&str> = all.into_iter().filter(|reason| !is_shown(reason) && !is_type(reason)).collect();
    assert!(missing.is_empty(), "no snapshot shows these reasons: {missing:?}");
}

#[test]
fn messages_of_the_schema() {
    let mut text = String::new();
    for crd in api::crd::all().unwrap() {
        writeln!(text, "# {}\n", crd.spec.names.kind).unwrap();
        let mut messages = BTreeSet::new();
        validation_messages(&serde_json::to_value(&crd).unwrap(), &mut messages);
        for message in messages {
            writeln!(text, "{message}\n").unwrap();
        }
    }
    assert_snapshot("schema-messages", text.trim_end());
}

/// Collects what the API server answers if a rule of the schema is violated.
fn validation_messages(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(object) => {
            let rules = object.get("x-kubernetes-validations").and_then(|rules| rules.as_array());
            for rule in rules.into_iter().flatten() {
                found.insert(rule["message"].as_str().unwrap_or("no message").to_owned());
            }
            object.values().for_each(|value| validation_messages(value, found));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| validation_messages(value, found)),
        _ => {}
    }
}

#[test]
fn help_texts_of_the_metrics() {
    let mut registry = prometheus_client::registry::Registry::default();
    http_client::TransportMetrics::new(&mut registry);
    crate::webhook::WebhookMetrics::new(&mut registry);
    crate::controller::metrics::ControllerMetrics::new(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let help: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
    assert_snapshot("metrics-help", &help.join("\n"));
}

#[test]
fn help_texts_of_the_operator() {
    use clap::CommandFactory as _;
    assert_snapshot("operator-help", &long_help(crate::cli::OperatorCli::command()));
}
