//! Walks over Lever's opportunities.

use super::{Session, SyncError};
use crate::lever::{LeverClient, Opportunity, OpportunityPage, PageToken};
use crate::transport::Error;
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};

/// At most so many pages of 100 candidates; more are in no stage.
const PAGES: usize = 500;
/// How often a walk begins again whose place Lever has lost.
const BEGINNINGS: usize = 3;

/// A candidate who was met in a walk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// Id of the opportunity.
    pub id: String,
    /// The last entry into the stage of the walk.
    pub entry: Timestamp,
    /// When the opportunity was made.
    pub made_at: Option<Timestamp>,
    /// Whether it can have a pad at all: the list may lie behind what Lever says of each.
    pub is_free: bool,
}

impl Row {
    fn of(opportunity: &Opportunity, stage_id: &str) -> Option<Self> {
        let Opportunity { archived, confidential, is_anonymized, created_at_ms, .. } = opportunity;
        Some(Self {
            id: opportunity.id.clone(),
            entry: Timestamp::from_millisecond(opportunity.entry_into(stage_id)).ok()?,
            made_at: created_at_ms.and_then(|at| Timestamp::from_millisecond(at).ok()),
            is_free: !archived && !confidential && !is_anonymized && opportunity.stage == stage_id,
        })
    }
}

/// The candidates of a walk.
#[derive(Debug)]
pub struct Walk {
    /// Each once.
    pub rows: Vec<Row>,
    /// IDs of the pads whose links are on a candidate, by the opportunity's ID; only of candidates with any.
    pub linked: HashMap<String, Vec<String>>,
    /// Whether it got to the end: only then it says who is not there.
    pub is_whole: bool,
}

/// Which candidates a walk goes over.
enum List<'a> {
    InStage { stage_id: &'a str, tag: &'a str },
    ArchivedSince { at_ms: i64 },
    DeletedSince { at_ms: i64 },
    UpdatedSince { at_ms: i64 },
}

impl List<'_> {
    async fn page(&self, lever: &LeverClient, page: Option<&PageToken>) -> Result<OpportunityPage, Error> {
        match self {
            List::InStage { stage_id, tag } => {
                lever.opportunities(lever.permit().await, stage_id, tag, page).await
            }
            List::ArchivedSince { at_ms } => lever.archived_since(*at_ms, page).await,
            List::DeletedSince { at_ms } => lever.deleted_since(*at_ms, page).await,
            List::UpdatedSince { at_ms } => lever.updated_since(*at_ms, page).await,
        }
    }
}

/// All candidates who are in the stage, carry the tag and are not archived.
pub async fn walk(session: &Session<'_>, stage_id: &str, tag: &str) -> Result<Walk, SyncError> {
    let row = |one: Opportunity| Some((Row::of(&one, stage_id)?, session.linked_pads(&one)));
    let (found, is_whole) = all_pages(session, List::InStage { stage_id, tag }, row).await?;
    let (mut rows, mut linked) = (Vec::new(), HashMap::new());
    let mut met = HashSet::new();
    for (row, pads) in found.into_iter().filter(|(row, _)| met.insert(row.id.clone())) {
        if !pads.is_empty() {
            linked.insert(row.id.clone(), pads);
        }
        rows.push(row);
    }
    Ok(Walk { rows, linked, is_whole })
}

/// The ids of the candidates who were archived since, and whether these are all.
pub async fn archived_since(session: &Session<'_>, at_ms: i64) -> Result<(Vec<String>, bool), SyncError> {
    all_pages(session, List::ArchivedSince { at_ms }, |one| Some(one.id)).await
}

/// The ids of the candidates who were deleted since, and whether these are all.
pub async fn deleted_since(session: &Session<'_>, at_ms: i64) -> Result<(Vec<String>, bool), SyncError> {
    all_pages(session, List::DeletedSince { at_ms }, |one| Some(one.id)).await
}

/// The ids of the candidates who have changed since and are anonymized, and whether these are all.
pub async fn anonymized_since(session: &Session<'_>, at_ms: i64) -> Result<(Vec<String>, bool), SyncError> {
    let anonymized = |one: Opportunity| one.is_anonymized.then_some(one.id);
    all_pages(session, List::UpdatedSince { at_ms }, anonymized).await
}

async fn all_pages<T>(
    session: &Session<'_>,
    list: List<'_>,
    keep: impl Fn(Opportunity) -> Option<T>,
) -> Result<(Vec<T>, bool), SyncError> {
    let (mut found, mut page, mut beginnings) = (Vec::new(), None, 1);
    for _ in 0..PAGES {
        session.goes_on()?;
        match list.page(&session.account.lever, page.as_ref()).await {
            Ok(OpportunityPage { opportunities, next }) => {
                found.extend(opportunities.into_iter().filter_map(&keep));
                page = next;
                if page.is_none() {
                    return Ok((found, true));
                }
            }
            Err(error) if error.is_stale_page() && beginnings < BEGINNINGS => {
                beginnings += 1;
                found.clear();
                page = None;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((found, false))
}
