//! The failure tag, which informs recruiters about a Pad that fails or waits for a long time, in addition to the
//! Warning Event.

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use simulators::{Fault, Quota};

use crate::environment::{CONFIGURATION, CONNECTION, Options, TAG, World};
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

impl World {
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
    let world = World::start(options("failed-tag", json!({}))).await;
    let fault = world.interview.faults().add(refusal());
    let [candidate, untagged, left] = [(); 3].map(|()| world.candidate());
    for candidate in [&candidate, &untagged, &left] {
        world.enter(candidate).await;
        world.wait_for_pad(candidate, "Failed/InvalidRequest").await;
        world.has_tags(candidate, &[TAG, FAILED]).await;
    }
    world.lever.remove_tag(&untagged, FAILED);
    world.look_at("pads", &world.pad_name(&untagged).await).await;
    world.wait_for_pad(&untagged, "Failed/InvalidRequest").await;
    assert_eq!(world.lever.tags(&untagged), [TAG], "a tag that a recruiter removes stays removed");

    world.lever.remove_tag(&left, TAG);
    world.look_at("pads", &world.pad_name(&left).await).await;
    world.wait_for_pad(&left, "Skipped/TagMissing").await;
    world.has_tags(&left, &[]).await;

    fault.remove();
    world.patch("padconfigurations", CONFIGURATION, json!({"spec": {"title": "{candidate}"}})).await;
    for candidate in [&candidate, &untagged] {
        world.wait_for_one_pad(candidate).await;
        world.has_tags(candidate, &[TAG, "coderpad-ready"]).await;
        assert_eq!(world.tagged(candidate), 2, "one tag at a time, each added once");
    }
    assert_eq!(world.tagged(&left), 1);
    let pad = world.pads_of(&candidate).await.remove(0);
    assert_eq!(pad["status"]["failedTag"], Value::Null, "{pad:#}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_tag_is_removed_with_a_deleted_pad() {
    let world = World::start(options("failed-deleted", json!({"deletionPolicy": "Unlink"}))).await;
    world.interview.faults().add(refusal());
    let candidate = world.candidate();
    world.enter(&candidate).await;
    world.has_tags(&candidate, &[TAG, FAILED]).await;
    world.wait_for_pad(&candidate, "Failed/InvalidRequest").await;
    world.delete("pads", &world.pad_name(&candidate).await).await;
    eventually("the Pad is deleted", async || {
        let pads = world.pads_of(&candidate).await;
        if pads.is_empty() { Ok(()) } else { Err(format!("{pads:#?}")) }
    })
    .await;
    assert_eq!(world.lever.tags(&candidate), [TAG]);
    world.finish().await;
}

/// The tag must not hide the Pad's own problem, and writes that Lever rejects are not repeated endlessly.
#[tokio::test(flavor = "multi_thread")]
async fn rejected_failure_tag_does_not_affect_the_pad() {
    let world = World::start(options("failed-untaken", json!({}))).await;
    world.interview.faults().add(refusal());
    let [forbidden, down] = [(); 2].map(|()| world.candidate());
    let on = |candidate: &str| Fault::on("POST", &format!("/{candidate}/addTags$"));
    world.lever.faults().add(on(&forbidden).status(403).until_removed());
    world.lever.faults().add(on(&down).status(503).times(2));
    for candidate in [&forbidden, &down] {
        world.enter(candidate).await;
        world.wait_for_pad(candidate, "Failed/InvalidRequest").await;
    }
    world.has_tags(&down, &[TAG, FAILED]).await;
    for candidate in [&forbidden, &down] {
        world.sync().await;
        world.wait_for_pad(candidate, "Failed/InvalidRequest").await;
    }
    assert_eq!((world.tagged(&forbidden), world.tagged(&down)), (1, 3));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn candidate_whose_pad_waits_ten_minutes_is_tagged() {
    let used_up = Quota { limit: Some(3), used: 3, overages_enabled: false, billed: 0 };
    let mut options = options("failed-waits", json!({}));
    options.interview.quota = used_up;
    let world = World::start(options).await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    world.wait_for_pad(&candidate, "Pending/QuotaExceeded").await;
    assert_eq!(world.lever.tags(&candidate), [TAG], "it has just started to wait");

    // While suspended, it sends nothing, however long it waits.
    world.patch("leverconnections", CONNECTION, json!({"spec": {"suspend": true}})).await;
    let pad = world.wait_for_pad(&candidate, "Pending/Suspended").await;
    let mut conditions = pad["status"]["conditions"].clone();
    for condition in conditions.as_array_mut().unwrap() {
        let long_ago = Timestamp::now().checked_sub(11.minutes()).unwrap();
        condition["lastTransitionTime"] = json!(long_ago.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    }
    let name = world.pad_name(&candidate).await;
    world.patch_status("pads", &name, json!({"conditions": conditions})).await;
    eventually("an Event reports the wait", async || {
        let events = world.events().await;
        let of_pad =
            |event: &&Value| event["regarding"]["name"] == *name || event["involvedObject"]["name"] == *name;
        let told = events.as_array().unwrap().iter().find(of_pad).cloned();
        told.map_or(Err(format!("{events:#}")), |event| {
            assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("Suspended")));
            Ok(())
        })
    })
    .await;
    assert_eq!(world.lever.tags(&candidate), [TAG]);
    world.patch("leverconnections", CONNECTION, json!({"spec": {"suspend": false}})).await;
    world.has_tags(&candidate, &[TAG, FAILED]).await;

    world.interview.set_quota(Quota { limit: Some(10), ..used_up });
    world.request("leverconnections", CONNECTION).await;
    world.wait_for_one_pad(&candidate).await;
    world.has_tags(&candidate, &[TAG, "coderpad-ready"]).await;
    world.finish().await;
}
