//! Relay to a real HTTP service that supports the same [`Faults`] as a simulated one. Tests put it between the operator
//! and the API server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::common::faults::{ActiveFault, Faults};
use crate::common::pipeline::{Outcome, after_effect, before_effect, run_detached};
use crate::common::server::Server;
use crate::common::wire::Incoming;

/// Relay to an HTTP service. It stops when it is dropped.
#[derive(Debug)]
pub struct Relay {
    faults: Faults,
    server: Server,
}

impl Relay {
    /// Starts a relay on a free local port. `service` forwards each request that no fault holds back.
    ///
    /// # Errors
    /// If no port is available.
    pub async fn start(service: Router) -> anyhow::Result<Self> {
        let listener = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let faults = Faults::default();
        let router = service.layer(from_fn_with_state(faults.clone(), apply_faults));
        Ok(Self { faults, server: Server::start(listener, router)? })
    }

    /// Returns the origin, such as `http://127.0.0.1:54321`.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Returns the faults of this relay.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

async fn apply_faults(State(faults): State<Faults>, request: Request, next: Next) -> Response {
    let Some(incoming) = Incoming::read(request).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let entries = faults.take(&incoming);
    let Ok(request) = incoming.into_request() else { return StatusCode::BAD_REQUEST.into_response() };
    if entries.is_empty() {
        // Streamed without buffering, because a watch never ends.
        return next.run(request).await;
    }
    run_detached(async move { relay(&entries, request, next).await }).await
}

async fn relay(entries: &[Arc<ActiveFault>], request: Request, next: Next) -> Outcome {
    if let Some(outcome) = before_effect(entries, error_body).await {
        return outcome;
    }
    let (parts, body) = next.run(request).await.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else { return Outcome::Abort };
    let status = parts.status.as_u16();
    let instead = after_effect(entries, status, || body.clone(), error_body).await;
    instead.unwrap_or(Outcome::Raw(status, body))
}

fn error_body(status: u16) -> Value {
    json!({"message": format!("the relay returns {status} because of a fault")})
}
