//! Server of `/livez`, `/readyz` and `/metrics` on the admin address.

use crate::k8s::api_server_probe::ApiServerProbe;
use crate::k8s::{Caches, WatchScope};
use crate::telemetry::health::{Health, PartHealth, page};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Content-Type of `/metrics`.
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// State of the admin endpoints.
#[derive(Clone)]
pub struct Admin {
    registry: Arc<Registry>,
    health: Health,
    readiness: ReplicaReadiness,
}

/// Readiness of this replica to accept webhooks; a cheap handle.
#[derive(Clone)]
pub struct ReplicaReadiness {
    caches: Caches,
    reach: ApiServerProbe,
    stopping: CancellationToken,
}

impl ReplicaReadiness {
    /// Creates the readiness check. `stopping` is cancelled when the process begins to shut down, after which the
    /// replica is no longer ready.
    pub fn new(caches: Caches, reach: ApiServerProbe, stopping: CancellationToken) -> Self {
        Self { caches, reach, stopping }
    }

    /// Reports whether this replica can accept webhooks now.
    pub fn is_ready(&self) -> bool {
        self.findings().iter().all(|(_, found)| found.is_ok())
    }

    /// Returns the readiness of each part that webhooks depend on.
    fn findings(&self) -> Vec<PartHealth> {
        let missing = self.caches.unlisted_kinds();
        let listed = if missing.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "not listed yet: {}. If this stays, check the operator's Role and that the CustomResourceDefinitions are installed",
                missing.join(", ")
            ))
        };
        let ends = if self.stopping.is_cancelled() { Err("the process is stopping".into()) } else { Ok(()) };
        let api_server = self.reach.check().map_err(|problem| {
            format!("{problem}. If this stays, check the network between this Pod and the API server")
        });
        vec![("API server".into(), api_server), ("resources".into(), listed), ("process".into(), ends)]
    }

    /// Returns the problems that do not make the replica unready: namespaces that the API server refuses (contract W6).
    fn warnings(&self) -> String {
        let refused = self.caches.refused_kinds();
        let line = |(scope, kind, answer): (&WatchScope, &str, String)| {
            format!(
                "warning resources: {kind}{} are not served: {answer}. Check the operator's Role and RoleBinding there\n",
                scope.display_suffix()
            )
        };
        refused.into_iter().map(line).collect()
    }
}

impl Admin {
    /// Creates the state of the endpoints.
    pub fn new(registry: Registry, health: Health, readiness: ReplicaReadiness) -> Self {
        Self { registry: Arc::new(registry), health, readiness }
    }

    /// Serves the endpoints until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
        let router = Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self);
        axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

async fn livez(State(admin): State<Admin>) -> (StatusCode, String) {
    let findings = admin.health.findings();
    // A process that shuts down counts as alive: shutdown has its own time limit.
    let is_alive = admin.readiness.stopping.is_cancelled() || findings.iter().all(|(_, found)| found.is_ok());
    answer(is_alive, &findings)
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    let findings = admin.readiness.findings();
    let (status, page) = answer(findings.iter().all(|(_, found)| found.is_ok()), &findings);
    (status, page + &admin.readiness.warnings())
}

fn answer(is_well: bool, findings: &[PartHealth]) -> (StatusCode, String) {
    let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, page(findings))
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &admin.registry) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, OPEN_METRICS_TYPE)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n").into_response(),
    }
}
