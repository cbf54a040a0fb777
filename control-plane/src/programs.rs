//! Locations of the control plane's programs: `KUBEBUILDER_ASSETS`, if set, as in tests of other operators; otherwise
//! the folder into which `make control-plane` builds them.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::ensure;

const NAMES: [&str; 5] = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "helm"];

pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Locates all programs at once, so that a missing one is not discovered in the middle of a test.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let assets = env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty());
        let (folder, help) = match assets {
            Some(assets) => (
                // Programs are started in another working directory, so a relative path would be wrong.
                std::path::absolute(assets)?,
                "put them there, or unset KUBEBUILDER_ASSETS and run `make control-plane` to have them built",
            ),
            None => (
                Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".tools").join("bin"),
                "run `make control-plane` to have them built",
            ),
        };
        let missing: Vec<_> = NAMES.into_iter().filter(|name| !folder.join(name).is_file()).collect();
        ensure!(missing.is_empty(), "{} lacks {}: {help}", folder.display(), missing.join(", "));
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}
