//! Erasure: Pads no longer name candidates whom Lever has deleted or anonymized.

use serde_json::Value;
use simulators::NewCandidate;

use crate::environment::{Options, World};
use crate::status::phase;
use crate::wait::eventually;

fn names_somebody(pad: &Value) -> bool {
    ["candidate", "candidateURL", "participants"].iter().any(|field| !pad["status"][*field].is_null())
}

impl World {
    async fn pad_of(&self, candidate: &str) -> Value {
        self.pads_of(candidate).await.remove(0)
    }

    /// Waits until the candidate's Pad names no one.
    async fn wait_until_unnamed(&self, candidate: &str, was: &str) -> Value {
        eventually("no candidate is named", async || {
            let pad = self.pad_of(candidate).await;
            assert_eq!(phase(&pad), was);
            if names_somebody(&pad) { Err(format!("{pad:#}")) } else { Ok(pad) }
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
    let mut world = World::start(Options::new("gone")).await;
    world.keep_private("Wendeline Ostrander");
    // Candidate that the connection's probe reads: the first of all.
    world.candidate();
    let (anonymized, started) = world.interviewed().await;
    let (ended, made) = world.interviewed().await;
    world.end_interview(&ended, &made).await;
    let skipped = world.add_candidate(NewCandidate::default());
    let stays = world.candidate();
    for candidate in [&skipped, &stays] {
        world.enter(candidate).await;
    }
    world.wait_for_pad(&skipped, "Skipped/TagMissing").await;
    world.wait_for_one_pad(&stays).await;
    for candidate in [&anonymized, &ended, &skipped, &stays] {
        assert!(names_somebody(&world.pad_of(candidate).await));
    }

    world.lever.anonymize(&anonymized);
    world.lever.delete(&ended);
    world.lever.delete(&skipped);
    world.sync().await;
    world.wait_until_unnamed(&anonymized, "Started/Started").await;
    let ended_pad = world.wait_until_unnamed(&ended, "Ended/Ended").await;
    let skipped_pad = world.wait_until_unnamed(&skipped, "Skipped/TagMissing").await;
    assert!(names_somebody(&world.pad_of(&stays).await));

    // Later reconciles add no name, and send no request about these candidates.
    world.interview.end_interview(&started);
    world.sync().await;
    world.wait_for_pad(&anonymized, "Ended/Ended").await;
    let last = world.wait_until_unnamed(&anonymized, "Ended/Ended").await;
    world.operator().kill().await;
    world.lever.clear_calls();
    world.operator().start().await;
    world.sync().await;
    for (candidate, before) in [(&ended, ended_pad), (&skipped, skipped_pad), (&anonymized, last)] {
        let now = world.pad_of(candidate).await;
        assert_eq!(now["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"], "{now:#}");
        let path = format!("/v1/opportunities/{candidate}");
        assert!(world.lever.calls().iter().all(|call| call.path != path), "{candidate}");
    }
    world.finish().await;
}

/// A check that is not possible now is done later.
#[tokio::test(flavor = "multi_thread")]
async fn deletions_during_an_outage_or_suspension_are_found_afterwards() {
    let mut world = World::start(Options::new("gone-meanwhile")).await;
    let [first, second] = [(); 2].map(|()| world.candidate());
    for candidate in [&first, &second] {
        world.enter(candidate).await;
        world.wait_for_one_pad(candidate).await;
    }
    world.operator().kill().await;
    world.lever.delete(&first);
    let path = format!("^/v1/opportunities/{first}$");
    world.lever.faults().add(simulators::Fault::on("GET", &path).status(503).times(2));
    world.operator().start().await;
    world.sync().await;
    world.wait_until_unnamed(&first, "Open/Open").await;

    let configuration = crate::environment::CONFIGURATION;
    let suspend = async |suspend: bool| {
        let spec = serde_json::json!({"spec": {"suspend": suspend}});
        world.patch("padconfigurations", configuration, spec).await;
    };
    suspend(true).await;
    world.wait_for("padconfigurations", configuration, "Suspended", "True/Suspended").await;
    world.lever.delete(&second);
    world.sync().await;
    assert!(names_somebody(&world.pad_of(&second).await));
    suspend(false).await;
    world.wait_until_unnamed(&second, "Open/Open").await;
    world.finish().await;
}

/// Older keys need no new permission for everything else.
#[tokio::test(flavor = "multi_thread")]
async fn everything_else_works_without_permission_to_list_deleted_candidates() {
    let world = World::start(Options::new("gone-forbidden")).await;
    let [anonymized, deleted] = [(); 2].map(|()| world.candidate());
    for candidate in [&anonymized, &deleted] {
        world.enter(candidate).await;
        world.wait_for_one_pad(candidate).await;
    }
    let fault = simulators::Fault::on("GET", "^/v1/opportunities/deleted$").status(403).until_removed();
    let fault = world.lever.faults().add(fault);
    world.lever.anonymize(&anonymized);
    world.lever.delete(&deleted);
    world.sync().await;
    world.wait_until_unnamed(&anonymized, "Open/Open").await;
    let asked = fault.hits();
    world.wait_for("leverconnections", crate::environment::CONNECTION, "Ready", "True/Connected").await;
    fault.remove();
    assert!(asked <= 2, "{asked} times");
    world.sync().await;
    world.wait_until_unnamed(&deleted, "Open/Open").await;
    world.finish().await;
}
