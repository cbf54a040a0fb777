//! The product without one of its stored values, as the operator in a history reads its objects.

use super::operator::ready_since;
use super::world::{OPPORTUNITY, at};
use crate::api::configuration::PadConfiguration;
use crate::api::pad::{Pad, PadStatus, Phase};
use crate::api::served::{self, Fingerprint};
use crate::controller::pad::reason::Reason;
use crate::controller::pad::state::PadState;

/// The value that is missing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mutant {
    /// The entry for which a Pad failed: the condition's transition time takes its place.
    FailedEntry,
    /// The stage entries that were served.
    ServedEntries,
    /// Those of candidates who were there before the rule took effect.
    ServedExisting,
    /// The uid of the configuration with which a Pad failed.
    ConfigurationUid,
    /// The mark of sync: every Pad that is judged before the first scan counts as one of a candidate who was there.
    ExistingMark,
    /// The last entry before a pad was deleted in CoderPad: the condition's transition time takes its place.
    DeletedEntry,
    /// The last entry before a Pad was called off: the condition's transition time takes its place.
    CancelledEntry,
}

/// The Pad without it.
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

/// The configuration without it.
pub fn configuration(mutant: Mutant, mut configuration: PadConfiguration, entry: i64) -> PadConfiguration {
    if let Some(status) = &mut configuration.status {
        match (mutant, status.effective_since) {
            (Mutant::ServedEntries, _) => status.served_entries = None,
            (Mutant::ServedExisting, Some(since)) => {
                let existing = served::add(None, [Fingerprint::existing(OPPORTUNITY, at(entry), since)]);
                let (existing, entries) = (existing.unwrap(), status.served_entries.take());
                status.served_entries = entries.map(|entries| entries.replace(&existing, ""));
            }
            _ => {}
        }
    }
    configuration
}

/// The facts without it.
pub fn facts(mutant: Mutant, facts: &mut PadState, configuration: Option<&PadConfiguration>) {
    let status = configuration.and_then(|configuration| configuration.status.as_ref());
    if let (Mutant::ExistingMark, Some(status)) = (mutant, status)
        && !status.existing_is_settled()
    {
        facts.pad.existing_since = status.effective_since;
    }
}
