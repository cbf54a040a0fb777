//! Cost of existing objects while nothing changes, and their effect on new Pads.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, PostParams};
use pad_operator::api::Pad;
use serde_json::json;
use testkit::process::{cpu, memory};

use crate::bench::Bench;
use crate::environment::{Setup, TestEnv, WAIT};
use crate::load::run_at_rate;
use crate::report::{Metric, mebibytes, milliseconds, percentile};

/// Interval at which both services are polled.
const INTERVAL: Duration = Duration::from_secs(5);
const INTERVAL_TEXT: &str = "5s";

/// Time that a sync looks back for changes, in case a list is delayed.
const SYNC_LOOKBACK: Duration = Duration::from_secs(125);

/// Metrics of an idle operator.
struct IdleMetrics {
    ready: Duration,
    listed: Duration,
    memory: f64,
    /// Milliseconds per interval.
    cpu: f64,
    writes: usize,
    /// By method and path without IDs.
    calls: BTreeMap<String, usize>,
    link: Duration,
}

/// Measures 10, 1,000 and 10,000 open Pads.
pub async fn pads(bench: &Bench) -> anyhow::Result<Vec<Metric>> {
    let mut environment = TestEnv::start(bench, Setup { sync: INTERVAL_TEXT, ..Setup::new("pads") }).await?;
    let like = environment.candidate();
    environment.change_stage(like.clone())?.await?;
    environment.wait_for_links(std::slice::from_ref(&like)).await?;
    let mut all = Vec::new();
    let mut there = 0;
    for number in [10, 1_000, 10_000] {
        environment.create_open_pads(&like, there..number).await?;
        there = number;
        all.push(measure_idle(&mut environment).await?);
    }
    environment.check_violations()?;
    let [few, thousand, many] = all.as_slice() else { anyhow::bail!("three sizes were measured") };
    let ratio = |after: Duration, before: Duration| after.as_secs_f64() / before.as_secs_f64();
    let more_calls =
        many.calls.iter().map(|(call, count)| count.abs_diff(few.calls.get(call).copied().unwrap_or(0)));
    let total = |idle: &IdleMetrics| idle.calls.values().sum::<usize>() as f64;
    Ok(vec![
        Metric::new("10,000 idle Pads: writes in an interval", many.writes as f64, "").at_most(0.0),
        Metric::new("10 idle Pads: calls in an interval", total(few), ""),
        Metric::new(
            "10,000 idle Pads: calls in an interval that differ from those of 10 Pads",
            more_calls.sum::<usize>() as f64,
            "",
        )
        .at_most(0.0),
        Metric::new("1,000 Pads: memory", thousand.memory, "MiB").at_most(25.0),
        Metric::new("10,000 Pads: memory", many.memory, "MiB").at_most(64.0),
        Metric::new("10 Pads: memory", few.memory, "MiB"),
        Metric::new(
            "memory for a Pad more, from 1,000 to 10,000",
            (many.memory - thousand.memory) * 1024.0 / 9_000.0,
            "KiB",
        ),
        Metric::new("10,000 Pads: start to ready", milliseconds(many.ready), "ms"),
        Metric::new("10,000 Pads: a bare list of them", milliseconds(many.listed), "ms"),
        Metric::new(
            "10,000 Pads: start to ready, compared with a bare list",
            ratio(many.ready, many.listed),
            "x",
        )
        .at_most(3.0),
        Metric::median("a new Pad in addition to 10: webhook to link, p50", &[few.link]),
        Metric::median("a new Pad behind 10,000 polled ones: webhook to link, p50", &[many.link]),
        Metric::new("a new Pad behind 10,000 polled ones, compared with 10", ratio(many.link, few.link), "x")
            .at_most(2.0),
        Metric::new("1,000 idle Pads: CPU in an interval", thousand.cpu, "ms"),
        Metric::new("10,000 idle Pads: CPU in an interval", many.cpu, "ms"),
        Metric::new(
            "CPU in an interval, 10,000 Pads compared with 1,000",
            many.cpu / thousand.cpu.max(1.0),
            "x",
        )
        // Linear, and the measure of 1,000 Pads is a few milliseconds.
        .at_most(12.0),
    ])
}

/// Restarts the operator and measures it once it is idle.
async fn measure_idle(environment: &mut TestEnv<'_>) -> anyhow::Result<IdleMetrics> {
    let listed = list(environment).await?;
    let ready = environment.restart().await?;
    let operator = environment.running()?.id()?;
    // The first sync of a process lists pads back to the oldest open Pad.
    calls_of_interval(environment).await?;
    tokio::time::sleep(SYNC_LOOKBACK).await;
    let memory = mebibytes(memory(operator)?);
    let (writes, cpu_before, started) = (environment.writes().await?, cpu(operator)?, Instant::now());
    let calls = calls_of_interval(environment).await?;
    let intervals = started.elapsed().as_secs_f64() / INTERVAL.as_secs_f64();
    let cpu = milliseconds(cpu(operator)? - cpu_before) / intervals;
    let writes = environment.writes().await? - writes;
    let candidates: Vec<_> = (0..60).map(|_| environment.candidate()).collect();
    let moves =
        candidates.iter().map(|one| environment.change_stage(one.clone())).collect::<Result<Vec<_>, _>>()?;
    environment.clear_calls();
    let sent = run_at_rate(5, moves).await?;
    environment.wait_for_links(&candidates).await?;
    let link = percentile(&environment.times_to_link(&sent)?, 50);
    // Moved away, so that the next measurement starts from the same state.
    for candidate in &candidates {
        environment.lever.move_to_stage(candidate, "Onsite").await;
    }
    Ok(IdleMetrics { ready, listed, memory, cpu, writes, calls, link })
}

/// Returns the time to list the Pads, page by page as the operator does.
async fn list(environment: &TestEnv<'_>) -> anyhow::Result<Duration> {
    let pads: Api<Pad> = environment.api();
    let (mut best, mut page) = (Duration::MAX, ListParams::default().limit(500));
    for _ in 0..3 {
        let started = Instant::now();
        loop {
            let listed = pads.list(&page).await?;
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page.continue_token = Some(token),
                None => break,
            }
        }
        page.continue_token = None;
        best = best.min(started.elapsed());
    }
    Ok(best)
}

/// Returns the calls from the start of one sync to the start of the next.
async fn calls_of_interval(environment: &TestEnv<'_>) -> anyhow::Result<BTreeMap<String, usize>> {
    /// Milliseconds: far more than between the first calls of one probe, and far less than between two probes.
    const PROBE_GAP_MS: i64 = 500;
    environment.clear_calls();
    let probes = || -> Vec<i64> {
        let calls = environment.lever.calls();
        calls.iter().filter(|call| call.path == "/v1/stages").map(|call| call.at).collect()
    };
    WAIT.until("an interval has passed", async || match probes().len() {
        count @ ..=2 => Err(format!("{count} probes")),
        _ => Ok(()),
    })
    .await?;
    let (started, ended) = match probes().as_slice() {
        [_, started, ended, ..] => (started - PROBE_GAP_MS, ended - PROBE_GAP_MS),
        _ => anyhow::bail!("expected three probes"),
    };
    let mut calls = BTreeMap::new();
    for call in environment.calls().iter().filter(|call| (started..ended).contains(&call.at)) {
        let path = call.path.split('/').take(4).collect::<Vec<_>>().join("/");
        *calls.entry(format!("{} {path}", call.method)).or_default() += 1;
    }
    Ok(calls)
}

/// Measures one connection and a hundred.
pub async fn connections(bench: &Bench) -> anyhow::Result<Vec<Metric>> {
    const MANY: usize = 100;
    let mut measured = Vec::new();
    for (name, connections) in [("one-connection", 1), ("many-connections", MANY)] {
        let environment =
            TestEnv::start(bench, Setup { connections, sync: INTERVAL_TEXT, ..Setup::new(name) }).await?;
        let operator = environment.running()?.id()?;
        wait_for_interval(&environment, connections).await?;
        let (before, started) = (cpu(operator)?, Instant::now());
        wait_for_interval(&environment, connections).await?;
        wait_for_interval(&environment, connections).await?;
        let intervals = started.elapsed().as_secs_f64() / INTERVAL.as_secs_f64();
        measured.push((mebibytes(memory(operator)?), milliseconds(cpu(operator)? - before) / intervals));
    }
    let [one, many] = measured.as_slice() else { anyhow::bail!("two sizes were measured") };
    Ok(vec![
        Metric::new("1 connection: memory", one.0, "MiB"),
        Metric::new("100 connections: memory", many.0, "MiB"),
        Metric::new("memory for a connection more", (many.0 - one.0) * 1024.0 / (MANY - 1) as f64, "KiB"),
        Metric::new("memory, 100 connections compared with 1", many.0 / one.0, "x").at_most(MANY as f64),
        Metric::new("1 connection: CPU in an interval", one.1, "ms"),
        Metric::new("100 connections: CPU in an interval", many.1, "ms"),
        Metric::new("CPU in an interval, 100 connections compared with 1", many.1 / one.1.max(1.0), "x")
            .at_most(MANY as f64),
    ])
}

async fn wait_for_interval(environment: &TestEnv<'_>, connections: usize) -> anyhow::Result<()> {
    environment.clear_calls();
    WAIT.until("all were polled", async || {
        let polled = environment.lever.calls().iter().filter(|call| call.path == "/v1/stages").count();
        ensure!(polled >= connections, "{polled} were");
        Ok(())
    })
    .await
}

/// Measures the effect of unrelated Secrets.
pub async fn secrets(bench: &Bench) -> anyhow::Result<Vec<Metric>> {
    const SECRETS: usize = 300;
    const BYTES: usize = 1_000_000;
    let mut environment =
        TestEnv::start(bench, Setup { sync: INTERVAL_TEXT, ..Setup::new("secrets") }).await?;
    let mut memories = Vec::new();
    let without = memory_after_restart(&mut environment).await?;
    let secrets: Api<Secret> = environment.api();
    let text = "x".repeat(BYTES);
    let made = (0..SECRETS).map(|number| {
        let (secrets, text) = (secrets.clone(), text.clone());
        async move {
            let secret =
                json!({"metadata": {"name": format!("unrelated-{number}")}, "stringData": {"data": text}});
            secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
            anyhow::Ok(())
        }
    });
    stream::iter(made).buffer_unordered(4).try_collect::<Vec<()>>().await?;
    // The watch has delivered them.
    memories.push(mebibytes(memory(environment.running()?.id()?)?));
    // The initial list contains them.
    memories.push(memory_after_restart(&mut environment).await?);
    let most = memories.into_iter().reduce(f64::max).context("two values were measured")?;
    Ok(vec![
        Metric::new("memory without other Secrets", without, "MiB"),
        Metric::new("memory with 300 Secrets of 1 MB", most, "MiB"),
        Metric::new("growth by 300 unrelated Secrets of 1 MB", most - without, "MiB").at_most(2.0),
    ])
}

async fn memory_after_restart(environment: &mut TestEnv<'_>) -> anyhow::Result<f64> {
    environment.restart().await?;
    calls_of_interval(environment).await?;
    Ok(mebibytes(memory(environment.running()?.id()?)?))
}
