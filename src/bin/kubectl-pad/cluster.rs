//! The cluster, reached as kubectl reaches it.

use crate::cli::KubeArgs;
use anyhow::{Context, bail};
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Resource};
use pad_operator::api::{LeverConnection, Pad, PadConfiguration};
use pad_operator::k8s::connect;
use pad_operator::k8s::decode::{Decoded, split};
use pad_operator::k8s::trimmed::Kind;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// How many objects are asked for at once.
const PLUGIN_PAGE_SIZE: u32 = 500;

/// A cluster, and the namespace that is meant.
pub struct TargetCluster {
    client: Client,
    /// The namespace.
    pub namespace: String,
}

/// All objects of the integration in one namespace, or in all.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The connections.
    pub connections: Vec<LeverConnection>,
    /// The configurations.
    pub configurations: Vec<PadConfiguration>,
    /// The Pads.
    pub pads: Vec<Pad>,
    /// The objects that do not decode, with the field at fault.
    pub undecodable: Vec<String>,
    /// The namespace; None: all.
    pub namespace: Option<String>,
}

impl TargetCluster {
    /// The cluster and namespace that the user means.
    pub async fn connect(kube: &KubeArgs) -> anyhow::Result<Self> {
        let options = KubeConfigOptions { context: kube.context.clone(), ..KubeConfigOptions::default() };
        let file = match &kube.kubeconfig {
            Some(file) => Some(
                Kubeconfig::read_from(file)
                    .with_context(|| format!("cannot read the kubeconfig file {}", file.display()))?,
            ),
            None => None,
        };
        let found = connect::Cluster::find(file, &options);
        let found = found.await.context("no cluster: set KUBECONFIG, or give --kubeconfig FILE")?;
        let namespace = kube.namespace.clone().unwrap_or_else(|| found.config.default_namespace.clone());
        Ok(Self { client: found.client()?.0, namespace })
    }

    /// A cluster that is reached by this client.
    #[cfg(test)]
    pub fn with_client(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    /// The objects of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// One object, or an error that says how to find those that there are.
    pub async fn get<K>(&self, name: &str) -> anyhow::Result<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let kind = K::kind(&K::DynamicType::default()).into_owned();
        match self.api::<K>().get_opt(name).await {
            Ok(Some(object)) => Ok(object),
            Ok(None) => bail!(
                "there is no {kind} {name:?} in namespace {}. `kubectl get {} --namespace {}` shows those there are",
                self.namespace,
                K::plural(&K::DynamicType::default()),
                self.namespace
            ),
            Err(error) => Err(with_hint(error)).with_context(|| format!("cannot read {kind} {name}")),
        }
    }

    /// The Pads of a candidate in the namespace, also those made by hand. Kubernetes selects by fields of custom resources
    /// since 1.31; before that, all Pads are listed.
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

    /// All there is, in the namespace or in all of them.
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

/// All objects of a kind in the namespace that decode.
pub async fn list<K: Kind + Debug>(cluster: &TargetCluster) -> anyhow::Result<Vec<K>> {
    Ok(list_by(&cluster.api(), "").await?.0)
}

fn warn_undecodable(undecodable: &[String]) {
    for fault in undecodable {
        crate::print_error(&format!("warning: does not decode and is skipped: {fault}"));
    }
}

/// Whether the API server refused a field selector that it does not support.
fn is_unknown_selector(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<kube::Error>()).any(
        |cause| matches!(cause, kube::Error::Api(status) if status.code == 400 && status.message.contains("field label not supported")),
    )
}

/// The objects of a kind that a field selector selects, page by page; an empty one selects all. Besides them, the names
/// of those that do not decode.
async fn list_by<K: Kind + Debug>(
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

/// Says what to do about an answer of the API server that users meet.
fn with_hint(error: kube::Error) -> anyhow::Error {
    let hint = match &error {
        kube::Error::Api(status) if status.code == 404 => {
            "the cluster does not know this kind: is pad-operator installed there?"
        }
        kube::Error::Api(status) if status.code == 403 => {
            "ask whoever runs the cluster for the right to do so"
        }
        kube::Error::Api(status) if status.code == 401 => "log in to the cluster again",
        _ => return error.into(),
    };
    anyhow::Error::from(error).context(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::{Request, Response};
    use serde_json::{Value, json};
    use std::convert::Infallible;

    /// An API server of Kubernetes 1.30, which selects custom resources by their metadata only, with two Pads that decode.
    fn kubernetes_1_30() -> TargetCluster {
        let pad = |name: &str, opportunity: &str, phase: &str| {
            json!({"apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "metadata": {"name": name, "namespace": "hiring"},
                "spec": {"configurationRef": {"name": "c"}, "opportunityID": opportunity}, "status": {"phase": phase}})
        };
        let items = [pad("a", "o-1", "Open"), pad("b", "o-2", "Open"), pad("odd", "o-1", "Other")];
        let list = json!({"apiVersion": "padoperator.dev/v1alpha1", "kind": "PadList", "metadata": {}, "items": items});
        let refusal = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "BadRequest", "code": 400,
            "message": "Unable to find pads that match field selector: field label not supported: spec.opportunityID"});
        let respond = move |request: &Request<kube::client::Body>| -> (u16, Value) {
            let query = request.uri().query().unwrap_or_default();
            if query.contains("fieldSelector") { (400, refusal.clone()) } else { (200, list.clone()) }
        };
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let (code, body) = respond(&request);
            let response = Response::builder().status(code).body(Body::from(body.to_string()));
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
