//! Event of a Pad that waits for a long time.

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use simulators::Quota;

use crate::environment::{Options, World};
use crate::wait::eventually;

async fn events_of(world: &World, name: &str) -> Vec<Value> {
    let mut events = world.list("events").await;
    events.retain(|event| event["regarding"]["name"] == name);
    events
}

/// contract K6
#[tokio::test(flavor = "multi_thread")]
async fn wait_of_ten_minutes_is_one_event_even_across_restarts() {
    let mut options = Options::new("one-event-a-wait");
    options.interview.quota = Quota { limit: Some(3), used: 3, overages_enabled: false, billed: 0 };
    let mut world = World::start(options).await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    let pad = world.wait_for_pad(&candidate, "Pending/QuotaExceeded").await;
    let name = pad["metadata"]["name"].as_str().unwrap();
    assert_eq!(events_of(&world, name).await, Vec::<Value>::new());

    let mut conditions = pad["status"]["conditions"].clone();
    for condition in conditions.as_array_mut().unwrap() {
        let since = Timestamp::now().checked_sub(11.minutes()).unwrap();
        condition["lastTransitionTime"] = json!(since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    }
    world.patch_status("pads", name, json!({"conditions": conditions})).await;
    eventually("an Event reports the wait", async || {
        let events = events_of(&world, name).await;
        if events.len() == 1 { Ok(()) } else { Err(format!("{events:#?}")) }
    })
    .await;
    for _ in 0..2 {
        world.operator().terminate().await;
        world.operator().start().await;
        world.look_at("pads", name).await;
        let events = events_of(&world, name).await;
        assert_eq!(events.len(), 1, "{events:#?}");
        assert_eq!((&events[0]["type"], &events[0]["reason"]), (&json!("Warning"), &json!("QuotaExceeded")));
        assert!(events[0]["series"].is_null(), "{events:#?}");
    }
    world.finish().await;
}
