//! Creating a pad: the one call that costs money and cannot be repeated without asking first.
//!
//! The rate limit's token is taken first, then the caller writes down what it is about to do, then the request leaves at
//! once or not at all: see [`SendDeadline`].

use reqwest::Method;
use serde_json::Value;
use url::form_urlencoded;

use super::InterviewClient;
use super::PadRecord;
use super::types;
use crate::transport::{Body, Call, Error, ErrorKind, Permit, SendDeadline};

pub(crate) const CREATE_PAD: &str = "POST /pads";
/// Take-homes made for an applicant tracking system always get two hours.
const TAKE_HOME_MINUTES: &str = "120";

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
            ErrorKind::Invalid
            | ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::NotFound
            | ErrorKind::Throttled => Self::Refused(error),
            ErrorKind::Unavailable => Self::NotSent(error),
            ErrorKind::OutcomeUnknown => Self::OutcomeUnknown(error),
        }
    }
}

impl InterviewClient {
    /// Waits for the right to send one request.
    pub async fn permit(&self) -> Permit {
        self.account.permit(self.priority).await
    }

    /// Makes a pad. The request leaves in time or not at all; it ends, with or without an answer, at most
    /// [`crate::transport::TransportSettings::create_timeout`] after that.
    ///
    /// # Errors
    /// See [`CreateError`]. [`CreateError::Refused`] with [`Error::is_quota`] means that the plan's pads are used up.
    pub async fn create_pad(&self, departure: SendDeadline, pad: &NewPad) -> Result<PadRecord, CreateError> {
        // The closing slash is the documented path (reference: interview-api.md, 1. Trailing slash).
        let url = self.account.url(CREATE_PAD, &["pads", ""])?;
        let call = Call {
            time_limit: self.account.transport().create_timeout(),
            ..Call::write(CREATE_PAD, Method::POST, url, Body::Form(pad.form()))
        };
        let read = |answer: Value| self.account.read_answer(CREATE_PAD, &answer, types::single_pad);
        Ok(self.account.send_once(departure, call, read).await?)
    }
}
