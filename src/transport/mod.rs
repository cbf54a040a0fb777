//! The one way in which requests leave for Lever and CoderPad Interview.
//!
//! Both clients stand on the same instrumented send: rate limit, time limits, bounded bodies, metrics, and errors that
//! are classed by what the caller may conclude. It never repeats a request and never follows a redirect: a repeated
//! write could take effect twice, and an object in error must not call more often than a healthy one. Whoever calls
//! decides when to try again. The rest of the program knows nothing of HTTP.

mod client;
mod error;
mod metrics;
mod rate_limit;
mod response;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tolerant;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use client::{Body, Call, ServiceClient, api_key, innermost};
pub use client::{Permit, SendDeadline};
pub use error::{Error, ErrorKind, Service, SetupError};
pub use metrics::TransportMetrics;
pub use rate_limit::{AccountId, Priority, RateLimit};
pub(crate) use tolerant::{AnswerPart, Oddities, milliseconds};

use rate_limit::TokenBuckets;

/// How long a request may take, from its leaving to the end of its answer; creating a pad has its own limit. A request
/// whose process has died is under way no longer than this.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// How long making a connection may take, the TLS handshake included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than load balancers usually keep idle connections, so that they seldom close one as it is used again.
const READ_POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// When a kept connection is closed by the other side just as a write is sent, nobody knows whether the write took effect.
/// No service closes one that was busy a moment ago, so where many writes follow each other, they need not each connect.
const WRITE_POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a [`Transport`] is set up with.
#[derive(Clone, Copy, Debug)]
pub struct TransportSettings {
    /// What Lever allows one API key.
    pub lever_limit: RateLimit,
    /// What the Interview API allows one API key.
    pub interview_limit: RateLimit,
    /// How long creating a pad may take, from its leaving to the end of the answer.
    pub create_timeout: Duration,
}

/// What all clients of the process share: connections, rate limits, metrics. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Transport(Arc<TransportInner>);

#[derive(Debug)]
struct TransportInner {
    reads: reqwest::Client,
    writes: reqwest::Client,
    settings: TransportSettings,
    metrics: TransportMetrics,
    buckets: TokenBuckets,
}

impl Transport {
    /// Sets up the HTTP clients. One per process: rate limits hold only within one transport.
    ///
    /// # Errors
    /// [`SetupError::HttpClient`] if the TLS library finds no certificate authorities or the like.
    pub fn new(settings: TransportSettings, metrics: TransportMetrics) -> Result<Self, SetupError> {
        Ok(Self(Arc::new(TransportInner {
            reads: http_client(READ_POOL_IDLE_TIMEOUT)?,
            writes: http_client(WRITE_POOL_IDLE_TIMEOUT)?,
            settings,
            metrics,
            buckets: TokenBuckets::default(),
        })))
    }

    /// How long creating a pad may take.
    pub fn create_timeout(&self) -> Duration {
        self.0.settings.create_timeout
    }

    fn limit(&self, service: Service) -> RateLimit {
        match service {
            Service::Lever => self.0.settings.lever_limit,
            Service::Interview => self.0.settings.interview_limit,
        }
    }
}

/// An HTTP client that does nothing by itself.
///
/// HTTP/1.1 only: a request then leaves as soon as its connection stands, while HTTP/2 may hold it back for a free
/// stream, or refuse it for another try.
fn http_client(idle_connection_time_limit: Duration) -> Result<reqwest::Client, SetupError> {
    reqwest::Client::builder()
        .user_agent(concat!("pad-operator/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(idle_connection_time_limit)
        .build()
        .map_err(|error| SetupError::HttpClient(innermost(&error)))
}
