//! Does what the plan says: every call to a service and every write to the Pad's metadata.
//!
//! Each effect may take place and its answer be lost. So each is either safe to repeat, or preceded by a write that
//! lets whoever comes later find out.

use super::facts::{Candidate, Claimed, ConnectionFacts, Facts, Flight, NoteFacts, Record, Trouble};
use super::flights::{LEAVES_WITHIN, agree, shows_within};
use super::looks::What;
use super::observe;
use super::plan::Step;
use super::readings::Demand;
use crate::api::configuration::PadConfiguration;
use crate::api::names::{self, Attempt, Claim, Effect, Reference};
use crate::api::pad::{Pad, Trigger, TriggerSource};
use crate::cluster::in_time;
use crate::cluster::writes::{MetadataChange, WriteError, write_metadata};
use crate::controller::accounts::Account;
use crate::controller::allowance::{Refusal, Wanted};
use crate::controller::metrics::Origin;
use crate::controller::{Context, pace};
use crate::interview::{CreateError, InterviewClient, NewPad, PadRecord, PadSort};
use crate::lever::Opportunity;
use crate::making;
use crate::rules;
use crate::telemetry::traces::spans;
use crate::transport::{self, Class, Departure, Permit};
use jiff::{Timestamp, ToSpan};
use kube::{Api, ResourceExt};
use std::sync::Arc;
use tokio::time::Instant;
use tracing::Instrument;

/// How far the clocks of two replicas, and CoderPad's, may differ: so much further back a search goes.
const CLOCK_SKEW_MINUTES: i64 = 10;
/// At most so many pages of 50 pads are searched; more pads than that in ten minutes there are not.
const SEARCH_PAGES: usize = 1000;
/// Most links of a candidate that are looked at for a pad of ours.
const LINKS_READ: usize = 20;
/// How often the storing of a result is tried again at once when somebody else changed the Pad.
const STORE_TRIES: usize = 5;

/// One Pad in the hands of one pass: the object as it is now, and what is known.
pub struct Pass<'a> {
    /// The leader's context.
    pub context: &'a Context,
    /// The Pad, as last read or written.
    pub pad: Arc<Pad>,
    /// Its configuration.
    pub configuration: Option<Arc<PadConfiguration>>,
    /// The services of its connection.
    pub account: Option<Arc<Account>>,
    /// Its place among those that wait to hear of their candidates.
    pub demand: Option<Demand>,
    /// The right to make the write to Lever that this pass has claimed.
    pub departure: Option<Departure>,
    /// The pad that this pass has made at CoderPad.
    pub made: Option<String>,
    /// What is known.
    pub facts: Facts,
}

impl Pass<'_> {
    /// Does one step, and notes what came of it.
    pub async fn act(&mut self, step: Step) {
        let span = spans::step(step.name());
        if let Err(trouble) = self.try_to(step).instrument(span.clone()).await {
            span.record("otel.status_code", "error");
            self.facts.trouble = Some(trouble);
        }
    }

    async fn try_to(&mut self, step: Step) -> Result<(), Trouble> {
        match step {
            Step::Rest { .. } => Ok(()),
            Step::ReadOpportunity => self.read_opportunity().await,
            Step::ReadPad(id) => {
                self.facts.record = self
                    .read_pad(&id)
                    .await?
                    .map_or(Record::NotFound, |record| Record::Read(Box::new(record)));
                Ok(())
            }
            Step::ReadLinkedPads(ids) => {
                let mut records = Vec::new();
                for id in ids.into_iter().take(LINKS_READ) {
                    records.extend(self.read_linked_pad(&id).await?);
                }
                self.facts.linked_before = Some(records);
                Ok(())
            }
            Step::Create { reference, pad } => self.create(reference, &pad).await,
            Step::Search { reference } => self.search(&reference).await,
            Step::StorePad { record, keep_finalizer, claim_link } => {
                let departure = if claim_link { Some(self.departure().await?) } else { None };
                self.store(*record, keep_finalizer, departure).await
            }
            Step::ForgetAttempt => self.forget_attempt().await,
            Step::Claim(effect) => self.claim(effect).await,
            Step::AddLink(url) => self.add_link(url).await,
            Step::AddTags(tags) => {
                let changed = self.account()?.lever.add_tags(&self.facts.pad.opportunity_id, &tags).await;
                self.facts.tags_written.extend(tags);
                self.after_lever_write(changed)
            }
            Step::RemoveTags(tags) => {
                let changed = self.account()?.lever.remove_tags(&self.facts.pad.opportunity_id, &tags).await;
                self.facts.tags_written.extend(tags);
                self.after_lever_write(changed)
            }
            Step::ReadNotes { reference } => {
                let notes = self.account()?.lever.notes(&self.facts.pad.opportunity_id).await;
                let notes = notes.map_err(Trouble::Service)?;
                let found = notes
                    .into_iter()
                    .find(|note| note.values.iter().any(|value| reference.is_of_note(value)));
                self.facts.note = found.map_or(NoteFacts::Absent, |note| NoteFacts::Written(note.id));
                Ok(())
            }
            Step::AddNote(text) => self.add_note(&text).await,
            Step::ReadEvents(id) => {
                let events = self.account()?.interview.pad_events(&id).await;
                self.facts.events = Some(events.map_err(Trouble::Service)?);
                Ok(())
            }
            Step::ReadCode(ids) => {
                let mut code = Vec::new();
                for id in ids {
                    code.push(self.account()?.interview.environment(id).await.map_err(Trouble::Service)?);
                }
                self.facts.code = Some(code);
                Ok(())
            }
            Step::AskWhetherFits { question, type_ } => {
                // The refusal stands, whatever comes of this.
                let asked = self.account()?.interview.question(question).await;
                self.facts.misfit = Some(asked.ok().and_then(|asked| rules::misfit(&asked, type_)));
                Ok(())
            }
            Step::EndPad(id) => {
                self.account()?.interview.end_pad(&id).await.map_err(Trouble::Service)?;
                tracing::info!(pad = %self.facts.pad.name, namespace = %self.facts.pad.namespace, "an interview was ended at CoderPad");
                self.facts.end_asked = true;
                // It answers without the pad.
                self.facts.record = Record::NotRead;
                Ok(())
            }
            Step::RemoveLink(url) => {
                let changed =
                    self.account()?.lever.remove_links(&self.facts.pad.opportunity_id, &[url]).await;
                self.facts.link_removed = changed.is_ok();
                self.after_lever_write(changed)
            }
            Step::DeletePad(id) => {
                self.account()?.interview.delete_pad(&id).await.map_err(Trouble::Service)?;
                tracing::info!(pad = %self.facts.pad.name, namespace = %self.facts.pad.namespace, "a pad was deleted at CoderPad");
                if let Flight::Searched(found) = &mut self.facts.flight {
                    found.retain(|record| record.id != id);
                }
                self.facts.deleted.push(id);
                Ok(())
            }
            Step::MakeFurther(n) => self.make_further(n).await,
            Step::PassOn(name) => {
                self.context.looks.want(&self.facts.pad.namespace, &name, What::Judge);
                self.facts.passed_on = true;
                Ok(())
            }
            Step::SetFinalizer(present) => self
                .write(MetadataChange::default().finalizer(names::FINALIZER, present))
                .await
                .map_err(cluster),
        }
    }

    fn account(&self) -> Result<&Account, Trouble> {
        self.account
            .as_deref()
            .ok_or_else(|| Trouble::Cluster { message: "the connection is not ready".into() })
    }

    fn api(&self) -> Api<Pad> {
        Api::namespaced(self.context.client.clone(), &self.facts.pad.namespace)
    }

    /// Writes metadata of the Pad and takes over what it is then.
    async fn write(&mut self, change: MetadataChange) -> Result<(), WriteError> {
        let written = write_metadata(&self.api(), self.pad.as_ref(), &change).await;
        if let Err(WriteError::Conflict { now }) = &written {
            // Nothing is tried again before the watch has told of what is there.
            self.context.written.note_version(&self.pad, now.as_deref());
        }
        let written = written?;
        self.take_over(written);
        Ok(())
    }

    fn take_over(&mut self, pad: Pad) {
        self.context.written.note(&pad);
        let before = (self.facts.pad.attempt.take(), self.facts.pad.open_claim());
        self.facts.pad = observe::pad_facts(&pad, self.configuration.as_deref());
        self.pad = Arc::new(pad);
        // What another process has written meanwhile may be under way.
        if self.facts.pad.attempt != before.0 {
            self.facts.flight = observe::flight(&self.facts.pad, self.context);
        }
        if self.facts.pad.open_claim() != before.1 {
            self.facts.claimed = observe::claimed(&self.facts.pad, self.context);
        }
    }

    async fn read_opportunity(&mut self) -> Result<(), Trouble> {
        let demand = self.demand.take();
        let lever = &self.account()?.lever;
        let read = match demand {
            Some(demand) => demand.read(lever).await,
            None => lever.opportunity(&self.facts.pad.opportunity_id).await,
        };
        self.facts.opportunity = match read {
            Ok(opportunity) => Candidate::Read(Box::new(opportunity)),
            Err(error) if error.class == Class::NotFound => Candidate::NotFound,
            Err(error) if error.class == Class::Forbidden => {
                // Refused for this one, or for all? A key that may read another one lacks no permission.
                match lever.any_opportunity().await.map_err(Trouble::Service)? {
                    Some(other) if other != self.facts.pad.opportunity_id => {
                        match lever.opportunity(&other).await {
                            Ok(_) => Candidate::Refused,
                            // Gone since it was listed: nothing can be concluded now.
                            Err(gone) if gone.class == Class::NotFound => {
                                return Err(Trouble::Service(error));
                            }
                            Err(other) => return Err(Trouble::Service(other)),
                        }
                    }
                    _ => return Err(Trouble::Service(error)),
                }
            }
            Err(error) => return Err(Trouble::Service(error)),
        };
        Ok(())
    }

    async fn read_pad(&self, id: &str) -> Result<Option<PadRecord>, Trouble> {
        match self.account()?.interview.pad(id).await {
            Ok(record) => Ok(Some(record)),
            Err(error) if error.class == Class::NotFound => Ok(None),
            Err(error) => Err(Trouble::Service(error)),
        }
    }

    /// A pad behind a link that anybody may have put on the candidate: one that the key may not see is not ours.
    async fn read_linked_pad(&self, id: &str) -> Result<Option<PadRecord>, Trouble> {
        match self.read_pad(id).await {
            Err(Trouble::Service(error)) if matches!(error.class, Class::Forbidden | Class::Invalid) => {
                Ok(None)
            }
            other => other,
        }
    }

    /// The rate limit's token, the intention, the request: in this order, and the request within 10 s or not at all.
    async fn create(&mut self, reference: Reference, new: &NewPad) -> Result<(), Trouble> {
        let interview = self.account()?.interview.clone();
        let permit = interview.permit().await;
        let (allowances, namespace) = (&self.context.allowances, self.facts.pad.namespace.clone());
        let ConnectionFacts::Ready { name, pads_left, per_hour, hour_full, .. } = &mut self.facts.connection
        else {
            return Ok(());
        };
        let (connection, now) = (name.clone(), Timestamp::now());
        let wanted = Wanted {
            pad: self.pad.uid().unwrap_or_default(),
            remaining: *pads_left,
            per_hour: *per_hour,
            made: per_hour
                .map(|_| observe::made_lately(&namespace, name, self.context, now))
                .unwrap_or_default(),
        };
        let taken = match allowances.take(&namespace, name, wanted, now) {
            Ok(taken) => taken,
            // Others were faster; the plan says what follows.
            Err(Refusal::Quota) => {
                *pads_left = Some(0);
                return Ok(());
            }
            Err(Refusal::Hour(full)) => {
                *hour_full = Some(full);
                return Ok(());
            }
        };
        let created = self.create_once(&interview, permit, reference, new).await;
        let is_certain_that_none = !matches!(created, Ok(()) | Err(Trouble::CreateOutcomeUnknown(_)));
        if is_certain_that_none {
            allowances.give_back(&namespace, &connection, taken);
        }
        created
    }

    async fn create_once(
        &mut self,
        interview: &InterviewClient,
        permit: Permit,
        reference: Reference,
        new: &NewPad,
    ) -> Result<(), Trouble> {
        let leave_by = Instant::now() + LEAVES_WITHIN;
        let attempt = Attempt::new(reference, Timestamp::now());
        let intention = MetadataChange::default()
            .annotate(names::ATTEMPT, attempt.to_string())
            .finalizer(names::FINALIZER, true);
        self.write(intention).await.map_err(cluster)?;
        match interview.create_pad(Departure { permit, leave_by }, new).await {
            Ok(record) => {
                tracing::info!(pad = %self.facts.pad.name, namespace = %self.facts.pad.namespace, "a pad was created at CoderPad");
                self.made = Some(record.id.clone());
                self.facts.record = Record::Read(Box::new(record));
                Ok(())
            }
            Err(CreateError::NotSent(error) | CreateError::Refused(error)) => {
                self.context.flights.without_effect(&attempt.to_string());
                // If this write fails the next pass does it again; the memory above spares it the search.
                self.forget_attempt().await.ok();
                Err(Trouble::Service(error))
            }
            Err(CreateError::OutcomeUnknown(error)) => {
                self.context.metrics.outcome_unknown();
                self.context.flights.ended(&attempt.to_string(), self.context.settings.list_lag);
                Err(Trouble::CreateOutcomeUnknown(error))
            }
        }
    }

    /// Two walks over the newest pads, down to the time of the intention.
    async fn search(&mut self, reference: &Reference) -> Result<(), Trouble> {
        let since = self.facts.pad.attempt.as_ref().and_then(|attempt| attempt.at.parse::<Timestamp>().ok());
        let since = since.and_then(|at| at.checked_sub(CLOCK_SKEW_MINUTES.minutes()).ok());
        let first = self.walk(reference, since).await?;
        let second = self.walk(reference, since).await?;
        let found = agree(first, second).ok_or_else(|| Trouble::Cluster {
            message: "two walks over CoderPad's pads did not agree".into(),
        })?;
        tracing::info!(
            pad = %self.facts.pad.name, namespace = %self.facts.pad.namespace, found = found.len(),
            "searched CoderPad's newest pads for one whose creation was not answered"
        );
        self.facts.flight = Flight::Searched(found);
        Ok(())
    }

    async fn walk(&self, reference: &Reference, since: Option<Timestamp>) -> Result<Vec<PadRecord>, Trouble> {
        let interview = &self.account()?.interview;
        let mut found = Vec::new();
        let mut next = None;
        for _ in 0..SEARCH_PAGES {
            let page = interview
                .organization_pads(next.as_ref(), PadSort::Created)
                .await
                .map_err(Trouble::Service)?;
            let reached =
                page.pads.last().is_some_and(|oldest| since.is_some_and(|since| oldest.created_at < since));
            found.extend(page.pads.into_iter().filter(|record| {
                !record.is_deleted() && Reference::of_notes(&record.notes).as_ref() == Some(reference)
            }));
            next = page.next;
            if reached || next.is_none() {
                return Ok(found);
            }
        }
        Err(Trouble::Cluster { message: "CoderPad's list of pads has no end".into() })
    }

    /// The right to make one write to Lever, right after the write to the Pad that claims it.
    async fn departure(&self) -> Result<Departure, Trouble> {
        let permit = self.account()?.lever.permit().await;
        Ok(Departure { permit, leave_by: Instant::now() + LEAVES_WITHIN })
    }

    /// Stores the id. Whoever else changed the Pad meanwhile has not changed whose pad this is.
    async fn store(
        &mut self,
        record: PadRecord,
        keep_finalizer: bool,
        departure: Option<Departure>,
    ) -> Result<(), Trouble> {
        let attempt = self.facts.pad.attempt.clone();
        for _ in 0..STORE_TRIES {
            // A Pad that is being deleted must stay until it is settled what becomes of its pad.
            let change = MetadataChange::default()
                .annotate(names::PAD_ID, &record.id)
                .finalizer(names::FINALIZER, keep_finalizer || self.facts.pad.deleting)
                .exclusively();
            match self.write(change).await {
                Ok(()) => {
                    let is_new = self.made.as_ref() == Some(&record.id);
                    self.context.metrics.stored(if is_new { Origin::Created } else { Origin::Adopted });
                    if let Some(attempt) = &attempt {
                        self.context.flights.forget(&attempt.to_string());
                    }
                    // Until it leaves, nothing is under way.
                    self.context.flights.without_effect(&record.id);
                    self.departure = departure;
                    self.facts.claimed =
                        if self.departure.is_some() { Claimed::Ours(Effect::Link) } else { Claimed::Nothing };
                    self.facts.record = Record::Read(Box::new(record));
                    return Ok(());
                }
                Err(WriteError::Conflict { .. }) => {
                    let now = in_time(self.api().get_opt(&self.facts.pad.name)).await;
                    let now = now.map_err(|error| Trouble::Cluster { message: error.to_string() })?;
                    let Some(now) = now.filter(|now| now.uid() == self.pad.uid()) else {
                        return Err(cluster(WriteError::Gone));
                    };
                    self.take_over(now);
                    if self.facts.pad.attempt == attempt && self.facts.pad.pad_id.as_ref() == Some(&record.id)
                    {
                        // By us, or by another process that is about to add the link: it is waited out.
                        self.facts.claimed = observe::claimed(&self.facts.pad, self.context);
                        self.facts.record = Record::Read(Box::new(record));
                        return Ok(());
                    }
                    if self.facts.pad.attempt != attempt || self.facts.pad.pad_id.is_some() {
                        return Err(Trouble::Conflict);
                    }
                }
                Err(error) => return Err(cluster(error)),
            }
        }
        Err(Trouble::Conflict)
    }

    async fn forget_attempt(&mut self) -> Result<(), Trouble> {
        let attempt = self.facts.pad.attempt.clone();
        let change = MetadataChange::default()
            .remove_annotation(names::ATTEMPT)
            .finalizer(names::FINALIZER, self.facts.pad.owes(self.facts.pad.failed_tag.as_ref()));
        self.write(change).await.map_err(cluster)?;
        if let Some(attempt) = &attempt {
            self.context.flights.forget(&attempt.to_string());
        }
        Ok(())
    }

    /// Makes the next Pad of the series; one that is there already is the one that was to be made.
    async fn make_further(&mut self, n: u32) -> Result<(), Trouble> {
        let Some(configuration) = self.configuration.clone() else { return Err(Trouble::Conflict) };
        let asked = names::reconcile_requested_at(self.pad.as_ref()).filter(|_| self.facts.pad.requested);
        let delivered =
            asked.and_then(|asked| Timestamp::from_millisecond(names::delivered_at(&asked)?).ok());
        let source = if delivered.is_some() { TriggerSource::Webhook } else { TriggerSource::Sync };
        let trigger = Trigger { source, at: Some(delivered.unwrap_or_else(pace::now)) };
        let opportunity_id = &self.facts.pad.opportunity_id;
        let further = |n| making::pad(&configuration, opportunity_id, n, trigger.clone());
        match making::store(&self.api(), n, further).await {
            Ok(Some(_)) => {
                self.facts.passed_on = true;
                Ok(())
            }
            Ok(None) => Err(Trouble::Cluster { message: "the name of the next Pad is not free yet".into() }),
            Err(error) => Err(Trouble::Cluster { message: error.to_string() }),
        }
    }

    /// Claims a write to Lever: of two processes only one succeeds, and only it may send.
    async fn claim(&mut self, effect: Effect) -> Result<(), Trouble> {
        let departure = self.departure().await?;
        let claim = Claim::new(effect, Timestamp::now());
        let mut change = MetadataChange::default().annotate(names::CLAIM, claim.to_string());
        if effect == Effect::Link {
            change = change.finalizer(names::FINALIZER, true);
        }
        self.write(change).await.map_err(cluster)?;
        self.context.flights.without_effect(&claim.to_string());
        self.departure = Some(departure);
        self.facts.claimed = Claimed::Ours(effect);
        Ok(())
    }

    /// The departure of the write that was claimed, once, and its mark.
    fn depart(&mut self) -> Result<(Departure, String), Trouble> {
        let mark = self.facts.pad.open_claim().map(|(_, mark)| mark);
        self.facts.claimed = Claimed::Nothing;
        self.departure
            .take()
            .zip(mark)
            .ok_or_else(|| Trouble::Cluster { message: "a write to Lever was not claimed".into() })
    }

    /// Remembers what may still become of a claimed write whose answer is missing.
    fn arrived<T>(&self, effect: Effect, mark: &str, answer: &Result<T, transport::Error>) {
        if answer.as_ref().is_err_and(|error| error.class == Class::OutcomeUnknown) {
            self.context.flights.ended(mark, shows_within(effect));
        }
    }

    async fn add_link(&mut self, url: String) -> Result<(), Trouble> {
        let (departure, mark) = self.depart()?;
        let changed =
            self.account()?.lever.add_links(departure, &self.facts.pad.opportunity_id, &[url]).await;
        self.facts.link_written = changed.is_ok();
        self.arrived(Effect::Link, &mark, &changed);
        self.after_lever_write(changed)
    }

    async fn add_note(&mut self, text: &str) -> Result<(), Trouble> {
        let (departure, mark) = self.depart()?;
        let added = self.account()?.lever.add_note(departure, &self.facts.pad.opportunity_id, text).await;
        self.arrived(Effect::Note, &mark, &added);
        self.facts.note = NoteFacts::Written(added.map_err(Trouble::Service)?);
        Ok(())
    }

    /// Lever answers a write with the whole opportunity.
    fn after_lever_write(&mut self, changed: Result<Opportunity, transport::Error>) -> Result<(), Trouble> {
        self.facts.opportunity = match changed {
            Ok(opportunity) => Candidate::Read(Box::new(opportunity)),
            Err(error) if error.class == Class::NotFound => Candidate::NotFound,
            Err(error) => return Err(Trouble::Service(error)),
        };
        Ok(())
    }
}

fn cluster(error: WriteError) -> Trouble {
    match error {
        WriteError::Conflict { .. } => Trouble::Conflict,
        WriteError::Gone | WriteError::Api(_) | WriteError::Json(_) => {
            Trouble::Cluster { message: error.to_string() }
        }
    }
}
