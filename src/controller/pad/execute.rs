//! Executes the commands of the rules: all calls to services and all writes to the Pad's metadata.
//!
//! A request may take effect although its response is lost. Each one is therefore either idempotent, or preceded by a
//! write that allows a later pass to detect the outcome: in `create_pad` for the pad, in `write_back` for the link and
//! the note.

mod create_pad;
mod write_back;
mod yielding;

use super::candidate_loader::Ticket;
use super::observe;
use crate::coderpad::PadRecord;
use crate::controller::service_clients::ServiceClients;
use crate::controller::{Context, schedule};
use crate::k8s::patch::{MetadataChange, WriteError, refusal, write_metadata, write_status};
use crate::k8s::with_timeout;
use crate::telemetry::traces::span_definitions;
use crate::transport::{ErrorKind, SendDeadline};
use api::configuration::{PadConfiguration, PadConfigurationStatus};
use api::names;
use api::pad::{Pad, Trigger, TriggerSource};
use api::pad_builder;
use api::served_stage_entries::{self, Fingerprint};
use engine::command::Command;
use engine::event::{Event, Fact, StoredVersion};
use engine::hints::Hint;
use engine::pad_changes;
use engine::question::question_problem;
use engine::state::{CandidateLookup, NoteLookup, PadState, PassError, StoredPad};
use jiff::Timestamp;
use kube::Api;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

/// Delay before a negative answer is read again: the services are eventually consistent.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// Maximum number of links of a candidate that are searched for a pad of ours.
const LINKS_READ: usize = 20;

/// One pass over a Pad: the current object and the observed state.
pub struct PadReconcile<'a> {
    /// The leader's context.
    pub context: &'a Context,
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
            Command::ReadPad(id) => Ok(Fact::Pad(self.read_pad(id).await?)),
            Command::ReadLinkedPads(ids) => {
                // The newest links are last: Lever appends.
                let newest: Vec<String> = ids.iter().rev().take(LINKS_READ).cloned().collect();
                Ok(Fact::LinkedPads(self.read_linked_pads(newest).await?))
            }
            Command::ReadKindAgain(id) => {
                tokio::time::sleep(READ_AGAIN_AFTER).await;
                Ok(Fact::Pad(self.read_pad(id).await?))
            }
            Command::StoreRefusal { refused } => self.store_refusal(*refused).await,
            Command::StoreServed(entries) => self.store_served(entries).await,
            Command::Create { reference, pad } => self.create(reference, pad).await,
            Command::Search { reference } => self.search(reference).await,
            Command::StorePad { record, keep_finalizer, claim_link } => {
                let departure = if *claim_link { Some(self.acquire_send_deadline().await?) } else { None };
                self.store(record, *keep_finalizer, departure).await
            }
            Command::ClearAttempt => self.clear_attempt(self.state.pad.attempt.clone()).await,
            Command::Claim(effect) => self.claim(*effect).await,
            Command::AddLink(url) => self.add_link(url).await,
            Command::AddTags(tags) => {
                let answer = self.account()?.lever.add_tags(&candidate, tags).await;
                self.lever_write(answer).await
            }
            Command::RemoveTags(tags) => {
                let answer = self.account()?.lever.remove_tags(&candidate, tags).await;
                self.lever_write(answer).await
            }
            Command::ReadNotes { reference } => {
                let notes = self.account()?.lever.notes(&candidate).await.map_err(PassError::Service)?;
                let unreadable = notes.unreadable();
                let found = notes
                    .notes
                    .into_iter()
                    .find(|note| note.values.iter().any(|value| reference.is_of_note(value)));
                match (found, unreadable) {
                    (Some(note), _) => Ok(Fact::Note(NoteLookup::Written(note.id))),
                    // An unreadable note may be the searched one (contract X9).
                    (None, Some(unreadable)) => Err(PassError::Service(unreadable)),
                    (None, None) => Ok(Fact::Note(NoteLookup::Absent)),
                }
            }
            Command::AddNote(text) => self.add_note(text).await,
            Command::ReadEvents(id) => {
                let events = self.account()?.interview.pad_events(id).await;
                Ok(Fact::Events(events.map_err(PassError::Service)?))
            }
            Command::ReadCode(ids) => {
                let mut code = Vec::new();
                for id in ids {
                    match self.account()?.interview.environment(*id).await {
                        Ok(environment) => code.push(environment),
                        // A file that CoderPad does not return must not prevent the note (contract E3).
                        Err(error) if matches!(error.class, ErrorKind::NotFound | ErrorKind::Invalid) => {}
                        Err(error) => return Err(PassError::Service(error)),
                    }
                }
                Ok(Fact::Code(code))
            }
            Command::CheckQuestion { question, type_ } => {
                // The refusal remains, whatever the result.
                let asked = self.account()?.interview.question(*question).await;
                Ok(Fact::QuestionProblem(asked.ok().and_then(|asked| question_problem(&asked, *type_))))
            }
            Command::EndPad(id) => {
                self.account()?.interview.end_pad(id).await.map_err(PassError::Service)?;
                tracing::info!(pad = %self.state.pad.name, namespace = %self.state.pad.namespace, "ended interview in CoderPad");
                Ok(Fact::Done)
            }
            Command::RemoveLink(url) => {
                let answer = self.account()?.lever.remove_links(&candidate, std::slice::from_ref(url)).await;
                self.lever_write(answer).await
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
                self.context.hints.request(&self.state.pad.namespace, name, Hint::Judge);
                Ok(Fact::Done)
            }
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

    fn api(&self) -> Api<Pad> {
        Api::namespaced(self.context.client.clone(), &self.state.pad.namespace)
    }

    /// Writes metadata of the Pad and stores the resulting object.
    async fn write(&mut self, change: MetadataChange) -> Result<(), WriteError> {
        let written = write_metadata(&self.context.client, self.pad.as_ref(), &change).await;
        if let Err(WriteError::Conflict { now }) = &written {
            // No retry before the watch delivers the conflicting version.
            self.context.write_tracker.record_version(&self.pad, now.as_deref());
        }
        let written = written?;
        self.refresh_stored(written);
        Ok(())
    }

    /// Keeps a version from the API server for the event of the command.
    fn refresh_stored(&mut self, pad: Pad) {
        self.context.write_tracker.record(&pad);
        let stored = engine::observe::stored_pad(&pad, self.configuration.as_deref());
        self.stored = Some(StoredVersion {
            create_outcome: observe::flight(&stored, self.context),
            write_claim: observe::claimed(&stored, self.context),
            pad: stored,
        });
        self.pad = Arc::new(pad);
    }

    /// Returns the last known version of the Pad, also within a command that has written it.
    fn stored_pad(&self) -> &StoredPad {
        self.stored.as_ref().map_or(&self.state.pad, |stored| &stored.pad)
    }

    /// Reads the candidate. A 404 has irreversible consequences, so it is confirmed by a second read (contract P7b).
    /// After a webhook, the rules do that with their own delays (contract P7a).
    async fn read_opportunity(&mut self) -> Result<Fact, PassError> {
        let demand = self.demand.take();
        let shared = demand.is_some();
        let lever = &self.account()?.lever;
        let mut read = match demand {
            Some(demand) => demand.read(lever).await,
            None => lever.opportunity(&self.state.pad.opportunity_id).await,
        };
        let is_read_later = self.state.event.is_some_and(|event| event.read_again_in.is_some());
        if read.as_ref().is_err_and(|error| error.class == ErrorKind::NotFound) && !is_read_later {
            tokio::time::sleep(READ_AGAIN_AFTER).await;
            read = lever.opportunity(&self.state.pad.opportunity_id).await;
        }
        let lookup = match read {
            Ok(opportunity) => CandidateLookup::Read(Box::new(opportunity)),
            Err(error) if error.class == ErrorKind::NotFound => CandidateLookup::NotFound,
            Err(error) if error.class == ErrorKind::Forbidden => {
                // If the key can read another opportunity, only this one is refused (contract P2b).
                match lever.any_opportunity().await.map_err(PassError::Service)? {
                    Some(other) if other != self.state.pad.opportunity_id => {
                        match lever.opportunity(&other).await {
                            Ok(_) => CandidateLookup::Refused,
                            // Deleted since it was listed: inconclusive.
                            Err(gone) if gone.class == ErrorKind::NotFound => {
                                return Err(PassError::Service(error));
                            }
                            Err(other) => return Err(PassError::Service(other)),
                        }
                    }
                    _ => return Err(PassError::Service(error)),
                }
            }
            Err(error) => return Err(PassError::Service(error)),
        };
        Ok(Fact::Candidate { lookup, shared })
    }

    /// Reads a pad. A 404 is confirmed by a second read, as for the candidate.
    async fn read_pad(&self, id: &str) -> Result<Option<PadRecord>, PassError> {
        let interview = &self.account()?.interview;
        let mut read = interview.pad(id).await;
        if read.as_ref().is_err_and(|error| error.class == ErrorKind::NotFound) {
            tokio::time::sleep(READ_AGAIN_AFTER).await;
            read = interview.pad(id).await;
        }
        match read {
            Ok(record) => Ok(Some(record)),
            Err(error) if error.class == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(PassError::Service(error)),
        }
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

    /// Reads the pads behind links, which anyone may have added to the candidate: a pad that the key may not read is
    /// not ours. Missing ones are read once more, all after one delay.
    async fn read_linked_pads(&self, ids: Vec<String>) -> Result<Vec<PadRecord>, PassError> {
        let interview = &self.account()?.interview;
        let (mut records, mut missing) = (Vec::new(), ids);
        for attempt in 0..2 {
            if attempt > 0 && !missing.is_empty() {
                tokio::time::sleep(READ_AGAIN_AFTER).await;
            }
            for id in std::mem::take(&mut missing) {
                match interview.pad(&id).await {
                    Ok(record) => records.push(record),
                    Err(error) if error.class == ErrorKind::NotFound => missing.push(id),
                    Err(error) if matches!(error.class, ErrorKind::Forbidden | ErrorKind::Invalid) => {}
                    Err(error) => return Err(PassError::Service(error)),
                }
            }
        }
        Ok(records)
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
