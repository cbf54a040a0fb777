//! Fictional candidates of the demo, and the checks of their final state.

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use simulators::{Delivery, InterviewSimulator, LeverSimulator, NewCandidate, StageMove};

use crate::examples::Rule;
use crate::kubectl::{Kubectl, WAIT};

/// Candidate in the simulated Lever.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub name: &'static str,
    pub id: String,
}

/// Initial stage of all candidates: one that no PadConfiguration names.
const INITIAL_STAGE: &str = "Recruiter Screen";

impl Candidate {
    pub(crate) fn new(lever: &LeverSimulator, name: &'static str, tag: Option<&str>) -> Self {
        let tags = tag.into_iter().map(str::to_owned).collect();
        Self::add(lever, NewCandidate { tags, ..Default::default() }, name)
    }

    /// Adds a candidate with the tag who is in Lever since `at`, in milliseconds since the epoch.
    pub(crate) fn since(lever: &LeverSimulator, name: &'static str, tag: &str, at: i64) -> Self {
        let new = NewCandidate { tags: vec![tag.to_owned()], entered_at: Some(at), ..Default::default() };
        Self::add(lever, new, name)
    }

    /// Adds a candidate who is tagged only through the posting.
    pub(crate) fn for_posting(lever: &LeverSimulator, name: &'static str, tag: &str) -> Self {
        Self::add(lever, NewCandidate { posting_tags: vec![tag.to_owned()], ..Default::default() }, name)
    }

    fn add(lever: &LeverSimulator, new: NewCandidate, name: &'static str) -> Self {
        let id = lever.add_candidate(NewCandidate {
            name: name.to_owned(),
            stage: INITIAL_STAGE.to_owned(),
            ..new
        });
        Self { name, id }
    }
}

/// Moves a candidate. Returns the webhooks that reported it, all of them answered with 200.
pub(crate) async fn move_to(
    lever: &LeverSimulator,
    candidate: &Candidate,
    stage: &str,
) -> anyhow::Result<Vec<Delivery>> {
    let StageMove { deliveries, .. } = lever.move_to_stage(&candidate.id, stage).await;
    ensure!(!deliveries.is_empty(), "no webhook reported the move of {}", candidate.name);
    let mut completed = Vec::new();
    for number in deliveries {
        let delivery = tokio::time::timeout(WAIT.timeout, lever.wait_for_delivery(number)).await;
        let delivery =
            delivery.with_context(|| format!("the webhook for {} was not answered", candidate.name))?;
        ensure!(
            delivery.attempts.last().is_some_and(|attempt| attempt.status == Some(200)),
            "the webhook for {} should have been answered with 200: {:?}",
            candidate.name,
            delivery.attempts
        );
        completed.push(delivery);
    }
    Ok(completed)
}

/// Returns the one Pad that the webhook responses name as stored.
pub(crate) fn stored_pad(deliveries: &[Delivery]) -> anyhow::Result<String> {
    let mut names: Vec<String> = Vec::new();
    for answer in deliveries.iter().filter_map(|delivery| delivery.attempts.last()).map(|last| &last.answer) {
        let answer: Value =
            serde_json::from_str(answer).with_context(|| format!("response is not JSON: {answer}"))?;
        ensure!(answer["outcome"] == "Accepted", "a webhook was not accepted: {answer}");
        let pads = answer["pads"].as_array().map(Vec::as_slice).unwrap_or_default();
        names.extend(pads.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    names.dedup();
    match names.as_slice() {
        [name] => Ok(name.clone()),
        _ => bail!("expected one Pad in the webhook responses, not {names:?}"),
    }
}

/// Checks a pad in the resource, in CoderPad and in Lever. Returns its link.
pub(crate) async fn check_pad(
    kubectl: &Kubectl,
    lever: &LeverSimulator,
    interview: &InterviewSimulator,
    (candidate, pad, rule): (&Candidate, &str, &Rule),
) -> anyhow::Result<String> {
    let object = kubectl.get(&format!("pad/{pad}")).await?;
    let status = &object["status"];
    let text =
        |field: &str| status[field].as_str().with_context(|| format!("pad {pad} has no status.{field}"));
    let (url, id, name) = (text("url")?, text("padID")?, candidate.name);
    ensure!(text("candidate")? == name, "pad {pad} is not for {name}: {status}");

    let kind = if rule.question.is_some() { "TakeHome" } else { "Live" };
    ensure!(text("type")? == kind, "pad {pad} should be of type {kind}: {status}");

    let at_coderpad: Vec<_> =
        interview.pads().into_iter().filter(|made| made.title.starts_with(name)).collect();
    let [made] = at_coderpad.as_slice() else {
        bail!("{name} should have one pad in CoderPad, not {}", at_coderpad.len());
    };
    ensure!(made.id == id && made.url == url && !made.deleted, "pad {pad} is not {}: {status}", made.id);
    match rule.question {
        None => ensure!(!made.take_home, "the pad of {name} should be live"),
        Some(question) => ensure!(
            made.take_home && made.take_home_time_limit == Some(120) && made.question_ids == [question],
            "the pad of {name} should be a take-home with question {question} and 120 minutes"
        ),
    }

    let links = lever.links(&candidate.id);
    ensure!(links == [url], "{name} should have the one link {url} in Lever, not {links:?}");
    let tags = lever.tags(&candidate.id);
    ensure!(
        rule.ready.iter().all(|ready| tags.contains(ready)),
        "{name} should have {:?}: {tags:?}",
        rule.ready
    );
    Ok(url.to_owned())
}

/// Result of an interview.
pub(crate) struct WriteBack {
    pub playback: String,
    pub note: String,
}

/// Checks the result of an ended interview in the resource, in CoderPad and in Lever. `code` is the last code that was
/// typed.
pub(crate) async fn check_write_back(
    kubectl: &Kubectl,
    lever: &LeverSimulator,
    interview: &InterviewSimulator,
    (candidate, pad, rule, code): (&Candidate, &str, &Rule, &str),
) -> anyhow::Result<WriteBack> {
    let object = kubectl.get(&format!("pad/{pad}")).await?;
    let (status, name) = (&object["status"], candidate.name);
    ensure!(status["phase"] == "Ended", "pad {pad} should be Ended: {status}");
    let made = status["padID"].as_str().and_then(|id| interview.pad(id));
    let made = made.with_context(|| format!("the pad of {name} is not in CoderPad: {status}"))?;
    ensure!(made.state == "ended", "the interview of {name} should be over in CoderPad, not {}", made.state);
    ensure!(status["playbackURL"] == made.playback, "pad {pad} should link to {}: {status}", made.playback);
    let links = lever.links(&candidate.id);
    ensure!(links == [made.url.as_str()], "{name} should keep the link {}, not {links:?}", made.url);

    let notes = lever.notes(&candidate.id);
    let [note] = notes.as_slice() else {
        bail!("{name} should have one note in Lever, not {}", notes.len());
    };
    for part in made.participants.iter().chain([&made.playback]).map(String::as_str).chain([code.trim_end()])
    {
        ensure!(note.contains(part), "the note on {name} does not contain {part:?}:\n{note}");
    }
    let tags = lever.tags(&candidate.id);
    let expected: Vec<_> = [&rule.tag].into_iter().chain(&rule.ended).collect();
    ensure!(tags.iter().eq(expected.iter().copied()), "{name} should be tagged {expected:?}, not {tags:?}");
    Ok(WriteBack { playback: made.playback, note: note.clone() })
}

/// Checks that a candidate got no pad. Returns the operator's explanation.
pub(crate) async fn check_skipped(
    kubectl: &Kubectl,
    lever: &LeverSimulator,
    interview: &InterviewSimulator,
    (candidate, pad): (&Candidate, &str),
) -> anyhow::Result<String> {
    let object = kubectl.get(&format!("pad/{pad}")).await?;
    let status = &object["status"];
    ensure!(
        status["reason"] == "TagMissing",
        "pad {pad} should be skipped because of the missing tag: {status}"
    );
    let name = candidate.name;
    ensure!(lever.links(&candidate.id).is_empty(), "{name} should have no link in Lever");
    ensure!(
        !interview.pads().iter().any(|made| made.title.starts_with(name)),
        "{name} should have no pad in CoderPad"
    );
    let (_, message) = condition(&object, "Ready")?;
    Ok(message)
}

/// Returns reason and message of a condition.
pub(crate) fn condition(object: &Value, kind: &str) -> anyhow::Result<(String, String)> {
    let status = &object["status"];
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    let text = |field: &str| found.and_then(|found| found[field].as_str()).filter(|text| !text.is_empty());
    let both = text("reason").zip(text("message")).with_context(|| format!("no {kind} in {status}"))?;
    Ok((both.0.to_owned(), both.1.to_owned()))
}

/// Returns the one Pad of a candidate for whom no webhook was delivered, after sync has created it.
pub(crate) async fn pad_created_by_sync(kubectl: &Kubectl, candidate: &Candidate) -> anyhow::Result<String> {
    let selector = format!("--field-selector=spec.opportunityID={}", candidate.id);
    let found = kubectl.get(&format!("pads {selector}")).await?;
    let pads = found["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let [pad] = pads else { bail!("{} should have one Pad, not {}", candidate.name, pads.len()) };
    ensure!(pad["spec"]["trigger"]["source"] == "Sync", "sync should have created this: {pad}");
    Ok(pad["metadata"]["name"].as_str().unwrap_or_default().to_owned())
}

/// Waits until the operator has reconciled a Pad for the newest webhook about it.
pub(crate) async fn wait_until_reconciled(kubectl: &Kubectl, pad: &str) -> anyhow::Result<()> {
    const REQUESTED: &str = "padoperator.dev/reconcile-requested-at";
    WAIT.until(&format!("pad {pad} is reconciled again"), async || {
        let object = kubectl.get(&format!("pad/{pad}")).await?;
        let (requested, status) = (&object["metadata"]["annotations"][REQUESTED], &object["status"]);
        ensure!(requested.is_string(), "pad {pad} should have the annotation {REQUESTED}");
        ensure!(*requested == status["lastHandledReconcileAt"], "{requested} is not handled: {status}");
        Ok(())
    })
    .await
}

/// Returns a table of the candidates as Lever has them now.
pub(crate) fn table(lever: &LeverSimulator, fixtures: &[Candidate]) -> Vec<Vec<String>> {
    let stages = lever.stages();
    let header = ["CANDIDATE", "STAGE", "TAGS", "LINKS"].map(str::to_owned).to_vec();
    let row = |candidate: &Candidate| {
        let opportunity = lever.opportunity(&candidate.id).unwrap_or_default();
        let stage = stages.iter().find(|stage| opportunity["stage"] == stage.id.as_str());
        vec![
            candidate.name.to_owned(),
            stage.map(|stage| stage.text.clone()).unwrap_or_default(),
            or_none(&lever.tags(&candidate.id)),
            or_none(&lever.links(&candidate.id)),
        ]
    };
    [header].into_iter().chain(fixtures.iter().map(row)).collect()
}

fn or_none(texts: &[String]) -> String {
    if texts.is_empty() { "<none>".to_owned() } else { texts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery_with_response(answer: &str) -> Delivery {
        Delivery {
            number: 0,
            webhook: String::new(),
            url: String::new(),
            event: String::new(),
            body: Value::Null,
            attempts: vec![simulators::Attempt {
                at: 0,
                status: Some(200),
                answer: answer.to_owned(),
                error: None,
            }],
            outcome: simulators::DeliveryOutcome::Received,
        }
    }

    #[test]
    fn deliveries_of_one_stage_change_name_one_pad() {
        let pad = |name| delivery_with_response(&format!(r#"{{"outcome": "Accepted", "pads": ["{name}"]}}"#));
        assert_eq!(stored_pad(&[pad("a-1"), pad("a-1")]).unwrap(), "a-1");
        assert!(stored_pad(&[pad("a-1"), pad("a-2")]).is_err());
        assert!(stored_pad(&[delivery_with_response(r#"{"outcome": "Ignored"}"#)]).is_err());
        assert!(stored_pad(&[delivery_with_response(r#"{"outcome": "Accepted", "pads": []}"#)]).is_err());
        assert!(stored_pad(&[delivery_with_response("nothing")]).is_err());
    }
}
