//! The simulated Lever: its API, its webhooks, and the hands of the recruiters who use it.

mod api;
mod control;
mod delivery;
mod endpoints;
mod lists;
mod model;
mod recruiter;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use delivery::{Attempt, Delivery, DeliveryBehaviour, DeliveryOutcome, VerifyResult, signature};
pub use model::{NewCandidate, NewPosting, PERMISSIONS, Permissions, Stage};

use crate::RateLimit;
use crate::common::front::Front;
use crate::common::handle::handle;
use crate::common::lock;
use crate::common::server::Server;
use model::Model;

/// How a simulated Lever is set up.
#[derive(Clone, Debug)]
pub struct LeverOptions {
    /// Where it listens; port 0 = any free one.
    pub address: SocketAddr,
    /// An API key with all permissions; empty = none.
    pub api_key: String,
    /// The pipeline.
    pub stages: Vec<Stage>,
    /// The limit of each API key.
    pub rate_limit: Option<RateLimit>,
    /// The pauses before each further try to deliver a webhook. Lever tries five times more, "waiting
    /// longer and longer"; how long is not published.
    pub retry_delays: Vec<Duration>,
    /// How long an answer to a webhook may take; not published either.
    pub webhook_timeout: Duration,
    /// Takes `http://` for webhook URLs without a scheme, and allows it; the real one insists on https.
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

/// A change of stage.
#[derive(Clone, Debug, Serialize)]
pub struct Moved {
    /// When, in milliseconds since the epoch.
    pub at: i64,
    /// The numbers of the deliveries that tell of it.
    pub deliveries: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Lever {
    pub front: Front,
    pub model: Mutex<Model>,
    pub options: LeverOptions,
    pub client: reqwest::Client,
    pub runtime: Handle,
    pub life: CancellationToken,
    pub progress: watch::Sender<u64>,
    handed_out: Mutex<HashSet<(String, String)>>,
}

impl Lever {
    pub(crate) fn hand_out(&self, place: &(String, String)) {
        lock(&self.handed_out).insert(place.clone());
    }

    pub(crate) fn was_handed_out(&self, place: &(String, String)) -> bool {
        lock(&self.handed_out).contains(place)
    }
}

#[derive(Debug)]
struct Running {
    lever: Arc<Lever>,
    server: Server,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.lever.life.cancel();
    }
}

/// A handle on a simulated Lever. It stops when the last one is dropped.
#[derive(Clone, Debug)]
pub struct LeverSimulator {
    running: Arc<Running>,
}

handle!(LeverSimulator, lever);

impl LeverSimulator {
    /// Starts one on the current tokio runtime.
    ///
    /// # Errors
    /// If the address is taken.
    pub async fn start(options: LeverOptions) -> anyhow::Result<Self> {
        let listener = Server::bind(options.address).await?;
        // Neither redirects nor a proxy: a webhook goes to its URL or fails.
        let client =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
        let lever = Arc::new(Lever {
            front: Front::new(options.rate_limit),
            model: Mutex::new(Model::new(&options)),
            client,
            runtime: Handle::current(),
            life: CancellationToken::new(),
            progress: watch::Sender::new(0),
            handed_out: Mutex::default(),
            options,
        });
        let server = Server::start(listener, control::router(Arc::clone(&lever)))?;
        Ok(Self { running: Arc::new(Running { lever, server }) })
    }

    pub(crate) fn lever(&self) -> &Arc<Lever> {
        &self.running.lever
    }

    /// What a LeverConnection takes as its URL, such as `http://127.0.0.1:4711/v1`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/v1", self.origin())
    }

    /// Adds a key, or changes what one may do.
    pub fn set_key(&self, key: &str, permissions: Permissions) {
        lock(&self.lever().model).keys.insert(key.to_owned(), permissions);
    }

    /// Takes a key away: 401 from now on.
    pub fn revoke_key(&self, key: &str) {
        lock(&self.lever().model).keys.remove(key);
    }

    /// Makes every page token handed out so far stale.
    pub fn expire_offsets(&self) {
        lock(&self.lever().model).offsets.clear();
    }
}
