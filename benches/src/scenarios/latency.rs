//! Latency of webhook responses and links, compared with the bare requests on the same machine in the same run.

use std::time::Duration;

use anyhow::ensure;
use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use pad_operator::api::Pad;
use serde_json::json;
use simulators::{InterviewOptions, LeverOptions};

use crate::bench::Bench;
use crate::environment::{Sent, Setup, TestEnv, field_manager};
use crate::load::{alternate, run_at_rate, timed};
use crate::report::{Metric, milliseconds, percentile};

/// Rounds in which the two compared kinds of work alternate, so that a slow phase of the machine affects both.
const ROUNDS: usize = 10;

/// Measures the webhook responses of a follower: their cost in addition to the one write that they need.
pub async fn answers(bench: &Bench) -> anyhow::Result<Vec<Metric>> {
    const PER_SECOND: u32 = 200;
    const REQUESTS_PER_ROUND: usize = 300;
    /// A twentieth of a second. Every few seconds the API server is slow for some hundreds of requests, most likely
    /// because of garbage collection. With longer turns the slow phase hit the same kind of work in every round.
    const TURN: usize = 10;
    /// A pause of the machine spoils one round and not all of them: each round has its own 99th percentile, and their
    /// median counts.
    const ROUNDS: usize = 30;
    let mut environment = TestEnv::start(bench, Setup::new("answers")).await?;
    // A follower rejects webhooks once 10,000 Pads are waiting.
    let (bare_env, like) = bare_env(bench, "answers-aside").await?;
    // Another holder has the Lease for longer than the scenario takes.
    let lease = json!({"metadata": {"name": "pad-operator"}, "spec": {"holderIdentity": "somebody-else",
        "leaseDurationSeconds": 3600, "leaseTransitions": 1, "acquireTime": micro_time(), "renewTime": micro_time()}});
    let leases: Api<Lease> = environment.api();
    leases.create(&PostParams::default(), &serde_json::from_value(lease)?).await?;
    environment.restart_with(&[]).await?;
    let (mut bare, mut answered) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let creates = (0..REQUESTS_PER_ROUND).map(|number| {
            let (pads, mut pad) = (bare_env.api::<Pad>(), like.clone());
            pad.spec.opportunity_id = format!("bare-{round}-{number}");
            pad.metadata.name = Some(format!("bare-{round}-{number}"));
            async move { Ok(timed(async { Ok(pads.create(&field_manager(), &pad).await?) }).await?.1) }
                .boxed()
        });
        let moves = (0..REQUESTS_PER_ROUND).map(|_| {
            let change = environment.change_stage(environment.candidate())?;
            anyhow::Ok(async move { Ok(change.await?.took) }.boxed())
        });
        let moves = moves.collect::<Result<Vec<_>, _>>()?;
        let (created, sent) = alternate(PER_SECOND, TURN, creates.collect(), moves).await?;
        // The first round is a warm-up.
        if round > 0 {
            bare.push(created);
            answered.push(sent);
        }
    }
    let median_percentile = |rounds: &[Vec<Duration>], percent| {
        let each: Vec<_> = rounds.iter().map(|times| percentile(times, percent)).collect();
        milliseconds(percentile(&each, 50))
    };
    let (bare_p99, answered_p99) = (median_percentile(&bare, 99), median_percentile(&answered, 99));
    Ok(vec![
        Metric::new("at 200/s: bare create of a Pad, p50", median_percentile(&bare, 50), "ms"),
        Metric::new("at 200/s: webhook answer, p50", median_percentile(&answered, 50), "ms"),
        Metric::new("at 200/s: bare create of a Pad, p99", bare_p99, "ms"),
        Metric::new("at 200/s: webhook answer, p99", answered_p99, "ms"),
        Metric::new(
            "at 200/s: webhook answer p99, all rounds",
            milliseconds(percentile(&answered.concat(), 99)),
            "ms",
        ),
        Metric::new(
            "at 200/s: bare create p99, all rounds",
            milliseconds(percentile(&bare.concat(), 99)),
            "ms",
        ),
        Metric::new(
            "at 200/s: webhook answer p99, compared with a bare create",
            answered_p99 / bare_p99,
            "x",
        )
        .at_most(1.5),
    ])
}

/// Starts an environment without an operator, for the bare requests, and returns it with a Pad like the one that the
/// receiver creates there.
async fn bare_env<'a>(bench: &'a Bench, name: &'static str) -> anyhow::Result<(TestEnv<'a>, Pad)> {
    let mut bare_env = TestEnv::start(bench, Setup::new(name)).await?;
    let like = bare_env.pad_for("like").await?;
    bare_env.stop().await?;
    Ok((bare_env, like))
}

fn micro_time() -> String {
    format!("{:.6}", Timestamp::now())
}

const PER_SECOND: u32 = 30;
const REQUESTS_PER_ROUND: usize = 90;

/// Measures webhook responses and links at a rate that leaves the machine spare capacity.
pub async fn latency(bench: &Bench) -> anyhow::Result<Vec<Metric>> {
    let environment = TestEnv::start(bench, Setup::new("latency")).await?;
    let (bare_env, like) = bare_env(bench, "latency-aside").await?;
    let (mut creates, mut writes, mut calls, mut sent) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let bare = (0..REQUESTS_PER_ROUND).map(|number| {
            let (bench, pads) = (bench.http.clone(), bare_env.api::<Pad>());
            let mut pad = like.clone();
            pad.metadata.name = Some(format!("bare-{round}-{number}"));
            let services = (bare_env.lever.url(), bare_env.interview.url(), bare_env.candidate());
            async move { bare(&bench, &pads, &pad, &services).await }
        });
        let bare = run_at_rate(PER_SECOND, bare.collect::<Vec<_>>()).await?;
        let round_sent = stage_changes(&environment).await?;
        // The first round is a warm-up.
        if round > 0 {
            for one in bare {
                creates.push(one.create);
                writes.push(one.writes);
                calls.push(one.calls);
            }
            sent.extend(round_sent);
        }
    }
    let answers: Vec<_> = sent.iter().map(|one| one.took).collect();
    let links = environment.times_to_link(&sent)?;
    environment.check_violations()?;
    let p50 = |times: &[Duration]| milliseconds(percentile(times, 50));
    let sum = p50(&writes) + p50(&calls);
    Ok(vec![
        Metric::median("at 30/s: bare create of a Pad, p50", &creates),
        Metric::median("at 30/s: 4 bare writes, p50", &writes),
        Metric::median("at 30/s: 3 bare calls, p50", &calls),
        Metric::median("at 30/s: webhook answer, p50", &answers),
        Metric::new("at 30/s: webhook answer, p99", milliseconds(percentile(&answers, 99)), "ms"),
        Metric::new(
            "at 30/s: webhook answer p50, compared with a bare create",
            p50(&answers) / p50(&creates),
            "x",
        )
        .at_most(1.3),
        Metric::median("at 30/s: webhook to link, p50", &links),
        Metric::new("at 30/s: webhook to link, p99", milliseconds(percentile(&links, 99)), "ms"),
        Metric::new(
            "at 30/s: webhook to link p50, compared with 4 bare writes and 3 bare calls",
            p50(&links) / sum,
            "x",
        )
        .at_most(1.3),
    ])
}

async fn stage_changes(environment: &TestEnv<'_>) -> anyhow::Result<Vec<Sent>> {
    let candidates: Vec<_> = (0..REQUESTS_PER_ROUND).map(|_| environment.candidate()).collect();
    let moves =
        candidates.iter().map(|one| environment.change_stage(one.clone())).collect::<Result<Vec<_>, _>>()?;
    let sent = run_at_rate(PER_SECOND, moves).await?;
    environment.wait_for_links(&candidates).await?;
    Ok(sent)
}

struct BareTimes {
    create: Duration,
    writes: Duration,
    calls: Duration,
}

/// Sends the requests that the operator sends for one pad, without the operator.
async fn bare(
    http: &reqwest::Client,
    pads: &Api<Pad>,
    pad: &Pad,
    (lever, interview, opportunity): &(String, String, String),
) -> anyhow::Result<BareTimes> {
    let name = pad.name_any();
    let (_, create) = timed(async { Ok(pads.create(&field_manager(), pad).await?) }).await?;
    let parameters = PatchParams::default();
    let change = async |body: serde_json::Value| -> anyhow::Result<Pad> {
        Ok(pads.patch(&name, &parameters, &Patch::Merge(body)).await?)
    };
    let (_, others) = timed(async {
        change(json!({"metadata": {"annotations": {"bench/first": "1"}, "finalizers": ["bench/first"]}}))
            .await?;
        change(json!({"metadata": {"annotations": {"bench/second": "2"}, "finalizers": []}})).await?;
        let status =
            json!({"status": {"phase": "Open", "padID": "ABC", "url": "https://app.coderpad.io/ABC"}});
        Ok(pads.patch_status(&name, &parameters, &Patch::Merge(status)).await?)
    })
    .await?;
    let (lever_key, interview_key) = (LeverOptions::default().api_key, InterviewOptions::default().api_key);
    let (_, calls) = timed(async {
        let candidate = format!("{lever}/opportunities/{opportunity}");
        let read = http.get(&candidate).basic_auth(&lever_key, Some("")).send().await?;
        ensure!(read.status().is_success(), "the bare read was answered {}", read.status());
        read.bytes().await?;
        let form = [("title", "Candidate - Phone Screen"), ("notes", "Reference: none"), ("private", "true")];
        let token = format!("Token token=\"{interview_key}\"");
        let made =
            http.post(format!("{interview}/pads/")).header("authorization", token).form(&form).send().await?;
        ensure!(made.status().is_success(), "the bare creation was answered {}", made.status());
        made.bytes().await?;
        let links = json!({"links": ["https://app.coderpad.io/ABC"]});
        let linked = http
            .post(format!("{candidate}/addLinks"))
            .basic_auth(&lever_key, Some(""))
            .json(&links)
            .send()
            .await?;
        ensure!(linked.status().is_success(), "the bare link was answered {}", linked.status());
        Ok(linked.bytes().await?)
    })
    .await?;
    Ok(BareTimes { create, writes: create + others, calls })
}

/// Measures links with slow services.
pub async fn slow_services(bench: &Bench) -> anyhow::Result<Vec<Metric>> {
    const CALL_DELAY: Duration = Duration::from_millis(100);
    let environment = TestEnv::start(bench, Setup::new("slow-services")).await?;
    stage_changes(&environment).await?;
    environment.slow_down(CALL_DELAY);
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.extend(stage_changes(&environment).await?);
    }
    // A link exists when its call is over.
    let links: Vec<_> = environment.times_to_link(&sent)?.into_iter().map(|time| time + CALL_DELAY).collect();
    environment.check_violations()?;
    Ok(vec![
        Metric::median("at 30/s, 100 ms a call: webhook to link, p50", &links).at_most(350.0),
        Metric::new(
            "at 30/s, 100 ms a call: webhook to link, p99",
            milliseconds(percentile(&links, 99)),
            "ms",
        ),
    ])
}
