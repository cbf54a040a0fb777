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

/// Snapshot of the pending hints of one Pad.
#[derive(Clone, Debug, Default)]
pub struct PendingHints(pub HashMap<Hint, u64>);

impl PendingHints {
    /// Creates a snapshot of these hints.
    pub fn from_hints(all: impl IntoIterator<Item = Hint>) -> Self {
        Self(all.into_iter().map(|what| (what, 1)).collect())
    }

    /// Reports whether this hint is pending.
    pub fn has(&self, what: Hint) -> bool {
        self.0.contains_key(&what)
    }
}
