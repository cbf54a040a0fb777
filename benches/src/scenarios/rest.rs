//! Cost of existing objects while nothing changes, and their effect on new Pads.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, PostParams};
use pad_operator::api::Pad;
use serde_json::json;

use crate::bench::Bench;
use crate::load::paced;
use crate::process::{cpu, memory};
use crate::report::{Figure, milliseconds, percentile};
use crate::world::{Setup, World, wait_until};

/// Interval at which both services are polled.
const INTERVAL: Duration = Duration::from_secs(5);
const INTERVAL_TEXT: &str = "5s";

/// Time that a sync looks back for changes, in case a list is delayed.
const SETTLED: Duration = Duration::from_secs(125);

/// Metrics of an idle operator.
struct Rest {
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
pub async fn pads(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut world = World::start(bench, Setup { sync: INTERVAL_TEXT, ..Setup::new("pads") }).await?;
    let like = world.candidate();
    world.change_stage(like.clone())?.await?;
    world.wait_for_links(std::slice::from_ref(&like)).await?;
    let mut all = Vec::new();
    let mut there = 0;
    for number in [10, 1_000, 10_000] {
        world.make_open_pads(&like, there..number).await?;
        there = number;
        all.push(at_rest(&mut world).await?);
    }
    world.check()?;
    let [few, thousand, many] = all.as_slice() else { anyhow::bail!("three sizes were measured") };
    let ratio = |after: Duration, before: Duration| after.as_secs_f64() / before.as_secs_f64();
    let more_calls =
        many.calls.iter().map(|(call, count)| count.abs_diff(few.calls.get(call).copied().unwrap_or(0)));
    let total = |rest: &Rest| rest.calls.values().sum::<usize>() as f64;
    Ok(vec![
        Figure::new("10,000 Pads at rest: writes in an interval", many.writes as f64, "").at_most(0.0),
        Figure::new("10 Pads at rest: calls in an interval", total(few), ""),
        Figure::new(
            "10,000 Pads at rest: calls in an interval that differ from 10 Pads'",
            more_calls.sum::<usize>() as f64,
            "",
        )
        .at_most(0.0),
        Figure::new("1,000 Pads: memory", thousand.memory, "MiB").at_most(25.0),
        Figure::new("10,000 Pads: memory", many.memory, "MiB").at_most(60.0),
        Figure::new("10 Pads: memory", few.memory, "MiB"),
        Figure::new(
            "memory for a Pad more, from 1,000 to 10,000",
            (many.memory - thousand.memory) * 1024.0 / 9_000.0,
            "KiB",
        ),
        Figure::new("10,000 Pads: start to ready", milliseconds(many.ready), "ms"),
        Figure::new("10,000 Pads: a bare list of them", milliseconds(many.listed), "ms"),
        Figure::new(
            "10,000 Pads: start to ready, compared with a bare list",
            ratio(many.ready, many.listed),
            "x",
        )
        .at_most(3.0),
        Figure::median("a new Pad beside 10: webhook to link, p50", &[few.link]),
        Figure::median("a new Pad behind 10,000 polled ones: webhook to link, p50", &[many.link]),
        Figure::new("a new Pad behind 10,000 polled ones, compared with 10", ratio(many.link, few.link), "x")
            .at_most(2.0),
        Figure::new("1,000 Pads at rest: CPU in an interval", thousand.cpu, "ms"),
        Figure::new("10,000 Pads at rest: CPU in an interval", many.cpu, "ms"),
        Figure::new(
            "CPU in an interval, 10,000 Pads compared with 1,000",
            many.cpu / thousand.cpu.max(1.0),
            "x",
        )
        .at_most(10.0),
    ])
}

/// Restarts the operator and measures it once it is idle.
async fn at_rest(world: &mut World<'_>) -> anyhow::Result<Rest> {
    let listed = list(world).await?;
    let ready = world.restart().await?;
    let operator = world.running()?.id()?;
    // The first sync of a process lists pads back to the oldest open Pad.
    an_interval(world).await?;
    tokio::time::sleep(SETTLED).await;
    let memory = memory(operator)?;
    let (writes, cpu_before, began) = (world.writes().await?, cpu(operator)?, Instant::now());
    let calls = an_interval(world).await?;
    let intervals = began.elapsed().as_secs_f64() / INTERVAL.as_secs_f64();
    let cpu = milliseconds(cpu(operator)? - cpu_before) / intervals;
    let writes = world.writes().await? - writes;
    let candidates: Vec<_> = (0..60).map(|_| world.candidate()).collect();
    let moves =
        candidates.iter().map(|one| world.change_stage(one.clone())).collect::<Result<Vec<_>, _>>()?;
    world.forget_calls();
    let sent = paced(5, moves).await?;
    world.wait_for_links(&candidates).await?;
    let link = percentile(&world.times_to_link(&sent)?, 50);
    // Moved away, so that the next measurement starts from the same state.
    for candidate in &candidates {
        world.lever.move_to_stage(candidate, "Onsite").await;
    }
    Ok(Rest { ready, listed, memory, cpu, writes, calls, link })
}

/// Returns the time to list the Pads, page by page as the operator does.
async fn list(world: &World<'_>) -> anyhow::Result<Duration> {
    let pads: Api<Pad> = world.api();
    let (mut best, mut page) = (Duration::MAX, ListParams::default().limit(500));
    for _ in 0..3 {
        let began = Instant::now();
        loop {
            let listed = pads.list(&page).await?;
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page.continue_token = Some(token),
                None => break,
            }
        }
        page.continue_token = None;
        best = best.min(began.elapsed());
    }
    Ok(best)
}

/// Returns the calls from the start of one sync to the start of the next.
async fn an_interval(world: &World<'_>) -> anyhow::Result<BTreeMap<String, usize>> {
    /// Milliseconds: far more than between the first calls of one probe, and far less than between two probes.
    const MOMENT: i64 = 500;
    world.forget_calls();
    let probes = || -> Vec<i64> {
        let calls = world.lever.calls();
        calls.iter().filter(|call| call.path == "/v1/stages").map(|call| call.at).collect()
    };
    wait_until("an interval has passed", async || Ok(probes().len() > 2)).await?;
    let (began, ended) = match probes().as_slice() {
        [_, began, ended, ..] => (began - MOMENT, ended - MOMENT),
        _ => anyhow::bail!("expected three probes"),
    };
    let mut calls = BTreeMap::new();
    for call in world.calls().iter().filter(|call| (began..ended).contains(&call.at)) {
        let path = call.path.split('/').take(4).collect::<Vec<_>>().join("/");
        *calls.entry(format!("{} {path}", call.method)).or_default() += 1;
    }
    Ok(calls)
}

/// Measures one connection and a hundred.
pub async fn connections(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    const MANY: usize = 100;
    let mut measured = Vec::new();
    for (name, connections) in [("one-connection", 1), ("many-connections", MANY)] {
        let world =
            World::start(bench, Setup { connections, sync: INTERVAL_TEXT, ..Setup::new(name) }).await?;
        let operator = world.running()?.id()?;
        an_interval_of_all(&world, connections).await?;
        let (before, began) = (cpu(operator)?, Instant::now());
        an_interval_of_all(&world, connections).await?;
        an_interval_of_all(&world, connections).await?;
        let intervals = began.elapsed().as_secs_f64() / INTERVAL.as_secs_f64();
        measured.push((memory(operator)?, milliseconds(cpu(operator)? - before) / intervals));
    }
    let [one, many] = measured.as_slice() else { anyhow::bail!("two sizes were measured") };
    Ok(vec![
        Figure::new("1 connection: memory", one.0, "MiB"),
        Figure::new("100 connections: memory", many.0, "MiB"),
        Figure::new("memory for a connection more", (many.0 - one.0) * 1024.0 / (MANY - 1) as f64, "KiB"),
        Figure::new("memory, 100 connections compared with 1", many.0 / one.0, "x").at_most(MANY as f64),
        Figure::new("1 connection: CPU in an interval", one.1, "ms"),
        Figure::new("100 connections: CPU in an interval", many.1, "ms"),
        Figure::new("CPU in an interval, 100 connections compared with 1", many.1 / one.1.max(1.0), "x")
            .at_most(MANY as f64),
    ])
}

async fn an_interval_of_all(world: &World<'_>, connections: usize) -> anyhow::Result<()> {
    world.forget_calls();
    wait_until("all were polled", async || {
        Ok(world.lever.calls().iter().filter(|call| call.path == "/v1/stages").count() >= connections)
    })
    .await
}

/// Measures the effect of unrelated Secrets.
pub async fn secrets(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    const SECRETS: usize = 300;
    const BYTES: usize = 1_000_000;
    let mut world = World::start(bench, Setup { sync: INTERVAL_TEXT, ..Setup::new("secrets") }).await?;
    let mut memories = Vec::new();
    let without = started_and_polled(&mut world).await?;
    let secrets: Api<Secret> = world.api();
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
    memories.push(memory(world.running()?.id()?)?);
    // The initial list contains them.
    memories.push(started_and_polled(&mut world).await?);
    let most = memories.into_iter().reduce(f64::max).context("two values were measured")?;
    Ok(vec![
        Figure::new("memory without other Secrets", without, "MiB"),
        Figure::new("memory with 300 Secrets of 1 MB", most, "MiB"),
        Figure::new("growth by 300 unrelated Secrets of 1 MB", most - without, "MiB").at_most(2.0),
    ])
}

async fn started_and_polled(world: &mut World<'_>) -> anyhow::Result<f64> {
    world.restart().await?;
    an_interval(world).await?;
    memory(world.running()?.id()?)
}
