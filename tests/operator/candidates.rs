//! Eligibility for pads, and that no candidate gets a second one, whatever the number and order of deliveries.

use serde_json::json;
use simulators::{DeliveryBehaviour, NewCandidate};

use crate::environment::{CONFIGURATION, Options, STAGE, TAG, World};
use crate::status::message_of;
use crate::wait::{eventually, soon};

const HELD: fn() -> DeliveryBehaviour = || DeliveryBehaviour { hold: true, ..DeliveryBehaviour::default() };

async fn name_of(world: &World, candidate: &str) -> String {
    world.pads_of(candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned()
}

/// Requests a reconcile and waits until it is handled.
async fn look_again(world: &World, candidate: &str) {
    world.request("pads", &name_of(world, candidate).await).await;
    settled(world, candidate).await;
}

/// Waits until the last request is handled.
async fn settled(world: &World, candidate: &str) {
    eventually("the request is handled", async || {
        let pad = world.pads_of(candidate).await.remove(0);
        let asked = &pad["metadata"]["annotations"]["padoperator.dev/reconcile-requested-at"];
        if pad["status"]["lastHandledReconcileAt"] == *asked { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_tag_is_reported_and_can_be_added() {
    let world = World::start(Options::new("untagged")).await;
    let tagged = |tag: &str| NewCandidate { tags: vec![tag.into()], ..NewCandidate::default() };
    let (untagged, other_case) =
        (world.add_candidate(tagged("other")), world.add_candidate(tagged("CoderPad")));
    for candidate in [&untagged, &other_case] {
        world.enter(candidate).await;
        let pad = world.wait_for_pad(candidate, "Skipped/TagMissing").await;
        assert!(message_of(&pad, "Ready").contains("'coderpad'"), "{pad:#}");
    }
    assert_eq!(world.creates(), 0);

    world.lever.add_tag(&untagged, TAG);
    world.request("pads", &name_of(&world, &untagged).await).await;
    world.wait_for_one_pad(&untagged).await;

    let inherited = NewCandidate { posting_tags: vec![TAG.into()], ..NewCandidate::default() };
    let inherited = world.add_candidate(inherited);
    world.enter(&inherited).await;
    world.wait_for_one_pad(&inherited).await;
    assert_eq!(world.creates(), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ineligible_candidates_have_distinct_reasons() {
    let world = World::start(Options::new("skipped")).await;
    // The probe after a refused key or candidate needs a candidate that can be read.
    world.candidate();
    let archived = world.candidate();
    world.lever.archive(&archived);
    world.enter(&archived).await;
    world.wait_for_pad(&archived, "Skipped/CandidateArchived").await;

    let confidential = world.candidate();
    world.lever.set_confidential(&confidential, true);
    world.enter(&confidential).await;
    world.wait_for_pad(&confidential, "Skipped/CandidateConfidential").await;

    world.lever.set_delivery_behaviour(HELD());
    let [moved_on, deleted, anonymized] = [(); 3].map(|()| world.candidate());
    for candidate in [&moved_on, &deleted, &anonymized] {
        world.lever.move_to_stage(candidate, STAGE).await;
    }
    world.lever.move_to_stage(&moved_on, "Onsite").await;
    world.lever.delete(&deleted);
    world.lever.anonymize(&anonymized);
    world.lever.release_deliveries(false).await;
    world.wait_for_pad(&moved_on, "Skipped/StageChanged").await;
    world.wait_for_pad(&deleted, "Skipped/CandidateNotFound").await;
    world.wait_for_pad(&anonymized, "Skipped/CandidateNotFound").await;
    assert_eq!(world.creates(), 0);

    // None of these decisions is final.
    world.lever.set_delivery_behaviour(DeliveryBehaviour::default());
    world.lever.unarchive(&archived);
    world.request("pads", &name_of(&world, &archived).await).await;
    world.wait_for_one_pad(&archived).await;
    world.lever.set_confidential(&confidential, false);
    world.request("pads", &name_of(&world, &confidential).await).await;
    world.wait_for_one_pad(&confidential).await;
    world.enter(&moved_on).await;
    world.wait_for_one_pad(&moved_on).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pad_by_hand_requires_neither_tag_nor_stage() {
    let world = World::start(Options::new("by-hand")).await;
    let candidate = world.add_candidate(NewCandidate::default());
    let archived = world.add_candidate(NewCandidate { archived: true, ..NewCandidate::default() });
    for (name, candidate) in [("for-one", &candidate), ("for-another", &archived)] {
        let spec = json!({"configurationRef": {"name": CONFIGURATION}, "opportunityID": candidate});
        world.kubectl_apply("Pad", name, &spec).await.unwrap();
    }
    let made = world.wait_for_one_pad(&candidate).await;
    assert!(made.notes.unwrap().lines().next().unwrap().ends_with("/for-one"));
    world.wait_for_pad(&archived, "Skipped/CandidateArchived").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_deliveries_create_one_pad() {
    let world = World::start(Options::new("duplicates")).await;
    let candidate = world.candidate();
    world.lever.set_delivery_behaviour(DeliveryBehaviour { copies: 3, ..DeliveryBehaviour::default() });
    let moved = world.lever.move_to_stage(&candidate, STAGE).await;
    for number in &moved.deliveries {
        let delivery = soon("it is delivered", world.lever.wait_for_delivery(*number)).await;
        assert_eq!(delivery.attempts.last().unwrap().status, Some(200));
    }
    world.wait_for_one_pad(&candidate).await;

    // Rerun by hand, three at once.
    let rerun = || world.lever.redeliver(moved.deliveries[0]);
    let answers = tokio::join!(rerun(), rerun(), rerun());
    assert!([answers.0, answers.1, answers.2].iter().all(|answer| answer.status == Some(200)));
    settled(&world, &candidate).await;
    world.wait_for_one_pad(&candidate).await;

    // Moved away and back before the interview has ended, reported in the wrong order.
    world.lever.set_delivery_behaviour(HELD());
    world.lever.move_to_stage(&candidate, "Onsite").await;
    world.lever.move_to_stage(&candidate, STAGE).await;
    world.lever.release_deliveries(true).await;
    settled(&world, &candidate).await;
    look_again(&world, &candidate).await;
    world.wait_for_one_pad(&candidate).await;
    assert_eq!(world.creates(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_of_deliveries_does_not_matter() {
    let world = World::start(Options::new("reordered")).await;
    let candidate = world.candidate();
    world.lever.set_delivery_behaviour(HELD());
    for stage in [STAGE, "Onsite", STAGE] {
        world.lever.move_to_stage(&candidate, stage).await;
    }
    world.lever.release_deliveries(true).await;
    world.wait_for_one_pad(&candidate).await;
    settled(&world, &candidate).await;
    assert_eq!(world.creates(), 1);
    world.finish().await;
}

/// A link that a recruiter removes is not restored.
#[tokio::test(flavor = "multi_thread")]
async fn link_removed_by_a_recruiter_stays_removed() {
    let world = World::start(Options::new("link-removed")).await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    let made = world.wait_for_one_pad(&candidate).await;
    world.lever.remove_link(&candidate, &made.url);
    look_again(&world, &candidate).await;
    assert!(world.lever.links(&candidate).is_empty());
    world.finish().await;
}
