//! Executes the commands of the rules: all calls to services and all writes to the Pad's metadata.
//!
//! A request may take effect although its response is lost. Each one is therefore either idempotent, or preceded by a
//! write that allows a later pass to detect the outcome: in `create_pad` for the pad, in `write_back` for the link and
//! the note.

mod create_pad;
mod write_back;
mod yielding;

use super::candidate_loader::Ticket;
use super::in_flight::InFlight;
use super::observe;
use crate::controller::service_clients::ServiceClients;
use crate::controller::{Context, schedule};
use crate::k8s::patch::{MetadataChange, WriteError, is_status, refusal, write_metadata, write_status};
use crate::k8s::{ObjectKey, with_timeout};
use crate::telemetry::traces::span_definitions;
use api::configuration::{PadConfiguration, PadConfigurationStatus};
use api::names;
use api::pad::{Pad, Trigger, TriggerSource};
use api::pad_builder;
use api::served_stage_entries::{self, Fingerprint};
use engine::command::Command;
use engine::event::{Event, Fact, StoredVersion, stops_reading};
use engine::hints::Hint;
use engine::pad_changes;
use engine::state::{PadState, PassError, StoredPad};
use http_client::SendDeadline;
use jiff::Timestamp;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt};
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

/// Delay before a negative answer is read again: the services are eventually consistent.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(3);

/// One pass over a Pad: the current object and the observed state.
pub struct PadReconcile<'a> {
    /// The leader's context.
    pub context: &'a Context,
    /// Namespace and name of the Pad.
    pub key: ObjectKey,
    /// The Pad, as last read or written.
    pub pad: Arc<Pad>,
    /// Its configuration.
    pub configuration: Option<Arc<PadConfiguration>>,
    /// The service clients of its connection.
    pub clients: Option<Arc<ServiceClients>>,
    /// Its ticket for a batched read of its candidate.
    pub demand: Option<Ticket>,
    /// The permit and send deadline of the write to Lever that this pass has claimed.
    pub departure: Option<SendDeadline>,
    /// The ID of the pad that this pass created in CoderPad.
    pub made: Option<String>,
    /// The last version that the running command has written or read.
    pub stored: Option<StoredVersion>,
    /// The observed state.
    pub state: PadState,
}

impl PadReconcile<'_> {
    /// Executes the command that this rule decided. The state grows by its event.
    pub async fn execute(&mut self, rule: &'static str, command: &Command) {
        let span = span_definitions::step(command.name(), rule);
        let result = self.run(command).instrument(span.clone()).await;
        if self.state.apply(command, Event { stored: self.stored.take(), result }) {
            span.record("otel.status_code", "error");
        }
    }

    async fn run(&mut self, command: &Command) -> Result<Fact, PassError> {
        let candidate = self.state.pad.opportunity_id.clone();
        match command {
            Command::Done { .. } => Ok(Fact::Done),
            Command::ReadOpportunity => self.read_opportunity().await,
            Command::ReadOpportunityAgain => {
                tokio::time::sleep(READ_AGAIN_AFTER).await;
                let answer = self.account()?.lever.opportunity(&candidate).await;
                Ok(Fact::Candidate { answer: answer.map(Box::new), shared: false })
            }
            Command::ReadAnyOpportunity => {
                let any = self.account()?.lever.any_opportunity().await;
                Ok(Fact::AnyOpportunity(any.map_err(PassError::Service)?))
            }
            Command::ReadOtherOpportunity(id) => {
                let answer = self.account()?.lever.opportunity(id).await;
                Ok(Fact::OtherOpportunity(answer.map(drop)))
            }
            Command::ReadPad(id) => self.read_pad(id).await,
            Command::ReadPadAgain(id) | Command::ReadKindAgain(id) => {
                tokio::time::sleep(READ_AGAIN_AFTER).await;
                self.read_pad(id).await
            }
            Command::ReadLinkedPads(ids) => self.read_linked_pads(ids).await,
            Command::ReadLinkedPadsAgain(ids) => {
                tokio::time::sleep(READ_AGAIN_AFTER).await;
                self.read_linked_pads(ids).await
            }
            Command::StoreRefusal { refused } => self.store_refusal(*refused).await,
            Command::StoreServed(entries) => self.store_served(entries).await,
            Command::Create { reference, pad, forget_failures } => {
                self.create(reference, pad, *forget_failures).await
            }
            Command::Search { reference } => self.search(reference).await,
            Command::StorePad { record, keep_finalizer, claim_link } => {
                let departure = if *claim_link { Some(self.acquire_send_deadline().await?) } else { None };
                self.store(record, *keep_finalizer, departure).await
            }
            Command::ClearAttempt => {
                let change = pad_changes::clear_attempt(&self.state.pad);
                self.clear_attempt(change, self.state.pad.attempt.clone()).await
            }
            Command::CountFailedCreation(failed) => {
                let change = pad_changes::count_failed_creation(&self.state.pad, failed);
                self.clear_attempt(change, self.state.pad.attempt.clone()).await
            }
            Command::Claim(effect) => self.claim(*effect).await,
            Command::AddLink(url) => self.add_link(url).await,
            Command::AddTags(tags) => {
                let answer = self.account()?.lever.add_tags(&candidate, tags).await;
                Ok(Fact::LeverWrite { answer: answer.map(Box::new) })
            }
            Command::RemoveTags(tags) => {
                let answer = self.account()?.lever.remove_tags(&candidate, tags).await;
                Ok(Fact::LeverWrite { answer: answer.map(Box::new) })
            }
            Command::ReadNotes { .. } => {
                let notes = self.account()?.lever.notes(&candidate).await;
                Ok(Fact::Notes(notes.map_err(PassError::Service)?))
            }
            Command::AddNote(text) => self.add_note(text).await,
            Command::ReadEvents(id) => {
                let events = self.account()?.interview.pad_events(id).await;
                Ok(Fact::Events(events.map_err(PassError::Service)?))
            }
            Command::ReadCode(ids) => {
                let interview = &self.account()?.interview;
                let mut files = Vec::new();
                for id in ids {
                    files.push(interview.environment(*id).await);
                    if files.last().is_some_and(stops_reading) {
                        break;
                    }
                }
                Ok(Fact::Code(files))
            }
            Command::CheckQuestion { question, .. } => {
                Ok(Fact::Question(self.account()?.interview.question(*question).await))
            }
            Command::EndPad(id) => {
                self.account()?.interview.end_pad(id).await.map_err(PassError::Service)?;
                tracing::info!(pad = %self.state.pad.name, namespace = %self.state.pad.namespace, "ended interview in CoderPad");
                Ok(Fact::Done)
            }
            Command::RemoveLink(url) => {
                let answer = self.account()?.lever.remove_links(&candidate, std::slice::from_ref(url)).await;
                Ok(Fact::LeverWrite { answer: answer.map(Box::new) })
            }
            Command::DeletePad(id) => {
                self.account()?.interview.delete_pad(id).await.map_err(PassError::Service)?;
                tracing::info!(pad = %self.state.pad.name, namespace = %self.state.pad.namespace, "deleted pad in CoderPad");
                Ok(Fact::Done)
            }
            Command::Yield(id) => self.mark_as_yielding(id.as_ref()).await,
            Command::ClearPad => self.clear_pad().await,
            Command::CreateNextPad(n) => self.create_next_pad(*n).await,
            Command::JudgeSibling(name) => {
                self.context.memory.request(&ObjectKey::new(&self.state.pad.namespace, name), Hint::Judge);
                Ok(Fact::Done)
            }
            Command::DeleteObject => self.delete_object().await,
            Command::SetFinalizer(present) => {
                self.write(pad_changes::set_finalizer(*present)).await.map_err(cluster)?;
                Ok(Fact::Done)
            }
        }
    }

    fn account(&self) -> Result<&ServiceClients, PassError> {
        self.clients
            .as_deref()
            .ok_or_else(|| PassError::Cluster { message: "the connection is not ready".into() })
    }

    /// Returns the requests of the Pad that must not be repeated and whose outcome is not stored.
    fn in_flight<T>(&self, change: impl FnOnce(&mut InFlight) -> T) -> T {
        self.context.memory.update(&self.key, |entry| change(&mut entry.in_flight))
    }

    fn api(&self) -> Api<Pad> {
        Api::namespaced(self.context.client.clone(), &self.state.pad.namespace)
    }

    /// Writes metadata of the Pad and stores the resulting object.
    async fn write(&mut self, change: MetadataChange) -> Result<(), WriteError> {
        let written = write_metadata(&self.context.client, self.pad.as_ref(), &change).await;
        if let Err(WriteError::Conflict { now }) = &written {
            // No retry before the watch delivers the conflicting version.
            self.context.memory.record_version(&self.pad, now.as_deref());
        }
        let written = written?;
        self.refresh_stored(written);
        Ok(())
    }

    /// Deletes the Pad in exactly the version that was last read or written.
    async fn delete_object(&self) -> Result<Fact, PassError> {
        let preconditions =
            Preconditions { uid: self.pad.uid(), resource_version: self.pad.resource_version() };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match with_timeout(self.api().delete(&self.state.pad.name, &parameters)).await {
            Ok(_) => {}
            Err(error) if is_status(&error, 404) => {}
            Err(error) if is_status(&error, 409) => return Err(PassError::Conflict),
            Err(error) => return Err(cluster(WriteError::Api(Box::new(error)))),
        }
        tracing::info!(pad = %self.state.pad.name, namespace = %self.state.pad.namespace, "deleted Pad after TTL");
        Ok(Fact::Done)
    }

    /// Keeps a version from the API server for the event of the command.
    fn refresh_stored(&mut self, pad: Pad) {
        self.context.memory.record_written(&pad);
        let stored = engine::observe::stored_pad(&pad, self.configuration.as_deref());
        self.stored = Some(StoredVersion {
            create_outcome: observe::flight(&self.key, &stored, self.context),
            write_claim: observe::claimed(&self.key, &stored, self.context),
            pad: stored,
        });
        self.pad = Arc::new(pad);
    }

    /// Returns the last known version of the Pad, also within a command that has written it.
    fn stored_pad(&self) -> &StoredPad {
        self.stored.as_ref().map_or(&self.state.pad, |stored| &stored.pad)
    }

    /// Reads the candidate, as part of a batch if the Pad is registered for one.
    async fn read_opportunity(&mut self) -> Result<Fact, PassError> {
        let demand = self.demand.take();
        let (shared, lever) = (demand.is_some(), &self.account()?.lever);
        let answer = match demand {
            Some(demand) => demand.read(lever).await,
            None => lever.opportunity(&self.state.pad.opportunity_id).await,
        };
        Ok(Fact::Candidate { answer: answer.map(Box::new), shared })
    }

    async fn read_pad(&self, id: &str) -> Result<Fact, PassError> {
        Ok(Fact::Pad(self.account()?.interview.pad(id).await.map(Box::new)))
    }

    /// Stores on the configuration whether CoderPad refuses to create take-homes for its spec.
    async fn store_refusal(&mut self, refused: bool) -> Result<Fact, PassError> {
        let generation = self.configuration.as_ref().and_then(|one| one.metadata.generation);
        self.write_configuration(|status| {
            status.take_home_refused_generation = generation.filter(|_| refused);
        })
        .await?;
        Ok(Fact::Done)
    }

    /// Stores on the configuration that these stage entries of the candidate were served.
    async fn store_served(&mut self, entries: &[Timestamp]) -> Result<Fact, PassError> {
        let id = self.state.pad.opportunity_id.clone();
        let added = entries.iter().map(|entry| Fingerprint::new(&id, *entry));
        self.write_configuration(|status| {
            status.served_entries = served_stage_entries::add(status.served_entries.as_deref(), added);
        })
        .await?;
        Ok(Fact::Done)
    }

    /// Changes the current status of the Pad's configuration. A deleted configuration is ignored.
    async fn write_configuration(
        &self,
        change: impl FnOnce(&mut PadConfigurationStatus),
    ) -> Result<(), PassError> {
        let api: Api<PadConfiguration> =
            Api::namespaced(self.context.client.clone(), &self.state.pad.namespace);
        let now = with_timeout(api.get_opt(&self.state.pad.configuration)).await;
        let Some(now) = now.map_err(|error| PassError::Cluster { message: error.to_string() })? else {
            return Ok(());
        };
        let before = now.status.clone().unwrap_or_default();
        let mut after = before.clone();
        change(&mut after);
        match write_status(&self.context.client, &now, &before, &after).await {
            Ok(_) | Err(WriteError::Gone) => Ok(()),
            Err(error) => Err(cluster(error)),
        }
    }

    async fn read_linked_pads(&self, ids: &[String]) -> Result<Fact, PassError> {
        let interview = &self.account()?.interview;
        let mut answers = Vec::new();
        for id in ids {
            let answer = interview.pad(id).await;
            let stops = stops_reading(&answer);
            answers.push((id.clone(), answer));
            if stops {
                break;
            }
        }
        Ok(Fact::LinkedPads(answers))
    }

    /// Creates the next Pad of the series. An existing one counts as created.
    async fn create_next_pad(&mut self, n: u32) -> Result<Fact, PassError> {
        let Some(configuration) = self.configuration.clone() else { return Err(PassError::Conflict) };
        let asked = names::reconcile_requested_at(self.pad.as_ref()).filter(|_| self.state.pad.requested);
        let delivered =
            asked.and_then(|asked| Timestamp::from_millisecond(names::delivered_at(&asked)?).ok());
        let source = if delivered.is_some() { TriggerSource::Webhook } else { TriggerSource::Sync };
        let trigger = Trigger { source, at: Some(delivered.unwrap_or_else(schedule::now)) };
        let opportunity_id = &self.state.pad.opportunity_id;
        let further = |n| pad_builder::pad(&configuration, opportunity_id, n, trigger.clone());
        match crate::k8s::pads::store(&self.api(), n, further).await {
            Ok(Some(_)) => Ok(Fact::Done),
            Ok(None) => {
                Err(PassError::Cluster { message: "the name of the next Pad is not free yet".into() })
            }
            Err(error) => Err(PassError::Cluster { message: error.to_string() }),
        }
    }
}

fn cluster(error: WriteError) -> PassError {
    if let Some(answer) = refusal(&error) {
        return PassError::Refused { answer };
    }
    match error {
        WriteError::Conflict { .. } => PassError::Conflict,
        WriteError::Gone | WriteError::Api(_) | WriteError::Json(_) => {
            PassError::Cluster { message: error.to_string() }
        }
    }
}
