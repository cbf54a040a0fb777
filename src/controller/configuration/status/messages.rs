//! Every message of a PadConfiguration's conditions, as a snapshot.

use super::tests::{
    STAGES, after, configuration, connection, error, good, owner, pass, question, with_question,
};
use super::*;
use serde_json::{Value, json};
use testkit::{assert_snapshot, describe};

fn assert_all(name: &str, cases: Vec<(&str, PadConfigurationStatus)>) {
    let text: String = cases.iter().map(|(case, status)| describe(case, &status.conditions)).collect();
    assert_snapshot(name, text.trim_end());
}

fn checked(spec: Value, checks: &ExternalChecks) -> PadConfigurationStatus {
    pass(&configuration(spec), Some(&good()), checks, None)
}

#[test]
fn messages_about_connection_and_stage() {
    let none = ExternalChecks::default();
    let of_stage = |stage: &str, connection: Option<&LeverConnection>| {
        pass(&configuration(json!({"stage": stage})), connection, &none, None)
    };
    let many: Vec<_> = (0..45).map(|n| (format!("s-{n}"), format!("Stage {n}"))).collect();
    let many: Vec<_> = many.iter().map(|(id, name)| (id.as_str(), name.as_str())).collect();
    let before = after(configuration(json!({})), &good(), &none);
    let renamed = connection("True", "Connected", &[("s-1", "Phone Interview")]);
    let mut suspended = before.clone();
    suspended.spec.suspend = true;
    let never = configuration(json!({"suspend": true}));
    let mut unwritten = connection("True", "Connected", STAGES);
    unwritten.status = None;
    let mut refused = configuration(json!({"type": "TakeHome", "questionID": 7}));
    refused.status.as_mut().unwrap().take_home_refused_generation = Some(2);
    let take_home = with_question(Ok(question(7, "take_home", false)));
    assert_all(
        "configuration-stage",
        vec![
            ("in use", of_stage("Phone Screen", Some(&good()))),
            ("no connection", of_stage("Phone Screen", None)),
            (
                "the connection is not Ready",
                of_stage("Phone Screen", Some(&connection("False", "LeverForbidden", STAGES))),
            ),
            ("the connection is new", of_stage("Phone Screen", Some(&unwritten))),
            ("Lever has no stages", of_stage("Phone Screen", Some(&connection("True", "Connected", &[])))),
            ("an unknown stage", of_stage("Onsite", Some(&good()))),
            ("another case", of_stage("phone screen", Some(&good()))),
            ("one of many stages", of_stage("Onsite", Some(&connection("True", "Connected", &many)))),
            ("an ambiguous name", of_stage("Twice", Some(&good()))),
            ("renamed in Lever", pass(&before, Some(&renamed), &none, None)),
            ("an older rule for the same stage and tag", pass(&before, Some(&good()), &none, Some("older"))),
            ("suspended while in use", pass(&suspended, Some(&good()), &none, None)),
            ("suspended from the beginning", pass(&never, Some(&good()), &none, None)),
            ("CoderPad refuses take-homes", pass(&refused, Some(&good()), &take_home, None)),
        ],
    );
}

#[test]
fn messages_about_question_and_owner() {
    let mut cases = Vec::new();
    for (case, type_, checks) in [
        ("a live pad", "Live", with_question(Ok(question(7, "live", false)))),
        ("a take-home", "TakeHome", with_question(Ok(question(7, "take_home", false)))),
        ("a draft", "Live", with_question(Ok(question(7, "live", true)))),
        ("a take-home question for a live pad", "Live", with_question(Ok(question(7, "take_home", false)))),
        ("a live question for a take-home", "TakeHome", with_question(Ok(question(7, "live", false)))),
        ("unknown question", "Live", with_question(Err(error(ErrorKind::NotFound)))),
        ("the key must not use the question", "Live", with_question(Err(error(ErrorKind::Forbidden)))),
        ("the key is invalid", "Live", with_question(Err(error(ErrorKind::Unauthorized)))),
        ("an unexpected answer", "Live", with_question(Err(error(ErrorKind::Invalid)))),
        ("CoderPad is down", "Live", with_question(Err(error(ErrorKind::Unavailable)))),
        ("CoderPad limits the rate", "Live", with_question(Err(error(ErrorKind::Throttled)))),
        ("not checked yet", "Live", ExternalChecks::default()),
    ] {
        cases.push((case, checked(json!({"type": type_, "questionID": 7}), &checks)));
    }
    for (case, answer) in [
        ("the owner is a user", Ok(true)),
        ("the owner is unknown", Ok(false)),
        ("the key must not list users", Err(error(ErrorKind::Forbidden))),
    ] {
        cases.push((case, checked(json!({"ownerEmail": "lead@example.com"}), &owner(answer))));
    }
    assert_all("configuration-question", cases);
}
