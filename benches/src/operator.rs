//! The operator's release binary as a child process.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::process::{Child, Command};

use crate::bench::Bench;

const WAIT_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

/// Replica of the operator. It is killed when it is dropped.
pub struct Operator {
    child: Child,
    webhooks: u16,
    log: PathBuf,
}

impl Operator {
    /// Starts a replica that authenticates to the API server as this user, and waits until it is ready. Also returns
    /// the time until ready.
    pub async fn start(bench: &Bench, user: &str, arguments: &[String]) -> anyhow::Result<(Self, Duration)> {
        let program = std::env::current_exe()?.with_file_name("pad-operator");
        ensure!(program.is_file(), "{} does not exist: `make bench` builds it", program.display());
        let kubeconfig = bench.plane.folder().join(format!("{user}.kubeconfig"));
        std::fs::write(&kubeconfig, bench.plane.kubeconfig_yaml_for(user, &["system:masters"])?)?;
        let log = bench.plane.folder().join(format!("{user}.log"));
        let output = std::fs::File::create(&log)?;
        let (webhooks, admin) = (free_port()?, free_port()?);
        let started = Instant::now();
        let child = Command::new(program)
            .arg("run")
            .arg(format!("--webhook-address=127.0.0.1:{webhooks}"))
            .arg(format!("--admin-address=127.0.0.1:{admin}"))
            .args(arguments)
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()?;
        let mut operator = Self { child, webhooks, log };
        let url = format!("http://127.0.0.1:{admin}/readyz");
        while !bench.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            if started.elapsed() > WAIT_TIMEOUT || operator.child.try_wait()?.is_some() {
                bail!("the operator is not ready:\n{}", std::fs::read_to_string(&operator.log)?);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok((operator, started.elapsed()))
    }

    /// Returns the process ID.
    pub fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("the operator has exited")
    }

    /// Returns the webhook URL of a connection.
    pub fn webhook(&self, namespace: &str, connection: &str) -> String {
        format!("http://127.0.0.1:{}/webhooks/lever/{namespace}/{connection}", self.webhooks)
    }

    /// Sends SIGKILL and waits for the exit.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
