//! Actions of people in Lever: move candidates, tag, archive, delete, change the pipeline, set up webhooks.

use std::sync::Arc;

use serde_json::{Value, json};

use super::delivery::{VerifyResult, envelope};
use super::endpoints::all_origins;
use super::model::{
    ARCHIVE_REASON, LeverModel, LeverSettings, NewCandidate, NewPosting, Opportunity, Stage, default_users,
};
use super::webhooks::{Attempt, Delivery, DeliveryBehaviour, DeliveryOutcome, Webhook};
use super::{Lever, LeverOptions, LeverSimulator, Permissions, StageMove};
use crate::common::{lock, now_ms, uuid};

impl LeverModel {
    pub(crate) fn new(options: &LeverOptions) -> Self {
        let key = Some(options.api_key.clone()).filter(|key| !key.is_empty());
        Self {
            stages: options.stages.clone(),
            opportunities: Default::default(),
            contacts: Default::default(),
            postings: Default::default(),
            users: default_users(),
            keys: key.into_iter().map(|key| (key, Permissions::all())).collect(),
            webhooks: Vec::new(),
            switched_on: Default::default(),
            offsets: Default::default(),
            mentions: Vec::new(),
            deliveries: Vec::new(),
            behaviour: DeliveryBehaviour::default(),
            settings: LeverSettings::default(),
        }
    }
}

impl Lever {
    pub(crate) fn move_to(
        self: &Arc<Self>,
        id: &str,
        stage: &str,
        at: Option<i64>,
    ) -> Result<StageMove, String> {
        let stage_move = {
            let mut model = lock(&self.model);
            let target = model.stage_id(stage);
            match model.opportunities.get(id) {
                // Moving a candidate to the current stage is no change and fires no event.
                Some(known) if Some(&known.stage) == target.as_ref() => {
                    return Ok(StageMove { at: known.advanced_at, deliveries: Vec::new() });
                }
                _ => {}
            }
            let (from, at) = model.move_to(id, stage, at)?;
            model.opportunities.get(id).map(|opportunity| (opportunity.clone(), from, at))
        };
        let (opportunity, from, at) = stage_move.ok_or_else(|| format!("there is no opportunity {id}"))?;
        let data = json!({"toStageId": opportunity.stage, "fromStageId": from});
        Ok(StageMove { at, deliveries: self.fire("candidateStageChange", &opportunity, data) })
    }

    /// Changes an existing opportunity; returns false if there is none.
    pub(crate) fn change(&self, id: &str, change: impl FnOnce(&mut Opportunity)) -> bool {
        let mut model = lock(&self.model);
        let Some(opportunity) = model.existing_mut(id) else { return false };
        change(opportunity);
        opportunity.updated_at = Some(now_ms());
        true
    }

    pub(crate) fn set_archived(self: &Arc<Self>, id: &str, archived: bool) -> bool {
        let mut from = None;
        let to = archived.then(|| (ARCHIVE_REASON.to_owned(), now_ms()));
        if !self.change(id, |opportunity| from = std::mem::replace(&mut opportunity.archived, to.clone())) {
            return false;
        }
        let view = |state: Option<(String, i64)>| {
            state.map(|(reason, at)| json!({"reason": reason, "archivedAt": at}))
        };
        let opportunity = lock(&self.model).opportunities.get(id).cloned();
        if let Some(opportunity) = opportunity {
            let data = json!({"toArchived": view(to), "fromArchived": view(from)});
            self.fire("candidateArchiveChange", &opportunity, data);
        }
        true
    }

    pub(crate) fn delete(self: &Arc<Self>, id: &str, at: i64) -> bool {
        let deleted = self.change(id, |opportunity| opportunity.deleted_at = Some(at));
        let opportunity = lock(&self.model).opportunities.get(id).cloned();
        if let (true, Some(opportunity)) = (deleted, opportunity) {
            self.fire("candidateDeleted", &opportunity, json!({}));
        }
        deleted
    }

    pub(crate) fn anonymize(&self, id: &str) -> bool {
        let mut model = lock(&self.model);
        let Some(contact) = model.existing(id).map(|opportunity| opportunity.contact.clone()) else {
            return false;
        };
        if let Some(person) = model.contacts.get_mut(&contact) {
            person.name.clear();
            person.emails.clear();
            person.links.clear();
            person.anonymized = true;
        }
        // The change is visible on all opportunities of the person, so all of them count as changed.
        for opportunity in model.opportunities.values_mut().filter(|one| one.contact == contact) {
            opportunity.updated_at = Some(now_ms());
        }
        true
    }

    pub(crate) fn set_webhook(&self, event: &str, url: &str, signature_token: &str) -> String {
        let mut model = lock(&self.model);
        let id = uuid();
        model.switched_on.insert(event.to_owned());
        model.webhooks.push(Webhook {
            id: id.clone(),
            event: event.to_owned(),
            url: url.to_owned(),
            signature_token: signature_token.to_owned(),
            origins: all_origins(),
            created_at: now_ms(),
            created_by: None,
        });
        id
    }

    pub(crate) async fn verify(&self, id: Option<&str>) -> Option<VerifyResult> {
        let chosen = |webhook: &&Webhook| id.is_none_or(|id| webhook.id == id);
        let webhook = lock(&self.model).webhooks.iter().rfind(chosen).cloned()?;
        let body = envelope(&webhook, "candidateHired", json!({}), false);
        let attempt = self.post(&webhook.url, body.to_string().into_bytes()).await;
        Some(VerifyResult { status: attempt.status, verified: attempt.received(), answer: attempt.answer })
    }

    pub(crate) async fn rerun(&self, number: usize) -> Option<Attempt> {
        let known = lock(&self.model).deliveries.get(number).cloned()?;
        let attempt = self.post(&known.url, known.body.to_string().into_bytes()).await;
        if let Some(delivery) = lock(&self.model).deliveries.get_mut(number) {
            delivery.attempts.push(attempt.clone());
        }
        Some(attempt)
    }
}

/// Actions of people. Methods that name an opportunity or stage that does not exist panic, because that is a bug in the
/// test.
impl LeverSimulator {
    /// Adds a candidate and returns the ID of the opportunity. No webhook is sent: whether the real service would fire
    /// a stage change is not documented.
    ///
    /// # Panics
    /// If its stage, posting or contact does not exist.
    #[expect(clippy::panic, reason = "a bug in the test")]
    pub fn add_candidate(&self, new: NewCandidate) -> String {
        lock(&self.lever().model).add_candidate(new).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Adds a posting and returns its ID.
    pub fn add_posting(&self, new: NewPosting) -> String {
        lock(&self.lever().model).add_posting(new)
    }

    /// Returns the opportunity as the API shows it; `None` if it is deleted.
    #[must_use]
    pub fn opportunity(&self, id: &str) -> Option<Value> {
        let model = lock(&self.lever().model);
        model.existing(id).map(|opportunity| model.view(opportunity))
    }

    /// Returns the IDs of all opportunities that are not deleted.
    #[must_use]
    pub fn opportunities(&self) -> Vec<String> {
        let model = lock(&self.lever().model);
        model
            .opportunities
            .values()
            .filter(|one| one.deleted_at.is_none())
            .map(|one| one.id.clone())
            .collect()
    }

    fn strings(&self, id: &str, field: &str) -> Vec<String> {
        let view = self.opportunity(id).unwrap_or_default();
        serde_json::from_value(view[field].clone()).unwrap_or_default()
    }

    /// Returns the links of the opportunity's contact.
    #[must_use]
    pub fn links(&self, id: &str) -> Vec<String> {
        self.strings(id, "links")
    }

    /// Returns the opportunity's tags, including those from its posting.
    #[must_use]
    pub fn tags(&self, id: &str) -> Vec<String> {
        self.strings(id, "tags")
    }

    /// Returns the texts of the opportunity's notes, oldest first.
    #[must_use]
    pub fn notes(&self, id: &str) -> Vec<String> {
        let text = |note: Value| note["fields"][0]["value"].as_str().unwrap_or_default().to_owned();
        self.note_bodies(id).into_iter().map(text).collect()
    }

    /// Returns the opportunity's notes as the API shows them, oldest first.
    #[must_use]
    pub fn note_bodies(&self, id: &str) -> Vec<Value> {
        let model = lock(&self.lever().model);
        let notes = model.existing(id).map(|one| one.notes.iter().map(|note| note.body.clone()).collect());
        notes.unwrap_or_default()
    }

    /// Returns the users mentioned in notes: (opportunity, username).
    #[must_use]
    pub fn mentions(&self) -> Vec<(String, String)> {
        lock(&self.lever().model).mentions.clone()
    }

    /// Moves a candidate to a stage, given by ID or name, and starts the webhooks that report it.
    ///
    /// # Panics
    /// If the opportunity or the stage does not exist.
    pub async fn move_to_stage(&self, id: &str, stage: &str) -> StageMove {
        self.stage_move(id, stage, None)
    }

    /// Like [`move_to_stage`](Self::move_to_stage), with the time of the change in milliseconds since the epoch.
    ///
    /// # Panics
    /// If the opportunity or the stage does not exist.
    pub async fn move_to_stage_at(&self, id: &str, stage: &str, at: i64) -> StageMove {
        self.stage_move(id, stage, Some(at))
    }

    #[expect(clippy::panic, reason = "a bug in the test")]
    fn stage_move(&self, id: &str, stage: &str, at: Option<i64>) -> StageMove {
        self.lever().move_to(id, stage, at).unwrap_or_else(|error| panic!("{error}"))
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Opportunity)) {
        assert!(self.lever().change(id, change), "there is no opportunity {id}");
    }

    /// Adds a tag to the opportunity. No webhook exists for that.
    pub fn add_tag(&self, id: &str, tag: &str) {
        self.change(id, |opportunity| opportunity.tags.push(tag.to_owned()));
    }

    /// Removes one of the opportunity's own tags.
    pub fn remove_tag(&self, id: &str, tag: &str) {
        self.change(id, |opportunity| opportunity.tags.retain(|known| known != tag));
    }

    /// Adds a tag to the opportunity's posting, and so to all opportunities of that posting.
    ///
    /// # Panics
    /// If the opportunity has no posting.
    pub fn add_posting_tag(&self, id: &str, tag: &str) {
        let mut model = lock(&self.lever().model);
        let application = model.existing(id).and_then(|one| one.application.clone());
        let posting = application.and_then(|(_, posting)| model.postings.get_mut(&posting));
        assert!(posting.is_some(), "opportunity {id} has no posting");
        posting.into_iter().for_each(|posting| posting.what.tags.push(tag.to_owned()));
    }

    /// Removes a tag that a person added to the opportunity's posting.
    pub fn remove_posting_tag(&self, id: &str, tag: &str) {
        let mut model = lock(&self.lever().model);
        let application = model.existing(id).and_then(|one| one.application.clone());
        if let Some(posting) = application.and_then(|(_, posting)| model.postings.get_mut(&posting)) {
            posting.what.tags.retain(|known| known != tag);
        }
    }

    /// Archives the opportunity.
    pub fn archive(&self, id: &str) {
        assert!(self.lever().set_archived(id, true), "there is no opportunity {id}");
    }

    /// Restores the opportunity from the archive.
    pub fn unarchive(&self, id: &str) {
        assert!(self.lever().set_archived(id, false), "there is no opportunity {id}");
    }

    /// Deletes the opportunity: requests for it get 404.
    pub fn delete(&self, id: &str) {
        self.delete_at(id, now_ms());
    }

    /// Like [`delete`](Self::delete), at a time in milliseconds since the epoch.
    pub fn delete_at(&self, id: &str, at: i64) {
        assert!(self.lever().delete(id, at), "there is no opportunity {id}");
    }

    /// Anonymizes the opportunity's contact: no name, no e-mail addresses, no links.
    pub fn anonymize(&self, id: &str) {
        assert!(self.lever().anonymize(id), "there is no opportunity {id}");
    }

    /// Sets whether the opportunity is confidential.
    pub fn set_confidential(&self, id: &str, confidential: bool) {
        self.change(id, |opportunity| opportunity.confidential = confidential);
    }

    /// Renames the candidate.
    pub fn set_name(&self, id: &str, name: &str) {
        self.with_contact(id, |contact| contact.name = name.to_owned());
    }

    /// Adds a link as a person would.
    pub fn add_link(&self, id: &str, link: &str) {
        self.with_contact(id, |contact| contact.links.push(link.to_owned()));
    }

    /// Removes a link as a person would.
    pub fn remove_link(&self, id: &str, link: &str) {
        self.with_contact(id, |contact| contact.links.retain(|known| known != link));
    }

    fn with_contact(&self, id: &str, change: impl FnOnce(&mut super::model::Contact)) {
        self.change(id, |_| {});
        let mut model = lock(&self.lever().model);
        let contact = model.existing(id).map(|one| one.contact.clone());
        if let Some(contact) = contact.and_then(|contact| model.contacts.get_mut(&contact)) {
            change(contact);
        }
    }

    /// Removes all notes of an opportunity as a person would.
    pub fn remove_notes(&self, id: &str) {
        self.change(id, |opportunity| opportunity.notes.clear());
    }

    /// Returns the pipeline.
    #[must_use]
    pub fn stages(&self) -> Vec<Stage> {
        lock(&self.lever().model).stages.clone()
    }

    /// Returns the ID of the stage with this ID or name.
    #[must_use]
    pub fn stage_id(&self, stage: &str) -> Option<String> {
        lock(&self.lever().model).stage_id(stage)
    }

    /// Replaces the pipeline.
    pub fn set_stages(&self, stages: Vec<Stage>) {
        lock(&self.lever().model).stages = stages;
    }

    /// Adds a stage before the last one and returns its ID.
    pub fn add_stage(&self, text: &str) -> String {
        let mut model = lock(&self.lever().model);
        let (id, place) = (uuid(), model.stages.len().saturating_sub(1));
        model.stages.insert(place, Stage::new(&id, text));
        id
    }

    /// Renames a stage, given by ID or name; the ID stays.
    pub fn rename_stage(&self, stage: &str, text: &str) {
        let mut model = lock(&self.lever().model);
        let id = model.stage_id(stage);
        let known = model.stages.iter_mut().filter(|known| Some(&known.id) == id.as_ref());
        known.for_each(|stage| stage.text = text.to_owned());
    }

    /// Removes a stage, given by ID or name.
    pub fn remove_stage(&self, stage: &str) {
        let mut model = lock(&self.lever().model);
        let id = model.stage_id(stage);
        model.stages.retain(|known| Some(&known.id) != id.as_ref());
    }

    /// Adds a Lever user and returns the ID, for use in `perform_as`.
    pub fn add_user(&self, name: &str, username: &str) -> String {
        let id = uuid();
        let mut user = default_users().swap_remove(1);
        let email = format!("{username}@recruiting.example");
        for (field, value) in [("id", id.as_str()), ("name", name), ("username", username), ("email", &email)]
        {
            user[field] = json!(value);
        }
        lock(&self.lever().model).users.push(user);
        id
    }

    /// Deactivates a Lever user.
    pub fn deactivate_user(&self, id: &str) {
        let mut model = lock(&self.lever().model);
        let users = model.users.iter_mut().filter(|user| user["id"] == id);
        users.for_each(|user| user["deactivatedAt"] = json!(now_ms()));
    }

    /// Returns the ID of a user that always exists, for `perform_as`.
    #[must_use]
    pub fn user_id(&self) -> String {
        super::model::ADMIN.to_owned()
    }
}

/// Webhooks.
impl LeverSimulator {
    /// Adds a webhook as a Super Admin would: sets the URL for Candidate Stage Change in the settings and enables it.
    /// Without a signature token, requests are not signed. Returns the webhook's ID.
    pub fn set_webhook(&self, url: &str, signature_token: &str) -> String {
        self.lever().set_webhook("candidateStageChange", url, signature_token)
    }

    /// Like [`set_webhook`](Self::set_webhook), for any event.
    pub fn set_webhook_for(&self, event: &str, url: &str, signature_token: &str) -> String {
        self.lever().set_webhook(event, url, signature_token)
    }

    /// Removes a webhook as a person would, even one that was created through the API.
    pub fn remove_webhook(&self, id: &str) {
        lock(&self.lever().model).webhooks.retain(|webhook| webhook.id != id);
    }

    /// Enables or disables an event. Nothing is sent for webhooks created through the API until a Super Admin has
    /// enabled the event; [`set_webhook`](Self::set_webhook) enables it too.
    pub fn switch_event(&self, event: &str, on: bool) {
        let mut model = lock(&self.lever().model);
        match on {
            true => model.switched_on.insert(event.to_owned()),
            false => model.switched_on.remove(event),
        };
    }

    /// Returns all webhooks: id, event, url, signatureToken, and whether they were created through the API.
    #[must_use]
    pub fn webhooks(&self) -> Vec<Value> {
        let view = |webhook: &Webhook| {
            json!({"id": webhook.id, "event": webhook.event, "url": webhook.url,
                "signatureToken": webhook.signature_token, "byApi": webhook.created_by.is_some()})
        };
        lock(&self.lever().model).webhooks.iter().map(view).collect()
    }

    /// Presses Verify for the newest webhook.
    pub async fn verify(&self) -> VerifyResult {
        let none = VerifyResult { status: None, answer: "there is no webhook".to_owned(), verified: false };
        self.lever().verify(None).await.unwrap_or(none)
    }

    /// Sends any body to the newest webhook's URL, once.
    ///
    /// # Panics
    /// If there is no webhook.
    pub async fn deliver_raw(&self, body: impl Into<Vec<u8>>) -> Attempt {
        let url = lock(&self.lever().model).webhooks.last().map(|webhook| webhook.url.clone());
        assert!(url.is_some(), "there is no webhook");
        self.lever().post(&url.unwrap_or_default(), body.into()).await
    }

    /// Presses Rerun for a delivery: sends the same body again, once.
    ///
    /// # Panics
    /// If there is no such delivery.
    #[expect(clippy::panic, reason = "a bug in the test")]
    pub async fn redeliver(&self, number: usize) -> Attempt {
        self.lever().rerun(number).await.unwrap_or_else(|| panic!("there is no delivery {number}"))
    }

    /// Changes settings.
    pub fn change_settings(&self, change: impl FnOnce(&mut LeverSettings)) {
        change(&mut lock(&self.lever().model).settings);
    }

    /// Sets the misbehaviour of future deliveries.
    pub fn set_delivery_behaviour(&self, behaviour: DeliveryBehaviour) {
        lock(&self.lever().model).behaviour = behaviour;
    }

    /// Sends held deliveries, oldest or newest first, and waits for the responses.
    pub async fn release_deliveries(&self, newest_first: bool) {
        self.lever().release(newest_first).await;
    }

    /// Returns all deliveries, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        lock(&self.lever().model).deliveries.clone()
    }

    /// Waits until there are at least this many deliveries and none is pending.
    pub async fn wait_for_deliveries(&self, at_least: usize) -> Vec<Delivery> {
        let mut progress = self.lever().progress.subscribe();
        loop {
            let deliveries = self.deliveries();
            let pending = deliveries.iter().any(|delivery| delivery.outcome == DeliveryOutcome::Pending);
            if deliveries.len() >= at_least && !pending {
                return deliveries;
            }
            let _ = progress.changed().await;
        }
    }

    /// Waits until a delivery is received or has failed for good.
    pub async fn wait_for_delivery(&self, number: usize) -> Delivery {
        let mut progress = self.lever().progress.subscribe();
        loop {
            let known = lock(&self.lever().model).deliveries.get(number).cloned();
            match known {
                Some(delivery) if delivery.outcome != DeliveryOutcome::Pending => return delivery,
                _ => {}
            }
            let _ = progress.changed().await;
        }
    }
}
