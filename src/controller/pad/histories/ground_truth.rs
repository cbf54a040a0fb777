//! The events of a history, recorded separately from the values that the operator stores, and the rules that the
//! operator must keep.

use std::collections::{BTreeMap, BTreeSet};

/// A rule that a history broke.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Broken {
    /// A second pad was created or linked for an entry (contract X1, P9).
    Twice,
    /// A pad was created for an entry before the end of the earlier pad (contract P3, E2).
    BeforeEnd,
    /// A pad was created for a candidate who was in the stage before the rule took effect (contract P5, P9).
    Before,
    /// A Pad is `BeforeConfiguration` although it must not be (contract P10).
    NotBefore,
    /// A pad was created for an entry that a person had cancelled (contract E6, P3b).
    Cancelled,
    /// The requests or writes do not end, or outnumber their causes.
    Restless,
    /// A Pad does not continue although the cause of its wait or failure is resolved, or an entry gets no pad.
    Stuck,
}

/// A pad that CoderPad created.
#[derive(Clone, Debug)]
struct Made {
    id: String,
    configuration: usize,
    /// UID of the Pad for which it was created.
    owner: String,
    /// The stage entry; None if a person created the Pad.
    entry: Option<i64>,
    reference: String,
    is_linked: bool,
    /// Time by Lever's clock at which the pad ended according to CoderPad, the pad was deleted, or its Pad was deleted.
    over_at: Option<i64>,
    /// Whether a person has deleted it in CoderPad.
    is_gone: bool,
    /// Whether a person has deleted its Pad with the policy Retain.
    is_let_go: bool,
    /// Whether sync has found the candidate with this pad and in this entry.
    is_noted: bool,
}

impl Made {
    /// Reports whether no record of the owner is left: the Pad and the pad were deleted before a sync could store the
    /// entry. Neither has a finalizer, and the link of the pad is dead.
    fn is_forgotten(&self, entry: i64) -> bool {
        self.is_gone && self.is_let_go && !(self.is_noted && self.entry == Some(entry))
    }
}

/// An occasion on which a rule took effect while the candidate was in the stage with the tag.
#[derive(Clone, Debug)]
struct There {
    configuration: usize,
    since: i64,
    entry: i64,
    /// Whether sync has found the candidate since then.
    is_found: bool,
}

/// The events so far, and the broken rules.
#[derive(Debug, Default)]
pub struct Truth {
    pub broken: Vec<(Broken, String)>,
    pub entries: usize,
    pub by_hand: usize,
    pub requests: usize,
    pub deletions: usize,
    pub changes: usize,
    pub posts: usize,
    /// UIDs of the Pads that sync created for existing candidates.
    pub existing: BTreeSet<String>,
    made: Vec<Made>,
    /// People's requests that a pass has answered: configuration and entry.
    answered: Vec<(usize, i64)>,
    /// Cancelled Pads: configuration, entry, UID of the Pad.
    cancelled: Vec<(usize, i64, String)>,
    /// Configurations with a Pad that a person has ended.
    ends: BTreeSet<usize>,
    /// Entries that were `BeforeConfiguration`: configuration, `effectiveSince`, entry.
    before: Vec<(usize, i64, i64)>,
    there: Vec<There>,
    /// Each application of a configuration, with its time by Lever's clock.
    applied: Vec<(usize, i64)>,
    /// UID of each failed Pad, with the UID of the configuration with which it failed last.
    failed: BTreeMap<String, String>,
}

/// A request to create a pad.
pub struct Post<'a> {
    pub configuration: usize,
    pub owner: &'a str,
    pub entry: Option<i64>,
    /// Whether a person requested the pad in this pass.
    pub is_asked: bool,
    /// Whether sync created its Pad.
    pub is_by_sync: bool,
    pub since: Option<i64>,
    pub is_always: bool,
    /// UIDs of all Pads.
    pub present: &'a BTreeSet<String>,
}

impl Truth {
    pub fn fails(&mut self, rule: Broken, message: impl Into<String>) {
        self.broken.push((rule, message.into()));
    }

    pub fn cancelled(&mut self, configuration: usize, entry: i64, uid: String) {
        self.cancelled.push((configuration, entry, uid));
    }

    pub fn has_ended_one(&self, configuration: usize) -> bool {
        self.ends.contains(&configuration)
    }

    pub fn end(&mut self, configuration: usize) {
        self.ends.insert(configuration);
    }

    pub fn applied(&mut self, configuration: usize, at: i64) {
        self.applied.push((configuration, at));
    }

    pub fn failed(&mut self, uid: String, configuration: String) {
        self.failed.insert(uid, configuration);
    }

    pub fn failed_with(&self, uid: &str) -> Option<&str> {
        self.failed.get(uid).map(String::as_str)
    }

    pub fn answered(&mut self, configuration: usize, entry: i64) {
        self.answered.push((configuration, entry));
    }

    pub fn is_before(&mut self, configuration: usize, since: i64, entry: i64) {
        if !self.before.contains(&(configuration, since, entry)) {
            self.before.push((configuration, since, entry));
        }
    }

    pub fn took_effect(&mut self, configuration: usize, since: i64, entry: i64) {
        self.there.push(There { configuration, since, entry, is_found: false });
    }

    /// Records that the candidate is no longer in the stage with the tag.
    pub fn left(&mut self, configuration: usize) {
        self.there.retain(|there| there.configuration != configuration || there.is_found);
    }

    /// Records the first complete scan of sync for the rule. `is_alone` reports whether the candidate had no Pad.
    pub fn found(&mut self, configuration: usize, since: i64, is_alone: bool) {
        for there in &mut self.there {
            there.is_found |= is_alone && there.configuration == configuration && there.since == since;
        }
        self.there.retain(|there| there.is_found || there.configuration != configuration);
    }

    fn is_asked(&self, configuration: usize, entry: i64) -> usize {
        self.answered.iter().filter(|(of, asked)| *of == configuration && *asked >= entry).count()
    }

    /// Returns the number of times a person applied the configuration again. Each time, its list of served entries is
    /// lost.
    fn is_applied_again(&self, configuration: usize) -> usize {
        self.applied.iter().filter(|(of, _)| *of == configuration).count().saturating_sub(1)
    }

    pub fn posted(&mut self, post: &Post<'_>) {
        self.posts += 1;
        let Some(entry) = post.entry else { return };
        let number = post.configuration;
        if post.is_asked {
            self.answered(number, entry);
        }
        if self.is_asked(number, entry) > 0 {
            return;
        }
        let is_covered = |made: &&Made| {
            let is_kept = self.is_applied_again(number) == 0 || post.present.contains(&made.owner);
            let is_kept = is_kept && !made.is_forgotten(entry);
            let is_same = made.entry == Some(entry);
            let is_in_time = !post.is_always
                && made.over_at.is_none_or(|at| entry <= made.entry.map_or(at, |own| at.max(own)));
            made.configuration == number && made.is_linked && is_kept && (is_same || is_in_time)
        };
        if let Some(made) = self.made.iter().find(is_covered) {
            let rule = if made.entry == Some(entry) { Broken::Twice } else { Broken::BeforeEnd };
            let message = format!("a pad for entry {entry} of {number}, though {made:?}");
            return self.fails(rule, message);
        }
        let is_cancelled = |(of, cancelled, uid): &&(usize, i64, String)| {
            *of == number && entry <= *cancelled && post.present.contains(uid)
        };
        if let Some(cancelled) = self.cancelled.iter().find(is_cancelled) {
            let message = format!("a pad for entry {entry} of {number}, though {cancelled:?}");
            return self.fails(Broken::Cancelled, message);
        }
        let was_before = self
            .before
            .iter()
            .any(|(of, since, before)| *of == number && Some(*since) == post.since && entry <= *before);
        let was_there = post.is_by_sync
            && self.there.iter().any(|there| {
                there.is_found
                    && there.configuration == number
                    && Some(there.since) == post.since
                    && entry <= there.entry
            });
        if was_before || was_there {
            self.fails(
                Broken::Before,
                format!("a pad for entry {entry} of {number}, since {:?}", post.since),
            );
        }
    }

    pub fn record_creation(&mut self, post: &Post<'_>, id: &str, reference: String) {
        self.made.push(Made {
            id: id.into(),
            configuration: post.configuration,
            owner: post.owner.into(),
            entry: post.entry,
            reference,
            is_linked: false,
            over_at: None,
            is_gone: false,
            is_let_go: false,
            is_noted: false,
        });
    }

    pub fn linked(&mut self, id: &str) {
        let Some(made) = self.made.iter_mut().find(|made| made.id == id) else { return };
        made.is_linked = true;
        let Some((entry, reference)) = made.entry.zip(Some(made.reference.clone())) else { return };
        let number = made.configuration;
        let is_one =
            |made: &&Made| made.is_linked && made.reference == reference && !made.is_forgotten(entry);
        let linked = self.made.iter().filter(is_one).count();
        if linked > 1 + self.is_asked(number, entry) + self.is_applied_again(number) {
            self.fails(Broken::Twice, format!("{linked} pads were linked for entry {entry} of {number}"));
        }
    }

    pub fn ended(&mut self, id: &str, at: i64) {
        self.over(|made| made.id == id, at);
    }

    pub fn gone(&mut self, id: &str, at: i64) {
        self.over(|made| made.id == id, at);
        self.made.iter_mut().filter(|made| made.id == id).for_each(|made| made.is_gone = true);
    }

    pub fn pad_deleted(&mut self, uid: &str, is_retained: bool, at: i64) {
        self.over(|made| made.owner == uid, at);
        self.made.iter_mut().filter(|made| made.owner == uid).for_each(|made| made.is_let_go = is_retained);
    }

    /// Records that sync has found the candidate with the pad of this Pad.
    pub fn noted(&mut self, uid: &str, entry: i64) {
        let of = |made: &&mut Made| made.owner == uid && made.entry == Some(entry);
        self.made.iter_mut().filter(of).for_each(|made| made.is_noted = true);
    }

    fn over(&mut self, which: impl Fn(&Made) -> bool, at: i64) {
        for made in self.made.iter_mut().filter(|made| which(made)) {
            made.over_at = made.over_at.or(Some(at));
        }
    }

    /// Reports whether an entry certainly requires a pad: no person deleted, cancelled or replaced anything, the rule
    /// took effect before the entry, and no other pad covers it.
    pub fn deserves(&self, configuration: usize, entry: i64, since: i64, skew: i64) -> bool {
        let covers = |made: &Made| {
            made.configuration == configuration
                && (made.is_gone
                    || made
                        .over_at
                        .is_none_or(|at| entry <= at.max(made.entry.unwrap_or(at)) + skew.abs() + 1000))
        };
        self.deletions == 0
            && self.is_applied_again(configuration) == 0
            && entry > since + skew.abs()
            && !self.ends.contains(&configuration)
            && !self.made.iter().any(covers)
    }

    /// Returns the maximum number of requests to create a pad for which the history contains causes.
    pub fn most_posts(&self, configurations: usize) -> usize {
        (configurations * (self.entries + 1) + self.by_hand + self.deletions) * (1 + self.changes)
            + self.requests
    }
}
