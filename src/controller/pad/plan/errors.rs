//! What follows from a call or write that did not succeed: which reason a Pad waits for, or fails with.

use super::{Command, Outcome, WriteBackState, cancellation, is_final, rest};
use crate::api::configuration::PadType;
use crate::api::pad::Phase;
use crate::coderpad::CREATE_PAD;
use crate::controller::connection::diagnosis::{lever_permission, sentence};
use crate::controller::pad::reason::Reason;
use crate::controller::pad::state::{CandidateLookup, PadLookup, PadState, PassError, RuleState};
use crate::lever::{is_record, permission};
use crate::transport::{Class, Error, Service};

/// What follows from a call or write that did not succeed.
pub(super) fn after_error(facts: &PadState, trouble: &PassError) -> Command {
    let pad = &facts.pad;
    let is_of_cluster =
        matches!(trouble, PassError::Conflict | PassError::Refused { .. } | PassError::Cluster { .. });
    // The link did not follow at once: see the plan of a Pad's life.
    if pad.pad_id.is_some() && !pad.linked && !pad.finalizer && !is_of_cluster {
        return Command::SetFinalizer(true);
    }
    if let Some(step) = check_confidentiality(facts, trouble) {
        return step;
    }
    let was_open = matches!(pad.phase, Some(Phase::Open | Phase::Started | Phase::Ended));
    if !pad.deleting && (was_open || is_over(facts)) {
        return rest(after_opening(facts, trouble));
    }
    if let PassError::Service(error) = trouble
        && let Some(outcome) = cancellation::after_refusal(facts, error)
    {
        return rest(outcome);
    }
    match trouble {
        PassError::Conflict | PassError::Cluster { .. } => rest(Outcome::NoDecision),
        // What it has stays so, whatever keeps a further one from being made; and so does what was judged before.
        _ if (facts.pad.member.is_served() || is_final(facts)) && !facts.pad.deleting => {
            rest(Outcome::NoDecision)
        }
        PassError::Refused { answer } => rest(Outcome::Waiting(Reason::WriteRefused, refused(answer))),
        PassError::NoCredentials { connection, message } => rest(Outcome::Waiting(
            Reason::ConnectionNotReady,
            format!("The keys of LeverConnection {connection} cannot be used: {message}"),
        )),
        PassError::CreateOutcomeUnknown(error) => {
            let message = format!(
                "CoderPad did not confirm the creation of the pad ({error}). The operator searches CoderPad's list of pads for it and creates another one only if it is missing. No action needed."
            );
            rest(Outcome::Waiting(Reason::CreateOutcomeUnknown, message))
        }
        PassError::Service(error) if facts.pad.deleting => {
            let reason = waiting_reason(error).unwrap_or(unavailable(error.service));
            rest(Outcome::Waiting(
                reason,
                format!("What the deletion of this Pad asks for could not be done: {}", message_for(error)),
            ))
        }
        PassError::Service(error) if let Some(step) = check_question(facts, error) => step,
        PassError::Service(error) => rest(match waiting_reason(error) {
            Some(reason) => Outcome::Waiting(reason, message_for(error)),
            None if error.class == Class::NotFound
                && error.operation == CREATE_PAD
                && question(facts).is_some() =>
            {
                Outcome::Failed(
                    Reason::QuestionNotFound,
                    format!("{error}. Check spec.questionID of the configuration."),
                )
            }
            None if let (Some(Some(why)), Some((id, _))) = (facts.misfit, question(facts)) => {
                Outcome::Failed(Reason::QuestionNotUsable, format!("{error}. Question {id} {why}"))
            }
            None => Outcome::Failed(
                Reason::InvalidRequest,
                format!(
                    "{error}. Mend the configuration, or annotate this Pad with padoperator.dev/reconcile-requested-at to try again."
                ),
            ),
        }),
    }
}

/// The message for a write that an admission policy, an admission webhook or the authorization refuses.
fn refused(answer: &str) -> String {
    format!(
        "The API server refuses to store this Pad's annotations and finalizer: {} The operator creates no pad without them, and retries automatically. Permit its ServiceAccount to update Pads: check admission policies and webhooks with kubectl get validatingadmissionpolicies,validatingwebhookconfigurations, and the operator's Role.",
        sentence(answer)
    )
}

/// Whether the interview of a linked pad is over: what fails then is its record (contract K4a).
fn is_over(facts: &PadState) -> bool {
    let PadLookup::Read(record) = &facts.record else { return false };
    let is_on = || matches!(&facts.opportunity, CandidateLookup::Read(opportunity) if opportunity.links.contains(&record.url));
    record.is_ended() && (facts.pad.linked || facts.link_written || (facts.pad.pad_id.is_some() && is_on()))
}

/// Reads the candidate after a 403 on the record of an interview: the API key, or this candidate only (contract P2b)?
fn check_confidentiality(facts: &PadState, trouble: &PassError) -> Option<Command> {
    let PassError::Service(error) = trouble else { return None };
    let is_of_record = error.class == Class::Forbidden && is_record(error.operation);
    let is_unread = matches!(facts.opportunity, CandidateLookup::NotRead) && !facts.pad.deleting;
    (is_of_record && is_unread).then_some(Command::ReadOpportunity)
}

/// An open pad stays what it is while something about it cannot be done. What is missing after the end is said.
fn after_opening(facts: &PadState, trouble: &PassError) -> Outcome {
    let has_ended = matches!(&facts.record, PadLookup::Read(record) if record.is_ended());
    let error = match trouble {
        PassError::Service(error) if has_ended => error,
        _ => return Outcome::NoDecision,
    };
    Outcome::Ended(match waiting_reason(error) {
        Some(Reason::LeverForbidden) if matches!(facts.opportunity, CandidateLookup::Refused) => {
            let message = "Lever does not show this opportunity to the API key: it is confidential. The operator writes no note and no tag on it. To write them, put a key that can see confidential data into the Secret, then annotate this Pad with padoperator.dev/reconcile-requested-at.";
            WriteBackState::Impossible(Reason::CandidateConfidential, message.into())
        }
        Some(reason) => WriteBackState::Pending(reason, message_for(error)),
        None if error.class == Class::NotFound && error.service == Service::Lever => {
            let message =
                "Lever knows no opportunity of this id any more: there is nobody to write a note on.";
            WriteBackState::Impossible(Reason::CandidateNotFound, message.into())
        }
        None => {
            let message = format!(
                "{error}. Annotate this Pad with padoperator.dev/reconcile-requested-at to try again."
            );
            WriteBackState::Impossible(Reason::InvalidRequest, message)
        }
    })
}

/// What failed, and the next step: a person's, or the Pad's own.
fn message_for(error: &Error) -> String {
    let next = match (error.class, error.service) {
        (Class::Unauthorized, service) => format!(
            "{service} does not accept the API key any more. Put a valid key into the Secret that the LeverConnection names."
        ),
        (Class::Forbidden, Service::Lever) => lever_permission(permission(error.operation)),
        (Class::Forbidden, Service::Interview) => {
            "The API key may not do this. Put the key of an organization owner into the Secret that the LeverConnection names."
                .into()
        }
        (Class::Throttled, _) if error.is_quota() => {
            "The pads of the CoderPad plan are used up. This goes on by itself with the next billing cycle or a bigger plan."
                .into()
        }
        _ => "It is tried again by itself; nobody has to act.".into(),
    };
    format!("{} {next}", sentence(&error.to_string()))
}

/// The question of the pad that was to be made, and the pad's type.
fn question(facts: &PadState) -> Option<(i64, PadType)> {
    match &facts.configuration {
        RuleState::Ready(rule) => rule.question_id.map(|id| (id, rule.type_)),
        _ => None,
    }
}

/// A pad that was refused may have had a question that has changed since the configuration was checked.
fn check_question(facts: &PadState, error: &Error) -> Option<Command> {
    let is_refused = error.class == Class::Invalid && error.operation == CREATE_PAD && facts.misfit.is_none();
    let (question, type_) = question(facts).filter(|_| is_refused)?;
    Some(Command::CheckQuestion { question, type_ })
}

/// The reason to wait for after an error of a service; None if waiting does not help.
fn waiting_reason(error: &Error) -> Option<Reason> {
    let lever = error.service == Service::Lever;
    let pick = |of_lever, of_interview| Some(if lever { of_lever } else { of_interview });
    match error.class {
        Class::Unauthorized => pick(Reason::LeverUnauthorized, Reason::InterviewUnauthorized),
        Class::Forbidden => pick(Reason::LeverForbidden, Reason::InterviewForbidden),
        Class::Throttled if error.is_quota() => Some(Reason::QuotaExceeded),
        Class::Throttled => pick(Reason::LeverRateLimited, Reason::InterviewRateLimited),
        Class::Unavailable | Class::OutcomeUnknown => Some(unavailable(error.service)),
        Class::Invalid | Class::NotFound => None,
    }
}

fn unavailable(service: Service) -> Reason {
    match service {
        Service::Lever => Reason::LeverUnavailable,
        Service::Interview => Reason::InterviewUnavailable,
    }
}
