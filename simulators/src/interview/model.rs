//! State of the simulated CoderPad Interview: pads with their history, questions, users, keys and the quota.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::common::{now_ms, pad_id};

/// Role of an API key, which acts as its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyRole {
    /// Owner of the organization.
    Owner,
    /// Ordinary member: lists the organization's pads only if the organization allows it, and may not choose a pad's
    /// owner or team.
    Member,
    /// User without an organization.
    Alone,
    /// Owner of another organization, [`OTHER_ORGANIZATION`], which has no pads and no questions.
    Elsewhere,
}

/// Name of the other organization. Its ID is one above that of the usual organization, if that has an ID.
pub const OTHER_ORGANIZATION: &str = "Southwind";

/// User of the organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganizationUser {
    /// E-mail address.
    pub email: String,
    /// Name.
    pub name: String,
}

/// Question of the organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Question {
    /// ID.
    pub id: u64,
    /// Title.
    pub title: String,
    /// Language; `None` = several.
    #[serde(default)]
    pub language: Option<String>,
    /// `live`, `take_home` or `any`; `None` = the field is left out, as in older responses.
    #[serde(default)]
    pub pad_type: Option<String>,
    /// Whether it is a draft.
    #[serde(default)]
    pub is_draft: bool,
    /// Code that a pad starts with.
    #[serde(default)]
    pub contents: String,
}

impl Question {
    /// Returns a question in Python.
    #[must_use]
    pub fn new(id: u64, title: &str, pad_type: &str) -> Self {
        Self {
            id,
            title: title.to_owned(),
            language: Some("python3".to_owned()),
            pad_type: Some(pad_type.to_owned()),
            is_draft: false,
            contents: "print('start here')\n".to_owned(),
        }
    }
}

/// Pad quota of the organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Quota {
    /// Pads per billing cycle; `None` = unlimited.
    pub limit: Option<u64>,
    /// Pads created in this cycle, including ended and deleted ones (a guess for the deleted ones).
    pub used: u64,
    /// Whether pads beyond the limit are created and billed.
    pub overages_enabled: bool,
    /// Pads created beyond the limit.
    pub billed: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self { limit: Some(500), used: 0, overages_enabled: false, billed: 0 }
    }
}

/// Settings that can be changed while the service runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Whether the take-home fields are supported. If not, they are silently ignored and a live pad is created.
    pub accept_take_home: bool,
    /// Spelling of `type` for a take-home: `take_home`, `take-home`, `takehome`.
    pub take_home_type: String,
    /// Spelling of `type` for a live pad.
    pub live_type: String,
    /// Delay before lists show a change; a single pad is always up to date.
    pub list_lag_milliseconds: u64,
    /// The organization's setting "all pads visible to users".
    pub pads_visible: bool,
    /// Whether `updated_at` stays the time of creation.
    pub frozen_updated_at: bool,
    /// Whether lists ignore the requested order, and show the last created first.
    pub ignore_sort: bool,
    /// Whether lists are paged by cursor instead of by number.
    pub cursors: bool,
    /// Origin in `next_page`; `None` = the origin of this service, empty = a relative address.
    pub page_origin: Option<String>,
    /// Origin of pads.
    pub pad_origin: String,
    /// Response to a pad with a question that does not exist (a guess: 404).
    pub unknown_question_status: u16,
    /// ID in `GET /organization`; `None` = the field is left out, as in the documented response.
    pub organization_id: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            accept_take_home: true,
            take_home_type: "take_home".to_owned(),
            live_type: "live".to_owned(),
            list_lag_milliseconds: 0,
            pads_visible: true,
            frozen_updated_at: false,
            ignore_sort: false,
            cursors: false,
            page_origin: None,
            pad_origin: "https://app.coderpad.io".to_owned(),
            unknown_question_status: 404,
            organization_id: None,
        }
    }
}

impl Settings {
    pub(crate) fn lag(&self) -> Duration {
        Duration::from_millis(self.list_lag_milliseconds)
    }
}

/// Pad that a person creates.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPad {
    /// Title; empty = "Untitled Pad - ID".
    pub title: String,
    /// Private notes.
    pub notes: Option<String>,
    /// Owner; empty = the first user.
    pub owner_email: String,
    /// Question.
    pub question_id: Option<u64>,
    /// Whether it is a take-home.
    pub take_home: bool,
    /// Creation time, in milliseconds since the epoch; `None` = now.
    pub made_at: Option<i64>,
}

/// Pad, including what the API does not show.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PadView {
    /// ID.
    pub id: String,
    /// Title.
    pub title: String,
    /// Private notes.
    pub notes: Option<String>,
    /// `pending`, `started` or `ended`.
    pub state: String,
    /// Type, as spelled by the service.
    pub pad_type: String,
    /// Whether it is a take-home.
    pub take_home: bool,
    /// Time limit in minutes.
    pub take_home_time_limit: Option<u64>,
    /// Language.
    pub language: Option<String>,
    /// Owner.
    pub owner_email: String,
    /// ID of the team, if one was chosen.
    pub team_id: Option<String>,
    /// Questions.
    pub question_ids: Vec<u64>,
    /// Whether there is a waiting room.
    pub private: bool,
    /// Whether code can be run.
    pub execution_enabled: bool,
    /// Names of the participants, as they entered them.
    pub participants: Vec<String>,
    /// Files: path and contents.
    pub files: BTreeMap<String, String>,
    /// Number of the environment.
    pub environment: u64,
    /// Creation time, in milliseconds since the epoch.
    pub created_at: i64,
    /// Time of the last change.
    pub updated_at: i64,
    /// End time.
    pub ended_at: Option<i64>,
    /// Whether it is deleted: hidden by the API, but still stored here.
    pub deleted: bool,
    /// URL for candidate and interviewers.
    pub url: String,
    /// URL of the playback.
    pub playback: String,
    /// Whether it was created through the API.
    pub by_api: bool,
    /// Events, oldest first, as the API shows them.
    pub events: Vec<Value>,
}

/// Formats a time with a precision of seconds, as in the documented samples: two changes within one second look alike.
pub(crate) fn format_seconds(ms: i64) -> String {
    let second = Timestamp::from_second(ms.div_euclid(1000)).unwrap_or_default();
    second.to_string()
}

pub(crate) fn format_with_offset(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(-7)))
        .strftime("%Y-%m-%dT%H:%M:%S.%3f%:z")
        .to_string()
}

/// Pad with the past versions that delayed lists still show.
#[derive(Clone, Debug)]
pub(crate) struct Pad {
    pub now: PadView,
    pub past: Vec<(Instant, PadView)>,
    pub order: u64,
}

impl Pad {
    pub(crate) fn version_at(&self, at: Instant) -> Option<&PadView> {
        self.past.iter().rev().find(|(since, _)| *since <= at).map(|(_, view)| view)
    }
}

#[derive(Debug)]
pub(crate) struct InterviewModel {
    pub organization: String,
    pub users: Vec<OrganizationUser>,
    pub created_users: Vec<String>,
    pub questions: BTreeMap<u64, Question>,
    pub keys: HashMap<String, (String, KeyRole)>,
    pub quota: Quota,
    pub settings: Settings,
    pub pads: HashMap<String, Pad>,
    pub created_count: u64,
    pub cursors: HashSet<String>,
}

pub(crate) const TEAM: &str = "3d0f6a52-8c9b-4f6e-a0d1-7e2c5b4a9f18";

impl InterviewModel {
    /// Returns all pads, including deleted ones, in the order of creation.
    pub(crate) fn views(&self) -> Vec<PadView> {
        let mut pads: Vec<_> = self.pads.values().collect();
        pads.sort_by_key(|pad| pad.order);
        pads.into_iter().map(|pad| pad.now.clone()).collect()
    }

    pub(crate) fn create(&mut self, mut pad: PadView) -> PadView {
        self.created_count += 1;
        self.quota.used += 1;
        if self.quota.limit.is_some_and(|limit| self.quota.used > limit) {
            self.quota.billed += 1;
        }
        pad.id = pad_id();
        if pad.title.is_empty() {
            pad.title = format!("Untitled Pad - {}", pad.id);
        }
        pad.url = format!("{}/{}", self.settings.pad_origin, pad.id);
        pad.playback = format!("{}/playback", pad.url);
        pad.environment = 7_000_000 + self.created_count;
        let take_home = pad.take_home && self.settings.accept_take_home;
        pad.take_home = take_home;
        pad.take_home_time_limit = pad.take_home_time_limit.filter(|_| take_home);
        let kind = if take_home { &self.settings.take_home_type } else { &self.settings.live_type };
        pad.pad_type.clone_from(kind);
        if let Some(question) = pad.question_ids.first().and_then(|id| self.questions.get(id)) {
            pad.language.clone_from(&question.language);
            pad.files.insert("main".to_owned(), question.contents.clone());
        }
        let known =
            Pad { now: pad.clone(), past: vec![(Instant::now(), pad.clone())], order: self.created_count };
        self.pads.insert(pad.id.clone(), known);
        pad
    }

    pub(crate) fn new_pad(&self, owner_email: String) -> PadView {
        let now = now_ms();
        PadView {
            id: String::new(),
            title: String::new(),
            notes: None,
            state: "pending".to_owned(),
            pad_type: String::new(),
            take_home: false,
            take_home_time_limit: None,
            language: Some("plaintext".to_owned()),
            owner_email,
            team_id: None,
            question_ids: Vec::new(),
            private: false,
            execution_enabled: true,
            participants: Vec::new(),
            files: BTreeMap::new(),
            environment: 0,
            created_at: now,
            updated_at: now,
            ended_at: None,
            deleted: false,
            url: String::new(),
            playback: String::new(),
            by_api: false,
            events: Vec::new(),
        }
    }

    pub(crate) fn existing(&self, id: &str) -> Option<&PadView> {
        self.pads.get(id).map(|pad| &pad.now).filter(|pad| !pad.deleted)
    }

    /// Changes a pad that is not deleted; returns false if there is none.
    pub(crate) fn change(&mut self, id: &str, change: impl FnOnce(&mut PadView)) -> bool {
        // Kept for at least five minutes, because the lag may be increased later.
        let kept = self.settings.lag().max(Duration::from_secs(300));
        let Some(pad) = self.pads.get_mut(id).filter(|pad| !pad.now.deleted) else { return false };
        change(&mut pad.now);
        if !self.settings.frozen_updated_at {
            pad.now.updated_at = now_ms();
        }
        let now = Instant::now();
        pad.past.push((now, pad.now.clone()));
        // Drops versions that are older than the oldest one that a list can still show.
        let shown = now.checked_sub(kept).and_then(|at| pad.past.iter().rposition(|(since, _)| *since <= at));
        pad.past.drain(..shown.unwrap_or_default());
        true
    }

    pub(crate) fn end(&mut self, id: &str, kind: &str, by: Option<(&str, &str)>) -> bool {
        self.end_at(id, kind, by, now_ms())
    }

    pub(crate) fn end_at(&mut self, id: &str, kind: &str, by: Option<(&str, &str)>, at: i64) -> bool {
        self.change(id, |pad| {
            if pad.ended_at.is_none() {
                pad.event(kind, by, Value::Null);
                pad.state = "ended".to_owned();
                pad.ended_at = Some(at);
            }
        })
    }

    pub(crate) fn start(&mut self, id: &str, participants: &[String]) -> bool {
        let known: HashMap<String, String> =
            self.users.iter().map(|user| (user.name.clone(), user.email.clone())).collect();
        self.change(id, |pad| {
            for name in participants {
                let email = known.get(name).map(String::as_str).unwrap_or_default();
                pad.event("joined", Some((name, email)), Value::Null);
                if !pad.participants.contains(name) {
                    pad.participants.push(name.clone());
                }
            }
            if pad.state == "pending" {
                pad.event("started", None, Value::Null);
                pad.state = "started".to_owned();
            }
        })
    }
}

impl PadView {
    pub(crate) fn event(&mut self, kind: &str, by: Option<(&str, &str)>, metadata: Value) {
        let at = format_seconds(now_ms());
        let (name, email) = by.unwrap_or(("Someone", ""));
        let text = match kind {
            "joined" => format!("{name} joined the pad"),
            "left" => format!("{name} left the pad"),
            "auto_ended" => "Sidekiq auto_ended the interview".to_owned(),
            "ran" => format!("{name} ran {} code", metadata.as_str().unwrap_or_default()),
            kind => format!("{name} {kind} the interview"),
        };
        self.events.push(json!({"message": format!("{at}: {text}"), "kind": kind, "metadata": metadata,
            "user_name": by.map(|by| by.0), "user_email": Some(email).filter(|email| !email.is_empty()),
            "created_at": at}));
    }
}
