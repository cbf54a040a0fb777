//! The protocol of "exactly once" in a model checker: every order in which the operator, the API server, CoderPad,
//! Lever, time, crashes and people can act, within the bounds of each world.
//!
//! Real: the plan of Pads and the receiver's decision ([`planned`]). Modelled: what `act` does between its effects
//! ([`process`]) and the world around it ([`actions`]). A conclusion holds for as much trouble at once as a world allows.
//!
//! Simplified: one candidate, one configuration, no sync, reads and searches in one piece, no lost answers of the API
//! server (a crash before or after the write stands for them). Time is counted in ticks; a wait and a deadline that end
//! in the same tick end in the order deadline, wait.

mod actions;
mod planned;
mod process;
mod properties;
mod state;
mod variants;

use crate::api::configuration::DeletionPolicy;
use actions::Action;
use state::{Person, Process, State, Trouble, World};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::time::{Duration, Instant};

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            objects: Default::default(),
            processes: vec![Process::default(); self.processes],
            leader: 0,
            flights: Vec::new(),
            link_flights: Vec::new(),
            pads: Vec::new(),
            person: Person { in_stage: true, tagged: true, entry: 0, links: Vec::new() },
            deliveries: vec![false],
            left: self.trouble,
            uids: 0,
            unqualified: false,
            told: false,
            removed: false,
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

impl World {
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
            all_lead: false,
            slow_link: false,
            late_link: false,
            old_backup: false,
            reads_back: true,
            wrong: None,
        }
    }

    fn with(self, trouble: Trouble) -> Self {
        World { trouble, ..self }
    }
}

/// Explores everything, and prints how much that was. Fails with the shortest way to the first violation.
fn holds(name: &str, world: World) {
    let began = Instant::now();
    let checker = world
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .timeout(Duration::from_secs(120))
        .spawn_bfs()
        .join();
    println!(
        "{name}: {} states, {} deep, {:.1} s",
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f32()
    );
    for (property, path) in checker.discoveries() {
        let is_failure = checker.model().property(property).expectation.discovery_is_failure();
        assert!(!is_failure, "{name}: not so: {property}:\n{}", told(path.into_vec()));
    }
    checker.assert_properties();
}

/// A path in lines: what happened, then the last state.
fn told(path: Vec<(State, Option<Action>)>) -> String {
    let last = path.last().map(|(state, _)| format!("{state:#?}")).unwrap_or_default();
    let lines: Vec<String> =
        path.iter().filter_map(|(_, action)| Some(format!("{:?}", (*action)?))).collect();
    format!("{}\n{last}", lines.join("\n"))
}

#[test]
fn a_calm_world() {
    holds("calm", World::calm());
}

#[test]
fn crashes_and_lost_answers() {
    let trouble = Trouble { crashes: 2, creates: 1, links: 1, ..Trouble::default() };
    holds("crashes and lost answers", World::calm().with(trouble));
}
