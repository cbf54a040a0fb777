//! The receiver and sync of a process: the real decisions about a delivery and about a scan of the stage, from the
//! process's cache at that time.

use super::actions::{Ending, annotate};
use super::execution::slot_of;
use super::interned::{Interned, Memo};
use super::objects::{
    CONFIGURATION, OPPORTUNITY, PadObject, STAGE, effective_since, entry_time, opportunity,
};
use super::world::{Candidate, ModelState, Mutant, SLOTS, Scenario, StageList, StoredObject};
use api::Pad;
use api::configuration::{Existing, Repeat};
use api::names;
use api::pad::TriggerSource;
use api::served_stage_entries::{self, Fingerprint};
use engine::scan_action::{BackfillAction, BackfillRule, ListedCandidate, backfill_action, served};
use engine::stage_change::{PadAction, StageChangeEvent, choose_action};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The Pads in a cache.
type CachedPads = Vec<Interned<PadObject>>;

static DELIVERED: Memo<(CachedPads, u8), PadAction> = Memo::new();
static SCANNED: Memo<(CachedPads, u8, Vec<u8>), BackfillAction> = Memo::new();
static SERVED: Memo<(CachedPads, u8), bool> = Memo::new();

fn real_pads(known: &CachedPads) -> Vec<Arc<Pad>> {
    known.iter().map(|pad| Arc::new(pad.pad.clone())).collect()
}

/// Returns the real decision about a delivery.
fn delivered(known: CachedPads, delivery: u8) -> PadAction {
    DELIVERED.get((known, delivery), |(known, delivery)| {
        let change = StageChangeEvent {
            opportunity_id: OPPORTUNITY.into(),
            stage_id: STAGE.into(),
            at: Timestamp::from_millisecond(triggered_at(*delivery)).unwrap(),
            request: request(*delivery),
        };
        choose_action(&real_pads(known), &BTreeSet::new(), CONFIGURATION, &change)
    })
}

/// Returns the time at which a delivery was triggered, in milliseconds. A later delivery has a higher number.
fn triggered_at(delivery: u8) -> i64 {
    1_431_458_021_951 + i64::from(delivery)
}

fn request(delivery: u8) -> String {
    format!("{}-{delivery:08}", triggered_at(delivery))
}

/// Returns the number of the delivery in a Pad's annotation; 0 if there is none.
pub fn requested(pad: &PadObject) -> u8 {
    let asked = names::reconcile_requested_at(&pad.pad);
    asked.map_or(0, |asked| asked.rsplit('-').next().unwrap().parse().unwrap())
}

/// The rule of the configuration for sync.
fn rule() -> BackfillRule {
    BackfillRule {
        repeat: Repeat::AfterEnd,
        existing: Existing::Skip,
        since: effective_since(),
        is_settled: true,
        kept_skipped: SignedDuration::from_hours(24),
    }
}

/// Returns the row of the candidate in a list of the stage.
fn row(entry: u8) -> ListedCandidate {
    let candidate = Candidate {
        in_stage: true,
        tagged: true,
        flagged: false,
        confidential: false,
        entry,
        links: Vec::new(),
        notes: Vec::new(),
    };
    ListedCandidate::from_opportunity(&opportunity(&candidate), STAGE).unwrap()
}

impl Scenario {
    /// Delivers a webhook to a process.
    pub fn deliver(&self, state: &mut ModelState, p: usize, delivery: u8, ending: Ending) -> Option<()> {
        let index = usize::from(delivery - 1);
        if state.deliveries[index].answered {
            state.left.repeats = state.left.repeats.checked_sub(1)?;
        }
        if ending != Ending::Acknowledged {
            state.left.deliveries = state.left.deliveries.checked_sub(1)?;
        }
        let compares_ids = self.is(Mutant::DeliveryIds);
        let is_repeated = compares_ids && state.processes[p].received.contains(&delivery);
        if compares_ids && !is_repeated {
            state.processes[p].received.push(delivery);
        }
        if ending != Ending::NotStored && !is_repeated {
            self.store_delivery(state, p, delivery)?;
            state.deliveries[index].stored = true;
        }
        if ending == Ending::Acknowledged {
            state.deliveries[index].answered = true;
            state.delivery_answered |= !state.deliveries[index].old;
        }
        Some(())
    }

    /// Stores a delivery: the receiver decides from its cache, and decides again if the API server has a newer object.
    fn store_delivery(&self, state: &mut ModelState, p: usize, delivery: u8) -> Option<()> {
        let slots = self.slots(p);
        let mut known = state.processes[p].cache;
        for _ in 0..2 * SLOTS {
            let pads = slots.iter().filter_map(|slot| known[*slot]).map(|object| object.pad).collect();
            match delivered(pads, delivery) {
                PadAction::Nothing { .. } => return Some(()),
                PadAction::Annotate { name } => {
                    let slot = if self.two_clusters { p } else { slot_of(&name)? };
                    let Some(object) = state.objects[slot] else {
                        known[slot] = None;
                        continue;
                    };
                    let asked = annotate(&object.pad, &request(delivery));
                    if asked != object.pad {
                        state.change(slot, asked);
                    }
                    if !asked.stored.deleting {
                        return Some(());
                    }
                    known[slot] = state.objects[slot];
                }
                PadAction::Create { n } => {
                    // The model has no slot for another Pad.
                    let slot = *slots.get(usize::try_from(n - 1).unwrap())?;
                    if state.objects[slot].is_none() {
                        state.create(slot, n, self.policy, TriggerSource::Webhook);
                        return Some(());
                    }
                    slots.iter().for_each(|slot| known[*slot] = state.objects[*slot]);
                }
            }
        }
        None
    }

    /// Returns the slots of a process's cluster.
    fn slots(&self, p: usize) -> Vec<usize> {
        if self.two_clusters { vec![p] } else { (0..SLOTS).collect() }
    }

    /// Sync reads the list of the stage and applies it at once.
    pub fn scan(&self, state: &mut ModelState, p: usize) -> Option<()> {
        let list = self.list(state, p)?;
        self.apply_rows(state, p, &list)
    }

    /// Sync reads the list of the stage.
    pub fn list_stage(&self, state: &mut ModelState, p: usize) -> Option<()> {
        state.left.slow_scans = state.left.slow_scans.checked_sub(1)?;
        let list = self.list(state, p)?;
        state.processes[p].list = Some(list);
        Some(())
    }

    /// Sync applies the list that it has read.
    pub fn apply_list(&self, state: &mut ModelState, p: usize) -> Option<()> {
        let list = state.processes[p].list.take()?;
        self.apply_rows(state, p, &list)
    }

    /// Requests the deletion of Pads whose TTL has passed. A Pad that has changed since the list was read is left to the
    /// next scan.
    fn expire(&self, state: &mut ModelState, p: usize, list: &StageList) {
        let process = &mut state.processes[p];
        for slot in self.slots(p) {
            let cached = process.cache[slot].map(|object| object.pad).filter(|_| self.spec.ttl);
            let unchanged = cached.filter(|pad| list.pads[slot] == Some(*pad));
            process.expired[slot] |= unchanged.is_some_and(super::pass::is_expired);
        }
    }

    fn list(&self, state: &ModelState, p: usize) -> Option<StageList> {
        let entry = Some(state.candidate.entry).filter(|_| state.candidate.is_eligible());
        let is_leader = state.leader == p || self.all_lead;
        let cached =
            state.processes[p].cache.map(|object| object.filter(|_| self.spec.ttl).map(|one| one.pad));
        is_leader.then(|| StageList { entry, served: state.served.clone(), pads: cached })
    }

    /// Sync creates a missing Pad or requests that one is judged, then stores the served entries.
    fn apply_rows(&self, state: &mut ModelState, p: usize, list: &StageList) -> Option<()> {
        let Some(entry) = list.entry else {
            self.expire(state, p, list);
            return Some(());
        };
        let slots = self.slots(p);
        let pads = |objects: &[Option<StoredObject>; SLOTS]| -> CachedPads {
            slots.iter().filter_map(|slot| objects[*slot]).map(|object| object.pad).collect()
        };
        let mut known = pads(&state.processes[p].cache);
        let forgets = self.is(Mutant::ForgetServed);
        let stored = if forgets { Vec::new() } else { list.served.clone() };
        let action = SCANNED.get((known.clone(), entry, stored), |(known, entry, stored)| {
            let all = stored.iter().map(|entry| Fingerprint::new(OPPORTUNITY, entry_time(*entry)));
            let entries = served_stage_entries::add(None, all);
            backfill_action(&rule(), &row(*entry), &real_pads(known), entries.as_deref())
        });
        match action {
            BackfillAction::Nothing => {}
            BackfillAction::Make { .. } if self.is(Mutant::SyncCreatesNothing) => {}
            BackfillAction::Make { n, .. } => {
                let slot = *slots.get(usize::try_from(n - 1).unwrap())?;
                state.create(slot, n, self.policy, TriggerSource::Sync);
                known.extend(state.objects[slot].map(|object| object.pad));
            }
            BackfillAction::Judge(name) => {
                let slot = if self.two_clusters { p } else { slot_of(&name)? };
                state.processes[p].judge[slot] = true;
            }
            BackfillAction::Skip(name) => panic!("no candidate precedes the rule: {name}"),
        }
        let is_served = SERVED
            .get((known, entry), |(known, entry)| served(&rule(), &row(*entry), &real_pads(known)).is_some());
        // The write fails if the served entries have changed since they were read.
        if is_served && !forgets && state.served == list.served {
            state.add_served(vec![entry]);
        }
        Some(())
    }
}
