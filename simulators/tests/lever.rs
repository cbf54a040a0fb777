//! The simulated Lever rejects what the real one rejects and records it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use simulators::{LeverOptions, LeverSimulator, NewCandidate, NewPosting, Permissions, RateLimit};

struct Api {
    lever: LeverSimulator,
    client: Client,
}

impl Api {
    async fn start() -> Self {
        let lever = LeverSimulator::start(LeverOptions::default()).await.unwrap();
        Self { lever, client: Client::builder().no_proxy().build().unwrap() }
    }

    async fn get(&self, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.lever.url()));
        request.basic_auth("lever-key", Some("")).send().await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Response {
        let request = self.client.post(format!("{}{path}", self.lever.url()));
        request.basic_auth("lever-key", Some("")).json(&body).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.unwrap()
    }

    fn candidate(&self, stage: &str) -> String {
        self.lever.add_candidate(NewCandidate {
            name: "Ada".into(),
            stage: stage.into(),
            ..Default::default()
        })
    }

    fn assert_no_violations(&self) {
        assert_eq!(self.lever.violations(), Vec::<String>::new());
    }

    fn assert_violated(&self, what: &str) {
        let violations = self.lever.violations();
        assert!(
            violations.iter().any(|violation| violation.contains(what)),
            "{what} is not in {violations:?}"
        );
    }
}

#[tokio::test]
async fn only_basic_auth_with_an_empty_password_is_accepted() {
    let api = Api::start().await;
    let stages = format!("{}/stages", api.lever.url());
    let wrong = [
        api.client.get(&stages),
        api.client.get(&stages).bearer_auth("lever-key"),
        api.client.get(&stages).basic_auth("lever-key", Some("secret")),
    ];
    for (count, request) in wrong.into_iter().enumerate() {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(response.json::<Value>().await.unwrap()["code"], "UnauthorizedError");
        assert_eq!(api.lever.violations().len(), count + 1);
    }
    api.lever.clear_violations();
    assert_eq!(api.client.get(&stages).basic_auth("old", Some("")).send().await.unwrap().status(), 401);
    assert_eq!(api.get("/stages").await.status(), 200);
    api.assert_no_violations();
}

#[tokio::test]
async fn missing_permission_is_forbidden() {
    let api = Api::start().await;
    let id = api.candidate("Phone Screen");
    api.lever.set_key("lever-key", Permissions::all().without("opportunities:addLinks"));
    assert_eq!(api.get(&format!("/opportunities/{id}")).await.status(), 200);
    let links = json!({"links": ["https://pad.example/A"]});
    assert_eq!(api.post(&format!("/opportunities/{id}/addLinks"), links).await.status(), 403);
    assert!(api.lever.links(&id).is_empty());
    api.lever.revoke_key("lever-key");
    assert_eq!(api.get("/stages").await.status(), 401);
    api.assert_no_violations();
}

#[tokio::test]
async fn confidential_opportunities_require_the_permission() {
    let api = Api::start().await;
    let id = api.candidate("Phone Screen");
    api.lever.set_confidential(&id, true);
    assert_eq!(api.json("/opportunities").await["data"], json!([]));
    assert_eq!(api.get("/opportunities?confidentiality=all").await.status(), 403);
    assert_eq!(api.get(&format!("/opportunities/{id}")).await.status(), 403);
    api.lever.set_key("lever-key", Permissions::all().with_confidential());
    assert_eq!(api.json("/opportunities?confidentiality=all").await["data"][0]["id"], json!(id));
    assert_eq!(api.get(&format!("/opportunities/{id}")).await.status(), 200);
}

#[tokio::test]
async fn unknown_endpoints_and_fields_are_rejected_and_recorded() {
    let api = Api::start().await;
    let id = api.candidate("Phone Screen");
    assert_eq!(api.get("/stage").await.status(), 404);
    api.assert_violated("no such endpoint");
    assert_eq!(api.get("/opportunities?stage=x").await.status(), 400);
    api.assert_violated("unknown query parameter stage");
    assert_eq!(api.get("/opportunities?limit=101").await.status(), 400);
    api.assert_violated("limit 101");
    let notes = format!("/opportunities/{id}/notes");
    assert_eq!(api.post(&notes, json!({"text": "hello"})).await.status(), 400);
    api.assert_violated("unknown field text");
    assert_eq!(api.post(&notes, json!({"secret": true})).await.status(), 400);
    api.assert_violated("value is required");
    let url = format!("{}/opportunities/{id}/addTags", api.lever.url());
    let request = api.client.post(url).basic_auth("lever-key", Some("")).body(r#"{"tags":["a"]}"#);
    assert_eq!(request.send().await.unwrap().status(), 400);
    api.assert_violated("application/json");
    assert!(api.lever.tags(&id).is_empty());
}

#[tokio::test]
async fn lists_accept_only_issued_page_tokens() {
    let api = Api::start().await;
    for _ in 0..5 {
        api.candidate("Phone Screen");
    }
    let first = api.json("/opportunities?limit=2").await;
    assert_eq!(first["hasNext"], true);
    let token = first["next"].as_str().unwrap();
    assert!(token.starts_with("%5B"), "{token}");
    let page = async |token: &str| {
        let request =
            api.client.get(format!("{}/opportunities", api.lever.url())).basic_auth("lever-key", Some(""));
        request.query(&[("limit", "2"), ("offset", token)]).send().await.unwrap()
    };
    let second: Value = page(token).await.json().await.unwrap();
    let third: Value = page(second["next"].as_str().unwrap()).await.json().await.unwrap();
    assert_eq!(third["data"].as_array().unwrap().len(), 1);
    assert_eq!((&third["hasNext"], third.get("next")), (&json!(false), None));
    api.assert_no_violations();

    // Pasted into the URL unencoded, the token is decoded once too often.
    assert_eq!(api.get(&format!("/opportunities?limit=2&offset={token}")).await.status(), 400);
    api.assert_violated("was never handed out");
    api.lever.clear_violations();
    api.lever.expire_offsets();
    let stale = page(token).await;
    assert_eq!(stale.status(), 400);
    assert!(stale.text().await.unwrap().contains("Invalid offset token"));
    api.assert_no_violations();
}

#[tokio::test]
async fn filters_are_a_union_within_a_kind_and_combine_between_kinds() {
    let api = Api::start().await;
    let tagged = |stage: &str, tags: &[&str]| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        api.lever.add_candidate(NewCandidate { stage: stage.into(), tags, ..Default::default() })
    };
    let one = tagged("lead-new", &["coderpad"]);
    let two = tagged("offer", &["coderpad"]);
    tagged("offer", &["CoderPad"]);
    tagged("Onsite", &["coderpad"]);
    let answer =
        api.json("/opportunities?stage_id=lead-new&stage_id=offer&tag=coderpad&archived=false").await;
    let ids: Vec<&str> =
        answer["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&one, &two]);
    api.lever.archive(&one);
    let since = api.lever.opportunity(&one).unwrap()["archived"]["archivedAt"].clone();
    let archived = api.json(&format!("/opportunities?archived_at_start={since}")).await;
    assert_eq!(archived["data"][0]["id"], json!(one));
    assert_eq!(archived["data"].as_array().unwrap().len(), 1);
    api.assert_no_violations();
}

#[tokio::test]
async fn throttled_requests_get_no_retry_after() {
    let api = Api::start().await;
    assert_eq!(LeverOptions::default().rate_limit, Some(RateLimit { per_second: 10.0, burst: 20.0 }));
    api.lever.set_rate_limit(Some(RateLimit { per_second: 0.001, burst: 2.0 }));
    api.lever.set_key("other", Permissions::all());
    assert_eq!(
        (api.get("/stages").await.status(), api.get("/stages").await.status()),
        (StatusCode::OK, StatusCode::OK)
    );
    let throttled = api.get("/stages").await;
    assert_eq!(throttled.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(throttled.headers().get("retry-after").is_none());
    assert!(throttled.json::<Value>().await.unwrap()["code"].is_string());
    let stages = api.client.get(format!("{}/stages", api.lever.url()));
    assert_eq!(stages.basic_auth("other", Some("")).send().await.unwrap().status(), 200);
    api.lever.set_rate_limit(Some(RateLimit { per_second: 1000.0, burst: 1.0 }));
    api.get("/stages").await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(api.get("/stages").await.status(), 200);
}

#[tokio::test]
async fn links_belong_to_the_contact_and_tags_to_the_opportunity() {
    let api = Api::start().await;
    let posting = api.lever.add_posting(NewPosting { text: "Engineer".into(), ..Default::default() });
    let one = api.lever.add_candidate(NewCandidate { posting: Some(posting), ..Default::default() });
    let contact = api.lever.opportunity(&one).unwrap()["contact"].as_str().map(str::to_owned);
    let two = api.lever.add_candidate(NewCandidate { contact, ..Default::default() });
    let link = json!({"links": ["https://pad.example/A"]});
    assert_eq!(api.post(&format!("/opportunities/{one}/addLinks"), link.clone()).await.status(), 200);
    assert_eq!(api.lever.links(&two), ["https://pad.example/A"]);
    api.assert_no_violations();
    for (repeat_links, shown) in [(false, 1), (true, 2)] {
        api.lever.change_settings(|settings| settings.repeat_links = repeat_links);
        api.post(&format!("/opportunities/{two}/addLinks"), link.clone()).await;
        api.assert_violated("link added twice");
        assert_eq!(api.lever.links(&one).len(), shown);
    }
    api.post(&format!("/opportunities/{one}/removeLinks"), link).await;
    assert!(api.lever.links(&two).is_empty());

    api.post(&format!("/opportunities/{one}/addTags"), json!({"tags": ["done"]})).await;
    api.lever.add_posting_tag(&one, "coderpad");
    assert_eq!(api.lever.tags(&one), ["done", "Engineer", "coderpad"]);
    assert!(api.lever.tags(&two).is_empty());
    let by_unknown = format!("/opportunities/{one}/addTags?perform_as=nobody");
    assert_eq!(api.post(&by_unknown, json!({"tags": ["x"]})).await.status(), 400);
}

#[tokio::test]
async fn note_responses_match_the_live_service() {
    let api = Api::start().await;
    let id = api.candidate("Phone Screen");
    let path = format!("/opportunities/{id}/notes");
    let response = api.post(&path, json!({"value": "Well done, @ines", "notifyFollowers": false})).await;
    assert_eq!(response.status(), 201);
    let note: Value = response.json().await.unwrap();
    assert_eq!(note["data"]["noteId"], note["data"]["id"]);
    assert_eq!(api.json(&path).await["data"][0]["fields"][0]["value"], "Well done, @ines");
    assert_eq!(api.lever.mentions(), [(id.clone(), "ines".to_owned())]);
    api.lever.delete(&id);
    assert_eq!(api.get(&path).await.status(), 404);
    assert_eq!(api.json("/opportunities/deleted").await["data"][0]["id"], json!(id));
    api.assert_no_violations();
}

#[tokio::test]
async fn deleted_and_anonymized_opportunities_are_found_by_time() {
    let api = Api::start().await;
    let [one, deleted] = [(); 2].map(|()| api.candidate("Phone Screen"));
    let contact = api.lever.opportunity(&one).unwrap()["contact"].as_str().map(str::to_owned);
    let two = api.lever.add_candidate(NewCandidate { contact, ..Default::default() });
    let ids = async |path: &str| {
        let rows = api.json(path).await["data"].as_array().unwrap().clone();
        rows.into_iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let since = jiff::Timestamp::now().as_millisecond();
    assert!(ids(&format!("/opportunities?updated_at_start={since}")).await.is_empty());
    api.lever.anonymize(&one);
    api.lever.delete(&deleted);
    let mut changed = ids(&format!("/opportunities?updated_at_start={since}")).await;
    changed.sort();
    let mut both = vec![one.clone(), two.clone()];
    both.sort();
    assert_eq!(
        changed, both,
        "anonymizing affects all opportunities of the person, and only the list of deleted opportunities contains a deleted one"
    );
    let view = api.json(&format!("/opportunities/{two}")).await;
    assert_eq!((&view["data"]["isAnonymized"], &view["data"]["name"]), (&json!(true), &json!("")));

    let row = &api.json(&format!("/opportunities/deleted?deleted_at_start={since}")).await["data"][0];
    assert_eq!(row["id"], json!(deleted));
    let at = row["deletedAt"].as_i64().unwrap();
    assert!(at >= since && row["deletedBy"].is_string());
    assert!(ids(&format!("/opportunities/deleted?deleted_at_start={}", at + 1)).await.is_empty());
    assert_eq!(ids(&format!("/opportunities/deleted?deleted_at_end={at}")).await, [deleted]);
    api.assert_no_violations();
    assert_eq!(api.get("/opportunities/deleted?updated_at_start=1").await.status(), 400);
    api.assert_violated("unknown query parameter");
}

#[tokio::test]
async fn control_api_moves_candidates() {
    let api = Api::start().await;
    let control = async |path: &str, body: Value| {
        let request = api.client.post(format!("{}/_simulator/{path}", api.lever.origin())).json(&body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (_, made) = control("candidates", json!({"name": "Ada", "tags": ["coderpad"]})).await;
    let id = made["id"].as_str().unwrap();
    let (status, _) = control(&format!("candidates/{id}/move"), json!({"stage": "Phone Screen"})).await;
    assert_eq!(status, 200);
    let stage = api.lever.stage_id("Phone Screen");
    assert_eq!(api.lever.opportunity(id).unwrap()["stage"].as_str(), stage.as_deref());
    let (status, error) = control(&format!("candidates/{id}/move"), json!({"stage": "Nowhere"})).await;
    assert_eq!((status, &error["error"]), (400, &json!("there is no stage \"Nowhere\"")));
    assert_eq!(control(&format!("candidates/{id}/archive"), json!({})).await.0, 200);
    let fault = json!({"method": "GET", "path": "^/v1/stages$", "action": {"status": {"code": 503}}});
    assert_eq!(control("faults", fault).await.0, 200);
    assert_eq!(control("faults", json!({"path": "^/v1/tags$", "action": "reset"})).await.0, 200);
    assert_eq!(api.get("/stages").await.status(), 503);
    assert_eq!(api.get("/stages").await.status(), 200);
}
