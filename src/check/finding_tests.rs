//! Each finding, as a snapshot and as a table of levels.

use super::calls::Answer;
use super::network::{self, Route};
use super::report::{Finding, Level, Report, Section};
use super::service_findings::Endpoint;
use super::target::Rule;
use super::{coderpad_findings as coderpad, lever_findings as lever};
use ::coderpad::{PadQuota, PadRecord, PadSort};
use ::lever::{LeverStage, STAGE_CHANGE_EVENT, Webhook};
use http_client::{AnswerHead, ErrorKind, Service, ServiceError};
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};
use services::coderpad::{OrganizationRecord, QuestionRecord};
use std::time::Duration;
use testkit::assert_snapshot;
use url::Url;

const NOW: &str = "2026-01-02T12:00:00Z";
/// Self-signed certificate of CN = api.example.com, O = Example Proxy, in DER and base64.
const CERTIFICATE: &str = include_str!("test_certificate.base64");

fn head(ahead: i64) -> AnswerHead {
    let now: Timestamp = NOW.parse().unwrap();
    AnswerHead {
        status: 200,
        content_type: None,
        date: Some(now),
        received_at: now + SignedDuration::from_secs(ahead),
        elapsed: Duration::from_millis(85),
        certificate: None,
    }
}

fn route(url: &str) -> Route {
    Route { base: Url::parse(url).unwrap(), proxy: None, addresses: Ok(2) }
}

fn row(id: &str, stage: &str, tags: &[&str]) -> Value {
    json!({"id": id, "name": "Ada Example", "stage": stage, "tags": tags, "links": [], "archived": null,
        "stageChanges": [{"toStageId": stage, "updatedAt": 1_750_000_000_000_i64}], "updatedAt": 1_750_000_000_000_i64,
        "confidentiality": "non-confidential"})
}

fn page(rows: &[Value]) -> lever::Page {
    lever::Page::read(&json!({"data": rows, "hasNext": false})).unwrap()
}

fn pad(id: &str, changes: &Value) -> Value {
    let mut pad = json!({"id": id, "title": "t", "state": "ended", "type": "live", "notes": "n", "owner_email": "a@b.c",
        "created_at": "2026-01-02T10:00:00Z", "updated_at": "2026-01-02T11:00:00Z", "ended_at": "2026-01-02T11:00:00Z",
        "url": "https://app.coderpad.io/X"});
    for (name, value) in changes.as_object().unwrap() {
        pad[name] = value.clone();
    }
    pad
}

fn rows_of(pads: &[Value]) -> Vec<Finding> {
    let records: Vec<PadRecord> = pads.iter().map(|pad| PadRecord::from_json(pad).unwrap()).collect();
    coderpad::pad_rows(&records, pads)
}

fn endpoint() -> Url {
    Url::parse("https://app.coderpad.io/api/organization/pads").unwrap()
}

fn list(pads: &[Value], next: Value) -> Value {
    json!({"status": "OK", "pads": pads, "next_page": next})
}

fn rule(configuration: &str) -> Rule {
    Rule { configuration: configuration.to_owned(), take_home: Some(true), ..Rule::default() }
}

fn question(pad_type: &str, is_draft: bool) -> Result<QuestionRecord, &'static str> {
    Ok(QuestionRecord {
        id: 7,
        title: String::new(),
        pad_type: Some(pad_type.into()),
        take_home: false,
        is_draft,
    })
}

fn quota(remaining: i64, overages_enabled: bool) -> PadQuota {
    PadQuota {
        unlimited: false,
        used: 100 - remaining,
        remaining: Some(remaining),
        limit: Some(100),
        overages_enabled: Some(overages_enabled),
    }
}

fn refused(class: ErrorKind, service: Service, status: u16, need: Level) -> Finding {
    let error = ServiceError::new(class, service, "GET /stages", Some(status), "no");
    let permission = "The key lacks the permission \"Find all stages\". Create a new key.";
    let endpoint =
        Endpoint { operation: "GET /stages", need, permission, place: "Secret acme, key lever-api-key" };
    endpoint.finding(&Answer { result: Err(error), head: None }, String::new)
}

/// All cases: name, expected level of the worst finding, and the findings.
fn cases() -> Vec<(&'static str, Level, Vec<Finding>)> {
    use Level::{Failure, Ok as Fine, Warning};
    let https = route("https://api.lever.co/v1");
    let unreachable = |message: &str| {
        ServiceError::new(ErrorKind::Unavailable, Service::Lever, "GET /stages", None, message)
    };
    let down = unreachable("no connection: refused");
    let unknown_issuer = unreachable("no TLS connection: invalid peer certificate: UnknownIssuer");
    let proxied = Route { proxy: Some("proxy:3128".into()), ..https.clone() };
    let network = |route: &Route, ahead| network::findings(Service::Lever, route, Ok(&head(ahead)));
    let with_certificate = AnswerHead { certificate: Some(base64(CERTIFICATE)), ..head(0) };
    let no_date = AnswerHead { date: None, ..head(0) };
    let stages = [("lead-new", "New lead"), ("s-1", "Phone Screen"), ("s-2", "Twice"), ("s-3", "Twice")]
        .map(|(id, name)| LeverStage { id: id.into(), name: name.into() });
    let stage = |configuration: &str, name: &str| {
        lever::stages(&stages, &[Rule { stage: Some(name.into()), ..rule(configuration) }])
    };
    let rows = |rows: &[Value]| lever::rows(&json!({"data": rows, "hasNext": false}));
    let edited = |name: &str, value: Value| {
        let mut odd = row("o-1", "s-1", &["t"]);
        odd[name] = value;
        odd
    };
    let all = page(&[row("o-1", "s-1", &["t"]), row("o-2", "s-1", &["t"]), row("o-3", "s-2", &["t"])]);
    let filter = |rows: &[Value], inherited| {
        let page = page(rows);
        let filtered =
            lever::Filtered { what: "filter".into(), stage_id: "s-1", tag: Some("t"), page: &page };
        vec![filtered.finding(&all, inherited)]
    };
    let [one, two] = [row("o-1", "s-1", &["t"]), row("o-2", "s-1", &["t"])];
    let single = |changed: Value| {
        let listed = page(std::slice::from_ref(&one));
        vec![lever::single(&listed.rows[0], &json!({ "data": changed }))]
    };
    let webhook = |url: &str| Webhook {
        id: "w".into(),
        url: url.into(),
        event: STAGE_CHANGE_EVENT.into(),
        created_at_ms: None,
    };
    let url = "https://hooks.example.com/webhooks/lever/hiring/acme";
    let ours = [webhook(url), webhook(url), webhook("https://other.example.com")];
    let webhooks = |count: usize, managed| vec![lever::webhooks(&ours[2 - count..], Some(url), managed)];
    let sorted =
        [pad("A", &json!({})), pad("B", &json!({"updated_at": "2026-01-02T10:30:00Z", "ended_at": null}))];
    let reversed: Vec<Value> = sorted.iter().rev().cloned().collect();
    let next = |address: &str| vec![coderpad::next_page(&list(&sorted, json!(address)), &endpoint())];
    let second = |pads: &[Value]| {
        let first = list(&sorted, json!("https://app.coderpad.io/api/organization/pads?page=2"));
        let first = coderpad::read_pads(&first, &endpoint()).0.unwrap();
        vec![coderpad::second_page(&first, &list(pads, Value::Null), &endpoint(), PadSort::Updated)]
    };
    let pads = |pads: &[Value]| coderpad::pads(&list(pads, Value::Null), &endpoint(), PadSort::Updated);
    let organization = |name: Option<&str>| {
        let user_emails = vec!["a@b.c".to_owned()];
        vec![coderpad::organization(Ok(OrganizationRecord {
            name: name.map(str::to_owned),
            id: None,
            user_emails,
        }))]
    };
    let events = |kind: &str| {
        let event = json!({"kind": kind, "created_at": NOW, "user_name": "Ada"});
        vec![coderpad::events(&json!({"status": "OK", "events": [event]}))]
    };
    vec![
        ("network as expected", Fine, network(&https, 1)),
        (
            "through a proxy",
            Fine,
            network(
                &Route { proxy: Some("proxy:3128".into()), addresses: Err("no".into()), ..https.clone() },
                -2,
            ),
        ),
        ("certificate of a proxy", Fine, network::findings(Service::Lever, &https, Ok(&with_certificate))),
        ("no Date header", Fine, network::findings(Service::Lever, &https, Ok(&no_date))),
        ("local http address", Fine, network(&route("http://127.0.0.1:9001/v1"), 0)),
        ("other http address", Failure, network(&route("http://lever.example.com/v1"), 0)),
        (
            "unknown host",
            Failure,
            network::findings(
                Service::Lever,
                &Route { addresses: Err("failed to lookup address information".into()), ..https.clone() },
                Err(&down),
            ),
        ),
        ("refused connection", Failure, network::findings(Service::Lever, &https, Err(&down))),
        ("refused by a proxy", Failure, network::findings(Service::Lever, &proxied, Err(&down))),
        ("unknown issuer", Failure, network::findings(Service::Lever, &https, Err(&unknown_issuer))),
        ("clock 31 s ahead", Warning, network(&https, 31)),
        ("clock 6 minutes behind", Failure, network(&https, -360)),
        (
            "key not accepted by Lever",
            Failure,
            vec![refused(ErrorKind::Unauthorized, Service::Lever, 401, Failure)],
        ),
        (
            "key not accepted by CoderPad",
            Failure,
            vec![refused(ErrorKind::Unauthorized, Service::Interview, 401, Failure)],
        ),
        (
            "required permission missing",
            Failure,
            vec![refused(ErrorKind::Forbidden, Service::Lever, 403, Failure)],
        ),
        (
            "useful permission missing",
            Warning,
            vec![refused(ErrorKind::Forbidden, Service::Lever, 403, Warning)],
        ),
        ("unneeded permission missing", Fine, vec![refused(ErrorKind::Forbidden, Service::Lever, 403, Fine)]),
        ("too many requests", Warning, vec![refused(ErrorKind::Throttled, Service::Lever, 429, Failure)]),
        ("wrong path", Failure, vec![refused(ErrorKind::NotFound, Service::Interview, 404, Failure)]),
        ("page of a proxy", Failure, vec![refused(ErrorKind::Unavailable, Service::Lever, 403, Failure)]),
        ("known stage", Fine, stage("", "Phone Screen")),
        ("unknown stage of the command line", Failure, stage("", "phone screen")),
        ("unknown stage of a configuration", Failure, stage("phone-screen", "Onsite")),
        ("stage with an ambiguous name", Failure, stage("phone-screen", "Twice")),
        ("rows as expected", Fine, rows(&[row("o-1", "s-1", &["t"])])),
        ("no rows", Warning, rows(&[])),
        ("no list", Failure, lever::rows(&json!({"message": "hello"}))),
        ("row without a usable ID", Warning, rows(&[one.clone(), edited("id", json!(7))])),
        ("member that cannot be read", Warning, rows(&[edited("tags", json!(["t", 7]))])),
        ("no stageChanges", Warning, rows(&[edited("stageChanges", Value::Null), two.clone()])),
        ("last of stageChanges is not the stage", Warning, rows(&[edited("stage", json!("s-9"))])),
        ("no stage", Failure, rows(&[edited("stage", Value::Null)])),
        ("unknown confidentiality", Warning, rows(&[edited("confidentiality", json!("secret"))])),
        ("opportunity equals its row", Fine, single(one.clone())),
        ("opportunity changed meanwhile", Fine, single(edited("updatedAt", json!(1_750_000_000_001_i64)))),
        ("opportunity differs from its row", Warning, single(edited("links", json!(["https://x"])))),
        ("opportunity cannot be read", Failure, single(json!("gone"))),
        ("filter as expected", Fine, filter(&[one.clone(), two.clone()], None)),
        ("filter leaves out candidates", Warning, filter(std::slice::from_ref(&one), None)),
        ("filter leaves out inherited tags", Warning, filter(std::slice::from_ref(&one), Some(true))),
        ("filter is ignored", Warning, filter(&[one.clone(), row("o-4", "s-9", &[])], None)),
        ("pages as expected", Fine, vec![lever::paging(&["a"], &["b"], &["a", "b", "c"])]),
        ("order changed", Fine, vec![lever::paging(&["a"], &["b"], &["b", "a", "c"])]),
        ("row on two pages", Warning, vec![lever::paging(&["a", "b"], &["b"], &["a", "b"])]),
        (
            "filter by time as expected",
            Fine,
            vec![lever::time_filter("filter updated_at_start", 1, &all, |row| row.updated_at_ms)],
        ),
        (
            "filter by time is ignored",
            Warning,
            vec![lever::time_filter("filter updated_at_start", i64::MAX, &all, |row| row.updated_at_ms)],
        ),
        ("no webhook URL given", Fine, vec![lever::webhooks(&ours, None, false)]),
        ("no webhook of ours", Fine, webhooks(0, false)),
        ("no managed webhook", Failure, webhooks(0, true)),
        ("one webhook", Fine, webhooks(1, true)),
        ("two webhooks", Warning, webhooks(2, true)),
        ("webhook URL of the operator", Fine, vec![lever::reach(&Ok(405))]),
        ("webhook URL without a replica", Warning, vec![lever::reach(&Ok(503))]),
        ("webhook URL of something else", Failure, vec![lever::reach(&Ok(200))]),
        ("webhook URL not reached", Warning, vec![lever::reach(&Err("connection refused".into()))]),
        ("user may create pads", Fine, vec![coderpad::user(&json!({"allow_pad_creation": true}))]),
        ("user may not create pads", Failure, vec![coderpad::user(&json!({"allow_pad_creation": false}))]),
        ("user without allow_pad_creation", Warning, vec![coderpad::user(&json!({}))]),
        ("organization", Fine, organization(Some("Northwind"))),
        ("no organization", Failure, organization(None)),
        (
            "unreadable organization",
            Failure,
            vec![coderpad::organization(Err("the organization's name cannot be read"))],
        ),
        (
            "unlimited quota",
            Fine,
            vec![coderpad::quota(&PadQuota {
                unlimited: true,
                remaining: None,
                limit: None,
                ..quota(99, false)
            })],
        ),
        ("quota", Fine, vec![coderpad::quota(&quota(50, false))]),
        ("low quota", Warning, vec![coderpad::quota(&quota(9, false))]),
        ("billed pads", Warning, vec![coderpad::quota(&quota(0, true))]),
        ("no quota", Failure, vec![coderpad::quota(&quota(0, false))]),
        ("list of pads", Fine, pads(&sorted)),
        ("one pad", Fine, pads(&sorted[..1])),
        ("pads in another order", Warning, pads(&reversed)),
        ("pads without updated_at", Warning, pads(&[pad("A", &json!({"updated_at": null}))])),
        ("unreadable row of pads", Warning, pads(&[sorted[0].clone(), pad("B", &json!({"created_at": 7}))])),
        ("no list of pads", Failure, pads_of_nothing()),
        ("no next page", Fine, vec![coderpad::next_page(&list(&sorted, Value::Null), &endpoint())]),
        ("next page by number", Fine, next("https://app.coderpad.io/api/organization/pads?page=2")),
        ("next page by cursor", Fine, next("https://app.coderpad.io/api/organization/pads?cursor=abc")),
        (
            "second page",
            Fine,
            second(&[pad("C", &json!({"updated_at": "2026-01-02T10:00:00Z", "ended_at": null}))]),
        ),
        ("row on both pages of pads", Warning, second(&sorted[..1])),
        (
            "second page in another order",
            Warning,
            second(&[pad("C", &json!({"updated_at": "2026-01-03T10:00:00Z"}))]),
        ),
        ("unreadable second page", Failure, vec![second_unreadable(&sorted)]),
        ("rows of pads", Fine, rows_of(&sorted)),
        (
            "ended_at after updated_at",
            Warning,
            rows_of(&[pad("A", &json!({"ended_at": "2026-01-02T11:00:01Z"}))]),
        ),
        ("unknown state", Warning, rows_of(&[pad("A", &json!({"state": "on hold", "ended_at": null}))])),
        ("unknown type", Warning, rows_of(&[pad("A", &json!({"type": "quiz"}))])),
        ("rows without a member", Warning, rows_of(&[without("owner_email")])),
        ("pad equals its row", Fine, vec![coderpad::single(&sorted[0], &sorted[0])]),
        ("pad changed meanwhile", Fine, vec![coderpad::single(&sorted[0], &sorted[1])]),
        (
            "pad differs from its row",
            Warning,
            vec![coderpad::single(&sorted[0], &pad("A", &json!({"state": "started"})))],
        ),
        ("known event", Fine, events("joined")),
        ("unknown event", Warning, events("waved")),
        ("no events", Warning, vec![coderpad::events(&json!({}))]),
        ("question", Fine, vec![coderpad::question(&rule("take-home"), 7, question("any", false))]),
        (
            "question of the command line",
            Fine,
            vec![coderpad::question(&Rule::default(), 7, question("live", false))],
        ),
        (
            "question that does not fit",
            Failure,
            vec![coderpad::question(&rule("take-home"), 7, question("live", false))],
        ),
        ("draft", Failure, vec![coderpad::question(&Rule::default(), 7, question("any", true))]),
        (
            "no such question",
            Failure,
            vec![coderpad::question(
                &rule("take-home"),
                7,
                Err("the organization has no such question, or the key may not see it"),
            )],
        ),
        ("owner", Fine, vec![coderpad::owner(&rule("take-home"), "lead@northwind.example", true)]),
        (
            "unknown owner",
            Failure,
            vec![coderpad::owner(&rule("take-home"), "lead@northwind.example", false)],
        ),
    ]
}

fn pads_of_nothing() -> Vec<Finding> {
    coderpad::pads(&json!({"status": "OK"}), &endpoint(), PadSort::Created)
}

fn second_unreadable(sorted: &[Value]) -> Finding {
    let first = coderpad::read_pads(&list(sorted, Value::Null), &endpoint()).0.unwrap();
    coderpad::second_page(&first, &json!({"status": "ERROR"}), &endpoint(), PadSort::Updated)
}

fn without(member: &str) -> Value {
    let mut pad = pad("A", &json!({}));
    pad.as_object_mut().unwrap().remove(member);
    pad
}

fn base64(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    serde_json::from_value::<k8s_openapi::ByteString>(json!(text)).unwrap().0
}

#[test]
fn each_finding_has_its_level_and_the_next_step() {
    let mut sections = Vec::new();
    for (case, level, findings) in cases() {
        let worst = findings.iter().map(|finding| finding.level).max().unwrap();
        assert_eq!(worst, level, "{case}: {findings:#?}");
        for finding in &findings {
            let has_next = finding.next.is_some() && finding.docs.is_some();
            assert_eq!(has_next, finding.level != Level::Ok, "{case}: {finding:?}");
            let text = format!(
                "{} {} {}",
                finding.what,
                finding.detail,
                finding.next.as_deref().unwrap_or_default()
            );
            assert!(!text.contains("Ada") && !text.contains("lead@"), "{case}: {text}");
            assert!(!text.contains('\n'), "{case}: {text}");
        }
        sections.push(Section::new(format!("# {case}"), findings));
    }
    assert_snapshot("check-findings", Report { sections, calls: 0 }.text().trim_end());
}

#[rstest]
#[case::tag(json!({"tags": ["t"]}), true)]
#[case::title(json!({"text": "t"}), true)]
#[case::category(json!({"categories": {"team": "t"}}), true)]
#[case::location(json!({"categories": {"allLocations": ["s", "t"]}}), true)]
#[case::other(json!({"tags": ["T"], "text": "a t", "categories": {"team": null}}), false)]
fn a_posting_gives_its_tags_title_and_categories(#[case] posting: Value, #[case] expected: bool) {
    assert_eq!(lever::gives_tag(&json!({ "data": posting }), "t"), expected);
}

#[rstest]
#[case("lead@northwind.example", "l…@northwind.example")]
#[case("@", "?…@")]
#[case("odd", "o…@")]
fn an_address_is_masked(#[case] address: &str, #[case] shown: &str) {
    assert_eq!(coderpad::masked(address), shown);
}
