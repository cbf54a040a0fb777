//! The receiver of a process: the real decision about a delivery, from the process's cache at that time.

use super::actions::Ending;
use super::adapter::{Decided, decided};
use super::state::{ModelState, Object, SLOTS, Scenario, Wrong};

impl Scenario {
    /// Delivers a webhook to a process. The real receiver decides from the cache, and decides again if the API server
    /// has a newer object.
    pub fn deliver(&self, state: &mut ModelState, p: usize, delivery: u8, ending: Ending) -> Option<()> {
        let index = usize::from(delivery - 1);
        if state.deliveries[index].answered {
            state.left.repeats = state.left.repeats.checked_sub(1)?;
        }
        if ending != Ending::Acknowledged {
            state.left.deliveries = state.left.deliveries.checked_sub(1)?;
        }
        let ids = self.wrong == Some(Wrong::DeliveryIds);
        let is_heard = ids && state.processes[p].heard.contains(&delivery);
        if ids && !is_heard {
            state.processes[p].heard.push(delivery);
        }
        if ending != Ending::NotStored && !is_heard {
            match self.apart {
                true => state.store_apart(p, delivery)?,
                false => state.store(state.processes[p].cache.clone(), delivery)?,
            }
            state.deliveries[index].stored = true;
        }
        if ending == Ending::Acknowledged {
            state.deliveries[index].answered = true;
            state.told |= !state.deliveries[index].old;
        }
        Some(())
    }
}

impl ModelState {
    /// Stores a delivery in a separate cluster. Its one Pad is in the slot of the process.
    fn store_apart(&mut self, p: usize, delivery: u8) -> Option<()> {
        let mut known: [Option<Object>; SLOTS] = Default::default();
        known[0] = self.processes[p].cache[p].clone();
        for _ in 0..2 * SLOTS {
            match decided(&known, delivery) {
                Decided::Nothing => return Some(()),
                Decided::Annotate(_) => {
                    let version = self.next_version(p);
                    let Some(object) = &mut self.objects[p] else {
                        known[0] = None;
                        continue;
                    };
                    if object.asked != delivery {
                        object.asked = delivery;
                        object.version = version;
                    }
                    if !object.deleting {
                        return Some(());
                    }
                    known[0] = Some(object.clone());
                }
                // The model has no slot for another Pad.
                Decided::Create(n) if n > 0 => return None,
                Decided::Create(_) if self.objects[p].is_some() => known[0] = self.objects[p].clone(),
                Decided::Create(_) => {
                    let version = self.next_version(p);
                    let uid = self.uids;
                    self.uids += 1;
                    self.objects[p] = Some(Object { uid, version, ..Object::default() });
                    return Some(());
                }
            }
        }
        None
    }

    fn store(&mut self, mut known: [Option<Object>; SLOTS], delivery: u8) -> Option<()> {
        for _ in 0..2 * SLOTS {
            match decided(&known, delivery) {
                Decided::Nothing => return Some(()),
                Decided::Annotate(slot) => {
                    let version = self.next_version(slot);
                    let Some(object) = &mut self.objects[slot] else {
                        known[slot] = None;
                        continue;
                    };
                    if object.asked != delivery {
                        object.asked = delivery;
                        object.version = version;
                    }
                    if !object.deleting {
                        return Some(());
                    }
                    known[slot] = Some(object.clone());
                }
                // The model has no slot for another Pad.
                Decided::Create(slot) if slot >= SLOTS => return None,
                Decided::Create(slot) if self.objects[slot].is_some() => known = self.objects.clone(),
                Decided::Create(slot) => {
                    let version = self.next_version(slot);
                    let uid = self.uids;
                    self.uids += 1;
                    self.objects[slot] = Some(Object { uid, version, ..Object::default() });
                    return Some(());
                }
            }
        }
        None
    }
}
