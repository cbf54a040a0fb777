//! The operator as a process: the real program, started, killed and stopped as a cluster does it.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::cluster::Cluster;
use crate::tcp_proxy::TcpProxy;
use crate::wait::{eventually, within};

/// Replica of the operator. It is killed when it is dropped.
pub struct Operator {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    levels: String,
    kubeconfig: PathBuf,
    child: Option<Child>,
    /// Connection to the API server.
    pub proxy: TcpProxy,
    /// Log output, including that of previous runs.
    pub log: PathBuf,
    /// Port of the webhooks.
    pub webhooks: u16,
    admin: u16,
}

impl Operator {
    /// Prepares a replica without starting it. `user` is its user for the API server.
    pub async fn new(cluster: &Cluster, user: &str, groups: &[&str]) -> Self {
        Self::with_api_server_url(cluster.plane.url(), cluster, user, groups).await
    }

    /// Like [`new`](Self::new), with another URL of the API server.
    pub async fn with_api_server_url(url: &str, cluster: &Cluster, user: &str, groups: &[&str]) -> Self {
        let proxy = TcpProxy::to(url).await;
        Self {
            program: cluster.operator(),
            arguments: Vec::new(),
            environment: Vec::new(),
            levels: "info,pad_operator=debug".to_owned(),
            kubeconfig: cluster.kubeconfig_of(user, groups, &proxy.url()),
            proxy,
            child: None,
            log: cluster.plane.folder().join(format!("{}.log", user.replace(':', "_"))),
            webhooks: free_port(),
            admin: free_port(),
        }
    }

    /// Sets its flags, without its addresses.
    pub fn set_arguments(&mut self, arguments: Vec<String>) {
        self.arguments = arguments;
    }

    /// Sets its kubeconfig file.
    pub fn set_kubeconfig(&mut self, file: PathBuf) {
        self.kubeconfig = file;
    }

    /// Sets its environment variables; the log filter is still set by [`Operator::set_levels`].
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// Sets the log filter, in the syntax of RUST_LOG.
    pub fn set_levels(&mut self, levels: &str) {
        levels.clone_into(&mut self.levels);
    }

    /// Starts the operator and waits until it answers webhooks.
    pub async fn start(&mut self) {
        self.spawn();
        self.wait_until_ready().await;
    }

    /// Starts the operator.
    pub fn spawn(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let child = Command::new(&self.program)
            .arg("run")
            .arg(format!("--webhook-address=127.0.0.1:{}", self.webhooks))
            .arg(format!("--admin-address=127.0.0.1:{}", self.admin))
            .args(&self.arguments)
            // No settings of the machine: no proxy, no flags.
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("RUST_LOG", &self.levels)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        assert!(self.child.replace(child).is_none(), "it is already running");
    }

    /// Waits until it answers webhooks.
    pub async fn wait_until_ready(&mut self) {
        eventually("the operator is ready", async || {
            assert!(self.is_alive(), "the operator exited:\n{}", self.logged());
            match self.get("/readyz").await {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// Returns the process ID while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Returns its current resident memory in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Waits until it exits without being stopped, and returns its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        within(Duration::from_secs(25), "the operator exits", child.wait()).await.unwrap().code()
    }

    /// Sends SIGKILL, like a power failure.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().await.unwrap();
    }

    /// Sends SIGTERM. Asserts that it exits in time with code 0.
    pub async fn terminate(&mut self) {
        self.signal("TERM").await;
        assert_eq!(self.ended().await, Some(0), "{}", self.logged());
    }

    /// Sends any signal, such as `STOP` and `CONT`, which freeze it for a while.
    pub async fn signal(&self, name: &str) {
        let id = self.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().await.unwrap().success());
    }

    /// Sends a GET request to its admin address.
    pub async fn get(&self, path: &str) -> Result<(u16, String), reqwest::Error> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let address = format!("http://127.0.0.1:{}{path}", self.admin);
        let answer = client.get(address).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Returns a free port below the range from which the kernel assigns ports, so that no outgoing connection takes it
/// while the operator is down.
pub fn free_port() -> u16 {
    static USED_PORTS: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    let mut taken = USED_PORTS.lock().unwrap();
    let first = 10_000 + u16::try_from(std::process::id() % 8_000).unwrap();
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let port = (first..first + 2_000).find(|port| !taken.contains(port) && is_free(port)).unwrap();
    taken.insert(port);
    port
}
