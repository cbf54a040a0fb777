//! The comparison of Lever's and CoderPad's books with the cluster: what is lost, twice, or left behind. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_lc_rs::digest;

/// Everything that is compared.
#[derive(Clone, Debug, Default)]
pub struct Books {
    pub namespace: String,
    pub rules: Vec<RuleBook>,
    pub candidates: Vec<CandidateBook>,
    /// Also those that are deleted.
    pub pads: Vec<PadBook>,
    pub cluster: Vec<ClusterPad>,
    pub people: People,
}

/// A configuration and a candidate.
pub type Whose = (String, String);

/// What people did that explains a difference.
#[derive(Clone, Debug, Default)]
pub struct People {
    /// How many Pads a user has deleted.
    pub deletions: BTreeMap<Whose, usize>,
    /// A user has deleted a Pad whose policy was Unlink.
    pub unlinked: BTreeSet<Whose>,
    /// How many Pads a user has applied.
    pub applied: BTreeMap<Whose, usize>,
    /// Ids of the pads that somebody has deleted in CoderPad, and when.
    pub removed: BTreeMap<String, i64>,
    /// Configurations that were deleted and applied again.
    pub replaced: BTreeSet<String>,
    /// A Pad of theirs was being deleted while there was no connection: its pad and its link stay.
    pub unattended: BTreeSet<Whose>,
    /// The connection was deleted and applied again under another name.
    pub renamed: bool,
}

/// A PadConfiguration.
#[derive(Clone, Debug, Default)]
pub struct RuleBook {
    pub name: String,
    pub stage_id: String,
    pub tag: String,
    /// Whether a deleted Pad takes its link along, and leaves the pad.
    pub unlinks: bool,
    /// Whether an interview's end is noted.
    pub notes: bool,
    /// Tags while a pad is open, and when it has ended.
    pub tags: Option<(String, String)>,
    /// status.effectiveSince, in milliseconds.
    pub effective_since: Option<i64>,
}

/// A candidate, as Lever has it.
#[derive(Clone, Debug, Default)]
pub struct CandidateBook {
    pub id: String,
    pub stage_id: String,
    /// Into which stage, and when (in milliseconds), oldest first.
    pub entries: Vec<(String, i64)>,
    pub tags: Vec<String>,
    /// The tags that the candidate has ever had.
    pub tags_ever: BTreeSet<String>,
    pub links: Vec<String>,
    /// The texts of the notes.
    pub notes: Vec<String>,
    /// Every link that was ever added or removed through the API, as often as that took effect.
    pub links_added: Vec<String>,
    pub links_removed: Vec<String>,
}

/// A pad, as CoderPad has it.
#[derive(Clone, Debug, Default)]
pub struct PadBook {
    pub id: String,
    pub url: String,
    pub notes: String,
    /// Made by somebody who is not the operator.
    pub create_pad_by_hand: bool,
    pub deleted: bool,
    /// In milliseconds.
    pub ended_at: Option<i64>,
}

/// A Pad, as the cluster has it.
#[derive(Clone, Debug, Default)]
pub struct ClusterPad {
    pub name: String,
    pub configuration: String,
    pub candidate: String,
    /// Such as `Open/Open`.
    pub phase: String,
    pub pad_id: Option<String>,
    /// Whether all that was asked of it is handled, and it is not being deleted.
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

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Somebody should have a pad, a link or a note, and has not.
    Lost,
    /// A pad, a link or a note is there twice.
    Duplicate,
    /// A pad that belongs to nobody any more.
    Left,
    /// Something that belongs to nobody and never did.
    Stranger,
    /// A Pad that is not at rest.
    Restless,
}

/// One thing that is wrong, about one candidate if there is one.
#[derive(Clone, Debug)]
pub struct Finding {
    pub kind: Kind,
    pub candidate: String,
    pub what: String,
}

/// The figures, and all that is wrong.
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
            "pads {}, links {}, notes {}, lost {}, duplicate {}, left {}, stranger {}, restless {}",
            self.pads,
            self.links,
            self.notes,
            count(Kind::Lost),
            count(Kind::Duplicate),
            count(Kind::Left),
            count(Kind::Stranger),
            count(Kind::Restless),
        )
    }
}

/// CoderPad tells times in whole seconds: whether an entry was before or after an end within one is not known.
const CLOCK_TOLERANCE_MS: i64 = 1000;

/// The 32 hex digits that the contract gives the pads of a configuration and a candidate.
pub fn series(namespace: &str, rule: &str, candidate: &str) -> String {
    let text = format!("{namespace}/{rule}/{candidate}");
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Series and entry, as the first line of a pad's notes says them.
fn reference(pad: &PadBook) -> Option<(&str, &str)> {
    let line = pad.notes.lines().next()?;
    line.strip_prefix("Reference: padoperator.dev/")?.trim().split_once('/')
}

/// Compares them.
pub fn compare(books: &Books) -> Comparison {
    let mut comparison = Comparison::default();
    let mut of_series: BTreeMap<&str, Vec<&PadBook>> = BTreeMap::new();
    for pad in books.pads.iter().filter(|pad| !pad.create_pad_by_hand) {
        match reference(pad) {
            Some((series, _)) => of_series.entry(series).or_default().push(pad),
            None => comparison.add(Kind::Stranger, "", format!("pad {} has no reference", pad.id)),
        }
    }
    for candidate in &books.candidates {
        let mut urls = BTreeSet::new();
        for rule in &books.rules {
            let pads = of_series.remove(series(&books.namespace, &rule.name, &candidate.id).as_str());
            let pads = pads.unwrap_or_default();
            urls.extend(pads.iter().map(|pad| &pad.url));
            Pair { books, rule, candidate, pads, comparison: &mut comparison }.compare();
        }
        for link in candidate.links.iter().chain(&candidate.links_added) {
            if !urls.contains(link) {
                let what = format!("has the link {link}, which is none of this candidate's pads");
                comparison.add(Kind::Stranger, &candidate.id, what);
            }
        }
    }
    for pad in of_series.into_values().flatten() {
        comparison.add(Kind::Stranger, "", format!("pad {} is of no known candidate: {}", pad.id, pad.notes));
    }
    for pad in &books.cluster {
        if !pad.at_rest && !waits_for_decision(books, pad) {
            let what = format!("the Pad {} is not at rest: {}", pad.name, pad.phase);
            comparison.add(Kind::Restless, &pad.candidate, what);
        }
    }
    comparison
}

/// Whether a person has to decide about a Pad: its pad is not found, and its connection has another name by now, so it
/// may be another account.
fn waits_for_decision(books: &Books, pad: &ClusterPad) -> bool {
    let is_removed = pad.pad_id.as_ref().is_some_and(|id| books.people.removed.contains_key(id));
    books.people.renamed && is_removed && pad.phase == "Pending/ConfigurationNotFound"
}

impl Comparison {
    fn add(&mut self, kind: Kind, candidate: &str, what: String) {
        self.findings.push(Finding { kind, candidate: candidate.to_owned(), what });
    }
}

/// One candidate and one configuration.
struct Pair<'a> {
    books: &'a Books,
    rule: &'a RuleBook,
    candidate: &'a CandidateBook,
    /// Their pads, also those that are deleted.
    pads: Vec<&'a PadBook>,
    comparison: &'a mut Comparison,
}

impl Pair<'_> {
    fn compare(mut self) {
        self.pads.sort_by_key(|pad| entry(pad));
        self.strangers();
        self.pads_twice();
        self.linked_twice();
        self.too_many();
        self.before_the_end();
        self.not_before();
        self.links();
        self.left_behind();
        self.cluster();
        self.lost();
        self.notes();
        self.tags();
    }

    fn add(&mut self, kind: Kind, what: String) {
        let what = format!("{}: {what}", self.rule.name);
        self.comparison.add(kind, &self.candidate.id, what);
    }

    fn living(&self) -> Vec<&PadBook> {
        self.pads.iter().copied().filter(|pad| !pad.deleted).collect()
    }

    fn is_linked(&self, pad: &PadBook) -> bool {
        self.candidate.links.contains(&pad.url)
    }

    fn linked(&self) -> Vec<&PadBook> {
        self.living().into_iter().filter(|pad| self.is_linked(pad)).collect()
    }

    /// Whether the Pad that it belonged to was deleted by a user, and so it stays as it is.
    fn is_released(&self, pad: &PadBook) -> bool {
        let people = &self.books.people;
        let on_a_pad = || self.cluster_pads().any(|one| one.pad_id.as_ref() == Some(&pad.id));
        if people.unattended.contains(&self.whose()) && !on_a_pad() {
            return true;
        }
        let unlinks = self.rule.unlinks || people.unlinked.contains(&self.whose());
        unlinks && self.candidate.links_removed.contains(&pad.url) && !self.is_linked(pad)
    }

    fn whose(&self) -> Whose {
        (self.rule.name.clone(), self.candidate.id.clone())
    }

    fn was_deleted_by_user(&self) -> bool {
        self.books.people.deletions.contains_key(&self.whose())
    }

    fn has_pads_by_hand(&self) -> bool {
        self.books.people.applied.contains_key(&self.whose())
    }

    fn is_replaced(&self) -> bool {
        self.books.people.replaced.contains(&self.rule.name)
    }

    fn removed_at(&self, pad: &PadBook) -> Option<i64> {
        self.books.people.removed.get(&pad.id).copied()
    }

    /// Whether somebody has deleted a pad of theirs in CoderPad. The operator may not have found that yet.
    fn has_removed(&self) -> bool {
        self.pads.iter().any(|pad| self.removed_at(pad).is_some())
    }

    fn cluster_pads(&self) -> impl Iterator<Item = &ClusterPad> {
        let is_ours =
            |pad: &&ClusterPad| pad.configuration == self.rule.name && pad.candidate == self.candidate.id;
        self.books.cluster.iter().filter(is_ours)
    }

    /// A pad stands for an entry of this candidate into the stage, and the candidate had the tag.
    fn strangers(&mut self) {
        let entries = self.candidate.entries.iter().filter(|(stage, _)| *stage == self.rule.stage_id);
        let entries: BTreeSet<i64> = entries.map(|(_, at)| *at).collect();
        let is_by_hand = |pad: &PadBook| {
            self.has_pads_by_hand() && reference(pad).is_some_and(|(_, entry)| entry.starts_with("by-hand-"))
        };
        let by_entry: Vec<_> = self.pads.iter().copied().filter(|pad| !is_by_hand(pad)).collect();
        for pad in by_entry {
            if !entries.contains(&entry(pad)) {
                self.add(Kind::Stranger, format!("pad {} stands for no entry: {}", pad.id, pad.notes));
            }
            if !self.candidate.tags_ever.contains(&self.rule.tag) {
                self.add(Kind::Stranger, format!("pad {}, and the tag was never there", pad.id));
            }
        }
    }

    /// A further pad is made only for an entry after the end of the one before.
    fn pads_twice(&mut self) {
        let kept: Vec<_> = self.living().into_iter().filter(|pad| !self.is_released(pad)).cloned().collect();
        self.comparison.pads += kept.len();
        if self.has_pads_by_hand() {
            return;
        }
        for two in kept.windows(2) {
            let is_over = two[0].ended_at.is_some_and(|end| end - CLOCK_TOLERANCE_MS <= entry(&two[1]));
            if !is_over {
                self.add(Kind::Duplicate, format!("pad {} is made beside pad {}", two[1].id, two[0].id));
            }
        }
    }

    /// Of the pads of one reference, at most one was ever linked (contract X1, P9).
    fn linked_twice(&mut self) {
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

    /// No more pads are created than there are entries, and requests of people.
    fn too_many(&mut self) {
        let entries = self.candidate.entries.iter().filter(|(stage, _)| *stage == self.rule.stage_id).count();
        let people = &self.books.people;
        let count = |of: &BTreeMap<Whose, usize>| of.get(&self.whose()).copied().unwrap_or_default();
        let most =
            entries + count(&people.deletions) + count(&people.applied) + usize::from(self.is_replaced());
        if self.pads.len() > most {
            let what = format!("{} pads were created, and there are causes for {most}", self.pads.len());
            self.add(Kind::Duplicate, what);
        }
    }

    /// A pad that somebody deleted in CoderPad is not created again for an entry until then (contract E2).
    fn before_the_end(&mut self) {
        let removed: Vec<(&PadBook, i64)> =
            self.pads.iter().filter_map(|pad| Some((*pad, self.removed_at(pad)?))).collect();
        for (gone, at) in removed {
            let is_early = |pad: &&&PadBook| {
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

    /// Only Pads that sync creates are for candidates who were there before the configuration (contract P10).
    fn not_before(&mut self) {
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
            // A Pad that comes back after its deletion may find the pad that was unlinked, and link it again.
            if there > 1 || added > 1 + count(&self.candidate.links_removed) {
                let what = format!("the link {} is there {there} times, added {added} times", pad.url);
                self.add(Kind::Duplicate, what);
            }
            if there > 0 && pad.deleted && self.removed_at(pad).is_none() {
                self.add(Kind::Left, format!("the link {} leads to a deleted pad", pad.url));
            }
        }
    }

    fn left_behind(&mut self) {
        let is_held = |pad: &PadBook| {
            let has = |one: &ClusterPad| one.pad_id.as_ref() == Some(&pad.id);
            self.is_linked(pad) || self.is_released(pad) || self.cluster_pads().any(has)
        };
        let left: Vec<String> =
            self.living().into_iter().filter(|pad| !is_held(pad)).map(|pad| pad.id.clone()).collect();
        for id in left {
            self.add(Kind::Left, format!("pad {id} is neither linked nor on a Pad"));
        }
    }

    /// What the cluster says is there, is there.
    fn cluster(&mut self) {
        let linked: Vec<String> = self.linked().iter().map(|pad| pad.id.clone()).collect();
        let removed = &self.books.people.removed;
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

    /// Who is in the stage with the tag has a pad, a link, and a Pad.
    fn lost(&mut self) {
        let candidate = self.candidate;
        let is_in = candidate.stage_id == self.rule.stage_id && candidate.tags.contains(&self.rule.tag);
        let last = candidate.entries.iter().rfind(|(stage, _)| *stage == self.rule.stage_id);
        let is_explained = self.was_deleted_by_user() || self.has_removed() || self.is_existing();
        let Some((_, entered)) = last.filter(|_| is_in && !is_explained) else { return };
        let stands = |pad: &&PadBook| pad.ended_at.is_none_or(|end| *entered <= end + CLOCK_TOLERANCE_MS);
        let linked: Vec<&PadBook> = self.linked().into_iter().filter(stands).collect();
        let on_a_pad = |pad: &&PadBook| {
            self.cluster_pads().any(|one| one.has_pad() && one.pad_id.as_ref() == Some(&pad.id))
        };
        if !linked.iter().any(on_a_pad) {
            let pads: Vec<_> = self.cluster_pads().map(|pad| (&pad.name, &pad.phase)).collect();
            let ids: Vec<_> = linked.iter().map(|pad| &pad.id).collect();
            let what = format!("qualifies since {entered}; linked pads {ids:?}, Pads {pads:?}");
            self.add(Kind::Lost, what);
        }
    }

    /// Whether the candidate was in the stage before the configuration took effect, and is Skipped for that.
    fn is_existing(&self) -> bool {
        let last = self.candidate.entries.iter().rfind(|(stage, _)| *stage == self.rule.stage_id);
        let is_before = last
            .zip(self.rule.effective_since)
            .is_some_and(|((_, entered), since)| *entered <= since + CLOCK_TOLERANCE_MS);
        is_before && self.cluster_pads().any(ClusterPad::is_before_configuration)
    }

    /// One note for each interview that has ended, with the reference as its last line.
    fn notes(&mut self) {
        for pad in self.pads.clone() {
            let Some((series, entry)) = reference(pad) else { continue };
            let reference = format!("padoperator.dev/{series}/{entry}");
            let ends_so =
                |note: &&String| note.lines().next_back().is_some_and(|line| line.ends_with(&reference));
            let said: Vec<&String> = self.candidate.notes.iter().filter(ends_so).collect();
            // A pad that was let go may have a successor for the same entry: each note names its pad.
            let count = said.iter().filter(|note| note.contains(&format!("{}/", pad.url))).count();
            self.comparison.notes += count;
            if count > 1 {
                self.add(Kind::Duplicate, format!("{count} notes say {reference}"));
            }
            let is_followed = self.cluster_pads().any(|one| one.pad_id.as_ref() == Some(&pad.id));
            let is_due = self.rule.notes && is_followed && pad.ended_at.is_some();
            if count == 0 && is_due && !pad.deleted && !self.was_deleted_by_user() {
                self.add(
                    Kind::Lost,
                    format!("the interview of pad {} has ended, and no note says so", pad.id),
                );
            }
            if count > 0 && pad.ended_at.is_none() {
                self.add(Kind::Stranger, format!("a note on pad {}, which has not ended", pad.id));
            }
        }
    }

    /// The newest pad says which of the two tags is there.
    fn tags(&mut self) {
        let Some((ready, ended)) = &self.rule.tags else { return };
        let linked = self.linked();
        let is_explained = self.was_deleted_by_user() || self.has_removed() || self.has_pads_by_hand();
        let Some(newest) = linked.last().filter(|_| !is_explained) else { return };
        let has_ended = newest.ended_at.is_some();
        let has = |tag: &String| self.candidate.tags.contains(tag);
        // The pad may have opened while there was no configuration to say which tag.
        let opened_without = self.is_replaced() && !has_ended && !has(ended);
        if (has(ready) == has_ended && !opened_without) || (has_ended && !has(ended)) {
            let what = format!("ended: {has_ended}, and the tags are {:?}", self.candidate.tags);
            self.add(Kind::Lost, what);
        }
    }
}

/// The stage entry that a pad stands for.
fn entry(pad: &PadBook) -> i64 {
    reference(pad).and_then(|(_, entry)| entry.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
