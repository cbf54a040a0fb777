//! Traces: one leads from the webhook to the link, none contains private data, and nothing waits for the collector.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::ports::free_port;
use tokio::net::TcpListener;

use crate::cluster::Cluster;
use crate::collector::{self, Collector, Span};
use crate::environment::{Options, TestEnv};
use crate::happy_path::{assert_calls, assert_writes};
use crate::wait::{eventually, eventually_within};

const TRACEPARENT: &str = "padoperator.dev/traceparent";

fn traceparent(pad: &Value) -> Option<Vec<String>> {
    let annotation = pad["metadata"]["annotations"][TRACEPARENT].as_str()?;
    Some(annotation.split('-').map(str::to_owned).collect())
}

/// Returns the names of the direct children of a span, in order.
fn under<'a>(spans: &'a [Span], parent: &Span) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.trace == parent.trace && span.parent == parent.id).collect()
}

fn names(spans: &[&Span]) -> Vec<String> {
    spans.iter().map(|span| span.name.clone()).collect()
}

/// Returns a trace as an indented list, for readers of a failed test.
fn drawn(spans: &[Span], parent: &str, depth: usize) -> String {
    let children = spans.iter().filter(|span| span.parent == parent);
    let lines = children
        .map(|span| format!("{}{}\n{}", "  ".repeat(depth), span.name, drawn(spans, &span.id, depth + 1)));
    lines.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_webhook_to_the_link() {
    let cluster = Cluster::shared().await;
    let collector = Collector::start(&cluster).await;
    let mut options = Options::new("traces");
    options.flags.push(collector.flag());
    let mut env = TestEnv::start_in(cluster, options).await;
    env.told_too.push(collector.received.clone());

    // Tracing costs no additional call or write.
    env.lever.clear_calls();
    env.interview.clear_calls();
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    let pad = env.pads_of(&candidate).await.remove(0);
    let name = pad["metadata"]["name"].as_str().unwrap().to_owned();
    assert_calls(&env, &candidate);
    assert_writes(&env, &name).await;
    let carried = traceparent(&pad).unwrap();
    assert!(carried.len() == 4 && carried[0] == "00" && carried[3] == "01", "{carried:?}");
    let (trace, webhook) = (&carried[1], &carried[2]);

    let forged = json!({"event": "candidateStageChange", "triggeredAt": 1, "token": "t", "signature": "51",
        "data": {"opportunityId": candidate, "toStageId": "s"}});
    assert_eq!(env.lever.deliver_raw(forged.to_string()).await.status, Some(401));
    // Long after it is Open: a separate trace.
    env.end_interview(&candidate, &made.id).await;
    env.sync().await;
    env.wait_for_pad(&candidate, "Ended/Ended").await;

    let later = eventually("the later pass has arrived, too", async || {
        let spans = collector.spans();
        let later = spans.iter().find(|span| span.links.contains(trace)).cloned();
        later.ok_or_else(|| drawn(&spans, "", 0))
    })
    .await;
    assert!(later.trace != *trace && later.name == "reconcile Pad" && later.parent.is_empty(), "{later:?}");

    let spans = collector.spans();
    let of_trace: Vec<_> = spans.iter().filter(|span| span.trace == *trace).cloned().collect();
    println!("traces: of one pad:\n{}", drawn(&of_trace, "", 0));
    let root = of_trace.iter().find(|span| span.id == *webhook).unwrap();
    assert_eq!(root.name, "POST /webhooks/lever/{namespace}/{connection}");
    assert_eq!(
        (root.parent.as_str(), root.attribute("pad_operator.outcome").as_deref()),
        ("", Some("Accepted"))
    );
    assert_eq!(root.attribute("http.response.status_code").as_deref(), Some("200"));
    assert_eq!(names(&under(&of_trace, root)), ["create Pad", "reconcile Pad"]);
    let pass = under(&of_trace, root).remove(1);
    assert_eq!(pass.attribute("pad_operator.object"), Some(name));
    assert!(pass.attribute("pad_operator.turn_wait_ms").is_some(), "{pass:?}");
    let steps = under(&of_trace, pass);
    assert_eq!(names(&steps), ["read opportunity", "create", "store pad", "add link", "patch status of Pad"],);
    let done: Vec<_> = steps.iter().map(|step| names(&under(&of_trace, step)).join(", ")).collect();
    let expected = [
        "GET /opportunities/{id}",
        "patch Pad, POST /pads",
        "patch Pad",
        "POST /opportunities/{id}/addLinks",
        "",
    ];
    assert_eq!(done, expected);
    let link = under(&of_trace, steps[3]).remove(0);
    for (key, value) in [
        ("pad_operator.service", "lever"),
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("server.address", "127.0.0.1"),
    ] {
        assert_eq!(link.attribute(key).as_deref(), Some(value), "{key} of {link:?}");
    }
    // An unsigned request has no span, and neither has a reconcile that did nothing.
    let deliveries = spans.iter().filter(|span| span.name.starts_with("POST /webhooks/"));
    assert_eq!(deliveries.count(), 2, "Verify and one stage change");
    let idle = spans.iter().filter(|span| span.name.starts_with("reconcile"));
    let idle: Vec<_> = idle.filter(|span| under(&spans, span).is_empty()).collect();
    assert!(idle.is_empty(), "{idle:?}");

    // Log lines contain the trace ID.
    let logged = env.operator().logged();
    let of_link = logged.lines().find(|line| line.contains("addLinks")).unwrap();
    let of_link: Value = serde_json::from_str(of_link).unwrap();
    assert_eq!((&of_link["trace_id"], &of_link["span_id"]), (&json!(trace), &json!(link.id)));
    let taken = format!(r#"{{"trace_id":"{trace}","span_id":"{webhook}","#);
    assert!(logged.lines().any(|line| line.starts_with(&taken) && line.contains(r#""message":"webhook""#)));

    // No data about a candidate, not even an ID of Lever or CoderPad.
    for private in [&candidate, &made.id] {
        let text = std::fs::read_to_string(&collector.received).unwrap();
        assert!(!text.contains(private.as_str()), "{private} in\n{text}");
    }
    env.finish().await;
    let last = collector.spans().len();
    assert!(last >= spans.len(), "the remaining spans are sent at the end");
}

/// Server that accepts every connection and never responds.
async fn silent() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            taken.push(connection);
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn unavailable_collector_delays_nothing_and_is_reported_once() {
    for (env, port) in [("traces-down", free_port().unwrap()), ("traces-hang", silent().await)] {
        let mut options = Options::new(env);
        options.flags.extend([collector::flag(port), "--log-format=text"]);
        let mut env = TestEnv::start(options).await;
        let slowest = add_three_candidates(&env).await;
        let complaint = "traces cannot be delivered";
        eventually_within(Duration::from_secs(30), "it is reported", async || {
            let logged = env.operators[0].logged();
            if logged.contains(complaint) { Ok(()) } else { Err(logged) }
        })
        .await;
        add_three_candidates(&env).await;
        let logged = env.operator().logged();
        assert_eq!(logged.matches(complaint).count(), 1, "{logged}");
        let with_ids =
            logged.lines().filter(|line| line.starts_with("trace_id=") && line.contains("webhook"));
        assert!(with_ids.count() >= 2, "{logged}");
        let started = Instant::now();
        env.operator().terminate().await;
        let end = started.elapsed();
        println!("traces: {}: the slowest of 6 pads took {slowest:?}, the end {end:?}", env.namespace);
        assert!(end < Duration::from_secs(10), "stopping took {end:?}");
        env.operator().start().await;
        env.finish().await;
    }
}

async fn add_three_candidates(env: &TestEnv) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..6 {
        let (candidate, started) = (env.candidate(), Instant::now());
        env.enter(&candidate).await;
        env.wait_for_one_pad(&candidate).await;
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_secs(8), "a pad took {slowest:?}");
    slowest
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trace_ids_without_a_collector() {
    let mut env = TestEnv::start(Options::new("traces-off")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    let pad = env.pads_of(&candidate).await.remove(0);
    assert_eq!(traceparent(&pad), None);
    assert!(!env.operator().logged().contains("trace_id"));
    env.finish().await;
}
