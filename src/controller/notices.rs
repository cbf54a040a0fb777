//! Events for people who watch a namespace: one when an object comes to a halt and waits for them.

use crate::api::condition::{Condition, find, is_true, types};

/// Longest note that the API server takes, in bytes.
const NOTE_LIMIT: usize = 1024;
/// The reason of an object that a person has suspended: no news for that person.
pub const SUSPENDED: &str = "Suspended";

/// Reason and note of the warning for an object that has come to a halt since its last status, if it has.
pub fn halted(before: &[Condition], after: &[Condition]) -> Option<(String, String)> {
    if !is_true(after, types::STALLED) {
        return None;
    }
    let Condition { reason, message, .. } = find(after, types::STALLED)?;
    let known = find(before, types::STALLED).is_some_and(|stalled| stalled.reason == *reason);
    (!known && reason != SUSPENDED).then(|| (reason.clone(), fitting(message)))
}

/// The text, cut to what the API server takes.
pub fn fitting(message: &str) -> String {
    let mut note = message.to_owned();
    while note.len() > NOTE_LIMIT {
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
    fn only_a_new_halt_is_news() {
        let waits = conditions(Readiness::Reconciling, "Connecting");
        let halts = conditions(Readiness::Stalled, "SecretNotFound");
        let (reason, note) = halted(&waits, &halts).unwrap();
        assert_eq!(reason, "SecretNotFound");
        assert!((1000..=NOTE_LIMIT).contains(&note.len()));
        assert!(halted(&[], &halts).is_some());
        assert!(halted(&halts, &halts).is_none());
        assert!(halted(&halts, &waits).is_none());
        assert!(halted(&halts, &conditions(Readiness::Stalled, "LeverForbidden")).is_some());
        assert!(halted(&waits, &conditions(Readiness::Stalled, SUSPENDED)).is_none());
    }
}
