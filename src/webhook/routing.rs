//! What a stage change means for one candidate and one configuration: a pure choice, made from the Pads that are known.
//!
//! There are no rules about tags and repetition here: only the leader decides whether a candidate gets a pad. The
//! receiver makes sure that there is a Pad to decide about, and that it is looked at.

use super::event::StageChangeEvent;
use crate::api::{LeverConnection, Pad, PadConfiguration, names};
use crate::rules;
use kube::ResourceExt;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Deliveries of one candidate are never further apart: older ones are refused (15 days, and 5 minutes of the clocks).
const MAX_DELIVERY_SPREAD_MS: i64 = 16 * 24 * 60 * 60 * 1000;

/// What is to be done for one candidate and one configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PadAction {
    /// Make the n-th Pad.
    Create {
        /// Its number.
        n: u32,
    },
    /// Ask for this Pad to be judged again.
    Annotate {
        /// Its name.
        name: String,
    },
    /// This Pad was asked about already, by this delivery or a later one: if it is still there, all is done.
    Nothing {
        /// Its name.
        name: String,
    },
}

/// The configurations that a stage change is for: all of the connection whose stage it is, also while they are
/// suspended or not ready. Of several for the same stage and tag only the one that counts.
pub fn configurations_of(
    stage_id: &str,
    connection: &LeverConnection,
    configurations: &[Arc<PadConfiguration>],
) -> Vec<Arc<PadConfiguration>> {
    let stages = connection.stages();
    let all = || configurations.iter().map(Arc::as_ref);
    let mut found: Vec<_> = configurations
        .iter()
        .filter(|one| one.spec.connection_ref == connection.reference())
        .filter(|one| one.metadata.deletion_timestamp.is_none())
        .filter(|one| match rules::stage_of(one, stages) {
            Ok(found) => found.stage.id == stage_id,
            // A stage that is named by its id may be younger than the list of stages.
            Err(rules::StageProblem::NotFound) => one.spec.stage == stage_id,
            Err(rules::StageProblem::NotKnownYet | rules::StageProblem::Ambiguous(_)) => false,
        })
        .filter(|one| rules::conflict(one, all(), stages).is_none())
        .cloned()
        .collect();
    found.sort_by_key(|one| one.name_any());
    found
}

/// Whether a request that stands on a Pad is this delivery's, or a later one's: then the Pad is judged by what Lever
/// says after both. An older one must not take its place, or it would look as if nothing were to be done.
fn covers(asked: &str, change: &StageChangeEvent) -> bool {
    if asked == change.request {
        return true;
    }
    let at = change.at.as_millisecond();
    // What a person wrote there may look like a time far ahead.
    names::delivered_at(asked)
        .is_some_and(|delivered| delivered > at && delivered.saturating_sub(at) <= MAX_DELIVERY_SPREAD_MS)
}

/// Chooses what to do. `pads` are those of the candidate and the configuration; `taken` are numbers whose names belong
/// to others.
pub fn decide(
    pads: &[Arc<Pad>],
    taken: &BTreeSet<u32>,
    configuration: &str,
    change: &StageChangeEvent,
) -> PadAction {
    let number = |pad: &Pad| names::pad_number(&pad.name_any(), configuration, &change.opportunity_id);
    let order = |pad: &Pad| {
        (number(pad), pad.metadata.creation_timestamp.as_ref().map(|time| time.0), pad.name_any())
    };
    // One that is being deleted may be gone before anybody looks at it.
    let staying = pads.iter().filter(|pad| pad.metadata.deletion_timestamp.is_none());
    if let Some(newest) = staying.max_by_key(|pad| order(pad)) {
        let name = newest.name_any();
        let asked = newest.annotations().get(names::RECONCILE_REQUESTED_AT);
        return if asked.is_some_and(|asked| covers(asked, change)) {
            PadAction::Nothing { name }
        } else {
            PadAction::Annotate { name }
        };
    }
    let highest = pads.iter().filter_map(|pad| number(pad)).max().unwrap_or_default();
    let mut n = highest.saturating_add(1);
    while taken.contains(&n) {
        n = n.saturating_add(1);
    }
    PadAction::Create { n }
}
