//! A candidate who enters the stage again: which entries get another pad, and that repeated deliveries change nothing.

use serde_json::json;
use simulators::{DeliveryBehaviour, PadView};

use crate::environment::{Options, STAGE, TestEnv};
use crate::status::phase;
use crate::wait::eventually;

impl TestEnv {
    /// Ends the interview of a candidate's newest pad, and waits until the operator has observed it.
    pub async fn end_interview(&self, candidate: &str, pad: &str) {
        self.interview.end_interview(pad);
        let pads = self.pads_of(candidate).await;
        let known = pads.iter().find(|known| known["status"]["padID"] == pad).unwrap();
        let name = known["metadata"]["name"].as_str().unwrap();
        self.request("pads", name).await;
        eventually("the end is known", async || {
            let pad = self.get("pads", name).await;
            if phase(&pad) == "Ended/Ended" { Ok(()) } else { Err(format!("{pad:#}")) }
        })
        .await;
    }

    /// Moves the candidate away and back into the stage. Returns the number of the delivery.
    async fn come_back(&self, candidate: &str) -> usize {
        self.lever.move_to_stage(candidate, "Onsite").await;
        self.enter(candidate).await;
        self.lever.deliveries().len() - 1
    }

    /// Waits until all requests for a candidate's Pads are handled.
    async fn wait_until_settled(&self, candidate: &str) {
        eventually("all Pads are decided", async || {
            let pads = self.pads_of(candidate).await;
            let is_open = |pad: &&serde_json::Value| {
                let asked = &pad["metadata"]["annotations"]["padoperator.dev/reconcile-requested-at"];
                pad["status"]["lastHandledReconcileAt"] != *asked || pad["status"]["phase"] == "Pending"
            };
            pads.iter().find(is_open).map_or(Ok(()), |pad| Err(format!("{pad:#}")))
        })
        .await;
    }

    fn live_pads_of(&self, candidate: &str) -> Vec<PadView> {
        let mut pads = self.created_pads_of(candidate);
        pads.retain(|pad| !pad.deleted);
        pads
    }

    /// Returns the number of reads of one opportunity.
    fn reads_of(&self, candidate: &str) -> usize {
        let path = format!("/v1/opportunities/{candidate}");
        self.lever.calls().iter().filter(|call| call.method == "GET" && call.path == path).count()
    }
}

async fn started(name: &'static str, repeat: &str) -> (TestEnv, String, PadView) {
    let env = TestEnv::start(Options::new(name).configuration(json!({"repeat": repeat}))).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    (env, candidate, made)
}

#[tokio::test(flavor = "multi_thread")]
async fn entry_after_the_end_creates_one_more_pad() {
    let (env, candidate, first) = started("repeat-after-end", "AfterEnd").await;
    env.come_back(&candidate).await;
    env.wait_until_settled(&candidate).await;
    assert_eq!(env.creates(), 1, "the interview is not over");

    env.end_interview(&candidate, &first.id).await;
    let number = env.come_back(&candidate).await;
    let second = env.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    assert_eq!(second["spec"]["trigger"]["source"], "Webhook");
    assert_eq!(env.live_pads_of(&candidate).len(), 2);
    let links = env.lever.links(&candidate);
    assert_eq!(links.len(), 2);
    assert!(links.contains(&first.url), "the first pad remains as the record");

    // The whole history once more, newest first, and the last three in parallel.
    let reads = env.reads_of(&candidate);
    for number in (0..env.lever.deliveries().len()).rev() {
        env.lever.redeliver(number).await;
    }
    let again = || env.lever.redeliver(number);
    tokio::join!(again(), again(), again());
    env.wait_until_settled(&candidate).await;
    assert_eq!(env.reads_of(&candidate), reads, "a decided entry costs no call");
    env.sync().await;
    env.wait_until_settled(&candidate).await;
    assert_eq!(env.pads_of(&candidate).await.len(), 2);
    assert_eq!((env.creates(), env.lever.links(&candidate)), (2, links));
    env.wait_for_nth_pad(&candidate, 1, "Ended/Ended").await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entry_before_the_end_was_observed_is_reevaluated_by_sync() {
    let (env, candidate, first) = started("repeat-unseen-end", "AfterEnd").await;
    env.interview.end_interview(&first.id);
    env.come_back(&candidate).await;
    env.wait_until_settled(&candidate).await;
    assert_eq!(env.pads_of(&candidate).await.len(), 1);

    env.sync().await;
    let second = env.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    assert_eq!(second["spec"]["trigger"]["source"], "Sync");
    env.sync().await;
    assert_eq!(env.creates(), 2);
    env.finish().await;
}

/// The same without a webhook: the sync that finds the entry is the one that observes the end (contract P3d).
#[tokio::test(flavor = "multi_thread")]
async fn entry_after_an_unobserved_end_gets_its_pad_without_a_webhook() {
    let (env, candidate, first) = started("repeat-unseen-entry", "AfterEnd").await;
    env.interview.end_interview(&first.id);
    env.lever.set_delivery_behaviour(DeliveryBehaviour { drop: true, ..DeliveryBehaviour::default() });
    env.lever.move_to_stage(&candidate, "Onsite").await;
    env.lever.move_to_stage(&candidate, STAGE).await;

    env.sync().await;
    env.wait_for_nth_pad(&candidate, 1, "Ended/Ended").await;
    env.sync().await;
    env.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    env.sync().await;
    assert_eq!(env.creates(), 2);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeat_always_creates_a_pad_for_each_entry() {
    let (env, candidate, _) = started("repeat-always", "Always").await;
    env.come_back(&candidate).await;
    env.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    let number = env.come_back(&candidate).await;
    env.wait_for_nth_pad(&candidate, 3, "Open/Open").await;
    let reads = env.reads_of(&candidate);
    let writes = env.writes_to_pads().await;
    env.lever.redeliver(number).await;
    env.wait_until_settled(&candidate).await;
    // The first delivery, for the newest Pad: it is decided by one read, and only the decision is stored.
    env.lever.redeliver(1).await;
    env.wait_until_settled(&candidate).await;
    assert!(env.reads_of(&candidate) <= reads + 2);
    assert!(env.writes_to_pads().await <= writes + 4, "one write of the receiver and the echo");
    assert_eq!((env.creates(), env.pads_of(&candidate).await.len()), (3, 3));
    assert_eq!(env.lever.links(&candidate).len(), 3);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeat_never_creates_no_second_pad() {
    let (env, candidate, first) = started("repeat-never", "Never").await;
    env.end_interview(&candidate, &first.id).await;
    env.come_back(&candidate).await;
    env.wait_until_settled(&candidate).await;
    env.sync().await;
    assert_eq!((env.creates(), env.pads_of(&candidate).await.len()), (1, 1));
    env.finish().await;
}

/// While nothing may be sent the decision is postponed.
#[tokio::test(flavor = "multi_thread")]
async fn entry_during_a_suspension_is_not_lost() {
    let (env, candidate, first) = started("repeat-suspended", "AfterEnd").await;
    env.end_interview(&candidate, &first.id).await;
    env.patch("leverconnections", crate::environment::CONNECTION, json!({"spec": {"suspend": true}})).await;
    env.wait_for("leverconnections", crate::environment::CONNECTION, "Suspended", "True/Suspended").await;
    env.lever.move_to_stage(&candidate, "Onsite").await;
    env.lever.move_to_stage(&candidate, STAGE).await;
    env.lever.wait_for_deliveries(1).await;
    env.patch("leverconnections", crate::environment::CONNECTION, json!({"spec": {"suspend": false}})).await;
    env.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    env.finish().await;
}

impl TestEnv {
    async fn writes_to_pads(&self) -> usize {
        let requests = self.cluster.requests(self.namespace).await;
        let is_ours = |user: &str| user.starts_with("pad-operator");
        requests
            .iter()
            .filter(|one| one.is_write() && is_ours(&one.user) && one.resource.starts_with("pads"))
            .count()
    }
}
