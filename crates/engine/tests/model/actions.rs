//! The actions of the model and their effects: the services, time, crashes and people.

use super::process::At;
use super::state::{
    ClaimMark, CoderPad, Delivery, FlightKnown, LIST_LAG_TICKS, ModelState, Object, Process, SLOTS, Scenario,
    Seen, Waits, Wrong,
};
use api::names::OnceOnlyWrite;

/// An action of the model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ModelAction {
    /// The cache of a process receives the current objects from its watch.
    Sync(usize),
    /// A process begins a pass, or executes the next command of the rules.
    Step(At),
    /// A process executes a search in lists that do not contain the newest pads yet.
    StaleSearch(At),
    /// The POST leaves.
    Send(At),
    /// The process drops the POST, which certainly has no effect.
    GiveUp(At),
    /// CoderPad creates the pad of this attempt.
    Effect(u8),
    /// CoderPad never executes this attempt.
    Vanish(u8),
    /// The answer of the POST arrives.
    Answer(At),
    /// The answer of the POST is lost.
    Lost(At),
    /// The process drops the write that it claimed last, because its deadline has passed.
    Late(At),
    /// Lever adds the link or the note.
    WriteEffect(usize),
    /// Lever never adds the link or the note that a crashed process sent.
    WriteVanish(usize),
    /// The answer of Lever arrives.
    WriteAnswer(At),
    /// The answer of Lever is lost.
    WriteLost(At),
    /// Time passes.
    Tick,
    /// A process crashes, and starts again without any memory.
    Crash(usize),
    /// Another process becomes the leader. The passes of the former leader continue.
    TakeOver(usize),
    /// A process receives a delivery.
    Deliver { process: usize, delivery: u8, ending: Ending },
    /// The candidate moves out of the stage, or back into it.
    Move,
    /// A person removes the tag, or adds it again.
    Tag,
    /// A person restores the Pad from a backup: another UID and no status.
    Restore(usize),
    /// A person creates the Pad again: no status and no annotations.
    Recreate(usize),
    /// A person deletes the Pad.
    Delete(usize),
    /// The interview in this pad ends.
    End(u8),
}

/// The result of a delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// Stored, and answered with 2xx.
    Acknowledged,
    /// Stored, but the answer is lost.
    AnswerLost,
    /// Answered with 503.
    NotStored,
}

impl ModelState {
    pub fn read(&self, id: u8) -> Option<CoderPad> {
        let mut pad = self.pads.iter().find(|pad| pad.id == id && !pad.deleted).copied()?;
        pad.unlisted = None;
        Some(pad)
    }

    /// Returns the version of the next write to this slot.
    pub fn next_version(&self, slot: usize) -> u8 {
        self.versions(slot).last().copied().unwrap_or_default() + 1
    }

    /// Returns all versions of this slot that are in use, in ascending order.
    fn versions(&self, slot: usize) -> Vec<u8> {
        let mut versions: Vec<u8> = self.objects[slot].iter().map(|object| object.version).collect();
        for process in &self.processes {
            versions.extend(process.cache[slot].as_ref().map(|object| object.version));
            versions.extend(process.passes[slot].as_ref().map(|pass| pass.known.object.version));
            versions.extend(Some(process.written[slot]).filter(|version| *version > 0));
        }
        versions.sort_unstable();
        versions.dedup();
        versions
    }

    /// Returns a number that no attempt in the state uses.
    pub fn free_attempt(&mut self) -> u8 {
        let mut known: Vec<u8> = self.flights.iter().map(|flight| flight.attempt).collect();
        for process in &self.processes {
            known.extend(process.seen.iter().map(|(id, _)| *id));
            let waits = process.passes.iter().flatten().map(|pass| pass.waits);
            known.extend(waits.filter_map(|waits| match waits {
                Waits::ToSend { attempt, .. } => Some(attempt.id),
                Waits::Nothing | Waits::Create | Waits::Write(_) => None,
            }));
        }
        for slot in 0..SLOTS {
            known.extend(self.copies(slot).filter_map(|object| object.attempt).map(|attempt| attempt.id));
        }
        (0..=u8::MAX).find(|id| !known.contains(id)).unwrap_or_default()
    }

    /// Returns a number that no claim in the state uses.
    pub fn free_claim(&mut self) -> u8 {
        let marks = self.processes.iter().flat_map(|process| &process.claims).map(|(mark, _)| *mark);
        let mut known: Vec<u8> = marks
            .filter_map(|mark| match mark {
                ClaimMark::Claim(id) => Some(id),
                ClaimMark::Pad(_) => None,
            })
            .collect();
        for slot in 0..SLOTS {
            known.extend(self.copies(slot).filter_map(|object| object.claim).map(|claim| claim.id));
        }
        (0..=u8::MAX).find(|id| !known.contains(id)).unwrap_or_default()
    }

    fn copies(&mut self, slot: usize) -> impl Iterator<Item = &mut Object> {
        let held = self.processes.iter_mut().flat_map(move |process| {
            let pass = process.passes[slot].as_mut().map(|pass| &mut pass.known.object);
            process.cache[slot].as_mut().into_iter().chain(pass)
        });
        self.objects[slot].as_mut().into_iter().chain(held)
    }

    /// Makes equivalent states equal: replaces versions by their rank, and removes memory that no process will read.
    pub fn normalize(&mut self) {
        let is_shared = self.pads.iter().any(|pad| pad.installation > 0);
        for slot in 0..SLOTS {
            let versions = self.versions(slot);
            let rank = |version: u8| {
                u8::try_from(versions.partition_point(|one| *one < version)).unwrap_or_default() + 1
            };
            for process in &mut self.processes {
                if process.written[slot] > 0 {
                    process.written[slot] = rank(process.written[slot]);
                }
            }
            self.copies(slot).for_each(|object| object.version = rank(object.version));
        }
        for process in &mut self.processes {
            for pass in process.passes.iter_mut().flatten().filter(|pass| pass.known.object.pad.is_some()) {
                pass.known.flight = FlightKnown::WithoutEffect;
                if !is_shared {
                    pass.known.linked_before = None;
                    pass.known.links_read.clear();
                }
            }
        }
        let (mut attempts, mut claims) = (Vec::new(), Vec::new());
        for slot in 0..SLOTS {
            for object in self.copies(slot) {
                attempts.extend(object.attempt.map(|attempt| attempt.id));
                claims.extend(object.open_claim().map(|(_, mark)| mark));
            }
        }
        for process in &mut self.processes {
            process.seen.retain(|(id, _)| attempts.contains(id));
            process.seen.sort_unstable_by_key(|(id, _)| *id);
            process.claims.retain(|(mark, _)| claims.contains(mark));
            process.claims.sort_unstable_by_key(|(mark, _)| *mark);
        }
    }

    /// Reports whether another action must happen before time can pass.
    pub fn is_due(&self) -> bool {
        let passes = || self.processes.iter().flat_map(|process| process.passes.iter().flatten());
        self.flights
            .iter()
            .any(|flight| flight.left == if flight.owner.is_some() { LIST_LAG_TICKS } else { 0 })
            || self.lever_flights.iter().any(|flight| flight.left == 0)
            || passes().any(|pass| matches!(pass.waits, Waits::ToSend { left: 0, .. }))
            || passes().any(|pass| pass.departs == Some(0))
    }

    /// Reports whether a process has claimed a write and not sent it yet.
    fn is_departing(&self) -> bool {
        let mut passes = self.processes.iter().flat_map(|process| process.passes.iter().flatten());
        passes.any(|pass| pass.departs.is_some())
    }

    fn tick(&mut self) -> Option<()> {
        if self.is_due() {
            return None;
        }
        let mut passes = false;
        let mut less = |left: &mut u8| {
            passes |= *left > 0;
            *left = left.saturating_sub(1);
        };
        self.flights.iter_mut().for_each(|flight| less(&mut flight.left));
        self.pads.iter_mut().filter_map(|pad| pad.unlisted.as_mut()).for_each(&mut less);
        for pad in self.pads.iter_mut().filter(|pad| pad.unlisted == Some(0)) {
            pad.unlisted = None;
        }
        self.lever_flights.iter_mut().for_each(|flight| less(&mut flight.left));
        for process in &mut self.processes {
            for pass in process.passes.iter_mut().flatten() {
                if let Waits::ToSend { left, .. } = &mut pass.waits {
                    less(left);
                }
                pass.departs.iter_mut().for_each(&mut less);
            }
            for (_, seen) in &mut process.seen {
                if let Seen::Lands(left) = seen {
                    less(left);
                }
            }
            for (_, seen) in &mut process.claims {
                if let Seen::Lands(left) = seen {
                    less(left);
                }
            }
        }
        passes.then_some(())
    }
}

impl Scenario {
    /// Adds all actions that may happen. Some of them may change nothing.
    pub fn possible(&self, state: &ModelState, actions: &mut Vec<ModelAction>) {
        self.progress(state, actions);
        let left = &state.left;
        for p in 0..self.processes {
            if left.crashes > 0 && state.processes[p] != Process::default() {
                actions.push(ModelAction::Crash(p));
            }
            if left.handovers > 0 && state.leader != p && !self.all_lead {
                actions.push(ModelAction::TakeOver(p));
            }
        }
        if left.moves > 0 {
            actions.extend([ModelAction::Move, ModelAction::Tag]);
        }
        if left.ends > 0 {
            let linked = |pad: &&CoderPad| !pad.ended && state.person.links.contains(&pad.id);
            actions.extend(state.pads.iter().filter(linked).map(|pad| ModelAction::End(pad.id)));
        }
        for slot in 0..SLOTS {
            let Some(object) = &state.objects[slot] else { continue };
            if left.restores > 0 && !object.deleting {
                actions.push(ModelAction::Restore(slot));
            }
            let is_settled = || object.linked && state.lever_flights.is_empty() && !state.is_departing();
            if left.recreations > 0 && !object.deleting && (self.old_backup || is_settled()) {
                actions.push(ModelAction::Recreate(slot));
            }
            if left.deletions > 0 && !object.deleting {
                actions.push(ModelAction::Delete(slot));
            }
        }
    }

    /// Adds the actions that happen without a new fault.
    pub fn progress(&self, state: &ModelState, actions: &mut Vec<ModelAction>) {
        for p in 0..self.processes {
            let process = &state.processes[p];
            let is_behind = match self.apart {
                true => process.cache[p] != state.objects[p],
                false => process.cache != state.objects,
            };
            if is_behind {
                actions.push(ModelAction::Sync(p));
            }
            for s in 0..SLOTS {
                let at = (p, s);
                if self.frozen && process.passes[s].as_ref().is_some_and(|pass| pass.departs == Some(0)) {
                    actions.push(ModelAction::Late(at));
                }
                match process.passes[s].as_ref().map(|pass| pass.waits) {
                    None if process.cache[s].is_none() => {}
                    None => actions.push(ModelAction::Step(at)),
                    Some(Waits::Nothing) => {
                        actions.push(ModelAction::Step(at));
                        if state.pads.iter().any(|pad| pad.unlisted.is_some()) {
                            actions.push(ModelAction::StaleSearch(at));
                        }
                    }
                    Some(Waits::ToSend { .. }) => {
                        actions.extend([ModelAction::Send(at), ModelAction::GiveUp(at)])
                    }
                    Some(Waits::Create) => actions.extend([ModelAction::Answer(at), ModelAction::Lost(at)]),
                    Some(Waits::Write(_)) => {
                        actions.extend([ModelAction::WriteAnswer(at), ModelAction::WriteLost(at)]);
                    }
                }
            }
            for (index, &Delivery { answered, stored, .. }) in state.deliveries.iter().enumerate() {
                let delivery = u8::try_from(index + 1).unwrap_or_default();
                if self.apart && index % self.processes != p {
                    continue;
                }
                let deliver = |ending| ModelAction::Deliver { process: p, delivery, ending };
                let hides = |object: &Object| object.asked > delivery && object.handled != object.asked;
                if !self.old_hides_new && stored && state.objects.iter().flatten().any(hides) {
                    continue;
                }
                if !answered || state.left.repeats > 0 {
                    actions.push(deliver(Ending::Acknowledged));
                }
                if !answered && state.left.deliveries > 0 {
                    actions.extend([deliver(Ending::AnswerLost), deliver(Ending::NotStored)]);
                }
            }
        }
        for flight in &state.flights {
            if flight.pad.is_none() {
                actions.push(ModelAction::Effect(flight.attempt));
            }
            if flight.owner.is_none() {
                actions.push(ModelAction::Vanish(flight.attempt));
            }
        }
        for (index, flight) in state.lever_flights.iter().enumerate() {
            if !flight.done {
                actions.push(ModelAction::WriteEffect(index));
            }
            if flight.owner.is_none() {
                actions.push(ModelAction::WriteVanish(index));
            }
        }
        actions.push(ModelAction::Tick);
    }

    /// Applies an action to the state. Returns None if the action is impossible in this state.
    pub fn apply(&self, state: &mut ModelState, action: ModelAction) -> Option<()> {
        match action {
            ModelAction::Sync(p) if self.apart => state.processes[p].cache[p] = state.objects[p].clone(),
            ModelAction::Sync(p) => state.processes[p].cache = state.objects.clone(),
            ModelAction::Step(at) => self.step(state, at, false)?,
            ModelAction::StaleSearch(at) => self.step(state, at, true)?,
            ModelAction::Send(at) => self.send(state, at)?,
            ModelAction::GiveUp(at) => self.give_up(state, at)?,
            ModelAction::Answer(at) => self.answer(state, at, false)?,
            ModelAction::Lost(at) => self.answer(state, at, true)?,
            ModelAction::WriteAnswer(at) => self.write_answer(state, at, false)?,
            ModelAction::WriteLost(at) => self.write_answer(state, at, true)?,
            ModelAction::Late((p, s)) => {
                let departs = &mut state.processes[p].passes[s].as_mut()?.departs;
                // The mutant `LateWrite` sends the write in spite of the deadline.
                *departs = (self.wrong == Some(Wrong::LateWrite)).then_some(u8::MAX);
            }
            ModelAction::Effect(attempt) => {
                let id = u8::try_from(state.pads.len()).ok()?;
                let index = state.flights.iter().position(|flight| flight.attempt == attempt)?;
                let flight = &mut state.flights[index];
                let unlisted = Some(flight.left).filter(|left| *left > 0);
                state.pads.push(CoderPad {
                    id,
                    entry: flight.entry,
                    salt: flight.salt,
                    installation: flight.installation,
                    deleted: false,
                    ended: false,
                    unlisted,
                });
                flight.pad = Some(id);
                if flight.owner.is_none() {
                    state.flights.remove(index);
                }
            }
            ModelAction::Vanish(attempt) => state.flights.retain(|flight| flight.attempt != attempt),
            ModelAction::WriteEffect(index) => {
                let flight = state.lever_flights.get_mut(index)?;
                flight.done = true;
                match flight.effect {
                    OnceOnlyWrite::Link => {
                        state.person.links.push(flight.pad);
                        state.ever_linked.push(flight.pad);
                        state.ever_linked.sort_unstable();
                        state.ever_linked.dedup();
                    }
                    OnceOnlyWrite::Note => state.person.notes.push(flight.pad),
                }
                if flight.owner.is_none() {
                    state.lever_flights.remove(index);
                }
            }
            ModelAction::WriteVanish(index) => drop(state.lever_flights.remove(index)),
            ModelAction::Tick => state.tick()?,
            ModelAction::Crash(p) => {
                state.left.crashes = state.left.crashes.checked_sub(1)?;
                state.processes[p] = Process::default();
                state.orphan(p);
            }
            ModelAction::TakeOver(p) => {
                state.left.handovers = state.left.handovers.checked_sub(1)?;
                state.leader = p;
            }
            ModelAction::Deliver { process, delivery, ending } => {
                self.deliver(state, process, delivery, ending)?
            }
            ModelAction::Move => {
                state.left.moves = state.left.moves.checked_sub(1)?;
                state.changed();
                state.person.in_stage = !state.person.in_stage;
                if state.person.in_stage {
                    state.person.entry += 1;
                    let receivers = if self.apart { self.processes } else { 1 };
                    state.deliveries.extend(vec![Delivery::default(); receivers]);
                }
            }
            ModelAction::Tag => {
                state.left.moves = state.left.moves.checked_sub(1)?;
                state.changed();
                state.person.tagged = !state.person.tagged;
            }
            ModelAction::Restore(slot) => {
                state.left.restores = state.left.restores.checked_sub(1)?;
                state.renew(slot, |object| object)?;
            }
            ModelAction::Recreate(slot) => {
                state.left.recreations = state.left.recreations.checked_sub(1)?;
                state.renew(slot, |_| Object::default())?;
            }
            ModelAction::End(id) => {
                state.left.ends = state.left.ends.checked_sub(1)?;
                state.pads.iter_mut().filter(|pad| pad.id == id).for_each(|pad| pad.ended = true);
            }
            ModelAction::Delete(slot) => {
                state.left.deletions = state.left.deletions.checked_sub(1)?;
                state.changed();
                // The other installation receives a delivery of the same entry, and that entry had its pad.
                state.deliveries.iter_mut().for_each(|delivery| delivery.old |= self.apart);
                let version = state.next_version(slot);
                let object = state.objects[slot].as_mut()?;
                object.deleting = true;
                object.version = version;
                if !object.finalizer {
                    state.objects[slot] = None;
                }
            }
        }
        Some(())
    }
}

impl ModelState {
    /// Marks the earlier deliveries as old.
    fn changed(&mut self) {
        self.told = false;
        self.deliveries.iter_mut().for_each(|delivery| delivery.old |= delivery.stored);
    }

    /// Replaces the Pad by a new object with another UID.
    fn renew(&mut self, slot: usize, kept: impl FnOnce(Object) -> Object) -> Option<()> {
        let version = self.next_version(slot);
        let uid = self.uids;
        self.uids += 1;
        let before = self.objects[slot].take()?;
        let renewed =
            Object { uid, version, phase: None, linked: false, recorded: false, handled: 0, ..kept(before) };
        self.objects[slot] = Some(renewed);
        Some(())
    }

    /// Removes a crashed process as the owner of its requests in flight. The requests continue.
    fn orphan(&mut self, p: usize) {
        let is_its = |owner: Option<At>| owner.is_some_and(|(process, _)| process == p);
        self.flights.iter_mut().filter(|flight| is_its(flight.owner)).for_each(|flight| flight.owner = None);
        self.flights.retain(|flight| flight.owner.is_some() || flight.pad.is_none());
        let writes = self.lever_flights.iter_mut().filter(|flight| is_its(flight.owner));
        writes.for_each(|flight| flight.owner = None);
        self.lever_flights.retain(|flight| flight.owner.is_some() || !flight.done);
    }
}
