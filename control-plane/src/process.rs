//! Processes that never outlive their owner, not even one that is killed and cannot clean up, and a folder that is
//! removed with the last of them.
//!
//! Everything relies on the kernel closing a dead process's pipes, whatever the cause of death. Each program is
//! supervised by a shell that waits for the end of a pipe that only the owner can write to, and then kills the program.
//! The owner and these shells together hold the pipe of a last shell, which removes the folder once they are all gone.
//! A regular stop works the same way as a crash: the owner closes the pipes.

use std::fs::{self, File};
use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::Context as _;

/// Runs `"$@"`, ends with it, and kills it when standard input ends.
///
/// The supervising subshell is killed before its program's ID can be reused by another process. It keeps standard
/// output, the pipe of the folder, open: even if only the outer shell is killed, the folder is removed after the
/// program's end.
const SUPERVISE_SCRIPT: &str = r#"
exec 3<&0
"$@" </dev/null >&2 3<&- &
program=$!
{ read -r _ <&3; kill -9 "$program"; } 2>/dev/null &
watcher=$!
wait "$program"
code=$?
kill "$watcher" 2>/dev/null
exit "$code"
"#;

const REMOVE_FOLDER_SCRIPT: &str = r#"read -r _; rm -rf -- "$1""#;

/// Number of log lines in an error.
const TAIL_LINES: usize = 15;

/// Private temporary folder. Dropping it waits until every process started in it has exited, so the processes must be
/// dropped first.
pub(crate) struct Folder {
    path: PathBuf,
    keep_alive: Option<PipeWriter>,
    remover: Child,
}

impl Folder {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("control-plane-").tempdir()?;
        let (reader, keep_alive) = io::pipe()?;
        let remover = shell(REMOVE_FOLDER_SCRIPT)
            .arg(folder.path())
            .current_dir("/")
            .stdin(reader)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start sh")?;
        Ok(Self { path: folder.keep(), keep_alive: Some(keep_alive), remover })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts a program in this folder. Its output is appended to `<program>.log`.
    pub(crate) fn spawn(&self, program: &Path, arguments: &[String]) -> anyhow::Result<Process> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let log = self.path.join(format!("{name}.log"));
        let log_file = File::options().create(true).append(true).open(&log)?;
        let log_start = log_file.metadata()?.len();
        let folder_keep_alive =
            self.keep_alive.as_ref().context("the folder is being removed")?.try_clone()?;
        let (reader, keep_alive) = io::pipe()?;
        let shell = shell(SUPERVISE_SCRIPT)
            .arg(program)
            .args(arguments)
            .current_dir(&self.path)
            .stdin(reader)
            .stdout(folder_keep_alive)
            .stderr(log_file)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Process { name, log, log_start, keep_alive: Some(keep_alive), shell })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.keep_alive.take());
        let _ = self.remover.wait();
    }
}

/// Running program. Dropping it kills it and waits for its exit.
pub(crate) struct Process {
    name: String,
    log: PathBuf,
    log_start: u64,
    keep_alive: Option<PipeWriter>,
    shell: Child,
}

impl Process {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the exit status, if it has exited.
    pub(crate) fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.shell.try_wait()
    }

    /// Returns its output since it was started.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let start = usize::try_from(self.log_start).unwrap_or_default().min(bytes.len());
        String::from_utf8_lossy(&bytes[start..]).into_owned()
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.keep_alive.take());
        let _ = self.shell.wait();
    }
}

/// Returns a shell command for `script`; the caller adds the arguments.
fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", script, "sh"])
        // Ctrl-C is handled by the owner, who then stops the others in order.
        .process_group(0)
        // etcd and the Go runtime read settings from the environment, on which the result must not depend.
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}
