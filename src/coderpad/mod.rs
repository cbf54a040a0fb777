//! The client of CoderPad's Interview API: pads, and what is needed to make them rightly.
//!
//! The key is that of an organization owner: only such a key lists all pads and sets a pad's owner (reference:
//! interview-api.md, 1. Scope of a key). Every method waits for the account's rate limit, makes one request, and
//! repeats nothing. See [`crate::transport::Class`] for what its errors mean.

mod create;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;
mod types;

use reqwest::Method;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::transport::{
    Account, AccountId, Call, Class, Error, Part, Payload, Priority, Service, SetupError, Transport, api_key,
};
pub(crate) use create::CREATE_PAD;
pub use create::{CreateError, NewPad};
use types::{Done, RawQuestion, RawQuota};
pub use types::{
    Environment, EnvironmentFile, LeftOut, Organization, PadEvent, PadKind, PadPage, PadRecord, PadSort,
    PageRef, Question, Quota, User,
};

const ORGANIZATION: &str = "GET /organization";
const USERS: &str = "GET /organization/users";
const QUOTA: &str = "GET /quota";
const PADS: &str = "GET /organization/pads";
const PAD: &str = "GET /pads/{id}";
const PAD_EVENTS: &str = "GET /pads/{id}/events";
const UPDATE_PAD: &str = "PUT /pads/{id}";
const ENVIRONMENT: &str = "GET /pad_environments/{id}";
const QUESTION: &str = "GET /questions/{id}";

/// One organization at CoderPad Interview. Cloning is cheap; Debug does not show the key.
#[derive(Clone, Debug)]
pub struct InterviewClient {
    account: Account,
    priority: Priority,
}

impl InterviewClient {
    /// A client for the organization that `key` belongs to, at `base`, such as `https://app.coderpad.io/api`.
    ///
    /// White space around the key is ignored. The calls have [`Priority::Pad`].
    ///
    /// # Errors
    /// [`SetupError`] if the key is empty or malformed, or the address is no plain http or https address.
    pub fn new(transport: &Transport, base: &Url, key: SecretString) -> Result<Self, SetupError> {
        let account = Account::new(transport, Service::Interview, base, api_key(&key)?)?;
        Ok(Self { account, priority: Priority::default() })
    }

    /// The same client, whose calls wait for the rate limit with this priority.
    #[must_use]
    pub fn with_priority(&self, priority: Priority) -> Self {
        Self { priority, ..self.clone() }
    }

    /// Which API key it is: clients of one key at one origin share it, whatever their connection.
    pub fn account_id(&self) -> AccountId {
        self.account.id()
    }

    /// The same client, named in log lines by the connection that it is for.
    #[must_use]
    pub fn named(self, connection: &str) -> Self {
        Self { account: self.account.named(connection), ..self }
    }

    /// The organization of the key.
    ///
    /// # Errors
    /// Any class but [`Class::OutcomeUnknown`].
    pub async fn organization(&self) -> Result<Organization, Error> {
        let url = self.account.url(ORGANIZATION, &["organization"])?;
        self.read_part(ORGANIZATION, url, types::organization).await
    }

    /// How many pads the plan still allows in this billing cycle.
    ///
    /// # Errors
    /// Any class but [`Class::OutcomeUnknown`].
    pub async fn quota(&self) -> Result<Quota, Error> {
        let url = self.account.url(QUOTA, &["quota"])?;
        self.read(QUOTA, url, RawQuota::check).await
    }

    /// The user of the organization with this e-mail address, compared without regard to case.
    ///
    /// # Errors
    /// Any class but [`Class::NotFound`] and [`Class::OutcomeUnknown`].
    pub async fn user_by_email(&self, email: &str) -> Result<Option<User>, Error> {
        let mut url = self.account.url(USERS, &["organization", "users"])?;
        url.query_pairs_mut().append_pair("email", email);
        let users = self.read_part(USERS, url, types::users).await;
        match users {
            Ok(users) => Ok(users.into_iter().find(|user| user.email.eq_ignore_ascii_case(email))),
            Err(error) if error.class == Class::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One page of the organization's pads, at most 50, newest first. The list may lag a minute behind (reference:
    /// interview-api.md, 1. Freshness). `cursor` is the page before's [`PadPage::next`] and carries the order with it.
    ///
    /// # Errors
    /// Any class but [`Class::OutcomeUnknown`]; [`Class::Unavailable`] also if the next page is said to be somewhere else.
    /// Rows that cannot be read are in [`PadPage::left_out`]: a search must not conclude "there is none" from a page of
    /// which one of them may be the pad.
    pub async fn organization_pads(&self, cursor: Option<&PageRef>, sort: PadSort) -> Result<PadPage, Error> {
        let endpoint = self.account.url(PADS, &["organization", "pads"])?;
        let mut url = endpoint.clone();
        match cursor {
            Some(page) => url.set_query(Some(page.query())),
            None => {
                url.query_pairs_mut().append_pair("sort", sort.parameter());
            }
        }
        self.read_part(PADS, url, |answer| types::pad_page(answer, &endpoint, cursor)).await
    }

    /// One pad, as it is now.
    ///
    /// # Errors
    /// [`Class::NotFound`] if there is none; any other class but [`Class::OutcomeUnknown`].
    pub async fn pad(&self, id: &str) -> Result<PadRecord, Error> {
        let url = self.pad_url(PAD, id, None)?;
        self.read_part(PAD, url, types::single_pad).await
    }

    /// What happened in a pad, oldest first: its first 50 events.
    ///
    /// # Errors
    /// As [`Self::pad`].
    pub async fn pad_events(&self, id: &str) -> Result<Vec<PadEvent>, Error> {
        let mut url = self.pad_url(PAD_EVENTS, id, Some("events"))?;
        url.query_pairs_mut().append_pair("sort", "created_at,asc");
        self.read_part(PAD_EVENTS, url, types::events).await
    }

    /// The files of one of a pad's environments ([`PadRecord::environment_ids`]).
    ///
    /// # Errors
    /// [`Class::NotFound`] if there is none; any other class but [`Class::OutcomeUnknown`].
    pub async fn environment(&self, id: i64) -> Result<Environment, Error> {
        let url = self.account.url(ENVIRONMENT, &["pad_environments", &id.to_string()])?;
        self.read_part(ENVIRONMENT, url, types::environment).await
    }

    /// A question that a pad may be made from.
    ///
    /// # Errors
    /// [`Class::NotFound`] if there is none; any other class but [`Class::OutcomeUnknown`].
    pub async fn question(&self, id: i64) -> Result<Question, Error> {
        let url = self.account.url(QUESTION, &["questions", &id.to_string()])?;
        self.read(QUESTION, url, RawQuestion::check).await
    }

    /// Ends the interview. May be repeated.
    ///
    /// # Errors
    /// [`Class::NotFound`] if there is no such pad; any other class.
    pub async fn end_pad(&self, id: &str) -> Result<(), Error> {
        self.update(id, "ended=true").await
    }

    /// Deletes the pad. May be repeated: a pad that is not there is deleted.
    ///
    /// # Errors
    /// Any class but [`Class::NotFound`].
    pub async fn delete_pad(&self, id: &str) -> Result<(), Error> {
        match self.update(id, "deleted=true").await {
            Err(error) if error.class == Class::NotFound => Ok(()),
            result => result,
        }
    }

    async fn update(&self, id: &str, form: &str) -> Result<(), Error> {
        let url = self.pad_url(UPDATE_PAD, id, None)?;
        let call = Call::write(UPDATE_PAD, Method::PUT, url, Payload::Form(form.to_owned()));
        self.account.send(self.priority, call, Done::check).await
    }

    async fn read<Raw: DeserializeOwned, T>(
        &self,
        operation: &'static str,
        url: Url,
        check: impl FnOnce(Raw) -> Result<T, &'static str>,
    ) -> Result<T, Error> {
        self.account.send(self.priority, Call::get(operation, url), check).await
    }

    async fn read_part<T>(
        &self,
        operation: &'static str,
        url: Url,
        read: impl FnOnce(&Part<'_>) -> Result<T, &'static str>,
    ) -> Result<T, Error> {
        self.read(operation, url, |answer: Value| self.account.read_answer(operation, &answer, read)).await
    }

    fn pad_url(&self, operation: &'static str, id: &str, tail: Option<&str>) -> Result<Url, Error> {
        if !types::is_pad_id(id) {
            return Err(self.account.error(Class::Invalid, operation, None, "a pad id that cannot be one"));
        }
        let path: Vec<&str> = ["pads", id].into_iter().chain(tail).collect();
        self.account.url(operation, &path)
    }
}
