//! Control API of the simulated Lever, for demonstrations and for use with curl.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Lever;
use super::model::{LeverSettings, NewCandidate, NewPosting, Permissions, Stage};
use super::webhooks::DeliveryBehaviour;
use crate::common::control::{self, done, error_response};
use crate::common::lock;

type LeverState = State<Arc<Lever>>;

pub(crate) fn router(lever: Arc<Lever>) -> Router {
    control::router::<Lever>()
        .route("/_simulator/state", get(state))
        .route("/_simulator/candidates", post(add_candidate))
        .route("/_simulator/candidates/{id}", get(candidate).delete(remove_candidate))
        .route("/_simulator/candidates/{id}/move", post(move_candidate))
        .route("/_simulator/candidates/{id}/tags", post(change_tags))
        .route("/_simulator/candidates/{id}/links", post(change_links))
        .route("/_simulator/candidates/{id}/{action}", post(act))
        .route("/_simulator/postings", post(add_posting))
        .route("/_simulator/postings/{id}/tags", post(change_posting_tags))
        .route("/_simulator/stages", get(stages).put(set_stages))
        .route("/_simulator/keys", post(set_key))
        .route("/_simulator/keys/{key}", delete(revoke_key))
        .route("/_simulator/webhook", post(set_webhook))
        .route("/_simulator/webhook/{id}", delete(remove_webhook))
        .route("/_simulator/events/{event}/{switch}", post(switch_event))
        .route("/_simulator/verify", post(verify))
        .route("/_simulator/deliveries", get(deliveries))
        .route("/_simulator/deliveries/{number}/rerun", post(rerun))
        .route("/_simulator/deliveries/release", post(release))
        .route("/_simulator/delivery-behaviour", post(set_behaviour))
        .route("/_simulator/settings", get(settings).put(set_settings))
        .with_state(lever)
}

fn missing(id: &str) -> Response {
    error_response(StatusCode::NOT_FOUND, format!("there is no {id}"))
}

fn done_or_not_found(found: bool, id: &str) -> Response {
    if found { done() } else { missing(id) }
}

async fn state(State(lever): LeverState) -> Json<Value> {
    let model = lock(&lever.model);
    let opportunities = model.opportunities.values().filter(|one| one.deleted_at.is_none());
    let candidates: Vec<Value> = opportunities
        .map(|one| {
            let mut view = model.view(one);
            view["notes"] = one.notes.iter().map(|note| note.body.clone()).collect();
            view
        })
        .collect();
    let webhooks: Vec<Value> =
        model.webhooks.iter().map(|webhook| super::endpoints::webhook_view(webhook, true)).collect();
    Json(json!({"stages": model.stages, "candidates": candidates, "webhooks": webhooks,
        "switchedOn": model.switched_on, "deliveries": model.deliveries.len()}))
}

async fn add_candidate(State(lever): LeverState, Json(new): Json<NewCandidate>) -> Response {
    match lock(&lever.model).add_candidate(new) {
        Ok(id) => Json(json!({"id": id})).into_response(),
        Err(error) => error_response(StatusCode::BAD_REQUEST, error),
    }
}

async fn candidate(State(lever): LeverState, Path(id): Path<String>) -> Response {
    let model = lock(&lever.model);
    let Some(opportunity) = model.existing(&id) else { return missing(&id) };
    let mut view = model.view(opportunity);
    view["notes"] = opportunity.notes.iter().map(|note| note.body.clone()).collect();
    Json(view).into_response()
}

async fn remove_candidate(State(lever): LeverState, Path(id): Path<String>) -> Response {
    done_or_not_found(lever.delete(&id, crate::common::now_ms()), &id)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    stage: String,
    at: Option<i64>,
}

async fn move_candidate(State(lever): LeverState, Path(id): Path<String>, Json(to): Json<Move>) -> Response {
    match lever.move_to(&id, &to.stage, to.at) {
        Ok(moved) => Json(moved).into_response(),
        Err(error) => error_response(StatusCode::BAD_REQUEST, error),
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Strings {
    add: Vec<String>,
    remove: Vec<String>,
}

impl Strings {
    fn apply(self, to: &mut Vec<String>) {
        to.retain(|known| !self.remove.contains(known));
        to.extend(self.add);
    }
}

async fn change_tags(
    State(lever): LeverState,
    Path(id): Path<String>,
    Json(change): Json<Strings>,
) -> Response {
    done_or_not_found(lever.change(&id, |opportunity| change.apply(&mut opportunity.tags)), &id)
}

async fn change_links(
    State(lever): LeverState,
    Path(id): Path<String>,
    Json(change): Json<Strings>,
) -> Response {
    let found = lever.change(&id, |_| {});
    let mut model = lock(&lever.model);
    let contact = model.existing(&id).map(|one| one.contact.clone());
    if let Some(contact) = contact.and_then(|contact| model.contacts.get_mut(&contact)) {
        change.apply(&mut contact.links);
    }
    done_or_not_found(found, &id)
}

async fn change_posting_tags(
    State(lever): LeverState,
    Path(id): Path<String>,
    Json(change): Json<Strings>,
) -> Response {
    let mut model = lock(&lever.model);
    let Some(posting) = model.postings.get_mut(&id) else { return missing(&id) };
    change.apply(&mut posting.what.tags);
    done()
}

async fn act(State(lever): LeverState, Path((id, action)): Path<(String, String)>) -> Response {
    let found = match action.as_str() {
        "archive" => lever.set_archived(&id, true),
        "unarchive" => lever.set_archived(&id, false),
        "anonymize" => lever.anonymize(&id),
        "confidential" => lever.change(&id, |opportunity| opportunity.confidential = true),
        _ => return missing(&action),
    };
    done_or_not_found(found, &id)
}

async fn add_posting(State(lever): LeverState, Json(new): Json<NewPosting>) -> Json<Value> {
    Json(json!({"id": lock(&lever.model).add_posting(new)}))
}

async fn stages(State(lever): LeverState) -> Json<Vec<Stage>> {
    Json(lock(&lever.model).stages.clone())
}

async fn set_stages(State(lever): LeverState, Json(stages): Json<Vec<Stage>>) -> Response {
    lock(&lever.model).stages = stages;
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeverKey {
    key: String,
    /// None = all.
    permissions: Option<Vec<String>>,
    #[serde(default)]
    confidential: bool,
}

async fn set_key(State(lever): LeverState, Json(key): Json<LeverKey>) -> Response {
    let mut permissions = match &key.permissions {
        None => Permissions::all(),
        Some(names) => Permissions::only(&names.iter().map(String::as_str).collect::<Vec<_>>()),
    };
    if key.confidential {
        permissions = permissions.with_confidential();
    }
    lock(&lever.model).keys.insert(key.key, permissions);
    done()
}

async fn revoke_key(State(lever): LeverState, Path(key): Path<String>) -> Response {
    done_or_not_found(lock(&lever.model).keys.remove(&key).is_some(), "such key")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewWebhook {
    url: String,
    #[serde(default)]
    signature_token: String,
    event: Option<String>,
}

async fn set_webhook(State(lever): LeverState, Json(new): Json<NewWebhook>) -> Json<Value> {
    let event = new.event.as_deref().unwrap_or("candidateStageChange");
    Json(json!({"id": lever.set_webhook(event, &new.url, &new.signature_token)}))
}

async fn remove_webhook(State(lever): LeverState, Path(id): Path<String>) -> Response {
    let mut model = lock(&lever.model);
    let before = model.webhooks.len();
    model.webhooks.retain(|webhook| webhook.id != id);
    done_or_not_found(model.webhooks.len() < before, &id)
}

async fn switch_event(State(lever): LeverState, Path((event, switch)): Path<(String, String)>) -> Response {
    let mut model = lock(&lever.model);
    match switch.as_str() {
        "on" => model.switched_on.insert(event),
        "off" => model.switched_on.remove(&event),
        _ => return missing(&switch),
    };
    done()
}

async fn verify(State(lever): LeverState) -> Response {
    match lever.verify(None).await {
        Some(result) => Json(result).into_response(),
        None => missing("webhook"),
    }
}

async fn deliveries(State(lever): LeverState) -> Response {
    Json(&lock(&lever.model).deliveries).into_response()
}

async fn rerun(State(lever): LeverState, Path(number): Path<usize>) -> Response {
    match lever.rerun(number).await {
        Some(attempt) => Json(attempt).into_response(),
        None => missing("such delivery"),
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Release {
    newest_first: bool,
}

async fn release(State(lever): LeverState, release: Option<Json<Release>>) -> Response {
    lever.release(release.is_some_and(|release| release.newest_first)).await;
    done()
}

async fn settings(State(lever): LeverState) -> Json<LeverSettings> {
    Json(lock(&lever.model).settings)
}

async fn set_settings(State(lever): LeverState, Json(settings): Json<LeverSettings>) -> Response {
    lock(&lever.model).settings = settings;
    done()
}

async fn set_behaviour(State(lever): LeverState, Json(behaviour): Json<DeliveryBehaviour>) -> Response {
    lock(&lever.model).behaviour = behaviour;
    done()
}
