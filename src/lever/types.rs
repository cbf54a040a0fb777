//! What Lever's answers hold, read leniently: unknown keys are ignored, null is the same as absent, and so is what is odd
//! (contract S2a). Only the ID is required.

use crate::transport::AnswerPart;
use serde::Deserialize;
use serde_json::Value;

/// Longest ID of an opportunity (contract, spec.opportunityID).
const MAX_OPPORTUNITY_ID_LENGTH: usize = 64;

/// A stage of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeverStage {
    /// Opaque: a UUID or a name such as `lead-new`.
    pub id: String,
    /// What Lever shows (`text` in its API).
    pub name: String,
}

/// One entry of a candidate into a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageHistoryEntry {
    /// The stage that was entered.
    pub to_stage_id: String,
    /// When, in milliseconds since 1970.
    pub updated_at_ms: i64,
}

/// A candidate for one posting (reference: lever-api.md, 3. Opportunities).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opportunity {
    /// Opaque.
    pub id: String,
    /// The person's full name as Lever has it: may be empty, may hold any characters.
    pub name: String,
    /// The person, the same over all their opportunities.
    pub contact: Option<String>,
    /// The present stage's id; empty if Lever gives none.
    pub stage: String,
    /// Entries into stages, the creation included, in Lever's order.
    pub stage_changes: Vec<StageHistoryEntry>,
    /// Own tags and those inherited from the posting. They belong to the opportunity.
    pub tags: Vec<String>,
    /// Links of the contact: the same on all opportunities of the person.
    pub links: Vec<String>,
    /// Whether it is archived.
    pub archived: bool,
    /// When it was archived, in milliseconds since 1970.
    pub archived_at_ms: Option<i64>,
    /// Whether it is confidential.
    pub confidential: bool,
    /// Whether Lever has removed the person's data.
    pub is_anonymized: bool,
    /// The profile in Lever.
    pub profile_url: Option<String>,
    /// When it was created, in milliseconds since 1970.
    pub created_at_ms: Option<i64>,
    /// When it last changed, in milliseconds since 1970; none if never.
    pub updated_at_ms: Option<i64>,
}

impl Opportunity {
    /// The last entry into a stage, in milliseconds since 1970; if none is known, the creation.
    pub fn entry_into(&self, stage_id: &str) -> i64 {
        let entries = self.stage_changes.iter().filter(|change| change.to_stage_id == stage_id);
        entries.map(|change| change.updated_at_ms).max().or(self.created_at_ms).unwrap_or_default()
    }
}

/// A note on an opportunity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeverNote {
    /// Opaque.
    pub id: String,
    /// The texts of the note and of the comments on it, in order.
    pub values: Vec<String>,
    /// When it was written, in milliseconds since 1970.
    pub created_at_ms: Option<i64>,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// The notes of an opportunity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notes {
    /// Those that can be read.
    pub notes: Vec<LeverNote>,
    /// Number of notes that cannot be read: each could be the one that is searched for.
    pub left_out: usize,
}

/// Where the next page of a list begins. Only Lever understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(String);

impl PageToken {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A page of opportunities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpportunityPage {
    /// The rows of this page.
    pub opportunities: Vec<Opportunity>,
    /// Number of rows that were left out because they cannot be read: the page says nothing of those candidates.
    pub left_out: usize,
    /// Where the next page begins; none on the last.
    pub next: Option<PageToken>,
}

/// The envelope of a single object.
#[derive(Deserialize)]
pub(super) struct Data<T> {
    pub data: T,
}

/// The envelope of a list whose rows must all be readable.
#[derive(Deserialize)]
pub(super) struct List<T> {
    pub data: Vec<T>,
}

/// The rows of one page of a list.
pub(super) struct ListPage<T> {
    pub rows: Vec<T>,
    /// Number of rows that were left out.
    pub left_out: usize,
    pub next: Option<PageToken>,
}

impl<T> ListPage<T> {
    /// A page whose place in its list cannot be read is refused: the rest of the list would be missed.
    pub(super) fn of(
        answer: &AnswerPart<'_>,
        read: impl FnMut(&AnswerPart<'_>) -> Option<T>,
    ) -> Result<Self, &'static str> {
        let (rows, left_out) = answer.rows("data", read).ok_or("the answer has no list of rows")?;
        let place = "the answer does not say where the next page begins";
        let next = answer.value().get("next").unwrap_or(&Value::Null);
        let next = if next.is_null() { "" } else { next.as_str().ok_or(place)? };
        // Some lists come without `hasNext`: it counts as false (reference: lever-api.md, 2. Paging).
        let has_next = answer.value().get("hasNext").unwrap_or(&Value::Null);
        let has_next = if has_next.is_null() { false } else { has_next.as_bool().ok_or(place)? };
        let next = (has_next && !next.is_empty()).then(|| PageToken(next.to_owned()));
        Ok(Self { rows, left_out, next })
    }
}

/// The ID of any object; none if it is empty.
pub(super) fn id(row: &AnswerPart<'_>) -> Option<String> {
    row.needs("id", row.text("id").filter(|id| !id.is_empty()))
}

/// The ID of an opportunity: what a Pad can name and what can be part of a path.
pub(super) fn opportunity_id(row: &AnswerPart<'_>) -> Option<String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    id(row).filter(|id| id.len() <= MAX_OPPORTUNITY_ID_LENGTH && id.chars().all(is_allowed))
}

pub(super) fn stage(row: &AnswerPart<'_>) -> Option<LeverStage> {
    Some(LeverStage { id: id(row)?, name: row.text("text").unwrap_or_default() })
}

/// An ID, or, if the answer was asked to expand it, an object that holds it (reference: lever-api.md, 2. expand).
fn reference(of: &AnswerPart<'_>, name: &'static str) -> Option<String> {
    let member = of.member(name)?;
    let id = if member.is_object() { member.text("id") } else { of.text(name) };
    id.filter(|id| !id.is_empty())
}

pub(super) fn opportunity(row: &AnswerPart<'_>) -> Option<Opportunity> {
    let id = opportunity_id(row)?;
    // Live answers have `archived`, the printed example `archivedAt` (reference: lever-api.md, 3).
    let archived = row.member("archived");
    let archived_at_ms =
        archived.filter(AnswerPart::is_object).and_then(|archived| archived.milliseconds("archivedAt"));
    let archived_at_ms = archived_at_ms.or_else(|| row.milliseconds("archivedAt"));
    let marked = archived.is_some_and(|archived| match archived.value() {
        Value::Null => false,
        Value::Bool(archived) => *archived,
        Value::Object(parts) => parts.values().any(|part| !part.is_null()),
        Value::Number(_) | Value::String(_) | Value::Array(_) => true,
    });
    let stage_changes = row.items("stageChanges", |change| {
        let (to_stage_id, at) = (change.text("toStageId"), change.milliseconds("updatedAt"));
        Some(StageHistoryEntry { to_stage_id: to_stage_id?, updated_at_ms: at? })
    });
    Some(Opportunity {
        id,
        name: row.text("name").unwrap_or_default(),
        contact: reference(row, "contact"),
        stage: reference(row, "stage").unwrap_or_default(),
        stage_changes: stage_changes.unwrap_or_default(),
        tags: row.texts("tags"),
        links: links(row),
        archived: marked || archived_at_ms.is_some(),
        archived_at_ms,
        confidential: row.text("confidentiality").as_deref() == Some("confidential"),
        is_anonymized: row.flag("isAnonymized").unwrap_or(false),
        profile_url: row.member("urls").and_then(|urls| urls.text("show")),
        created_at_ms: row.milliseconds("createdAt"),
        updated_at_ms: row.milliseconds("updatedAt"),
    })
}

/// All texts of the links, also those within odd members: a link that was overlooked would be added twice, or the pad
/// behind it made twice (contract X6, X9).
fn links(row: &AnswerPart<'_>) -> Vec<String> {
    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            Value::Object(members) => members.values().for_each(|member| texts(member, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut found = Vec::new();
    if let Some(links) = row.member("links") {
        texts(links.value(), &mut found);
        // Notes those that are no texts.
        row.texts("links");
    }
    found
}

/// A note. One whose text cannot be read could be any note, so it counts as left out.
pub(super) fn note(row: &AnswerPart<'_>) -> Option<LeverNote> {
    if !row.is_object() {
        return None;
    }
    // Fields of forms hold numbers and lists as well.
    let text =
        |field: &AnswerPart<'_>| Some(field.value().get("value").and_then(Value::as_str).map(str::to_owned));
    let fields = match row.member("fields") {
        None => Vec::new(),
        Some(_) => row.items("fields", text)?,
    };
    Some(LeverNote {
        id: row.text("id").unwrap_or_default(),
        values: fields.into_iter().flatten().collect(),
        created_at_ms: row.milliseconds("createdAt"),
        deleted: row.member("deletedAt").is_some(),
    })
}

/// The answer to a new note: printed with only `noteId`, live with the whole note (reference: lever-api.md, 4. Notes).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatedNote {
    note_id: Option<String>,
    id: Option<String>,
}

impl CreatedNote {
    pub(super) fn note_id(self) -> Option<String> {
        self.note_id.or(self.id).filter(|id| !id.is_empty())
    }
}
