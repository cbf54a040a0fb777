//! Exhausted quota: no pad that would be billed, unless overage is allowed.

use std::time::Duration;

use serde_json::{Value, json};
use simulators::{Fault, Quota};

use crate::environment::{CONFIGURATION, CONNECTION, Options, STAGE, TestEnv};
use crate::status::{brief, message_of, phase};
use crate::wait::{eventually, eventually_within};

const USED_UP: Quota = Quota { limit: Some(3), used: 3, overages_enabled: false, billed: 0 };
const SOME_LEFT: Quota = Quota { limit: Some(10), used: 3, overages_enabled: false, billed: 0 };

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_while_the_quota_is_exhausted() {
    let mut options = Options::new("quota-known").polling("1s");
    options.interview.quota = USED_UP;
    let env = TestEnv::start(options).await;
    let connection =
        env.wait_for("leverconnections", CONNECTION, "QuotaAvailable", "False/QuotaExceeded").await;
    assert_eq!(connection["status"]["quota"]["remaining"], 0);
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let pad = env.wait_for_pad(&candidate, "Pending/QuotaExceeded").await;
    assert!(message_of(&pad, "Ready").contains("overage"), "{pad:#}");
    assert_eq!(env.creates(), 0);

    env.interview.set_quota(SOME_LEFT);
    env.wait_for_one_pad(&candidate).await;
    env.wait_for("leverconnections", CONNECTION, "QuotaAvailable", "True/QuotaAvailable").await;
    assert_eq!(env.interview.quota().billed, 0);
    env.finish().await;
}

/// The known quota is outdated: CoderPad itself rejects the request.
#[tokio::test(flavor = "multi_thread")]
async fn pad_rejected_for_lack_of_quota_waits_for_quota() {
    let env = TestEnv::start(Options::new("quota-stale")).await;
    env.interview.set_quota(USED_UP);
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_pad(&candidate, "Pending/QuotaExceeded").await;
    assert_eq!(env.creates(), 1);
    // The rejection triggered a probe of the connection.
    env.wait_for("leverconnections", CONNECTION, "QuotaAvailable", "False/QuotaExceeded").await;

    env.interview.set_quota(SOME_LEFT);
    env.request("leverconnections", CONNECTION).await;
    env.wait_for_one_pad(&candidate).await;
    env.finish().await;
}

/// Only CoderPad itself knows the quota.
// contract C3a
#[tokio::test(flavor = "multi_thread")]
async fn page_with_429_is_a_pause_and_not_the_quota() {
    let env = TestEnv::start(Options::new("quota-page")).await;
    let create = Fault::on("POST", "^/api/pads/?$").page(429).until_removed();
    let page = env.interview.faults().add(create);
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let pad = env.wait_for_pad(&candidate, "Pending/InterviewRateLimited").await;
    let message = message_of(&pad, "Ready");
    assert!(message.contains("429") && message.contains("text/html"), "{message}");
    let connection = env.get("leverconnections", CONNECTION).await;
    assert_eq!(brief(&connection, "QuotaAvailable"), "True/QuotaAvailable");
    page.remove();
    env.wait_for_one_pad(&candidate).await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pad_is_created_and_billed_if_overage_is_allowed() {
    let mut options = Options::new("overage");
    options.interview.quota = Quota { overages_enabled: true, ..USED_UP };
    let env = TestEnv::start(options).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_pad(&candidate, "Pending/QuotaExceeded").await;
    assert_eq!(env.creates(), 0, "even if CoderPad would bill it: a person decides");

    let allow = json!({"spec": {"interview": {"overage": "Allow"}}});
    env.patch("leverconnections", CONNECTION, allow).await;
    env.wait_for_one_pad(&candidate).await;
    assert_eq!(env.interview.quota().billed, 1);
    env.finish().await;
}

/// Waits until three Pads are Open and the others wait for quota, and asserts that nothing more was created or billed.
async fn wait_for_three_open(env: &TestEnv, waiting: usize) {
    eventually("three are open and the others wait", async || {
        let phases: Vec<String> = env.list("pads").await.iter().map(phase).collect();
        let count = |wanted: &str| phases.iter().filter(|phase| *phase == wanted).count();
        let counts = (count("Open/Open"), count("Pending/QuotaExceeded"));
        if counts == (3, waiting) { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    assert_eq!((env.creates(), env.interview.quota().billed), (3, 0));
}

/// Many Pads find the same remaining quota in the status; no more may be created than remain.
#[tokio::test(flavor = "multi_thread")]
async fn bulk_move_creates_no_billed_pad() {
    let mut options = Options::new("bulk");
    options.interview.quota = Quota { used: 0, overages_enabled: true, ..USED_UP };
    let env = TestEnv::start(options).await;
    let candidates = [(); 9].map(|()| env.candidate());
    for candidate in &candidates {
        env.lever.move_to_stage(candidate, STAGE).await;
    }
    wait_for_three_open(&env, 6).await;
    env.interview.set_quota(Quota { limit: Some(9), ..env.interview.quota() });
    env.request("leverconnections", CONNECTION).await;
    for candidate in &candidates {
        env.wait_for_one_pad(candidate).await;
    }
    assert_eq!(env.interview.quota().billed, 0);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn remaining_quota_is_used_by_the_oldest_pads_first() {
    let mut options = Options::new("oldest-first").polling("1s");
    options.interview.quota = USED_UP;
    let env = TestEnv::start(options).await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let candidate = env.candidate();
        env.enter(&candidate).await;
        env.wait_for_pad(&candidate, "Pending/QuotaExceeded").await;
        waiting.push(candidate);
        // The API server stores the time of creation in whole seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    for oldest in &waiting {
        let quota = env.interview.quota();
        env.interview.set_quota(Quota { limit: quota.limit.map(|limit| limit + 1), ..quota });
        env.wait_for_one_pad(oldest).await;
    }
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn low_quota_is_reported_once() {
    let quota = |used| Quota { limit: Some(20), used, ..USED_UP };
    let mut options = Options::new("quota-low");
    options.interview.quota = quota(18);
    options.flags.push("--leader-election=false");
    let mut env = TestEnv::start(options).await;
    let warnings = async |env: &TestEnv| {
        let mut events = env.list("events").await;
        events.retain(|event| event["regarding"]["kind"] == "LeverConnection");
        events.sort_by_key(|event| event["metadata"]["creationTimestamp"].as_str().unwrap().to_owned());
        let reason = |event: &Value| event["reason"].as_str().unwrap().to_owned();
        (events.iter().map(reason).collect::<Vec<_>>(), events)
    };
    let look = async |env: &TestEnv, used, expected: &str| {
        env.interview.set_quota(quota(used));
        env.request("leverconnections", CONNECTION).await;
        env.wait_for("leverconnections", CONNECTION, "QuotaAvailable", expected).await;
        // The consequences are decided when the next request is answered.
        env.request("leverconnections", CONNECTION).await;
        eventually("the request is answered", async || {
            let connection = env.get("leverconnections", CONNECTION).await;
            let asked = &connection["metadata"]["annotations"]["padoperator.dev/reconcile-requested-at"];
            let answered = &connection["status"]["lastHandledReconcileAt"];
            if asked == answered { Ok(()) } else { Err(format!("{connection:#}")) }
        })
        .await;
    };
    look(&env, 18, "True/QuotaAvailable").await;
    assert_eq!(warnings(&env).await.0, Vec::<String>::new());
    look(&env, 19, "True/QuotaLow").await;
    let (reasons, events) = warnings(&env).await;
    assert_eq!(reasons, ["QuotaLow"]);
    assert_eq!(events[0]["type"], "Warning");
    let note = events[0]["note"].as_str().unwrap();
    assert!(note.contains("1 of 20") && note.contains("spec.interview.overage"), "{note}");

    env.operator().kill().await;
    env.operator().start().await;
    look(&env, 20, "False/QuotaExceeded").await;
    assert_eq!(warnings(&env).await.0, ["QuotaLow"]);
    look(&env, 5, "True/QuotaAvailable").await;
    look(&env, 20, "False/QuotaExceeded").await;
    assert_eq!(warnings(&env).await.0, ["QuotaLow", "QuotaExceeded"]);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_with_one_key_share_the_quota() {
    let mut options = Options::new("quota-shared");
    options.interview.quota = Quota { used: 0, overages_enabled: true, ..USED_UP };
    let env = TestEnv::start(options).await;
    let mut spec = env.connection_spec();
    spec["sync"] = json!({"interval": "0s"});
    env.apply("leverconnections", "other", spec).await;
    env.apply("padconfigurations", "other", json!({"connectionRef": {"name": "other"}})).await;
    env.wait_for("padconfigurations", "other", "Ready", "True/Duplicate").await;
    let candidates = [(); 6].map(|()| env.candidate());
    for (number, candidate) in candidates.iter().enumerate() {
        let configuration = if number % 2 == 0 { CONFIGURATION } else { "other" };
        env.create_pad_by_hand(&format!("by-hand-{number}"), configuration, candidate).await;
    }
    wait_for_three_open(&env, 3).await;
    env.interview.set_quota(Quota { limit: Some(9), ..env.interview.quota() });
    for connection in [CONNECTION, "other"] {
        env.request("leverconnections", connection).await;
    }
    for candidate in &candidates {
        env.wait_for_one_pad(candidate).await;
    }
    assert_eq!(env.interview.quota().billed, 0);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_pad_of_a_departed_candidate_blocks_no_other() {
    let mut options = Options::new("quota-left");
    options.interview.quota = USED_UP;
    let env = TestEnv::start(options).await;
    let candidates = [(); 3].map(|()| env.candidate());
    for candidate in &candidates {
        env.enter(candidate).await;
        env.wait_for_pad(candidate, "Pending/QuotaExceeded").await;
        // The API server stores the time of creation in whole seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    let [first, second, youngest] = &candidates;
    for candidate in [first, second] {
        env.lever.move_to_stage(candidate, "Onsite").await;
    }
    env.interview.set_quota(Quota { limit: USED_UP.limit.map(|limit| limit + 1), ..USED_UP });
    env.request("leverconnections", CONNECTION).await;
    eventually_within(Duration::from_secs(40), "the youngest is open", async || {
        let pad = env.pads_of(youngest).await.remove(0);
        if phase(&pad) == "Open/Open" { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;
    for candidate in [first, second] {
        env.wait_for_pad(candidate, "Skipped/StageChanged").await;
    }
    assert_eq!(env.creates(), 1);
    env.finish().await;
}
