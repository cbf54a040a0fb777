//! Access to the API server: connections, watches and their caches, leader election, and writes that fail on a
//! conflict.

pub mod api_server_probe;
pub mod cache;
pub mod inventory_metrics;
pub mod leader_election;
pub mod pad_index;
pub mod pads;
pub mod patch;
pub mod secrets;
pub mod undecodable_objects;
mod watch_state;

pub use cache::{Cache, Caches, WatchScope};

use api::trimmed_objects::{ManagedKind, Trimmed};
use kube::{Api, Client, ResourceExt};
use std::fmt;
use std::future::Future;
use std::time::Duration;

/// Timeout of one request to the API server. A connection that hangs must not block its callers.
const API_REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Namespace and name of an object: its key within its kind.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectKey {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

impl ObjectKey {
    /// Returns the key of the object with this namespace and name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Returns the key of an object.
    pub fn from_object(object: &impl ResourceExt) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

/// Formats the key as `namespace/name`.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Returns the API of a kind in one namespace. Its answers are decoded without managed fields and labels.
pub fn trimmed_api<K: ManagedKind>(client: &Client, namespace: &str) -> Api<Trimmed<K>> {
    Api::namespaced(client.clone(), namespace)
}

/// Returns the result of a request to the API server, or an error after `API_REQUEST_TIMEOUT`. A request that times out
/// may have taken effect.
pub async fn with_timeout<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let outcome = tokio::time::timeout(API_REQUEST_TIMEOUT, request).await;
    outcome.unwrap_or_else(|elapsed| Err(kube::Error::Service(Box::new(elapsed))))
}
