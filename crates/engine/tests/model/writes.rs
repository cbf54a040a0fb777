//! The writes of a process to a Pad: `write_metadata`, `write_status`, and the reaction of `execute` to a conflict.

use super::adapter::ReportedStatus;
use super::process::{At, claimed};
use super::state::{
    ClaimMark, ClaimedKnown, Intention, Known, LEAVES, Mark, ModelClaim, ModelState, Object, RecordKnown,
    Scenario, Seen, Stopped, Wrong,
};
use api::names::OnceOnlyWrite;

/// A change to the metadata of a Pad.
#[derive(Default)]
pub struct Change {
    pub attempt: Option<Option<Intention>>,
    pub pad: Option<u8>,
    pub claim: Option<ModelClaim>,
    pub finalizer: Option<bool>,
    pub yields: Option<bool>,
    /// Whether to remove everything that names the pad.
    pub forget: bool,
}

impl Change {
    fn already_applied(&self, now: &Object) -> bool {
        self.attempt.is_none_or(|attempt| now.attempt == attempt)
            && self.pad.is_none_or(|pad| now.pad == Some(pad))
            && self.claim.is_none_or(|claim| now.claim == Some(claim))
            && self.finalizer.is_none_or(|finalizer| now.finalizer == finalizer)
            && self.yields.is_none_or(|yields| now.yields == yields)
            && !self.forget
    }

    fn apply(&self, object: &mut Object) {
        if let Some(attempt) = self.attempt {
            object.attempt = attempt;
        }
        object.pad = self.pad.or(object.pad);
        object.claim = self.claim.or(object.claim);
        object.finalizer = self.finalizer.unwrap_or(object.finalizer);
        object.yields = self.yields.unwrap_or(object.yields);
        if self.forget {
            (object.attempt, object.pad, object.claim, object.yields) = (None, None, None, false);
        }
    }
}

impl Scenario {
    /// Writes metadata, as `write_metadata` does. Returns false on a conflict.
    pub fn write(&self, state: &mut ModelState, (p, s): At, known: &mut Known, change: &Change) -> bool {
        let version = state.next_version(s);
        let Some(now) = &mut state.objects[s] else { return false };
        let is_intention = matches!(change.attempt, Some(Some(_)));
        let blind = is_intention && self.is(Wrong::IntentionWithoutConflict);
        if now.version == known.object.version || blind {
            change.apply(now);
            now.version = version;
        } else if change.pad.is_some() || now.uid != known.object.uid || !change.already_applied(now) {
            // If two processes store the same pad ID, the write of only one of them succeeds.
            return false;
        }
        let before = known.object.open_claim();
        known.object = now.clone();
        state.processes[p].written[s] = known.object.version;
        if now.deleting && !now.finalizer {
            state.objects[s] = None;
        }
        // A write to Lever that another process has claimed in the meantime may be in flight.
        if known.object.open_claim() != before {
            let is_due = state.is_due();
            known.claimed = claimed(&mut state.processes[p], &known.object, is_due);
        }
        true
    }

    /// Stores the pad ID. Returns the number of ticks within which the link must leave, if the process claimed it.
    pub fn store(
        &self,
        state: &mut ModelState,
        at: At,
        known: &mut Known,
        pad: u8,
        keep_finalizer: bool,
        claim_link: bool,
    ) -> Option<u8> {
        let (p, s) = at;
        let attempt = known.object.attempt;
        let change = |known: &Known| Change {
            pad: Some(pad),
            finalizer: Some(keep_finalizer || known.object.deleting),
            ..Change::default()
        };
        let first = change(known);
        if !self.write(state, at, known, &first) {
            // The conflicting write does not change the owner of the pad.
            let now = state.objects[s].clone().filter(|now| now.uid == known.object.uid);
            let Some(now) = now else {
                known.stopped = Some(Stopped::Conflict);
                return None;
            };
            state.processes[p].written[s] = now.version;
            known.object = now;
            if known.object.attempt == attempt && known.object.pad == Some(pad) {
                let is_due = state.is_due();
                known.claimed = claimed(&mut state.processes[p], &known.object, is_due);
                known.record = state.read(pad).map_or(RecordKnown::NotFound, RecordKnown::Read);
                return None;
            }
            let second = change(known);
            if known.object.attempt != attempt
                || known.object.pad.is_some()
                || !self.write(state, at, known, &second)
            {
                known.stopped = Some(Stopped::Conflict);
                return None;
            }
        }
        let process = &mut state.processes[p];
        if let Some(attempt) = attempt {
            process.seen.retain(|(id, _)| *id != attempt.id);
        }
        process.remember(ClaimMark::Pad(pad), Seen::WithoutEffect);
        known.claimed =
            if claim_link { ClaimedKnown::Ours(OnceOnlyWrite::Link) } else { ClaimedKnown::Nothing };
        known.record = state.read(pad).map_or(RecordKnown::NotFound, RecordKnown::Read);
        claim_link.then_some(LEAVES)
    }

    /// Claims a write to Lever. Returns the number of ticks within which the write must leave, if the claim succeeded.
    pub fn claim(
        &self,
        state: &mut ModelState,
        at: At,
        known: &mut Known,
        effect: OnceOnlyWrite,
    ) -> Option<u8> {
        let claim = ModelClaim { id: state.free_claim(), effect };
        let finalizer = (effect == OnceOnlyWrite::Link).then_some(true);
        if !self.write(state, at, known, &Change { claim: Some(claim), finalizer, ..Change::default() }) {
            known.stopped = Some(Stopped::Conflict);
            return None;
        }
        state.processes[at.0].remember(ClaimMark::Claim(claim.id), Seen::WithoutEffect);
        known.claimed = ClaimedKnown::Ours(effect);
        Some(LEAVES)
    }

    pub fn forget_attempt(&self, state: &mut ModelState, at: At, known: &mut Known) -> bool {
        let change = Change { attempt: Some(None), finalizer: Some(false), ..Change::default() };
        self.write(state, at, known, &change)
    }

    /// Writes the changed fields of the status, unless another process has changed the same fields. Corresponds to
    /// `status` and `write_status`.
    pub fn write_status(&self, state: &mut ModelState, (p, s): At, known: &Known, told: ReportedStatus) {
        let before = &known.object;
        let mut after = before.clone();
        match told {
            ReportedStatus::Nothing => return,
            ReportedStatus::Unchanged => {}
            ReportedStatus::Phase(mark) => {
                after.phase = Some(mark);
                after.linked |= matches!(mark, Mark::Open | Mark::Ended);
            }
            ReportedStatus::Owned => (after.phase, after.linked) = (Some(Mark::Skipped), false),
            ReportedStatus::Recorded => {
                after.phase = Some(Mark::Ended);
                after.linked = true;
                after.recorded = true;
            }
        }
        after.handled = before.asked;
        let shown = |object: &Object| (object.phase, object.linked, object.recorded);
        let (judged, handled) = (shown(before) != shown(&after), before.handled != after.handled);
        if !judged && !handled {
            return;
        }
        let version = state.next_version(s);
        let Some(now) = &mut state.objects[s] else { return };
        let is_free = now.uid == before.uid
            && (!judged || shown(now) == shown(before))
            && (!handled || now.handled == before.handled);
        if now.version != before.version && !is_free {
            return;
        }
        if judged {
            (now.phase, now.linked, now.recorded) = shown(&after);
        }
        if handled {
            now.handled = after.handled;
        }
        now.version = version;
        state.processes[p].written[s] = version;
        if let (ReportedStatus::Phase(Mark::Open) | ReportedStatus::Recorded, Some((_, mark))) =
            (told, before.open_claim())
        {
            state.processes[p].claims.retain(|(one, _)| *one != mark);
        }
    }
}
