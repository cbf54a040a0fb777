//! Registry of the objects of one kind that do not decode, or only in part. Metrics count them, and log lines name
//! them.

use super::ObjectKey;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Delay before the same problem of the same object is logged again.
const UNDECODABLE_LOG_INTERVAL: Duration = Duration::from_secs(3600);
/// Maximum number of log lines per [`LOG_WINDOW`]: thousands of objects may have the same problem.
const MAX_LOG_LINES_PER_WINDOW: usize = 10;
const LOG_WINDOW: Duration = Duration::from_secs(60);

/// Decoding problem of an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DecodeProblem {
    /// The object does not decode because of this field, so it is skipped.
    Skipped(String),
    /// These fields contain no usable time and count as absent.
    Partly(Vec<String>),
}

/// Objects of one kind and scope that have a problem.
#[derive(Debug)]
pub struct Undecodable {
    kind: String,
    state: Mutex<UndecodableState>,
}

#[derive(Debug)]
struct UndecodableState {
    objects: BTreeMap<ObjectKey, UndecodableObject>,
    /// Number of the current listing. An object that this listing does not contain no longer exists.
    listing: u64,
    window: Instant,
    lines: usize,
}

#[derive(Debug)]
struct UndecodableObject {
    problem: DecodeProblem,
    listing: u64,
    logged: Option<Instant>,
}

impl Undecodable {
    /// Creates an empty registry for a kind.
    pub fn new(kind: &str) -> Self {
        let state =
            UndecodableState { objects: BTreeMap::new(), listing: 0, window: Instant::now(), lines: 0 };
        Self { kind: kind.to_owned(), state: Mutex::new(state) }
    }

    /// Records the problem of an object that was just read, or None if it has no problem.
    pub fn record(&self, namespace: &str, name: &str, problem: Option<DecodeProblem>) {
        let mut state = self.state.lock();
        let key = ObjectKey::new(namespace, name);
        let Some(problem) = problem else {
            state.objects.remove(&key);
            return;
        };
        let now = Instant::now();
        let known = state.objects.get(&key).filter(|known| known.problem == problem);
        let recently =
            known.and_then(|known| known.logged).filter(|logged| now - *logged < UNDECODABLE_LOG_INTERVAL);
        let logged = recently.or_else(|| state.has_line(now).then_some(now));
        if recently.is_none() && logged.is_some() {
            log(&self.kind, namespace, name, &problem);
        }
        let listing = state.listing;
        state.objects.insert(key, UndecodableObject { problem, listing, logged });
    }

    /// Records that a listing begins.
    pub fn begin_listing(&self) {
        self.state.lock().listing += 1;
    }

    /// Records that a listing is complete. Removes the objects that it did not contain.
    pub fn end_listing(&self) {
        let mut state = self.state.lock();
        let listing = state.listing;
        state.objects.retain(|_, entry| entry.listing == listing);
    }

    /// Returns the number of skipped objects, and the number of objects with ignored fields.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        let skipped =
            state.objects.values().filter(|entry| matches!(entry.problem, DecodeProblem::Skipped(_)));
        let skipped = skipped.count();
        (skipped, state.objects.len() - skipped)
    }
}

impl UndecodableState {
    /// Reports whether one more log line may be written now, and counts it.
    fn has_line(&mut self, now: Instant) -> bool {
        if now - self.window >= LOG_WINDOW {
            (self.window, self.lines) = (now, 0);
        }
        self.lines += 1;
        self.lines <= MAX_LOG_LINES_PER_WINDOW
    }
}

/// Logs a problem. Names only the field: its value may be a candidate's data.
fn log(kind: &str, namespace: &str, name: &str, problem: &DecodeProblem) {
    match problem {
        DecodeProblem::Skipped(field) => tracing::error!(
            kind,
            namespace,
            name,
            field,
            "object does not decode and is skipped; fix the field or delete the object. Other objects are not affected"
        ),
        DecodeProblem::Partly(fields) => tracing::warn!(
            kind,
            namespace,
            name,
            fields = fields.join(","),
            "object contains times that are not usable; they count as absent"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_object_counts_until_it_is_fixed_or_gone() {
        let undecodable = Undecodable::new("Pad");
        undecodable.begin_listing();
        undecodable.record("hiring", "a", Some(DecodeProblem::Skipped("status.phase".into())));
        undecodable.record("hiring", "b", Some(DecodeProblem::Partly(vec!["status.createdAt".into()])));
        undecodable.record("hiring", "c", None);
        undecodable.end_listing();
        assert_eq!(undecodable.counts(), (1, 1));
        undecodable.record("hiring", "a", None);
        assert_eq!(undecodable.counts(), (0, 1));
        undecodable.begin_listing();
        undecodable.end_listing();
        assert_eq!(undecodable.counts(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_bounded_and_repeated_after_an_hour() {
        let undecodable = Undecodable::new("Pad");
        let note = |name: &str| {
            undecodable.record("hiring", name, Some(DecodeProblem::Skipped("spec".into())));
            undecodable.state.lock().objects[&ObjectKey::new("hiring", name)].logged
        };
        let first = note("0").unwrap();
        assert_eq!(note("0"), Some(first), "not again");
        for n in 1..MAX_LOG_LINES_PER_WINDOW {
            assert!(note(&n.to_string()).is_some());
        }
        assert_eq!(note("more"), None);
        tokio::time::advance(LOG_WINDOW).await;
        assert!(note("more").is_some());
        tokio::time::advance(UNDECODABLE_LOG_INTERVAL).await;
        assert!(note("0").unwrap() > first);
    }
}
