//! A real Kubernetes control plane for tests, the demo and the benchmark: etcd, kube-apiserver and
//! kube-controller-manager with RBAC, but without nodes, so that no container ever runs.
//!
//! Every [`ControlPlane`] has its own temporary folder and port, so any number can run in parallel. None of its
//! processes outlives its owner, however the owner ends: see `process.rs`. To avoid the start time, a process can
//! [join](ControlPlane::join) a control plane that another one keeps running.

mod api_server;
mod certificates;
mod process;
mod programs;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::sync::Mutex;

use crate::api_server::Client;
use crate::certificates::Authority;
use crate::process::{Folder, Process};
use crate::programs::Programs;

/// Timeout far above what a start takes, so that a busy machine makes tests slow but not red.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Polling interval of all waits.
const POLL: Duration = Duration::from_millis(20);

/// Running control plane. Dropping it stops it and removes its folder, which blocks for a moment;
/// [`ControlPlane::stop`] does the same without blocking and reports if something is left.
pub struct ControlPlane {
    // Fields are dropped in this order: the folder, which holds everything, last.
    _controller_manager: Option<Process>,
    api_server: Mutex<Option<Process>>,
    etcd: Mutex<Option<Process>>,
    folder: Folder,
    authority: Authority,
    programs: Programs,
    port: u16,
    url: String,
    kubeconfig: PathBuf,
    audit_log: PathBuf,
}

impl ControlPlane {
    /// Starts a control plane and waits until the API server is ready and the controller manager works.
    ///
    /// # Errors
    /// If a program is missing, exits unexpectedly, or is not ready in time; includes the end of its log.
    pub async fn start() -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        let authority = Authority::new()?;
        let folder = Folder::new()?;
        certificates::write(&authority, folder.path())?;
        api_server::write_audit_policy(folder.path())?;

        let mut etcd = spawn_etcd(&folder, &programs)?;
        let (port, mut api_server) =
            start_api_server_on_a_free_port(&folder, &programs, &authority, &mut etcd).await?;
        let url = api_server::url(port);

        let kubeconfig = kubeconfig_in(folder.path());
        let admin = authority.client("admin", &["system:masters"])?;
        std::fs::write(&kubeconfig, authority.kubeconfig(&url, "admin", &admin))?;

        let mut controller_manager = start_controller_manager(&folder, &programs, &authority, &url)?;
        let audit_log = api_server::audit_log(folder.path());
        let client = Client::new(&authority, &url)?;
        wait_for_answer(
            &client,
            "/api/v1/namespaces/default/serviceaccounts/default",
            &mut [&mut etcd, &mut api_server, &mut controller_manager],
        )
        .await?;

        Ok(Self {
            _controller_manager: Some(controller_manager),
            api_server: Mutex::new(Some(api_server)),
            etcd: Mutex::new(Some(etcd)),
            folder,
            authority,
            programs,
            port,
            url,
            kubeconfig,
            audit_log,
        })
    }

    /// Joins a control plane that another process has started and keeps in this folder. Files written by this process
    /// go into its own folder, and it cannot stop the programs.
    ///
    /// # Errors
    /// If no control plane is kept there.
    pub fn join(kept: &Path) -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        let none = || format!("no control plane is kept in {}", kept.display());
        // The path may be a symbolic link that later points elsewhere.
        let kept = &kept.canonicalize().with_context(none)?;
        let authority = certificates::read(kept).with_context(none)?;
        let kubeconfig = kubeconfig_in(kept);
        let config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&kubeconfig).with_context(none)?)?;
        let url = config["clusters"][0]["cluster"]["server"].as_str().with_context(none)?.to_owned();
        let port = url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).with_context(none)?;
        Ok(Self {
            _controller_manager: None,
            api_server: Mutex::default(),
            etcd: Mutex::default(),
            folder: Folder::new()?,
            authority,
            programs,
            port,
            url,
            kubeconfig,
            audit_log: api_server::audit_log(kept),
        })
    }

    /// Returns the API server's URL, such as `https://127.0.0.1:20443`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns a kubeconfig file with all permissions (`system:masters`). It is removed with the control plane.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Returns a kubeconfig for any user and at most two groups, authenticated by a client certificate and thus with
    /// exactly the permissions that RBAC grants. For a ServiceAccount, the user is
    /// `system:serviceaccount:<namespace>:<name>` and the groups are `system:serviceaccounts` and
    /// `system:serviceaccounts:<namespace>`. The account need not exist.
    ///
    /// # Errors
    /// If there are more than two groups, or a name does not fit into a certificate.
    pub fn kubeconfig_yaml_for(&self, user: &str, groups: &[&str]) -> anyhow::Result<String> {
        let identity = self.authority.client(user, groups)?;
        Ok(self.authority.kubeconfig(&self.url, user, &identity))
    }

    /// Returns the path of a program that belongs to the control plane, such as `kubectl` or `helm`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.path(name)
    }

    /// Returns the folder of these programs, to be put first in a `PATH`.
    pub fn programs(&self) -> &Path {
        self.programs.folder()
    }

    /// Returns the private folder of this control plane. Each program that it has started logs to `<program>.log`
    /// there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the audit log, with one event of `audit.k8s.io/v1` per line: every finished request for resources of
    /// `padoperator.dev`, Events, Secrets and Leases, without bodies.
    pub fn audit_log(&self) -> &Path {
        &self.audit_log
    }

    /// Returns the events of the audit log so far, oldest first.
    ///
    /// # Errors
    /// If the file cannot be read or a finished line is not JSON.
    pub async fn audit_events(&self) -> anyhow::Result<Vec<serde_json::Value>> {
        let text = match tokio::fs::read_to_string(&self.audit_log).await {
            Ok(text) => text,
            // The file is created with the first event.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).context("cannot read the audit log"),
        };
        // Text after the last line break is an event that is still being written.
        let finished = text.rfind('\n').map_or("", |end| &text[..end]);
        finished
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not an audit event: {line}")))
            .collect()
    }

    /// Kills the API server (SIGKILL). Its data stays in etcd.
    ///
    /// # Errors
    /// If it is not running or belongs to another process.
    pub async fn stop_api_server(&self) -> anyhow::Result<()> {
        let api_server = self.api_server.lock().await.take().context("this process runs no API server")?;
        drop_blocking(api_server).await
    }

    /// Starts the API server again, on the same port and with the same data, and waits until it is ready.
    ///
    /// # Errors
    /// If it is running, if etcd is not, or if it does not become ready.
    pub async fn start_api_server(&self) -> anyhow::Result<()> {
        let (mut running, mut etcd) = (self.api_server.lock().await, self.etcd.lock().await);
        ensure!(running.is_none(), "the API server is running already");
        let etcd = etcd.as_mut().context("etcd is not running")?;
        let mut api_server = api_server::spawn(&self.folder, &self.programs, self.port)?;
        api_server::wait_until_ready(&self.authority, etcd, &mut api_server, self.port).await?;
        *running = Some(api_server);
        Ok(())
    }

    /// Kills etcd (SIGKILL). Confirmed writes stay on the disk.
    ///
    /// # Errors
    /// If it is not running or belongs to another process.
    pub async fn stop_etcd(&self) -> anyhow::Result<()> {
        let etcd = self.etcd.lock().await.take().context("this process runs no etcd")?;
        drop_blocking(etcd).await
    }

    /// Starts etcd again, with the same data, and waits until the API server reads from it.
    ///
    /// # Errors
    /// If it is running, if the API server is not, or if the API server cannot read from it.
    pub async fn start_etcd(&self) -> anyhow::Result<()> {
        let (mut api_server, mut running) = (self.api_server.lock().await, self.etcd.lock().await);
        ensure!(running.is_none(), "etcd is running already");
        let api_server = api_server.as_mut().context("the API server is not running")?;
        let mut etcd = spawn_etcd(&self.folder, &self.programs)?;
        let client = Client::new(&self.authority, &self.url)?;
        // The API server's own health checks lag behind.
        wait_for_answer(&client, "/api/v1/namespaces/default", &mut [&mut etcd, api_server]).await?;
        *running = Some(etcd);
        Ok(())
    }

    /// Stops every process and removes the folder.
    ///
    /// # Errors
    /// If the folder still exists afterwards.
    pub async fn stop(self) -> anyhow::Result<()> {
        let folder = self.folder.path().to_owned();
        drop_blocking(self).await?;
        ensure!(
            !folder.exists(),
            "the control plane has ended, but {} could not be removed",
            folder.display()
        );
        Ok(())
    }
}

fn kubeconfig_in(folder: &Path) -> PathBuf {
    folder.join("kubeconfig")
}

/// Drops a value that blocks until its processes have exited, on a thread where that blocks no task.
async fn drop_blocking<T: Send + 'static>(owner: T) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || drop(owner)).await.context("stopping the processes failed")
}

fn spawn_etcd(folder: &Folder, programs: &Programs) -> anyhow::Result<Process> {
    let data = folder.path().join("etcd");
    // Sockets in a private folder: no port conflicts, and no database that other users can open.
    let client = format!("unix://{}", folder.path().join("etcd.sock").display());
    let peer = format!("unix://{}", folder.path().join("etcd-peer.sock").display());
    folder.spawn(
        &programs.path("etcd"),
        &[
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            // No fsync, because no data here has to survive a crash of the machine.
            "--unsafe-no-fsync".to_owned(),
            // etcd elects itself after one election timeout, by default a second.
            "--heartbeat-interval=20".to_owned(),
            "--election-timeout=100".to_owned(),
            "--log-level=warn".to_owned(),
        ],
    )
}

async fn start_api_server_on_a_free_port(
    folder: &Folder,
    programs: &Programs,
    authority: &Authority,
    etcd: &mut Process,
) -> anyhow::Result<(u16, Process)> {
    const ATTEMPTS: usize = 5;
    for attempt in 1.. {
        let port = api_server::free_port()?;
        let mut process = api_server::spawn(folder, programs, port)?;
        match api_server::wait_until_ready(authority, etcd, &mut process, port).await {
            Ok(()) => return Ok((port, process)),
            // Another process took the port between the check and the start of the API server.
            Err(_) if attempt < ATTEMPTS && process.log().contains("address already in use") => {}
            Err(error) => return Err(error),
        }
    }
    bail!("no free port found")
}

fn start_controller_manager(
    folder: &Folder,
    programs: &Programs,
    authority: &Authority,
    url: &str,
) -> anyhow::Result<Process> {
    const USER: &str = "system:kube-controller-manager";
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (kubeconfig, plugins) = (path("controller-manager.kubeconfig"), path("volume-plugins"));
    std::fs::write(&kubeconfig, authority.kubeconfig(url, USER, &authority.client(USER, &[])?))?;
    let arguments = [
        format!("--kubeconfig={kubeconfig}"),
        format!("--root-ca-file={}", path(certificates::CA)),
        format!("--service-account-private-key-file={}", path(certificates::SERVICE_ACCOUNT_KEY)),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
        // No one uses its health checks or metrics.
        "--secure-port=0".to_owned(),
        // By default it creates a folder under /usr/libexec.
        format!("--flex-volume-plugin-dir={plugins}"),
        // With the default of 20 requests per second a new namespace has to wait for its ServiceAccount.
        "--kube-api-qps=500".to_owned(),
        "--kube-api-burst=1000".to_owned(),
    ];
    folder.spawn(&programs.path("kube-controller-manager"), &arguments)
}

/// Waits until the API server answers at `path`, or one of `processes` exits.
async fn wait_for_answer(client: &Client, path: &str, processes: &mut [&mut Process]) -> anyhow::Result<()> {
    let start = Instant::now();
    while !client.responds(path).await {
        for process in processes.iter_mut() {
            if let Some(status) = process.exit_status()? {
                bail!("{} exited unexpectedly ({status}):\n{}", process.name(), process.log_tail());
            }
        }
        if start.elapsed() > START_TIMEOUT {
            let logs: Vec<_> = processes.iter().map(|p| format!("{}:\n{}", p.name(), p.log_tail())).collect();
            bail!("{path} did not answer for {} s\n{}", START_TIMEOUT.as_secs(), logs.join("\n"));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
