//! Checks open pads one by one, to find changes that CoderPad's list does not contain (contract S2). CoderPad
//! does not document whether `updated_at` moves with each change, and so whether the list is complete.
//!
//! At most 60 checks an hour for each connection, however many Pads exist, and each Pad at most once a day. If a check
//! shows more than the list has shown, each Pad is checked every quarter of an hour for a day, within the same limit.

use super::coderpad_scan::{MAX_LIST_LAG, is_deleted, pad_id};
use super::{SyncContext, before};
use api::Pad;
use api::pad::Phase;
use engine::hints::Hint;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum number of checks in an hour, for one connection.
const MAX_CHECKS_PER_HOUR: usize = 60;
const CHECK_LIMIT_WINDOW: Duration = Duration::from_secs(3600);
/// Minimum age of a pad, and of its last check, before it is checked again.
const CHECK_INTERVAL: SignedDuration = SignedDuration::from_hours(24);
/// The same, while the list does not show all changes.
const SHORT_CHECK_INTERVAL: SignedDuration = SignedDuration::from_mins(15);
/// Time for which the list counts as incomplete after a check that showed more.
const INCOMPLETE_LIST_PERIOD: Duration = Duration::from_secs(24 * 3600);
/// Maximum time until the result of a check is in the Pad's status.
const RESULT_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

/// The checks that were requested.
#[derive(Debug, Default)]
pub struct OpenPadChecks {
    /// Time of the last check of each open Pad, by its UID.
    last: HashMap<String, Timestamp>,
    /// The checks of the last hour.
    recent: VecDeque<Instant>,
    /// When checks were last chosen.
    chosen: Option<Instant>,
    /// Times of the checks whose results are not known yet, by the UID of the Pad.
    unresolved: HashMap<String, Timestamp>,
    /// When a check last showed more than the list.
    found_more: Option<Instant>,
}

impl OpenPadChecks {
    /// Adds hints for the checks that are due. `is_list_complete` means that the list was scanned just before, so that a
    /// check which shows more proves something about the list.
    pub fn request_checks(&mut self, session: &SyncContext<'_>, is_list_complete: bool) {
        let now = Timestamp::now();
        for pad in self.choose(&session.pads, now, Instant::now()) {
            session.add_hint(&pad, Hint::Record);
            self.unresolved.extend(pad.uid().filter(|_| is_list_complete).map(|uid| (uid, now)));
        }
    }

    /// Reports whether the checks since the last scan show more than the list. `shown` is the progress of the pads that
    /// the list has shown, by their IDs.
    pub fn finds_more_than_list(
        &mut self,
        session: &SyncContext<'_>,
        shown: &HashMap<String, Phase>,
    ) -> bool {
        self.resolve(&session.pads, shown, Timestamp::now(), Instant::now())
    }

    fn resolve(
        &mut self,
        pads: &[Arc<Pad>],
        shown: &HashMap<String, Phase>,
        now: Timestamp,
        instant: Instant,
    ) -> bool {
        if self.unresolved.is_empty() {
            return false;
        }
        let by_uid: HashMap<String, &Arc<Pad>> =
            pads.iter().filter_map(|pad| Some((pad.uid()?, pad))).collect();
        let mut finds_more = false;
        self.unresolved.retain(|uid, checked_at| {
            let Some(pad) = by_uid.get(uid) else { return false };
            let is_more = shows_more(pad, shown, *checked_at);
            finds_more |= is_more;
            !is_more && now.duration_since(*checked_at) < RESULT_TIMEOUT
        });
        if finds_more {
            self.found_more = Some(instant);
        }
        finds_more
    }

    fn interval(&self, instant: Instant) -> SignedDuration {
        let is_incomplete =
            self.found_more.is_some_and(|at| instant.duration_since(at) < INCOMPLETE_LIST_PERIOD);
        if is_incomplete { SHORT_CHECK_INTERVAL } else { CHECK_INTERVAL }
    }

    /// Returns the Pads whose check is due, within the limit of the hour: one for each minute since the last choice.
    /// Pads that have not started come first, then the Pads with the oldest check.
    pub(super) fn choose(&mut self, pads: &[Arc<Pad>], now: Timestamp, instant: Instant) -> Vec<Arc<Pad>> {
        let is_open = |pad: &&Arc<Pad>| matches!(pad.phase(), Some(Phase::Open | Phase::Started));
        let open: Vec<(String, &Arc<Pad>)> =
            pads.iter().filter(is_open).filter_map(|pad| Some((pad.uid()?, pad))).collect();
        let mut last = HashMap::with_capacity(self.last.len());
        for (uid, _) in &open {
            last.extend(self.last.remove_entry(uid));
        }
        self.last = last;
        while self.recent.front().is_some_and(|at| instant.duration_since(*at) >= CHECK_LIMIT_WINDOW) {
            self.recent.pop_front();
        }
        let minutes = self.chosen.map_or(0, |at| instant.duration_since(at).as_secs() / 60);
        let room = MAX_CHECKS_PER_HOUR.saturating_sub(self.recent.len());
        let room = room.min(usize::try_from(minutes).unwrap_or(MAX_CHECKS_PER_HOUR));
        if room == 0 {
            self.chosen.get_or_insert(instant);
            return Vec::new();
        }
        self.chosen = Some(instant);
        let due_before = before(now, self.interval(instant));
        let mut due: Vec<_> = open
            .into_iter()
            .filter_map(|(uid, pad)| {
                let looked_at = self.last.get(&uid).copied().or_else(|| known_since(pad))?;
                let is_started = pad.phase() == Some(Phase::Started);
                (looked_at < due_before).then_some((is_started, looked_at, uid, pad))
            })
            .collect();
        due.sort_unstable_by(|one, other| (one.0, one.1, &one.2).cmp(&(other.0, other.1, &other.2)));
        due.truncate(room);
        due.into_iter()
            .map(|(_, _, uid, pad)| {
                self.last.insert(uid, now);
                self.recent.push_back(instant);
                pad.clone()
            })
            .collect()
    }
}

/// Reports whether the status of a Pad contains a change of its pad that the list should have shown before a check, and
/// did not. A deleted pad is in no list.
fn shows_more(pad: &Pad, shown: &HashMap<String, Phase>, checked_at: Timestamp) -> bool {
    let Some(status) = pad.status.as_ref().filter(|_| !is_deleted(pad)) else { return false };
    let listed = pad_id(pad).and_then(|id| shown.get(id));
    let (is_listed, changed_at) = match pad.phase() {
        Some(Phase::Ended) => (listed == Some(&Phase::Ended), status.ended_at),
        Some(Phase::Started) => (matches!(listed, Some(Phase::Started | Phase::Ended)), status.started_at),
        _ => return false,
    };
    !is_listed && changed_at.is_some_and(|at| at < before(checked_at, MAX_LIST_LAG))
}

/// Returns the time since which a Pad has had its pad.
fn known_since(pad: &Pad) -> Option<Timestamp> {
    let created_at = pad.status.as_ref().and_then(|status| status.created_at);
    created_at.or_else(|| pad.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + 3600 * hour).unwrap()
    }

    fn pad(name: &str, phase: &str, created_at: i64) -> Arc<Pad> {
        let pad = serde_json::from_value(json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "metadata": {"name": name, "uid": name},
            "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"},
            "status": {"observedGeneration": 1, "phase": phase, "createdAt": at(created_at)},
        }));
        Arc::new(pad.unwrap())
    }

    fn names(pads: Vec<Arc<Pad>>) -> Vec<String> {
        pads.iter().map(|pad| pad.name_any()).collect()
    }

    // contract S2
    #[test]
    fn unstarted_pads_come_first_and_each_is_read_once_a_day() {
        let pads = [
            pad("started", "Started", -90),
            pad("young", "Open", -23),
            pad("ended", "Ended", -90),
            pad("older", "Open", -80),
            pad("old", "Open", -30),
        ];
        let (mut looks, start) = (OpenPadChecks::default(), Instant::now());
        let mut choose = |minute: u64, now| {
            names(looks.choose(&pads, now, start + CHECK_LIMIT_WINDOW * minute as u32 / 60))
        };
        assert_eq!(choose(0, at(0)), Vec::<String>::new(), "not all at once after a restart");
        assert_eq!(choose(2, at(0)), ["older", "old"]);
        assert_eq!(choose(7, at(0)), ["started"]);
        assert_eq!(choose(30, at(0)), Vec::<String>::new());
        assert_eq!(choose(40, at(2)), ["young"]);
        assert_eq!(choose(70, at(25)).len(), 3);
    }

    // contract S2
    #[rstest]
    #[case::nothing("Open", json!({}), None, false)]
    #[case::end_not_listed("Ended", json!({"endedAt": at(-2)}), Some(Phase::Open), true)]
    #[case::end_not_listed_after_start("Ended", json!({"endedAt": at(-2)}), Some(Phase::Started), true)]
    #[case::pad_not_listed("Ended", json!({"endedAt": at(-2)}), None, true)]
    #[case::end_listed("Ended", json!({"endedAt": at(-2)}), Some(Phase::Ended), false)]
    #[case::end_just_before("Ended", json!({"endedAt": at(0)}), Some(Phase::Open), false)]
    #[case::start_not_listed("Started", json!({"startedAt": at(-2)}), Some(Phase::Open), true)]
    #[case::start_listed("Started", json!({"startedAt": at(-2)}), Some(Phase::Started), false)]
    #[case::deleted("Ended", json!({"endedAt": at(-2), "reason": "PadDeleted"}), Some(Phase::Open), false)]
    fn check_that_shows_more_than_the_list_shortens_the_interval(
        #[case] phase: &str,
        #[case] status: Value,
        #[case] listed: Option<Phase>,
        #[case] is_more: bool,
    ) {
        let (mut looks, start) = (OpenPadChecks::default(), Instant::now());
        looks.unresolved.insert("one".to_owned(), at(0));
        let mut checked = Arc::unwrap_or_clone(pad("one", phase, -48));
        let all = checked.status.as_ref().unwrap();
        let mut fields = serde_json::to_value(all).unwrap();
        fields["padID"] = json!("PAD1");
        fields.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
        checked.status = Some(serde_json::from_value(fields).unwrap());
        let shown = listed.map(|phase| ("PAD1".to_owned(), phase)).into_iter().collect();
        assert_eq!(looks.resolve(&[Arc::new(checked)], &shown, at(0), start), is_more);
        assert_eq!(looks.unresolved.is_empty(), is_more, "an unknown result stays open");

        let others = [pad("young", "Open", -1)];
        let minute = Duration::from_secs(60);
        assert!(looks.choose(&others, at(0), start).is_empty());
        assert_eq!(looks.choose(&others, at(0), start + minute).len(), usize::from(is_more));
        assert!(looks.choose(&others, at(0), start + 2 * minute).is_empty());
        assert!(
            looks.choose(&[pad("new", "Open", -1)], at(0), start + 2 * INCOMPLETE_LIST_PERIOD).is_empty()
        );
    }

    #[test]
    fn unknown_result_is_given_up() {
        let (mut looks, start) = (OpenPadChecks::default(), Instant::now());
        looks.unresolved.insert("one".to_owned(), at(0));
        looks.unresolved.insert("gone".to_owned(), at(0));
        let pads = [pad("one", "Open", -48)];
        assert!(!looks.resolve(&pads, &HashMap::new(), at(0), start));
        assert_eq!(looks.unresolved.len(), 1);
        assert!(!looks.resolve(&pads, &HashMap::new(), at(1), start));
        assert!(looks.unresolved.is_empty());
    }

    #[test]
    fn at_most_sixty_pads_are_read_per_hour() {
        let pads: Vec<_> = (0..1000).map(|n| pad(&format!("p-{n}"), "Open", -48)).collect();
        let (mut looks, start) = (OpenPadChecks::default(), Instant::now());
        let mut times = Vec::new();
        for second in (0..4 * 3600).step_by(7) {
            let now = start + Duration::from_secs(second);
            times.extend(looks.choose(&pads, at(0), now).iter().map(|_| second));
        }
        // A long pause does not raise the limit.
        let late = start + Duration::from_secs(40 * 3600);
        assert_eq!(looks.choose(&pads, at(0), late).len(), MAX_CHECKS_PER_HOUR);
        for from in &times {
            let in_hour = times.iter().filter(|at| (*from..from + 3600).contains(*at)).count();
            assert!(in_hour <= MAX_CHECKS_PER_HOUR, "{in_hour}");
        }
        assert!(times.len() > 200, "{}", times.len());
    }
}
