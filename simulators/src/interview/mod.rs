//! Simulated CoderPad Interview: its API and the actions of interviewers and candidates.

mod api;
mod control;
mod form;
mod model;
mod pages;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::Value;

pub use model::{KeyRole, NewPad, OTHER_ORGANIZATION, OrganizationUser, PadView, Question, Quota, Settings};

use crate::RateLimit;
use crate::common::handle::handle;
use crate::common::lock;
use crate::common::pipeline::Pipeline;
use crate::common::server::Server;
use model::InterviewModel;

/// Options of a simulated Interview service.
#[derive(Clone, Debug)]
pub struct InterviewOptions {
    /// Address to listen on; port 0 = any free port.
    pub address: SocketAddr,
    /// API key of the organization's owner, the first user; empty = none.
    pub api_key: String,
    /// Name of the organization.
    pub organization: String,
    /// Users of the organization; the first is the owner.
    pub users: Vec<OrganizationUser>,
    /// Questions.
    pub questions: Vec<Question>,
    /// Quota.
    pub quota: Quota,
    /// Settings that can also be changed later.
    pub settings: Settings,
    /// Rate limit of each API key. The real service documents none.
    pub rate_limit: Option<RateLimit>,
}

impl Default for InterviewOptions {
    fn default() -> Self {
        let user =
            |email: &str, name: &str| OrganizationUser { email: email.to_owned(), name: name.to_owned() };
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            api_key: "interview-key".to_owned(),
            organization: "Northwind".to_owned(),
            users: vec![
                user("owner@northwind.example", "Olga Owner"),
                user("lead@northwind.example", "Leo Lead"),
            ],
            questions: vec![
                Question::new(1001, "Rate limiter", "live"),
                Question::new(1002, "Log parser", "take_home"),
                Question::new(1003, "Word count", "any"),
                Question { is_draft: true, ..Question::new(1004, "Unfinished", "any") },
            ],
            quota: Quota::default(),
            settings: Settings::default(),
            rate_limit: Some(RateLimit::default()),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Interview {
    pub pipeline: Pipeline,
    pub model: Mutex<InterviewModel>,
    origin: OnceLock<String>,
}

impl Interview {
    pub(crate) fn origin(&self) -> String {
        self.origin.get().cloned().unwrap_or_default()
    }
}

#[derive(Debug)]
struct InterviewServers {
    interview: Arc<Interview>,
    server: Server,
}

/// Handle on a simulated Interview service, which stops when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct InterviewSimulator {
    running: Arc<InterviewServers>,
}

handle!(InterviewSimulator, interview);

impl InterviewSimulator {
    /// Starts a service on the current tokio runtime.
    ///
    /// # Errors
    /// If the address is in use.
    pub async fn start(options: InterviewOptions) -> anyhow::Result<Self> {
        let listener = Server::bind(options.address).await?;
        let owner = options.users.first().map(|user| user.email.clone()).unwrap_or_default();
        let key = Some(options.api_key).filter(|key| !key.is_empty());
        let model = InterviewModel {
            organization: options.organization,
            users: options.users,
            created_users: Vec::new(),
            questions: options.questions.into_iter().map(|question| (question.id, question)).collect(),
            keys: key.into_iter().map(|key| (key, (owner.clone(), KeyRole::Owner))).collect(),
            quota: options.quota,
            settings: options.settings,
            pads: Default::default(),
            created_count: 0,
            cursors: Default::default(),
        };
        let interview = Arc::new(Interview {
            pipeline: Pipeline::new(options.rate_limit),
            model: Mutex::new(model),
            origin: OnceLock::new(),
        });
        let server = Server::start(listener, control::router(Arc::clone(&interview)))?;
        let _ = interview.origin.set(format!("http://{}", server.address()));
        Ok(Self { running: Arc::new(InterviewServers { interview, server }) })
    }

    fn interview(&self) -> &Arc<Interview> {
        &self.running.interview
    }

    fn with<T>(&self, act: impl FnOnce(&mut InterviewModel) -> T) -> T {
        act(&mut lock(&self.interview().model))
    }

    /// Returns the URL for a LeverConnection, such as `http://127.0.0.1:4712/api`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/api", self.origin())
    }

    /// Returns all pads, including deleted ones, in the order of creation.
    #[must_use]
    pub fn pads(&self) -> Vec<PadView> {
        self.with(|model| model.views())
    }

    /// Returns the pads that are not deleted.
    #[must_use]
    pub fn live_pads(&self) -> Vec<PadView> {
        self.pads().into_iter().filter(|pad| !pad.deleted).collect()
    }

    /// Returns a pad, even if it is deleted.
    #[must_use]
    pub fn pad(&self, id: &str) -> Option<PadView> {
        self.with(|model| model.pads.get(id).map(|pad| pad.now.clone()))
    }

    /// Creates a pad as a person would; it counts against the quota.
    pub fn add_pad(&self, new: NewPad) -> String {
        self.with(|model| model.add_by_hand(new))
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut PadView)) {
        assert!(self.with(|model| model.change(id, change)), "there is no pad {id}");
    }

    /// Lets people join; the interview counts as started.
    pub fn start_interview(&self, id: &str, participants: &[&str]) {
        let names: Vec<String> = participants.iter().map(|name| (*name).to_owned()).collect();
        assert!(self.with(|model| model.start(id, &names)), "there is no pad {id}");
    }

    /// Sets the whole contents of a file, as if typed.
    pub fn type_code(&self, id: &str, path: &str, contents: &str) {
        self.change(id, |pad| drop(pad.files.insert(path.to_owned(), contents.to_owned())));
    }

    /// Runs the code.
    pub fn run_code(&self, id: &str, by: &str) {
        self.change(id, |pad| {
            let language = pad.language.clone().map_or(Value::Null, Value::String);
            pad.event("ran", Some((by, "")), language);
        });
    }

    /// Ends the interview as an interviewer would.
    pub fn end_interview(&self, id: &str) {
        let by = self.with(|model| model.users.first().cloned());
        let by = by.as_ref().map(|user| (user.name.as_str(), user.email.as_str()));
        assert!(self.with(|model| model.end(id, "ended", by)), "there is no pad {id}");
    }

    /// Like [`end_interview`](Self::end_interview), at a time in milliseconds since the epoch.
    pub fn end_interview_at(&self, id: &str, at: i64) {
        assert!(self.with(|model| model.end_at(id, "ended", None, at)), "there is no pad {id}");
    }

    /// Ends the interview as the service does automatically after some days. Also for a take-home that has expired or
    /// was submitted (a guess: how the API shows those is not documented).
    pub fn auto_end(&self, id: &str) {
        assert!(self.with(|model| model.end(id, "auto_ended", None)), "there is no pad {id}");
    }

    /// Changes the private notes.
    pub fn set_notes(&self, id: &str, notes: Option<&str>) {
        self.change(id, |pad| pad.notes = notes.map(str::to_owned));
    }

    /// Renames the pad.
    pub fn set_title(&self, id: &str, title: &str) {
        self.change(id, |pad| pad.title = title.to_owned());
    }

    /// Changes the spelling of the pad's type.
    pub fn set_pad_type(&self, id: &str, pad_type: &str) {
        self.change(id, |pad| pad.pad_type = pad_type.to_owned());
    }

    /// Deletes the pad.
    pub fn delete_pad(&self, id: &str) {
        self.change(id, |pad| pad.deleted = true);
    }

    /// Returns the current quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.with(|model| model.quota)
    }

    /// Sets the quota.
    pub fn set_quota(&self, quota: Quota) {
        self.with(|model| model.quota = quota);
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.with(|model| model.settings.clone())
    }

    /// Changes settings.
    pub fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        self.with(|model| change(&mut model.settings));
    }

    /// Sets the delay before lists show a change.
    pub fn set_list_lag(&self, lag: Duration) {
        let milliseconds = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
        self.change_settings(|settings| settings.list_lag_milliseconds = milliseconds);
    }

    /// Adds a question or replaces the one with the same ID.
    pub fn add_question(&self, question: Question) {
        self.with(|model| drop(model.questions.insert(question.id, question)));
    }

    /// Removes a question.
    pub fn remove_question(&self, id: u64) {
        self.with(|model| drop(model.questions.remove(&id)));
    }

    /// Adds a key of a user or changes its role.
    pub fn set_key(&self, key: &str, email: &str, role: KeyRole) {
        self.with(|model| drop(model.keys.insert(key.to_owned(), (email.to_owned(), role))));
    }

    /// Renames the organization.
    pub fn rename_organization(&self, name: &str) {
        self.with(|model| model.organization = name.to_owned());
    }

    /// Revokes a key: requests with it get 401.
    pub fn revoke_key(&self, key: &str) {
        self.with(|model| drop(model.keys.remove(key)));
    }

    /// Adds a user to the organization.
    pub fn add_user(&self, email: &str, name: &str) {
        let user = OrganizationUser { email: email.to_owned(), name: name.to_owned() };
        self.with(|model| model.users.push(user));
    }

    /// Removes a user from the organization.
    pub fn remove_user(&self, email: &str) {
        self.with(|model| model.users.retain(|user| user.email != email));
    }

    /// Returns the accounts that were created because a pad named an unknown owner. Tests assert that there are none.
    #[must_use]
    pub fn created_users(&self) -> Vec<String> {
        self.with(|model| model.created_users.clone())
    }
}

impl InterviewModel {
    pub(crate) fn add_by_hand(&mut self, new: NewPad) -> String {
        let NewPad { title, notes, owner_email, question_id, take_home, made_at } = new;
        let first = self.users.first().map(|user| user.email.clone()).unwrap_or_default();
        let mut pad = self.new_pad(if owner_email.is_empty() { first } else { owner_email });
        pad.title = title;
        pad.notes = notes;
        pad.take_home = take_home;
        pad.question_ids = question_id.into_iter().collect();
        pad.created_at = made_at.unwrap_or(pad.created_at);
        pad.updated_at = made_at.unwrap_or(pad.updated_at);
        self.create(pad).id
    }
}
