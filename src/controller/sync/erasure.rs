//! Adds hints for the Pads that name candidates whom Lever has deleted or anonymized; after their reconcile, they name
//! nobody (contract E12).
//!
//! Two lists contain these candidates, however many Pads exist: the deleted opportunities, and the changed ones, which
//! include the anonymized. While no Pad names anybody, neither is scanned. The status of the connection stores how far
//! both have been scanned, and only a scan that reached its end counts.

use super::stage_scan::SCAN_OVERLAP;
use super::{SyncContext, SyncError, before, lever_lists};
use api::Pad;
use engine::hints::Hint;
use http_client::ErrorKind;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use lever::SpanMs;
use std::collections::HashSet;
use std::sync::Arc;

/// Maximum number of pages of 100 candidates that one sync scans in each list. A longer list is scanned in spans.
const ERASURE_PAGE_LIMIT: usize = 100;
/// Maximum number of pages for the shortest span, which is not divided further.
const SHORTEST_SPAN_PAGE_LIMIT: usize = 500;
/// Shortest span: it is longer than the overlap.
const MIN_ERASURE_SPAN: SignedDuration = SignedDuration::from_mins(3);

/// How far both lists have been scanned.
#[derive(Debug, Default)]
pub struct ErasureWatermark {
    /// Whether the progress of an earlier process has been read from the status of the connection.
    is_begun: bool,
    deleted: ScanProgress,
    anonymized: ScanProgress,
}

impl ErasureWatermark {
    /// Returns the time up to which both lists have been scanned.
    pub fn until(&self) -> Option<Timestamp> {
        Some(self.deleted.until?.min(self.anonymized.until?))
    }
}

/// How far one list has been scanned.
#[derive(Clone, Copy, Debug, Default)]
struct ScanProgress {
    until: Option<Timestamp>,
    /// Length of the next span, if the list since then is too long for one sync.
    span: Option<SignedDuration>,
}

impl ScanProgress {
    /// Returns the start of the next span, and its end if that is not now.
    fn next(&self, first: Timestamp, now: Timestamp) -> (Timestamp, Option<Timestamp>) {
        let from = before(self.until.unwrap_or(first), SCAN_OVERLAP);
        let to = self.span.and_then(|span| from.checked_add(span).ok()).filter(|to| *to < now);
        (from, to)
    }

    /// Returns the maximum number of pages of the next scan.
    fn pages(&self) -> usize {
        if self.span == Some(MIN_ERASURE_SPAN) { SHORTEST_SPAN_PAGE_LIMIT } else { ERASURE_PAGE_LIMIT }
    }

    /// Records the result of the scan of a span. Returns whether the list has been scanned to its present end.
    fn record_scan(
        &mut self,
        (from, to): (Timestamp, Option<Timestamp>),
        now: Timestamp,
        is_whole: bool,
    ) -> bool {
        let length = to.unwrap_or(now).duration_since(from);
        if is_whole {
            self.until = Some(to.unwrap_or(now));
            self.span = to.map(|_| length.saturating_mul(2));
        } else {
            self.span = Some((length / 2).max(MIN_ERASURE_SPAN));
        }
        is_whole && to.is_none()
    }
}

/// Scans both lists, and adds hints for the Pads that name a deleted or anonymized candidate.
pub async fn scan_erasures(session: &SyncContext<'_>, marks: &mut ErasureWatermark) -> Result<(), SyncError> {
    let named =
        session.context.scope.pads.matching(&session.namespace, |pad| holds_personal_data(session, pad));
    let now = Timestamp::now();
    if !marks.is_begun {
        let status = session.connection.status.as_ref();
        let until = status.and_then(|status| status.erasures_checked_until).filter(|until| *until <= now);
        *marks = ErasureWatermark { is_begun: true, ..ErasureWatermark::default() };
        (marks.deleted.until, marks.anonymized.until) = (until, until);
    }
    let Some(oldest) = named.iter().filter_map(|pad| named_since(pad, marks.until())).min() else {
        // Candidates who are named from now on have been read from Lever by then.
        let complete = ScanProgress { until: Some(now), span: None };
        (marks.deleted, marks.anonymized) = (complete, complete);
        return Ok(());
    };
    let in_spans = marks.deleted.span.or(marks.anonymized.span).is_some();
    if !in_spans && marks.until().is_some_and(|until| named.iter().any(|pad| is_restored(pad, until))) {
        (marks.deleted, marks.anonymized) = Default::default();
    }
    let span_of = |(from, to): (Timestamp, Option<Timestamp>)| SpanMs {
        from: from.as_millisecond().max(0),
        to: to.map(Timestamp::as_millisecond),
    };
    let mut is_whole = true;

    let span = marks.deleted.next(oldest, now);
    match lever_lists::deleted_in(session, span_of(span), marks.deleted.pages()).await {
        Ok((ids, whole)) => {
            add_erasure_hints(session, &named, ids);
            is_whole &= marks.deleted.record_scan(span, now, whole);
        }
        // All else works without this permission: the status of the connection does not change.
        Err(SyncError::Service(error)) if error.class == ErrorKind::Forbidden => {
            let (namespace, connection) = (&session.namespace, session.connection.name_any());
            tracing::warn!(%namespace, connection, operation = error.operation, "the Lever API key lacks a permission; Pads keep the names of candidates who were deleted in Lever. Use a key with all read and write permissions");
        }
        Err(error) => return Err(error),
    }
    let span = marks.anonymized.next(oldest, now);
    let (ids, whole) = lever_lists::anonymized_in(session, span_of(span), marks.anonymized.pages()).await?;
    add_erasure_hints(session, &named, ids);
    is_whole &= marks.anonymized.record_scan(span, now, whole);
    if is_whole { Ok(()) } else { Err(SyncError::Continues("candidates who were deleted or anonymized")) }
}

fn add_erasure_hints(session: &SyncContext<'_>, named: &[Arc<Pad>], gone: Vec<String>) {
    let gone: HashSet<String> = gone.into_iter().collect();
    for pad in named.iter().filter(|pad| gone.contains(&pad.spec.opportunity_id)) {
        session.add_hint(pad, Hint::Erased);
    }
}

/// Reports whether a Pad was restored after both lists were scanned: it may name a candidate who was deleted before.
fn is_restored(pad: &Pad, scanned_until: Timestamp) -> bool {
    let stored_at = pad.metadata.creation_timestamp.as_ref().map(|time| time.0);
    stored_at.is_some_and(|at| at >= before(scanned_until, SCAN_OVERLAP))
        && named_since(pad, Some(scanned_until)).is_some_and(|at| at < before(scanned_until, SCAN_OVERLAP))
}

/// Returns the time since which a Pad may name its candidate. A Pad that was stored after the last scan may have
/// been restored: then its status contains the earlier times.
fn named_since(pad: &Pad, scanned_until: Option<Timestamp>) -> Option<Timestamp> {
    let stored_at = pad.metadata.creation_timestamp.as_ref().map(|time| time.0)?;
    let status = pad.status.as_ref();
    let noted = status.and_then(|status| status.created_at.into_iter().chain(status.linked_at).min());
    let is_new = scanned_until.is_none_or(|until| stored_at >= before(until, SCAN_OVERLAP));
    Some(noted.filter(|_| is_new).map_or(stored_at, |noted| noted.min(stored_at)))
}

/// Reports whether a Pad of the connection has a name in its status. Its configuration may be deleted already.
fn holds_personal_data(session: &SyncContext<'_>, pad: &Pad) -> bool {
    let names = |one: &str| one == pad.spec.configuration_ref.name;
    // A Pad may name a connection that was renamed since.
    let is_ours = pad.spec.connection_ref.as_ref() == Some(&session.connection.reference())
        || session.configurations.iter().any(|one| names(&one.name_any()));
    let holds = |status: &api::pad::PadStatus| {
        status.candidate.is_some() || status.candidate_url.is_some() || !status.participants.is_empty()
    };
    is_ours && pad.status.as_ref().is_some_and(holds)
}

#[cfg(test)]
pub(super) fn try_times(pad: &Pad, any: Timestamp, now: Timestamp) {
    is_restored(pad, any);
    named_since(pad, Some(any));
    let mut progress = ScanProgress { until: Some(any), span: Some(SignedDuration::MAX) };
    for is_whole in [true, false, true] {
        let span = progress.next(any, now);
        progress.record_scan(span, now, is_whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + 60 * minute).unwrap()
    }

    #[test]
    fn a_list_too_long_for_one_sync_is_scanned_in_spans() {
        let mut progress = ScanProgress::default();
        let (first, now) = (at(0), at(10_000));
        // 12,000 changes, about one each minute, and no more than 3,000 fit into a sync.
        let mut syncs = 0;
        loop {
            let span = progress.next(first, now);
            let fits = span.1.unwrap_or(now).duration_since(span.0) <= SignedDuration::from_mins(3000);
            let before = progress.until;
            let is_at_end = progress.record_scan(span, now, fits);
            assert!(progress.until >= before && (fits || progress.until == before));
            syncs += 1;
            if is_at_end {
                break;
            }
            assert!(syncs < 20);
        }
        assert_eq!((progress.until, progress.span), (Some(now), None));
        assert_eq!(progress.next(first, now), (before(now, SCAN_OVERLAP), None));

        let mut progress_of_full = ScanProgress::default();
        for _ in 0..40 {
            let span = progress_of_full.next(first, now);
            assert!(!progress_of_full.record_scan(span, now, false));
        }
        assert!(progress_of_full.span.unwrap() > SCAN_OVERLAP, "a span reaches further than the overlap");
    }

    #[test]
    fn a_restored_pad_counts_from_its_status() {
        let pad = |stored_at: i64, created_at: i64| -> Pad {
            let status = json!({"observedGeneration": 1, "candidate": "Ada", "createdAt": at(created_at)});
            let pad: Value = json!({
                "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
                "metadata": {"name": "p", "creationTimestamp": at(stored_at)},
                "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"}, "status": status,
            });
            serde_json::from_value(pad).unwrap()
        };
        assert!(is_restored(&pad(500, 10), at(400)) && !is_restored(&pad(500, 501), at(400)));
        assert!(!is_restored(&pad(5, 3), at(400)), "stored before the scan");
        assert_eq!(named_since(&pad(500, 10), Some(at(400))), Some(at(10)));
        assert_eq!(named_since(&pad(5, 3), Some(at(400))), Some(at(5)));
    }
}
