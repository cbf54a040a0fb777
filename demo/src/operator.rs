//! The operator's program as a child process that never outlives this one.
//!
//! The kernel closes the pipes of a dead process, whatever the cause of death. A shell waits for the end of a pipe
//! that only this process can write to, and then sends SIGTERM to the operator. Closing the pipe is also the regular
//! way to stop it.

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::process::{Child, ChildStdin, Command};

/// Runs `"$@"`, ends with it, and sends it SIGTERM when standard input ends; SIGKILL if that has no effect.
///
/// The last `kill` ends the remaining processes of this shell's process group.
const SUPERVISOR_SCRIPT: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
program=$!
{ read -r _ <&3; kill "$program"; sleep 15; kill -9 "$program"; } 2>/dev/null &
wait "$program"
code=$?
trap '' TERM
kill 0
exit "$code"
"#;

/// Maximum time from SIGTERM to the exit.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Number of log lines shown after a failure.
const TAIL_LINES: usize = 20;

/// Settings of the operator.
pub(crate) struct Settings<'a> {
    pub kubeconfig: &'a Path,
    /// Origins of the simulated services, which a LeverConnection may name only if they are allowed.
    pub origins: [&'a str; 2],
    /// The only namespace to serve, if not all.
    pub namespace: Option<&'a str>,
    pub log: PathBuf,
}

/// Running operator.
pub(crate) struct Operator {
    program: PathBuf,
    arguments: Vec<String>,
    kubeconfig: PathBuf,
    log: PathBuf,
    admin: String,
    webhooks: String,
    process: Process,
}

/// A process of the operator and the shell that supervises it.
struct Process {
    shell: Child,
    keep_alive: Option<ChildStdin>,
}

impl Operator {
    pub(crate) fn start(settings: Settings<'_>) -> anyhow::Result<Self> {
        let program = program()?;
        let [webhook_port, admin_port] = free_ports()?;
        let webhooks = format!("http://127.0.0.1:{webhook_port}");
        let mut arguments = vec![
            "run".to_owned(),
            format!("--webhook-address=127.0.0.1:{webhook_port}"),
            format!("--admin-address=127.0.0.1:{admin_port}"),
            // The real Lever requires https, which a proxy in front of the operator provides.
            format!("--public-url={webhooks}"),
            // The simulated lists have no delay.
            "--interview-list-lag=2s".to_owned(),
            "--log-format=text".to_owned(),
        ];
        arguments.extend(settings.origins.map(|origin| format!("--allow-api-origin={origin}")));
        arguments.extend(settings.namespace.map(|namespace| format!("--namespace={namespace}")));
        let kubeconfig = settings.kubeconfig.to_owned();
        let process = Process::start(&program, &arguments, &kubeconfig, &settings.log)?;
        let admin = format!("http://127.0.0.1:{admin_port}");
        Ok(Self { program, arguments, kubeconfig, log: settings.log, admin, webhooks, process })
    }

    /// Stops the operator, if it still runs, and starts the current program at the same addresses.
    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        drop(self.process.keep_alive.take());
        self.process.shell.wait().await?;
        self.process = Process::start(&self.program, &self.arguments, &self.kubeconfig, &self.log)?;
        self.wait_ready().await
    }

    /// Returns the file that it was started from.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Returns the base URL of `/readyz` and `/metrics`.
    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    /// Returns the base URL for webhooks.
    pub(crate) fn webhooks(&self) -> &str {
        &self.webhooks
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Waits until the operator reports that it is ready.
    pub(crate) async fn wait_ready(&mut self) -> anyhow::Result<()> {
        const POLL: Duration = Duration::from_millis(50);
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        let url = format!("{}/readyz", self.admin);
        let wait = async {
            while !client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::select! {
            wait_ready = tokio::time::timeout(crate::kubectl::WAIT_TIMEOUT, wait) => {
                wait_ready.with_context(|| format!("the operator is not ready: {url}"))
            }
            status = self.process.shell.wait() => bail!("the operator exited unexpectedly ({})", status?),
        }
    }

    /// Waits until the operator exits without being stopped, which it should not.
    pub(crate) async fn exited(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.process.shell.wait().await?)
    }

    /// Sends SIGTERM and expects exit code 0 within [`STOP_TIMEOUT`].
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.process.keep_alive.take());
        match tokio::time::timeout(STOP_TIMEOUT, self.process.shell.wait()).await {
            Ok(status) => {
                let status = status?;
                let (log, tail) = (self.log.display(), self.log_tail());
                ensure!(
                    status.success(),
                    "the operator exited with {status} after SIGTERM; {log} ends with\n{tail}"
                );
                Ok(())
            }
            Err(_) => {
                self.process.shell.wait().await?;
                let (log, tail) = (self.log.display(), self.log_tail());
                bail!("the operator had not exited {STOP_TIMEOUT:?} after SIGTERM; {log} ends with\n{tail}")
            }
        }
    }
}

impl Process {
    fn start(program: &Path, arguments: &[String], kubeconfig: &Path, log: &Path) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(log);
        let log = log.context("cannot write the operator's log")?;
        let mut shell = Command::new("sh")
            .args(["-c", SUPERVISOR_SCRIPT, "sh"])
            .arg(program)
            .args(arguments)
            // No proxy and no settings meant for another run of the operator.
            .env_clear()
            .envs(["PATH", "RUST_LOG"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is handled by this process, which then stops the others in order.
            .process_group(0)
            .spawn()
            .context("cannot start sh")?;
        let keep_alive = shell.stdin.take();
        Ok(Self { shell, keep_alive })
    }
}

fn program() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("pad-operator");
    ensure!(program.is_file(), "{} does not exist: `make demo` and `make dev` build it", program.display());
    Ok(program)
}

/// Returns two free ports below the range from which the kernel assigns ports, so that no other process gets them
/// unless it asks for them.
fn free_ports() -> anyhow::Result<[u16; 2]> {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    const ATTEMPTS: usize = 100;
    let mut held = Vec::new();
    for _ in 0..ATTEMPTS {
        let random = RandomState::new().build_hasher().finish() % u64::from(COUNT);
        held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, FIRST + u16::try_from(random)?)));
        if let [webhooks, admin] = held.as_slice() {
            return Ok([webhooks.local_addr()?.port(), admin.local_addr()?.port()]);
        }
    }
    bail!("no two free ports found from {FIRST} to {}", FIRST + COUNT)
}
