//! What the Interview API's answers hold, read leniently: unknown keys are ignored, null is the same as absent, and so is
//! what is odd, but for what identifies an object or costs money (contract S2a).

use crate::transport::AnswerPart;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

/// Longest pad id that is believed.
const MAX_PAD_ID_LENGTH: usize = 64;

/// The organization of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationRecord {
    /// What it is called; none for a key without an organization.
    pub name: Option<String>,
    /// Its ID, if CoderPad returns one: seen by a client, not documented.
    pub id: Option<String>,
    /// The addresses of its users, as CoderPad writes them.
    pub user_emails: Vec<String>,
}

/// A user of the organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoderPadUser {
    /// The address, as CoderPad writes it.
    pub email: String,
    /// What the user is called.
    pub name: Option<String>,
}

/// The pads of the present billing cycle (reference: interview-api.md, 4. Quota).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PadQuota {
    /// Whether there is no limit.
    pub unlimited: bool,
    /// Pads made in this cycle.
    pub used: i64,
    /// Pads left; none if unlimited.
    pub remaining: Option<i64>,
    /// Pads per cycle; none if unlimited.
    pub limit: Option<i64>,
    /// Whether CoderPad bills pads beyond the limit.
    pub overages_enabled: Option<bool>,
}

/// What a pad is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadKind {
    /// An interview with an interviewer.
    Live,
    /// Done by the candidate alone.
    TakeHome,
    /// CoderPad names a kind we do not know, or none.
    Unknown,
}

impl PadKind {
    /// Spellings differ between the documentation and clients (reference: interview-api.md, 2. Pad fields).
    fn of(text: Option<&str>) -> Self {
        match text.unwrap_or_default().to_lowercase().replace(['-', '_', ' '], "").as_str() {
            "live" | "interview" => Self::Live,
            "takehome" => Self::TakeHome,
            _ => Self::Unknown,
        }
    }
}

/// A pad as CoderPad has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PadRecord {
    /// At most 64 unreserved URL characters.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// CoderPad's word: `pending`, `started`, `ended` and maybe others.
    pub state: String,
    /// What it is for.
    pub kind: PadKind,
    /// One link for candidate and interviewer, http or https; empty only in a list row that has none.
    pub url: String,
    /// Where it can be watched afterwards; needs an account at CoderPad.
    pub playback: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Option<Timestamp>,
    /// When the interview ended; none before.
    pub ended_at: Option<Timestamp>,
    /// The interviewer's private notes; empty if none.
    pub notes: String,
    /// Names that those who came gave themselves, the owner's too.
    pub participants: Vec<String>,
    /// The language; none for a pad with several environments.
    pub language: Option<String>,
    /// The owner's address.
    pub owner_email: Option<String>,
    /// Where the code is, for [`super::InterviewClient::environment`].
    pub environment_ids: Vec<i64>,
    /// The code of a pad without environments.
    pub contents: Option<String>,
    deleted: bool,
}

#[cfg(test)]
impl PadRecord {
    /// A pad as the API would show it by itself.
    pub(crate) fn from_json(json: &Value) -> Option<Self> {
        single_pad(&AnswerPart::whole(json, &Default::default())).ok()
    }
}

impl PadRecord {
    /// Whether the interview has begun, ended ones included.
    pub fn is_started(&self) -> bool {
        self.is_ended() || self.state.eq_ignore_ascii_case("started")
    }

    /// Whether the interview is over (reference: interview-api.md, 6. Lifecycle, Ended).
    pub fn is_ended(&self) -> bool {
        self.ended_at.is_some() || self.state.eq_ignore_ascii_case("ended")
    }

    /// Whether CoderPad says that it was deleted. Whether it ever says so, rather than 404, is not documented.
    pub fn is_deleted(&self) -> bool {
        self.deleted || self.state.eq_ignore_ascii_case("deleted")
    }
}

/// The order of a list of pads, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadSort {
    /// Last made first.
    Created,
    /// Last changed first.
    Updated,
}

impl PadSort {
    pub(super) fn parameter(self) -> &'static str {
        match self {
            Self::Created => "created_at,desc",
            Self::Updated => "updated_at,desc",
        }
    }
}

/// Where the next page of a list of pads is. Only CoderPad understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRef(String);

impl PageRef {
    pub(super) fn query(&self) -> &str {
        &self.0
    }
}

/// A row of a list of pads that was left out. Of a pad that is searched for it may be the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRow {
    /// Its private notes; None if they cannot be read either.
    pub notes: Option<String>,
}

/// A page of pads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PadPage {
    /// The rows of this page.
    pub pads: Vec<PadRecord>,
    /// The rows that were left out because they cannot be read.
    pub left_out: Vec<UnreadableRow>,
    /// Where the next page is; none on the last.
    pub next: Option<PageRef>,
}

/// Something that happened in a pad (reference: interview-api.md, 6. Lifecycle).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PadEvent {
    /// CoderPad's word: `joined`, `left`, `ran`, `started`, `ended`, `auto_ended` and others.
    pub kind: String,
    /// When.
    pub created_at: Timestamp,
    /// The name of who did it.
    pub user_name: Option<String>,
    /// Their address, for users of CoderPad.
    pub user_email: Option<String>,
}

/// The files of a pad, or a part of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The language.
    pub language: Option<String>,
    /// The files.
    pub files: Vec<EnvironmentFile>,
}

/// A file of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentFile {
    /// Where it is; empty if CoderPad does not say.
    pub path: String,
    /// Its text; none if it is binary.
    pub contents: Option<String>,
}

/// A question of the organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionRecord {
    /// The number by which a pad is made from it.
    pub id: i64,
    /// What it is called.
    pub title: String,
    /// CoderPad's word for the pads it fits: `live`, `take_home` or `any`; none if not said.
    pub pad_type: Option<String>,
    /// Whether it is a take-home question.
    pub take_home: bool,
    /// Whether it is not finished.
    pub is_draft: bool,
}

impl QuestionRecord {
    /// Whether a pad of this kind can be made from it: never for a draft or for [`PadKind::Unknown`]. CoderPad's own
    /// rule is not documented (reference: interview-api.md, 3. Questions).
    pub fn usable_for(&self, kind: PadKind) -> bool {
        if self.is_draft {
            return false;
        }
        let fits_any = self.pad_type.as_deref().is_some_and(|text| text.eq_ignore_ascii_case("any"));
        let own = match (PadKind::of(self.pad_type.as_deref()), self.take_home) {
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

/// Whether this can be a pad's id: it becomes part of a path.
pub(super) fn is_pad_id(id: &str) -> bool {
    let unreserved = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
    (1..=MAX_PAD_ID_LENGTH).contains(&id.len()) && id.chars().all(unreserved) && id != "." && id != ".."
}

/// Every answer is an object with a status; `ERROR` belongs to a failure (reference: interview-api.md, 1. Envelope).
fn check_status(status: Option<&str>) -> Result<(), &'static str> {
    if status.is_some_and(|status| status.eq_ignore_ascii_case("error")) {
        return Err("the answer calls itself an error, against its HTTP status");
    }
    Ok(())
}

#[derive(Deserialize)]
pub(super) struct StatusAnswer {
    status: Option<String>,
}

impl StatusAnswer {
    pub(super) fn check(self) -> Result<(), &'static str> {
        check_status(self.status.as_deref())
    }
}

pub(super) fn organization(answer: &AnswerPart<'_>) -> Result<OrganizationRecord, &'static str> {
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

pub(super) fn users(answer: &AnswerPart<'_>) -> Result<Vec<CoderPadUser>, &'static str> {
    check_status(answer.text("status").as_deref())?;
    Ok(users_of(answer))
}

fn users_of(answer: &AnswerPart<'_>) -> Vec<CoderPadUser> {
    let user = |user: &AnswerPart<'_>| {
        Some(CoderPadUser { email: user.needs("email", user.text("email"))?, name: user.text("name") })
    };
    answer.rows("users", user).map(|(users, _)| users).unwrap_or_default()
}

#[derive(Deserialize)]
pub(super) struct RawQuota {
    status: Option<String>,
    unlimited: Option<bool>,
    pads_used: Option<i64>,
    pads_remaining: Option<i64>,
    billing_cycle_pad_limit: Option<i64>,
    overages_enabled: Option<bool>,
}

impl RawQuota {
    pub(super) fn check(self) -> Result<PadQuota, &'static str> {
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

/// A pad that was asked for by itself.
pub(super) fn single_pad(answer: &AnswerPart<'_>) -> Result<PadRecord, &'static str> {
    check_status(answer.text("status").as_deref())?;
    let pad = pad(answer)?;
    if pad.url.is_empty() { Err("the pad has no url") } else { Ok(pad) }
}

/// A pad in a list, which may be without a URL. Required are its identity (ID and notes, contract X2) and its creation time.
fn pad(row: &AnswerPart<'_>) -> Result<PadRecord, &'static str> {
    let id = row.needs("id", row.text("id").filter(|id| is_pad_id(id)));
    let created_at = row.needs("created_at", row.time("created_at"));
    let ids = row.items("pad_environment_ids", |id| id.value().as_i64());
    Ok(PadRecord {
        id: id.ok_or("the pad has no id that can be one")?,
        title: row.text("title").unwrap_or_default(),
        state: row.text("state").unwrap_or_default(),
        kind: PadKind::of(row.text("type").as_deref()),
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

/// The private notes of a row; empty if it has none, None if they cannot be read.
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

/// `endpoint` is where the list was asked for, `asked` the page that was asked for.
pub(super) fn pad_page(
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
        Some(next) => Some(page_ref(next, endpoint)?),
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

/// The next page's absolute address, if it is one of the same endpoint: the key is sent to no other (reference:
/// interview-api.md, 1. Lists).
fn page_ref(next: &str, endpoint: &Url) -> Result<PageRef, &'static str> {
    const ELSEWHERE: &str = "the next page is said to be at another address: check the connection's url";
    let next = Url::parse(next).map_err(|_| ELSEWHERE)?;
    let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
    let same = next.origin() == endpoint.origin()
        && next.username().is_empty()
        && next.password().is_none()
        && path(&next) == path(endpoint);
    match next.query() {
        Some(query) if same => Ok(PageRef(query.to_owned())),
        _ => Err(ELSEWHERE),
    }
}

pub(super) fn events(answer: &AnswerPart<'_>) -> Result<Vec<PadEvent>, &'static str> {
    check_status(answer.text("status").as_deref())?;
    let event = |event: &AnswerPart<'_>| {
        Some(PadEvent {
            kind: event.needs("kind", event.text("kind"))?,
            created_at: event.needs("created_at", event.time("created_at"))?,
            user_name: event.text("user_name"),
            user_email: event.text("user_email"),
        })
    };
    let (events, _) = answer.rows("events", event).ok_or("the answer has no list of events")?;
    Ok(events)
}

pub(super) fn environment(answer: &AnswerPart<'_>) -> Result<Environment, &'static str> {
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

#[derive(Deserialize)]
pub(super) struct RawQuestion {
    status: Option<String>,
    id: i64,
    title: Option<String>,
    pad_type: Option<String>,
    take_home: Option<bool>,
    is_draft: Option<bool>,
}

impl RawQuestion {
    pub(super) fn check(self) -> Result<QuestionRecord, &'static str> {
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
