//! HTTP client for all requests to Lever and CoderPad Interview.
//!
//! Both clients share one instrumented send function. It applies the rate limit, timeouts, size limits for answers and
//! metrics, and classifies each error by what the caller may conclude from it. It never retries a request and never
//! follows a redirect: a repeated write could take effect twice, and a failing object must not send more requests than
//! a healthy one. The caller decides when to retry. The rest of the program does not depend on HTTP.

mod client;
mod error_response;
mod metrics;
mod observed;
mod rate_limit;
mod spans;
mod surprises;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use client::{Body, Call, Permit, SendDeadline, ServiceClient, api_key, root_cause};
pub use metrics::TransportMetrics;
pub use observed::{AnswerHead, ObservedAnswer};
pub use rate_limit::{AccountId, Priority, RateLimit};
pub use services::{AnswerPart, Oddities, Sighting, SurpriseKind, milliseconds};
pub use services::{ErrorKind, Service, ServiceError, SetupError};
pub use spans::TRACE_TARGET;
pub use surprises::{SURPRISE_MEMORY, Surprise, Surprises};

use observed::ObservedAnswers;
use rate_limit::TokenBuckets;

/// Timeout of a request, from sending it to the end of its answer. Creating a pad has its own timeout. A request whose
/// process has died is in flight no longer than this.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Timeout for opening a connection, including the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum idle time of a pooled connection for reads. It is shorter than the idle timeout of most load balancers, so
/// that they rarely close a connection just as it is reused.
const READ_POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum idle time of a pooled connection for writes. If the service closes a pooled connection just as a write is
/// sent, the outcome of the write is unknown. No service closes a connection that was busy a moment ago, so consecutive
/// writes can still share one.
const WRITE_POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Settings of a [`Transport`].
#[derive(Clone, Copy, Debug)]
pub struct TransportSettings {
    /// Rate limit of Lever per API key.
    pub lever_limit: RateLimit,
    /// Rate limit of the Interview API per API key.
    pub interview_limit: RateLimit,
    /// Timeout for creating a pad, from sending the request to the end of the answer.
    pub create_timeout: Duration,
}

/// State that all clients of the process share: connections, rate limits and metrics. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Transport(Arc<TransportInner>);

#[derive(Debug)]
struct TransportInner {
    reads: reqwest::Client,
    writes: reqwest::Client,
    settings: TransportSettings,
    metrics: TransportMetrics,
    buckets: TokenBuckets,
    observed: Option<ObservedAnswers>,
}

impl Transport {
    /// Creates the HTTP clients. Create one transport per process, because rate limits apply only within one transport.
    ///
    /// # Errors
    /// [`SetupError::HttpClient`] if the HTTP client cannot be created, for example because the TLS library finds no
    /// certificate authorities.
    pub fn new(settings: TransportSettings, metrics: TransportMetrics) -> Result<Self, SetupError> {
        Self::with(settings, metrics, None)
    }

    /// Creates a transport that also keeps every answer as it arrived, until [`Self::take_observed`] is called.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn observing(settings: TransportSettings, metrics: TransportMetrics) -> Result<Self, SetupError> {
        Self::with(settings, metrics, Some(ObservedAnswers::default()))
    }

    fn with(
        settings: TransportSettings,
        metrics: TransportMetrics,
        observed: Option<ObservedAnswers>,
    ) -> Result<Self, SetupError> {
        let client = |idle| http_client(idle, observed.is_some());
        Ok(Self(Arc::new(TransportInner {
            reads: client(READ_POOL_IDLE_TIMEOUT)?,
            writes: client(WRITE_POOL_IDLE_TIMEOUT)?,
            settings,
            metrics,
            buckets: TokenBuckets::default(),
            observed,
        })))
    }

    /// Returns the answers that arrived since the last call, oldest first. Empty unless the transport observes.
    pub fn take_observed(&self) -> Vec<ObservedAnswer> {
        self.0.observed.as_ref().map(ObservedAnswers::take).unwrap_or_default()
    }

    /// Returns the timeout for creating a pad.
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

/// Creates an HTTP client that neither retries nor follows redirects.
///
/// The client uses only HTTP/1.1, which sends a request as soon as its connection is open. HTTP/2 may hold a request
/// back until a stream is free, or refuse it so that it has to be retried.
///
/// `tls_info` adds the peer's certificate to each response.
fn http_client(idle_connection_time_limit: Duration, tls_info: bool) -> Result<reqwest::Client, SetupError> {
    reqwest::Client::builder()
        .tls_info(tls_info)
        .user_agent(concat!("pad-operator/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(idle_connection_time_limit)
        .build()
        .map_err(|error| SetupError::HttpClient(root_cause(&error)))
}
