//! Alerts, their runbooks, and the dashboard: they refer only to what exists, and the alerts fire when they should.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use simulators::{Fault, PadView};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, run, source};
use crate::environment::{Options, TestEnv};
use crate::metrics::{documented, promtool};
use crate::pages::markdown;
use crate::plugin::plugin_program;

const ALERTS: &str = "charts/pad-operator/files/alerts.yaml";
const DASHBOARD: &str = "charts/pad-operator/files/dashboard.json";
const TESTS: &str = "tests/alerts/rules.yaml";

fn read(path: &str) -> String {
    std::fs::read_to_string(source(path)).unwrap()
}

fn alerts() -> Vec<Value> {
    let file: Value = serde_yaml_ng::from_str(&read(ALERTS)).unwrap();
    file["groups"][0]["rules"].as_array().unwrap().clone()
}

/// Returns name and text of each runbook.
fn pages() -> Vec<(String, String)> {
    let files = std::fs::read_dir(source("docs/runbooks")).unwrap().map(|file| file.unwrap().path());
    let stem = |file: &Path| file.file_stem().unwrap().to_str().unwrap().to_owned();
    files.map(|file| (stem(&file), std::fs::read_to_string(&file).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_fire_as_documented_and_have_runbooks() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", &source(ALERTS)], None).await.unwrap();
    promtool(&["test", "rules", &source(TESTS)], None).await.unwrap();

    let mut names = BTreeSet::new();
    let index = read("docs/metrics.md");
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap().to_owned();
        let annotations = &alert["annotations"];
        assert_eq!(annotations["runbook_url"], format!("docs/runbooks/{name}.md"));
        let (severity, summary) =
            (alert["labels"]["severity"].as_str().unwrap(), annotations["summary"].as_str());
        let summary = summary.unwrap().trim_end_matches('.');
        assert!(
            index.contains(&format!("| [{name}](runbooks/{name}.md) | {severity} | {summary} |\n")),
            "{name}"
        );
        assert!(
            read(&format!("docs/runbooks/{name}.md")).contains(&format!("Severity: {severity}.")),
            "{name}"
        );
        names.insert(name);
    }
    assert_eq!(pages().into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>(), names);

    let tests: Value = serde_yaml_ng::from_str(&read(TESTS)).unwrap();
    let mut tested = BTreeSet::new();
    for test in tests["tests"].as_array().unwrap() {
        let name = test["name"].as_str().unwrap();
        let asked = test["promql_expr_test"].as_array().unwrap();
        let query = format!("ALERTS{{alertname=\"{name}\", alertstate=\"firing\"}}");
        assert!(asked.iter().all(|one| one["expr"] == query), "{name}");
        let fires = |one: &&Value| !one["exp_samples"].as_array().unwrap().is_empty();
        let firing = asked.iter().filter(fires).count();
        assert!(
            firing > 0 && firing < asked.len(),
            "{name}: one case in which it fires and one in which it does not"
        );
        tested.insert(name.to_owned());
    }
    assert_eq!(tested, names);
}

/// Returns the rules as in the repository, with the address of the runbooks filled in.
#[tokio::test(flavor = "multi_thread")]
async fn chart_installs_alerts_and_dashboard() {
    let chart = source("charts/pad-operator");
    let values = [
        "image.repository=registry.example.com/pad-operator",
        "monitoring.rules.enabled=true",
        "monitoring.rules.labels.release=prometheus",
        "monitoring.rules.runbooksURL=https://example.com/runbooks/",
        "monitoring.dashboard.enabled=true",
    ];
    let set = values.iter().flat_map(|value| ["--set", value]);
    let arguments = ["template", "pads", &chart].into_iter().chain(set).collect::<Vec<_>>();
    let made = Cluster::shared().await.run("helm", &arguments, None).await.unwrap();
    let objects = made.split("\n---\n").map(|text| serde_yaml_ng::from_str(text).unwrap());
    let objects: Vec<Value> = objects.collect();
    let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap();

    let rules = of_kind("PrometheusRule");
    assert_eq!(rules["metadata"]["labels"]["release"], "prometheus");
    let expected = read(ALERTS).replace("docs/runbooks/", "https://example.com/runbooks/");
    assert_eq!(rules["spec"], serde_yaml_ng::from_str::<Value>(&expected).unwrap());
    let dashboard = of_kind("ConfigMap");
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    let text = dashboard["data"]["pad-operator.json"].as_str().unwrap();
    let [made, file]: [Value; 2] = [text, &read(DASHBOARD)].map(|text| serde_json::from_str(text).unwrap());
    assert_eq!(made, file);
}

#[test]
fn runbooks_name_only_existing_reasons_metrics_flags_and_pages() {
    let known = ["docs/reasons.md", "docs/metrics.md", "crates/api/src/condition.rs"].map(read).concat();
    let flags = read("docs/flags.md");
    let metrics = documented();
    let is_name =
        |word: &str| word.chars().all(char::is_alphanumeric) && word.chars().skip(1).any(char::is_uppercase);
    for (name, page) in pages() {
        assert!(page.starts_with(&format!("# {name}\n")));
        for heading in ["Impact", "Diagnosis", "Fix", "When the alert ends"] {
            assert!(page.contains(&format!("\n## {heading}\n\n")), "{name} has no {heading}");
        }
        for word in markdown::words(&page) {
            let word = word.as_str();
            if word.starts_with(char::is_uppercase) && word != "OOMKilled" && is_name(word) {
                assert!(known.contains(word), "{name} names {word}");
            }
            if word.starts_with("--") {
                assert!(flags.contains(&format!("`{word}`")), "{name} names {word}");
            }
            if word.starts_with("pad_operator_") {
                assert!(metrics.contains_key(word), "{name} names {word}");
            }
        }
    }
}

/// Operator under load; its metrics are recorded.
struct AlertRun {
    env: TestEnv,
    folder: PathBuf,
    pads: Vec<PadView>,
}

impl AlertRun {
    async fn start() -> Self {
        let mut options = Options::new("dashboard").polling("5s");
        options.replicas = 2;
        options.configurations.push(("held", json!({"stage": "Onsite"})));
        let env = TestEnv::start(options).await;
        env.patch("padconfigurations", "held", json!({"spec": {"suspend": true}})).await;
        env.wait_for("padconfigurations", "held", "Suspended", "True/Suspended").await;
        env.create_pad_by_hand("waits", "held", &env.candidate()).await;
        env.lever.faults().add(Fault::on("GET", "/opportunities/[^/]+$").status(429).skip(3).times(2));
        env.interview.faults().add(Fault::on("POST", "^/api/pads/?$").status_after_effect(502).skip(2));
        let folder = env.cluster.plane.folder().join("scrapes");
        std::fs::create_dir_all(&folder).unwrap();
        Self { env, folder, pads: Vec::new() }
    }

    /// Simulates one second: occasionally a candidate is moved, an interview starts or another one ends.
    async fn second(&mut self, number: u64) {
        if number.is_multiple_of(3) {
            let candidate = self.env.candidate();
            self.env.enter(&candidate).await;
        }
        let live = self.env.interview.live_pads();
        self.pads.extend(
            live.into_iter()
                .filter(|pad| !self.pads.iter().any(|known| known.id == pad.id))
                .collect::<Vec<_>>(),
        );
        if let Some(pad) = self.pads.get(usize::try_from(number / 4).unwrap()).filter(|_| number % 4 == 1) {
            self.env.interview.start_interview(&pad.id, &["Ada"]);
        }
        if let Some(pad) = self.pads.get(usize::try_from(number / 8).unwrap()).filter(|_| number % 8 == 7) {
            self.env.interview.end_interview(&pad.id);
        }
        for (replica, operator) in self.env.operators.iter().enumerate() {
            let (code, text) = operator.get("/metrics").await.unwrap();
            assert_eq!(code, 200);
            let now = Timestamp::now().as_millisecond();
            std::fs::write(self.folder.join(format!("{now}-pad-operator-{replica}.txt")), text).unwrap();
        }
    }
}

/// Evaluates every query of the dashboard, of the alerts, of their runbooks and of docs/metrics.md with Prometheus'
/// engine on the metrics of two replicas. With DASHBOARD_PICTURE the dashboard of a run of that length is drawn into
/// that file.
#[tokio::test(flavor = "multi_thread")]
async fn every_query_returns_data_of_a_running_operator() {
    let picture = std::env::var("DASHBOARD_PICTURE").ok();
    let seconds = std::env::var("DASHBOARD_SECONDS").map_or(20, |seconds| seconds.parse().unwrap());
    let mut run_of_it = AlertRun::start().await;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut number = 0;
    // However slow the machine is, enough happens.
    while Instant::now() < end || number < 20 {
        let next = Instant::now() + Duration::from_secs(1);
        run_of_it.second(number).await;
        number += 1;
        sleep(next - Instant::now()).await;
    }

    let pages = pages();
    let mut rules = alerts();
    let document = read("docs/metrics.md");
    let questions = document.lines().skip_while(|line| *line != "| question | query |").skip(2);
    let questions = questions.map_while(|line| line.split('`').nth(1));
    let queries = pages.iter().flat_map(|(_, page)| markdown::blocks_of(page, "promql"));
    let queries = queries.chain(questions.map(ToOwned::to_owned));
    rules.extend(queries.map(|query| json!({"alert": "in the documents", "expr": query})));
    let file = run_of_it.folder.join("rules.yaml");
    std::fs::write(&file, json!({"groups": [{"rules": rules}]}).to_string()).unwrap();
    let mut panels = Command::new(source(".tools/bin/panels"));
    panels
        .args(["-dashboard", &source(DASHBOARD), "-alerts"])
        .arg(&file)
        .arg("-scrapes")
        .arg(&run_of_it.folder);
    if let Some(picture) = picture {
        panels.args(["-picture", &source(&picture)]);
    }
    assert_eq!(run(&mut panels, None).await.as_deref(), Ok(""));

    let env = run_of_it.env;
    check_commands(&env, &pages).await;
    env.finish().await;
}

/// Runs the commands of the runbooks in this environment instead of theirs.
async fn check_commands(env: &TestEnv, pages: &[(String, String)]) {
    let pad = env.list("pads").await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let inline = pages.iter().flat_map(|(_, page)| markdown::words(page));
    let inline = inline.filter(|word| word.starts_with("kubectl "));
    let typed = pages.iter().flat_map(|(_, page)| markdown::blocks_of(page, "sh"));
    let typed = typed.flat_map(|block| markdown::commands(&block));
    let commands: BTreeSet<String> = typed.chain(inline).collect();
    assert!(commands.len() > 20, "{commands:#?}");
    let kubectl = env.cluster.plane.program("kubectl");
    let plugin = plugin_program();
    let path = format!(
        "{}:{}:/usr/bin:/bin",
        kubectl.parent().unwrap().display(),
        plugin.parent().unwrap().display()
    );
    for command in commands {
        // The search may find nothing.
        let asked = command.split(" | grep ").next().unwrap();
        let asked = asked.replace("hiring", env.namespace).replace("NAME", &pad);
        let mut shell = Command::new("bash");
        shell.args(["-c", &asked]).env("PATH", &path).env("KUBECONFIG", env.cluster.plane.kubeconfig());
        let outcome = run(&mut shell, None).await;
        // This command reports a negative answer by its exit code.
        let is_no =
            asked.contains(" can-i ") && outcome.as_ref().is_err_and(|printed| !printed.contains("error"));
        assert!(is_no || outcome.is_ok(), "{asked}: {outcome:?}");
    }
}
