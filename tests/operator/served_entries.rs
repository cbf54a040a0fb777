//! Decisions are permanent: an entry that had its pad gets no second one, whatever is deleted or edited (contract P9,
//! P10, E2, Phases).

use serde_json::{Value, json};
use simulators::{Fault, NewCandidate, Quota};

use crate::environment::{CONFIGURATION, CONNECTION, Options, STAGE, TAG, World};
use crate::status::phase;
use crate::wait::eventually;

impl World {
    fn already_in_stage(&self) -> String {
        self.add_candidate(NewCandidate {
            tags: vec![TAG.into()],
            stage: STAGE.into(),
            ..NewCandidate::default()
        })
    }

    pub async fn name_of_pad(&self, candidate: &str) -> String {
        self.pads_of(candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned()
    }

    async fn delete_pad_of(&self, candidate: &str) {
        self.delete("pads", &self.name_of_pad(candidate).await).await;
        eventually("the Pad is deleted", async || {
            let pads = self.pads_of(candidate).await;
            if pads.is_empty() { Ok(()) } else { Err(format!("{pads:#?}")) }
        })
        .await;
    }

    /// Requests several syncs, one after the other.
    async fn sync_often(&self) {
        for _ in 0..3 {
            self.sync().await;
        }
    }
}

/// Contract P9: whatever the deletion policy.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_pad_is_not_recreated_for_the_same_entry() {
    for (name, policy) in
        [("served-delete", "Delete"), ("served-unlink", "Unlink"), ("served-retain", "Retain")]
    {
        let world = World::start(Options::new(name).configuration(json!({"deletionPolicy": policy}))).await;
        let (candidate, by_hand) = (world.candidate(), world.candidate());
        for candidate in [&candidate, &by_hand] {
            world.enter(candidate).await;
            world.wait_for_one_pad(candidate).await;
        }
        // A recruiter removes the link too: only the operator's own records are left.
        if policy == "Retain" {
            world.sync().await;
            for candidate in [&candidate, &by_hand] {
                let url = world.lever.links(candidate).remove(0);
                world.lever.remove_link(candidate, &url);
            }
        }
        for candidate in [&candidate, &by_hand] {
            world.delete_pad_of(candidate).await;
        }
        world.sync_often().await;
        assert_eq!(world.pads_of(&candidate).await, Vec::<Value>::new(), "{policy}: sync");
        for number in 0..world.lever.deliveries().len() {
            world.lever.redeliver(number).await;
        }
        let pad = world.wait_for_pad(&candidate, "Skipped/AlreadyServed").await;
        world.sync_often().await;
        world.wait_for_pad(&candidate, "Skipped/AlreadyServed").await;
        assert_eq!(world.creates(), 2, "{policy}: a webhook that is repeated");

        // A new entry and a person's request are different.
        world.lever.move_to_stage(&candidate, "Onsite").await;
        world.enter(&candidate).await;
        let url = world.wait_for_pad(&candidate, "Open/Open").await["status"]["url"].clone();
        assert_eq!(world.lever.links(&candidate), [url.as_str().unwrap()], "{policy}");
        assert_eq!(pad["metadata"]["name"], world.name_of_pad(&candidate).await);
        let name = world.name_of_pad(&by_hand).await;
        world.request("pads", &name).await;
        world.wait_for_pad(&by_hand, "Open/Open").await;
        assert_eq!(world.creates(), 4, "{policy}");
        world.finish().await;
    }
}

/// Contract P9: this also holds for existing candidates.
#[tokio::test(flavor = "multi_thread")]
async fn existing_candidates_stay_skipped_when_their_pads_are_deleted() {
    let mut world = World::prepare_with_existing("served-before", 4).await;
    let candidates = world.existing.clone();
    for candidate in &candidates {
        world.world.wait_for_pad(candidate, "Skipped/BeforeConfiguration").await;
    }
    // One half while the operator runs, the other while it does not.
    for candidate in &candidates[..2] {
        world.world.delete_pad_of(candidate).await;
    }
    world.world.operator().terminate().await;
    for candidate in &candidates[2..] {
        let name = world.world.name_of_pad(candidate).await;
        world.world.delete("pads", &name).await;
    }
    world.world.operator().start().await;
    let world = world.world;
    world.sync_often().await;
    for candidate in &candidates {
        assert_eq!(world.pads_of(candidate).await, Vec::<Value>::new());
    }
    world.lever.move_to_stage(&candidates[0], "Onsite").await;
    world.enter(&candidates[0]).await;
    world.wait_for_one_pad(&candidates[0]).await;
    assert_eq!(world.creates(), 1);
    world.finish().await;
}

struct Existing {
    world: World,
    existing: Vec<String>,
}

impl World {
    /// Returns an environment whose candidates were in the stage before the rule, with polling.
    async fn prepare_with_existing(name: &'static str, count: usize) -> Existing {
        let mut options = Options::new(name).polling("1h");
        options.configurations.clear();
        let world = World::start(options).await;
        let existing: Vec<String> = (0..count).map(|_| world.already_in_stage()).collect();
        world.configure(CONFIGURATION, json!({})).await;
        world.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;
        Existing { world, existing }
    }
}

/// Contract P10: Pads that a webhook created, and those that already wait, do not count as existing candidates.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_pads_survive_recreating_or_editing_their_rule() {
    let used_up = Quota { limit: Some(3), used: 3, overages_enabled: false, billed: 0 };
    let mut options = Options::new("served-waiting").polling("1h");
    options.interview.quota = used_up;
    let world = World::start(options).await;
    let candidates: Vec<String> = (0..6).map(|_| world.candidate()).collect();
    for candidate in &candidates {
        world.enter(candidate).await;
        world.wait_for_pad(candidate, "Pending/QuotaExceeded").await;
    }
    world.delete("padconfigurations", CONFIGURATION).await;
    for candidate in &candidates {
        world.wait_for_pad(candidate, "Pending/ConfigurationNotFound").await;
    }
    world.configure(CONFIGURATION, json!({})).await;
    world.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;
    world.sync().await;
    for candidate in &candidates {
        world.wait_for_pad(candidate, "Pending/QuotaExceeded").await;
    }
    for tag in ["another", TAG] {
        world.patch("padconfigurations", CONFIGURATION, json!({"spec": {"tag": tag}})).await;
        eventually("the edit is observed", async || {
            let object = world.get("padconfigurations", CONFIGURATION).await;
            let is_observed = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            if is_observed { Ok(()) } else { Err(format!("{object:#}")) }
        })
        .await;
        world.sync().await;
    }
    world.interview.set_quota(Quota { limit: Some(20), ..used_up });
    world.sync().await;
    for candidate in &candidates {
        world.wait_for_one_pad(candidate).await;
    }
    assert_eq!(world.creates(), 6);
    world.finish().await;
}

/// Contract, Phases: a Failed Pad is retried once for each entry.
#[tokio::test(flavor = "multi_thread")]
async fn failed_pad_is_retried_once_per_entry() {
    let world = World::start(Options::new("failed-once").polling("1s")).await;
    world.interview.faults().add(Fault::on("POST", "^/api/pads/?$").status(400).until_removed());
    let candidate = world.candidate();
    world.enter(&candidate).await;
    world.wait_for_pad(&candidate, "Failed/InvalidRequest").await;
    let number = world.lever.deliveries().len() - 1;
    world.sync_often().await;
    world.lever.redeliver(number).await;
    world.sync_often().await;
    assert_eq!(world.creates(), 1, "the same entry");

    world.lever.move_to_stage(&candidate, "Onsite").await;
    world.enter(&candidate).await;
    eventually("the new entry is attempted", async || match world.creates() {
        2 => Ok(()),
        other => Err(format!("{other} requests")),
    })
    .await;
    world.wait_for_pad(&candidate, "Failed/InvalidRequest").await;
    world.sync_often().await;
    assert_eq!(world.creates(), 2, "one attempt for each entry");
    world.finish().await;
}

/// A Pad that is older than its configuration, created by hand or because the configuration was recreated.
#[tokio::test(flavor = "multi_thread")]
async fn pad_older_than_its_configuration_fails_once() {
    let mut options = Options::new("failed-older");
    options.configurations.clear();
    let world = World::start(options).await;
    let take_home = json!({"type": "TakeHome", "questionID": 1002});
    world.interview.change_settings(|settings| settings.accept_take_home = false);
    let (candidate, refused) = (world.candidate(), world.candidate());
    world.by_hand("by-hand", CONFIGURATION, &candidate).await;
    world.by_hand("refused", "other", &refused).await;
    world.wait_for_pad(&candidate, "Pending/ConfigurationNotFound").await;
    world.wait_for_pad(&refused, "Pending/ConfigurationNotFound").await;
    world
        .interview
        .faults()
        .add(Fault::on("POST", "^/api/pads/?$").containing(&refused).status(400).until_removed());
    world.configure(CONFIGURATION, take_home.clone()).await;
    world.configure("other", json!({"tag": "other"})).await;
    world.wait_for_pad(&candidate, "Failed/TakeHomeRefused").await;
    world.wait_for_pad(&refused, "Failed/InvalidRequest").await;
    // Each of these triggers a reconcile of the Pads.
    for title in ["a {candidate}", "b {candidate}"] {
        world
            .patch("leverconnections", CONNECTION, json!({"metadata": {"annotations": {"title": title}}}))
            .await;
        world.sync().await;
    }
    assert_eq!(world.creates(), 2, "one attempt each");
    assert!(world.pads_made_for(&candidate).iter().all(|pad| pad.deleted));

    // Contract F7: no pad is created for another candidate either.
    let configuration =
        world.wait_for("padconfigurations", CONFIGURATION, "Ready", "False/TakeHomeRefused").await;
    assert!(configuration["status"]["takeHomeRefusedGeneration"].is_i64());
    let another = world.candidate();
    world.by_hand("another", CONFIGURATION, &another).await;
    world.wait_for_pad(&another, "Pending/ConfigurationNotReady").await;
    assert_eq!(world.creates(), 2);
    world.interview.change_settings(|settings| settings.accept_take_home = true);
    world.request("padconfigurations", CONFIGURATION).await;
    world.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;
    world.wait_for_pad(&another, "Open/Open").await;
    world.request("pads", "by-hand").await;
    world.wait_for_pad(&candidate, "Open/Open").await;
    assert_eq!(world.creates(), 4);
    world.finish().await;
}

/// Contract E2: no other pad for an entry before the pad was deleted.
#[tokio::test(flavor = "multi_thread")]
async fn entry_before_the_pad_was_deleted_gets_no_second_pad() {
    let world = World::start(Options::new("served-deleted")).await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    let made = world.wait_for_one_pad(&candidate).await;
    world.lever.move_to_stage(&candidate, "Onsite").await;
    world.enter(&candidate).await;
    world.interview.delete_pad(&made.id);
    let name = world.name_of_pad(&candidate).await;
    world.request("pads", &name).await;
    world.wait_for_pad(&candidate, "Ended/PadDeleted").await;
    world.sync_often().await;
    for number in 0..world.lever.deliveries().len() {
        world.lever.redeliver(number).await;
    }
    world.sync_often().await;
    world.wait_for_pad(&candidate, "Ended/PadDeleted").await;
    assert_eq!(world.creates(), 1);
    world.lever.move_to_stage(&candidate, "Onsite").await;
    world.enter(&candidate).await;
    world.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    world.finish().await;
}

/// A Pad that a person ended before there was a pad covers every entry until then.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_pad_stays_cancelled_for_its_entry() {
    let world = World::start(Options::new("served-cancelled")).await;
    let candidate = world.add_candidate(NewCandidate::default());
    world.enter(&candidate).await;
    world.wait_for_pad(&candidate, "Skipped/TagMissing").await;
    world.lever.move_to_stage(&candidate, "Onsite").await;
    world.enter(&candidate).await;
    world.wait_for_pad(&candidate, "Skipped/TagMissing").await;
    let name = world.name_of_pad(&candidate).await;
    world.patch("pads", &name, json!({"spec": {"state": "Ended"}})).await;
    world.wait_for_pad(&candidate, "Skipped/Cancelled").await;
    world.lever.add_tag(&candidate, TAG);
    world.sync_often().await;
    assert_eq!(world.pads_of(&candidate).await.iter().map(phase).collect::<Vec<_>>(), ["Skipped/Cancelled"]);
    assert_eq!(world.creates(), 0);
    world.lever.move_to_stage(&candidate, "Onsite").await;
    world.enter(&candidate).await;
    world.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    world.finish().await;
}
