//! A candidate who enters the stage again: which entries get another pad, and that repeated deliveries change nothing.

use serde_json::json;
use simulators::{DeliveryBehaviour, PadView};

use crate::environment::{Options, STAGE, World};
use crate::status::phase;
use crate::wait::eventually;

impl World {
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
    async fn settled(&self, candidate: &str) {
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
        let mut pads = self.pads_made_for(candidate);
        pads.retain(|pad| !pad.deleted);
        pads
    }

    /// Returns the number of reads of one opportunity.
    fn reads_of(&self, candidate: &str) -> usize {
        let path = format!("/v1/opportunities/{candidate}");
        self.lever.calls().iter().filter(|call| call.method == "GET" && call.path == path).count()
    }
}

async fn started(name: &'static str, repeat: &str) -> (World, String, PadView) {
    let world = World::start(Options::new(name).configuration(json!({"repeat": repeat}))).await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    let made = world.wait_for_one_pad(&candidate).await;
    (world, candidate, made)
}

#[tokio::test(flavor = "multi_thread")]
async fn entry_after_the_end_creates_one_more_pad() {
    let (world, candidate, first) = started("repeat-after-end", "AfterEnd").await;
    world.come_back(&candidate).await;
    world.settled(&candidate).await;
    assert_eq!(world.creates(), 1, "the interview is not over");

    world.end_interview(&candidate, &first.id).await;
    let number = world.come_back(&candidate).await;
    let second = world.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    assert_eq!(second["spec"]["trigger"]["source"], "Webhook");
    assert_eq!(world.live_pads_of(&candidate).len(), 2);
    let links = world.lever.links(&candidate);
    assert_eq!(links.len(), 2);
    assert!(links.contains(&first.url), "the first pad remains as the record");

    // The whole history once more, newest first, and the last three in parallel.
    let reads = world.reads_of(&candidate);
    for number in (0..world.lever.deliveries().len()).rev() {
        world.lever.redeliver(number).await;
    }
    let again = || world.lever.redeliver(number);
    tokio::join!(again(), again(), again());
    world.settled(&candidate).await;
    assert_eq!(world.reads_of(&candidate), reads, "a decided entry costs no call");
    world.sync().await;
    world.settled(&candidate).await;
    assert_eq!(world.pads_of(&candidate).await.len(), 2);
    assert_eq!((world.creates(), world.lever.links(&candidate)), (2, links));
    world.wait_for_nth_pad(&candidate, 1, "Ended/Ended").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entry_before_the_end_was_observed_is_reevaluated_by_sync() {
    let (world, candidate, first) = started("repeat-unseen-end", "AfterEnd").await;
    world.interview.end_interview(&first.id);
    world.come_back(&candidate).await;
    world.settled(&candidate).await;
    assert_eq!(world.pads_of(&candidate).await.len(), 1);

    world.sync().await;
    let second = world.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    assert_eq!(second["spec"]["trigger"]["source"], "Sync");
    world.sync().await;
    assert_eq!(world.creates(), 2);
    world.finish().await;
}

/// The same without a webhook: the sync that finds the entry is the one that observes the end (contract P3d).
#[tokio::test(flavor = "multi_thread")]
async fn entry_after_an_unobserved_end_gets_its_pad_without_a_webhook() {
    let (world, candidate, first) = started("repeat-unseen-entry", "AfterEnd").await;
    world.interview.end_interview(&first.id);
    world.lever.set_delivery_behaviour(DeliveryBehaviour { drop: true, ..DeliveryBehaviour::default() });
    world.lever.move_to_stage(&candidate, "Onsite").await;
    world.lever.move_to_stage(&candidate, STAGE).await;

    world.sync().await;
    world.wait_for_nth_pad(&candidate, 1, "Ended/Ended").await;
    world.sync().await;
    world.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    world.sync().await;
    assert_eq!(world.creates(), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeat_always_creates_a_pad_for_each_entry() {
    let (world, candidate, _) = started("repeat-always", "Always").await;
    world.come_back(&candidate).await;
    world.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    let number = world.come_back(&candidate).await;
    world.wait_for_nth_pad(&candidate, 3, "Open/Open").await;
    let reads = world.reads_of(&candidate);
    let writes = world.writes_to_pads().await;
    world.lever.redeliver(number).await;
    world.settled(&candidate).await;
    // The first delivery, for the newest Pad: it is decided by one read, and only the decision is stored.
    world.lever.redeliver(1).await;
    world.settled(&candidate).await;
    assert!(world.reads_of(&candidate) <= reads + 2);
    assert!(world.writes_to_pads().await <= writes + 4, "one write of the receiver and the echo");
    assert_eq!((world.creates(), world.pads_of(&candidate).await.len()), (3, 3));
    assert_eq!(world.lever.links(&candidate).len(), 3);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeat_never_creates_no_second_pad() {
    let (world, candidate, first) = started("repeat-never", "Never").await;
    world.end_interview(&candidate, &first.id).await;
    world.come_back(&candidate).await;
    world.settled(&candidate).await;
    world.sync().await;
    assert_eq!((world.creates(), world.pads_of(&candidate).await.len()), (1, 1));
    world.finish().await;
}

/// While nothing may be sent the decision is postponed.
#[tokio::test(flavor = "multi_thread")]
async fn entry_during_a_suspension_is_not_lost() {
    let (world, candidate, first) = started("repeat-suspended", "AfterEnd").await;
    world.end_interview(&candidate, &first.id).await;
    world.patch("leverconnections", crate::environment::CONNECTION, json!({"spec": {"suspend": true}})).await;
    world.wait_for("leverconnections", crate::environment::CONNECTION, "Suspended", "True/Suspended").await;
    world.lever.move_to_stage(&candidate, "Onsite").await;
    world.lever.move_to_stage(&candidate, STAGE).await;
    world.lever.wait_for_deliveries(1).await;
    world
        .patch("leverconnections", crate::environment::CONNECTION, json!({"spec": {"suspend": false}}))
        .await;
    world.wait_for_nth_pad(&candidate, 2, "Open/Open").await;
    world.finish().await;
}

impl World {
    async fn writes_to_pads(&self) -> usize {
        let requests = self.cluster.requests(self.namespace).await;
        let is_ours = |user: &str| user.starts_with("pad-operator");
        requests
            .iter()
            .filter(|one| one.is_write() && is_ours(&one.user) && one.resource.starts_with("pads"))
            .count()
    }
}
