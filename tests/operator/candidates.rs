//! Eligibility for pads, and that no candidate gets a second one, whatever the number and order of deliveries.

use serde_json::json;
use simulators::{DeliveryBehaviour, NewCandidate};

use crate::environment::{CONFIGURATION, Options, STAGE, TAG, TestEnv};
use crate::status::message_of;
use crate::wait::{eventually, must_finish};

const HELD: fn() -> DeliveryBehaviour = || DeliveryBehaviour { hold: true, ..DeliveryBehaviour::default() };

async fn name_of(env: &TestEnv, candidate: &str) -> String {
    env.pads_of(candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned()
}

/// Requests a reconcile and waits until it is handled.
async fn request_retry(env: &TestEnv, candidate: &str) {
    env.request("pads", &name_of(env, candidate).await).await;
    settled_status(env, candidate).await;
}

/// Waits until the last request is handled.
async fn settled_status(env: &TestEnv, candidate: &str) {
    eventually("the request is handled", async || {
        let pad = env.pads_of(candidate).await.remove(0);
        let asked = &pad["metadata"]["annotations"]["padoperator.dev/reconcile-requested-at"];
        if pad["status"]["lastHandledReconcileAt"] == *asked { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_tag_is_reported_and_can_be_added() {
    let env = TestEnv::start(Options::new("untagged")).await;
    let tagged = |tag: &str| NewCandidate { tags: vec![tag.into()], ..NewCandidate::default() };
    let (untagged, other_case) = (env.add_candidate(tagged("other")), env.add_candidate(tagged("CoderPad")));
    for candidate in [&untagged, &other_case] {
        env.enter(candidate).await;
        let pad = env.wait_for_pad(candidate, "Skipped/TagMissing").await;
        assert!(message_of(&pad, "Ready").contains("'coderpad'"), "{pad:#}");
    }
    assert_eq!(env.creates(), 0);

    env.lever.add_tag(&untagged, TAG);
    env.request("pads", &name_of(&env, &untagged).await).await;
    env.wait_for_one_pad(&untagged).await;

    let inherited = NewCandidate { posting_tags: vec![TAG.into()], ..NewCandidate::default() };
    let inherited = env.add_candidate(inherited);
    env.enter(&inherited).await;
    env.wait_for_one_pad(&inherited).await;
    assert_eq!(env.creates(), 2);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ineligible_candidates_have_distinct_reasons() {
    let env = TestEnv::start(Options::new("skipped")).await;
    // The probe after a refused key or candidate needs a candidate that can be read.
    env.candidate();
    let archived = env.candidate();
    env.lever.archive(&archived);
    env.enter(&archived).await;
    env.wait_for_pad(&archived, "Skipped/CandidateArchived").await;

    let confidential = env.candidate();
    env.lever.set_confidential(&confidential, true);
    env.enter(&confidential).await;
    env.wait_for_pad(&confidential, "Skipped/CandidateConfidential").await;

    env.lever.set_delivery_behaviour(HELD());
    let [moved_on, deleted, anonymized] = [(); 3].map(|()| env.candidate());
    for candidate in [&moved_on, &deleted, &anonymized] {
        env.lever.move_to_stage(candidate, STAGE).await;
    }
    env.lever.move_to_stage(&moved_on, "Onsite").await;
    env.lever.delete(&deleted);
    env.lever.anonymize(&anonymized);
    env.lever.release_deliveries(false).await;
    env.wait_for_pad(&moved_on, "Skipped/StageChanged").await;
    env.wait_for_pad(&deleted, "Skipped/CandidateNotFound").await;
    env.wait_for_pad(&anonymized, "Skipped/CandidateNotFound").await;
    assert_eq!(env.creates(), 0);

    // None of these decisions is final.
    env.lever.set_delivery_behaviour(DeliveryBehaviour::default());
    env.lever.unarchive(&archived);
    env.request("pads", &name_of(&env, &archived).await).await;
    env.wait_for_one_pad(&archived).await;
    env.lever.set_confidential(&confidential, false);
    env.request("pads", &name_of(&env, &confidential).await).await;
    env.wait_for_one_pad(&confidential).await;
    env.enter(&moved_on).await;
    env.wait_for_one_pad(&moved_on).await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pad_by_hand_requires_neither_tag_nor_stage() {
    let env = TestEnv::start(Options::new("by-hand")).await;
    let candidate = env.add_candidate(NewCandidate::default());
    let archived = env.add_candidate(NewCandidate { archived: true, ..NewCandidate::default() });
    for (name, candidate) in [("for-one", &candidate), ("for-another", &archived)] {
        let spec = json!({"configurationRef": {"name": CONFIGURATION}, "opportunityID": candidate});
        env.kubectl_apply("Pad", name, &spec).await.unwrap();
    }
    let made = env.wait_for_one_pad(&candidate).await;
    assert!(made.notes.unwrap().lines().next().unwrap().ends_with("/for-one"));
    env.wait_for_pad(&archived, "Skipped/CandidateArchived").await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_deliveries_create_one_pad() {
    let env = TestEnv::start(Options::new("duplicates")).await;
    let candidate = env.candidate();
    env.lever.set_delivery_behaviour(DeliveryBehaviour { copies: 3, ..DeliveryBehaviour::default() });
    let moved = env.lever.move_to_stage(&candidate, STAGE).await;
    for number in &moved.deliveries {
        let delivery = must_finish("it is delivered", env.lever.wait_for_delivery(*number)).await;
        assert_eq!(delivery.attempts.last().unwrap().status, Some(200));
    }
    env.wait_for_one_pad(&candidate).await;

    // Rerun by hand, three at once.
    let rerun = || env.lever.redeliver(moved.deliveries[0]);
    let answers = tokio::join!(rerun(), rerun(), rerun());
    assert!([answers.0, answers.1, answers.2].iter().all(|answer| answer.status == Some(200)));
    settled_status(&env, &candidate).await;
    env.wait_for_one_pad(&candidate).await;

    // Moved away and back before the interview has ended, reported in the wrong order.
    env.lever.set_delivery_behaviour(HELD());
    env.lever.move_to_stage(&candidate, "Onsite").await;
    env.lever.move_to_stage(&candidate, STAGE).await;
    env.lever.release_deliveries(true).await;
    settled_status(&env, &candidate).await;
    request_retry(&env, &candidate).await;
    env.wait_for_one_pad(&candidate).await;
    assert_eq!(env.creates(), 1);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_of_deliveries_does_not_matter() {
    let env = TestEnv::start(Options::new("reordered")).await;
    let candidate = env.candidate();
    env.lever.set_delivery_behaviour(HELD());
    for stage in [STAGE, "Onsite", STAGE] {
        env.lever.move_to_stage(&candidate, stage).await;
    }
    env.lever.release_deliveries(true).await;
    env.wait_for_one_pad(&candidate).await;
    settled_status(&env, &candidate).await;
    assert_eq!(env.creates(), 1);
    env.finish().await;
}

/// A link that a recruiter removes is not restored.
#[tokio::test(flavor = "multi_thread")]
async fn link_removed_by_a_recruiter_stays_removed() {
    let env = TestEnv::start(Options::new("link-removed")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    env.lever.remove_link(&candidate, &made.url);
    request_retry(&env, &candidate).await;
    assert!(env.lever.links(&candidate).is_empty());
    env.finish().await;
}
