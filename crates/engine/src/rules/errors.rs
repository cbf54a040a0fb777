//! Failed calls and writes: the reason for which the Pad waits or fails.

use super::settled::is_final;
use super::{cancellation, rest, retry_command};
use crate::command::{Command, Outcome, WriteBackState};
use crate::state::{CandidateLookup, PadLookup, PadState, PassError, RuleState};
use crate::wording::{lever_permission, sentence};
use api::configuration::PadType;
use api::pad::Phase;
use api::reason::Reason;
use services::coderpad::CREATE_PAD;
use services::lever::{is_record, permission};
use services::{ErrorKind, Service, ServiceError};

/// A call or a write of this pass has failed.
pub(crate) fn error(state: &PadState) -> Option<Command> {
    state.error.as_ref().map(|error| after_error(state, error))
}

/// Returns the command that follows a failed call or write.
fn after_error(state: &PadState, error: &PassError) -> Command {
    let pad = &state.pad;
    let is_of_cluster =
        matches!(error, PassError::Conflict | PassError::Refused { .. } | PassError::Cluster { .. });
    // The link was not added in the pass that created the pad: see `finalizer_before_link`.
    if pad.pad_id.is_some() && !pad.linked && !pad.finalizer && !is_of_cluster {
        return Command::SetFinalizer(true);
    }
    if let Some(step) = check_candidate(state, error) {
        return step;
    }
    let was_open = matches!(pad.phase, Some(Phase::Open | Phase::Started | Phase::Ended));
    if !pad.deleting && (was_open || is_over(state)) {
        return rest(after_opening(state, error));
    }
    if let PassError::Service(error) = error
        && let Some(outcome) = cancellation::after_refusal(state, error)
    {
        return rest(outcome);
    }
    match error {
        PassError::Conflict | PassError::Cluster { .. } => rest(Outcome::NoDecision),
        // An error on the way to another pad changes nothing for a Pad that has its pad or is decided.
        _ if (state.pad.member.is_served() || is_final(state)) && !state.pad.deleting => {
            rest(Outcome::NoDecision)
        }
        PassError::Refused { answer } => rest(Outcome::Waiting(Reason::WriteRefused, refused(answer))),
        PassError::NoCredentials { connection, message } => rest(Outcome::Waiting(
            Reason::ConnectionNotReady,
            format!("The API keys of LeverConnection {connection} cannot be used: {message}"),
        )),
        PassError::CreateOutcomeUnknown(error) => {
            let message = format!(
                "CoderPad did not confirm the creation of the pad ({error}). The operator searches CoderPad's list of pads for it and creates another one only if it is missing. No action needed."
            );
            rest(Outcome::Waiting(Reason::CreateOutcomeUnknown, message))
        }
        PassError::Service(error) if state.pad.deleting => {
            let reason = waiting_reason(error).unwrap_or(unavailable(error.service));
            rest(Outcome::Waiting(
                reason,
                format!("Cleanup for the deleted Pad failed: {}", message_for(error)),
            ))
        }
        PassError::Service(error) if let Some(step) = check_question(state, error) => step,
        PassError::Service(error) => rest(match waiting_reason(error) {
            Some(reason) => Outcome::Waiting(reason, message_for(error)),
            None if error.class == ErrorKind::NotFound
                && error.operation == CREATE_PAD
                && question(state).is_some() =>
            {
                Outcome::Failed(
                    Reason::QuestionNotFound,
                    format!(
                        "{error}. Check spec.questionID of PadConfiguration {}.",
                        state.pad.configuration
                    ),
                )
            }
            None if let (Some(Some(why)), Some((id, _))) = (state.question_problem, question(state)) => {
                Outcome::Failed(Reason::QuestionNotUsable, format!("{error}. Question {id} {why}"))
            }
            None => Outcome::Failed(
                Reason::InvalidRequest,
                format!(
                    "{error}. Fix PadConfiguration {}, or retry: {}",
                    state.pad.configuration,
                    retry_command(&state.pad)
                ),
            ),
        }),
    }
}

/// Returns the error of a pass for a failed check of the connection's API key. An error that would turn a Pad Failed
/// concerns only the key.
pub fn key_not_confirmed(connection: String, error: ServiceError) -> PassError {
    match error.class {
        ErrorKind::NotFound | ErrorKind::Invalid => {
            PassError::NoCredentials { connection, message: error.to_string() }
        }
        _ => PassError::Service(error),
    }
}

/// Returns the message for a write that an admission policy, an admission webhook or authorization rejects.
fn refused(answer: &str) -> String {
    format!(
        "The API server refuses to store this Pad's annotations and finalizer: {} The operator creates no pad without them, and retries automatically. Permit its ServiceAccount to update Pads: check the operator's Role, and the admission policies and webhooks: kubectl get validatingadmissionpolicies,validatingwebhookconfigurations",
        sentence(answer)
    )
}

/// Reports whether the interview of a linked pad has ended. An error then concerns only its record (contract K4a).
fn is_over(state: &PadState) -> bool {
    let PadLookup::Read(record) = &state.record else { return false };
    let is_on = || matches!(&state.opportunity, CandidateLookup::Read(opportunity) if opportunity.links.contains(&record.url));
    record.is_ended() && (state.pad.linked || state.link_written || (state.pad.pad_id.is_some() && is_on()))
}

/// Reads the candidate after a 403 or 404 on the record of an interview, to distinguish a weak API key from a confidential
/// candidate (contract P2b), and a wrong answer from a deleted candidate (contract P7b).
fn check_candidate(state: &PadState, error: &PassError) -> Option<Command> {
    let PassError::Service(error) = error else { return None };
    let is_about_candidate = matches!(error.class, ErrorKind::Forbidden | ErrorKind::NotFound);
    let is_of_record = is_about_candidate && is_record(error.operation);
    let is_unread = matches!(state.opportunity, CandidateLookup::NotRead) && !state.pad.deleting;
    (is_of_record && is_unread).then_some(Command::ReadOpportunity)
}

/// Returns the outcome of a pass that failed after the pad was opened. Before the end of the interview, the phase does
/// not change. After the end, the outcome reports the failed write of the note or the tags.
fn after_opening(state: &PadState, error: &PassError) -> Outcome {
    let has_ended = matches!(&state.record, PadLookup::Read(record) if record.is_ended());
    let error = match error {
        PassError::Service(error) if has_ended => error,
        _ => return Outcome::NoDecision,
    };
    Outcome::Ended(match waiting_reason(error) {
        Some(Reason::LeverForbidden) if matches!(state.opportunity, CandidateLookup::Refused) => {
            let message = format!(
                "The API key cannot access this confidential opportunity, so the operator writes no note and no tag on it. To write them, put a Lever API key with access to confidential data into the Secret, then run: {}",
                retry_command(&state.pad)
            );
            WriteBackState::Impossible(Reason::CandidateConfidential, message)
        }
        Some(reason) => WriteBackState::Pending(reason, message_for(error)),
        None if error.class == ErrorKind::NotFound && error.service == Service::Lever => {
            match state.opportunity {
                CandidateLookup::NotFound => {
                    let message = "Lever has no opportunity with this ID any more, so the note cannot be written. No action needed.";
                    WriteBackState::Impossible(Reason::CandidateNotFound, message.into())
                }
                CandidateLookup::NotRead | CandidateLookup::Refused | CandidateLookup::Read(_) => {
                    WriteBackState::Pending(unavailable(error.service), message_for(error))
                }
            }
        }
        None => {
            let message = format!("{error}. To retry: {}", retry_command(&state.pad));
            WriteBackState::Impossible(Reason::InvalidRequest, message)
        }
    })
}

/// Returns the message for an error of a service: the failure and the next step.
fn message_for(error: &ServiceError) -> String {
    let next = match (error.class, error.service) {
        (ErrorKind::Unauthorized, service) => format!(
            "{service} rejects the API key. Put a valid key into the Secret that the LeverConnection names."
        ),
        (ErrorKind::Forbidden, Service::Lever) => lever_permission(permission(error.operation)),
        (ErrorKind::Forbidden, Service::Interview) => {
            "The API key lacks the permission for this request. Put the key of an organization owner into the Secret that the LeverConnection names."
                .into()
        }
        (ErrorKind::Throttled, _) if error.is_quota() => {
            "The CoderPad plan has no pads left. Creation resumes automatically with the next billing cycle or a larger plan."
                .into()
        }
        _ => "The operator retries automatically. No action needed.".into(),
    };
    format!("{} {next}", sentence(&error.to_string()))
}

/// Returns the question and the type of the requested pad.
fn question(state: &PadState) -> Option<(i64, PadType)> {
    match &state.configuration {
        RuleState::Ready(rule) => rule.question_id.map(|id| (id, rule.type_)),
        _ => None,
    }
}

/// Checks the question after CoderPad refused to create a pad: it may have changed since it was last checked.
fn check_question(state: &PadState, error: &ServiceError) -> Option<Command> {
    let is_refused = error.class == ErrorKind::Invalid
        && error.operation == CREATE_PAD
        && state.question_problem.is_none();
    let (question, type_) = question(state).filter(|_| is_refused)?;
    Some(Command::CheckQuestion { question, type_ })
}

/// Returns the waiting reason for an error of a service, or `None` if waiting does not help.
fn waiting_reason(error: &ServiceError) -> Option<Reason> {
    let lever = error.service == Service::Lever;
    let pick = |of_lever, of_interview| Some(if lever { of_lever } else { of_interview });
    match error.class {
        ErrorKind::Unauthorized => pick(Reason::LeverUnauthorized, Reason::InterviewUnauthorized),
        ErrorKind::Forbidden => pick(Reason::LeverForbidden, Reason::InterviewForbidden),
        ErrorKind::Throttled if error.is_quota() => Some(Reason::QuotaExceeded),
        ErrorKind::Throttled => pick(Reason::LeverRateLimited, Reason::InterviewRateLimited),
        ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => Some(unavailable(error.service)),
        ErrorKind::Invalid | ErrorKind::NotFound => None,
    }
}

fn unavailable(service: Service) -> Reason {
    match service {
        Service::Lever => Reason::LeverUnavailable,
        Service::Interview => Reason::InterviewUnavailable,
    }
}
