//! What the rest of the leader asks of the Pad controller: "look at this Pad again, there is news of it".
//!
//! Sync walks over both services' lists and finds news of Pads that are settled and would sleep on. It concludes
//! nothing itself: it asks for a look, and the Pad's own pass reads what is true now. This memory may be lost: the next
//! sync finds the same news and asks again.

use super::foreign_links::ForeignLinks;
use crate::k8s::key;
use parking_lot::Mutex;
use std::collections::HashMap;
use tokio::sync::broadcast;

/// How many wakes a slow listener may lie behind before it is told to look at all that is wanted.
const WAKES_KEPT: usize = 4096;

/// What is to be looked at.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Hint {
    /// The pad at CoderPad: it has started, ended, or may be gone.
    Record,
    /// The candidate: whether there is a pad, or a further one, to be made.
    Judge,
    /// The candidate was archived.
    Archived,
    /// The candidate's data is gone from Lever: deleted, or anonymized.
    Erased,
    /// Whether another installation has a pad among the candidate's links.
    OtherInstallations,
    /// Whether it has been over for long enough to be deleted: its candidate has left the stage, or lost the tag.
    Expired,
}

/// What is asked for about one Pad at one moment.
#[derive(Clone, Debug, Default)]
pub struct PendingHints(HashMap<Hint, u64>);

impl PendingHints {
    /// These.
    #[cfg(test)]
    pub fn from_hints(all: impl IntoIterator<Item = Hint>) -> Self {
        Self(all.into_iter().map(|what| (what, 1)).collect())
    }

    /// Whether this is asked for.
    pub fn has(&self, what: Hint) -> bool {
        self.0.contains_key(&what)
    }
}

/// The looks that are asked for and not yet taken, by namespace and name of the Pad.
#[derive(Debug)]
pub struct Hints {
    /// Links of candidates that were looked at for pads of other installations.
    pub foreign_links: ForeignLinks,
    asked: Mutex<HintTable>,
    wakes: broadcast::Sender<(String, String)>,
}

#[derive(Debug, Default)]
struct HintTable {
    number: u64,
    looks: HashMap<(String, String), PendingHints>,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            foreign_links: ForeignLinks::default(),
            asked: Mutex::default(),
            wakes: broadcast::channel(WAKES_KEPT).0,
        }
    }
}

impl Hints {
    /// Asks for a look, and wakes the Pad.
    pub fn request(&self, namespace: &str, name: &str, what: Hint) {
        let mut asked = self.asked.lock();
        asked.number += 1;
        let number = asked.number;
        asked.looks.entry(key(namespace, name)).or_default().0.insert(what, number);
        drop(asked);
        let _ = self.wakes.send(key(namespace, name));
    }

    /// What is asked for now about a Pad. What is asked for later, while it is being looked at, is another look.
    pub fn pending(&self, namespace: &str, name: &str) -> PendingHints {
        self.asked.lock().looks.get(&key(namespace, name)).cloned().unwrap_or_default()
    }

    /// Whether anything is asked for about a Pad.
    pub fn has_pending(&self, namespace: &str, name: &str) -> bool {
        self.asked.lock().looks.contains_key(&key(namespace, name))
    }

    /// The look that was `wanted` was taken.
    pub fn complete(&self, namespace: &str, name: &str, what: Hint, wanted: &PendingHints) {
        let mut asked = self.asked.lock();
        let Some(left) = asked.looks.get_mut(&key(namespace, name)) else { return };
        if left.0.get(&what) == wanted.0.get(&what) {
            left.0.remove(&what);
        }
        if left.0.is_empty() {
            asked.looks.remove(&key(namespace, name));
        }
    }

    /// The Pad is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.foreign_links.forget(namespace, name);
        self.asked.lock().looks.remove(&key(namespace, name));
    }

    /// Namespace and name of each Pad that is asked about from now on. Who lags behind looks at [`Self::all`].
    pub fn wakes(&self) -> broadcast::Receiver<(String, String)> {
        self.wakes.subscribe()
    }

    /// Namespace and name of every Pad that is asked about.
    pub fn all(&self) -> Vec<(String, String)> {
        self.asked.lock().looks.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_wanted_until_it_is_taken_and_what_is_asked_meanwhile_is_another() {
        let looks = Hints::default();
        let mut wakes = looks.wakes();
        assert!(!looks.pending("hiring", "a").has(Hint::Record));
        looks.request("hiring", "a", Hint::Record);
        looks.request("hiring", "a", Hint::Judge);
        assert_eq!(wakes.try_recv().unwrap(), key("hiring", "a"));
        let wanted = looks.pending("hiring", "a");
        assert!(wanted.has(Hint::Record) && wanted.has(Hint::Judge) && !wanted.has(Hint::Archived));
        assert!(!looks.pending("hiring", "b").has(Hint::Record));

        looks.request("hiring", "a", Hint::Record);
        looks.complete("hiring", "a", Hint::Record, &wanted);
        looks.complete("hiring", "a", Hint::Judge, &wanted);
        let later = looks.pending("hiring", "a");
        assert!(later.has(Hint::Record) && !later.has(Hint::Judge));
        looks.complete("hiring", "a", Hint::Record, &later);
        assert_eq!(looks.all(), []);
        looks.request("hiring", "a", Hint::Archived);
        assert!(looks.has_pending("hiring", "a") && !looks.has_pending("hiring", "b"));
        assert_eq!(looks.all(), [key("hiring", "a")]);
        looks.forget("hiring", "a");
        assert_eq!(looks.all(), []);
    }
}
