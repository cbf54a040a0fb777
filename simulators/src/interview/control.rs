//! Control API of the simulated Interview service, for demonstrations and for use with curl.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Interview;
use super::model::{KeyRole, NewPad, OrganizationUser, PadView, Question, Quota, Settings};
use crate::common::control::{self, done, error_response};
use crate::common::lock;

type InterviewState = State<Arc<Interview>>;

pub(crate) fn router(interview: Arc<Interview>) -> Router {
    control::router::<Interview>()
        .route("/_simulator/state", get(state))
        .route("/_simulator/pads", get(pads).post(add_pad))
        .route("/_simulator/pads/{id}", get(pad).delete(remove_pad))
        .route("/_simulator/pads/{id}/start", post(start))
        .route("/_simulator/pads/{id}/code", post(code))
        .route("/_simulator/pads/{id}/notes", post(notes))
        .route("/_simulator/pads/{id}/end", post(end))
        .route("/_simulator/pads/{id}/auto-end", post(auto_end))
        .route("/_simulator/quota", get(quota).put(set_quota))
        .route("/_simulator/settings", get(settings).put(set_settings))
        .route("/_simulator/questions", post(add_question))
        .route("/_simulator/questions/{id}", delete(remove_question))
        .route("/_simulator/users", post(add_user))
        .route("/_simulator/keys", post(set_key))
        .route("/_simulator/keys/{key}", delete(revoke_key))
        .with_state(interview)
}

fn done_or_not_found(found: bool, id: &str) -> Response {
    match found {
        true => done(),
        false => error_response(StatusCode::NOT_FOUND, format!("there is no {id}")),
    }
}

async fn state(State(interview): InterviewState) -> Json<Value> {
    let model = lock(&interview.model);
    Json(
        json!({"organization": model.organization, "users": model.users, "createdUsers": model.created_users,
        "questions": model.questions.values().collect::<Vec<_>>(), "quota": model.quota,
        "settings": model.settings, "pads": model.views()}),
    )
}

async fn pads(State(interview): InterviewState) -> Json<Vec<PadView>> {
    Json(lock(&interview.model).views())
}

async fn add_pad(State(interview): InterviewState, Json(new): Json<NewPad>) -> Json<Value> {
    Json(json!({"id": lock(&interview.model).add_by_hand(new)}))
}

async fn pad(State(interview): InterviewState, Path(id): Path<String>) -> Response {
    match lock(&interview.model).pads.get(&id) {
        Some(pad) => Json(&pad.now).into_response(),
        None => done_or_not_found(false, &id),
    }
}

async fn remove_pad(State(interview): InterviewState, Path(id): Path<String>) -> Response {
    done_or_not_found(lock(&interview.model).change(&id, |pad| pad.deleted = true), &id)
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Start {
    participants: Vec<String>,
}

async fn start(
    State(interview): InterviewState,
    Path(id): Path<String>,
    start: Option<Json<Start>>,
) -> Response {
    let participants = start.map(|Json(start)| start.participants).unwrap_or_default();
    done_or_not_found(lock(&interview.model).start(&id, &participants), &id)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    path: Option<String>,
    contents: String,
}

async fn code(State(interview): InterviewState, Path(id): Path<String>, Json(code): Json<Code>) -> Response {
    let path = code.path.unwrap_or_else(|| "main".to_owned());
    let typed = |pad: &mut PadView| drop(pad.files.insert(path, code.contents));
    done_or_not_found(lock(&interview.model).change(&id, typed), &id)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Notes {
    notes: Option<String>,
}

async fn notes(State(interview): InterviewState, Path(id): Path<String>, Json(new): Json<Notes>) -> Response {
    done_or_not_found(lock(&interview.model).change(&id, |pad| pad.notes = new.notes), &id)
}

async fn end(State(interview): InterviewState, Path(id): Path<String>) -> Response {
    let mut model = lock(&interview.model);
    let by = model.users.first().cloned();
    let by = by.as_ref().map(|user| (user.name.as_str(), user.email.as_str()));
    done_or_not_found(model.end(&id, "ended", by), &id)
}

async fn auto_end(State(interview): InterviewState, Path(id): Path<String>) -> Response {
    done_or_not_found(lock(&interview.model).end(&id, "auto_ended", None), &id)
}

async fn quota(State(interview): InterviewState) -> Json<Quota> {
    Json(lock(&interview.model).quota)
}

async fn set_quota(State(interview): InterviewState, Json(quota): Json<Quota>) -> Response {
    lock(&interview.model).quota = quota;
    done()
}

async fn settings(State(interview): InterviewState) -> Json<Settings> {
    Json(lock(&interview.model).settings.clone())
}

async fn set_settings(State(interview): InterviewState, Json(settings): Json<Settings>) -> Response {
    lock(&interview.model).settings = settings;
    done()
}

async fn add_question(State(interview): InterviewState, Json(question): Json<Question>) -> Response {
    lock(&interview.model).questions.insert(question.id, question);
    done()
}

async fn remove_question(State(interview): InterviewState, Path(id): Path<u64>) -> Response {
    done_or_not_found(lock(&interview.model).questions.remove(&id).is_some(), "such question")
}

async fn add_user(State(interview): InterviewState, Json(user): Json<OrganizationUser>) -> Response {
    lock(&interview.model).users.push(user);
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InterviewKey {
    key: String,
    email: String,
    role: KeyRole,
}

async fn set_key(State(interview): InterviewState, Json(key): Json<InterviewKey>) -> Response {
    lock(&interview.model).keys.insert(key.key, (key.email, key.role));
    done()
}

async fn revoke_key(State(interview): InterviewState, Path(key): Path<String>) -> Response {
    done_or_not_found(lock(&interview.model).keys.remove(&key).is_some(), "such key")
}
