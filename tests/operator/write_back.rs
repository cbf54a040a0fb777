//! Writes that Lever rejects, and their effect on the Pad: its tags, its note, the end of its interview.

use std::time::Duration;

use serde_json::{Value, json};
use simulators::Fault;

use crate::environment::{CONFIGURATION, CONNECTION, Options, TAG, TestEnv};
use crate::status::{brief, condition, message_of, phase};
use crate::wait::{NOTE_SEARCH_COMPLETE, eventually, eventually_within};

const READY: &str = "coderpad-ready";
const ENDED: &str = "coderpad-done";
const FAILED: &str = "coderpad-error";

fn tags() -> Value {
    json!({"ready": READY, "ended": ENDED, "failed": FAILED})
}

fn refuse(candidate: &str, what: &str, status: u16) -> Fault {
    Fault::on("POST", &format!("/{candidate}/{what}$")).status(status).until_removed()
}

fn name_of(pad: &Value) -> &str {
    pad["metadata"]["name"].as_str().unwrap()
}

/// Returns the calls about one candidate and all pads, without the probe of the connection.
fn calls(env: &TestEnv, candidate: &str) -> usize {
    let about =
        |call: &&simulators::Call| call.path.contains(candidate) || call.path.starts_with("/api/pads");
    env.lever.calls().iter().chain(&env.interview.calls()).filter(about).count()
}

impl TestEnv {
    /// Waits until a condition of the candidate's only Pad equals a text like `True/Written`.
    async fn wait_for_condition(&self, candidate: &str, kind: &str, expected: &str) -> Value {
        eventually_within(NOTE_SEARCH_COMPLETE, &format!("{kind} is {expected}"), async || {
            let pad = self.pads_of(candidate).await.remove(0);
            if brief(&pad, kind) == expected { Ok(pad) } else { Err(format!("{pad:#}")) }
        })
        .await
    }

    /// Runs an interview and requests a reconcile of its Pad.
    async fn end(&self, candidate: &str) {
        let pad = self.pads_of(candidate).await.remove(0);
        let id = pad["status"]["padID"].as_str().unwrap();
        self.interview.start_interview(id, &["Ada"]);
        self.interview.type_code(id, "main.py", "print('a secret plan')\n");
        self.interview.end_interview(id);
        self.request("pads", name_of(&pad)).await;
    }
}

/// contract K4a
#[tokio::test(flavor = "multi_thread")]
async fn rejected_tag_leaves_the_pad_open_and_is_retried() {
    let env =
        TestEnv::start(Options::new("tag-refused").configuration(json!({"writeBack": {"tags": tags()}})))
            .await;
    for (status, reason) in [(400, "InvalidRequest"), (403, "LeverForbidden")] {
        let candidate = env.candidate();
        // A 403 is about the key only if another candidate can be read.
        let fault = env.lever.faults().add(refuse(&candidate, "addTags", status));
        env.enter(&candidate).await;
        let pad = env.wait_for_pad(&candidate, "Open/Open").await;
        let pad = env.wait_for("pads", name_of(&pad), "TagRefused", &format!("True/{reason}")).await;
        let message = message_of(&pad, "TagRefused");
        for part in [READY, "The pad and its link are not affected", "The operator retries"] {
            assert!(message.contains(part), "{message}");
        }
        env.wait_for_one_pad(&candidate).await;
        assert_eq!(env.lever.tags(&candidate), [TAG]);
        // It is retried only with backoff, whatever triggers the Pad.
        eventually("it is retried", async || if fault.hits() >= 2 { Ok(()) } else { Err(String::new()) })
            .await;
        let before = fault.hits();
        for _ in 0..5 {
            env.patch("pads", name_of(&pad), json!({"metadata": {"labels": {"look": before.to_string()}}}))
                .await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(fault.hits() <= before + 1, "{} after {before}", fault.hits());
        assert_eq!(phase(&env.get("pads", name_of(&pad)).await), "Open/Open");

        fault.remove();
        eventually("the tag is set, and no problem is reported", async || {
            let pad = env.get("pads", name_of(&pad)).await;
            let is_well = condition(&pad, "TagRefused").is_none() && phase(&pad) == "Open/Open";
            match env.lever.tags(&candidate) {
                tags if is_well && tags == [TAG, READY] => Ok(()),
                tags => Err(format!("{tags:?}\n{pad:#}")),
            }
        })
        .await;
    }
    assert_eq!(env.creates(), 2);
    env.finish().await;
}

/// contract K4a
#[tokio::test(flavor = "multi_thread")]
async fn tag_rejected_at_the_end_leaves_the_pad_ended() {
    let env =
        TestEnv::start(Options::new("end-tag-refused").configuration(json!({"writeBack": {"tags": tags()}})))
            .await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    let fault = env.lever.faults().add(refuse(&candidate, "addTags", 400));
    env.end(&candidate).await;
    let pad = env.wait_for_condition(&candidate, "RecordAdded", "False/InvalidRequest").await;
    assert_eq!(phase(&pad), "Ended/Ended");
    assert_eq!(env.lever.notes(&candidate).len(), 1);
    fault.remove();
    env.request("pads", name_of(&pad)).await;
    env.wait_for_condition(&candidate, "RecordAdded", "True/Written").await;
    assert_eq!(env.lever.tags(&candidate), [TAG, ENDED]);
    assert_eq!(env.lever.notes(&candidate).len(), 1);
    env.finish().await;
}

/// contract E6
#[tokio::test(flavor = "multi_thread")]
async fn pad_with_a_rejected_link_can_be_ended_on_request() {
    let env =
        TestEnv::start(Options::new("end-unlinked").configuration(json!({"writeBack": {"tags": tags()}})))
            .await;
    let candidate = env.candidate();
    env.lever.faults().add(refuse(&candidate, "addLinks", 400));
    env.enter(&candidate).await;
    let pad = env.wait_for_pad(&candidate, "Failed/InvalidRequest").await;
    let made = env.created_pads_of(&candidate).remove(0);
    assert_eq!(made.state, "pending");

    env.patch("pads", name_of(&pad), json!({"spec": {"state": "Ended"}})).await;
    let pad = env.wait_for_pad(&candidate, "Ended/Ended").await;
    assert_eq!(env.interview.pad(&made.id).unwrap().state, "ended");
    assert!(message_of(&pad, "Ready").contains("before its link was on the candidate"), "{pad:#}");
    assert_eq!(brief(&pad, "LinkAdded"), "False/Ended");
    assert_eq!(brief(&pad, "RecordAdded"), "False/Cancelled");
    assert_eq!(pad["status"]["linkedAt"], Value::Null);

    // Nothing is retried, whatever is requested.
    eventually("the failure tag is removed", async || match env.lever.tags(&candidate) {
        tags if tags == [TAG] => Ok(()),
        tags => Err(format!("{tags:?}")),
    })
    .await;
    env.reconcile("pads", name_of(&pad)).await;
    let before = calls(&env, &candidate);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(calls(&env, &candidate), before);
    assert_eq!((env.lever.links(&candidate), env.lever.notes(&candidate)), (vec![], vec![]));
    assert_eq!(phase(&env.get("pads", name_of(&pad)).await), "Ended/Ended");
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pad_with_a_rejected_note_expires() {
    let spec = json!({"ttlSecondsAfterEnded": 0});
    let env = TestEnv::start(Options::new("note-refused").configuration(spec)).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    let fault = env.lever.faults().add(refuse(&candidate, "notes", 400));
    env.end(&candidate).await;
    let pad = env.wait_for_condition(&candidate, "RecordAdded", "False/InvalidRequest").await;
    assert_eq!(fault.hits(), 1, "without code it is not sent again");
    env.lever.move_to_stage(&candidate, "Onsite").await;
    env.sync().await;
    eventually("the Pad is deleted", async || {
        env.find("pads", name_of(&pad)).await.map_or(Ok(()), |pad| Err(format!("{pad:#}")))
    })
    .await;
    env.finish().await;
}

/// contract E3
#[tokio::test(flavor = "multi_thread")]
async fn note_omits_code_that_coderpad_does_not_return_or_lever_rejects() {
    let spec = json!({"writeBack": {"note": "SummaryWithCode"}});
    let env = TestEnv::start(Options::new("code-left-out").configuration(spec)).await;
    let [missing, refused] = [(); 2].map(|()| env.candidate());
    for candidate in [&missing, &refused] {
        env.enter(candidate).await;
        env.wait_for_one_pad(candidate).await;
    }
    let gone = Fault::on("GET", "^/api/pad_environments/").status(404).until_removed();
    let gone = env.interview.faults().add(gone);
    env.end(&missing).await;
    env.wait_for_condition(&missing, "RecordAdded", "True/Written").await;
    let notes = env.lever.notes(&missing);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("CoderPad did not return 1 of the files"), "{}", notes[0]);
    assert!(notes[0].contains("Playback: ") && !notes[0].contains("a secret plan"), "{}", notes[0]);
    gone.remove();

    let long = Fault::on("POST", &format!("/{refused}/notes$")).containing("a secret plan");
    let long = env.lever.faults().add(long.status(400).until_removed());
    env.end(&refused).await;
    env.wait_for_condition(&refused, "RecordAdded", "True/Written").await;
    let notes = env.lever.notes(&refused);
    assert_eq!((notes.len(), long.hits()), (1, 1), "{notes:?}");
    assert!(notes[0].contains("the code is left out") && notes[0].contains("Playback: "), "{}", notes[0]);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn write_back_for_a_candidate_who_became_confidential_is_abandoned() {
    let env = TestEnv::start(
        Options::new("ended-confidential").configuration(json!({"writeBack": {"tags": tags()}})),
    )
    .await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    env.wait_for_one_pad(&candidate).await;
    // Another candidate can be read, so the key is not the cause.
    env.candidate();
    env.lever.set_confidential(&candidate, true);
    env.end(&candidate).await;
    let pad = env.wait_for_condition(&candidate, "RecordAdded", "False/CandidateConfidential").await;
    assert_eq!(phase(&pad), "Ended/Ended");
    let before = calls(&env, &candidate);
    env.patch("pads", name_of(&pad), json!({"metadata": {"labels": {"look": "again"}}})).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(calls(&env, &candidate), before, "it is not retried");
    // The API key is not blamed.
    let connection = env.get("leverconnections", CONNECTION).await;
    assert!(!message_of(&connection, "LeverConnected").contains("notes"), "{connection:#}");

    env.lever.set_confidential(&candidate, false);
    env.request("pads", name_of(&pad)).await;
    env.wait_for_condition(&candidate, "RecordAdded", "True/Written").await;
    assert_eq!(env.lever.notes(&candidate).len(), 1);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn end_of_one_rules_interview_keeps_tags_of_another_rules_pad() {
    let mut options = Options::new("shared-tags");
    let second = json!({"tag": "coderpad-2", "writeBack": {"tags": tags()}});
    options.configurations =
        vec![(CONFIGURATION, json!({"writeBack": {"tags": tags()}})), ("second", second)];
    let env = TestEnv::start(options).await;
    let candidate = env.candidate();
    env.lever.add_tag(&candidate, "coderpad-2");
    env.enter(&candidate).await;
    let pads = eventually("both are open", async || {
        let pads = env.pads_of(&candidate).await;
        let is_open = pads.len() == 2 && pads.iter().all(|pad| phase(pad) == "Open/Open");
        if is_open { Ok(pads) } else { Err(format!("{pads:#?}")) }
    })
    .await;
    let end = async |pad: &Value| {
        env.interview.start_interview(pad["status"]["padID"].as_str().unwrap(), &["Ada"]);
        env.interview.end_interview(pad["status"]["padID"].as_str().unwrap());
        env.reconcile("pads", name_of(pad)).await;
        eventually_within(NOTE_SEARCH_COMPLETE, "the write-back is complete", async || {
            let pad = env.get("pads", name_of(pad)).await;
            if brief(&pad, "RecordAdded") == "True/Written" { Ok(()) } else { Err(format!("{pad:#}")) }
        })
        .await;
    };
    end(&pads[0]).await;
    assert_eq!(env.lever.tags(&candidate), [TAG, "coderpad-2", READY, ENDED]);
    end(&pads[1]).await;
    assert_eq!(env.lever.tags(&candidate), [TAG, "coderpad-2", ENDED]);
    env.wait_for("leverconnections", CONNECTION, "Ready", "True/Connected").await;
    env.finish().await;
}
