//! Creation of a pad: the only call that costs money. A retry must first check whether the pad exists.
//!
//! The caller takes the token of the rate limit first, then records that it is about to create a pad, and then sends
//! the request at once or not at all: see [`SendDeadline`].

use reqwest::Method;
use serde_json::Value;

use super::InterviewClient;
use http_client::{Body, Call, ErrorKind, Permit, SendDeadline, ServiceError};
use services::coderpad::{self as types, CREATE_PAD, NewPad, PadRecord};

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
    /// most [`http_client::TransportSettings::create_timeout`] after it is sent.
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
        let read = |answer: Value| {
            self.client.read_answer(CREATE_PAD, &answer, |answer| {
                self.single_pads.lock().remember(answer);
                types::created_pad(answer, pad)
            })
        };
        Ok(self.client.send_once(departure, call, read).await?)
    }
}
