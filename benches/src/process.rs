//! A running program as the kernel sees it: its CPU time and its memory.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

/// Hertz of the CPU times in /proc (`getconf CLK_TCK`, 100 on every Linux there is).
const TICKS: u32 = 100;

/// The CPU time that a process has used so far.
///
/// # Errors
/// If there is no such process.
pub fn cpu(id: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The program's name, in brackets, may hold spaces.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u32>().ok());
    let (user, system) = (ticks(11).context("no user time")?, ticks(12).context("no system time")?);
    Ok(Duration::from_secs(1) * (user + system) / TICKS)
}

/// The memory that a process takes of the machine, in MiB.
///
/// # Errors
/// If there is no such process.
pub fn memory(id: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1024.0)
}

/// The process that runs this program in this folder.
///
/// # Errors
/// If there is none.
pub fn find(program: &str, folder: &Path) -> anyhow::Result<u32> {
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile is not the one.
        let runs = std::fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe.ends_with(program));
        if runs && std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder) {
            return Ok(id);
        }
    }
    anyhow::bail!("{program} does not run in {}", folder.display())
}
