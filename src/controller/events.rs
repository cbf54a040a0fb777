//! Events for people who watch a namespace: one when an object comes to a halt and waits for them.

use crate::api::condition::{Condition, Status, find, is_true, types};
use jiff::{SignedDuration, Timestamp};

/// Longest note that the API server takes, in bytes.
const EVENT_NOTE_MAX_BYTES: usize = 1024;
/// The reason of an object that a person has suspended: no news for that person.
pub const SUSPENDED: &str = "Suspended";

/// After this long a wait is news, too.
const LONG_WAIT_THRESHOLD: SignedDuration = SignedDuration::from_mins(10);

/// The condition that a person should look at, if there is one: the object has come to a halt, or has waited long.
pub fn needs_attention(conditions: &[Condition], now: Timestamp) -> Option<&Condition> {
    let on = |type_| find(conditions, type_).filter(|one| one.status == Status::True);
    let is_long = |waits: &&Condition| now.duration_since(waits.last_transition_time) >= LONG_WAIT_THRESHOLD;
    on(types::STALLED).or_else(|| on(types::RECONCILING).filter(is_long))
}

/// Reason and note of the warning for an object that has come to a halt since its last status, if it has.
pub fn newly_stalled(before: &[Condition], after: &[Condition]) -> Option<(String, String)> {
    if !is_true(after, types::STALLED) {
        return None;
    }
    let Condition { reason, message, .. } = find(after, types::STALLED)?;
    let known = find(before, types::STALLED).is_some_and(|stalled| stalled.reason == *reason);
    (!known && reason != SUSPENDED).then(|| (reason.clone(), truncate_note(message)))
}

/// The text, cut to what the API server takes.
pub fn truncate_note(message: &str) -> String {
    let mut note = message.to_owned();
    while note.len() > EVENT_NOTE_MAX_BYTES {
        note.pop();
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::condition::{Conditions, Readiness};

    fn conditions(readiness: Readiness, reason: &str) -> Vec<Condition> {
        let mut conditions = Conditions::new(&[], 1, jiff::Timestamp::UNIX_EPOCH);
        conditions.ready(readiness, reason, "é".repeat(900));
        conditions.finish()
    }

    #[test]
    fn a_halt_and_a_long_wait_are_for_a_person_to_look_at() {
        let minute = |minutes: i64| Timestamp::from_second(60 * minutes).unwrap();
        let halts = conditions(Readiness::Stalled, "SecretNotFound");
        assert_eq!(needs_attention(&halts, minute(0)).unwrap().reason, "SecretNotFound");
        let waits = conditions(Readiness::Reconciling, "QuotaExceeded");
        assert!(needs_attention(&waits, minute(9)).is_none());
        assert_eq!(needs_attention(&waits, minute(10)).unwrap().type_, types::RECONCILING);
        assert!(needs_attention(&conditions(Readiness::Ready, "Open"), minute(99)).is_none());
    }

    #[test]
    fn only_a_new_halt_is_news() {
        let waits = conditions(Readiness::Reconciling, "Connecting");
        let halts = conditions(Readiness::Stalled, "SecretNotFound");
        let (reason, note) = newly_stalled(&waits, &halts).unwrap();
        assert_eq!(reason, "SecretNotFound");
        assert!((1000..=EVENT_NOTE_MAX_BYTES).contains(&note.len()));
        assert!(newly_stalled(&[], &halts).is_some());
        assert!(newly_stalled(&halts, &halts).is_none());
        assert!(newly_stalled(&halts, &waits).is_none());
        assert!(newly_stalled(&halts, &conditions(Readiness::Stalled, "LeverForbidden")).is_some());
        assert!(newly_stalled(&waits, &conditions(Readiness::Stalled, SUSPENDED)).is_none());
    }
}
