//! Requests of a check: the operator's own HTTP client, with a fixed pace and a maximum number of requests.

use super::shape::shape;
use anyhow::Context as _;
use http_client::{
    AnswerHead, Call, ErrorKind, Priority, RateLimit, Service, ServiceClient, ServiceError, SetupError,
    Transport, TransportMetrics, TransportSettings, api_key,
};
use prometheus_client::registry::Registry;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};
use url::Url;

/// Pace and budget that both services share.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    next: Mutex<Instant>,
    left: AtomicU32,
    used: AtomicU32,
}

impl Pace {
    pub(super) fn new(interval: Duration, calls: u32) -> Self {
        let (left, used) = (AtomicU32::new(calls), AtomicU32::new(0));
        Self { interval, next: Mutex::new(Instant::now()), left, used }
    }

    /// Returns the number of requests so far.
    pub(super) fn used(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    /// Waits until the next request may be sent. Returns false if no request is left.
    pub(super) async fn take(&self) -> bool {
        let take = |left: u32| left.checked_sub(1);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return false;
        }
        self.used.fetch_add(1, Ordering::Relaxed);
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        *next = Instant::now() + self.interval;
        true
    }
}

/// Folder for the shapes of all answers.
#[derive(Debug)]
pub(super) struct Recorder {
    folder: PathBuf,
    count: AtomicU32,
    error: parking_lot::Mutex<Option<String>>,
}

impl Recorder {
    /// Creates the folder.
    pub(super) fn new(folder: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder).with_context(|| format!("--record {}", folder.display()))?;
        Ok(Self { folder, count: AtomicU32::new(0), error: parking_lot::Mutex::default() })
    }

    /// Returns the number of recorded answers, or the first error.
    pub(super) fn result(&self) -> Result<u32, String> {
        match self.error.lock().clone() {
            Some(error) => Err(error),
            None => Ok(self.count.load(Ordering::Relaxed)),
        }
    }

    fn write(&self, service: Service, operation: &str, query: &[&str], head: &AnswerHead, body: &[u8]) {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let name: String =
            operation.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
        let file = self.folder.join(format!(
            "{number:02}-{}-{}.json",
            service.label(),
            words.join("-").to_lowercase()
        ));
        let answer = match serde_json::from_slice::<Value>(body) {
            Ok(value) => shape(&value),
            Err(_) => json!(format!("<{} bytes that are not JSON>", body.len())),
        };
        let record = json!({
            "service": service.label(), "operation": operation, "query": query, "status": head.status,
            "contentType": head.content_type, "answer": answer,
        });
        if let Err(error) = std::fs::write(&file, format!("{record:#}\n")) {
            self.error.lock().get_or_insert_with(|| format!("{}: {error}", file.display()));
        }
    }
}

/// Answer to one request.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Decoded body of a success.
    pub result: Result<Value, ServiceError>,
    /// None if no answer arrived.
    pub head: Option<AnswerHead>,
}

impl Answer {
    /// Returns what the request shows about the network: the head of the answer, or why none arrived. None if the request
    /// was not sent.
    pub(super) fn arrival(&self) -> Option<Result<&AnswerHead, &ServiceError>> {
        match (&self.head, &self.result) {
            (Some(head), _) => Some(Ok(head)),
            (None, Err(error)) => Some(Err(error)),
            (None, Ok(_)) => None,
        }
    }
}

/// Account at one service.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    client: ServiceClient,
    service: Service,
    transport: Transport,
    pace: Arc<Pace>,
    recorder: Option<Arc<Recorder>>,
}

impl Caller {
    /// Creates a client for the account that `key` belongs to. White space around the key is ignored.
    pub(super) fn new(
        service: Service,
        base: &Url,
        key: &SecretString,
        pace: Arc<Pace>,
        recorder: Option<Arc<Recorder>>,
    ) -> Result<Self, SetupError> {
        let no_limit = RateLimit { per_second: 0, burst: 0 };
        let settings = TransportSettings {
            lever_limit: no_limit,
            interview_limit: no_limit,
            create_timeout: Duration::from_secs(35),
        };
        let transport = Transport::observing(settings, TransportMetrics::new(&mut Registry::default()))?;
        let client = ServiceClient::new(&transport, service, base, api_key(key)?)?;
        Ok(Self { client, service, transport, pace, recorder })
    }

    /// Returns the same account with another budget.
    pub(super) fn with_pace(&self, pace: &Arc<Pace>) -> Self {
        Self { pace: pace.clone(), ..self.clone() }
    }

    /// Returns the address of a path below the base.
    pub(super) fn url(&self, operation: &'static str, path: &[&str]) -> Result<Url, ServiceError> {
        self.client.url(operation, path)
    }

    /// Sends a read with these parameters.
    pub(super) async fn get(&self, operation: &'static str, path: &[&str], query: &[(&str, &str)]) -> Answer {
        match self.client.url(operation, path) {
            Ok(mut url) => {
                if !query.is_empty() {
                    url.query_pairs_mut().extend_pairs(query);
                }
                self.send(Call::get(operation, url)).await
            }
            Err(error) => Answer { result: Err(error), head: None },
        }
    }

    /// Sends a call as soon as the pace permits it.
    pub(super) async fn send(&self, call: Call) -> Answer {
        let (operation, url) = (call.operation, call.url.clone());
        if !self.pace.take().await {
            let reason = "not sent: the maximum number of requests was reached";
            let error = self.client.error(ErrorKind::Unavailable, operation, None, reason);
            return Answer { result: Err(error), head: None };
        }
        let result = self.client.send(Priority::Pad, call, Ok).await;
        let observed = self.transport.take_observed().pop();
        if let (Some(recorder), Some(observed)) = (&self.recorder, &observed) {
            let names: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            recorder.write(self.service, operation, &names, &observed.head, &observed.body);
        }
        Answer { result, head: observed.map(|observed| observed.head) }
    }
}
