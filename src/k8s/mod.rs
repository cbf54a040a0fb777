//! Access to the API server: connections, watches and their caches, leader election, and writes that fail on a
//! conflict.

pub mod api_server_probe;
pub mod cache;
pub mod connect;
pub mod decode;
pub mod leader_election;
pub mod pad_index;
pub mod patch;
pub mod proxy;
pub mod secrets;
pub mod trimmed;
pub mod undecodable;
mod watch_state;

pub use cache::{Cache, Caches, WatchScope};

use crate::telemetry::health;
use std::future::Future;
use std::time::Duration;

/// Timeout of one request to the API server. A connection that hangs must not block its callers.
const API_REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Returns the map key of an object within its kind.
pub fn key(namespace: &str, name: &str) -> (String, String) {
    (namespace.to_owned(), name.to_owned())
}

/// Returns the result of a request to the API server, or an error after `API_REQUEST_TIMEOUT`. A request that times out
/// may have taken effect.
pub async fn with_timeout<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let outcome = tokio::time::timeout(API_REQUEST_TIMEOUT, request).await;
    health::goes_on();
    outcome.unwrap_or_else(|elapsed| Err(kube::Error::Service(Box::new(elapsed))))
}
