//! Compares the ledgers of Lever and CoderPad with the cluster: lost, duplicate and orphaned objects. Pure functions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_lc_rs::digest;

/// Input of the comparison.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub namespace: String,
    pub rules: Vec<RuleRecord>,
    pub candidates: Vec<CandidateRecord>,
    /// Includes deleted ones.
    pub pads: Vec<PadRecord>,
    pub cluster: Vec<ClusterPad>,
    pub actions_of_people: People,
}

/// Configuration and candidate.
pub type SeriesKey = (String, String);

/// Actions of people that explain a difference.
#[derive(Clone, Debug, Default)]
pub struct People {
    /// Number of Pads that users deleted.
    pub deletions: BTreeMap<SeriesKey, usize>,
    /// Whether a user deleted a Pad with the policy Unlink.
    pub unlinked: BTreeSet<SeriesKey>,
    /// Number of Pads that users applied.
    pub applied: BTreeMap<SeriesKey, usize>,
    /// IDs of the pads that a person deleted in CoderPad, with the time.
    pub removed: BTreeMap<String, i64>,
    /// Configurations that were deleted and applied again.
    pub replaced: BTreeSet<String>,
    /// Whether a Pad was terminating while there was no connection: its pad and its link remain.
    pub unattended: BTreeSet<SeriesKey>,
    /// Whether a Pad was deleted and restored without its status.
    pub restored: BTreeSet<SeriesKey>,
    /// Whether the connection was deleted and applied again under another name.
    pub renamed: bool,
}

/// PadConfiguration.
#[derive(Clone, Debug, Default)]
pub struct RuleRecord {
    pub name: String,
    pub stage_id: String,
    pub tag: String,
    /// Whether deleting a Pad removes its link but keeps the pad.
    pub unlinks: bool,
    /// Whether a note is written when an interview ends.
    pub notes: bool,
    /// Tags while a pad is open, and after it has ended.
    pub tags: Option<(String, String)>,
    /// status.effectiveSince, in milliseconds.
    pub effective_since: Option<i64>,
}

/// Candidate in Lever.
#[derive(Clone, Debug, Default)]
pub struct CandidateRecord {
    pub id: String,
    pub stage_id: String,
    /// Stage and time (in milliseconds) of the stage changes, oldest first.
    pub entries: Vec<(String, i64)>,
    pub tags: Vec<String>,
    /// All tags that the candidate has ever had.
    pub tags_ever: BTreeSet<String>,
    pub links: Vec<String>,
    /// Texts of the notes.
    pub notes: Vec<String>,
    /// All links that were ever added or removed through the API, once per effective request.
    pub links_added: Vec<String>,
    pub links_removed: Vec<String>,
}

/// Pad in CoderPad.
#[derive(Clone, Debug, Default)]
pub struct PadRecord {
    pub id: String,
    pub url: String,
    pub notes: String,
    /// Whether it was created by a person.
    pub create_pad_by_hand: bool,
    pub deleted: bool,
    /// In milliseconds.
    pub ended_at: Option<i64>,
}

/// Pad in the cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterPad {
    pub name: String,
    pub configuration: String,
    pub candidate: String,
    /// Such as `Open/Open`.
    pub phase: String,
    pub pad_id: Option<String>,
    /// Whether all requests for it are handled, and it is not terminating.
    pub at_rest: bool,
    /// Webhook, Sync or Manual.
    pub source: String,
}

impl ClusterPad {
    fn has_pad(&self) -> bool {
        ["Open/", "Started/", "Ended/"].iter().any(|phase| self.phase.starts_with(phase))
    }

    fn is_before_configuration(&self) -> bool {
        self.phase == "Skipped/BeforeConfiguration"
    }
}

/// Kind of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A pad, a link or a note is missing.
    Lost,
    /// A pad, a link or a note exists twice.
    Duplicate,
    /// A pad that is no longer needed.
    Orphan,
    /// An unknown object that was never needed.
    Unknown,
    /// A Pad that has not settled.
    Unsettled,
}

/// Finding, about one candidate if there is one.
#[derive(Clone, Debug)]
pub struct Finding {
    pub kind: Kind,
    pub candidate: String,
    pub what: String,
}

/// Counts and all findings.
#[derive(Debug, Default)]
pub struct Comparison {
    pub pads: usize,
    pub links: usize,
    pub notes: usize,
    pub findings: Vec<Finding>,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |kind| self.findings.iter().filter(|finding| finding.kind == kind).count();
        write!(
            f,
            "pads {}, links {}, notes {}, lost {}, duplicate {}, orphaned {}, unknown {}, unsettled {}",
            self.pads,
            self.links,
            self.notes,
            count(Kind::Lost),
            count(Kind::Duplicate),
            count(Kind::Orphan),
            count(Kind::Unknown),
            count(Kind::Unsettled),
        )
    }
}

/// Precision of CoderPad's times, in milliseconds: the order of an entry and an end within it is unknown.
const CLOCK_TOLERANCE_MS: i64 = 1000;

/// Returns the 32 hex digits that the contract assigns to the pads of a configuration and a candidate.
pub fn series(namespace: &str, rule: &str, candidate: &str) -> String {
    let text = format!("{namespace}/{rule}/{candidate}");
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns series and entry from the first line of a pad's notes.
fn reference(pad: &PadRecord) -> Option<(&str, &str)> {
    let line = pad.notes.lines().next()?;
    line.strip_prefix("Reference: padoperator.dev/")?.trim().split_once('/')
}

/// Compares the ledgers.
pub fn compare(ledger: &Ledger) -> Comparison {
    let mut comparison = Comparison::default();
    let mut of_series: BTreeMap<&str, Vec<&PadRecord>> = BTreeMap::new();
    for pad in ledger.pads.iter().filter(|pad| !pad.create_pad_by_hand) {
        match reference(pad) {
            Some((series, _)) => of_series.entry(series).or_default().push(pad),
            None => comparison.add(Kind::Unknown, "", format!("pad {} has no reference", pad.id)),
        }
    }
    for candidate in &ledger.candidates {
        let mut urls = BTreeSet::new();
        for rule in &ledger.rules {
            let pads = of_series.remove(series(&ledger.namespace, &rule.name, &candidate.id).as_str());
            let pads = pads.unwrap_or_default();
            urls.extend(pads.iter().map(|pad| &pad.url));
            Pair { ledger, rule, candidate, pads, comparison: &mut comparison }.compare();
        }
        for link in candidate.links.iter().chain(&candidate.links_added) {
            if !urls.contains(link) {
                let what = format!("has the link {link}, which belongs to none of this candidate's pads");
                comparison.add(Kind::Unknown, &candidate.id, what);
            }
        }
    }
    for pad in of_series.into_values().flatten() {
        comparison.add(
            Kind::Unknown,
            "",
            format!("pad {} belongs to no known candidate: {}", pad.id, pad.notes),
        );
    }
    for pad in &ledger.cluster {
        if !pad.at_rest && !waits_for_decision(ledger, pad) {
            let what = format!("the Pad {} has not settled: {}", pad.name, pad.phase);
            comparison.add(Kind::Unsettled, &pad.candidate, what);
        }
    }
    comparison
}

/// Reports whether a person has to decide about a Pad: its pad is not found, and the connection was renamed and may belong
/// to another account.
fn waits_for_decision(ledger: &Ledger, pad: &ClusterPad) -> bool {
    let is_removed = pad.pad_id.as_ref().is_some_and(|id| ledger.actions_of_people.removed.contains_key(id));
    ledger.actions_of_people.renamed && is_removed && pad.phase == "Pending/ConfigurationNotFound"
}

impl Comparison {
    fn add(&mut self, kind: Kind, candidate: &str, what: String) {
        self.findings.push(Finding { kind, candidate: candidate.to_owned(), what });
    }
}

/// One candidate and one configuration.
struct Pair<'a> {
    ledger: &'a Ledger,
    rule: &'a RuleRecord,
    candidate: &'a CandidateRecord,
    /// Their pads, including deleted ones.
    pads: Vec<&'a PadRecord>,
    comparison: &'a mut Comparison,
}

impl Pair<'_> {
    fn compare(mut self) {
        self.pads.sort_by_key(|pad| entry(pad));
        self.find_strangers();
        self.find_duplicate_pads();
        self.find_double_links();
        self.find_unjustified_pads();
        self.find_pads_before_the_end();
        self.find_pads_of_existing_candidates();
        self.links();
        self.find_orphans();
        self.cluster();
        self.lost();
        self.notes();
        self.tags();
    }

    fn add(&mut self, kind: Kind, what: String) {
        let what = format!("{}: {what}", self.rule.name);
        self.comparison.add(kind, &self.candidate.id, what);
    }

    fn existing_pads(&self) -> Vec<&PadRecord> {
        self.pads.iter().copied().filter(|pad| !pad.deleted).collect()
    }

    fn is_linked(&self, pad: &PadRecord) -> bool {
        self.candidate.links.contains(&pad.url)
    }

    fn linked(&self) -> Vec<&PadRecord> {
        self.existing_pads().into_iter().filter(|pad| self.is_linked(pad)).collect()
    }

    /// Reports whether a user deleted the Pad that the pad belonged to, so that it stays unchanged.
    fn is_released(&self, pad: &PadRecord) -> bool {
        let actions_of_people = &self.ledger.actions_of_people;
        let on_a_pad = || self.cluster_pads().any(|one| one.pad_id.as_ref() == Some(&pad.id));
        if actions_of_people.unattended.contains(&self.series_key()) && !on_a_pad() {
            return true;
        }
        let unlinks = self.rule.unlinks || actions_of_people.unlinked.contains(&self.series_key());
        unlinks && self.candidate.links_removed.contains(&pad.url) && !self.is_linked(pad)
    }

    fn series_key(&self) -> SeriesKey {
        (self.rule.name.clone(), self.candidate.id.clone())
    }

    fn was_deleted_by_user(&self) -> bool {
        self.ledger.actions_of_people.deletions.contains_key(&self.series_key())
    }

    /// Reports whether a restored Pad reports its own pad as one of another installation: nothing shows that the former
    /// connection was its own (contract I6).
    fn is_owned_elsewhere(&self) -> bool {
        let people = &self.ledger.actions_of_people;
        people.renamed
            && people.restored.contains(&self.series_key())
            && self.cluster_pads().any(|pad| pad.phase == "Skipped/OwnedByAnotherInstallation")
    }

    fn has_pads_by_hand(&self) -> bool {
        self.ledger.actions_of_people.applied.contains_key(&self.series_key())
    }

    fn is_replaced(&self) -> bool {
        self.ledger.actions_of_people.replaced.contains(&self.rule.name)
    }

    fn removed_at(&self, pad: &PadRecord) -> Option<i64> {
        self.ledger.actions_of_people.removed.get(&pad.id).copied()
    }

    /// Reports whether a person deleted one of these pads in CoderPad. The operator may not have detected that yet.
    fn has_removed(&self) -> bool {
        self.pads.iter().any(|pad| self.removed_at(pad).is_some())
    }

    fn cluster_pads(&self) -> impl Iterator<Item = &ClusterPad> {
        let is_ours =
            |pad: &&ClusterPad| pad.configuration == self.rule.name && pad.candidate == self.candidate.id;
        self.ledger.cluster.iter().filter(is_ours)
    }

    /// Each pad has a stage entry of this candidate, and the candidate had the tag.
    fn find_strangers(&mut self) {
        let entries = self.candidate.entries.iter().filter(|(stage, _)| *stage == self.rule.stage_id);
        let entries: BTreeSet<i64> = entries.map(|(_, at)| *at).collect();
        let is_by_hand = |pad: &PadRecord| {
            self.has_pads_by_hand() && reference(pad).is_some_and(|(_, entry)| entry.starts_with("by-hand-"))
        };
        let by_entry: Vec<_> = self.pads.iter().copied().filter(|pad| !is_by_hand(pad)).collect();
        for pad in by_entry {
            if !entries.contains(&entry(pad)) {
                self.add(Kind::Unknown, format!("pad {} has no stage entry: {}", pad.id, pad.notes));
            }
            if !self.candidate.tags_ever.contains(&self.rule.tag) {
                self.add(Kind::Unknown, format!("pad {} was created without the tag", pad.id));
            }
        }
    }

    /// Another pad is created only for an entry after the end of the previous one.
    fn find_duplicate_pads(&mut self) {
        let kept: Vec<_> =
            self.existing_pads().into_iter().filter(|pad| !self.is_released(pad)).cloned().collect();
        self.comparison.pads += kept.len();
        if self.has_pads_by_hand() {
            return;
        }
        for two in kept.windows(2) {
            let is_over = two[0].ended_at.is_some_and(|end| end - CLOCK_TOLERANCE_MS <= entry(&two[1]));
            if !is_over {
                self.add(
                    Kind::Duplicate,
                    format!("pad {} was created in addition to pad {}", two[1].id, two[0].id),
                );
            }
        }
    }

    /// At most one of the pads with the same reference was ever linked (contract X1, P9).
    fn find_double_links(&mut self) {
        let mut linked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for pad in self.pads.iter().filter(|pad| self.candidate.links_added.contains(&pad.url)) {
            let line = pad.notes.lines().next().unwrap_or_default();
            linked.entry(line).or_default().push(&pad.id);
        }
        let twice: Vec<String> = linked
            .iter()
            .filter(|(_, ids)| ids.len() > 1 && !self.is_replaced())
            .map(|(line, ids)| format!("{ids:?} were all linked: {line}"))
            .collect();
        twice.into_iter().for_each(|what| self.add(Kind::Duplicate, what));
    }

    /// No more pads are created than there are entries and requests of people.
    fn find_unjustified_pads(&mut self) {
        let entries = self.candidate.entries.iter().filter(|(stage, _)| *stage == self.rule.stage_id).count();
        let actions_of_people = &self.ledger.actions_of_people;
        let count = |of: &BTreeMap<SeriesKey, usize>| of.get(&self.series_key()).copied().unwrap_or_default();
        let most = entries
            + count(&actions_of_people.deletions)
            + count(&actions_of_people.applied)
            + usize::from(self.is_replaced());
        if self.pads.len() > most {
            let what = format!("{} pads were created, but at most {most} are justified", self.pads.len());
            self.add(Kind::Duplicate, what);
        }
    }

    /// A pad that a person deleted in CoderPad is not recreated for an earlier entry (contract E2).
    fn find_pads_before_the_end(&mut self) {
        let removed: Vec<(&PadRecord, i64)> =
            self.pads.iter().filter_map(|pad| Some((*pad, self.removed_at(pad)?))).collect();
        for (gone, at) in removed {
            let is_early = |pad: &&&PadRecord| {
                let entry = entry(pad);
                pad.id != gone.id && entry >= self::entry(gone).max(1) && entry + CLOCK_TOLERANCE_MS < at
            };
            let early: Vec<String> = self.pads.iter().filter(is_early).map(|pad| pad.id.clone()).collect();
            if !self.is_replaced() && !early.is_empty() {
                self.add(
                    Kind::Duplicate,
                    format!("{early:?} for an entry before pad {} was deleted", gone.id),
                );
            }
        }
    }

    /// For candidates who were in the stage before the configuration, only Pads created by sync exist (contract P10).
    fn find_pads_of_existing_candidates(&mut self) {
        let wrong: Vec<String> = self
            .cluster_pads()
            .filter(|pad| pad.is_before_configuration() && pad.source != "Sync")
            .map(|pad| format!("the Pad {} ({}) is {}", pad.name, pad.source, pad.phase))
            .collect();
        wrong.into_iter().for_each(|what| self.add(Kind::Lost, what));
    }

    fn links(&mut self) {
        self.comparison.links += self.linked().len();
        for pad in self.pads.clone() {
            let count = |links: &[String]| links.iter().filter(|link| **link == pad.url).count();
            let (there, added) = (count(&self.candidate.links), count(&self.candidate.links_added));
            // A Pad that is recreated may adopt the unlinked pad and link it again.
            if there > 1 || added > 1 + count(&self.candidate.links_removed) {
                let what = format!("the link {} exists {there} times, added {added} times", pad.url);
                self.add(Kind::Duplicate, what);
            }
            if there > 0 && pad.deleted && self.removed_at(pad).is_none() {
                self.add(Kind::Orphan, format!("the link {} points to a deleted pad", pad.url));
            }
        }
    }

    fn find_orphans(&mut self) {
        let is_held = |pad: &PadRecord| {
            let has = |one: &ClusterPad| one.pad_id.as_ref() == Some(&pad.id);
            self.is_linked(pad) || self.is_released(pad) || self.cluster_pads().any(has)
        };
        let left: Vec<String> =
            self.existing_pads().into_iter().filter(|pad| !is_held(pad)).map(|pad| pad.id.clone()).collect();
        for id in left {
            self.add(Kind::Orphan, format!("pad {id} is neither linked nor on a Pad"));
        }
    }

    /// Everything that the cluster reports exists.
    fn cluster(&mut self) {
        let linked: Vec<String> = self.linked().iter().map(|pad| pad.id.clone()).collect();
        let removed = &self.ledger.actions_of_people.removed;
        let is_there = |pad: &ClusterPad| {
            pad.pad_id.as_ref().is_some_and(|id| linked.contains(id) || removed.contains_key(id))
        };
        let wrong: Vec<String> = self
            .cluster_pads()
            .filter(|pad| pad.has_pad() && !is_there(pad))
            .map(|pad| {
                format!("the Pad {} is {}, but its pad {:?} is not linked", pad.name, pad.phase, pad.pad_id)
            })
            .collect();
        wrong.into_iter().for_each(|what| self.add(Kind::Lost, what));
        let open: Vec<String> = self
            .cluster_pads()
            .filter(|pad| pad.has_pad() && !pad.phase.starts_with("Ended"))
            .map(|pad| pad.name.clone())
            .collect();
        if open.len() > 1 && !self.has_pads_by_hand() {
            self.add(Kind::Duplicate, format!("{open:?} are all open"));
        }
    }

    /// An eligible candidate in the stage has a pad, a link and a Pad.
    fn lost(&mut self) {
        let candidate = self.candidate;
        let is_in = candidate.stage_id == self.rule.stage_id && candidate.tags.contains(&self.rule.tag);
        let last = candidate.entries.iter().rfind(|(stage, _)| *stage == self.rule.stage_id);
        let is_explained = self.was_deleted_by_user()
            || self.has_removed()
            || self.is_existing()
            || self.is_owned_elsewhere();
        let Some((_, entered)) = last.filter(|_| is_in && !is_explained) else { return };
        let stands = |pad: &&PadRecord| pad.ended_at.is_none_or(|end| *entered <= end + CLOCK_TOLERANCE_MS);
        let linked: Vec<&PadRecord> = self.linked().into_iter().filter(stands).collect();
        let on_a_pad = |pad: &&PadRecord| {
            self.cluster_pads().any(|one| one.has_pad() && one.pad_id.as_ref() == Some(&pad.id))
        };
        if !linked.iter().any(on_a_pad) {
            let pads: Vec<_> = self.cluster_pads().map(|pad| (&pad.name, &pad.phase)).collect();
            let ids: Vec<_> = linked.iter().map(|pad| &pad.id).collect();
            let what = format!("eligible since {entered}; linked pads {ids:?}, Pads {pads:?}");
            self.add(Kind::Lost, what);
        }
    }

    /// Reports whether the candidate was in the stage before the configuration took effect, and is Skipped for that.
    fn is_existing(&self) -> bool {
        let last = self.candidate.entries.iter().rfind(|(stage, _)| *stage == self.rule.stage_id);
        let is_before = last
            .zip(self.rule.effective_since)
            .is_some_and(|((_, entered), since)| *entered <= since + CLOCK_TOLERANCE_MS);
        is_before && self.cluster_pads().any(ClusterPad::is_before_configuration)
    }

    /// One note for each ended interview, with the reference as its last line.
    fn notes(&mut self) {
        for pad in self.pads.clone() {
            let Some((series, entry)) = reference(pad) else { continue };
            let reference = format!("padoperator.dev/{series}/{entry}");
            let ends_so =
                |note: &&String| note.lines().next_back().is_some_and(|line| line.ends_with(&reference));
            let printed: Vec<&String> = self.candidate.notes.iter().filter(ends_so).collect();
            // A released pad may have a successor for the same entry: each note names its pad.
            let count = printed.iter().filter(|note| note.contains(&format!("{}/", pad.url))).count();
            self.comparison.notes += count;
            if count > 1 {
                self.add(Kind::Duplicate, format!("{count} notes contain {reference}"));
            }
            let is_followed = self.cluster_pads().any(|one| one.pad_id.as_ref() == Some(&pad.id));
            let is_due = self.rule.notes && is_followed && pad.ended_at.is_some();
            let is_explained = pad.deleted || self.was_deleted_by_user() || self.is_owned_elsewhere();
            if count == 0 && is_due && !is_explained {
                self.add(
                    Kind::Lost,
                    format!("the interview of pad {} has ended, and no note says so", pad.id),
                );
            }
            if count > 0 && pad.ended_at.is_none() {
                self.add(Kind::Unknown, format!("a note about pad {}, which has not ended", pad.id));
            }
        }
    }

    /// The state of the newest pad determines which of the two tags is set.
    fn tags(&mut self) {
        let Some((ready, ended)) = &self.rule.tags else { return };
        let linked = self.linked();
        let is_explained = self.was_deleted_by_user()
            || self.has_removed()
            || self.has_pads_by_hand()
            || self.is_owned_elsewhere();
        let Some(newest) = linked.last().filter(|_| !is_explained) else { return };
        let has_ended = newest.ended_at.is_some();
        let has = |tag: &String| self.candidate.tags.contains(tag);
        // The pad may have been opened while there was no configuration that defined the tag.
        let opened_without = self.is_replaced() && !has_ended && !has(ended);
        if (has(ready) == has_ended && !opened_without) || (has_ended && !has(ended)) {
            let what = format!("ended: {has_ended}, but the tags are {:?}", self.candidate.tags);
            self.add(Kind::Lost, what);
        }
    }
}

/// Returns the stage entry of a pad.
fn entry(pad: &PadRecord) -> i64 {
    reference(pad).and_then(|(_, entry)| entry.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
