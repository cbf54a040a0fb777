//! Cluster of the tests: a real API server with the CustomResourceDefinitions.
//!
//! All tests of a run share one control plane, which the first test starts. For repeated runs of a test during
//! development, `CONTROL_PLANE` names the folder of a control plane that is kept running.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request as HttpRequest;
use axum::http::StatusCode;
use control_plane::ControlPlane;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use simulators::Relay;
use testkit::{CommandError, CommandLine, output, repository};
use tokio::process::Command;
use tokio::sync::OnceCell;

/// Running control plane, and the operator's program as it was built for these tests.
#[derive(Clone)]
pub struct Cluster {
    pub plane: Arc<ControlPlane>,
    /// Distinguishes this run from earlier ones if the control plane outlives it.
    run: Option<u32>,
}

/// Result of a command.
pub type Output = Result<String, String>;

impl Cluster {
    /// Returns the control plane that all tests share. It ends with the process, unless it is kept.
    pub async fn shared() -> Self {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        let shared = SHARED.get_or_init(async || match std::env::var_os("CONTROL_PLANE") {
            Some(kept) => Self::join(kept.as_ref()).await,
            None => Self::with_crds().await,
        });
        shared.await.clone()
    }

    /// Joins a control plane that outlives the tests. Its CustomResourceDefinitions may be outdated.
    async fn join(kept: &Path) -> Self {
        let cluster = Self::new(ControlPlane::join(kept).unwrap(), Some(std::process::id())).await;
        cluster.apply_crds().await;
        cluster
    }

    /// Starts a separate control plane with the CustomResourceDefinitions.
    pub async fn with_crds() -> Self {
        let cluster = Self::start().await;
        cluster.apply_crds().await;
        cluster
    }

    async fn apply_crds(&self) {
        self.command_line().install_crds().await.unwrap();
    }

    /// Starts a separate control plane, with the third-party CustomResourceDefinitions that the chart and the examples
    /// use.
    pub async fn with_third_party_crds() -> Self {
        let cluster = Self::with_crds().await;
        // These definitions are too large for the annotation of client-side `kubectl apply`.
        let apply = ["apply", "--server-side", "--filename", &source(".tools/crds")];
        cluster.kubectl(&apply, None).await.expect("run `make foreign-crds`");
        let wait = ["wait", "--for=condition=Established", "--all", "crds", "--timeout=60s"];
        cluster.kubectl(&wait, None).await.unwrap();
        cluster
    }

    /// Starts a separate, empty control plane.
    pub async fn start() -> Self {
        Self::new(ControlPlane::start().await.unwrap(), None).await
    }

    async fn new(plane: ControlPlane, run: Option<u32>) -> Self {
        let cluster = Self { plane: Arc::new(plane), run };
        // Copied, because another build of the program must not change it during the tests.
        tokio::fs::copy(env!("CARGO_BIN_EXE_pad-operator"), cluster.operator()).await.unwrap();
        cluster
    }

    /// Returns a namespace with this name, or a similar one that no earlier run has used.
    pub fn namespace(&self, name: &'static str) -> &'static str {
        self.run.map_or(name, |run| format!("{name}-{run}").leak())
    }

    /// Creates a namespace unless it exists.
    pub async fn create_namespace(&self, name: &str) {
        let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.kubectl(&["apply", "--filename", "-"], Some(&manifest.to_string())).await.unwrap();
    }

    /// Returns the operator's program.
    pub fn operator(&self) -> PathBuf {
        self.plane.folder().join("pad-operator")
    }

    /// Runs kubectl as an administrator, with `input` on standard input.
    pub async fn kubectl(&self, arguments: &[&str], input: Option<&str>) -> Output {
        self.run("kubectl", arguments, input).await
    }

    /// Runs a program of the control plane, such as helm.
    pub async fn run(&self, program: &str, arguments: &[&str], input: Option<&str>) -> Output {
        or_stderr(self.command_line().run(program, arguments, input.unwrap_or_default()).await)
    }

    fn command_line(&self) -> CommandLine {
        CommandLine::new(self.plane.kubeconfig(), &[self.plane.programs()], self.plane.folder()).unwrap()
    }

    /// Writes a kubeconfig for a user who reaches the API server at this address. Returns the file.
    pub fn kubeconfig_of(&self, user: &str, groups: &[&str], url: &str) -> PathBuf {
        let file = self.plane.folder().join(format!("{}.kubeconfig", user.replace(':', "_")));
        let text = self.plane.kubeconfig_yaml_for(user, groups).unwrap();
        std::fs::write(&file, text.replace(self.plane.url(), url)).unwrap();
        file
    }

    /// Returns an administrator's client. It belongs to the runtime of the calling test.
    pub async fn client(&self) -> kube::Client {
        let file = Kubeconfig::read_from(self.plane.kubeconfig()).unwrap();
        kube::Client::try_from(config_of(file).await).unwrap()
    }

    /// Starts a relay to the API server that supports faults and authenticates all its requests as this user.
    pub async fn relay(&self, user: &str, groups: &[&str]) -> Relay {
        let file = Kubeconfig::from_yaml(&self.plane.kubeconfig_yaml_for(user, groups).unwrap()).unwrap();
        let mut config = config_of(file).await;
        // No retries, and no timeout for watches.
        (config.default_retry, config.read_timeout) = (false, None);
        let client = kube::Client::try_from(config).unwrap();
        let send_on = async move |request: HttpRequest| {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.map_err(|_| StatusCode::BAD_REQUEST)?;
            let answer = client.send(HttpRequest::from_parts(parts, body.into())).await;
            answer.map(|answer| answer.map(Body::new)).map_err(|_| StatusCode::BAD_GATEWAY)
        };
        Relay::start(Router::new().fallback(send_on)).await.unwrap()
    }
}

/// Runs a command with `input` on standard input. Returns its output or its error output.
pub async fn run(command: &mut Command, input: Option<&str>) -> Output {
    or_stderr(output(command, input.unwrap_or_default()).await)
}

/// Returns the output of a command or its error output, without the command itself.
pub fn or_stderr(outcome: anyhow::Result<String>) -> Output {
    outcome.map_err(|error| match error.downcast::<CommandError>() {
        Ok(error) => error.stderr,
        Err(error) => panic!("{error:#}"),
    })
}

async fn config_of(file: Kubeconfig) -> kube::Config {
    kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap()
}

/// Returns the path of a file or folder of the repository.
pub fn source(path: &str) -> String {
    repository().join(path).display().to_string()
}

/// Returns the API for objects of a kind in a namespace, such as `pads` or `secrets`.
pub fn objects(client: &kube::Client, namespace: &str, plural: &str) -> Api<DynamicObject> {
    let (group, version, kind) = match plural {
        "pads" => ("padoperator.dev", "v1alpha1", "Pad"),
        "padconfigurations" => ("padoperator.dev", "v1alpha1", "PadConfiguration"),
        "leverconnections" => ("padoperator.dev", "v1alpha1", "LeverConnection"),
        "secrets" => ("", "v1", "Secret"),
        "events" => ("events.k8s.io", "v1", "Event"),
        "leases" => ("coordination.k8s.io", "v1", "Lease"),
        other => panic!("unknown kind {other}"),
    };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// Finished request to the API server, from the audit log.
#[derive(Clone, Debug)]
pub struct Request {
    pub user: String,
    pub verb: String,
    /// `pads`, or `pads/status`.
    pub resource: String,
    pub name: String,
    pub code: u64,
}

impl Request {
    pub fn is_write(&self) -> bool {
        !["get", "list", "watch"].contains(&self.verb.as_str())
    }
}

impl Cluster {
    /// Returns the requests for objects of a namespace, oldest first.
    pub async fn requests(&self, namespace: &str) -> Vec<Request> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let events = self.plane.audit_events().await.unwrap();
        let of_namespace = events.iter().filter(|event| event["objectRef"]["namespace"] == namespace);
        of_namespace
            .map(|event| {
                let object = &event["objectRef"];
                let subresource = object["subresource"].as_str();
                Request {
                    user: text(&event["user"]["username"]),
                    verb: text(&event["verb"]),
                    resource: [object["resource"].as_str().unwrap_or_default()]
                        .into_iter()
                        .chain(subresource)
                        .collect::<Vec<_>>()
                        .join("/"),
                    name: text(&object["name"]),
                    code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
                }
            })
            .collect()
    }
}
