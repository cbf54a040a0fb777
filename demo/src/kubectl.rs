//! kubectl, used as a person would use it: from the root of the repository, and with its own error messages.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use control_plane::{ControlPlane, output};
use serde_json::Value;
use tokio::process::Command;

use crate::examples::{NAMESPACE, repository};

/// Timeout far above what any step takes, so that a busy machine only slows the demo down.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// kubectl for one control plane.
pub(crate) struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    cache: PathBuf,
}

impl Kubectl {
    pub(crate) fn new(plane: &ControlPlane, folder: &Path) -> Self {
        Self {
            program: plane.program("kubectl"),
            kubeconfig: plane.kubeconfig().to_owned(),
            // In the home folder kubectl would cache the discovery data for hours, also for the next cluster at this
            // address.
            cache: folder.join("kubectl"),
        }
    }

    /// Runs kubectl with arguments as typed, without quoting, and returns its output.
    pub(crate) async fn run(&self, arguments: &str) -> anyhow::Result<String> {
        self.run_with(arguments, "").await
    }

    /// Applies an object that is not in a file.
    pub(crate) async fn apply(&self, yaml: &str) -> anyhow::Result<String> {
        self.run_with("apply -f -", yaml).await
    }

    /// Waits until `what`, such as `pad/x`, meets the `condition`, as in `kubectl wait --for`.
    pub(crate) async fn wait(&self, what: &str, condition: &str) -> anyhow::Result<()> {
        let timeout = WAIT_TIMEOUT.as_secs();
        self.run(&format!("wait {what} -n {NAMESPACE} --for={condition} --timeout={timeout}s"))
            .await
            .map(drop)
    }

    /// Returns one object, such as `pad/x`.
    pub(crate) async fn get(&self, what: &str) -> anyhow::Result<Value> {
        let json = self.run(&format!("get {what} -n {NAMESPACE} -o json")).await?;
        serde_json::from_str(&json).with_context(|| format!("kubectl printed no JSON for {what}"))
    }

    async fn run_with(&self, arguments: &str, input: &str) -> anyhow::Result<String> {
        let mut kubectl = Command::new(&self.program);
        kubectl
            .args(arguments.split_whitespace())
            .current_dir(repository())
            // No proxy and no personal kubectl settings.
            .env_clear()
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", &self.cache);
        output(&mut kubectl, input).await
    }
}
