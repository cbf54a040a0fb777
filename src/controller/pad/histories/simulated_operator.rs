//! The operator in a history: the real decisions, and a minimal executor.

use super::ground_truth::{Broken, Post};
use super::mutants;
use super::world::{HistoryCreation, OPPORTUNITY, World, at, url};
use crate::controller::configuration::observe::ExternalChecks;
use crate::controller::configuration::status::{ConfigurationObservation, status as configuration_status};
use api::PadStatus;
use api::configuration::{Existing, PadConfiguration, PadConfigurationStatus};
use api::names::{self, Claim, CreateIntent, OnceOnlyWrite, Reference};
use api::pad::{Pad, Phase, Trigger, TriggerSource};
use api::pad_builder;
use api::reason::Reason;
use api::served_stage_entries::{self, Fingerprint};
use coderpad::{CREATE_PAD, NewPad, PadKind, PadRecord, QuestionRecord};
use engine::command::{Command, Outcome};
use engine::decide::decide;
use engine::event::{Event, Fact, StoredVersion};
use engine::hints::{Hint, PendingHints};
use engine::observe::RelatedObjects;
use engine::scan_action::{BackfillAction, BackfillRule, ListedCandidate, backfill_action, served_after};
use engine::state::{CreateOutcome, PadHealth, PadLookup, PadState, PassError, WriteClaim};
use engine::status::status;
use http_client::{ErrorKind, Service, ServiceError};
use jiff::Timestamp;
use kube::ResourceExt;
use lever::Notes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Maximum number of steps of a pass. No pass needs that many.
const MAX_HISTORY_STEPS: usize = 64;
/// Maximum number of rounds of reconciles until the objects settle. No change needs that many.
const ROUNDS: usize = 12;

/// Returns an object as the API server returns it after a write.
fn stored<T: Serialize + DeserializeOwned>(object: &T) -> T {
    serde_json::from_value(serde_json::to_value(object).unwrap()).unwrap()
}

impl World {
    /// Reconciles everything until nothing changes.
    pub fn run_until_idle(&mut self) {
        for _ in 0..ROUNDS {
            if !self.is_up {
                return;
            }
            let before = (self.writes, self.truth.posts);
            (0..self.configurations.len()).for_each(|number| self.reconcile_configuration(number));
            let names: Vec<String> = self.pads.iter().map(ResourceExt::name_any).collect();
            names.iter().for_each(|name| self.reconcile_pad(name));
            if before == (self.writes, self.truth.posts) {
                return;
            }
        }
        self.truth.fails(Broken::Restless, "the objects do not settle");
    }

    /// Starts the process again. Its memory is lost.
    pub fn start(&mut self) {
        self.is_up = true;
        self.stops_after = None;
        self.looks.clear();
    }

    /// Reports whether the operator reaches the next effect. If not, the operator stops before the effect.
    fn reaches_effect(&mut self) -> bool {
        match &mut self.stops_after {
            Some(0) => self.is_up = false,
            Some(left) => *left -= 1,
            None => {}
        }
        self.is_up
    }

    fn reconcile_configuration(&mut self, number: usize) {
        let Some(configuration) = self.configurations[number].clone() else { return };
        let question = QuestionRecord {
            id: 7,
            title: "Fizz".into(),
            pad_type: Some("take_home".into()),
            take_home: true,
            is_draft: false,
        };
        let question = configuration.spec.question_id.map(|_| Ok(question));
        let handled = names::reconcile_requested_at(&configuration);
        let observation = ConfigurationObservation {
            configuration: &configuration,
            connection: Some(&self.connection),
            preferred: None,
            checks: &ExternalChecks { question, owner: None },
            counts: None,
            handled: handled.as_deref(),
        };
        let after = configuration_status(&observation, at(self.now));
        let since = after.effective_since;
        if since != configuration.status.as_ref().and_then(|status| status.effective_since)
            && let Some(since) = since.map(Timestamp::as_millisecond)
            && configuration.spec.existing == Existing::Skip
            && self.is_in_stage_with(number)
            && self.entry() <= since
        {
            let entry = self.entry();
            self.truth.took_effect(number, since, entry);
        }
        self.write_configuration(number, after);
    }

    fn write_configuration(&mut self, number: usize, after: PadConfigurationStatus) {
        let Some(configuration) = &mut self.configurations[number] else { return };
        if configuration.status.as_ref() != Some(&after) {
            configuration.status = Some(stored(&after));
            self.writes += 1;
        }
    }

    /// Returns the configuration as the operator reads it.
    fn configuration(&self, number: usize) -> Option<PadConfiguration> {
        let configuration = self.configurations[number].clone()?;
        Some(match self.mutant {
            Some(mutant) => mutants::configuration(mutant, configuration, self.entry()),
            None => configuration,
        })
    }

    /// Returns a Pad as the operator reads it.
    fn read(&self, pad: &Pad) -> Pad {
        match self.mutant {
            Some(mutant) => mutants::pad(mutant, pad.clone()),
            None => pad.clone(),
        }
    }

    /// Returns the candidate's Pads of the configuration, without the Pad `except`.
    fn pads_of(&self, configuration: &str, except: Option<&str>) -> Vec<Arc<Pad>> {
        let is_meant = |pad: &&Pad| {
            pad_builder::is_of(pad, configuration, OPPORTUNITY) && Some(&*pad.name_any()) != except
        };
        self.pads.iter().filter(is_meant).map(|pad| Arc::new(self.read(pad))).collect()
    }

    // Sync

    pub fn sync(&mut self) {
        if !self.is_up {
            return;
        }
        let is_open = |pad: &&Pad| matches!(pad.phase(), Some(Phase::Open | Phase::Started));
        let open: Vec<String> = self.pads.iter().filter(is_open).map(ResourceExt::name_any).collect();
        open.iter().for_each(|name| self.add_hint(name, Hint::Record));
        for number in 0..self.configurations.len() {
            if let Some(configuration) = self.configuration(number) {
                self.scan(number, &configuration);
            }
        }
    }

    fn scan(&mut self, number: usize, configuration: &PadConfiguration) {
        let mut after = configuration.status.clone().unwrap_or_default();
        let row = ListedCandidate {
            id: OPPORTUNITY.into(),
            entry: at(self.entry()),
            created_at: self.person.created_at_ms.map(at),
            is_free: true,
        };
        let rows: Vec<ListedCandidate> = self.is_in_stage_with(number).then_some(row).into_iter().collect();
        let known = self.pads_of(&configuration.name_any(), None);
        if let Some(rule) = BackfillRule::from_configuration(configuration, [], &[]) {
            let entries = after.served_entries.take();
            for row in &rows {
                self.answer(configuration, &rule, row, &known, entries.as_deref());
            }
            if !self.is_up {
                return;
            }
            for (row, pad) in rows.iter().flat_map(|row| known.iter().map(move |pad| (row, pad))) {
                if matches!(pad.phase(), Some(Phase::Open | Phase::Started | Phase::Ended)) {
                    self.truth.noted(&pad.uid().unwrap(), row.entry.as_millisecond());
                }
            }
            if !rule.is_settled {
                self.truth.found(number, rule.since.as_millisecond(), known.is_empty());
            }
            let pads = HashMap::from([(OPPORTUNITY, self.pads_of(&configuration.name_any(), None))]);
            after.served_entries = served_after(&rule, &rows, true, &pads, entries.as_deref());
            after.existing_settled_for = after.effective_since;
        }
        after.matching = i64::try_from(rows.len()).ok();
        if self.reaches_effect() {
            self.write_configuration(number, after);
        }
    }

    fn answer(
        &mut self,
        configuration: &PadConfiguration,
        rule: &BackfillRule,
        row: &ListedCandidate,
        known: &[Arc<Pad>],
        entries: Option<&str>,
    ) {
        match backfill_action(rule, row, known, entries) {
            BackfillAction::Nothing => {}
            BackfillAction::Make { n, existing } => {
                if !self.reaches_effect() {
                    return;
                }
                let trigger = Trigger { source: TriggerSource::Sync, at: Some(at(self.now)) };
                let mut pad = pad_builder::pad(configuration, OPPORTUNITY, n, trigger);
                if existing {
                    pad.annotations_mut().insert(names::EXISTING_SINCE.into(), rule.since.to_string());
                }
                self.create(pad);
            }
            BackfillAction::Judge(name) => self.add_hint(&name, Hint::Judge),
            BackfillAction::Skip(name) => {
                if !self.reaches_effect() {
                    return;
                }
                if let Some(pad) = self.pad_mut(&name) {
                    pad.annotations_mut().insert(names::EXISTING_SINCE.into(), rule.since.to_string());
                }
                self.writes += 1;
                self.add_hint(&name, Hint::Judge);
            }
        }
    }

    // One Pad

    fn reconcile_pad(&mut self, name: &str) {
        let Some(pad) = self.pad(name).map(|pad| self.read(pad)).filter(|_| self.is_up) else { return };
        let number = self.number_of(&pad);
        let configuration = self.configuration(number).map(Arc::new);
        let around = RelatedObjects {
            configuration: configuration.clone(),
            connection: Some(self.connection.clone()),
            connection_name: Some("acme".into()),
            former: None,
        };
        let wanted = PendingHints::from_hints(self.looks.get(name).into_iter().flatten().copied());
        let others = self.pads_of(&pad.spec.configuration_ref.name, Some(name));
        let mut state = engine::observe::observe(&pad, &around, &others, &wanted, at(self.now));
        // The requests of an earlier process have taken effect.
        state.create_outcome = match state.pad.open_attempt() {
            Some(_) => CreateOutcome::Completed,
            None => CreateOutcome::NotSent,
        };
        if let Some(mutant) = self.mutant {
            mutants::state(mutant, &mut state, configuration.as_deref());
        }
        let mut pass =
            HistoryPass { world: self, name: name.into(), number, configuration, stored: None, state };
        let Some(outcome) = pass.run_to_completion() else { return };
        pass.state.judged = pass.state.entry();
        let (state, configuration) = (pass.finish(&outcome), pass.configuration.clone());
        if !self.is_up {
            return;
        }
        let is_decided = !matches!(outcome, Outcome::NoDecision | Outcome::StaleRead);
        if let Some(looks) = self.looks.get_mut(name) {
            looks.retain(|what| match what {
                Hint::Record => matches!(state.record, PadLookup::NotRead),
                _ => !(is_decided && wanted.has(*what)),
            });
        }
        self.write_pad(name, number, &state, &outcome, configuration.as_deref());
    }

    fn write_pad(
        &mut self,
        name: &str,
        number: usize,
        state: &PadState,
        outcome: &Outcome,
        configuration: Option<&PadConfiguration>,
    ) {
        let Some(pad) = self.pad(name).map(|pad| self.read(pad)) else { return };
        let Some(after) = status(&pad, state, outcome, configuration, at(self.now)) else { return };
        let entry = state.judged.map(Timestamp::as_millisecond);
        if state.pad.asked_by_person
            && let Some(entry) = entry
        {
            self.truth.answered(number, entry);
        }
        if self.pad(name).and_then(|pad| pad.status.as_ref()) == Some(&after) {
            return;
        }
        let after: PadStatus = stored(&after);
        let Some(pad) = self.pad_mut(name) else { return };
        let (uid, has_changed) = (pad.uid().unwrap(), pad.phase() != after.phase);
        pad.status = Some(after.clone());
        self.writes += 1;
        if let Outcome::Failed(..) = outcome
            && let Some(configuration) = configuration.and_then(ResourceExt::uid)
        {
            self.truth.failed(uid.clone(), configuration);
        }
        if after.reason.as_deref() == Some(Reason::BeforeConfiguration.as_str()) {
            let since = configuration.and_then(|one| one.status.as_ref()?.effective_since);
            if let (Some(since), Some(entry)) = (since, entry.filter(|_| has_changed)) {
                self.truth.is_before(number, since.as_millisecond(), entry);
            }
            if !self.truth.existing.contains(&uid) {
                let message = format!("{name} is BeforeConfiguration, though sync did not create it as that");
                self.truth.fails(Broken::NotBefore, message);
            }
        }
    }
}

/// A pass over one Pad.
struct HistoryPass<'a> {
    world: &'a mut World,
    name: String,
    number: usize,
    configuration: Option<Arc<PadConfiguration>>,
    /// The last version that the running command has written.
    stored: Option<StoredVersion>,
    state: PadState,
}

impl HistoryPass<'_> {
    /// Decides and executes commands until the rules are done. Returns None if the operator stopped, or the Pad is gone.
    fn run_to_completion(&mut self) -> Option<Outcome> {
        for _ in 0..MAX_HISTORY_STEPS {
            let command = decide(&self.state).command;
            if let Command::Done { outcome, .. } = command {
                return Some(outcome);
            }
            let result = self.execute(&command);
            self.state.apply(&command, Event { stored: self.stored.take(), result });
            if let Some(mutant) = self.world.mutant {
                mutants::state(mutant, &mut self.state, self.configuration.as_deref());
            }
            if !self.world.is_up || self.world.pad(&self.name).is_none() {
                return None;
            }
        }
        self.world.truth.fails(Broken::Restless, "the plan goes in circles");
        None
    }

    /// Reconciles the failure tag after the pass. Returns the state of the pass.
    fn finish(&mut self, outcome: &Outcome) -> PadState {
        let Some(pad) = self.world.pad(&self.name).map(|pad| self.world.read(pad)) else {
            return self.state.clone();
        };
        let now = at(self.world.now);
        if let Some(after) = status(&pad, &self.state, outcome, self.configuration.as_deref(), now) {
            self.state.health = Some(PadHealth::from_conditions(&after.conditions, now));
            self.run_to_completion();
        }
        self.state.clone()
    }

    fn execute(&mut self, command: &Command) -> Result<Fact, PassError> {
        Ok(match command {
            Command::ReadOpportunity => {
                Fact::Candidate { answer: Ok(Box::new(self.world.person.clone())), shared: false }
            }
            Command::ReadPad(id) | Command::ReadPadAgain(id) | Command::ReadKindAgain(id) => {
                Fact::Pad(self.record(id).map(Box::new))
            }
            Command::ReadLinkedPads(ids) | Command::ReadLinkedPadsAgain(ids) => {
                Fact::LinkedPads(ids.iter().map(|id| (id.clone(), self.record(id))).collect())
            }
            Command::Search { reference } => {
                let is_it =
                    |record: &&PadRecord| Reference::from_notes(&record.notes).as_ref() == Some(reference);
                Fact::Found(self.world.records.iter().filter(is_it).cloned().collect())
            }
            Command::ReadEvents(_) => Fact::Events(Vec::new()),
            Command::CheckQuestion { .. } => Fact::Question(self.question()),
            Command::ReadNotes { .. } => Fact::Notes(Notes { notes: Vec::new(), left_out: 0 }),
            Command::JudgeSibling(name) => {
                self.world.add_hint(name, Hint::Judge);
                self.world.writes += 1;
                Fact::Done
            }
            command if self.world.reaches_effect() => self.take_effect(command)?,
            _ => return Err(PassError::Cluster { message: "the operator has stopped".into() }),
        })
    }

    /// Executes a command that changes something in Lever, CoderPad or the cluster.
    fn take_effect(&mut self, command: &Command) -> Result<Fact, PassError> {
        let now = at(self.world.now);
        match command {
            Command::Create { reference, pad, .. } => return self.post(reference, pad),
            Command::StorePad { record, keep_finalizer, claim_link } => {
                let deleting = self.state.pad.deleting;
                self.write(|pad| {
                    pad.annotations_mut().insert(names::PAD_ID.into(), record.id.clone());
                    set_finalizer(pad, *keep_finalizer || deleting);
                });
                let write_claim =
                    if *claim_link { WriteClaim::Owned(OnceOnlyWrite::Link) } else { WriteClaim::Unclaimed };
                return Ok(Fact::PadStored { write_claim });
            }
            Command::ClearAttempt => self.clear_attempt(),
            Command::Claim(effect) => {
                let claim = Claim::new(*effect, now).to_string();
                self.write(|pad| {
                    pad.annotations_mut().insert(names::CLAIM.into(), claim);
                    set_finalizer(pad, true);
                });
            }
            Command::AddLink(link) => {
                self.world.person.links.push(link.clone());
                self.world.truth.linked(link.rsplit('/').next().unwrap());
                return Ok(Fact::LeverWrite { answer: Ok(Box::new(self.world.person.clone())) });
            }
            Command::RemoveLink(link) => {
                self.world.person.links.retain(|one| one != link);
                return Ok(Fact::LeverWrite { answer: Ok(Box::new(self.world.person.clone())) });
            }
            Command::EndPad(id) => {
                let ended = at(self.world.now / 1000 * 1000);
                if let Some(record) = self.world.records.iter_mut().find(|record| record.id == *id) {
                    record.state = "ended".into();
                    record.ended_at = Some(ended);
                }
                self.world.truth.ended(id, ended.as_millisecond());
            }
            Command::DeletePad(id) => {
                self.world.records.retain(|record| record.id != *id);
                let lever_now = self.world.lever_now();
                self.world.truth.gone(id, lever_now);
            }
            Command::StoreRefusal { refused } => {
                let generation = self.configuration.as_ref().and_then(|one| one.metadata.generation);
                self.write_configuration(|status| {
                    status.take_home_refused_generation = generation.filter(|_| *refused);
                });
            }
            Command::StoreServed(entries) => {
                let added = entries.iter().map(|entry| Fingerprint::new(OPPORTUNITY, *entry));
                self.write_configuration(|status| {
                    status.served_entries =
                        served_stage_entries::add(status.served_entries.as_deref(), added);
                });
            }
            Command::CreateNextPad(n) => {
                let Some(configuration) = self.configuration.clone() else { return Err(PassError::Conflict) };
                let trigger = Trigger { source: TriggerSource::Sync, at: Some(now) };
                let further = pad_builder::pad(&configuration, OPPORTUNITY, *n, trigger);
                if !self.world.create(further) {
                    return Err(PassError::Cluster { message: "its name is not free".into() });
                }
            }
            Command::SetFinalizer(present) => self.write(|pad| set_finalizer(pad, *present)),
            command => panic!("no history leads to this: {command:?}"),
        }
        Ok(Fact::Done)
    }

    fn record(&self, id: &str) -> Result<PadRecord, ServiceError> {
        let found = self.world.records.iter().find(|record| record.id == id).cloned();
        found.ok_or_else(|| {
            ServiceError::new(ErrorKind::NotFound, Service::Interview, "GET /pads/{id}", Some(404), "no")
        })
    }

    /// No history has a problem with its question.
    fn question(&self) -> Result<QuestionRecord, ServiceError> {
        Err(ServiceError::new(ErrorKind::Unavailable, Service::Interview, "GET /questions/{id}", None, "no"))
    }

    fn clear_attempt(&mut self) {
        self.write(|pad| {
            pad.annotations_mut().remove(names::ATTEMPT);
            set_finalizer(pad, false);
        });
    }

    /// Writes the intention, sends the request to create a pad, and returns its answer.
    fn post(&mut self, reference: &Reference, new: &NewPad) -> Result<Fact, PassError> {
        let sent_at = at(self.world.now);
        let attempt = CreateIntent::new(reference.clone(), sent_at).to_string();
        self.write(|pad| {
            pad.annotations_mut().insert(names::ATTEMPT.into(), attempt);
            set_finalizer(pad, true);
        });
        let Some(pad) = self.world.pad(&self.name).cloned().filter(|_| self.world.reaches_effect()) else {
            return Err(PassError::Cluster { message: "the operator has stopped".into() });
        };
        let uid = pad.uid().unwrap();
        let present: BTreeSet<String> = self.world.pads.iter().filter_map(ResourceExt::uid).collect();
        let since = self.configuration.as_ref().and_then(|one| one.status.as_ref()?.effective_since);
        let post = Post {
            configuration: self.number,
            owner: &uid,
            entry: reference.entry().parse().ok(),
            is_asked: self.state.pad.asked_by_person,
            is_by_sync: pad.spec.trigger.source == TriggerSource::Sync,
            since: since.map(Timestamp::as_millisecond),
            is_always: self.world.setting.repeat == "Always",
            present: &present,
        };
        self.world.truth.posted(&post);
        if self.world.creation == HistoryCreation::Refused {
            let error =
                ServiceError::new(ErrorKind::Invalid, Service::Interview, CREATE_PAD, Some(400), "no");
            if self.world.reaches_effect() {
                self.clear_attempt();
            }
            return Ok(Fact::CreateRefused { error, sent_at });
        }
        let id = format!("PAD{}", self.world.id());
        let kind = if new.take_home && self.world.creation == HistoryCreation::Works {
            PadKind::TakeHome
        } else {
            PadKind::Live
        };
        let record = PadRecord::from_json(&json!({
            "status": "OK", "id": id, "title": new.title, "state": "pending", "type": "live", "url": url(&id),
            "playback": null, "created_at": at(self.world.now / 1000 * 1000), "ended_at": null, "notes": new.notes,
        }));
        let mut record = record.unwrap();
        record.kind = kind;
        self.world.truth.record_creation(&post, &id, reference.to_string());
        self.world.records.push(record.clone());
        Ok(Fact::Created { record: Box::new(record), sent_at })
    }

    fn write(&mut self, change: impl FnOnce(&mut Pad)) {
        let Some(pad) = self.world.pad_mut(&self.name) else { return };
        change(pad);
        let pad = pad.clone();
        self.world.writes += 1;
        self.world.sweep();
        let read = self.world.read(&pad);
        self.stored = Some(StoredVersion {
            pad: engine::observe::stored_pad(&read, self.configuration.as_deref()),
            create_outcome: CreateOutcome::NotSent,
            write_claim: WriteClaim::Unclaimed,
        });
    }

    fn write_configuration(&mut self, change: impl FnOnce(&mut PadConfigurationStatus)) {
        let now = self.world.configurations[self.number].as_ref();
        if let Some(mut status) = now.and_then(|one| one.status.clone()) {
            change(&mut status);
            self.world.write_configuration(self.number, status);
        }
    }
}

fn set_finalizer(pad: &mut Pad, present: bool) {
    let finalizers = pad.finalizers_mut();
    finalizers.retain(|one| one != names::FINALIZER);
    if present {
        finalizers.push(names::FINALIZER.into());
    }
}
