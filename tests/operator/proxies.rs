//! Proxies for the API server, with the same settings as for kubectl.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::cluster::{Cluster, Output, run};
use crate::plugin::plugin_program;
use crate::process::Operator;

/// Proxy for HTTP CONNECT and SOCKS 5 that forwards every connection to one local port.
struct Proxy {
    port: u16,
    /// Requested targets and credentials.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (port, asked) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<String>>>::default());
        let log = asked.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let log = log.clone();
                tokio::spawn(async move { serve(near, target, &log).await });
            }
        });
        Self { port, asked }
    }

    fn requested_hosts(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(mut near: TcpStream, target: u16, log: &Mutex<Vec<String>>) -> Option<()> {
    let first = near.read_u8().await.ok()?;
    let asked = if first == 5 { socks(&mut near).await? } else { connect(&mut near, first).await? };
    log.lock().unwrap().push(asked);
    let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await.ok()?;
    let answer: &[u8] =
        if first == 5 { &[5, 0, 0, 1, 127, 0, 0, 1, 0, 0] } else { b"HTTP/1.1 200 OK\r\n\r\n" };
    near.write_all(answer).await.ok()?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await.ok()?;
    Some(())
}

/// Returns the target of `CONNECT host:port`, and the credentials unchanged.
async fn connect(near: &mut TcpStream, first: u8) -> Option<String> {
    let mut head = vec![first];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(near.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    let credentials = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("proxy-authorization").then_some(value)
    });
    Some(format!("{target} {}", credentials.unwrap_or_default()).trim().to_owned())
}

/// Returns the target of a SOCKS 5 request without credentials.
async fn socks(near: &mut TcpStream) -> Option<String> {
    let methods = usize::from(near.read_u8().await.ok()?);
    near.read_exact(&mut vec![0; methods]).await.ok()?;
    near.write_all(&[5, 0]).await.ok()?;
    let mut head = [0; 4];
    near.read_exact(&mut head).await.ok()?;
    let host = match head[3] {
        1 => {
            let mut address = [0; 4];
            near.read_exact(&mut address).await.ok()?;
            Ipv4Addr::from(address).to_string()
        }
        3 => {
            let length = usize::from(near.read_u8().await.ok()?);
            let mut name = vec![0; length];
            near.read_exact(&mut name).await.ok()?;
            String::from_utf8(name).unwrap()
        }
        other => panic!("an address of type {other}"),
    };
    Some(format!("{host}:{}", near.read_u16().await.ok()?))
}

/// Returns a kubeconfig whose API server has a name that only the proxy resolves.
fn kubeconfig(cluster: &Cluster, name: &str, proxy: Option<&str>) -> PathBuf {
    let file = cluster.kubeconfig_of(name, &["system:masters"], "https://api.cluster.example:6443");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let entry = &mut config["clusters"][0]["cluster"];
    entry["tls-server-name"] = json!("127.0.0.1");
    entry["proxy-url"] = json!(proxy);
    std::fs::write(&file, config.to_string()).unwrap();
    file
}

/// Runs kubectl-pad with only this environment.
async fn plugin(kubeconfig: &PathBuf, environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(plugin_program());
    command.args(["status", "--all-namespaces"]).env_clear().env("KUBECONFIG", kubeconfig);
    run(command.envs(environment.iter().copied()), None).await
}

async fn starts(cluster: &Cluster, name: &str, kubeconfig: PathBuf, environment: Vec<(String, String)>) {
    let mut operator = Operator::new(cluster, name, &["system:masters"]).await;
    operator.set_kubeconfig(kubeconfig);
    operator.set_environment(environment);
    operator.set_arguments(vec!["--namespace=default".into(), "--leader-election=false".into()]);
    operator.start().await;
    operator.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_of_the_kubeconfig_or_the_environment_is_used() {
    let cluster = Cluster::shared().await;
    let target = cluster.plane.url().rsplit(':').next().unwrap().parse().unwrap();
    for (scheme, expected) in [
        ("http", "api.cluster.example:6443"),
        ("socks5", "api.cluster.example:6443"),
        ("http://user:p%40ss", "api.cluster.example:6443 Basic dXNlcjpwQHNz"),
    ] {
        let proxy = Proxy::to(target).await;
        let at = match scheme.split_once("://") {
            Some((scheme, user)) => format!("{scheme}://{user}@127.0.0.1:{}", proxy.port),
            None => format!("{scheme}://127.0.0.1:{}", proxy.port),
        };
        let name = format!("behind-{}-{}", scheme.len(), proxy.port);
        let file = kubeconfig(&cluster, &name, Some(&at));
        plugin(&file, &[("NO_PROXY", "*")]).await.unwrap();
        assert_eq!(proxy.requested_hosts().first().map(String::as_str), Some(expected), "{at}");
        let before = proxy.requested_hosts().len();
        starts(&cluster, &format!("{name}-too"), file, Vec::new()).await;
        let asked = proxy.requested_hosts();
        assert!(asked.len() > before && asked.iter().all(|asked| asked == expected), "{at}: {asked:?}");
    }

    // Proxy settings from the environment, and the exceptions in NO_PROXY.
    let proxy = Proxy::to(target).await;
    let (file, at) =
        (kubeconfig(&cluster, "behind-environment", None), format!("http://127.0.0.1:{}", proxy.port));
    plugin(&file, &[("HTTPS_PROXY", &at), ("NO_PROXY", "other.example,10.0.0.0/8")]).await.unwrap();
    let asked = proxy.requested_hosts().len();
    assert!(asked > 0);
    starts(&cluster, "behind-environment-too", file.clone(), vec![("HTTPS_PROXY".into(), at.clone())]).await;
    assert!(proxy.requested_hosts().len() > asked);
    let asked = proxy.requested_hosts().len();
    plugin(&file, &[("HTTPS_PROXY", &at), ("NO_PROXY", ".example")]).await.unwrap_err();
    assert_eq!(proxy.requested_hosts().len(), asked, "the proxy is not used");

    // An API server that NO_PROXY names is reached without the proxy, which does not exist.
    let direct = cluster.kubeconfig_of("beside-proxy", &["system:masters"], cluster.plane.url());
    let environment = [("HTTPS_PROXY", "http://127.0.0.1:9"), ("NO_PROXY", "127.0.0.1")];
    plugin(&direct, &environment).await.unwrap();
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    starts(&cluster, "beside-proxy-too", direct, environment).await;
}
