//! Event of a Pad that waits for a long time.

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use simulators::Quota;

use crate::environment::{Options, TestEnv};
use crate::wait::eventually;

async fn events_of(env: &TestEnv, name: &str) -> Vec<Value> {
    let mut events = env.list("events").await;
    events.retain(|event| event["regarding"]["name"] == name);
    events
}

/// contract K6
#[tokio::test(flavor = "multi_thread")]
async fn wait_of_ten_minutes_is_one_event_even_across_restarts() {
    let mut options = Options::new("one-event-a-wait");
    options.interview.quota = Quota { limit: Some(3), used: 3, overages_enabled: false, billed: 0 };
    let mut env = TestEnv::start(options).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let pad = env.wait_for_pad(&candidate, "Pending/QuotaExceeded").await;
    let name = pad["metadata"]["name"].as_str().unwrap();
    assert_eq!(events_of(&env, name).await, Vec::<Value>::new());

    let mut conditions = pad["status"]["conditions"].clone();
    for condition in conditions.as_array_mut().unwrap() {
        let since = Timestamp::now().checked_sub(11.minutes()).unwrap();
        condition["lastTransitionTime"] = json!(since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    }
    env.patch_status("pads", name, json!({"conditions": conditions})).await;
    eventually("an Event reports the wait", async || {
        let events = events_of(&env, name).await;
        if events.len() == 1 { Ok(()) } else { Err(format!("{events:#?}")) }
    })
    .await;
    for _ in 0..2 {
        env.operator().terminate().await;
        env.operator().start().await;
        env.reconcile("pads", name).await;
        let events = events_of(&env, name).await;
        assert_eq!(events.len(), 1, "{events:#?}");
        assert_eq!((&events[0]["type"], &events[0]["reason"]), (&json!("Warning"), &json!("QuotaExceeded")));
        assert!(events[0]["series"].is_null(), "{events:#?}");
    }
    env.finish().await;
}
