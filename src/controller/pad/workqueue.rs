//! Queues Pads outside the kube controller, whose runner polls every active reconcile on each wake-up and so degrades
//! with thousands of them.

use super::candidate_loader::Ticket;
use super::observe;
use crate::controller::Context;
use crate::controller::fair_share::WorkPermit;
use crate::k8s::ObjectKey;
use api::Pad;
use futures::channel::mpsc;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Queue of Pads that wait for a work permit or have just received one.
pub struct WorkQueue {
    context: Arc<Context>,
    stop: CancellationToken,
    /// `None`: the Pad is waiting for a work permit.
    pads: Mutex<HashMap<ObjectKey, Option<Dequeued>>>,
    calls: mpsc::UnboundedSender<ObjectKey>,
}

/// Permission to reconcile a Pad, until this is dropped.
pub struct Dequeued {
    /// Its ticket for a batched read of its candidate.
    pub demand: Option<Ticket>,
    /// Time that it has waited.
    pub waited: Duration,
    _permit: WorkPermit,
}

impl WorkQueue {
    /// Returns an empty queue and the stream of Pads that may start. The stream yields nothing after `stop`.
    pub fn new(
        context: Arc<Context>,
        stop: CancellationToken,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<ObjectKey>) {
        let (calls, called) = mpsc::unbounded();
        (Arc::new(Self { context, stop, pads: Mutex::default(), calls }), called)
    }

    /// Reports whether this Pad may start. Otherwise queues it, or leaves it to the event of its next version.
    pub fn admit(self: &Arc<Self>, pad: &Pad) -> bool {
        let key = ObjectKey::from_object(pad);
        match self.pads.lock().entry(key.clone()) {
            Entry::Occupied(known) => return known.get().is_some(),
            // The watch is about to deliver the version that was written, and that triggers a reconcile.
            Entry::Vacant(_) if self.context.write_tracker.is_stale(pad) => return false,
            Entry::Vacant(unknown) => unknown.insert(None),
        };
        let around = observe::related_objects(pad, &self.context);
        let demand = observe::enroll(&around, pad, &self.context);
        let connection = around.connection_name.unwrap_or_default();
        let queue = self.clone();
        tokio::spawn(async move {
            let (waits, began) = (queue.context.metrics.track_waiting(), Instant::now());
            let permit = queue.context.fair_share.acquire(&key.namespace, &connection);
            let Some(Some(permit)) = queue.stop.run_until_cancelled(permit).await else { return };
            drop(waits);
            // A deleted Pad has no entry any more.
            if let Some(place) = queue.pads.lock().get_mut(&key) {
                *place = Some(Dequeued { demand, waited: began.elapsed(), _permit: permit });
                let _ = queue.calls.unbounded_send(key);
            }
        });
        false
    }

    /// Removes and returns the permission of a Pad that may start.
    pub fn begin(&self, namespace: &str, name: &str) -> Option<Dequeued> {
        let mut pads = self.pads.lock();
        let called = match pads.entry(ObjectKey::new(namespace, name)) {
            Entry::Occupied(known) if known.get().is_some() => known.remove(),
            _ => None,
        };
        // At startup all Pads wait; the map is rarely that large again.
        if pads.is_empty() {
            pads.shrink_to_fit();
        }
        called
    }

    /// Removes the state of a deleted Pad.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.pads.lock().remove(&ObjectKey::new(namespace, name));
    }
}
