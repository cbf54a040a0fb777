//! Accounts and rules of a LeverConnection, as the operator reads them.

use super::report::{Finding, Topic};
use super::target::{Account, Rule, Target};
use crate::controller::service_clients::check_origin;
use crate::k8s::secrets::Secrets;
use anyhow::{Context as _, bail};
use api::configuration::PadType;
use api::connection::WebhookMode;
use api::decode::{Decoded, split};
use api::{LeverConnection, PadConfiguration, SecretKeyRef};
use http_client::Service;
use k8s_connect::Cluster;
use kube::config::KubeConfigOptions;
use kube::{Api, Client, ResourceExt};

/// Reads a connection, `NAMESPACE/NAME`, its Secrets and its PadConfigurations.
pub(super) async fn target(name: &str, allowed: &[String]) -> anyhow::Result<Target> {
    let Some((namespace, name)) = name.split_once('/') else {
        bail!("--connection {name:?}: write it like hiring/acme");
    };
    let found = Cluster::find(None, &KubeConfigOptions::default()).await;
    let cluster = found.context(
        "--connection reads the cluster; to check without one, use LEVER_API_KEY and CODERPAD_API_KEY",
    )?;
    read(&cluster.client()?.0, namespace, name, allowed).await
}

async fn read(client: &Client, namespace: &str, name: &str, allowed: &[String]) -> anyhow::Result<Target> {
    let connections: Api<LeverConnection> = Api::namespaced(client.clone(), namespace);
    let connection = connections.get(name).await;
    let connection =
        connection.with_context(|| format!("cannot read LeverConnection {name} in namespace {namespace}"))?;
    let configurations: Api<Decoded<PadConfiguration>> = Api::namespaced(client.clone(), namespace);
    let configurations = configurations.list(&kube::api::ListParams::default()).await;
    let configurations =
        configurations.with_context(|| format!("cannot list PadConfigurations in namespace {namespace}"))?;
    let (configurations, _) = split(configurations.items);
    let reader = AccountReader { secrets: Secrets::without_watch(client), namespace, allowed };
    let spec = &connection.spec;
    let mut problems = Vec::new();
    let lever =
        reader.account(Service::Lever, &spec.lever.url, &spec.lever.api_key_secret_ref, &mut problems).await;
    let interview = reader
        .account(Service::Interview, &spec.interview.url, &spec.interview.api_key_secret_ref, &mut problems)
        .await;
    let webhook_url = connection.status.as_ref().and_then(|status| status.webhook_url.clone());
    let webhook_url = webhook_url.filter(|_| spec.webhook.mode != WebhookMode::None);
    // Without --public-url, the status contains only the path.
    let (path, webhook_url) = match webhook_url {
        Some(path) if path.starts_with('/') => (Some(path), None),
        url => (None, url),
    };
    if let Some(path) = path {
        problems.push(Finding::warning(
            "webhook URL",
            format!("only its path is known: {path}"),
            "Start the operator with --public-url (publicURL in the chart), or try the whole URL in a browser.",
            Topic::Webhooks,
        ));
    }
    Ok(Target {
        lever,
        interview,
        perform_as: Some(spec.lever.perform_as.clone()).filter(|id| !id.is_empty()),
        rules: configurations.iter().filter_map(|configuration| rule(configuration, name)).collect(),
        webhook_url,
        webhook_mode: spec.webhook.mode,
        problems,
    })
}

/// Returns the rule of a configuration of this connection.
fn rule(configuration: &PadConfiguration, connection: &str) -> Option<Rule> {
    let spec = &configuration.spec;
    let is_own =
        spec.connection_ref.name == connection && configuration.metadata.deletion_timestamp.is_none();
    is_own.then(|| Rule {
        configuration: configuration.name_any(),
        stage: Some(spec.stage.clone()),
        tag: Some(spec.tag.clone()).filter(|tag| !tag.is_empty()),
        question: spec.question_id,
        take_home: Some(spec.type_ == PadType::TakeHome),
        owner: spec.owner_email.clone(),
    })
}

struct AccountReader<'a> {
    secrets: Secrets,
    namespace: &'a str,
    allowed: &'a [String],
}

impl AccountReader<'_> {
    /// Returns an account. Adds a finding if its key cannot be read, or may not be sent to its URL.
    async fn account(
        &self,
        service: Service,
        url: &str,
        key: &SecretKeyRef,
        problems: &mut Vec<Finding>,
    ) -> Option<Account> {
        let place = format!("Secret {}, key {}", key.name, key.key);
        let url = match check_origin(service, url, self.allowed) {
            Ok(url) => url,
            Err(problem) => {
                let next = "Use an allowed https URL, or start the operator with --allow-api-origin.";
                problems.push(Finding::failure(
                    format!("{service} URL"),
                    format!("{url}: {problem}"),
                    next,
                    Topic::Network,
                ));
                return None;
            }
        };
        match self.secrets.read(self.namespace, key).await {
            Ok(read) => Some(Account { url, key: read.value, place }),
            Err(error) => {
                let next = format!("Correct {place} in namespace {}.", self.namespace);
                problems.push(Finding::failure(
                    format!("{service} key"),
                    error.to_string(),
                    next,
                    Topic::Keys,
                ));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::{Request, Response};
    use secrecy::ExposeSecret as _;
    use serde_json::{Value, json};
    use std::convert::Infallible;

    const WEBHOOK_URL: &str = "https://hooks.example.com/w";

    /// Returns an API server with one connection, one of its two Secrets, and configurations of two connections.
    fn api_server() -> Client {
        api_server_with("Manual", WEBHOOK_URL)
    }

    /// Returns the API server with this mode of the webhook, and its URL in the status.
    fn api_server_with(mode: &str, url: &str) -> Client {
        let object = |kind: &str, name: &str, rest: Value| {
            let mut object = json!({"apiVersion": "padoperator.dev/v1alpha1", "kind": kind,
                "metadata": {"name": name, "namespace": "hiring"}});
            object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            object
        };
        let key = |key: &str| json!({"apiKeySecretRef": {"name": "acme", "key": key}});
        let connection = object(
            "LeverConnection",
            "acme",
            json!({
            "spec": {"lever": key("lever-api-key"), "interview": key("interview-api-key"), "webhook": {"mode": mode}},
            "status": {"observedGeneration": 1, "webhookURL": url}}),
        );
        let configuration = |name: &str, of: &str| {
            let spec = json!({"connectionRef": {"name": of}, "stage": "Take-home", "tag": "t", "type": "TakeHome",
                "questionID": 7, "ownerEmail": "lead@example.com"});
            object("PadConfiguration", name, json!({ "spec": spec }))
        };
        let configurations = json!({"apiVersion": "padoperator.dev/v1alpha1", "kind": "PadConfigurationList", "metadata": {},
            "items": [configuration("ours", "acme"), configuration("other", "sandbox")]});
        // "a-key"
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "acme", "namespace": "hiring"},
            "data": {"lever-api-key": "YS1rZXk="}});
        let answer = move |path: &str| match path.rsplit('/').next().unwrap_or_default() {
            "padconfigurations" => (200, configurations.clone()),
            "acme" if path.contains("/secrets/") => (200, secret.clone()),
            "acme" => (200, connection.clone()),
            _ => (
                404,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"}),
            ),
        };
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let (status, body) = answer(request.uri().path());
            let response = Response::builder().status(status).body(Body::from(body.to_string()));
            async move { Ok::<_, Infallible>(response.unwrap()) }
        });
        Client::new(service, "hiring")
    }

    #[tokio::test]
    async fn keys_and_rules_of_the_connection_are_read() {
        let target = read(&api_server(), "hiring", "acme", &[]).await.unwrap();
        let lever = target.lever.unwrap();
        assert_eq!((lever.key.expose_secret(), lever.url.as_str()), ("a-key", "https://api.lever.co/v1"));
        assert_eq!(lever.place, "Secret acme, key lever-api-key");
        let rule = Rule {
            configuration: "ours".into(),
            stage: Some("Take-home".into()),
            tag: Some("t".into()),
            question: Some(7),
            take_home: Some(true),
            owner: Some("lead@example.com".into()),
        };
        assert_eq!(target.rules, [rule]);
        assert_eq!(target.webhook_url.as_deref(), Some(WEBHOOK_URL));
        assert!(target.interview.is_none());
        let problems: Vec<&str> = target.problems.iter().map(|problem| problem.detail.as_str()).collect();
        assert_eq!(problems, ["Secret acme has no value under the key interview-api-key. Add it"]);
    }

    #[tokio::test]
    async fn a_key_is_not_read_for_an_address_that_is_not_allowed() {
        let reader = AccountReader {
            secrets: Secrets::without_watch(&api_server()),
            namespace: "hiring",
            allowed: &[],
        };
        let key = SecretKeyRef { name: "acme".into(), key: "lever-api-key".into() };
        let mut problems = Vec::new();
        let account = reader.account(Service::Lever, "https://evil.example/v1", &key, &mut problems).await;
        assert!(account.is_none());
        assert_eq!(problems[0].detail, "https://evil.example/v1: its origin is not allowed");
    }

    // contract C7a
    #[tokio::test]
    async fn the_webhook_url_is_that_of_the_mode() {
        for (mode, url, expected, problem) in [
            ("None", WEBHOOK_URL, None, false),
            ("None", "/w", None, false),
            ("Manual", "/w", None, true),
            ("Managed", WEBHOOK_URL, Some(WEBHOOK_URL), false),
        ] {
            let target = read(&api_server_with(mode, url), "hiring", "acme", &[]).await.unwrap();
            assert_eq!(format!("{:?}", target.webhook_mode), mode);
            assert_eq!(target.webhook_url.as_deref(), expected, "{mode} {url}");
            let is_about_url = target.problems.iter().any(|finding| finding.what == "webhook URL");
            assert_eq!(is_about_url, problem, "{mode} {url}");
        }
    }

    #[tokio::test]
    async fn a_missing_connection_is_named() {
        let error = read(&api_server(), "hiring", "none", &[]).await.unwrap_err();
        assert!(error.to_string().contains("LeverConnection none in namespace hiring"), "{error}");
        assert!(target("acme", &[]).await.unwrap_err().to_string().contains("hiring/acme"));
    }
}
