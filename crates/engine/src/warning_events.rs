//! Decides which Warning Events are written. No other Event exists, except the one about a deletion that waits for Lever:
//! it has no condition (`deletion_blocked` of the connection's webhook).
//!
//! - Any kind: the object has become stalled ([`newly_stalled`]).
//! - LeverConnection: the quota has become low ([`quota_ran_low`]), or the account is shared ([`became_shared`]).
//! - Pad: it has been pending for a long time ([`needs_attention`]), one Event per wait (contract K6).

use api::condition::{Condition, Status, find, is_true, types};
use api::reason::ConnectionReason;
use jiff::{SignedDuration, Timestamp};

/// Maximum length of a note that the API server accepts, in bytes.
const EVENT_NOTE_MAX_BYTES: usize = 1024;

/// Duration after which a pending object also needs attention.
const LONG_WAIT_THRESHOLD: SignedDuration = SignedDuration::from_mins(10);

/// Returns the condition that needs the attention of a user: the object is stalled or has been pending for a long time.
pub fn needs_attention(conditions: &[Condition], now: Timestamp) -> Option<&Condition> {
    let on = |type_| find(conditions, type_).filter(|one| one.status == Status::True);
    let is_long = |waits: &&Condition| now.duration_since(waits.last_transition_time) >= LONG_WAIT_THRESHOLD;
    on(types::STALLED).or_else(|| on(types::RECONCILING).filter(is_long))
}

/// Returns the reason and note of the warning Event for an object that has become stalled since its last status.
pub fn newly_stalled(before: &[Condition], after: &[Condition]) -> Option<(String, String)> {
    if !is_true(after, types::STALLED) {
        return None;
    }
    let Condition { reason, message, .. } = find(after, types::STALLED)?;
    let known = find(before, types::STALLED).is_some_and(|stalled| stalled.reason == *reason);
    (!known && *reason != ConnectionReason::Suspended).then(|| (reason.clone(), truncate_note(message)))
}

/// Returns the reason and note of the warning Event for a quota that has become low since the last status. The warning
/// repeats only after the quota was above the threshold again.
pub fn quota_ran_low(before: &[Condition], after: &[Condition]) -> Option<(String, String)> {
    let low = |conditions| {
        find(conditions, types::QUOTA_AVAILABLE).filter(|quota| {
            quota.reason == ConnectionReason::QuotaLow || quota.reason == ConnectionReason::QuotaExceeded
        })
    };
    let Condition { reason, message, .. } = low(after).filter(|_| low(before).is_none())?;
    Some((reason.clone(), message.clone()))
}

/// Returns the reason and note of the Event for a connection that started to share its account (contract I4).
pub fn became_shared(before: &[Condition], after: &[Condition]) -> Option<(String, String)> {
    let shared = |conditions| find(conditions, types::EXCLUSIVE).filter(|one| one.status == Status::False);
    let Condition { reason, message, .. } = shared(after).filter(|_| shared(before).is_none())?;
    Some((reason.clone(), message.clone()))
}

/// Truncates a note to the length that the API server accepts.
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
    use api::condition::{Conditions, Readiness};

    fn conditions(readiness: Readiness, reason: ConnectionReason) -> Vec<Condition> {
        let mut conditions = Conditions::new(&[], 1, jiff::Timestamp::UNIX_EPOCH);
        conditions.ready(readiness, reason, "é".repeat(900));
        conditions.finish()
    }

    #[test]
    fn stalled_and_long_pending_objects_need_attention() {
        let minute = |minutes: i64| Timestamp::from_second(60 * minutes).unwrap();
        let halts = conditions(Readiness::Stalled, ConnectionReason::SecretNotFound);
        assert_eq!(needs_attention(&halts, minute(0)).unwrap().reason, "SecretNotFound");
        let waits = conditions(Readiness::Reconciling, ConnectionReason::LeverUnavailable);
        assert!(needs_attention(&waits, minute(9)).is_none());
        assert_eq!(needs_attention(&waits, minute(10)).unwrap().type_, types::RECONCILING);
        assert!(
            needs_attention(&conditions(Readiness::Ready, ConnectionReason::Connected), minute(99)).is_none()
        );
    }

    #[test]
    fn only_a_newly_stalled_object_causes_an_event() {
        let waits = conditions(Readiness::Reconciling, ConnectionReason::Connecting);
        let halts = conditions(Readiness::Stalled, ConnectionReason::SecretNotFound);
        let (reason, note) = newly_stalled(&waits, &halts).unwrap();
        assert_eq!(reason, "SecretNotFound");
        assert!((1000..=EVENT_NOTE_MAX_BYTES).contains(&note.len()));
        assert!(newly_stalled(&[], &halts).is_some());
        assert!(newly_stalled(&halts, &halts).is_none());
        assert!(newly_stalled(&halts, &waits).is_none());
        assert!(
            newly_stalled(&halts, &conditions(Readiness::Stalled, ConnectionReason::LeverForbidden))
                .is_some()
        );
        assert!(
            newly_stalled(&waits, &conditions(Readiness::Stalled, ConnectionReason::Suspended)).is_none()
        );
    }
}
