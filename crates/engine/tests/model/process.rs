//! The steps of a process of the operator: the effects of `execute`, divided into parts between which it may crash.
//!
//! This module is a second implementation of `execute`, `in_flight` and `write_tracker`, which need a network and a
//! clock. It follows them as closely as the model's small values allow. The decisions are not implemented again: the
//! real rules make them.

use super::actions::ModelAction;
use super::adapter::{Planned, ReportedStatus, planned};
use super::state::{
    CREATE, ClaimMark, ClaimedKnown, CoderPad, Flight, FlightKnown, Intention, Known, LEAVES, LIST_LAG_TICKS,
    LeverFlight, Mark, ModelPass, ModelState, NoteKnown, Object, Process, RecordKnown, Scenario, Seen,
    Stopped, WRITE, Waits, Wrong,
};
use super::writes::Change;
use api::names::OnceOnlyWrite;

/// Wait for the end of another process's POST, in ticks.
const FOREIGN_CREATE_TICKS: u8 = LEAVES + CREATE + LIST_LAG_TICKS;
/// Wait for the end of another process's write to Lever, in ticks.
const FOREIGN_WRITE_TICKS: u8 = LEAVES + WRITE;

/// A process, and the slot of the Pad that it reconciles.
pub type At = (usize, usize);

impl Scenario {
    pub fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    /// Executes one step of the pass, and begins a pass if there is none. Returns None if there is nothing to do.
    pub fn step(&self, state: &mut ModelState, at: At, is_stale_search: bool) -> Option<()> {
        let (p, s) = at;
        let pass = match state.processes[p].passes[s].take() {
            Some(pass) if pass.waits == Waits::Nothing => pass,
            Some(_) => return None,
            None if state.leader == p || self.all_lead => self.begin(state, at)?,
            None => return None,
        };
        let step = planned(&pass.known, self.policy, self.wrong);
        if is_stale_search && !matches!(step, Planned::Search { .. }) {
            return None;
        }
        let pass = self.act(state, at, pass, step, is_stale_search);
        state.processes[p].passes[s] = pass;
        if self.apart {
            self.answer_at_once(state, at)?;
        }
        Some(())
    }

    /// Executes and answers a request in one action. Scenarios with two installations do so to limit the number of
    /// states; the scenarios with one installation explore the actions in between.
    fn answer_at_once(&self, state: &mut ModelState, at: At) -> Option<()> {
        let (p, s) = at;
        let waits = |state: &ModelState| state.processes[p].passes[s].as_ref().map(|pass| pass.waits);
        if let Some(Waits::ToSend { attempt, .. }) = waits(state) {
            self.send(state, at)?;
            self.apply(state, ModelAction::Effect(attempt.id))?;
            state.pads.iter_mut().for_each(|pad| pad.unlisted = None);
            self.answer(state, at, false)?;
        }
        if let Some(Waits::Write(_)) = waits(state) {
            let index = state.lever_flights.iter().position(|flight| flight.owner == Some(at))?;
            self.apply(state, ModelAction::WriteEffect(index))?;
            self.write_answer(state, at, false)?;
        }
        Some(())
    }

    /// Begins a pass, as `observe` does: collects the facts that need no request to a service.
    fn begin(&self, state: &mut ModelState, (p, s): At) -> Option<ModelPass> {
        if self.apart && p != s {
            return None;
        }
        let is_due = state.is_due();
        let links = state.person.links.clone();
        let process = &mut state.processes[p];
        let object = process.cache[s].clone()?;
        if process.written[s] > object.version {
            return None;
        }
        process.written[s] = 0;
        let goes = |other: &Object| other.deleting && other.finalizer && other.uid != object.uid;
        let another_goes = !self.apart && process.cache.iter().flatten().any(goes);
        let is_news = |link: &u8| object.pad != Some(*link) && !process.looked.contains(link);
        let rivals = self.apart
            && object.phase == Some(Mark::Open)
            && !self.is(Wrong::NoContest)
            && links.iter().any(is_news);
        let mut flight = FlightKnown::WithoutEffect;
        if let Some(attempt) = object.attempt.filter(|_| object.pad.is_none()) {
            let wait = match self.wrong {
                Some(Wrong::NoWait) => 0,
                // The clock of the process that wrote the intention is behind by two ticks.
                Some(Wrong::IntentionsClock) => FOREIGN_CREATE_TICKS - 2,
                _ => FOREIGN_CREATE_TICKS,
            };
            if !process.seen.iter().any(|(id, _)| *id == attempt.id) {
                process.seen.push((attempt.id, Seen::Lands(wait)));
            }
            let (_, seen) = process.seen.iter().find(|(id, _)| *id == attempt.id)?;
            flight = match seen {
                Seen::WithoutEffect => FlightKnown::WithoutEffect,
                // If a deadline and a wait end in the same tick, the wait ends later.
                Seen::Lands(0) if !is_due => FlightKnown::Landed,
                Seen::Lands(_) => FlightKnown::MayStillLand { searched: false },
            };
        }
        let claimed = claimed(process, &object, is_due);
        let has_ended = |pad: &CoderPad| Some(pad.id) == object.pad && pad.ended;
        let look = object.phase == Some(Mark::Open) && state.pads.iter().any(has_ended);
        let known = Known {
            object,
            person: None,
            served: if self.is(Wrong::ForgetServed) { Vec::new() } else { state.served.clone() },
            served_stored: false,
            record: RecordKnown::NotRead,
            flight,
            claimed,
            another_goes,
            installation: self.installation(p),
            linked_before: None,
            links_read: Vec::new(),
            rivals,
            events: false,
            link_written: false,
            look,
            note: NoteKnown::NotRead,
            deleted: Vec::new(),
            stopped: None,
        };
        Some(ModelPass { known, waits: Waits::Nothing, departs: None })
    }

    fn act(
        &self,
        state: &mut ModelState,
        at: At,
        mut pass: ModelPass,
        step: Planned,
        is_stale_search: bool,
    ) -> Option<ModelPass> {
        let (p, _) = at;
        let known = &mut pass.known;
        match step {
            Planned::Rest(told) => {
                if self.apart && told != ReportedStatus::Nothing && known.stopped.is_none() {
                    let looked = &mut state.processes[p].looked;
                    looked.extend(&known.links_read);
                    looked.sort_unstable();
                    looked.dedup();
                }
                self.write_status(state, at, known, told);
                return None;
            }
            Planned::ReadPerson => known.person = Some(state.person.clone()),
            Planned::ReadPad(id) => {
                known.record = state.read(id).map_or(RecordKnown::NotFound, RecordKnown::Read)
            }
            Planned::ReadLinkedPads(ids) => {
                known
                    .linked_before
                    .get_or_insert_default()
                    .extend(ids.iter().filter_map(|id| state.read(*id)));
                known.links_read.extend(ids);
            }
            Planned::Create { entry } => {
                state.unqualified |= !known.person.as_ref().is_some_and(|person| person.qualifies());
                let attempt = Intention { id: state.free_attempt(), entry };
                let change =
                    Change { attempt: Some(Some(attempt)), finalizer: Some(true), ..Change::default() };
                if !self.is(Wrong::NoIntention) && !self.write(state, at, known, &change) {
                    known.stopped = Some(Stopped::Conflict);
                } else {
                    pass.waits = Waits::ToSend { left: LEAVES, attempt };
                }
            }
            Planned::Search { entry } => {
                let (salt, installation) = (self.salt(&known.object), known.installation);
                let is_own =
                    |pad: &CoderPad| pad.installation == installation || self.is(Wrong::NoInstallations);
                let is_it = |pad: &&CoderPad| {
                    (pad.unlisted.is_none() || !is_stale_search)
                        && !pad.deleted
                        && is_own(pad)
                        && (pad.entry, pad.salt) == (entry, salt)
                };
                let found: Vec<_> = state.pads.iter().filter(is_it).copied().collect();
                let is_early = matches!(known.flight, FlightKnown::MayStillLand { .. });
                known.flight = if is_early && found.is_empty() {
                    FlightKnown::MayStillLand { searched: true }
                } else {
                    FlightKnown::Searched(found)
                };
            }
            Planned::StoreServed(entries) => {
                state.served.extend(entries);
                state.served.sort_unstable();
                state.served.dedup();
                known.served_stored = true;
            }
            Planned::Store { pad, .. } if self.is(Wrong::LinkBeforeStore) && !known.link_written => {
                write_to_lever(state, at, OnceOnlyWrite::Link, pad);
                pass.waits = Waits::Write(OnceOnlyWrite::Link);
            }
            Planned::Store { pad, keep_finalizer, claim_link } => {
                state.touch(pad, p, self);
                pass.departs = self.store(state, at, known, pad, keep_finalizer, claim_link);
            }
            Planned::Forget => {
                let attempt = known.object.attempt;
                if !self.forget_attempt(state, at, known) {
                    known.stopped = Some(Stopped::Conflict);
                } else if let Some(attempt) = attempt {
                    state.processes[p].seen.retain(|(id, _)| *id != attempt.id);
                }
            }
            Planned::Claim(effect) => {
                if self.is(Wrong::WriteWithoutClaim) {
                    known.claimed = ClaimedKnown::Ours(effect);
                    pass.departs = Some(LEAVES);
                } else {
                    pass.departs = self.claim(state, at, known, effect);
                }
            }
            Planned::ReadNotes => {
                let is_there = known.object.pad.is_some_and(|pad| state.person.notes.contains(&pad));
                known.note = if is_there { NoteKnown::Written } else { NoteKnown::Absent };
            }
            Planned::AddNote => {
                let pad = known.object.pad.unwrap();
                pass.waits = send_claimed(state, at, known, &mut pass.departs, OnceOnlyWrite::Note, pad);
            }
            Planned::AddLink(pad) => {
                pass.waits = send_claimed(state, at, known, &mut pass.departs, OnceOnlyWrite::Link, pad);
            }
            Planned::RemoveLink(pad) => {
                state.touch(pad, p, self);
                state.person.links.retain(|link| *link != pad);
                known.person = Some(state.person.clone());
            }
            Planned::DeletePad(id) => {
                state.touch(id, p, self);
                state.pads.iter_mut().filter(|pad| pad.id == id).for_each(|pad| pad.deleted = true);
                if let FlightKnown::Searched(found) = &mut known.flight {
                    found.retain(|pad| pad.id != id);
                }
                known.deleted.push(id);
            }
            Planned::ReadEvents => known.events = true,
            Planned::Yield(yields) => {
                let finalizer = yields.then_some(true);
                let change = Change { yields: Some(yields), finalizer, ..Change::default() };
                if !self.write(state, at, known, &change) {
                    known.stopped = Some(Stopped::Conflict);
                }
            }
            Planned::ForgetPad => {
                let change = Change { forget: true, ..Change::default() };
                if !self.write(state, at, known, &change) {
                    known.stopped = Some(Stopped::Conflict);
                }
                known.record = RecordKnown::NotRead;
                known.flight = FlightKnown::WithoutEffect;
            }
            Planned::SetFinalizer(present) => {
                let change = Change { finalizer: Some(present), ..Change::default() };
                if !self.write(state, at, known, &change) {
                    known.stopped = Some(Stopped::Conflict);
                }
            }
        }
        Some(pass)
    }

    fn salt(&self, object: &Object) -> u8 {
        if self.is(Wrong::ReferenceFromUid) { object.uid + 1 } else { 0 }
    }

    /// Returns the installation of a process.
    pub fn installation(&self, p: usize) -> u8 {
        if self.apart { u8::try_from(p).unwrap_or_default() } else { 0 }
    }

    /// Sends the POST.
    pub fn send(&self, state: &mut ModelState, (p, s): At) -> Option<()> {
        let pass = state.processes[p].passes[s].as_mut()?;
        let Waits::ToSend { attempt, .. } = pass.waits else { return None };
        pass.waits = Waits::Create;
        let salt = self.salt(&pass.known.object);
        let installation = self.installation(p);
        state.flights.push(Flight {
            installation,
            attempt: attempt.id,
            entry: attempt.entry,
            salt,
            owner: Some((p, s)),
            pad: None,
            left: CREATE + LIST_LAG_TICKS,
        });
        Some(())
    }

    /// Drops the POST: its deadline has passed, or there is no connection.
    pub fn give_up(&self, state: &mut ModelState, at: At) -> Option<()> {
        let (p, s) = at;
        let mut pass = state.processes[p].passes[s].take()?;
        let Waits::ToSend { attempt, left } = pass.waits else { return None };
        if left > 0 {
            state.left.creates = state.left.creates.checked_sub(1)?;
        }
        self.mark_not_sent(state, at, &mut pass, attempt.id);
        pass.known.stopped = Some(Stopped::NotSent);
        state.processes[p].passes[s] = Some(pass);
        Some(())
    }

    fn mark_not_sent(&self, state: &mut ModelState, at: At, pass: &mut ModelPass, attempt: u8) {
        pass.waits = Waits::Nothing;
        let process = &mut state.processes[at.0];
        process.seen.retain(|(id, _)| *id != attempt);
        process.seen.push((attempt, Seen::WithoutEffect));
        self.forget_attempt(state, at, &mut pass.known);
    }

    /// Delivers or loses the answer of the POST.
    pub fn answer(&self, state: &mut ModelState, at: At, is_lost: bool) -> Option<()> {
        let (p, s) = at;
        let index = state.flights.iter().position(|flight| flight.owner == Some(at))?;
        let Flight { attempt, pad, left, .. } = state.flights[index];
        let mut pass = state.processes[p].passes[s].take()?;
        pass.waits = Waits::Nothing;
        if is_lost {
            state.left.creates = state.left.creates.checked_sub(1)?;
        } else {
            pass.known.record = RecordKnown::Read(state.read(pad?)?);
        }
        match pad {
            Some(_) => drop(state.flights.remove(index)),
            None => {
                state.flights[index].owner = None;
                state.flights[index].left = left.min(LIST_LAG_TICKS);
            }
        }
        for made in state.pads.iter_mut().filter(|made| Some(made.id) == pad) {
            made.unlisted = made.unlisted.map(|left| left.min(LIST_LAG_TICKS));
        }
        if is_lost && self.is(Wrong::BlindRetry) {
            self.mark_not_sent(state, at, &mut pass, attempt);
            pass.known.stopped = Some(Stopped::NotSent);
        } else if is_lost {
            let wait = if self.is(Wrong::NoWait) { 0 } else { LIST_LAG_TICKS };
            let process = &mut state.processes[p];
            process.seen.retain(|(id, _)| *id != attempt);
            process.seen.push((attempt, Seen::Lands(wait)));
            pass.known.stopped = Some(Stopped::CreateUnknown);
        }
        state.processes[p].passes[s] = Some(pass);
        Some(())
    }

    /// Delivers or loses the answer of a write to Lever.
    pub fn write_answer(&self, state: &mut ModelState, at: At, is_lost: bool) -> Option<()> {
        let (p, s) = at;
        let index = state.lever_flights.iter().position(|flight| flight.owner == Some(at))?;
        let LeverFlight { effect, done, .. } = state.lever_flights[index];
        if is_lost {
            state.left.writes = state.left.writes.checked_sub(1)?;
        } else if !done {
            return None;
        }
        let person = state.person.clone();
        let process = &mut state.processes[p];
        let pass = process.passes[s].as_mut()?;
        pass.waits = Waits::Nothing;
        if is_lost {
            pass.known.stopped = Some(Stopped::WriteUnknown);
            // The write may still take effect. A pass waits for its end before it checks for the effect.
            if let Some((_, mark)) = pass.known.object.open_claim() {
                process.remember(mark, Seen::Lands(WRITE));
            }
        } else if effect == OnceOnlyWrite::Link {
            pass.known.link_written = true;
            pass.known.person = Some(person);
        } else {
            pass.known.note = NoteKnown::Written;
        }
        if is_lost && !done && self.late_writes {
            state.lever_flights[index].owner = None;
        } else {
            state.lever_flights.remove(index);
        }
        Some(())
    }
}

impl ModelState {
    /// Records whether this process is about to change a pad of the other installation.
    fn touch(&mut self, pad: u8, p: usize, world: &Scenario) {
        let is_others = |one: &CoderPad| one.id == pad && one.installation != world.installation(p);
        self.touched |= self.pads.iter().any(is_others);
    }
}

impl Process {
    pub fn remember(&mut self, mark: ClaimMark, seen: Seen) {
        self.claims.retain(|(one, _)| *one != mark);
        self.claims.push((mark, seen));
    }
}

/// Returns the state of the claimed write, as the real `observe::claimed` does.
pub fn claimed(process: &mut Process, object: &Object, is_due: bool) -> ClaimedKnown {
    let Some((_, mark)) = object.open_claim() else { return ClaimedKnown::Nothing };
    let seen = process.claims.iter().find(|(one, _)| *one == mark).map(|(_, seen)| *seen);
    match seen.unwrap_or(Seen::Lands(FOREIGN_WRITE_TICKS)) {
        Seen::WithoutEffect => ClaimedKnown::Nothing,
        // If a deadline and a wait end in the same tick, the wait ends later.
        Seen::Lands(0) if !is_due => ClaimedKnown::Nothing,
        still => {
            process.remember(mark, still);
            ClaimedKnown::MayStillLand
        }
    }
}

/// Sends the claimed write before its deadline or not at all, as the real `send_once` does.
fn send_claimed(
    state: &mut ModelState,
    at: At,
    known: &mut Known,
    departs: &mut Option<u8>,
    effect: OnceOnlyWrite,
    pad: u8,
) -> Waits {
    known.claimed = ClaimedKnown::Nothing;
    if departs.take().is_none() {
        known.stopped = Some(Stopped::WriteNotSent);
        return Waits::Nothing;
    }
    write_to_lever(state, at, effect, pad);
    Waits::Write(effect)
}

fn write_to_lever(state: &mut ModelState, at: At, effect: OnceOnlyWrite, pad: u8) {
    state.lever_flights.push(LeverFlight { effect, pad, owner: Some(at), done: false, left: WRITE });
}
