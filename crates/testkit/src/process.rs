//! Child processes that never outlive this one, and what the kernel reports about any process.

use std::fs::File;
use std::io::{self, PipeWriter, Write as _};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};

/// Becomes `"$@"`, after it has started a watcher that ends the program if this process dies.
///
/// The kernel closes the pipes of a dead process, whatever the cause of death. The watcher waits for the end of a pipe
/// that only this process can write to, and then sends SIGTERM, and SIGKILL if that has no effect. This
/// process writes a line when the program has ended, so that the watcher never signals another process with that ID.
const SUPERVISED: &str = r#"
exec 3<&0 </dev/null
{
  if ! read -r _ <&3; then
    kill $$
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do kill -0 $$ || exit; sleep 1; done
    kill -9 $$
  fi
} >/dev/null 2>&1 &
exec 3<&-
exec "$@"
"#;

/// Program that runs as a child of this process and ends with it. It is killed (SIGKILL) when this is dropped.
pub struct Process {
    child: Child,
    watcher: Option<PipeWriter>,
}

impl Process {
    /// Starts a program whose environment has only these variables. Its output is appended to the file `log`.
    ///
    /// # Errors
    /// If the log cannot be written or no process can be started. A program that cannot be run exits with code 126 or
    /// 127.
    pub fn start(
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let log_file = File::options().create(true).append(true).open(log);
        let log_file = log_file.with_context(|| format!("cannot write {}", log.display()))?;
        let (reader, watcher) = io::pipe()?;
        let child = Command::new("/bin/sh")
            .args(["-c", SUPERVISED, "sh"])
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(reader))
            .stdout(log_file.try_clone()?)
            .stderr(log_file)
            // Ctrl-C is handled by this process, which then stops the others in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start sh")?;
        Ok(Self { child, watcher: Some(watcher) })
    }

    /// Returns the process ID while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Reports whether it still runs.
    pub fn is_running(&mut self) -> bool {
        let runs = matches!(self.child.try_wait(), Ok(None));
        if !runs {
            self.release_watcher();
        }
        runs
    }

    /// Waits for its exit.
    ///
    /// # Errors
    /// If the kernel does not report the exit.
    pub async fn exited(&mut self) -> anyhow::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.release_watcher();
        Ok(status)
    }

    /// Sends a signal, such as `TERM`.
    ///
    /// # Errors
    /// If it has exited.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        signal(self.id().context("it has exited")?, name).await
    }

    /// Sends SIGKILL and waits for its exit.
    ///
    /// # Errors
    /// If the kernel does not report the exit.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.start_kill()?;
        self.exited().await.map(drop)
    }

    fn release_watcher(&mut self) {
        if let Some(mut watcher) = self.watcher.take() {
            let _ = watcher.write_all(b"\n");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.release_watcher();
    }
}

/// Sends a signal, such as `KILL`, to any process.
///
/// # Errors
/// If there is no such process.
pub async fn signal(id: u32, name: &str) -> anyhow::Result<()> {
    crate::output(Command::new("kill").args(["-s", name, &id.to_string()]), "").await.map(drop)
}

/// Returns the CPU time that the threads of a process have used so far. Unlike the times in `stat`, which have steps of
/// 10 ms, it is exact enough for an idle process.
///
/// # Errors
/// If there is no such process.
pub fn cpu(id: u32) -> anyhow::Result<Duration> {
    let mut used = Duration::ZERO;
    for thread in std::fs::read_dir(format!("/proc/{id}/task"))? {
        // A thread that has ended in the meantime used almost nothing, because worker threads stay.
        let Ok(times) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let nanoseconds = times.split_whitespace().next().context("no time on the CPU")?;
        used += Duration::from_nanos(nanoseconds.parse()?);
    }
    Ok(used)
}

/// Returns the resident memory of a process, in KiB.
///
/// # Errors
/// If there is no such process.
pub fn memory(id: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Returns the ID of the process that runs this program in this folder.
///
/// # Errors
/// If there is no such process.
pub fn find(program: &str, folder: &Path) -> anyhow::Result<u32> {
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that has exited in the meantime is not the one.
        let runs = std::fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe.ends_with(program));
        if runs && std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder) {
            return Ok(id);
        }
    }
    bail!("{program} does not run in {}", folder.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn sleep() -> Process {
        Process::start(Path::new("sleep"), &["60".to_owned()], &[], Path::new("/dev/null")).unwrap()
    }

    #[tokio::test]
    async fn program_ends_when_the_pipe_of_its_owner_is_closed() {
        let mut process = sleep();
        assert!(process.is_running());
        // As the kernel does if this process dies.
        drop(process.watcher.take());
        let status = tokio::time::timeout(Duration::from_secs(60), process.exited()).await.unwrap();
        assert_eq!(status.unwrap().signal(), Some(15));
        assert!(!process.is_running() && process.id().is_none());
    }

    #[tokio::test]
    async fn dropped_process_is_killed() {
        let process = sleep();
        let id = process.id().unwrap();
        assert!(memory(id).is_ok() && cpu(id).is_ok());
        drop(process);
        let wait = crate::Wait { timeout: Duration::from_secs(60), poll: Duration::from_millis(5) };
        let gone = wait.until("the process is gone", async || match memory(id) {
            Ok(memory) => Err(format!("it uses {memory} KiB")),
            Err(_) => Ok(()),
        });
        gone.await.unwrap();
    }
}
