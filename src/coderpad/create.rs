//! Creation of a pad: the only call that costs money. A retry must first check whether the pad exists.
//!
//! The caller takes the token of the rate limit first, then records that it is about to create a pad, and then sends
//! the request at once or not at all: see [`SendDeadline`].

use reqwest::Method;
use serde_json::Value;
use url::form_urlencoded;

use super::InterviewClient;
use super::PadRecord;
use super::types;
use crate::transport::{Body, Call, ErrorKind, Permit, SendDeadline, ServiceError};

pub(crate) const CREATE_PAD: &str = "POST /pads";
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

/// Error of a call to create a pad.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// Nothing was sent, because it was too late or no connection could be opened. Certainly no pad was created.
    #[error(transparent)]
    NotSent(ServiceError),
    /// CoderPad refused the request. Certainly no pad was created.
    #[error(transparent)]
    Refused(ServiceError),
    /// The request was sent, and the answer is missing or unreadable. A pad may exist.
    #[error(transparent)]
    OutcomeUnknown(ServiceError),
}

impl CreateError {
    /// Returns the error of the call.
    pub fn error(&self) -> &ServiceError {
        match self {
            Self::NotSent(error) | Self::Refused(error) | Self::OutcomeUnknown(error) => error,
        }
    }
}

impl From<ServiceError> for CreateError {
    fn from(error: ServiceError) -> Self {
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
    /// Waits for the rate limit and returns the permission to send one request.
    pub async fn permit(&self) -> Permit {
        self.client.permit(self.priority).await
    }

    /// Creates a pad. The request is sent before the deadline or not at all. It ends, with or without an answer, at
    /// most [`crate::transport::TransportSettings::create_timeout`] after it is sent.
    ///
    /// # Errors
    /// See [`CreateError`]. [`CreateError::Refused`] with [`ServiceError::is_quota`] means that the plan's quota of pads is
    /// used up.
    pub async fn create_pad(&self, departure: SendDeadline, pad: &NewPad) -> Result<PadRecord, CreateError> {
        // The documented path has a trailing slash (reference: interview-api.md, 1. Trailing slash).
        let url = self.client.url(CREATE_PAD, &["pads", ""])?;
        let call = Call {
            time_limit: self.client.transport().create_timeout(),
            ..Call::write(CREATE_PAD, Method::POST, url, Body::Form(pad.form()))
        };
        let read = |answer: Value| self.client.read_answer(CREATE_PAD, &answer, types::single_pad);
        Ok(self.client.send_once(departure, call, read).await?)
    }
}
