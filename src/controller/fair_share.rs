//! Fair scheduling of reconciles: a global concurrency limit, shared max-min fairly between connections.  A Pad keeps
//! its permit while it waits for the rate limit or for a slow service. Pads of flooded or slow connections therefore
//! hold permits for a long time and must leave some for the others: a connection gets another permit only while it
//! holds less than a multiple of the free ones. One such connection gets at most three quarters of the permits, two get
//! 14 of 32 each; connections that hold none always find a free one.

use crate::k8s::ObjectKey;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A connection may hold up to this multiple of the remaining free permits, i.e. at most 3/4 of all when alone.
const CONNECTION_SHARE_FACTOR: usize = 3;
/// A namespace may hold up to this multiple of the remaining free permits, i.e. at most 7/8 of all when alone.
const NAMESPACE_SHARE_FACTOR: usize = 7;

/// Scheduler for the reconciles of all Pads.
#[derive(Clone, Debug)]
pub struct FairShare(Arc<Mutex<FairShareState>>);

#[derive(Debug)]
struct FairShareState {
    free: usize,
    connections: HashMap<ObjectKey, ConnectionShare>,
    /// Number of permits that each namespace holds.
    namespaces: HashMap<String, usize>,
    /// Number of requests so far; orders the waiters.
    came: u64,
}

#[derive(Debug, Default)]
struct ConnectionShare {
    held: usize,
    waiting: VecDeque<(u64, oneshot::Sender<WorkPermit>)>,
}

/// Permit to reconcile one Pad; released on drop.
#[derive(Debug)]
#[must_use = "the permit is released on drop"]
pub struct WorkPermit {
    fair_share: FairShare,
    of: ObjectKey,
}

impl FairShare {
    /// Returns a scheduler with a global concurrency limit.
    pub fn new(at_once: u16) -> Self {
        let (connections, namespaces) = (HashMap::new(), HashMap::new());
        Self(Arc::new(Mutex::new(FairShareState { free: at_once.into(), connections, namespaces, came: 0 })))
    }

    /// Waits for a permit. The connection with the fewest permits is served first, and within a connection the oldest
    /// request.
    pub async fn acquire(&self, namespace: &str, connection: &str) -> Option<WorkPermit> {
        let (sender, permit) = oneshot::channel();
        {
            let mut state = self.0.lock();
            state.came += 1;
            let came = state.came;
            let key = ObjectKey::new(namespace, connection);
            state.connections.entry(key).or_default().waiting.push_back((came, sender));
        }
        self.grant_permits();
        permit.await.ok()
    }

    /// Grants the free permits to eligible waiters.
    fn grant_permits(&self) {
        // Permits for cancelled waiters are released on drop, which takes the lock. Drop them after it is released.
        let mut nobodys = Vec::new();
        let mut state = self.0.lock();
        while let Some((of, waits)) = state.next() {
            nobodys.extend(waits.send(WorkPermit { fair_share: self.clone(), of }).err());
        }
        drop(state);
    }
}

impl Drop for WorkPermit {
    fn drop(&mut self) {
        self.fair_share.0.lock().release(&self.of);
        self.fair_share.grant_permits();
    }
}

impl FairShareState {
    /// Takes a permit for the next waiter.
    fn next(&mut self) -> Option<(ObjectKey, oneshot::Sender<WorkPermit>)> {
        // Number of free permits after this one.
        let left = self.free.checked_sub(1)?;
        let may = |held: usize, share: usize| held == 0 || held < share * left;
        let of = self
            .connections
            .iter()
            .filter(|(key, connection)| {
                let in_namespace = self.namespaces.get(&key.namespace).copied().unwrap_or_default();
                may(connection.held, CONNECTION_SHARE_FACTOR) && may(in_namespace, NAMESPACE_SHARE_FACTOR)
            })
            .filter_map(|(key, connection)| Some((connection.held, connection.waiting.front()?.0, key)))
            .min()
            .map(|(_, _, key)| key.clone())?;
        let connection = self.connections.get_mut(&of)?;
        let (_, waits) = connection.waiting.pop_front()?;
        connection.held += 1;
        *self.namespaces.entry(of.namespace.clone()).or_default() += 1;
        self.free = left;
        Some((of, waits))
    }

    fn release(&mut self, of: &ObjectKey) {
        self.free += 1;
        if let Some(connection) = self.connections.get_mut(of) {
            connection.held -= 1;
            if connection.held == 0 && connection.waiting.is_empty() {
                self.connections.remove(of);
            }
        }
        if let Some(held) = self.namespaces.get_mut(&of.namespace) {
            *held -= 1;
            if *held == 0 {
                self.namespaces.remove(&of.namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn now(fair_share: &FairShare, namespace: &str, connection: &str) -> Option<WorkPermit> {
        fair_share.acquire(namespace, connection).now_or_never().flatten()
    }

    fn taken(fair_share: &FairShare, namespace: &str, connection: &str) -> Vec<WorkPermit> {
        std::iter::from_fn(|| now(fair_share, namespace, connection)).collect()
    }

    #[test]
    fn one_connection_and_one_namespace_leave_permits_for_others() {
        let fair_share = FairShare::new(32);
        let flooded = taken(&fair_share, "hiring", "acme");
        assert_eq!(flooded.len(), 24);
        let of_the_same_namespace = taken(&fair_share, "hiring", "other");
        assert_eq!(of_the_same_namespace.len(), 4);
        let elsewhere = taken(&fair_share, "sales", "acme");
        assert_eq!(elsewhere.len(), 3);
        let last = now(&fair_share, "third", "acme");
        assert!(last.is_some(), "one is left for a connection that holds none");
        assert!(now(&fair_share, "fourth", "acme").is_none(), "at most 32 concurrently");
        drop(flooded);
        assert!(now(&fair_share, "fourth", "acme").is_some());
    }

    /// Regardless of the number of slow or flooded connections, a single Pad of another one gets the next free permit.
    #[tokio::test]
    async fn the_connection_with_the_fewest_permits_is_served_first() {
        let fair_share = FairShare::new(8);
        let mut held: Vec<Vec<WorkPermit>> =
            (0..8).map(|number| taken(&fair_share, "hiring", &number.to_string())).collect();
        assert_eq!(held.iter().map(Vec::len).sum::<usize>(), 7, "one is left for other namespaces: {held:?}");
        let waiters: Vec<_> = (0..50).map(|_| Box::pin(fair_share.acquire("hiring", "0"))).collect();
        let mut waiters: Vec<_> = waiters.into_iter().map(|one| (one, None)).collect();
        for (one, permit) in &mut waiters {
            *permit = one.as_mut().now_or_never().flatten();
        }
        assert!(waiters.iter().all(|(_, permit)| permit.is_none()));
        let mut late = Box::pin(fair_share.acquire("hiring", "late"));
        assert!(late.as_mut().now_or_never().is_none());
        held[0].pop();
        assert!(
            late.now_or_never().flatten().is_some(),
            "before the earlier waiters of the flooded connection"
        );
    }

    #[tokio::test]
    async fn a_cancelled_waiter_is_skipped() {
        let fair_share = FairShare::new(1);
        let permit = now(&fair_share, "hiring", "acme").unwrap();
        let mut gone = Box::pin(fair_share.acquire("hiring", "gone"));
        let mut waits = Box::pin(fair_share.acquire("hiring", "waits"));
        assert!(gone.as_mut().now_or_never().is_none() && waits.as_mut().now_or_never().is_none());
        drop(gone);
        drop(permit);
        let permit = waits.now_or_never().flatten();
        assert!(permit.is_some());
        drop(permit);
        let state = fair_share.0.lock();
        assert_eq!((state.free, state.connections.len(), state.namespaces.len()), (1, 0, 0));
    }

    #[test]
    fn a_limit_of_one_makes_progress() {
        let fair_share = FairShare::new(1);
        for _ in 0..3 {
            assert!(now(&fair_share, "hiring", "acme").is_some());
        }
    }
}
