//! Interview API: permissions and endpoints.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::Interview;
use super::form::Fields;
use super::model::{
    InterviewModel, KeyRole, OTHER_ORGANIZATION, PadView, TEAM, format_seconds, format_with_offset,
};
use crate::common::pipeline::{Caller, Pipeline, Service};
use crate::common::wire::{Incoming, Pairs, Reply};
use crate::common::{lock, now_ms};

/// Documented languages and those that clients use.
const LANGUAGES: &str = "angular bash c clojure coffeescript cpp csharp dart django elixir erlang fsharp gin go gsheets \
    hack haskell html java javascript julia kotlin kubernetes lua markdown mysql nextjs node nodejs objc ocaml perl php \
    plaintext postgresql powershell python python3 r rails react react-native-web ruby rust scala solidity spring svelte \
    swift tcl typescript universal vb verilog vue multifile_c multifile_cpp multifile_csharp multifile_go multifile_java \
    multifile_kotlin multifile_php multifile_python multifile_ruby multifile_rust multifile_scala multifile_swift \
    multifile_terraform multifile_typescript";

pub(crate) type InterviewAnswer = Result<Reply, Reply>;

pub(crate) fn error(status: u16, message: &str) -> Reply {
    Reply::json(status, json!({"status": "ERROR", "message": message}))
}

fn ok(body: Value) -> InterviewAnswer {
    let mut fields = Map::from_iter([("status".to_owned(), json!("OK"))]);
    if let Value::Object(body) = body {
        fields.extend(body);
    }
    Ok(Reply::json(200, Value::Object(fields)))
}

fn with_id(mut body: Value, id: Option<u64>) -> Value {
    if let Some(id) = id {
        body["id"] = json!(id);
    }
    body
}

pub(crate) struct InterviewRequest<'a> {
    pub interview: &'a Interview,
    pub request: &'a Incoming,
    pub email: String,
    pub role: KeyRole,
    pub query: Pairs,
}

impl Service for Interview {
    fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    fn error_body(&self, status: u16) -> Value {
        let message = match status {
            400 => "Bad Request",
            401 => "Invalid API key",
            403 => "Forbidden",
            404 => "Resource not found",
            429 => "Too many requests",
            _ => "Internal Server Error",
        };
        json!({"status": "ERROR", "message": message})
    }

    fn answer(&self, request: &Incoming, caller: &mut Caller) -> Reply {
        self.dispatch(request, caller).unwrap_or_else(|refusal| refusal)
    }
}

/// Returns the key and the form of the authorization. The documented form is `Token token="KEY"`; the documentation
/// also mentions a bearer token, and one client sends the bare key.
fn key(header: &str) -> Option<(&str, &'static str)> {
    if let Some(quoted) = header.strip_prefix("Token token=\"") {
        return quoted.strip_suffix('"').map(|key| (key, "token"));
    }
    let bare = header.strip_prefix("Token ").map(|key| (key, "bare token"));
    bare.or_else(|| header.strip_prefix("Bearer ").map(|key| (key, "bearer")))
}

impl Interview {
    fn dispatch(&self, request: &Incoming, caller: &mut Caller) -> InterviewAnswer {
        let violation = |what: &str| self.pipeline.violation(request, what);
        let usual = |status: u16| Reply::json(status, self.error_body(status));
        let Some((key, form)) = request.header("authorization").and_then(key) else {
            violation("no Authorization header in the form Token token=\"KEY\"");
            return Err(usual(401));
        };
        caller.key = Some(key.to_owned());
        caller.auth = Some(form);
        let (email, role) = lock(&self.model).keys.get(key).cloned().ok_or_else(|| usual(401))?;
        if !self.pipeline.buckets.take(key) {
            return Err(usual(429));
        }
        let query = request.query().map_err(|error| {
            violation(&error);
            usual(400)
        })?;
        let api_request = InterviewRequest { interview: self, request, email, role, query };
        let path = request.path.strip_suffix('/').unwrap_or(&request.path);
        let segments: Vec<&str> = path.strip_prefix("/api/").unwrap_or_default().split('/').collect();
        api_request.answer(&segments)
    }
}

impl InterviewRequest<'_> {
    pub(crate) fn violation(&self, what: impl std::fmt::Display) {
        self.interview.pipeline.violation(self.request, what);
    }

    pub(crate) fn bad_request(&self, what: impl std::fmt::Display) -> Reply {
        self.violation(what);
        error(400, "Bad Request")
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn answer(&self, segments: &[&str]) -> InterviewAnswer {
        let mut guard = lock(&self.interview.model);
        let model = &mut *guard;
        let (method, allowed): (&str, &[&str]) = (
            &self.request.method,
            match segments {
                ["pads"]
                | ["organization", "pads"]
                | ["questions"]
                | ["organization", "questions"]
                | ["pads", _, "events"]
                    if self.request.method == "GET" =>
                {
                    &["sort", "page", "cursor"]
                }
                ["organization", "users"] => &["email"],
                _ => &[],
            },
        );
        // Rails ignores unknown parameters.
        for (name, _) in self.query.iter().filter(|(name, _)| !allowed.contains(&name.as_str())) {
            self.violation(format!("unknown query parameter {name}"));
        }
        if method == "GET" && !self.request.body.is_empty() {
            self.violation("unexpected body");
        }
        if self.role == KeyRole::Elsewhere {
            return self.other_organization(model, method, segments);
        }
        match (method, segments) {
            ("GET", ["pads"]) => self.pads(model, Some(&self.email)),
            ("GET", ["organization", "pads"]) => match self.role {
                KeyRole::Owner => self.pads(model, None),
                KeyRole::Member if model.settings.pads_visible => self.pads(model, None),
                _ => Err(error(403, "Forbidden")),
            },
            ("POST", ["pads"]) => self.create(model),
            ("GET", ["pads", id]) => {
                let pad = model.existing(id).ok_or_else(missing)?;
                ok(self.pad(pad))
            }
            ("PUT", ["pads", id]) => self.modify(model, id),
            ("GET", ["pads", id, "events"]) => {
                let pad = model.existing(id).ok_or_else(missing)?;
                let rows: Vec<Value> = pad.events.iter().rev().cloned().collect();
                self.page(model, "events", &rows, Value::clone)
            }
            ("GET", ["pad_environments", id]) => {
                let known = model.pads.values().map(|pad| &pad.now).filter(|pad| !pad.deleted);
                let pad =
                    known.into_iter().find(|pad| pad.environment.to_string() == *id).ok_or_else(missing)?;
                ok(environment(pad))
            }
            ("GET", ["questions"] | ["organization", "questions"]) => {
                let ids = model.questions.keys().rev();
                let rows: Vec<Value> = ids.filter_map(|id| question(model, *id)).collect();
                self.page(model, "questions", &rows, Value::clone)
            }
            ("GET", ["questions", id]) => {
                let known = id.parse().ok().and_then(|id| question(model, id));
                ok(known.ok_or_else(missing)?)
            }
            ("GET", ["quota"]) => ok(quota(model)),
            ("GET", ["organization"]) => self.organization(model),
            ("GET", ["organization", "users"]) => {
                let email = self.value("email");
                let users = model.users.iter().filter(|user| email.is_none_or(|email| user.email == email));
                let users: Vec<Value> = users
                    .map(|user| json!({"email": user.email, "name": user.name, "teams": [TEAM]}))
                    .collect();
                ok(json!({"users": users}))
            }
            ("GET", ["user"]) => {
                let user = model.users.iter().find(|user| user.email == self.email);
                ok(
                    json!({"name": user.map(|user| &user.name), "allow_pad_creation": true, "analytics_id": "a-1"}),
                )
            }
            _ => {
                self.violation("no such endpoint");
                Err(missing())
            }
        }
    }

    /// Responds like another organization, to which this one's pads do not exist.
    fn other_organization(&self, model: &InterviewModel, method: &str, segments: &[&str]) -> InterviewAnswer {
        match (method, segments) {
            ("GET", ["organization"]) => {
                let id = model.settings.organization_id.map(|id| id + 1);
                ok(with_id(
                    json!({"organization_name": OTHER_ORGANIZATION, "user_count": 0, "users": [], "teams": []}),
                    id,
                ))
            }
            ("GET", ["quota"]) => ok(json!({"unlimited": true, "pads_used": 0, "overages_enabled": false})),
            ("GET", ["pads"] | ["organization", "pads"]) => ok(json!({"pads": [], "total": 0})),
            ("GET", ["organization", "users"]) => ok(json!({"users": []})),
            ("GET", _) => Err(missing()),
            _ => {
                self.violation("a write to another organization");
                Err(missing())
            }
        }
    }

    fn organization(&self, model: &InterviewModel) -> InterviewAnswer {
        if self.role == KeyRole::Alone {
            // A guess: the response to a user without an organization is not documented.
            return Err(missing());
        }
        let users: Vec<Value> = model
            .users
            .iter()
            .map(|user| json!({"email": user.email, "name": user.name, "teams": [TEAM]}))
            .collect();
        let body = json!({"organization_name": model.organization, "user_count": users.len(), "users": users,
            "organization_default_language": "python3", "single_sign_on_supported": false,
            "teams": [{"id": TEAM, "name": "Main Team"}]});
        ok(with_id(body, model.settings.organization_id))
    }

    fn create(&self, model: &mut InterviewModel) -> InterviewAnswer {
        let fields = self.interview.fields(self.request, true).ok_or_else(|| error(400, "Bad Request"))?;
        self.check_permissions(&fields)?;
        if fields.has("contents") && fields.has("question_id") {
            return Err(self.bad_request("contents together with question_id"));
        }
        let mut pad = model.new_pad(self.email.clone());
        pad.by_api = true;
        pad.take_home = fields.flag("take_home").is_some_and(|(take_home, _)| take_home);
        if let Some(limit) = fields.number("take_home_time_limit") {
            pad.take_home_time_limit = Some(limit.map_err(|what| self.bad_request(what))?);
            if !pad.take_home {
                self.violation("take_home_time_limit without take_home");
            }
        }
        self.apply(model, &fields, &mut pad)?;
        self.check_question(model, &pad)?;
        let quota = model.quota;
        if quota.limit.is_some_and(|limit| quota.used >= limit) && !quota.overages_enabled {
            return Err(error(429, "Over quota"));
        }
        if let Some(email) = fields.text("user_email") {
            self.ensure_owner(model, &email)?;
            pad.owner_email = email;
        }
        let pad = model.create(pad);
        ok(self.pad(&pad))
    }

    fn modify(&self, model: &mut InterviewModel, id: &str) -> InterviewAnswer {
        let mut pad = model.existing(id).ok_or_else(missing)?.clone();
        let fields = self.interview.fields(self.request, false).ok_or_else(|| error(400, "Bad Request"))?;
        self.check_permissions(&fields)?;
        let set = |name: &str| match fields.text(name).as_deref() {
            Some("true") => true,
            Some(other) => {
                self.violation(format!("{name}={other} is ignored"));
                false
            }
            None => false,
        };
        let (ended, deleted) = (set("ended"), set("deleted"));
        if ended && deleted {
            self.violation("ended and deleted together");
        }
        if fields.has("contents") {
            self.violation("contents of an existing pad destroy its history");
        }
        self.apply(model, &fields, &mut pad)?;
        if let Some(email) = fields.text("user_email") {
            self.ensure_owner(model, &email)?;
            pad.owner_email = email;
        }
        pad.deleted = deleted;
        model.change(id, |known| *known = pad);
        if ended {
            let name = self.email.split('@').next().unwrap_or_default();
            model.end(id, "ended", Some((name, &self.email)));
        }
        ok(json!({}))
    }

    /// Rejects fields that only owners may set: a pad's owner and its team.
    fn check_permissions(&self, fields: &Fields) -> Result<(), Reply> {
        let reserved = fields.has("user_email") || fields.has("team_id");
        if reserved && self.role != KeyRole::Owner {
            return Err(error(403, "Forbidden"));
        }
        Ok(())
    }

    fn apply(&self, model: &InterviewModel, fields: &Fields, pad: &mut PadView) -> Result<(), Reply> {
        let flag = |name: &str| {
            let (value, proper) = fields.flag(name)?;
            if !proper {
                self.violation(format!("{name} is neither true nor false"));
            }
            Some(value)
        };
        if let Some(title) = fields.text("title") {
            pad.title = title;
        }
        if let Some(notes) = fields.text("notes") {
            pad.notes = Some(notes);
        }
        if let Some(language) = fields.text("language") {
            if !LANGUAGES.split_whitespace().any(|known| known == language) {
                return Err(error(400, "Bad Request"));
            }
            pad.language = Some(language);
        }
        if let Some(question) = fields.number("question_id") {
            let question = question.map_err(|what| self.bad_request(what))?;
            if !model.questions.contains_key(&question) {
                let status = model.settings.unknown_question_status;
                return Err(Reply::json(status, self.interview.error_body(status)));
            }
            pad.question_ids = vec![question];
        }
        if let Some(team) = fields.text("team_id") {
            if team != TEAM {
                return Err(error(400, "Bad Request"));
            }
            pad.team_id = Some(team);
        }
        if let Some(contents) = fields.text("contents") {
            pad.files.insert("main".to_owned(), contents);
        }
        pad.private = flag("private").unwrap_or(pad.private);
        pad.execution_enabled = flag("execution_enabled").unwrap_or(pad.execution_enabled);
        for name in ["take_home", "ai_assist_enabled", "restrict_interviewer_access", "disable_coaching_tips"]
        {
            flag(name);
        }
        Ok(())
    }

    /// Checks that the question fits the pad. Whether the service would reject it is not documented, so this one
    /// creates the pad and records a violation.
    fn check_question(&self, model: &InterviewModel, pad: &PadView) -> Result<(), Reply> {
        let question = pad.question_ids.first().and_then(|id| model.questions.get(id));
        let Some(question) = question else { return Ok(()) };
        let refused = if pad.take_home { "live" } else { "take_home" };
        if question.is_draft || question.pad_type.as_deref() == Some(refused) {
            self.violation(format!("question {} does not fit this kind of pad", question.id));
        }
        Ok(())
    }

    /// Adds an unknown owner as a user. Documented and dangerous: an address outside the organization becomes a new
    /// account.
    fn ensure_owner(&self, model: &mut InterviewModel, email: &str) -> Result<(), Reply> {
        if !email.contains('@') {
            return Err(self.bad_request(format!("user_email {email:?} is not an address")));
        }
        if !model.users.iter().any(|user| user.email == email) {
            let name = email.split('@').next().unwrap_or_default().to_owned();
            model.users.push(super::OrganizationUser { email: email.to_owned(), name });
            model.created_users.push(email.to_owned());
        }
        Ok(())
    }

    fn pads(&self, model: &mut InterviewModel, owner: Option<&str>) -> InterviewAnswer {
        let sort = self.sort().unwrap_or("created_at,desc");
        let (field, direction) = sort.split_once(',').unwrap_or((sort, "desc"));
        if !["created_at", "updated_at"].contains(&field) || !["asc", "desc"].contains(&direction) {
            return Err(self.bad_request(format!("sort {sort:?} is not known")));
        }
        let (field, direction) =
            if model.settings.ignore_sort { ("created_at", "desc") } else { (field, direction) };
        let now = Instant::now();
        let at = now.checked_sub(model.settings.lag()).unwrap_or(now);
        let shown = model.pads.values().filter_map(|pad| {
            let view = pad.version_at(at)?;
            (!view.deleted && owner.is_none_or(|owner| view.owner_email == owner))
                .then_some((pad.order, view))
        });
        let mut rows: Vec<(i64, u64, &PadView)> = shown
            .map(|(order, view)| {
                (if field == "created_at" { view.created_at } else { view.updated_at }, order, view)
            })
            .collect();
        rows.sort_by_key(|(at, order, _)| (*at, *order));
        if direction == "desc" {
            rows.reverse();
        }
        let rows: Vec<PadView> = rows.into_iter().map(|(_, _, view)| view.clone()).collect();
        self.page(model, "pads", &rows, |view| self.pad(view))
    }

    /// Returns a pad as the API shows it.
    fn pad(&self, pad: &PadView) -> Value {
        json!({"id": pad.id, "title": pad.title, "state": pad.state, "owner_email": pad.owner_email,
            "language": pad.language, "private": pad.private, "execution_enabled": pad.execution_enabled,
            "contents": null, "participants": pad.participants,
            "events": format!("{}/api/pads/{}/events", self.interview.origin(), pad.id), "notes": pad.notes,
            "created_at": format_seconds(pad.created_at), "updated_at": format_seconds(pad.updated_at),
            "ended_at": pad.ended_at.map(format_seconds), "url": pad.url, "playback": pad.playback, "drawing": null,
            "type": pad.pad_type, "question_ids": pad.question_ids, "pad_environment_ids": [pad.environment],
            "active_environment_id": pad.environment,
            "team": {"id": pad.team_id.as_deref().unwrap_or(TEAM), "name": "Main Team"},
            "restrict_interviewer_access": false, "allowed_interviewer_emails": [],
            "pad_interviewer_notifications": []})
    }
}

fn missing() -> Reply {
    error(404, "Resource not found")
}

fn environment(pad: &PadView) -> Value {
    let files: Vec<Value> =
        pad.files.iter().map(|(path, contents)| json!({"path": path, "contents": contents})).collect();
    json!({"id": pad.environment, "pad_id": pad.environment + 80_000_000, "question_id": pad.question_ids.first(),
        "example_question_id": null, "language": pad.language.as_deref().unwrap_or("plaintext"),
        "file_contents": files, "created_at": format_with_offset(pad.created_at), "updated_at": format_with_offset(pad.updated_at)})
}

fn question(model: &InterviewModel, id: u64) -> Option<Value> {
    let question = model.questions.get(&id)?;
    let owner = model.users.first().map(|user| user.email.as_str()).unwrap_or_default();
    let take_home = question.pad_type.as_deref() == Some("take_home");
    let mut view = json!({"id": question.id, "title": question.title, "owner_email": owner,
        "language": question.language, "description": "", "candidate_instructions": [],
        "contents": question.contents, "shared": true, "used": 0, "take_home": take_home,
        "test_cases_enabled": false, "solution": null, "is_draft": question.is_draft, "author_name": "Author",
        "organization_name": model.organization, "custom_files": [], "created_at": "2026-01-05T09:00:00Z",
        "updated_at": "2026-01-05T09:00:00Z"});
    if let (Some(pad_type), Some(fields)) = (&question.pad_type, view.as_object_mut()) {
        fields.insert("pad_type".into(), json!(pad_type));
    }
    Some(view)
}

fn quota(model: &InterviewModel) -> Value {
    let quota = model.quota;
    let reset = format_with_offset(now_ms() - 5 * 24 * 3_600_000);
    let mut view = json!({"trial_expires_at": null, "pads_used": quota.used, "quota_reset_at": reset,
        "unlimited": quota.limit.is_none(), "overages_enabled": quota.overages_enabled});
    if let (Some(limit), Some(fields)) = (quota.limit, view.as_object_mut()) {
        fields.insert("pads_remaining".into(), json!(limit.saturating_sub(quota.used)));
        fields.insert("billing_cycle_pad_limit".into(), json!(limit));
    }
    view
}
