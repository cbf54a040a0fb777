//! Runs a program of the control plane as a person would, and reports its own error messages.

use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Runs a program to its end, with `input` on its standard input, and returns its output. The program ignores Ctrl-C,
/// because this process then stops the others in order.
///
/// # Errors
/// If it cannot be run or does not succeed; includes its error output.
pub async fn output(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let words = [command.as_std().get_program()].into_iter().chain(command.as_std().get_args());
    let command_line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {command_line}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its whole input explains that on standard error.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("{command_line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
