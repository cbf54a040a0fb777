//! Answers as they arrived, for `pad-operator check`. The operator itself keeps none.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use parking_lot::Mutex;
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderName};
use reqwest::tls::TlsInfo;
use std::sync::Arc;
use std::time::Duration;

/// Facts about an answer that do not depend on its body.
#[derive(Clone, Debug)]
pub struct AnswerHead {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// Time in the header `Date`.
    pub date: Option<Timestamp>,
    /// Time of arrival by the clock of this machine.
    pub received_at: Timestamp,
    /// Time from sending the request to the first byte of the answer, including opening a connection.
    pub elapsed: Duration,
    /// Certificate of the peer in DER. None without TLS.
    pub certificate: Option<Vec<u8>>,
}

impl AnswerHead {
    pub(crate) fn new(response: &Response, elapsed: Duration) -> Self {
        let header = |name: &HeaderName| response.headers().get(name)?.to_str().ok();
        let tls = response.extensions().get::<TlsInfo>();
        Self {
            status: response.status().as_u16(),
            content_type: header(&CONTENT_TYPE).map(str::to_owned),
            date: header(&DATE).and_then(|date| Some(rfc2822::parse(date).ok()?.timestamp())),
            received_at: Timestamp::now(),
            elapsed,
            certificate: tls.and_then(TlsInfo::peer_certificate).map(<[u8]>::to_vec),
        }
    }
}

/// Answer as it arrived.
#[derive(Clone, Debug)]
pub struct ObservedAnswer {
    /// Facts that do not depend on the body.
    pub head: AnswerHead,
    /// Whole body. Empty if it is too large.
    pub body: Vec<u8>,
}

/// Answers of one transport that were not taken yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct ObservedAnswers(Arc<Mutex<Vec<ObservedAnswer>>>);

impl ObservedAnswers {
    pub(crate) fn add(&self, head: AnswerHead, body: &[u8]) {
        self.0.lock().push(ObservedAnswer { head, body: body.to_vec() });
    }

    pub(crate) fn take(&self) -> Vec<ObservedAnswer> {
        std::mem::take(&mut *self.0.lock())
    }
}
