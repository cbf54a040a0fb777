//! Implementation of each endpoint of Lever's API.

use serde_json::{Value, json};

use super::api::{Endpoint, LeverAnswer, LeverRequest, failure, forbidden, not_found};
use super::model::{ADMIN, ARCHIVE_REASON, LeverModel, Note, Opportunity};
use super::webhooks::Webhook;
use crate::common::wire::Reply;
use crate::common::{lock, now_ms, token48, uuid};

const ORIGINS: [&str; 6] = ["applied", "sourced", "referred", "university", "internal", "agency"];
const EVENTS: [&str; 10] = [
    "applicationCreated",
    "candidateHired",
    "candidateStageChange",
    "candidateArchiveChange",
    "candidateDeleted",
    "interviewCreated",
    "interviewUpdated",
    "interviewDeleted",
    "contactCreated",
    "contactUpdated",
];

pub(crate) fn all_origins() -> Vec<String> {
    ORIGINS.iter().map(|origin| (*origin).to_owned()).collect()
}

fn data(status: u16, data: impl serde::Serialize) -> LeverAnswer {
    Ok(Reply::json(status, json!({"data": data})))
}

impl LeverRequest<'_> {
    pub(crate) fn answer(&self, endpoint: Endpoint<'_>) -> LeverAnswer {
        let mut guard = lock(&self.lever.model);
        let model = &mut *guard;
        match endpoint {
            Endpoint::Stages => {
                let rows =
                    model.stages.iter().enumerate().map(|(rank, stage)| (rank, json!(stage))).collect();
                self.page(model, rows)
            }
            Endpoint::Stage(id) => {
                let stage = model.stages.iter().find(|stage| stage.id == id);
                data(200, stage.ok_or_else(|| not_found("stages", id))?)
            }
            Endpoint::Opportunities => self.opportunities(model),
            Endpoint::Deleted => self.deleted(model),
            Endpoint::Opportunity(id) => {
                let opportunity = self.accessible(model, id)?;
                data(200, self.rendered(model, opportunity)?)
            }
            Endpoint::AddLinks(id) => {
                let repeat_links = model.settings.repeat_links;
                self.write(model, id, "links", |pipeline, links, given| {
                    for link in given {
                        let is_there = links.contains(&link);
                        if is_there {
                            pipeline(format!("link added twice: {link}"));
                        }
                        // Recordings suggest a set, but it is not documented.
                        if !is_there || repeat_links {
                            links.push(link);
                        }
                    }
                })
            }
            Endpoint::RemoveLinks(id) => {
                self.write(model, id, "links", |_, links, given| links.retain(|link| !given.contains(link)))
            }
            Endpoint::AddTags(id) => self.write(model, id, "tags", |_, tags, given| {
                for tag in given {
                    if !tags.contains(&tag) {
                        tags.push(tag);
                    }
                }
            }),
            Endpoint::RemoveTags(id) => {
                self.write(model, id, "tags", |_, tags, given| tags.retain(|tag| !given.contains(tag)))
            }
            Endpoint::Notes(id) => {
                let notes = &self.accessible(model, id)?.notes;
                let rows =
                    notes.iter().rev().enumerate().map(|(rank, note)| (rank, note.body.clone())).collect();
                self.page(model, rows)
            }
            Endpoint::Note(id, note) => {
                let known = self.accessible(model, id)?.notes.iter().find(|known| known.id == note);
                data(200, &known.ok_or_else(|| not_found("notes", note))?.body)
            }
            Endpoint::CreateNote(id) => self.create_note(model, id),
            Endpoint::DeleteNote(id, note) => {
                self.accessible(model, id)?;
                let notes = &mut model.existing_mut(id).ok_or_else(|| not_found("opportunities", id))?.notes;
                let known =
                    notes.iter().find(|known| known.id == note).ok_or_else(|| not_found("notes", note))?;
                if known.by_key.is_empty() {
                    return Err(forbidden());
                }
                notes.retain(|known| known.id != note);
                Ok(Reply::empty(204))
            }
            Endpoint::Webhooks => {
                let own =
                    model.webhooks.iter().filter(|webhook| webhook.created_by.as_deref() == Some(self.key));
                // The real response of this list has no `hasNext`.
                data(200, own.map(|webhook| webhook_view(webhook, false)).collect::<Vec<_>>())
            }
            Endpoint::CreateWebhook => self.create_webhook(model),
            Endpoint::DeleteWebhook(id) => {
                let known = model.webhooks.iter().find(|webhook| webhook.id == id);
                match known.ok_or_else(|| not_found("webhooks", id))?.created_by.as_deref() {
                    Some(key) if key == self.key => {
                        model.webhooks.retain(|webhook| webhook.id != id);
                        Ok(Reply::empty(204))
                    }
                    // A guess: only webhooks that were created through the API can be changed through it.
                    _ => Err(forbidden()),
                }
            }
            Endpoint::Users => {
                let email = self.value("email").map(str::to_owned);
                let wanted = |user: &&Value| email.as_ref().is_none_or(|email| user["email"] == json!(email));
                let users = model.users.iter().filter(wanted).filter(|user| user["deactivatedAt"].is_null());
                let rows = users.enumerate().map(|(rank, user)| (rank, user.clone())).collect();
                self.page(model, rows)
            }
            Endpoint::User(id) => {
                let user = model.users.iter().find(|user| user["id"] == id);
                data(200, user.ok_or_else(|| not_found("users", id))?)
            }
            Endpoint::Posting(id) => posting(model, id),
            Endpoint::Contact(id) => {
                let opportunity = model.opportunities.values().find(|opportunity| opportunity.contact == id);
                let opportunity = opportunity.ok_or_else(|| not_found("contacts", id))?;
                data(200, model.expanded(opportunity, "contact"))
            }
            Endpoint::Tags => {
                let mut counts = std::collections::BTreeMap::<String, usize>::new();
                for opportunity in model.opportunities.values() {
                    for tag in model.tags(opportunity) {
                        *counts.entry(tag).or_default() += 1;
                    }
                }
                let rows = counts
                    .into_iter()
                    .map(|(tag, count)| (tag.clone(), json!({"text": tag, "count": count})));
                let rows = rows.collect();
                self.page(model, rows)
            }
            Endpoint::ArchiveReasons => {
                let reason = json!({"id": ARCHIVE_REASON, "text": "Withdrew", "status": "active", "type": "non-hired"});
                self.page(model, vec![(0, reason)])
            }
        }
    }

    /// Returns the opportunity, unless it is deleted or the key may not access it.
    fn accessible<'m>(&self, model: &'m LeverModel, id: &str) -> Result<&'m Opportunity, Reply> {
        let opportunity = model.existing(id).ok_or_else(|| not_found("opportunities", id))?;
        if opportunity.confidential && !self.permissions.confidential() {
            return Err(forbidden());
        }
        Ok(opportunity)
    }

    /// Returns the opportunity with `expand` and `include` applied.
    pub(crate) fn rendered(&self, model: &LeverModel, opportunity: &Opportunity) -> Result<Value, Reply> {
        let mut view = model.view(opportunity);
        let included: Vec<&str> = self.values("include").chain(self.values("expand")).collect();
        if let Some(fields) = view.as_object_mut() {
            for field in self.values("expand") {
                let expanded = model.expanded(opportunity, field);
                let expanded =
                    expanded.ok_or_else(|| self.bad_request(format!("{field} is not expandable")))?;
                fields.insert(field.to_owned(), expanded);
            }
            // `include` restricts: only the fields that it names remain.
            if self.value("include").is_some() {
                fields.retain(|name, _| name == "id" || included.contains(&name.as_str()));
            }
        }
        Ok(view)
    }

    fn write(
        &self,
        model: &mut LeverModel,
        id: &str,
        field: &str,
        change: impl FnOnce(&dyn Fn(String), &mut Vec<String>, Vec<String>),
    ) -> LeverAnswer {
        self.accessible(model, id)?;
        self.performer(model)?;
        if let Some(unknown) = self.body.keys().find(|name| *name != field) {
            return Err(self.bad_request(format!("unknown field {unknown}")));
        }
        let given = self.body.get(field).cloned().unwrap_or_default();
        let given: Vec<String> = serde_json::from_value(given)
            .map_err(|_| self.bad_request(format!("{field} must be a list of strings")))?;
        if given.is_empty() || given.iter().any(|text| text.trim().is_empty()) {
            return Err(self.bad_request(format!("{field} must not be empty")));
        }
        let violation = |what: String| self.lever.pipeline.violation(self.request, what);
        let missing = || not_found("opportunities", id);
        let contact = model.existing(id).ok_or_else(missing)?.contact.clone();
        match field {
            "links" => change(&violation, &mut model.contacts.entry(contact).or_default().links, given),
            _ => change(&violation, &mut model.existing_mut(id).ok_or_else(missing)?.tags, given),
        }
        model.existing_mut(id).ok_or_else(missing)?.updated_at = Some(now_ms());
        let mut view = model.view(model.existing(id).ok_or_else(missing)?);
        if let Some(fields) = view.as_object_mut() {
            fields.remove("opportunityLocation");
        }
        data(200, view)
    }

    fn create_note(&self, model: &mut LeverModel, id: &str) -> LeverAnswer {
        let stage = self.accessible(model, id)?.stage.clone();
        let user = self.performer(model)?;
        let now = now_ms();
        for (name, value) in &self.body {
            let fits = match name.as_str() {
                "value" => value.as_str().is_some_and(|text| !text.trim().is_empty()),
                "secret" | "notifyFollowers" => value.is_boolean(),
                "score" => value.is_null() || value.as_i64().is_some_and(|score| (1..=4).contains(&score)),
                "createdAt" => value.as_i64().is_some_and(|at| at <= now),
                _ => return Err(self.bad_request(format!("unknown field {name}"))),
            };
            if !fits {
                return Err(self.bad_request(format!("{name} is not valid")));
            }
        }
        let Some(text) = self.body.get("value").and_then(Value::as_str) else {
            return Err(self.bad_request("value is required"));
        };
        for username in model.users.iter().filter_map(|user| user["username"].as_str()) {
            if text.contains(&format!("@{username}")) {
                model.mentions.push((id.to_owned(), username.to_owned()));
            }
        }
        let at = self.body.get("createdAt").and_then(Value::as_i64).unwrap_or(now);
        let score = self.body.get("score").cloned().unwrap_or_default();
        let field = json!({"type": "note", "text": "Comment", "value": text, "createdAt": at, "score": score,
            "stage": stage, "user": user});
        let missing = || not_found("opportunities", id);
        let opportunity = model.existing_mut(id).ok_or_else(missing)?;
        let note = match self.value("note_id") {
            Some(thread) => {
                let known = opportunity.notes.iter_mut().find(|note| note.id == thread);
                let known = known.ok_or_else(|| not_found("notes", thread))?;
                if let Some(fields) = known.body["fields"].as_array_mut() {
                    fields.push(field);
                }
                known.clone()
            }
            None => {
                let secret = self.body.get("secret").and_then(Value::as_bool).unwrap_or(false);
                let note = uuid();
                let body = json!({"id": note, "text": "Note", "fields": [field], "user": user, "secret": secret,
                    "completedAt": at, "deletedAt": null, "createdAt": at});
                let note = Note { id: note, by_key: self.key.to_owned(), body };
                opportunity.notes.push(note.clone());
                note
            }
        };
        let mut body = note.body;
        if let Some(fields) = body.as_object_mut() {
            fields.insert("noteId".into(), json!(note.id));
        }
        data(201, body)
    }

    fn create_webhook(&self, model: &mut LeverModel) -> LeverAnswer {
        if let Some(unknown) =
            self.body.keys().find(|name| !["url", "event", "configuration"].contains(&name.as_str()))
        {
            return Err(self.bad_request(format!("unknown field {unknown}")));
        }
        let text = |name: &str| self.body.get(name).and_then(Value::as_str).unwrap_or_default();
        let (url, event) = (text("url"), text("event"));
        let scheme_fits =
            url.starts_with("https://") || (self.lever.options.assume_http && url.starts_with("http://"));
        if !scheme_fits {
            return Err(self.bad_request(format!("url {url:?} is not an https URL")));
        }
        if !EVENTS.contains(&event) {
            return Err(self.bad_request(format!("event {event:?} is not known")));
        }
        let mut origins = all_origins();
        if let Some(configuration) = self.body.get("configuration") {
            let known = configuration
                .as_object()
                .is_some_and(|fields| fields.keys().all(|name| name == "conditions"));
            let chosen = serde_json::from_value(configuration["conditions"]["origins"].clone());
            match chosen {
                Ok(chosen) if known => origins = chosen,
                _ => return Err(self.bad_request("configuration must be {conditions: {origins: [...]}}")),
            }
        }
        if let Some(unknown) = origins.iter().find(|origin| !ORIGINS.contains(&origin.as_str())) {
            return Err(self.bad_request(format!("origin {unknown:?} is not known")));
        }
        let webhook = Webhook {
            id: uuid(),
            event: event.to_owned(),
            url: url.to_owned(),
            signature_token: token48(),
            origins,
            created_at: now_ms(),
            created_by: Some(self.key.to_owned()),
        };
        let view = webhook_view(&webhook, true);
        model.webhooks.push(webhook);
        data(201, view)
    }
}

pub(crate) fn webhook_view(webhook: &Webhook, with_token: bool) -> Value {
    let mut configuration = json!({"conditions": {"origins": webhook.origins}});
    if let (true, Some(fields)) = (with_token, configuration.as_object_mut()) {
        fields.insert("signatureToken".into(), json!(webhook.signature_token));
    }
    json!({"id": webhook.id, "event": webhook.event, "url": webhook.url, "configuration": configuration,
        "createdAt": webhook.created_at, "updatedAt": webhook.created_at})
}

fn posting(model: &LeverModel, id: &str) -> LeverAnswer {
    let posting = model
        .postings
        .get(id)
        .ok_or_else(|| failure(404, "ResourceNotFound", format!("postings {id} was not found")))?;
    let what = &posting.what;
    data(
        200,
        json!({"id": posting.id, "text": what.text, "state": "published", "distributionChannels": ["internal"],
            "user": ADMIN, "owner": ADMIN, "hiringManager": null,
            "categories": {"team": what.team, "department": what.department, "location": what.location,
                "allLocations": [what.location], "commitment": what.commitment, "level": null},
            "tags": what.tags, "content": {}, "country": null, "followers": [], "reqCode": null,
            "requisitionCodes": [], "urls": null, "confidentiality": "non-confidential",
            "createdAt": posting.created_at, "updatedAt": posting.created_at, "workplaceType": "unspecified"}),
    )
}
