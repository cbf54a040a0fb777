//! Decisions are permanent: an entry that had its pad gets no second one, whatever is deleted or edited (contract P9,
//! P10, E2, Phases).

use serde_json::{Value, json};
use simulators::{Fault, NewCandidate, Quota};

use crate::environment::{CONFIGURATION, CONNECTION, Options, STAGE, TAG, TestEnv};
use crate::status::phase;
use crate::wait::eventually;

impl TestEnv {
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
        let env = TestEnv::start(Options::new(name).configuration(json!({"deletionPolicy": policy}))).await;
        let (candidate, create_pad_by_hand) = (env.candidate(), env.candidate());
        for candidate in [&candidate, &create_pad_by_hand] {
            env.enter(candidate).await;
            env.wait_for_one_pad(candidate).await;
        }
        // A recruiter removes the link too: only the operator's own records are left.
        if policy == "Retain" {
            env.sync().await;
            for candidate in [&candidate, &create_pad_by_hand] {
                let url = env.lever.links(candidate).remove(0);
                env.lever.remove_link(candidate, &url);
            }
        }
        for candidate in [&candidate, &create_pad_by_hand] {
            env.delete_pad_of(candidate).await;
        }
        env.sync_often().await;
        assert_eq!(env.pads_of(&candidate).await, Vec::<Value>::new(), "{policy}: sync");
        for number in 0..env.lever.deliveries().len() {
            env.lever.redeliver(number).await;
        }
        let pad = env.wait_for_pad(&candidate, "Skipped/AlreadyServed").await;
        env.sync_often().await;
        env.wait_for_pad(&candidate, "Skipped/AlreadyServed").await;
        assert_eq!(env.creates(), 2, "{policy}: a webhook that is repeated");

        // A new entry and a person's request are different.
        env.lever.move_to_stage(&candidate, "Onsite").await;
        env.enter(&candidate).await;
        let url = env.wait_for_pad(&candidate, "Open/Open").await["status"]["url"].clone();
        assert_eq!(env.lever.links(&candidate), [url.as_str().unwrap()], "{policy}");
        assert_eq!(pad["metadata"]["name"], env.name_of_pad(&candidate).await);
        let name = env.name_of_pad(&create_pad_by_hand).await;
        env.request("pads", &name).await;
        env.wait_for_pad(&create_pad_by_hand, "Open/Open").await;
        assert_eq!(env.creates(), 4, "{policy}");
        env.finish().await;
    }
}

/// Contract P9: this also holds for existing candidates.
#[tokio::test(flavor = "multi_thread")]
async fn existing_candidates_stay_skipped_when_their_pads_are_deleted() {
    let mut env = TestEnv::prepare_with_existing("served-before", 4).await;
    let candidates = env.existing.clone();
    for candidate in &candidates {
        env.env.wait_for_pad(candidate, "Skipped/BeforeConfiguration").await;
    }
    // One half while the operator runs, the other while it does not.
    for candidate in &candidates[..2] {
        env.env.delete_pad_of(candidate).await;
    }
    env.env.operator().terminate().await;
    for candidate in &candidates[2..] {
        let name = env.env.name_of_pad(candidate).await;
        env.env.delete("pads", &name).await;
    }
    env.env.operator().start().await;
    let env = env.env;
    env.sync_often().await;
    for candidate in &candidates {
        assert_eq!(env.pads_of(candidate).await, Vec::<Value>::new());
    }
    env.lever.move_to_stage(&candidates[0], "Onsite").await;
    env.enter(&candidates[0]).await;
    env.wait_for_one_pad(&candidates[0]).await;
    assert_eq!(env.creates(), 1);
    env.finish().await;
}

struct Existing {
    env: TestEnv,
    existing: Vec<String>,
}

impl TestEnv {
    /// Returns an environment whose candidates were in the stage before the rule, with polling.
    async fn prepare_with_existing(name: &'static str, count: usize) -> Existing {
        let mut options = Options::new(name).polling("1h");
        options.configurations.clear();
        let env = TestEnv::start(options).await;
        let existing: Vec<String> = (0..count).map(|_| env.already_in_stage()).collect();
        env.configure(CONFIGURATION, json!({})).await;
        env.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;
        Existing { env, existing }
    }
}

/// Contract P10: Pads that a webhook created, and those that already wait, do not count as existing candidates.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_pads_survive_recreating_or_editing_their_rule() {
    let used_up = Quota { limit: Some(3), used: 3, overages_enabled: false, billed: 0 };
    let mut options = Options::new("served-waiting").polling("1h");
    options.interview.quota = used_up;
    let env = TestEnv::start(options).await;
    let candidates: Vec<String> = (0..6).map(|_| env.candidate()).collect();
    for candidate in &candidates {
        env.enter(candidate).await;
        env.wait_for_pad(candidate, "Pending/QuotaExceeded").await;
    }
    env.delete("padconfigurations", CONFIGURATION).await;
    for candidate in &candidates {
        env.wait_for_pad(candidate, "Pending/ConfigurationNotFound").await;
    }
    env.configure(CONFIGURATION, json!({})).await;
    env.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;
    env.sync().await;
    for candidate in &candidates {
        env.wait_for_pad(candidate, "Pending/QuotaExceeded").await;
    }
    for tag in ["another", TAG] {
        env.patch("padconfigurations", CONFIGURATION, json!({"spec": {"tag": tag}})).await;
        eventually("the edit is observed", async || {
            let object = env.get("padconfigurations", CONFIGURATION).await;
            let is_observed = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            if is_observed { Ok(()) } else { Err(format!("{object:#}")) }
        })
        .await;
        env.sync().await;
    }
    env.interview.set_quota(Quota { limit: Some(20), ..used_up });
    env.sync().await;
    for candidate in &candidates {
        env.wait_for_one_pad(candidate).await;
    }
    assert_eq!(env.creates(), 6);
    env.finish().await;
}

/// Contract, Phases: a Failed Pad is retried once for each entry.
#[tokio::test(flavor = "multi_thread")]
async fn failed_pad_is_retried_once_per_entry() {
    let env = TestEnv::start(Options::new("failed-once").polling("1s")).await;
    env.interview.faults().add(Fault::on("POST", "^/api/pads/?$").status(400).until_removed());
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_pad(&candidate, "Failed/InvalidRequest").await;
    let number = env.lever.deliveries().len() - 1;
    env.sync_often().await;
    env.lever.redeliver(number).await;
    env.sync_often().await;
    assert_eq!(env.creates(), 1, "the same entry");

    env.lever.move_to_stage(&candidate, "Onsite").await;
    env.enter(&candidate).await;
    eventually("the new entry is attempted", async || match env.creates() {
        2 => Ok(()),
        other => Err(format!("{other} requests")),
    })
    .await;
    env.wait_for_pad(&candidate, "Failed/InvalidRequest").await;
    env.sync_often().await;
    assert_eq!(env.creates(), 2, "one attempt for each entry");
    env.finish().await;
}

/// A Pad that is older than its configuration, created by hand or because the configuration was recreated.
#[tokio::test(flavor = "multi_thread")]
async fn pad_older_than_its_configuration_fails_once() {
    let mut options = Options::new("failed-older");
    options.configurations.clear();
    let env = TestEnv::start(options).await;
    let take_home = json!({"type": "TakeHome", "questionID": 1002});
    env.interview.change_settings(|settings| settings.accept_take_home = false);
    let (candidate, refused) = (env.candidate(), env.candidate());
    env.create_pad_by_hand("by-hand", CONFIGURATION, &candidate).await;
    env.create_pad_by_hand("refused", "other", &refused).await;
    env.wait_for_pad(&candidate, "Pending/ConfigurationNotFound").await;
    env.wait_for_pad(&refused, "Pending/ConfigurationNotFound").await;
    env.interview
        .faults()
        .add(Fault::on("POST", "^/api/pads/?$").containing(&refused).status(400).until_removed());
    env.configure(CONFIGURATION, take_home.clone()).await;
    env.configure("other", json!({"tag": "other"})).await;
    env.wait_for_pad(&candidate, "Failed/TakeHomeRefused").await;
    env.wait_for_pad(&refused, "Failed/InvalidRequest").await;
    // Each of these triggers a reconcile of the Pads.
    for title in ["a {candidate}", "b {candidate}"] {
        env.patch("leverconnections", CONNECTION, json!({"metadata": {"annotations": {"title": title}}}))
            .await;
        env.sync().await;
    }
    assert_eq!(env.creates(), 2, "one attempt each");
    assert!(env.created_pads_of(&candidate).iter().all(|pad| pad.deleted));

    // Contract F7: no pad is created for another candidate either.
    let configuration =
        env.wait_for("padconfigurations", CONFIGURATION, "Ready", "False/TakeHomeRefused").await;
    assert!(configuration["status"]["takeHomeRefusedGeneration"].is_i64());
    let another = env.candidate();
    env.create_pad_by_hand("another", CONFIGURATION, &another).await;
    env.wait_for_pad(&another, "Pending/ConfigurationNotReady").await;
    assert_eq!(env.creates(), 2);
    env.interview.change_settings(|settings| settings.accept_take_home = true);
    env.request("padconfigurations", CONFIGURATION).await;
    env.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;
    env.wait_for_pad(&another, "Open/Open").await;
    env.request("pads", "by-hand").await;
    env.wait_for_pad(&candidate, "Open/Open").await;
    assert_eq!(env.creates(), 4);
    env.finish().await;
}

/// Contract E2: no other pad for an entry before the pad was deleted.
#[tokio::test(flavor = "multi_thread")]
async fn entry_before_the_pad_was_deleted_gets_no_second_pad() {
    let env = TestEnv::start(Options::new("served-deleted")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    env.lever.move_to_stage(&candidate, "Onsite").await;
    env.enter(&candidate).await;
    env.interview.delete_pad(&made.id);
    let name = env.name_of_pad(&candidate).await;
    env.request("pads", &name).await;
    env.wait_for_pad(&candidate, "Ended/PadDeleted").await;
    env.sync_often().await;
    for number in 0..env.lever.deliveries().len() {
        env.lever.redeliver(number).await;
    }
    env.sync_often().await;
    env.wait_for_pad(&candidate, "Ended/PadDeleted").await;
    assert_eq!(env.creates(), 1);
    env.lever.move_to_stage(&candidate, "Onsite").await;
    env.enter(&candidate).await;
    env.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    env.finish().await;
}

/// A Pad that a person ended before there was a pad covers every entry until then.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_pad_stays_cancelled_for_its_entry() {
    let env = TestEnv::start(Options::new("served-cancelled")).await;
    let candidate = env.add_candidate(NewCandidate::default());
    env.enter(&candidate).await;
    env.wait_for_pad(&candidate, "Skipped/TagMissing").await;
    env.lever.move_to_stage(&candidate, "Onsite").await;
    env.enter(&candidate).await;
    env.wait_for_pad(&candidate, "Skipped/TagMissing").await;
    let name = env.name_of_pad(&candidate).await;
    env.patch("pads", &name, json!({"spec": {"state": "Ended"}})).await;
    env.wait_for_pad(&candidate, "Skipped/Cancelled").await;
    env.lever.add_tag(&candidate, TAG);
    env.sync_often().await;
    assert_eq!(env.pads_of(&candidate).await.iter().map(phase).collect::<Vec<_>>(), ["Skipped/Cancelled"]);
    assert_eq!(env.creates(), 0);
    env.lever.move_to_stage(&candidate, "Onsite").await;
    env.enter(&candidate).await;
    env.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    env.finish().await;
}
