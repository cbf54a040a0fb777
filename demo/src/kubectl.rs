//! kubectl in the namespace of the examples, used as a person would use it.

use std::path::Path;
use std::time::Duration;

use control_plane::ControlPlane;
use serde_json::Value;
use testkit::{CommandLine, Wait};

use crate::examples::NAMESPACE;

/// Limits of all waits.
pub(crate) const WAIT: Wait = Wait { timeout: Duration::from_secs(60), poll: Duration::from_millis(100) };

/// kubectl for one control plane.
pub(crate) struct Kubectl(CommandLine);

impl Kubectl {
    pub(crate) fn new(plane: &ControlPlane, folder: &Path) -> anyhow::Result<Self> {
        CommandLine::new(plane.kubeconfig(), &[plane.programs()], folder).map(Self)
    }

    /// Runs kubectl with arguments as typed, without quoting, and returns its output.
    pub(crate) async fn run(&self, arguments: &str) -> anyhow::Result<String> {
        self.0.kubectl(arguments).await
    }

    /// Applies the CustomResourceDefinitions, and returns kubectl's output.
    pub(crate) async fn install_crds(&self) -> anyhow::Result<String> {
        self.0.install_crds().await
    }

    /// Applies an object that is not in a file.
    pub(crate) async fn apply(&self, yaml: &str) -> anyhow::Result<String> {
        self.0.kubectl_with("apply -f -", yaml).await
    }

    /// Waits until `what`, such as `pad/x`, meets the `condition`, as in `kubectl wait --for`.
    pub(crate) async fn wait(&self, what: &str, condition: &str) -> anyhow::Result<()> {
        let timeout = WAIT.timeout.as_secs();
        self.run(&format!("wait {what} -n {NAMESPACE} --for={condition} --timeout={timeout}s"))
            .await
            .map(drop)
    }

    /// Returns one object, such as `pad/x`.
    pub(crate) async fn get(&self, what: &str) -> anyhow::Result<Value> {
        self.0.get(&format!("{what} -n {NAMESPACE}")).await
    }
}
