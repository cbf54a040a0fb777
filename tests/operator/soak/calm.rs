//! The calm after it: everything is mended, and then all must come right by itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use simulators::{Call, DeliveryOutcome};

use super::books;
use super::compare::{Books, ClusterPad, Comparison, compare};
use super::run::Run;
use super::{RULES, SYNC};

/// A run that has not settled by then has failed. The longest pauses after failures that a run can lead to are shorter.
const LIMIT: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(500);
/// So long nothing more is sent before all counts as settled.
const QUIET: Duration = Duration::from_secs(3);

/// Mends everything and waits until the books agree and nothing happens any more.
pub async fn settle(run: &mut Run) -> Comparison {
    run.mend().await;
    for operator in &mut run.world.operators {
        operator.wait_until_ready().await;
    }
    let mut helped = BTreeSet::new();
    let (start, mut last_change) = (Instant::now(), Instant::now());
    let mut writes_before = 0;
    loop {
        run.supervise().await;
        if !SYNC {
            rerun_what_was_lost(run).await;
            ask_about_late_tags(run, &mut helped).await;
            ask_about_ends(run, &mut helped).await;
        }
        let delivered = all_is_delivered(run);
        let (books, writes) = (books::take(run).await, writes(run));
        let comparison = compare(&books);
        let has_settled = delivered && comparison.findings.is_empty();
        if !has_settled || writes != writes_before {
            (last_change, writes_before) = (Instant::now(), writes);
        }
        if has_settled && last_change.elapsed() > QUIET {
            return comparison;
        }
        if start.elapsed() > LIMIT {
            report(run, &books, &comparison);
            panic!("not settled {LIMIT:?} after the calm began: all delivered: {delivered}, {comparison}");
        }
        tokio::time::sleep(POLL).await;
    }
}

fn all_is_delivered(run: &mut Run) -> bool {
    while run.deliveries.try_join_next().is_some() {}
    let waits = [DeliveryOutcome::Pending, DeliveryOutcome::Held];
    let all = run.world.lever.deliveries();
    run.deliveries.is_empty() && !all.iter().any(|delivery| waits.contains(&delivery.outcome))
}

fn writes(run: &Run) -> usize {
    let calls = [run.world.lever.calls(), run.world.interview.calls()].concat();
    calls.iter().filter(|call| call.method != "GET").count()
}

/// Somebody looks through Lever's list of deliveries and presses Rerun where none was received.
async fn rerun_what_was_lost(run: &Run) {
    let lost = [DeliveryOutcome::GivenUp, DeliveryOutcome::Dropped];
    for delivery in run.world.lever.deliveries() {
        let received = delivery.attempts.iter().any(simulators::Attempt::received);
        if lost.contains(&delivery.outcome) && !received {
            run.world.lever.redeliver(delivery.number).await;
        }
    }
}

/// Somebody does what the message of a Pad says that was skipped for want of the tag.
async fn ask_about_late_tags(run: &Run, helped: &mut BTreeSet<String>) {
    for pad in books::take(run).await.cluster {
        let tag = RULES.iter().find(|rule| rule.name == pad.configuration).map(|rule| rule.tag);
        let has_tag = run.world.lever.tags(&pad.candidate).iter().any(|one| Some(one.as_str()) == tag);
        if pad.at_rest && pad.phase == "Skipped/TagMissing" && has_tag && helped.insert(pad.name.clone()) {
            run.world.request("pads", &pad.name).await;
        }
    }
}

/// Somebody asks for a look at each Pad whose interview has ended.
async fn ask_about_ends(run: &Run, helped: &mut BTreeSet<String>) {
    let books = books::take(run).await;
    for pad in books.pads.iter().filter(|pad| pad.ended_at.is_some() && !pad.by_hand) {
        let is_missed =
            |one: &ClusterPad| one.pad_id.as_ref() == Some(&pad.id) && one.phase.starts_with("Open/");
        if books.cluster.iter().any(is_missed) && helped.insert(pad.id.clone()) {
            run.ask_about(&pad.id).await;
        }
    }
}

/// Prints all that is wrong with what led to it.
fn report(run: &Run, books: &Books, comparison: &Comparison) {
    eprintln!("--- what happened:");
    let of_one = ["candidate: ", "Order(", "PadByHand", "Rerun("];
    for line in run.journal.iter().filter(|line| !of_one.iter().any(|text| line.contains(text))) {
        eprintln!("{line}");
    }
    let concerned: BTreeSet<&str> =
        comparison.findings.iter().map(|finding| finding.candidate.as_str()).collect();
    for candidate in concerned {
        let number =
            run.candidates.iter().position(|one| one.as_ref().is_some_and(|one| one.id == candidate));
        eprintln!("--- candidate {number:?} {candidate}:");
        for finding in comparison.findings.iter().filter(|finding| finding.candidate == candidate) {
            eprintln!("{:?}: {}", finding.kind, finding.what);
        }
        let Some(number) = number else { continue };
        let mention = [format!("candidate: {number},"), format!("({number})"), format!("\"{candidate}\"")];
        for line in run.journal.iter().filter(|line| mention.iter().any(|text| line.contains(text))) {
            eprintln!("{line}");
        }
        let book = books.candidates.iter().find(|book| book.id == candidate);
        eprintln!("{book:#?}");
        for pad in books.cluster.iter().filter(|pad| pad.candidate == candidate) {
            eprintln!("{pad:?}");
        }
        let pads: Vec<_> = books.pads.iter().filter(|pad| pad.notes.contains(candidate)).collect();
        let mut calls = [run.world.lever.calls(), run.world.interview.calls()].concat();
        calls.sort_by_key(|call| call.at);
        let concerns = |call: &&Call| {
            let mentions = |text: &str| call.path.contains(text) || call.body.contains(text);
            mentions(candidate) || pads.iter().any(|pad| mentions(&pad.id))
        };
        for call in calls.iter().filter(concerns) {
            let Call { at, method, path, body, handled, status, faults, .. } = call;
            eprintln!(
                "{at} {method} {path} {body} handled {handled:?} answered {status:?} faults {faults:?}"
            );
        }
        for delivery in run.world.lever.deliveries() {
            if delivery.body["data"]["opportunityId"] == *candidate {
                let attempts =
                    delivery.attempts.iter().map(|one| (one.at, one.status, &one.answer, &one.error));
                let attempts: Vec<_> = attempts.collect();
                eprintln!("delivery {} {:?}: {attempts:?}", delivery.number, delivery.outcome);
            }
        }
    }
}
