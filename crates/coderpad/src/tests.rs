#![allow(clippy::unwrap_used)]

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use tokio::time::Instant;
use wiremock::matchers::{any, body_string, header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use http_client::SendDeadline;
use http_client::testing::{bytes, reset, server, silence, transport};

const KEY: &str = "cp-9b81d6e04c";

fn client_at(url: &str, create_timeout: Duration) -> InterviewClient {
    InterviewClient::new(&transport(create_timeout), &Url::parse(url).unwrap(), KEY.into()).unwrap()
}

fn client(server: &MockServer) -> InterviewClient {
    client_at(&format!("{}/api", server.uri()), Duration::from_secs(5))
}

async fn answering(template: ResponseTemplate) -> (MockServer, InterviewClient) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(template).mount(&server).await;
    let client = client(&server);
    (server, client)
}

fn ok(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn pad() -> Value {
    json!({
        "status": "OK", "id": "QX7Z2MPL", "title": "Noor - Screen", "state": "pending", "owner_email": "lead@example.com",
        "language": null, "private": true, "execution_enabled": "true", "contents": null, "participants": ["Noor", "lead"],
        "events": "https://app.coderpad.io/api/pads/QX7Z2MPL/events", "notes": "Reference: x/y", "drawing": null,
        "created_at": "2026-02-03T10:00:01Z", "updated_at": "2026-02-03T10:00:01.250-07:00", "ended_at": null,
        "url": "https://coderpad.io/QX7Z2MPL", "playback": "https://coderpad.io/QX7Z2MPL/playback", "type": "live",
        "question_ids": [314], "pad_environment_ids": [21, 22], "active_environment_id": 21, "team": null
    })
}

fn with(mut base: Value, part: &Value) -> Value {
    base.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
    base
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn create(client: &InterviewClient) -> Result<PadRecord, CreateError> {
    let permit = client.permit().await;
    client
        .create_pad(
            SendDeadline { permit, leave_by: soon() },
            &NewPad { title: "T".into(), ..NewPad::default() },
        )
        .await
}

#[tokio::test]
async fn a_pad_is_read_with_the_key_as_a_token() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/api/pads/QX7Z2MPL"))
        .and(header("authorization", format!("Token token=\"{KEY}\"").as_str()))
        .respond_with(ok(&pad()))
        .expect(1)
        .mount(&server)
        .await;
    let found = client(&server).pad("QX7Z2MPL").await.unwrap();
    assert_eq!((found.id.as_str(), found.kind), ("QX7Z2MPL", PadKind::Live));
    assert_eq!(found.url, "https://coderpad.io/QX7Z2MPL");
    assert_eq!(found.playback.as_deref(), Some("https://coderpad.io/QX7Z2MPL/playback"));
    assert_eq!(found.created_at.to_string(), "2026-02-03T10:00:01Z");
    assert_eq!(found.updated_at.unwrap().to_string(), "2026-02-03T17:00:01.25Z");
    assert_eq!(found.notes, "Reference: x/y");
    assert_eq!(found.participants, ["Noor", "lead"]);
    assert_eq!(found.environment_ids, [21, 22]);
}

#[rstest]
#[case::pending(json!({"state": "pending"}), false, false, false)]
#[case::started(json!({"state": "started"}), true, false, false)]
#[case::ended(json!({"state": "started", "ended_at": "2026-02-03T11:00:00Z"}), true, true, false)]
#[case::ended_by_state(json!({"state": "ended"}), true, true, false)]
#[case::deleted(json!({"state": "pending", "deleted": true}), false, false, true)]
#[case::deleted_by_state(json!({"state": "deleted"}), false, false, true)]
#[tokio::test]
async fn the_life_of_a_pad_is_read_from_state_and_times(
    #[case] part: Value,
    #[case] started: bool,
    #[case] ended: bool,
    #[case] deleted: bool,
) {
    let (_server, client) = answering(ok(&with(pad(), &part))).await;
    let found = client.pad("QX7Z2MPL").await.unwrap();
    assert_eq!((found.is_started(), found.is_ended(), found.is_deleted()), (started, ended, deleted));
}

#[rstest]
#[case("live", PadKind::Live)]
#[case("interview", PadKind::Live)]
#[case("take_home", PadKind::TakeHome)]
#[case("take-home", PadKind::TakeHome)]
#[case("TakeHome", PadKind::TakeHome)]
#[case("sandbox", PadKind::Unknown)]
#[tokio::test]
async fn kinds_are_read_in_every_spelling(#[case] text: &str, #[case] kind: PadKind) {
    let (_server, client) = answering(ok(&with(pad(), &json!({"type": text})))).await;
    assert_eq!(client.pad("QX7Z2MPL").await.unwrap().kind, kind);
}

#[rstest]
#[case::javascript(json!({"url": "javascript:alert(1)"}))]
#[case::no_url(json!({"url": null}))]
#[case::relative(json!({"url": "/QX7Z2MPL"}))]
#[case::bad_id(json!({"id": "../quota"}))]
#[case::long_id(json!({"id": "x".repeat(65)}))]
#[case::no_id(json!({"id": null}))]
#[case::no_time(json!({"created_at": null}))]
#[case::odd_time(json!({"created_at": "yesterday"}))]
#[case::error_inside(json!({"status": "ERROR", "message": "no"}))]
#[tokio::test]
async fn an_implausible_pad_is_rejected(#[case] part: Value) {
    let (_server, client) = answering(ok(&with(pad(), &part))).await;
    assert_eq!(client.pad("QX7Z2MPL").await.unwrap_err().class, ErrorKind::Unavailable);
    assert!(matches!(create(&client).await, Err(CreateError::OutcomeUnknown(_))));
}

#[tokio::test]
async fn a_live_pad_is_created_with_a_flat_form() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/api/pads/"))
        .and(header("content-type", "application/x-www-form-urlencoded"))
        .and(header("authorization", format!("Token token=\"{KEY}\"").as_str()))
        .and(body_string(
            "title=Noor+%26+Co+-+%C3%9C&language=python3&notes=Reference%3A+x%2Fy%0ACandidate%3A+z\
             &private=true&user_email=lead%2Bpads%40example.com",
        ))
        .respond_with(ok(&pad()))
        .expect(1)
        .mount(&server)
        .await;
    let client = client(&server);
    let new = NewPad {
        title: "Noor & Co - Ü".into(),
        language: Some("python3".into()),
        notes: "Reference: x/y\nCandidate: z".into(),
        private: Some(true),
        owner_email: Some("lead+pads@example.com".into()),
        ..NewPad::default()
    };
    let permit = client.permit().await;
    let made = client.create_pad(SendDeadline { permit, leave_by: soon() }, &new).await.unwrap();
    assert_eq!(made.id, "QX7Z2MPL");
}

#[tokio::test]
async fn a_take_home_has_two_hours() {
    let server = MockServer::start().await;
    Mock::given(body_string("title=T&question_id=314&notes=&take_home=true&take_home_time_limit=120"))
        .respond_with(ok(&with(pad(), &json!({"type": "take_home"}))))
        .expect(1)
        .mount(&server)
        .await;
    let client = client(&server);
    let new = NewPad { title: "T".into(), question_id: Some(314), take_home: true, ..NewPad::default() };
    let permit = client.permit().await;
    assert_eq!(
        client.create_pad(SendDeadline { permit, leave_by: soon() }, &new).await.unwrap().kind,
        PadKind::TakeHome
    );
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    NotSent,
    Refused,
    OutcomeUnknown,
}

fn kind_of(result: Result<PadRecord, CreateError>) -> Kind {
    match result.unwrap_err() {
        CreateError::NotSent(_) => Kind::NotSent,
        CreateError::Refused(_) => Kind::Refused,
        CreateError::OutcomeUnknown(_) => Kind::OutcomeUnknown,
    }
}

#[rstest]
#[case(302, Kind::OutcomeUnknown)]
#[case(400, Kind::Refused)]
#[case(401, Kind::Refused)]
#[case(403, Kind::Refused)]
#[case(404, Kind::Refused)]
#[case(408, Kind::OutcomeUnknown)]
#[case(422, Kind::Refused)]
#[case(429, Kind::Refused)]
#[case(500, Kind::OutcomeUnknown)]
#[case(502, Kind::OutcomeUnknown)]
#[case(503, Kind::OutcomeUnknown)]
#[tokio::test]
async fn every_status_of_creating_is_certain_or_unknown(#[case] status: u16, #[case] kind: Kind) {
    let template =
        ResponseTemplate::new(status).set_body_json(json!({"status": "ERROR", "message": "Over quota"}));
    let (server, client) = answering(template).await;
    let result = create(&client).await;
    if let Err(error) = &result {
        assert_eq!(error.error().status, Some(status));
        assert_eq!(error.error().is_quota(), status == 429);
        assert_eq!(
            error.to_string(),
            format!("CoderPad Interview: POST /pads answered {status}: Over quota")
        );
    }
    assert_eq!(kind_of(result), kind);
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_a_rate_429_pauses_the_account() {
    let (_server, client) = answering(
        ResponseTemplate::new(429).set_body_json(json!({"status": "ERROR", "message": "Over quota"})),
    )
    .await;
    let began = Instant::now();
    for _ in 0..3 {
        assert!(create(&client).await.unwrap_err().error().is_quota());
    }
    // With a backoff after each answer, it would take 3 s.
    assert!(began.elapsed() < Duration::from_millis(2500));
    let silent = ResponseTemplate::new(429).set_body_string("<html>");
    let (_server, client) = answering(silent).await;
    // contract C3a
    assert!(!create(&client).await.unwrap_err().error().is_quota(), "something in between limits the rate");
    let of_rate =
        ResponseTemplate::new(429).set_body_json(json!({"status": "ERROR", "message": "Too many requests"}));
    let (_server, client) = answering(of_rate).await;
    let began = Instant::now();
    let error = create(&client).await.unwrap_err();
    assert!(!error.error().is_quota());
    let _ = create(&client).await;
    assert!(began.elapsed() >= Duration::from_millis(950));
}

#[tokio::test]
async fn a_create_after_its_send_deadline_is_not_sent() {
    let (server, client) = answering(ok(&pad())).await;
    for left in [Duration::ZERO, Duration::from_secs(4)] {
        let permit = client.permit().await;
        let result = client
            .create_pad(SendDeadline { permit, leave_by: Instant::now() + left }, &NewPad::default())
            .await;
        assert_eq!(kind_of(result), Kind::NotSent);
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_create_without_connection_was_not_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(kind_of(create(&client_at(&url, Duration::from_secs(5))).await), Kind::NotSent);
}

#[tokio::test]
async fn plain_text_instead_of_tls_is_reported() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/api", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            bytes(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await;
        }
    });
    let error = client_at(&url, Duration::from_secs(5)).quota().await.unwrap_err();
    assert_eq!(error.class, ErrorKind::Unavailable);
    assert!(error.message.starts_with("no TLS connection") && error.message.contains("Check"), "{error}");
}

#[tokio::test]
async fn a_create_whose_tls_fails_was_not_sent() {
    let (url, _) = server(silence).await;
    let url = url.as_str().replace("http://", "https://");
    // The plain server waits for a complete request, which never arrives, so the handshake times out.
    let result = create(&client_at(&url, Duration::from_secs(8))).await;
    let CreateError::NotSent(error) = result.unwrap_err() else { unreachable!() };
    assert_eq!(error.message, "no connection within 5 s");
}

#[tokio::test]
async fn lost_answers_of_creating_are_unknown_and_never_repeated() {
    let (url, seen) = server(silence).await;
    let client = client_at(url.as_str(), Duration::from_millis(300));
    let result = create(&client).await;
    assert_eq!(result.as_ref().unwrap_err().error().message, "timed out after 0.3 s");
    assert_eq!(kind_of(result), Kind::OutcomeUnknown);
    assert_eq!(seen.requests(), 1);

    for (url, seen) in [
        server(reset).await,
        server(|stream| bytes(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec())).await,
        server(|stream| bytes(stream, b"SSH-2.0-hello\r\n".to_vec())).await,
    ] {
        let client = client_at(url.as_str(), Duration::from_secs(5));
        assert_eq!(kind_of(create(&client).await), Kind::OutcomeUnknown);
        assert_eq!(seen.requests(), 1);
    }
}

// contract S2a
#[rstest]
#[case::absolute("{server}/api/organization/pads?cursor=eyJ%2B&x=1")]
#[case::host("https://evil.example.com/api/organization/pads?cursor=eyJ%2B&x=1")]
#[case::port("http://127.0.0.1:1/api/organization/pads?cursor=eyJ%2B&x=1")]
#[case::user("https://me:pw@evil.example.com/api/organization/pads?cursor=eyJ%2B&x=1")]
#[case::path("{server}/api/pads/?cursor=eyJ%2B&x=1#top")]
#[case::dots("{server}/api/organization/pads/../../other?cursor=eyJ%2B&x=1")]
#[case::no_scheme("//evil.example.com/api/organization/pads?cursor=eyJ%2B&x=1")]
#[case::relative_path("/api/organization/pads?cursor=eyJ%2B&x=1")]
#[case::relative_name("pads?cursor=eyJ%2B&x=1")]
#[case::query("?cursor=eyJ%2B&x=1")]
#[tokio::test]
async fn only_the_query_of_a_next_page_is_used(#[case] next: &str) {
    let server = MockServer::start().await;
    let next = next.replace("{server}", &server.uri());
    Mock::given(path("/api/organization/pads"))
        .and(query_param("sort", "updated_at,desc"))
        .respond_with(ok(&json!({"status": "OK", "pads": [pad()], "total": 2,
            "next_page": next})))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/api/organization/pads"))
        .and(query_param("cursor", "eyJ+"))
        .and(query_param("x", "1"))
        .respond_with(ok(&json!({"status": "OK", "pads": [], "next_page": null, "total": 2})))
        .expect(1)
        .mount(&server)
        .await;
    let client = client(&server);
    let first = client.organization_pads(None, PadSort::Updated).await.unwrap();
    assert_eq!(first.pads.len(), 1);
    let second = client.organization_pads(first.next.as_ref(), PadSort::Updated).await.unwrap();
    assert_eq!(second, PadPage { pads: vec![], left_out: vec![], next: None });
}

#[rstest]
#[case::no_query("https://app.coderpad.io/api/organization/pads")]
#[case::empty_query("?")]
#[case::not_an_address("https://[")]
#[tokio::test]
async fn a_next_page_without_query_is_not_the_end_of_the_list(#[case] next: &str) {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ok(&json!({"status": "OK", "pads": [], "next_page": next})))
        .mount(&server)
        .await;
    let error = client(&server).organization_pads(None, PadSort::Created).await.unwrap_err();
    assert_eq!(error.class, ErrorKind::Unavailable);
    assert!(error.message.starts_with("the address of the next page has no query"), "{error}");
}

// contract S2a
#[rstest]
#[case::created_at(json!({"created_at": null}), false)]
#[case::question_ids(json!({"question_ids": ["12"]}), true)]
#[case::participants(json!({"participants": [null]}), true)]
#[case::updated_at(json!({"updated_at": "-009999-01-02T01:59:59Z"}), true)]
#[case::far_ahead(json!({"updated_at": "9999-12-30T22:00:00Z"}), true)]
#[case::no_time(json!({"ended_at": [], "updated_at": 5}), true)]
#[case::odd_creation(json!({"created_at": "-009999-01-02T01:59:59Z"}), false)]
#[case::no_url(json!({"url": null}), true)]
#[case::odd_url(json!({"url": "ftp://x", "playback": 1}), true)]
#[case::no_id(json!({"id": null}), false)]
#[case::odd_id(json!({"id": "a/b"}), false)]
#[case::odd_notes(json!({"notes": 7}), false)]
#[case::odd_members(json!({"title": 1, "state": {}, "type": [], "language": 3, "owner_email": 0,
    "pad_environment_ids": ["x", null, 5], "contents": [], "deleted": "no"}), true)]
#[tokio::test]
async fn odd_rows_are_left_out_and_odd_members_dropped_beside_good_rows(
    #[case] part: Value,
    #[case] is_kept: bool,
) {
    let odd = with(with(pad(), &json!({"id": "ODD"})), &part);
    let (_server, client) = answering(ok(&json!({"pads": [odd, pad()]}))).await;
    let page = client.organization_pads(None, PadSort::Created).await.unwrap();
    assert_eq!(page.pads.last().unwrap().id, "QX7Z2MPL");
    assert_eq!((page.pads.len(), page.left_out.len()), if is_kept { (2, 0) } else { (1, 1) });
}

// contract X5b: a row that is left out may be the pad that a search looks for.
#[tokio::test]
async fn the_notes_of_rows_that_are_left_out_are_kept_as_far_as_they_can_be_read() {
    let rows = json!([null, "pad", with(pad(), &json!({"id": null})), {"id": "a"}, with(pad(), &json!({"notes": [1]}))]);
    let (_server, client) = answering(ok(&json!({"pads": rows}))).await;
    let page = client.organization_pads(None, PadSort::Created).await.unwrap();
    let notes: Vec<_> = page.left_out.iter().map(|row| row.notes.as_deref()).collect();
    assert_eq!(notes, [None, None, Some("Reference: x/y"), Some(""), None]);
    assert!(page.pads.is_empty());
    for answer in [json!({"pads": null}), json!({"pads": {}}), json!([]), json!({"pads": [], "next_page": 2})]
    {
        let (_server, client) = answering(ok(&answer)).await;
        let error = client.organization_pads(None, PadSort::Created).await.unwrap_err();
        assert_eq!(error.class, ErrorKind::Unavailable, "{answer}");
    }
}

#[tokio::test]
async fn a_single_pad_needs_its_identity_and_nothing_that_costs_money_is_guessed() {
    for part in [json!({"id": 5}), json!({"created_at": null}), json!({"notes": 7}), json!({"url": 8})] {
        let (_server, client) = answering(ok(&with(pad(), &part))).await;
        assert_eq!(client.pad("QX7Z2MPL").await.unwrap_err().class, ErrorKind::Unavailable, "{part}");
    }
    let (_server, client) = answering(ok(&with(pad(), &json!({"participants": [null, "Noor"]})))).await;
    assert_eq!(client.pad("QX7Z2MPL").await.unwrap().participants, ["Noor"]);
    let (_server, client) = answering(ok(&json!({"pads_remaining": "none", "pads_used": 3}))).await;
    assert_eq!(client.quota().await.unwrap_err().class, ErrorKind::Unavailable);
}

#[tokio::test]
async fn ending_and_deleting_are_updates() {
    let server = MockServer::start().await;
    for form in ["ended=true", "deleted=true"] {
        Mock::given(method("PUT"))
            .and(path("/api/pads/QX7Z2MPL"))
            .and(body_string(form))
            .respond_with(ok(&json!({"status": "OK"})))
            .expect(1)
            .mount(&server)
            .await;
    }
    let here = client(&server);
    here.end_pad("QX7Z2MPL").await.unwrap();
    here.delete_pad("QX7Z2MPL").await.unwrap();

    let answer = json!({"status": "ERROR", "message": "Resource not found"});
    let (_server, gone) = answering(ResponseTemplate::new(404).set_body_json(&answer)).await;
    assert_eq!(gone.end_pad("QX7Z2MPL").await.unwrap_err().class, ErrorKind::NotFound);
    gone.delete_pad("QX7Z2MPL").await.unwrap();

    let (_server, broken) = answering(ResponseTemplate::new(500)).await;
    assert_eq!(broken.delete_pad("QX7Z2MPL").await.unwrap_err().class, ErrorKind::OutcomeUnknown);
}

/// contract C3a: neither an empty 404 of a load balancer nor a firewall's page counts as a deletion or a refusal.
#[tokio::test]
async fn answers_of_a_proxy_prove_nothing() {
    for body in ["", "<html>Not here</html>", "{\"message\": \"Not Found\"}"] {
        for status in [400, 401, 403, 404, 410] {
            let (_server, client) = answering(ResponseTemplate::new(status).set_body_string(body)).await;
            assert_eq!(
                client.pad("QX7Z2MPL").await.unwrap_err().class,
                ErrorKind::Unavailable,
                "{status} {body}"
            );
            let deleted = client.delete_pad("QX7Z2MPL").await;
            assert_eq!(deleted.unwrap_err().class, ErrorKind::OutcomeUnknown, "{status} {body}");
            assert_eq!(kind_of(create(&client).await), Kind::OutcomeUnknown, "{status} {body}");
        }
    }
}

#[tokio::test]
async fn ids_cannot_change_the_path() {
    let (server, client) = answering(ok(&pad())).await;
    for id in ["", "..", ".", "a/b", "a?b", "a%2fb", &"x".repeat(65)] {
        assert_eq!(client.pad(id).await.unwrap_err().class, ErrorKind::Invalid);
        assert_eq!(client.delete_pad(id).await.unwrap_err().class, ErrorKind::Invalid);
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn quotas_are_read_with_and_without_a_limit() {
    let limited = json!({"status": "OK", "pads_used": 12, "unlimited": false, "pads_remaining": 8,
        "billing_cycle_pad_limit": 20, "quota_reset_at": "2026-01-25T14:51:37.084-08:00"});
    let (_server, client) = answering(ok(&limited)).await;
    let quota = client.quota().await.unwrap();
    assert_eq!((quota.unlimited, quota.used, quota.remaining, quota.limit), (false, 12, Some(8), Some(20)));
    assert_eq!(quota.overages_enabled, None);
    let unlimited = json!({"status": "OK", "pads_used": 270, "unlimited": true, "overages_enabled": false});
    let (_server, client) = answering(ok(&unlimited)).await;
    let quota = client.quota().await.unwrap();
    assert_eq!((quota.unlimited, quota.remaining, quota.overages_enabled), (true, None, Some(false)));
}

#[tokio::test]
async fn the_organization_and_its_users_are_read() {
    let users = json!([{"email": "Lead@Example.com", "name": "lead", "teams": []}, {"email": null}]);
    let (_server, client) =
        answering(ok(&json!({"status": "OK", "organization_name": "Acme", "user_count": 1, "users": users})))
            .await;
    let organization = client.organization().await.unwrap();
    assert_eq!(organization.name.as_deref(), Some("Acme"));
    assert_eq!(organization.user_emails, ["Lead@Example.com"]);
    let found = client.user_by_email("lead@example.com").await.unwrap();
    assert_eq!(found.unwrap().email, "Lead@Example.com");
    assert_eq!(client.user_by_email("other@example.com").await.unwrap(), None);
    let answer = json!({"status": "ERROR", "message": "Resource not found"});
    let (_server, client) = answering(ResponseTemplate::new(404).set_body_json(answer)).await;
    assert_eq!(client.user_by_email("other@example.com").await.unwrap(), None);
}

#[rstest]
#[case::any(json!({"pad_type": "any"}), true, true)]
#[case::live(json!({"pad_type": "live"}), true, false)]
#[case::take_home(json!({"pad_type": "take_home"}), false, true)]
#[case::spelled(json!({"pad_type": "take-home", "take_home": false}), false, true)]
#[case::missing(json!({"pad_type": null}), true, false)]
#[case::missing_take_home(json!({"pad_type": null, "take_home": true}), false, true)]
#[case::draft(json!({"pad_type": "any", "is_draft": true}), false, false)]
#[tokio::test]
async fn questions_fit_kinds_of_pads(#[case] part: Value, #[case] live: bool, #[case] take_home: bool) {
    let question = with(json!({"status": "OK", "id": 314, "title": "Lifts", "take_home": false}), &part);
    let server = MockServer::start().await;
    Mock::given(path("/api/questions/314")).respond_with(ok(&question)).mount(&server).await;
    let found = client(&server).question(314).await.unwrap();
    assert_eq!((found.id, found.title.as_str()), (314, "Lifts"));
    assert_eq!((found.usable_for(PadKind::Live), found.usable_for(PadKind::TakeHome)), (live, take_home));
}

#[tokio::test]
async fn events_and_environments_are_read() {
    let server = MockServer::start().await;
    Mock::given(path("/api/pads/QX7Z2MPL/events"))
        .and(query_param("sort", "created_at,asc"))
        .respond_with(ok(&json!({"status": "OK", "events": [
            {"message": "m", "kind": "started", "metadata": null, "user_name": null, "created_at": "2026-02-03T10:05:00Z"}
        ], "total": 1})))
        .mount(&server)
        .await;
    Mock::given(path("/api/pad_environments/21"))
        .respond_with(ok(&json!({"status": "OK", "id": 21, "language": "java", "file_contents": [
            {"path": "a/A.java", "contents": "class A {}"}, {"binary": true, "contents": null}
        ]})))
        .mount(&server)
        .await;
    let client = client(&server);
    let events = client.pad_events("QX7Z2MPL").await.unwrap();
    assert_eq!((events[0].kind.as_str(), events.len()), ("started", 1));
    let environment = client.environment(21).await.unwrap();
    assert_eq!(environment.language.as_deref(), Some("java"));
    assert_eq!(environment.files[0].contents.as_deref(), Some("class A {}"));
    assert_eq!(environment.files[1], EnvironmentFile { path: String::new(), contents: None });
}

#[tokio::test]
async fn the_key_is_never_shown() {
    let answer = json!({"status": "ERROR", "message": format!("bad {KEY}")});
    let (_server, client) = answering(ResponseTemplate::new(401).set_body_json(answer)).await;
    let error = client.quota().await.unwrap_err();
    assert_eq!((error.class, error.message.as_str()), (ErrorKind::Unauthorized, "bad (key)"));
    assert!(!format!("{client:?} {error:?}").contains(KEY));
}
