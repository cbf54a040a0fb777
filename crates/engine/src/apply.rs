//! The only place where the state of a Pad grows during a pass: adds the event of a command.

use crate::command::Command;
use crate::event::{Event, Fact, StoredVersion, concerns_one_item};
use crate::question::question_problem;
use crate::state::{
    CandidateLookup, ConnectionState, CreateOutcome, NoteLookup, PadLookup, PadState, PassError, TtlState,
    Unconfirmed, UnconfirmedCandidate, UnconfirmedPad, WriteClaim,
};
use crate::tags::RefusedTag;
use services::coderpad::{Environment, PadRecord, QuestionRecord};
use services::lever::{LeverNote, Notes, Opportunity};
use services::{ErrorKind, ServiceError};

impl PadState {
    /// Adds the event of a command. Returns whether the command failed.
    pub fn apply(&mut self, command: &Command, event: Event) -> bool {
        if let Some(stored) = event.stored {
            self.take_stored(stored);
        }
        match command {
            // Each tag is sent once in a pass, whatever Lever answers.
            Command::AddTags(tags) | Command::RemoveTags(tags) => {
                self.tags_written.extend(tags.iter().cloned())
            }
            // A claim permits one request.
            Command::AddLink(_) | Command::AddNote(_) => self.write_claim = WriteClaim::Unclaimed,
            _ => {}
        }
        let is_refused = matches!(&event.result, Ok(Fact::LeverWrite { answer: Err(_) }));
        match event.result.and_then(|fact| self.take_fact(command, fact)) {
            Ok(()) => {
                if self.health.is_some() {
                    self.failure_tag_error = None;
                }
                is_refused
            }
            Err(error) => {
                self.fail(error);
                self.tolerate_refusal(command);
                true
            }
        }
    }

    /// Adds an error that ends the pass, or its second part: an error of `tags.failed` does not affect the Pad.
    pub fn fail(&mut self, error: PassError) {
        self.unconfirmed = Unconfirmed::default();
        match self.health {
            None => self.error = Some(error),
            Some(_) => self.failure_tag_error = Some(error),
        }
    }

    /// Clears the error of a command if the pass can continue without its effect: refused tags of an open pad (contract
    /// K4a), and a note that was refused with the code, which is sent again without it.
    fn tolerate_refusal(&mut self, command: &Command) {
        let Some(PassError::Service(error)) = self.error.as_ref().filter(|_| self.health.is_none()) else {
            return;
        };
        let is_over = matches!(&self.record, PadLookup::Read(record) if record.is_ended());
        let is_tolerated = match command {
            // After the end of the interview, the condition RecordAdded reports refused tags.
            Command::AddTags(_) | Command::RemoveTags(_) if self.pad.deleting || is_over => false,
            Command::AddTags(_) | Command::RemoveTags(_) => {
                let refused = RefusedTag::from_error(command, error);
                let is_refusal = refused.is_some();
                self.tags.refused = refused.or(self.tags.refused.take());
                is_refusal
            }
            Command::AddNote(_) => {
                let had_code = self.code.is_some() && !self.code_refused;
                self.code_refused |= had_code && error.class == ErrorKind::Invalid;
                had_code && self.code_refused
            }
            _ => false,
        };
        if is_tolerated {
            self.error = None;
        }
    }

    /// Adds a version of the Pad. A request of another process that has written meanwhile may be in flight.
    fn take_stored(&mut self, stored: StoredVersion) {
        let before = (self.pad.attempt.take(), self.pad.open_claim());
        self.pad = stored.pad;
        if self.pad.attempt != before.0 {
            self.create_outcome = stored.create_outcome;
            self.create_answered_5xx = false;
        }
        if self.pad.open_claim() != before.1 {
            self.write_claim = stored.write_claim;
        }
    }

    fn take_fact(&mut self, command: &Command, fact: Fact) -> Result<(), PassError> {
        match fact {
            Fact::Done => self.take_effect(command),
            Fact::Candidate { answer, shared } => return self.take_candidate(command, answer, shared),
            Fact::AnyOpportunity(id) => return self.take_any_opportunity(id),
            Fact::OtherOpportunity(answer) => return self.take_other_opportunity(answer),
            Fact::Pad(answer) => return self.take_record(command, answer),
            Fact::LinkedPads(answers) => return self.take_linked_pads(command, answers),
            Fact::NoQuota => {
                if let ConnectionState::Ready { pads_left, .. } = &mut self.connection {
                    *pads_left = Some(0);
                }
            }
            Fact::HourFull(full) => {
                if let ConnectionState::Ready { hour_full, .. } = &mut self.connection {
                    *hour_full = Some(full);
                }
            }
            Fact::Created { record, sent_at } => {
                self.create_answered_at = Some(sent_at);
                self.record = PadLookup::Read(record);
            }
            Fact::CreateRefused { error, sent_at } => {
                self.create_answered_at = Some(sent_at);
                return Err(PassError::Service(error));
            }
            Fact::NotFoundYet(outcome) => self.create_outcome = outcome,
            Fact::Found(found) => self.create_outcome = CreateOutcome::Searched(found),
            Fact::PadStored { write_claim } => {
                self.write_claim = write_claim;
                if let Command::StorePad { record, .. } = command {
                    self.record = PadLookup::Read(record.clone());
                }
            }
            Fact::LeverWrite { answer } => return self.take_lever_write(command, answer),
            Fact::Notes(notes) => return self.take_notes(command, notes),
            Fact::NoteAdded(id) => self.note = NoteLookup::Written(id),
            Fact::Events(events) => self.events = Some(events),
            Fact::Code(files) => return self.take_code(files),
            Fact::Question(answer) => self.take_question(command, answer),
        }
        Ok(())
    }

    /// Adds the effect of a command that returns nothing.
    fn take_effect(&mut self, command: &Command) {
        match command {
            Command::StoreRefusal { .. } => self.refusal_stored = true,
            Command::StoreServed(_) => self.served_stored = true,
            Command::CountFailedCreation(_) => self.failure_counted = true,
            Command::Claim(effect) => self.write_claim = WriteClaim::Owned(*effect),
            Command::EndPad(_) => {
                self.end_requested = true;
                // The response does not contain the pad.
                self.record = PadLookup::NotRead;
            }
            Command::DeletePad(id) => {
                // A pad that is deleted again counts in the hourly limit (contract P11).
                let attempt = self.pad.open_attempt().filter(|_| !self.pad.deleting);
                let attempted = attempt.and_then(|attempt| attempt.at.parse().ok());
                self.create_answered_at = self.create_answered_at.or(attempted);
                if let CreateOutcome::Searched(found) = &mut self.create_outcome {
                    found.retain(|record| record.id != *id);
                }
                self.deleted.push(id.clone());
            }
            Command::Yield(id) => self.ownership.yields_to.clone_from(id),
            Command::ClearPad => {
                self.ownership.yields_to = None;
                self.record = PadLookup::NotRead;
                self.create_outcome = CreateOutcome::NotSent;
            }
            Command::CreateNextPad(_) | Command::JudgeSibling(_) => self.sibling_requested = true,
            Command::DeleteObject => self.ttl = TtlState::Deleted,
            _ => {}
        }
    }

    /// Adds Lever's answer about the candidate. A 404 is confirmed by another read, except after a webhook: the rules
    /// then read again with their own delays (contract P7a).
    fn take_candidate(
        &mut self,
        command: &Command,
        answer: Result<Box<Opportunity>, ServiceError>,
        shared: bool,
    ) -> Result<(), PassError> {
        self.unconfirmed.candidate = None;
        let is_read_later = self.event.is_some_and(|event| event.read_again_in.is_some());
        let is_first = matches!(command, Command::ReadOpportunity) && !is_read_later;
        match answer {
            Ok(opportunity) => self.take_lookup(CandidateLookup::Read(opportunity), shared),
            Err(error) if error.class == ErrorKind::NotFound && is_first => {
                self.unconfirmed.candidate = Some(UnconfirmedCandidate::Missing);
                Ok(())
            }
            Err(error) if error.class == ErrorKind::NotFound => {
                self.take_lookup(CandidateLookup::NotFound, shared)
            }
            Err(error) if error.class == ErrorKind::Forbidden => {
                self.unconfirmed.candidate = Some(UnconfirmedCandidate::Forbidden { error, other: None });
                Ok(())
            }
            Err(error) => Err(PassError::Service(error)),
        }
    }

    /// Adds the confirmed result of reading the candidate. Lever's 404 to a write is an error, unless the candidate was
    /// deleted.
    fn take_lookup(&mut self, lookup: CandidateLookup, shared: bool) -> Result<(), PassError> {
        (self.opportunity, self.read_is_shared) = (lookup, shared);
        match self.unconfirmed.write.take() {
            Some(error) if !matches!(self.opportunity, CandidateLookup::NotFound) => {
                Err(PassError::Service(error))
            }
            _ => Ok(()),
        }
    }

    /// Adds the ID of any opportunity, read after a 403 for the candidate's. Without another one, the 403 may concern
    /// all.
    fn take_any_opportunity(&mut self, id: Option<String>) -> Result<(), PassError> {
        let Some(UnconfirmedCandidate::Forbidden { error, other }) = &mut self.unconfirmed.candidate else {
            return Ok(());
        };
        *other = id.filter(|id| *id != self.pad.opportunity_id);
        if other.is_some() { Ok(()) } else { Err(PassError::Service(error.clone())) }
    }

    /// Adds Lever's answer about another opportunity. If the API key can read it, only the candidate is refused
    /// (contract P2b).
    fn take_other_opportunity(&mut self, answer: Result<(), ServiceError>) -> Result<(), PassError> {
        let Some(UnconfirmedCandidate::Forbidden { error, .. }) = self.unconfirmed.candidate.take() else {
            return Ok(());
        };
        match answer {
            Ok(()) => self.take_lookup(CandidateLookup::Refused, false),
            // Deleted since it was listed: inconclusive.
            Err(gone) if gone.class == ErrorKind::NotFound => Err(PassError::Service(error)),
            Err(other) => Err(PassError::Service(other)),
        }
    }

    /// Adds CoderPad's answer about a pad. A 404 is confirmed by another read (contract P7b).
    fn take_record(
        &mut self,
        command: &Command,
        answer: Result<Box<PadRecord>, ServiceError>,
    ) -> Result<(), PassError> {
        let is_first = self.unconfirmed.pad.take().is_none();
        self.kind_read_again |= matches!(command, Command::ReadKindAgain(_));
        match (answer, command) {
            (Ok(record), _) => self.record = PadLookup::Read(record),
            (Err(error), _) if error.class != ErrorKind::NotFound => return Err(PassError::Service(error)),
            (Err(_), Command::ReadPad(id)) => self.unconfirmed.pad = Some(UnconfirmedPad::Stored(id.clone())),
            (Err(_), Command::ReadKindAgain(id)) if is_first => {
                self.unconfirmed.pad = Some(UnconfirmedPad::Kind(id.clone()));
            }
            // A deleted pad is handled like a live one.
            (Err(_), Command::ReadKindAgain(_)) => {
                if let CreateOutcome::Searched(found) = &self.create_outcome
                    && let [found] = found.as_slice()
                {
                    self.record = PadLookup::Read(Box::new(found.clone()));
                }
            }
            (Err(_), _) => self.record = PadLookup::NotFound,
        }
        Ok(())
    }

    /// Adds CoderPad's answers about the pads behind the candidate's links. Anyone may have added a link, so a pad that
    /// the API key may not read is not ours.
    fn take_linked_pads(
        &mut self,
        command: &Command,
        answers: Vec<(String, Result<PadRecord, ServiceError>)>,
    ) -> Result<(), PassError> {
        let (mut records, mut missing) = (Vec::new(), Vec::new());
        for (id, answer) in answers {
            match answer {
                Ok(record) => records.push(record),
                Err(error) if error.class == ErrorKind::NotFound => missing.push(id),
                Err(error) if concerns_one_item(&error) => {}
                Err(error) => return Err(PassError::Service(error)),
            }
        }
        self.linked_before.get_or_insert_default().extend(records);
        self.unconfirmed.linked_pads.clear();
        if let Command::ReadLinkedPads(ids) = command {
            self.ownership.links_read.extend(ids.iter().cloned());
            self.unconfirmed.linked_pads = missing;
        }
        Ok(())
    }

    /// Searches the candidate's notes for the reference. An unreadable note may be the searched one (contract X9).
    fn take_notes(&mut self, command: &Command, notes: Notes) -> Result<(), PassError> {
        let Command::ReadNotes { reference } = command else { return Ok(()) };
        let unreadable = notes.unreadable();
        let is_searched = |note: &LeverNote| note.values.iter().any(|value| reference.is_of_note(value));
        self.note = match (notes.notes.into_iter().find(is_searched), unreadable) {
            (Some(note), _) => NoteLookup::Written(note.id),
            (None, Some(unreadable)) => return Err(PassError::Service(unreadable)),
            (None, None) => NoteLookup::Absent,
        };
        Ok(())
    }

    /// Adds the final code. A file that CoderPad does not return must not prevent the note (contract E3).
    fn take_code(&mut self, files: Vec<Result<Environment, ServiceError>>) -> Result<(), PassError> {
        let mut code = Vec::new();
        for file in files {
            match file {
                Ok(environment) => code.push(environment),
                Err(error) if matches!(error.class, ErrorKind::NotFound | ErrorKind::Invalid) => {}
                Err(error) => return Err(PassError::Service(error)),
            }
        }
        self.code = Some(code);
        Ok(())
    }

    /// Adds whether the question of the refused pad can be used. The refusal remains, whatever the answer.
    fn take_question(&mut self, command: &Command, answer: Result<QuestionRecord, ServiceError>) {
        if let Command::CheckQuestion { type_, .. } = command {
            self.question_problem = Some(answer.ok().and_then(|asked| question_problem(&asked, *type_)));
        }
    }

    /// Adds Lever's answer to a write.
    fn take_lever_write(
        &mut self,
        command: &Command,
        answer: Result<Box<Opportunity>, ServiceError>,
    ) -> Result<(), PassError> {
        match command {
            Command::AddLink(_) => self.link_written = answer.is_ok(),
            Command::RemoveLink(_) => self.link_removed = answer.is_ok(),
            _ => {}
        }
        match answer {
            Ok(opportunity) => {
                self.opportunity = CandidateLookup::Read(opportunity);
                Ok(())
            }
            Err(error) if error.class == ErrorKind::NotFound => {
                self.unconfirmed.write = Some(error);
                Ok(())
            }
            Err(error) => Err(PassError::Service(error)),
        }
    }
}
