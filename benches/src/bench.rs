//! Cluster that a scenario runs in.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use control_plane::ControlPlane;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::process::Command;

use crate::process;

/// Control plane with the CustomResourceDefinitions.
pub struct Bench {
    /// The control plane.
    pub plane: ControlPlane,
    /// Administrator's client, without retries.
    pub client: kube::Client,
    /// HTTP client for the services and the webhooks.
    pub http: reqwest::Client,
}

impl Bench {
    /// Starts a control plane and installs the CustomResourceDefinitions.
    pub async fn start() -> anyhow::Result<Self> {
        let plane = ControlPlane::start().await?;
        let file = Kubeconfig::read_from(plane.kubeconfig())?;
        let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        let client = kube::Client::try_from(config)?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let bench = Self { plane, client, http };
        let crds = repository().join("crds").display().to_string();
        bench.kubectl(&["apply", "--filename", &crds]).await?;
        bench.kubectl(&["wait", "--for=condition=Established", "--all", "crds"]).await?;
        Ok(bench)
    }

    /// Stops the control plane.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.plane.stop().await
    }

    /// Runs kubectl as an administrator.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = Command::new(self.plane.program("kubectl"))
            .args(arguments)
            .env("KUBECONFIG", self.plane.kubeconfig())
            .output()
            .await?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {stderr}", arguments.join(" "));
        Ok(())
    }

    /// Returns the process ID of the API server.
    pub fn api_server(&self) -> anyhow::Result<u32> {
        process::find("kube-apiserver", self.plane.folder())
    }
}

/// Returns the root of the repository.
pub fn repository() -> &'static Path {
    static ROOT: std::sync::LazyLock<PathBuf> =
        std::sync::LazyLock::new(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    &ROOT
}
