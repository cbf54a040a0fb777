//! Runs a controller of any kind, with backoff after failures and graceful shutdown.

use super::Context;
use super::backoff::Backoff;
use super::metrics::ControllerMetrics;
use crate::k8s::patch::WriteError;
use crate::k8s::secrets::SecretError;
use crate::telemetry::traces::span_definitions::ReconcileSpan;
use api::names;
use futures::{Stream, StreamExt, stream};
use kube::runtime::controller::{Action, Config, Controller, Error};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Requeue delay after a write conflict; the watch will deliver the newer version anyway.
const CONFLICT_REQUEUE_DELAY: Duration = Duration::from_secs(1);

/// Error of a pass, always of the API server. Errors of the two services are reported in the status instead.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A write failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A Secret could not be read, so that its existence is unknown.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Reconciler of one kind.
pub trait Reconcile<K>: Send + Sync + 'static {
    /// Reports whether a pass may start now. If not, the reconciler triggers another one later.
    fn admit(&self, _object: &K) -> bool {
        true
    }

    /// Reconciles one object. Returns when to reconcile it again if nothing changes.
    fn reconcile(&self, object: Arc<K>) -> impl Future<Output = Result<Action, ReconcileError>> + Send;

    /// Reports whether the operation of the object's trace is incomplete, so that the pass belongs to this trace.
    fn continues_trace(&self, _object: &K) -> bool {
        false
    }

    /// Drops the state of a deleted object.
    fn forget(&self, namespace: &str, name: &str);
}

/// Shared state of a controller.
struct ControllerState<R> {
    reconciler: Arc<R>,
    metrics: ControllerMetrics,
    failures: Backoff,
}

/// No concurrency limit in the controller; [`Reconcile::admit`] decides instead.
pub const UNBOUNDED: u16 = 0;

/// Runs a controller until `stop` with a limit of concurrent passes. Passes in flight are completed.
pub async fn run_controller<K, R>(
    controller: Controller<K>,
    at_once: u16,
    reconciler: Arc<R>,
    context: &Context,
    stop: CancellationToken,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    R: Reconcile<K>,
{
    let config = Config::default().concurrency(at_once);
    let metrics = context.metrics.clone();
    let state = Arc::new(ControllerState { reconciler, metrics, failures: Backoff::default() });
    let passes = controller.with_config(config).graceful_shutdown_on(stop.cancelled_owned()).run(
        pass,
        requeue_after_failure,
        state.clone(),
    );
    passes
        .for_each(|result| {
            // kube reports deletions only through this error.
            if let Err(Error::ObjectNotFound(gone)) = result {
                let namespace = gone.namespace.as_deref().unwrap_or_default();
                state.reconciler.forget(namespace, &gone.name);
                state.failures.forget(namespace, &gone.name);
            }
            std::future::ready(())
        })
        .await;
}

async fn pass<K, R>(object: Arc<K>, state: Arc<ControllerState<R>>) -> Result<Action, ReconcileError>
where
    K: Resource<DynamicType = ()> + Send + Sync + 'static,
    R: Reconcile<K>,
{
    if !state.reconciler.admit(&object) {
        return Ok(Action::await_change());
    }
    let (began, kind) = (Instant::now(), K::kind(&()));
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let mark = object.annotations().get(names::TRACEPARENT).map(String::as_str);
    let traced =
        ReconcileSpan::new(&kind, &namespace, &name, mark, state.reconciler.continues_trace(&object));
    let reconciled = traced.run(state.reconciler.reconcile(object.clone()));
    let result = reconciled.await;
    state.metrics.observe_reconcile(&kind, result.as_ref().err(), began.elapsed());
    match result {
        Ok(action) => {
            state.failures.forget(&namespace, &name);
            Ok(action)
        }
        Err(ReconcileError::Write(WriteError::Gone)) => Ok(Action::await_change()),
        Err(ReconcileError::Write(WriteError::Conflict { .. })) => {
            Ok(Action::requeue(CONFLICT_REQUEUE_DELAY))
        }
        Err(failure) => Err(failure),
    }
}

fn requeue_after_failure<K, R>(
    object: Arc<K>,
    failure: &ReconcileError,
    state: Arc<ControllerState<R>>,
) -> Action
where
    K: Resource<DynamicType = ()>,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let pause = state.failures.record_failure(&namespace, &name, &object.meta().generation);
    tracing::warn!(kind = %K::kind(&()), namespace, name, %failure, pause_ms = pause.as_millis(), "reconcile failed; will retry");
    Action::requeue(pause)
}

/// Returns a stream of the messages of a channel; None if messages were lost.
pub fn broadcast_stream<T: Clone + Send + 'static>(
    receiver: broadcast::Receiver<T>,
) -> impl Stream<Item = Option<T>> + Send + 'static {
    stream::unfold(receiver, |mut receiver| async move {
        match receiver.recv().await {
            Ok(value) => Some((Some(value), receiver)),
            Err(broadcast::error::RecvError::Lagged(_)) => Some((None, receiver)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    })
}
