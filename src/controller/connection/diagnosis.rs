//! What can be wrong with one of the two services of a connection, in words that say what to do.

use crate::api::{LeverConnection, SecretKeyRef};
use crate::controller::service_clients::ServiceClientError;
use crate::k8s::patch::is_status;
use crate::k8s::secrets::SecretError;
use crate::lever::User;
use crate::transport::{Class, Error, Service};
use kube::ResourceExt;
use std::time::Duration;

/// Why a service does not count as connected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnosis {
    /// For programs.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// Which service it is about.
    pub service: Service,
    /// What it takes to end it.
    pub remedy: Remedy,
    /// The pause that the service asked for.
    pub retry_after: Option<Duration>,
}

/// What it takes to end a trouble.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remedy {
    /// A person. It counts at once.
    UserAction,
    /// Most likely a person, but an answer of something in between looks the same: it counts after three in a row.
    Ambiguous,
    /// Time. It counts after three in a row.
    Retry,
}

impl Diagnosis {
    fn new(service: Service, reason: &'static str, nature: Remedy, message: String) -> Self {
        Self { reason, message, service, remedy: nature, retry_after: None }
    }

    /// Something that keeps a webhook from being registered in Lever.
    pub fn of_webhook(reason: &'static str, nature: Remedy, message: String) -> Self {
        Self::new(Service::Lever, reason, nature, message)
    }

    /// Whether it may be over by itself, so that it is worth asking again soon.
    pub fn is_transient(&self) -> bool {
        self.remedy != Remedy::UserAction
    }
}

/// A key of another host is refused like any wrong one (reference: lever-api.md, 1. Transport).
const OTHER_HOST: &str = ", or correct spec.lever.url: a key of Lever's sandbox works at \
                          https://api.sandbox.lever.co/v1 only, and one of production does not work there";

/// A call that failed. `permission` says what the key needs for this call, as a sentence.
pub fn diagnose_call(error: &Error, key: &SecretKeyRef, permission: &str) -> Diagnosis {
    let said = sentence(&error.to_string());
    let (service, place) = (error.service, format!("Secret {}, key {}", key.name, key.key));
    let reason = |lever, interview| match service {
        Service::Lever => lever,
        Service::Interview => interview,
    };
    match error.class {
        Class::Unauthorized => Diagnosis::new(
            service,
            reason("LeverUnauthorized", "InterviewUnauthorized"),
            Remedy::UserAction,
            format!(
                "{said} {service} does not accept the API key in {place}. Put a valid key of this account there{}.",
                reason(OTHER_HOST, "")
            ),
        ),
        Class::Forbidden => Diagnosis::new(
            service,
            reason("LeverForbidden", "InterviewForbidden"),
            Remedy::UserAction,
            format!("{said} The API key in {place} may not do this. {permission}"),
        ),
        Class::Throttled => Diagnosis {
            retry_after: error.retry_after,
            ..Diagnosis::new(service, reason("LeverRateLimited", "InterviewRateLimited"), Remedy::Retry, said)
        },
        Class::Unavailable | Class::OutcomeUnknown => Diagnosis {
            retry_after: error.retry_after,
            ..Diagnosis::new(service, reason("LeverUnavailable", "InterviewUnavailable"), Remedy::Retry, said)
        },
        Class::Invalid | Class::NotFound => Diagnosis::new(
            service,
            reason("LeverUnexpectedAnswer", "InterviewUnexpectedAnswer"),
            Remedy::Ambiguous,
            format!("{said} Check {}.", reason("spec.lever.url", "spec.interview.url")),
        ),
    }
}

/// What to do about a Lever key that lacks permissions. Those of a key cannot be changed (reference: lever-api.md, 1.
/// Authentication).
pub fn lever_permission(lacking: &str) -> String {
    format!(
        "It lacks {lacking}. Lever fixes a key's permissions when it is made: make a new one with all read and write \
         permissions, and put it into the Secret."
    )
}

/// A key that belongs to no organization. `said` is what the service answered.
pub fn no_organization(said: &str, key: &SecretKeyRef) -> Diagnosis {
    let message = format!(
        "{} The user whose API key is in Secret {}, key {} belongs to no CoderPad organization. Use the key of an \
         organization owner, or correct spec.interview.url if it leads elsewhere.",
        sentence(said),
        key.name,
        key.key
    );
    Diagnosis::new(Service::Interview, "OrganizationMissing", Remedy::UserAction, message)
}

/// A `performAs` that no write would be taken for (contract C3b).
pub fn perform_as_invalid(connection: &LeverConnection, user: User) -> Diagnosis {
    let spec = &connection.spec.lever;
    let problem = match user {
        User::Deactivated => "is deactivated in Lever",
        User::Unknown | User::Active => "does not exist in this Lever account",
    };
    let message = format!(
        "spec.lever.performAs: user {} {problem}. Links, notes and tags could not be written, so no pad is created. Set \
         the ID of an active user, or write as the API key itself: kubectl patch leverconnection {} -n {} --type merge \
         -p '{{\"spec\":{{\"lever\":{{\"performAs\":\"\"}}}}}}'",
        spec.perform_as,
        connection.name_any(),
        connection.namespace().unwrap_or_default(),
    );
    Diagnosis::new(Service::Lever, "PerformAsInvalid", Remedy::UserAction, message)
}

/// A key that leads to another organization than the connection had (contract C4a). `message` says which, and what to do.
pub fn organization_changed(message: String) -> Diagnosis {
    Diagnosis::new(Service::Interview, "OrganizationChanged", Remedy::UserAction, message)
}

/// Settings of the connection that keep both services from being called; the error itself, if it says nothing about
/// the settings.
pub fn of_account(error: ServiceClientError, connection: &LeverConnection) -> Result<Diagnosis, SecretError> {
    let service = error.service();
    let field = match service {
        Service::Lever => "spec.lever.apiKeySecretRef",
        Service::Interview => "spec.interview.apiKeySecretRef",
    };
    let namespace = connection.metadata.namespace.as_deref().unwrap_or_default();
    let trouble =
        |reason, message: &str| Diagnosis::new(service, reason, Remedy::UserAction, sentence(message));
    match error {
        ServiceClientError::OriginNotAllowed { .. } => Ok(trouble("OriginNotAllowed", &error.to_string())),
        ServiceClientError::OrganizationChanged { message } => Ok(organization_changed(message)),
        ServiceClientError::Unconfirmed { source } => {
            Ok(diagnose_call(&source, &connection.spec.interview.api_key_secret_ref, ""))
        }
        ServiceClientError::Key { .. } => Ok(trouble("SecretKeyInvalid", &format!("{field}: {error}"))),
        ServiceClientError::Secret { source, .. } => {
            let reason = of_secret(&source, namespace)
                .map(|(reason, hint)| (reason, format!("{field}: {source}{hint}")));
            reason.map(|(reason, message)| trouble(reason, &message)).ok_or(source)
        }
    }
}

/// The reason for a value that cannot be had, and what to add to the error's own words; None if it is only not known
/// whether it can.
pub fn of_secret(error: &SecretError, namespace: &str) -> Option<(&'static str, String)> {
    match error {
        SecretError::NotFound { .. } => Some(("SecretNotFound", format!(" (namespace {namespace})"))),
        SecretError::KeyMissing { .. } => Some(("SecretKeyMissing", String::new())),
        SecretError::NotText { .. } => Some(("SecretKeyInvalid", String::new())),
        SecretError::Unreadable { source, .. } if is_status(source, 403) => Some((
            "SecretUnreadable",
            ". Let the operator's ServiceAccount get and watch Secrets here".into(),
        )),
        SecretError::Unreadable { .. } => None,
    }
}

/// The text with one full stop at its end.
pub fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end().trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKeyRef {
        SecretKeyRef { name: "acme".into(), key: "api-key".into() }
    }

    #[test]
    fn each_class_of_failure_has_its_reason_and_its_nature() {
        let cases = [
            (Class::Unauthorized, "LeverUnauthorized", "InterviewUnauthorized", Remedy::UserAction),
            (Class::Forbidden, "LeverForbidden", "InterviewForbidden", Remedy::UserAction),
            (Class::Throttled, "LeverRateLimited", "InterviewRateLimited", Remedy::Retry),
            (Class::Unavailable, "LeverUnavailable", "InterviewUnavailable", Remedy::Retry),
            (Class::OutcomeUnknown, "LeverUnavailable", "InterviewUnavailable", Remedy::Retry),
            (Class::NotFound, "LeverUnexpectedAnswer", "InterviewUnexpectedAnswer", Remedy::Ambiguous),
            (Class::Invalid, "LeverUnexpectedAnswer", "InterviewUnexpectedAnswer", Remedy::Ambiguous),
        ];
        for (class, lever, interview, nature) in cases {
            for (service, reason) in [(Service::Lever, lever), (Service::Interview, interview)] {
                let error = Error::new(class, service, "GET /stages", Some(499), "Sorry.");
                let trouble = diagnose_call(&error, &key(), "It needs \"Find all stages\".");
                assert_eq!((trouble.reason, trouble.remedy), (reason, nature), "{class:?}");
                for part in [&service.to_string(), "499", "GET /stages"] {
                    assert!(trouble.message.contains(part), "{}", trouble.message);
                }
                assert!(!trouble.message.contains(".."), "{}", trouble.message);
            }
        }
        let error = Error::new(Class::Forbidden, Service::Lever, "GET /stages", Some(403), "no");
        let message = diagnose_call(&error, &key(), "It needs \"Find all stages\".").message;
        assert!(
            message.contains("Find all stages") && message.contains("Secret acme, key api-key"),
            "{message}"
        );
    }

    #[test]
    fn a_secret_that_may_not_be_read_names_the_right_that_is_missing() {
        let status = kube::core::Status::failure("forbidden", "Forbidden").with_code(403);
        let source = Box::new(kube::Error::Api(Box::new(status)));
        let (reason, hint) =
            of_secret(&SecretError::Unreadable { name: "acme".into(), source }, "hiring").unwrap();
        assert_eq!(reason, "SecretUnreadable");
        assert!(hint.contains("ServiceAccount get and watch Secrets"), "{hint}");
    }

    #[test]
    fn missing_secrets_are_named_with_field_and_key() {
        let connection: LeverConnection = serde_json::from_value(serde_json::json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "LeverConnection",
            "metadata": {"name": "acme", "namespace": "hiring"},
            "spec": {"lever": {"apiKeySecretRef": {"name": "acme", "key": "l"}},
                "interview": {"apiKeySecretRef": {"name": "acme", "key": "i"}}},
        }))
        .unwrap();
        let of = |service, source| of_account(ServiceClientError::Secret { service, source }, &connection);
        let missing = || SecretError::NotFound { name: "acme".into(), key: "l".into() };
        let trouble = of(Service::Lever, missing()).unwrap();
        assert_eq!((trouble.reason, trouble.remedy), ("SecretNotFound", Remedy::UserAction));
        for part in ["spec.lever.apiKeySecretRef", "Secret acme", "key l", "namespace hiring"] {
            assert!(trouble.message.contains(part), "{}", trouble.message);
        }
        let no_key = SecretError::KeyMissing { name: "acme".into(), key: "i".into() };
        assert_eq!(of(Service::Interview, no_key).unwrap().reason, "SecretKeyMissing");
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
        let trouble = of_account(origin, &connection).unwrap();
        assert_eq!(trouble.reason, "OriginNotAllowed");
        assert!(trouble.message.contains("spec.lever.url"), "{}", trouble.message);
    }
}
