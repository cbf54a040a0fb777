//! CPU time and memory of a running program, as reported by the kernel.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

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

/// Returns the resident memory of a process, in MiB.
///
/// # Errors
/// If there is no such process.
pub fn memory(id: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1024.0)
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
    anyhow::bail!("{program} does not run in {}", folder.display())
}
