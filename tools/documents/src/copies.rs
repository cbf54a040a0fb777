//! Pages that show files of the repository, for readers of the site, who have no other access to them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

const EXAMPLES: &str = "# Examples

The files of the folder `examples`. Replace names and addresses with your own. In every test run, an API server accepts each of them.

";

const VALUES: &str = "# Helm values

The file `charts/pad-operator/values.yaml`, which describes all values. Helm rejects a name or value that is not described here.

";

/// Returns `examples.md`.
pub(crate) fn examples() -> anyhow::Result<String> {
    let mut page = crate::generated("examples") + EXAMPLES;
    for file in files(Path::new("examples"))? {
        write!(page, "## {}\n\n{}\n", file.display(), shown(&file)?)?;
    }
    Ok(page)
}

/// Returns `values.md`.
pub(crate) fn values() -> anyhow::Result<String> {
    let file = Path::new("charts/pad-operator/values.yaml");
    Ok(format!("{}{VALUES}{}", crate::generated(&file.display().to_string()), shown(file)?))
}

/// Returns the files of the folder itself first, all sorted by name.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut entries = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    entries.sort_by_key(|path| (path.is_dir(), path.clone()));
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

fn shown(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(format!("```yaml\n{}\n```\n", text.trim_end()))
}
