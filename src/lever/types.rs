//! What Lever's answers hold, read leniently: unknown keys are ignored, null is the same as absent.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use serde_json::Value;

/// A stage of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Opaque: a UUID or a name such as `lead-new`.
    pub id: String,
    /// What Lever shows (`text` in its API).
    pub name: String,
}

/// One entry of a candidate into a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageChange {
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
    pub stage_changes: Vec<StageChange>,
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
pub struct Note {
    /// Opaque.
    pub id: String,
    /// The texts of the note and of the comments on it, in order.
    pub values: Vec<String>,
    /// When it was written, in milliseconds since 1970.
    pub created_at_ms: Option<i64>,
    /// Whether it was deleted.
    pub deleted: bool,
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
    /// Where the next page begins; none on the last.
    pub next: Option<PageToken>,
}

/// The envelope of a single object.
#[derive(Deserialize)]
pub(super) struct Data<T> {
    pub data: T,
}

/// The envelope of a list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<T> {
    pub data: Vec<T>,
    next: Option<String>,
    has_next: Option<bool>,
}

impl<T> List<T> {
    /// Some lists come without `hasNext`: it counts as false (reference: lever-api.md, 2. Paging).
    pub(super) fn next_page(&self) -> Option<PageToken> {
        let next = self.next.as_ref().filter(|next| !next.is_empty())?;
        self.has_next.unwrap_or(false).then(|| PageToken(next.clone()))
    }
}

#[derive(Deserialize)]
pub(super) struct Id {
    pub id: String,
}

#[derive(Deserialize)]
pub(super) struct RawStage {
    id: Option<String>,
    text: Option<String>,
}

impl RawStage {
    pub(super) fn into_stage(self) -> Option<Stage> {
        Some(Stage { id: self.id.filter(|id| !id.is_empty())?, name: self.text.unwrap_or_default() })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawOpportunity {
    id: String,
    name: Option<String>,
    contact: Option<Reference>,
    stage: Option<Reference>,
    stage_changes: Option<Vec<RawStageChange>>,
    tags: Option<Vec<String>>,
    links: Option<Vec<String>>,
    archived: Option<Value>,
    archived_at: Option<Value>,
    confidentiality: Option<String>,
    is_anonymized: Option<bool>,
    urls: Option<Urls>,
    created_at: Option<Value>,
    updated_at: Option<Value>,
}

/// An id, or, if the answer was asked to expand it, an object that holds it (reference: lever-api.md, 2. expand).
#[derive(Deserialize)]
#[serde(untagged)]
enum Reference {
    Id(String),
    Object { id: String },
    Other(IgnoredAny),
}

impl Reference {
    fn into_id(self) -> Option<String> {
        match self {
            Self::Id(id) | Self::Object { id } => Some(id).filter(|id| !id.is_empty()),
            Self::Other(_) => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawStageChange {
    to_stage_id: Option<String>,
    updated_at: Option<Value>,
}

#[derive(Deserialize)]
struct Urls {
    show: Option<String>,
}

impl From<RawOpportunity> for Opportunity {
    fn from(raw: RawOpportunity) -> Self {
        // Live answers have `archived`, the printed example `archivedAt` (reference: lever-api.md, 3).
        let archived = raw.archived.unwrap_or_default();
        let archived_at_ms = archived.get("archivedAt").and_then(milliseconds);
        let archived_at_ms = archived_at_ms.or_else(|| raw.archived_at.as_ref().and_then(milliseconds));
        let marked = match &archived {
            Value::Null => false,
            Value::Bool(archived) => *archived,
            Value::Object(parts) => parts.values().any(|part| !part.is_null()),
            Value::Number(_) | Value::String(_) | Value::Array(_) => true,
        };
        let stage_changes = raw.stage_changes.unwrap_or_default().into_iter();
        Self {
            id: raw.id,
            name: raw.name.unwrap_or_default(),
            contact: raw.contact.and_then(Reference::into_id),
            stage: raw.stage.and_then(Reference::into_id).unwrap_or_default(),
            stage_changes: stage_changes
                .filter_map(|change| {
                    let updated_at_ms = milliseconds(&change.updated_at?)?;
                    Some(StageChange { to_stage_id: change.to_stage_id?, updated_at_ms })
                })
                .collect(),
            tags: raw.tags.unwrap_or_default(),
            links: raw.links.unwrap_or_default(),
            archived: marked || archived_at_ms.is_some(),
            archived_at_ms,
            confidential: raw.confidentiality.as_deref() == Some("confidential"),
            is_anonymized: raw.is_anonymized.unwrap_or(false),
            profile_url: raw.urls.and_then(|urls| urls.show),
            created_at_ms: raw.created_at.as_ref().and_then(milliseconds),
            updated_at_ms: raw.updated_at.as_ref().and_then(milliseconds),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawNote {
    id: Option<String>,
    #[serde(default, deserialize_with = "null_as_empty")]
    fields: Vec<RawNoteField>,
    created_at: Option<Value>,
    deleted_at: Option<Value>,
}

#[derive(Deserialize)]
struct RawNoteField {
    value: Option<Value>,
}

impl RawNote {
    pub(super) fn into_note(self) -> Note {
        let values = self.fields.into_iter().filter_map(|field| match field.value? {
            Value::String(text) => Some(text),
            _ => None,
        });
        Note {
            id: self.id.unwrap_or_default(),
            values: values.collect(),
            created_at_ms: self.created_at.as_ref().and_then(milliseconds),
            deleted: self.deleted_at.is_some_and(|at| !at.is_null()),
        }
    }
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

/// A time in milliseconds: a number, or, as some of Lever's examples print it, a number in quotes.
pub(super) fn milliseconds(value: &Value) -> Option<i64> {
    match value {
        #[allow(clippy::cast_possible_truncation)]
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|ms| ms as i64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn null_as_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(from)?.unwrap_or_default())
}
