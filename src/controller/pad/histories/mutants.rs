//! Mutants of the product, each without one stored value. A mutant changes the objects that the operator in a history
//! reads.

use super::world::{OPPORTUNITY, at};
use api::condition::{find, types};
use api::configuration::PadConfiguration;
use api::pad::{Pad, PadStatus, Phase};
use api::reason::Reason;
use api::served_stage_entries::{self, Fingerprint};
use engine::state::PadState;
use jiff::Timestamp;

/// A mutant, named after the missing value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mutant {
    /// The entry for which a Pad failed. The condition's transition time replaces it.
    FailedEntry,
    /// The served stage entries.
    ServedEntries,
    /// The served stage entries of existing candidates, who were in the stage before the rule took effect.
    ServedExisting,
    /// The UID of the configuration with which a Pad failed.
    ConfigurationUid,
    /// The mark that sync sets on Pads of existing candidates. Without it, every Pad that is decided before the first
    /// scan counts as the Pad of an existing candidate.
    ExistingMark,
    /// The last entry before a pad was deleted in CoderPad. The condition's transition time replaces it.
    DeletedEntry,
    /// The last entry before a Pad was cancelled. The condition's transition time replaces it.
    CancelledEntry,
}

/// Returns the Pad without the missing value.
pub fn pad(mutant: Mutant, mut pad: Pad) -> Pad {
    if let Some(status) = &mut pad.status {
        let is = |reason: Reason| status.reason.as_deref() == Some(reason.as_str());
        match mutant {
            Mutant::FailedEntry if status.phase == Some(Phase::Failed) => {
                status.judged_entry_at = ready_since(status);
            }
            Mutant::ConfigurationUid => status.observed_configuration_uid = None,
            Mutant::DeletedEntry if is(Reason::PadDeleted) => forget_entry(status),
            Mutant::CancelledEntry if is(Reason::Cancelled) => forget_entry(status),
            _ => {}
        }
    }
    pad
}

fn forget_entry(status: &mut PadStatus) {
    status.judged_entry_at = None;
    status.phase_since = ready_since(status);
}

/// Returns the configuration without the missing value.
pub fn configuration(mutant: Mutant, mut configuration: PadConfiguration, entry: i64) -> PadConfiguration {
    if let Some(status) = &mut configuration.status {
        match (mutant, status.effective_since) {
            (Mutant::ServedEntries, _) => status.served_entries = None,
            (Mutant::ServedExisting, Some(since)) => {
                let existing =
                    served_stage_entries::add(None, [Fingerprint::existing(OPPORTUNITY, at(entry), since)]);
                let (existing, entries) = (existing.unwrap(), status.served_entries.take());
                status.served_entries = entries.map(|entries| entries.replace(&existing, ""));
            }
            _ => {}
        }
    }
    configuration
}

/// Changes the state of a pass as if the value were missing.
pub fn state(mutant: Mutant, state: &mut PadState, configuration: Option<&PadConfiguration>) {
    let status = configuration.and_then(|configuration| configuration.status.as_ref());
    if let (Mutant::ExistingMark, Some(status)) = (mutant, status)
        && !status.existing_is_settled()
    {
        state.pad.existing_since = status.effective_since;
    }
}

/// Returns the transition time of the condition Ready.
fn ready_since(status: &PadStatus) -> Option<Timestamp> {
    find(&status.conditions, types::READY).map(|ready| ready.last_transition_time)
}
