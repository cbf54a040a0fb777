//! Creating a pad: the one call that costs money and cannot be repeated without asking first.
//!
//! It has two steps. The rate limit's token is taken first ([`InterviewClient::create_permit`]), because waiting for
//! it may take long; then the caller writes down durably what it is about to do; then the request leaves at once, or
//! not at all ([`InterviewClient::create_pad`]). Whoever finds the note later thus knows when no flight can be under
//! way any more.

use reqwest::Method;
use tokio::time::Instant;
use url::form_urlencoded;

use super::InterviewClient;
use super::PadRecord;
use super::types::RawPad;
use crate::transport::{CONNECT_TIME_LIMIT, Call, Class, Error, Payload, Priority};

pub(crate) const CREATE_PAD: &str = "POST /pads";
/// Take-homes made for an applicant tracking system always get two hours.
const TAKE_HOME_MINUTES: &str = "120";

/// The right to send one request to create a pad: a token of the rate limit, already taken.
#[derive(Debug)]
#[must_use = "the rate limit's token is spent"]
pub struct CreatePermit(());

/// A pad to be made (reference: interview-api.md, 2. POST fields). What is none is not sent: the account's own
/// default holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewPad {
    /// What the pad is called.
    pub title: String,
    /// The language it opens with; not together with a question.
    pub language: Option<String>,
    /// The question it is made from.
    pub question_id: Option<i64>,
    /// The interviewer's private notes.
    pub notes: String,
    /// Whether the candidate waits until let in.
    pub private: Option<bool>,
    /// The owner. CoderPad makes an account for an unknown address: look it up first.
    pub owner_email: Option<String>,
    /// Whether it is a take-home, with a limit of 120 minutes.
    pub take_home: bool,
}

impl NewPad {
    /// Flat names, as in the documentation's curl samples (reference: interview-api.md, 1. Body format).
    fn form(&self) -> String {
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

/// Why there is no pad to be had from a call to create one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// Nothing was sent: it was too late, or no connection could be made. Certainly no pad.
    #[error(transparent)]
    NotSent(Error),
    /// CoderPad refused. Certainly no pad.
    #[error(transparent)]
    Refused(Error),
    /// It was sent, and the answer is missing or cannot be read: there may be a pad.
    #[error(transparent)]
    OutcomeUnknown(Error),
}

impl CreateError {
    /// What happened, whatever it means.
    pub fn error(&self) -> &Error {
        match self {
            Self::NotSent(error) | Self::Refused(error) | Self::OutcomeUnknown(error) => error,
        }
    }
}

impl From<Error> for CreateError {
    fn from(error: Error) -> Self {
        match error.class {
            Class::Invalid | Class::Unauthorized | Class::Forbidden | Class::NotFound | Class::Throttled => {
                Self::Refused(error)
            }
            Class::Unavailable => Self::NotSent(error),
            Class::OutcomeUnknown => Self::OutcomeUnknown(error),
        }
    }
}

impl InterviewClient {
    /// Waits for the rate limit, before polls. The permit does not run out, but the longer it is kept, the less it
    /// says about the present rate.
    pub async fn create_permit(&self) -> CreatePermit {
        self.account.take_token(Priority::Pad).await;
        CreatePermit(())
    }

    /// Makes a pad. The request leaves before `leave_by` or not at all; it ends, with or without an answer, at most
    /// [`crate::transport::TransportSettings::create_timeout`] after that.
    ///
    /// To keep that promise it needs, before `leave_by`, the 5 s that making a connection may take.
    ///
    /// # Errors
    /// See [`CreateError`]. [`CreateError::Refused`] with [`Error::is_quota`] means that the plan's pads are used up.
    pub async fn create_pad(
        &self,
        permit: CreatePermit,
        leave_by: Instant,
        pad: &NewPad,
    ) -> Result<PadRecord, CreateError> {
        let CreatePermit(()) = permit;
        // The closing slash is the documented path (reference: interview-api.md, 1. Trailing slash).
        let url = self.account.url(CREATE_PAD, &["pads", ""])?;
        let call = Call {
            time_limit: self.account.transport().create_timeout(),
            ..Call::write(CREATE_PAD, Method::POST, url, Payload::Form(pad.form()))
        };
        if Instant::now() + CONNECT_TIME_LIMIT > leave_by {
            let reason = "not sent: too little time was left";
            return Err(CreateError::NotSent(self.account.error(
                Class::Unavailable,
                CREATE_PAD,
                None,
                reason,
            )));
        }
        Ok(self.account.send_now(call, RawPad::check).await?)
    }
}
