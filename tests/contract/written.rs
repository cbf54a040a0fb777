//! `--write-test` against the simulators: the report, and that nothing remains.

use crate::accounts::{Accounts, LEVER_KEY, assert_private};
use pad_operator::check::{Level, Report, WriteOptions, write_and_clean_up};
use simulators::{Fault, Permissions};
use std::time::Duration;
use testkit::assert_snapshot;
use tokio_util::sync::CancellationToken;

const QUICK: WriteOptions = WriteOptions {
    interval: Duration::ZERO,
    poll_interval: Duration::from_millis(200),
    max_list_lag: Duration::from_secs(5),
};

async fn write(accounts: &Accounts, stop: CancellationToken) -> Report {
    let report = write_and_clean_up(&accounts.target(), &accounts.candidate, &QUICK, stop).await.unwrap();
    assert_private(&report.text());
    report
}

fn assert_nothing_remains(accounts: &Accounts) {
    let (lever, candidate) = (&accounts.lever, &accounts.candidate);
    let left = [lever.links(candidate), lever.tags(candidate), lever.notes(candidate)];
    assert_eq!(left, <[Vec<String>; 3]>::default());
    let kept = accounts.interview.live_pads();
    assert_eq!(kept.len(), 3, "{kept:#?}");
    assert!(kept.iter().all(|pad| !pad.title.starts_with("pad-operator-check")), "{kept:#?}");
    assert_eq!(accounts.lever.webhooks().len(), 0);
    assert_eq!(accounts.interview.created_users(), Vec::<String>::new());
}

#[tokio::test]
async fn everything_is_written_and_removed() {
    let accounts = Accounts::start().await;
    let report = write(&accounts, CancellationToken::new()).await;
    assert_eq!(report.level(), Level::Ok, "{}", report.text());
    assert_snapshot("check-write", report.text().trim_end());
    assert_nothing_remains(&accounts);
    assert_eq!(accounts.interview.quota().used, 5);
    assert_eq!(accounts.interview.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn only_questions_that_fit_the_kind_of_pad_are_used() {
    let accounts = Accounts::start().await;
    let mut target = accounts.target();
    target.rules.reverse();
    for rule in &mut target.rules {
        rule.take_home = None;
    }
    let stop = CancellationToken::new();
    let report = write_and_clean_up(&target, &accounts.candidate, &QUICK, stop).await.unwrap();
    assert_eq!(report.level(), Level::Ok, "{}", report.text());
    assert_eq!(accounts.interview.violations(), Vec::<String>::new());
    let pads = accounts.interview.pads();
    let questions: Vec<u64> = pads.iter().flat_map(|pad| pad.question_ids.clone()).collect();
    assert_eq!(questions, [1001, 1002]);
}

#[tokio::test]
async fn what_differs_is_reported_and_removed() {
    let accounts = Accounts::start().await;
    accounts.interview.change_settings(|settings| settings.accept_take_home = false);
    accounts.interview.set_list_lag(Duration::from_millis(1500));
    let report = write(&accounts, CancellationToken::new()).await;
    let text = report.text();
    assert_eq!(report.level(), Level::Warning, "{text}");
    for line in [
        "‼ type of the take-home: \"live\", which the operator does not take for a take-home",
        "√ list of pads: shows the new pad after 1 s",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_nothing_remains(&accounts);
}

#[tokio::test]
async fn a_pad_whose_answer_was_lost_is_removed() {
    let accounts = Accounts::start().await;
    accounts.interview.faults().add(Fault::on("POST", "/pads/?$").lose_answer().until_removed());
    let report = write(&accounts, CancellationToken::new()).await;
    assert_eq!(report.level(), Level::Failure, "{}", report.text());
    assert!(report.text().contains("√ pads: 2 pads deleted"), "{}", report.text());
    assert_nothing_remains(&accounts);
}

#[tokio::test]
async fn a_signal_ends_the_test_and_everything_is_removed() {
    let accounts = Accounts::start().await;
    let held = accounts.lever.faults().add(Fault::on("POST", "/notes$").hang_after_effect().until_removed());
    let stop = CancellationToken::new();
    let (report, ()) = tokio::join!(write(&accounts, stop.clone()), async {
        held.reached().await;
        stop.cancel();
    });
    assert!(report.text().contains("× test: stopped by a signal"), "{}", report.text());
    assert_nothing_remains(&accounts);
}

#[tokio::test]
async fn what_could_not_be_removed_is_named() {
    let accounts = Accounts::start().await;
    accounts.lever.set_key(LEVER_KEY, Permissions::all().without("opportunities:removeTags"));
    let report = write(&accounts, CancellationToken::new()).await;
    assert_eq!(report.level(), Level::Failure);
    let text = report.text();
    assert!(
        text.contains("× tag: not removed: ") && text.contains("→ Remove the tag pad-operator-check-"),
        "{text}"
    );
    assert_eq!(accounts.interview.live_pads().len(), 3);
}
