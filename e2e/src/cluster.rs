//! Command-line programs that people use with a cluster: kubectl, helm and the image loader.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use control_plane::output;
use serde_json::Value;
use tokio::process::Command;

/// Namespace of the operator.
pub const RELEASE_NAMESPACE: &str = "pad-operator";
/// Namespace of the recruiters' resources.
pub const NAMESPACE: &str = "hiring";

/// Timeout far above what any step takes, so that a busy machine makes the test slow but not red.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(120);

/// Returns the root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// Waits until the check succeeds. Its error describes the current state.
pub async fn eventually<T>(
    what: &str,
    mut check: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        match check().await {
            Err(error) if start.elapsed() > WAIT_TIMEOUT => {
                return Err(error.context(format!("timed out after {WAIT_TIMEOUT:?} waiting until {what}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            done => return done,
        }
    }
}

/// Administrator's access to the cluster.
pub struct Cluster {
    kubeconfig: PathBuf,
    path: OsString,
    home: tempfile::TempDir,
}

impl Cluster {
    pub fn new(kubeconfig: &Path) -> anyhow::Result<Self> {
        let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|assets| !assets.is_empty());
        // The plugin `kubectl pad` is next to this program.
        let programs_folder = std::env::current_exe()?.with_file_name("");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = assets.map(PathBuf::from).into_iter();
        let folders = folders.chain([repository().join(".tools/bin"), programs_folder]);
        let path = std::env::join_paths(folders.chain(std::env::split_paths(&path)))?;
        Ok(Self { kubeconfig: kubeconfig.to_owned(), path, home: tempfile::tempdir()? })
    }

    /// Returns the folder that holds all files of the node.
    pub fn folder(&self) -> &Path {
        self.kubeconfig.parent().unwrap_or(&self.kubeconfig)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // No proxy and no personal settings.
        command
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.home.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .current_dir(repository());
        command
    }

    /// Runs kubectl with arguments as typed, without quoting.
    pub async fn kubectl(&self, arguments: &str) -> anyhow::Result<String> {
        self.kubectl_with(arguments, "").await
    }

    /// Like [`kubectl`](Self::kubectl), with standard input.
    pub async fn kubectl_with(&self, arguments: &str, input: &str) -> anyhow::Result<String> {
        output(self.command("kubectl").args(arguments.split_whitespace()), input).await
    }

    /// Returns the JSON output of `kubectl get`.
    pub async fn get(&self, what: &str) -> anyhow::Result<Value> {
        let text = self.kubectl(&format!("get {what} --output json")).await?;
        serde_json::from_str(&text).with_context(|| format!("kubectl printed no JSON for {what}"))
    }

    /// Returns the items of a list.
    pub async fn list(&self, what: &str) -> anyhow::Result<Vec<Value>> {
        let mut list = self.get(what).await?;
        Ok(serde_json::from_value(list["items"].take())?)
    }

    /// Applies an object.
    pub async fn apply(&self, object: &Value) -> anyhow::Result<()> {
        self.kubectl_with("apply --filename -", &object.to_string()).await.map(drop)
    }

    /// Runs helm with arguments as typed, and with values.
    pub async fn helm(&self, arguments: &str, values: &Value) -> anyhow::Result<String> {
        output(self.command("helm").args(arguments.split_whitespace()), &values.to_string()).await
    }

    /// Imports an image from an archive into the node's image store.
    pub async fn load(&self, archive: &Path) -> anyhow::Result<()> {
        let socket = self.folder().join("containerd/containerd.sock");
        let mut ctr = self.command("ctr");
        ctr.arg("--address").arg(socket).args(["--namespace", "k8s.io", "images", "import"]).arg(archive);
        output(&mut ctr, "").await.map(drop)
    }

    /// Prints the state after a failure.
    pub async fn diagnose(&self) {
        for question in [
            "get pods --all-namespaces --output wide",
            "get events --all-namespaces --sort-by .lastTimestamp",
            "get leverconnections,padconfigurations,pads --all-namespaces --output wide",
            "describe pods --namespace pad-operator",
            "logs --namespace pad-operator --selector app.kubernetes.io/name=pad-operator --tail 40 --prefix",
        ] {
            let answer = self.kubectl(question).await.unwrap_or_else(|error| format!("{error:#}"));
            let lines: Vec<_> = answer.lines().collect();
            eprintln!("--- kubectl {question}\n{}", lines[lines.len().saturating_sub(80)..].join("\n"));
        }
    }
}
