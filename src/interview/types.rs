//! What the Interview API's answers hold, read leniently: unknown keys are ignored, null is the same as absent.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

/// Longest pad id that is believed.
const PAD_ID_LIMIT: usize = 64;

/// The organization of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// What it is called; none for a key without an organization.
    pub name: Option<String>,
    /// Its ID, if CoderPad returns one: seen by a client, not documented.
    pub id: Option<String>,
    /// The addresses of its users, as CoderPad writes them.
    pub user_emails: Vec<String>,
}

/// A user of the organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The address, as CoderPad writes it.
    pub email: String,
    /// What the user is called.
    pub name: Option<String>,
}

/// The pads of the present billing cycle (reference: interview-api.md, 4. Quota).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
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
    /// The questions in it.
    pub question_ids: Vec<i64>,
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
        serde_json::from_value::<RawPad>(json.clone()).ok()?.check().ok()
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

/// A page of pads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PadPage {
    /// The rows of this page.
    pub pads: Vec<PadRecord>,
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
pub struct Question {
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

impl Question {
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
    (1..=PAD_ID_LIMIT).contains(&id.len()) && id.chars().all(unreserved) && id != "." && id != ".."
}

/// Every answer is an object with a status; `ERROR` belongs to a failure (reference: interview-api.md, 1. Envelope).
fn check_status(status: Option<&str>) -> Result<(), &'static str> {
    if status.is_some_and(|status| status.eq_ignore_ascii_case("error")) {
        return Err("the answer calls itself an error, against its HTTP status");
    }
    Ok(())
}

#[derive(Deserialize)]
pub(super) struct Done {
    status: Option<String>,
}

impl Done {
    pub(super) fn check(self) -> Result<(), &'static str> {
        check_status(self.status.as_deref())
    }
}

#[derive(Deserialize)]
pub(super) struct RawOrganization {
    status: Option<String>,
    id: Option<serde_json::Value>,
    organization_name: Option<String>,
    users: Option<Vec<RawUser>>,
}

impl RawOrganization {
    pub(super) fn check(self) -> Result<Organization, &'static str> {
        check_status(self.status.as_deref())?;
        Ok(Organization {
            name: self.organization_name.filter(|name| !name.trim().is_empty()),
            id: self.id.and_then(|id| match id {
                serde_json::Value::String(id) => Some(id),
                serde_json::Value::Number(id) => Some(id.to_string()),
                _ => None,
            }),
            user_emails: users_of(self.users).into_iter().map(|user| user.email).collect(),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct RawUsers {
    status: Option<String>,
    users: Option<Vec<RawUser>>,
}

impl RawUsers {
    pub(super) fn check(self) -> Result<Vec<User>, &'static str> {
        check_status(self.status.as_deref())?;
        Ok(users_of(self.users))
    }
}

#[derive(Deserialize)]
struct RawUser {
    email: Option<String>,
    name: Option<String>,
}

fn users_of(raw: Option<Vec<RawUser>>) -> Vec<User> {
    let rows = raw.unwrap_or_default().into_iter();
    rows.filter_map(|row| Some(User { email: row.email?, name: row.name })).collect()
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
    pub(super) fn check(self) -> Result<Quota, &'static str> {
        check_status(self.status.as_deref())?;
        Ok(Quota {
            unlimited: self.unlimited.unwrap_or(self.pads_remaining.is_none()),
            used: self.pads_used.unwrap_or(0),
            remaining: self.pads_remaining,
            limit: self.billing_cycle_pad_limit,
            overages_enabled: self.overages_enabled,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct RawPad {
    status: Option<String>,
    id: Option<String>,
    title: Option<String>,
    state: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    url: Option<String>,
    playback: Option<String>,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    notes: Option<String>,
    participants: Option<Vec<Option<String>>>,
    language: Option<String>,
    question_ids: Option<Vec<i64>>,
    owner_email: Option<String>,
    pad_environment_ids: Option<Vec<i64>>,
    contents: Option<String>,
    deleted: Option<Value>,
    deleted_at: Option<Value>,
}

impl RawPad {
    /// A pad that was asked for by itself.
    pub(super) fn check(self) -> Result<PadRecord, &'static str> {
        check_status(self.status.as_deref())?;
        let pad = self.row()?;
        if pad.url.is_empty() { Err("the pad has no url") } else { Ok(pad) }
    }

    /// A pad in a list.
    fn row(self) -> Result<PadRecord, &'static str> {
        let url = self.url.unwrap_or_default();
        if !(url.is_empty() || is_web_address(&url)) {
            return Err("the pad's url is not a web address");
        }
        Ok(PadRecord {
            id: self.id.filter(|id| is_pad_id(id)).ok_or("the pad has no id that can be one")?,
            title: self.title.unwrap_or_default(),
            state: self.state.unwrap_or_default(),
            kind: PadKind::of(self.kind.as_deref()),
            url,
            playback: self.playback.filter(|url| is_web_address(url)),
            created_at: self.created_at.ok_or("the pad has no creation time")?,
            updated_at: self.updated_at,
            ended_at: self.ended_at,
            notes: self.notes.unwrap_or_default(),
            participants: self.participants.unwrap_or_default().into_iter().flatten().collect(),
            language: self.language,
            question_ids: self.question_ids.unwrap_or_default(),
            owner_email: self.owner_email,
            environment_ids: self.pad_environment_ids.unwrap_or_default(),
            contents: self.contents,
            deleted: self.deleted == Some(Value::Bool(true)) || self.deleted_at.is_some(),
        })
    }
}

fn is_web_address(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[derive(Deserialize)]
pub(super) struct RawPads {
    status: Option<String>,
    pads: Vec<RawPad>,
    next_page: Option<String>,
}

impl RawPads {
    /// `endpoint` is where the list was asked for, `asked` the page that was asked for.
    pub(super) fn check(self, endpoint: &Url, asked: Option<&PageRef>) -> Result<PadPage, &'static str> {
        check_status(self.status.as_deref())?;
        let next = match self.next_page.filter(|next| !next.is_empty()) {
            None => None,
            Some(next) => Some(page_ref(&next, endpoint)?),
        };
        if next.is_some() && next.as_ref() == asked {
            return Err("the list does not advance");
        }
        Ok(PadPage { pads: self.pads.into_iter().map(RawPad::row).collect::<Result<_, _>>()?, next })
    }
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

#[derive(Deserialize)]
pub(super) struct RawEvents {
    status: Option<String>,
    events: Vec<RawEvent>,
}

#[derive(Deserialize)]
struct RawEvent {
    kind: Option<String>,
    created_at: Option<Timestamp>,
    user_name: Option<String>,
    user_email: Option<String>,
}

impl RawEvents {
    pub(super) fn check(self) -> Result<Vec<PadEvent>, &'static str> {
        check_status(self.status.as_deref())?;
        let events = self.events.into_iter().filter_map(|event| {
            let RawEvent { kind, created_at, user_name, user_email } = event;
            Some(PadEvent { kind: kind?, created_at: created_at?, user_name, user_email })
        });
        Ok(events.collect())
    }
}

#[derive(Deserialize)]
pub(super) struct RawEnvironment {
    status: Option<String>,
    language: Option<String>,
    file_contents: Option<Vec<RawFile>>,
}

#[derive(Deserialize)]
struct RawFile {
    path: Option<String>,
    contents: Option<String>,
}

impl RawEnvironment {
    pub(super) fn check(self) -> Result<Environment, &'static str> {
        check_status(self.status.as_deref())?;
        let files = self.file_contents.unwrap_or_default().into_iter();
        Ok(Environment {
            language: self.language,
            files: files
                .map(|file| EnvironmentFile { path: file.path.unwrap_or_default(), contents: file.contents })
                .collect(),
        })
    }
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
    pub(super) fn check(self) -> Result<Question, &'static str> {
        check_status(self.status.as_deref())?;
        Ok(Question {
            id: self.id,
            title: self.title.unwrap_or_default(),
            pad_type: self.pad_type,
            take_home: self.take_home.unwrap_or(false),
            is_draft: self.is_draft.unwrap_or(false),
        })
    }
}
