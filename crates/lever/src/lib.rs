//! Client of Lever's Data API. The operator uses it to read candidates and to write links, notes and tags.
//!
//! All IDs are opaque: besides UUIDs, live accounts have stage IDs such as `lead-new` (reference: lever-api.md, 0).
//! Every method waits for the account's rate limit, sends one request per page, and never retries. See
//! [`http_client::ErrorKind`] for the meaning of its errors.

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;
mod webhooks;

use parking_lot::Mutex;
use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use url::Url;

use http_client::{
    AnswerPart, Body, Call, ErrorKind, Permit, Priority, SendDeadline, Service, ServiceClient, ServiceError,
    SetupError, Surprises, Transport, api_key,
};
use services::lever::{
    self as types, ADD_LINKS, ADD_NOTE, ADD_TAGS, Data, GET_OPPORTUNITY, GET_USER, LIST_DELETED, LIST_NOTES,
    LIST_OPPORTUNITIES, LIST_STAGES, ListPage, REMOVE_LINKS, REMOVE_TAGS,
};
pub use services::lever::{
    LeverNote, LeverStage, Notes, Opportunity, OpportunityPage, PageToken, StageHistoryEntry, UserState,
    is_record, permission,
};
pub use webhooks::{NewWebhook, STAGE_CHANGE_EVENT, Webhook};

/// Number of rows per page, the maximum that Lever allows (reference: lever-api.md, 2. Paging).
pub const LEVER_PAGE_SIZE: usize = 100;
/// Maximum number of stages that are read from an account. The rest is left out.
const MAX_STAGES: usize = 500;
/// Maximum number of a candidate's notes that are searched. With more notes, the search fails.
const MAX_NOTES: usize = 2000;
/// Maximum number of pages that are read from a list. It is more than the rows above need, and stops at a service that
/// always announces another page.
const MAX_LIST_PAGES: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawUser {
    deactivated_at: Option<serde_json::Value>,
}

/// Client of one Lever account. Cloning is cheap; Debug does not show the key.
#[derive(Clone, Debug)]
pub struct LeverClient {
    client: ServiceClient,
    perform_as: Option<String>,
    priority: Priority,
    /// Last write that Lever refused, until the same operation succeeds. All clones share it.
    refused: Arc<Mutex<Option<&'static str>>>,
}

impl LeverClient {
    /// Creates a client for the account that `key` belongs to, at `base`, such as `https://api.lever.co/v1`.
    ///
    /// White space around the key is ignored. `perform_as` is the ID of the Lever user in whose name links, notes and
    /// tags are written; if it is none or blank, they are written in the name of the key. The calls have
    /// [`Priority::Pad`].
    ///
    /// # Errors
    /// [`SetupError`] if the key is empty or malformed, or if the address is not a plain http or https address.
    pub fn new(
        transport: &Transport,
        base: &Url,
        key: SecretString,
        perform_as: Option<String>,
    ) -> Result<Self, SetupError> {
        let account = ServiceClient::new(transport, Service::Lever, base, api_key(&key)?)?;
        let perform_as = perform_as.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
        Ok(Self { client: account, perform_as, priority: Priority::default(), refused: Arc::default() })
    }

    /// Returns the same client with this priority for the rate limit.
    #[must_use]
    pub fn with_priority(&self, priority: Priority) -> Self {
        Self { priority, ..self.clone() }
    }

    /// Returns the same client for a connection: its name for log lines, and the record that surprises are added to.
    #[must_use]
    pub fn for_connection(self, connection: &str, surprises: Surprises) -> Self {
        Self { client: self.client.for_connection(connection, surprises), ..self }
    }

    /// Returns the account's stages in pipeline order, at most 500. The rest is left out.
    ///
    /// # Errors
    /// Any class but [`ErrorKind::OutcomeUnknown`]; [`ErrorKind::Unavailable`] also if the list does not end.
    pub async fn stages(&self) -> Result<Vec<LeverStage>, ServiceError> {
        let mut stages = self.all_pages(LIST_STAGES, &["stages"], MAX_STAGES, types::stage).await?.rows;
        stages.truncate(MAX_STAGES);
        Ok(stages)
    }

    /// Returns the ID of any opportunity, if the account has one. Success means that the key may list opportunities.
    ///
    /// # Errors
    /// Any class but [`ErrorKind::OutcomeUnknown`].
    pub async fn any_opportunity(&self) -> Result<Option<String>, ServiceError> {
        Ok(self.some_opportunities(1).await?.into_iter().next())
    }

    /// Returns the IDs of any opportunities, at most `limit`.
    ///
    /// # Errors
    /// Any class but [`ErrorKind::OutcomeUnknown`].
    pub async fn some_opportunities(&self, limit: usize) -> Result<Vec<String>, ServiceError> {
        let mut url = self.client.url(LIST_OPPORTUNITIES, &["opportunities"])?;
        url.query_pairs_mut().append_pair("limit", &limit.to_string());
        self.client
            .send(self.priority, Call::get(LIST_OPPORTUNITIES, url), |answer: Value| {
                let list = self.client.read_answer(LIST_OPPORTUNITIES, &answer, |answer| {
                    ListPage::from_answer(answer, types::opportunity_id)
                })?;
                Ok(list.rows)
            })
            .await
    }

    /// Returns the ID of the user in whose name links, notes and tags are written, if one is set.
    pub fn performer(&self) -> Option<&str> {
        self.perform_as.as_deref()
    }

    /// Returns the state of the user with this ID: unknown, deactivated or active.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] if the key may not read users. All other kinds are possible too, except
    /// [`ErrorKind::NotFound`] and [`ErrorKind::OutcomeUnknown`].
    pub async fn user(&self, id: &str) -> Result<UserState, ServiceError> {
        let url = self.client.url(GET_USER, &["users", required(id)])?;
        let read = self.client.send(self.priority, Call::get(GET_USER, url), |answer: Data<RawUser>| {
            Ok(if answer.data.deactivated_at.is_some() { UserState::Deactivated } else { UserState::Active })
        });
        match read.await {
            Err(error) if matches!(error.class, ErrorKind::NotFound | ErrorKind::Invalid) => {
                Ok(UserState::Unknown)
            }
            result => result,
        }
    }

    /// Returns one opportunity.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it was deleted; [`ErrorKind::Forbidden`] also if only this opportunity is
    /// confidential and the key may not see confidential data; any other class but [`ErrorKind::OutcomeUnknown`].
    pub async fn opportunity(&self, id: &str) -> Result<Opportunity, ServiceError> {
        self.opportunity_now(self.permit().await, id).await
    }

    /// Returns one opportunity. The request is sent at once.
    ///
    /// # Errors
    /// As [`LeverClient::opportunity`].
    pub async fn opportunity_now(&self, permit: Permit, id: &str) -> Result<Opportunity, ServiceError> {
        let url = self.opportunity_url(GET_OPPORTUNITY, id, None)?;
        self.client
            .send_now(permit, Call::get(GET_OPPORTUNITY, url), |answer| {
                self.opportunity_of(GET_OPPORTUNITY, &answer)
            })
            .await
    }

    /// Returns one page of the opportunities that are in a stage, have a tag if one is given (compared exactly) and are not
    /// archived. Lever leaves out confidential ones. The request is sent at once, so that the caller can determine which changes
    /// the page can contain.
    ///
    /// The list is ordered by stage: an opportunity that moves while the caller pages through the list can be missing
    /// or occur twice (reference: lever-api.md, 2. Paging).
    ///
    /// # Errors
    /// Any class but [`ErrorKind::OutcomeUnknown`]; see also [`ServiceError::is_stale_page`].
    pub async fn opportunities(
        &self,
        permit: Permit,
        stage_id: &str,
        tag: Option<&str>,
        page: Option<&PageToken>,
    ) -> Result<OpportunityPage, ServiceError> {
        let stage = [("stage_id", stage_id), ("archived", "false")];
        let filter: Vec<_> = stage.into_iter().chain(tag.map(|tag| ("tag", tag))).collect();
        self.opportunity_page(permit, &filter, page).await
    }

    /// Returns one page of the opportunities that were archived at or after a time, in milliseconds since 1970.
    ///
    /// # Errors
    /// As [`Self::opportunities`].
    pub async fn archived_since(
        &self,
        at_ms: i64,
        page: Option<&PageToken>,
    ) -> Result<OpportunityPage, ServiceError> {
        let at = at_ms.to_string();
        let filter = [("archived_at_start", at.as_str()), ("archived", "true")];
        self.opportunity_page(self.permit().await, &filter, page).await
    }

    /// Returns one page of the opportunities that changed in a span of time, in milliseconds since 1970, including
    /// archived ones. Anonymizing a candidate is such a change (reference: lever-api.md, 3).
    ///
    /// # Errors
    /// As [`Self::opportunities`].
    pub async fn updated_in(
        &self,
        span: SpanMs,
        page: Option<&PageToken>,
    ) -> Result<OpportunityPage, ServiceError> {
        let filter = span.filter(["updated_at_start", "updated_at_end"]);
        let filter: Vec<_> = filter.iter().map(|(name, at)| (*name, at.as_str())).collect();
        self.opportunity_page(self.permit().await, &filter, page).await
    }

    /// Returns one page of the opportunities that were deleted in a span of time, in milliseconds since 1970.
    ///
    /// # Errors
    /// As [`Self::opportunities`].
    pub async fn deleted_in(
        &self,
        span: SpanMs,
        page: Option<&PageToken>,
    ) -> Result<OpportunityPage, ServiceError> {
        let path = ["opportunities", "deleted"];
        let filter = span.filter(["deleted_at_start", "deleted_at_end"]);
        let filter: Vec<_> = filter.iter().map(|(name, at)| (*name, at.as_str())).collect();
        let permit = self.permit().await;
        let ListPage { rows, left_out, next } =
            self.page(permit, LIST_DELETED, &path, &filter, page, types::opportunity).await?;
        Ok(OpportunityPage { opportunities: rows, left_out, next })
    }

    /// Waits for the rate limit and returns the permission to send one request.
    pub async fn permit(&self) -> Permit {
        self.client.permit(self.priority).await
    }

    /// Adds links to the candidate's contact, so that they appear on all opportunities of the person. Returns the
    /// opportunity. Whether Lever adds a link a second time is not documented: compare with the existing links first.
    ///
    /// # Errors
    /// Any class; [`ErrorKind::Unavailable`] if it was not sent.
    pub async fn add_links(
        &self,
        departure: SendDeadline,
        id: &str,
        links: &[String],
    ) -> Result<Opportunity, ServiceError> {
        let call = self.change(ADD_LINKS, id, "addLinks", "links", links)?;
        let read = |answer| self.opportunity_of(ADD_LINKS, &answer);
        self.written(ADD_LINKS, self.client.send_once(departure, call, read).await)
    }

    /// Removes links by their exact text. Returns the opportunity.
    ///
    /// # Errors
    /// Any class.
    pub async fn remove_links(&self, id: &str, links: &[String]) -> Result<Opportunity, ServiceError> {
        let call = self.change(REMOVE_LINKS, id, "removeLinks", "links", links)?;
        let read = |answer| self.opportunity_of(REMOVE_LINKS, &answer);
        self.written(REMOVE_LINKS, self.client.send(self.priority, call, read).await)
    }

    /// Adds tags to the opportunity. Lever creates missing tags. Returns the opportunity.
    ///
    /// # Errors
    /// Any class.
    pub async fn add_tags(&self, id: &str, tags: &[String]) -> Result<Opportunity, ServiceError> {
        let call = self.change(ADD_TAGS, id, "addTags", "tags", tags)?;
        let read = |answer| self.opportunity_of(ADD_TAGS, &answer);
        self.written(ADD_TAGS, self.client.send(self.priority, call, read).await)
    }

    /// Removes tags from the opportunity. Returns the opportunity.
    ///
    /// # Errors
    /// Any class.
    pub async fn remove_tags(&self, id: &str, tags: &[String]) -> Result<Opportunity, ServiceError> {
        let call = self.change(REMOVE_TAGS, id, "removeTags", "tags", tags)?;
        let read = |answer| self.opportunity_of(REMOVE_TAGS, &answer);
        self.written(REMOVE_TAGS, self.client.send(self.priority, call, read).await)
    }

    /// Returns all notes of an opportunity. Deleted ones are marked.
    ///
    /// # Errors
    /// Any class but [`ErrorKind::OutcomeUnknown`]; [`ErrorKind::Unavailable`] also for more than 2000 notes, because a
    /// search in a part of them could miss an existing note. See also [`Notes::unreadable`].
    pub async fn notes(&self, id: &str) -> Result<Notes, ServiceError> {
        let path = ["opportunities", required(id), "notes"];
        let found = self.all_pages(LIST_NOTES, &path, MAX_NOTES, types::note).await?;
        if found.next.is_some() {
            let message = "more than 2000 notes";
            return Err(self.client.error(ErrorKind::Unavailable, LIST_NOTES, None, message));
        }
        Ok(Notes { notes: found.rows, left_out: found.left_out })
    }

    /// Adds a note to an opportunity without a notification to its followers. Returns the note's ID.
    ///
    /// # Errors
    /// Any class; [`ErrorKind::Unavailable`] if it was not sent. After [`ErrorKind::OutcomeUnknown`], search
    /// [`Self::notes`] before a retry: Lever supports no idempotency key.
    pub async fn add_note(
        &self,
        departure: SendDeadline,
        id: &str,
        value: &str,
    ) -> Result<String, ServiceError> {
        let url = self.opportunity_url(ADD_NOTE, id, Some("notes"))?;
        let body = Body::Json(json!({"value": value, "notifyFollowers": false}));
        let call = Call::write(ADD_NOTE, Method::POST, self.performed(url), body);
        let written = self.client.send_once(departure, call, |answer: Data<types::CreatedNote>| {
            answer.data.note_id().ok_or("the answer has no note id")
        });
        self.written(ADD_NOTE, written.await)
    }

    /// Returns the last of the writes ([`Self::add_links`] and the others) that Lever refused with 403, unless the same
    /// operation has succeeded since. Lever has no way to read whether a key may write.
    pub fn refused(&self) -> Option<&'static str> {
        *self.refused.lock()
    }

    /// Records whether Lever refused this write with 403.
    fn written<T>(
        &self,
        operation: &'static str,
        result: Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let mut refused = self.refused.lock();
        match &result {
            Ok(_) if *refused == Some(operation) => *refused = None,
            Err(error) if error.class == ErrorKind::Forbidden => *refused = Some(operation),
            Ok(_) | Err(_) => {}
        }
        drop(refused);
        result
    }

    /// Creates a write that changes links or tags. Lever answers it with the opportunity.
    fn change(
        &self,
        operation: &'static str,
        id: &str,
        path: &str,
        field: &str,
        values: &[String],
    ) -> Result<Call, ServiceError> {
        let url = self.opportunity_url(operation, id, Some(path))?;
        let body = Body::Json(json!({field: values}));
        Ok(Call::write(operation, Method::POST, self.performed(url), body))
    }

    async fn opportunity_page(
        &self,
        permit: Permit,
        filter: &[(&str, &str)],
        page: Option<&PageToken>,
    ) -> Result<OpportunityPage, ServiceError> {
        let ListPage { rows, left_out, next } = self
            .page(
                permit,
                LIST_OPPORTUNITIES,
                &["opportunities"],
                filter,
                page,
                types::opportunity_with_entries,
            )
            .await?;
        Ok(OpportunityPage { opportunities: rows, left_out, next })
    }

    /// Returns the rows of a list, and the next page if it has more than `enough` rows.
    async fn all_pages<Row>(
        &self,
        operation: &'static str,
        path: &[&str],
        enough: usize,
        read: fn(&AnswerPart<'_>) -> Option<Row>,
    ) -> Result<ListPage<Row>, ServiceError> {
        let mut all = ListPage { rows: Vec::new(), left_out: 0, next: None };
        for _ in 0..MAX_LIST_PAGES {
            let page = self.page(self.permit().await, operation, path, &[], all.next.as_ref(), read).await?;
            all.rows.extend(page.rows);
            all.left_out += page.left_out;
            all.next = page.next;
            if all.next.is_none() || all.rows.len() >= enough {
                return Ok(all);
            }
        }
        Err(self.client.error(ErrorKind::Unavailable, operation, None, "the list has no end"))
    }

    /// Returns one page of any list.
    async fn page<Row>(
        &self,
        permit: Permit,
        operation: &'static str,
        path: &[&str],
        filter: &[(&str, &str)],
        page: Option<&PageToken>,
        read: impl FnMut(&AnswerPart<'_>) -> Option<Row>,
    ) -> Result<ListPage<Row>, ServiceError> {
        let mut url = self.client.url(operation, path)?;
        url.query_pairs_mut()
            .extend_pairs(filter)
            .append_pair("limit", &LEVER_PAGE_SIZE.to_string())
            .extend_pairs(page.map(|token| ("offset", token.as_str())));
        self.client
            .send_now(permit, Call::get(operation, url), |answer: Value| {
                let list = self
                    .client
                    .read_answer(operation, &answer, |answer| ListPage::from_answer(answer, read))?;
                if list.next.is_some() && list.next.as_ref() == page {
                    return Err("the list does not advance");
                }
                Ok(list)
            })
            .await
    }

    fn opportunity_of(&self, operation: &'static str, answer: &Value) -> Result<Opportunity, &'static str> {
        let read =
            if operation == GET_OPPORTUNITY { types::opportunity_with_entries } else { types::opportunity };
        self.client.read_answer(operation, answer, |answer| {
            answer.member("data").and_then(|data| read(&data)).ok_or("the opportunity has no ID")
        })
    }

    fn opportunity_url(
        &self,
        operation: &'static str,
        id: &str,
        tail: Option<&str>,
    ) -> Result<Url, ServiceError> {
        let path: Vec<&str> = ["opportunities", required(id)].into_iter().chain(tail).collect();
        self.client.url(operation, &path)
    }

    /// Adds the user in whose name the write is done. Every write has this query parameter (reference: lever-api.md, 3.
    /// Writes).
    fn performed(&self, mut url: Url) -> Url {
        if let Some(user) = &self.perform_as {
            url.query_pairs_mut().append_pair("perform_as", user);
        }
        url
    }
}

/// Span of time in milliseconds since 1970, including both ends (reference: lever-api.md, 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanMs {
    /// Start of the span.
    pub from: i64,
    /// End of the span; none = now.
    pub to: Option<i64>,
}

impl SpanMs {
    fn filter(self, [start, end]: [&'static str; 2]) -> Vec<(&'static str, String)> {
        let end = self.to.map(|to| (end, to.to_string()));
        [(start, self.from.to_string())].into_iter().chain(end).collect()
    }
}

/// Returns the ID, or `.` if it is empty, because a path without the ID would be another endpoint.
/// [`ServiceClient::url`] refuses `.`.
fn required(id: &str) -> &str {
    if id.is_empty() { "." } else { id }
}
