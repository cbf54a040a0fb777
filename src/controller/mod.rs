//! Controllers of the three kinds. Each reconcile observes, decides, executes, and writes the status.
//!
//! They run only on the leader. This module contains the shared context.

pub mod backoff;
pub mod coderpad_organization;
pub mod configuration;
pub mod connection;
pub mod fair_share;
pub mod long_wait_events;
pub mod metrics;
pub mod pad;
pub mod pad_budget;
pub mod quotas;
pub mod runtime;
pub mod schedule;
pub mod service_clients;

use crate::k8s::ObjectKey;
use crate::k8s::{WatchScope, secrets::Secrets, with_timeout};
use crate::sync::requests::SyncQueue;
use api::LeverConnection;
use backoff::Backoff;
use engine::warning_events;
use fair_share::FairShare;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder};
use long_wait_events::LongWaitEvents;
use pad::candidate_loader::CandidateLoader;
use pad::hints::Hints;
use pad::in_flight::InFlight;
use pad::stale_lever_reads::StaleReads;
use pad::write_tracker::WriteTracker;
use pad_budget::PadBudget;
use service_clients::ServiceClientCache;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// Settings of the controllers from the command-line flags.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base of status.webhookURL; with or without a scheme.
    pub public_url: Option<String>,
    /// Maximum number of concurrent reconciles.
    pub concurrency: u16,
    /// Timeout of requests to CoderPad that create a pad.
    pub create_timeout: Duration,
    /// Maximum delay until a new pad appears in CoderPad's lists.
    pub list_lag: Duration,
}

/// Shared dependencies of all reconciles.
pub struct Context {
    /// Client of the API server.
    pub client: Client,
    /// Watched objects in the namespaces of this context.
    pub scope: WatchScope,
    /// Reader and change notifications of Secrets.
    pub secrets: Secrets,
    /// Service clients of the connections.
    pub service_clients: Arc<ServiceClientCache>,
    /// Settings from the flags.
    pub settings: Arc<Settings>,
    /// Metrics of the leader.
    pub metrics: metrics::ControllerMetrics,
    /// Recorder of Events.
    pub recorder: Recorder,
    /// Remaining pads by the quota of the plan and by the hourly limit.
    pub pad_budget: PadBudget,
    /// Backoff of failing Pads.
    pub pad_backoff: Backoff,
    /// Backoff of adding and removing the failure tag.
    pub failure_tag_backoff: Backoff,
    /// Backoff of rejected tags of open pads.
    pub tag_backoff: Backoff,
    /// Attempts to create a pad whose outcome is not stored yet.
    pub in_flight: InFlight,
    /// Last written versions of Pads.
    pub write_tracker: WriteTracker,
    /// Responses of Lever that were older than a webhook.
    pub stale_reads: StaleReads,
    /// Refresh requests of sync for Pads.
    pub hints: Hints,
    /// Batched candidate reads.
    pub candidate_loader: CandidateLoader,
    /// Requests to sync and their completion.
    pub syncs: SyncQueue,
    /// Waits for which an Event was written.
    pub long_wait_events: LongWaitEvents,
    /// Scheduler of Pad reconciles across all namespaces.
    pub fair_share: FairShare,
    /// Channel of connections (namespace, name) to probe immediately.
    pub probes: broadcast::Sender<ObjectKey>,
}

impl Context {
    /// Writes a Warning Event about an object that requires user action. An error is only logged, because the
    /// conditions contain the same message.
    pub async fn publish_warning(&self, object: &ObjectReference, reason: &str, note: &str) {
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(warning_events::truncate_note(note)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = with_timeout(self.recorder.publish(&event, object)).await {
            tracing::warn!(%error, "cannot write an Event");
        }
    }

    /// Returns the connection that a channel delivered, or all connections if messages were lost.
    fn changed_connections(&self, changed: Option<ObjectKey>) -> Vec<Arc<LeverConnection>> {
        let connections = &self.scope.connections;
        match changed {
            Some(key) => connections.get(&key.namespace, &key.name).into_iter().collect(),
            None => connections.store().state(),
        }
    }

    /// Requests a probe of a connection, because a service rejected a call for one of its Pads.
    pub fn request_probe(&self, namespace: &str, connection: &str) {
        let _ = self.probes.send(ObjectKey::new(namespace, connection));
    }
}
