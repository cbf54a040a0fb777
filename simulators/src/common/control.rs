//! Control API that both services share: faults, calls, violations and the rate limit.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::bucket::RateLimit;
use super::faults::{Fault, FaultHandle};
use super::pipeline::{Service, receive};

/// Returns an error response with a readable message in JSON.
pub(crate) fn error_response(status: StatusCode, message: impl std::fmt::Display) -> Response {
    (status, Json(json!({"error": message.to_string()}))).into_response()
}

pub(crate) fn done() -> Response {
    Json(json!({"status": "done"})).into_response()
}

pub(crate) fn router<S: Service>() -> Router<Arc<S>> {
    let calls = get(async |State(service): State<Arc<S>>| Json(service.pipeline().calls())).delete(
        async |State(service): State<Arc<S>>| {
            service.pipeline().clear_calls();
            done()
        },
    );
    let violations = get(async |State(service): State<Arc<S>>| Json(service.pipeline().violations())).delete(
        async |State(service): State<Arc<S>>| {
            service.pipeline().clear_violations();
            done()
        },
    );
    Router::new()
        .route("/_simulator/faults", post(add_fault::<S>).get(list_faults::<S>).delete(clear_faults::<S>))
        .route("/_simulator/faults/{id}", delete(remove_fault::<S>))
        .route("/_simulator/faults/{id}/release", post(release_fault::<S>))
        .route("/_simulator/calls", calls)
        .route("/_simulator/violations", violations)
        .route("/_simulator/rate-limit", post(set_limit::<S>))
        .fallback(receive::<S>)
}

fn view(handle: &FaultHandle) -> Value {
    json!({"id": handle.id(), "hits": handle.hits(), "fault": handle.fault()})
}

async fn add_fault<S: Service>(State(service): State<Arc<S>>, Json(fault): Json<Fault>) -> Response {
    match service.pipeline().faults.try_add(fault) {
        Ok(handle) => Json(view(&handle)).into_response(),
        Err(error) => error_response(StatusCode::BAD_REQUEST, error),
    }
}

async fn list_faults<S: Service>(State(service): State<Arc<S>>) -> Json<Vec<Value>> {
    Json(service.pipeline().faults.list().iter().map(view).collect())
}

async fn clear_faults<S: Service>(State(service): State<Arc<S>>) -> Response {
    service.pipeline().faults.clear();
    done()
}

async fn remove_fault<S: Service>(State(service): State<Arc<S>>, Path(id): Path<u64>) -> Response {
    with_fault(service.as_ref(), id, FaultHandle::remove)
}

async fn release_fault<S: Service>(State(service): State<Arc<S>>, Path(id): Path<u64>) -> Response {
    with_fault(service.as_ref(), id, FaultHandle::release)
}

fn with_fault<S: Service>(service: &S, id: u64, act: impl FnOnce(&FaultHandle)) -> Response {
    match service.pipeline().faults.list().iter().find(|handle| handle.id() == id) {
        Some(handle) => {
            act(handle);
            done()
        }
        None => error_response(StatusCode::NOT_FOUND, format!("there is no fault {id}")),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Limit {
    /// Zero means unlimited.
    per_second: f64,
    burst: f64,
}

async fn set_limit<S: Service>(State(service): State<Arc<S>>, Json(limit): Json<Limit>) -> Response {
    let limit = RateLimit { per_second: limit.per_second, burst: limit.burst };
    service.pipeline().buckets.set((limit.per_second > 0.0).then_some(limit));
    done()
}
