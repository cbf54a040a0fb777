//! Hints: requests to refresh part of the state of a Pad, whose changes nothing else would report.

use std::collections::HashMap;

/// Part of a Pad's state to refresh.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Hint {
    /// The pad in CoderPad: it has started, ended, or may be deleted.
    Record,
    /// The candidate: a first or another pad may be due.
    Judge,
    /// The candidate was archived.
    Archived,
    /// The candidate was deleted or anonymized in Lever.
    Erased,
    /// The candidate's links: one may be a pad of another installation.
    OtherInstallations,
    /// The TTL: the candidate has left the stage or lost the tag, so the Pad may be deleted.
    Expired,
}

/// The pending hints of one Pad, each with the unique number of its last request.
#[derive(Clone, Debug, Default)]
pub struct PendingHints(HashMap<Hint, u64>);

impl PendingHints {
    /// Creates the state with these hints.
    pub fn from_hints(all: impl IntoIterator<Item = Hint>) -> Self {
        Self(all.into_iter().map(|hint| (hint, 1)).collect())
    }

    /// Adds a hint. `number` is unique among requests.
    pub fn add(&mut self, hint: Hint, number: u64) {
        self.0.insert(hint, number);
    }

    /// Removes a hint, unless it was added again since the snapshot.
    pub fn complete(&mut self, hint: Hint, snapshot: &Self) {
        if self.0.get(&hint) == snapshot.0.get(&hint) {
            self.0.remove(&hint);
        }
    }

    /// Reports whether this hint is pending.
    pub fn has(&self, hint: Hint) -> bool {
        self.0.contains_key(&hint)
    }

    /// Reports whether no hint is pending.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
