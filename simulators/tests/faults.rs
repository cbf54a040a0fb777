//! Each kind of fault has its documented effect on the client and the service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::Value;
use simulators::{Fault, InterviewOptions, InterviewSimulator, PausePoint};

const PADS: &str = "^/api/pads/?$";

#[derive(Clone)]
struct Api {
    interview: InterviewSimulator,
    client: Client,
}

impl Api {
    async fn start() -> Self {
        let interview = InterviewSimulator::start(InterviewOptions::default()).await.unwrap();
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { interview, client: client.timeout(Duration::from_millis(1500)).build().unwrap() }
    }

    async fn create(&self, title: &str) -> reqwest::Result<Response> {
        let request = self.client.post(format!("{}/pads", self.interview.url()));
        request
            .header("authorization", "Token token=\"interview-key\"")
            .form(&[("title", title)])
            .send()
            .await
    }

    fn created_pads(&self) -> usize {
        self.interview.pads().len()
    }

    /// Returns the status of the service itself and the status that was sent, for the last request.
    fn last(&self) -> (Option<u16>, Option<u16>) {
        let call = self.interview.calls().pop().unwrap();
        (call.handled, call.status)
    }
}

#[tokio::test]
async fn faults_before_the_effect_prevent_it() {
    let api = Api::start().await;
    let faults = api.interview.faults();
    faults.add(Fault::on("POST", PADS).status(503));
    faults.add(Fault::on("POST", PADS).redirect(307, "https://elsewhere.example/"));
    faults.add(Fault::on("POST", PADS).throttle(7));
    faults.add(Fault::on("POST", PADS).reset());
    faults.add(Fault::on("POST", PADS).hang());
    assert_eq!(api.create("a").await.unwrap().status(), 503);
    assert_eq!(api.create("b").await.unwrap().headers()["location"], "https://elsewhere.example/");
    let throttled = api.create("too fast").await.unwrap();
    assert_eq!(
        (throttled.status().as_u16(), &throttled.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    let reset = api.create("c").await.unwrap_err();
    assert!(!reset.is_timeout() && !reset.is_connect(), "{reset:?}");
    assert!(api.create("d").await.unwrap_err().is_timeout());
    assert_eq!(api.created_pads(), 0);
    assert_eq!(api.create("e").await.unwrap().status(), 200);
    assert_eq!(api.created_pads(), 1);
}

#[tokio::test]
async fn faults_after_the_effect_hide_it_from_the_client() {
    let api = Api::start().await;
    let faults = api.interview.faults();
    faults.add(Fault::on("POST", PADS).lose_answer());
    let lost = api.create("a").await.unwrap_err();
    assert!(!lost.is_timeout(), "{lost:?}");
    assert_eq!((api.created_pads(), api.last()), (1, (Some(200), None)));
    faults.add(Fault::on("POST", PADS).status_after_effect(500));
    assert_eq!(api.create("b").await.unwrap().status(), 500);
    assert_eq!((api.created_pads(), api.last()), (2, (Some(200), Some(500))));
    faults.add(Fault::on("POST", PADS).garbage_after_effect());
    let garbage = api.create("c").await.unwrap();
    assert_eq!(garbage.status(), 200);
    assert!(garbage.json::<Value>().await.unwrap_err().is_decode());
    faults.add(Fault::on("POST", PADS).truncate_after_effect());
    let truncated = api.create("d").await.unwrap();
    assert_eq!(truncated.status(), 200);
    assert!(truncated.bytes().await.is_err());
    faults.add(Fault::on("POST", PADS).huge_after_effect());
    assert_eq!(api.create("e").await.unwrap().content_length(), Some(64 << 20));
    faults.add(Fault::on("POST", PADS).hang_after_effect());
    assert!(api.create("f").await.unwrap_err().is_timeout());
    assert_eq!(api.created_pads(), 6);
}

#[tokio::test]
async fn faults_apply_only_to_matching_requests() {
    let api = Api::start().await;
    let faults = api.interview.faults();
    let second = faults.add(Fault::on("POST", PADS).containing("Ada & Co").skip(1).times(2).status(502));
    let mut statuses = Vec::new();
    for title in ["Ada & Co", "Bo", "Ada & Co", "Ada & Co", "Ada & Co"] {
        statuses.push(api.create(title).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 502, 502, 200]);
    assert_eq!(second.hits(), 2);
    let always = faults.add(Fault::on("*", "^/api/").until_removed().status(500));
    assert_eq!(api.create("x").await.unwrap().status(), 500);
    assert_eq!(api.create("x").await.unwrap().status(), 500);
    always.remove();
    assert_eq!(api.create("x").await.unwrap().status(), 200);
    assert_eq!(faults.list().len(), 1);
}

#[tokio::test]
async fn delay_faults_postpone_the_response() {
    let api = Api::start().await;
    api.interview.faults().add(Fault::on("POST", PADS).delay(Duration::from_millis(60)));
    api.interview.faults().add(Fault::on("POST", PADS).delay_answer(Duration::from_millis(60)));
    let start = std::time::Instant::now();
    assert_eq!(api.create("a").await.unwrap().status(), 200);
    assert!(start.elapsed() >= Duration::from_millis(120));
}

#[tokio::test]
async fn paused_request_waits_at_its_pause_point() {
    let api = Api::start().await;
    for (moment, made_while_held) in [(PausePoint::BeforeEffect, 0), (PausePoint::AfterEffect, 2)] {
        let gate = api.interview.faults().add(Fault::on("POST", PADS).pause(moment));
        let client = api.clone();
        let request = tokio::spawn(async move { client.create("a").await });
        gate.reached().await;
        assert_eq!(api.created_pads(), made_while_held);
        gate.release();
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
        gate.remove();
    }
    assert_eq!(api.created_pads(), 2);
}

#[tokio::test]
async fn request_takes_effect_after_its_client_disconnected() {
    let api = Api::start().await;
    let gate = api.interview.faults().add(Fault::on("POST", PADS).pause(PausePoint::BeforeEffect));
    assert!(api.create("late").await.unwrap_err().is_timeout());
    assert_eq!(api.created_pads(), 0);
    gate.release();
    while api.created_pads() == 0 {
        tokio::task::yield_now().await;
    }

    let gate = api.interview.faults().add(Fault::on("POST", PADS).pause(PausePoint::BeforeEffect));
    let client = api.clone();
    let request = tokio::spawn(async move { client.create("never").await });
    gate.reached().await;
    gate.discard();
    assert!(request.await.unwrap().is_err());
    assert_eq!(api.created_pads(), 1);
}

#[tokio::test]
async fn stopped_service_refuses_connections_and_keeps_its_data() {
    let api = Api::start().await;
    api.create("a").await.unwrap();
    api.interview.stop().await;
    assert!(api.create("b").await.unwrap_err().is_connect());
    api.interview.resume().await.unwrap();
    assert_eq!(api.create("c").await.unwrap().status(), 200);
    assert_eq!(api.created_pads(), 2);
}
