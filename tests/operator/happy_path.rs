//! The main job: a tagged candidate reaches a stage, and the link of a new pad is on the profile.

use serde_json::json;
use simulators::RateLimit;

use crate::environment::{CONFIGURATION, DEFAULT_INTERVIEW_RATE, Options, STAGE, TAG, TestEnv};
use crate::status::{brief, message_of, phase};

#[tokio::test(flavor = "multi_thread")]
async fn live_pad_takes_3_calls_and_4_writes() {
    let env = TestEnv::start(Options::new("live-pad")).await;
    // One after the other, so that requests that follow a pad late are seen too.
    for _ in 0..8 {
        env.lever.clear_calls();
        env.interview.clear_calls();
        let candidate = env.candidate();
        let answer = env.enter(&candidate).await;
        let made = env.wait_for_one_pad(&candidate).await;

        let pad = env.pads_of(&candidate).await.remove(0);
        let name = pad["metadata"]["name"].as_str().unwrap();
        assert_eq!(answer, json!({"outcome": "Accepted", "pads": [name]}));
        assert!(name.starts_with(&format!("{CONFIGURATION}-")) && name.ends_with("-1"), "{name}");
        assert_eq!(pad["status"]["type"], "Live");
        assert_eq!(pad["spec"]["trigger"]["source"], "Webhook");
        let person = env.lever.opportunity(&candidate).unwrap()["name"].as_str().unwrap().to_owned();
        assert_eq!(made.title, format!("{person} - {STAGE}"));
        assert_eq!((made.take_home, made.question_ids.as_slice()), (false, [].as_slice()));
        assert_calls(&env, &candidate);
        assert_writes(&env, name).await;
    }
    // A usual pad creates no Event.
    assert_eq!(env.events().await, json!([]));
    env.finish().await;
}

pub fn assert_calls(env: &TestEnv, candidate: &str) {
    let mut calls: Vec<_> = [env.lever.calls(), env.interview.calls()].concat();
    calls.sort_by_key(|call| call.at);
    let calls: Vec<_> = calls.iter().map(|call| format!("{} {}", call.method, call.path)).collect();
    let opportunity = format!("/v1/opportunities/{candidate}");
    let expected =
        [format!("GET {opportunity}"), "POST /api/pads/".to_owned(), format!("POST {opportunity}/addLinks")];
    assert_eq!(calls, expected);
}

/// Returns every write of the operator since the connection was Ready, without those for other Pads.
pub async fn assert_writes(env: &TestEnv, name: &str) {
    let user = env.user(0);
    let requests = env.cluster.requests(env.namespace).await;
    let settled =
        requests.iter().position(|request| request.resource == "pads" && request.is_write()).unwrap();
    let writes: Vec<_> = requests[settled..]
        .iter()
        .filter(|request| request.user == user && request.is_write() && request.resource != "leases")
        .filter(|request| !request.resource.starts_with("pads") || request.name == name)
        .map(|request| {
            (request.verb.as_str(), request.resource.as_str(), request.name.as_str(), request.code)
        })
        .collect();
    let expected = [
        ("create", "pads", name, 201),
        ("patch", "pads", name, 200),
        ("patch", "pads", name, 200),
        ("patch", "pads/status", name, 200),
    ];
    assert_eq!(writes, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn take_home_has_its_question_and_two_hours() {
    let spec = json!({"type": "TakeHome", "questionID": 1002});
    let env = TestEnv::start(Options::new("take-home").configuration(spec)).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;

    let made = env.wait_for_one_pad(&candidate).await;
    assert!(made.take_home);
    assert_eq!(made.take_home_time_limit, Some(120));
    assert_eq!(made.question_ids, [1002]);
    assert_eq!(env.pads_of(&candidate).await[0]["status"]["type"], "TakeHome");
    env.finish().await;
}

/// CoderPad ignores unknown fields, and so may create a live pad instead of the requested take-home.
#[tokio::test(flavor = "multi_thread")]
async fn live_pad_instead_of_a_take_home_is_deleted_and_never_linked() {
    let spec = json!({"type": "TakeHome", "questionID": 1002});
    let env = TestEnv::start(Options::new("take-home-refused").configuration(spec)).await;
    env.interview.change_settings(|settings| settings.accept_take_home = false);
    let candidate = env.candidate();
    env.enter(&candidate).await;

    let pad = env.wait_for_pad(&candidate, "Failed/TakeHomeRefused").await;
    assert!(message_of(&pad, "Ready").contains("Ask CoderPad"), "{pad:#}");
    let made = env.created_pads_of(&candidate);
    assert!(made.len() == 1 && made[0].deleted, "{made:#?}");
    assert!(env.lever.links(&candidate).is_empty());
    let links = |path: &str| path.ends_with("/addLinks");
    assert!(!env.lever.calls().iter().any(|call| links(&call.path)), "it was linked for a moment");

    env.interview.change_settings(|settings| settings.accept_take_home = true);
    env.request("pads", pad["metadata"]["name"].as_str().unwrap()).await;
    env.wait_for_one_pad(&candidate).await;
    env.finish().await;
}

/// Two rules for one stage, distinguished by tag; a candidate with both tags gets both pads.
#[tokio::test(flavor = "multi_thread")]
async fn each_configuration_creates_its_own_pad() {
    let mut options = Options::new("two-rules");
    options
        .configurations
        .push(("second", json!({"tag": "second", "language": "rust", "waitingRoom": true})));
    let env = TestEnv::start(options).await;
    let candidate = env.candidate();
    env.lever.add_tag(&candidate, "second");
    let answer = env.enter(&candidate).await;
    assert_eq!(answer["pads"].as_array().unwrap().len(), 2, "{answer}");

    crate::wait::eventually("both are Open", async || {
        let pads = env.pads_of(&candidate).await;
        let phases: Vec<_> = pads.iter().map(phase).collect();
        if phases == ["Open/Open", "Open/Open"] { Ok(()) } else { Err(format!("{phases:?}")) }
    })
    .await;
    assert_eq!(env.lever.links(&candidate).len(), 2);
    let made = env.created_pads_of(&candidate);
    let second = made.iter().find(|pad| pad.language.as_deref() == Some("rust")).unwrap();
    assert!(second.private && made.len() == 2, "{made:#?}");

    let late = env.get("padconfigurations", CONFIGURATION).await;
    assert_eq!((brief(&late, "Ready").as_str(), late["spec"]["tag"].as_str()), ("True/InUse", Some(TAG)));
    env.finish().await;
}

/// A bulk move: each candidate gets a pad, and no service has to reject a request. CoderPad's limit is unknown; here it
/// is a third of Lever's.
// contract O2
#[tokio::test(flavor = "multi_thread")]
async fn bulk_move_respects_the_rate_limits_of_both_services() {
    let mut options = Options::new("crowd");
    options.flags.push(DEFAULT_INTERVIEW_RATE);
    options.interview.rate_limit = Some(RateLimit { per_second: 3.0, burst: 10.0 });
    let env = TestEnv::start(options).await;
    let crowd: Vec<_> = (0..40).map(|_| env.candidate()).collect();
    for candidate in &crowd {
        env.lever.move_to_stage(candidate, STAGE).await;
    }
    for candidate in &crowd {
        env.wait_for_one_pad(candidate).await;
    }
    assert_eq!(env.creates(), crowd.len());
    let calls = [env.lever.calls(), env.interview.calls()].concat();
    let refused: Vec<_> = calls.iter().filter(|call| call.status == Some(429)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    env.finish().await;
}
