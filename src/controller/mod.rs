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
pub mod sync;
pub mod work_queue;

use crate::controller::sync::requests::SyncQueue;
use crate::k8s::ObjectKey;
use crate::k8s::{Cache, WatchScope, secrets::Secrets, with_timeout};
use api::LeverConnection;
use configuration::duplicate_rules::Duplicates;
use engine::warning_events;
use fair_share::FairShare;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder};
use pad::candidate_loader::CandidateLoader;
use pad::memory::PadMemory;
use pad_budget::PadBudget;
use runtime::{Controller, Reconcile, Reconciled};
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
    /// Rules of several connections for the same candidates.
    pub duplicates: Arc<Duplicates>,
    /// Settings from the flags.
    pub settings: Arc<Settings>,
    /// Metrics of the leader.
    pub metrics: metrics::ControllerMetrics,
    /// Recorder of Events.
    pub recorder: Recorder,
    /// Remaining pads by the quota of the plan and by the hourly limit.
    pub pad_budget: PadBudget,
    /// Memory about each Pad.
    pub memory: PadMemory,
    /// Batched candidate reads.
    pub candidate_loader: CandidateLoader,
    /// Requests to sync and their completion.
    pub syncs: SyncQueue,
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

    /// Creates the controller of one kind of this context.
    fn controller<K, R>(&self, objects: &Cache<K>, reconciler: Arc<R>) -> Controller<K, R>
    where
        K: Reconciled,
        R: Reconcile<K>,
    {
        Controller::new(objects, reconciler, self.metrics.clone())
    }

    /// Requests a probe of a connection, because a service rejected a call for one of its Pads.
    pub fn request_probe(&self, namespace: &str, connection: &str) {
        let _ = self.probes.send(ObjectKey::new(namespace, connection));
    }
}
