//! The operator's Pods, as the API server reports them and as the kernel runs them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::cluster::{Cluster, RELEASE_NAMESPACE, WAIT};

/// Pod of the operator.
pub struct Pod {
    pub name: String,
    uid: String,
    pub ready: bool,
    pub restarts: u64,
}

impl Pod {
    fn from_object(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let container = &object["status"]["containerStatuses"][0];
        Self {
            name: text(&object["metadata"]["name"]),
            uid: text(&object["metadata"]["uid"]),
            ready: container["ready"] == true && object["metadata"]["deletionTimestamp"].is_null(),
            restarts: container["restartCount"].as_u64().unwrap_or_default(),
        }
    }

    /// Returns the operator's process in the Pod, by its ID on the machine.
    pub fn process(&self) -> anyhow::Result<Process> {
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let folder = entry.path();
            let is_operator =
                fs::read(folder.join("cmdline")).is_ok_and(|line| line.starts_with(b"/pad-operator\0"));
            let cgroups = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
            if is_operator && cgroups.contains(&self.uid) {
                return Ok(Process(id));
            }
        }
        bail!("the Pod {} has no process /pad-operator", self.name)
    }
}

/// Process on the machine.
pub struct Process(u32);

impl Process {
    fn folder(&self) -> PathBuf {
        format!("/proc/{}", self.0).into()
    }

    /// Sends a signal, such as KILL.
    pub async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        testkit::process::signal(self.0, signal).await
    }

    /// Reports whether the process still exists.
    pub fn is_running(&self) -> bool {
        self.folder().exists()
    }

    /// Checks the restrictions that the kernel enforces, and describes them.
    pub fn check_confinement(&self) -> anyhow::Result<String> {
        let status = fs::read_to_string(self.folder().join("status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|values| values.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap_or_default()
        };
        let none = "0000000000000000";
        for (name, expected) in [
            ("Uid", "65532 65532 65532 65532"),
            ("Gid", "65532 65532 65532 65532"),
            ("Groups", "65532"),
            ("CapEff", none),
            ("CapPrm", none),
            ("CapBnd", none),
            ("NoNewPrivs", "1"),
            // System calls are filtered by the container runtime's list.
            ("Seccomp", "2"),
        ] {
            ensure!(field(name) == expected, "{name} of the process is {:?}, not {expected:?}", field(name));
        }
        let mounts = fs::read_to_string(self.folder().join("mountinfo"))?;
        let root = mounts.lines().find_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            (fields.get(4) == Some(&"/")).then(|| fields.get(5).copied().unwrap_or_default().to_owned())
        });
        let root = root.context("it has no root")?;
        ensure!(root.split(',').any(|option| option == "ro"), "its root is mounted {root}");
        Ok("user and group 65532, no capability, no new privileges, system calls filtered, root read-only"
            .into())
    }
}

/// Returns all Pods, including terminating ones.
pub async fn all(cluster: &Cluster) -> anyhow::Result<Vec<Pod>> {
    let pods = cluster.list(&format!("pods --namespace {RELEASE_NAMESPACE}")).await?;
    Ok(pods.iter().map(Pod::from_object).collect())
}

/// Waits until there are two Pods, both Ready, and none that is terminating.
pub async fn wait_two_ready(cluster: &Cluster) -> anyhow::Result<Vec<Pod>> {
    WAIT.until("there are two Pods and both are Ready", async || {
        let pods = all(cluster).await?;
        ensure!(
            pods.len() == 2 && pods.iter().all(|pod| pod.ready),
            "{}",
            pods.iter().map(|pod| format!("{} ready: {}; ", pod.name, pod.ready)).collect::<String>()
        );
        Ok(pods)
    })
    .await
}

/// Returns the Pod that holds the Lease.
pub async fn leader(cluster: &Cluster) -> anyhow::Result<Pod> {
    let lease = cluster.get(&format!("lease pad-operator --namespace {RELEASE_NAMESPACE}")).await?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    let pods = all(cluster).await?;
    let leads = |pod: &Pod| holder.split('_').next() == Some(&pod.name);
    pods.into_iter().find(leads).with_context(|| format!("no Pod is the Lease's holder {holder:?}"))
}

/// Resource usage of all Pods as measured by the kubelet: CPU in seconds, and memory of the largest Pod in MiB.
pub struct Usage {
    cpu: f64,
    memory: f64,
    at: String,
    measured: Duration,
}

impl Usage {
    /// Waits for a measurement that is newer than `before`.
    pub async fn now(cluster: &Cluster, before: Option<&Self>) -> anyhow::Result<Self> {
        WAIT.until("the kubelet has measured the Pods", async || {
            let summary = cluster.kubectl("get --raw /api/v1/nodes/node/proxy/stats/summary").await?;
            let summary: Value = serde_json::from_str(&summary)?;
            let pods = summary["pods"].as_array().map(Vec::as_slice).unwrap_or_default();
            let containers: Vec<_> = pods
                .iter()
                .filter(|pod| pod["podRef"]["namespace"] == RELEASE_NAMESPACE)
                .map(|pod| &pod["containers"][0])
                .collect();
            ensure!(containers.len() == 2, "there are {} Pods in the kubelet's summary", containers.len());
            let mut usage = Self { cpu: 0.0, memory: 0.0, at: String::new(), measured: Duration::ZERO };
            for container in containers {
                usage.cpu += container["cpu"]["usageCoreNanoSeconds"].as_f64().context("no CPU")? / 1e9;
                let memory = container["memory"]["workingSetBytes"].as_f64().context("no memory")?;
                usage.memory = usage.memory.max(memory / f64::from(1 << 20));
                usage.at = container["cpu"]["time"].as_str().unwrap_or_default().to_owned();
            }
            let is_newer = before.is_none_or(|before| before.at < usage.at && before.cpu < usage.cpu);
            ensure!(is_newer, "nothing is newer than {}", usage.at);
            usage.measured = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
            Ok(usage)
        })
        .await
    }

    /// Describes the average usage since an earlier measurement.
    pub fn since(&self, before: &Self) -> String {
        let seconds = self.measured.saturating_sub(before.measured).as_secs_f64().max(1.0);
        let cores = (self.cpu - before.cpu) / seconds * 1000.0;
        format!("working set of the larger Pod {:.0} MiB; CPU of both {cores:.0}m", self.memory)
    }
}
