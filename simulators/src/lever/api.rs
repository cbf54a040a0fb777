//! Lever's HTTP API: the endpoints and the checks before each of them (authorization, rate limit, permission, query,
//! body).

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Lever;
use super::model::{LeverModel, Permissions};
use crate::common::lock;
use crate::common::pipeline::{Caller, Service};
use crate::common::wire::{Incoming, Pairs, Reply};

/// Simulated endpoint with the IDs from its path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Endpoint<'a> {
    Stages,
    Stage(&'a str),
    Opportunities,
    Deleted,
    Opportunity(&'a str),
    AddLinks(&'a str),
    RemoveLinks(&'a str),
    AddTags(&'a str),
    RemoveTags(&'a str),
    Notes(&'a str),
    Note(&'a str, &'a str),
    CreateNote(&'a str),
    DeleteNote(&'a str, &'a str),
    Webhooks,
    CreateWebhook,
    DeleteWebhook(&'a str),
    Users,
    User(&'a str),
    Posting(&'a str),
    Contact(&'a str),
    Tags,
    ArchiveReasons,
}

impl<'a> Endpoint<'a> {
    fn find(method: &str, path: &'a str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix("/v1/")?.split('/').collect();
        Some(match (method, segments.as_slice()) {
            ("GET", ["stages"]) => Self::Stages,
            ("GET", ["stages", id]) => Self::Stage(id),
            ("GET", ["opportunities"]) => Self::Opportunities,
            ("GET", ["opportunities", "deleted"]) => Self::Deleted,
            ("GET", ["opportunities", id]) => Self::Opportunity(id),
            ("POST", ["opportunities", id, "addLinks"]) => Self::AddLinks(id),
            ("POST", ["opportunities", id, "removeLinks"]) => Self::RemoveLinks(id),
            ("POST", ["opportunities", id, "addTags"]) => Self::AddTags(id),
            ("POST", ["opportunities", id, "removeTags"]) => Self::RemoveTags(id),
            ("GET", ["opportunities", id, "notes"]) => Self::Notes(id),
            ("GET", ["opportunities", id, "notes", note]) => Self::Note(id, note),
            ("POST", ["opportunities", id, "notes"]) => Self::CreateNote(id),
            ("DELETE", ["opportunities", id, "notes", note]) => Self::DeleteNote(id, note),
            ("GET", ["webhooks"]) => Self::Webhooks,
            ("POST", ["webhooks"]) => Self::CreateWebhook,
            ("DELETE", ["webhooks", id]) => Self::DeleteWebhook(id),
            ("GET", ["users"]) => Self::Users,
            ("GET", ["users", id]) => Self::User(id),
            ("GET", ["postings", id]) => Self::Posting(id),
            ("GET", ["contacts", id]) => Self::Contact(id),
            ("GET", ["tags"]) => Self::Tags,
            ("GET", ["archive_reasons"]) => Self::ArchiveReasons,
            _ => return None,
        })
    }

    fn permission(self) -> &'static str {
        match self {
            Self::Stages => "stages:list",
            Self::Stage(_) => "stages:read",
            Self::Opportunities => "opportunities:list",
            Self::Deleted => "opportunities:deleted",
            Self::Opportunity(_) => "opportunities:read",
            Self::AddLinks(_) => "opportunities:addLinks",
            Self::RemoveLinks(_) => "opportunities:removeLinks",
            Self::AddTags(_) => "opportunities:addTags",
            Self::RemoveTags(_) => "opportunities:removeTags",
            Self::Notes(_) => "notes:list",
            Self::Note(..) => "notes:read",
            Self::CreateNote(_) => "notes:create",
            Self::DeleteNote(..) => "notes:delete",
            Self::Webhooks => "webhooks:list",
            Self::CreateWebhook => "webhooks:create",
            Self::DeleteWebhook(_) => "webhooks:delete",
            Self::Users => "users:list",
            Self::User(_) => "users:read",
            Self::Posting(_) => "postings:read",
            Self::Contact(_) => "contacts:read",
            Self::Tags => "tags:list",
            Self::ArchiveReasons => "archive_reasons:list",
        }
    }

    fn query_names(self) -> &'static [&'static str] {
        match self {
            Self::Opportunities => &[
                "include",
                "expand",
                "tag",
                "stage_id",
                "archived",
                "archived_at_start",
                "archived_at_end",
                "updated_at_start",
                "updated_at_end",
                "created_at_start",
                "created_at_end",
                "advanced_at_start",
                "advanced_at_end",
                "contact_id",
                "posting_id",
                "confidentiality",
                "email",
                "origin",
                "limit",
                "offset",
            ],
            Self::Deleted => &["deleted_at_start", "deleted_at_end", "limit", "offset"],
            Self::Opportunity(_) => &["include", "expand"],
            Self::AddLinks(_) | Self::RemoveLinks(_) | Self::AddTags(_) | Self::RemoveTags(_) => {
                &["perform_as"]
            }
            Self::CreateNote(_) => &["perform_as", "note_id"],
            Self::Users => &["email", "accessRole", "includeDeactivated", "limit", "offset"],
            Self::Stages | Self::Notes(_) | Self::Tags | Self::ArchiveReasons => &["limit", "offset"],
            _ => &[],
        }
    }

    fn has_body(self) -> bool {
        use Endpoint::{AddLinks, AddTags, CreateNote, CreateWebhook, RemoveLinks, RemoveTags};
        matches!(
            self,
            AddLinks(_) | RemoveLinks(_) | AddTags(_) | RemoveTags(_) | CreateNote(_) | CreateWebhook
        )
    }
}

/// Request of an endpoint after all checks have passed.
pub(crate) struct LeverRequest<'a> {
    pub lever: &'a Lever,
    pub request: &'a Incoming,
    pub key: &'a str,
    pub permissions: Permissions,
    pub query: Pairs,
    pub body: Map<String, Value>,
}

pub(crate) type LeverAnswer = Result<Reply, Reply>;

pub(crate) fn failure(status: u16, code: &str, message: impl std::fmt::Display) -> Reply {
    Reply::json(status, json!({"code": code, "message": message.to_string()}))
}

pub(crate) fn not_found(kind: &str, id: &str) -> Reply {
    failure(404, "ResourceNotFound", format!("{kind} {id} was not found"))
}

pub(crate) fn forbidden() -> Reply {
    let message = "Your Lever account settings don't authorize you to perform the requested operation";
    failure(403, "Forbidden", message)
}

impl LeverRequest<'_> {
    /// Rejects a request that no correct client sends.
    pub(crate) fn bad_request(&self, message: impl std::fmt::Display) -> Reply {
        self.lever.pipeline.violation(self.request, &message);
        failure(400, "BadRequest", message)
    }

    pub(crate) fn values<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.query.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn value<'q>(&'q self, name: &'q str) -> Option<&'q str> {
        self.values(name).next()
    }

    /// Returns a number from the query, such as a time in milliseconds.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Reply> {
        let parse = |value: &str| {
            value.parse().map_err(|_| self.bad_request(format!("{name} is not a number: {value}")))
        };
        self.value(name).map(parse).transpose()
    }

    /// Returns the user that `perform_as` names, if any.
    pub(crate) fn performer(&self, model: &LeverModel) -> Result<Value, Reply> {
        match self.value("perform_as") {
            None => Ok(Value::Null),
            Some(id) if model.users.iter().any(|user| user["id"] == id) => Ok(json!(id)),
            // A guess: the response to an unknown user is not documented. No violation, because users may be removed at
            // any time.
            Some(id) => Err(failure(400, "BadRequest", format!("perform_as: user {id} is not valid"))),
        }
    }

    /// Cuts one page out of `rows` and issues the token of the next page. Each row comes with the key that its token
    /// consists of, and the rows are sorted by that key.
    pub(crate) fn page<K: serde::Serialize + Ord + serde::de::DeserializeOwned>(
        &self,
        model: &mut LeverModel,
        mut rows: Vec<(K, Value)>,
    ) -> LeverAnswer {
        let limit = match self.number("limit")?.unwrap_or(100) {
            limit @ 1..=100 => usize::try_from(limit).unwrap_or(100),
            limit => return Err(self.bad_request(format!("limit {limit} is not between 1 and 100"))),
        };
        if let Some(token) = self.value("offset") {
            let place = (self.request.path.clone(), token.to_owned());
            if !model.offsets.contains(&place) {
                // Expired tokens are caused by the service, invented ones by the client. Both get the same response.
                if !self.lever.was_issued(&place) {
                    self.lever
                        .pipeline
                        .violation(self.request, format!("offset {token} was never handed out"));
                }
                return Err(failure(400, "BadRequest", "Invalid offset token"));
            }
            let after: Option<K> = decode_token(token).and_then(|text| serde_json::from_str(&text).ok());
            let after = after.ok_or_else(|| failure(400, "BadRequest", "Invalid offset token"))?;
            rows.retain(|(key, _)| *key > after);
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|(key, _)| encode_token(&json!(key).to_string()));
        let data: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
        let mut body = json!({"data": data, "hasNext": more});
        if let (Some(next), Some(fields)) = (next, body.as_object_mut()) {
            let place = (self.request.path.clone(), next.clone());
            self.lever.issue_offset(&place);
            model.offsets.insert(place);
            fields.insert("next".into(), json!(next));
        }
        Ok(Reply::json(200, body))
    }
}

/// Tokens are a percent-encoded JSON array, so a client that decodes them or does not encode them fails.
fn encode_token(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn decode_token(token: &str) -> Option<String> {
    let pairs = crate::common::wire::decode_pairs(&format!("token={token}")).ok()?;
    pairs.into_iter().next().map(|(_, value)| value)
}

/// Returns the key of a well-formed `Authorization` header, or a description of the problem.
fn basic_key(headers: &HeaderMap) -> Result<String, String> {
    let header = headers.get("authorization").ok_or("no Authorization header")?;
    let header = header.to_str().map_err(|_| "Authorization is not text")?;
    let encoded = header.strip_prefix("Basic ").ok_or("Authorization is not Basic")?;
    let decoded = STANDARD.decode(encoded).map_err(|_| "Authorization is not base64")?;
    let text = String::from_utf8(decoded).map_err(|_| "Authorization is not UTF-8")?;
    match text.split_once(':') {
        Some((key, "")) => Ok(key.to_owned()),
        Some(_) => Err("the password is not empty".to_owned()),
        None => Err("Authorization has no colon".to_owned()),
    }
}

impl Service for Lever {
    fn pipeline(&self) -> &crate::common::pipeline::Pipeline {
        &self.pipeline
    }

    fn error_body(&self, status: u16) -> Value {
        let (code, message) = match status {
            401 => ("UnauthorizedError", "The request requires authentication."),
            403 => (
                "Forbidden",
                "Your Lever account settings don't authorize you to perform the requested operation",
            ),
            404 => ("ResourceNotFound", "not found"),
            429 => ("TooManyRequests", "Too many requests"),
            503 => ("ServiceUnavailable", "Lever is undergoing maintenance"),
            _ => ("InternalServerError", "An unexpected error occurred"),
        };
        json!({"code": code, "message": message})
    }

    fn answer(&self, request: &Incoming, caller: &mut Caller) -> Reply {
        self.dispatch(request, caller).unwrap_or_else(|refusal| refusal)
    }
}

impl Lever {
    fn dispatch(&self, request: &Incoming, caller: &mut Caller) -> LeverAnswer {
        let violation = |what: &str| self.pipeline.violation(request, what);
        let usual = |status: u16| Reply::json(status, self.error_body(status));
        let Some(endpoint) = Endpoint::find(&request.method, &request.path) else {
            violation("no such endpoint");
            return Err(failure(404, "ResourceNotFound", format!("{} does not exist", request.path)));
        };
        let key = basic_key(&request.headers).map_err(|what| {
            violation(&what);
            usual(401)
        })?;
        caller.auth = Some("basic");
        caller.key = Some(key.clone());
        let permissions = lock(&self.model).keys.get(&key).cloned().ok_or_else(|| usual(401))?;
        if !self.pipeline.buckets.take(&key) {
            return Err(usual(429));
        }
        if !permissions.allows(endpoint.permission()) {
            return Err(forbidden());
        }
        let mut api_request = LeverRequest {
            lever: self,
            request,
            key: &key,
            permissions,
            query: Vec::new(),
            body: Map::new(),
        };
        api_request.query = request.query().map_err(|error| api_request.bad_request(error))?;
        if let Some((name, _)) =
            api_request.query.iter().find(|(name, _)| !endpoint.query_names().contains(&name.as_str()))
        {
            return Err(api_request.bad_request(format!("unknown query parameter {name}")));
        }
        if endpoint.has_body() {
            api_request.body = json_body(request).map_err(|error| api_request.bad_request(error))?;
        } else if !request.body.is_empty() {
            violation("unexpected body");
        }
        api_request.answer(endpoint)
    }
}

fn json_body(request: &Incoming) -> Result<Map<String, Value>, String> {
    if request.media_type() != "application/json" {
        return Err(format!("content type {:?} is not application/json", request.media_type()));
    }
    match serde_json::from_slice(&request.body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err("the body is not a JSON object".to_owned()),
        Err(error) => Err(format!("the body is not JSON: {error}")),
    }
}
