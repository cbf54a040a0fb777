//! Access to the cluster, as people have it: kubectl, helm and the image loader.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use testkit::{CommandLine, Wait, output, repository};

/// Namespace of the operator.
pub const RELEASE_NAMESPACE: &str = "pad-operator";
/// Namespace of the recruiters' resources.
pub const NAMESPACE: &str = "hiring";

/// Limits of all waits. The checks run kubectl, and the machine has other work to do.
pub const WAIT: Wait = Wait { timeout: Duration::from_secs(120), poll: Duration::from_millis(200) };

/// Administrator's access to the cluster.
pub struct Cluster {
    command_line: CommandLine,
    _home: tempfile::TempDir,
}

impl Cluster {
    pub fn new(kubeconfig: &Path) -> anyhow::Result<Self> {
        let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|assets| !assets.is_empty());
        let (assets, tools) = (assets.map(PathBuf::from), repository().join(".tools/bin"));
        // The plugin `kubectl pad` is next to this program.
        let own_folder = std::env::current_exe()?.with_file_name("");
        let folders: Vec<_> = assets.as_deref().into_iter().chain([&*tools, &*own_folder]).collect();
        let home = tempfile::tempdir()?;
        Ok(Self { command_line: CommandLine::new(kubeconfig, &folders, home.path())?, _home: home })
    }

    /// Returns the folder that holds all files of the node.
    pub fn folder(&self) -> &Path {
        let kubeconfig = self.command_line.kubeconfig();
        kubeconfig.parent().unwrap_or(kubeconfig)
    }

    /// Runs kubectl with arguments as typed, without quoting.
    pub async fn kubectl(&self, arguments: &str) -> anyhow::Result<String> {
        self.command_line.kubectl(arguments).await
    }

    /// Returns the JSON output of `kubectl get`.
    pub async fn get(&self, what: &str) -> anyhow::Result<Value> {
        self.command_line.get(what).await
    }

    /// Returns the items of a list.
    pub async fn list(&self, what: &str) -> anyhow::Result<Vec<Value>> {
        let mut list = self.get(what).await?;
        Ok(serde_json::from_value(list["items"].take())?)
    }

    /// Applies an object in a namespace.
    pub async fn apply(&self, namespace: &str, object: &Value) -> anyhow::Result<()> {
        let apply = format!("apply --namespace {namespace} --filename -");
        self.command_line.kubectl_with(&apply, &object.to_string()).await.map(drop)
    }

    /// Runs helm with arguments as typed, and with values.
    pub async fn helm(&self, arguments: &str, values: &Value) -> anyhow::Result<String> {
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        self.command_line.run("helm", &arguments, &values.to_string()).await
    }

    /// Imports an image from an archive into the node's image store.
    pub async fn load(&self, archive: &Path) -> anyhow::Result<()> {
        let socket = self.folder().join("containerd/containerd.sock");
        let mut ctr = self.command_line.command("ctr");
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
