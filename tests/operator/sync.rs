//! Sync finds changes without a webhook, or whose webhook was lost.

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use simulators::{DeliveryBehaviour, Fault, FaultAction, NewCandidate, PausePoint};

use crate::environment::{CONFIGURATION, CONNECTION, Options, STAGE, TAG, TestEnv};
use crate::status::message_of;
use crate::wait::{eventually, must_finish};

const EVENT: &str = "candidateStageChange";

fn tagged() -> NewCandidate {
    NewCandidate { tags: vec![TAG.into()], ..NewCandidate::default() }
}

fn in_stage() -> NewCandidate {
    NewCandidate { stage: STAGE.into(), ..tagged() }
}

/// Waits until the existing candidates of the rule are known.
async fn settled_status(env: &TestEnv) -> Value {
    eventually("the first scan is complete", async || {
        let configuration = env.get("padconfigurations", CONFIGURATION).await;
        let status = &configuration["status"];
        let is_settled = status["existingSettledFor"].is_string()
            && status["existingSettledFor"] == status["effectiveSince"];
        if is_settled { Ok(configuration) } else { Err(format!("{configuration:#}")) }
    })
    .await
}

async fn name_of(env: &TestEnv, candidate: &str) -> String {
    env.pads_of(candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn candidate_moved_during_downtime_gets_a_pad() {
    let mut env = TestEnv::start(Options::new("moved-meanwhile").polling("1h")).await;
    settled_status(&env).await;
    env.operator().kill().await;
    env.lever.switch_event(EVENT, false);
    let candidate = env.candidate();
    env.lever.move_to_stage(&candidate, STAGE).await;
    env.operator().start().await;
    env.wait_for_one_pad(&candidate).await;
    let pad = env.pads_of(&candidate).await.remove(0);
    assert_eq!(pad["spec"]["trigger"]["source"], "Sync");
    assert_eq!(pad["metadata"]["labels"]["padoperator.dev/configuration"], CONFIGURATION);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_delivery_is_reported_until_the_next_one() {
    let env = TestEnv::start(Options::new("never-delivered")).await;
    env.sync().await;
    env.lever.switch_event(EVENT, false);
    // The rule is older than the entry, and the entry is older than the maximum delay of a webhook.
    let ago = |minutes: i64| Timestamp::now().checked_sub(minutes.minutes()).unwrap();
    let since = ago(60).to_string();
    let status = json!({"effectiveSince": since, "existingSettledFor": since});
    env.patch_status("padconfigurations", CONFIGURATION, status).await;
    let old = || NewCandidate { entered_at: Some(ago(90).as_millisecond()), ..NewCandidate::default() };
    let late_tag = env.add_candidate(old());
    env.lever.move_to_stage_at(&late_tag, STAGE, ago(80).as_millisecond()).await;
    env.lever.add_tag(&late_tag, TAG);
    env.sync().await;
    env.wait_for_one_pad(&late_tag).await;
    let connection = env.get("leverconnections", CONNECTION).await;
    assert_eq!(crate::status::status_of(&connection, "WebhookVerified"), "True", "{connection:#}");

    let candidate = env.add_candidate(NewCandidate { tags: vec![TAG.into()], ..old() });
    env.lever.move_to_stage_at(&candidate, STAGE, ago(10).as_millisecond()).await;
    env.sync().await;
    env.wait_for_one_pad(&candidate).await;
    let connection =
        env.wait_for("leverconnections", CONNECTION, "WebhookVerified", "False/DeliveryMissed").await;
    let message = message_of(&connection, "WebhookVerified");
    for part in [STAGE, "is enabled", connection["status"]["webhookURL"].as_str().unwrap()] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(crate::status::brief(&connection, "Ready"), "True/Connected");

    env.lever.switch_event(EVENT, true);
    let another = env.candidate();
    env.enter(&another).await;
    env.wait_for("leverconnections", CONNECTION, "WebhookVerified", "True/SignatureVerified").await;
    env.wait_for_one_pad(&another).await;
    env.sync().await;
    let connection = env.get("leverconnections", CONNECTION).await;
    assert_eq!(crate::status::status_of(&connection, "WebhookVerified"), "True", "{connection:#}");
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_tag_creates_a_pad() {
    let env = TestEnv::start(Options::new("late-tag").polling("1s")).await;
    let candidate = env.add_candidate(NewCandidate::default());
    env.enter(&candidate).await;
    env.wait_for_pad(&candidate, "Skipped/TagMissing").await;
    env.lever.add_tag(&candidate, TAG);
    env.wait_for_one_pad(&candidate).await;

    let archived = env.candidate();
    env.lever.archive(&archived);
    env.enter(&archived).await;
    env.wait_for_pad(&archived, "Skipped/CandidateArchived").await;
    env.lever.unarchive(&archived);
    env.wait_for_one_pad(&archived).await;
    assert_eq!(env.creates(), 2);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_candidates_are_skipped_and_later_ones_are_not() {
    let mut env =
        TestEnv::start(Options { configurations: vec![], ..Options::new("existing-skip").polling("1h") })
            .await;
    let [before, asked, back] = [(); 3].map(|()| env.add_candidate(in_stage()));
    let untagged = env.add_candidate(NewCandidate { tags: vec![], ..in_stage() });
    env.configure(CONFIGURATION, json!({})).await;
    let configuration = settled_status(&env).await;
    assert_eq!(configuration["status"]["matching"], 3);
    for candidate in [&before, &asked, &back] {
        env.wait_for_pad(candidate, "Skipped/BeforeConfiguration").await;
    }
    assert_eq!(env.creates(), 0);

    // The decision is stored, also for the next process.
    env.operator().kill().await;
    env.lever.add_tag(&untagged, TAG);
    env.operator().start().await;
    env.wait_for_one_pad(&untagged).await;
    env.sync().await;
    env.wait_for_pad(&before, "Skipped/BeforeConfiguration").await;

    // A person's request and a new entry are different; an old delivery is not.
    env.request("pads", &name_of(&env, &asked).await).await;
    env.wait_for_one_pad(&asked).await;
    env.lever.move_to_stage(&back, "Onsite").await;
    env.enter(&back).await;
    env.wait_for_one_pad(&back).await;
    let annotations = json!({"padoperator.dev/reconcile-requested-at": "1700000000123-deadbeef"});
    let name = name_of(&env, &before).await;
    env.patch("pads", &name, json!({"metadata": {"annotations": annotations}})).await;
    eventually("the old delivery is handled", async || {
        let pad = env.get("pads", &name).await;
        let handled = &pad["status"]["lastHandledReconcileAt"];
        if handled == "1700000000123-deadbeef" { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;
    env.wait_for_pad(&before, "Skipped/BeforeConfiguration").await;
    assert_eq!(env.creates(), 3);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_candidates_get_a_pad_if_configured() {
    let env =
        TestEnv::start(Options { configurations: vec![], ..Options::new("existing-create").polling("1h") })
            .await;
    let candidates = [(); 3].map(|()| env.add_candidate(in_stage()));
    let elsewhere = env.candidate();
    env.configure(CONFIGURATION, json!({"existing": "Create"})).await;
    for candidate in &candidates {
        env.wait_for_one_pad(candidate).await;
    }
    assert!(env.pads_of(&elsewhere).await.is_empty());
    assert_eq!(env.creates(), 3);
    env.finish().await;
}

/// Start of Lever's page tokens.
const PAGE_TOKEN: &str = "%5B";

/// More candidates than a page of Lever's list has.
fn crowd(env: &TestEnv) -> Vec<String> {
    (0..110).map(|_| env.add_candidate(in_stage())).collect()
}

/// Returns an environment without a rule and without rate limits, so that many candidates do not take minutes.
fn unlimited(name: &'static str) -> Options {
    let mut options = Options { configurations: vec![], ..Options::new(name).polling("1h") };
    (options.lever.rate_limit, options.interview.rate_limit) = (None, None);
    options.flags.extend(["--lever-rate=0", "--interview-rate=0", "--leader-election=false"]);
    options
}

/// Waits until all of them have one Pad each, which is Skipped.
async fn wait_until_all_skipped(env: &TestEnv, crowd: &[String]) {
    eventually("all existing candidates are skipped", async || {
        let pads = env.list("pads").await;
        let skipped = pads.iter().filter(|pad| crate::status::phase(pad) == "Skipped/BeforeConfiguration");
        let skipped: Vec<_> =
            skipped.filter_map(|pad| pad["spec"]["opportunityID"].as_str().map(str::to_owned)).collect();
        let is_once = |one: &String| skipped.iter().filter(|other| *other == one).count() == 1;
        if crowd.iter().all(is_once) { Ok(()) } else { Err(format!("{} of {}", skipped.len(), pads.len())) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scan_restarts_after_lever_rejects_its_page_token() {
    let env = TestEnv::start(unlimited("stale-page")).await;
    let crowd = crowd(&env);
    let stale = json!({"code": "BadRequest", "message": "Invalid offset token"});
    let fault = Fault::on("GET", "^/v1/opportunities$").containing(PAGE_TOKEN);
    let fault = fault.action(FaultAction::Status { code: 400, body: Some(stale) });
    let fault = env.lever.faults().add(fault);
    env.configure(CONFIGURATION, json!({})).await;
    let configuration = settled_status(&env).await;
    assert_eq!(fault.hits(), 1);
    assert_eq!(configuration["status"]["matching"], crowd.len());
    wait_until_all_skipped(&env, &crowd).await;
    assert_eq!(env.creates(), 0);
    env.finish().await;
}

/// The list is then incomplete, and permits no conclusion about candidates that it does not contain.
#[tokio::test(flavor = "multi_thread")]
async fn scan_interrupted_by_coderpad_is_repeated() {
    let env = TestEnv::start(Options::new("cut-walk")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    env.sync().await;
    env.start_interview_beyond_the_first_page(&made.id);
    let fault = Fault::on("GET", "^/api/organization/pads/?$").skip(1);
    let fault = fault.action(FaultAction::Status { code: 400, body: None });
    let fault = env.interview.faults().add(fault);
    // The request is handled when the repeated scan is complete.
    eventually("the second page is rejected", async || {
        env.sync().await;
        if fault.hits() == 1 { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    env.wait_for_pad(&candidate, "Started/Started").await;
    env.finish().await;
}

/// Once between two pages, and once between two Pads.
#[tokio::test(flavor = "multi_thread")]
async fn existing_candidates_stay_known_after_a_crash_in_the_first_scan() {
    let mut options = unlimited("killed-walk");
    options.relayed = true;
    let mut env = TestEnv::start(options).await;
    let crowd = crowd(&env);
    let page = Fault::on("GET", "^/v1/opportunities$").containing(PAGE_TOKEN).pause(PausePoint::BeforeEffect);
    let page = env.lever.faults().add(page);
    env.configure(CONFIGURATION, json!({})).await;
    must_finish("the scan is at its second page", page.reached()).await;
    env.operator().kill().await;
    page.discard();
    env.lever.switch_event(EVENT, false);
    let comes_later = async || {
        let candidate = env.candidate();
        env.lever.move_to_stage(&candidate, STAGE).await;
        candidate
    };
    let first = comes_later().await;

    let made = Fault::on("POST", "/pads$").skip(40).pause(PausePoint::BeforeEffect);
    let made = env.cluster_faults(0).add(made);
    let second = comes_later().await;
    env.operator().start().await;
    must_finish("some Pads are created", made.reached()).await;
    let configuration = env.get("padconfigurations", CONFIGURATION).await;
    assert_eq!(configuration["status"]["existingSettledFor"], Value::Null, "{configuration:#}");
    env.operator().kill().await;
    made.discard();

    env.operator().start().await;
    settled_status(&env).await;
    wait_until_all_skipped(&env, &crowd).await;
    for candidate in [&first, &second] {
        env.wait_for_one_pad(candidate).await;
    }
    assert_eq!(env.creates(), 2);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_rule_counts_matching_candidates_and_creates_nothing() {
    let mut options = Options::new("dry-run").polling("1h").without_setup();
    options.configurations = vec![];
    let env = TestEnv::start(options).await;
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    let first = env.add_candidate(in_stage());
    env.configure(CONFIGURATION, json!({"suspend": true})).await;
    let matching = async |expected: i64| {
        eventually("the matching candidates are counted", async || {
            let configuration = env.get("padconfigurations", CONFIGURATION).await;
            if configuration["status"]["matching"] == expected {
                Ok(())
            } else {
                Err(format!("{configuration:#}"))
            }
        })
        .await;
    };
    matching(1).await;
    let second = env.add_candidate(in_stage());
    env.reconcile("padconfigurations", CONFIGURATION).await;
    matching(2).await;
    assert!(env.list("pads").await.is_empty());

    env.patch("padconfigurations", CONFIGURATION, json!({"spec": {"suspend": false}})).await;
    env.wait_for_pad(&first, "Skipped/BeforeConfiguration").await;
    env.wait_for_one_pad(&second).await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_pads_of_departed_candidates_are_deleted_as_with_retain() {
    let spec = json!({"deletionPolicy": "Delete", "ttlSecondsAfterEnded": 0, "ttlSecondsAfterSkipped": 0});
    let env = TestEnv::start(Options::new("ttl").configuration(spec)).await;
    let (ended, open, untagged) =
        (env.candidate(), env.candidate(), env.add_candidate(NewCandidate::default()));
    for candidate in [&ended, &open] {
        env.enter(candidate).await;
    }
    let made = env.wait_for_one_pad(&ended).await;
    let stays = env.wait_for_one_pad(&open).await;
    env.end_interview(&ended, &made.id).await;
    env.sync().await;
    assert_eq!(env.pads_of(&ended).await.len(), 1, "the candidate is still in the stage");

    env.enter(&untagged).await;
    env.wait_for_pad(&untagged, "Skipped/TagMissing").await;
    for candidate in [&ended, &open] {
        env.lever.move_to_stage(candidate, "Onsite").await;
    }
    env.sync().await;
    eventually("the ended Pads are deleted", async || {
        let pads = env.list("pads").await;
        if pads.len() == 1 { Ok(()) } else { Err(format!("{pads:#?}")) }
    })
    .await;
    env.wait_for_one_pad(&open).await;
    assert_eq!(env.lever.links(&ended), [made.url]);
    assert!(!env.interview.pad(&made.id).unwrap().deleted && !env.interview.pad(&stays.id).unwrap().deleted);
    env.finish().await;
}

/// A scan during which a candidate moves is restarted or concludes nothing; a concurrent repeated delivery creates no
/// second pad.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_webhook_and_sync_create_one_pad() {
    let env = TestEnv::start(Options::new("both-at-once").polling("1s")).await;
    settled_status(&env).await;
    env.lever.set_delivery_behaviour(DeliveryBehaviour { copies: 3, ..DeliveryBehaviour::default() });
    let candidates = [(); 12].map(|()| env.candidate());
    for candidate in &candidates {
        env.lever.move_to_stage(candidate, STAGE).await;
    }
    for candidate in &candidates {
        env.wait_for_one_pad(candidate).await;
    }
    env.lever.set_delivery_behaviour(DeliveryBehaviour::default());
    env.sync().await;
    assert_eq!(env.creates(), 12);
    env.finish().await;
}
