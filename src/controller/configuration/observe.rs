//! Observation of a configuration: its question and owner in CoderPad, and its Pads.

use api::configuration::PadCounts;
use api::pad::Phase;
use api::{Pad, PadConfigurationSpec};
use coderpad::{InterviewClient, QuestionRecord};
use http_client::{ErrorKind, Priority, ServiceError};
use std::sync::Arc;

/// Results of the checks of question and owner in CoderPad. None if not configured or not checked yet.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExternalChecks {
    /// Result for the question.
    pub question: Option<Result<QuestionRecord, ServiceError>>,
    /// Result for the owner: whether it is a user of the organization.
    pub owner: Option<Result<bool, ServiceError>>,
}

impl ExternalChecks {
    /// Returns the errors of the checks.
    pub fn errors(&self) -> impl Iterator<Item = &ServiceError> {
        let question = self.question.as_ref().and_then(|question| question.as_ref().err());
        question.into_iter().chain(self.owner.as_ref().and_then(|owner| owner.as_ref().err()))
    }

    /// Merges these results with the earlier ones. A transient failure does not replace an earlier success.
    pub fn after(self, before: Self) -> Self {
        Self { question: known(self.question, before.question), owner: known(self.owner, before.owner) }
    }
}

fn known<T>(
    now: Option<Result<T, ServiceError>>,
    before: Option<Result<T, ServiceError>>,
) -> Option<Result<T, ServiceError>> {
    match (now, before) {
        (Some(Err(error)), Some(Ok(known))) if error.is_retryable() => Some(Ok(known)),
        (now, _) => now,
    }
}

/// Reports whether the spec requires checks in CoderPad.
pub fn needs_checks(spec: &PadConfigurationSpec) -> bool {
    spec.question_id.is_some() || spec.owner_email.is_some()
}

/// Checks the question and the owner in CoderPad.
pub async fn checks(interview: &InterviewClient, spec: &PadConfigurationSpec) -> ExternalChecks {
    let interview = interview.with_priority(Priority::Poll);
    let mut checks = ExternalChecks::default();
    if let Some(id) = spec.question_id {
        checks.question = Some(interview.question(id).await);
    }
    if let Some(email) = &spec.owner_email {
        checks.owner = Some(interview.user_by_email(email).await.map(|user| user.is_some()));
    }
    checks
}

/// Reports whether an error may concern the API key itself, so that a probe of the connection is required.
pub fn suggests_bad_key(error: &ServiceError) -> bool {
    matches!(error.class, ErrorKind::Unauthorized | ErrorKind::Forbidden)
}

/// Counts the Pads of a configuration by phase. `pads` are all Pads of its namespace.
pub fn count(pads: &[Arc<Pad>], configuration: &str) -> PadCounts {
    let mut counts = PadCounts::default();
    for pad in pads.iter().filter(|pad| pad.spec.configuration_ref.name == configuration) {
        let count = match pad.phase() {
            None | Some(Phase::Pending) => &mut counts.pending,
            Some(Phase::Open | Phase::Started) => &mut counts.open,
            Some(Phase::Ended) => &mut counts.ended,
            Some(Phase::Skipped) => &mut counts.skipped,
            Some(Phase::Failed) => &mut counts.failed,
        };
        *count += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_client::Service;
    use serde_json::json;

    #[test]
    fn pads_are_counted_by_phase() {
        let pad = |configuration: &str, phase: Option<&str>| {
            let mut status = json!({"observedGeneration": -1});
            if let Some(phase) = phase {
                status["phase"] = json!(phase);
            }
            let pad = json!({
                "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "metadata": {"name": "p"},
                "spec": {"configurationRef": {"name": configuration}, "opportunityID": "o"}, "status": status,
            });
            Arc::new(serde_json::from_value(pad).unwrap())
        };
        let pads = [
            pad("a", None),
            pad("a", Some("Pending")),
            pad("a", Some("Open")),
            pad("a", Some("Started")),
            pad("a", Some("Ended")),
            pad("a", Some("Skipped")),
            pad("a", Some("Failed")),
            pad("b", Some("Open")),
        ];
        assert_eq!(count(&pads, "a"), PadCounts { pending: 2, open: 2, ended: 1, skipped: 1, failed: 1 });
        assert_eq!(count(&pads, "c"), PadCounts::default());
    }

    #[test]
    fn a_transient_failure_keeps_the_last_result() {
        let failed = |class| ExternalChecks {
            owner: Some(Err(ServiceError::new(
                class,
                Service::Interview,
                "GET /organization/users",
                None,
                "",
            ))),
            ..ExternalChecks::default()
        };
        let good = ExternalChecks { owner: Some(Ok(true)), ..ExternalChecks::default() };
        assert_eq!(failed(ErrorKind::Unavailable).after(good.clone()), good);
        assert_eq!(failed(ErrorKind::Forbidden).after(good.clone()), failed(ErrorKind::Forbidden));
        assert_eq!(
            failed(ErrorKind::Throttled).after(ExternalChecks::default()),
            failed(ErrorKind::Throttled)
        );
        assert_eq!(good.clone().after(failed(ErrorKind::Unavailable)), good);
    }
}
