//! Access to the cluster, with the configuration that kubectl uses.

use crate::cli::KubeArgs;
use anyhow::{Context, bail};
use api::decode::{Decoded, split};
use api::trimmed_objects::ManagedKind;
use api::{LeverConnection, Pad, PadConfiguration};
use k8s_connect::Cluster;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Maximum number of objects per page of a list.
const PLUGIN_PAGE_SIZE: u32 = 500;

/// The cluster and the namespace that the flags select.
pub struct TargetCluster {
    client: Client,
    /// Selected namespace.
    pub namespace: String,
}

/// All objects of the integration in one namespace, or in all namespaces.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// All LeverConnections.
    pub connections: Vec<LeverConnection>,
    /// All PadConfigurations.
    pub configurations: Vec<PadConfiguration>,
    /// All Pads.
    pub pads: Vec<Pad>,
    /// Objects that cannot be decoded, each with the invalid field.
    pub undecodable: Vec<String>,
    /// Namespace of the objects; None: all namespaces.
    pub namespace: Option<String>,
}

impl TargetCluster {
    /// Creates a client for the cluster that the flags select.
    pub async fn connect(kube: &KubeArgs) -> anyhow::Result<Self> {
        let options = KubeConfigOptions { context: kube.context.clone(), ..KubeConfigOptions::default() };
        let file = match &kube.kubeconfig {
            Some(file) => Some(
                Kubeconfig::read_from(file)
                    .with_context(|| format!("cannot read the kubeconfig file {}", file.display()))?,
            ),
            None => None,
        };
        let found = Cluster::find(file, &options);
        let found = found.await.context("no cluster configured: set KUBECONFIG, or use --kubeconfig FILE")?;
        let namespace = kube.namespace.clone().unwrap_or_else(|| found.config.default_namespace.clone());
        Ok(Self { client: found.client()?.0, namespace })
    }

    /// Returns a cluster that uses this client.
    #[cfg(test)]
    pub fn with_client(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    /// Returns the client.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Returns the API of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Returns one object. If it does not exist, the error contains the command that lists the existing ones.
    pub async fn get<K>(&self, name: &str) -> anyhow::Result<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let kind = K::kind(&K::DynamicType::default()).into_owned();
        match self.api::<K>().get_opt(name).await {
            Ok(Some(object)) => Ok(object),
            Ok(None) => bail!(
                "{kind} {name:?} not found in namespace {}. To list the existing ones: kubectl get {} --namespace {}",
                self.namespace,
                K::plural(&K::DynamicType::default()),
                self.namespace
            ),
            Err(error) => Err(with_hint(error)).with_context(|| format!("cannot read {kind} {name}")),
        }
    }

    /// Returns the Pads of a candidate in the namespace, including manually created ones. Kubernetes supports field
    /// selectors for custom resources since 1.31; on older versions the plugin lists all Pads and filters them.
    pub async fn pads_of(&self, opportunity_id: &str) -> anyhow::Result<Vec<Pad>> {
        let selected = list_by(&self.api(), &format!("spec.opportunityID={opportunity_id}")).await;
        let (mut pads, undecodable) = match selected {
            Err(error) if is_unknown_selector(&error) => list_by(&self.api(), "").await?,
            selected => selected?,
        };
        warn_undecodable(&undecodable);
        pads.retain(|pad: &Pad| pad.spec.opportunity_id == opportunity_id);
        Ok(pads)
    }

    /// Lists all objects in the namespace, or in all namespaces.
    pub async fn snapshot(&self, all_namespaces: bool) -> anyhow::Result<Snapshot> {
        let client = || self.client.clone();
        let (connections, configurations, pads) = if all_namespaces {
            (Api::all(client()), Api::all(client()), Api::all(client()))
        } else {
            (self.api(), self.api(), self.api())
        };
        let (connections, mut undecodable) = list_by(&connections, "").await?;
        let (configurations, more) = list_by(&configurations, "").await?;
        undecodable.extend(more);
        let (pads, more) = list_by(&pads, "").await?;
        undecodable.extend(more);
        let namespace = (!all_namespaces).then(|| self.namespace.clone());
        Ok(Snapshot { connections, configurations, pads, undecodable, namespace })
    }
}

/// Returns all objects of a kind in the namespace, except those that cannot be decoded.
pub async fn list<K: ManagedKind + Debug>(cluster: &TargetCluster) -> anyhow::Result<Vec<K>> {
    Ok(list_by(&cluster.api(), "").await?.0)
}

/// Prints a warning for each skipped object.
fn warn_undecodable(undecodable: &[String]) {
    for fault in undecodable {
        crate::print_error(&format!("warning: skipped an object that cannot be decoded: {fault}"));
    }
}

/// Reports whether the API server rejected the field selector as unsupported.
fn is_unknown_selector(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<kube::Error>()).any(
        |cause| matches!(cause, kube::Error::Api(status) if status.code == 400 && status.message.contains("field label not supported")),
    )
}

/// Returns the objects of a kind that match the field selector, and the names of those that cannot be decoded. An empty
/// selector matches all objects.
async fn list_by<K: ManagedKind + Debug>(
    api: &Api<Decoded<K>>,
    selector: &str,
) -> anyhow::Result<(Vec<K>, Vec<String>)> {
    let mut all = Vec::new();
    let mut parameters = ListParams::default().limit(PLUGIN_PAGE_SIZE);
    parameters.field_selector = Some(selector.to_owned()).filter(|selector| !selector.is_empty());
    loop {
        let page = api
            .list(&parameters)
            .await
            .map_err(with_hint)
            .with_context(|| format!("cannot list {}", K::plural(&())))?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(split(all)),
        }
    }
}

/// Adds the next step to the errors of the API server that users are likely to see.
fn with_hint(error: kube::Error) -> anyhow::Error {
    let hint = match &error {
        kube::Error::Api(status) if status.code == 404 => {
            "the cluster has no CustomResourceDefinitions of pad-operator; install pad-operator there, or select another cluster with --context"
        }
        kube::Error::Api(status) if status.code == 403 => {
            "missing permission; ask an administrator of the cluster for it"
        }
        kube::Error::Api(status) if status.code == 401 => {
            "the cluster rejected the credentials; log in to it again"
        }
        _ => return error.into(),
    };
    anyhow::Error::from(error).context(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use std::convert::Infallible;

    /// Returns an API server of Kubernetes 1.30, which supports no field selectors for custom resources, with two valid
    /// Pads and one that cannot be decoded.
    fn kubernetes_1_30() -> TargetCluster {
        let pad = |name: &str, opportunity: &str, phase: &str| {
            json!({"apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "metadata": {"name": name, "namespace": "hiring"},
                "spec": {"configurationRef": {"name": "c"}, "opportunityID": opportunity}, "status": {"phase": phase}})
        };
        let items = [pad("a", "o-1", "Open"), pad("b", "o-2", "Open"), pad("odd", "o-1", "Other")];
        let list = json!({"apiVersion": "padoperator.dev/v1alpha1", "kind": "PadList", "metadata": {}, "items": items});
        let refusal = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "BadRequest", "code": 400,
            "message": "Unable to find pads that match field selector: field label not supported: spec.opportunityID"});
        let respond = move |request: &Request<Body>| -> (u16, Value) {
            let query = request.uri().query().unwrap_or_default();
            if query.contains("fieldSelector") { (400, refusal.clone()) } else { (200, list.clone()) }
        };
        let service = tower::service_fn(move |request: Request<Body>| {
            let (code, body) = respond(&request);
            let response = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            async move { Ok::<_, Infallible>(response.unwrap()) }
        });
        TargetCluster { client: Client::new(service, "hiring"), namespace: "hiring".into() }
    }

    #[tokio::test]
    async fn pads_of_a_candidate_are_filtered_locally_without_field_selectors() {
        let pads = kubernetes_1_30().pads_of("o-1").await.unwrap();
        assert_eq!(pads.iter().map(kube::ResourceExt::name_any).collect::<Vec<_>>(), ["a"]);
    }

    #[tokio::test]
    async fn undecodable_objects_are_listed_by_name() {
        let pads = list_by::<Pad>(&kubernetes_1_30().api(), "").await.unwrap();
        assert_eq!((pads.0.len(), pads.1), (2, vec!["Pad hiring/odd: status.phase".to_owned()]));
    }
}
