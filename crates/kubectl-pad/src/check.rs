//! `kubectl pad check`: runs `pad-operator check` in a Pod of the operator, which has the operator's network, proxy and
//! certificates.

use crate::cli::{CheckArgs, KubeArgs};
use crate::cluster::TargetCluster;
use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams, ListParams};
use kube::{Client, ResourceExt};
use tokio::io::AsyncReadExt;

/// Label of the operator's Pods in the chart and in deploy/kustomize.
const OPERATOR_LABEL: &str = "app.kubernetes.io/name=pad-operator";
/// Path of the program in the image.
const PROGRAM: &str = "/pad-operator";
/// Name of the operator's container.
const CONTAINER: &str = "pad-operator";
/// Exit code of a check with failures, and of one that could not run (contract O1).
const FAILURE: u8 = 2;

/// Runs the check in a Pod. Returns its report and its exit code. Prints an error if it could not run.
pub async fn run(kube: &KubeArgs, args: &CheckArgs) -> (String, u8) {
    let checked = async { check(&TargetCluster::connect(kube).await?, args).await };
    checked.await.unwrap_or_else(|error| {
        crate::print_error(&format!("error: {error:#}"));
        (String::new(), FAILURE)
    })
}

async fn check(cluster: &TargetCluster, args: &CheckArgs) -> anyhow::Result<(String, u8)> {
    let client = cluster.client();
    let pod = operator_pod(&client, args.operator_namespace.as_deref(), &cluster.namespace).await?;
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
    let container = container(&pod).with_context(|| format!("Pod {name} has no container"))?;
    let connection = format!("{}/{}", cluster.namespace, args.connection);
    let command = command(container, &connection, args);
    let settings = AttachParams::default().container(&container.name).stdin(false).stderr(true).stdout(true);
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let running = pods.exec(&name, command, &settings).await;
    let mut running = running.with_context(|| {
        format!(
            "cannot run the check in Pod {name}. It needs the permission to create pods/exec; to ask for it: \
             kubectl auth can-i create pods --subresource=exec --namespace {namespace}"
        )
    })?;
    let (mut out, mut errors) = (String::new(), String::new());
    let (stdout, stderr) = (running.stdout(), running.stderr());
    let status = running.take_status().context("the connection has no status")?;
    let read = async |stream: Option<_>, text: &mut String| match stream {
        Some(stream) => read_all(stream, text).await,
        None => Ok(()),
    };
    let (from_out, from_errors, status) =
        tokio::join!(read(stdout, &mut out), read(stderr, &mut errors), status);
    from_out.and(from_errors).context("the connection to the Pod ended early")?;
    if !errors.trim().is_empty() {
        crate::print_error(errors.trim_end());
    }
    let status = status.with_context(|| format!("the connection to Pod {name} ended before the check"))?;
    Ok((out, exit_code(&status)?))
}

async fn read_all(mut stream: impl tokio::io::AsyncRead + Unpin, text: &mut String) -> std::io::Result<()> {
    stream.read_to_string(text).await.map(drop)
}

/// Returns a ready Pod of the operator that serves the namespace.
async fn operator_pod(client: &Client, of: Option<&str>, served: &str) -> anyhow::Result<Pod> {
    let (pods, place): (Api<Pod>, _) = match of {
        Some(namespace) => (Api::namespaced(client.clone(), namespace), format!("namespace {namespace}")),
        None => (Api::all(client.clone()), "all namespaces".to_owned()),
    };
    let listed = pods.list(&ListParams::default().labels(OPERATOR_LABEL)).await;
    let listed = listed.with_context(|| {
        format!("cannot list the operator's Pods in {place}. If they are in one namespace, use --operator-namespace")
    })?;
    let count = listed.items.len();
    match listed.items.into_iter().find(|pod| is_ready(pod) && serves(pod, served)) {
        Some(pod) => Ok(pod),
        None => bail!(
            "no ready Pod of the operator that serves namespace {served} among {count} in {place}. To list them: \
             kubectl get pods --all-namespaces --selector {OPERATOR_LABEL}"
        ),
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is_ready = conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
    is_ready && pod.metadata.deletion_timestamp.is_none()
}

fn container(pod: &Pod) -> Option<&Container> {
    let containers = &pod.spec.as_ref()?.containers;
    containers.iter().find(|container| container.name == CONTAINER).or(containers.first())
}

/// Returns the values of a flag of the operator.
fn flags<'a>(container: &'a Container, name: &str) -> Vec<&'a str> {
    let args = container.args.iter().flatten();
    args.filter_map(|arg| arg.strip_prefix(name)?.strip_prefix('='))
        .flat_map(|values| values.split(','))
        .collect()
}

/// Reports whether the operator in the Pod watches a namespace.
fn serves(pod: &Pod, namespace: &str) -> bool {
    let Some(container) = container(pod) else { return false };
    let own = pod.namespace().unwrap_or_default();
    let variable = container.env.iter().flatten().find(|variable| variable.name == "PAD_OPERATOR_NAMESPACE");
    let by_variable = variable.map(|variable| variable.value.clone().unwrap_or(own));
    let by_variable = by_variable.iter().flat_map(|values| values.split(','));
    let watched: Vec<&str> = flags(container, "--namespace").into_iter().chain(by_variable).collect();
    watched.iter().all(|one| one.is_empty()) || watched.contains(&namespace)
}

/// Returns the command of the check, with the operator's own flags that concern it.
fn command(container: &Container, connection: &str, args: &CheckArgs) -> Vec<String> {
    let mut command: Vec<String> =
        [PROGRAM, "check", "--connection", connection, "--output", args.output.name()]
            .map(str::to_owned)
            .into();
    let origins = flags(container, "--allow-api-origin");
    command.extend(origins.iter().map(|origin| format!("--allow-api-origin={origin}")));
    command
}

/// Returns the exit code of a command in a Pod.
fn exit_code(status: &Status) -> anyhow::Result<u8> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_ref());
    let code = causes.into_iter().flatten().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    match code.and_then(|cause| cause.message.as_ref()?.parse().ok()) {
        Some(code) => Ok(code),
        None => bail!("the check did not run: {}", status.message.as_deref().unwrap_or("no reason given")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ReportFormat;
    use http::{Request, Response};
    use serde_json::{Value, json};

    fn pod(ready: &str, container: &Value) -> Pod {
        let containers = json!([{"name": "sidecar"}, container]);
        let conditions = json!([{"type": "Ready", "status": ready}]);
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "operators"},
            "spec": {"containers": containers}, "status": {"conditions": conditions}}))
        .unwrap()
    }

    fn operator(args: &[&str], env: Value) -> Pod {
        pod("True", &json!({"name": "pad-operator", "args": args, "env": env}))
    }

    #[test]
    fn a_ready_pod_that_serves_the_namespace_is_chosen() {
        assert!(is_ready(&operator(&["run"], json!([]))));
        assert!(!is_ready(&pod("False", &json!({"name": "pad-operator"}))));
        for (args, env, hiring) in [
            (&["run"][..], json!([]), true),
            (&["run", "--namespace=sales,hiring"], json!([]), true),
            (&["run", "--namespace=sales"], json!([]), false),
            (&["run"], json!([{"name": "PAD_OPERATOR_NAMESPACE", "value": "hiring"}]), true),
            (&["run"], json!([{"name": "PAD_OPERATOR_NAMESPACE", "valueFrom": {}}]), false),
        ] {
            assert_eq!(serves(&operator(args, env), "hiring"), hiring, "{args:?}");
        }
    }

    #[test]
    fn the_command_repeats_the_allowed_origins() {
        let pod = operator(&["run", "--allow-api-origin=http://a,http://b", "--log-format=json"], json!([]));
        let args =
            CheckArgs { connection: "acme".into(), output: ReportFormat::Json, operator_namespace: None };
        let command = command(container(&pod).unwrap(), "hiring/acme", &args).join(" ");
        let expected = "/pad-operator check --connection hiring/acme --output json --allow-api-origin=http://a \
                        --allow-api-origin=http://b";
        assert_eq!(command, expected);
    }

    #[test]
    fn the_exit_code_of_the_command_is_passed_on() {
        let status = |value: Value| serde_json::from_value::<Status>(value).unwrap();
        let failed = |code: &str| json!({"status": "Failure", "message": "no", "details": {"causes": [{"reason": "ExitCode", "message": code}]}});
        assert_eq!(exit_code(&status(json!({"status": "Success"}))).unwrap(), 0);
        assert_eq!(exit_code(&status(failed("1"))).unwrap(), 1);
        let error = exit_code(&status(json!({"status": "Failure", "message": "no such file"}))).unwrap_err();
        assert_eq!(error.to_string(), "the check did not run: no such file");
    }

    /// Returns a cluster with these Pods whose API server denies the rest.
    fn denying(pods: Option<Vec<Pod>>) -> TargetCluster {
        let denied = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden",
            "message": "denied", "code": 403});
        let list =
            pods.map(|pods| json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods}));
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let (code, body) = match &list {
                Some(list) if request.uri().path() == "/api/v1/pods" => (200, list),
                _ => (403, &denied),
            };
            let body = kube::client::Body::from(body.to_string().into_bytes());
            let response = Response::builder().status(code).body(body);
            async move { Ok::<_, std::convert::Infallible>(response.unwrap()) }
        });
        TargetCluster::with_client(Client::new(service, "hiring"), "hiring")
    }

    #[tokio::test]
    async fn an_error_names_the_missing_permission_or_pod() {
        let args = |operator_namespace: Option<&str>| CheckArgs {
            connection: "acme".into(),
            output: ReportFormat::Text,
            operator_namespace: operator_namespace.map(str::to_owned),
        };
        let mut text = String::new();
        for (case, cluster, args) in [
            ("without the permission to list Pods", denying(None), args(None)),
            ("without the permission to list Pods of a namespace", denying(None), args(Some("operators"))),
            (
                "without a ready Pod",
                denying(Some(vec![pod("False", &json!({"name": "pad-operator"}))])),
                args(None),
            ),
            (
                "without the permission to exec",
                denying(Some(vec![operator(&["run"], json!([]))])),
                args(None),
            ),
        ] {
            let error = check(&cluster, &args).await.unwrap_err();
            text.push_str(&format!("# {case}\n\nerror: {error:#}\n\n"));
        }
        testkit::assert_snapshot("kubectl-pad-check", text.trim_end());
    }

    /// Answers one list of Pods, then one exec with a report and exit code 1.
    async fn api_server(listener: tokio::net::TcpListener) {
        use futures::SinkExt as _;
        use tokio::io::AsyncWriteExt as _;
        use tokio_tungstenite::tungstenite::Message;
        use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut start = [0; 2048];
            let length = stream.peek(&mut start).await.unwrap();
            let start = String::from_utf8_lossy(&start[..length]).into_owned();
            if start.contains("/exec?") {
                #[allow(clippy::result_large_err)] // The signature is that of the library.
                let accept = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
                    let query = request.uri().query().unwrap();
                    assert!(
                        query.contains("command=hiring%2Facme") && query.contains("container=pad-operator"),
                        "{query}"
                    );
                    let protocol =
                        request.headers()["sec-websocket-protocol"].to_str().unwrap().split(',').next();
                    response
                        .headers_mut()
                        .insert("sec-websocket-protocol", protocol.unwrap().parse().unwrap());
                    Ok(response)
                };
                let mut socket = tokio_tungstenite::accept_hdr_async(stream, accept).await.unwrap();
                let status = json!({"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "1"}]}});
                for (channel, text) in [(1, "Lever key\n".to_owned()), (3, status.to_string())] {
                    let frame = [&[channel], text.as_bytes()].concat();
                    socket.send(Message::Binary(frame.into())).await.unwrap();
                }
                socket.close(None).await.unwrap();
                return;
            }
            let mut read = vec![0; length];
            stream.read_exact(&mut read).await.unwrap();
            let pods = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [operator(&["run"], json!([]))]});
            let body = pods.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_report_of_the_pod_is_returned() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(api_server(listener));
        let file = std::env::temp_dir().join(format!("kubectl-pad-check-{}.yaml", std::process::id()));
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "hiring"}}],
            "clusters": [{"name": "c", "cluster": {"server": url}}], "users": [{"name": "u", "user": {}}]});
        std::fs::write(&file, kubeconfig.to_string()).unwrap();
        let args =
            CheckArgs { connection: "acme".into(), output: ReportFormat::Text, operator_namespace: None };
        let kube = KubeArgs { kubeconfig: Some(file.clone()), ..KubeArgs::default() };
        assert_eq!(run(&kube, &args).await, ("Lever key\n".to_owned(), 1));
        std::fs::remove_file(file).unwrap();
    }
}
