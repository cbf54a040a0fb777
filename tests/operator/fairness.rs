//! Many accounts in one operator: problems of one account do not delay the others.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use simulators::{Fault, KeyRole, LeverOptions, LeverSimulator, Permissions};

use crate::environment::{Options, STAGE, TestEnv};
use crate::floods::{delivery, flood};
use crate::wait::{MACHINE, eventually};

const HEALTHY: usize = 50;
/// Connection whose services accept requests and never respond.
const HANGING: &str = "hanging";
/// Number of webhooks of the flooded connection.
const FLOODED: &str = "flooded";
const FLOOD: usize = 10_000;

/// Creates a connection with its own keys and configuration; its signing token is `token-of-<name>`.
async fn add(env: &TestEnv, name: &str, lever: &LeverSimulator) {
    let owner = &simulators::InterviewOptions::default().users[0].email;
    let key = |service: &str| format!("{service}-key-0f41-{name}");
    lever.set_key(&key("lever"), Permissions::all());
    env.interview.set_key(&key("interview"), owner, KeyRole::Owner);
    let secret = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": env.namespace}, "stringData": {"lever-api-key": key("lever"),
        "interview-api-key": key("interview"), "lever-signing-token": format!("token-of-{name}")}});
    env.cluster.kubectl(&["create", "--filename", "-"], Some(&secret.to_string())).await.unwrap();
    let mut spec = env.connection_spec();
    for path in ["/lever/apiKeySecretRef", "/interview/apiKeySecretRef", "/webhook/signingTokenSecretRef"] {
        spec.pointer_mut(path).unwrap()["name"] = json!(name);
    }
    spec["lever"]["url"] = json!(lever.url());
    spec["sync"] = json!({"interval": "0s"});
    env.apply("leverconnections", name, spec).await;
    env.apply("padconfigurations", name, json!({"connectionRef": {"name": name}})).await;
}

/// Returns the times from webhook to link, for one candidate of each healthy connection, started one after the other.
async fn delays(env: &TestEnv, names: &[String], stage: &str) -> Vec<Duration> {
    let (operator, namespace) = (&env.operators[0], env.namespace);
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let one = async |number: usize, name: &String| {
        tokio::time::sleep(Duration::from_millis(100) * u32::try_from(number).unwrap()).await;
        let candidate = env.candidate();
        env.lever.move_to_stage(&candidate, STAGE).await;
        let started = Instant::now();
        // Failed deliveries are retried, as Lever does, and that time counts too.
        let url = format!("http://127.0.0.1:{}/webhooks/lever/{namespace}/{name}", operator.webhooks);
        eventually("the delivery is accepted", async || {
            let body = delivery(&format!("token-of-{name}"), &candidate, stage, 0);
            match client.post(&url).body(body).send().await.map(|answer| answer.status().as_u16()) {
                Ok(200) => Ok(()),
                other => Err(format!("{other:?} for {name}")),
            }
        })
        .await;
        eventually("the link exists", async || match env.lever.links(&candidate).len() {
            0 => Err(format!("none for {name} after {:?}", started.elapsed())),
            _ => Ok(()),
        })
        .await;
        started.elapsed()
    };
    let mut delays = join_all(names.iter().enumerate().map(|(number, name)| one(number, name))).await;
    delays.sort();
    delays
}

/// Returns median, 95th percentile and maximum.
fn percentiles(delays: &[Duration]) -> [Duration; 3] {
    [delays[delays.len() / 2], delays[delays.len() * 95 / 100], delays[delays.len() - 1]]
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_connections_continue_while_one_hangs_and_one_is_flooded() {
    let _alone = MACHINE.lock().await;
    let hanging = LeverSimulator::start(LeverOptions::default()).await.unwrap();
    let mut options = Options::new("fairness").without_setup();
    options
        .flags
        .extend(["--leader-election=false", format!("--allow-api-origin={}", hanging.origin()).leak()]);
    // Logging each call would be most of the work.
    options.levels = Some("warn");
    let env = TestEnv::start(options).await;
    let names: Vec<String> = (0..HEALTHY).map(|number| format!("healthy-{number}")).collect();
    for name in names.iter().map(String::as_str).chain([FLOODED]) {
        add(&env, name, &env.lever).await;
    }
    add(&env, HANGING, &hanging).await;
    for name in names.iter().map(String::as_str).chain([FLOODED, HANGING]) {
        env.wait_for("leverconnections", name, "Ready", "True/Connected").await;
        env.wait_for("padconfigurations", name, "Ready", "True/InUse").await;
    }
    let stage = env.lever.stage_id(STAGE).unwrap();
    let quiet = percentiles(&delays(&env, &names, &stage).await);

    let fault = hanging.faults().add(Fault::on("*", "^/").hang().until_removed());
    let stage_there = hanging.stage_id(STAGE).unwrap();
    let to_hang = (0..60).map(|n| delivery("token-of-hanging", &format!("hanging-{n}"), &stage_there, 0));
    flood(&env.operators[0], env.namespace, HANGING, 8, to_hang).await;
    eventually(
        "its calls hang",
        async || {
            if fault.hits() >= 20 { Ok(()) } else { Err(fault.hits().to_string()) }
        },
    )
    .await;
    let bodies = (0..FLOOD).map(|n| delivery("token-of-flooded", &format!("nobody-{n}"), &stage, 0));
    let (operator, started) = (&env.operators[0], Instant::now());
    let flooding = async {
        let answers = flood(operator, env.namespace, FLOODED, 200, bodies).await;
        (answers, started.elapsed())
    };
    let twice = async {
        let first = delays(&env, &names, &stage).await;
        let mut both = [first, delays(&env, &names, &stage).await].concat();
        both.sort();
        both
    };
    let ((answers, took), bad) = tokio::join!(flooding, twice);
    let bad = percentiles(&bad);
    println!(
        "fairness: from the webhook to the link, over {HEALTHY} connections, median, 95 % and worst: {quiet:?} when all is \
         quiet; {bad:?} while one account hangs and one gets {FLOOD} webhooks, answered {answers:?} within {took:?}"
    );
    assert!(fault.hits() >= 20 && answers.values().sum::<usize>() == FLOOD);
    // The flood uses all of a small machine. A candidate queued behind the flood or the hanging calls would wait for
    // minutes.
    for (bad, quiet, more) in [(bad[0], quiet[0], 12), (bad[1], quiet[1], 24)] {
        assert!(bad < quiet + Duration::from_secs(more), "{quiet:?}, then {bad:?}");
    }
    fault.remove();
    for name in [HANGING, FLOODED] {
        env.delete("leverconnections", name).await;
    }
    env.finish().await;
}
