//! Floods of the webhook endpoint: their cost is bounded, and no other connection waits for them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use simulators::{KeyRole, Permissions};
use testkit::webhook::stage_change;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::environment::{CONNECTION, Options, STAGE, TestEnv};
use crate::process::Operator;
use crate::status::phase;
use crate::wait::{MACHINE, eventually, eventually_within};

/// Creates another connection in the same namespace, to the same services with its own keys.
const FLOODED: &str = "flooded";
const FLOODED_TOKEN: &str = "signing-token-77aa-flooded";

/// Posts all bodies to a connection's webhook, a limited number in parallel, and counts the responses.
pub async fn flood(
    operator: &Operator,
    namespace: &str,
    connection: &str,
    at_once: usize,
    bodies: impl Iterator<Item = String>,
) -> BTreeMap<u16, usize> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
    let url = format!("http://127.0.0.1:{}/webhooks/lever/{namespace}/{connection}", operator.webhooks);
    let posts = bodies.map(|body| {
        let post = client.post(&url).body(body);
        async move { post.send().await.unwrap().status().as_u16() }
    });
    let answers = stream::iter(posts).buffer_unordered(at_once);
    answers
        .fold(BTreeMap::new(), async |mut counts, status| {
            *counts.entry(status).or_default() += 1;
            counts
        })
        .await
}

pub fn delivery(signing_token: &str, opportunity: &str, stage: &str, padding: usize) -> String {
    let mut body = stage_change(signing_token, opportunity, stage, Timestamp::now().as_millisecond());
    body["data"]["padding"] = "x".repeat(padding).into();
    body.to_string()
}

async fn requests_of(env: &TestEnv) -> usize {
    let (user, all) = (env.user(0), env.cluster.requests(env.namespace).await);
    // Watches are restarted automatically, and an unsigned request does not update the last delivery.
    all.iter().filter(|one| one.user == user && one.verb != "watch" && one.resource != "leases").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn unsigned_flood_costs_no_request_log_line_or_memory() {
    let _alone = MACHINE.lock().await;
    let mut options = Options::new("unsigned-flood");
    options.flags.push("--leader-election=false");
    let mut env = TestEnv::start(options).await;
    let stage = env.lever.stage_id(STAGE).unwrap();
    let bodies = |count: usize, padding: usize| {
        let stage = stage.clone();
        (0..count).map(move |n| delivery("another token", &format!("nobody-{n}"), &stage, padding))
    };
    let (namespace, large) = (env.namespace, 250_000);
    let operator = env.operators.remove(0);
    // Costs of the first requests, such as buffers of connections, are not growth.
    flood(&operator, namespace, CONNECTION, 64, bodies(1_000, 0)).await;
    flood(&operator, namespace, CONNECTION, 64, bodies(200, large)).await;
    let (memory, requests, lines) =
        (operator.memory(), requests_of(&env).await, operator.logged().lines().count());
    let small = flood(&operator, namespace, CONNECTION, 64, bodies(10_000, 0)).await;
    let large = flood(&operator, namespace, CONNECTION, 64, bodies(600, large)).await;
    let garbage = flood(&operator, namespace, CONNECTION, 64, (0..2_000).map(|n| "[".repeat(n))).await;
    let nowhere = flood(&operator, namespace, "nowhere", 64, bodies(2_000, 0)).await;
    assert_eq!(small, BTreeMap::from([(401, 10_000)]));
    assert_eq!(large, BTreeMap::from([(401, 600)]));
    assert_eq!(garbage, BTreeMap::from([(400, 2_000)]));
    assert_eq!(nowhere, BTreeMap::from([(404, 2_000)]));
    assert_eq!(requests_of(&env).await, requests, "to the API server");
    assert_eq!(operator.logged().lines().count(), lines, "lines in the log");
    let after = operator.memory();
    println!("flood: 14600 unsigned requests, 600 of them of 250 kB: {memory} KiB before, {after} KiB after");
    assert!(after < memory + 24 * 1024, "{memory} KiB before, {after} KiB after");

    env.operators.push(operator);
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    env.finish().await;
}

/// Starts a second connection that is Ready, with keys, a configuration and a webhook.
async fn add_flooded(env: &TestEnv) {
    let owner = &simulators::InterviewOptions::default().users[0].email;
    env.lever.set_key("lever-51c0-flooded", Permissions::all());
    env.interview.set_key("interview-51c0-flooded", owner, KeyRole::Owner);
    for private in ["lever-51c0-flooded", "interview-51c0-flooded", FLOODED_TOKEN] {
        env.declare_private(private);
    }
    let secret = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": FLOODED, "namespace": env.namespace}, "stringData": {"lever-api-key": "lever-51c0-flooded",
        "interview-api-key": "interview-51c0-flooded", "lever-signing-token": FLOODED_TOKEN}});
    env.cluster.kubectl(&["create", "--filename", "-"], Some(&secret.to_string())).await.unwrap();
    let mut spec = env.connection_spec();
    for path in ["/lever/apiKeySecretRef", "/interview/apiKeySecretRef", "/webhook/signingTokenSecretRef"] {
        spec.pointer_mut(path).unwrap()["name"] = json!(FLOODED);
    }
    spec["sync"] = json!({"interval": "0s"});
    env.apply("leverconnections", FLOODED, spec).await;
    env.apply("padconfigurations", FLOODED, json!({"connectionRef": {"name": FLOODED}})).await;
    env.wait_for("leverconnections", FLOODED, "Ready", "True/Connected").await;
    env.wait_for("padconfigurations", FLOODED, "Ready", "True/InUse").await;
}

/// Returns the time until a candidate of the other connection has a pad.
async fn time_of_one(env: &TestEnv, limit: Duration) -> [Duration; 2] {
    let (candidate, started) = (env.candidate(), Instant::now());
    assert_eq!(env.enter(&candidate).await["outcome"], "Accepted");
    let taken = started.elapsed();
    eventually_within(limit, "the other connection's pad exists", async || {
        let name = env.pads_of(&candidate).await;
        let phases: Vec<_> = name.iter().map(phase).collect();
        if phases == ["Open/Open"] { Ok(()) } else { Err(format!("{phases:?}")) }
    })
    .await;
    [taken, started.elapsed()]
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_flood_of_one_connection_is_bounded_and_starves_no_other() {
    let _alone = MACHINE.lock().await;
    let mut options = Options::new("signed-flood");
    options.flags.push("--leader-election=false");
    let mut env = TestEnv::start(options).await;
    add_flooded(&env).await;
    let stage = env.lever.stage_id(STAGE).unwrap();
    let bodies = |numbers: std::ops::Range<usize>| {
        numbers.map(|n| delivery(FLOODED_TOKEN, &format!("nobody-{n}"), &stage, 0)).collect::<Vec<_>>()
    };
    let namespace = env.namespace;
    let operator = env.operators.remove(0);
    let memory = operator.memory();
    let (answers, during) = tokio::join!(
        flood(&operator, namespace, FLOODED, 400, bodies(0..3_000).into_iter()),
        time_of_one(&env, Duration::from_secs(30)),
    );
    let after = operator.memory();
    // Thousands of Pads of the flooded connection now wait for the rate limit of their account.
    let [taken, open] = time_of_one(&env, Duration::from_secs(15)).await;
    println!(
        "flood: 3000 signed requests of one connection, 400 at once: {answers:?}; another connection's delivery took \
         {during:?} during and {taken:?} after it, until its pad was there; then {open:?}; {memory} KiB before, {after} KiB after"
    );
    assert!(answers.keys().all(|status| [200, 503].contains(status)), "{answers:?}");
    assert!(answers.get(&503).is_some_and(|sent_away| *sent_away > 100), "{answers:?}");
    assert!(answers.get(&200).is_some_and(|taken| *taken >= 100), "{answers:?}");
    let waiting = env
        .list("pads")
        .await
        .into_iter()
        .filter(|pad| phase(pad) == "/" || phase(pad).starts_with("Pending"));
    assert!(waiting.count() > 100, "the flood was not over when the other connection's pad came");
    env.operators.push(operator);
    env.delete("leverconnections", FLOODED).await;
    env.finish().await;
}

/// Connects and sends only the start of a request.
async fn send_partial(port: u16, what: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(what).await.unwrap();
    stream
}

/// Returns the response until the other side closes, while sending a byte from time to time.
async fn read_slowly(mut stream: TcpStream) -> String {
    let mut received = Vec::new();
    let ends = async {
        let mut buffer = [0; 512];
        loop {
            match timeout(Duration::from_millis(700), stream.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(length)) => received.extend_from_slice(&buffer[..length]),
                Err(_) => _ = stream.write_all(b"x").await,
            }
        }
    };
    timeout(Duration::from_secs(40), ends).await.expect("a slow client is disconnected");
    String::from_utf8(received).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_disconnected_and_do_not_block_others() {
    let _alone = MACHINE.lock().await;
    let env = TestEnv::start(Options::new("slow-clients")).await;
    let port = env.operators[0].webhooks;
    let memory = env.operators[0].memory();
    let path = format!("/webhooks/lever/{}/{CONNECTION}", env.namespace);
    let body = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n{{");
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    // More clients than can be served in parallel: all slots are taken, and others wait.
    let mut slow = Vec::new();
    for n in 0..600 {
        slow.push(send_partial(port, if n % 2 == 0 { &body } else { &head }.as_bytes()).await);
    }
    let all = tokio::spawn(stream::iter(slow).map(read_slowly).buffer_unordered(600).collect::<Vec<_>>());
    let (candidate, started, stage) = (env.candidate(), Instant::now(), env.lever.stage_id(STAGE).unwrap());
    // On a new connection: Lever's existing one might already be served.
    let one = [delivery(&env.signing_token, &candidate, &stage, 0)].into_iter();
    let answer = flood(&env.operators[0], env.namespace, CONNECTION, 1, one).await;
    assert_eq!(answer, BTreeMap::from([(200, 1)]));
    let taken = started.elapsed();
    let answers = all.await.unwrap();
    let disconnected = started.elapsed();
    assert!(taken < Duration::from_secs(25), "a delivery waited {taken:?}");
    env.wait_for_pad(&candidate, "Skipped/StageChanged").await;
    let after = env.operators[0].memory();
    println!(
        "flood: 600 slow clients: a delivery took {taken:?}, all were disconnected after {disconnected:?}; {memory} KiB before, {after} KiB after"
    );
    assert!(
        answers.iter().all(|answer| answer.is_empty() || answer.starts_with("HTTP/1.1 40")),
        "{answers:?}"
    );
    assert!(answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 408")).count() > 100);
    assert!(after < memory + 48 * 1024, "{memory} KiB before, {after} KiB after");
    env.finish().await;
}

/// The services of a connection never respond, so each of its Pads keeps its work permit until the timeout.
#[tokio::test(flavor = "multi_thread")]
async fn hanging_service_delays_no_other_connection() {
    let mut options = Options::new("hanging");
    options.flags.push("--leader-election=false");
    let env = TestEnv::start(options).await;
    add_flooded(&env).await;
    // All start at once.
    env.patch("leverconnections", FLOODED, json!({"spec": {"suspend": true}})).await;
    env.wait_for("leverconnections", FLOODED, "Suspended", "True/Suspended").await;
    let hang = simulators::Fault::on("GET", "^/v1/opportunities/hanging-").hang().until_removed();
    let fault = env.lever.faults().add(hang);
    for n in 0..60 {
        let spec = json!({"configurationRef": {"name": FLOODED}, "connectionRef": {"name": FLOODED},
            "opportunityID": format!("hanging-{n}")});
        env.apply("pads", &format!("hanging-{n}"), spec).await;
    }
    env.patch("leverconnections", FLOODED, json!({"spec": {"suspend": false}})).await;
    eventually("all work permits of the connection are taken", async || {
        if fault.hits() >= 24 { Ok(()) } else { Err(fault.hits().to_string()) }
    })
    .await;
    let [taken, open] = time_of_one(&env, Duration::from_secs(12)).await;
    println!(
        "flood: with {} hanging calls of another connection a delivery took {taken:?}, its pad {open:?}",
        fault.hits()
    );
    let pads: Vec<Value> = env.list("pads").await;
    assert!(pads.iter().filter(|pad| phase(pad).starts_with("Pending") || phase(pad) == "/").count() > 30);
    fault.remove();
    env.delete("leverconnections", FLOODED).await;
    env.finish().await;
}
