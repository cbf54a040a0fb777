//! Runs a program of the control plane as a person would, with its own words for what went wrong.

use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Runs a program to its end, with something on its standard input, and returns what it prints. Ctrl-C is meant for
/// this process, which then ends the others in order.
///
/// # Errors
/// If it cannot be run or does not succeed; then with what it complains of.
pub async fn output(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let words = [command.as_std().get_program()].into_iter().chain(command.as_std().get_args());
    let told = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {told}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // If it does not read to the end it says why.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("{told}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
