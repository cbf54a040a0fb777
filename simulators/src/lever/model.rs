//! State of the simulated Lever: stages, opportunities, contacts, postings, users, keys and webhooks, and the API
//! representation of an opportunity.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::webhooks::{Delivery, DeliveryBehaviour, Webhook};
use crate::common::{now_ms, uuid};

/// Stage of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// ID: `lead-new` and the like, or a UUID.
    pub id: String,
    /// Name that people see.
    pub text: String,
}

impl Stage {
    /// Returns a stage with this ID and name.
    #[must_use]
    pub fn new(id: &str, text: &str) -> Self {
        Self { id: id.to_owned(), text: text.to_owned() }
    }
}

/// Answers to questions that Lever's documentation leaves open. They can be changed while the service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct LeverSettings {
    /// Whether lists can be filtered by tag. If not, the filter is silently ignored.
    pub filter_by_tag: bool,
    /// Whether the filter by tag finds tags that are inherited from the posting.
    pub filter_finds_inherited_tags: bool,
    /// Whether a link that is added again is shown twice. If not, links are a set.
    pub repeat_links: bool,
}

impl Default for LeverSettings {
    fn default() -> Self {
        Self { filter_by_tag: true, filter_finds_inherited_tags: true, repeat_links: false }
    }
}

/// All permissions that a key can have, one for each simulated endpoint.
pub const PERMISSIONS: [&str; 22] = [
    "stages:list",
    "stages:read",
    "opportunities:list",
    "opportunities:read",
    "opportunities:deleted",
    "opportunities:addLinks",
    "opportunities:removeLinks",
    "opportunities:addTags",
    "opportunities:removeTags",
    "notes:list",
    "notes:read",
    "notes:create",
    "notes:delete",
    "webhooks:list",
    "webhooks:create",
    "webhooks:delete",
    "users:list",
    "users:read",
    "postings:read",
    "tags:list",
    "contacts:read",
    "archive_reasons:list",
];

/// Permissions of an API key. A missing permission leads to 403.
#[derive(Clone, Debug)]
pub struct Permissions {
    granted: BTreeSet<String>,
    confidential: bool,
}

impl Permissions {
    /// Returns permissions for every endpoint, without confidential data.
    #[must_use]
    pub fn all() -> Self {
        Self::only(&PERMISSIONS)
    }

    /// Returns only these of [`PERMISSIONS`].
    #[must_use]
    pub fn only(names: &[&str]) -> Self {
        Self { granted: names.iter().map(|name| (*name).to_owned()).collect(), confidential: false }
    }

    /// Removes one of [`PERMISSIONS`].
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        debug_assert!(PERMISSIONS.contains(&name), "there is no permission {name}");
        self.granted.remove(name);
        self
    }

    /// Adds access to confidential opportunities.
    #[must_use]
    pub fn with_confidential(mut self) -> Self {
        self.confidential = true;
        self
    }

    pub(crate) fn allows(&self, name: &str) -> bool {
        self.granted.contains(name)
    }

    pub(crate) fn confidential(&self) -> bool {
        self.confidential
    }
}

/// Candidate to add: an opportunity and, unless an existing one is named, a contact.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct NewCandidate {
    /// Full name; may be empty.
    pub name: String,
    /// ID or name of the stage; empty = the first one.
    pub stage: String,
    /// Time of the entry into that stage, in milliseconds since the epoch; `None` = now.
    pub entered_at: Option<i64>,
    /// Tags of the opportunity itself.
    pub tags: Vec<String>,
    /// ID of the posting, from [`LeverSimulator::add_posting`](crate::LeverSimulator::add_posting).
    pub posting: Option<String>,
    /// Tags of a posting that is created for this candidate if `posting` names none.
    pub posting_tags: Vec<String>,
    /// Links of the contact.
    pub links: Vec<String>,
    /// E-mail addresses of the contact, often none.
    pub emails: Vec<String>,
    /// ID of an existing contact, for a person with several opportunities.
    pub contact: Option<String>,
    /// Whether the opportunity is confidential.
    pub confidential: bool,
    /// Whether it is archived from the start.
    pub archived: bool,
    /// Origin of the candidate; empty = `sourced`.
    pub origin: String,
}

/// Posting to add. Its title and categories also become tags of its opportunities.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPosting {
    /// Title.
    pub text: String,
    /// Category.
    pub team: String,
    /// Category.
    pub department: String,
    /// Category.
    pub location: String,
    /// Category.
    pub commitment: String,
    /// Tags that people added to the posting.
    pub tags: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Posting {
    pub id: String,
    pub created_at: i64,
    pub what: NewPosting,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Contact {
    pub name: String,
    pub links: Vec<String>,
    pub emails: Vec<String>,
    pub anonymized: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Opportunity {
    pub id: String,
    pub contact: String,
    pub stage: String,
    pub stage_changes: Vec<Value>,
    pub confidential: bool,
    pub archived: Option<(String, i64)>,
    pub tags: Vec<String>,
    pub origin: String,
    pub application: Option<(String, String)>,
    pub created_at: i64,
    pub updated_at: Option<i64>,
    pub advanced_at: i64,
    pub deleted_at: Option<i64>,
    pub notes: Vec<Note>,
}

#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub id: String,
    pub by_key: String,
    pub body: Value,
}

#[derive(Debug)]
pub(crate) struct LeverModel {
    pub stages: Vec<Stage>,
    pub opportunities: BTreeMap<String, Opportunity>,
    pub contacts: HashMap<String, Contact>,
    pub postings: HashMap<String, Posting>,
    pub users: Vec<Value>,
    pub keys: HashMap<String, Permissions>,
    pub webhooks: Vec<Webhook>,
    pub switched_on: HashSet<String>,
    pub offsets: HashSet<(String, String)>,
    pub mentions: Vec<(String, String)>,
    pub deliveries: Vec<Delivery>,
    pub behaviour: DeliveryBehaviour,
    pub settings: LeverSettings,
}

pub(crate) const ARCHIVE_REASON: &str = "0b5f6f1e-52ab-4f0e-8f4c-6a3f0d9c7b11";
pub(crate) const ADMIN: &str = "5a1b6c1c-6f0c-4d7a-9f69-2a8f7a3c0e01";

pub(crate) fn default_users() -> Vec<Value> {
    let user = |id: &str, name: &str, username: &str, role: &str| {
        json!({"id": id, "name": name, "username": username, "email": format!("{username}@recruiting.example"),
            "accessRole": role, "photo": null, "createdAt": 1_735_689_600_000_i64, "deactivatedAt": null,
            "externalDirectoryId": null, "linkedContactIds": null, "jobTitle": null, "managerId": null})
    };
    vec![
        user(ADMIN, "Ines Admin", "ines", "super admin"),
        user("c2d8e9f0-3f7e-4a53-8a27-5c1d9be4aa02", "Ivo Interviewer", "ivo", "interviewer"),
    ]
}

impl LeverModel {
    /// Returns the ID of a stage given by ID or name.
    pub(crate) fn stage_id(&self, stage: &str) -> Option<String> {
        let by_id = self.stages.iter().find(|known| known.id == stage);
        let found = by_id.or_else(|| self.stages.iter().find(|known| known.text == stage));
        found.map(|stage| stage.id.clone())
    }

    pub(crate) fn stage_index(&self, id: &str) -> usize {
        self.stages.iter().position(|stage| stage.id == id).unwrap_or(self.stages.len())
    }

    pub(crate) fn add_posting(&mut self, what: NewPosting) -> String {
        let id = uuid();
        self.postings.insert(id.clone(), Posting { id: id.clone(), created_at: now_ms(), what });
        id
    }

    pub(crate) fn add_candidate(&mut self, new: NewCandidate) -> Result<String, String> {
        let stage = match new.stage.as_str() {
            "" => self.stages.first().map(|stage| stage.id.clone()),
            name => self.stage_id(name),
        };
        let stage = stage.ok_or_else(|| format!("there is no stage {:?}", new.stage))?;
        let posting = match new.posting {
            None if new.posting_tags.is_empty() => None,
            None => Some(self.add_posting(NewPosting {
                text: "Engineer".into(),
                team: "Engineering".into(),
                tags: new.posting_tags,
                ..NewPosting::default()
            })),
            Some(id) if self.postings.contains_key(&id) => Some(id),
            Some(id) => return Err(format!("there is no posting {id}")),
        };
        let contact = match new.contact {
            Some(id) if self.contacts.contains_key(&id) => id,
            Some(id) => return Err(format!("there is no contact {id}")),
            None => uuid(),
        };
        let person = self.contacts.entry(contact.clone()).or_default();
        if !new.name.is_empty() {
            person.name = new.name;
        }
        person.links.extend(new.links);
        person.emails.extend(new.emails);

        let at = new.entered_at.unwrap_or_else(now_ms);
        let id = uuid();
        let opportunity = Opportunity {
            id: id.clone(),
            contact,
            stage_changes: vec![self.change(&stage, at)],
            stage,
            confidential: new.confidential,
            archived: new.archived.then(|| (ARCHIVE_REASON.to_owned(), now_ms())),
            tags: new.tags,
            origin: if new.origin.is_empty() { "sourced".into() } else { new.origin },
            application: posting.map(|posting| (uuid(), posting)),
            created_at: at,
            updated_at: None,
            advanced_at: at,
            deleted_at: None,
            notes: Vec::new(),
        };
        self.opportunities.insert(id.clone(), opportunity);
        Ok(id)
    }

    fn change(&self, stage: &str, at: i64) -> Value {
        json!({"toStageId": stage, "toStageIndex": self.stage_index(stage), "updatedAt": at, "userId": ADMIN})
    }

    /// Moves an opportunity. Returns the stage that it left and the time at which it entered the other one.
    pub(crate) fn move_to(
        &mut self,
        id: &str,
        stage: &str,
        at: Option<i64>,
    ) -> Result<(String, i64), String> {
        let to = self.stage_id(stage).ok_or_else(|| format!("there is no stage {stage:?}"))?;
        let opportunity =
            self.opportunities.get(id).ok_or_else(|| format!("there is no opportunity {id}"))?;
        // A person cannot move a candidate twice within a millisecond, but a test can.
        let at = at.unwrap_or_else(|| now_ms().max(opportunity.advanced_at + 1));
        let change = self.change(&to, at);
        let Some(opportunity) = self.opportunities.get_mut(id) else { return Err(String::new()) };
        opportunity.stage_changes.push(change);
        opportunity.advanced_at = at;
        opportunity.updated_at = Some(now_ms());
        Ok((std::mem::replace(&mut opportunity.stage, to), at))
    }

    pub(crate) fn existing(&self, id: &str) -> Option<&Opportunity> {
        self.opportunities.get(id).filter(|opportunity| opportunity.deleted_at.is_none())
    }

    pub(crate) fn existing_mut(&mut self, id: &str) -> Option<&mut Opportunity> {
        self.opportunities.get_mut(id).filter(|opportunity| opportunity.deleted_at.is_none())
    }

    /// Returns the opportunity's own tags, then those of the posting: title, categories, and tags added by people.
    pub(crate) fn tags(&self, opportunity: &Opportunity) -> Vec<String> {
        let mut tags = opportunity.tags.clone();
        let posting = opportunity.application.as_ref().and_then(|(_, posting)| self.postings.get(posting));
        if let Some(NewPosting { text, team, department, location, commitment, tags: own }) =
            posting.map(|posting| &posting.what)
        {
            let derived = [text, team, department, location, commitment].into_iter().chain(own);
            for tag in derived.filter(|tag| !tag.is_empty()) {
                if !tags.contains(tag) {
                    tags.push(tag.clone());
                }
            }
        }
        tags
    }

    pub(crate) fn view(&self, opportunity: &Opportunity) -> Value {
        let contact = self.contacts.get(&opportunity.contact).cloned().unwrap_or_default();
        let archived =
            opportunity.archived.as_ref().map(|(reason, at)| json!({"reason": reason, "archivedAt": at}));
        let location = opportunity.application.as_ref().and_then(|(_, posting)| self.postings.get(posting));
        let mut view = json!({
            "id": opportunity.id, "name": contact.name, "contact": opportunity.contact, "headline": "",
            "stage": opportunity.stage,
            "confidentiality": if opportunity.confidential { "confidential" } else { "non-confidential" },
            "location": "", "phones": [], "emails": contact.emails, "links": contact.links, "archived": archived,
            "tags": self.tags(opportunity), "sources": [], "stageChanges": opportunity.stage_changes,
            "origin": opportunity.origin, "sourcedBy": ADMIN, "owner": ADMIN, "followers": [ADMIN],
            "applications": opportunity.application.iter().map(|(id, _)| id).collect::<Vec<_>>(),
            "createdAt": opportunity.created_at, "updatedAt": opportunity.updated_at,
            "lastInteractionAt": opportunity.updated_at.unwrap_or(opportunity.created_at),
            "lastAdvancedAt": opportunity.advanced_at, "snoozedUntil": null,
            "urls": {
                "list": "https://hire.lever.co/candidates",
                "show": format!("https://hire.lever.co/candidates/{}", opportunity.id),
            },
            "isAnonymized": contact.anonymized, "dataProtection": null,
        });
        if let (Some(posting), Some(fields)) = (location, view.as_object_mut()) {
            fields.insert("opportunityLocation".into(), json!(posting.what.location));
        }
        view
    }

    /// Returns the object for one of the `expand` names.
    pub(crate) fn expanded(&self, opportunity: &Opportunity, field: &str) -> Option<Value> {
        let user = |id: &str| self.users.iter().find(|user| user["id"] == id).cloned().unwrap_or(Value::Null);
        Some(match field {
            "stage" => json!(self.stages.iter().find(|stage| stage.id == opportunity.stage)),
            "contact" => {
                let contact = self.contacts.get(&opportunity.contact).cloned().unwrap_or_default();
                json!({"id": opportunity.contact, "name": contact.name, "headline": "",
                    "isAnonymized": contact.anonymized, "location": {"name": ""}, "emails": contact.emails,
                    "phones": []})
            }
            "owner" | "sourcedBy" => user(ADMIN),
            "followers" => json!([user(ADMIN)]),
            "applications" => {
                let application = |(id, posting): &(String, String)| {
                    json!({"id": id, "opportunityId": opportunity.id, "candidateId": opportunity.id,
                        "posting": posting, "type": "posting", "createdAt": opportunity.created_at})
                };
                json!(opportunity.application.iter().map(application).collect::<Vec<_>>())
            }
            _ => return None,
        })
    }
}
