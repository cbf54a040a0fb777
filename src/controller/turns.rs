//! Who may work on a Pad now: all at once share one bound, and no connection and no namespace ever has all of it.
//!
//! A Pad keeps its turn while it waits for its account's rate limit or for a service that does not answer. Without
//! shares, the Pads of one flooded or hanging connection would be in the way of all others.

use crate::lanes::Lanes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of all Pads.
#[derive(Debug)]
pub struct Turns {
    all: Arc<Semaphore>,
    namespaces: Lanes,
    connections: Lanes,
}

/// The right to work on one Pad, given back when it is dropped.
#[must_use = "the turn ends when it is dropped"]
pub struct Turn(#[expect(dead_code, reason = "held, not read")] [OwnedSemaphorePermit; 3]);

impl Turns {
    /// So many at once: at most three quarters of them for one connection, and seven eighths for one namespace.
    pub fn new(at_once: u16) -> Self {
        let at_once = usize::from(at_once);
        Self {
            all: Arc::new(Semaphore::new(at_once)),
            namespaces: Lanes::new((at_once * 7 / 8).max(1)),
            connections: Lanes::new((at_once * 3 / 4).max(1)),
        }
    }

    /// Waits for a turn. Who comes first goes first, within each share.
    pub async fn take(&self, namespace: &str, connection: &str) -> Option<Turn> {
        // The narrowest first: nobody holds a place that others could use while waiting for a share of its own.
        let connection = self.connections.of(namespace, connection).acquire_owned().await.ok()?;
        let namespace = self.namespaces.of(namespace, "").acquire_owned().await.ok()?;
        let any = self.all.clone().acquire_owned().await.ok()?;
        Some(Turn([any, namespace, connection]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn now(turns: &Turns, namespace: &str, connection: &str) -> Option<Turn> {
        turns.take(namespace, connection).now_or_never().flatten()
    }

    fn taken(turns: &Turns, namespace: &str, connection: &str) -> Vec<Turn> {
        std::iter::from_fn(|| now(turns, namespace, connection)).collect()
    }

    #[test]
    fn one_connection_and_one_namespace_leave_turns_for_others() {
        let turns = Turns::new(32);
        let flooded = taken(&turns, "hiring", "acme");
        assert_eq!(flooded.len(), 24);
        let of_the_same_namespace = taken(&turns, "hiring", "other");
        assert_eq!(of_the_same_namespace.len(), 4);
        let elsewhere = taken(&turns, "sales", "acme");
        assert_eq!(elsewhere.len(), 4);
        assert!(now(&turns, "third", "acme").is_none(), "32 at once, and no more");
        drop(flooded);
        assert!(now(&turns, "third", "acme").is_some());
    }

    #[test]
    fn even_one_at_once_goes_on() {
        let turns = Turns::new(1);
        for _ in 0..3 {
            assert!(now(&turns, "hiring", "acme").is_some());
        }
    }
}
