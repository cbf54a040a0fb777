//! Command-line programs, run as a person would run them, with their own error messages.

use std::ffi::OsString;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Error of a program that did not succeed.
#[derive(Debug)]
pub struct CommandError {
    command_line: String,
    /// Error output.
    pub stderr: String,
}

impl Display for CommandError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.command_line, self.stderr.trim())
    }
}

impl std::error::Error for CommandError {}

/// Runs a program to its end, with `input` on its standard input, and returns its output. The program ignores Ctrl-C,
/// because this process then stops the others in order.
///
/// # Errors
/// If it cannot be run, or with a [`CommandError`] if it does not succeed.
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
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        return Err(CommandError { command_line, stderr: text(&output.stderr) }.into());
    }
    Ok(text(&output.stdout))
}

/// Command-line programs of an administrator of one cluster, such as kubectl and helm: in the root of the repository,
/// without a proxy and without personal settings.
pub struct CommandLine {
    kubeconfig: PathBuf,
    path: OsString,
    home: PathBuf,
}

impl CommandLine {
    /// Returns the command line for the cluster of a kubeconfig. Programs, and plugins of kubectl, are searched in
    /// `folders` first. `home` is the home folder: in the real one, kubectl would cache discovery data for hours, also
    /// for the next cluster at the same address.
    ///
    /// # Errors
    /// If the name of a folder contains a colon.
    pub fn new(kubeconfig: &Path, folders: &[&Path], home: &Path) -> anyhow::Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = folders.iter().map(|folder| folder.to_path_buf());
        let path = std::env::join_paths(folders.chain(std::env::split_paths(&path)))?;
        Ok(Self { kubeconfig: kubeconfig.to_owned(), path, home: home.to_owned() })
    }

    /// Returns the kubeconfig file.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Returns the command of a program, to which the caller adds arguments.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", &self.home)
            .env("KUBECONFIG", &self.kubeconfig)
            .current_dir(crate::repository());
        command
    }

    /// Runs a program and returns its output.
    ///
    /// # Errors
    /// As [`output`].
    pub async fn run(&self, program: &str, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        output(self.command(program).args(arguments), input).await
    }

    /// Runs kubectl with arguments as typed, without quoting.
    ///
    /// # Errors
    /// As [`output`].
    pub async fn kubectl(&self, typed: &str) -> anyhow::Result<String> {
        self.kubectl_with(typed, "").await
    }

    /// Like [`kubectl`](Self::kubectl), with standard input.
    ///
    /// # Errors
    /// As [`output`].
    pub async fn kubectl_with(&self, typed: &str, input: &str) -> anyhow::Result<String> {
        output(self.command("kubectl").args(typed.split_whitespace()), input).await
    }

    /// Returns the JSON output of `kubectl get`.
    ///
    /// # Errors
    /// As [`output`], or if the output is not JSON.
    pub async fn get(&self, typed: &str) -> anyhow::Result<Value> {
        let text = self.kubectl(&format!("get {typed} --output json")).await?;
        serde_json::from_str(&text).with_context(|| format!("kubectl printed no JSON for {typed}"))
    }

    /// Applies the CustomResourceDefinitions of the repository, waits until they are established, and returns the
    /// output of `kubectl apply`.
    ///
    /// # Errors
    /// As [`output`].
    pub async fn install_crds(&self) -> anyhow::Result<String> {
        let applied = self.kubectl("apply --filename crds/").await?;
        self.kubectl("wait --for=condition=Established crds --all --timeout=60s").await?;
        Ok(applied)
    }
}
