//! The node. `tools/node/run.sh` starts it and stops it when its standard input is closed, however this program ends.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use testkit::repository;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::cluster::Cluster;
use crate::report::Observation;

/// Address for services outside of the cluster, as set in `run.sh`.
pub const HOST_ADDRESS: [u8; 4] = [172, 31, 99, 254];

/// Process of `run.sh`. Dropping it stops the node and waits for that.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        const STOP_TIMEOUT: Duration = Duration::from_secs(30);
        drop(self.0.stdin.take());
        let start = Instant::now();
        while start.elapsed() < STOP_TIMEOUT && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Running node.
pub struct Node {
    run: Run,
    pub cluster: Cluster,
    output: Vec<String>,
}

impl Node {
    /// Starts a node and waits until Pods can be created and names are resolved.
    pub async fn start() -> anyhow::Result<Self> {
        let run = Command::new(repository().join("tools/node/run.sh"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is handled by this program, which stops the node when it ends.
            .process_group(0)
            .spawn()
            .context("cannot start tools/node/run.sh")?;
        let mut run = Run(run);
        let mut lines = BufReader::new(run.0.stdout.take().context("it has no output")?).lines();
        let mut output = Vec::new();
        while let Some(line) = lines.next_line().await? {
            if let Some(kubeconfig) = line.strip_prefix("KUBECONFIG=") {
                let cluster = Cluster::new(Path::new(kubeconfig))?;
                return Ok(Self { run, cluster, output });
            }
            output.push(line.trim_start_matches("node: ").to_owned());
        }
        bail!("the node stopped unexpectedly ({}): {}", run.0.wait().await?, output.join("; "))
    }

    /// Stops the node.
    pub async fn stop(self) -> anyhow::Result<String> {
        let folder = self.cluster.folder().to_owned();
        tokio::task::spawn_blocking(move || drop(self.run)).await?;
        let left = std::fs::read_dir("/sys/fs/cgroup")?.flatten().map(|entry| entry.path());
        let left: Vec<_> =
            left.filter(|path| path.ends_with("kubepods") || path.join("kubepods").exists()).collect();
        if folder.exists() || !left.is_empty() {
            bail!("there is still {} or {left:?}", folder.display());
        }
        Ok("no process, mount, interface, cgroup or file of it".to_owned())
    }
}

impl Observation for Node {
    fn observations(&self) -> String {
        self.output.join("\n")
    }
}
