//! Runs a controller of any kind on its [`WorkQueue`], with backoff after failures and graceful shutdown.

use super::metrics::{self, ControllerMetrics};
use super::work_queue::WorkQueue;
use crate::k8s::pad_index::Indexed;
use crate::k8s::patch::WriteError;
use crate::k8s::secrets::SecretError;
use crate::k8s::{Cache, ObjectKey};
use crate::telemetry::traces::span_definitions::ReconcileSpan;
use api::names;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt, Stream, StreamExt, stream};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::task::JoinSet;
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

impl ReconcileError {
    /// Returns the outcome of the pass in metrics.
    fn outcome(&self) -> &'static str {
        match self {
            ReconcileError::Write(WriteError::Conflict { .. }) => "conflict",
            ReconcileError::Write(WriteError::Gone) => "gone",
            ReconcileError::Write(WriteError::Api(_) | WriteError::Json(_)) => metrics::WRITE_FAILED,
            ReconcileError::Secret(_) => metrics::SECRET_UNREADABLE,
        }
    }
}

/// Requeue delay of an object that nothing triggers before; `None`: only a trigger.
pub type Requeue = Option<Duration>;

/// A kind that has a cache and a controller.
pub trait Reconciled:
    Resource<DynamicType = ()> + Indexed + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Reconciled for K where
    K: Resource<DynamicType = ()> + Indexed + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

/// Reconciler of one kind.
pub trait Reconcile<K>: Send + Sync + 'static {
    /// Held by a pass, such as a permit.
    type Turn: Send + 'static;

    /// Waits for the turn of a queued object. `None` if no pass is needed before the next trigger. The future returns
    /// `None` if no pass may start any more.
    fn turn(&self, object: &K) -> Option<BoxFuture<'static, Option<Self::Turn>>>;

    /// Reconciles one object. Returns when to reconcile it again if nothing changes.
    fn reconcile(
        &self,
        object: Arc<K>,
        turn: Self::Turn,
    ) -> impl Future<Output = Result<Requeue, ReconcileError>> + Send;

    /// Reports whether the operation of the object's trace is incomplete, so that the pass belongs to this trace.
    fn continues_trace(&self, _object: &K) -> bool {
        false
    }

    /// Drops the state of a deleted object.
    fn forget(&self, key: &ObjectKey);
}

/// Waits for one of the permits that limit the number of concurrent passes.
pub fn permit(permits: &Arc<Semaphore>) -> BoxFuture<'static, Option<OwnedSemaphorePermit>> {
    permits.clone().acquire_owned().map(Result::ok).boxed()
}

/// The end of a pass: the object, and its result.
type PassEnd<K> = (ObjectKey, Arc<K>, Result<Requeue, ReconcileError>);

/// Controller of one kind.
pub struct Controller<K, R>
where
    K: Reconciled,
    R: Reconcile<K>,
{
    objects: Cache<K>,
    triggers: Vec<BoxStream<'static, ObjectKey>>,
    reconciler: Arc<R>,
    metrics: ControllerMetrics,
    queue: WorkQueue,
    turns: FuturesUnordered<BoxFuture<'static, (ObjectKey, Option<R::Turn>)>>,
    passes: JoinSet<PassEnd<K>>,
}

impl<K, R> Controller<K, R>
where
    K: Reconciled,
    R: Reconcile<K>,
{
    /// Creates a controller that is triggered by the changes of its objects.
    pub fn new(objects: &Cache<K>, reconciler: Arc<R>, metrics: ControllerMetrics) -> Self {
        let changes = objects.changes().map(|object| ObjectKey::from_object(object.as_ref())).boxed();
        Self {
            objects: objects.clone(),
            triggers: vec![changes],
            reconciler,
            metrics,
            queue: WorkQueue::default(),
            turns: FuturesUnordered::new(),
            passes: JoinSet::new(),
        }
    }

    /// Adds a stream of objects to reconcile.
    pub fn reconcile_on(mut self, trigger: impl Stream<Item = ObjectRef<K>> + Send + 'static) -> Self {
        let keys = trigger.map(|of| ObjectKey::new(of.namespace.unwrap_or_default(), of.name));
        self.triggers.push(keys.boxed());
        self
    }

    /// Reconciles until `stop`. Passes in flight are completed.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut triggers = stream::select_all(std::mem::take(&mut self.triggers)).fuse();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(key) = triggers.next() => self.enqueue(key),
                Some(key) = self.queue.next_delayed() => self.enqueue(key),
                Some((key, turn)) = self.turns.next() => self.start(key, turn),
                Some(end) = self.passes.join_next() => match end {
                    Ok(end) => self.finish(end),
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => {}
                },
            }
        }
        while self.passes.join_next().await.is_some() {}
    }

    fn enqueue(&mut self, key: ObjectKey) {
        let Some(object) = self.objects.get(&key.namespace, &key.name) else {
            if self.queue.forget(&key) {
                self.reconciler.forget(&key);
            }
            return;
        };
        if !self.queue.add(&key) {
            return;
        }
        match self.reconciler.turn(&object) {
            Some(turn) => self.turns.push(turn.map(|turn| (key, turn)).boxed()),
            None => drop(self.queue.done(&key)),
        }
    }

    fn start(&mut self, key: ObjectKey, turn: Option<R::Turn>) {
        let Some(turn) = turn.filter(|_| self.queue.begin(&key)) else { return };
        let Some(object) = self.objects.get(&key.namespace, &key.name) else {
            self.queue.done(&key);
            return self.enqueue(key);
        };
        let pass = pass(object.clone(), turn, self.reconciler.clone(), self.metrics.clone());
        self.passes.spawn(async move { (key, object, pass.await) });
    }

    fn finish(&mut self, (key, object, result): PassEnd<K>) {
        let is_triggered = self.queue.done(&key);
        let requeue = match result {
            Ok(requeue) => {
                self.queue.succeeded(&key);
                requeue
            }
            Err(ReconcileError::Write(WriteError::Gone)) => None,
            Err(ReconcileError::Write(WriteError::Conflict { .. })) => Some(CONFLICT_REQUEUE_DELAY),
            Err(failure) => {
                let pause = self.queue.add_rate_limited(key.clone(), &object.meta().generation);
                let ObjectKey { namespace, name } = &key;
                tracing::warn!(kind = %K::kind(&()), namespace, name, %failure, pause_ms = pause.as_millis(), "reconcile failed; will retry");
                None
            }
        };
        if let Some(delay) = requeue {
            self.queue.add_after(key.clone(), delay);
        }
        if is_triggered {
            self.enqueue(key);
        }
    }
}

/// Runs one pass over an object, with its trace and its metrics.
async fn pass<K, R>(
    object: Arc<K>,
    turn: R::Turn,
    reconciler: Arc<R>,
    controller_metrics: ControllerMetrics,
) -> Result<Requeue, ReconcileError>
where
    K: Resource<DynamicType = ()>,
    R: Reconcile<K>,
{
    let (began, kind) = (Instant::now(), K::kind(&()));
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let mark = object.annotations().get(names::TRACEPARENT).map(String::as_str);
    let traced = ReconcileSpan::new(&kind, &namespace, &name, mark, reconciler.continues_trace(&object));
    let result = traced.run(reconciler.reconcile(object, turn)).await;
    let outcome = result.as_ref().err().map_or(metrics::SUCCEEDED, ReconcileError::outcome);
    controller_metrics.observe_reconcile(&kind, outcome, began.elapsed());
    result
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

#[cfg(test)]
mod tests {
    use super::*;
    use api::Pad;
    use futures::channel::mpsc;
    use kube::runtime::watcher::Event;
    use parking_lot::Mutex;
    use prometheus_client::registry::Registry;

    /// Records passes and deletions; each pass takes a second.
    #[derive(Default)]
    struct Recorder {
        seen: Mutex<Vec<String>>,
        requeue: Requeue,
    }

    impl Reconcile<Pad> for Recorder {
        type Turn = ();

        fn turn(&self, pad: &Pad) -> Option<BoxFuture<'static, Option<()>>> {
            (pad.name_any() != "settled").then(|| std::future::ready(Some(())).boxed())
        }

        async fn reconcile(&self, pad: Arc<Pad>, (): ()) -> Result<Requeue, ReconcileError> {
            self.seen.lock().push(format!("begin {}", pad.resource_version().unwrap()));
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.seen.lock().push(format!("end {}", pad.resource_version().unwrap()));
            Ok(self.requeue)
        }

        fn forget(&self, key: &ObjectKey) {
            self.seen.lock().push(format!("forget {key}"));
        }
    }

    fn pad(name: &str, version: &str) -> Pad {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
            "metadata": {"name": name, "namespace": "hiring", "resourceVersion": version},
            "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"},
        }))
        .unwrap()
    }

    /// Starts a controller. Returns its reconciler, the sender of watch events, and its end.
    async fn start(
        requeue: Requeue,
        stop: CancellationToken,
    ) -> (Arc<Recorder>, mpsc::UnboundedSender<Event<Pad>>, tokio::task::JoinHandle<()>) {
        let (events, watched) = mpsc::unbounded();
        let objects = Cache::from_events(watched.map(Ok));
        events.unbounded_send(Event::Init).unwrap();
        events.unbounded_send(Event::InitDone).unwrap();
        assert!(objects.ready().await);
        let reconciler = Arc::new(Recorder { requeue, ..Recorder::default() });
        let controller =
            Controller::new(&objects, reconciler.clone(), ControllerMetrics::new(&mut Registry::default()));
        (reconciler, events, tokio::spawn(controller.run(stop)))
    }

    async fn after(seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn changes_during_a_pass_lead_to_one_further_pass_over_the_newest_version() {
        let (reconciler, events, _end) = start(None, CancellationToken::new()).await;
        for version in ["1", "2", "3"] {
            events.unbounded_send(Event::Apply(pad("p", version))).unwrap();
            after(0.1).await;
        }
        events.unbounded_send(Event::Apply(pad("settled", "9"))).unwrap();
        after(60.0).await;
        assert_eq!(*reconciler.seen.lock(), ["begin 1", "end 1", "begin 3", "end 3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_deleted_during_its_pass_is_forgotten_after_it() {
        let (reconciler, events, _end) = start(Some(Duration::from_secs(10)), CancellationToken::new()).await;
        events.unbounded_send(Event::Apply(pad("p", "1"))).unwrap();
        after(11.5).await;
        events.unbounded_send(Event::Delete(pad("p", "1"))).unwrap();
        after(60.0).await;
        assert_eq!(*reconciler.seen.lock(), ["begin 1", "end 1", "begin 1", "end 1", "forget hiring/p"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_completes_the_passes_in_flight_and_starts_none() {
        let stop = CancellationToken::new();
        let (reconciler, events, end) = start(Some(Duration::ZERO), stop.clone()).await;
        events.unbounded_send(Event::Apply(pad("p", "1"))).unwrap();
        after(0.5).await;
        stop.cancel();
        end.await.unwrap();
        assert_eq!(*reconciler.seen.lock(), ["begin 1", "end 1"]);
    }
}
