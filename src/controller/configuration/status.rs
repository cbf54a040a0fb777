//! Computes the status of a configuration from observations. Pure: no client, no clock.  Problems are checked in a
//! fixed order (`verdict`); the first one is the reason of Ready. Stage and question also have separate conditions, so
//! that they are visible next to another reason.

use super::observe::ExternalChecks;
use api::condition::{Conditions, Readiness, Status, find, is_true, types};
use api::configuration::{PadCounts, PadType, Question, ResolvedStage};
use api::connection::Stage;
use api::reason::ConfigurationReason as Reason;
use api::sanitize;
use api::{Condition, HasConditions, LeverConnection, PadConfiguration, PadConfigurationStatus};
use engine::question::question_problem;
use engine::stage::{FoundStage, StageProblem, stage_of};
use http_client::{ErrorKind, ServiceError};
use jiff::Timestamp;

/// Maximum number of stages in a message.
const STAGES_LISTED: usize = 40;
/// Maximum length of the name of a stage or question in a message, in characters.
const SHORT_TITLE_LENGTH: usize = 60;
/// Limit of the schema, in characters.
const STATUS_TITLE_LIMIT: usize = 256;

/// Inputs from which the status is computed.
#[derive(Clone, Copy, Debug)]
pub struct ConfigurationObservation<'a> {
    /// The configuration as last read.
    pub configuration: &'a PadConfiguration,
    /// Its connection, if it exists.
    pub connection: Option<&'a LeverConnection>,
    /// The configuration that takes precedence for the same stage and tag, if any.
    pub preferred: Option<&'a str>,
    /// Results of the checks in CoderPad.
    pub checks: &'a ExternalChecks,
    /// Number of Pads by phase, if counted.
    pub counts: Option<&'a PadCounts>,
    /// The reconcile request that this pass handles.
    pub handled: Option<&'a str>,
}

impl ConfigurationObservation<'_> {
    fn generation(&self) -> i64 {
        self.configuration.metadata.generation.unwrap_or_default()
    }

    /// Returns the condition as last written, if it was computed for this generation of the configuration.
    fn last(&self, type_: &str) -> Option<&Condition> {
        find(self.configuration.conditions(), type_)
            .filter(|one| one.observed_generation == self.generation())
    }

    /// Returns the generation for which CoderPad refused to create a take-home, unless a user has requested a retry
    /// (contract F7).
    fn refused_generation(&self) -> Option<i64> {
        let before = self.configuration.status.as_ref()?;
        let is_retried =
            self.handled.is_some() && self.handled != before.last_handled_reconcile_at.as_deref();
        before.take_home_refused_generation.filter(|refused| *refused == self.generation() && !is_retried)
    }

    fn connection_name(&self) -> &str {
        &self.configuration.spec.connection_ref.name
    }
}

/// Reports whether requests may be sent through a connection on behalf of its configurations.
pub fn usable(connection: &LeverConnection) -> bool {
    !connection.spec.suspend && is_true(connection.conditions(), types::READY)
}

/// Result of the check of one requirement of a configuration. Unknown also stands for a temporary failure, False for one
/// that lasts until a user acts.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Check {
    status: Status,
    reason: Reason,
    message: String,
}

impl Check {
    fn ok(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: Status::True, reason, message: message.into() }
    }

    fn pending(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: Status::Unknown, reason, message: message.into() }
    }

    fn failed(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: Status::False, reason, message: message.into() }
    }

    /// Returns the result that a condition represents, unless it is unknown.
    fn from_condition(condition: &Condition) -> Option<Self> {
        let Condition { status, reason, message, .. } = condition;
        let known = *status != Status::Unknown;
        let reason = Reason::parse(reason).filter(|_| known)?;
        Some(Self { status: *status, reason, message: message.clone() })
    }

    fn set(&self, conditions: &mut Conditions, type_: &str) {
        conditions.set(type_, self.status, self.reason, &self.message);
    }
}

/// Returns the current status.
pub fn status(observation: &ConfigurationObservation<'_>, now: Timestamp) -> PadConfigurationStatus {
    let ConfigurationObservation { configuration, connection, checks, counts, handled, preferred: _ } =
        *observation;
    let spec = &configuration.spec;
    let before = configuration.status.clone().unwrap_or_default();
    let generation = observation.generation();
    let found = connection.map(|connection| stage_of(configuration, connection.stages()));
    let (stage, question) = (stage(observation, found.as_ref()), question(observation));

    let mut conditions = Conditions::new(&before.conditions, generation, now);
    if spec.suspend {
        if find(&before.conditions, types::READY).is_none_or(|ready| ready.reason == Reason::Suspended) {
            let message = "The configuration is suspended and was never checked. Set spec.suspend to false to check it.";
            conditions.not_ready(Reason::Suspended, message);
        } else {
            conditions.keep(types::READY).keep(types::RECONCILING).keep(types::STALLED);
        }
        stage.set(&mut conditions, types::STAGE_FOUND);
        conditions.keep(types::QUESTION_USABLE);
        conditions.set(
            types::SUSPENDED,
            true,
            Reason::Suspended,
            "spec.suspend is true: no pads are created.",
        );
    } else {
        let found = found.as_ref().and_then(|found| found.as_ref().ok());
        match verdict(observation, &stage, &question, found) {
            Check { status: Status::True, reason, message } => {
                conditions.ready(Readiness::Ready, reason, message)
            }
            Check { reason, message, .. } => conditions.not_ready(reason, message),
        };
        stage.set(&mut conditions, types::STAGE_FOUND);
        question.set(&mut conditions, types::QUESTION_USABLE);
    }

    let (resolved, effective_since) = effect(observation, found.and_then(Result::ok), now);
    PadConfigurationStatus {
        observed_generation: generation,
        last_handled_reconcile_at: handled.map(ToOwned::to_owned).or(before.last_handled_reconcile_at),
        stage: resolved,
        question: match &checks.question {
            Some(Ok(question)) => Some(Question {
                id: question.id,
                title: sanitize::one_line(&question.title, STATUS_TITLE_LIMIT),
            }),
            Some(Err(_)) | None => before.question.filter(|question| Some(question.id) == spec.question_id),
        },
        effective_since,
        existing_settled_for: before.existing_settled_for,
        served_entries: before.served_entries,
        take_home_refused_generation: observation.refused_generation(),
        matching: before.matching,
        pads: counts.cloned().or(before.pads),
        conditions: conditions.finish(),
    }
}

/// Returns the stage of the rule and the time since when the rule is in effect. A rule that yields to another one is
/// not in effect: when it takes effect later, candidates who are already in the stage belong to the other rule.
fn effect(
    observation: &ConfigurationObservation<'_>,
    found: Option<FoundStage>,
    now: Timestamp,
) -> (Option<ResolvedStage>, Option<Timestamp>) {
    let spec = &observation.configuration.spec;
    let status = observation.configuration.status.as_ref();
    let before = status.and_then(|status| status.stage.clone());
    let since = status.and_then(|status| status.effective_since);
    match found {
        Some(FoundStage { stage: Stage { id, name }, .. }) => {
            let same = before.is_some_and(|before| before.id == id && before.tag == spec.tag);
            let since = match observation.preferred {
                Some(_) => None,
                None => since.filter(|_| same).or(Some(now)),
            };
            (Some(ResolvedStage { id, name, named: spec.stage.clone(), tag: spec.tag.clone() }), since)
        }
        // The stage is currently missing. If it returns with the same ID, it is the same rule.
        None if before.as_ref().is_some_and(|before| before.named == spec.stage) => (before, since),
        None => (None, None),
    }
}

/// Returns the result for Ready: the first problem in this order.
fn verdict(
    observation: &ConfigurationObservation<'_>,
    stage: &Check,
    question: &Check,
    found: Option<&FoundStage>,
) -> Check {
    let obstacles = [
        connection(observation),
        Some(stage.clone()),
        observation.preferred.map(conflict),
        Some(question.clone()),
        owner(observation),
        take_home_refused(observation),
    ];
    let obstacle = obstacles.into_iter().flatten().find(|finding| finding.status != Status::True);
    obstacle.unwrap_or_else(|| in_use(observation, stage, found))
}

fn take_home_refused(observation: &ConfigurationObservation<'_>) -> Option<Check> {
    observation.refused_generation()?;
    let object = &observation.configuration.metadata;
    let (name, namespace) =
        (object.name.as_deref().unwrap_or_default(), object.namespace.as_deref().unwrap_or_default());
    let message = format!(
        "CoderPad did not create the take-home that this configuration requests, so no further pad is created for it. Ask CoderPad whether your plan includes take-homes and whether the question is available as one. Then change the spec, or retry: kubectl annotate padconfiguration {name} --namespace {namespace} --overwrite padoperator.dev/reconcile-requested-at=\"$(date)\""
    );
    Some(Check::failed(Reason::TakeHomeRefused, message))
}

fn connection(observation: &ConfigurationObservation<'_>) -> Option<Check> {
    let name = observation.connection_name();
    let Some(connection) = observation.connection else {
        let message = format!("LeverConnection {name} does not exist in this namespace. Create it.");
        return Some(Check::failed(Reason::ConnectionNotFound, message));
    };
    let ready = find(connection.conditions(), types::READY);
    if ready.is_some_and(|ready| ready.status == Status::True) {
        return None;
    }
    let reason = ready.map_or("not reconciled yet", |ready| ready.reason.as_str());
    let namespace = observation.configuration.metadata.namespace.as_deref().unwrap_or_default();
    let message = format!(
        "LeverConnection {name} is not ready ({reason}). The configuration continues automatically when the \
         connection is ready. See: kubectl --namespace {namespace} describe leverconnection {name}"
    );
    Some(Check::pending(Reason::ConnectionNotReady, message))
}

fn stage(
    observation: &ConfigurationObservation<'_>,
    found: Option<&Result<FoundStage, StageProblem>>,
) -> Check {
    let (name, wanted) = (observation.connection_name(), &observation.configuration.spec.stage);
    let (Some(connection), Some(found)) = (observation.connection, found) else {
        return Check::pending(
            Reason::ConnectionNotFound,
            format!("LeverConnection {name} does not exist in this namespace."),
        );
    };
    let stages = connection.stages();
    match found {
        Ok(FoundStage { stage, renamed: false }) => {
            Check::ok(Reason::StageFound, format!("Stage {} has the ID {}.", quoted(&stage.name), stage.id))
        }
        Ok(FoundStage { stage, renamed: true }) => Check::ok(
            Reason::StageRenamed,
            format!(
                "Stage {} was renamed to {} in Lever; the configuration continues to use its ID {}. Set spec.stage \
                 to the new name at any time.",
                quoted(wanted),
                quoted(&stage.name),
                stage.id
            ),
        ),
        Err(StageProblem::NotKnownYet) if is_true(connection.conditions(), types::READY) => Check::failed(
            Reason::StageNotFound,
            "The Lever account has no stages. Create one in Lever's settings.",
        ),
        Err(StageProblem::NotKnownYet) => Check::pending(
            Reason::ConnectionNotReady,
            format!("LeverConnection {name} has not read Lever's stages yet. No action needed."),
        ),
        Err(StageProblem::NotFound) => {
            let alike =
                stages.iter().find(|stage| stage.name.trim().to_lowercase() == wanted.trim().to_lowercase());
            let hint =
                alike.map(|stage| format!(" Did you mean {}?", quoted(&stage.name))).unwrap_or_default();
            let message = format!(
                "Lever has no stage {} (names must match exactly).{hint} Set spec.stage to one of: {}.",
                quoted(wanted),
                listing(stages, name)
            );
            Check::failed(Reason::StageNotFound, message)
        }
        Err(StageProblem::Ambiguous(several)) => {
            let ids: Vec<_> = several.iter().take(STAGES_LISTED).map(|stage| stage.id.as_str()).collect();
            let message = format!(
                "Lever has {} stages with the name {}. Set spec.stage to the ID of one of them: {}.",
                several.len(),
                quoted(wanted),
                ids.join(", ")
            );
            Check::failed(Reason::StageAmbiguous, message)
        }
    }
}

/// Returns the list of stages, with IDs for those with ambiguous names.
fn listing(stages: &[Stage], connection: &str) -> String {
    let listed: Vec<_> = stages
        .iter()
        .take(STAGES_LISTED)
        .map(|stage| {
            let twice = stages.iter().filter(|other| other.name == stage.name).count() > 1;
            if twice { format!("{} ({})", quoted(&stage.name), stage.id) } else { quoted(&stage.name) }
        })
        .collect();
    match stages.len().saturating_sub(STAGES_LISTED) {
        0 => listed.join(", "),
        more => {
            format!("{}, and {more} more in status.stages of LeverConnection {connection}", listed.join(", "))
        }
    }
}

fn conflict(preferred: &str) -> Check {
    let message = format!(
        "PadConfiguration {preferred} has the same stage and tag and is older, so it takes precedence and this one \
         creates no pads. Change the stage or tag of one of them, or delete one."
    );
    Check::failed(Reason::Conflict, message)
}

fn question(observation: &ConfigurationObservation<'_>) -> Check {
    let spec = &observation.configuration.spec;
    let Some(id) = spec.question_id else {
        return Check::ok(Reason::NoQuestion, "spec.questionID is not set: pads start empty.");
    };
    let question = match &observation.checks.question {
        Some(Ok(question)) => question,
        Some(Err(error)) => return question_error(observation, id, error),
        None => return not_asked(observation, observation.last(types::QUESTION_USABLE), "question"),
    };
    let title = sanitize::one_line(&question.title, SHORT_TITLE_LENGTH);
    let not_usable =
        |why: &str| Check::failed(Reason::QuestionNotUsable, format!("Question {id} '{title}' {why}"));
    match (question_problem(question, spec.type_), spec.type_) {
        (Some(why), _) => not_usable(why),
        (None, PadType::Live) => Check::ok(Reason::Usable, format!("Live pads start with '{title}'.")),
        (None, PadType::TakeHome) => Check::ok(Reason::Usable, format!("Take-homes use '{title}'.")),
    }
}

fn question_error(observation: &ConfigurationObservation<'_>, id: i64, error: &ServiceError) -> Check {
    match error.class {
        ErrorKind::NotFound => Check::failed(
            Reason::QuestionNotFound,
            format!(
                "{error}. CoderPad has no question {id} that is visible to the connection's API key. Correct spec.questionID."
            ),
        ),
        ErrorKind::Forbidden => Check::failed(
            Reason::QuestionNotUsable,
            format!(
                "{error}. The connection's API key is not allowed to use question {id}. Share it with the organization, or choose another one."
            ),
        ),
        ErrorKind::Unauthorized
        | ErrorKind::Throttled
        | ErrorKind::Invalid
        | ErrorKind::Unavailable
        | ErrorKind::OutcomeUnknown => failed(error, observation.last(types::QUESTION_USABLE)),
    }
}

/// Returns the result for the owner. None if no owner is configured, or if the owner exists.
fn owner(observation: &ConfigurationObservation<'_>) -> Option<Check> {
    let email = observation.configuration.spec.owner_email.as_ref()?;
    // Only Ready reports the owner. If it was True for this generation, the owner was found.
    let last = observation.last(types::READY);
    let last = last.filter(|ready| ready.status == Status::True || ready.reason == Reason::OwnerNotFound);
    Some(match &observation.checks.owner {
        Some(Ok(true)) => return None,
        Some(Ok(false)) => Check::failed(
            Reason::OwnerNotFound,
            format!(
                "{email} is not a user of the CoderPad organization. Invite this user in CoderPad, or correct spec.ownerEmail."
            ),
        ),
        Some(Err(error)) if error.class == ErrorKind::Forbidden => Check::failed(
            Reason::InterviewForbidden,
            format!(
                "{error}. To check spec.ownerEmail, the connection requires the key of an organization owner."
            ),
        ),
        Some(Err(error)) => failed(error, last),
        None => not_asked(observation, last, "owner"),
    })
}

/// Returns the result for a failed request. After a transient failure, the last known result stays.
fn failed(error: &ServiceError, last: Option<&Condition>) -> Check {
    let known = last.and_then(Check::from_condition);
    match error.class {
        ErrorKind::Throttled | ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => match known {
            Some(known) => known,
            _ if error.class == ErrorKind::Throttled => Check::pending(
                Reason::InterviewRateLimited,
                format!("{error}. The operator retries automatically."),
            ),
            _ => Check::pending(
                Reason::InterviewUnavailable,
                format!("{error}. The operator retries automatically."),
            ),
        },
        ErrorKind::Unauthorized => Check::failed(
            Reason::InterviewUnauthorized,
            format!("{error}. CoderPad does not accept the connection's API key: see the LeverConnection."),
        ),
        ErrorKind::Invalid | ErrorKind::Forbidden | ErrorKind::NotFound => Check::failed(
            Reason::InterviewUnexpectedAnswer,
            format!(
                "{error}. Check spec.questionID and spec.ownerEmail, and the LeverConnection's spec.interview.url."
            ),
        ),
    }
}

/// Returns the result for a check that was not executed yet. The last known result stays.
fn not_asked(observation: &ConfigurationObservation<'_>, last: Option<&Condition>, what: &str) -> Check {
    last.and_then(Check::from_condition).unwrap_or_else(|| {
        Check::pending(
            Reason::ConnectionNotReady,
            format!(
                "The {what} is checked in CoderPad as soon as LeverConnection {} is ready.",
                observation.connection_name()
            ),
        )
    })
}

fn in_use(observation: &ConfigurationObservation<'_>, stage: &Check, found: Option<&FoundStage>) -> Check {
    let spec = &observation.configuration.spec;
    if let Some(FoundStage { renamed: true, .. }) = found {
        return stage.clone();
    }
    let name = found.map_or(spec.stage.as_str(), |found| found.stage.name.as_str());
    let kind = match spec.type_ {
        PadType::Live => "a Live pad",
        PadType::TakeHome => "a take-home of 2 hours",
    };
    let title = match &observation.checks.question {
        Some(Ok(question)) => {
            format!(" with the question '{}'", sanitize::one_line(&question.title, SHORT_TITLE_LENGTH))
        }
        Some(Err(_)) | None => spec.question_id.map(|id| format!(" with question {id}")).unwrap_or_default(),
    };
    let message = format!(
        "Candidates with tag {} who enter stage {} get {kind}{title}.",
        quoted(&spec.tag),
        quoted(name)
    );
    Check::ok(Reason::InUse, message)
}

fn quoted(name: &str) -> String {
    format!("'{}'", sanitize::one_line(name, SHORT_TITLE_LENGTH))
}

#[cfg(test)]
mod messages;
#[cfg(test)]
mod tests;
