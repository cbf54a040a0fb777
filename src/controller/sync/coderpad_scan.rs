//! Scan of the organization's pads, last changed first, for rows with changes that affect a Pad.
//!
//! The scan ends at the last change that was found before, minus the lag of the list; once the lag is over, at that
//! change itself, so that many changes at one moment are not scanned again and again. The first scan of a process, and
//! one a day, continues to the oldest open Pad, and so also finds open Pads that are no longer in the list.
//!
//! A scan that is too long for one sync continues with the next, where it stopped ([`Scan`]).

use super::{SyncContext, SyncError, before};
use api::Pad;
use api::names;
use api::pad::Phase;
use api::reason::Reason;
use coderpad::{PadPage, PadRecord, PadSort, PageRef};
use engine::hints::Hint;
use http_client::ErrorKind;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Twice the maximum lag of the list (reference: interview-api.md, 1. Freshness).
pub const MAX_LIST_LAG: SignedDuration = SignedDuration::from_mins(2);
/// Maximum time that CoderPad's clock may be ahead. A change with a later time does not become the watermark.
const MAX_CODERPAD_CLOCK_LEAD: SignedDuration = SignedDuration::from_hours(1);
/// Delay between two scans for all open Pads.
const FULL_SCAN_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum number of pages of 50 pads in one sync.
const PADS_PAGE_LIMIT: usize = 100;

/// Watermarks of the scans of the pads of one connection.
#[derive(Debug, Default)]
pub struct PadWatermarks {
    /// The last change that a scan has found.
    latest: Option<PadWatermark>,
    /// When the last scan for all open Pads began.
    whole: Option<Instant>,
    /// A scan that was too long for one sync.
    rest: Option<Scan>,
    /// Progress of each open pad that the list has shown, by the ID of the pad.
    shown: HashMap<String, Phase>,
}

impl PadWatermarks {
    /// Returns the progress of the pads that the list has shown, by their IDs.
    pub fn shown(&self) -> &HashMap<String, Phase> {
        &self.shown
    }
}

/// The last change that a scan has found.
#[derive(Clone, Copy, Debug)]
struct PadWatermark {
    /// Time of the change, by CoderPad's clock.
    at: Timestamp,
    /// Time at which this process first found it, by its own clock.
    met: Instant,
    /// Whether all earlier changes have certainly been found too, despite the lag of the list.
    is_settled: bool,
}

impl PadWatermark {
    /// Reports whether everything before this change is known.
    fn includes(&self, at: Timestamp) -> bool {
        if self.is_settled { at <= self.at } else { at < before(self.at, MAX_LIST_LAG) }
    }
}

/// A scan, which one or more syncs read.
#[derive(Debug)]
struct Scan {
    /// The next page; None: the first page, or none after the end of the scan.
    next: Option<PageRef>,
    /// The point at which the scan ends.
    floor: ScanFloor,
    /// For a scan for all open Pads: when it began, and the pads that it has found.
    whole: Option<FullScan>,
}

/// The point at which a scan ends.
#[derive(Clone, Copy, Debug)]
enum ScanFloor {
    /// The last change that an earlier scan covers.
    Covered(PadWatermark),
    /// Pads whose last change is before this time do not affect any Pad.
    Before(Timestamp),
}

impl ScanFloor {
    fn is_reached(&self, at: Timestamp) -> bool {
        match self {
            ScanFloor::Covered(latest) => latest.includes(at),
            ScanFloor::Before(oldest) => at < *oldest,
        }
    }
}

/// A scan for all open Pads.
#[derive(Debug)]
struct FullScan {
    began: Instant,
    /// IDs of the pads that it has found, only of open Pads.
    met: HashSet<String>,
}

/// The Pads that a row of the list can affect, by the ID of their pads.
struct RelevantPads<'a> {
    open: HashMap<&'a str, &'a Arc<Pad>>,
    /// Pads that ended because their pad was deleted. It may exist again (contract E2).
    deleted: HashMap<&'a str, &'a Arc<Pad>>,
}

impl<'a> RelevantPads<'a> {
    fn from_pads(pads: &'a [Arc<Pad>]) -> Self {
        let by_id = |is: fn(&Pad) -> bool| {
            let pads = pads.iter().filter(move |pad| is(pad));
            pads.filter_map(|pad| Some((pad_id(pad)?, pad))).collect::<HashMap<_, _>>()
        };
        Self { open: by_id(is_open), deleted: by_id(is_deleted) }
    }

    /// Adds a hint for each Pad with a change on a page. Returns the pads of the page that belong to open Pads: their IDs
    /// and their progress.
    fn read(&self, session: &SyncContext<'_>, page: &PadPage) -> Vec<(String, Phase)> {
        page.pads
            .iter()
            .filter_map(|record| self.news(record))
            .for_each(|pad| session.add_hint(pad, Hint::Record));
        let of_open = page.pads.iter().filter(|record| self.open.contains_key(record.id.as_str()));
        of_open.map(|record| (record.id.clone(), progress(record))).collect()
    }

    /// Returns the Pad with a change in a row.
    fn news(&self, record: &PadRecord) -> Option<&'a Arc<Pad>> {
        let open = self.open.get(record.id.as_str()).filter(|pad| is_news(pad, record));
        // contract E2
        let is_there = || self.deleted.get(record.id.as_str()).filter(|_| !record.is_deleted());
        open.or_else(is_there).copied()
    }

    /// Adds a hint for each open Pad whose pad was not found.
    fn add_hints_for_missing(&self, session: &SyncContext<'_>, met: &HashSet<String>) {
        for pad in self.open.iter().filter(|(id, _)| !met.contains(**id)).map(|(_, pad)| pad) {
            session.add_hint(pad, Hint::Record);
        }
    }
}

/// Scans the list, and adds a hint for each Pad with changes.
pub async fn scan_pads(session: &SyncContext<'_>, marks: &mut PadWatermarks) -> Result<(), SyncError> {
    let concerned = RelevantPads::from_pads(&session.pads);
    marks.shown.retain(|id, _| concerned.open.contains_key(id.as_str()));
    let pages = head(session, marks, &concerned).await?;
    if marks.rest.is_some() && pages < PADS_PAGE_LIMIT {
        tail(session, marks, &concerned, PADS_PAGE_LIMIT - pages).await?;
    }
    if marks.rest.is_some() {
        return Err(SyncError::Continues("pads"));
    }
    Ok(())
}

/// Scans from the newest change on. Returns the number of pages.
async fn head(
    session: &SyncContext<'_>,
    marks: &mut PadWatermarks,
    concerned: &RelevantPads<'_>,
) -> Result<usize, SyncError> {
    let began = Instant::now();
    let is_continued = marks.rest.as_ref().is_some_and(|rest| rest.whole.is_some());
    let is_whole =
        !is_continued && marks.whole.is_none_or(|last| began.duration_since(last) >= FULL_SCAN_INTERVAL);
    let oldest = concerned.open.values().filter_map(|pad| pad_created_at(pad)).min();
    let earlier = marks.latest;
    // Without an open Pad the first page contains all relevant changes.
    let floor = match earlier.filter(|_| !is_whole) {
        Some(earlier) => ScanFloor::Covered(earlier),
        None => ScanFloor::Before(oldest.unwrap_or(Timestamp::MAX)),
    };
    let latest_believed = Timestamp::now().checked_add(MAX_CODERPAD_CLOCK_LEAD).unwrap_or(Timestamp::MAX);
    let mut latest = earlier.map(|earlier| earlier.at);
    let whole = is_whole.then(|| FullScan { began, met: HashSet::new() });
    let mut scan = Scan { next: None, floor, whole };
    let note_latest = |list: &PadPage| {
        latest = list.pads.iter().map(changed_at).filter(|at| *at <= latest_believed).chain(latest).max();
    };
    let pages = scan.read(session, concerned, PADS_PAGE_LIMIT, &mut marks.shown, note_latest).await?;
    marks.latest = latest.map(|at| match earlier.filter(|earlier| earlier.at == at) {
        Some(earlier) => {
            let is_settled =
                earlier.is_settled || began.duration_since(earlier.met) >= MAX_LIST_LAG.unsigned_abs();
            PadWatermark { is_settled, ..earlier }
        }
        None => PadWatermark { at, met: began, is_settled: false },
    });
    if scan.next.is_some() {
        session.context.metrics.inc_scans_cut();
        // The rest of an earlier scan covers older changes, so the two are merged.
        marks.rest = Some(match marks.rest.take() {
            Some(earlier) if scan.whole.is_none() => Scan { next: scan.next, ..earlier },
            _ => scan,
        });
    } else if let Some(whole) = scan.whole {
        concerned.add_hints_for_missing(session, &whole.met);
        (marks.whole, marks.rest) = (Some(began), None);
    }
    Ok(pages)
}

/// Continues a scan that was too long for the sync before.
async fn tail(
    session: &SyncContext<'_>,
    marks: &mut PadWatermarks,
    concerned: &RelevantPads<'_>,
    most: usize,
) -> Result<(), SyncError> {
    let Some(mut rest) = marks.rest.take() else { return Ok(()) };
    match rest.read(session, concerned, most, &mut marks.shown, |_| {}).await {
        // The position is lost: the scan for all open Pads starts again.
        Err(SyncError::Service(error)) if matches!(error.class, ErrorKind::Invalid | ErrorKind::NotFound) => {
            marks.whole = None;
            return Err(error.into());
        }
        Err(error) => {
            marks.rest = Some(rest);
            return Err(error);
        }
        Ok(_) => {}
    }
    if rest.next.is_some() {
        marks.rest = Some(rest);
        session.context.metrics.inc_scans_cut();
    } else if let Some(whole) = rest.whole {
        concerned.add_hints_for_missing(session, &whole.met);
        marks.whole = Some(whole.began);
    }
    Ok(())
}

impl Scan {
    /// Reads pages until the floor is reached, at most `most`, and adds a hint for each Pad with changes. Returns the
    /// number of pages.
    async fn read(
        &mut self,
        session: &SyncContext<'_>,
        concerned: &RelevantPads<'_>,
        most: usize,
        shown: &mut HashMap<String, Phase>,
        mut note: impl FnMut(&PadPage),
    ) -> Result<usize, SyncError> {
        for pages in 1..=most {
            session.check_still_active()?;
            let client = &session.clients.interview;
            let list = client.organization_pads(self.next.as_ref(), PadSort::Updated).await?;
            note(&list);
            let met = concerned.read(session, &list);
            if let Some(whole) = &mut self.whole {
                whole.met.extend(met.iter().map(|(id, _)| id.clone()));
            }
            shown.extend(met);
            let is_reached = last_change(&list).is_some_and(|at| self.floor.is_reached(at));
            self.next = list.next.filter(|_| !is_reached);
            if self.next.is_none() {
                return Ok(pages);
            }
        }
        Ok(most)
    }
}

/// Returns the time of the last change on a page. A pad without that time does not show the order, unless all pads have
/// none.
fn last_change(page: &PadPage) -> Option<Timestamp> {
    let noted = page.pads.iter().rev().find_map(|record| record.updated_at);
    noted.or_else(|| page.pads.last().map(|record| record.created_at))
}

/// Returns the progress of a pad that a row shows.
fn progress(record: &PadRecord) -> Phase {
    if record.is_ended() || record.is_deleted() {
        Phase::Ended
    } else if record.is_started() {
        Phase::Started
    } else {
        Phase::Open
    }
}

/// Reports whether a Pad has ended because its pad was deleted.
pub fn is_deleted(pad: &Pad) -> bool {
    let reason = pad.status.as_ref().and_then(|status| status.reason.as_deref());
    pad.phase() == Some(Phase::Ended) && reason == Some(Reason::PadDeleted.as_str())
}

fn is_open(pad: &Pad) -> bool {
    matches!(pad.phase(), Some(Phase::Open | Phase::Started))
}

/// Returns the ID of the pad of a Pad.
pub fn pad_id(pad: &Pad) -> Option<&str> {
    let of_status = pad.status.as_ref().and_then(|status| status.pad_id.as_deref());
    pad.annotations().get(names::PAD_ID).map(String::as_str).or(of_status)
}

fn pad_created_at(pad: &Pad) -> Option<Timestamp> {
    let at_coderpad = pad.status.as_ref().and_then(|status| status.created_at);
    at_coderpad.or_else(|| pad.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

fn changed_at(record: &PadRecord) -> Timestamp {
    record.updated_at.unwrap_or(record.created_at)
}

/// Reports whether a row contains more about an open Pad than its status does. Participants count as soon as there is
/// one.
fn is_news(pad: &Pad, record: &PadRecord) -> bool {
    let Some(status) = &pad.status else { return false };
    let knows_start = status.phase == Some(Phase::Started);
    let knows_nobody =
        status.candidate.is_some() && status.participants.is_empty() && !record.participants.is_empty();
    record.is_deleted() || record.is_ended() || (record.is_started() && (!knows_start || knows_nobody))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn record(fields: Value) -> PadRecord {
        let mut all = json!({"status": "OK", "id": "PAD1", "state": "pending", "created_at": at(0),
            "url": "https://app.coderpad.io/PAD1"});
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        PadRecord::from_json(&all).unwrap()
    }

    #[test]
    fn only_changes_missing_in_the_status_are_reported() {
        let is_news_for = |status: Value, fields: Value| {
            let mut status = status;
            status["observedGeneration"] = json!(1);
            let pad: Pad = serde_json::from_value(json!({
                "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "metadata": {"name": "p"},
                "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"}, "status": status,
            }))
            .unwrap();
            is_news(&pad, &record(fields))
        };
        let open = || json!({"phase": "Open", "candidate": "Ada"});
        let started = || json!({"phase": "Started", "candidate": "Ada", "participants": ["Ada"]});
        assert!(!is_news_for(open(), json!({})));
        assert!(!is_news_for(open(), json!({"participants": ["Olga Owner"]})), "nobody has begun");
        assert!(is_news_for(open(), json!({"state": "started"})));
        assert!(!is_news_for(started(), json!({"state": "started", "participants": ["Ada"]})));
        let named = json!({"state": "started", "participants": ["Ada"]});
        assert!(is_news_for(json!({"phase": "Started", "candidate": "Ada"}), named.clone()));
        assert!(!is_news_for(json!({"phase": "Started"}), named), "nobody may be named any more");
        for over in [json!({"ended_at": at(9)}), json!({"state": "ended"}), json!({"deleted": true})] {
            assert!(is_news_for(open(), over.clone()) && is_news_for(started(), over));
        }
    }

    // contract E2
    #[test]
    fn a_restored_pad_is_a_change() {
        let pad = |reason: &str| {
            let pad = json!({
                "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "metadata": {"name": "p"},
                "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"},
                "status": {"observedGeneration": 1, "phase": "Ended", "reason": reason, "padID": "PAD1"},
            });
            [Arc::new(serde_json::from_value(pad).unwrap())]
        };
        let is_news_for = |reason: &str, fields: Value| {
            RelevantPads::from_pads(&pad(reason)).news(&record(fields)).is_some()
        };
        assert!(is_news_for("PadDeleted", json!({})) && is_news_for("PadDeleted", json!({"state": "ended"})));
        assert!(!is_news_for("PadDeleted", json!({"deleted": true})));
        assert!(!is_news_for("PadDeleted", json!({"id": "PAD2"})));
        assert!(!is_news_for("Ended", json!({"state": "ended"})));
    }

    #[test]
    fn pages_are_ordered_by_times_of_change() {
        let page = |rows: &[Value]| PadPage {
            pads: rows.iter().cloned().map(record).collect(),
            left_out: Vec::new(),
            next: None,
        };
        let changed = json!({"updated_at": at(500)});
        let odd = json!({"updated_at": "-009999-01-02T01:59:59Z", "created_at": at(3)});
        assert_eq!(last_change(&page(&[changed, odd.clone()])), Some(at(500)));
        assert_eq!(last_change(&page(&[odd])), Some(at(3)));
        assert_eq!(last_change(&page(&[])), None);
    }

    #[tokio::test(start_paused = true)]
    async fn unsettled_watermark_is_rescanned() {
        let lag = MAX_LIST_LAG.as_secs();
        let mut latest = PadWatermark { at: at(1000), met: Instant::now(), is_settled: false };
        assert!(
            !latest.includes(at(1000)) && !latest.includes(at(1000 - lag)) && latest.includes(at(999 - lag))
        );
        latest.is_settled = true;
        assert!(latest.includes(at(1000)) && !latest.includes(at(1001)));
    }
}
