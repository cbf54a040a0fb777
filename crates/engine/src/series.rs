//! Rules for repeated stage entries: decides whether a candidate gets another pad (contract P3). Used by the rules, and
//! by sync before it adds hints.
//!
//! A series is all Pads of one candidate and one configuration. Each Pad that has a pad or is about to get one may
//! serve a stage entry; an entry that none serves requires a pad. Repeated, late or reordered deliveries lead to the
//! same entry, and therefore to the same decision.

use api::configuration::Repeat;
use api::names::{self, CreateIntent};
use api::pad::{Pad, Phase};
use api::reason::Reason;
use jiff::Timestamp;
use kube::ResourceExt;

/// One Pad of a series.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SeriesMember {
    /// Its name.
    pub name: String,
    /// The number at the end of its name; `None` for a manually chosen name.
    pub number: Option<u32>,
    /// Creation time of the Pad.
    pub created_at: Timestamp,
    /// The ID of its pad in CoderPad.
    pub pad_id: Option<String>,
    /// Its progress.
    pub progress: Progress,
}

/// Progress of a Pad.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// It is not decided yet, or its pad is being created: it serves any entry meanwhile.
    InProgress,
    /// It has a pad whose interview has not ended.
    Open {
        /// The stage entry that it serves.
        entry: Timestamp,
    },
    /// Its interview has ended, or it was cancelled.
    Ended {
        /// The stage entry that it serves.
        entry: Timestamp,
        /// Time of the end.
        at: Timestamp,
    },
    /// It has no pad and does not count: it is reopened before another one is created.
    NotCounted,
}

/// Decision on a stage entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RepeatDecision {
    /// The entry is served: no pad.
    NoPad,
    /// Judge the Pad of this name again.
    Judge(String),
    /// Create another Pad with this number.
    Create(u32),
}

impl SeriesMember {
    /// Derives the series member of a Pad.
    pub fn from_pad(pad: &Pad) -> Self {
        let name = pad.name_any();
        let created_at = pad.metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default();
        let number = names::pad_number(&name, &pad.spec.configuration_ref.name, &pad.spec.opportunity_id);
        let pad_id = pad.annotations().get(names::PAD_ID).cloned();
        Self { name, number, created_at, pad_id, progress: progress_of(pad, created_at) }
    }

    /// Reports whether it has or had its pad.
    pub fn is_served(&self) -> bool {
        matches!(self.progress, Progress::Open { .. } | Progress::Ended { .. })
    }

    /// Reports whether it has a pad whose interview has not ended.
    pub fn is_open(&self) -> bool {
        matches!(self.progress, Progress::Open { .. })
    }

    /// Reports whether this Pad already serves an entry.
    pub fn serves(&self, entry: Timestamp, repeat: Repeat) -> bool {
        match (self.progress, repeat) {
            (Progress::NotCounted, _) => false,
            (Progress::InProgress, _) | (_, Repeat::Never) | (Progress::Open { .. }, Repeat::AfterEnd) => {
                true
            }
            // CoderPad reports the end in whole seconds, so it may be earlier than the entry of the pad itself.
            (Progress::Ended { entry: own, at }, Repeat::AfterEnd) => entry <= at.max(own),
            (Progress::Open { entry: own } | Progress::Ended { entry: own, .. }, Repeat::Always) => {
                entry <= own
            }
        }
    }
}

fn progress_of(pad: &Pad, created_at: Timestamp) -> Progress {
    let status = pad.status.as_ref();
    let since = || pad.phase_since().unwrap_or(created_at);
    let judged_entry = status.and_then(|status| status.judged_entry_at);
    let entry = status.and_then(|status| status.entry_at).unwrap_or(created_at);
    let annotation = |key: &str| pad.annotations().get(key);
    let is_in_the_making = annotation(names::PAD_ID).is_some()
        || annotation(names::ATTEMPT).is_some_and(|text| CreateIntent::parse(text).is_some());
    match pad.phase() {
        None | Some(Phase::Pending) => Progress::InProgress,
        Some(Phase::Open | Phase::Started) => Progress::Open { entry },
        Some(Phase::Ended) => {
            // CoderPad does not report when a pad was deleted. The candidate's last entry at that time replaces it (E2).
            let ended_at = status.and_then(|status| status.ended_at).max(judged_entry);
            Progress::Ended { entry, at: ended_at.unwrap_or_else(since) }
        }
        // A cancellation is final: only a later entry gets another pad.
        Some(Phase::Skipped)
            if status.and_then(|status| status.reason.as_deref()) == Some(Reason::Cancelled.as_str()) =>
        {
            let entry = judged_entry.unwrap_or_else(since);
            Progress::Ended { entry, at: entry }
        }
        Some(Phase::Failed) if is_in_the_making => Progress::InProgress,
        Some(Phase::Skipped | Phase::Failed) => Progress::NotCounted,
    }
}

/// Returns the decision on a stage entry, given the Pads of the series that are not being deleted.
pub fn repeat_decision(series: &[SeriesMember], entry: Timestamp, repeat: Repeat) -> RepeatDecision {
    if series.iter().any(|member| member.serves(entry, repeat)) {
        return RepeatDecision::NoPad;
    }
    let void = series.iter().filter(|member| member.progress == Progress::NotCounted);
    if let Some(newest) = void.max_by_key(|member| (member.number, member.created_at, &member.name)) {
        return RepeatDecision::Judge(newest.name.clone());
    }
    let highest = series.iter().filter_map(|member| member.number).max();
    RepeatDecision::Create(highest.unwrap_or_default().saturating_add(1))
}

/// Reports whether any later entry could require a pad.
pub fn can_repeat(series: &[SeriesMember], repeat: Repeat) -> bool {
    repeat_decision(series, Timestamp::MAX, repeat) != RepeatDecision::NoPad
}

#[cfg(test)]
mod tests {
    use super::*;
    use Repeat::{AfterEnd, Always, Never};
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn member(number: u32, progress: Progress) -> SeriesMember {
        let name = format!("p-{number}");
        SeriesMember { name, number: Some(number), created_at: at(0), pad_id: None, progress }
    }

    fn open(entry: i64) -> Progress {
        Progress::Open { entry: at(entry) }
    }

    fn ended(entry: i64, end: i64) -> Progress {
        Progress::Ended { entry: at(entry), at: at(end) }
    }

    fn judge(number: u32) -> RepeatDecision {
        RepeatDecision::Judge(format!("p-{number}"))
    }

    #[test]
    fn each_repeat_rule_decides_which_entries_get_another_pad() {
        use Progress::{InProgress, NotCounted};
        use RepeatDecision::{Create, NoPad};
        // The progress of -1, -2, ..., the time of the entry, and the decision for each value of repeat.
        let cases: [(&[Progress], i64, [RepeatDecision; 3]); 16] = [
            (&[], 5, [Create(1), Create(1), Create(1)]),
            (&[InProgress], 50, [NoPad, NoPad, NoPad]),
            (&[NotCounted], 5, [judge(1), judge(1), judge(1)]),
            (&[open(5)], 5, [NoPad, NoPad, NoPad]),
            (&[open(5)], 4, [NoPad, NoPad, NoPad]),
            (&[open(5)], 6, [NoPad, NoPad, Create(2)]),
            (&[ended(5, 10)], 5, [NoPad, NoPad, NoPad]),
            (&[ended(5, 4)], 5, [NoPad, NoPad, NoPad]),
            (&[ended(5, 10)], 8, [NoPad, NoPad, Create(2)]),
            (&[ended(5, 10)], 10, [NoPad, NoPad, Create(2)]),
            (&[ended(5, 10)], 11, [NoPad, Create(2), Create(2)]),
            (&[ended(5, 10), InProgress], 20, [NoPad, NoPad, NoPad]),
            (&[ended(5, 10), NotCounted], 20, [NoPad, judge(2), judge(2)]),
            (&[ended(5, 10), NotCounted], 7, [NoPad, NoPad, judge(2)]),
            (&[ended(5, 10), open(12)], 20, [NoPad, NoPad, Create(3)]),
            (&[ended(5, 10), ended(12, 15)], 14, [NoPad, NoPad, Create(3)]),
        ];
        for (series, entry, decisions) in cases {
            let series: Vec<_> =
                (1..).zip(series).map(|(number, progress)| member(number, *progress)).collect();
            for (repeat, expected) in [Never, AfterEnd, Always].into_iter().zip(decisions) {
                assert_eq!(
                    repeat_decision(&series, at(entry), repeat),
                    expected,
                    "{series:?}, {entry}, {repeat:?}"
                );
            }
        }
    }

    #[test]
    fn of_several_uncounted_pads_the_newest_is_reopened() {
        let by_hand =
            SeriesMember { name: "by-hand".into(), number: None, ..member(9, Progress::NotCounted) };
        let series = [member(2, Progress::NotCounted), by_hand, member(1, Progress::NotCounted)];
        assert_eq!(repeat_decision(&series, at(1), AfterEnd), judge(2));
    }

    #[test]
    fn can_repeat_reports_whether_any_entry_could_require_a_pad() {
        let may = |progress, repeat| can_repeat(&[member(1, progress)], repeat);
        assert!(!may(open(1), AfterEnd) && !may(open(1), Never) && may(open(1), Always));
        assert!(may(ended(1, 2), AfterEnd) && !may(ended(1, 2), Never));
        assert!(!may(Progress::InProgress, Always) && may(Progress::NotCounted, Never));
    }

    #[test]
    fn progress_is_derived_from_annotations_and_status() {
        let progress = |annotations: serde_json::Value, status: serde_json::Value| {
            let mut status = status;
            status["observedGeneration"] = json!(1);
            status["conditions"] = json!([{"type": "Ready", "status": "True", "reason": "R", "message": "",
                "observedGeneration": 1, "lastTransitionTime": at(7)}]);
            let pad: Pad = serde_json::from_value(json!({
                "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
                "metadata": {"name": names::pad_name("c", "o", 3), "annotations": annotations,
                    "creationTimestamp": at(1)},
                "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"}, "status": status,
            }))
            .unwrap();
            let member = SeriesMember::from_pad(&pad);
            assert_eq!(member.number, Some(3));
            member.progress
        };
        let plain = |status| progress(json!({}), status);
        assert_eq!(plain(json!({})), Progress::InProgress);
        assert_eq!(plain(json!({"phase": "Pending"})), Progress::InProgress);
        assert_eq!(plain(json!({"phase": "Open", "entryAt": at(3)})), open(3));
        assert_eq!(plain(json!({"phase": "Started"})), open(1));
        assert_eq!(plain(json!({"phase": "Ended", "entryAt": at(3), "endedAt": at(5)})), ended(3, 5));
        assert_eq!(plain(json!({"phase": "Ended", "entryAt": at(3)})), ended(3, 7));
        assert_eq!(plain(json!({"phase": "Skipped", "reason": "TagMissing"})), Progress::NotCounted);
        assert_eq!(plain(json!({"phase": "Skipped", "reason": "Cancelled"})), ended(7, 7));
        assert_eq!(plain(json!({"phase": "Failed"})), Progress::NotCounted);
        let since = |status: serde_json::Value| {
            let mut status = status;
            status["phaseSince"] = json!(at(6));
            plain(status)
        };
        assert_eq!(
            since(json!({"phase": "Ended", "entryAt": at(3)})),
            ended(3, 6),
            "not the condition's time"
        );
        assert_eq!(since(json!({"phase": "Skipped", "reason": "Cancelled"})), ended(6, 6));
        let judged = json!({"phase": "Skipped", "reason": "Cancelled", "judgedEntryAt": at(4)});
        assert_eq!(since(judged), ended(4, 4), "by Lever's clock alone");
        let deleted =
            json!({"phase": "Ended", "reason": "PadDeleted", "entryAt": at(3), "judgedEntryAt": at(5)});
        assert_eq!(since(deleted), ended(3, 5));
        let with_pad = progress(json!({"padoperator.dev/pad-id": "PAD1"}), json!({"phase": "Failed"}));
        assert_eq!(with_pad, Progress::InProgress);
    }
}
