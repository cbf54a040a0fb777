//! Accounts and rules of a LeverConnection, as the operator reads them.

use super::report::{Finding, Topic};
use super::target::{Account, Rule, Target};
use crate::controller::service_clients::check_origin;
use crate::k8s::connect::Cluster;
use crate::k8s::decode::{Decoded, split};
use crate::k8s::secrets::Secrets;
use crate::transport::Service;
use anyhow::{Context as _, bail};
use api::configuration::PadType;
use api::connection::WebhookMode;
use api::{LeverConnection, PadConfiguration, SecretKeyRef};
use kube::config::KubeConfigOptions;
use kube::{Api, ResourceExt};

/// Reads a connection, `NAMESPACE/NAME`, its Secrets and its PadConfigurations.
pub(super) async fn target(name: &str, allowed: &[String]) -> anyhow::Result<Target> {
    let Some((namespace, name)) = name.split_once('/') else {
        bail!("--connection {name:?}: write it like hiring/acme");
    };
    let found = Cluster::find(None, &KubeConfigOptions::default()).await;
    let cluster = found.context(
        "--connection reads the cluster; to check without one, use LEVER_API_KEY and CODERPAD_API_KEY",
    )?;
    let client = cluster.client()?.0;
    let connections: Api<LeverConnection> = Api::namespaced(client.clone(), namespace);
    let connection = connections.get(name).await;
    let connection =
        connection.with_context(|| format!("cannot read LeverConnection {name} in namespace {namespace}"))?;
    let configurations: Api<Decoded<PadConfiguration>> = Api::namespaced(client.clone(), namespace);
    let configurations = configurations.list(&kube::api::ListParams::default()).await;
    let configurations =
        configurations.with_context(|| format!("cannot list PadConfigurations in namespace {namespace}"))?;
    let (configurations, _) = split(configurations.items);
    let reader = AccountReader { secrets: Secrets::without_watch(&client), namespace, allowed };
    let spec = &connection.spec;
    let mut problems = Vec::new();
    let lever =
        reader.account(Service::Lever, &spec.lever.url, &spec.lever.api_key_secret_ref, &mut problems).await;
    let interview = reader
        .account(Service::Interview, &spec.interview.url, &spec.interview.api_key_secret_ref, &mut problems)
        .await;
    Ok(Target {
        lever,
        interview,
        perform_as: Some(spec.lever.perform_as.clone()).filter(|id| !id.is_empty()),
        rules: configurations.iter().filter_map(|configuration| rule(configuration, name)).collect(),
        webhook_url: connection.status.as_ref().and_then(|status| status.webhook_url.clone()),
        managed_webhook: spec.webhook.mode == WebhookMode::Managed,
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
