//! Erasure: Pads no longer name candidates whom Lever has deleted or anonymized.

use serde_json::Value;
use simulators::NewCandidate;

use crate::environment::{Options, TestEnv};
use crate::status::phase;
use crate::wait::eventually;

fn contains_personal_data(pad: &Value) -> bool {
    ["candidate", "candidateURL", "participants"].iter().any(|field| !pad["status"][*field].is_null())
}

impl TestEnv {
    async fn pad_of(&self, candidate: &str) -> Value {
        self.pads_of(candidate).await.remove(0)
    }

    /// Waits until the candidate's Pad names no one.
    async fn wait_until_erased(&self, candidate: &str, was: &str) -> Value {
        eventually("no candidate is named", async || {
            let pad = self.pad_of(candidate).await;
            assert_eq!(phase(&pad), was);
            if contains_personal_data(&pad) { Err(format!("{pad:#}")) } else { Ok(pad) }
        })
        .await
    }

    /// Adds a candidate whose interview has begun.
    async fn interviewed(&self) -> (String, String) {
        let candidate = self.candidate();
        self.enter(&candidate).await;
        let made = self.wait_for_one_pad(&candidate).await;
        self.interview.start_interview(&made.id, &["Wendeline Ostrander"]);
        self.sync().await;
        self.wait_for_pad(&candidate, "Started/Started").await;
        (candidate, made.id)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_deleted_or_anonymized_in_lever_are_no_longer_named() {
    let mut env = TestEnv::start(Options::new("gone")).await;
    env.declare_private("Wendeline Ostrander");
    // Candidate that the connection's probe reads: the first of all.
    env.candidate();
    let (anonymized, started) = env.interviewed().await;
    let (ended, made) = env.interviewed().await;
    env.end_interview(&ended, &made).await;
    let skipped = env.add_candidate(NewCandidate::default());
    let stays = env.candidate();
    for candidate in [&skipped, &stays] {
        env.enter(candidate).await;
    }
    env.wait_for_pad(&skipped, "Skipped/TagMissing").await;
    env.wait_for_one_pad(&stays).await;
    for candidate in [&anonymized, &ended, &skipped, &stays] {
        assert!(contains_personal_data(&env.pad_of(candidate).await));
    }

    env.lever.anonymize(&anonymized);
    env.lever.delete(&ended);
    env.lever.delete(&skipped);
    env.sync().await;
    env.wait_until_erased(&anonymized, "Started/Started").await;
    let ended_pad = env.wait_until_erased(&ended, "Ended/Ended").await;
    let skipped_pad = env.wait_until_erased(&skipped, "Skipped/TagMissing").await;
    assert!(contains_personal_data(&env.pad_of(&stays).await));

    // Later reconciles add no name, and send no request about these candidates.
    env.interview.end_interview(&started);
    env.sync().await;
    env.wait_for_pad(&anonymized, "Ended/Ended").await;
    let last = env.wait_until_erased(&anonymized, "Ended/Ended").await;
    env.operator().kill().await;
    env.lever.clear_calls();
    env.operator().start().await;
    env.sync().await;
    for (candidate, before) in [(&ended, ended_pad), (&skipped, skipped_pad), (&anonymized, last)] {
        let now = env.pad_of(candidate).await;
        assert_eq!(now["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"], "{now:#}");
        let path = format!("/v1/opportunities/{candidate}");
        assert!(env.lever.calls().iter().all(|call| call.path != path), "{candidate}");
    }
    env.finish().await;
}

/// A check that is not possible now is done later.
#[tokio::test(flavor = "multi_thread")]
async fn deletions_during_an_outage_or_suspension_are_found_afterwards() {
    let mut env = TestEnv::start(Options::new("gone-meanwhile")).await;
    let [first, second] = [(); 2].map(|()| env.candidate());
    for candidate in [&first, &second] {
        env.enter(candidate).await;
        env.wait_for_one_pad(candidate).await;
    }
    env.operator().kill().await;
    env.lever.delete(&first);
    let path = format!("^/v1/opportunities/{first}$");
    env.lever.faults().add(simulators::Fault::on("GET", &path).status(503).times(2));
    env.operator().start().await;
    env.sync().await;
    env.wait_until_erased(&first, "Open/Open").await;

    let configuration = crate::environment::CONFIGURATION;
    let suspend = async |suspend: bool| {
        let spec = serde_json::json!({"spec": {"suspend": suspend}});
        env.patch("padconfigurations", configuration, spec).await;
    };
    suspend(true).await;
    env.wait_for("padconfigurations", configuration, "Suspended", "True/Suspended").await;
    env.lever.delete(&second);
    env.sync().await;
    assert!(contains_personal_data(&env.pad_of(&second).await));
    suspend(false).await;
    env.wait_until_erased(&second, "Open/Open").await;
    env.finish().await;
}

/// Older keys need no new permission for everything else.
#[tokio::test(flavor = "multi_thread")]
async fn everything_else_works_without_permission_to_list_deleted_candidates() {
    let env = TestEnv::start(Options::new("gone-forbidden")).await;
    let [anonymized, deleted] = [(); 2].map(|()| env.candidate());
    for candidate in [&anonymized, &deleted] {
        env.enter(candidate).await;
        env.wait_for_one_pad(candidate).await;
    }
    let fault = simulators::Fault::on("GET", "^/v1/opportunities/deleted$").status(403).until_removed();
    let fault = env.lever.faults().add(fault);
    env.lever.anonymize(&anonymized);
    env.lever.delete(&deleted);
    env.sync().await;
    env.wait_until_erased(&anonymized, "Open/Open").await;
    let asked = fault.hits();
    env.wait_for("leverconnections", crate::environment::CONNECTION, "Ready", "True/Connected").await;
    fault.remove();
    assert!(asked <= 2, "{asked} times");
    env.sync().await;
    env.wait_until_erased(&deleted, "Open/Open").await;
    env.finish().await;
}
