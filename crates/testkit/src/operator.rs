//! The operator's program, started, killed and stopped as a cluster does it.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};

use crate::Wait;
use crate::ports::free_port;
use crate::process::Process;

/// Maximum time from SIGTERM to the exit: less than the 30 s that Kubernetes waits.
const STOP_TIMEOUT: Duration = Duration::from_secs(25);

/// Number of log lines shown after a failure.
const TAIL_LINES: usize = 20;

/// Replica of the operator, which keeps its addresses from one start to the next. It ends with this process, and it is
/// killed when it is dropped.
pub struct Operator {
    program: PathBuf,
    kubeconfig: PathBuf,
    log: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    webhook_port: u16,
    admin_port: u16,
    http: reqwest::Client,
    process: Option<Process>,
}

impl Operator {
    /// Prepares a replica without starting it. Its output is appended to the file `log`.
    ///
    /// # Errors
    /// If there are no free ports.
    pub fn new(program: PathBuf, kubeconfig: PathBuf, log: PathBuf) -> anyhow::Result<Self> {
        Ok(Self {
            program,
            kubeconfig,
            log,
            arguments: Vec::new(),
            environment: Vec::new(),
            webhook_port: free_port()?,
            admin_port: free_port()?,
            // No kept connections, which a stopped replica would have closed.
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(5))
                .pool_max_idle_per_host(0)
                .build()?,
            process: None,
        })
    }

    /// Returns the operator's program in the folder of this program.
    ///
    /// # Errors
    /// If it is not there: `build` is the command that builds it.
    pub fn program_in_own_folder(build: &str) -> anyhow::Result<PathBuf> {
        let program = std::env::current_exe()?.with_file_name("pad-operator");
        ensure!(program.is_file(), "{} does not exist: {build} builds it", program.display());
        Ok(program)
    }

    /// Sets its flags for the next start, without its addresses.
    pub fn set_arguments(&mut self, arguments: Vec<String>) {
        self.arguments = arguments;
    }

    /// Sets its environment variables for the next start, without KUBECONFIG. It inherits none: no proxy, and no
    /// settings meant for another run.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// Sets its kubeconfig file for the next start.
    pub fn set_kubeconfig(&mut self, file: PathBuf) {
        self.kubeconfig = file;
    }

    /// Starts it. It is not ready yet: see [`wait_until_ready`](Self::wait_until_ready).
    ///
    /// # Errors
    /// If it is running already, or cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        ensure!(!self.is_running(), "the operator is running already");
        let mut arguments = vec![
            "run".to_owned(),
            format!("--webhook-address=127.0.0.1:{}", self.webhook_port),
            format!("--admin-address=127.0.0.1:{}", self.admin_port),
        ];
        arguments.extend_from_slice(&self.arguments);
        let kubeconfig = ("KUBECONFIG".to_owned(), self.kubeconfig.display().to_string());
        let environment = [self.environment.as_slice(), &[kubeconfig]].concat();
        self.process = Some(Process::start(&self.program, &arguments, &environment, &self.log)?);
        Ok(())
    }

    /// Waits until it reports that it is ready.
    ///
    /// # Errors
    /// If it is not ready in time, or exits.
    pub async fn wait_until_ready(&mut self, wait: Wait) -> anyhow::Result<()> {
        let (http, url) = (self.http.clone(), format!("{}/readyz", self.admin_url()));
        let is_ready = wait.until("the operator is ready", async || match get(&http, &url, "*/*").await {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        let process = self.process.as_mut().context("the operator is not started")?;
        let outcome = tokio::select! {
            ready = is_ready => ready,
            status = process.exited() => Err(anyhow!("the operator exited unexpectedly ({})", status?)),
        };
        outcome.map_err(|error| anyhow!("{error:#}; {} ends with\n{}", self.log.display(), self.log_tail()))
    }

    /// Returns its process ID.
    ///
    /// # Errors
    /// If it does not run.
    pub fn id(&self) -> anyhow::Result<u32> {
        self.process.as_ref().and_then(Process::id).context("the operator is not running")
    }

    /// Reports whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Waits until it exits, and returns its exit status.
    ///
    /// # Errors
    /// If it was never started.
    pub async fn exited(&mut self) -> anyhow::Result<ExitStatus> {
        self.process.as_mut().context("the operator was never started")?.exited().await
    }

    /// Sends SIGKILL, like a power failure.
    ///
    /// # Errors
    /// If it was never started.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.as_mut().context("the operator was never started")?.kill().await
    }

    /// Sends any signal, such as `STOP` and `CONT`, which freeze it for a while.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        self.process.as_ref().context("the operator was never started")?.signal(name).await
    }

    /// Sends SIGTERM, and expects the exit in time and with code 0.
    ///
    /// # Errors
    /// If it does not run, or exits in another way; includes the end of its log.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.signal("TERM").await?;
        let outcome = match tokio::time::timeout(STOP_TIMEOUT, self.exited()).await {
            Ok(status) => match status? {
                status if status.success() => return Ok(()),
                status => format!("exited with {status} after SIGTERM"),
            },
            Err(_) => {
                self.kill().await?;
                format!("had not exited {STOP_TIMEOUT:?} after SIGTERM")
            }
        };
        bail!("the operator {outcome}; {} ends with\n{}", self.log.display(), self.log_tail())
    }

    /// Sends a GET request to its admin address, with an `Accept` header.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn get(&self, path: &str, accepted: &str) -> Result<(u16, String), reqwest::Error> {
        get(&self.http, &format!("{}{path}", self.admin_url()), accepted).await
    }

    /// Returns its program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Returns the base URL of `/readyz` and `/metrics`.
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin_port)
    }

    /// Returns the port of the webhooks.
    pub fn webhook_port(&self) -> u16 {
        self.webhook_port
    }

    /// Returns the base URL of the webhooks.
    pub fn webhook_base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.webhook_port)
    }

    /// Returns the webhook URL of a connection.
    pub fn webhook_url(&self, namespace: &str, connection: &str) -> String {
        format!("{}/webhooks/lever/{namespace}/{connection}", self.webhook_base_url())
    }

    /// Returns the log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Returns the log, including that of previous runs.
    pub fn logged(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Returns the last lines of the log.
    pub fn log_tail(&self) -> String {
        let log = self.logged();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

async fn get(http: &reqwest::Client, url: &str, accepted: &str) -> Result<(u16, String), reqwest::Error> {
    let answer = http.get(url).header("Accept", accepted).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}
