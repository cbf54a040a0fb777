//! End of an interview and its write-back to the candidate: the note and the tags.

use serde_json::{Value, json};
use simulators::Fault;

use crate::environment::{Options, TAG, TestEnv};
use crate::status::{brief, phase};
use crate::wait::{NOTE_SEARCH_COMPLETE, eventually, eventually_within};

fn options(name: &'static str) -> Options {
    let tags = json!({"ready": "coderpad-ready", "ended": "coderpad-done", "failed": "coderpad-error"});
    Options::new(name).configuration(json!({"writeBack": {"note": "SummaryWithCode", "tags": tags}}))
}

impl TestEnv {
    /// Delivers the last webhook once more.
    async fn enter_again(&self) {
        let last = self.lever.deliveries().last().unwrap().number;
        assert_eq!(self.lever.redeliver(last).await.status, Some(200));
    }

    /// Requests a reconcile of a Pad, and waits until its write-back is complete.
    async fn wait_for_write_back(&self, name: &str) -> Value {
        self.request("pads", name).await;
        eventually_within(
            NOTE_SEARCH_COMPLETE,
            &format!("the write-back of {name} is complete"),
            async || {
                let pad = self.get("pads", name).await;
                let is_recorded =
                    phase(&pad) == "Ended/Ended" && brief(&pad, "RecordAdded") == "True/Written";
                if is_recorded { Ok(pad) } else { Err(format!("{pad:#}")) }
            },
        )
        .await
    }
}

fn name_of(pad: &Value) -> &str {
    pad["metadata"]["name"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn write_back_happens_once_with_the_code() {
    let env = TestEnv::start(options("record")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    let pad = env.pads_of(&candidate).await.remove(0);
    assert_eq!(env.lever.tags(&candidate), [TAG, "coderpad-ready"]);

    env.interview.start_interview(&made.id, &["Ada @lovelace", "Olga Owner"]);
    env.request("pads", name_of(&pad)).await;
    let started = env.wait_for_pad(&candidate, "Started/Started").await;
    assert!(started["status"]["startedAt"].is_string());
    env.interview.type_code(&made.id, "main.py", "print('@everyone')\n");
    env.interview.end_interview(&made.id);
    let ended = env.wait_for_write_back(name_of(&pad)).await;
    let status = &ended["status"];
    assert_eq!(status["participants"], json!(["Ada @lovelace", "Olga Owner"]));
    assert!(status["playbackURL"].as_str().unwrap().ends_with("/playback") && status["endedAt"].is_string());

    let notes = env.lever.notes(&candidate);
    assert_eq!(notes.len(), 1, "{notes:?}");
    for part in ["The CoderPad interview has ended.", "Playback: http", "--- main.py", "@\u{2060}everyone"] {
        assert!(notes[0].contains(part), "{part} is not in {}", notes[0]);
    }
    assert_eq!(env.lever.mentions(), []);
    assert_eq!(env.lever.tags(&candidate), [TAG, "coderpad-done"]);
    assert!(status["noteID"].is_string());

    // Another reconcile and a repeated webhook change nothing.
    let version = ended["metadata"]["resourceVersion"].clone();
    env.enter_again().await;
    eventually("the repeated webhook is handled", async || {
        let pad = env.get("pads", name_of(&pad)).await;
        let asked = &pad["metadata"]["annotations"]["padoperator.dev/reconcile-requested-at"];
        let is_handled = pad["metadata"]["resourceVersion"] != version
            && pad["status"]["lastHandledReconcileAt"] == *asked;
        if is_handled { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;
    env.wait_for_write_back(name_of(&pad)).await;
    assert_eq!(env.lever.notes(&candidate).len(), 1);
    assert_eq!(env.lever.links(&candidate).len(), 1);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn note_or_tag_whose_response_is_lost_is_not_written_twice() {
    let env = TestEnv::start(options("record-lost")).await;
    type Order = fn(Fault) -> Fault;
    let faults: [(&str, Order); 6] = [
        ("/notes$", Fault::lose_answer),
        ("/notes$", Fault::reset),
        ("/notes$", |fault| fault.status_after_effect(502)),
        ("/notes$", |fault| fault.status(503)),
        ("/addTags$", Fault::lose_answer),
        ("/removeTags$", Fault::lose_answer),
    ];
    let mut cases = Vec::new();
    for (path, fault) in faults {
        let candidate = env.candidate();
        env.enter(&candidate).await;
        let made = env.wait_for_one_pad(&candidate).await;
        env.interview.start_interview(&made.id, &["Ada"]);
        env.interview.end_interview(&made.id);
        let order = fault(Fault::on("POST", &format!("/{candidate}{path}")));
        cases.push((candidate, path, env.lever.faults().add(order)));
    }
    for (candidate, ..) in &cases {
        let pad = env.pads_of(candidate).await.remove(0);
        env.request("pads", name_of(&pad)).await;
    }
    for (candidate, path, fault) in &cases {
        let pad = env.pads_of(candidate).await.remove(0);
        env.wait_for_write_back(name_of(&pad)).await;
        assert_eq!(fault.hits(), 1, "{path}");
        assert_eq!(env.lever.notes(candidate).len(), 1, "{path}");
        assert_eq!(env.lever.tags(candidate), [TAG, "coderpad-done"], "{path}");
    }
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_detects_changes_in_coderpad() {
    let env = TestEnv::start(options("record-sync")).await;
    let mut candidates = Vec::new();
    for _ in 0..3 {
        let candidate = env.candidate();
        env.enter(&candidate).await;
        let made = env.wait_for_one_pad(&candidate).await;
        candidates.push((candidate, made.id));
    }
    let [started, ended, deleted] = candidates.as_slice() else { unreachable!() };
    env.interview.start_interview(&started.1, &["Ada"]);
    env.interview.start_interview(&ended.1, &["Grace"]);
    env.interview.end_interview(&ended.1);
    env.interview.delete_pad(&deleted.1);
    env.sync().await;
    env.wait_for_pad(&started.0, "Started/Started").await;
    env.wait_for_pad(&ended.0, "Ended/Ended").await;
    eventually("the note exists", async || {
        let notes = env.lever.notes(&ended.0);
        if notes.len() == 1 { Ok(()) } else { Err(format!("{notes:?}")) }
    })
    .await;
    env.wait_for_pad(&deleted.0, "Ended/PadDeleted").await;

    env.interview.end_interview(&started.1);
    env.sync().await;
    env.wait_for_pad(&started.0, "Ended/Ended").await;
    assert_eq!(env.creates(), 3);
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interview_of_an_archived_candidate_is_ended_if_configured() {
    for (name, rule, expected) in
        [("archive-end", "End", "Ended/Ended"), ("archive-keep", "Keep", "Open/Open")]
    {
        let env = TestEnv::start(Options::new(name).configuration(json!({"onArchive": rule}))).await;
        let candidate = env.candidate();
        env.enter(&candidate).await;
        let made = env.wait_for_one_pad(&candidate).await;
        env.sync().await;
        env.lever.archive(&candidate);
        env.sync().await;
        env.wait_for_pad(&candidate, expected).await;
        let state = env.interview.pad(&made.id).unwrap().state;
        assert_eq!(state == "ended", rule == "End", "{state}");
        env.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requested_end_ends_the_interview_in_coderpad() {
    let env = TestEnv::start(options("record-wish")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    let pad = env.pads_of(&candidate).await.remove(0);
    env.patch("pads", name_of(&pad), json!({"spec": {"state": "Ended"}})).await;
    env.wait_for_pad(&candidate, "Ended/Ended").await;
    assert_eq!(env.interview.pad(&made.id).unwrap().state, "ended");
    let back = r#"{"spec":{"state":"Open"}}"#;
    let refused = env.kubectl(&["patch", "pad", name_of(&pad), "--type=merge", "--patch", back]).await;
    assert!(refused.unwrap_err().contains("cannot return to Open"));
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pad_deleted_in_coderpad_is_not_recreated() {
    let env = TestEnv::start(options("record-deleted")).await;
    let candidate = env.candidate();
    env.enter(&candidate).await;
    let made = env.wait_for_one_pad(&candidate).await;
    env.interview.delete_pad(&made.id);
    let pad = env.pads_of(&candidate).await.remove(0);
    env.request("pads", name_of(&pad)).await;
    env.wait_for_pad(&candidate, "Ended/PadDeleted").await;
    env.enter_again().await;
    assert_eq!(env.creates(), 1);
    env.finish().await;
}
