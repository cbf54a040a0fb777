//! The API server as this program sees it: what is watched, which namespaces, and the writes that fail on a conflict.

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

/// How long one request to the API server may take. A connection that hangs must not hold up what waits for it.
const API_REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// What an object of one kind is remembered by.
pub fn key(namespace: &str, name: &str) -> (String, String) {
    (namespace.to_owned(), name.to_owned())
}

/// The outcome of a request to the API server, or an error if there is none in time: then it may have taken effect.
pub async fn with_timeout<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let outcome = tokio::time::timeout(API_REQUEST_TIMEOUT, request).await;
    health::goes_on();
    outcome.unwrap_or_else(|elapsed| Err(kube::Error::Service(Box::new(elapsed))))
}
