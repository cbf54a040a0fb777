//! `control-plane`: a real Kubernetes control plane from the command line, for trying things by hand (`run`) or for the
//! duration of one command (`exec`).

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use control_plane::ControlPlane;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// Runs a real Kubernetes control plane without nodes: etcd, kube-apiserver, kube-controller-manager.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    action: ControlPlaneCommand,
}

#[derive(Subcommand)]
enum ControlPlaneCommand {
    /// Run until Ctrl-C or SIGTERM.
    Run {
        /// Also write the administrator's kubeconfig to this file; it is removed at the end
        #[arg(long, value_name = "FILE")]
        kubeconfig: Option<PathBuf>,
    },
    /// Run while a command runs, which finds the cluster through KUBECONFIG, and kubectl and helm in its PATH.
    Exec {
        /// The command and its arguments.
        #[arg(required = true, last = true)]
        command: Vec<OsString>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().action {
        ControlPlaneCommand::Run { kubeconfig } => run(kubeconfig.as_deref()).await,
        ControlPlaneCommand::Exec { command } => exec(&command).await,
    };
    result.unwrap_or_else(|error| {
        eprintln!("control-plane: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(kubeconfig: Option<&Path>) -> anyhow::Result<ExitCode> {
    let plane = ControlPlane::start().await?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    if let Some(file) = kubeconfig {
        write_kubeconfig(&plane, file)?;
    }
    print!(
        "The control plane is up at {}. Ctrl-C ends it.\n\n    export KUBECONFIG={}\n    {} get namespaces\n\nLogs are in {}.\n",
        plane.url(),
        std::path::absolute(kubeconfig.unwrap_or_else(|| plane.kubeconfig()))?.display(),
        plane.program("kubectl").display(),
        plane.folder().display(),
    );
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    if let Some(file) = kubeconfig {
        std::fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    plane.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the kubeconfig atomically, so that a script that waits for the file never reads half of it.
fn write_kubeconfig(plane: &ControlPlane, file: &Path) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write a kubeconfig in {}", folder.display()))?;
    temporary.write_all(&std::fs::read(plane.kubeconfig())?)?;
    temporary.persist(file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(())
}

async fn exec(command: &[OsString]) -> anyhow::Result<ExitCode> {
    let plane = ControlPlane::start().await?;
    let status = supervise(&plane, command).await;
    plane.stop().await?;
    Ok(exit_code(status?))
}

async fn supervise(plane: &ControlPlane, command: &[OsString]) -> anyhow::Result<ExitStatus> {
    let (program, arguments) = command.split_first().context("no command")?;
    let mut paths = vec![plane.programs().to_owned()];
    paths.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    // A terminal sends Ctrl-C to the command as well. The command decides what to do, and this process ends with it.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("KUBECONFIG", plane.kubeconfig())
        .env("PATH", std::env::join_paths(paths)?)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {
                if let Some(id) = child.id() {
                    Command::new("kill").arg(id.to_string()).status().await?;
                }
            }
        }
    }
}

/// Returns the exit code as a shell reports it: 128 + n for a command that signal n ended.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}
