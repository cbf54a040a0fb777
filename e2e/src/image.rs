//! Checks of the image from outside: its contents and its metadata.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use testkit::output;
use tokio::process::Command;

use crate::report::Report;

/// All files that the image may contain.
const FILES: [&str; 4] = ["etc/group", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "pad-operator"];

/// Writes the image with this name to an archive.
pub async fn save(image: &str, archive: &Path) -> anyhow::Result<()> {
    let mut push = Command::new("buildah");
    push.args(["push", "--quiet", image]).arg(format!("docker-archive:{}:{image}", archive.display()));
    output(&mut push, "").await.map(drop)
}

/// Checks that the image matches the Containerfile.
pub async fn check(report: &mut Report, image: &str) -> anyhow::Result<()> {
    report.step("the image: one static program, no shell, a user of its own", inspect(image)).await.map(drop)
}

async fn inspect(image: &str) -> anyhow::Result<String> {
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("image.tar");
    save(image, &archive).await?;
    tar(&["--extract", "--directory"], &[folder.path(), Path::new("--file"), &archive]).await?;
    let read = |name: &str| -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&std::fs::read(folder.path().join(name))?)?)
    };
    let manifest = read("manifest.json")?;
    let (name, layers) = (manifest[0]["Config"].as_str().unwrap_or_default(), &manifest[0]["Layers"]);
    let config = read(name)?["config"].take();
    ensure!(config["User"] == "65532:65532", "it runs as {}", config["User"]);
    ensure!(config["Entrypoint"] == json!(["/pad-operator"]), "it starts {}", config["Entrypoint"]);

    let [layer] = layers.as_array().map(Vec::as_slice).unwrap_or_default() else {
        anyhow::bail!("there should be one layer, not {layers}");
    };
    let layer = folder.path().join(layer.as_str().unwrap_or_default());
    let listed = tar(&["--list", "--file"], &[&layer]).await?;
    let mut files: Vec<_> = listed.lines().filter(|name| !name.ends_with('/')).collect();
    files.sort_unstable();
    ensure!(files == FILES, "the image contains these files: {}", files.join(", "));

    tar(&["--extract", "--file"], &[&layer, Path::new("--directory"), folder.path()]).await?;
    let program = std::fs::read(folder.path().join("pad-operator"))?;
    ensure!(
        !needs_dynamic_linker(&program)?,
        "the program needs a dynamic linker, which is not in the image"
    );
    let megabytes = |bytes: u64| format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10);
    let size = megabytes(std::fs::metadata(&layer)?.len());
    let program = megabytes(u64::try_from(program.len())?);
    Ok(format!("{image}, {size}, of which the program is {program}; in it: {}", files.join(", ")))
}

async fn tar(options: &[&str], paths: &[&Path]) -> anyhow::Result<String> {
    output(Command::new("tar").args(options).args(paths), "").await
}

/// Reports whether a 64-bit ELF program has a segment that names its dynamic linker.
fn needs_dynamic_linker(program: &[u8]) -> anyhow::Result<bool> {
    const INTERPRETER: [u8; 4] = 3_u32.to_le_bytes();
    let number = |at: usize, bytes: usize| -> anyhow::Result<usize> {
        let field = program.get(at..at + bytes).context("it is cut off")?;
        Ok(field.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    ensure!(program.starts_with(b"\x7fELF\x02\x01"), "it is not a program of 64 bits");
    let (start, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
    Ok((0..count)
        .any(|segment| program.get(start + segment * size..).is_some_and(|it| it.starts_with(&INTERPRETER))))
}
