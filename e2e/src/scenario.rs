//! The test scenario, step by step. Each step prints its observations.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use simulators::{Fault, PausePoint};

use crate::cluster::{Cluster, NAMESPACE, RELEASE_NAMESPACE, WAIT};
use crate::environment::{Candidate, TestEnv};
use crate::load::Load;
use crate::node::Node;
use crate::pods::{self, Usage};
use crate::report::Report;
use crate::{image, ledger};

/// Arguments of helm for the chart and its namespace.
const CHART: &str = "pads charts/pad-operator --namespace pad-operator --wait --timeout 2m --values -";
/// Long enough for the kubelet to measure again.
const MEASURE_INTERVAL: Duration = Duration::from_secs(12);

/// Number of Pods that stop under load. Each may close one kept connection just as a webhook is sent on it.
const REPLACED_PODS: usize = 4;

/// Runs the scenario from installing to uninstalling.
pub async fn run(report: &mut Report, node: &Node, image: &str) -> anyhow::Result<()> {
    let cluster = &node.cluster;
    let environment = Arc::new(TestEnv::start().await?);
    let mut candidates = Vec::new();

    report
        .step(
            "the image is loaded, and Lever and CoderPad run outside",
            prepare(cluster, &environment, image),
        )
        .await?;
    let install = async {
        let output = cluster.helm(&format!("install {CHART}"), &environment.values(image)?).await?;
        Ok(first_line(&output))
    };
    report.step("helm install --wait", install).await?;
    report
        .step("two Pods are Ready, as restricted as the chart specifies", check_confinement_of_pods(cluster))
        .await?;
    report.step("PodSecurity rejects a less restricted Pod there", check_pod_security(cluster)).await?;
    report.step("Lever and CoderPad are connected", environment.connect(cluster)).await?;
    let main_job = main_job(cluster, &environment, &mut candidates);
    report.step("webhooks through the Service become pads with links", main_job).await?;
    report.step("idle", usage(cluster)).await?;

    under_load(report, cluster, &environment, image, &mut candidates).await?;
    report.step("interviews end: one note each", end_interviews(cluster, &environment, &candidates)).await?;
    for (name, what) in [
        (
            LeaderFailure::Killed,
            "the leader's process is killed (SIGKILL) with the response to a pad creation in flight",
        ),
        (
            LeaderFailure::Deleted,
            "the leader's Pod is deleted by force with the response to a pad creation in flight",
        ),
        (
            LeaderFailure::Frozen,
            "the leader hangs (SIGSTOP) with the response to a pad creation in flight: liveness probe",
        ),
    ] {
        report.step(what, fail_leader(cluster, &environment, name, &mut candidates)).await?;
    }
    report.step("the ledger of all candidates", compare_all(cluster, &environment, &candidates)).await?;
    report.step("output of kubectl", tables(cluster)).await?;
    report.step("helm uninstall", uninstall(cluster, candidates.len())).await.map(drop)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

async fn prepare(cluster: &Cluster, environment: &TestEnv, image: &str) -> anyhow::Result<String> {
    let archive = cluster.folder().join("images/operator.tar");
    image::save(image, &archive).await?;
    cluster.load(Path::new(&archive)).await?;
    for namespace in [RELEASE_NAMESPACE, NAMESPACE] {
        cluster.kubectl(&format!("create namespace {namespace}")).await?;
    }
    let enforce = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl(&format!("label namespace {RELEASE_NAMESPACE} {enforce}")).await?;
    environment.route_lever(cluster).await?;
    Ok(format!("{image}; namespace {RELEASE_NAMESPACE} with {enforce}"))
}

async fn check_confinement_of_pods(cluster: &Cluster) -> anyhow::Result<String> {
    let mut observations = Vec::new();
    for pod in pods::wait_two_ready(cluster).await? {
        ensure!(pod.restarts == 0, "the Pod {} was restarted {} times", pod.name, pod.restarts);
        observations.push(format!("{}: {}", pod.name, pod.process()?.check_confinement()?));
    }
    Ok(observations.join("\n"))
}

async fn check_pod_security(cluster: &Cluster) -> anyhow::Result<String> {
    let intruder = "run intruder --image intruder --dry-run=server --namespace";
    let outcome = cluster.kubectl(&format!("{intruder} {RELEASE_NAMESPACE}")).await;
    let refusal = outcome.err().context("it was not rejected")?.to_string();
    let why = refusal.split_once("violates PodSecurity").context(refusal.clone())?.1;
    Ok(format!("violates PodSecurity{}", why.split(": ").next().unwrap_or_default()))
}

async fn main_job(
    cluster: &Cluster,
    environment: &TestEnv,
    candidates: &mut Vec<Candidate>,
) -> anyhow::Result<String> {
    for number in 0..5 {
        candidates.push(environment.candidate_in_stage(&format!("First {number}")).await);
    }
    Ok(ledger::compare_when_settled(cluster, environment, candidates, "Open").await?.to_string())
}

async fn usage(cluster: &Cluster) -> anyhow::Result<String> {
    let before = Usage::now(cluster, None).await?;
    tokio::time::sleep(MEASURE_INTERVAL).await;
    Ok(Usage::now(cluster, Some(&before)).await?.since(&before))
}

/// Replaces all Pods twice while Lever keeps sending stage changes.
async fn under_load(
    report: &mut Report,
    cluster: &Cluster,
    environment: &Arc<TestEnv>,
    image: &str,
    candidates: &mut Vec<Candidate>,
) -> anyhow::Result<()> {
    let load = Load::start(environment, "Under load");
    let mut values = environment.values(image)?;
    values["podAnnotations"] = serde_json::json!({"example.com/configuration": "another"});
    let upgrade = async {
        let output = cluster.helm(&format!("upgrade {CHART}"), &values).await?;
        replaced_pods(cluster, &first_line(&output)).await
    };
    report.step("helm upgrade --wait, under load", upgrade).await?;
    let restart = async {
        cluster.kubectl(&format!("rollout restart deployment --namespace {RELEASE_NAMESPACE}")).await?;
        let status = format!("rollout status deployment --timeout 2m --namespace {RELEASE_NAMESPACE}");
        let output = cluster.kubectl(&status).await?;
        replaced_pods(cluster, output.lines().last().unwrap_or_default()).await
    };
    report.step("kubectl rollout restart, under load", restart).await?;
    report.step("under load", usage(cluster)).await?;

    let result = async {
        let result = load.stop(environment).await?;
        candidates.extend(result.entered);
        let failures: Vec<_> =
            result.failures.iter().map(|(how, count)| format!("{count} times {how}")).collect();
        ensure!(failures.is_empty(), "of {} webhooks: {}", result.webhooks, failures.join("; "));
        ensure!(
            result.crossed <= REPLACED_PODS,
            "{} connections were closed under a webhook",
            result.crossed
        );
        let at_once = result.webhooks - result.crossed;
        Ok(format!("{} webhooks, {at_once} of them answered with 2xx on the first attempt", result.webhooks))
    };
    report.step("no webhook is rejected", result).await?;
    let compare_when_settled = async {
        Ok(ledger::compare_when_settled(cluster, environment, candidates, "Open").await?.to_string())
    };
    report.step("nothing is lost or duplicated", compare_when_settled).await.map(drop)
}

async fn replaced_pods(cluster: &Cluster, output: &str) -> anyhow::Result<String> {
    let pods = pods::wait_two_ready(cluster).await?;
    let names: Vec<_> = pods.iter().map(|pod| pod.name.as_str()).collect();
    Ok(format!("{output}; now {}", names.join(" and ")))
}

async fn end_interviews(
    cluster: &Cluster,
    environment: &TestEnv,
    candidates: &[Candidate],
) -> anyhow::Result<String> {
    let ending = &candidates[..candidates.len().min(15)];
    for candidate in ending {
        let links = environment.lever.links(&candidate.id);
        let pads = environment.interview.pads().into_iter().filter(|pad| links.contains(&pad.url));
        for pad in pads {
            environment.interview.start_interview(&pad.id, &[&candidate.name, "Olga Owner"]);
            environment.interview.end_interview(&pad.id);
        }
    }
    environment.sync(cluster, "interviews-are-over").await?;
    let ledger = ledger::compare_when_settled(cluster, environment, ending, "Ended").await?;
    ensure!(ledger.notes == ending.len(), "{ledger}");
    Ok(ledger.to_string())
}

/// Failure of a leader.
#[derive(Clone, Copy, Debug)]
enum LeaderFailure {
    Killed,
    Deleted,
    Frozen,
}

/// Makes the leader fail after CoderPad has created a pad and before the response arrives.
async fn fail_leader(
    cluster: &Cluster,
    environment: &TestEnv,
    death: LeaderFailure,
    candidates: &mut Vec<Candidate>,
) -> anyhow::Result<String> {
    let leader = pods::leader(cluster).await?;
    let process = leader.process()?;
    let held =
        environment.interview.faults().add(Fault::on("POST", "^/api/pads/?$").pause(PausePoint::AfterEffect));
    let candidate = environment.candidate_in_stage(&format!("{death:?}")).await;
    tokio::time::timeout(WAIT.timeout, held.reached()).await.context("no pad was created")?;
    match death {
        LeaderFailure::Killed => process.signal("KILL").await?,
        LeaderFailure::Frozen => process.signal("STOP").await?,
        LeaderFailure::Deleted => {
            let delete = format!(
                "delete pod {} --namespace {RELEASE_NAMESPACE} --force --grace-period 0",
                leader.name
            );
            cluster.kubectl(&delete).await?;
        }
    }
    WAIT.until("the process is gone", async || {
        ensure!(!process.is_running(), "it still exists");
        Ok(())
    })
    .await?;
    held.remove();
    let ledger =
        ledger::compare_when_settled(cluster, environment, std::slice::from_ref(&candidate), "Open").await?;
    candidates.push(candidate);
    let successor = pods::leader(cluster).await?;
    pods::wait_two_ready(cluster).await?;
    Ok(format!("{ledger}; led by {} before, by {} after", leader.name, successor.name))
}

async fn compare_all(
    cluster: &Cluster,
    environment: &TestEnv,
    candidates: &[Candidate],
) -> anyhow::Result<String> {
    let ledger = ledger::compare(environment, candidates)?;
    let made = environment.interview.pads().len();
    ensure!(made == candidates.len(), "{made} pads were created for {} entries", candidates.len());
    let requests = environment.check_violations()?;
    let restarts: u64 = pods::all(cluster).await?.iter().map(|pod| pod.restarts).sum();
    Ok(format!(
        "{ledger}\n{requests} requests to Lever and CoderPad, none that they would reject; {restarts} restarts"
    ))
}

async fn tables(cluster: &Cluster) -> anyhow::Result<String> {
    const ROWS: usize = 8;
    let mut observations = Vec::new();
    for command in ["get leverconnections", "get padconfigurations", "get pads", "pad status"] {
        let answer = cluster.kubectl(&format!("{command} --namespace {NAMESPACE}")).await?;
        observations.push(format!("$ kubectl {command} --namespace {NAMESPACE}"));
        observations.extend(answer.lines().take(ROWS).map(str::to_owned));
        let more = answer.lines().count().saturating_sub(ROWS);
        if more > 0 {
            observations.push(format!("... and {more} more lines"));
        }
    }
    Ok(observations.join("\n"))
}

async fn uninstall(cluster: &Cluster, pads: usize) -> anyhow::Result<String> {
    cluster
        .helm(&format!("uninstall pads --namespace {RELEASE_NAMESPACE} --wait"), &serde_json::Value::Null)
        .await?;
    WAIT.until("the Pods are gone", async || {
        let left = pods::all(cluster).await?.len();
        ensure!(left == 0, "{left} Pods are left");
        Ok(())
    })
    .await?;
    let mut remaining = Vec::new();
    for (kind, expected) in [("leverconnections", 1), ("padconfigurations", 1), ("pads", pads)] {
        let count = cluster.list(&format!("{kind} --namespace {NAMESPACE}")).await?.len();
        ensure!(count == expected, "{count} {kind} are left of {expected}");
        remaining.push(format!("{count} {kind}"));
    }
    Ok(format!("no Pod is left; these remain: {}", remaining.join(", ")))
}
