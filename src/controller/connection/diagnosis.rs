//! Problems of a connection with one of its two services, with messages that contain the next step.

use api::reason::{ConditionReason as _, ConnectionReason as Reason};
use api::{LeverConnection, SecretKeyRef};
pub use engine::wording::{lever_permission, sentence};

use crate::controller::service_clients::ServiceClientError;
use crate::k8s::patch::is_status;
use crate::k8s::secrets::SecretError;
use http_client::{ErrorKind, Service, ServiceError};
use kube::ResourceExt;
use lever::UserState;
use std::time::Duration;

/// Reason for which a service does not count as connected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnosis {
    /// Machine-readable reason.
    pub reason: Reason,
    /// Human-readable message.
    pub message: String,
    /// The service with the problem.
    pub service: Service,
    /// Way to resolve the problem.
    pub remedy: Remedy,
    /// Delay that the service requested in Retry-After.
    pub retry_after: Option<Duration>,
}

/// Way to resolve a problem.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remedy {
    /// Requires user action. Takes effect immediately.
    UserAction,
    /// Probably requires user action, but a proxy's response can look the same. Takes effect after three failures in a
    /// row.
    Ambiguous,
    /// Expected to pass. Takes effect after three failures in a row.
    Retry,
}

impl Remedy {
    fn for_reason(reason: Reason) -> Self {
        match reason {
            Reason::LeverUnexpectedAnswer
            | Reason::InterviewUnexpectedAnswer
            | Reason::ManagedWebhooksDisabled
            | Reason::WebhookRefused => Self::Ambiguous,
            reason if reason.needs_user_action() => Self::UserAction,
            _ => Self::Retry,
        }
    }
}

impl Diagnosis {
    fn new(service: Service, reason: Reason, message: String) -> Self {
        Self { reason, message, service, remedy: Remedy::for_reason(reason), retry_after: None }
    }

    /// Returns the diagnosis of a webhook that cannot be registered in Lever.
    pub fn for_webhook(reason: Reason, message: String) -> Self {
        Self::new(Service::Lever, reason, message)
    }

    /// Reports whether the problem may pass without user action, so that an early retry is useful.
    pub fn is_transient(&self) -> bool {
        self.remedy != Remedy::UserAction
    }
}

/// Hint for a key of another host, which Lever rejects like any wrong key (reference: lever-api.md, 1. Transport).
const OTHER_HOST: &str = ", or correct spec.lever.url: a key of Lever's sandbox works only at \
                          https://api.sandbox.lever.co/v1, and a production key does not work there";

fn by_service<T>(service: Service, lever: T, interview: T) -> T {
    match service {
        Service::Lever => lever,
        Service::Interview => interview,
    }
}

/// Returns the diagnosis of a failed call. `permission` is a sentence that describes the permission for this call.
pub fn diagnose_call(error: &ServiceError, key: &SecretKeyRef, permission: &str) -> Diagnosis {
    let cause = sentence(&error.to_string());
    let (service, place) = (error.service, format!("Secret {}, key {}", key.name, key.key));
    let reason = |lever, interview| by_service(service, lever, interview);
    match error.class {
        ErrorKind::Unauthorized => Diagnosis::new(
            service,
            reason(Reason::LeverUnauthorized, Reason::InterviewUnauthorized),
            format!(
                "{cause} {service} does not accept the API key in {place}. Put a valid key of this account there{}.",
                by_service(service, OTHER_HOST, "")
            ),
        ),
        ErrorKind::Forbidden => Diagnosis::new(
            service,
            reason(Reason::LeverForbidden, Reason::InterviewForbidden),
            format!("{cause} The API key in {place} lacks the permission for this request. {permission}"),
        ),
        ErrorKind::Throttled => Diagnosis {
            retry_after: error.retry_after,
            ..Diagnosis::new(service, reason(Reason::LeverRateLimited, Reason::InterviewRateLimited), cause)
        },
        ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => Diagnosis {
            retry_after: error.retry_after,
            ..Diagnosis::new(service, reason(Reason::LeverUnavailable, Reason::InterviewUnavailable), cause)
        },
        ErrorKind::Invalid | ErrorKind::NotFound => Diagnosis::new(
            service,
            reason(Reason::LeverUnexpectedAnswer, Reason::InterviewUnexpectedAnswer),
            format!("{cause} Check {}.", by_service(service, "spec.lever.url", "spec.interview.url")),
        ),
    }
}

/// Returns the diagnosis of a key that belongs to no organization. `answer` describes the service's response.
pub fn no_organization(answer: &str, key: &SecretKeyRef) -> Diagnosis {
    let message = format!(
        "{} The user whose API key is in Secret {}, key {} belongs to no CoderPad organization. Use the key of an \
         organization owner, or correct spec.interview.url.",
        sentence(answer),
        key.name,
        key.key
    );
    Diagnosis::new(Service::Interview, Reason::OrganizationMissing, message)
}

/// Returns the diagnosis of a `performAs` with which Lever would reject all writes (contract C3b).
pub fn perform_as_invalid(connection: &LeverConnection, user: UserState) -> Diagnosis {
    let spec = &connection.spec.lever;
    let problem = match user {
        UserState::Deactivated => "is deactivated in Lever",
        UserState::Unknown | UserState::Active => "does not exist in this Lever account",
    };
    let message = format!(
        "spec.lever.performAs: user {} {problem}. Links, notes and tags could not be written, so no pad is created. \
         Set the ID of an active user, or write as the API key itself: kubectl patch leverconnection {} -n {} --type \
         merge -p '{{\"spec\":{{\"lever\":{{\"performAs\":\"\"}}}}}}'",
        spec.perform_as,
        connection.name_any(),
        connection.namespace().unwrap_or_default(),
    );
    Diagnosis::new(Service::Lever, Reason::PerformAsInvalid, message)
}

/// Returns the diagnosis of a key that belongs to another organization than before (contract C4a). `message` names the
/// organization and the next step.
pub fn organization_changed(message: String) -> Diagnosis {
    Diagnosis::new(Service::Interview, Reason::OrganizationChanged, message)
}

/// Returns the diagnosis of settings with which neither service can be called. Returns the error itself if it does not
/// concern the settings.
pub fn diagnose_clients(
    error: ServiceClientError,
    connection: &LeverConnection,
) -> Result<Diagnosis, SecretError> {
    let service = error.service();
    let field = match service {
        Service::Lever => "spec.lever.apiKeySecretRef",
        Service::Interview => "spec.interview.apiKeySecretRef",
    };
    let namespace = connection.metadata.namespace.as_deref().unwrap_or_default();
    let diagnosis = |reason, message: &str| Diagnosis::new(service, reason, sentence(message));
    match error {
        ServiceClientError::OriginNotAllowed { .. } => {
            Ok(diagnosis(Reason::OriginNotAllowed, &error.to_string()))
        }
        ServiceClientError::OrganizationChanged { message } => Ok(organization_changed(message)),
        ServiceClientError::Unconfirmed { source } => {
            Ok(diagnose_call(&source, &connection.spec.interview.api_key_secret_ref, ""))
        }
        ServiceClientError::Key { .. } => {
            Ok(diagnosis(Reason::SecretKeyInvalid, &format!("{field}: {error}")))
        }
        ServiceClientError::Secret { source, .. } => {
            let reason = diagnose_secret(&source, namespace)
                .map(|(reason, hint)| (reason, format!("{field}: {source}{hint}")));
            reason.map(|(reason, message)| diagnosis(reason, &message)).ok_or(source)
        }
    }
}

/// Returns the reason for an unusable Secret value, and a hint to append to the error. None if the read failed, so that
/// the state of the value is unknown.
pub fn diagnose_secret(error: &SecretError, namespace: &str) -> Option<(Reason, String)> {
    match error {
        SecretError::NotFound { .. } => Some((Reason::SecretNotFound, format!(" (namespace {namespace})"))),
        SecretError::KeyMissing { .. } => Some((Reason::SecretKeyMissing, String::new())),
        SecretError::NotText { .. } => Some((Reason::SecretKeyInvalid, String::new())),
        SecretError::Unreadable { source, .. } if is_status(source, 403) => Some((
            Reason::SecretUnreadable,
            ". Allow the operator's ServiceAccount to get and watch Secrets in this namespace".into(),
        )),
        SecretError::Unreadable { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKeyRef {
        SecretKeyRef { name: "acme".into(), key: "api-key".into() }
    }

    #[test]
    fn each_class_of_error_has_a_reason_and_a_remedy() {
        let cases = [
            (
                ErrorKind::Unauthorized,
                Reason::LeverUnauthorized,
                Reason::InterviewUnauthorized,
                Remedy::UserAction,
            ),
            (ErrorKind::Forbidden, Reason::LeverForbidden, Reason::InterviewForbidden, Remedy::UserAction),
            (ErrorKind::Throttled, Reason::LeverRateLimited, Reason::InterviewRateLimited, Remedy::Retry),
            (ErrorKind::Unavailable, Reason::LeverUnavailable, Reason::InterviewUnavailable, Remedy::Retry),
            (
                ErrorKind::OutcomeUnknown,
                Reason::LeverUnavailable,
                Reason::InterviewUnavailable,
                Remedy::Retry,
            ),
            (
                ErrorKind::NotFound,
                Reason::LeverUnexpectedAnswer,
                Reason::InterviewUnexpectedAnswer,
                Remedy::Ambiguous,
            ),
            (
                ErrorKind::Invalid,
                Reason::LeverUnexpectedAnswer,
                Reason::InterviewUnexpectedAnswer,
                Remedy::Ambiguous,
            ),
        ];
        for (class, lever, interview, nature) in cases {
            for (service, reason) in [(Service::Lever, lever), (Service::Interview, interview)] {
                let error = ServiceError::new(class, service, "GET /stages", Some(499), "Sorry.");
                let diagnosis = diagnose_call(&error, &key(), "It needs \"Find all stages\".");
                assert_eq!((diagnosis.reason, diagnosis.remedy), (reason, nature), "{class:?}");
                for part in [&service.to_string(), "499", "GET /stages"] {
                    assert!(diagnosis.message.contains(part), "{}", diagnosis.message);
                }
                assert!(!diagnosis.message.contains(".."), "{}", diagnosis.message);
            }
        }
        let error = ServiceError::new(ErrorKind::Forbidden, Service::Lever, "GET /stages", Some(403), "no");
        let message = diagnose_call(&error, &key(), "It needs \"Find all stages\".").message;
        assert!(
            message.contains("Find all stages") && message.contains("Secret acme, key api-key"),
            "{message}"
        );
    }

    #[test]
    fn an_unreadable_secret_is_reported_with_the_missing_permission() {
        let status = kube::core::Status::failure("forbidden", "Forbidden").with_code(403);
        let source = Box::new(kube::Error::Api(Box::new(status)));
        let (reason, hint) =
            diagnose_secret(&SecretError::Unreadable { name: "acme".into(), source }, "hiring").unwrap();
        assert_eq!(reason, Reason::SecretUnreadable);
        assert!(hint.contains("ServiceAccount to get and watch Secrets"), "{hint}");
    }

    #[test]
    fn a_missing_secret_is_reported_with_field_and_key() {
        let connection: LeverConnection = serde_json::from_value(serde_json::json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "LeverConnection",
            "metadata": {"name": "acme", "namespace": "hiring"},
            "spec": {"lever": {"apiKeySecretRef": {"name": "acme", "key": "l"}},
                "interview": {"apiKeySecretRef": {"name": "acme", "key": "i"}}},
        }))
        .unwrap();
        let of =
            |service, source| diagnose_clients(ServiceClientError::Secret { service, source }, &connection);
        let missing = || SecretError::NotFound { name: "acme".into(), key: "l".into() };
        let diagnosis = of(Service::Lever, missing()).unwrap();
        assert_eq!((diagnosis.reason, diagnosis.remedy), (Reason::SecretNotFound, Remedy::UserAction));
        for part in ["spec.lever.apiKeySecretRef", "Secret acme", "key l", "namespace hiring"] {
            assert!(diagnosis.message.contains(part), "{}", diagnosis.message);
        }
        let no_key = SecretError::KeyMissing { name: "acme".into(), key: "i".into(), version: String::new() };
        assert_eq!(of(Service::Interview, no_key).unwrap().reason, Reason::SecretKeyMissing);
        let down = SecretError::Unreadable {
            name: "acme".into(),
            source: Box::new(kube::Error::LinesCodecMaxLineLengthExceeded),
        };
        assert!(of(Service::Lever, down).is_err());
        let origin = ServiceClientError::OriginNotAllowed {
            service: Service::Lever,
            field: "spec.lever.url",
            url: "https://evil.example".into(),
            problem: "its origin is not allowed",
        };
        let diagnosis = diagnose_clients(origin, &connection).unwrap();
        assert_eq!(diagnosis.reason, Reason::OriginNotAllowed);
        assert!(diagnosis.message.contains("spec.lever.url"), "{}", diagnosis.message);
    }
}
