//! Tests of the control plane: it must be real (RBAC, controllers, persistent data) and leave nothing behind. A start
//! takes seconds, so one test covers most properties.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use control_plane::ControlPlane;

#[tokio::test]
async fn control_plane_is_real_and_leaves_nothing_behind() {
    let plane = ControlPlane::start().await.unwrap();
    let kubeconfig = plane.kubeconfig().to_owned();
    assert_eq!(kubectl(&plane, &kubeconfig, &["get", "--raw", "/readyz"]).unwrap(), "ok");

    kubectl(&plane, &kubeconfig, &["create", "namespace", "hiring"]).unwrap();
    let wait = ["wait", "--for=create", "serviceaccount/default", "-n", "hiring", "--timeout=30s"];
    kubectl(&plane, &kubeconfig, &wait).expect("the controller manager creates the ServiceAccount");

    check_rbac(&plane).await;

    plane.stop_api_server().await.unwrap();
    kubectl(&plane, &kubeconfig, &["get", "--raw", "/readyz"]).expect_err("the API server is down");
    plane.start_api_server().await.unwrap();
    kubectl(&plane, &kubeconfig, &["get", "namespace", "hiring"]).expect("data outlives the API server");
    plane.stop_etcd().await.unwrap();
    let read = ["get", "namespace", "hiring", "--request-timeout=3s"];
    kubectl(&plane, &kubeconfig, &read).expect_err("there is nowhere to read from");
    plane.start_etcd().await.unwrap();
    kubectl(&plane, &kubeconfig, &read).expect("data outlives etcd");

    check_joined_process(&plane).await;

    let folder = plane.folder().to_owned();
    assert!(!processes_of(&folder).is_empty(), "processes_of finds running processes");
    plane.stop().await.unwrap();
    assert!(!folder.exists());
    assert_eq!(processes_of(&folder), Vec::<String>::new());
    let error = ControlPlane::join(&folder).err().unwrap().to_string();
    assert!(error.contains("no control plane is kept in"), "{error}");
}

/// A process that joins has its own valid certificates and cannot stop anything.
async fn check_joined_process(plane: &ControlPlane) {
    let guest = ControlPlane::join(plane.folder()).unwrap();
    assert_eq!((guest.url(), guest.kubeconfig()), (plane.url(), plane.kubeconfig()));
    let (folder, user) = (guest.folder().to_owned(), "system:serviceaccount:hiring:guest");
    assert_ne!(folder, plane.folder());
    let file = folder.join("guest.kubeconfig");
    fs::write(&file, guest.kubeconfig_yaml_for(user, &["system:masters"]).unwrap()).unwrap();
    kubectl(&guest, &file, &["get", "secrets", "-n", "hiring"]).unwrap();
    let events = guest.audit_events().await.unwrap();
    assert!(events.iter().any(|event| event["user"]["username"] == user));

    guest.stop_api_server().await.expect_err("it belongs to another process");
    guest.stop_etcd().await.expect_err("it belongs to another process");
    guest.stop().await.unwrap();
    assert!(!folder.exists());
    assert_eq!(kubectl(plane, plane.kubeconfig(), &["get", "--raw", "/readyz"]).unwrap(), "ok");
}

/// A ServiceAccount authenticated by certificate first has no permissions, and then exactly those that are granted to
/// one of its groups. The audit log contains both requests.
async fn check_rbac(plane: &ControlPlane) {
    let user = "system:serviceaccount:hiring:reader";
    let groups = ["system:serviceaccounts", "system:serviceaccounts:hiring"];
    let file = plane.folder().join("reader.kubeconfig");
    fs::write(&file, plane.kubeconfig_yaml_for(user, &groups).unwrap()).unwrap();
    let list = ["get", "secrets", "-n", "hiring"];

    let refusal = kubectl(plane, &file, &list).expect_err("nothing is allowed by default");
    assert!(refusal.contains(&format!("Forbidden): secrets is forbidden: User \"{user}\"")), "{refusal}");

    let grant =
        ["create", "rolebinding", "readers", "-n", "hiring", "--clusterrole=admin", "--group", groups[1]];
    kubectl(plane, plane.kubeconfig(), &grant).unwrap();
    eventually("the grant is in force", || kubectl(plane, &file, &list).is_ok());

    let events = plane.audit_events().await.unwrap();
    let codes: Vec<_> = events
        .iter()
        .filter(|event| event["user"]["username"] == user && event["objectRef"]["resource"] == "secrets")
        .map(|event| event["responseStatus"]["code"].as_u64().unwrap())
        .collect();
    assert_eq!((codes.first(), codes.last()), (Some(&403), Some(&200)));
    assert!(events.iter().all(|event| event["stage"] == "ResponseComplete"), "each request is logged once");

    let three = ["a", "b", "c"];
    assert!(plane.kubeconfig_yaml_for("somebody", &three).is_err(), "no group is dropped silently");
}

#[test]
fn killed_owner_leaves_nothing_behind() {
    let mut owner =
        Command::new(env!("CARGO_BIN_EXE_control-plane")).arg("run").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let kubeconfig = lines
        .find_map(|line| line.unwrap().trim().strip_prefix("export KUBECONFIG=").map(PathBuf::from))
        .expect("it prints the instructions");
    let folder = kubeconfig.parent().unwrap();
    assert!(processes_of(folder).iter().any(|process| process.contains("kube-controller-manager")));

    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("every process has ended", || processes_of(folder).is_empty());
    eventually("the folder is gone", || !folder.exists());
}

#[test]
fn exec_returns_the_exit_code_of_the_command() {
    let script = "kubectl create namespace tried >/dev/null && helm version >/dev/null && exit 7";
    let status = Command::new(env!("CARGO_BIN_EXE_control-plane"))
        .args(["exec", "--", "sh", "-c", script])
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(7));
}

fn kubectl(plane: &ControlPlane, kubeconfig: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(plane.program("kubectl"))
        .env("KUBECONFIG", kubeconfig)
        .args(arguments)
        .output()
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Returns the command lines of all processes that name `folder`, as every program of a control plane does.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    processes
        .filter_map(|file| fs::read(file).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(folder))
        .collect()
}

fn eventually(what: &str, check: impl Fn() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < Duration::from_secs(30), "timed out waiting until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Tests may share one control plane in a static and start it in a spawned task.
#[test]
fn control_plane_can_be_shared_between_threads() {
    fn sendable<T: Send>(_: T) {}
    fn shareable<T: Send + Sync>() {}
    sendable(ControlPlane::start());
    shareable::<ControlPlane>();
}
