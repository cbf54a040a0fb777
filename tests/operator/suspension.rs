//! Suspension by a person, and resuming.

use serde_json::json;

use crate::environment::{CONFIGURATION, CONNECTION, Options, World};

async fn nothing_is_sent_until_resumed(name: &'static str, plural: &str, object: &str) {
    let world = World::start(Options::new(name)).await;
    world.patch(plural, object, json!({"spec": {"suspend": true}})).await;
    world.wait_for(plural, object, "Suspended", "True/Suspended").await;
    let before = world.get(plural, object).await;
    assert_eq!(crate::status::status_of(&before, "Ready"), "True", "it keeps its previous status");
    world.lever.clear_calls();
    world.interview.clear_calls();

    let candidates = [(); 3].map(|()| world.candidate());
    for candidate in &candidates {
        assert_eq!(world.enter(candidate).await["outcome"], "Accepted");
        let pad = world.wait_for_pad(candidate, "Pending/Suspended").await;
        assert_eq!(crate::status::brief(&pad, "Suspended"), "True/Suspended");
    }
    assert!(world.lever.calls().is_empty(), "{:#?}", world.lever.calls());
    assert!(world.interview.calls().is_empty(), "{:#?}", world.interview.calls());

    world.patch(plural, object, json!({"spec": {"suspend": false}})).await;
    for candidate in &candidates {
        let pad = world.wait_for_pad(candidate, "Open/Open").await;
        assert_eq!(crate::status::condition(&pad, "Suspended"), None);
        world.wait_for_one_pad(candidate).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_connection_sends_nothing_and_catches_up_on_resume() {
    nothing_is_sent_until_resumed("suspended-connection", "leverconnections", CONNECTION).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_configuration_sends_nothing_and_catches_up_on_resume() {
    nothing_is_sent_until_resumed("suspended-rule", "padconfigurations", CONFIGURATION).await;
}

/// A request is handled as soon as the object has been reconciled.
#[tokio::test(flavor = "multi_thread")]
async fn reconcile_request_during_a_suspension_is_handled_on_resume() {
    let world = World::start(Options::new("suspended-look")).await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    let made = world.wait_for_one_pad(&candidate).await;
    let name = world.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.patch("leverconnections", CONNECTION, json!({"spec": {"suspend": true}})).await;
    world.wait_for("leverconnections", CONNECTION, "Suspended", "True/Suspended").await;
    world.interview.start_interview(&made.id, &["Ada"]);
    world.request("pads", &name).await;
    world.patch("pads", &name, json!({"spec": {"deletionPolicy": "Unlink"}})).await;
    let pad = crate::wait::eventually("the Pad was reconciled", async || {
        let pad = world.get("pads", &name).await;
        let is_passed = pad["status"]["observedGeneration"] == pad["metadata"]["generation"];
        if is_passed { Ok(pad) } else { Err(format!("{pad:#}")) }
    })
    .await;
    assert_eq!(crate::status::phase(&pad), "Open/Open");
    assert_eq!(pad["status"]["lastHandledReconcileAt"], serde_json::Value::Null, "{pad:#}");

    world.patch("leverconnections", CONNECTION, json!({"spec": {"suspend": false}})).await;
    let pad = world.wait_for_pad(&candidate, "Started/Started").await;
    let asked = &pad["metadata"]["annotations"]["padoperator.dev/reconcile-requested-at"];
    assert_eq!(pad["status"]["lastHandledReconcileAt"], *asked);
    world.finish().await;
}

/// Nothing else triggers a reconcile, because neither service has changed.
#[tokio::test(flavor = "multi_thread")]
async fn requested_end_during_a_suspension_is_applied_on_resume() {
    let world = World::start(Options::new("suspended-wish")).await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    let made = world.wait_for_one_pad(&candidate).await;
    world.patch("leverconnections", CONNECTION, json!({"spec": {"suspend": true}})).await;
    world.wait_for("leverconnections", CONNECTION, "Suspended", "True/Suspended").await;
    let name = world.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.patch("pads", &name, json!({"spec": {"state": "Ended"}})).await;
    crate::wait::eventually("the request is seen", async || {
        let pad = world.get("pads", &name).await;
        let is_seen = pad["status"]["observedGeneration"] == pad["metadata"]["generation"];
        if is_seen { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;

    world.patch("leverconnections", CONNECTION, json!({"spec": {"suspend": false}})).await;
    world.wait_for_pad(&candidate, "Ended/Ended").await;
    assert_eq!(world.interview.pad(&made.id).unwrap().state, "ended");
    world.finish().await;
}
