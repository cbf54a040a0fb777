//! Storing against an API server whose state may be newer than the cache.

use super::fake::*;
use crate::webhook::event::{EventKind, LeverEvent};
use crate::webhook::persist::{PersistError, Persisted, store};
use api::names::{self, pad_name};
use api::pad::{Phase, TriggerSource};
use api::{Pad, PadStatus};
use engine::stage_change::StageChangeEvent;
use serde_json::json;

const AT: i64 = 1_750_000_000_123;
const REQUEST: &str = "1750000000123-00112233";

fn change() -> StageChangeEvent {
    let data = json!({"opportunityId": OPPORTUNITY, "toStageId": "s-1"});
    let body = delivery_at(AT, "candidateStageChange", data).to_string();
    match LeverEvent::parse(body.as_bytes()).and_then(|event| event.meaning()) {
        Ok(EventKind::StageChange(change)) => change,
        _ => panic!("not a stage change"),
    }
}

async fn stored(server: &ApiServer, cached: Vec<Pad>) -> Vec<String> {
    let scope = scope(vec![connection()], vec![configuration("phone", "s-1", "a", 1)], cached);
    match store(&server.client(), &scope, &connection(), &change()).await.unwrap() {
        Persisted::Pads(pads) => pads,
        Persisted::NotNamed => panic!("no configuration"),
    }
}

fn numbered(n: u32) -> String {
    pad_name("phone", OPPORTUNITY, n)
}

fn of_another_candidate(mut pad: Pad) -> Pad {
    pad.spec.opportunity_id = "somebody-else".into();
    pad
}

#[tokio::test]
async fn a_new_pad_contains_its_origin() {
    let server = ApiServer::default();
    assert_eq!(stored(&server, vec![]).await, [numbered(1)]);
    let pad = server.pad(&numbered(1)).unwrap();
    let digest = names::opportunity_digest(OPPORTUNITY);
    let labels = pad.metadata.labels.unwrap();
    let expected = [
        ("app.kubernetes.io/managed-by", "pad-operator"),
        ("padoperator.dev/configuration", "phone"),
        ("padoperator.dev/connection", "acme"),
        ("padoperator.dev/opportunity", &digest),
        ("padoperator.dev/type", "Live"),
    ];
    assert_eq!(
        labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(pad.spec.connection_ref.unwrap().name, "acme");
    assert_eq!(
        (pad.spec.trigger.source, pad.spec.trigger.at.unwrap().as_millisecond()),
        (TriggerSource::Webhook, AT)
    );
    assert_eq!(json!(pad.spec.deletion_policy), "Unlink");
    assert_eq!(server.calls(), [format!("POST pads/{}", numbered(1))]);
}

#[tokio::test]
async fn sync_requests_the_newest_pad_with_one_write() {
    let server = ApiServer::with(&[pad(1), pad(2)]);
    assert_eq!(stored(&server, vec![pad(1), pad(2)]).await, [numbered(2)]);
    assert_eq!(server.request_on(&numbered(2)).as_deref(), Some(REQUEST));
    assert_eq!(server.calls(), [format!("PATCH pads/{}", numbered(2))]);
}

#[tokio::test]
async fn a_repeated_delivery_writes_nothing() {
    let server = ApiServer::with(&[pad(1)]);
    assert_eq!(stored(&server, vec![with_request(pad(1), REQUEST)]).await, [numbered(1)]);
    assert_eq!(server.calls(), [format!("GET pads/{}", numbered(1))]);
}

#[tokio::test]
async fn a_repeated_delivery_creates_a_deleted_pad_again() {
    let server = ApiServer::default();
    assert_eq!(stored(&server, vec![with_request(pad(1), REQUEST)]).await, [numbered(1)]);
    assert!(server.pad(&numbered(1)).is_some(), "a 200 stands for a Pad in the API server");
}

#[tokio::test]
async fn a_pad_that_the_cache_does_not_show_yet_is_found_by_its_name() {
    let server = ApiServer::with(&[pad(1), pad(2)]);
    assert_eq!(stored(&server, vec![]).await, [numbered(2)]);
    assert_eq!(server.request_on(&numbered(2)).as_deref(), Some(REQUEST));
    assert_eq!(server.request_on(&numbered(1)), None);
}

#[tokio::test]
async fn a_pad_of_the_same_name_without_labels_is_found_too() {
    let server = ApiServer::with(&[pad_by_hand(&numbered(1))]);
    assert_eq!(stored(&server, vec![]).await, [numbered(1)]);
    assert_eq!(server.request_on(&numbered(1)).as_deref(), Some(REQUEST));
}

#[tokio::test]
async fn a_name_of_another_candidate_is_passed_over() {
    let server =
        ApiServer::with(&[of_another_candidate(pad(1)), of_another_candidate(pad_by_hand(&numbered(2)))]);
    assert_eq!(stored(&server, vec![]).await, [numbered(3)]);
    assert_eq!(server.pad(&numbered(3)).unwrap().spec.opportunity_id, OPPORTUNITY);
    assert_eq!(server.request_on(&numbered(1)), None);
}

#[tokio::test]
async fn too_many_taken_names_cause_a_retry() {
    let others: Vec<Pad> = (1..40).map(|n| of_another_candidate(pad(n))).collect();
    let server = ApiServer::with(&others);
    let scope = scope(vec![connection()], vec![configuration("phone", "s-1", "a", 1)], vec![]);
    let result = store(&server.client(), &scope, &connection(), &change()).await;
    assert!(matches!(result, Err(PersistError::Unsettled)), "{result:?}");
}

#[tokio::test]
async fn a_deleted_pad_is_created_again() {
    let server = ApiServer::default();
    assert_eq!(stored(&server, vec![pad(1)]).await, [numbered(1)]);
    assert_eq!(server.calls(), [format!("PATCH pads/{}", numbered(1)), format!("POST pads/{}", numbered(1))]);
}

#[tokio::test]
async fn a_pad_that_is_being_deleted_gets_a_successor() {
    for cached in [vec![], vec![pad(1)], vec![terminating(pad(1))]] {
        let server = ApiServer::with(&[terminating(pad(1))]);
        assert_eq!(stored(&server, cached).await, [numbered(2)]);
    }
}

#[tokio::test]
async fn each_configuration_gets_its_pad() {
    let server = ApiServer::default();
    let all = vec![
        configuration("phone", "s-1", "a", 1),
        configuration("home", "Phone Screen", "b", 1),
        configuration("late", "s-1", "b", 2),
        configuration("onsite", "s-2", "a", 1),
    ];
    let scope = scope(vec![connection()], all, vec![pad(1)]);
    server.put(&pad(1));
    let result = store(&server.client(), &scope, &connection(), &change()).await.unwrap();
    assert_eq!(result, Persisted::Pads(vec![pad_name("home", OPPORTUNITY, 1), numbered(1)]));
    assert_eq!(server.request_on(&numbered(1)).as_deref(), Some(REQUEST));
}

#[tokio::test]
async fn the_backlog_of_a_connection_is_bounded() {
    let waiting = |n: u32, phase: Option<Phase>| {
        let mut pad = of_another_candidate(pad_by_hand(&format!("waiting-{n}")));
        pad.status = phase.map(|phase| PadStatus { phase: Some(phase), ..PadStatus::default() });
        pad
    };
    let mut pads: Vec<Pad> =
        (0..10_000).map(|n| waiting(n, (n % 2 == 0).then_some(Phase::Pending))).collect();
    pads.push(waiting(10_000, Some(Phase::Skipped)));
    let mut elsewhere = waiting(10_001, None);
    elsewhere.spec.connection_ref.as_mut().unwrap().name = "other".into();
    pads.push(elsewhere);
    let server = ApiServer::default();
    assert_eq!(stored(&server, pads.clone()).await, [numbered(1)]);

    pads.push(waiting(10_002, Some(Phase::Pending)));
    let scope = scope(vec![connection()], vec![configuration("phone", "s-1", "a", 1)], pads);
    let result = store(&server.client(), &scope, &connection(), &change()).await;
    assert!(matches!(result, Err(PersistError::TooManyUnjudged)), "{result:?}");
}
