//! Recovery after the faults: everything is restored, and then the operator must resolve everything automatically.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use simulators::{Call, DeliveryOutcome};

use super::compare::{Comparison, Ledger, compare};
use super::ledger;
use super::run::SoakRun;

/// Maximum time to settle. The longest backoff that a run can cause is shorter.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(500);
/// Time without requests and writes after which everything counts as settled: longer than the sync interval.
const QUIET_TIME: Duration = Duration::from_secs(8);
/// Maximum number of reads of single pads by sync in that time: it reads some open pads in turn.
const POLLED_PADS: usize = 2;

/// Restores everything and waits until the ledgers agree and nothing changes anymore.
pub async fn converge(run: &mut SoakRun) -> Comparison {
    run.end_faults().await;
    for operator in &mut run.env.operators {
        operator.wait_until_ready().await;
    }
    let (start, mut last_change) = (Instant::now(), Instant::now());
    let (mut before, mut reads_before) = (Activity::default(), Reads::default());
    loop {
        run.supervise().await;
        let delivered = all_delivered(run);
        let (ledger, activity) = (ledger::take(run).await, Activity::observe(run).await);
        let comparison = compare(&ledger);
        let has_settled = delivered && comparison.findings.is_empty();
        let changed = activity.differs_from(&before);
        let excess_reads = Reads::observe(run).excess_since(&reads_before);
        // A sync may still cause one read of a candidate for some Pads. Endless reads never settle.
        if !has_settled || !changed.is_empty() || excess_reads.is_some() {
            (last_change, before, reads_before) = (Instant::now(), activity, Reads::observe(run));
        }
        if last_change.elapsed() > QUIET_TIME {
            return comparison;
        }
        if start.elapsed() > SETTLE_TIMEOUT {
            print_report(run, &ledger, &comparison);
            panic!(
                "not settled {SETTLE_TIMEOUT:?} after the calm began: all delivered: {delivered}, {comparison}; last changed: {changed:?}; read without end: {excess_reads:?}"
            );
        }
        tokio::time::sleep(POLL).await;
    }
}

fn all_delivered(run: &mut SoakRun) -> bool {
    while run.deliveries.try_join_next().is_some() {}
    let waits = [DeliveryOutcome::Pending, DeliveryOutcome::Held];
    let all = run.env.lever.deliveries();
    run.deliveries.is_empty() && !all.iter().any(|delivery| waits.contains(&delivery.outcome))
}

/// Everything that is written: requests to both services, and the version of each object.
#[derive(Debug, Default)]
struct Activity {
    sent: usize,
    versions: BTreeMap<String, String>,
}

impl Activity {
    async fn observe(run: &SoakRun) -> Self {
        let calls = [run.env.lever.calls(), run.env.interview.calls()].concat();
        let mut versions = BTreeMap::new();
        for plural in ["leverconnections", "padconfigurations", "pads"] {
            for object in run.env.list(plural).await {
                let metadata = &object["metadata"];
                let name = format!("{plural}/{}", metadata["name"].as_str().unwrap());
                versions.insert(name, metadata["resourceVersion"].as_str().unwrap().to_owned());
            }
        }
        Self { sent: calls.iter().filter(|call| call.method != "GET").count(), versions }
    }

    /// Returns what has been written since then.
    fn differs_from(&self, before: &Self) -> Vec<String> {
        let sent = (self.sent != before.sent).then(|| "a service".to_owned());
        let names: BTreeSet<&String> = self.versions.keys().chain(before.versions.keys()).collect();
        let written = names.into_iter().filter(|name| self.versions.get(*name) != before.versions.get(*name));
        sent.into_iter().chain(written.cloned()).collect()
    }
}

/// Number of reads of single objects, compared with the probes of the connection, which read one opportunity each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Reads {
    probes: usize,
    opportunities: usize,
    pads: usize,
}

impl Reads {
    fn observe(run: &SoakRun) -> Self {
        let (lever, interview) = (run.env.lever.calls(), run.env.interview.calls());
        let count = |calls: &[Call], path: &str| {
            calls.iter().filter(|call| call.method == "GET" && call.path.starts_with(path)).count()
        };
        Self {
            probes: count(&lever, "/v1/stages"),
            opportunities: count(&lever, "/v1/opportunities/"),
            pads: count(&interview, "/api/pads/"),
        }
    }

    /// Returns the reads since then if they exceed what polling needs.
    fn excess_since(self, before: &Self) -> Option<Self> {
        let since = Self {
            probes: self.probes - before.probes,
            opportunities: self.opportunities - before.opportunities,
            pads: self.pads - before.pads,
        };
        // A probe may have started before.
        (since.opportunities > since.probes + 1 || since.pads > POLLED_PADS).then_some(since)
    }
}

/// Prints all findings with the events that led to them.
fn print_report(run: &SoakRun, ledger: &Ledger, comparison: &Comparison) {
    eprintln!("--- what happened:");
    let of_one = ["candidate: ", "Order(", "PadByHand", "Rerun("];
    for line in run.journal.iter().filter(|line| !of_one.iter().any(|text| line.contains(text))) {
        eprintln!("{line}");
    }
    eprintln!("--- single objects that were read in the last 20 s, and Pads:");
    let calls = [run.env.lever.calls(), run.env.interview.calls()].concat();
    let since = jiff::Timestamp::now().as_millisecond() - 20_000;
    let mut reads: BTreeMap<&str, usize> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.method == "GET" && call.at >= since) {
        *reads.entry(&call.path).or_default() += 1;
    }
    for (path, count) in reads {
        let id = path.rsplit('/').next().unwrap_or_default();
        let pads =
            ledger.cluster.iter().filter(|pad| pad.candidate == id || pad.pad_id.as_deref() == Some(id));
        for pad in pads {
            eprintln!("{count} {path}: {pad:?}");
        }
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
        let book = ledger.candidates.iter().find(|book| book.id == candidate);
        eprintln!("{book:#?}");
        for pad in ledger.cluster.iter().filter(|pad| pad.candidate == candidate) {
            eprintln!("{pad:?}");
        }
        let pads: Vec<_> = ledger.pads.iter().filter(|pad| pad.notes.contains(candidate)).collect();
        let mut calls = [run.env.lever.calls(), run.env.interview.calls()].concat();
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
        for delivery in run.env.lever.deliveries() {
            if delivery.body["data"]["opportunityId"] == *candidate {
                let attempts =
                    delivery.attempts.iter().map(|one| (one.at, one.status, &one.answer, &one.error));
                let attempts: Vec<_> = attempts.collect();
                eprintln!("delivery {} {:?}: {attempts:?}", delivery.number, delivery.outcome);
            }
        }
    }
}

#[test]
fn reads_beyond_polling_are_reported() {
    let before = Reads { probes: 3, opportunities: 7, pads: 5 };
    let after = |opportunities: usize, pads: usize| {
        let now = Reads { probes: 5, opportunities: 7 + opportunities, pads: 5 + pads };
        now.excess_since(&before).is_some()
    };
    assert!(!after(3, POLLED_PADS), "one with each probe");
    assert!(after(4, 0) && after(0, POLLED_PADS + 1));
}

#[test]
fn every_written_object_is_named() {
    let observe = |sent, versions: &[(&str, &str)]| Activity {
        sent,
        versions: versions.iter().map(|(name, version)| ((*name).into(), (*version).into())).collect(),
    };
    let before = observe(2, &[("pads/a", "1"), ("pads/b", "1")]);
    assert!(observe(2, &[("pads/a", "1"), ("pads/b", "1")]).differs_from(&before).is_empty());
    let after = observe(3, &[("pads/a", "2"), ("pads/c", "1")]);
    assert_eq!(after.differs_from(&before), ["a service", "pads/a", "pads/b", "pads/c"]);
}
