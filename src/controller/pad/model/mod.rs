//! The protocol of "exactly once" in a model checker: every order in which the operator, the API server, CoderPad,
//! Lever, time, crashes and people can act, within the bounds of each world.
//!
//! Real: the plan of Pads and the receiver's decision ([`adapter`]). Modelled: what `execute` does between its effects
//! ([`process`], [`writes`]), what the receiver stores ([`receiver`]), and the world around them ([`actions`]). A
//! conclusion holds for as much trouble at once as a world allows.
//!
//! `scenarios` hold, `known_limits` are what the model has found wrong with the protocol, `mutants` are wrong on purpose and must
//! be found. Run with `--nocapture` to see how many states were explored.
//!
//! Simplified: one candidate, one configuration, no sync, reads and searches in one piece, no lost answers of the API
//! server (a crash before or after the write stands for them). Time is counted in ticks; a wait and a deadline that end
//! in the same tick end in the order deadline, wait.

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

use crate::api::configuration::DeletionPolicy;
use actions::Action;
use state::{
    Begins, CoderPad, Delivery, Intention, Mark, Object, Person, Process, SLOTS, State, Trouble, World,
};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::time::{Duration, Instant};

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let is_stored = self.apart || self.begins != Begins::Unknown;
        vec![State {
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
            left: self.trouble,
            uids: if self.apart { 2 } else { 1 },
            unqualified: false,
            touched: false,
            told: self.apart,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.after(state, action)
    }

    fn properties(&self) -> Vec<Property<World>> {
        properties::all()
    }
}

/// The pad of a world that begins with an open one.
const FIRST_PAD: CoderPad =
    CoderPad { id: 0, entry: 0, salt: 0, installation: 0, deleted: false, ended: false, unlisted: None };

impl World {
    fn first_objects(&self) -> [Option<Object>; SLOTS] {
        let stored = Object {
            attempt: Some(Intention { id: 0, entry: 0 }),
            pad: Some(FIRST_PAD.id),
            finalizer: self.policy != DeletionPolicy::Retain,
            version: 1,
            ..Object::default()
        };
        if self.apart {
            // Both have stored the webhook of the same stage entry.
            return [0, 1].map(|uid| Some(Object { uid, version: 1, ..Object::default() }));
        }
        let first = match self.begins {
            Begins::Unknown => None,
            Begins::Stored => Some(stored),
            Begins::Open => Some(Object { phase: Some(Mark::Open), linked: true, ..stored }),
        };
        [first, None]
    }

    /// The state after an action; None if it changes nothing.
    fn after(&self, state: &State, action: Action) -> Option<State> {
        let mut after = state.clone();
        self.follow(&mut after, action)?;
        after.normalize();
        (after != *state).then_some(after)
    }

    /// One process, no trouble.
    fn calm() -> Self {
        World {
            processes: 1,
            trouble: Trouble::default(),
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

    fn with(self, trouble: Trouble) -> Self {
        World { trouble, ..self }
    }

    /// Explores everything, and prints how much that was. Fails with the shortest way to the first violation.
    fn holds(self, name: &str) {
        let began = Instant::now();
        let search = self.checker().threads(2).finish_when(HasDiscoveries::AnyFailures);
        let checker = search.timeout(LONGEST).spawn_bfs().join();
        let (states, depth, seconds) =
            (checker.unique_state_count(), checker.max_depth(), began.elapsed().as_secs_f32());
        println!("{name}: {states} states, {depth} deep, {seconds:.1} s");
        assert!(began.elapsed() < LONGEST, "{name}: not all was explored");
        for (property, path) in checker.discoveries() {
            let is_failure = checker.model().property(property).expectation.discovery_is_failure();
            assert!(!is_failure, "{name}: not so: {property}:\n{}", told(path.into_vec()));
        }
        checker.assert_properties();
    }

    /// Finds the shortest way to a violation of the property, and prints it.
    fn breaks(self, name: &str, property: &'static str) {
        let search = self.checker().finish_when(HasDiscoveries::AnyOf([property].into()));
        let checker = search.timeout(LONGEST).spawn_bfs().join();
        let path = checker.assert_any_discovery(property);
        let states = checker.unique_state_count();
        println!(
            "{name}: not so: {property}: {} actions, {states} states",
            path.clone().into_actions().len()
        );
        println!("    {:?}", path.into_actions());
    }
}

/// No world takes so long; a change that makes one grow out of bounds shall not stop everything.
const LONGEST: Duration = Duration::from_secs(400);

/// A path in lines: what happened, then the last state.
fn told(path: Vec<(State, Option<Action>)>) -> String {
    let last = path.last().map(|(state, _)| format!("{state:#?}")).unwrap_or_default();
    let lines: Vec<String> =
        path.iter().filter_map(|(_, action)| Some(format!("{:?}", (*action)?))).collect();
    format!("{}\n{last}", lines.join("\n"))
}
