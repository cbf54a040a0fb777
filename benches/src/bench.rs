//! Cluster that a scenario runs in.

use control_plane::ControlPlane;
use kube::config::{KubeConfigOptions, Kubeconfig};
use testkit::{CommandLine, process};

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
        CommandLine::new(plane.kubeconfig(), &[plane.programs()], plane.folder())?.install_crds().await?;
        Ok(Self { plane, client, http })
    }

    /// Stops the control plane.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.plane.stop().await
    }

    /// Returns the process ID of the API server.
    pub fn api_server(&self) -> anyhow::Result<u32> {
        process::find("kube-apiserver", self.plane.folder())
    }
}
