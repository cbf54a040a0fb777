//! Reads the pages of Lever's lists of opportunities.

use super::{SyncContext, SyncError};
use engine::scan_action::ListedCandidate;
use http_client::ServiceError;
use lever::{LeverClient, Opportunity, OpportunityPage, PageToken, SpanMs};
use std::collections::{HashMap, HashSet};

/// Maximum number of pages of 100 candidates; no stage has more.
const LIST_PAGE_LIMIT: usize = 500;
/// Maximum number of starts of a scan whose page token Lever no longer accepts.
const MAX_SCAN_STARTS: usize = 3;

/// The candidates of a scan.
#[derive(Debug)]
pub struct StageScan {
    /// Each candidate once.
    pub rows: Vec<ListedCandidate>,
    /// IDs of the pads whose links are on a candidate, by the opportunity's ID; only of candidates with any.
    pub linked: HashMap<String, Vec<String>>,
    /// Whether the scan reached the end of the list.
    pub is_whole: bool,
    /// Number of candidates whose rows cannot be read.
    pub left_out: usize,
}

impl StageScan {
    /// Reports whether a candidate who is not among the rows is certainly not in the list (contract S2b).
    pub fn shows_absence(&self) -> bool {
        self.is_whole && self.left_out == 0
    }
}

/// The list of candidates that a scan reads.
enum CandidateList<'a> {
    InStage { stage_id: &'a str, tag: &'a str },
    ArchivedSince { at_ms: i64 },
    DeletedIn(SpanMs),
    UpdatedIn(SpanMs),
}

impl CandidateList<'_> {
    async fn page(
        &self,
        lever: &LeverClient,
        page: Option<&PageToken>,
    ) -> Result<OpportunityPage, ServiceError> {
        match self {
            CandidateList::InStage { stage_id, tag } => {
                lever.opportunities(lever.permit().await, stage_id, tag, page).await
            }
            CandidateList::ArchivedSince { at_ms } => lever.archived_since(*at_ms, page).await,
            CandidateList::DeletedIn(span) => lever.deleted_in(*span, page).await,
            CandidateList::UpdatedIn(span) => lever.updated_in(*span, page).await,
        }
    }
}

/// Result of a scan.
struct ScanResult<T> {
    found: Vec<T>,
    is_whole: bool,
    left_out: usize,
}

/// Returns all candidates who are in the stage, have the tag and are not archived.
pub async fn list_stage(
    session: &SyncContext<'_>,
    stage_id: &str,
    tag: &str,
) -> Result<StageScan, SyncError> {
    let row = |one: Opportunity| {
        Some((ListedCandidate::from_opportunity(&one, stage_id), session.linked_pads(&one)))
    };
    let ScanResult { found, is_whole, left_out } =
        pages(session, CandidateList::InStage { stage_id, tag }, LIST_PAGE_LIMIT, row).await?;
    let without_entry = found.iter().filter(|(row, _)| row.is_none()).count();
    let (mut rows, mut linked) = (Vec::new(), HashMap::new());
    let mut met = HashSet::new();
    let with_entry = found.into_iter().filter_map(|(row, pads)| Some((row?, pads)));
    for (row, pads) in with_entry.filter(|(row, _)| met.insert(row.id.clone())) {
        if !pads.is_empty() {
            linked.insert(row.id.clone(), pads);
        }
        rows.push(row);
    }
    Ok(StageScan { rows, linked, is_whole, left_out: left_out.saturating_add(without_entry) })
}

/// Returns the IDs of the candidates who were archived since `at_ms`, and whether the list is complete.
pub async fn archived_since(session: &SyncContext<'_>, at_ms: i64) -> Result<(Vec<String>, bool), SyncError> {
    let archived =
        pages(session, CandidateList::ArchivedSince { at_ms }, LIST_PAGE_LIMIT, |one| Some(one.id)).await?;
    Ok((archived.found, archived.is_whole))
}

/// Returns the IDs of the candidates who were deleted in a span of time, and whether the list is complete.
pub async fn deleted_in(
    session: &SyncContext<'_>,
    span: SpanMs,
    most: usize,
) -> Result<(Vec<String>, bool), SyncError> {
    let deleted = pages(session, CandidateList::DeletedIn(span), most, |one| Some(one.id)).await?;
    Ok((deleted.found, deleted.is_whole))
}

/// Returns the IDs of the anonymized candidates who changed in a span of time, and whether the list is complete.
pub async fn anonymized_in(
    session: &SyncContext<'_>,
    span: SpanMs,
    most: usize,
) -> Result<(Vec<String>, bool), SyncError> {
    let anonymized = |one: Opportunity| one.is_anonymized.then_some(one.id);
    let anonymized = pages(session, CandidateList::UpdatedIn(span), most, anonymized).await?;
    Ok((anonymized.found, anonymized.is_whole))
}

/// Scans a list, with a maximum number of pages.
async fn pages<T>(
    session: &SyncContext<'_>,
    list: CandidateList<'_>,
    most: usize,
    keep: impl Fn(Opportunity) -> Option<T>,
) -> Result<ScanResult<T>, SyncError> {
    let (mut page, mut beginnings) = (None, 1);
    let mut found = ScanResult { found: Vec::new(), is_whole: false, left_out: 0 };
    for _ in 0..most {
        session.check_still_active()?;
        match list.page(&session.clients.lever, page.as_ref()).await {
            Ok(OpportunityPage { opportunities, left_out, next }) => {
                found.found.extend(opportunities.into_iter().filter_map(&keep));
                found.left_out = found.left_out.saturating_add(left_out);
                page = next;
                if page.is_none() {
                    found.is_whole = true;
                    return Ok(found);
                }
            }
            Err(error) if error.is_stale_page() && beginnings < MAX_SCAN_STARTS => {
                beginnings += 1;
                (found.found, found.left_out, page) = (Vec::new(), 0, None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}
