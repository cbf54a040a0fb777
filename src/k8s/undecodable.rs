//! Objects of one kind that do not decode, or only in part: counted for the metrics, and named in the log.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Delay before the same problem of the same object is logged again.
const REPEAT: Duration = Duration::from_secs(3600);
/// Maximum number of lines per [`WINDOW`]: thousands of objects may have the same problem.
const LINES: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// What is wrong with an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Problem {
    /// It does not decode because of this field, so it is left out.
    Skipped(String),
    /// These fields contain no usable time and count as absent.
    Partly(Vec<String>),
}

/// The objects of one kind and scope with a problem.
#[derive(Debug)]
pub struct Undecodable {
    kind: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<(String, String), Entry>,
    /// Number of the current listing. Objects that it does not contain are gone.
    listing: u64,
    window: Instant,
    lines: usize,
}

#[derive(Debug)]
struct Entry {
    problem: Problem,
    listing: u64,
    logged: Option<Instant>,
}

impl Undecodable {
    /// None yet.
    pub fn new(kind: &str) -> Self {
        let state = State { objects: BTreeMap::new(), listing: 0, window: Instant::now(), lines: 0 };
        Self { kind: kind.to_owned(), state: Mutex::new(state) }
    }

    /// Records what is wrong with an object as it was just read; None if nothing is.
    pub fn note(&self, namespace: &str, name: &str, problem: Option<Problem>) {
        let mut state = self.state.lock();
        let key = super::key(namespace, name);
        let Some(problem) = problem else {
            state.objects.remove(&key);
            return;
        };
        let now = Instant::now();
        let known = state.objects.get(&key).filter(|known| known.problem == problem);
        let recently = known.and_then(|known| known.logged).filter(|logged| now - *logged < REPEAT);
        let logged = recently.or_else(|| state.has_line(now).then_some(now));
        if recently.is_none() && logged.is_some() {
            log(&self.kind, namespace, name, &problem);
        }
        let listing = state.listing;
        state.objects.insert(key, Entry { problem, listing, logged });
    }

    /// A listing begins.
    pub fn listing_begins(&self) {
        self.state.lock().listing += 1;
    }

    /// A listing is complete: what it did not contain is gone.
    pub fn listing_ends(&self) {
        let mut state = self.state.lock();
        let listing = state.listing;
        state.objects.retain(|_, entry| entry.listing == listing);
    }

    /// Number of objects that are left out, and of those of which fields are ignored.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        let skipped = state.objects.values().filter(|entry| matches!(entry.problem, Problem::Skipped(_)));
        let skipped = skipped.count();
        (skipped, state.objects.len() - skipped)
    }
}

impl State {
    /// Whether one more line may be written now.
    fn has_line(&mut self, now: Instant) -> bool {
        if now - self.window >= WINDOW {
            (self.window, self.lines) = (now, 0);
        }
        self.lines += 1;
        self.lines <= LINES
    }
}

/// Only the field is named: its value may be a candidate's.
fn log(kind: &str, namespace: &str, name: &str, problem: &Problem) {
    match problem {
        Problem::Skipped(field) => tracing::error!(
            kind,
            namespace,
            name,
            field,
            "object does not decode and is skipped; fix the field or delete the object. Other objects are not affected"
        ),
        Problem::Partly(fields) => tracing::warn!(
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
        undecodable.listing_begins();
        undecodable.note("hiring", "a", Some(Problem::Skipped("status.phase".into())));
        undecodable.note("hiring", "b", Some(Problem::Partly(vec!["status.createdAt".into()])));
        undecodable.note("hiring", "c", None);
        undecodable.listing_ends();
        assert_eq!(undecodable.counts(), (1, 1));
        undecodable.note("hiring", "a", None);
        assert_eq!(undecodable.counts(), (0, 1));
        undecodable.listing_begins();
        undecodable.listing_ends();
        assert_eq!(undecodable.counts(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_bounded_and_repeated_after_an_hour() {
        let undecodable = Undecodable::new("Pad");
        let note = |name: &str| {
            undecodable.note("hiring", name, Some(Problem::Skipped("spec".into())));
            undecodable.state.lock().objects[&super::super::key("hiring", name)].logged
        };
        let first = note("0").unwrap();
        assert_eq!(note("0"), Some(first), "not again");
        for n in 1..LINES {
            assert!(note(&n.to_string()).is_some());
        }
        assert_eq!(note("more"), None);
        tokio::time::advance(WINDOW).await;
        assert!(note("more").is_some());
        tokio::time::advance(REPEAT).await;
        assert!(note("0").unwrap() > first);
    }
}
