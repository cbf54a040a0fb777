//! Property tests against a broken or hostile Lever: whatever it answers, each call ends, and no data of the answer
//! gets further than its types allow.

#![allow(clippy::unwrap_used)]

use super::*;
use http_client::SendDeadline;
use http_client::testing::{FixedAnswer, transport};
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;
use testkit::fuzz::{like, try_all};
use tokio::time::Instant;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const ID: &str = "5b1f2a0e-77c1-4d1b-9a60-3f0a6b8f1c22";
/// Personal data of a candidate.
const PRIVATE: &str = "Noor Baker";

fn client_at(url: &Url) -> LeverClient {
    LeverClient::new(&transport(Duration::from_secs(5)), url, "lvr-0f3c5a97d2".into(), None).unwrap()
}

#[tokio::test]
async fn lists_without_end_are_given_up() {
    let server = MockServer::start().await;
    let always_another = |request: &Request| {
        let pages = request.url.query_pairs();
        let page = pages.into_iter().find(|(name, _)| name == "offset");
        let next = page.map_or("1".to_owned(), |(_, page)| page.into_owned() + "1");
        ResponseTemplate::new(200).set_body_json(json!({"data": [{}], "next": next, "hasNext": true}))
    };
    Mock::given(any()).respond_with(always_another).mount(&server).await;
    let client = client_at(&Url::parse(&server.uri()).unwrap());
    assert_eq!(client.stages().await.unwrap_err().message, "the list has no end");
    let before = server.received_requests().await.unwrap().len();
    assert!(before <= MAX_LIST_PAGES, "{before}");
    assert_eq!(client.notes(ID).await.unwrap_err().class, ErrorKind::Unavailable);
    assert!(server.received_requests().await.unwrap().len() - before <= MAX_LIST_PAGES);
}

#[test]
fn any_answer_is_read_or_refused() {
    let change =
        json!({"toStageId": "s-1", "toStageIndex": 1, "updatedAt": 1_700_000_000_000_i64, "userId": "u"});
    let opportunity = json!({
        "id": ID, "name": PRIVATE, "stage": "s-1", "links": ["https://example.org/a"], "archived": null, "tags": ["coderpad"],
        "stageChanges": [change], "urls": {"list": "https://hire.lever.co", "show": "https://hire.lever.co/a"},
        "confidentiality": "non-confidential", "createdAt": 1_700_000_000_000_i64,
    });
    let note = json!({"id": "n-1", "fields": [{"type": "note", "text": PRIVATE, "value": PRIVATE}], "deletedAt": null});
    let documents = vec![
        json!({"data": opportunity}),
        json!({"data": [opportunity, opportunity], "next": "page-2", "hasNext": false}),
        json!({"data": [note], "hasNext": false}),
        json!({"data": [{"id": "s-1", "text": "Phone Screen"}], "hasNext": false}),
        json!({"data": [{"id": "w", "event": "candidateStageChange", "url": "https://example.org", "configuration": {"signatureToken": PRIVATE}}]}),
        json!({"data": {"noteId": "n-1"}}),
        json!({"code": "ResourceNotFound", "message": PRIVATE}),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (url, shown) = runtime.block_on(FixedAnswer::start());
    let client = client_at(&url);
    try_all("answers of Lever, each to 9 calls", like(documents), |answer| {
        shown.set(answer);
        let errors = runtime.block_on(async {
            let until = Instant::now() + Duration::from_secs(60);
            let departure = async || SendDeadline { permit: client.permit().await, leave_by: until };
            [
                client.stages().await.err(),
                client.any_opportunity().await.err(),
                client.opportunity(ID).await.err(),
                client.opportunities(client.permit().await, "s-1", Some("coderpad"), None).await.err(),
                client.notes(ID).await.err(),
                client.webhooks().await.err(),
                client.create_webhook("https://hooks.example.com").await.err(),
                client.add_links(departure().await, ID, &["https://example.org".to_owned()]).await.err(),
                client.add_note(departure().await, ID, "text").await.err(),
            ]
        });
        for error in errors.into_iter().flatten() {
            prop_assert!(!error.to_string().contains(PRIVATE), "{error}");
            prop_assert!(error.to_string().chars().count() < 400, "{error}");
        }
        Ok(())
    });
}
