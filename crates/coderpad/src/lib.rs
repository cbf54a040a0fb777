//! Client of CoderPad's Interview API: pads, and the users, questions and quota that are needed to create them.
//!
//! The key must belong to an organization owner: only such a key lists all pads and sets a pad's owner (reference:
//! interview-api.md, 1. Scope of a key). Every method waits for the account's rate limit, sends one request, and never
//! retries. See [`http_client::ErrorKind`] for the meaning of its errors.

mod create;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;

use parking_lot::Mutex;
use reqwest::Method;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use url::Url;

pub use create::CreateError;
use http_client::{
    AccountId, AnswerPart, Body, Call, ErrorKind, Priority, Service, ServiceClient, ServiceError, SetupError,
    Surprises, Transport, api_key,
};
use services::coderpad::{self as types, RawQuestion, RawQuota, SinglePads, StatusAnswer};
pub use services::coderpad::{
    CREATE_PAD, CoderPadUser, Environment, EnvironmentFile, NewPad, OrganizationRecord, PadEvent, PadKind,
    PadPage, PadQuota, PadRecord, PadSort, PageRef, QuestionRecord, UnreadableRow, is_pad_id,
};

const GET_ORGANIZATION: &str = "GET /organization";
const LIST_USERS: &str = "GET /organization/users";
const GET_QUOTA: &str = "GET /quota";
const LIST_PADS: &str = "GET /organization/pads";
const GET_PAD: &str = "GET /pads/{id}";
const LIST_PAD_EVENTS: &str = "GET /pads/{id}/events";
const UPDATE_PAD: &str = "PUT /pads/{id}";
const GET_ENVIRONMENT: &str = "GET /pad_environments/{id}";
const GET_QUESTION: &str = "GET /questions/{id}";

/// Client of one organization in CoderPad Interview. Cloning is cheap; Debug does not show the key.
#[derive(Clone, Debug)]
pub struct InterviewClient {
    client: ServiceClient,
    priority: Priority,
    /// Answers for single pads, for the comparison with lists. All clones share them.
    single_pads: Arc<Mutex<SinglePads>>,
}

impl InterviewClient {
    /// Creates a client for the organization that `key` belongs to, at `base`, such as `https://app.coderpad.io/api`.
    ///
    /// White space around the key is ignored. The calls have [`Priority::Pad`].
    ///
    /// # Errors
    /// [`SetupError`] if the key is empty or malformed, or if the address is not a plain http or https address.
    pub fn new(transport: &Transport, base: &Url, key: SecretString) -> Result<Self, SetupError> {
        let account = ServiceClient::new(transport, Service::Interview, base, api_key(&key)?)?;
        Ok(Self { client: account, priority: Priority::default(), single_pads: Arc::default() })
    }

    /// Returns the same client with this priority for the rate limit.
    #[must_use]
    pub fn with_priority(&self, priority: Priority) -> Self {
        Self { priority, ..self.clone() }
    }

    /// Returns the ID of the API key at its origin. All clients of one key at one origin share it, independent of their
    /// connection.
    pub fn account_id(&self) -> AccountId {
        self.client.id()
    }

    /// Returns the same client for a connection: its name for log lines, and the record that surprises are added to.
    #[must_use]
    pub fn for_connection(self, connection: &str, surprises: Surprises) -> Self {
        Self { client: self.client.for_connection(connection, surprises), ..self }
    }

    /// Returns the organization of the key.
    ///
    /// # Errors
    /// Any class but [`ErrorKind::OutcomeUnknown`].
    pub async fn organization(&self) -> Result<OrganizationRecord, ServiceError> {
        let url = self.client.url(GET_ORGANIZATION, &["organization"])?;
        self.read_part(GET_ORGANIZATION, url, types::organization).await
    }

    /// Returns the quota of pads in the current billing cycle.
    ///
    /// # Errors
    /// Any class but [`ErrorKind::OutcomeUnknown`].
    pub async fn quota(&self) -> Result<PadQuota, ServiceError> {
        let url = self.client.url(GET_QUOTA, &["quota"])?;
        self.read(GET_QUOTA, url, RawQuota::check).await
    }

    /// Returns the user of the organization with this e-mail address, compared without regard to case.
    ///
    /// # Errors
    /// Any class but [`ErrorKind::NotFound`] and [`ErrorKind::OutcomeUnknown`].
    pub async fn user_by_email(&self, email: &str) -> Result<Option<CoderPadUser>, ServiceError> {
        let mut url = self.client.url(LIST_USERS, &["organization", "users"])?;
        url.query_pairs_mut().append_pair("email", email);
        let users = self.read_part(LIST_USERS, url, types::users).await;
        match users {
            Ok(users) => Ok(users.into_iter().find(|user| user.email.eq_ignore_ascii_case(email))),
            Err(error) if error.class == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns one page of the organization's pads, at most 50, newest first. The list may be a minute behind
    /// (reference: interview-api.md, 1. Freshness). `cursor` is the [`PadPage::next`] of the previous page and includes
    /// the order.
    ///
    /// # Errors
    /// Any class but [`ErrorKind::OutcomeUnknown`]; [`ErrorKind::Unavailable`] also if the address of the next page
    /// has no query. [`PadPage::left_out`] contains the unreadable rows. Each of them may be the pad that a
    /// search looks for, so such a page does not prove that the pad is missing.
    pub async fn organization_pads(
        &self,
        cursor: Option<&PageRef>,
        sort: PadSort,
    ) -> Result<PadPage, ServiceError> {
        let endpoint = self.client.url(LIST_PADS, &["organization", "pads"])?;
        let mut url = endpoint.clone();
        match cursor {
            Some(page) => url.set_query(Some(page.query())),
            None => {
                url.query_pairs_mut().append_pair("sort", sort.parameter());
            }
        }
        self.read_part(LIST_PADS, url, |answer| {
            self.single_pads.lock().compare(answer);
            types::pad_page(answer, &endpoint, cursor)
        })
        .await
    }

    /// Returns the current state of one pad.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it does not exist; any other class but [`ErrorKind::OutcomeUnknown`].
    pub async fn pad(&self, id: &str) -> Result<PadRecord, ServiceError> {
        let url = self.pad_url(GET_PAD, id, None)?;
        self.read_part(GET_PAD, url, |answer| {
            self.single_pads.lock().remember(answer);
            types::single_pad(answer)
        })
        .await
    }

    /// Returns the first 50 events of a pad, oldest first.
    ///
    /// # Errors
    /// As [`Self::pad`].
    pub async fn pad_events(&self, id: &str) -> Result<Vec<PadEvent>, ServiceError> {
        let mut url = self.pad_url(LIST_PAD_EVENTS, id, Some("events"))?;
        url.query_pairs_mut().append_pair("sort", "created_at,asc");
        self.read_part(LIST_PAD_EVENTS, url, types::events).await
    }

    /// Returns the files of one of a pad's environments ([`PadRecord::environment_ids`]).
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it does not exist; any other class but [`ErrorKind::OutcomeUnknown`].
    pub async fn environment(&self, id: i64) -> Result<Environment, ServiceError> {
        let url = self.client.url(GET_ENVIRONMENT, &["pad_environments", &id.to_string()])?;
        self.read_part(GET_ENVIRONMENT, url, types::environment).await
    }

    /// Returns a question that a pad can be created from.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it does not exist; any other class but [`ErrorKind::OutcomeUnknown`].
    pub async fn question(&self, id: i64) -> Result<QuestionRecord, ServiceError> {
        let url = self.client.url(GET_QUESTION, &["questions", &id.to_string()])?;
        self.read(GET_QUESTION, url, RawQuestion::check).await
    }

    /// Ends the interview. The call is idempotent.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the pad does not exist; any other class.
    pub async fn end_pad(&self, id: &str) -> Result<(), ServiceError> {
        self.update(id, "ended=true").await
    }

    /// Deletes the pad. The call is idempotent: a missing pad counts as deleted.
    ///
    /// # Errors
    /// Any class but [`ErrorKind::NotFound`].
    pub async fn delete_pad(&self, id: &str) -> Result<(), ServiceError> {
        match self.update(id, "deleted=true").await {
            Err(error) if error.class == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    async fn update(&self, id: &str, form: &str) -> Result<(), ServiceError> {
        let url = self.pad_url(UPDATE_PAD, id, None)?;
        let call = Call::write(UPDATE_PAD, Method::PUT, url, Body::Form(form.to_owned()));
        self.client.send(self.priority, call, StatusAnswer::check).await
    }

    async fn read<Raw: DeserializeOwned, T>(
        &self,
        operation: &'static str,
        url: Url,
        check: impl FnOnce(Raw) -> Result<T, &'static str>,
    ) -> Result<T, ServiceError> {
        self.client.send(self.priority, Call::get(operation, url), check).await
    }

    async fn read_part<T>(
        &self,
        operation: &'static str,
        url: Url,
        read: impl FnOnce(&AnswerPart<'_>) -> Result<T, &'static str>,
    ) -> Result<T, ServiceError> {
        self.read(operation, url, |answer: Value| self.client.read_answer(operation, &answer, read)).await
    }

    fn pad_url(&self, operation: &'static str, id: &str, tail: Option<&str>) -> Result<Url, ServiceError> {
        if !is_pad_id(id) {
            return Err(self.client.error(
                ErrorKind::Invalid,
                operation,
                None,
                "a pad id that cannot be one",
            ));
        }
        let path: Vec<&str> = ["pads", id].into_iter().chain(tail).collect();
        self.client.url(operation, &path)
    }
}
