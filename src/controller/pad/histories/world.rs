//! The environment of a history: Lever, CoderPad and the cluster, and the people who use them.

use super::ground_truth::Truth;
use super::{Mutant, Setting};
use crate::{api::pad::Trigger, api::pad::TriggerSource};
use api::configuration::{DeletionPolicy, PadConfiguration};
use api::connection::LeverConnection;
use api::installation::INSTALLATION;
use api::pad::{DesiredState, Phase};
use api::pad_builder;
use api::{Pad, names};
use coderpad::PadRecord;
use engine::hints::Hint;
use engine::stage_change::StageChangeEvent;
use engine::stage_change::{PadAction, choose_action, configurations_of};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use lever::{Opportunity, StageHistoryEntry as Change};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub const NAMESPACE: &str = "hiring";
pub const OPPORTUNITY: &str = "op-1";
pub const STAGE: &str = "stage-phone";
const OTHER_STAGE: &str = "stage-offer";
/// Start of a history by the operator's clock, in milliseconds since the epoch.
const BEGIN: i64 = 1_700_000_000_300;

/// CoderPad's reaction to a request to create a pad.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HistoryCreation {
    Works,
    /// CoderPad answers 400.
    Refused,
    /// CoderPad creates a live pad, whichever type was requested.
    Live,
}

/// The state of the environment and of the operator.
pub struct World {
    pub setting: Setting,
    pub mutant: Option<Mutant>,
    /// The operator's clock, in milliseconds.
    pub now: i64,
    pub person: Opportunity,
    pub records: Vec<PadRecord>,
    pub creation: HistoryCreation,
    pub connection: Arc<LeverConnection>,
    /// Configurations by number; None if deleted.
    pub configurations: Vec<Option<PadConfiguration>>,
    /// Manifests that a person applies, by number of the configuration.
    manifests: Vec<Value>,
    pub pads: Vec<Pad>,
    deliveries: Vec<StageChangeEvent>,
    delivered: Vec<StageChangeEvent>,
    ids: u32,
    pub is_up: bool,
    /// Number of effects that the operator completes before it stops; None if it does not stop.
    pub stops_after: Option<u32>,
    /// Pending hints, by name of the Pad.
    pub looks: HashMap<String, HashSet<Hint>>,
    /// Number of writes to the cluster that changed an object.
    pub writes: usize,
    pub truth: Truth,
}

pub fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap()
}

pub fn configuration_name(number: usize) -> String {
    format!("rule-{number}")
}

pub fn tag(number: usize) -> String {
    format!("tag-{number}")
}

pub fn url(id: &str) -> String {
    format!("https://app.coderpad.io/{id}")
}

impl World {
    pub fn new(setting: Setting, mutant: Option<Mutant>) -> Self {
        let manifest = |number: usize| {
            let mut spec = json!({
                "connectionRef": {"name": "acme"}, "stage": "Phone Screen", "tag": tag(number),
                "existing": setting.existing, "repeat": setting.repeat,
                "deletionPolicy": setting.deletion_policy, "writeBack": {"note": "None"},
            });
            if setting.take_home {
                spec["type"] = json!("TakeHome");
                spec["questionID"] = json!(7);
            }
            spec
        };
        let lever_now = BEGIN + setting.skew;
        let mut world = Self {
            setting,
            mutant,
            now: BEGIN,
            person: Opportunity {
                id: OPPORTUNITY.into(),
                name: "Ada Lovelace".into(),
                contact: None,
                stage: OTHER_STAGE.into(),
                stage_changes: Vec::new(),
                tags: Vec::new(),
                links: Vec::new(),
                archived: false,
                archived_at_ms: None,
                confidential: false,
                is_anonymized: false,
                profile_url: None,
                created_at_ms: Some(lever_now - 900_000),
                updated_at_ms: None,
            },
            records: Vec::new(),
            creation: HistoryCreation::Works,
            connection: Arc::new(connection(1000)),
            configurations: vec![None; setting.configurations],
            manifests: (0..setting.configurations).map(manifest).collect(),
            pads: Vec::new(),
            deliveries: Vec::new(),
            delivered: Vec::new(),
            ids: 0,
            is_up: true,
            stops_after: None,
            looks: HashMap::new(),
            writes: 0,
            truth: Truth::default(),
        };
        if setting.begins_tagged {
            world.person.tags = (0..setting.configurations).map(tag).collect();
        }
        if setting.begins_in_stage {
            world.move_in(false);
            world.now += 60_000;
        }
        if setting.begins_configured {
            (0..setting.configurations).for_each(|number| world.apply(number));
        }
        world
    }

    pub fn add_hint(&mut self, name: &str, what: Hint) {
        self.looks.entry(name.into()).or_default().insert(what);
    }

    pub fn id(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    /// Returns the time of Lever's clock, in milliseconds.
    pub fn lever_now(&self) -> i64 {
        self.now + self.setting.skew
    }

    /// Returns the time of the last entry into the stage by Lever's clock, in milliseconds.
    pub fn entry(&self) -> i64 {
        self.person.entry_into(STAGE)
    }

    pub fn is_in_stage_with(&self, number: usize) -> bool {
        self.person.stage == STAGE && self.person.tags.contains(&tag(number))
    }

    // Lever

    pub fn move_in(&mut self, is_delivered: bool) {
        if self.person.stage == STAGE {
            return;
        }
        let at_ms = self.lever_now();
        self.person.stage = STAGE.into();
        self.person.stage_changes.push(Change { to_stage_id: STAGE.into(), updated_at_ms: at_ms });
        self.truth.entries += 1;
        let triggered = at_ms + 3;
        let id = self.id();
        let change = StageChangeEvent {
            opportunity_id: OPPORTUNITY.into(),
            stage_id: STAGE.into(),
            at: at(triggered),
            request: format!("{triggered}-{id:08}"),
        };
        self.deliveries.push(change);
        if is_delivered {
            self.deliver();
        }
    }

    pub fn move_out(&mut self) {
        if self.person.stage == STAGE {
            let at_ms = self.lever_now();
            self.person.stage = OTHER_STAGE.into();
            self.person.stage_changes.push(Change { to_stage_id: OTHER_STAGE.into(), updated_at_ms: at_ms });
            (0..self.configurations.len()).for_each(|number| self.truth.left(number));
        }
    }

    pub fn add_tag(&mut self, number: usize) {
        let tag = tag(number);
        if !self.person.tags.contains(&tag) {
            self.person.tags.push(tag);
        }
    }

    pub fn remove_tag(&mut self, number: usize) {
        self.person.tags.retain(|one| *one != tag(number));
        self.truth.left(number);
    }

    /// Delivers the oldest webhook in flight. Returns false if there is none.
    pub fn deliver(&mut self) -> bool {
        if self.deliveries.is_empty() {
            return false;
        }
        let change = self.deliveries.remove(0);
        self.receive(&change);
        self.delivered.push(change);
        true
    }

    /// Repeats a delivered webhook.
    pub fn repeat_delivery(&mut self, pick: usize) {
        if !self.delivered.is_empty() {
            let change = self.delivered[pick % self.delivered.len()].clone();
            self.receive(&change);
        }
    }

    fn receive(&mut self, change: &StageChangeEvent) {
        let all: Vec<Arc<PadConfiguration>> =
            self.configurations.iter().flatten().cloned().map(Arc::new).collect();
        for configuration in configurations_of(STAGE, &self.connection, &all) {
            let name = configuration.name_any();
            let known = self.pads.iter().filter(|pad| pad_builder::is_of(pad, &name, OPPORTUNITY));
            let known: Vec<Arc<Pad>> = known.cloned().map(Arc::new).collect();
            match choose_action(&known, &BTreeSet::new(), &name, change) {
                PadAction::Create { n } => {
                    let trigger = Trigger { source: TriggerSource::Webhook, at: Some(change.at) };
                    self.create(pad_builder::pad(&configuration, OPPORTUNITY, n, trigger));
                }
                PadAction::Annotate { name } => self.annotate(&name, &change.request),
                PadAction::Nothing { .. } => {}
            }
        }
    }

    // CoderPad

    pub fn set_quota(&mut self, remaining: i64) {
        self.connection = Arc::new(connection(remaining));
    }

    pub fn begin_interview(&mut self, pick: usize) {
        if let Some(record) = pick_mut(&mut self.records, pick, |record| !record.is_ended()) {
            record.state = "started".into();
        }
    }

    pub fn end_interview(&mut self, pick: usize) {
        let now = at(self.now / 1000 * 1000);
        if let Some(record) = pick_mut(&mut self.records, pick, |record| !record.is_ended()) {
            record.state = "ended".into();
            record.ended_at = Some(now);
            self.truth.ended(&record.id, now.as_millisecond());
        }
    }

    pub fn delete_record(&mut self, pick: usize) {
        if !self.records.is_empty() {
            let record = self.records.remove(pick % self.records.len());
            let at_ms = self.lever_now();
            self.truth.gone(&record.id, at_ms);
        }
    }

    // The cluster

    pub fn number_of(&self, pad: &Pad) -> usize {
        let name = &pad.spec.configuration_ref.name;
        (0..self.configurations.len()).find(|number| configuration_name(*number) == *name).unwrap()
    }

    pub fn pad(&self, name: &str) -> Option<&Pad> {
        self.pads.iter().find(|pad| pad.name_any() == name)
    }

    pub fn pad_mut(&mut self, name: &str) -> Option<&mut Pad> {
        self.pads.iter_mut().find(|pad| pad.name_any() == name)
    }

    /// Creates a Pad. Reports whether its name was free.
    pub fn create(&mut self, mut pad: Pad) -> bool {
        if self.pad(&pad.name_any()).is_some() {
            return false;
        }
        let id = self.id();
        pad.metadata.namespace = Some(NAMESPACE.into());
        pad.metadata.uid = Some(format!("uid-{id}"));
        pad.metadata.generation = Some(1);
        pad.metadata.creation_timestamp = Some(Time(at(self.now / 1000 * 1000)));
        if pad.annotations().contains_key(names::EXISTING_SINCE) {
            self.truth.existing.insert(format!("uid-{id}"));
        }
        self.writes += 1;
        self.pads.push(pad);
        true
    }

    pub fn create_by_hand(&mut self, number: usize) {
        let id = self.id();
        let pad = serde_json::from_value(json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
            "metadata": {"name": format!("by-hand-{id}")},
            "spec": {"configurationRef": {"name": configuration_name(number)}, "opportunityID": OPPORTUNITY,
                "deletionPolicy": self.setting.deletion_policy},
        }));
        self.truth.by_hand += 1;
        self.create(pad.unwrap());
    }

    fn annotate(&mut self, name: &str, request: &str) {
        if let Some(pad) = self.pad_mut(name) {
            pad.annotations_mut().insert(names::RECONCILE_REQUESTED_AT.into(), request.into());
        }
    }

    pub fn request(&mut self, pick: usize) {
        if let Some(name) = self.pick_pad(pick, |_| true) {
            let id = self.id();
            self.truth.requests += 1;
            self.annotate(&name, &format!("a person asks for the {id}th time"));
        }
    }

    pub fn pick_pad(&self, pick: usize, which: impl Fn(&Pad) -> bool) -> Option<String> {
        let stays = |pad: &&Pad| pad.metadata.deletion_timestamp.is_none() && which(pad);
        let all: Vec<String> = self.pads.iter().filter(stays).map(ResourceExt::name_any).collect();
        (!all.is_empty()).then(|| all[pick % all.len()].clone())
    }

    /// Ends the interview of a Pad, or cancels the Pad, for a person.
    pub fn end(&mut self, pick: usize) {
        let is_open = |pad: &Pad| pad.spec.state == DesiredState::Open;
        let Some(name) = self.pick_pad(pick, is_open) else { return };
        let Some(pad) = self.pad(&name).cloned() else { return };
        let is_undecided =
            |other: &&Pad| other.name_any() != name && matches!(other.phase(), None | Some(Phase::Pending));
        let nothing_made =
            [names::ATTEMPT, names::PAD_ID].iter().all(|key| !pad.annotations().contains_key(*key));
        if nothing_made && !self.pads.iter().any(|other| is_undecided(&other)) {
            let (number, entry) = (self.number_of(&pad), self.entry());
            self.truth.cancelled(number, entry, pad.uid().unwrap());
        }
        let number = self.number_of(&pad);
        self.truth.end(number);
        let pad = self.pad_mut(&name).unwrap();
        pad.spec.state = DesiredState::Ended;
        pad.metadata.generation = pad.metadata.generation.map(|generation| generation + 1);
    }

    pub fn delete_pad(&mut self, name: &str) {
        let (now, lever_now) = (self.now, self.lever_now());
        let Some(pad) = self.pad_mut(name) else { return };
        let (uid, is_retained) = (pad.uid().unwrap(), pad.spec.deletion_policy == DeletionPolicy::Retain);
        pad.metadata.deletion_timestamp.get_or_insert(Time(at(now / 1000 * 1000)));
        self.truth.deletions += 1;
        self.truth.pad_deleted(&uid, is_retained, lever_now);
        self.writes += 1;
        self.sweep();
    }

    /// Removes the Pads that are being deleted and have no finalizer.
    pub fn sweep(&mut self) {
        self.pads.retain(|pad| pad.metadata.deletion_timestamp.is_none() || !pad.finalizers().is_empty());
    }

    pub fn set_policy(&mut self, number: usize, policy: &str) {
        self.edit(number, "deletionPolicy", json!(policy));
    }

    /// Applies the configuration for a person, unless it exists.
    pub fn apply(&mut self, number: usize) {
        if self.configurations[number].is_some() {
            return;
        }
        let id = self.id();
        let configuration = serde_json::from_value(json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "PadConfiguration",
            "metadata": {"name": configuration_name(number), "namespace": NAMESPACE, "uid": format!("uid-{id}"),
                "generation": 1, "creationTimestamp": at(self.now / 1000 * 1000)},
            "spec": self.manifests[number], "status": {"observedGeneration": -1},
        }));
        self.configurations[number] = Some(configuration.unwrap());
        self.truth.changes += 1;
        let at_ms = self.lever_now();
        self.truth.applied(number, at_ms);
    }

    pub fn delete_configuration(&mut self, number: usize) {
        self.configurations[number] = None;
    }

    /// Edits a field of the configuration for a person.
    pub fn edit(&mut self, number: usize, field: &str, value: Value) {
        self.manifests[number][field] = value;
        let spec = serde_json::from_value(self.manifests[number].clone()).unwrap();
        if let Some(configuration) = &mut self.configurations[number]
            && configuration.spec != spec
        {
            configuration.spec = spec;
            configuration.metadata.generation =
                configuration.metadata.generation.map(|generation| generation + 1);
            self.truth.changes += 1;
        }
    }

    pub fn request_configuration(&mut self, number: usize) {
        let id = self.id();
        if let Some(configuration) = &mut self.configurations[number] {
            let asked = format!("a person asks for the {id}th time");
            configuration.annotations_mut().insert(names::RECONCILE_REQUESTED_AT.into(), asked);
            self.truth.changes += 1;
        }
    }
}

fn pick_mut<T>(all: &mut [T], pick: usize, which: impl Fn(&T) -> bool) -> Option<&mut T> {
    let mut found: Vec<&mut T> = all.iter_mut().filter(|one| which(one)).collect();
    (!found.is_empty()).then(|| found.swap_remove(pick % found.len()))
}

fn connection(remaining: i64) -> LeverConnection {
    let key = json!({"apiKeySecretRef": {"name": "acme", "key": "k"}});
    serde_json::from_value(json!({
        "apiVersion": "padoperator.dev/v1alpha1", "kind": "LeverConnection",
        "metadata": {"name": "acme", "namespace": NAMESPACE, "generation": 1,
            "annotations": {INSTALLATION: "0123456789abcdef"}},
        "spec": {"lever": key, "interview": key},
        "status": {
            "observedGeneration": 1,
            "stages": [{"id": STAGE, "name": "Phone Screen"}, {"id": OTHER_STAGE, "name": "Offer"}],
            "quota": {"unlimited": false, "used": 0, "remaining": remaining, "limit": 1000},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Connected", "message": "m",
                "observedGeneration": 1, "lastTransitionTime": at(BEGIN)}],
        },
    }))
    .unwrap()
}
