//! Reasons that no other test causes: each is caused, contains an instruction, and disappears with its cause. Also
//! checks that the page on reasons is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use pad_operator::api::reason::{ConditionReason, ConfigurationReason, ConnectionReason, Reason, StepReason};
use serde_json::json;
use simulators::{Fault, FaultAction, KeyRole, Permissions, Question};

use crate::cluster::{Cluster, source};
use crate::documents::is_test;
use crate::environment::{CONFIGURATION, CONNECTION, Options, TestEnv};
use crate::status::{brief, message_of, phase};
use crate::wait::eventually;

/// For each reason that needs an action or an event: a test that causes it and, where possible, sees it resolved. The
/// test is in a file of this folder or in the sources.
const TESTED_REASONS: &[(&str, &str)] = &[
    // LeverConnection
    ("SecretNotFound", "connections::missing_secret_and_missing_permission_are_reported"),
    ("SecretKeyMissing", "connections::missing_secret_and_missing_permission_are_reported"),
    ("SecretKeyInvalid", "reasons::problems_of_either_service_are_reported_on_the_connection"),
    (
        "SecretUnreadable",
        "src/controller/connection/diagnosis.rs::an_unreadable_secret_is_reported_with_the_missing_permission",
    ),
    ("OriginNotAllowed", "connections::nothing_is_sent_to_a_url_that_is_not_allowed"),
    ("LeverUnauthorized", "connections::wrong_lever_key_is_reported_until_the_secret_is_fixed"),
    ("InterviewUnauthorized", "connections::wrong_interview_key_is_reported_until_the_secret_is_fixed"),
    ("LeverForbidden", "reasons::problems_of_either_service_are_reported_on_the_connection"),
    ("InterviewForbidden", "reasons::problems_of_either_service_are_reported_on_the_connection"),
    ("OrganizationMissing", "reasons::problems_of_either_service_are_reported_on_the_connection"),
    (
        "OrganizationChanged",
        "organization_change::key_of_another_organization_ends_nothing_and_the_right_key_resumes",
    ),
    (
        "PerformAsInvalid",
        "probes::unknown_or_deactivated_perform_as_user_is_reported_before_any_pad_is_created",
    ),
    ("SignatureMismatch", "connections::wrong_signing_token_is_reported_until_the_secret_is_fixed"),
    (
        "ClockSkew",
        "src/webhook/tests/refused.rs::a_clock_that_is_behind_is_named_also_after_a_signed_request",
    ),
    (
        "WebhookNotListed",
        "managed_webhooks::empty_webhook_list_leads_to_one_more_webhook_and_a_request_for_action",
    ),
    ("LeverUnavailable", "reasons::problems_of_either_service_are_reported_on_the_connection"),
    ("InterviewUnavailable", "outages::unavailable_service_is_reported_and_pads_wait"),
    ("LeverRateLimited", "reasons::problems_of_either_service_are_reported_on_the_connection"),
    ("InterviewRateLimited", "reasons::problems_of_either_service_are_reported_on_the_connection"),
    ("LeverUnexpectedAnswer", "reasons::problems_of_either_service_are_reported_on_the_connection"),
    ("InterviewUnexpectedAnswer", "reasons::problems_of_either_service_are_reported_on_the_connection"),
    ("Suspended", "suspension::suspended_connection_sends_nothing_and_catches_up_on_resume"),
    ("SecretNotOwned", "managed_webhooks::foreign_secret_is_not_modified"),
    ("SigningTokenMissing", "connections::wrong_signing_token_is_reported_until_the_secret_is_fixed"),
    ("AwaitingVerification", "connections::wrong_signing_token_is_reported_until_the_secret_is_fixed"),
    ("PublicURLMissing", "managed_webhooks::missing_public_url_is_reported_and_the_rest_works"),
    ("ManagedWebhooksDisabled", "chart::chart_permissions_suffice_for_the_main_job"),
    ("SecretNotWritable", "reasons::managed_webhook_problems_are_reported_until_fixed"),
    ("WebhookRefused", "reasons::managed_webhook_problems_are_reported_until_fixed"),
    ("DeliveryMissed", "sync::missed_delivery_is_reported_until_the_next_one"),
    ("QuotaLow", "quota::low_quota_is_reported_once"),
    (
        "InstallationIDMissing",
        "src/controller/connection/status/tests.rs::a_connection_without_a_valid_installation_id_is_not_ready_and_shows_the_next_step",
    ),
    ("InstallationIDInvalid", "installations::installation_id_is_written_once_and_restored"),
    ("AccountShared", "installations::second_cluster_does_not_change_pads_of_the_first"),
    (
        "WaitingRoomNotReturned",
        "surprises::surprises_are_reported_until_they_are_gone_and_change_nothing_else",
    ),
    ("NotesNotReturned", "surprises::surprises_are_reported_until_they_are_gone_and_change_nothing_else"),
    ("OwnerNotReturned", "surprises::surprises_are_reported_until_they_are_gone_and_change_nothing_else"),
    ("UnknownType", "surprises::each_surprise_alone_is_the_reason"),
    ("UnknownState", "surprises::each_surprise_alone_is_the_reason"),
    ("StageChangesMissing", "surprises::each_surprise_alone_is_the_reason"),
    ("ListIncomplete", "surprises::surprises_are_reported_until_they_are_gone_and_change_nothing_else"),
    ("RowsLeftOut", "surprises::each_surprise_alone_is_the_reason"),
    ("AnswerUnreadable", "surprises::each_surprise_alone_is_the_reason"),
    ("ForeignAnswer", "surprises::each_surprise_alone_is_the_reason"),
    ("UnknownEventKind", "surprises::surprises_are_reported_until_they_are_gone_and_change_nothing_else"),
    ("MembersDropped", "surprises::each_surprise_alone_is_the_reason"),
    // PadConfiguration
    ("Duplicate", "installations::two_connections_of_one_account_report_the_same_rule"),
    ("StageRenamed", "configurations::unknown_stage_is_reported_with_the_existing_ones"),
    ("ConnectionNotFound", "reasons::pad_reports_its_problem_and_continues_when_it_is_fixed"),
    ("ConnectionNotReady", "outages::unavailable_service_is_reported_and_pads_wait"),
    ("StageNotFound", "configurations::unknown_stage_is_reported_with_the_existing_ones"),
    ("StageAmbiguous", "configurations::unknown_stage_is_reported_with_the_existing_ones"),
    ("QuestionNotFound", "configurations::unusable_question_is_reported_until_it_is_fixed"),
    ("QuestionNotUsable", "configurations::unusable_question_is_reported_until_it_is_fixed"),
    ("OwnerNotFound", "configurations::older_of_two_duplicate_rules_wins_and_owner_must_exist"),
    ("Conflict", "configurations::older_of_two_duplicate_rules_wins_and_owner_must_exist"),
    // Pad
    ("PadDeleted", "interview_end::pad_deleted_in_coderpad_is_not_recreated"),
    ("TagMissing", "candidates::missing_tag_is_reported_and_can_be_added"),
    ("StageChanged", "candidates::ineligible_candidates_have_distinct_reasons"),
    ("CandidateArchived", "candidates::ineligible_candidates_have_distinct_reasons"),
    ("CandidateNotFound", "candidates::ineligible_candidates_have_distinct_reasons"),
    ("CandidateConfidential", "candidates::ineligible_candidates_have_distinct_reasons"),
    ("BeforeConfiguration", "sync::existing_candidates_are_skipped_and_later_ones_are_not"),
    ("OwnedByAnotherInstallation", "installations::second_cluster_does_not_change_pads_of_the_first"),
    ("Cancelled", "suspension::requested_end_during_a_suspension_is_applied_on_resume"),
    ("ConfigurationNotFound", "reasons::pad_reports_its_problem_and_continues_when_it_is_fixed"),
    ("ConfigurationNotReady", "configurations::unusable_question_is_reported_until_it_is_fixed"),
    ("QuotaExceeded", "quota::nothing_is_sent_while_the_quota_is_exhausted"),
    ("CreateOutcomeUnknown", "reasons::pad_reports_its_problem_and_continues_when_it_is_fixed"),
    ("WriteRefused", "policies::rejected_write_is_reported_on_the_pad_and_retried"),
    ("LimitReached", "hourly_limit::waiting_pad_continues_automatically_after_the_hour"),
    ("InvalidRequest", "reasons::pad_reports_its_problem_and_continues_when_it_is_fixed"),
    ("AlreadyServed", "served_entries::deleted_pad_is_not_recreated_for_the_same_entry"),
    ("TakeHomeRefused", "happy_path::live_pad_instead_of_a_take_home_is_deleted_and_never_linked"),
    (
        "ServiceError",
        "other_answers::bad_input_that_is_answered_with_500_fails_the_pad_and_a_correction_retries_it",
    ),
    // Both
    ("Open", "happy_path::live_pad_takes_3_calls_and_4_writes"),
    ("Ended", "interview_end::requested_end_ends_the_interview_in_coderpad"),
];

/// Instruction in the message of a Pad's Ready condition, by reason. Checked for every Pad that any test sees.
const INSTRUCTIONS: &[(&str, &str)] = &[
    ("LeverUnauthorized", "Put a valid key"),
    ("InterviewUnauthorized", "Put a valid key"),
    ("LeverForbidden", "create a new key"),
    ("InterviewForbidden", "organization owner"),
    ("LeverUnavailable", "No action needed"),
    ("InterviewUnavailable", "No action needed"),
    ("LeverRateLimited", "No action needed"),
    ("InterviewRateLimited", "No action needed"),
    ("CreateOutcomeUnknown", "No action needed"),
    ("ConfigurationNotReady", "PadConfiguration"),
    ("ConnectionNotReady", "LeverConnection"),
    ("QuotaExceeded", "plan"),
    ("WriteRefused", "retries automatically"),
    ("LimitReached", "spec.interview.maxPadsPerHour"),
    ("Suspended", "suspended"),
    ("TagMissing", "add the tag in Lever"),
    ("StageChanged", "move the candidate into it again"),
    ("CandidateArchived", "out of the archive"),
    ("BeforeConfiguration", "To get a pad"),
    ("AlreadyServed", "kubectl pad retry"),
    ("Cancelled", "create a new Pad"),
    ("OwnedByAnotherInstallation", "describe leverconnection"),
    ("TakeHomeRefused", "Ask CoderPad"),
    ("ServiceError", "kubectl pad retry"),
    ("InvalidRequest", "kubectl pad retry"),
    ("PadDeleted", "create a new Pad"),
];

/// Returns the reasons of docs/reasons.md with their instructions.
fn documented() -> &'static BTreeMap<String, String> {
    static PAGE: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    PAGE.get_or_init(|| {
        let page = std::fs::read_to_string(source("docs/reasons.md")).unwrap();
        let mut reasons = BTreeMap::new();
        for line in page.lines().filter(|line| line.starts_with("| ")) {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let names = cells[0].rsplit(": ").next().unwrap();
            for name in names.split('`').skip(1).step_by(2) {
                assert!(!cells[2].is_empty(), "{line}");
                reasons.insert(name.to_owned(), cells[2].to_owned());
            }
        }
        reasons
    })
}

/// Asserts that the page contains the reasons of an object, and that a Pad's message contains the instruction.
pub fn assert_documented(object: &serde_json::Value) {
    for condition in object["status"]["conditions"].as_array().unwrap() {
        let reason = condition["reason"].as_str().unwrap();
        assert!(documented().contains_key(reason), "docs/reasons.md lacks {reason}:\n{object:#}");
    }
    let reason = crate::status::reason_of(object, "Ready");
    let next = INSTRUCTIONS.iter().find(|(of, _)| *of == reason && object["kind"] == "Pad");
    if let Some((_, step)) = next {
        let message = message_of(object, "Ready");
        assert!(message.contains(step), "{reason} without {step:?}: {message}");
    }
}

/// Returns the reasons of the program, each with whether a person must act.
fn in_program() -> BTreeMap<String, bool> {
    fn named<R: ConditionReason>(all: &[R]) -> impl Iterator<Item = (String, bool)> {
        all.iter().map(|reason| (reason.as_ref().to_owned(), reason.needs_user_action()))
    }
    named(Reason::ALL)
        .chain(named(StepReason::ALL))
        .chain(named(ConnectionReason::ALL))
        .chain(named(ConfigurationReason::ALL))
        .collect()
}

#[test]
fn reasons_page_is_complete_and_each_reason_has_a_test() {
    let page: BTreeSet<String> = documented().keys().cloned().collect();
    let program = in_program();
    let names: BTreeSet<String> = program.keys().cloned().collect();
    assert_eq!(names, page, "reasons of the program and of docs/reasons.md");

    let tests: BTreeMap<&str, &str> = TESTED_REASONS.iter().copied().collect();
    for (reason, advice) in documented() {
        let goes_alone = ["nothing", "wait", "see Ready"].contains(&advice.as_str());
        assert!(goes_alone || tests.contains_key(reason.as_str()), "no test causes {reason}");
        assert!(!(goes_alone && program[reason]), "{reason} requires an action, but the page names none");
    }
    for (reason, test) in TESTED_REASONS.iter().copied() {
        assert!(page.contains(reason), "{reason} is not a reason");
        let (file, name) = test.split_once("::").unwrap();
        let path = if file.contains('/') { file.into() } else { format!("tests/operator/{file}.rs") };
        assert!(is_test(&path, name), "{reason}: there is no {test}");
    }
}

/// Waits until a condition equals a text like `False/LeverForbidden` and its message contains all of these parts.
async fn wait_for_message(
    env: &TestEnv,
    (plural, name): (&str, &str),
    kind: &str,
    expected: &str,
    parts: &[&str],
) {
    eventually(&format!("{kind} of {name} is {expected} and contains {parts:?}"), async || {
        let object = env.get(plural, name).await;
        let message = message_of(&object, kind);
        let is_told = brief(&object, kind) == expected && parts.iter().all(|part| message.contains(part));
        if is_told { Ok(()) } else { Err(format!("{object:#}")) }
    })
    .await;
}

/// "Test Connection": the request, its response, and the instruction.
#[tokio::test(flavor = "multi_thread")]
async fn problems_of_either_service_are_reported_on_the_connection() {
    let mut options = Options::new("test-connection").without_setup().polling("1s");
    let right = options.lever.api_key.clone();
    // The API server serves as a host whose certificate is not trusted.
    let untrusted = Cluster::shared().await.plane.url().to_owned();
    options.connection["lever"] = json!({"url": format!("{untrusted}/v1")});
    options.flags.push(Box::leak(format!("--allow-api-origin={untrusted}").into_boxed_str()));
    let env = TestEnv::start(options).await;
    env.candidate();
    let connection = ("leverconnections", CONNECTION);
    let lever = async |reason: &str, parts: &[&str]| {
        wait_for_message(&env, connection, "LeverConnected", &format!("False/{reason}"), parts).await;
        wait_for_message(&env, connection, "Ready", &format!("False/{reason}"), parts).await;
    };
    let interview = async |reason: &str, parts: &[&str]| {
        wait_for_message(&env, connection, "InterviewConnected", &format!("False/{reason}"), parts).await;
        wait_for_message(&env, connection, "Ready", &format!("False/{reason}"), parts).await;
    };
    let at = async |field: &str, url: &str| {
        env.patch(connection.0, connection.1, json!({"spec": {field: {"url": url}}})).await;
    };

    lever("LeverUnavailable", &["GET /stages", "no TLS connection", "certificate", "retries automatically"])
        .await;
    at("lever", &format!("{}/nothing-here", env.lever.origin())).await;
    lever("LeverUnexpectedAnswer", &["GET /stages answered 404", "Check spec.lever.url"]).await;
    env.lever.clear_violations();
    let slow_down = env.lever.faults().add(Fault::on("GET", "/stages$").status(429).until_removed());
    at("lever", &env.lever.url()).await;
    lever("LeverRateLimited", &["GET /stages answered 429", "retries automatically"]).await;
    slow_down.remove();

    env.set_secret("lever-api-key", "two words").await;
    lever("SecretKeyInvalid", &["spec.lever.apiKeySecretRef", "Secret acme", "white space"]).await;
    env.set_secret("lever-api-key", "lever-5a4d-of-the-sandbox").await;
    lever("LeverUnauthorized", &["answered 401", "Secret acme, key lever-api-key", "sandbox"]).await;
    for (permission, name) in [
        ("stages:list", "Find all stages"),
        ("opportunities:list", "Find all opportunities"),
        ("opportunities:read", "Find an opportunity"),
    ] {
        let key = format!("lever-7c1e-without-{}", permission.replace(':', "-"));
        env.lever.set_key(&key, Permissions::all().without(permission));
        env.set_secret("lever-api-key", &key).await;
        lever("LeverForbidden", &["answered 403", name, "create a new key"]).await;
    }
    env.set_secret("lever-api-key", &right).await;
    wait_for_message(&env, connection, "Ready", "True/Connected", &["both API keys are sufficient"]).await;

    for (name, role) in [("alone", KeyRole::Alone), ("member", KeyRole::Member)] {
        env.interview.set_key(&format!("interview-40be-{name}"), &format!("{name}@northwind.example"), role);
    }
    env.interview.change_settings(|settings| settings.pads_visible = false);
    env.set_secret("interview-api-key", "interview-40be-alone").await;
    interview("OrganizationMissing", &["Secret acme, key interview-api-key", "organization owner"]).await;
    env.set_secret("interview-api-key", "interview-40be-member").await;
    interview("InterviewForbidden", &["GET /organization/pads answered 403", "see all pads"]).await;
    env.interview.change_settings(|settings| settings.pads_visible = true);
    wait_for_message(&env, connection, "Ready", "True/Connected", &[]).await;
    let faults = env.interview.faults();
    let no_plan = faults.add(Fault::on("GET", "/quota$").status(403).until_removed());
    interview("InterviewForbidden", &["GET /quota answered 403", "plan includes API access"]).await;
    let slow_down = faults.add(Fault::on("GET", "/quota$").status(429).until_removed());
    no_plan.remove();
    interview("InterviewRateLimited", &["GET /quota answered 429", "retries automatically"]).await;
    slow_down.remove();
    wait_for_message(&env, connection, "Ready", "True/Connected", &[]).await;
    let odd = faults.add(Fault::on("GET", "/quota$").status(400).until_removed());
    interview("InterviewUnexpectedAnswer", &["GET /quota answered 400", "Check spec.interview.url"]).await;
    odd.remove();
    at("interview", &format!("{}/nothing-here", env.interview.origin())).await;
    interview("OrganizationMissing", &["GET /organization answered 404", "or correct spec.interview.url"])
        .await;
    at("interview", &env.interview.url()).await;
    wait_for_message(
        &env,
        connection,
        "InterviewConnected",
        "True/Connected",
        &["CoderPad Interview is reachable"],
    )
    .await;
    env.interview.clear_violations();
    env.finish().await;
}

/// Waits until a Pad equals a text like `Failed/InvalidRequest` and its message contains all of these parts.
async fn pad_tells(env: &TestEnv, name: &str, expected: &str, parts: &[&str]) {
    eventually(&format!("Pad {name} is {expected} and contains {parts:?}"), async || {
        let pad = env.get("pads", name).await;
        let message = message_of(&pad, "Ready");
        let is_told = phase(&pad) == expected && parts.iter().all(|part| message.contains(part));
        if is_told { Ok(()) } else { Err(format!("{pad:#}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pad_reports_its_problem_and_continues_when_it_is_fixed() {
    let mut options = Options::new("pads-reasons");
    options.configurations.push(("asks", json!({"tag": "asks", "questionID": 1001})));
    let env = TestEnv::start(options).await;
    let create = |candidate: &str| Fault::on("POST", "^/api/pads/?$").containing(candidate);
    let answer = |code: u16, message: &str| FaultAction::Status {
        code,
        body: Some(json!({"status": "ERROR", "message": message})),
    };
    let candidates: Vec<String> = (0..9).map(|_| env.candidate()).collect();
    let [missing, invalid, drafted, question, forbidden, unknown, refused, away, slow] =
        candidates.as_slice()
    else {
        unreachable!()
    };

    env.create_pad_by_hand("missing", "later", missing).await;
    pad_tells(
        &env,
        "missing",
        "Pending/ConfigurationNotFound",
        &["PadConfiguration later", "does not exist"],
    )
    .await;
    env.configure("later", json!({"tag": "later"})).await;
    env.wait_for_one_pad(missing).await;

    env.interview.faults().add(create(invalid).action(answer(400, "Title is too plain")));
    env.create_pad_by_hand("invalid", CONFIGURATION, invalid).await;
    let parts = ["POST /pads answered 400: Title is too plain", "kubectl pad retry invalid"];
    pad_tells(&env, "invalid", "Failed/InvalidRequest", &parts).await;
    env.request("pads", "invalid").await;
    env.wait_for_one_pad(invalid).await;

    // The configuration notices a change of the question only when it is reconciled next.
    let draft = |is_draft| Question { is_draft, ..Question::new(1001, "Rate limiter", "live") };
    env.interview.add_question(draft(true));
    env.interview.faults().add(create(drafted).action(answer(400, "Unknown error")));
    env.create_pad_by_hand("drafted", "asks", drafted).await;
    let parts = ["POST /pads answered 400", "Question 1001 is a draft. Publish it"];
    pad_tells(&env, "drafted", "Failed/QuestionNotUsable", &parts).await;
    env.interview.add_question(draft(false));
    env.request("pads", "drafted").await;
    env.wait_for_one_pad(drafted).await;

    env.interview.remove_question(1001);
    env.create_pad_by_hand("question", "asks", question).await;
    pad_tells(&env, "question", "Failed/QuestionNotFound", &["answered 404", "spec.questionID"]).await;
    env.patch("padconfigurations", "asks", json!({"spec": {"questionID": null}})).await;
    env.wait_for_one_pad(question).await;

    env.interview.faults().add(create(forbidden).action(answer(403, "Forbidden")));
    env.create_pad_by_hand("forbidden", CONFIGURATION, forbidden).await;
    let parts = ["POST /pads answered 403", "organization owner"];
    pad_tells(&env, "forbidden", "Pending/InterviewForbidden", &parts).await;
    env.request("pads", "forbidden").await;
    env.wait_for_one_pad(forbidden).await;

    env.interview.faults().add(create(unknown).action(FaultAction::Hang));
    env.create_pad_by_hand("unknown", CONFIGURATION, unknown).await;
    pad_tells(&env, "unknown", "Pending/CreateOutcomeUnknown", &["No action needed"]).await;
    env.wait_for_one_pad(unknown).await;

    // Whether a key may write is known only after the first write.
    let (weak, strong) = ("lever-3e21-reads-only", "lever-3e22-reads-and-writes");
    env.lever.set_key(weak, Permissions::all().without("opportunities:addLinks"));
    env.lever.set_key(strong, Permissions::all());
    env.set_secret("lever-api-key", weak).await;
    env.create_pad_by_hand("refused", CONFIGURATION, refused).await;
    let parts = ["addLinks answered 403", "the permission to add links", "create a new key"];
    pad_tells(&env, "refused", "Pending/LeverForbidden", &parts).await;
    let parts = ["addLinks with 403", "the permission to add links"];
    wait_for_message(&env, ("leverconnections", CONNECTION), "LeverConnected", "True/Connected", &parts)
        .await;
    env.set_secret("lever-api-key", strong).await;
    env.wait_for_one_pad(refused).await;
    let parts = ["the API key is sufficient"];
    wait_for_message(&env, ("leverconnections", CONNECTION), "LeverConnected", "True/Connected", &parts)
        .await;

    let path = format!("/opportunities/{away}$");
    let fault = env.lever.faults().add(Fault::on("GET", &path).status(503).until_removed());
    env.create_pad_by_hand("away", CONFIGURATION, away).await;
    let parts = ["GET /opportunities/{id} answered 503", "retries automatically"];
    pad_tells(&env, "away", "Pending/LeverUnavailable", &parts).await;
    let limited = env.lever.faults().add(Fault::on("GET", &path).status(429).until_removed());
    fault.remove();
    pad_tells(&env, "away", "Pending/LeverRateLimited", &["answered 429", "retries automatically"]).await;
    limited.remove();
    env.wait_for_one_pad(away).await;

    let too_fast = create(slow).action(answer(429, "Too many requests, slow down")).until_removed();
    let limited = env.interview.faults().add(too_fast);
    env.create_pad_by_hand("slow", CONFIGURATION, slow).await;
    let parts = ["POST /pads answered 429", "retries automatically"];
    pad_tells(&env, "slow", "Pending/InterviewRateLimited", &parts).await;
    limited.remove();
    env.wait_for_one_pad(slow).await;

    let nowhere = json!({"connectionRef": {"name": "nowhere"}});
    env.apply("padconfigurations", "orphan", nowhere).await;
    let orphan = ("padconfigurations", "orphan");
    wait_for_message(
        &env,
        orphan,
        "Ready",
        "False/ConnectionNotFound",
        &["LeverConnection nowhere", "Create it"],
    )
    .await;
    env.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn managed_webhook_problems_are_reported_until_fixed() {
    let mut options = Options::new("webhook-refused").without_setup().polling("1s");
    let reference = json!({"name": "tokens", "key": "token"});
    options.connection["webhook"] = json!({"mode": "Managed", "signingTokenSecretRef": reference});
    options.connection["suspend"] = json!(true);
    let env = TestEnv::start(options).await;
    let labels = json!({"app.kubernetes.io/managed-by": "pad-operator"});
    let fixed = json!({"apiVersion": "v1", "kind": "Secret", "immutable": true,
        "metadata": {"name": "tokens", "namespace": env.namespace, "labels": labels}});
    env.cluster.kubectl(&["create", "--filename", "-"], Some(&fixed.to_string())).await.unwrap();
    let refused = env.lever.faults().add(Fault::on("POST", "^/v1/webhooks$").status(400).until_removed());
    env.patch("leverconnections", CONNECTION, json!({"spec": {"suspend": false}})).await;

    let connection = ("leverconnections", CONNECTION);
    let parts = ["POST /webhooks answered 400", "--public-url"];
    wait_for_message(&env, connection, "WebhookVerified", "False/WebhookRefused", &parts).await;
    refused.remove();
    let parts = ["Secret tokens", "to another Secret"];
    wait_for_message(&env, connection, "WebhookVerified", "False/SecretNotWritable", &parts).await;
    env.delete("secrets", "tokens").await;
    env.request(connection.0, connection.1).await;
    let parts = ["Candidate Stage Change"];
    wait_for_message(&env, connection, "WebhookVerified", "False/AwaitingVerification", &parts).await;
    for webhook in env.lever.webhooks() {
        env.declare_private(webhook["signatureToken"].as_str().unwrap());
    }
    env.finish().await;
}
