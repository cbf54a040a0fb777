//! The walk over the organization's pads, last changed first: which of them tell something new of a Pad.
//!
//! It goes down to the last change that was met before, less what the list may lag behind; once that time is over, to
//! that change itself, so that many changes at one moment are not walked over again and again. The first walk of a
//! process, and one a day, goes down to the oldest open Pad, and so also finds those that the list does not show any more.

use super::{Session, SyncError};
use crate::api::Pad;
use crate::api::names;
use crate::api::pad::Phase;
use crate::controller::pad::looks::What;
use crate::interview::{PadRecord, PadSort};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How far the list may lag behind, twice over (reference: interview-api.md, 1. Freshness).
const LAG: SignedDuration = SignedDuration::from_mins(2);
/// How often all open Pads are looked for.
const WHOLE_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// At most so many pages of 50 pads.
const PAGES: usize = 400;

/// What is remembered of the walks of one connection.
#[derive(Debug)]
pub struct Marks {
    /// The version of the account that was walked.
    pub account: String,
    /// The last change that a walk has met.
    latest: Option<Latest>,
    /// When all open Pads were looked for last.
    whole: Option<Instant>,
    /// Down to when candidates who were archived have been looked for.
    pub archived: Option<Timestamp>,
    /// The same of those who were deleted.
    pub deleted: Option<Timestamp>,
    /// The same of those who were anonymized.
    pub anonymized: Option<Timestamp>,
}

/// The last change that a walk has met.
#[derive(Clone, Copy, Debug)]
struct Latest {
    /// When it was made, by CoderPad's clock.
    at: Timestamp,
    /// When it was first met, by this process's.
    met: Instant,
    /// Whether all that was changed before has surely been met too, however late the list shows it.
    is_settled: bool,
}

impl Latest {
    /// Whether everything before this change is known.
    fn covers(&self, at: Timestamp) -> bool {
        if self.is_settled { at <= self.at } else { at < self.at - LAG }
    }
}

impl Marks {
    /// Nothing is known yet.
    pub fn new(account: &str) -> Self {
        Self {
            account: account.to_owned(),
            latest: None,
            whole: None,
            archived: None,
            deleted: None,
            anonymized: None,
        }
    }
}

/// Walks, and asks for a look at each Pad of which there is news.
pub async fn walk(session: &Session<'_>, marks: &mut Marks) -> Result<(), SyncError> {
    let open: HashMap<&str, &Arc<Pad>> =
        session.pads.iter().filter(|pad| is_open(pad)).filter_map(|pad| Some((pad_id(pad)?, pad))).collect();
    let began = Instant::now();
    let is_whole = marks.whole.is_none_or(|last| began.duration_since(last) >= WHOLE_EVERY);
    let oldest = open.values().filter_map(|pad| made_at(pad)).min();
    let before = marks.latest;
    let is_known = |at: Timestamp| match before.filter(|_| !is_whole) {
        Some(before) => before.covers(at),
        None => oldest.is_none_or(|oldest| at < oldest),
    };
    let (mut latest, mut met, mut page) = (before.map(|before| before.at), HashSet::new(), None);
    let mut is_at_end = false;
    for _ in 0..PAGES {
        session.goes_on()?;
        let list = session.account.interview.organization_pads(page.as_ref(), PadSort::Updated).await?;
        for record in &list.pads {
            latest = latest.max(Some(changed_at(record)));
            if let Some(pad) = open.get(record.id.as_str()) {
                met.insert(record.id.clone());
                if is_news(pad, record) {
                    session.want(pad, What::Record);
                }
            }
        }
        let is_reached = list.pads.last().is_some_and(|last| is_known(changed_at(last)));
        page = list.next;
        is_at_end = is_reached || page.is_none();
        if is_at_end {
            break;
        }
    }
    if is_at_end {
        marks.latest = latest.map(|at| match before.filter(|before| before.at == at) {
            Some(before) => {
                let is_settled = before.is_settled || began.duration_since(before.met) >= LAG.unsigned_abs();
                Latest { is_settled, ..before }
            }
            None => Latest { at, met: began, is_settled: false },
        });
    }
    if is_whole && is_at_end {
        marks.whole = Some(began);
        for pad in open.iter().filter(|(id, _)| !met.contains(**id)).map(|(_, pad)| pad) {
            session.want(pad, What::Record);
        }
    }
    Ok(())
}

fn is_open(pad: &Pad) -> bool {
    matches!(pad.phase(), Some(Phase::Open | Phase::Started))
}

fn pad_id(pad: &Pad) -> Option<&str> {
    let of_status = pad.status.as_ref().and_then(|status| status.pad_id.as_deref());
    pad.annotations().get(names::PAD_ID).map(String::as_str).or(of_status)
}

fn made_at(pad: &Pad) -> Option<Timestamp> {
    let at_coderpad = pad.status.as_ref().and_then(|status| status.created_at);
    at_coderpad.or_else(|| pad.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

fn changed_at(record: &PadRecord) -> Timestamp {
    record.updated_at.unwrap_or(record.created_at)
}

/// Whether the list says more of an open Pad than its status does. Who takes part counts as soon as there is somebody.
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
    fn only_what_the_status_does_not_say_is_news() {
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

    #[tokio::test(start_paused = true)]
    async fn what_may_still_be_listed_late_is_walked_over_again() {
        let lag = LAG.as_secs();
        let mut latest = Latest { at: at(1000), met: Instant::now(), is_settled: false };
        assert!(!latest.covers(at(1000)) && !latest.covers(at(1000 - lag)) && latest.covers(at(999 - lag)));
        latest.is_settled = true;
        assert!(latest.covers(at(1000)) && !latest.covers(at(1001)));
    }
}
