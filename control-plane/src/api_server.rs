//! The API server, set up as in a real cluster: RBAC and Node authorization, signed ServiceAccount tokens, and an audit
//! log in which tests and the benchmark count requests.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::certificates::{self, Authority};
use crate::process::{Folder, Process};
use crate::programs::Programs;
use crate::wait_for_answer;

const AUDIT_POLICY: &str = "audit-policy.yaml";

/// Logs only finished requests, and only those for resources that the operator reads or writes. Otherwise the control
/// plane's own requests would dominate the log.
const AUDIT_RULES: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
  resources:
  - group: padoperator.dev
  - group: events.k8s.io
  - {group: "", resources: [events, secrets]}
  - {group: coordination.k8s.io, resources: [leases]}
- level: None
"#;

pub(crate) fn write_audit_policy(folder: &Path) -> io::Result<()> {
    std::fs::write(folder.join(AUDIT_POLICY), AUDIT_RULES)
}

pub(crate) fn audit_log(folder: &Path) -> PathBuf {
    folder.join("audit.log")
}

pub(crate) fn url(port: u16) -> String {
    format!("https://{}:{port}", Ipv4Addr::LOCALHOST)
}

/// Returns a free port, chosen at random.
///
/// The port is below the range from which the kernel assigns ports. A port of that range could be given to an
/// outgoing connection while the API server is down, and a client that tries to reconnect could even connect to itself.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    const ATTEMPTS: usize = 100;
    for _ in 0..ATTEMPTS {
        let random = RandomState::new().build_hasher().finish() % u64::from(COUNT);
        let port = FIRST + u16::try_from(random)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no free port found from {FIRST} to {}", FIRST + COUNT)
}

pub(crate) fn spawn(folder: &Folder, programs: &Programs, port: u16) -> anyhow::Result<Process> {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let issuer = "https://kubernetes.default.svc.cluster.local";
    let arguments = [
        format!("--etcd-servers=unix://{}", path("etcd.sock")),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={}", path(certificates::SERVER_CERTIFICATE)),
        format!("--tls-private-key-file={}", path(certificates::SERVER_KEY)),
        format!("--client-ca-file={}", path(certificates::CA)),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        format!("--service-account-issuer={issuer}"),
        format!("--service-account-key-file={}", path(certificates::SERVICE_ACCOUNT_PUBLIC_KEY)),
        format!("--service-account-signing-key-file={}", path(certificates::SERVICE_ACCOUNT_KEY)),
        // A loopback address is not allowed in the endpoints of the Service `kubernetes`, which no pod needs anyway.
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--audit-policy-file={}", path(AUDIT_POLICY)),
        format!("--audit-log-path={}", audit_log(folder.path()).display()),
        // A request is logged before it is answered, so a test need not wait for the log.
        "--audit-log-mode=blocking".to_owned(),
        // In megabytes, more than a benchmark writes: readers would lose events in a rotated log.
        "--audit-log-maxsize=100000".to_owned(),
    ];
    folder.spawn(&programs.path("kube-apiserver"), &arguments)
}

pub(crate) async fn wait_until_ready(
    authority: &Authority,
    etcd: &mut Process,
    api_server: &mut Process,
    port: u16,
) -> anyhow::Result<()> {
    let client = Client::new(authority, &url(port))?;
    wait_for_answer(&client, "/readyz", &mut [etcd, api_server]).await
}

/// Administrator's HTTP client for the API server.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub(crate) fn new(authority: &Authority, url: &str) -> anyhow::Result<Self> {
        let identity = authority.client("admin", &["system:masters"])?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([reqwest::Certificate::from_pem(authority.certificate().as_bytes())?])
            .identity(reqwest::Identity::from_pem((identity.certificate + &identity.key).as_bytes())?)
            .timeout(Duration::from_secs(5))
            .build()?;
        Ok(Self { http, url: url.to_owned() })
    }

    pub(crate) async fn responds(&self, path: &str) -> bool {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}
