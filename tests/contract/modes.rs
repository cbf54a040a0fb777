//! Each way in which a service may behave differently: the lines of the report that change.

use crate::accounts::{Accounts, STAGE, assert_report, difference};
use pad_operator::check::Level;
use serde_json::{Value, json};
use simulators::{Fault, KeyRole, NewCandidate, Question, Quota};
use std::fmt::Write as _;
use std::time::Duration;
use testkit::assert_snapshot;

type Change = fn(&Accounts);

fn edit(path: &str, pointer: &str, value: Value) -> Fault {
    Fault::on("GET", path).edit(&[(pointer, value)]).until_removed()
}

/// The modes: name, level of the report, and the change to the simulators.
const MODES: [(&str, Level, Change); 27] = [
    ("CoderPad pages by cursor", Level::Ok, |to| {
        to.add_page_of_pads();
        to.interview.change_settings(|settings| settings.cursors = true);
    }),
    ("CoderPad pages by number", Level::Ok, Accounts::add_page_of_pads),
    ("CoderPad names another host for the next page", Level::Ok, |to| {
        to.add_page_of_pads();
        to.interview
            .change_settings(|settings| settings.page_origin = Some("https://coderpad.example".into()));
    }),
    ("CoderPad's lists lag", Level::Ok, |to| to.interview.set_list_lag(Duration::from_secs(60))),
    ("CoderPad reports an ID of the organization", Level::Ok, |to| {
        to.interview.change_settings(|settings| settings.organization_id = Some(7));
    }),
    ("CoderPad spells the live type differently", Level::Warning, |to| {
        to.interview.add_faults_of_pads("/pads/0/type", json!("pair_programming"));
    }),
    ("CoderPad has another state", Level::Warning, |to| {
        to.interview.add_faults_of_pads("/pads/2/state", json!("on_hold"));
    }),
    ("CoderPad ends pads without moving updated_at", Level::Warning, |to| {
        to.interview.add_faults_of_pads("/pads/0/ended_at", json!("2199-01-01T00:00:00Z"));
    }),
    ("CoderPad ignores the order", Level::Warning, |to| {
        to.interview.add_faults_of_pads("/pads/2/updated_at", json!("2198-01-01T00:00:00Z"));
    }),
    ("CoderPad's list has a row with unreadable notes", Level::Warning, |to| {
        to.interview.add_faults_of_pads("/pads/1/notes", json!(7));
    }),
    ("CoderPad has another kind of event", Level::Warning, |to| {
        to.interview.faults().add(edit("/events$", "/events/0/kind", json!("waved")));
    }),
    ("CoderPad does not know GET /user", Level::Warning, |to| {
        to.interview.faults().add(Fault::on("GET", "/user$").status(404).until_removed());
    }),
    ("CoderPad's user may not create pads", Level::Failure, |to| {
        to.interview.faults().add(edit("/user$", "/allow_pad_creation", json!(false)));
    }),
    ("CoderPad's key is of a member who sees all pads", Level::Ok, |to| {
        to.interview.set_key(crate::accounts::INTERVIEW_KEY, "lead@northwind.example", KeyRole::Member);
    }),
    ("CoderPad's key is of a member who sees own pads", Level::Failure, |to| {
        to.interview.set_key(crate::accounts::INTERVIEW_KEY, "lead@northwind.example", KeyRole::Member);
        to.interview.change_settings(|settings| settings.pads_visible = false);
    }),
    ("CoderPad's key is of a user without organization", Level::Failure, |to| {
        to.interview.set_key(crate::accounts::INTERVIEW_KEY, "lead@northwind.example", KeyRole::Alone);
    }),
    ("CoderPad's quota is used up", Level::Failure, |to| {
        to.interview.set_quota(Quota { limit: Some(3), used: 3, ..Quota::default() });
    }),
    ("CoderPad bills more pads", Level::Warning, |to| {
        to.interview.set_quota(Quota { limit: Some(3), used: 3, overages_enabled: true, billed: 0 });
    }),
    ("CoderPad is unlimited", Level::Ok, |to| {
        to.interview.set_quota(Quota { limit: None, ..Quota::default() });
    }),
    ("CoderPad's question is a draft", Level::Failure, |to| {
        to.interview.add_question(Question { is_draft: true, ..Question::new(1001, "Draft", "live") });
    }),
    ("CoderPad's owner has left", Level::Failure, |to| to.interview.remove_user("lead@northwind.example")),
    ("Lever has no stageChanges", Level::Warning, |to| {
        to.lever.faults().add(edit("/opportunities$", "/data/0/stageChanges", Value::Null));
    }),
    ("Lever sends an odd row", Level::Warning, |to| {
        to.lever.faults().add(edit("/opportunities$", "/data/0", json!({"id": 7})));
    }),
    ("Lever sends an odd member", Level::Warning, |to| {
        to.lever.faults().add(edit("/opportunities$", "/data/0/tags/-", json!(7)));
    }),
    ("Lever ignores the tag filter", Level::Warning, |to| {
        let row = json!({"id": "o-x", "stage": stage_id(), "tags": [], "stageChanges": [], "archived": null});
        let fault = Fault::on("GET", "/opportunities$").containing("coderpad");
        to.lever.faults().add(fault.edit(&[("/data/-", row)]).until_removed());
    }),
    ("Lever's tag filter has no inherited tags", Level::Warning, |to| {
        let fault = Fault::on("GET", "/opportunities$").containing("coderpad");
        to.lever.faults().add(fault.edit(&[("/data", json!([]))]).until_removed());
    }),
    ("Lever has many candidates", Level::Ok, |to| {
        for _ in 0..120 {
            to.lever.add_candidate(NewCandidate { stage: STAGE.into(), ..NewCandidate::default() });
        }
    }),
];

fn stage_id() -> &'static str {
    "8c0f9a55-2b1c-4f7e-8f0a-3d5e6b7c8d92"
}

/// Edits of all lists of pads of a simulated CoderPad.
trait EditPads {
    fn add_faults_of_pads(&self, pointer: &str, value: Value);
}

impl EditPads for simulators::InterviewSimulator {
    fn add_faults_of_pads(&self, pointer: &str, value: Value) {
        self.faults().add(edit("/organization/pads$", pointer, value));
    }
}

#[tokio::test]
async fn the_usual_mode_has_neither_warnings_nor_failures() {
    let accounts = Accounts::start().await;
    let report = accounts.check(&accounts.target()).await;
    assert_report("check-usual", &accounts, &report, Level::Ok);
}

#[tokio::test]
async fn each_other_mode_changes_only_its_lines() {
    let mut text = String::new();
    for (name, level, change) in MODES {
        let accounts = Accounts::start().await;
        let usual = accounts.stable(&accounts.check(&accounts.target()).await.text());
        change(&accounts);
        accounts.lever.clear_calls();
        accounts.interview.clear_calls();
        let report = accounts.check(&accounts.target()).await;
        let changed = accounts.stable(&report.text());
        assert_eq!(report.level(), level, "{name}:\n{changed}");
        writeln!(text, "# {name}\n\n{}", difference(&usual, &changed)).unwrap();
    }
    assert_snapshot("check-modes", text.trim_end());
}
