//! The operator as a process. A failure fails the test.

use std::path::PathBuf;
use std::time::Duration;

use testkit::process;

use crate::cluster::Cluster;
use crate::tcp_proxy::TcpProxy;
use crate::wait::{READY, within};

/// Replica of the operator, as it was built for these tests. It is killed when it is dropped.
pub struct Operator {
    inner: testkit::Operator,
    environment: Vec<(String, String)>,
    levels: String,
    /// Connection to the API server.
    pub proxy: TcpProxy,
    /// Port of the webhooks.
    pub webhooks: u16,
}

impl Operator {
    /// Prepares a replica without starting it. `user` is its user for the API server.
    pub async fn new(cluster: &Cluster, user: &str, groups: &[&str]) -> Self {
        Self::with_api_server_url(cluster.plane.url(), cluster, user, groups).await
    }

    /// Like [`new`](Self::new), with another URL of the API server.
    pub async fn with_api_server_url(url: &str, cluster: &Cluster, user: &str, groups: &[&str]) -> Self {
        let proxy = TcpProxy::to(url).await;
        let kubeconfig = cluster.kubeconfig_of(user, groups, &proxy.url());
        let log = cluster.plane.folder().join(format!("{}.log", user.replace(':', "_")));
        let inner = testkit::Operator::new(cluster.operator(), kubeconfig, log).unwrap();
        Self {
            webhooks: inner.webhook_port(),
            inner,
            environment: Vec::new(),
            levels: "info,pad_operator=debug".to_owned(),
            proxy,
        }
    }

    /// Sets its flags, without its addresses.
    pub fn set_arguments(&mut self, arguments: Vec<String>) {
        self.inner.set_arguments(arguments);
    }

    /// Sets its kubeconfig file.
    pub fn set_kubeconfig(&mut self, file: PathBuf) {
        self.inner.set_kubeconfig(file);
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
        let levels = ("RUST_LOG".to_owned(), self.levels.clone());
        self.inner.set_environment([self.environment.as_slice(), &[levels]].concat());
        self.inner.start().unwrap();
    }

    /// Waits until it answers webhooks.
    pub async fn wait_until_ready(&mut self) {
        self.inner.wait_until_ready(READY).await.unwrap();
    }

    /// Returns the process ID while it runs.
    pub fn id(&self) -> Option<u32> {
        self.inner.id().ok()
    }

    /// Returns its current resident memory in KiB.
    pub fn memory(&self) -> u64 {
        process::memory(self.inner.id().unwrap()).unwrap()
    }

    pub fn is_alive(&mut self) -> bool {
        self.inner.is_running()
    }

    /// Waits until it exits without being stopped, and returns its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        within(Duration::from_secs(25), "the operator exits", self.inner.exited()).await.unwrap().code()
    }

    /// Sends SIGKILL, like a power failure.
    pub async fn kill(&mut self) {
        self.inner.kill().await.unwrap();
    }

    /// Sends SIGTERM. Asserts that it exits in time with code 0.
    pub async fn terminate(&mut self) {
        self.inner.stop().await.unwrap();
    }

    /// Sends any signal, such as `STOP` and `CONT`, which freeze it for a while.
    pub async fn signal(&self, name: &str) {
        self.inner.signal(name).await.unwrap();
    }

    /// Sends a GET request to its admin address.
    pub async fn get(&self, path: &str) -> Result<(u16, String), reqwest::Error> {
        self.inner.get(path, "*/*").await
    }

    pub fn logged(&self) -> String {
        self.inner.logged()
    }
}
