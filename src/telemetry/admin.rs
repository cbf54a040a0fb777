//! `/livez`, `/readyz` and `/metrics` on the admin address.

use super::exposition::Format;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the admin endpoints tell.
#[derive(Clone)]
pub struct Admin {
    registry: Arc<Registry>,
    caches_ready: Arc<AtomicBool>,
    stopping: CancellationToken,
}

impl Admin {
    /// `stopping` is cancelled when the process begins to end: then it is not ready any more.
    pub fn new(registry: Registry, stopping: CancellationToken) -> Self {
        Self { registry: Arc::new(registry), caches_ready: Arc::default(), stopping }
    }

    /// Everything that is watched has been listed: webhooks can be answered.
    pub fn caches_are_ready(&self) {
        self.caches_ready.store(true, Ordering::Release);
    }

    /// Serves the endpoints until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
        let router = Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self);
        axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.stopping.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: stopping\n")
    } else if admin.caches_ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ok\n")
    } else {
        let why = "not ready: the API server has not listed everything yet. If this stays, check the operator's Role and that the CustomResourceDefinitions are installed\n";
        (StatusCode::SERVICE_UNAVAILABLE, why)
    }
}

async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> impl IntoResponse {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::wanted(accepted);
    match format.write(&admin.registry) {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n").into_response(),
    }
}
