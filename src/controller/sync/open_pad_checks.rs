//! Checks open pads one by one, to find ends that CoderPad's list does not contain (contract S2).
//!
//! At most 60 checks an hour for each connection, however many Pads exist, and each Pad at most once a day.

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

/// The checks that were requested.
#[derive(Debug, Default)]
pub struct OpenPadChecks {
    /// Time of the last check of each open Pad, by its UID.
    last: HashMap<String, Timestamp>,
    /// The checks of the last hour.
    recent: VecDeque<Instant>,
    /// When checks were last chosen.
    chosen: Option<Instant>,
}

impl OpenPadChecks {
    /// Adds hints for the checks that are due.
    pub fn request_checks(&mut self, session: &SyncContext<'_>) {
        for pad in self.choose(&session.pads, Timestamp::now(), Instant::now()) {
            session.add_hint(&pad, Hint::Record);
        }
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
        let due_before = before(now, CHECK_INTERVAL);
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

/// Returns the time since which a Pad has had its pad.
fn known_since(pad: &Pad) -> Option<Timestamp> {
    let created_at = pad.status.as_ref().and_then(|status| status.created_at);
    created_at.or_else(|| pad.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
