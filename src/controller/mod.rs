//! The controllers of the three kinds. Each reconciles as: observe → plan → act → status.
//!
//! They run on the leader only. What they share is here: the context, how they are woken, how they end.

pub mod backoff;
pub mod configuration;
pub mod connection;
pub mod events;
pub mod fair_share;
pub mod long_wait_events;
pub mod metrics;
pub mod organization;
pub mod pad;
pub mod pad_budget;
pub mod quotas;
pub mod rolling_limit;
pub mod runtime;
pub mod schedule;
pub mod service_clients;

use crate::api::LeverConnection;
use crate::k8s::{Scope, in_time, secrets::Secrets};
use crate::sync::queue::Syncs;
use crate::telemetry::health::Health;
use backoff::Backoff;
use fair_share::FairShare;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder};
use long_wait_events::LongWaitEvents;
use pad::candidate_loader::CandidateLoader;
use pad::hints::Hints;
use pad::in_flight::InFlight;
use pad::stale_reads::StaleReads;
use pad::write_tracker::WriteTracker;
use pad_budget::PadBudget;
use service_clients::ServiceClientCache;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// What the flags say about reconciling.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base of status.webhookURL; with or without a scheme.
    pub public_url: Option<String>,
    /// How many objects are reconciled at once.
    pub concurrency: u16,
    /// How long CoderPad may take to answer the creation of a pad.
    pub create_timeout: Duration,
    /// How far CoderPad's lists of pads may lie behind.
    pub list_lag: Duration,
}

/// What every reconcile of the leader may use.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What is watched of the namespaces that this context serves.
    pub scope: Scope,
    /// Secrets: changes, and single keys.
    pub secrets: Secrets,
    /// The services of the connections.
    pub accounts: Arc<ServiceClientCache>,
    /// The flags.
    pub settings: Arc<Settings>,
    /// What is counted.
    pub metrics: metrics::ControllerMetrics,
    /// Who is told that work goes on.
    pub health: Health,
    /// Writes Events.
    pub recorder: Recorder,
    /// How many pads may still be made, by the plan and in this hour.
    pub allowances: PadBudget,
    /// When Pads in error may try again.
    pub retries: Backoff,
    /// When it may be tried again to put the tag of a pad that fails on its candidate, or to take it off.
    pub flag_retries: Backoff,
    /// When a refused tag of an open pad may be sent again.
    pub tag_retries: Backoff,
    /// Attempts to create a pad whose outcome is not stored.
    pub flights: InFlight,
    /// The versions of Pads that were written last.
    pub written: WriteTracker,
    /// Lever's answers that were older than a webhook.
    pub stale_reads: StaleReads,
    /// Pads that sync has news of.
    pub looks: Hints,
    /// Pads that wait to hear of their candidates.
    pub readings: CandidateLoader,
    /// What is asked of sync, and what it tells.
    pub syncs: Syncs,
    /// The waits that an Event was written for.
    pub warned: LongWaitEvents,
    /// Who may work on a Pad now, over all namespaces.
    pub turns: FairShare,
    /// Asks for a connection (namespace, name) to be probed now.
    pub probes: broadcast::Sender<(String, String)>,
}

impl Context {
    /// Writes a Warning Event about an object that needs a person. That it cannot be written is only logged: the
    /// object's conditions say the same.
    pub async fn publish_warning(&self, object: &ObjectReference, reason: &str, note: &str) {
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(events::truncate_note(note)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = in_time(self.recorder.publish(&event, object)).await {
            tracing::warn!(%error, "an Event could not be written");
        }
    }

    /// The connection that a channel tells of; all, where something was missed.
    fn changed_connections(&self, told: Option<(String, String)>) -> Vec<Arc<LeverConnection>> {
        let connections = &self.scope.connections;
        match told {
            Some((namespace, name)) => connections.get(&namespace, &name).into_iter().collect(),
            None => connections.store().state(),
        }
    }

    /// Asks for a connection to be probed now, because a call for one of its Pads was refused.
    pub fn request_probe(&self, namespace: &str, connection: &str) {
        let _ = self.probes.send((namespace.to_owned(), connection.to_owned()));
    }
}
