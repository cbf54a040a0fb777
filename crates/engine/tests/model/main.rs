//! A model of the "exactly once" protocol for a model checker. It explores every order in which the operator, the API
//! server, CoderPad, Lever, time, crashes and people can act, within the bounds of each scenario.
//!
//! The rules of Pads and the receiver's decision are the real code ([`adapter`]). The steps of `execute` between its
//! effects ([`process`], [`writes`]), the writes of the receiver ([`receiver`]), and the environment ([`actions`]) are
//! modelled. A result is valid for at most as many faults as the scenario allows.
//!
//! Every property holds in `scenarios`. `known_limits` contains the faults that the model has found in the protocol.
//! `mutants` are wrong on purpose, and the model must find each of them. Run with `--nocapture` to see the number of
//! explored states.
//!
//! Simplifications: one candidate, one configuration, no sync, atomic reads and searches, and no lost responses of the
//! API server (a crash before or after the write represents them). Time is counted in ticks. If a deadline and a wait
//! end in the same tick, the deadline ends first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // This is how a test fails, in its helpers too.

mod actions;
mod adapter;
mod known_limits;
mod mutants;
mod process;
mod properties;
mod receiver;
mod scenarios;
mod state;
mod writes;

use actions::ModelAction;
use api::configuration::DeletionPolicy;
use state::{
    Begins, CoderPad, Delivery, FaultBudget, Intention, Mark, ModelState, Object, Person, Process, SLOTS,
    Scenario,
};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::time::{Duration, Instant};

impl Model for Scenario {
    type State = ModelState;
    type Action = ModelAction;

    fn init_states(&self) -> Vec<ModelState> {
        let is_stored = self.apart || self.begins != Begins::Unknown;
        vec![ModelState {
            objects: self.first_objects(),
            processes: vec![Process::default(); self.processes],
            leader: 0,
            flights: Vec::new(),
            lever_flights: Vec::new(),
            pads: if self.begins == Begins::Unknown { Vec::new() } else { vec![FIRST_PAD] },
            person: Person {
                in_stage: true,
                tagged: true,
                entry: 0,
                links: if self.begins == Begins::Open { vec![FIRST_PAD.id] } else { Vec::new() },
                notes: Vec::new(),
            },
            ever_linked: if self.begins == Begins::Open { vec![FIRST_PAD.id] } else { Vec::new() },
            served: Vec::new(),
            deliveries: vec![
                Delivery { answered: is_stored, stored: is_stored, old: false };
                if self.apart { self.processes } else { 1 }
            ],
            left: self.faults,
            uids: if self.apart { 2 } else { 1 },
            unqualified: false,
            touched: false,
            told: self.apart,
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

/// The first pad of a scenario that begins with one.
const FIRST_PAD: CoderPad =
    CoderPad { id: 0, entry: 0, salt: 0, installation: 0, deleted: false, ended: false, unlisted: None };

impl Scenario {
    fn first_objects(&self) -> [Option<Object>; SLOTS] {
        let stored = Object {
            attempt: Some(Intention { id: 0, entry: 0 }),
            pad: Some(FIRST_PAD.id),
            finalizer: self.policy != DeletionPolicy::Retain,
            version: 1,
            ..Object::default()
        };
        if self.apart {
            // Both installations have stored the webhook of the same stage entry.
            return [0, 1].map(|uid| Some(Object { uid, version: 1, ..Object::default() }));
        }
        let first = match self.begins {
            Begins::Unknown => None,
            Begins::Stored => Some(stored),
            Begins::Open => Some(Object { phase: Some(Mark::Open), linked: true, ..stored }),
        };
        [first, None]
    }

    /// Returns the state after an action, or None if the action changes nothing.
    fn after(&self, state: &ModelState, action: ModelAction) -> Option<ModelState> {
        let mut after = state.clone();
        self.apply(&mut after, action)?;
        after.normalize();
        (after != *state).then_some(after)
    }

    /// Returns a scenario with one process and no faults.
    fn calm() -> Self {
        Scenario {
            processes: 1,
            faults: FaultBudget::default(),
            policy: DeletionPolicy::Retain,
            apart: false,
            all_lead: false,
            frozen: false,
            late_writes: false,
            old_backup: false,
            old_hides_new: false,
            begins: Begins::Unknown,
            wrong: None,
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

/// Returns a path as text: one action per line, then the last state.
fn trace_of(path: Vec<(ModelState, Option<ModelAction>)>) -> String {
    let last = path.last().map(|(state, _)| format!("{state:#?}")).unwrap_or_default();
    let lines: Vec<String> =
        path.iter().filter_map(|(_, action)| Some(format!("{:?}", (*action)?))).collect();
    format!("{}\n{last}", lines.join("\n"))
}
