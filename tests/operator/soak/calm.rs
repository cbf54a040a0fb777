//! The calm after it: everything is mended, and then all must come right by itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use simulators::{Call, DeliveryOutcome};

use super::books;
use super::compare::{Books, Comparison, compare};
use super::run::Run;

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
    let (start, mut last_change) = (Instant::now(), Instant::now());
    let mut writes_before = 0;
    loop {
        run.supervise().await;
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
