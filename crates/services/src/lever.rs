//! Lever: operations, permissions, and the types of its answers. They are read tolerantly: unknown keys are ignored;
//! null and odd values count as absent (contract S2a). Only the ID is required.

use crate::{AnswerPart, ErrorKind, Service, ServiceError, SurpriseKind};
use serde::Deserialize;
use serde_json::Value;

/// Operation: `GET /stages`.
pub const LIST_STAGES: &str = "GET /stages";
/// Operation: `GET /opportunities`.
pub const LIST_OPPORTUNITIES: &str = "GET /opportunities";
/// Operation: `GET /opportunities/deleted`.
pub const LIST_DELETED: &str = "GET /opportunities/deleted";
/// Operation: `GET /opportunities/{id}`.
pub const GET_OPPORTUNITY: &str = "GET /opportunities/{id}";
/// Operation: `GET /users/{id}`.
pub const GET_USER: &str = "GET /users/{id}";
/// Operation: `GET /opportunities/{id}/notes`.
pub const LIST_NOTES: &str = "GET /opportunities/{id}/notes";
/// Operation: `POST /opportunities/{id}/notes`.
pub const ADD_NOTE: &str = "POST /opportunities/{id}/notes";
/// Operation: `POST /opportunities/{id}/addLinks`.
pub const ADD_LINKS: &str = "POST /opportunities/{id}/addLinks";
/// Operation: `POST /opportunities/{id}/removeLinks`.
pub const REMOVE_LINKS: &str = "POST /opportunities/{id}/removeLinks";
/// Operation: `POST /opportunities/{id}/addTags`.
pub const ADD_TAGS: &str = "POST /opportunities/{id}/addTags";
/// Operation: `POST /opportunities/{id}/removeTags`.
pub const REMOVE_TAGS: &str = "POST /opportunities/{id}/removeTags";

/// Returns the permission that a key needs for an operation, in the words of Lever's settings screen where they are
/// known.
pub fn permission(operation: &str) -> &'static str {
    match operation {
        LIST_STAGES => "the permission \"Find all stages\"",
        LIST_OPPORTUNITIES => "the permission \"Find all opportunities\"",
        GET_OPPORTUNITY => "the permission \"Find an opportunity\"",
        LIST_DELETED => "the permission to list deleted opportunities",
        GET_USER => "the permission \"Find a user\"",
        LIST_NOTES => "the permission to list the notes of an opportunity",
        ADD_NOTE => "the permission \"Create an opportunity note\"",
        ADD_LINKS => "the permission to add links to an opportunity",
        REMOVE_LINKS => "the permission to remove links from an opportunity",
        ADD_TAGS => "the permission \"Add opportunity tags\"",
        REMOVE_TAGS => "the permission to remove tags from an opportunity",
        _ => "those of the group \"Webhooks\" (list, create, delete)",
    }
}

/// Reports whether the operation reads or writes the record of an interview on one candidate: notes and tags.
pub fn is_record(operation: &str) -> bool {
    [LIST_NOTES, ADD_NOTE, ADD_TAGS, REMOVE_TAGS].contains(&operation)
}

/// State of a user in Lever.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UserState {
    /// Lever has no user with this ID.
    Unknown,
    /// The user was deactivated.
    Deactivated,
    /// The user is active.
    Active,
}

/// Maximum length of an opportunity's ID (contract, spec.opportunityID).
const MAX_OPPORTUNITY_ID_LENGTH: usize = 64;

/// Stage of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeverStage {
    /// Opaque ID: a UUID or a name such as `lead-new`.
    pub id: String,
    /// Name as Lever shows it (`text` in its API).
    pub name: String,
}

/// Entry of a candidate into a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageHistoryEntry {
    /// ID of the stage that was entered.
    pub to_stage_id: String,
    /// Time of the entry, in milliseconds since 1970.
    pub updated_at_ms: i64,
}

/// Candidate for one posting (reference: lever-api.md, 3. Opportunities).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opportunity {
    /// Opaque ID.
    pub id: String,
    /// Full name of the person in Lever; may be empty and may contain any characters.
    pub name: String,
    /// ID of the person, the same on all opportunities of the person.
    pub contact: Option<String>,
    /// ID of the current stage; empty if Lever returns none.
    pub stage: String,
    /// Entries into stages, including the creation, in Lever's order.
    pub stage_changes: Vec<StageHistoryEntry>,
    /// Tags of the opportunity itself and tags inherited from the posting. They belong to the opportunity.
    pub tags: Vec<String>,
    /// Links of the contact, the same on all opportunities of the person.
    pub links: Vec<String>,
    /// Whether the opportunity is archived.
    pub archived: bool,
    /// Time of archiving, in milliseconds since 1970.
    pub archived_at_ms: Option<i64>,
    /// Whether the opportunity is confidential.
    pub confidential: bool,
    /// Whether Lever has removed the person's data.
    pub is_anonymized: bool,
    /// URL of the profile in Lever.
    pub profile_url: Option<String>,
    /// Time of creation, in milliseconds since 1970.
    pub created_at_ms: Option<i64>,
    /// Time of the last change, in milliseconds since 1970; none if it never changed.
    pub updated_at_ms: Option<i64>,
}

impl Opportunity {
    /// Returns the time of the last entry into a stage, in milliseconds since 1970. If no entry is known, returns the
    /// time of creation.
    pub fn entry_into(&self, stage_id: &str) -> i64 {
        let entries = self.stage_changes.iter().filter(|change| change.to_stage_id == stage_id);
        entries.map(|change| change.updated_at_ms).max().or(self.created_at_ms).unwrap_or_default()
    }
}

/// Note on an opportunity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeverNote {
    /// Opaque ID.
    pub id: String,
    /// Texts of the note and of its comments, in order.
    pub values: Vec<String>,
    /// Time of creation, in milliseconds since 1970.
    pub created_at_ms: Option<i64>,
    /// Whether the note was deleted.
    pub deleted: bool,
}

/// Notes of an opportunity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notes {
    /// Readable notes.
    pub notes: Vec<LeverNote>,
    /// Number of unreadable notes. Each of them could be the note that is searched for.
    pub left_out: usize,
}

impl Notes {
    /// Returns an error if unreadable notes make it impossible to conclude that a note is missing; none if all notes
    /// are readable.
    pub fn unreadable(&self) -> Option<ServiceError> {
        let message = format!(
            "{} of the candidate's notes cannot be read, so that it is not certain that the operator's note is missing. \
             Check the notes in Lever",
            self.left_out
        );
        (self.left_out > 0)
            .then(|| ServiceError::new(ErrorKind::Unavailable, Service::Lever, LIST_NOTES, None, &message))
    }
}

/// Token of the next page of a list, in a format internal to Lever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(String);

impl PageToken {
    /// Returns the value of the query parameter `offset`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Page of opportunities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpportunityPage {
    /// Readable rows of this page.
    pub opportunities: Vec<Opportunity>,
    /// Number of rows that were left out because they are unreadable. The page contains no information about those
    /// candidates.
    pub left_out: usize,
    /// Token of the next page; none on the last page.
    pub next: Option<PageToken>,
}

/// Envelope of a single object.
#[derive(Deserialize)]
pub struct Data<T> {
    /// The object.
    pub data: T,
}

/// Envelope of a list whose rows must all be readable.
#[derive(Deserialize)]
pub struct List<T> {
    /// The rows.
    pub data: Vec<T>,
}

/// Page of a list.
pub struct ListPage<T> {
    /// Readable rows of this page.
    pub rows: Vec<T>,
    /// Number of rows that were left out.
    pub left_out: usize,
    /// Token of the next page; none on the last page.
    pub next: Option<PageToken>,
}

impl<T> ListPage<T> {
    /// Reads a page. Fails if the fields that locate the next page are unreadable, because the rest of the list would
    /// be missed.
    pub fn from_answer(
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

/// Returns the ID of any object; none if it is empty.
pub fn id(row: &AnswerPart<'_>) -> Option<String> {
    row.needs("id", row.text("id").filter(|id| !id.is_empty()))
}

/// Returns the ID of an opportunity if a Pad can refer to it and a path can contain it.
pub fn opportunity_id(row: &AnswerPart<'_>) -> Option<String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    id(row).filter(|id| id.len() <= MAX_OPPORTUNITY_ID_LENGTH && id.chars().all(is_allowed))
}

/// Reads a row of `GET /stages`.
pub fn stage(row: &AnswerPart<'_>) -> Option<LeverStage> {
    Some(LeverStage { id: id(row)?, name: row.text("text").unwrap_or_default() })
}

/// Returns an ID. If the request asked Lever to expand it, the answer has an object that contains the ID (reference:
/// lever-api.md, 2. expand).
fn reference(of: &AnswerPart<'_>, name: &'static str) -> Option<String> {
    let member = of.member(name)?;
    let id = if member.is_object() { member.text("id") } else { of.text(name) };
    id.filter(|id| !id.is_empty())
}

/// Reads an opportunity with its stage entries, of a list or of its own. Lever always returns at least the entry of the
/// creation (reference: lever-api.md, 3).
pub fn opportunity_with_entries(row: &AnswerPart<'_>) -> Option<Opportunity> {
    let opportunity = opportunity(row)?;
    if opportunity.stage_changes.is_empty() && !opportunity.is_anonymized {
        row.surprise(SurpriseKind::StageChangesMissing, "stageChanges");
    }
    Some(opportunity)
}

/// Reads an opportunity of an answer that may lack its stage entries: to a write, or about a deleted one.
pub fn opportunity(row: &AnswerPart<'_>) -> Option<Opportunity> {
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

/// Returns all texts of the links, including texts within odd members. If a link were overlooked, it would be added
/// twice, or its pad would be created twice (contract X6, X9).
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
        // Records the links that are not texts as odd.
        row.texts("links");
    }
    found
}

/// Returns a note. A note with an unreadable text could be any note, so it is left out.
pub fn note(row: &AnswerPart<'_>) -> Option<LeverNote> {
    if !row.is_object() {
        return None;
    }
    // Fields of forms also contain numbers and lists.
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

/// Answer to a new note: the documentation prints only `noteId`, live answers contain the whole note (reference:
/// lever-api.md, 4. Notes).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedNote {
    note_id: Option<String>,
    id: Option<String>,
}

impl CreatedNote {
    /// Returns the ID of the note.
    pub fn note_id(self) -> Option<String> {
        self.note_id.or(self.id).filter(|id| !id.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Oddities, Sighting};
    use serde_json::json;

    #[test]
    fn an_opportunity_without_stage_entries_is_a_surprise() {
        let read = |row: Value| {
            let odd = Oddities::default();
            assert!(opportunity_with_entries(&AnswerPart::whole(&row, &odd)).is_some());
            odd.surprises()
                .iter()
                .any(|seen| *seen == Sighting::new(SurpriseKind::StageChangesMissing, "stageChanges".into()))
        };
        let entry = json!({"toStageId": "lead-new", "updatedAt": 1_700_000_000_000_i64});
        assert!(!read(json!({"id": "a", "stageChanges": [entry]})));
        assert!(!read(json!({"id": "a", "isAnonymized": true})));
        for missing in [json!(null), json!([]), json!("none"), json!([{"toStageId": "lead-new"}])] {
            assert!(read(json!({"id": "a", "stageChanges": missing})), "{missing}");
        }
    }
}
