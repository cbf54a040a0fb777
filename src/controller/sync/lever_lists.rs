//! Reads the pages of Lever's lists of opportunities.

use super::{SyncContext, SyncError};
use engine::scan_action::{ListedCandidate, ListingMatch};
use http_client::ServiceError;
use lever::{LeverClient, Opportunity, OpportunityPage, PageToken, SpanMs};
use std::collections::{HashMap, HashSet};

/// Maximum number of pages of 100 candidates; no stage has more.
const LIST_PAGE_LIMIT: usize = 500;
/// Maximum number of starts of a scan whose page token Lever no longer accepts.
const MAX_SCAN_STARTS: usize = 3;

/// The candidates of a scan.
#[derive(Debug, Default)]
pub struct StageScan {
    /// Each candidate once.
    pub rows: Vec<ListedCandidate>,
    /// IDs of all candidates with the tag, including those whose entry into the stage has no time.
    pub listed: HashSet<String>,
    /// IDs of the candidates without the tag, although the list was filtered by it.
    pub without_tag: HashSet<String>,
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

/// Extent of a scan of a stage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StageList {
    /// The list that Lever filters by the tag.
    Filtered,
    /// All candidates of the stage.
    Unfiltered,
    /// The first page of all candidates of the stage.
    UnfilteredPage,
}

/// The list of candidates that a scan reads.
enum CandidateList<'a> {
    InStage { stage_id: &'a str, tag: Option<&'a str> },
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
                lever.opportunities(lever.permit().await, stage_id, *tag, page).await
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

/// Returns all candidates who are in the stage, have the tag and are not archived, as far as the list contains them.
/// Each row is checked, because Lever may ignore a filter (contract S2a).
pub async fn list_stage(
    session: &SyncContext<'_>,
    stage_id: &str,
    tag: &str,
    list: StageList,
) -> Result<StageScan, SyncError> {
    let is_filtered = list == StageList::Filtered;
    let row = |one: Opportunity| match ListingMatch::of(&one, stage_id, tag) {
        ListingMatch::Full => {
            let linked = session.linked_pads(&one);
            Some((one.id.clone(), Some((ListedCandidate::from_opportunity(&one, stage_id), linked))))
        }
        ListingMatch::TagMissing => is_filtered.then_some((one.id, None)),
        ListingMatch::Elsewhere => None,
    };
    let filter = CandidateList::InStage { stage_id, tag: is_filtered.then_some(tag) };
    let most = if list == StageList::UnfilteredPage { 1 } else { LIST_PAGE_LIMIT };
    let ScanResult { found, is_whole, left_out } = pages(session, filter, most, row).await?;
    let mut scan = StageScan { is_whole, left_out, ..StageScan::default() };
    for (id, row) in found {
        let Some((candidate, pads)) = row else {
            scan.without_tag.insert(id);
            continue;
        };
        if !scan.listed.insert(id.clone()) {
            continue;
        }
        let Some(candidate) = candidate else {
            scan.left_out = scan.left_out.saturating_add(1);
            continue;
        };
        if !pads.is_empty() {
            scan.linked.insert(id, pads);
        }
        scan.rows.push(candidate);
    }
    Ok(scan)
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
