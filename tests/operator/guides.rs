//! Steps of both vendors' user guides that no other test covers; and a check that the list of all their sentences,
//! `docs/guide-coverage.md`, names only existing tests.

use std::collections::BTreeSet;

use serde_json::json;
use simulators::{DeliveryBehaviour, KeyRole, NewCandidate, NewPosting};

use crate::cluster::source;
use crate::documents::assert_tests;
use crate::environment::{CONFIGURATION, CONNECTION, Options, STAGE, TAG, World};
use crate::status::{message_of, phase};
use crate::wait::eventually;

/// Number of sentences in both guides, as counted in `docs/guide-coverage.md`.
const SENTENCES: u32 = 63;

#[tokio::test(flavor = "multi_thread")]
async fn key_without_organization_is_reported_until_the_secret_is_fixed() {
    const ALONE: &str = "interview-5d20-of-nobody";
    let mut options = Options::new("no-organization").unsettled();
    options.secret = json!({"interview-api-key": ALONE});
    let (right, users) = (options.interview.api_key.clone(), options.interview.users.clone());
    let world = World::start(options).await;
    world.keep_private(ALONE);
    world.interview.set_key(ALONE, &users[1].email, KeyRole::Alone);
    world.request("leverconnections", CONNECTION).await;
    let connection =
        world.wait_for("leverconnections", CONNECTION, "Ready", "False/OrganizationMissing").await;
    assert!(
        message_of(&connection, "Ready").contains("Use the key of an organization owner"),
        "{connection:#}"
    );

    world.set_secret("interview-api-key", &right).await;
    world.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_succeeds_with_and_without_a_url_scheme() {
    let world = World::start(Options::new("verify").unsettled()).await;
    world.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;
    let connection =
        world.wait_for("leverconnections", CONNECTION, "WebhookVerified", "False/AwaitingVerification").await;
    let url = connection["status"]["webhookURL"].as_str().unwrap();
    let (_, bare) = url.split_once("://").unwrap();
    for address in [bare, url] {
        let webhook = world.lever.set_webhook(address, &world.signing_token);
        let answer = world.lever.verify().await;
        assert!(answer.verified, "{address}: {answer:?}");
        world.wait_for("leverconnections", CONNECTION, "WebhookVerified", "True/SignatureVerified").await;
        let candidate = world.candidate();
        world.enter(&candidate).await;
        world.wait_for_one_pad(&candidate).await;
        world.lever.remove_webhook(&webhook);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_pad_may_have_a_question() {
    let world = World::start(Options::new("live-question").configuration(json!({"questionID": 1003}))).await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    let made = world.wait_for_one_pad(&candidate).await;
    assert_eq!((made.take_home, made.question_ids.as_slice()), (false, [1003].as_slice()));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stage_has_its_own_tag_and_its_own_pad() {
    const ONSITE: &str = "coderpad-onsite";
    let mut options = Options::new("two-stages");
    let onsite = json!({"stage": "Onsite", "tag": ONSITE, "type": "TakeHome", "questionID": 1002});
    options.configurations.push(("onsite", onsite));
    let world = World::start(options).await;
    let candidate = world.candidate();
    world.lever.add_tag(&candidate, ONSITE);
    world.enter(&candidate).await;
    assert!(!world.wait_for_one_pad(&candidate).await.take_home, "the next stage is not reached yet");

    world.lever.move_to_stage(&candidate, "Onsite").await;
    let pads = eventually("both are Open", async || {
        let pads = world.pads_of(&candidate).await;
        let are_open = pads.len() == 2 && pads.iter().all(|pad| phase(pad) == "Open/Open");
        if are_open { Ok(pads) } else { Err(format!("{pads:#?}")) }
    })
    .await;
    let types: BTreeSet<_> = pads.iter().map(|pad| pad["status"]["type"].as_str().unwrap()).collect();
    assert_eq!(types, BTreeSet::from(["Live", "TakeHome"]));
    assert_eq!(world.lever.links(&candidate).len(), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applicants_of_a_tagged_posting_are_tagged() {
    let world = World::start(Options::new("posting")).await;
    let posting = |tags: &[&str]| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        world.lever.add_posting(NewPosting { text: "Engineer".into(), tags, ..NewPosting::default() })
    };
    let (tagged, other) = (posting(&[TAG]), posting(&[]));
    let applicant = |posting: &str| {
        world.add_candidate(NewCandidate { posting: Some(posting.to_owned()), ..NewCandidate::default() })
    };
    for candidate in [applicant(&tagged), applicant(&tagged)] {
        world.enter(&candidate).await;
        world.wait_for_one_pad(&candidate).await;
    }
    let untagged = applicant(&other);
    world.enter(&untagged).await;
    world.wait_for_pad(&untagged, "Skipped/TagMissing").await;

    // Sync finds them by the same tag.
    world.lever.set_delivery_behaviour(DeliveryBehaviour { drop: true, ..DeliveryBehaviour::default() });
    let untold = applicant(&tagged);
    world.lever.move_to_stage(&untold, STAGE).await;
    world.lever.set_delivery_behaviour(DeliveryBehaviour::default());
    world.sync().await;
    world.wait_for_one_pad(&untold).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_the_tag_disables_one_candidate() {
    let world = World::start(Options::new("tag-removed")).await;
    let [disabled, other] = [(); 2].map(|()| world.candidate());
    world.lever.remove_tag(&disabled, TAG);
    for candidate in [&disabled, &other] {
        world.enter(candidate).await;
    }
    world.wait_for_pad(&disabled, "Skipped/TagMissing").await;
    let made = world.wait_for_one_pad(&other).await;
    assert_eq!(world.creates(), 1);

    // An existing pad remains.
    world.lever.remove_tag(&other, TAG);
    world.sync().await;
    let pad = world.pads_of(&other).await.remove(0);
    world.look_at("pads", pad["metadata"]["name"].as_str().unwrap()).await;
    assert_eq!(world.wait_for_one_pad(&other).await.id, made.id);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copied_link_remains_the_record_of_the_interview() {
    let world = World::start(Options::new("link")).await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    let made = world.wait_for_one_pad(&candidate).await;
    let name = world.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let shown = async |field: &str| {
        let path = format!("jsonpath={{.status.{field}}}");
        world.kubectl(&["get", "pad", &name, "--output", &path]).await.unwrap()
    };
    assert_eq!(shown("url").await, made.url);

    world.interview.start_interview(&made.id, &["Ada"]);
    world.end_interview(&candidate, &made.id).await;
    world.sync().await;
    assert_eq!(shown("url").await, made.url);
    assert_eq!(shown("playbackURL").await, made.playback);
    assert_eq!(world.lever.links(&candidate), [made.url]);
    world.finish().await;
}

/// Row of `docs/guide-coverage.md`: the number of the sentence, and the tests that cover it.
fn row(line: &str) -> Option<(u32, &str)> {
    let cells: Vec<_> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    let number = cells.first()?.parse().ok()?;
    assert_eq!(cells.len(), 4, "{line}");
    Some((number, cells[3]))
}

#[test]
fn every_sentence_names_existing_tests() {
    let document = std::fs::read_to_string(source("docs/guide-coverage.md")).unwrap();
    let (mut last, mut sentences) = (0, 0);
    for line in document.lines() {
        if line.starts_with('#') {
            last = 0;
        }
        let Some((number, shown)) = row(line) else { continue };
        assert_eq!(number, last + 1, "the sentences of a section are in order and complete: {line}");
        (last, sentences) = (number, sentences + 1);
        if shown.strip_prefix("not tested: ").is_some_and(|why| !why.is_empty()) {
            continue;
        }
        assert_tests(shown);
    }
    assert_eq!(sentences, SENTENCES);
}
