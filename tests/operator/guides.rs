//! Steps of both vendors' user guides that no other test covers; and a check that the list of all their sentences,
//! `docs/guide-coverage.md`, names only existing tests.

use std::collections::BTreeSet;

use serde_json::json;
use simulators::{DeliveryBehaviour, KeyRole, NewCandidate, NewPosting};

use crate::cluster::source;
use crate::documents::assert_tests;
use crate::environment::{CONFIGURATION, CONNECTION, Options, STAGE, TAG, TestEnv};
use crate::status::{message_of, phase};
use crate::wait::eventually;

/// Number of sentences in both guides, as counted in `docs/guide-coverage.md`.
const SENTENCES: u32 = 63;

#[tokio::test(flavor = "multi_thread")]
async fn key_without_organization_is_reported_until_the_secret_is_fixed() {
    const ALONE: &str = "interview-5d20-of-nobody";
    let mut options = Options::new("no-organization").without_setup();
    options.secret = json!({"interview-api-key": ALONE});
    let (right, users) = (options.interview.api_key.clone(), options.interview.users.clone());
    let env = TestEnv::start(options).await;
    env.declare_private(ALONE);
    env.interview.set_key(ALONE, &users[1].email, KeyRole::Alone);
    env.request("leverconnections", CONNECTION).await;
    let connection = env.wait_for("leverconnections", CONNECTION, "Ready", "False/OrganizationMissing").await;
    assert!(
        message_of(&connection, "Ready").contains("Use the key of an organization owner"),
        "{connection:#}"
    );

    env.set_secret("interview-api-key", &right).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_succeeds_with_and_without_a_url_scheme() {
    let env = TestEnv::start(Options::new("verify").without_setup()).await;
    env.wait_for("padconfigurations", CONFIGURATION, "Ready", "True/InUse").await;
    let connection =
        env.wait_for("leverconnections", CONNECTION, "WebhookVerified", "False/AwaitingVerification").await;
    let url = connection["status"]["webhookURL"].as_str().unwrap();
    let (_, bare) = url.split_once("://").unwrap();
    for address in [bare, url] {
        let webhook = env.lever.set_webhook(address, &env.signing_token);
        let answer = env.lever.verify().await;
        assert!(answer.verified, "{address}: {answer:?}");
        env.wait_for("leverconnections", CONNECTION, "WebhookVerified", "True/SignatureVerified").await;
        let candidate = env.candidate();
        env.enter(&candidate).await;
        env.wait_for_one_pad(&candidate).await;
        env.lever.remove_webhook(&webhook);
    }
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_pad_may_have_a_question() {
    let env = TestEnv::start(Options::new("live-question").configuration(json!({"questionID": 1003}))).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    assert_eq!((made.take_home, made.question_ids.as_slice()), (false, [1003].as_slice()));
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stage_has_its_own_tag_and_its_own_pad() {
    const ONSITE: &str = "coderpad-onsite";
    let mut options = Options::new("two-stages");
    let onsite = json!({"stage": "Onsite", "tag": ONSITE, "type": "TakeHome", "questionID": 1002});
    options.configurations.push(("onsite", onsite));
    let env = TestEnv::start(options).await;
    let candidate = env.candidate();
    env.lever.add_tag(&candidate, ONSITE);
    env.enter(&candidate).await;
    assert!(!env.wait_for_one_pad(&candidate).await.take_home, "the next stage is not reached yet");

    env.lever.move_to_stage(&candidate, "Onsite").await;
    let pads = eventually("both are Open", async || {
        let pads = env.pads_of(&candidate).await;
        let are_open = pads.len() == 2 && pads.iter().all(|pad| phase(pad) == "Open/Open");
        if are_open { Ok(pads) } else { Err(format!("{pads:#?}")) }
    })
    .await;
    let types: BTreeSet<_> = pads.iter().map(|pad| pad["status"]["type"].as_str().unwrap()).collect();
    assert_eq!(types, BTreeSet::from(["Live", "TakeHome"]));
    assert_eq!(env.lever.links(&candidate).len(), 2);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applicants_of_a_tagged_posting_are_tagged() {
    let env = TestEnv::start(Options::new("posting")).await;
    let posting = |tags: &[&str]| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        env.lever.add_posting(NewPosting { text: "Engineer".into(), tags, ..NewPosting::default() })
    };
    let (tagged, other) = (posting(&[TAG]), posting(&[]));
    let applicant = |posting: &str| {
        env.add_candidate(NewCandidate { posting: Some(posting.to_owned()), ..NewCandidate::default() })
    };
    for candidate in [applicant(&tagged), applicant(&tagged)] {
        env.enter(&candidate).await;
        env.wait_for_one_pad(&candidate).await;
    }
    let untagged = applicant(&other);
    env.enter(&untagged).await;
    env.wait_for_pad(&untagged, "Skipped/TagMissing").await;

    // Sync finds them by the same tag.
    env.lever.set_delivery_behaviour(DeliveryBehaviour { drop: true, ..DeliveryBehaviour::default() });
    let untold = applicant(&tagged);
    env.lever.move_to_stage(&untold, STAGE).await;
    env.lever.set_delivery_behaviour(DeliveryBehaviour::default());
    env.sync().await;
    env.wait_for_one_pad(&untold).await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_the_tag_disables_one_candidate() {
    let env = TestEnv::start(Options::new("tag-removed")).await;
    let [disabled, other] = [(); 2].map(|()| env.candidate());
    env.lever.remove_tag(&disabled, TAG);
    for candidate in [&disabled, &other] {
        env.enter(candidate).await;
    }
    env.wait_for_pad(&disabled, "Skipped/TagMissing").await;
    let made = env.wait_for_one_pad(&other).await;
    assert_eq!(env.creates(), 1);

    // An existing pad remains.
    env.lever.remove_tag(&other, TAG);
    env.sync().await;
    let pad = env.pads_of(&other).await.remove(0);
    env.reconcile("pads", pad["metadata"]["name"].as_str().unwrap()).await;
    assert_eq!(env.wait_for_one_pad(&other).await.id, made.id);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copied_link_remains_the_record_of_the_interview() {
    let env = TestEnv::start(Options::new("link")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    let name = env.pads_of(&candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let shown = async |field: &str| {
        let path = format!("jsonpath={{.status.{field}}}");
        env.kubectl(&["get", "pad", &name, "--output", &path]).await.unwrap()
    };
    assert_eq!(shown("url").await, made.url);

    env.interview.start_interview(&made.id, &["Ada"]);
    env.end_interview(&candidate, &made.id).await;
    env.sync().await;
    assert_eq!(shown("url").await, made.url);
    assert_eq!(shown("playbackURL").await, made.playback);
    assert_eq!(env.lever.links(&candidate), [made.url]);
    env.finish().await;
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
