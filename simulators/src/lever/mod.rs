//! Simulated Lever: its API, its webhooks, and the actions of recruiters.

mod actions;
mod api;
mod control;
mod delivery;
mod endpoints;
mod lists;
mod model;
mod webhooks;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use delivery::{VerifyResult, signature};
pub use model::{LeverSettings, NewCandidate, NewPosting, PERMISSIONS, Permissions, Stage};
pub use webhooks::{Attempt, Delivery, DeliveryBehaviour, DeliveryOutcome};

use crate::RateLimit;
use crate::common::handle::handle;
use crate::common::lock;
use crate::common::pipeline::Pipeline;
use crate::common::server::Server;
use model::LeverModel;

/// Options of a simulated Lever.
#[derive(Clone, Debug)]
pub struct LeverOptions {
    /// Address to listen on; port 0 = any free port.
    pub address: SocketAddr,
    /// API key with all permissions; empty = none.
    pub api_key: String,
    /// Pipeline.
    pub stages: Vec<Stage>,
    /// Rate limit of each API key.
    pub rate_limit: Option<RateLimit>,
    /// Delays before the retries of a webhook. Lever retries five times, "waiting longer and longer"; the delays are
    /// not published.
    pub retry_delays: Vec<Duration>,
    /// Timeout of a webhook delivery; not published either.
    pub webhook_timeout: Duration,
    /// Whether webhook URLs without a scheme use `http://`, and whether that scheme is allowed. The real service
    /// requires https.
    pub assume_http: bool,
}

impl Default for LeverOptions {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            api_key: "lever-key".to_owned(),
            stages: vec![
                Stage::new("lead-new", "New lead"),
                Stage::new("applicant-new", "New applicant"),
                Stage::new("1f1d6e4e-6a53-4c0e-9d43-7b0c4f5e8a21", "Recruiter Screen"),
                Stage::new("8c0f9a55-2b1c-4f7e-8f0a-3d5e6b7c8d92", "Phone Screen"),
                Stage::new("b7a3c1d2-94e5-4e3b-a1f6-0c9d8e7f6a53", "Take-home"),
                Stage::new("e4d5c6b7-1a2b-4c3d-8e9f-a0b1c2d3e4f5", "Onsite"),
                Stage::new("offer", "Offer"),
            ],
            rate_limit: Some(RateLimit::default()),
            retry_delays: [200, 400, 800, 1600, 3200].map(Duration::from_millis).to_vec(),
            webhook_timeout: Duration::from_secs(5),
            assume_http: true,
        }
    }
}

/// Result of a stage change.
#[derive(Clone, Debug, Serialize)]
pub struct StageMove {
    /// Time of the change, in milliseconds since the epoch.
    pub at: i64,
    /// Numbers of the deliveries that report it.
    pub deliveries: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Lever {
    pub pipeline: Pipeline,
    pub model: Mutex<LeverModel>,
    pub options: LeverOptions,
    pub client: reqwest::Client,
    pub runtime: Handle,
    pub life: CancellationToken,
    pub progress: watch::Sender<u64>,
    handed_out: Mutex<HashSet<(String, String)>>,
}

impl Lever {
    pub(crate) fn issue_offset(&self, place: &(String, String)) {
        lock(&self.handed_out).insert(place.clone());
    }

    pub(crate) fn was_issued(&self, place: &(String, String)) -> bool {
        lock(&self.handed_out).contains(place)
    }
}

#[derive(Debug)]
struct LeverServers {
    lever: Arc<Lever>,
    server: Server,
}

impl Drop for LeverServers {
    fn drop(&mut self) {
        self.lever.life.cancel();
    }
}

/// Handle on a simulated Lever, which stops when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct LeverSimulator {
    running: Arc<LeverServers>,
}

handle!(LeverSimulator, lever);

impl LeverSimulator {
    /// Starts a service on the current tokio runtime.
    ///
    /// # Errors
    /// If the address is in use.
    pub async fn start(options: LeverOptions) -> anyhow::Result<Self> {
        let listener = Server::bind(options.address).await?;
        // No redirects and no proxy: a webhook reaches its URL or fails.
        let client =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
        let lever = Arc::new(Lever {
            pipeline: Pipeline::new(options.rate_limit),
            model: Mutex::new(LeverModel::new(&options)),
            client,
            runtime: Handle::current(),
            life: CancellationToken::new(),
            progress: watch::Sender::new(0),
            handed_out: Mutex::default(),
            options,
        });
        let server = Server::start(listener, control::router(Arc::clone(&lever)))?;
        Ok(Self { running: Arc::new(LeverServers { lever, server }) })
    }

    pub(crate) fn lever(&self) -> &Arc<Lever> {
        &self.running.lever
    }

    /// Returns the URL for a LeverConnection, such as `http://127.0.0.1:4711/v1`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/v1", self.origin())
    }

    /// Adds a key or changes its permissions.
    pub fn set_key(&self, key: &str, permissions: Permissions) {
        lock(&self.lever().model).keys.insert(key.to_owned(), permissions);
    }

    /// Revokes a key: requests with it get 401.
    pub fn revoke_key(&self, key: &str) {
        lock(&self.lever().model).keys.remove(key);
    }

    /// Invalidates all page tokens issued so far.
    pub fn expire_offsets(&self) {
        lock(&self.lever().model).offsets.clear();
    }
}
