//! When the webhook is looked after.

use super::*;
use api::reason::ConnectionReason;

fn diagnosis(remedy: Remedy) -> Diagnosis {
    let diagnosis = Diagnosis::for_webhook(ConnectionReason::LeverUnavailable, "message".into());
    Diagnosis { remedy, ..diagnosis }
}

fn registered() -> WebhookState {
    WebhookState::Registered { id: "w-1".into() }
}

#[tokio::test(start_paused = true)]
async fn a_reconcile_is_due_after_a_probe_and_when_the_secret_has_changed() {
    let mut entry = WebhookEntry::default();
    let now = Instant::now;
    assert!(!entry.begin(false, None, now()), "Lever has not answered yet");
    assert!(entry.begin(true, None, now()));
    entry.end(registered());
    entry.secret = Some("7".into());
    assert!(!entry.begin(false, Some("7"), now()));
    assert!(entry.begin(true, Some("7"), now()));
    entry.end(registered());

    assert!(!entry.begin(false, None, now()), "too soon after the last reconcile");
    assert_eq!(entry.next, Some(now() + AT_MOST_EVERY));
    tokio::time::advance(AT_MOST_EVERY).await;
    assert!(entry.begin(false, None, now()));
    assert_eq!(entry.next, None);
}

#[tokio::test(start_paused = true)]
async fn transient_failures_are_retried_and_keep_the_known_state() {
    let mut entry = WebhookEntry::default();
    entry.fail(diagnosis(Remedy::Retry), None, Instant::now());
    assert_eq!(entry.state, WebhookState::Failed(diagnosis(Remedy::Retry)));
    let first = entry.next.unwrap();
    assert!(!entry.begin(false, None, Instant::now()));
    tokio::time::advance(first - Instant::now()).await;
    assert!(entry.begin(false, None, Instant::now()));
    entry.fail(diagnosis(Remedy::Retry), None, Instant::now());
    assert!(entry.next.unwrap() - Instant::now() > first - Instant::now());

    entry.end(registered());
    entry.fail(diagnosis(Remedy::Retry), None, Instant::now());
    assert_eq!(entry.state, registered());
    assert!(entry.next.is_some());
    entry.fail(diagnosis(Remedy::UserAction), None, Instant::now());
    assert_eq!((&entry.state, entry.next), (&WebhookState::Failed(diagnosis(Remedy::UserAction)), None));
}
