//! Ledger of Lever, CoderPad and the cluster: for each stage entry exactly one pad was created, its link was added once
//! and exists, and after the end there is one note.

use std::fmt;

use anyhow::ensure;
use serde_json::Value;
use simulators::{Call, InterviewSimulator, LeverSimulator, PadView};

use crate::cluster::{Cluster, NAMESPACE, WAIT};
use crate::environment::{Candidate, TestEnv};

/// Result of one stage entry.
#[derive(Debug, Default)]
struct Entry {
    /// Pads that were created, including deleted ones.
    pads: Vec<String>,
    /// Existing links.
    links: Vec<String>,
    /// Number of times that a link was added.
    added: usize,
    notes: usize,
}

impl Entry {
    fn for_candidate(
        lever: &LeverSimulator,
        calls: &[Call],
        pads: &[PadView],
        candidate: &Candidate,
    ) -> Self {
        let adds = format!("/{}/addLinks", candidate.id);
        let added = calls.iter().filter(|call| call.path.ends_with(&adds) && call.handled == Some(200));
        let title = format!("{} - ", candidate.name);
        let made = pads.iter().filter(|pad| pad.title.starts_with(&title));
        Self {
            pads: made.map(|pad| pad.url.clone()).collect(),
            links: lever.links(&candidate.id),
            added: added.count(),
            notes: lever.notes(&candidate.id).len(),
        }
    }

    fn is_lost(&self) -> bool {
        self.pads.is_empty() || !self.pads.iter().all(|pad| self.links.contains(pad))
    }

    fn is_duplicate(&self) -> bool {
        self.pads.len() > 1 || self.links.len() > 1 || self.added > 1 || self.notes > 1
    }
}

/// Totals of all stage entries.
#[derive(Debug)]
pub struct Ledger {
    entries: usize,
    pub notes: usize,
}

impl fmt::Display for Ledger {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "{} entries: {} pads, {} links, {} notes",
            self.entries, self.entries, self.entries, self.notes
        )?;
        write!(to, "; 0 lost, 0 duplicate")
    }
}

/// Compares the current state of Lever and CoderPad.
pub fn compare(environment: &TestEnv, candidates: &[Candidate]) -> anyhow::Result<Ledger> {
    let TestEnv { lever, interview, .. } = environment;
    let (calls, pads) = (lever.calls(), InterviewSimulator::pads(interview));
    let entries: Vec<_> = candidates
        .iter()
        .map(|candidate| (candidate, Entry::for_candidate(lever, &calls, &pads, candidate)))
        .collect();
    let describe = |which: fn(&Entry) -> bool| -> Vec<String> {
        let of = entries.iter().filter(|(_, entry)| which(entry));
        of.map(|(candidate, entry)| format!("{} ({}): {entry:?}", candidate.name, candidate.id)).collect()
    };
    let (lost, duplicate) = (describe(Entry::is_lost), describe(Entry::is_duplicate));
    ensure!(
        lost.is_empty() && duplicate.is_empty(),
        "of {} entries {} are lost and {} are duplicate:\n{}",
        entries.len(),
        lost.len(),
        duplicate.len(),
        [lost, duplicate].concat().join("\n")
    );
    Ok(Ledger { entries: entries.len(), notes: entries.iter().map(|(_, entry)| entry.notes).sum() })
}

/// Waits until the Pads of all these candidates are in this phase, then compares the ledger.
pub async fn compare_when_settled(
    cluster: &Cluster,
    environment: &TestEnv,
    candidates: &[Candidate],
    phase: &str,
) -> anyhow::Result<Ledger> {
    WAIT.until("all Pads have settled", async || {
        let pads = cluster.list(&format!("pads --namespace {NAMESPACE}")).await?;
        let of =
            |candidate: &Candidate| pads.iter().find(|pad| pad["spec"]["opportunityID"] == *candidate.id);
        let missing: Vec<_> = candidates
            .iter()
            .filter_map(|candidate| match of(candidate).map(|pad| &pad["status"]) {
                Some(status) if status["phase"] == phase && has_write_back(status) => None,
                Some(status) => Some(format!("{}: {} {}", candidate.name, status["phase"], status["reason"])),
                None => Some(format!("{}: no Pad", candidate.name)),
            })
            .collect();
        ensure!(missing.is_empty(), "{} are not {phase}: {}", missing.len(), missing.join("; "));
        Ok(())
    })
    .await?;
    compare(environment, candidates)
}

/// Reports whether the write-back of an ended interview is complete.
fn has_write_back(status: &Value) -> bool {
    let recorded = |condition: &Value| condition["type"] == "RecordAdded" && condition["status"] == "True";
    status["phase"] != "Ended"
        || status["conditions"].as_array().is_some_and(|conditions| conditions.iter().any(recorded))
}

#[cfg(test)]
mod tests {
    use super::Entry;

    fn entry(pads: &[&str], links: &[&str], added: usize, notes: usize) -> Entry {
        let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Entry { pads: all(pads), links: all(links), added, notes }
    }

    #[test]
    fn only_one_of_each_is_correct() {
        let right = entry(&["a"], &["a"], 1, 1);
        assert!(!right.is_lost() && !right.is_duplicate());
        for lost in [entry(&[], &[], 0, 0), entry(&["a"], &[], 0, 0), entry(&["a"], &["b"], 1, 0)] {
            assert!(lost.is_lost(), "{lost:?}");
        }
        for duplicate in [
            entry(&["a", "b"], &["a"], 1, 0),
            entry(&["a"], &["a", "b"], 1, 0),
            entry(&["a"], &["a"], 2, 0),
            entry(&["a"], &["a"], 1, 2),
        ] {
            assert!(duplicate.is_duplicate(), "{duplicate:?}");
        }
    }
}
