//! Sync finds changes without a webhook, or whose webhook was lost.

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use simulators::{Action, DeliveryBehaviour, Fault, Moment, NewCandidate, NewPad};

use crate::environment::{CONFIGURATION, CONNECTION, Options, STAGE, TAG, World};
use crate::status::message_of;
use crate::wait::{eventually, soon};

const EVENT: &str = "candidateStageChange";

fn tagged() -> NewCandidate {
    NewCandidate { tags: vec![TAG.into()], ..NewCandidate::default() }
}

fn in_stage() -> NewCandidate {
    NewCandidate { stage: STAGE.into(), ..tagged() }
}

/// Waits until the existing candidates of the rule are known.
async fn settled(world: &World) -> Value {
    eventually("the first scan is complete", async || {
        let configuration = world.get("padconfigurations", CONFIGURATION).await;
        let status = &configuration["status"];
        let is_settled = status["existingSettledFor"].is_string()
            && status["existingSettledFor"] == status["effectiveSince"];
        if is_settled { Ok(configuration) } else { Err(format!("{configuration:#}")) }
    })
    .await
}

async fn name_of(world: &World, candidate: &str) -> String {
    world.pads_of(candidate).await[0]["metadata"]["name"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn candidate_moved_during_downtime_gets_a_pad() {
    let mut world = World::start(Options::new("moved-meanwhile").polling("1h")).await;
    settled(&world).await;
    world.operator().kill().await;
    world.lever.switch_event(EVENT, false);
    let candidate = world.candidate();
    world.lever.move_to_stage(&candidate, STAGE).await;
    world.operator().start().await;
    world.wait_for_one_pad(&candidate).await;
    let pad = world.pads_of(&candidate).await.remove(0);
    assert_eq!(pad["spec"]["trigger"]["source"], "Sync");
    assert_eq!(pad["metadata"]["labels"]["padoperator.dev/configuration"], CONFIGURATION);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_delivery_is_reported_until_the_next_one() {
    let world = World::start(Options::new("never-delivered")).await;
    world.sync().await;
    world.lever.switch_event(EVENT, false);
    // The rule is older than the entry, and the entry is older than the maximum delay of a webhook.
    let ago = |minutes: i64| Timestamp::now().checked_sub(minutes.minutes()).unwrap();
    let since = ago(60).to_string();
    let status = json!({"effectiveSince": since, "existingSettledFor": since});
    world.patch_status("padconfigurations", CONFIGURATION, status).await;
    let old = || NewCandidate { entered_at: Some(ago(90).as_millisecond()), ..NewCandidate::default() };
    let late_tag = world.add_candidate(old());
    world.lever.move_to_stage_at(&late_tag, STAGE, ago(80).as_millisecond()).await;
    world.lever.add_tag(&late_tag, TAG);
    world.sync().await;
    world.wait_for_one_pad(&late_tag).await;
    let connection = world.get("leverconnections", CONNECTION).await;
    assert_eq!(crate::status::status_of(&connection, "WebhookVerified"), "True", "{connection:#}");

    let candidate = world.add_candidate(NewCandidate { tags: vec![TAG.into()], ..old() });
    world.lever.move_to_stage_at(&candidate, STAGE, ago(10).as_millisecond()).await;
    world.sync().await;
    world.wait_for_one_pad(&candidate).await;
    let connection =
        world.wait_for("leverconnections", CONNECTION, "WebhookVerified", "False/DeliveryMissed").await;
    let message = message_of(&connection, "WebhookVerified");
    for part in [STAGE, "switched on", connection["status"]["webhookURL"].as_str().unwrap()] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(crate::status::brief(&connection, "Ready"), "True/Connected");

    world.lever.switch_event(EVENT, true);
    let another = world.candidate();
    world.enter(&another).await;
    world.wait_for("leverconnections", CONNECTION, "WebhookVerified", "True/SignatureVerified").await;
    world.wait_for_one_pad(&another).await;
    world.sync().await;
    let connection = world.get("leverconnections", CONNECTION).await;
    assert_eq!(crate::status::status_of(&connection, "WebhookVerified"), "True", "{connection:#}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_tag_creates_a_pad() {
    let world = World::start(Options::new("late-tag").polling("1s")).await;
    let candidate = world.add_candidate(NewCandidate::default());
    world.enter(&candidate).await;
    world.wait_for_pad(&candidate, "Skipped/TagMissing").await;
    world.lever.add_tag(&candidate, TAG);
    world.wait_for_one_pad(&candidate).await;

    let archived = world.candidate();
    world.lever.archive(&archived);
    world.enter(&archived).await;
    world.wait_for_pad(&archived, "Skipped/CandidateArchived").await;
    world.lever.unarchive(&archived);
    world.wait_for_one_pad(&archived).await;
    assert_eq!(world.creates(), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_candidates_are_skipped_and_later_ones_are_not() {
    let mut world =
        World::start(Options { configurations: vec![], ..Options::new("existing-skip").polling("1h") }).await;
    let [before, asked, back] = [(); 3].map(|()| world.add_candidate(in_stage()));
    let untagged = world.add_candidate(NewCandidate { tags: vec![], ..in_stage() });
    world.configure(CONFIGURATION, json!({})).await;
    let configuration = settled(&world).await;
    assert_eq!(configuration["status"]["matching"], 3);
    for candidate in [&before, &asked, &back] {
        world.wait_for_pad(candidate, "Skipped/BeforeConfiguration").await;
    }
    assert_eq!(world.creates(), 0);

    // The decision is stored, also for the next process.
    world.operator().kill().await;
    world.lever.add_tag(&untagged, TAG);
    world.operator().start().await;
    world.wait_for_one_pad(&untagged).await;
    world.sync().await;
    world.wait_for_pad(&before, "Skipped/BeforeConfiguration").await;

    // A person's request and a new entry are different; an old delivery is not.
    world.request("pads", &name_of(&world, &asked).await).await;
    world.wait_for_one_pad(&asked).await;
    world.lever.move_to_stage(&back, "Onsite").await;
    world.enter(&back).await;
    world.wait_for_one_pad(&back).await;
    let annotations = json!({"padoperator.dev/reconcile-requested-at": "1700000000123-deadbeef"});
    let name = name_of(&world, &before).await;
    world.patch("pads", &name, json!({"metadata": {"annotations": annotations}})).await;
    eventually("the old delivery is handled", async || {
        let pad = world.get("pads", &name).await;
        let handled = &pad["status"]["lastHandledReconcileAt"];
        if handled == "1700000000123-deadbeef" { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;
    world.wait_for_pad(&before, "Skipped/BeforeConfiguration").await;
    assert_eq!(world.creates(), 3);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_candidates_get_a_pad_if_configured() {
    let world =
        World::start(Options { configurations: vec![], ..Options::new("existing-create").polling("1h") })
            .await;
    let candidates = [(); 3].map(|()| world.add_candidate(in_stage()));
    let elsewhere = world.candidate();
    world.configure(CONFIGURATION, json!({"existing": "Create"})).await;
    for candidate in &candidates {
        world.wait_for_one_pad(candidate).await;
    }
    assert!(world.pads_of(&elsewhere).await.is_empty());
    assert_eq!(world.creates(), 3);
    world.finish().await;
}

/// Start of Lever's page tokens.
const PAGE_TOKEN: &str = "%5B";

/// More candidates than a page of Lever's list has.
fn crowd(world: &World) -> Vec<String> {
    (0..110).map(|_| world.add_candidate(in_stage())).collect()
}

/// Returns an environment without a rule and without rate limits, so that many candidates do not take minutes.
fn unlimited(name: &'static str) -> Options {
    let mut options = Options { configurations: vec![], ..Options::new(name).polling("1h") };
    (options.lever.rate_limit, options.interview.rate_limit) = (None, None);
    options.flags.extend(["--lever-rate=0", "--interview-rate=0", "--leader-election=false"]);
    options
}

/// Waits until all of them have one Pad each, which is Skipped.
async fn all_are_skipped(world: &World, crowd: &[String]) {
    eventually("all existing candidates are skipped", async || {
        let pads = world.list("pads").await;
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
    let world = World::start(unlimited("stale-page")).await;
    let crowd = crowd(&world);
    let stale = json!({"code": "BadRequest", "message": "Invalid offset token"});
    let fault = Fault::on("GET", "^/v1/opportunities$").containing(PAGE_TOKEN);
    let fault = fault.action(Action::Status { code: 400, body: Some(stale) });
    let fault = world.lever.faults().add(fault);
    world.configure(CONFIGURATION, json!({})).await;
    let configuration = settled(&world).await;
    assert_eq!(fault.hits(), 1);
    assert_eq!(configuration["status"]["matching"], crowd.len());
    all_are_skipped(&world, &crowd).await;
    assert_eq!(world.creates(), 0);
    world.finish().await;
}

/// The list is then incomplete, and permits no conclusion about candidates that it does not contain.
#[tokio::test(flavor = "multi_thread")]
async fn scan_interrupted_by_coderpad_is_repeated() {
    let world = World::start(Options::new("cut-walk")).await;
    let candidate = world.candidate();
    world.enter(&candidate).await;
    let made = world.wait_for_one_pad(&candidate).await;
    world.sync().await;
    world.interview.start_interview(&made.id, &["Ada"]);
    // Beyond the first page.
    for _ in 0..60 {
        world.interview.add_pad(NewPad::default());
    }
    let fault = Fault::on("GET", "^/api/organization/pads/?$").skip(1);
    let fault = fault.action(Action::Status { code: 400, body: None });
    let fault = world.interview.faults().add(fault);
    // The request is handled when the repeated scan is complete.
    eventually("the second page is rejected", async || {
        world.sync().await;
        if fault.hits() == 1 { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    world.wait_for_pad(&candidate, "Started/Started").await;
    world.finish().await;
}

/// Once between two pages, and once between two Pads.
#[tokio::test(flavor = "multi_thread")]
async fn existing_candidates_stay_known_after_a_crash_in_the_first_scan() {
    let mut options = unlimited("killed-walk");
    options.relayed = true;
    let mut world = World::start(options).await;
    let crowd = crowd(&world);
    let page = Fault::on("GET", "^/v1/opportunities$").containing(PAGE_TOKEN).pause(Moment::BeforeEffect);
    let page = world.lever.faults().add(page);
    world.configure(CONFIGURATION, json!({})).await;
    soon("the scan is at its second page", page.reached()).await;
    world.operator().kill().await;
    page.discard();
    world.lever.switch_event(EVENT, false);
    let comes_later = async || {
        let candidate = world.candidate();
        world.lever.move_to_stage(&candidate, STAGE).await;
        candidate
    };
    let first = comes_later().await;

    let made = Fault::on("POST", "/pads$").skip(40).pause(Moment::BeforeEffect);
    let made = world.cluster_faults(0).add(made);
    let second = comes_later().await;
    world.operator().start().await;
    soon("some Pads are created", made.reached()).await;
    let configuration = world.get("padconfigurations", CONFIGURATION).await;
    assert_eq!(configuration["status"]["existingSettledFor"], Value::Null, "{configuration:#}");
    world.operator().kill().await;
    made.discard();

    world.operator().start().await;
    settled(&world).await;
    all_are_skipped(&world, &crowd).await;
    for candidate in [&first, &second] {
        world.wait_for_one_pad(candidate).await;
    }
    assert_eq!(world.creates(), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_rule_counts_matching_candidates_and_creates_nothing() {
    let mut options = Options::new("dry-run").polling("1h").unsettled();
    options.configurations = vec![];
    let world = World::start(options).await;
    world.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    let first = world.add_candidate(in_stage());
    world.configure(CONFIGURATION, json!({"suspend": true})).await;
    let matching = async |expected: i64| {
        eventually("the matching candidates are counted", async || {
            let configuration = world.get("padconfigurations", CONFIGURATION).await;
            if configuration["status"]["matching"] == expected {
                Ok(())
            } else {
                Err(format!("{configuration:#}"))
            }
        })
        .await;
    };
    matching(1).await;
    let second = world.add_candidate(in_stage());
    world.look_at("padconfigurations", CONFIGURATION).await;
    matching(2).await;
    assert!(world.list("pads").await.is_empty());

    world.patch("padconfigurations", CONFIGURATION, json!({"spec": {"suspend": false}})).await;
    world.wait_for_pad(&first, "Skipped/BeforeConfiguration").await;
    world.wait_for_one_pad(&second).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_pads_of_departed_candidates_are_deleted_as_with_retain() {
    let spec = json!({"deletionPolicy": "Delete", "ttlSecondsAfterEnded": 0, "ttlSecondsAfterSkipped": 0});
    let world = World::start(Options::new("ttl").configuration(spec)).await;
    let (ended, open, untagged) =
        (world.candidate(), world.candidate(), world.add_candidate(NewCandidate::default()));
    for candidate in [&ended, &open] {
        world.enter(candidate).await;
    }
    let made = world.wait_for_one_pad(&ended).await;
    let stays = world.wait_for_one_pad(&open).await;
    world.end_interview(&ended, &made.id).await;
    world.sync().await;
    assert_eq!(world.pads_of(&ended).await.len(), 1, "the candidate is still in the stage");

    world.enter(&untagged).await;
    world.wait_for_pad(&untagged, "Skipped/TagMissing").await;
    for candidate in [&ended, &open] {
        world.lever.move_to_stage(candidate, "Onsite").await;
    }
    world.sync().await;
    eventually("the ended Pads are deleted", async || {
        let pads = world.list("pads").await;
        if pads.len() == 1 { Ok(()) } else { Err(format!("{pads:#?}")) }
    })
    .await;
    world.wait_for_one_pad(&open).await;
    assert_eq!(world.lever.links(&ended), [made.url]);
    assert!(
        !world.interview.pad(&made.id).unwrap().deleted && !world.interview.pad(&stays.id).unwrap().deleted
    );
    world.finish().await;
}

/// A scan during which a candidate moves is restarted or concludes nothing; a concurrent repeated delivery creates no
/// second pad.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_webhook_and_sync_create_one_pad() {
    let world = World::start(Options::new("both-at-once").polling("1s")).await;
    settled(&world).await;
    world.lever.set_delivery_behaviour(DeliveryBehaviour { copies: 3, ..DeliveryBehaviour::default() });
    let candidates = [(); 12].map(|()| world.candidate());
    for candidate in &candidates {
        world.lever.move_to_stage(candidate, STAGE).await;
    }
    for candidate in &candidates {
        world.wait_for_one_pad(candidate).await;
    }
    world.lever.set_delivery_behaviour(DeliveryBehaviour::default());
    world.sync().await;
    assert_eq!(world.creates(), 12);
    world.finish().await;
}
