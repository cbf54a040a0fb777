//! Chooses the action of a stage change for one candidate and one configuration: pure, based on the known Pads.
//!
//! Rules about tags and repeats are not here: only the leader decides whether a candidate gets a pad. The receiver
//! makes sure that a Pad exists and that it is reconciled.

use crate::stage;
use api::{LeverConnection, Pad, PadConfiguration, names};
use jiff::Timestamp;
use kube::ResourceExt;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Maximum time between two deliveries of one candidate, in milliseconds: older ones are refused (15 days, and 5
/// minutes of clock difference).
const MAX_DELIVERY_SPREAD_MS: i64 = 16 * 24 * 60 * 60 * 1000;

/// A stage entry, according to a delivery. Only a hint until Lever confirms it.
#[derive(Clone)]
pub struct StageChangeEvent {
    /// ID of the candidate's opportunity.
    pub opportunity_id: String,
    /// The stage.
    pub stage_id: String,
    /// Time of the entry, according to the delivery.
    pub at: Timestamp,
    /// Mark of the delivery for `padoperator.dev/reconcile-requested-at`. A repeated delivery has the same mark.
    pub request: String,
}

/// Action for one candidate and one configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PadAction {
    /// Create the Pad with this number.
    Create {
        /// Number of the Pad.
        n: u32,
    },
    /// Request that this Pad is reconciled again.
    Annotate {
        /// Name of the Pad.
        name: String,
    },
    /// This delivery or a later one has requested this Pad already: if it still exists, nothing is left to do.
    Nothing {
        /// Name of the Pad.
        name: String,
    },
}

/// Returns the configurations that a stage change is for: all of the connection with this stage, even if they are
/// suspended or not ready. Of several for the same stage and tag, only the one that takes effect.
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
        .filter(|one| match stage::stage_of(one, stages) {
            Ok(found) => found.stage.id == stage_id,
            // The list of stages may be too old to contain a stage that is named by its ID.
            Err(stage::StageProblem::NotFound) => one.spec.stage == stage_id,
            Err(stage::StageProblem::NotKnownYet | stage::StageProblem::Ambiguous(_)) => false,
        })
        .filter(|one| stage::conflict(one, all(), stages).is_none())
        .cloned()
        .collect();
    found.sort_by_key(|one| one.name_any());
    found
}

/// Reports whether the request on a Pad is from this delivery or a later one: then the Pad is reconciled with Lever's
/// state after both. An older delivery must not replace it, or the newer one would seem to be done.
fn supersedes(asked: &str, change: &StageChangeEvent) -> bool {
    if asked == change.request {
        return true;
    }
    let at = change.at.as_millisecond();
    // A value that a person wrote may look like a time in the far future.
    names::delivered_at(asked)
        .is_some_and(|delivered| delivered > at && delivered.saturating_sub(at) <= MAX_DELIVERY_SPREAD_MS)
}

/// Chooses the action. `pads` are the Pads of the candidate and the configuration; `taken` are numbers whose names
/// belong to other Pads.
pub fn choose_action(
    pads: &[Arc<Pad>],
    taken: &BTreeSet<u32>,
    configuration: &str,
    change: &StageChangeEvent,
) -> PadAction {
    let number = |pad: &Pad| names::pad_number(&pad.name_any(), configuration, &change.opportunity_id);
    let order = |pad: &Pad| {
        (number(pad), pad.metadata.creation_timestamp.as_ref().map(|time| time.0), pad.name_any())
    };
    // A Pad that is being deleted may be gone before it is reconciled.
    let staying = pads.iter().filter(|pad| pad.metadata.deletion_timestamp.is_none());
    if let Some(newest) = staying.max_by_key(|pad| order(pad)) {
        let name = newest.name_any();
        let asked = newest.annotations().get(names::RECONCILE_REQUESTED_AT);
        return if asked.is_some_and(|asked| supersedes(asked, change)) {
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
