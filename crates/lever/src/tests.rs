#![allow(clippy::unwrap_used)]

mod network;

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use wiremock::matchers::{body_json, header, method, path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;
use http_client::testing::{self, UNLIMITED_RATE, bytes, reset, server, transport};
use http_client::{RateLimit, SendDeadline, TransportMetrics, TransportSettings};

const KEY: &str = "lvr-0f3c5a97d2";
const ID: &str = "5b1f2a0e-77c1-4d1b-9a60-3f0a6b8f1c22";

fn client_at(url: &str) -> LeverClient {
    let transport = transport(Duration::from_secs(5));
    LeverClient::new(&transport, &Url::parse(url).unwrap(), KEY.into(), Some("user-7".into())).unwrap()
}

fn client(server: &MockServer) -> LeverClient {
    client_at(&format!("{}/v1", server.uri()))
}

async fn send_deadline(client: &LeverClient) -> SendDeadline {
    SendDeadline { permit: client.permit().await, leave_by: Instant::now() + Duration::from_secs(10) }
}

async fn answering(template: ResponseTemplate) -> (MockServer, LeverClient) {
    let server = MockServer::start().await;
    Mock::given(wiremock::matchers::any()).respond_with(template).mount(&server).await;
    let client = client(&server);
    (server, client)
}

fn opportunity() -> Value {
    json!({
        "id": ID, "name": "Noor Baker", "contact": "c-1", "headline": "", "stage": "lead-responded",
        "confidentiality": "non-confidential", "location": "", "phones": [], "emails": [],
        "links": ["https://example.org/noor"], "archived": null, "tags": ["coderpad", "Full-time"],
        "sources": [], "origin": "sourced", "sourcedBy": null, "owner": null, "followers": [], "applications": [],
        "stageChanges": [
            {"toStageId": "lead-new", "toStageIndex": 0, "updatedAt": 1_700_000_000_000_i64, "userId": "u"},
            {"toStageId": "lead-responded", "toStageIndex": 2, "updatedAt": 1_700_000_100_000_i64, "userId": "u"},
            {"toStageId": "lead-new", "toStageIndex": 0, "updatedAt": 1_700_000_200_000_i64, "userId": "u"},
            {"toStageId": "lead-responded", "toStageIndex": 2, "updatedAt": 1_700_000_300_000_i64}
        ],
        "createdAt": 1_700_000_000_000_i64, "updatedAt": null, "snoozedUntil": null,
        "urls": {"list": "https://hire.lever.co/candidates", "show": format!("https://hire.lever.co/candidates/{ID}")},
        "isAnonymized": false, "dataProtection": null, "somethingNew": {"a": [1]}
    })
}

#[tokio::test]
async fn the_key_is_a_basic_user_without_password() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path(format!("/v1/opportunities/{ID}")))
        // base64("lvr-0f3c5a97d2:")
        .and(header("authorization", "Basic bHZyLTBmM2M1YTk3ZDI6"))
        .and(header("accept", "application/json"))
        .and(header("user-agent", concat!("pad-operator/", env!("CARGO_PKG_VERSION"))))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"data": opportunity()})))
        .expect(1)
        .mount(&server)
        .await;
    let transport = transport(Duration::from_secs(5));
    let base = Url::parse(&format!("{}/v1/", server.uri())).unwrap();
    let client = LeverClient::new(&transport, &base, format!(" {KEY}\n").into(), Some("  ".into())).unwrap();

    let found = client.opportunity(ID).await.unwrap();

    assert_eq!(found.id, ID);
    assert_eq!(found.name, "Noor Baker");
    assert_eq!(found.contact.as_deref(), Some("c-1"));
    assert_eq!(found.stage, "lead-responded");
    assert_eq!(found.entry_into("lead-responded"), 1_700_000_300_000);
    assert_eq!(Some(found.entry_into("offer")), found.created_at_ms);
    assert_eq!(found.tags, ["coderpad", "Full-time"]);
    assert_eq!(found.links, ["https://example.org/noor"]);
    assert!(!found.archived && !found.confidential && !found.is_anonymized);
    assert_eq!(found.profile_url.unwrap(), format!("https://hire.lever.co/candidates/{ID}"));
    assert_eq!((found.created_at_ms, found.updated_at_ms), (Some(1_700_000_000_000), None));
}

#[rstest]
#[case::live(json!({"archived": {"reason": "r", "archivedAt": 1_700_000_000_000_i64}}), true, Some(1_700_000_000_000))]
#[case::printed(json!({"archivedAt": 1_700_000_000_000_i64, "archiveReason": "r"}), true, Some(1_700_000_000_000))]
#[case::printed_not(json!({"archivedAt": null, "archiveReason": null}), false, None)]
#[case::without_time(json!({"archived": {"reason": "r", "archivedAt": null}}), true, None)]
#[case::empty(json!({"archived": {"reason": null, "archivedAt": null}}), false, None)]
#[tokio::test]
async fn both_forms_of_archived_are_understood(
    #[case] part: Value,
    #[case] archived: bool,
    #[case] at: Option<i64>,
) {
    let mut row = opportunity();
    row.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
    let (_server, client) = answering(ResponseTemplate::new(200).set_body_json(json!({"data": row}))).await;
    let found = client.opportunity(ID).await.unwrap();
    assert_eq!((found.archived, found.archived_at_ms), (archived, at));
}

#[tokio::test]
async fn null_absent_and_expanded_fields_are_tolerated() {
    let row = json!({"id": ID, "name": null, "stage": {"id": "offer", "text": "Offer"}, "tags": null, "stageChanges": null,
        "contact": {"id": "c-2", "name": ""}, "confidentiality": "confidential", "isAnonymized": true});
    let (_server, client) = answering(ResponseTemplate::new(200).set_body_json(json!({"data": row}))).await;
    let found = client.opportunity(ID).await.unwrap();
    assert_eq!((found.stage.as_str(), found.contact.as_deref()), ("offer", Some("c-2")));
    assert!(found.confidential && found.is_anonymized && found.name.is_empty() && found.tags.is_empty());
}

// contract S2a
#[tokio::test]
async fn odd_rows_are_left_out_and_odd_members_dropped_beside_good_rows() {
    let with = |part: Value| {
        let mut row = opportunity();
        row.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        row
    };
    let rows = json!([
        opportunity(),
        with(json!({"id": "odd", "tags": ["coderpad", null], "links": [null, {"url": "https://x/PAD"}],
            "stageChanges": [null, {"toStageId": "s", "updatedAt": -9e18}, {"toStageId": "s", "updatedAt": 1_700_000_000_000_i64}],
            "name": 5, "urls": "u", "createdAt": i64::MAX, "isAnonymized": "no", "contact": 7})),
        with(json!({"id": null})),
        with(json!({"id": "a/b"})),
        null,
    ]);
    let (_server, client) = answering(ResponseTemplate::new(200).set_body_json(json!({"data": rows}))).await;
    let page = client.opportunities(client.permit().await, "s", Some("coderpad"), None).await.unwrap();
    assert_eq!((page.opportunities.len(), page.left_out), (2, 3));
    let odd = &page.opportunities[1];
    assert_eq!(
        (odd.tags.as_slice(), odd.links.as_slice()),
        (&["coderpad".to_owned()][..], &["https://x/PAD".to_owned()][..])
    );
    assert_eq!((odd.entry_into("s"), odd.created_at_ms), (1_700_000_000_000, None));
    assert!(odd.name.is_empty() && odd.contact.is_none() && !odd.is_anonymized);
    assert_eq!(client.any_opportunity().await.unwrap().as_deref(), Some(ID));
}

#[tokio::test]
async fn a_probe_finds_no_opportunity_in_an_unreadable_row() {
    let (_server, client) =
        answering(ResponseTemplate::new(200).set_body_json(json!({"data": [{"id": null}]}))).await;
    assert_eq!(client.any_opportunity().await.unwrap(), None);
    for answer in [json!({"data": null}), json!([]), json!({"data": [], "next": 5, "hasNext": true})] {
        let (_server, client) = answering(ResponseTemplate::new(200).set_body_json(&answer)).await;
        assert_eq!(client.any_opportunity().await.unwrap_err().class, ErrorKind::Unavailable, "{answer}");
    }
}

#[tokio::test]
async fn spans_of_time_have_both_ends_or_reach_until_now() {
    let server = MockServer::start().await;
    let empty = || ResponseTemplate::new(200).set_body_json(json!({"data": [], "hasNext": false}));
    Mock::given(path("/v1/opportunities"))
        .and(query_param("updated_at_start", "5"))
        .and(query_param_is_missing("updated_at_end"))
        .respond_with(empty())
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/v1/opportunities/deleted"))
        .and(query_param("deleted_at_start", "5"))
        .and(query_param("deleted_at_end", "9"))
        .respond_with(empty())
        .expect(1)
        .mount(&server)
        .await;
    let client = client(&server);
    client.updated_in(SpanMs { from: 5, to: None }, None).await.unwrap();
    client.deleted_in(SpanMs { from: 5, to: Some(9) }, None).await.unwrap();
}

#[tokio::test]
async fn stages_follow_pages_with_the_token_unchanged() {
    let server = MockServer::start().await;
    let token = "%5B3%2C1700000000000%2C%22a%22%5D";
    Mock::given(path("/v1/stages"))
        .and(query_param_is_missing("offset"))
        .respond_with(ResponseTemplate::new(200).set_body_json(
            json!({"data": [{"id": "lead-new", "text": "New lead"}], "next": token, "hasNext": true}),
        ))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/v1/stages"))
        .and(query_param("offset", token))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(json!({"data": [{"id": "9c0e", "text": "Phone Screen"}], "next": "x"})),
        )
        .expect(1)
        .mount(&server)
        .await;
    let stages = client(&server).stages().await.unwrap();
    let stages: Vec<_> = stages.iter().map(|stage| (stage.id.as_str(), stage.name.as_str())).collect();
    assert_eq!(stages, [("lead-new", "New lead"), ("9c0e", "Phone Screen")]);
}

#[tokio::test]
async fn stages_stop_at_500_and_at_a_list_that_does_not_advance() {
    let rows: Vec<_> = (0..100).map(|n| json!({"id": n.to_string(), "text": "s"})).collect();
    let server = MockServer::start().await;
    Mock::given(path("/v1/stages"))
        .respond_with(move |request: &Request| {
            let page: u32 = request
                .url
                .query_pairs()
                .find(|(name, _)| name == "offset")
                .map_or(0, |(_, value)| value.parse().unwrap());
            let next = (page + 1).to_string();
            ResponseTemplate::new(200).set_body_json(json!({"data": rows, "next": next, "hasNext": true}))
        })
        .expect(5)
        .mount(&server)
        .await;
    assert_eq!(client(&server).stages().await.unwrap().len(), 500);

    let (_server, client) = answering(
        ResponseTemplate::new(200).set_body_json(json!({"data": [], "next": "same", "hasNext": true})),
    )
    .await;
    let error = client.stages().await.unwrap_err();
    assert_eq!(error.class, ErrorKind::Unavailable);
    assert_eq!(error.message, "the list does not advance (application/json, at most 1 KiB)");
}

#[tokio::test]
async fn opportunities_are_listed_by_stage_and_tag() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/opportunities"))
        .and(query_param("stage_id", "9c0e"))
        .and(query_param("tag", "Full-time & more"))
        .and(query_param("archived", "false"))
        .and(query_param("limit", "100"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(json!({"data": [opportunity()], "next": "n", "hasNext": true})),
        )
        .mount(&server)
        .await;
    Mock::given(path("/v1/opportunities"))
        .and(query_param("archived_at_start", "1700000000000"))
        .and(query_param("archived", "true"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"data": [], "hasNext": false})))
        .mount(&server)
        .await;
    Mock::given(path("/v1/opportunities"))
        .and(query_param("limit", "1"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"data": [{"id": ID}]})))
        .mount(&server)
        .await;
    let client = client(&server).with_priority(Priority::Poll);

    let page =
        client.opportunities(client.permit().await, "9c0e", Some("Full-time & more"), None).await.unwrap();
    assert_eq!(page.opportunities.len(), 1);
    let again = client
        .opportunities(client.permit().await, "9c0e", Some("Full-time & more"), page.next.as_ref())
        .await
        .unwrap_err();
    assert_eq!(again.class, ErrorKind::Unavailable);
    assert_eq!(client.archived_since(1_700_000_000_000, None).await.unwrap().next, None);
    assert_eq!(client.any_opportunity().await.unwrap().as_deref(), Some(ID));
}

#[rstest]
#[case::add_links("addLinks", "links")]
#[case::remove_links("removeLinks", "links")]
#[case::add_tags("addTags", "tags")]
#[case::remove_tags("removeTags", "tags")]
#[tokio::test]
async fn changes_are_written_as_a_user_and_return_the_opportunity(#[case] call: &str, #[case] field: &str) {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path(format!("/v1/opportunities/{ID}/{call}")))
        .and(query_param("perform_as", "user-7"))
        .and(header("content-type", "application/json"))
        .and(body_json(json!({field: ["one", "two"]})))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"data": opportunity()})))
        .expect(1)
        .mount(&server)
        .await;
    let client = client(&server);
    let values = ["one".to_owned(), "two".to_owned()];
    let changed = match call {
        "addLinks" => client.add_links(send_deadline(&client).await, ID, &values).await,
        "removeLinks" => client.remove_links(ID, &values).await,
        "addTags" => client.add_tags(ID, &values).await,
        _ => client.remove_tags(ID, &values).await,
    };
    assert_eq!(changed.unwrap().id, ID);
}

#[rstest]
#[case::printed(json!({"data": {"noteId": "n-1"}}))]
#[case::live(json!({"data": {"id": "other", "text": "Note", "fields": [], "noteId": "n-1"}}))]
#[case::only_id(json!({"data": {"id": "n-1"}}))]
#[tokio::test]
async fn a_note_is_written_quietly_and_its_id_read(#[case] answer: Value) {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path(format!("/v1/opportunities/{ID}/notes")))
        .and(body_json(json!({"value": "Ended.", "notifyFollowers": false})))
        .respond_with(ResponseTemplate::new(201).set_body_json(answer))
        .expect(1)
        .mount(&server)
        .await;
    let client = client(&server);
    let written = client.add_note(send_deadline(&client).await, ID, "Ended.").await;
    assert_eq!(written.unwrap(), "n-1");
}

#[tokio::test]
async fn notes_are_read_with_comments_and_deletions() {
    let (_server, client) = answering(ResponseTemplate::new(200).set_body_json(json!({"data": [
        {"id": "n-1", "text": "Note", "fields": [{"type": "note", "value": "one"}, {"value": "two"}, {"value": 3}],
         "createdAt": 1_700_000_000_000_i64, "deletedAt": null},
        {"id": "n-2", "fields": null, "createdAt": "1700000000001", "deletedAt": 1_700_000_000_002_i64}
    ]})))
    .await;
    let found = client.notes(ID).await.unwrap();
    assert!(found.unreadable().is_none());
    let notes = found.notes;
    assert_eq!(notes[0].values, ["one", "two"]);
    assert_eq!((notes[0].created_at_ms, notes[0].deleted), (Some(1_700_000_000_000), false));
    assert_eq!((notes[1].created_at_ms, notes[1].deleted), (Some(1_700_000_000_001), true));
}

// contract X9
#[tokio::test]
async fn an_unreadable_note_may_be_the_searched_one() {
    let good = json!({"id": "n-1", "fields": [{"value": "one"}, null, {"value": ["x"]}]});
    for (odd, is_readable) in [
        (json!({"id": 7, "createdAt": "soon"}), true),
        (json!(null), false),
        (json!({"fields": "text"}), false),
    ] {
        let answer = json!({"data": [odd, good]});
        let (_server, client) = answering(ResponseTemplate::new(200).set_body_json(answer)).await;
        let found = client.notes(ID).await.unwrap();
        assert_eq!(found.notes.last().unwrap().values, ["one"]);
        let unreadable = found.unreadable().map(|error| error.class);
        assert_eq!(unreadable, (!is_readable).then_some(ErrorKind::Unavailable), "{odd}");
    }
}

#[rstest]
#[case(301, ErrorKind::Unavailable, ErrorKind::OutcomeUnknown)]
#[case(400, ErrorKind::Invalid, ErrorKind::Invalid)]
#[case(401, ErrorKind::Unauthorized, ErrorKind::Unauthorized)]
#[case(403, ErrorKind::Forbidden, ErrorKind::Forbidden)]
#[case(404, ErrorKind::NotFound, ErrorKind::NotFound)]
#[case(408, ErrorKind::Unavailable, ErrorKind::OutcomeUnknown)]
#[case(409, ErrorKind::Invalid, ErrorKind::Invalid)]
#[case(410, ErrorKind::NotFound, ErrorKind::NotFound)]
#[case(422, ErrorKind::Invalid, ErrorKind::Invalid)]
#[case(429, ErrorKind::Throttled, ErrorKind::Throttled)]
#[case(500, ErrorKind::Unavailable, ErrorKind::OutcomeUnknown)]
#[case(503, ErrorKind::Unavailable, ErrorKind::OutcomeUnknown)]
#[tokio::test]
async fn every_status_has_its_class_and_is_not_retried(
    #[case] status: u16,
    #[case] read: ErrorKind,
    #[case] write: ErrorKind,
) {
    let answer = json!({"code": "SomeError", "message": "the reason"});
    let (server, client) = answering(ResponseTemplate::new(status).set_body_json(answer)).await;
    let error = client.opportunity(ID).await.unwrap_err();
    assert_eq!(error.class, read);
    assert_eq!(
        error.to_string(),
        format!("Lever: GET /opportunities/{{id}} answered {status}: SomeError: the reason")
    );
    // A new client: the 429 delays the next call of the first one.
    let client = client_at(&format!("{}/v1", server.uri()));
    let error = client.add_note(send_deadline(&client).await, ID, "text").await.unwrap_err();
    assert_eq!((error.class, error.status), (write, Some(status)));
    assert_eq!(server.received_requests().await.unwrap().len(), 2);
}

#[tokio::test]
async fn answers_that_cannot_be_read_quote_nothing() {
    for body in ["<html>Noor Baker</html>", "{\"data\": {\"id\": 7, \"name\": \"Noor Baker\"}}", ""] {
        let (_server, client) = answering(ResponseTemplate::new(200).set_body_string(body)).await;
        let read = client.opportunity(ID).await.unwrap_err();
        assert_eq!((read.class, read.status), (ErrorKind::Unavailable, Some(200)));
        assert!(!read.to_string().contains("Noor"));
        let write = client.add_links(send_deadline(&client).await, ID, &[]).await.unwrap_err();
        assert_eq!((write.class, write.status), (ErrorKind::OutcomeUnknown, Some(200)));
    }
    let (_server, client) = answering(ResponseTemplate::new(502).set_body_string("<html>")).await;
    assert_eq!(client.stages().await.unwrap_err().message, "Bad Gateway (text/plain, at most 1 KiB)");
}

/// contract C3a
#[tokio::test]
async fn the_page_of_a_firewall_never_blames_the_key() {
    for status in [400, 401, 403, 404, 410, 451] {
        let page = ResponseTemplate::new(status)
            .insert_header("server", "edge")
            .set_body_raw("<html>Noor Baker</html>", "text/html");
        let (_server, client) = answering(page).await;
        let error = client.stages().await.unwrap_err();
        assert_eq!((error.class, error.status), (ErrorKind::Unavailable, Some(status)));
        assert!(error.message.contains("text/html, at most 1 KiB, server edge"), "{error}");
        assert!(!error.message.contains("Noor"), "{error}");
        let error = client.add_note(send_deadline(&client).await, ID, "text").await.unwrap_err();
        assert_eq!(error.class, ErrorKind::OutcomeUnknown);
    }
}

#[tokio::test]
async fn a_429_of_a_proxy_is_a_pause() {
    let page = ResponseTemplate::new(429).insert_header("retry-after", "7").set_body_string("<html>");
    let (_server, client) = answering(page).await;
    let error = client.stages().await.unwrap_err();
    assert_eq!((error.class, error.retry_after), (ErrorKind::Throttled, Some(Duration::from_secs(7))));
    assert_eq!(error.message, "Too Many Requests (text/plain, at most 1 KiB)");
}

#[tokio::test]
async fn deep_and_huge_answers_are_refused() {
    let deep = "[".repeat(100_000);
    let (_server, client) = answering(ResponseTemplate::new(200).set_body_string(deep)).await;
    assert_eq!(client.opportunity(ID).await.unwrap_err().class, ErrorKind::Unavailable);
    let huge = " ".repeat((8 << 20) + 1);
    let (_server, client) = answering(ResponseTemplate::new(200).set_body_string(huge)).await;
    let error = client.opportunity(ID).await.unwrap_err();
    assert_eq!((error.class, error.message.as_str()), (ErrorKind::Unavailable, "the answer is over 8 MiB"));
    assert_eq!(
        client.add_note(send_deadline(&client).await, ID, "text").await.unwrap_err().class,
        ErrorKind::OutcomeUnknown
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = MockServer::start().await;
    let target = format!("{}/v1/stages", other.uri());
    for status in [301, 302, 307, 308] {
        let (_server, client) =
            answering(ResponseTemplate::new(status).insert_header("location", target.as_str())).await;
        let error = client.stages().await.unwrap_err();
        assert_eq!(error.class, ErrorKind::Unavailable);
        assert!(error.message.contains("to 127.0.0.1:"), "{error}");
        assert_eq!(
            client.add_links(send_deadline(&client).await, ID, &[]).await.unwrap_err().class,
            ErrorKind::OutcomeUnknown
        );
    }
    assert!(other.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn retry_after_pauses_every_client_of_the_key() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/stages"))
        .respond_with(ResponseTemplate::new(429).insert_header("retry-after", "1"))
        .mount(&server)
        .await;
    Mock::given(path("/v1/opportunities"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"data": []})))
        .mount(&server)
        .await;
    let transport = transport(Duration::from_secs(5));
    let base = Url::parse(&format!("{}/v1", server.uri())).unwrap();
    let one = LeverClient::new(&transport, &base, KEY.into(), None).unwrap();
    let other = LeverClient::new(&transport, &base, KEY.into(), None).unwrap();
    let error = one.stages().await.unwrap_err();
    assert_eq!((error.class, error.retry_after), (ErrorKind::Throttled, Some(Duration::from_secs(1))));
    assert!(error.is_retryable() && !error.is_quota());
    let began = Instant::now();
    assert_eq!(other.any_opportunity().await.unwrap(), None);
    assert!(began.elapsed() >= Duration::from_millis(950), "{:?}", began.elapsed());
}

#[tokio::test]
async fn ids_cannot_change_the_path() {
    let (server, client) =
        answering(ResponseTemplate::new(200).set_body_json(json!({"data": opportunity()}))).await;
    client.opportunity("a/b?c#d%2e").await.unwrap();
    for id in ["", ".", "..", "a\nb", &"x".repeat(200)] {
        assert_eq!(client.opportunity(id).await.unwrap_err().class, ErrorKind::Invalid);
        assert_eq!(client.notes(id).await.unwrap_err().class, ErrorKind::Invalid);
        assert_eq!(client.add_tags(id, &[]).await.unwrap_err().class, ErrorKind::Invalid);
    }
    let requests = server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].url.path(), "/v1/opportunities/a%2Fb%3Fc%23d%252e");
    assert_eq!(requests[0].url.query(), None);
}

#[tokio::test]
async fn a_stale_page_is_recognized() {
    let answer = json!({"code": "BadRequestError", "message": "Invalid offset token"});
    let (_server, client) = answering(ResponseTemplate::new(400).set_body_json(answer)).await;
    assert!(client.stages().await.unwrap_err().is_stale_page());
}

#[test]
fn unusable_clients_are_rejected() {
    let transport = transport(Duration::from_secs(5));
    let base = Url::parse("https://api.lever.co/v1").unwrap();
    let refused = |base: &Url, key: &str| LeverClient::new(&transport, base, key.into(), None).unwrap_err();
    assert_eq!(refused(&base, " \n"), SetupError::EmptyKey);
    assert_eq!(refused(&base, "one two"), SetupError::MalformedKey);
    assert_eq!(refused(&base, "one\ntwo"), SetupError::MalformedKey);
    assert_eq!(refused(&base, "one\"two"), SetupError::MalformedKey);
    for url in
        ["ftp://api.lever.co/v1", "https://user@api.lever.co/v1", "https://api.lever.co/v1?a=b", "data:x"]
    {
        assert_eq!(refused(&Url::parse(url).unwrap(), KEY), SetupError::BadUrl, "{url}");
    }
}

#[tokio::test]
async fn the_key_is_never_shown() {
    let answer = json!({"code": "UnauthorizedError", "message": format!("key {KEY} is unknown")});
    let (_server, client) = answering(ResponseTemplate::new(401).set_body_json(answer)).await;
    let error = client.stages().await.unwrap_err();
    assert_eq!(error.message, "key (key) is unknown");
    for shown in [format!("{client:?}"), format!("{error:?}"), error.to_string()] {
        assert!(!shown.contains(KEY) && !shown.contains("bHZyLTBm"), "{shown}");
    }
}

#[tokio::test]
async fn calls_are_counted_by_operation_and_outcome() {
    let answer = json!({"code": "ResourceNotFound", "message": "no"});
    let (server, _) = answering(ResponseTemplate::new(404).set_body_json(answer)).await;
    let mut registry = prometheus_client::registry::Registry::default();
    let settings = TransportSettings {
        lever_limit: RateLimit { per_second: 10, burst: 20 },
        interview_limit: UNLIMITED_RATE,
        create_timeout: Duration::from_secs(5),
    };
    let transport = Transport::new(settings, TransportMetrics::new(&mut registry)).unwrap();
    let base = Url::parse(&server.uri()).unwrap();
    let client = LeverClient::new(&transport, &base, KEY.into(), None).unwrap();
    client.opportunity(ID).await.unwrap_err();
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let labels = "service=\"lever\",operation=\"GET /opportunities/{id}\"";
    for line in [
        format!("pad_operator_service_requests_total{{{labels},outcome=\"not_found\",priority=\"pad\"}} 1"),
        format!("pad_operator_service_request_seconds_count{{{labels}}} 1"),
        "pad_operator_service_rate_limit_wait_seconds_count{service=\"lever\"} 1".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
    assert!(!text.contains(ID));
}

#[tokio::test]
async fn a_silent_service_times_out() {
    let (url, _) = server(testing::silence).await;
    let account = client_at(url.as_str()).client;
    let get = Call::get(LIST_STAGES, account.url(LIST_STAGES, &["stages"]).unwrap());
    assert_eq!(get.time_limit, Duration::from_secs(20));
    let call = Call { time_limit: Duration::from_millis(200), ..get };
    let error = account.send(Priority::Pad, call, |_: Value| Ok(())).await.unwrap_err();
    assert_eq!((error.class, error.message.as_str()), (ErrorKind::Unavailable, "timed out after 0.2 s"));
}

#[tokio::test]
async fn a_refused_write_is_remembered_until_it_succeeds() {
    let server = MockServer::start().await;
    let forbidden = json!({"code": "Forbidden", "message": "no"});
    Mock::given(path(format!("/v1/opportunities/{ID}/addTags")))
        .respond_with(ResponseTemplate::new(403).set_body_json(forbidden))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"data": opportunity()})))
        .mount(&server)
        .await;
    let client = client(&server);
    let clone = client.with_priority(Priority::Poll);
    let tags = ["ready".to_owned()];
    client.add_tags(ID, &tags).await.unwrap_err();
    assert_eq!(clone.refused(), Some(ADD_TAGS));
    client.remove_tags(ID, &tags).await.unwrap();
    assert_eq!(clone.refused(), Some(ADD_TAGS), "another operation does not show it");
    clone.add_tags(ID, &tags).await.unwrap();
    assert_eq!(client.refused(), None);
}
