//! The test scenario, step by step. Each step prints its observations.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use simulators::{Fault, Moment};

use crate::cluster::{Cluster, NAMESPACE, PATIENCE, RELEASE_NAMESPACE, eventually};
use crate::load::Load;
use crate::node::Node;
use crate::pods::{self, Usage};
use crate::report::Report;
use crate::world::{Candidate, World};
use crate::{books, image};

/// Arguments of helm for the chart and its namespace.
const CHART: &str = "pads charts/pad-operator --namespace pad-operator --wait --timeout 2m --values -";
/// Long enough for the kubelet to measure again.
const REST: Duration = Duration::from_secs(12);

/// Number of Pods that stop under load. Each may close one kept connection just as a webhook is sent on it.
const ENDED: usize = 4;

/// Runs the scenario from installing to uninstalling.
pub async fn tell(report: &mut Report, node: &Node, image: &str) -> anyhow::Result<()> {
    let cluster = &node.cluster;
    let world = Arc::new(World::start().await?);
    let mut candidates = Vec::new();

    report
        .step("the image is loaded, and Lever and CoderPad run outside", prepare(cluster, &world, image))
        .await?;
    let install = async {
        let said = cluster.helm(&format!("install {CHART}"), &world.values(image)?).await?;
        Ok(first_line(&said))
    };
    report.step("helm install --wait", install).await?;
    report.step("two Pods are Ready, as restricted as the chart specifies", confined(cluster)).await?;
    report.step("PodSecurity rejects a less restricted Pod there", refused(cluster)).await?;
    report.step("Lever and CoderPad are connected", world.join(cluster)).await?;
    let main_job = main_job(cluster, &world, &mut candidates);
    report.step("webhooks through the Service become pads with links", main_job).await?;
    report.step("idle", usage(cluster)).await?;

    under_load(report, cluster, &world, image, &mut candidates).await?;
    report.step("interviews end: one note each", interviews_end(cluster, &world, &candidates)).await?;
    for (name, what) in [
        (
            Death::Killed,
            "the leader's process is killed (SIGKILL) with the response to a pad creation in flight",
        ),
        (
            Death::Deleted,
            "the leader's Pod is deleted by force with the response to a pad creation in flight",
        ),
        (
            Death::Frozen,
            "the leader hangs (SIGSTOP) with the response to a pad creation in flight: liveness probe",
        ),
    ] {
        report.step(what, dies(cluster, &world, name, &mut candidates)).await?;
    }
    report.step("the ledger of all candidates", all_books(cluster, &world, &candidates)).await?;
    report.step("output of kubectl", tables(cluster)).await?;
    report.step("helm uninstall", uninstall(cluster, candidates.len())).await.map(drop)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

async fn prepare(cluster: &Cluster, world: &World, image: &str) -> anyhow::Result<String> {
    let archive = cluster.folder().join("images/operator.tar");
    image::save(image, &archive).await?;
    cluster.load(Path::new(&archive)).await?;
    for namespace in [RELEASE_NAMESPACE, NAMESPACE] {
        cluster.kubectl(&format!("create namespace {namespace}")).await?;
    }
    let enforce = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl(&format!("label namespace {RELEASE_NAMESPACE} {enforce}")).await?;
    world.lead_out(cluster).await?;
    Ok(format!("{image}; namespace {RELEASE_NAMESPACE} with {enforce}"))
}

async fn confined(cluster: &Cluster) -> anyhow::Result<String> {
    let mut seen = Vec::new();
    for pod in pods::two_ready(cluster).await? {
        ensure!(pod.restarts == 0, "the Pod {} was restarted {} times", pod.name, pod.restarts);
        seen.push(format!("{}: {}", pod.name, pod.process()?.check_confinement()?));
    }
    Ok(seen.join("\n"))
}

async fn refused(cluster: &Cluster) -> anyhow::Result<String> {
    let intruder = "run intruder --image intruder --dry-run=server --namespace";
    let outcome = cluster.kubectl(&format!("{intruder} {RELEASE_NAMESPACE}")).await;
    let refusal = outcome.err().context("it was not rejected")?.to_string();
    let why = refusal.split_once("violates PodSecurity").context(refusal.clone())?.1;
    Ok(format!("violates PodSecurity{}", why.split(": ").next().unwrap_or_default()))
}

async fn main_job(
    cluster: &Cluster,
    world: &World,
    candidates: &mut Vec<Candidate>,
) -> anyhow::Result<String> {
    for number in 0..5 {
        candidates.push(world.entered(&format!("First {number}")).await);
    }
    Ok(books::settled(cluster, world, candidates, "Open").await?.to_string())
}

async fn usage(cluster: &Cluster) -> anyhow::Result<String> {
    let before = Usage::now(cluster, None).await?;
    tokio::time::sleep(REST).await;
    Ok(Usage::now(cluster, Some(&before)).await?.since(&before))
}

/// Replaces all Pods twice while Lever keeps sending stage changes.
async fn under_load(
    report: &mut Report,
    cluster: &Cluster,
    world: &Arc<World>,
    image: &str,
    candidates: &mut Vec<Candidate>,
) -> anyhow::Result<()> {
    let load = Load::start(world, "Under load");
    let mut values = world.values(image)?;
    values["podAnnotations"] = serde_json::json!({"example.com/configuration": "another"});
    let upgrade = async {
        let said = cluster.helm(&format!("upgrade {CHART}"), &values).await?;
        exchanged(cluster, &first_line(&said)).await
    };
    report.step("helm upgrade --wait, under load", upgrade).await?;
    let restart = async {
        cluster.kubectl(&format!("rollout restart deployment --namespace {RELEASE_NAMESPACE}")).await?;
        let status = format!("rollout status deployment --timeout 2m --namespace {RELEASE_NAMESPACE}");
        let said = cluster.kubectl(&status).await?;
        exchanged(cluster, said.lines().last().unwrap_or_default()).await
    };
    report.step("kubectl rollout restart, under load", restart).await?;
    report.step("under load", usage(cluster)).await?;

    let told = async {
        let told = load.end(world).await?;
        candidates.extend(told.entered);
        let failures: Vec<_> =
            told.failures.iter().map(|(how, count)| format!("{count} times {how}")).collect();
        ensure!(failures.is_empty(), "of {} webhooks: {}", told.webhooks, failures.join("; "));
        ensure!(told.crossed <= ENDED, "{} connections were closed under a webhook", told.crossed);
        let at_once = told.webhooks - told.crossed;
        Ok(format!("{} webhooks, {at_once} of them answered with 2xx on the first attempt", told.webhooks))
    };
    report.step("no webhook is rejected", told).await?;
    let settled = async { Ok(books::settled(cluster, world, candidates, "Open").await?.to_string()) };
    report.step("nothing is lost or duplicated", settled).await.map(drop)
}

async fn exchanged(cluster: &Cluster, said: &str) -> anyhow::Result<String> {
    let pods = pods::two_ready(cluster).await?;
    let names: Vec<_> = pods.iter().map(|pod| pod.name.as_str()).collect();
    Ok(format!("{said}; now {}", names.join(" and ")))
}

async fn interviews_end(
    cluster: &Cluster,
    world: &World,
    candidates: &[Candidate],
) -> anyhow::Result<String> {
    let ending = &candidates[..candidates.len().min(15)];
    for candidate in ending {
        let links = world.lever.links(&candidate.id);
        let pads = world.interview.pads().into_iter().filter(|pad| links.contains(&pad.url));
        for pad in pads {
            world.interview.start_interview(&pad.id, &[&candidate.name, "Olga Owner"]);
            world.interview.end_interview(&pad.id);
        }
    }
    world.sync(cluster, "interviews-are-over").await?;
    let books = books::settled(cluster, world, ending, "Ended").await?;
    ensure!(books.notes == ending.len(), "{books}");
    Ok(books.to_string())
}

/// Failure of a leader.
#[derive(Clone, Copy, Debug)]
enum Death {
    Killed,
    Deleted,
    Frozen,
}

/// Makes the leader fail after CoderPad has created a pad and before the response arrives.
async fn dies(
    cluster: &Cluster,
    world: &World,
    death: Death,
    candidates: &mut Vec<Candidate>,
) -> anyhow::Result<String> {
    let leader = pods::leader(cluster).await?;
    let process = leader.process()?;
    let held = world.interview.faults().add(Fault::on("POST", "^/api/pads/?$").pause(Moment::AfterEffect));
    let candidate = world.entered(&format!("{death:?}")).await;
    tokio::time::timeout(PATIENCE, held.reached()).await.context("no pad was created")?;
    match death {
        Death::Killed => process.signal("KILL").await?,
        Death::Frozen => process.signal("STOP").await?,
        Death::Deleted => {
            let delete = format!(
                "delete pod {} --namespace {RELEASE_NAMESPACE} --force --grace-period 0",
                leader.name
            );
            cluster.kubectl(&delete).await?;
        }
    }
    eventually("the process is gone", async || {
        ensure!(!process.lives(), "it still exists");
        Ok(())
    })
    .await?;
    held.remove();
    let books = books::settled(cluster, world, std::slice::from_ref(&candidate), "Open").await?;
    candidates.push(candidate);
    let successor = pods::leader(cluster).await?;
    pods::two_ready(cluster).await?;
    Ok(format!("{books}; led by {} before, by {} after", leader.name, successor.name))
}

async fn all_books(cluster: &Cluster, world: &World, candidates: &[Candidate]) -> anyhow::Result<String> {
    let books = books::compare(world, candidates)?;
    let made = world.interview.pads().len();
    ensure!(made == candidates.len(), "{made} pads were created for {} entries", candidates.len());
    let requests = world.check_manners()?;
    let restarts: u64 = pods::all(cluster).await?.iter().map(|pod| pod.restarts).sum();
    Ok(format!(
        "{books}\n{requests} requests to Lever and CoderPad, none that they would reject; {restarts} restarts"
    ))
}

async fn tables(cluster: &Cluster) -> anyhow::Result<String> {
    const ROWS: usize = 8;
    let mut seen = Vec::new();
    for command in ["get leverconnections", "get padconfigurations", "get pads", "pad status"] {
        let answer = cluster.kubectl(&format!("{command} --namespace {NAMESPACE}")).await?;
        seen.push(format!("$ kubectl {command} --namespace {NAMESPACE}"));
        seen.extend(answer.lines().take(ROWS).map(str::to_owned));
        let more = answer.lines().count().saturating_sub(ROWS);
        if more > 0 {
            seen.push(format!("... and {more} more lines"));
        }
    }
    Ok(seen.join("\n"))
}

async fn uninstall(cluster: &Cluster, pads: usize) -> anyhow::Result<String> {
    cluster
        .helm(&format!("uninstall pads --namespace {RELEASE_NAMESPACE} --wait"), &serde_json::Value::Null)
        .await?;
    eventually("the Pods are gone", async || {
        let left = pods::all(cluster).await?.len();
        ensure!(left == 0, "{left} Pods are left");
        Ok(())
    })
    .await?;
    let mut stayed = Vec::new();
    for (kind, expected) in [("leverconnections", 1), ("padconfigurations", 1), ("pads", pads)] {
        let count = cluster.list(&format!("{kind} --namespace {NAMESPACE}")).await?.len();
        ensure!(count == expected, "{count} {kind} are left of {expected}");
        stayed.push(format!("{count} {kind}"));
    }
    Ok(format!("no Pod is left; these remain: {}", stayed.join(", ")))
}
