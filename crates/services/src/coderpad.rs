//! CoderPad Interview: the form of a new pad, and the types of the answers. They are read tolerantly: unknown keys are
//! ignored; null and odd values count as absent, except for fields that identify an object or cost money (contract S2a).

use crate::{AnswerPart, SurpriseKind};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use url::Url;
use url::form_urlencoded;

/// Operation: `POST /pads`, the only one that costs money.
pub const CREATE_PAD: &str = "POST /pads";
/// Time limit of a take-home, in minutes. Take-homes that are created for an applicant tracking system always get two
/// hours.
const TAKE_HOME_MINUTES: &str = "120";

/// Pad to be created (reference: interview-api.md, 2. POST fields). A field that is none is not sent, so that the
/// account's default applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewPad {
    /// Title of the pad.
    pub title: String,
    /// Initial language; not together with a question.
    pub language: Option<String>,
    /// ID of the question that the pad is created from.
    pub question_id: Option<i64>,
    /// Private notes for the interviewer.
    pub notes: String,
    /// Whether the candidate has to wait for admission.
    pub private: Option<bool>,
    /// E-mail address of the owner. CoderPad creates an account for an unknown address: look the address up first.
    pub owner_email: Option<String>,
    /// Whether the pad is a take-home, with a limit of 120 minutes.
    pub take_home: bool,
}

impl NewPad {
    /// Returns the form with flat names, as in the documentation's curl samples (reference: interview-api.md, 1. Body
    /// format).
    pub fn form(&self) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("title", &self.title);
        if let Some(language) = &self.language {
            form.append_pair("language", language);
        }
        if let Some(question) = self.question_id {
            form.append_pair("question_id", &question.to_string());
        }
        form.append_pair("notes", &self.notes);
        if let Some(private) = self.private {
            form.append_pair("private", if private { "true" } else { "false" });
        }
        if let Some(owner) = &self.owner_email {
            form.append_pair("user_email", owner);
        }
        if self.take_home {
            form.append_pair("take_home", "true").append_pair("take_home_time_limit", TAKE_HOME_MINUTES);
        }
        form.finish()
    }
}

/// Maximum length of a pad ID that is accepted.
const MAX_PAD_ID_LENGTH: usize = 64;

/// Organization of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationRecord {
    /// Name of the organization; none for a key without an organization.
    pub name: Option<String>,
    /// ID of the organization, if CoderPad returns one. A client has seen it; it is not documented.
    pub id: Option<String>,
    /// E-mail addresses of its users, as CoderPad writes them.
    pub user_emails: Vec<String>,
}

/// User of the organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoderPadUser {
    /// E-mail address, as CoderPad writes it.
    pub email: String,
    /// Name of the user.
    pub name: Option<String>,
}

/// Quota of pads in the current billing cycle (reference: interview-api.md, 4. Quota).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PadQuota {
    /// Whether the plan is unlimited.
    pub unlimited: bool,
    /// Number of pads created in this cycle.
    pub used: i64,
    /// Number of pads that remain in this cycle; none if unlimited.
    pub remaining: Option<i64>,
    /// Number of pads per cycle; none if unlimited.
    pub limit: Option<i64>,
    /// Whether CoderPad bills pads beyond the limit.
    pub overages_enabled: Option<bool>,
}

/// Kind of a pad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadKind {
    /// Interview with an interviewer.
    Live,
    /// Take-home that the candidate works on alone.
    TakeHome,
    /// CoderPad returns no kind, or a kind that the operator does not support.
    Unknown,
}

impl PadKind {
    /// Returns the kind for CoderPad's text. The documentation and clients use different spellings (reference:
    /// interview-api.md, 2. Pad fields).
    fn from_text(text: Option<&str>) -> Self {
        match text.unwrap_or_default().to_lowercase().replace(['-', '_', ' '], "").as_str() {
            "live" | "interview" => Self::Live,
            "takehome" => Self::TakeHome,
            _ => Self::Unknown,
        }
    }

    fn is_known_word(text: &str) -> bool {
        Self::from_text(Some(text)) != Self::Unknown
    }
}

/// Pad in CoderPad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PadRecord {
    /// ID: at most 64 unreserved URL characters.
    pub id: String,
    /// Title of the pad.
    pub title: String,
    /// State in CoderPad: `pending`, `started`, `ended`, and maybe others.
    pub state: String,
    /// Kind of the pad.
    pub kind: PadKind,
    /// URL for both candidate and interviewer, http or https; empty only in a list row without a URL.
    pub url: String,
    /// URL for watching the interview afterwards; needs an account in CoderPad.
    pub playback: Option<String>,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Option<Timestamp>,
    /// Time at which the interview ended; none before.
    pub ended_at: Option<Timestamp>,
    /// Private notes for the interviewer; empty if none.
    pub notes: String,
    /// Names that the participants gave themselves, including the owner.
    pub participants: Vec<String>,
    /// Language; none for a pad with several environments.
    pub language: Option<String>,
    /// E-mail address of the owner.
    pub owner_email: Option<String>,
    /// IDs of the environments that contain the code, for `GET /pad_environments/{id}`.
    pub environment_ids: Vec<i64>,
    /// Code of a pad without environments.
    pub contents: Option<String>,
    deleted: bool,
}

impl PadRecord {
    /// Returns a pad from the API's answer for a single pad.
    pub fn from_json(json: &Value) -> Option<Self> {
        single_pad(&AnswerPart::whole(json, &Default::default())).ok()
    }
}

impl PadRecord {
    /// Reports whether the interview has started. This includes ended interviews.
    pub fn is_started(&self) -> bool {
        self.is_ended() || self.state.eq_ignore_ascii_case("started")
    }

    /// Reports whether the interview has ended (reference: interview-api.md, 6. Lifecycle, Ended).
    pub fn is_ended(&self) -> bool {
        self.ended_at.is_some() || self.state.eq_ignore_ascii_case("ended")
    }

    /// Reports whether CoderPad marks the pad as deleted. Whether CoderPad ever does so, instead of answering 404, is
    /// not documented.
    pub fn is_deleted(&self) -> bool {
        self.deleted || self.state.eq_ignore_ascii_case("deleted")
    }
}

/// Reports whether a state of a pad is one that [`PadRecord`] interprets, or `pending`.
fn is_known_state(word: &str) -> bool {
    ["pending", "started", "ended", "deleted"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// Reports whether a kind of event is known (reference: interview-api.md, 6. Lifecycle).
fn is_known_event(word: &str) -> bool {
    const KNOWN: [&str; 10] = [
        "joined",
        "left",
        "ran",
        "enabled",
        "disabled",
        "started",
        "ended",
        "auto_ended",
        "added_question",
        "edited",
    ];
    KNOWN.contains(&word)
}

/// Order of a list of pads, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadSort {
    /// Last created first.
    Created,
    /// Last changed first.
    Updated,
}

impl PadSort {
    /// Returns the value of the query parameter `sort`.
    pub fn parameter(self) -> &'static str {
        match self {
            Self::Created => "created_at,desc",
            Self::Updated => "updated_at,desc",
        }
    }
}

/// Cursor of the next page of a list of pads, in a format internal to CoderPad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRef(String);

impl PageRef {
    /// Returns the query of the page.
    pub fn query(&self) -> &str {
        &self.0
    }
}

/// Row of a list of pads that was left out. It may be the pad that a search looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRow {
    /// Private notes of the row; None if they are unreadable too.
    pub notes: Option<String>,
}

/// Page of pads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PadPage {
    /// Readable rows of this page.
    pub pads: Vec<PadRecord>,
    /// Rows that were left out because they are unreadable.
    pub left_out: Vec<UnreadableRow>,
    /// Cursor of the next page; none on the last page.
    pub next: Option<PageRef>,
}

/// Event in a pad (reference: interview-api.md, 6. Lifecycle).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PadEvent {
    /// Kind of event in CoderPad: `joined`, `left`, `ran`, `started`, `ended`, `auto_ended` and others.
    pub kind: String,
    /// Time of the event.
    pub created_at: Timestamp,
    /// Name of the person who caused the event.
    pub user_name: Option<String>,
    /// E-mail address of the person, if they are a user of CoderPad.
    pub user_email: Option<String>,
}

/// Files of a pad, or a part of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Language of the environment.
    pub language: Option<String>,
    /// Files of the environment.
    pub files: Vec<EnvironmentFile>,
}

/// File of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentFile {
    /// Path of the file; empty if CoderPad does not return one.
    pub path: String,
    /// Text of the file; none if the file is binary.
    pub contents: Option<String>,
}

/// Question of the organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionRecord {
    /// ID for creating a pad from the question.
    pub id: i64,
    /// Title of the question.
    pub title: String,
    /// Kind of pad that the question is for, in CoderPad: `live`, `take_home` or `any`; none if CoderPad returns none.
    pub pad_type: Option<String>,
    /// Whether the question is a take-home question.
    pub take_home: bool,
    /// Whether the question is an unfinished draft.
    pub is_draft: bool,
}

impl QuestionRecord {
    /// Reports whether a pad of this kind can be created from the question. The result is false for a draft and for
    /// [`PadKind::Unknown`]. CoderPad's own rule is not documented (reference: interview-api.md, 3. Questions).
    pub fn usable_for(&self, kind: PadKind) -> bool {
        if self.is_draft {
            return false;
        }
        let fits_any = self.pad_type.as_deref().is_some_and(|text| text.eq_ignore_ascii_case("any"));
        let own = match (PadKind::from_text(self.pad_type.as_deref()), self.take_home) {
            (PadKind::Unknown, true) => PadKind::TakeHome,
            (PadKind::Unknown, false) => PadKind::Live,
            (known, _) => known,
        };
        match kind {
            PadKind::Live | PadKind::TakeHome => fits_any || own == kind,
            PadKind::Unknown => false,
        }
    }
}

/// Reports whether the text can be a pad's ID, which becomes part of a path: 1 to 64 unreserved characters (reference:
/// interview-api.md, 2. Pad fields).
pub fn is_pad_id(id: &str) -> bool {
    let unreserved = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
    (1..=MAX_PAD_ID_LENGTH).contains(&id.len()) && id.chars().all(unreserved) && id != "." && id != ".."
}

/// Checks the status of an answer. Every answer is an object with a status; `ERROR` means failure (reference:
/// interview-api.md, 1. Envelope).
fn check_status(status: Option<&str>) -> Result<(), &'static str> {
    if status.is_some_and(|status| status.eq_ignore_ascii_case("error")) {
        return Err("the answer calls itself an error, against its HTTP status");
    }
    Ok(())
}

/// Envelope of an answer of which only the status counts.
#[derive(Deserialize)]
pub struct StatusAnswer {
    status: Option<String>,
}

impl StatusAnswer {
    /// Returns an error if the answer reports one.
    pub fn check(self) -> Result<(), &'static str> {
        check_status(self.status.as_deref())
    }
}

/// Reads the answer of `GET /organization`.
pub fn organization(answer: &AnswerPart<'_>) -> Result<OrganizationRecord, &'static str> {
    check_status(answer.text("status").as_deref())?;
    let name = answer.text("organization_name");
    if name.is_none() && answer.member("organization_name").is_some() {
        return Err("the organization's name cannot be read");
    }
    Ok(OrganizationRecord {
        name: name.filter(|name| !name.trim().is_empty()),
        id: answer.member("id").and_then(|id| match id.value() {
            serde_json::Value::String(id) => Some(id.clone()),
            serde_json::Value::Number(id) => Some(id.to_string()),
            _ => None,
        }),
        user_emails: users_of(answer).into_iter().map(|user| user.email).collect(),
    })
}

/// Reads the answer of `GET /organization/users`.
pub fn users(answer: &AnswerPart<'_>) -> Result<Vec<CoderPadUser>, &'static str> {
    check_status(answer.text("status").as_deref())?;
    Ok(users_of(answer))
}

fn users_of(answer: &AnswerPart<'_>) -> Vec<CoderPadUser> {
    let user = |user: &AnswerPart<'_>| {
        Some(CoderPadUser { email: user.needs("email", user.text("email"))?, name: user.text("name") })
    };
    answer.rows("users", user).map(|(users, _)| users).unwrap_or_default()
}

/// Answer of `GET /quota`.
#[derive(Deserialize)]
pub struct RawQuota {
    status: Option<String>,
    unlimited: Option<bool>,
    pads_used: Option<i64>,
    pads_remaining: Option<i64>,
    billing_cycle_pad_limit: Option<i64>,
    overages_enabled: Option<bool>,
}

impl RawQuota {
    /// Returns the quota, or why the answer contains none.
    pub fn check(self) -> Result<PadQuota, &'static str> {
        check_status(self.status.as_deref())?;
        Ok(PadQuota {
            unlimited: self.unlimited.unwrap_or(self.pads_remaining.is_none()),
            used: self.pads_used.unwrap_or(0),
            remaining: self.pads_remaining,
            limit: self.billing_cycle_pad_limit,
            overages_enabled: self.overages_enabled,
        })
    }
}

/// Returns the pad of an answer for a single pad.
pub fn single_pad(answer: &AnswerPart<'_>) -> Result<PadRecord, &'static str> {
    check_status(answer.text("status").as_deref())?;
    let pad = pad(answer)?;
    if pad.url.is_empty() { Err("the pad has no url") } else { Ok(pad) }
}

/// Returns the pad of the answer to a create, and records what CoderPad did not return as requested.
pub fn created_pad(answer: &AnswerPart<'_>, requested: &NewPad) -> Result<PadRecord, &'static str> {
    let pad = single_pad(answer)?;
    let private = answer.member("private").and_then(|private| match private.value() {
        Value::Bool(private) => Some(*private),
        // As other flags in live answers (reference: interview-api.md, 2. Pad fields).
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    });
    for (kind, name) in not_returned(requested, &pad, private) {
        answer.surprise(kind, name);
    }
    Ok(pad)
}

/// Returns what CoderPad did not return as requested, with the member of the answer. `private` is the waiting room of
/// the answer.
fn not_returned(
    requested: &NewPad,
    pad: &PadRecord,
    private: Option<bool>,
) -> Vec<(SurpriseKind, &'static str)> {
    let lines = |text: &str| text.replace("\r\n", "\n").trim().to_owned();
    let owner = requested.owner_email.as_deref().map(str::trim);
    let is_owner = |email: &str| {
        pad.owner_email.as_deref().is_some_and(|owner| owner.trim().eq_ignore_ascii_case(email))
    };
    [
        (requested.private.is_some() && private != requested.private)
            .then_some((SurpriseKind::WaitingRoomNotReturned, "private")),
        (lines(&requested.notes) != lines(&pad.notes)).then_some((SurpriseKind::NotesNotReturned, "notes")),
        owner
            .is_some_and(|email| !is_owner(email))
            .then_some((SurpriseKind::OwnerNotReturned, "owner_email")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Members that a pad has from its creation on, so that a list that shows the pad shows them, too.
const LASTING_MEMBERS: [&str; 5] = ["notes", "state", "type", "url", "updated_at"];
/// Maximum number of pads whose members are remembered until a list shows them.
const MAX_REMEMBERED_PADS: usize = 256;

/// Members that CoderPad returned for single pads, until a list shows the pad. Each pad is compared once: later, people
/// may have changed its notes.
#[derive(Debug, Default)]
pub struct SinglePads(HashMap<String, Vec<&'static str>>);

impl SinglePads {
    /// Remembers the answer for a single pad.
    pub fn remember(&mut self, answer: &AnswerPart<'_>) {
        let Some(id) = answer.value().get("id").and_then(Value::as_str) else { return };
        if self.0.len() < MAX_REMEMBERED_PADS || self.0.contains_key(id) {
            let shown = LASTING_MEMBERS.into_iter().filter(|name| has_value(answer, name));
            self.0.insert(id.to_owned(), shown.collect());
        }
    }

    /// Records the members that the rows of a list lack.
    pub fn compare(&mut self, page: &AnswerPart<'_>) {
        page.each("pads", |row| {
            let id = row.value().get("id").and_then(Value::as_str);
            let shown = id.and_then(|id| self.0.remove(id)).unwrap_or_default();
            for name in shown.into_iter().filter(|name| !has_value(row, name)) {
                row.surprise(SurpriseKind::ListIncomplete, name);
            }
        });
    }
}

fn has_value(pad: &AnswerPart<'_>, name: &str) -> bool {
    match pad.value().get(name) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

/// Returns the pad of a list row, which may have no URL. Its identity (ID and notes, contract X2) and its creation time
/// are required.
fn pad(row: &AnswerPart<'_>) -> Result<PadRecord, &'static str> {
    let id = row.needs("id", row.text("id").filter(|id| is_pad_id(id)));
    let created_at = row.needs("created_at", row.time("created_at"));
    let ids = row.items("pad_environment_ids", |id| id.value().as_i64());
    Ok(PadRecord {
        id: id.ok_or("the pad has no valid ID")?,
        title: row.text("title").unwrap_or_default(),
        state: row.word("state", SurpriseKind::UnknownState, is_known_state).unwrap_or_default(),
        kind: PadKind::from_text(
            row.word("type", SurpriseKind::UnknownType, PadKind::is_known_word).as_deref(),
        ),
        url: web_address(row, "url").unwrap_or_default(),
        playback: web_address(row, "playback"),
        created_at: created_at.ok_or("the pad has no creation time")?,
        updated_at: row.time("updated_at"),
        ended_at: row.time("ended_at"),
        notes: notes(row).ok_or("the pad's notes cannot be read")?,
        participants: row.texts("participants"),
        language: row.text("language"),
        owner_email: row.text("owner_email"),
        environment_ids: ids.unwrap_or_default(),
        contents: row.text("contents"),
        deleted: row.value().get("deleted") == Some(&Value::Bool(true)) || row.member("deleted_at").is_some(),
    })
}

/// Returns the private notes of a row; empty if it has none, None if they are unreadable.
fn notes(row: &AnswerPart<'_>) -> Option<String> {
    match row.member("notes") {
        None => row.is_object().then(String::new),
        Some(_) => row.text("notes"),
    }
}

fn web_address(row: &AnswerPart<'_>, name: &'static str) -> Option<String> {
    let address = row.text(name).filter(|address| !address.is_empty())?;
    if is_web_address(&address) { Some(address) } else { row.member(name)?.is_odd() }
}

fn is_web_address(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// Reads a page of pads. `endpoint` is the address of the list, `asked` the requested page.
pub fn pad_page(
    answer: &AnswerPart<'_>,
    endpoint: &Url,
    asked: Option<&PageRef>,
) -> Result<PadPage, &'static str> {
    check_status(answer.text("status").as_deref())?;
    let next = answer.value().get("next_page").unwrap_or(&Value::Null);
    let next = match next.as_str() {
        None if next.is_null() => None,
        None => return Err("the answer does not say where the next page is"),
        Some("") => None,
        Some(next) => Some(page_ref(next, endpoint).ok_or("the address of the next page has no query")?),
    };
    if next.is_some() && next.as_ref() == asked {
        return Err("the list does not advance");
    }
    let mut left_out = Vec::new();
    let read = |row: &AnswerPart<'_>| match pad(row) {
        Ok(pad) => Some(pad),
        Err(_) => {
            left_out.push(UnreadableRow { notes: notes(row) });
            None
        }
    };
    let (pads, _) = answer.rows("pads", read).ok_or("the answer has no list of pads")?;
    Ok(PadPage { pads, left_out, next })
}

/// Returns the cursor of the next page: the query of its address, which may be absolute, with any host, or relative.
/// The key is only sent to the connection's own endpoint (reference: interview-api.md, 1. Lists).
fn page_ref(next: &str, endpoint: &Url) -> Option<PageRef> {
    let next = endpoint.join(next).ok()?;
    next.query().filter(|query| !query.is_empty()).map(|query| PageRef(query.to_owned()))
}

/// Reads the answer of `GET /pads/{id}/events`.
pub fn events(answer: &AnswerPart<'_>) -> Result<Vec<PadEvent>, &'static str> {
    check_status(answer.text("status").as_deref())?;
    let event = |event: &AnswerPart<'_>| {
        Some(PadEvent {
            kind: event.needs("kind", event.word("kind", SurpriseKind::UnknownEventKind, is_known_event))?,
            created_at: event.needs("created_at", event.time("created_at"))?,
            user_name: event.text("user_name"),
            user_email: event.text("user_email"),
        })
    };
    let (events, _) = answer.rows("events", event).ok_or("the answer has no list of events")?;
    Ok(events)
}

/// Reads the answer of `GET /pad_environments/{id}`.
pub fn environment(answer: &AnswerPart<'_>) -> Result<Environment, &'static str> {
    check_status(answer.text("status").as_deref())?;
    let file = |file: &AnswerPart<'_>| {
        file.is_object().then(|| EnvironmentFile {
            path: file.text("path").unwrap_or_default(),
            contents: file.text("contents"),
        })
    };
    let files = answer.items("file_contents", file).unwrap_or_default();
    Ok(Environment { language: answer.text("language"), files })
}

/// Answer of `GET /questions/{id}`.
#[derive(Deserialize)]
pub struct RawQuestion {
    status: Option<String>,
    id: i64,
    title: Option<String>,
    pad_type: Option<String>,
    take_home: Option<bool>,
    is_draft: Option<bool>,
}

impl RawQuestion {
    /// Returns the question, or why the answer contains none.
    pub fn check(self) -> Result<QuestionRecord, &'static str> {
        check_status(self.status.as_deref())?;
        Ok(QuestionRecord {
            id: self.id,
            title: self.title.unwrap_or_default(),
            pad_type: self.pad_type,
            take_home: self.take_home.unwrap_or(false),
            is_draft: self.is_draft.unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Oddities, Sighting};
    use serde_json::json;

    const NOTES: &str = "Reference: padoperator.dev/1\nCandidate: https://hire.lever.co/1";

    fn answer(members: Value) -> Value {
        let mut all = json!({"status": "OK", "id": "PAD1", "state": "pending", "type": "live", "notes": NOTES,
            "owner_email": "lead@example.com", "private": true, "url": "https://app.coderpad.io/PAD1",
            "created_at": "2026-02-03T10:00:01Z", "updated_at": "2026-02-03T10:00:01Z"});
        all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        all
    }

    fn created(requested: &NewPad, members: Value) -> Vec<(SurpriseKind, String)> {
        let (answer, odd) = (answer(members), Oddities::default());
        created_pad(&AnswerPart::whole(&answer, &odd), requested).unwrap();
        odd.surprises().into_iter().map(|seen| (seen.kind, seen.place)).collect()
    }

    #[test]
    fn a_new_pad_is_compared_with_the_request() {
        use SurpriseKind::{NotesNotReturned, OwnerNotReturned, WaitingRoomNotReturned};
        let requested = NewPad {
            notes: NOTES.into(),
            private: Some(true),
            owner_email: Some("Lead@example.com".into()),
            ..NewPad::default()
        };
        let seen = |kind, place: &str| vec![(kind, place.to_owned())];
        for as_requested in [
            json!({}),
            json!({"notes": format!("{}\r\n", NOTES.replace('\n', "\r\n"))}),
            json!({"private": "true"}),
        ] {
            assert_eq!(created(&requested, as_requested), []);
        }
        for notes in [json!(null), json!("Hello"), json!(format!("{NOTES}...")), json!(&NOTES[1..])] {
            assert_eq!(created(&requested, json!({"notes": notes})), seen(NotesNotReturned, "notes"));
        }
        for private in [json!(false), json!(null), json!("false"), json!(1)] {
            assert_eq!(
                created(&requested, json!({"private": private})),
                seen(WaitingRoomNotReturned, "private")
            );
        }
        for owner in [json!("owner@example.com"), json!(null)] {
            assert_eq!(
                created(&requested, json!({"owner_email": owner})),
                seen(OwnerNotReturned, "owner_email")
            );
        }
        let nothing_requested = NewPad { notes: NOTES.into(), ..NewPad::default() };
        assert_eq!(created(&nothing_requested, json!({"private": null, "owner_email": null})), []);
        let opened = NewPad { private: Some(false), ..nothing_requested };
        assert_eq!(created(&opened, json!({})), seen(WaitingRoomNotReturned, "private"));
    }

    #[test]
    fn unknown_words_are_surprises_and_known_ones_are_not() {
        let words = |members: Value| created(&NewPad { notes: NOTES.into(), ..NewPad::default() }, members);
        for state in ["pending", "started", "Ended", "deleted", ""] {
            assert_eq!(words(json!({"state": state})), [], "{state}");
        }
        for kind in ["live", "interview", "take-home", "take_home", "takehome"] {
            assert_eq!(words(json!({"type": kind})), [], "{kind}");
        }
        assert_eq!(words(json!({"state": null, "type": null})), [], "absent words are not unknown");
        assert_eq!(words(json!({"state": "paused"})), [(SurpriseKind::UnknownState, "state".into())]);
        assert_eq!(words(json!({"type": "homework"})), [(SurpriseKind::UnknownType, "type".into())]);

        let row = |kind: &str| json!({"kind": kind, "created_at": "2026-02-03T10:00:01Z"});
        let (answer, odd) =
            (json!({"events": [row("joined"), row("auto_ended"), row("waved")]}), Oddities::default());
        assert_eq!(events(&AnswerPart::whole(&answer, &odd)).unwrap().len(), 3);
        let waved = Sighting::new(SurpriseKind::UnknownEventKind, "events[2].kind".into());
        assert_eq!(odd.surprises(), [Sighting { word: Some("waved".into()), ..waved }]);
    }

    #[test]
    fn each_single_pad_is_compared_once_with_its_list_row() {
        let mut known = SinglePads::default();
        let remember = |known: &mut SinglePads, members: Value| {
            known.remember(&AnswerPart::whole(&answer(members), &Oddities::default()));
        };
        let lacking = |known: &mut SinglePads, members: Value| {
            let (page, odd) = (json!({"pads": [{"id": "OTHER"}, answer(members)]}), Oddities::default());
            known.compare(&AnswerPart::whole(&page, &odd));
            odd.surprises()
                .into_iter()
                .map(|seen| format!("{:?} {}", seen.kind, seen.place))
                .collect::<Vec<_>>()
        };
        remember(&mut known, json!({}));
        assert_eq!(lacking(&mut known, json!({})), Vec::<String>::new());
        assert_eq!(lacking(&mut known, json!({"notes": null})), Vec::<String>::new(), "compared already");
        remember(&mut known, json!({}));
        assert_eq!(lacking(&mut known, json!({"notes": ""})), ["ListIncomplete pads[1].notes"]);
        remember(&mut known, json!({"notes": null, "type": null}));
        assert_eq!(lacking(&mut known, json!({"notes": null})), Vec::<String>::new(), "the pad has none");
        for number in 0..2 * MAX_REMEMBERED_PADS {
            remember(&mut known, json!({"id": format!("PAD{number}")}));
        }
        assert_eq!(known.0.len(), MAX_REMEMBERED_PADS);
    }
}
