//! Every text that the plugin prints, as a snapshot. The API server is a function that knows some objects.

use crate::cli::{CreateArgs, PluginCli, PluginCommand};
use crate::cluster::{Snapshot, TargetCluster};
use crate::{actions, candidate_argument, status};
use clap::{CommandFactory as _, Parser as _};
use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;
use testkit::{assert_snapshot, long_help};

const CANDIDATE: &str = "6408dc54-aaa6-48cd-b8e3-7ee5a92e92e0";
const NEW: &str = "11111111-aaa6-48cd-b8e3-7ee5a92e92e0";

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": message,
           "observedGeneration": 1, "lastTransitionTime": "2026-01-02T11:40:00Z"})
}

fn object(kind: &str, name: &str, spec: Value, status: Value) -> Value {
    json!({
        "apiVersion": "padoperator.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": "hiring", "resourceVersion": "1",
                     "creationTimestamp": "2026-01-02T11:00:00Z"},
        "spec": spec, "status": status,
    })
}

fn connection(name: &str, conditions: &[Value]) -> Value {
    let secret = |key: &str| json!({"apiKeySecretRef": {"name": "acme", "key": key}});
    let spec = json!({"lever": secret("a"), "interview": secret("b")});
    let quota = json!({"unlimited": false, "used": 33, "remaining": 87, "limit": 120});
    let stages = match name {
        "acme" => json!([{"id": "lead-new", "name": "New lead"}, {"id": "s-1", "name": "Phone Screen"}]),
        _ => json!([]),
    };
    let status = json!({"organization": "Acme", "quota": quota, "conditions": conditions, "stages": stages});
    object("LeverConnection", name, spec, status)
}

fn rule(conditions: &[Value]) -> Value {
    let spec = json!({"connectionRef": {"name": "acme"}});
    object("PadConfiguration", "phone-screen", spec, json!({"conditions": conditions}))
}

fn pad(name: &str, candidate: &str, phase: &str, conditions: &[Value]) -> Value {
    let spec = json!({"configurationRef": {"name": "phone-screen"}, "opportunityID": candidate});
    let mut status = json!({"phase": phase, "candidate": "Ada", "conditions": conditions});
    if ["Open", "Ended"].contains(&phase) {
        status["url"] = json!("https://app.coderpad.io/PAD1");
        status["playbackURL"] = json!("https://app.coderpad.io/PAD1/playback");
        status["linkedAt"] = json!("2026-01-02T11:50:00Z");
    }
    object("Pad", name, spec, status)
}

fn ready(reason: &str) -> Value {
    condition("Ready", "True", reason, "MESSAGE")
}

fn not_ready(reason: &str, other: &str) -> [Value; 2] {
    [condition("Ready", "False", reason, "MESSAGE"), condition(other, "True", reason, "MESSAGE")]
}

fn objects() -> Vec<Value> {
    vec![
        connection("acme", &[ready("Connected")]),
        connection("new", &[]),
        rule(&[ready("InUse")]),
        pad("open-1", CANDIDATE, "Open", &[ready("Open")]),
        pad("waiting-1", "op-2", "Pending", &not_ready("QuotaExceeded", "Reconciling")),
        pad("ended-1", "op-3", "Ended", &[ready("Ended")]),
        pad("fresh-1", "op-4", "Pending", &[]),
    ]
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": "MESSAGE"}),
    )
}

/// Lists, gets, patches and creates; a watch never reports anything. `denied`: answers everything with this code.
fn cluster(denied: Option<u16>) -> TargetCluster {
    let service = tower::service_fn(move |request: Request<Body>| async move {
        let query = request.uri().query().unwrap_or_default().to_owned();
        if query.contains("watch=true") {
            std::future::pending::<()>().await;
        }
        let path = request.uri().path().to_owned();
        let mut parts = path.split('/').skip_while(|part| *part != "hiring").skip(1);
        let (plural, name) = (parts.next().unwrap_or_default().to_owned(), parts.next().map(str::to_owned));
        let is_of_kind = |one: &&Value| {
            let kind = one["kind"].as_str().unwrap_or_default().to_lowercase();
            plural == format!("{kind}s")
        };
        let objects = objects();
        let of_kind: Vec<&Value> = objects.iter().filter(is_of_kind).collect();
        let named = |name: &str| of_kind.iter().find(|one| one["metadata"]["name"] == name);
        let (code, answer) = match (denied, request.method(), name.as_deref()) {
            (Some(code), ..) => failure(code, "Denied"),
            (None, &Method::POST, _) => {
                let body = request.into_body().collect_bytes().await.unwrap();
                (201, serde_json::from_slice(&body).unwrap())
            }
            (None, _, Some(name)) => match named(name) {
                Some(one) => (200, (*one).clone()),
                None => failure(404, "NotFound"),
            },
            (None, ..) => {
                let kind = of_kind.first().and_then(|one| one["kind"].as_str()).unwrap_or_default();
                let list = json!({"apiVersion": "padoperator.dev/v1alpha1", "kind": format!("{kind}List"),
                                  "metadata": {"resourceVersion": "1"}, "items": of_kind});
                (200, list)
            }
        };
        let response = Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()));
        Ok::<_, Infallible>(response.unwrap())
    });
    TargetCluster::with_client(kube::Client::new(service, "hiring"), "hiring")
}

fn show(command: &str, result: anyhow::Result<String>) -> String {
    match result {
        Ok(text) => format!("$ kubectl pad {command}\n{text}\n"),
        Err(error) => format!("$ kubectl pad {command}\nerror: {error:#}\n\n"),
    }
}

#[tokio::test]
async fn output_of_each_command() {
    let cluster = cluster(None);
    let wait = Some(Duration::from_millis(10));
    let create = |candidate: &str| -> CreateArgs {
        let words = [
            "kubectl-pad",
            "create",
            candidate,
            "--configuration",
            "phone-screen",
            "--name",
            "new-1",
            "--timeout",
            "0s",
        ];
        match PluginCli::parse_from(words).command {
            PluginCommand::Create(args) => args,
            other => panic!("{other:?}"),
        }
    };
    let profile = format!("https://hire.lever.co/candidates/{CANDIDATE}");
    let text = [
        show("stages acme", actions::stages(&cluster, "acme").await),
        show("stages new", actions::stages(&cluster, "new").await),
        show("stages none", actions::stages(&cluster, "none").await),
        show(&format!("candidate {profile}"), actions::candidate(&cluster, &profile).await),
        show(&format!("candidate {NEW}"), actions::candidate(&cluster, NEW).await),
        show("open open-1", actions::open(&cluster, "open-1", false).await),
        show("open ended-1", actions::open(&cluster, "ended-1", false).await),
        show("open waiting-1", actions::open(&cluster, "waiting-1", false).await),
        show("open fresh-1", actions::open(&cluster, "fresh-1", false).await),
        show("open none", actions::open(&cluster, "none", false).await),
        show("retry waiting-1 --timeout 0s", actions::retry(&cluster, "waiting-1", None).await),
        show("retry waiting-1", actions::retry(&cluster, "waiting-1", wait).await),
        show(
            "retry padcfg/phone-screen --timeout 0s",
            actions::retry(&cluster, "padcfg/phone-screen", None).await,
        ),
        show("retry secret/acme", actions::retry(&cluster, "secret/acme", None).await),
        show("end open-1 --timeout 0s", actions::end(&cluster, "open-1", None).await),
        show("end ended-1", actions::end(&cluster, "ended-1", None).await),
        show(&format!("create {NEW} --timeout 0s"), actions::create(&cluster, &create(NEW)).await),
        show(&format!("create {CANDIDATE}"), actions::create(&cluster, &create(CANDIDATE)).await),
    ];
    assert_snapshot("kubectl-pad-commands", text.concat().trim_end());
}

#[tokio::test]
async fn errors_of_the_api_server_and_of_arguments() {
    let mut text = String::new();
    for code in [401, 403, 404, 500] {
        let result = cluster(Some(code)).snapshot(false).await.map(|_| String::new());
        text.push_str(&show(&format!("status, if the API server answers {code}"), result));
    }
    for words in ["Jane Doe", "https://hire.lever.co/jobs/1", "https://"] {
        text.push_str(&show(&format!("candidate '{words}'"), candidate_argument::opportunity_id(words)));
    }
    for timeout in ["soon", "-1s"] {
        let parsed = PluginCli::try_parse_from(["kubectl-pad", "end", "p", &format!("--timeout={timeout}")]);
        text.push_str(&format!("$ kubectl pad end p --timeout={timeout}\n{}\n", parsed.unwrap_err()));
    }
    assert_snapshot("kubectl-pad-errors", text.trim_end());
}

#[test]
fn help_of_each_command() {
    assert_snapshot("kubectl-pad-help", &long_help(PluginCli::command()));
}

#[test]
fn output_of_status() {
    let now = "2026-01-02T12:00:00Z".parse().unwrap();
    let read = |objects: Vec<Value>, namespace: Option<&str>| {
        let of = |kind: &str| -> Vec<Value> {
            objects.iter().filter(|one| one["kind"] == kind).cloned().collect()
        };
        Snapshot {
            connections: serde_json::from_value(Value::Array(of("LeverConnection"))).unwrap(),
            configurations: serde_json::from_value(Value::Array(of("PadConfiguration"))).unwrap(),
            pads: serde_json::from_value(Value::Array(of("Pad"))).unwrap(),
            undecodable: Vec::new(),
            namespace: namespace.map(str::to_owned),
        }
    };
    let webhook = condition("WebhookVerified", "False", "AwaitingVerification", "MESSAGE");
    let quota = condition("QuotaAvailable", "True", "QuotaLow", "MESSAGE");
    let exclusive = condition("Exclusive", "False", "AccountShared", "MESSAGE");
    let surprise = condition("ServicesAsExpected", "False", "UnknownState", "MESSAGE");
    let failed = not_ready("InvalidRequest", "Stalled");
    let waiting = not_ready("QuotaExceeded", "Reconciling");
    let mut many: Vec<Value> = (1..=5).map(|n| pad(&format!("w{n}"), "op-2", "Pending", &waiting)).collect();
    many.extend((1..=17).map(|n| pad(&format!("o{n}"), CANDIDATE, "Open", &[ready("Open")])));
    many.push(pad("f1", "op-5", "Failed", &failed));
    many.push(connection("acme", &[ready("Connected"), webhook, quota, exclusive, surprise]));
    many.push(rule(&[ready("Duplicate")]));
    many.push(connection("new", &[]));
    let well = vec![
        connection(
            "acme",
            &[ready("Connected"), condition("WebhookVerified", "True", "SignatureVerified", "")],
        ),
        rule(&[ready("InUse"), condition("Suspended", "True", "Suspended", "")]),
    ];
    let mut undecodable = read(vec![rule(&[ready("InUse")])], Some("hiring"));
    undecodable.undecodable.push("Pad hiring/odd: status.phase".into());
    let mut text = String::new();
    for (case, snapshot) in [
        ("nothing in the namespace", read(vec![], Some("hiring"))),
        ("nothing in the cluster", read(vec![], None)),
        ("no problems", read(well, Some("hiring"))),
        ("problems", read(many, None)),
        ("an object that does not decode, and a configuration without connection", undecodable),
    ] {
        text.push_str(&format!("# {case}\n\n{}\n", status::text(&snapshot, now)));
    }
    assert_snapshot("kubectl-pad-status", text.trim_end());
}
