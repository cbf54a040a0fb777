//! The only place where the state of a Pad grows during a pass: adds the event of a command.

use crate::command::Command;
use crate::event::{Event, Fact, StoredVersion};
use crate::state::{
    CandidateLookup, ConnectionState, CreateOutcome, PadLookup, PadState, PassError, TtlState, WriteClaim,
};
use crate::tags::RefusedTag;
use services::coderpad::PadRecord;
use services::lever::Opportunity;
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
        match event.result.and_then(|fact| self.take_fact(command, fact)) {
            Ok(()) => false,
            Err(error) => {
                self.error = Some(error);
                true
            }
        }
    }

    /// Clears the error of a command if the pass can continue without its effect: refused tags of an open pad (contract
    /// K4a), and a note that was refused with the code, which is sent again without it.
    pub fn tolerate_refusal(&mut self, command: &Command) {
        let Some(PassError::Service(error)) = &self.error else { return };
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
        }
        if self.pad.open_claim() != before.1 {
            self.write_claim = stored.write_claim;
        }
    }

    fn take_fact(&mut self, command: &Command, fact: Fact) -> Result<(), PassError> {
        match fact {
            Fact::Done => self.take_effect(command),
            Fact::Candidate { lookup, shared } => (self.opportunity, self.read_is_shared) = (lookup, shared),
            Fact::Pad(record) => self.take_record(command, record),
            Fact::LinkedPads(records) => {
                self.linked_before.get_or_insert_default().extend(records);
                if let Command::ReadLinkedPads(ids) = command {
                    self.ownership.links_read.extend(ids.iter().cloned());
                }
            }
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
                self.record = PadLookup::Read(Box::new(record));
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
            Fact::LeverWrite { answer, confirmed } => {
                return self.take_lever_write(command, answer, confirmed);
            }
            Fact::Note(note) => self.note = note,
            Fact::Events(events) => self.events = Some(events),
            Fact::Code(code) => self.code = Some(code),
            Fact::QuestionProblem(problem) => self.question_problem = Some(problem),
        }
        Ok(())
    }

    /// Adds the effect of a command that returns nothing.
    fn take_effect(&mut self, command: &Command) {
        match command {
            Command::StoreRefusal { .. } => self.refusal_stored = true,
            Command::StoreServed(_) => self.served_stored = true,
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

    fn take_record(&mut self, command: &Command, record: Option<PadRecord>) {
        self.kind_read_again |= matches!(command, Command::ReadKindAgain(_));
        self.record = match (record, &self.create_outcome, command) {
            (Some(record), _, _) => PadLookup::Read(Box::new(record)),
            // A deleted pad is handled like a live one.
            (None, CreateOutcome::Searched(found), Command::ReadKindAgain(_))
                if let [found] = found.as_slice() =>
            {
                PadLookup::Read(Box::new(found.clone()))
            }
            (None, _, Command::ReadKindAgain(_)) => std::mem::replace(&mut self.record, PadLookup::NotRead),
            (None, _, _) => PadLookup::NotFound,
        };
    }

    /// Adds Lever's answer to a write. A 404 may concern something else, such as the user of performAs: then it is an
    /// error, unless a read confirms that the candidate was deleted.
    fn take_lever_write(
        &mut self,
        command: &Command,
        answer: Result<Box<Opportunity>, ServiceError>,
        confirmed: Option<CandidateLookup>,
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
            Err(error) => {
                let is_deleted = matches!(confirmed, Some(CandidateLookup::NotFound));
                if let Some(lookup) = confirmed {
                    (self.opportunity, self.read_is_shared) = (lookup, false);
                }
                if is_deleted { Ok(()) } else { Err(PassError::Service(error)) }
            }
        }
    }
}
