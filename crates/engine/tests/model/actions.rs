//! The actions of the model and their effects: the API server, the services, time, crashes and people.

use super::execution::Variant;
use super::interned::Interned;
use super::objects::PadObject;
use super::pass::Denial;
use super::world::{
    At, Backup, CoderPad, Delivery, LIST_LAG_TICKS, Limit, Mark, ModelState, Mutant, PendingRequest, Process,
    RequestMemory, SLOTS, Scenario, StoredObject,
};
use api::configuration::DeletionPolicy;
use api::names::{self, OnceOnlyWrite};
use api::pad::{Phase, TriggerSource};
use serde_json::json;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// An action of the model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ModelAction {
    /// The cache of a process receives the current objects from its watch.
    Watch(usize),
    /// A process begins a pass, or executes the next effect of the decided command.
    Step(At, Variant),
    /// The POST leaves.
    Send(At),
    /// The process drops the POST, which certainly has no effect.
    GiveUp(At),
    /// CoderPad refuses the POST.
    Refuse(At),
    /// CoderPad creates the pad of this attempt.
    CreateEffect(u8),
    /// CoderPad never executes this attempt.
    CreateVanish(u8),
    /// The answer of the POST arrives.
    CreateAnswer(At),
    /// The answer of the POST is lost.
    CreateLost(At),
    /// The process drops the write that it claimed last, because its deadline has passed.
    SendTooLate(At),
    /// Lever adds the link or the note.
    LeverEffect(usize),
    /// Lever never adds the link or the note that a crashed process sent.
    LeverVanish(usize),
    /// The answer of Lever arrives.
    LeverAnswer(At),
    /// The answer of Lever is lost.
    LeverLost(At),
    /// Lever refuses the write.
    LeverRefuse(At, Denial),
    /// Sync scans the stage.
    Scan(usize),
    /// Sync reads the list of the stage.
    ListStage(usize),
    /// Sync applies the list that it has read.
    ApplyList(usize),
    /// Other Pads use up CoderPad's quota or the hourly limit.
    UseUp(Limit),
    /// The quota or the hourly limit permits pads again.
    FreeLimit,
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
    /// The opportunity becomes confidential, or accessible again.
    Confide,
    /// A person requests a reconcile of a failed Pad.
    Retry(usize),
    /// A person restores the Pad from a current backup: another UID and no status.
    Restore(usize),
    /// A person creates the Pad again: no status and no annotations.
    Recreate(usize),
    /// A backup of the cluster is taken.
    TakeBackup,
    /// A person restores the Pads of the backup: other UIDs and no status.
    RestoreBackup,
    /// A person restores the API server's database, and all processes start again.
    RestoreDatabase,
    /// A person deletes the Pad.
    Delete(usize),
    /// A person removes a link from the candidate.
    Unlink(u8),
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
    /// Returns the version of the next write to this slot.
    pub fn next_version(&self, slot: usize) -> u8 {
        self.versions(slot).last().copied().unwrap_or_default() + 1
    }

    /// Returns all versions of this slot that are in use, in ascending order.
    fn versions(&self, slot: usize) -> Vec<u8> {
        let mut versions: Vec<u8> = self.objects[slot].iter().map(|object| object.version).collect();
        for process in &self.processes {
            versions.extend(process.cache[slot].as_ref().map(|object| object.version));
            versions.extend(process.passes[slot].as_ref().map(|pass| pass.object.version));
            versions.extend(Some(process.written[slot]).filter(|version| *version > 0));
        }
        versions.sort_unstable();
        versions.dedup();
        versions
    }

    /// Stores an object. A Pad that is being deleted disappears with its finalizer.
    pub fn put(&mut self, slot: usize, object: Option<StoredObject>) {
        let is_gone = |object: &StoredObject| object.pad.stored.deleting && !object.pad.stored.finalizer;
        self.objects[slot] = object.filter(|object| !is_gone(object));
    }

    /// Creates the Pad of a slot, unless there is one.
    pub fn create(&mut self, slot: usize, n: u32, policy: DeletionPolicy, source: TriggerSource) {
        if self.objects[slot].is_none() {
            let version = self.next_version(slot);
            let pad = PadObject::created(n, self.uids, policy, source);
            self.uids += 1;
            self.objects[slot] = Some(StoredObject { pad, version });
        }
    }

    /// Changes the current object of a slot.
    pub fn change(&mut self, slot: usize, pad: Interned<PadObject>) {
        let version = self.next_version(slot);
        self.put(slot, Some(StoredObject { pad, version }));
    }

    /// Deletes the object of a slot, as soon as it has no finalizer.
    pub fn delete(&mut self, slot: usize) {
        if let Some(object) = self.objects[slot] {
            let deleting = object.pad.with(|json| {
                json["metadata"]["deletionTimestamp"] = json!(super::objects::now());
            });
            self.change(slot, deleting);
        }
    }

    pub fn add_served(&mut self, entries: Vec<u8>) {
        self.served.extend(entries);
        self.served.sort_unstable();
        self.served.dedup();
    }

    /// Returns a number that no attempt in the state uses.
    pub fn free_attempt(&self) -> u8 {
        let in_use = |number: u8| {
            self.creates.iter().any(|create| create.attempt == number)
                || self.processes.iter().any(|process| {
                    process.requests.iter().any(|(mark, _)| *mark == Mark::Attempt(number))
                        || process.passes.iter().flatten().any(|pass| match pass.request {
                            PendingRequest::Unsent { attempt, .. } | PendingRequest::Create { attempt } => {
                                attempt == number
                            }
                            PendingRequest::Nothing | PendingRequest::LeverWrite(_) => false,
                        })
                })
                || self.copies().any(|pad| {
                    let attempt = pad.stored.attempt.as_ref();
                    attempt.is_some_and(|attempt| Mark::parse(&attempt.to_string()) == Mark::Attempt(number))
                })
        };
        (0..=u8::MAX).find(|number| !in_use(*number)).unwrap()
    }

    /// Returns a number that no claim in the state uses.
    pub fn free_claim(&self) -> u8 {
        let in_use = |number: u8| {
            let is_remembered =
                |process: &Process| process.requests.iter().any(|(mark, _)| *mark == Mark::Claim(number));
            self.processes.iter().any(is_remembered)
                || self.copies().any(|pad| {
                    let claim = pad.stored.claim.as_ref();
                    claim.is_some_and(|claim| Mark::parse(&claim.to_string()) == Mark::Claim(number))
                })
        };
        (0..=u8::MAX).find(|number| !in_use(*number)).unwrap()
    }

    /// Returns all copies of Pads.
    fn copies(&self) -> impl Iterator<Item = Interned<PadObject>> {
        let held = self.processes.iter().flat_map(|process| {
            let passes = process.passes.iter().flatten().map(|pass| pass.object.pad);
            process.cache.iter().flatten().map(|object| object.pad).chain(passes)
        });
        let backup = self.backup.iter().flat_map(|backup| &backup.objects);
        self.objects.iter().chain(backup).flatten().map(|object| object.pad).chain(held)
    }

    /// Makes equivalent states equal: replaces versions by their rank, and removes memory that no process will read.
    pub fn normalize(&mut self) {
        for slot in 0..SLOTS {
            let versions = self.versions(slot);
            let rank = |version: &mut u8| {
                *version = u8::try_from(versions.partition_point(|one| one < version)).unwrap() + 1;
            };
            self.objects[slot].iter_mut().for_each(|object| rank(&mut object.version));
            for process in &mut self.processes {
                if process.written[slot] > 0 {
                    rank(&mut process.written[slot]);
                }
                process.cache[slot].iter_mut().for_each(|object| rank(&mut object.version));
                process.passes[slot].iter_mut().for_each(|pass| rank(&mut pass.object.version));
            }
        }
        let marks: Vec<Mark> = self
            .copies()
            .flat_map(|pad| pad.attempt.into_iter().chain(pad.claim.map(|(_, mark)| mark)))
            .collect();
        for process in &mut self.processes {
            process.requests.retain(|(mark, _)| marks.contains(mark));
            process.requests.sort_unstable_by_key(|(mark, _)| *mark);
        }
    }

    /// Makes two states equal that differ only by the numbers of two processes with the same rights.
    pub fn order_processes(&mut self) {
        let hash = |process: &Process| BuildHasherDefault::<DefaultHasher>::default().hash_one(process);
        let [first, second] = self.processes.as_mut_slice() else { return };
        if hash(first) > hash(second) {
            std::mem::swap(first, second);
            let creates = self.creates.iter_mut().map(|create| &mut create.owner);
            let writes = self.lever_writes.iter_mut().map(|write| &mut write.owner);
            for (p, _) in creates.chain(writes).flatten() {
                *p = 1 - *p;
            }
        }
    }

    /// Reports whether another action must happen before time can pass.
    pub fn is_due(&self) -> bool {
        let passes = || self.processes.iter().flat_map(|process| process.passes.iter().flatten());
        self.creates
            .iter()
            .any(|create| create.left == if create.owner.is_some() { LIST_LAG_TICKS } else { 0 })
            || self.lever_writes.iter().any(|write| write.left == 0)
            || passes().any(|pass| matches!(pass.request, PendingRequest::Unsent { left: 0, .. }))
            || passes().any(|pass| pass.send_within == Some(0))
    }

    /// Reports whether a process has claimed a write and not sent it yet.
    fn has_unsent_write(&self) -> bool {
        let mut passes = self.processes.iter().flat_map(|process| process.passes.iter().flatten());
        passes.any(|pass| pass.send_within.is_some())
    }

    fn tick(&mut self) -> Option<()> {
        if self.is_due() {
            return None;
        }
        let mut has_passed = false;
        let mut less = |left: &mut u8| {
            has_passed |= *left > 0;
            *left = left.saturating_sub(1);
        };
        self.creates.iter_mut().for_each(|create| less(&mut create.left));
        self.pads.iter_mut().filter_map(|pad| pad.unlisted.as_mut()).for_each(&mut less);
        for pad in self.pads.iter_mut().filter(|pad| pad.unlisted == Some(0)) {
            pad.unlisted = None;
        }
        self.lever_writes.iter_mut().for_each(|write| less(&mut write.left));
        for process in &mut self.processes {
            for pass in process.passes.iter_mut().flatten() {
                if let PendingRequest::Unsent { left, .. } = &mut pass.request {
                    less(left);
                }
                pass.send_within.iter_mut().for_each(&mut less);
            }
            for (_, memory) in &mut process.requests {
                if let RequestMemory::CompletesIn(left) = memory {
                    less(left);
                }
            }
        }
        has_passed.then_some(())
    }

    /// Marks the earlier deliveries as old.
    fn mark_deliveries_old(&mut self) {
        self.delivery_answered = false;
        self.deliveries.iter_mut().for_each(|delivery| delivery.old |= delivery.stored);
    }

    /// Removes a crashed process as the owner of its requests in flight. The requests continue.
    fn crash(&mut self, p: usize) {
        self.processes[p] = Process::default();
        let is_its = |owner: Option<At>| owner.is_some_and(|(process, _)| process == p);
        self.creates.iter_mut().filter(|create| is_its(create.owner)).for_each(|create| create.owner = None);
        self.creates.retain(|create| create.owner.is_some() || create.pad.is_none());
        let writes = self.lever_writes.iter_mut().filter(|write| is_its(write.owner));
        writes.for_each(|write| write.owner = None);
        self.lever_writes.retain(|write| write.owner.is_some() || !write.done);
    }

    /// Reports whether a Pad of a backup contains the mark of every request in flight. A write to Lever is in flight
    /// until its answer is stored.
    fn is_covered(&self, backup: &PadObject, current: &PadObject) -> bool {
        let has_attempt = backup.stored.attempt.is_some() && backup.stored.attempt == current.stored.attempt;
        has_attempt && self.lever_writes.is_empty() && !self.has_unsent_write()
    }

    /// Reports whether no link is in flight, and each link on the candidate is stored on a Pad.
    fn stores_links(&self) -> bool {
        let is_stored = |link: &u8| {
            let mut pads = self.objects.iter().flatten().map(|object| &object.pad.stored);
            pads.any(|pad| pad.linked && pad.pad_id.as_deref() == Some(&super::objects::pad_id(*link)))
        };
        self.lever_writes.is_empty() && self.candidate.links.iter().all(is_stored)
    }

    /// Reports whether the pad of this slot is linked and nothing is in flight.
    fn is_settled(&self, slot: usize) -> bool {
        self.objects[slot].is_some_and(|object| object.pad.stored.linked)
            && self.creates.is_empty()
            && self.lever_writes.is_empty()
            && !self.has_unsent_write()
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
            if left.slow_scans > 0 {
                actions.push(ModelAction::ListStage(p));
            }
            for s in 0..SLOTS {
                if left.api_answers > 0 {
                    actions.push(ModelAction::Step((p, s), Variant::AnswerLost));
                    actions.push(ModelAction::Step((p, s), Variant::ServerLost));
                }
                if left.stale_reads > 0 {
                    actions.push(ModelAction::Step((p, s), Variant::Stale));
                }
                if left.missing > 0 {
                    actions.push(ModelAction::Step((p, s), Variant::Missing));
                    actions.push(ModelAction::LeverRefuse((p, s), Denial::Missing));
                }
            }
        }
        if left.moves > 0 {
            actions.extend([ModelAction::Move, ModelAction::Tag]);
        }
        if left.confidences > 0 && (self.early_confidence || state.stores_links()) {
            actions.push(ModelAction::Confide);
        }
        if left.limits > 0 && state.limit == Limit::Free {
            actions.extend([ModelAction::UseUp(Limit::NoQuota), ModelAction::UseUp(Limit::HourFull)]);
        }
        let linked = state.pads.iter().filter(|pad| state.candidate.links.contains(&pad.id));
        for pad in linked {
            if left.ends > 0 && !pad.ended {
                actions.push(ModelAction::End(pad.id));
            }
            if left.unlinks > 0 {
                actions.push(ModelAction::Unlink(pad.id));
            }
        }
        for slot in 0..SLOTS {
            let Some(object) = state.objects[slot].filter(|object| !object.pad.stored.deleting) else {
                continue;
            };
            if left.retries > 0 && object.pad.stored.phase == Some(Phase::Failed) {
                actions.push(ModelAction::Retry(slot));
            }
            if left.restores > 0 {
                actions.push(ModelAction::Restore(slot));
            }
            if left.recreations > 0 && (self.early_restore || state.is_settled(slot)) {
                actions.push(ModelAction::Recreate(slot));
            }
            if left.deletions > 0 {
                actions.push(ModelAction::Delete(slot));
            }
            if let Some(backup) = &state.backup
                && let Some(before) = &backup.objects[slot]
                && left.backups > 0
                && before.pad != object.pad
                && (self.early_restore
                    || state.is_settled(slot)
                    || state.is_covered(&before.pad, &object.pad))
            {
                actions.extend([ModelAction::RestoreBackup, ModelAction::RestoreDatabase]);
            }
        }
        if left.backups > 1 {
            actions.push(ModelAction::TakeBackup);
        }
    }

    /// Adds the actions that happen without a new fault.
    pub fn progress(&self, state: &ModelState, actions: &mut Vec<ModelAction>) {
        for p in 0..self.processes {
            let process = &state.processes[p];
            let is_behind = match self.two_clusters {
                true => process.cache[p] != state.objects[p],
                false => process.cache != state.objects,
            };
            if is_behind {
                actions.push(ModelAction::Watch(p));
            }
            if self.sync {
                actions.push(ModelAction::Scan(p));
            }
            if process.list.is_some() {
                actions.push(ModelAction::ApplyList(p));
            }
            for s in 0..SLOTS {
                let at = (p, s);
                let pass = process.passes[s].as_ref();
                if self.delayed_sends && pass.is_some_and(|pass| pass.send_within == Some(0)) {
                    actions.push(ModelAction::SendTooLate(at));
                }
                match pass.map(|pass| pass.request) {
                    None if process.cache[s].is_none() => {}
                    None => actions.push(ModelAction::Step(at, Variant::Normal)),
                    Some(PendingRequest::Nothing) => {
                        actions.push(ModelAction::Step(at, Variant::Normal));
                        if state.pads.iter().any(|pad| pad.unlisted.is_some()) && state.left.stale_reads == 0
                        {
                            actions.push(ModelAction::Step(at, Variant::Stale));
                        }
                    }
                    Some(PendingRequest::Unsent { .. }) => {
                        actions.extend([ModelAction::Send(at), ModelAction::GiveUp(at)]);
                    }
                    Some(PendingRequest::Create { .. }) => {
                        actions.extend([ModelAction::CreateAnswer(at), ModelAction::CreateLost(at)]);
                        actions.push(ModelAction::Refuse(at));
                    }
                    Some(PendingRequest::LeverWrite(_)) => {
                        actions.extend([ModelAction::LeverAnswer(at), ModelAction::LeverLost(at)]);
                        actions.push(ModelAction::LeverRefuse(at, Denial::Forbidden));
                    }
                }
            }
            for (index, &Delivery { answered, stored, .. }) in state.deliveries.iter().enumerate() {
                let delivery = u8::try_from(index + 1).unwrap();
                if self.two_clusters && index % self.processes != p {
                    continue;
                }
                let deliver = |ending| ModelAction::Deliver { process: p, delivery, ending };
                let hides = |object: &StoredObject| {
                    object.pad.stored.requested && super::receiver::requested(&object.pad) > delivery
                };
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
        for create in &state.creates {
            if create.pad.is_none() {
                actions.push(ModelAction::CreateEffect(create.attempt));
            }
            if create.owner.is_none() {
                actions.push(ModelAction::CreateVanish(create.attempt));
            }
        }
        for (index, write) in state.lever_writes.iter().enumerate() {
            if !write.done {
                actions.push(ModelAction::LeverEffect(index));
            }
            if write.owner.is_none() {
                actions.push(ModelAction::LeverVanish(index));
            }
        }
        if state.limit != Limit::Free {
            actions.push(ModelAction::FreeLimit);
        }
        actions.push(ModelAction::Tick);
    }

    /// Performs an action. Returns None if it is impossible in this state.
    #[allow(clippy::too_many_lines)] // One arm per action.
    pub fn perform(&self, state: &mut ModelState, action: ModelAction) -> Option<()> {
        match action {
            ModelAction::Watch(p) if self.two_clusters => state.processes[p].cache[p] = state.objects[p],
            ModelAction::Watch(p) => state.processes[p].cache = state.objects,
            ModelAction::Step(at, variant) => self.step(state, at, variant)?,
            ModelAction::Send(at) => self.send(state, at)?,
            ModelAction::GiveUp(at) => self.give_up(state, at)?,
            ModelAction::Refuse(at) => self.refuse(state, at)?,
            ModelAction::CreateAnswer(at) => self.create_answer(state, at, false)?,
            ModelAction::CreateLost(at) => self.create_answer(state, at, true)?,
            ModelAction::LeverAnswer(at) => self.lever_answer(state, at, false)?,
            ModelAction::LeverLost(at) => self.lever_answer(state, at, true)?,
            ModelAction::SendTooLate((p, s)) => {
                let send_within = &mut state.processes[p].passes[s].as_mut()?.send_within;
                // The mutant `LateWrite` sends the write in spite of the deadline.
                *send_within = self.is(Mutant::LateWrite).then_some(u8::MAX);
            }
            ModelAction::CreateEffect(attempt) => {
                let id = u8::try_from(state.pads.len()).ok()?;
                let index = state.creates.iter().position(|create| create.attempt == attempt)?;
                let create = &mut state.creates[index];
                let unlisted = Some(create.left).filter(|left| *left > 0);
                create.pad = Some(id);
                let pad = CoderPad { id, notes: create.notes, deleted: false, ended: false, unlisted };
                let is_orphan = create.owner.is_none();
                state.pads.push(pad);
                if is_orphan {
                    state.creates.remove(index);
                }
            }
            ModelAction::CreateVanish(attempt) => state.creates.retain(|create| create.attempt != attempt),
            ModelAction::LeverEffect(index) => {
                if state.candidate.confidential {
                    return None;
                }
                let write = state.lever_writes.get_mut(index)?;
                write.done = true;
                match write.effect {
                    OnceOnlyWrite::Link => {
                        state.candidate.links.push(write.pad);
                        state.ever_linked.push(write.pad);
                        state.ever_linked.sort_unstable();
                        state.ever_linked.dedup();
                    }
                    OnceOnlyWrite::Note => state.candidate.notes.push(write.pad),
                }
                if write.owner.is_none() {
                    state.lever_writes.remove(index);
                }
            }
            ModelAction::LeverVanish(index) => drop(state.lever_writes.remove(index)),
            ModelAction::LeverRefuse(at, denial) => self.lever_refuse(state, at, denial)?,
            ModelAction::Scan(p) => self.scan(state, p)?,
            ModelAction::ListStage(p) => self.list_stage(state, p)?,
            ModelAction::ApplyList(p) => self.apply_list(state, p)?,
            ModelAction::UseUp(limit) => {
                state.left.limits = state.left.limits.checked_sub(1)?;
                state.limit = limit;
            }
            ModelAction::FreeLimit => state.limit = Limit::Free,
            ModelAction::Tick => state.tick()?,
            ModelAction::Crash(p) => {
                state.left.crashes = state.left.crashes.checked_sub(1)?;
                state.crash(p);
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
                state.mark_deliveries_old();
                state.candidate.in_stage = !state.candidate.in_stage;
                if state.candidate.in_stage {
                    state.candidate.entry += 1;
                    let receivers = if self.two_clusters { self.processes } else { 1 };
                    state.deliveries.extend(vec![Delivery::default(); receivers]);
                }
            }
            ModelAction::Tag => {
                state.left.moves = state.left.moves.checked_sub(1)?;
                state.mark_deliveries_old();
                state.candidate.tagged = !state.candidate.tagged;
            }
            ModelAction::Confide => {
                state.left.confidences = state.left.confidences.checked_sub(1)?;
                state.mark_deliveries_old();
                state.candidate.confidential = !state.candidate.confidential;
            }
            ModelAction::Retry(slot) => {
                state.left.retries = state.left.retries.checked_sub(1)?;
                let retried = annotate(&state.objects[slot]?.pad, &format!("{RETRY}-{:08}", 0));
                state.change(slot, retried);
            }
            ModelAction::Restore(slot) => {
                state.left.restores = state.left.restores.checked_sub(1)?;
                let before = state.objects[slot]?;
                self.restore(state, slot, before.pad, true);
            }
            ModelAction::Recreate(slot) => {
                state.left.recreations = state.left.recreations.checked_sub(1)?;
                let before = state.objects[slot]?;
                self.restore(state, slot, before.pad, false);
            }
            ModelAction::TakeBackup => {
                state.left.backups = state.left.backups.checked_sub(1)?;
                state.backup = Some(Backup { objects: state.objects, served: state.served.clone() });
            }
            ModelAction::RestoreBackup => {
                state.left.backups = state.left.backups.checked_sub(1)?;
                let backup = state.backup.take()?;
                for (slot, object) in backup.objects.iter().enumerate() {
                    if let Some(object) = object {
                        self.restore(state, slot, object.pad, true);
                    }
                }
            }
            ModelAction::RestoreDatabase => {
                state.left.backups = state.left.backups.checked_sub(1)?;
                let backup = state.backup.take()?;
                (0..self.processes).for_each(|p| state.crash(p));
                state.objects = backup.objects;
                state.served = backup.served;
            }
            ModelAction::End(id) => {
                state.left.ends = state.left.ends.checked_sub(1)?;
                state.pads.iter_mut().filter(|pad| pad.id == id).for_each(|pad| pad.ended = true);
            }
            ModelAction::Unlink(id) => {
                state.left.unlinks = state.left.unlinks.checked_sub(1)?;
                state.candidate.links.retain(|link| *link != id);
            }
            ModelAction::Delete(slot) => {
                state.left.deletions = state.left.deletions.checked_sub(1)?;
                state.mark_deliveries_old();
                // The other installation receives a delivery of the same entry, and that entry had its pad.
                state.deliveries.iter_mut().for_each(|delivery| delivery.old |= self.two_clusters);
                state.objects[slot]?;
                state.delete(slot);
            }
        }
        Some(())
    }

    /// Replaces the Pad by a copy with another UID.
    fn restore(
        &self,
        state: &mut ModelState,
        slot: usize,
        pad: Interned<PadObject>,
        keeps_annotations: bool,
    ) {
        let restored = pad.restored(state.uids, keeps_annotations);
        state.uids += 1;
        state.change(slot, restored);
    }
}

/// Request of a person, without the time of a delivery.
const RETRY: &str = "retry";

/// Adds a request to judge the Pad, as the receiver does.
pub fn annotate(pad: &PadObject, request: &str) -> Interned<PadObject> {
    pad.with(|json| json["metadata"]["annotations"][names::RECONCILE_REQUESTED_AT] = json!(request))
}
