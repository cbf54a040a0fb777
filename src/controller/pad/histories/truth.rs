//! The events of a history, apart from anything that the operator stores, and the rules that it must keep.

use std::collections::{BTreeMap, BTreeSet};

/// A rule that a history broke.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Broken {
    /// A second pad was created or linked for an entry (contract X1, P9).
    Twice,
    /// A pad for an entry before the end of the one that was there (contract P3, E2).
    BeforeEnd,
    /// A pad for a candidate who was there before the rule took effect (contract P5, P9).
    Before,
    /// A Pad that cannot be `BeforeConfiguration` is (contract P10).
    NotBefore,
    /// A pad after a person had called it off (contract E6, P3b).
    Cancelled,
    /// Calls or writes without end, or more than there are causes for.
    Restless,
    /// A Pad does not continue although its cause is gone, or an entry gets no pad.
    Stuck,
}

/// A pad that CoderPad created.
#[derive(Clone, Debug)]
struct Made {
    id: String,
    configuration: usize,
    /// The Pad that it was created for, by uid.
    owner: String,
    /// The stage entry; None: of a Pad by hand.
    entry: Option<i64>,
    reference: String,
    is_linked: bool,
    /// When it ended as CoderPad says, or was deleted, or its Pad was, by Lever's clock.
    over_at: Option<i64>,
    /// Whether a person has deleted it in CoderPad.
    is_gone: bool,
    /// Whether a person has deleted its Pad with the policy Retain.
    is_let_go: bool,
    /// Whether sync has found the candidate with this pad and in this entry.
    is_noted: bool,
}

impl Made {
    /// Whether nothing is left that says whose it was: Pad and pad were deleted before a sync could store the entry.
    /// Neither has a finalizer, and its link leads nowhere.
    fn is_forgotten(&self, entry: i64) -> bool {
        self.is_gone && self.is_let_go && !(self.is_noted && self.entry == Some(entry))
    }
}

/// A rule took effect while the candidate was in the stage with the tag.
#[derive(Clone, Debug)]
struct There {
    configuration: usize,
    since: i64,
    entry: i64,
    /// Whether sync has found the candidate since.
    is_found: bool,
}

/// The events so far, and the rules that they broke.
#[derive(Debug, Default)]
pub struct Truth {
    pub broken: Vec<(Broken, String)>,
    pub entries: usize,
    pub by_hand: usize,
    pub requests: usize,
    pub deletions: usize,
    pub changes: usize,
    pub posts: usize,
    /// Pads that sync created for candidates who were there before, by uid.
    pub existing: BTreeSet<String>,
    made: Vec<Made>,
    /// Requests of persons that a pass has answered: configuration and entry.
    answered: Vec<(usize, i64)>,
    /// Configuration, entry, uid of the Pad.
    cancelled: Vec<(usize, i64, String)>,
    /// Configurations of which a person has ended a Pad.
    ends: BTreeSet<usize>,
    /// Configuration, effectiveSince, entry.
    before: Vec<(usize, i64, i64)>,
    there: Vec<There>,
    /// Configuration, and when it was applied, by Lever's clock.
    applied: Vec<(usize, i64)>,
    /// The uid of each Pad that failed, and of the configuration with which it last did.
    failed: BTreeMap<String, String>,
}

/// One request to create a pad.
pub struct Post<'a> {
    pub configuration: usize,
    pub owner: &'a str,
    pub entry: Option<i64>,
    /// Whether a person asks for it in this pass.
    pub is_asked: bool,
    /// Whether sync created its Pad.
    pub is_by_sync: bool,
    pub since: Option<i64>,
    pub is_always: bool,
    /// The uids of all Pads.
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

    /// The candidate is no longer in the stage with the tag.
    pub fn left(&mut self, configuration: usize) {
        self.there.retain(|there| there.configuration != configuration || there.is_found);
    }

    /// Sync has made its first complete scan for the rule; `is_alone`: the candidate had no Pad.
    pub fn found(&mut self, configuration: usize, since: i64, is_alone: bool) {
        for there in &mut self.there {
            there.is_found |= is_alone && there.configuration == configuration && there.since == since;
        }
        self.there.retain(|there| there.is_found || there.configuration != configuration);
    }

    fn is_asked(&self, configuration: usize, entry: i64) -> usize {
        self.answered.iter().filter(|(of, asked)| *of == configuration && *asked >= entry).count()
    }

    /// A person applied the configuration again since then. Its memory of entries is gone.
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

    pub fn made(&mut self, post: &Post<'_>, id: &str, reference: String) {
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

    /// Sync has found the candidate with the pad of this Pad.
    pub fn noted(&mut self, uid: &str, entry: i64) {
        let of = |made: &&mut Made| made.owner == uid && made.entry == Some(entry);
        self.made.iter_mut().filter(of).for_each(|made| made.is_noted = true);
    }

    fn over(&mut self, which: impl Fn(&Made) -> bool, at: i64) {
        for made in self.made.iter_mut().filter(|made| which(made)) {
            made.over_at = made.over_at.or(Some(at));
        }
    }

    /// Whether an entry is one that surely asks for a pad: nobody deleted, cancelled or replaced anything, the rule was
    /// in effect before, and no other pad covers it.
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

    /// Most requests to create a pad that the history gives causes for.
    pub fn most_posts(&self, configurations: usize) -> usize {
        (configurations * (self.entries + 1) + self.by_hand + self.deletions) * (1 + self.changes)
            + self.requests
    }
}
