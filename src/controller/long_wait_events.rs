//! Events for Pads that are pending for a long time: one per wait, also across restarts.
//!
//! The name of the Event is derived from the Pad and the start of the wait, so that a second write by another process
//! has no effect. API servers delete Events (after an hour by default). Longer waits therefore get no Event: an earlier
//! process has written it.

use crate::k8s::patch::is_status;
use crate::k8s::with_timeout;
use api::FIELD_MANAGER;
use api::names::sha256_hex;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};

/// Age of a wait after which its Event may have been deleted: the 10 minutes until it is written plus the maximum time
/// between two passes, and less than the hour for which API servers keep Events.
const EVENT_MAX_WAIT_AGE: SignedDuration = SignedDuration::from_mins(65);
/// Maximum length of the Pad's name in the name of an Event.
const EVENT_NAME_PART_MAX_CHARS: usize = 200;

/// Reports whether the wait is young enough for an Event.
pub fn is_due(since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since) < EVENT_MAX_WAIT_AGE
}

/// Writes the Event of a wait, unless it exists. An error is only logged, because the conditions contain the same
/// message.
pub async fn write(client: &Client, object: &ObjectReference, since: Timestamp, reason: &str, note: String) {
    let event = event(object, since, reason, note);
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    match with_timeout(api.create(&parameters, &event)).await {
        Ok(_) => {}
        Err(error) if is_status(&error, 409) => {}
        Err(error) => tracing::warn!(%error, "cannot write an Event"),
    }
}

fn event(object: &ObjectReference, since: Timestamp, reason: &str, note: String) -> Event {
    let (uid, name) = (object.uid.as_deref().unwrap_or_default(), object.name.as_deref().unwrap_or_default());
    let wait = sha256_hex(&format!("{uid}/{since}"), 16);
    let name = name.get(..EVENT_NAME_PART_MAX_CHARS).unwrap_or(name).trim_end_matches(['.', '-']);
    Event {
        action: Some("Reconcile".into()),
        event_time: Some(MicroTime(Timestamp::now())),
        metadata: ObjectMeta {
            name: Some(format!("{name}.{wait}")),
            namespace: object.namespace.clone(),
            ..ObjectMeta::default()
        },
        note: Some(note),
        reason: Some(reason.into()),
        regarding: Some(object.clone()),
        reporting_controller: Some(FIELD_MANAGER.into()),
        reporting_instance: Some(FIELD_MANAGER.into()),
        type_: Some("Warning".into()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minutes: i64) -> Timestamp {
        Timestamp::from_second(60 * minutes).unwrap()
    }

    /// After a restart nothing is remembered, and the wait is older than any Event.
    #[test]
    fn a_wait_of_days_is_not_reported_again_by_another_process() {
        assert!(is_due(minute(0), minute(10)) && is_due(minute(0), minute(15)));
        assert!(!is_due(minute(0), minute(3 * 24 * 60)));
    }

    #[test]
    fn the_event_of_a_wait_has_a_stable_name() {
        let object = ObjectReference {
            name: Some(format!("{}-1", "p".repeat(240))),
            namespace: Some("hiring".into()),
            uid: Some("u-1".into()),
            ..ObjectReference::default()
        };
        let name = |since| event(&object, since, "QuotaExceeded", String::new()).metadata.name.unwrap();
        assert_eq!(name(minute(0)), name(minute(0)));
        assert_ne!(name(minute(0)), name(minute(1)));
        assert!(name(minute(0)).len() < 253);
    }
}
