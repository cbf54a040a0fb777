//! Suspension by a person, and resuming.

use serde_json::json;

use crate::environment::{CONFIGURATION, CONNECTION, Options, TestEnv};

async fn nothing_is_sent_until_resumed(name: &'static str, plural: &str, object: &str) {
    let env = TestEnv::start(Options::new(name)).await;
    env.patch(plural, object, json!({"spec": {"suspend": true}})).await;
    env.wait_for(plural, object, "Suspended", "True/Suspended").await;
    let before = env.get(plural, object).await;
    assert_eq!(crate::status::status_of(&before, "Ready"), "True", "it keeps its previous status");
    env.lever.clear_calls();
    env.interview.clear_calls();

    let candidates = [(); 3].map(|()| env.candidate());
    for candidate in &candidates {
        assert_eq!(env.enter(candidate).await["outcome"], "Accepted");
        let pad = env.wait_for_pad(candidate, "Pending/Suspended").await;
        assert_eq!(crate::status::brief(&pad, "Suspended"), "True/Suspended");
    }
    assert!(env.lever.calls().is_empty(), "{:#?}", env.lever.calls());
    assert!(env.interview.calls().is_empty(), "{:#?}", env.interview.calls());

    env.patch(plural, object, json!({"spec": {"suspend": false}})).await;
    for candidate in &candidates {
        let pad = env.wait_for_pad(candidate, "Open/Open").await;
        assert_eq!(crate::status::condition(&pad, "Suspended"), None);
        env.wait_for_one_pad(candidate).await;
    }
    env.finish().await;
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
    let env = TestEnv::start(Options::new("suspended-look")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    let name = env.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    env.patch("leverconnections", CONNECTION, json!({"spec": {"suspend": true}})).await;
    env.wait_for("leverconnections", CONNECTION, "Suspended", "True/Suspended").await;
    env.interview.start_interview(&made.id, &["Ada"]);
    env.request("pads", &name).await;
    env.patch("pads", &name, json!({"spec": {"deletionPolicy": "Unlink"}})).await;
    let pad = crate::wait::eventually("the Pad was reconciled", async || {
        let pad = env.get("pads", &name).await;
        let is_passed = pad["status"]["observedGeneration"] == pad["metadata"]["generation"];
        if is_passed { Ok(pad) } else { Err(format!("{pad:#}")) }
    })
    .await;
    assert_eq!(crate::status::phase(&pad), "Open/Open");
    assert_eq!(pad["status"]["lastHandledReconcileAt"], serde_json::Value::Null, "{pad:#}");

    env.patch("leverconnections", CONNECTION, json!({"spec": {"suspend": false}})).await;
    let pad = env.wait_for_pad(&candidate, "Started/Started").await;
    let asked = &pad["metadata"]["annotations"]["padoperator.dev/reconcile-requested-at"];
    assert_eq!(pad["status"]["lastHandledReconcileAt"], *asked);
    env.finish().await;
}

/// Nothing else triggers a reconcile, because neither service has changed.
#[tokio::test(flavor = "multi_thread")]
async fn requested_end_during_a_suspension_is_applied_on_resume() {
    let env = TestEnv::start(Options::new("suspended-wish")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    env.patch("leverconnections", CONNECTION, json!({"spec": {"suspend": true}})).await;
    env.wait_for("leverconnections", CONNECTION, "Suspended", "True/Suspended").await;
    let name = env.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    env.patch("pads", &name, json!({"spec": {"state": "Ended"}})).await;
    crate::wait::eventually("the request is seen", async || {
        let pad = env.get("pads", &name).await;
        let is_seen = pad["status"]["observedGeneration"] == pad["metadata"]["generation"];
        if is_seen { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;

    env.patch("leverconnections", CONNECTION, json!({"spec": {"suspend": false}})).await;
    env.wait_for_pad(&candidate, "Ended/Ended").await;
    assert_eq!(env.interview.pad(&made.id).unwrap().state, "ended");
    env.finish().await;
}
