//! The simulated Interview service is as strict, as lenient and as slow as the real one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use simulators::{InterviewOptions, InterviewSimulator, KeyRole, NewPad, Quota, RateLimit, Settings};

struct Api {
    interview: InterviewSimulator,
    client: Client,
}

impl Api {
    async fn start() -> Self {
        let interview = InterviewSimulator::start(InterviewOptions::default()).await.unwrap();
        Self { interview, client: Client::builder().no_proxy().build().unwrap() }
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("authorization", "Token token=\"interview-key\"")
    }

    async fn get(&self, path: &str) -> Response {
        self.signed(self.client.get(format!("{}{path}", self.interview.url()))).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.unwrap()
    }

    async fn create(&self, form: &[(&str, &str)]) -> Response {
        self.signed(self.client.post(format!("{}/pads", self.interview.url())))
            .form(form)
            .send()
            .await
            .unwrap()
    }

    async fn put(&self, id: &str, form: &[(&str, &str)]) -> Response {
        self.signed(self.client.put(format!("{}/pads/{id}", self.interview.url())))
            .form(form)
            .send()
            .await
            .unwrap()
    }

    async fn create_json(&self, body: Value) -> Response {
        self.signed(self.client.post(format!("{}/pads/", self.interview.url())))
            .json(&body)
            .send()
            .await
            .unwrap()
    }

    fn assert_no_violations(&self) {
        assert_eq!(self.interview.violations(), Vec::<String>::new());
    }

    fn assert_violated(&self, what: &str) {
        let violations = self.interview.violations();
        assert!(
            violations.iter().any(|violation| violation.contains(what)),
            "{what} is not in {violations:?}"
        );
        self.interview.clear_violations();
    }
}

#[tokio::test]
async fn only_three_forms_of_authorization_are_accepted() {
    let api = Api::start().await;
    let url = format!("{}/user", api.interview.url());
    let try_header = async |value: &str| {
        let response = api.client.get(&url).header("authorization", value).send().await.unwrap();
        response.status().as_u16()
    };
    for header in ["Token token=\"interview-key\"", "Token interview-key", "Bearer interview-key"] {
        assert_eq!(try_header(header).await, 200);
    }
    let forms: Vec<_> = api.interview.calls().into_iter().filter_map(|call| call.auth).collect();
    assert_eq!(forms, ["token", "bare token", "bearer"]);
    assert_eq!(try_header("Token token=\"wrong\"").await, 401);
    api.assert_no_violations();
    assert_eq!(try_header("Basic abc").await, 401);
    api.assert_violated("Authorization");
}

#[tokio::test]
async fn form_creates_a_pad() {
    let api = Api::start().await;
    let form = [
        ("title", "Ada & Co – screen"),
        ("question_id", "1001"),
        ("private", "true"),
        ("notes", "Reference: x"),
    ];
    let response = api.create(&form).await;
    assert_eq!(response.status(), 200);
    let pad: Value = response.json().await.unwrap();
    assert_eq!(pad["status"], "OK");
    assert_eq!(
        (&pad["state"], &pad["type"], &pad["private"]),
        (&json!("pending"), &json!("live"), &json!(true))
    );
    let id = pad["id"].as_str().unwrap();
    assert_eq!(pad["url"], json!(format!("https://app.coderpad.io/{id}")));
    let shown = api.json(&format!("/pads/{id}")).await;
    assert_eq!((&shown["title"], &shown["notes"]), (&json!("Ada & Co – screen"), &json!("Reference: x")));
    assert_eq!(shown["question_ids"], json!([1001]));
    let environment = api.json(&format!("/pad_environments/{}", shown["active_environment_id"])).await;
    assert_eq!(environment["file_contents"][0]["contents"], "print('start here')\n");
    assert_eq!(api.interview.quota().used, 1);
    api.assert_no_violations();
}

#[tokio::test]
async fn json_creates_a_pad_but_a_boolean_execution_flag_is_ignored() {
    let api = Api::start().await;
    for body in [json!({"title": "flat", "execution_enabled": "false"}), json!({"pad": {"title": "wrapped"}})]
    {
        assert_eq!(api.create_json(body).await.status(), 200);
    }
    api.assert_no_violations();
    let pad: Value = api.create_json(json!({"execution_enabled": false})).await.json().await.unwrap();
    assert_eq!(pad["execution_enabled"], true);
    api.assert_violated("silently ignored");
    let enabled: Vec<bool> = api.interview.pads().iter().map(|pad| pad.execution_enabled).collect();
    assert_eq!(enabled, [false, true, true]);
}

#[tokio::test]
async fn invalid_requests_create_no_pad() {
    let api = Api::start().await;
    let both = [("contents", "x"), ("question_id", "1001")];
    assert_eq!(api.create(&both).await.status(), 400);
    api.assert_violated("contents together with question_id");
    assert_eq!(api.create(&[("language", "brainfuck")]).await.status(), 400);
    assert_eq!(api.create(&[("question_id", "77")]).await.status(), 404);
    let plain = api.signed(api.client.post(format!("{}/pads", api.interview.url()))).body("title=x");
    assert_eq!(plain.send().await.unwrap().status(), 400);
    api.assert_violated("content type");
    let broken = api.signed(api.client.post(format!("{}/pads", api.interview.url())));
    let broken = broken.header("content-type", "application/x-www-form-urlencoded").body("title=100%&x=1");
    assert_eq!(broken.send().await.unwrap().status(), 400);
    api.assert_violated("broken escape");
    assert!(api.interview.pads().is_empty());
    // Rails ignores unknown fields; the violation reports them.
    assert_eq!(api.create(&[("tile", "x")]).await.status(), 200);
    api.assert_violated("unknown field tile");
}

#[tokio::test]
async fn unknown_owner_becomes_a_new_account() {
    let api = Api::start().await;
    assert_eq!(api.create(&[("user_email", "lead@northwind.example")]).await.status(), 200);
    assert!(api.interview.created_users().is_empty());
    api.create(&[("user_email", "typo@northwind.example")]).await;
    assert_eq!(api.interview.created_users(), ["typo@northwind.example"]);
    assert_eq!(api.interview.pads()[1].owner_email, "typo@northwind.example");
    api.interview.set_key("interview-key", "lead@northwind.example", KeyRole::Member);
    assert_eq!(api.create(&[("user_email", "lead@northwind.example")]).await.status(), 403);
}

#[tokio::test]
async fn members_list_the_organizations_pads_only_if_allowed() {
    let api = Api::start().await;
    api.interview.add_pad(NewPad::default());
    api.interview.set_key("interview-key", "lead@northwind.example", KeyRole::Member);
    assert_eq!(api.json("/organization/pads").await["total"], 1);
    assert_eq!(api.json("/pads").await["total"], 0);
    api.interview.change_settings(|settings| settings.pads_visible = false);
    assert_eq!(api.get("/organization/pads").await.status(), 403);
    api.interview.set_key("interview-key", "solo@else.example", KeyRole::Alone);
    assert_eq!(api.get("/organization").await.status(), 404);
}

#[tokio::test]
async fn take_home_fields_are_ignored_when_not_supported() {
    let api = Api::start().await;
    let form = [("question_id", "1002"), ("take_home", "true"), ("take_home_time_limit", "120")];
    let pad: Value = api.create(&form).await.json().await.unwrap();
    assert_eq!(pad["type"], "take_home");
    assert_eq!(api.interview.pads()[0].take_home_time_limit, Some(120));
    api.interview.change_settings(|settings| settings.take_home_type = "take-home".into());
    assert_eq!(api.create(&form).await.json::<Value>().await.unwrap()["type"], "take-home");
    api.interview.change_settings(|settings| settings.accept_take_home = false);
    assert_eq!(api.create(&form).await.json::<Value>().await.unwrap()["type"], "live");
    api.assert_no_violations();
}

#[tokio::test]
async fn pads_can_be_ended_and_deleted() {
    let api = Api::start().await;
    let id = api.interview.add_pad(NewPad::default());
    api.interview.start_interview(&id, &["Olga Owner", "Ada"]);
    api.interview.type_code(&id, "main", "print(42)");
    let started = api.json(&format!("/pads/{id}")).await;
    assert_eq!((&started["state"], &started["ended_at"]), (&json!("started"), &Value::Null));
    assert_eq!(started["participants"], json!(["Olga Owner", "Ada"]));
    let answer: Value = api.put(&id, &[("ended", "true")]).await.json().await.unwrap();
    assert_eq!(answer, json!({"status": "OK"}));
    let ended = api.json(&format!("/pads/{id}")).await;
    assert_eq!(ended["state"], "ended");
    assert!(ended["ended_at"].as_str().unwrap().ends_with('Z'));
    let events = api.json(&format!("/pads/{id}/events")).await;
    let kinds: Vec<&str> =
        events["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ended", "started", "joined", "joined"]);
    assert_eq!(api.put(&id, &[("deleted", "true")]).await.status(), 200);
    assert_eq!(api.get(&format!("/pads/{id}")).await.status(), 404);
    assert_eq!(api.json("/pads").await["total"], 0);
    assert!(api.interview.pad(&id).unwrap().deleted);
    api.assert_no_violations();
}

#[tokio::test]
async fn pads_use_up_the_quota_and_exceed_it_only_with_overages() {
    let api = Api::start().await;
    api.interview.set_quota(Quota { limit: Some(1), ..Quota::default() });
    assert_eq!(api.create(&[]).await.status(), 200);
    let quota = api.json("/quota").await;
    assert_eq!((&quota["pads_remaining"], &quota["billing_cycle_pad_limit"]), (&json!(0), &json!(1)));
    let refused = api.create(&[]).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.json::<Value>().await.unwrap(), json!({"status": "ERROR", "message": "Over quota"}));
    api.interview.set_quota(Quota { overages_enabled: true, ..api.interview.quota() });
    assert_eq!(api.create(&[]).await.status(), 200);
    assert_eq!((api.interview.quota().billed, api.interview.pads().len()), (1, 2));
    api.interview.set_quota(Quota { limit: None, ..Quota::default() });
    let quota = api.json("/quota").await;
    assert_eq!(quota["unlimited"], true);
    assert!(quota.get("pads_remaining").is_none() && quota.get("billing_cycle_pad_limit").is_none());
}

#[tokio::test]
async fn lists_show_changes_late_but_single_pads_at_once() {
    let api = Api::start().await;
    api.interview.set_list_lag(Duration::from_secs(3600));
    let id = api.interview.add_pad(NewPad { title: "before".into(), ..Default::default() });
    assert_eq!(api.get(&format!("/pads/{id}")).await.status(), 200);
    assert_eq!(api.json("/organization/pads").await["total"], 0);

    tokio::time::sleep(Duration::from_secs(1)).await;
    api.interview.set_title(&id, "after");
    // Half a second before the change: the list shows this state, at whatever moment it is read.
    api.interview.set_list_lag(Duration::from_millis(500));
    assert_eq!(api.json("/organization/pads").await["pads"][0]["title"], "before");
    assert_eq!(api.json(&format!("/pads/{id}")).await["title"], "after");

    api.interview.delete_pad(&id);
    assert_eq!(api.json("/organization/pads").await["total"], 1);
    assert_eq!(api.get(&format!("/pads/{id}")).await.status(), 404);
    api.interview.set_list_lag(Duration::ZERO);
    assert_eq!(api.json("/organization/pads").await["total"], 0);
}

#[tokio::test]
async fn list_pages_link_by_absolute_urls() {
    let api = Api::start().await;
    let ids: Vec<String> = (0..101).map(|_| api.interview.add_pad(NewPad::default())).collect();
    for cursors in [false, true] {
        api.interview.change_settings(|settings| settings.cursors = cursors);
        let mut seen = Vec::new();
        let mut next = Some(format!("{}/organization/pads?sort=created_at,asc", api.interview.url()));
        while let Some(url) = next {
            let page: Value = api.signed(api.client.get(url)).send().await.unwrap().json().await.unwrap();
            assert_eq!(page["total"], 101);
            let pads = page["pads"].as_array().unwrap();
            assert!(pads.len() <= 50);
            seen.extend(pads.iter().map(|pad| pad["id"].as_str().unwrap().to_owned()));
            next = page["next_page"].as_str().map(str::to_owned);
        }
        assert_eq!(seen, ids);
        api.assert_no_violations();
    }
    assert_eq!(api.get("/pads?sort=title").await.status(), 400);
    assert_eq!(api.get("/pads?cursor=made-up").await.status(), 400);
    let other = Settings { page_origin: Some("https://elsewhere.example".into()), ..Settings::default() };
    api.interview.change_settings(|settings| *settings = other);
    let page = api.json("/organization/pads").await;
    assert!(page["next_page"].as_str().unwrap().starts_with("https://elsewhere.example/"));
}

#[tokio::test]
async fn rate_limit_and_exhausted_quota_share_a_status() {
    let api = Api::start().await;
    api.interview.set_rate_limit(Some(RateLimit { per_second: 0.001, burst: 1.0 }));
    assert_eq!(api.get("/user").await.status(), 200);
    let throttled = api.get("/user").await;
    assert_eq!(throttled.status(), 429);
    assert!(throttled.headers().get("retry-after").is_none());
    assert_eq!(throttled.json::<Value>().await.unwrap()["message"], "Too many requests");
}

#[tokio::test]
async fn control_api_runs_an_interview() {
    let api = Api::start().await;
    let control = async |path: String, body: Value| {
        let request = api.client.post(format!("{}/_simulator/{path}", api.interview.origin())).json(&body);
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let made = control("pads".into(), json!({"title": "By hand"})).await;
    let id = made["id"].as_str().unwrap();
    control(format!("pads/{id}/start"), json!({"participants": ["Ada"]})).await;
    control(format!("pads/{id}/code"), json!({"contents": "print(1)"})).await;
    control(format!("pads/{id}/end"), json!({})).await;
    let pad = api.interview.pad(id).unwrap();
    assert_eq!((pad.state.as_str(), pad.files["main"].as_str()), ("ended", "print(1)"));
}
