//! A model of the "exactly once" protocol for a model checker. It explores every order in which the operator, the API
//! server, CoderPad, Lever, time, crashes and people can act, within the bounds of each scenario.
//!
//! Real code: the Pads and everything that is derived from them (`observe`, `ttl`), the rules (`decide`), also those of
//! `tags.failed` after the outcome, the knowledge of a pass (`apply`), the content of each write to a Pad (`pad_changes`,
//! `patch`), the meaning of conflicts, lost answers and searches (`patch`, `pad_changes`, `in_flight`, `search`), the
//! status (`status`), and the decisions of the receiver (`stage_change`) and of sync (`scan_action`). [`objects`] builds
//! the real objects, and [`pass`] runs the real code.
//!
//! Modelled: the API server with its versions, merge patches and finalizers; CoderPad and Lever; the watch; time;
//! crashes; people; the processes' memory of requests in flight; and the order of the effects of one command
//! ([`execution`], [`actions`], [`receiver`]). A result is valid for at most as many faults as the scenario allows.
//!
//! Every property holds in `scenarios`. `known_limits` contains the faults that the model has found in the protocol.
//! `mutants` are wrong on purpose, and the model must find each of them. Run with `--nocapture` to see the number of
//! explored states.
//!
//! Simplifications: one candidate and one configuration, whose connection is always Ready; no take-homes, no final code,
//! and no `spec.state: Ended`; of the operator's tags only `tags.failed`, whose writes are answered at once; no backoff.
//! Time is counted in ticks. If a deadline and a wait end in the same tick, the deadline ends first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // This is how a test fails, in its helpers too.

mod actions;
mod execution;
mod interned;
mod known_limits;
mod mutants;
mod objects;
mod pass;
mod properties;
mod receiver;
mod scenarios;
mod world;

use actions::ModelAction;
use api::configuration::DeletionPolicy;
use api::names;
use interned::Interned;
use objects::{Notes, PadObject};
use serde_json::json;
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::time::{Duration, Instant};
use world::{
    Candidate, CoderPad, Delivery, FaultBudget, InitialPad, Limit, ModelState, NONE, Process, SLOTS,
    Scenario, Spec, StoredObject,
};

impl Model for Scenario {
    type State = ModelState;
    type Action = ModelAction;

    fn init_states(&self) -> Vec<ModelState> {
        let has_pad = matches!(self.initial, InitialPad::Stored | InitialPad::Open);
        let is_stored = self.two_clusters || self.initial != InitialPad::Absent;
        let links = if self.initial == InitialPad::Open { vec![FIRST_PAD] } else { Vec::new() };
        let first = CoderPad {
            id: FIRST_PAD,
            notes: Notes::of_first_entry(),
            deleted: false,
            ended: false,
            unlisted: None,
        };
        vec![ModelState {
            objects: self.first_objects(),
            processes: vec![Process::default(); self.processes],
            leader: 0,
            creates: Vec::new(),
            lever_writes: Vec::new(),
            pads: if has_pad { vec![first] } else { Vec::new() },
            candidate: Candidate {
                in_stage: true,
                tagged: true,
                flagged: false,
                confidential: false,
                entry: 0,
                links: links.clone(),
                notes: Vec::new(),
            },
            limit: Limit::Free,
            ever_linked: links,
            served: Vec::new(),
            backup: None,
            deliveries: vec![
                Delivery { answered: is_stored, stored: is_stored, old: false };
                if self.two_clusters { self.processes } else { 1 }
            ],
            left: self.faults,
            uids: if self.two_clusters { 2 } else { 1 },
            created_ineligible: false,
            touched_foreign: false,
            delivery_answered: self.two_clusters,
        }]
    }

    fn actions(&self, state: &ModelState, actions: &mut Vec<ModelAction>) {
        self.possible(state, actions);
    }

    fn next_state(&self, state: &ModelState, action: ModelAction) -> Option<ModelState> {
        self.after(state, action)
    }

    fn properties(&self) -> Vec<Property<Scenario>> {
        properties::all()
    }
}

/// ID of the first pad of a scenario that begins with one.
const FIRST_PAD: u8 = 0;

impl Scenario {
    fn first_objects(&self) -> [Option<StoredObject>; SLOTS] {
        let version = 1;
        let created = |uid| PadObject::created(1, uid, self.policy, api::pad::TriggerSource::Webhook);
        if self.two_clusters {
            // Both installations have stored the webhook of the same stage entry.
            return [0, 1].map(|uid| Some(StoredObject { pad: created(uid), version }));
        }
        let pad = match self.initial {
            InitialPad::Absent => return [None, None],
            InitialPad::Manual => PadObject::manual(0, self.policy),
            InitialPad::Stored => self.with_pad(&created(0)),
            InitialPad::Open => self.with_pad(&created(0)).with(|json| {
                json["status"] = json!({
                    "phase": "Open", "reason": "Open", "linkedAt": objects::now(), "phaseSince": objects::now(),
                    "padID": objects::pad_id(FIRST_PAD), "url": objects::url(FIRST_PAD),
                    "entryAt": objects::entry_time(0), "observedGeneration": 1,
                });
            }),
        };
        [Some(StoredObject { pad, version }), None]
    }

    /// Returns a Pad with the ID of the first pad.
    fn with_pad(&self, pad: &PadObject) -> Interned<PadObject> {
        let reference = Notes::of_first_entry().value().reference.clone();
        pad.with(|json| {
            json["metadata"]["annotations"] = json!({
                names::ATTEMPT: format!("{reference}@{}", objects::numbered_time(0)),
                names::PAD_ID: objects::pad_id(FIRST_PAD),
            });
            if self.policy != DeletionPolicy::Retain {
                json["metadata"]["finalizers"] = json!([names::FINALIZER]);
            }
        })
    }

    /// Returns the state after an action, or None if the action changes nothing.
    fn after(&self, state: &ModelState, action: ModelAction) -> Option<ModelState> {
        let mut after = state.clone();
        self.perform(&mut after, action)?;
        after.normalize();
        if self.all_lead && !self.two_clusters {
            after.order_processes();
        }
        (after != *state).then_some(after)
    }

    /// Returns a scenario with one process and no faults.
    fn calm() -> Self {
        Scenario {
            processes: 1,
            faults: NONE,
            policy: DeletionPolicy::Retain,
            spec: Spec::default(),
            two_clusters: false,
            all_lead: false,
            sync: false,
            delayed_sends: false,
            late_writes: false,
            early_restore: false,
            early_confidence: false,
            old_hides_new: false,
            initial: InitialPad::Absent,
            mutant: None,
        }
    }

    fn with(self, faults: FaultBudget) -> Self {
        Scenario { faults, ..self }
    }

    /// Explores all states and prints their number. Fails with the shortest path to the first violation.
    fn holds(self, name: &str) {
        let began = Instant::now();
        let search = self.checker().threads(2).finish_when(HasDiscoveries::AnyFailures);
        let checker = search.timeout(CHECK_TIMEOUT).spawn_bfs().join();
        let (states, depth, seconds) =
            (checker.unique_state_count(), checker.max_depth(), began.elapsed().as_secs_f32());
        println!("{name}: {states} states, {depth} deep, {seconds:.1} s");
        assert!(began.elapsed() < CHECK_TIMEOUT, "{name}: not all was explored");
        for (property, path) in checker.discoveries() {
            let is_failure = checker.model().property(property).expectation.discovery_is_failure();
            assert!(!is_failure, "{name}: not so: {property}:\n{}", trace_of(path.into_vec()));
        }
        checker.assert_properties();
    }

    /// Finds and prints the shortest path to a violation of the property.
    fn breaks(self, name: &str, property: &'static str) {
        let search = self.checker().finish_when(HasDiscoveries::AnyOf([property].into()));
        let checker = search.timeout(CHECK_TIMEOUT).spawn_bfs().join();
        let path = checker.assert_any_discovery(property);
        let states = checker.unique_state_count();
        println!(
            "{name}: not so: {property}: {} actions, {states} states",
            path.clone().into_actions().len()
        );
        println!("    {:?}", path.into_actions());
    }
}

/// Timeout of one scenario. No scenario needs that long. The timeout ends a scenario whose state space grows out of
/// bounds after a change.
const CHECK_TIMEOUT: Duration = Duration::from_secs(400);

/// Returns a path as text: one action per line with the command that a step executes, then the last state.
fn trace_of(path: Vec<(ModelState, Option<ModelAction>)>) -> String {
    let last = path.last().map(|(state, _)| format!("{state:#?}")).unwrap_or_default();
    let line = |(state, action): &(ModelState, Option<ModelAction>)| {
        let action = (*action)?;
        let pass = match action {
            ModelAction::Step((p, s), _) => state.processes[p].passes[s].as_ref(),
            _ => None,
        };
        Some(match pass {
            Some(pass) => format!("{action:?}: {:?}", pass.state),
            None => format!("{action:?}"),
        })
    };
    let lines: Vec<String> = path.iter().filter_map(line).collect();
    format!("{}\n{last}", lines.join("\n"))
}
