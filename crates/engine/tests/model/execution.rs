//! The environment of a pass: begins passes, executes one effect of the decided command against the world, and returns
//! the world's answer to the real `apply`. A crash, a handover or a lost answer can fall between each two effects.

use super::actions::ModelAction;
use super::interned::Interned;
use super::objects::{self, Notes, PadObject};
use super::pass::{
    self, Answer, Begin, Denial, ErrorAnswer, HintKey, PassState, StatusWrite, Write, Written,
};
use super::world::{
    At, CREATE_TICKS, CoderPad, CreateRequest, LEVER_WRITE_TICKS, LIST_LAG_TICKS, LeverRequest, Limit, Mark,
    ModelPass, ModelState, Mutant, Observed, ObservedPad, PendingRequest, Process, RequestMemory,
    SEND_DEADLINE_TICKS, SLOTS, Scenario, StoredObject,
};
use api::names::{self, OnceOnlyWrite};
use api::pad::{Phase, TriggerSource};
use engine::command::Command;
use engine::pad_changes::{StoreConflict, store_conflict};
use engine::patch::FailedWrite;
use kube::ResourceExt;

/// Wait for the end of another process's POST, in ticks.
const FOREIGN_CREATE_TICKS: u8 = SEND_DEADLINE_TICKS + CREATE_TICKS + LIST_LAG_TICKS;
/// Wait for the end of another process's write to Lever, in ticks.
const FOREIGN_WRITE_TICKS: u8 = SEND_DEADLINE_TICKS + LEVER_WRITE_TICKS;

/// Variant of a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Variant {
    Normal,
    /// The lists of CoderPad lack the newest pads, or the read of the candidate lacks the own link.
    Stale,
    /// A write to the API server takes effect and its answer is lost. The operator reads the object again.
    AnswerLost,
    /// A write to the API server takes effect, and the API server does not answer any more.
    ServerLost,
    /// A service answers 404 once, although the candidate or the pad exists.
    Missing,
}

/// Reports why a write to the metadata failed.
enum WriteFailure {
    Conflict,
    Other,
}

impl WriteFailure {
    fn answer(self) -> Answer {
        Answer::Error(match self {
            WriteFailure::Conflict => ErrorAnswer::Conflict,
            WriteFailure::Other => ErrorAnswer::Cluster,
        })
    }
}

impl Scenario {
    /// Executes one effect of the pass, and begins a pass if there is none. Returns None if there is nothing to do.
    pub fn step(&self, state: &mut ModelState, at: At, variant: Variant) -> Option<()> {
        let (p, s) = at;
        let pass = match state.processes[p].passes[s].take() {
            Some(pass) if pass.request == PendingRequest::Nothing => pass,
            Some(_) => return None,
            None if state.leader == p || self.all_lead => self.begin(state, at)?,
            None => return None,
        };
        let command = &pass.state.decision.command;
        let is_possible = match variant {
            Variant::Normal => true,
            Variant::Stale if matches!(command, Command::Search { .. }) => {
                state.pads.iter().any(|pad| pad.unlisted.is_some())
            }
            Variant::Stale if matches!(command, Command::ReadOpportunity) => {
                state.left.stale_reads = state.left.stale_reads.checked_sub(1)?;
                true
            }
            Variant::Stale => false,
            Variant::Missing => {
                state.left.missing = state.left.missing.checked_sub(1)?;
                matches!(
                    command,
                    Command::ReadOpportunity
                        | Command::ReadPad(_)
                        | Command::ReadLinkedPads(_)
                        | Command::ReadNotes { .. }
                        | Command::AddTags(_)
                        | Command::RemoveTags(_)
                        | Command::RemoveLink(_)
                )
            }
            Variant::AnswerLost | Variant::ServerLost => {
                state.left.api_answers = state.left.api_answers.checked_sub(1)?;
                matches!(
                    command,
                    Command::Create { .. }
                        | Command::StorePad { .. }
                        | Command::ClearAttempt
                        | Command::Claim(_)
                        | Command::Yield(_)
                        | Command::ClearPad
                        | Command::SetFinalizer(_)
                        | Command::DeleteObject
                        | Command::Done { .. }
                )
            }
        };
        if !is_possible {
            return None;
        }
        let pass = self.execute(state, at, pass, variant)?;
        state.processes[p].passes[s] = pass;
        if self.two_clusters {
            self.answer_at_once(state, at)?;
        }
        Some(())
    }

    /// Executes and answers a request in one action. Scenarios with two installations do so to limit the number of
    /// states; the scenarios with one installation explore the actions in between.
    fn answer_at_once(&self, state: &mut ModelState, at: At) -> Option<()> {
        let (p, s) = at;
        let request = |state: &ModelState| state.processes[p].passes[s].as_ref().map(|pass| pass.request);
        if let Some(PendingRequest::Unsent { attempt, .. }) = request(state) {
            self.send(state, at)?;
            self.perform(state, ModelAction::CreateEffect(attempt))?;
            state.pads.iter_mut().for_each(|pad| pad.unlisted = None);
            self.create_answer(state, at, false)?;
        }
        if let Some(PendingRequest::LeverWrite(_)) = request(state)
            && state.left.writes == 0
        {
            let index = state.lever_writes.iter().position(|write| write.owner == Some(at))?;
            self.perform(state, ModelAction::LeverEffect(index))?;
            self.lever_answer(state, at, false)?;
        }
        Some(())
    }

    /// Begins a pass: collects what the process observes without a request to a service.
    fn begin(&self, state: &mut ModelState, (p, s): At) -> Option<ModelPass> {
        if self.two_clusters && p != s {
            return None;
        }
        let is_due = state.is_due();
        let links = state.candidate.links.clone();
        let process = &mut state.processes[p];
        let object = process.cache[s]?;
        if process.written[s] > object.version {
            return None;
        }
        process.written[s] = 0;
        let other = if self.two_clusters { None } else { process.cache[1 - s].map(|other| other.pad) };
        let stored = &object.pad.stored;
        let is_own = |link: u8| stored.pad_id.as_deref() == Some(&objects::pad_id(link));
        let is_open = matches!(stored.phase, Some(Phase::Open | Phase::Started));
        let is_unknown = |link: &u8| !is_own(*link) && !process.links_checked.contains(link);
        let has_ended = |pad: &CoderPad| is_own(pad.id) && pad.ended;
        let hints = [
            (HintKey::Judge, process.judge[s]),
            (HintKey::Record, is_open && state.pads.iter().any(has_ended)),
            (HintKey::Expired, std::mem::take(&mut process.expired[s])),
            (
                HintKey::OtherInstallations,
                self.two_clusters
                    && is_open
                    && !self.is(Mutant::NoOwnershipCheck)
                    && links.iter().any(is_unknown),
            ),
        ];
        let begin = Begin {
            pad: self.observed(process, object.pad, is_due),
            other,
            policy: pass::policy_key(self.policy),
            spec: self.spec,
            served: if self.is(Mutant::ForgetServed) { Vec::new() } else { state.served.clone() },
            installation: self.installation(p),
            limit: state.limit,
            hints: hints.into_iter().filter_map(|(hint, is_pending)| is_pending.then_some(hint)).collect(),
            mutant: self
                .mutant
                .filter(|one| matches!(one, Mutant::MixedInstallations | Mutant::ReferenceFromUid)),
        };
        Some(ModelPass {
            state: pass::begin(begin),
            object,
            stored: None,
            request: PendingRequest::Nothing,
            send_within: None,
        })
    }

    /// Returns a version of the Pad with the requests that it records, according to the process's memory. An unknown
    /// request is from another process, and the process remembers when it has seen it first.
    fn observed(&self, process: &mut Process, pad: Interned<PadObject>, is_due: bool) -> ObservedPad {
        let wait = match self.mutant {
            Some(Mutant::NoWait) => 0,
            // The clock of the process that wrote the mark is behind by two ticks.
            Some(Mutant::ClockOfTheMark) => FOREIGN_CREATE_TICKS - 2,
            _ => FOREIGN_CREATE_TICKS,
        };
        let attempt = pad.attempt.map_or(Observed::NotSent, |mark| process.observe(mark, wait, is_due));
        let claim = pad
            .claim
            .map_or(Observed::NotSent, |(_, mark)| process.observe(mark, FOREIGN_WRITE_TICKS, is_due));
        ObservedPad { pad, attempt, claim }
    }

    /// Executes the next effect of the decided command. Returns the pass, or None if it has ended.
    #[allow(clippy::too_many_lines)] // One arm per command.
    fn execute(
        &self,
        state: &mut ModelState,
        at: At,
        mut pass: ModelPass,
        variant: Variant,
    ) -> Option<Option<ModelPass>> {
        let p = at.0;
        let answer = match &pass.state.value().decision.command {
            Command::Done { .. } => {
                if pass.state.outcome.is_none()
                    && let Some(concluded) = pass::concluded((pass.state, pass.object.pad))
                {
                    pass.state = concluded;
                    if !matches!(concluded.decision.command, Command::Done { .. }) {
                        return (variant == Variant::Normal).then_some(Some(pass));
                    }
                }
                self.end(state, at, &pass, variant)?;
                return Some(None);
            }
            command if variant == Variant::Missing && is_of_candidate(command) => {
                Answer::Denied(Denial::Missing)
            }
            Command::ReadOpportunityAgain if self.is(Mutant::BelievedMissing) => {
                Answer::Denied(Denial::Missing)
            }
            command if state.candidate.confidential && is_of_candidate(command) => {
                Answer::Denied(Denial::Forbidden)
            }
            Command::ReadAnyOpportunity => Answer::AnyOpportunity,
            Command::ReadOtherOpportunity(_) => Answer::OtherOpportunity,
            Command::ReadOpportunity | Command::ReadOpportunityAgain => {
                let mut candidate = state.candidate.clone();
                if variant == Variant::Stale {
                    let own = pass.state.pad().pad_id.as_deref().map(objects::pad_number)?;
                    candidate.links.retain(|link| *link != own);
                }
                Answer::Candidate(candidate)
            }
            Command::ReadPad(id) | Command::ReadPadAgain(id) => {
                let is_wrong = variant == Variant::Missing;
                Answer::Pad(state.read(objects::pad_number(id)).filter(|_| !is_wrong))
            }
            Command::ReadLinkedPads(ids) | Command::ReadLinkedPadsAgain(ids) => {
                let numbers = ids.iter().map(|id| objects::pad_number(id));
                let read = |id| state.read(id).filter(|_| variant != Variant::Missing);
                Answer::LinkedPads(numbers.map(|id| (id, read(id))).collect())
            }
            Command::Create { .. } => match state.limit {
                Limit::NoQuota => Answer::NoQuota,
                Limit::HourFull => Answer::HourFull,
                Limit::Free => {
                    state.created_ineligible |= !pass.state.may_create();
                    let attempt = state.free_attempt();
                    let recorded = if self.is(Mutant::NoAttempt) {
                        Ok(())
                    } else {
                        self.write(state, at, &mut pass, Write::RecordAttempt(attempt), variant)
                    };
                    match recorded {
                        Ok(()) => {
                            pass.request = PendingRequest::Unsent { left: SEND_DEADLINE_TICKS, attempt };
                            return Some(Some(pass));
                        }
                        Err(failure) => failure.answer(),
                    }
                }
            },
            Command::Search { .. } => {
                let is_listed = |pad: &&CoderPad| pad.unlisted.is_none() || variant != Variant::Stale;
                let listed = state.pads.iter().filter(is_listed);
                Answer::Listed(listed.map(|pad| CoderPad { unlisted: None, ..*pad }).collect())
            }
            Command::StoreServed(entries) => {
                state.add_served(PassState::served_entries(entries));
                Answer::Done
            }
            Command::StorePad { record, .. }
                if self.is(Mutant::LinkBeforeStore) && !pass.state.state.link_written =>
            {
                write_to_lever(state, at, OnceOnlyWrite::Link, objects::pad_number(&record.id));
                pass.request = PendingRequest::LeverWrite(OnceOnlyWrite::Link);
                return Some(Some(pass));
            }
            Command::StorePad { record, claim_link, .. } => {
                let id = objects::pad_number(&record.id);
                state.touch(id, p, self);
                let claims_link = *claim_link;
                self.store(state, at, &mut pass, id, claims_link, variant)
            }
            Command::ClearAttempt => {
                let attempt = pass.object.pad.attempt;
                self.answer_to(state, at, &mut pass, Write::ClearAttempt, variant, |process| {
                    process.requests.retain(|(mark, _)| Some(*mark) != attempt);
                })
            }
            Command::Claim(_) if self.is(Mutant::WriteWithoutClaim) => {
                pass.send_within = Some(SEND_DEADLINE_TICKS);
                Answer::Done
            }
            Command::Claim(_) => {
                let claim = state.free_claim();
                let answer = self.answer_to(state, at, &mut pass, Write::Claim(claim), variant, |process| {
                    process.remember(Mark::Claim(claim), RequestMemory::NotSent);
                });
                pass.send_within = (answer == Answer::Done).then_some(SEND_DEADLINE_TICKS);
                answer
            }
            Command::ReadNotes { .. } => Answer::Notes(state.candidate.notes.clone()),
            Command::AddLink(_) | Command::AddNote(_) if pass.send_within.take().is_none() => {
                Answer::Error(ErrorAnswer::LeverNotSent)
            }
            Command::AddLink(url) => {
                write_to_lever(state, at, OnceOnlyWrite::Link, objects::pad_number(url));
                pass.request = PendingRequest::LeverWrite(OnceOnlyWrite::Link);
                return Some(Some(pass));
            }
            Command::AddNote(_) => {
                let id = pass.state.pad().pad_id.as_deref().map(objects::pad_number)?;
                write_to_lever(state, at, OnceOnlyWrite::Note, id);
                pass.request = PendingRequest::LeverWrite(OnceOnlyWrite::Note);
                return Some(Some(pass));
            }
            Command::RemoveLink(url) => {
                let id = objects::pad_number(url);
                state.touch(id, p, self);
                state.candidate.links.retain(|link| *link != id);
                Answer::LeverWrite(state.candidate.clone())
            }
            Command::DeletePad(id) => {
                let id = objects::pad_number(id);
                state.touch(id, p, self);
                state.pads.iter_mut().filter(|pad| pad.id == id).for_each(|pad| pad.deleted = true);
                Answer::Done
            }
            Command::AddTags(_) => {
                state.candidate.flagged = true;
                Answer::LeverWrite(state.candidate.clone())
            }
            Command::RemoveTags(_) => {
                state.candidate.flagged = self.is(Mutant::KeptTag);
                Answer::LeverWrite(state.candidate.clone())
            }
            Command::DeleteObject => self.delete_object(state, at, &pass, variant),
            Command::ReadEvents(_) => Answer::NoEvents,
            Command::Yield(_) => self.answer_to(state, at, &mut pass, Write::Yield, variant, |_| ()),
            Command::ClearPad => self.answer_to(state, at, &mut pass, Write::ClearPad, variant, |_| ()),
            Command::SetFinalizer(_) => {
                self.answer_to(state, at, &mut pass, Write::SetFinalizer, variant, |_| ())
            }
            Command::CreateNextPad(n) => {
                let slot = usize::try_from(*n).unwrap() - 1;
                if slot >= SLOTS || self.two_clusters {
                    return None;
                }
                state.create(slot, *n, self.policy, TriggerSource::Sync);
                Answer::Done
            }
            Command::JudgeSibling(name) => {
                let slot = slot_of(name)?;
                state.processes[p].judge[slot] = true;
                Answer::Done
            }
            command @ (Command::ReadCode(_)
            | Command::CheckQuestion { .. }
            | Command::CountFailedCreation(_)
            | Command::ReadKindAgain(_)
            | Command::StoreRefusal { .. }
            | Command::EndPad(_)) => panic!("nothing in the model leads to this: {command:?}"),
        };
        pass.state = pass.state.apply(pass.stored.take(), answer);
        Some(Some(pass))
    }

    /// Writes metadata, and returns the answer to a command without another effect. `then` changes the process's memory
    /// after a successful write.
    fn answer_to(
        &self,
        state: &mut ModelState,
        at: At,
        pass: &mut ModelPass,
        write: Write,
        variant: Variant,
        then: impl FnOnce(&mut Process),
    ) -> Answer {
        match self.write(state, at, pass, write, variant) {
            Ok(()) => {
                then(&mut state.processes[at.0]);
                Answer::Done
            }
            Err(failure) => failure.answer(),
        }
    }

    /// Writes metadata to the API server, which accepts the patch only for the current version.
    fn write(
        &self,
        state: &mut ModelState,
        (p, s): At,
        pass: &mut ModelPass,
        write: Write,
        variant: Variant,
    ) -> Result<(), WriteFailure> {
        let version = state.next_version(s);
        let Some(now) = state.objects[s] else { return Err(WriteFailure::Other) };
        let is_blind = matches!(write, Write::RecordAttempt(_)) && self.is(Mutant::AttemptWithoutConflict);
        let is_same = now.pad.pad.uid() == pass.object.pad.pad.uid();
        let accepts = is_same && now.version == pass.object.version || is_blind;
        let key = (pass.state, write, pass.object.pad, now.pad, accepts);
        let mut result = pass::written(key);
        if let Written::Stored(stored) = result {
            let stored = StoredObject { pad: stored, version };
            state.put(s, Some(stored));
            if variant == Variant::ServerLost {
                return Err(WriteFailure::Other);
            }
            if variant == Variant::AnswerLost {
                let Some(now) = state.objects[s] else { return Err(WriteFailure::Other) };
                result = Written::Failed(pass::read_again((key.0, key.1, key.2, now.pad, accepts)));
            }
            if variant == Variant::Normal {
                self.take(state, (p, s), pass, stored);
                return Ok(());
            }
        }
        let Written::Failed(failed) = result else { return Err(WriteFailure::Other) };
        match (failed, state.objects[s]) {
            (FailedWrite::Applied, Some(now)) => {
                self.take(state, (p, s), pass, now);
                Ok(())
            }
            (FailedWrite::Conflict, now) => {
                // No retry before the watch delivers the conflicting version.
                if let Some(now) = now {
                    state.processes[p].written[s] = now.version;
                }
                Err(WriteFailure::Conflict)
            }
            (FailedWrite::Applied | FailedWrite::Gone | FailedWrite::Failed, _) => Err(WriteFailure::Other),
        }
    }

    /// Keeps a version from the API server for the event of the command.
    fn take(&self, state: &mut ModelState, (p, s): At, pass: &mut ModelPass, now: StoredObject) {
        let is_due = state.is_due();
        let process = &mut state.processes[p];
        process.written[s] = now.version;
        pass.stored = Some(self.observed(process, now.pad, is_due));
        pass.object = now;
    }

    /// Deletes the Pad in exactly the version that was last read or written.
    fn delete_object(
        &self,
        state: &mut ModelState,
        (_, s): At,
        pass: &ModelPass,
        variant: Variant,
    ) -> Answer {
        let Some(now) = state.objects[s] else { return Answer::Done };
        let is_same = now.pad.pad.uid() == pass.object.pad.pad.uid() && now.version == pass.object.version;
        if !is_same && !self.is(Mutant::ExpiredWithoutConflict) {
            return Answer::Error(ErrorAnswer::Conflict);
        }
        state.delete(s);
        match variant {
            Variant::AnswerLost | Variant::ServerLost => Answer::Error(ErrorAnswer::Cluster),
            _ => Answer::Done,
        }
    }

    /// Stores the pad ID. The meaning of a conflict is decided by the real `store_conflict`.
    fn store(
        &self,
        state: &mut ModelState,
        at: At,
        pass: &mut ModelPass,
        id: u8,
        claims_link: bool,
        mut variant: Variant,
    ) -> Answer {
        let (p, s) = at;
        let before = pass.state.value();
        let Command::StorePad { record, .. } = &before.decision.command else { return Answer::Done };
        let attempt = before.pad().attempt.as_ref();
        let mark = pass.object.pad.attempt;
        loop {
            let stored = match self.write(state, at, pass, Write::StorePad, variant) {
                Ok(()) => true,
                Err(WriteFailure::Conflict) => {
                    let is_same = |now: &StoredObject| now.pad.pad.uid() == pass.object.pad.pad.uid();
                    let Some(now) = state.objects[s].filter(is_same) else {
                        return Answer::Error(ErrorAnswer::Cluster);
                    };
                    self.take(state, at, pass, now);
                    match store_conflict(attempt, record, &now.pad.stored) {
                        StoreConflict::Stored => self.is(Mutant::StoreNotExclusive),
                        StoreConflict::Retry => {
                            variant = Variant::Normal;
                            continue;
                        }
                        StoreConflict::Lost => return Answer::Error(ErrorAnswer::Conflict),
                    }
                }
                Err(failure) => return failure.answer(),
            };
            if !stored {
                return Answer::PadStoredBefore(pass.stored.unwrap().claim);
            }
            let process = &mut state.processes[p];
            process.requests.retain(|(one, _)| Some(*one) != mark);
            process.remember(Mark::PadId(id), RequestMemory::NotSent);
            pass.send_within = claims_link.then_some(SEND_DEADLINE_TICKS);
            return Answer::PadStored { claims_link };
        }
    }

    /// Ends a pass, and writes its status.
    fn end(&self, state: &mut ModelState, (p, s): At, pass: &ModelPass, variant: Variant) -> Option<()> {
        let version = state.next_version(s);
        let now = state.objects[s];
        let is_same = now.is_some_and(|now| now.pad.pad.uid() == pass.object.pad.pad.uid());
        let is_current = is_same && now.is_some_and(|now| now.version == pass.object.version);
        let current = now.map_or(pass.object.pad, |now| now.pad);
        let end = pass::end((pass.state, pass.object.pad, current, is_current));
        let process = &mut state.processes[p];
        if end.is_decided && pass.state.state.judge {
            process.judge[s] = false;
        }
        if self.two_clusters && end.is_decided && !end.has_failed {
            let read = pass.state.state.ownership.links_read.iter().map(|id| objects::pad_number(id));
            process.links_checked.extend(read);
            process.links_checked.sort_unstable();
            process.links_checked.dedup();
        }
        let claim = pass.object.pad.claim;
        let stored = match end.status {
            StatusWrite::Nothing if variant == Variant::Normal => None,
            StatusWrite::Stored(stored) if now.is_some() => Some(StoredObject { pad: stored, version }),
            // The answer of a write that does not happen cannot be lost.
            _ if variant != Variant::Normal => return None,
            _ => return Some(()),
        };
        if let Some(stored) = stored {
            state.put(s, Some(stored));
            if variant != Variant::Normal {
                return Some(());
            }
            state.processes[p].written[s] = version;
        }
        if let (true, Some((_, mark))) = (end.stores_write, claim) {
            state.processes[p].requests.retain(|(one, _)| *one != mark);
        }
        Some(())
    }

    /// Sends the POST.
    pub fn send(&self, state: &mut ModelState, (p, s): At) -> Option<()> {
        let pass = state.processes[p].passes[s].as_mut()?;
        let PendingRequest::Unsent { attempt, .. } = pass.request else { return None };
        let Command::Create { pad, .. } = &pass.state.value().decision.command else { return None };
        pass.request = PendingRequest::Create { attempt };
        state.creates.push(CreateRequest {
            attempt,
            notes: Notes::intern(&pad.notes),
            owner: Some((p, s)),
            pad: None,
            left: CREATE_TICKS + LIST_LAG_TICKS,
        });
        Some(())
    }

    /// Drops the POST: its deadline has passed, or there is no connection.
    pub fn give_up(&self, state: &mut ModelState, at: At) -> Option<()> {
        let (p, s) = at;
        let mut pass = state.processes[p].passes[s].take()?;
        let PendingRequest::Unsent { attempt, left } = pass.request else { return None };
        if left > 0 {
            state.left.creates = state.left.creates.checked_sub(1)?;
        }
        self.create_failed(state, at, &mut pass, attempt, Answer::Error(ErrorAnswer::CreateNotSent));
        state.processes[p].passes[s] = Some(pass);
        Some(())
    }

    /// CoderPad refuses the POST.
    pub fn refuse(&self, state: &mut ModelState, at: At) -> Option<()> {
        let (p, s) = at;
        state.left.refusals = state.left.refusals.checked_sub(1)?;
        let index =
            state.creates.iter().position(|create| create.owner == Some(at) && create.pad.is_none())?;
        let attempt = state.creates.remove(index).attempt;
        let mut pass = state.processes[p].passes[s].take()?;
        let answer = Answer::Refused { is_invalid: self.spec.failed_tag };
        self.create_failed(state, at, &mut pass, attempt, answer);
        state.processes[p].passes[s] = Some(pass);
        Some(())
    }

    /// Clears the attempt of a POST without effect. If that write fails, the next pass repeats it.
    fn create_failed(
        &self,
        state: &mut ModelState,
        at: At,
        pass: &mut ModelPass,
        attempt: u8,
        answer: Answer,
    ) {
        pass.request = PendingRequest::Nothing;
        let mark = Mark::Attempt(attempt);
        state.processes[at.0].remember(mark, RequestMemory::NotSent);
        if self.write(state, at, pass, Write::ClearAttempt, Variant::Normal).is_ok() {
            state.processes[at.0].requests.retain(|(one, _)| *one != mark);
        }
        pass.state = pass.state.apply(pass.stored.take(), answer);
    }

    /// Delivers or loses the answer of the POST.
    pub fn create_answer(&self, state: &mut ModelState, at: At, is_lost: bool) -> Option<()> {
        let (p, s) = at;
        let index = state.creates.iter().position(|create| create.owner == Some(at))?;
        let CreateRequest { attempt, pad, left, .. } = state.creates[index];
        let mut pass = state.processes[p].passes[s].take()?;
        let created = if is_lost {
            state.left.creates = state.left.creates.checked_sub(1)?;
            None
        } else {
            Some(state.read(pad?)?)
        };
        match pad {
            Some(_) => drop(state.creates.remove(index)),
            None => {
                state.creates[index].owner = None;
                state.creates[index].left = left.min(LIST_LAG_TICKS);
            }
        }
        for made in state.pads.iter_mut().filter(|made| Some(made.id) == pad) {
            made.unlisted = made.unlisted.map(|left| left.min(LIST_LAG_TICKS));
        }
        pass.request = PendingRequest::Nothing;
        match created {
            Some(created) => pass.state = pass.state.apply(pass.stored.take(), Answer::Created(created)),
            None if self.is(Mutant::BlindRetry) => {
                let answer = Answer::Error(ErrorAnswer::CreateNotSent);
                self.create_failed(state, at, &mut pass, attempt, answer);
            }
            None => {
                let wait = if self.is(Mutant::NoWait) { 0 } else { LIST_LAG_TICKS };
                let memory = RequestMemory::CompletesIn(wait);
                state.processes[p].remember(Mark::Attempt(attempt), memory);
                let answer = Answer::Error(ErrorAnswer::CreateUnknown);
                pass.state = pass.state.apply(pass.stored.take(), answer);
            }
        }
        state.processes[p].passes[s] = Some(pass);
        Some(())
    }

    /// Lever refuses the link or the note.
    pub fn lever_refuse(&self, state: &mut ModelState, (p, s): At, denial: Denial) -> Option<()> {
        match denial {
            Denial::Missing => state.left.missing = state.left.missing.checked_sub(1)?,
            Denial::Forbidden if state.candidate.confidential => {}
            Denial::Forbidden => return None,
        }
        let is_sent = |write: &LeverRequest| write.owner == Some((p, s)) && !write.done;
        let index = state.lever_writes.iter().position(is_sent)?;
        let mut pass = state.processes[p].passes[s].take()?;
        state.lever_writes.remove(index);
        pass.request = PendingRequest::Nothing;
        pass.state = pass.state.apply(pass.stored.take(), Answer::Denied(denial));
        state.processes[p].passes[s] = Some(pass);
        Some(())
    }

    /// Delivers or loses the answer of a write to Lever.
    pub fn lever_answer(&self, state: &mut ModelState, at: At, is_lost: bool) -> Option<()> {
        let (p, s) = at;
        let index = state.lever_writes.iter().position(|write| write.owner == Some(at))?;
        let LeverRequest { effect, pad: id, done, .. } = state.lever_writes[index];
        if is_lost {
            state.left.writes = state.left.writes.checked_sub(1)?;
        } else if !done {
            return None;
        }
        let mut pass = state.processes[p].passes[s].take()?;
        pass.request = PendingRequest::Nothing;
        let answer = if is_lost {
            // The write may still take effect. A pass waits for its end before it checks for the effect.
            if let Some((_, mark)) = pass.object.pad.claim {
                state.processes[p].remember(mark, RequestMemory::CompletesIn(LEVER_WRITE_TICKS));
            }
            Answer::Error(ErrorAnswer::LeverUnknown)
        } else if effect == OnceOnlyWrite::Link {
            Answer::LeverWrite(state.candidate.clone())
        } else {
            Answer::NoteAdded
        };
        pass.state = match pass.state.effect() {
            Some(_) => pass.state.apply(pass.stored.take(), answer),
            // Only the mutant `LinkBeforeStore` adds a link that the rules have not decided.
            None => pass.state.apply_link(answer, id),
        };
        if is_lost && !done && self.late_writes {
            state.lever_writes[index].owner = None;
        } else {
            state.lever_writes.remove(index);
        }
        state.processes[p].passes[s] = Some(pass);
        Some(())
    }
}

/// Reports whether Lever answers the command for the candidate's opportunity.
fn is_of_candidate(command: &Command) -> bool {
    matches!(
        command,
        Command::ReadOpportunity
            | Command::ReadOpportunityAgain
            | Command::ReadNotes { .. }
            | Command::RemoveLink(_)
            | Command::AddTags(_)
            | Command::RemoveTags(_)
    )
}

/// Returns the slot of a Pad's name.
pub fn slot_of(name: &str) -> Option<usize> {
    let n = names::pad_number(name, objects::CONFIGURATION, objects::OPPORTUNITY)?;
    usize::try_from(n - 1).ok().filter(|slot| *slot < SLOTS)
}

fn write_to_lever(state: &mut ModelState, at: At, effect: OnceOnlyWrite, pad: u8) {
    let left = LEVER_WRITE_TICKS;
    state.lever_writes.push(LeverRequest { effect, pad, owner: Some(at), done: false, left });
}

impl Process {
    fn remember(&mut self, mark: Mark, memory: RequestMemory) {
        self.requests.retain(|(one, _)| *one != mark);
        self.requests.push((mark, memory));
    }

    /// Returns the state of a request. An unknown one is remembered from now on.
    fn observe(&mut self, mark: Mark, wait: u8, is_due: bool) -> Observed {
        let known = self.requests.iter().find(|(one, _)| *one == mark).map(|(_, memory)| *memory);
        let memory = known.unwrap_or_else(|| {
            self.remember(mark, RequestMemory::CompletesIn(wait));
            RequestMemory::CompletesIn(wait)
        });
        match memory {
            RequestMemory::NotSent => Observed::NotSent,
            // If a deadline and a wait end in the same tick, the wait ends later.
            RequestMemory::CompletesIn(0) if !is_due => Observed::Completed,
            RequestMemory::CompletesIn(_) => Observed::InFlight,
        }
    }
}

impl ModelState {
    pub fn read(&self, id: u8) -> Option<CoderPad> {
        let pad = self.pads.iter().find(|pad| pad.id == id && !pad.deleted)?;
        Some(CoderPad { unlisted: None, ..*pad })
    }

    /// Records whether this process is about to change a pad of the other installation.
    fn touch(&mut self, pad: u8, p: usize, scenario: &Scenario) {
        let is_foreign = |one: &CoderPad| one.id == pad && one.notes.installation != scenario.installation(p);
        self.touched_foreign |= self.pads.iter().any(is_foreign);
    }
}
