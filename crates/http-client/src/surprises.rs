//! Record of the surprises in the answers of both services of one connection, in memory only.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use services::{Service, Sighting, SurpriseKind};
use tokio::time::Instant;

/// Time for which a surprise is remembered after its last occurrence.
pub const SURPRISE_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// First occurrence of a surprise, the same until the surprise is forgotten.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Surprise {
    /// Kind of surprise.
    pub kind: SurpriseKind,
    /// Service whose answer it was in.
    pub service: Service,
    /// Operation that was answered.
    pub operation: &'static str,
    /// Place in the answer, such as `data[17].tags[2]` or `status 403`.
    pub place: String,
    /// The unknown word, if it is one.
    pub word: Option<String>,
    /// Time of the answer.
    pub at: Timestamp,
}

#[derive(Debug)]
struct Remembered {
    first: Surprise,
    last: Instant,
}

/// Surprises of one connection. Clones share one record.
#[derive(Clone)]
pub struct Surprises {
    remembered: Arc<Mutex<BTreeMap<(SurpriseKind, &'static str), Remembered>>>,
    on_first: Arc<dyn Fn() + Send + Sync>,
}

impl Default for Surprises {
    fn default() -> Self {
        Self::new(|| ())
    }
}

impl fmt::Debug for Surprises {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Surprises").field(&self.remembered).finish()
    }
}

impl Surprises {
    /// Returns an empty record that calls `on_first` after each surprise that it did not remember.
    pub fn new(on_first: impl Fn() + Send + Sync + 'static) -> Self {
        Self { remembered: Arc::default(), on_first: Arc::new(on_first) }
    }

    /// Records a surprise.
    pub(crate) fn record(&self, service: Service, operation: &'static str, seen: Sighting) {
        let now = Instant::now();
        let mut remembered = self.remembered.lock();
        remembered.retain(|_, known| known.expires() > now);
        let known = remembered.get_mut(&(seen.kind, service.label()));
        let is_first = known.is_none();
        match known {
            Some(known) => known.last = now,
            None => {
                let Sighting { kind, place, word, count: _ } = seen;
                let first = Surprise { kind, service, operation, place, word, at: Timestamp::now() };
                remembered.insert((kind, service.label()), Remembered { first, last: now });
            }
        }
        drop(remembered);
        if is_first {
            (self.on_first)();
        }
    }

    /// Returns the remembered surprises, the most important first.
    pub fn list(&self) -> Vec<Surprise> {
        let now = Instant::now();
        let remembered = self.remembered.lock();
        remembered.values().filter(|known| known.expires() > now).map(|known| known.first.clone()).collect()
    }

    /// Returns the time at which the next surprise is forgotten, unless it occurs again.
    pub fn next_expiry(&self) -> Option<Instant> {
        let now = Instant::now();
        self.remembered.lock().values().map(Remembered::expires).filter(|expiry| *expiry > now).min()
    }

    /// Forgets all surprises, because a person requests another check.
    pub fn clear(&self) {
        self.remembered.lock().clear();
    }
}

impl Remembered {
    fn expires(&self) -> Instant {
        self.last + SURPRISE_MEMORY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn record(surprises: &Surprises, service: Service, kind: SurpriseKind, place: &str) {
        surprises.record(service, "GET /some", Sighting::new(kind, place.into()));
    }

    fn places(surprises: &Surprises) -> Vec<String> {
        surprises.list().into_iter().map(|one| one.place).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_surprise_is_remembered_for_a_day_after_its_last_occurrence() {
        let news = Arc::new(AtomicU32::new(0));
        let count = news.clone();
        let surprises = Surprises::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!((places(&surprises), surprises.next_expiry()), (vec![], None));
        record(&surprises, Service::Lever, SurpriseKind::RowsLeftOut, "data[0]");
        let first = surprises.list();
        tokio::time::advance(SURPRISE_MEMORY / 2).await;
        record(&surprises, Service::Lever, SurpriseKind::RowsLeftOut, "data[7]");
        assert_eq!(surprises.list(), first, "only the first occurrence is kept");
        assert_eq!(surprises.next_expiry(), Some(Instant::now() + SURPRISE_MEMORY));
        assert_eq!(news.load(Ordering::SeqCst), 1);

        tokio::time::advance(SURPRISE_MEMORY).await;
        assert_eq!((places(&surprises), surprises.next_expiry()), (vec![], None));
        record(&surprises, Service::Lever, SurpriseKind::RowsLeftOut, "data[9]");
        assert_eq!((places(&surprises), news.load(Ordering::SeqCst)), (vec!["data[9]".into()], 2));
        surprises.clear();
        assert_eq!(places(&surprises), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn surprises_are_listed_by_importance_and_service() {
        let surprises = Surprises::default();
        for (service, kind) in [
            (Service::Lever, SurpriseKind::MembersDropped),
            (Service::Lever, SurpriseKind::ForeignAnswer),
            (Service::Interview, SurpriseKind::ForeignAnswer),
            (Service::Interview, SurpriseKind::NotesNotReturned),
        ] {
            record(&surprises, service, kind, &format!("{kind:?} of {}", service.label()));
        }
        assert_eq!(
            places(&surprises),
            [
                "NotesNotReturned of interview",
                "ForeignAnswer of interview",
                "ForeignAnswer of lever",
                "MembersDropped of lever"
            ]
        );
    }
}
