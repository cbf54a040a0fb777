//! The failure tag, which informs recruiters about a Pad that fails or waits for a long time, in addition to the
//! Warning Event.

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use simulators::{Fault, Quota};

use crate::environment::{CONFIGURATION, CONNECTION, Options, TAG, TestEnv};
use crate::wait::eventually;

const FAILED: &str = "coderpad-error";

fn options(name: &'static str, spec: Value) -> Options {
    let tags = json!({"ready": "coderpad-ready", "ended": "coderpad-done", "failed": FAILED});
    let mut options = Options::new(name).configuration(json!({"writeBack": {"tags": tags}}));
    let (_, known) = &mut options.configurations[0];
    known.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    options
}

fn refusal() -> Fault {
    Fault::on("POST", "^/api/pads/?$").status(400).until_removed()
}

impl TestEnv {
    async fn has_tags(&self, candidate: &str, tags: &[&str]) {
        eventually("the tags follow", async || {
            let there = self.lever.tags(candidate);
            if there == tags { Ok(()) } else { Err(format!("{there:?}")) }
        })
        .await;
    }

    /// Returns how often tags were added to a candidate.
    fn tagged(&self, candidate: &str) -> usize {
        let path = format!("/v1/opportunities/{candidate}/addTags");
        self.lever.calls().iter().filter(|call| call.path == path).count()
    }

    async fn pad_name(&self, candidate: &str) -> String {
        self.pads_of(candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn candidate_of_a_failed_pad_is_tagged_once_until_it_is_open() {
    let env = TestEnv::start(options("failed-tag", json!({}))).await;
    let fault = env.interview.faults().add(refusal());
    let [candidate, untagged, left] = [(); 3].map(|()| env.candidate());
    for candidate in [&candidate, &untagged, &left] {
        env.enter(candidate).await;
        env.wait_for_pad(candidate, "Failed/InvalidRequest").await;
        env.has_tags(candidate, &[TAG, FAILED]).await;
    }
    env.lever.remove_tag(&untagged, FAILED);
    env.reconcile("pads", &env.pad_name(&untagged).await).await;
    env.wait_for_pad(&untagged, "Failed/InvalidRequest").await;
    assert_eq!(env.lever.tags(&untagged), [TAG], "a tag that a recruiter removes stays removed");

    env.lever.remove_tag(&left, TAG);
    env.reconcile("pads", &env.pad_name(&left).await).await;
    env.wait_for_pad(&left, "Skipped/TagMissing").await;
    env.has_tags(&left, &[]).await;

    fault.remove();
    env.patch("padconfigurations", CONFIGURATION, json!({"spec": {"title": "{candidate}"}})).await;
    for candidate in [&candidate, &untagged] {
        env.wait_for_one_pad(candidate).await;
        env.has_tags(candidate, &[TAG, "coderpad-ready"]).await;
        assert_eq!(env.tagged(candidate), 2, "one tag at a time, each added once");
    }
    assert_eq!(env.tagged(&left), 1);
    let pad = env.pads_of(&candidate).await.remove(0);
    assert_eq!(pad["status"]["failedTag"], Value::Null, "{pad:#}");
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_tag_is_removed_with_a_deleted_pad() {
    let env = TestEnv::start(options("failed-deleted", json!({"deletionPolicy": "Unlink"}))).await;
    env.interview.faults().add(refusal());
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.has_tags(&candidate, &[TAG, FAILED]).await;
    env.wait_for_pad(&candidate, "Failed/InvalidRequest").await;
    env.delete("pads", &env.pad_name(&candidate).await).await;
    eventually("the Pad is deleted", async || {
        let pads = env.pads_of(&candidate).await;
        if pads.is_empty() { Ok(()) } else { Err(format!("{pads:#?}")) }
    })
    .await;
    assert_eq!(env.lever.tags(&candidate), [TAG]);
    env.finish().await;
}

/// The tag must not hide the Pad's own problem, and writes that Lever rejects are not repeated endlessly.
#[tokio::test(flavor = "multi_thread")]
async fn rejected_failure_tag_does_not_affect_the_pad() {
    let env = TestEnv::start(options("failed-untaken", json!({}))).await;
    env.interview.faults().add(refusal());
    let [forbidden, down] = [(); 2].map(|()| env.candidate());
    let on = |candidate: &str| Fault::on("POST", &format!("/{candidate}/addTags$"));
    env.lever.faults().add(on(&forbidden).status(403).until_removed());
    env.lever.faults().add(on(&down).status(503).times(2));
    for candidate in [&forbidden, &down] {
        env.enter(candidate).await;
        env.wait_for_pad(candidate, "Failed/InvalidRequest").await;
    }
    env.has_tags(&down, &[TAG, FAILED]).await;
    for candidate in [&forbidden, &down] {
        env.sync().await;
        env.wait_for_pad(candidate, "Failed/InvalidRequest").await;
    }
    assert_eq!((env.tagged(&forbidden), env.tagged(&down)), (1, 3));
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn candidate_whose_pad_waits_ten_minutes_is_tagged() {
    let used_up = Quota { limit: Some(3), used: 3, overages_enabled: false, billed: 0 };
    let mut options = options("failed-waits", json!({}));
    options.interview.quota = used_up;
    let env = TestEnv::start(options).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_pad(&candidate, "Pending/QuotaExceeded").await;
    assert_eq!(env.lever.tags(&candidate), [TAG], "it has just started to wait");

    // While suspended, it sends nothing, however long it waits.
    env.patch("leverconnections", CONNECTION, json!({"spec": {"suspend": true}})).await;
    let pad = env.wait_for_pad(&candidate, "Pending/Suspended").await;
    let mut conditions = pad["status"]["conditions"].clone();
    for condition in conditions.as_array_mut().unwrap() {
        let long_ago = Timestamp::now().checked_sub(11.minutes()).unwrap();
        condition["lastTransitionTime"] = json!(long_ago.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    }
    let name = env.pad_name(&candidate).await;
    env.patch_status("pads", &name, json!({"conditions": conditions})).await;
    eventually("an Event reports the wait", async || {
        let events = env.events().await;
        let of_pad =
            |event: &&Value| event["regarding"]["name"] == *name || event["involvedObject"]["name"] == *name;
        let event_of_pad = events.as_array().unwrap().iter().find(of_pad).cloned();
        event_of_pad.map_or(Err(format!("{events:#}")), |event| {
            assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("Suspended")));
            Ok(())
        })
    })
    .await;
    assert_eq!(env.lever.tags(&candidate), [TAG]);
    env.patch("leverconnections", CONNECTION, json!({"spec": {"suspend": false}})).await;
    env.has_tags(&candidate, &[TAG, FAILED]).await;

    env.interview.set_quota(Quota { limit: Some(10), ..used_up });
    env.request("leverconnections", CONNECTION).await;
    env.wait_for_one_pad(&candidate).await;
    env.has_tags(&candidate, &[TAG, "coderpad-ready"]).await;
    env.finish().await;
}
