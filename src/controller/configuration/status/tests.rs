use super::*;
use coderpad;
use http_client::Service;
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

pub(super) fn configuration(spec: Value) -> PadConfiguration {
    let mut all = json!({"connectionRef": {"name": "acme"}});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "apiVersion": "padoperator.dev/v1alpha1", "kind": "PadConfiguration",
        "metadata": {"name": "phone-screen", "namespace": "hiring", "generation": 2},
        "spec": all, "status": {"observedGeneration": -1},
    }))
    .unwrap()
}

pub(super) fn connection(ready: &str, reason: &str, stages: &[(&str, &str)]) -> LeverConnection {
    let key = json!({"apiKeySecretRef": {"name": "acme", "key": "k"}});
    let stages: Vec<_> = stages.iter().map(|(id, name)| json!({"id": id, "name": name})).collect();
    serde_json::from_value(json!({
        "apiVersion": "padoperator.dev/v1alpha1", "kind": "LeverConnection",
        "metadata": {"name": "acme", "namespace": "hiring"},
        "spec": {"lever": key, "interview": key},
        "status": {"observedGeneration": 1, "stages": stages, "conditions": [{
            "type": "Ready", "status": ready, "reason": reason, "message": "m", "observedGeneration": 1,
            "lastTransitionTime": at(0),
        }]},
    }))
    .unwrap()
}

pub(super) const STAGES: &[(&str, &str)] =
    &[("lead-new", "New lead"), ("s-1", "Phone Screen"), ("s-2", "Twice"), ("s-3", "Twice")];

pub(super) fn good() -> LeverConnection {
    connection("True", "Connected", STAGES)
}

pub(super) fn question(id: i64, pad_type: &str, is_draft: bool) -> coderpad::QuestionRecord {
    let take_home = pad_type == "take_home";
    coderpad::QuestionRecord {
        id,
        title: "Fizz".into(),
        pad_type: Some(pad_type.into()),
        take_home,
        is_draft,
    }
}

pub(super) fn error(class: ErrorKind) -> ServiceError {
    ServiceError::new(class, Service::Interview, "GET /questions/{id}", Some(418), "Sorry")
}

pub(super) fn with_question(question: Result<coderpad::QuestionRecord, ServiceError>) -> ExternalChecks {
    ExternalChecks { question: Some(question), owner: None }
}

pub(super) fn owner(owner: Result<bool, ServiceError>) -> ExternalChecks {
    ExternalChecks { question: None, owner: Some(owner) }
}

pub(super) fn pass(
    configuration: &PadConfiguration,
    connection: Option<&LeverConnection>,
    checks: &ExternalChecks,
    preferred: Option<&str>,
) -> PadConfigurationStatus {
    let observation = ConfigurationObservation {
        configuration,
        connection,
        preferred,
        checks,
        counts: None,
        handled: None,
    };
    status(&observation, at(0))
}

/// Returns the configuration after a pass.
pub(super) fn after(
    mut configuration: PadConfiguration,
    connection: &LeverConnection,
    checks: &ExternalChecks,
) -> PadConfiguration {
    configuration.status = Some(pass(&configuration, Some(connection), checks, None));
    configuration
}

/// Returns the status and reason of a condition, such as `False Conflict`.
fn short(status: &PadConfigurationStatus, type_: &str) -> String {
    find(&status.conditions, type_).map_or("absent".into(), |one| format!("{:?} {}", one.status, one.reason))
}

fn message(status: &PadConfigurationStatus, type_: &str) -> String {
    find(&status.conditions, type_).unwrap().message.clone()
}

/// Returns the condition next to Ready.
fn beside(status: &PadConfigurationStatus) -> &'static str {
    match (is_true(&status.conditions, types::RECONCILING), is_true(&status.conditions, types::STALLED)) {
        (false, false) => "",
        (true, false) => "Reconciling",
        (false, true) => "Stalled",
        (true, true) => "both",
    }
}

#[test]
fn a_ready_rule_describes_its_effect() {
    let configuration = after(configuration(json!({})), &good(), &ExternalChecks::default());
    let status = configuration.status.clone().unwrap();
    assert_eq!((short(&status, types::READY).as_str(), beside(&status)), ("True InUse", ""));
    assert_eq!(short(&status, types::STAGE_FOUND), "True StageFound");
    assert_eq!(short(&status, types::QUESTION_USABLE), "True NoQuestion");
    assert_eq!(
        message(&status, types::READY),
        "Candidates with tag 'coderpad' who enter stage 'Phone Screen' get a Live pad."
    );
    assert_eq!(status.observed_generation, 2);
    assert_eq!(pass(&configuration, Some(&good()), &ExternalChecks::default(), None), status);

    let take_home = self::configuration(json!({"type": "TakeHome", "questionID": 7, "stage": "lead-new"}));
    let status = pass(&take_home, Some(&good()), &with_question(Ok(question(7, "take_home", false))), None);
    assert_eq!(short(&status, types::READY), "True InUse");
    let message = message(&status, types::READY);
    assert!(message.contains("'New lead' get a take-home of 2 hours with the question 'Fizz'"), "{message}");
    assert_eq!(status.question, Some(Question { id: 7, title: "Fizz".into() }));
}

#[test]
fn connection_and_stage_are_checked_first() {
    let unready = connection("False", "LeverForbidden", STAGES);
    let unknown = connection("False", "Connecting", &[]);
    let empty = connection("True", "Connected", &[]);
    let good = good();
    // (stage, connection, Ready, condition next to it, StageFound, part of Ready's message)
    let cases = [
        (
            "Phone Screen",
            None,
            "False ConnectionNotFound",
            "Stalled",
            "Unknown ConnectionNotFound",
            "LeverConnection acme",
        ),
        (
            "Phone Screen",
            Some(&unready),
            "False ConnectionNotReady",
            "Reconciling",
            "True StageFound",
            "LeverForbidden",
        ),
        (
            "Phone Screen",
            Some(&unknown),
            "False ConnectionNotReady",
            "Reconciling",
            "Unknown ConnectionNotReady",
            "Connecting",
        ),
        ("Phone Screen", Some(&empty), "False StageNotFound", "Stalled", "False StageNotFound", "no stages"),
        (
            "Onsite",
            Some(&good),
            "False StageNotFound",
            "Stalled",
            "False StageNotFound",
            "'New lead', 'Phone Screen', 'Twice' (s-2)",
        ),
        (
            "phone screen",
            Some(&good),
            "False StageNotFound",
            "Stalled",
            "False StageNotFound",
            "Did you mean 'Phone Screen'?",
        ),
        ("Twice", Some(&good), "False StageAmbiguous", "Stalled", "False StageAmbiguous", "s-2, s-3"),
        ("lead-new", Some(&good), "True InUse", "", "True StageFound", "'New lead'"),
    ];
    for (stage, connection, ready, side, found, part) in cases {
        let status =
            pass(&configuration(json!({"stage": stage})), connection, &ExternalChecks::default(), None);
        let case = format!("{stage} {ready}");
        assert_eq!((short(&status, types::READY).as_str(), beside(&status)), (ready, side), "{case}");
        assert_eq!(short(&status, types::STAGE_FOUND), found, "{case}");
        let message = message(&status, types::READY);
        assert!(message.contains(part), "{case}: {message}");
        assert_eq!(status.stage.is_some(), found == "True StageFound", "{case}");
    }
}

#[test]
fn long_lists_of_stages_are_cut() {
    let many: Vec<_> = (0..45).map(|n| (format!("s-{n}"), format!("Stage {n}"))).collect();
    let many: Vec<_> = many.iter().map(|(id, name)| (id.as_str(), name.as_str())).collect();
    let connection = connection("True", "Connected", &many);
    let message = message(
        &pass(&configuration(json!({})), Some(&connection), &ExternalChecks::default(), None),
        types::READY,
    );
    assert!(
        message.contains("'Stage 39', and 5 more in status.stages") && !message.contains("'Stage 40'"),
        "{message}"
    );
}

#[test]
fn a_renamed_stage_stays_ready_and_effective() {
    let before = after(configuration(json!({})), &good(), &ExternalChecks::default());
    let renamed = connection("True", "Connected", &[("s-1", "Phone Interview")]);
    let status = pass(&before, Some(&renamed), &ExternalChecks::default(), None);
    assert_eq!(short(&status, types::READY), "True StageRenamed");
    assert_eq!(short(&status, types::STAGE_FOUND), "True StageRenamed");
    assert_eq!(status.stage.unwrap().name, "Phone Interview");
    assert_eq!(status.effective_since, Some(at(0)));
}

#[test]
fn the_question_must_exist_and_match_the_type() {
    // (type, question in CoderPad, Ready, condition next to it, QuestionUsable)
    let cases = [
        ("Live", Ok(question(7, "live", false)), "True InUse", "", "True Usable"),
        ("Live", Ok(question(7, "any", false)), "True InUse", "", "True Usable"),
        ("TakeHome", Ok(question(7, "any", false)), "True InUse", "", "True Usable"),
        (
            "Live",
            Ok(question(7, "live", true)),
            "False QuestionNotUsable",
            "Stalled",
            "False QuestionNotUsable",
        ),
        (
            "Live",
            Ok(question(7, "take_home", false)),
            "False QuestionNotUsable",
            "Stalled",
            "False QuestionNotUsable",
        ),
        (
            "TakeHome",
            Ok(question(7, "live", false)),
            "False QuestionNotUsable",
            "Stalled",
            "False QuestionNotUsable",
        ),
        ("Live", Err(ErrorKind::NotFound), "False QuestionNotFound", "Stalled", "False QuestionNotFound"),
        ("Live", Err(ErrorKind::Forbidden), "False QuestionNotUsable", "Stalled", "False QuestionNotUsable"),
        (
            "Live",
            Err(ErrorKind::Unauthorized),
            "False InterviewUnauthorized",
            "Stalled",
            "False InterviewUnauthorized",
        ),
        (
            "Live",
            Err(ErrorKind::Invalid),
            "False InterviewUnexpectedAnswer",
            "Stalled",
            "False InterviewUnexpectedAnswer",
        ),
        (
            "Live",
            Err(ErrorKind::Unavailable),
            "False InterviewUnavailable",
            "Reconciling",
            "Unknown InterviewUnavailable",
        ),
        (
            "Live",
            Err(ErrorKind::Throttled),
            "False InterviewRateLimited",
            "Reconciling",
            "Unknown InterviewRateLimited",
        ),
    ];
    for (type_, answer, ready, side, usable) in cases {
        let case = format!("{type_} {answer:?}");
        let configuration = configuration(json!({"type": type_, "questionID": 7}));
        let status = pass(&configuration, Some(&good()), &with_question(answer.map_err(error)), None);
        assert_eq!((short(&status, types::READY).as_str(), beside(&status)), (ready, side), "{case}");
        assert_eq!(short(&status, types::QUESTION_USABLE), usable, "{case}");
    }
    for (type_, question, part) in [
        ("Live", question(7, "take_home", false), "take-homes only"),
        ("TakeHome", question(7, "live", false), "live pads only"),
        ("Live", question(7, "live", true), "draft"),
    ] {
        let configuration = configuration(json!({"type": type_, "questionID": 7}));
        let message =
            message(&pass(&configuration, Some(&good()), &with_question(Ok(question)), None), types::READY);
        assert!(message.contains(part) && message.contains("Question 7 'Fizz'"), "{message}");
    }
}

#[test]
fn the_owner_must_be_a_user_of_the_organization() {
    let cases = [
        (Ok(true), "True InUse", ""),
        (Ok(false), "False OwnerNotFound", "Stalled"),
        (Err(ErrorKind::Forbidden), "False InterviewForbidden", "Stalled"),
        (Err(ErrorKind::Unauthorized), "False InterviewUnauthorized", "Stalled"),
        (Err(ErrorKind::Invalid), "False InterviewUnexpectedAnswer", "Stalled"),
        (Err(ErrorKind::Unavailable), "False InterviewUnavailable", "Reconciling"),
        (Err(ErrorKind::Throttled), "False InterviewRateLimited", "Reconciling"),
    ];
    for (answer, ready, side) in cases {
        let configuration = configuration(json!({"ownerEmail": "lead@example.com"}));
        let status = pass(&configuration, Some(&good()), &owner(answer.map_err(error)), None);
        assert_eq!((short(&status, types::READY).as_str(), beside(&status)), (ready, side), "{answer:?}");
    }
}

#[test]
fn a_transient_failure_keeps_the_last_result_for_this_generation() {
    let with =
        |answer| ExternalChecks { question: Some(Ok(question(7, "live", false))), owner: Some(answer) };
    let spec = json!({"questionID": 7, "ownerEmail": "lead@example.com"});
    let used = after(configuration(spec.clone()), &good(), &with(Ok(true)));
    let lost = ExternalChecks {
        question: Some(Err(error(ErrorKind::Unavailable))),
        owner: Some(Err(error(ErrorKind::Throttled))),
    };
    for checks in [lost.clone(), ExternalChecks::default()] {
        let status = pass(&used, Some(&good()), &checks, None);
        assert_eq!(short(&status, types::READY), "True InUse");
        assert_eq!(short(&status, types::QUESTION_USABLE), "True Usable");
        assert_eq!(status.question, used.status.as_ref().unwrap().question);
    }
    let mut edited = used;
    edited.metadata.generation = Some(3);
    assert_eq!(short(&pass(&edited, Some(&good()), &lost, None), types::READY), "False InterviewUnavailable");

    let missing = after(configuration(spec), &good(), &with(Ok(false)));
    let status = pass(&missing, Some(&good()), &ExternalChecks::default(), None);
    assert_eq!((short(&status, types::READY).as_str(), beside(&status)), ("False OwnerNotFound", "Stalled"));

    let fresh = configuration(json!({"ownerEmail": "lead@example.com"}));
    let status = pass(&fresh, Some(&good()), &ExternalChecks::default(), None);
    assert_eq!(
        (short(&status, types::READY).as_str(), beside(&status)),
        ("False ConnectionNotReady", "Reconciling")
    );
}

#[test]
fn the_younger_of_two_rules_yields_and_takes_effect_afterwards() {
    let used = after(configuration(json!({})), &good(), &ExternalChecks::default());
    let mut gives_way = used.clone();
    gives_way.status = Some(pass(&used, Some(&good()), &ExternalChecks::default(), Some("older")));
    let status = gives_way.status.clone().unwrap();
    assert_eq!((short(&status, types::READY).as_str(), beside(&status)), ("False Conflict", "Stalled"));
    assert!(message(&status, types::READY).contains("PadConfiguration older"));
    assert_eq!((status.effective_since, status.stage.is_some()), (None, true));
    let again = pass(&gives_way, Some(&good()), &ExternalChecks::default(), None);
    assert_eq!((short(&again, types::READY).as_str(), again.effective_since), ("True InUse", Some(at(0))));
}

#[test]
fn a_rule_is_effective_since_the_last_change_of_stage_or_tag() {
    let mut used = after(configuration(json!({})), &good(), &ExternalChecks::default());
    used.status.as_mut().unwrap().effective_since = Some(at(-100));
    let since = |configuration: &PadConfiguration, connection: &LeverConnection| {
        pass(configuration, Some(connection), &ExternalChecks::default(), None).effective_since
    };
    assert_eq!(since(&used, &good()), Some(at(-100)));
    let mut by_id = used.clone();
    by_id.spec.stage = "s-1".into();
    assert_eq!(since(&by_id, &good()), Some(at(-100)), "the same stage by its ID");
    let mut other_tag = used.clone();
    other_tag.spec.tag = "Coderpad".into();
    assert_eq!(since(&other_tag, &good()), Some(at(0)));
    let mut other_stage = used.clone();
    other_stage.spec.stage = "New lead".into();
    assert_eq!(since(&other_stage, &good()), Some(at(0)));
    other_stage.spec.stage = "Nowhere".into();
    assert_eq!(since(&other_stage, &good()), None);
    let gone = connection("True", "Connected", &[("lead-new", "New lead")]);
    assert_eq!(since(&used, &gone), Some(at(-100)), "the stage may come back");
    let mut suspended = configuration(json!({"suspend": true}));
    assert_eq!(since(&suspended, &good()), Some(at(0)), "changes while suspended are applied on resume");
    suspended.status = used.status.clone();
    assert_eq!(since(&suspended, &good()), Some(at(-100)));
}

#[test]
fn a_suspended_configuration_keeps_its_conditions() {
    let mut used = after(
        configuration(json!({"questionID": 7})),
        &good(),
        &with_question(Ok(question(7, "live", false))),
    );
    used.spec.suspend = true;
    let status =
        pass(&used, Some(&connection("False", "LeverForbidden", STAGES)), &ExternalChecks::default(), None);
    assert_eq!((short(&status, types::READY).as_str(), beside(&status)), ("True InUse", ""));
    assert_eq!(short(&status, types::QUESTION_USABLE), "True Usable");
    assert_eq!(short(&status, types::SUSPENDED), "True Suspended");

    let never = after(configuration(json!({"suspend": true})), &good(), &ExternalChecks::default());
    let status = never.status.clone().unwrap();
    assert_eq!((short(&status, types::READY).as_str(), beside(&status)), ("False Suspended", "Stalled"));
    assert_eq!(short(&status, types::STAGE_FOUND), "True StageFound");
    assert_eq!(pass(&never, Some(&good()), &ExternalChecks::default(), None), status);

    let mut resumed = never;
    resumed.spec.suspend = false;
    let status = pass(&resumed, Some(&good()), &ExternalChecks::default(), None);
    assert_eq!(short(&status, types::READY), "True InUse");
    assert_eq!(short(&status, types::SUSPENDED), "absent");
}

#[test]
fn counts_and_requests_are_copied_to_the_status() {
    let configuration = configuration(json!({}));
    let counts = PadCounts { open: 3, ..PadCounts::default() };
    let checks = ExternalChecks::default();
    let observation = ConfigurationObservation {
        configuration: &configuration,
        connection: None,
        preferred: None,
        checks: &checks,
        counts: Some(&counts),
        handled: Some("now"),
    };
    let status = status(&observation, at(0));
    assert_eq!((status.pads, status.last_handled_reconcile_at.as_deref()), (Some(counts), Some("now")));
}
