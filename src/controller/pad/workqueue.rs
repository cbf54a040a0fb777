//! Pads that wait for their turn. They wait here, and not within their passes: the controller looks at all passes that
//! have begun whenever one of them moves on, which costs too much when thousands have.

use super::candidate_loader::Ticket;
use super::observe::RelatedObjects;
use crate::api::Pad;
use crate::controller::Context;
use crate::controller::fair_share::WorkPermit;
use futures::channel::mpsc;
use kube::ResourceExt;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Namespace and name.
type Key = (String, String);

/// The Pads that one controller may begin to work on, and those that wait for it.
pub struct WorkQueue {
    context: Arc<Context>,
    stop: CancellationToken,
    /// None: it waits.
    pads: Mutex<HashMap<Key, Option<Dequeued>>>,
    calls: mpsc::UnboundedSender<Key>,
}

/// A Pad whose turn it is, until this is dropped.
pub struct Dequeued {
    /// Its place among those that wait to hear of their candidates.
    pub demand: Option<Ticket>,
    /// How long it has waited.
    pub waited: Duration,
    _turn: WorkPermit,
}

impl WorkQueue {
    /// An empty one, and what it calls. Nobody is called any more after `stop`.
    pub fn new(context: Arc<Context>, stop: CancellationToken) -> (Arc<Self>, mpsc::UnboundedReceiver<Key>) {
        let (calls, called) = mpsc::unbounded();
        (Arc::new(Self { context, stop, pads: Mutex::default(), calls }), called)
    }

    /// Whether it is this Pad's turn. If not, it waits from now on and will be called, or its next version will be.
    pub fn admit(self: &Arc<Self>, pad: &Pad) -> bool {
        let key = (pad.namespace().unwrap_or_default(), pad.name_any());
        match self.pads.lock().entry(key.clone()) {
            Entry::Occupied(known) => return known.get().is_some(),
            // The watch is about to tell of the version that was written, and that wakes it.
            Entry::Vacant(_) if self.context.written.is_stale(pad) => return false,
            Entry::Vacant(unknown) => unknown.insert(None),
        };
        let around = RelatedObjects::new(pad, &self.context);
        let demand = around.enroll(pad, &self.context);
        let connection = around.connection_name.unwrap_or_default();
        let queue = self.clone();
        tokio::spawn(async move {
            let (waits, began) = (queue.context.metrics.track_waiting(), Instant::now());
            let turn = queue.context.turns.acquire(&key.0, &connection);
            let Some(Some(turn)) = queue.stop.run_until_cancelled(turn).await else { return };
            drop(waits);
            // Nobody works on what is gone.
            if let Some(place) = queue.pads.lock().get_mut(&key) {
                *place = Some(Dequeued { demand, waited: began.elapsed(), _turn: turn });
                let _ = queue.calls.unbounded_send(key);
            }
        });
        false
    }

    /// Begins the turn of a Pad that was called.
    pub fn begin(&self, namespace: &str, name: &str) -> Option<Dequeued> {
        let mut pads = self.pads.lock();
        let called = match pads.entry((namespace.to_owned(), name.to_owned())) {
            Entry::Occupied(known) if known.get().is_some() => known.remove(),
            _ => None,
        };
        // At the start all Pads wait: the room that took is not needed again for long.
        if pads.is_empty() {
            pads.shrink_to_fit();
        }
        called
    }

    /// The Pad is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.pads.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }
}
