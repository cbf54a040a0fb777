//! Reads the ledgers of both services and of the cluster.

use serde_json::Value;
use simulators::Call;

use super::RULES;
use super::compare::{CandidateRecord, ClusterPad, Ledger, PadRecord, RuleRecord};
use super::run::{Candidate, SoakRun};
use crate::environment::TestEnv;
use crate::status::phase;

/// Returns the current state.
pub async fn take(run: &SoakRun) -> Ledger {
    let env = &run.env;
    let calls = env.lever.calls();
    let configurations = env.list("padconfigurations").await;
    Ledger {
        namespace: env.namespace.to_owned(),
        rules: rules(env, &configurations),
        candidates: run.candidates.iter().flatten().map(|one| candidate(env, one, &calls)).collect(),
        pads: pads(env),
        cluster: env.list("pads").await.iter().map(cluster_pad).collect(),
        actions_of_people: run.actions_of_people.clone(),
    }
}

fn rules(env: &TestEnv, configurations: &[Value]) -> Vec<RuleRecord> {
    let effective_since = |name: &str| {
        let found = configurations.iter().find(|one| one["metadata"]["name"] == name)?;
        let since: jiff::Timestamp = found["status"]["effectiveSince"].as_str()?.parse().ok()?;
        Some(since.as_millisecond())
    };
    let book = |rule: &super::Rule| RuleRecord {
        name: rule.name.to_owned(),
        stage_id: env.lever.stage_id(rule.stage).unwrap(),
        tag: rule.tag.to_owned(),
        unlinks: rule.unlinks,
        notes: rule.notes,
        tags: rule.tags.map(|(ready, ended)| (ready.to_owned(), ended.to_owned())),
        effective_since: effective_since(rule.name),
    };
    RULES.iter().map(book).collect()
}

fn candidate(env: &TestEnv, candidate: &Candidate, calls: &[Call]) -> CandidateRecord {
    let id = &candidate.id;
    let opportunity = env.lever.opportunity(id).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entries = opportunity["stageChanges"].as_array().unwrap().iter();
    CandidateRecord {
        id: id.clone(),
        stage_id: text(&opportunity["stage"]),
        entries: entries
            .map(|change| (text(&change["toStageId"]), change["updatedAt"].as_i64().unwrap()))
            .collect(),
        tags: env.lever.tags(id),
        tags_ever: candidate.tags_ever.clone(),
        links: env.lever.links(id),
        notes: env.lever.notes(id),
        links_added: written(calls, &format!("/{id}/addLinks")),
        links_removed: written(calls, &format!("/{id}/removeLinks")),
    }
}

/// Returns the links of the requests of this kind that took effect, whatever the response.
fn written(calls: &[Call], path: &str) -> Vec<String> {
    let effective = calls.iter().filter(|call| call.path.ends_with(path) && call.handled == Some(200));
    let links = |call: &Call| {
        let body: Value = serde_json::from_str(&call.body).unwrap();
        serde_json::from_value::<Vec<String>>(body["links"].clone()).unwrap()
    };
    effective.flat_map(links).collect()
}

fn pads(env: &TestEnv) -> Vec<PadRecord> {
    let pads = env.interview.pads().into_iter();
    pads.map(|pad| PadRecord {
        create_pad_by_hand: !pad.by_api,
        notes: pad.notes.unwrap_or_default(),
        id: pad.id,
        url: pad.url,
        deleted: pad.deleted,
        ended_at: pad.ended_at,
    })
    .collect()
}

fn cluster_pad(pad: &Value) -> ClusterPad {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (metadata, status) = (&pad["metadata"], &pad["status"]);
    let phase = phase(pad);
    let rests = ["Open/", "Started/", "Ended/", "Skipped/"].iter().any(|one| phase.starts_with(one));
    let asked = &metadata["annotations"]["padoperator.dev/reconcile-requested-at"];
    ClusterPad {
        name: text(&metadata["name"]),
        configuration: text(&pad["spec"]["configurationRef"]["name"]),
        candidate: text(&pad["spec"]["opportunityID"]),
        pad_id: status["padID"].as_str().map(str::to_owned),
        at_rest: rests
            && metadata["deletionTimestamp"].is_null()
            && status["lastHandledReconcileAt"] == *asked,
        source: pad["spec"]["trigger"]["source"].as_str().unwrap_or("Manual").to_owned(),
        phase,
    }
}
