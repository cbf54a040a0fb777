//! State of the tags besides those on the candidate: tags that Lever refuses for a linked pad (contract K4a), and tags
//! that other Pads of the candidate need.

use crate::command::Command;
use crate::wording::{lever_permission, sentence};
use api::condition::{is_true, types};
use api::configuration::PadConfiguration;
use api::names::{ATTEMPT, PAD_ID};
use api::pad::{Pad, PadStatus, Phase};
use api::reason::Reason;
use kube::ResourceExt;
use services::lever::permission;
use services::{ErrorKind, ServiceError};
use std::time::Duration;

/// State of the tags of a Pad.
#[derive(Clone, Debug, Default)]
pub struct TagState {
    /// Whether the status reports a refused tag.
    pub reported: bool,
    /// Delay before a refused tag is sent again.
    pub pause: Option<Duration>,
    /// The refused change of this pass.
    pub refused: Option<RefusedTag>,
    /// Tags that Pads of other configurations need on the candidate: they are not removed.
    pub needed: Vec<String>,
}

/// A change of tags that Lever refused.
#[derive(Clone, Debug)]
pub struct RefusedTag {
    /// The tags.
    pub tags: Vec<String>,
    /// The answer.
    pub error: ServiceError,
}

impl RefusedTag {
    /// Returns the refused change, if the command changes tags and an immediate retry would be refused too.
    pub fn from_error(step: &Command, error: &ServiceError) -> Option<Self> {
        let (Command::AddTags(tags) | Command::RemoveTags(tags)) = step else { return None };
        matches!(error.class, ErrorKind::Invalid | ErrorKind::Forbidden)
            .then(|| Self { tags: tags.clone(), error: error.clone() })
    }

    /// Returns the reason for the condition `TagRefused`.
    pub fn reason(&self) -> Reason {
        match self.error.class {
            ErrorKind::Forbidden => Reason::LeverForbidden,
            _ => Reason::InvalidRequest,
        }
    }

    /// Returns the message of the condition `TagRefused`.
    pub fn message(&self, configuration: &str) -> String {
        let (tags, said) = (self.tags.join("', '"), sentence(&self.error.to_string()));
        let next = match self.error.class {
            ErrorKind::Forbidden => lever_permission(permission(self.error.operation)),
            _ => format!(
                "Set another tag in spec.writeBack.tags of PadConfiguration {configuration}, or allow the tag in Lever."
            ),
        };
        format!(
            "Lever refused to change the tag '{tags}' of the candidate. The pad and its link are not affected. {said} {next} The operator retries at least every 6 minutes."
        )
    }
}

/// Reports whether the status reports a refused tag.
pub fn is_reported(status: Option<&PadStatus>) -> bool {
    status.is_some_and(|status| is_true(&status.conditions, types::TAG_REFUSED))
}

/// Returns the tags that a Pad of another configuration needs on the candidate.
pub fn needed_by(other: &Pad, configuration: Option<&PadConfiguration>) -> Vec<String> {
    let status = other.status.as_ref();
    let failed = status.and_then(|status| status.failed_tag.clone());
    let tags = configuration.map(|configuration| &configuration.spec.write_back.tags);
    let has_begun = [ATTEMPT, PAD_ID].iter().any(|key| other.annotations().contains_key(*key));
    let own = match other.phase() {
        Some(Phase::Open | Phase::Started) => tags.and_then(|tags| tags.ready.clone()),
        None | Some(Phase::Pending) if has_begun => tags.and_then(|tags| tags.ready.clone()),
        Some(Phase::Ended) => tags.and_then(|tags| tags.ended.clone()),
        None | Some(Phase::Pending | Phase::Skipped | Phase::Failed) => None,
    };
    own.into_iter().chain(failed).collect()
}
