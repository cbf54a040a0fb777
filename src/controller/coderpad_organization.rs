//! The CoderPad organization of an API key, and the check whether the connection may use it (contract C4a).  In another
//! organization, every pad of the connection is missing, and each 404 would end a Pad permanently. Therefore a key is
//! used for Pads only after `GET /organization` has confirmed the known organization: the one in the status of the
//! connection, or one that a user has accepted.

use api::sanitize;
use api::{LeverConnection, names};
use coderpad::{self, InterviewClient};
use http_client::ServiceError;
use kube::ResourceExt;
use parking_lot::Mutex;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum length of the name in the status, in characters.
const ORGANIZATION_NAME_MAX_CHARS: usize = 256;
/// Maximum length of the ID in the status, in characters.
const ORGANIZATION_ID_MAX_CHARS: usize = 64;
/// Duration for which a failed request is cached, so that concurrent callers do not repeat it one by one.
const FAILURE_CACHE_TTL: Duration = Duration::from_secs(2);

/// Organization in CoderPad, within the limits of the status.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Organization {
    /// Name of the organization.
    pub name: String,
    /// ID of the organization, if CoderPad returns one (observed, but not documented).
    pub id: Option<String>,
}

impl Organization {
    /// Returns the organization in a response of CoderPad; None if it has no name.
    pub fn from_answer(found: &coderpad::OrganizationRecord) -> Option<Self> {
        let name = sanitize::one_line(found.name.as_deref()?, ORGANIZATION_NAME_MAX_CHARS);
        let id = found
            .id
            .as_deref()
            .map(|id| sanitize::one_line(id, ORGANIZATION_ID_MAX_CHARS))
            .filter(|id| !id.is_empty());
        Some(Self { name, id })
    }

    /// Returns the organization of the last probe of a connection.
    pub fn from_status(connection: &LeverConnection) -> Option<Self> {
        let status = connection.status.as_ref()?;
        Some(Self { name: status.organization.clone()?, id: status.organization_id.clone() })
    }

    /// Reports whether both are the same organization, by ID or, if an ID is missing, by name.
    fn is(&self, other: &Self) -> bool {
        match (&self.id, &other.id) {
            (Some(own), Some(other)) => own == other,
            _ => self.name == other.name,
        }
    }

    /// Returns the annotation value that accepts this organization instead of `known`: its name, or its ID if both have
    /// the same name.
    fn acceptance<'a>(&'a self, known: &Self) -> &'a str {
        match &self.id {
            Some(id) if self.name == known.name => id,
            _ => &self.name,
        }
    }

    /// Checks that the connection may use this organization. The error is a message for users.
    ///
    /// # Errors
    /// If the connection had another organization, and no user has accepted this one.
    pub fn check(&self, connection: &LeverConnection) -> Result<(), String> {
        let Some(known) = Self::from_status(connection) else { return Ok(()) };
        let wanted = self.acceptance(&known);
        if self.is(&known) || accepted(connection) == Some(wanted) {
            return Ok(());
        }
        let key = &connection.spec.interview.api_key_secret_ref;
        let (name, namespace) = (connection.name_any(), connection.namespace().unwrap_or_default());
        let command = format!(
            "kubectl annotate leverconnection {name} -n {namespace} {}={} --overwrite",
            names::ACCEPT_ORGANIZATION,
            quoted(wanted)
        );
        Err(format!(
            "The API key in Secret {}, key {} belongs to the CoderPad organization {self}, but this connection \
             belongs to {known}. The operator sends no requests for its Pads and concludes nothing about existing \
             pads. Put a key of {known} into the Secret. To move the connection to {self} instead (its open Pads \
             end, because their pads are missing there), run: {command}",
            key.name, key.key
        ))
    }
}

impl fmt::Display for Organization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "'{}' (ID {id})", self.name),
            None => write!(f, "'{}'", self.name),
        }
    }
}

/// Returns the organization that a user has accepted for the connection, by name or ID.
pub fn accepted(connection: &LeverConnection) -> Option<&str> {
    connection.annotations().get(names::ACCEPT_ORGANIZATION).map(|name| name.trim())
}

/// Returns the text quoted for a shell.
fn quoted(text: &str) -> String {
    if text.chars().all(|c| c.is_alphanumeric() || " .,&()+-_/".contains(c)) {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Cached organization of one API key.
#[derive(Debug, Default)]
pub struct KeyOrganization {
    seen: Mutex<Option<LastAnswer>>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
enum LastAnswer {
    Organization(Option<Organization>),
    Failed(ServiceError, Instant),
}

impl KeyOrganization {
    /// Fetches the organization from CoderPad. Used by the probe.
    ///
    /// # Errors
    /// The errors of [`InterviewClient::organization`].
    pub async fn fetch(&self, client: &InterviewClient) -> Result<Option<Organization>, ServiceError> {
        let _asking = self.asking.lock().await;
        self.refresh(client).await
    }

    /// Returns the cached organization, or fetches it. Concurrent calls share one request.
    ///
    /// # Errors
    /// The errors of [`InterviewClient::organization`].
    pub async fn get(&self, client: &InterviewClient) -> Result<Option<Organization>, ServiceError> {
        if let Some(LastAnswer::Organization(known)) = self.seen() {
            return Ok(known);
        }
        let _asking = self.asking.lock().await;
        match self.seen() {
            Some(LastAnswer::Organization(known)) => Ok(known),
            Some(LastAnswer::Failed(error, at)) if at.elapsed() < FAILURE_CACHE_TTL => Err(error),
            Some(LastAnswer::Failed(..)) | None => self.refresh(client).await,
        }
    }

    async fn refresh(&self, client: &InterviewClient) -> Result<Option<Organization>, ServiceError> {
        let answer = client.organization().await.map(|found| Organization::from_answer(&found));
        let mut seen = self.seen.lock();
        match &answer {
            Ok(found) => *seen = Some(LastAnswer::Organization(found.clone())),
            // Keep the known organization after an error: the organization of a key does not change.
            Err(error) if !matches!(*seen, Some(LastAnswer::Organization(_))) => {
                *seen = Some(LastAnswer::Failed(error.clone(), Instant::now()));
            }
            Err(_) => {}
        }
        answer
    }

    fn seen(&self) -> Option<LastAnswer> {
        self.seen.lock().clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http_client::testing::transport;
    use serde_json::json;
    use url::Url;
    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    fn organization(name: &str, id: Option<&str>) -> Organization {
        Organization { name: name.into(), id: id.map(str::to_owned) }
    }

    fn connection(known: Option<(&str, Option<&str>)>, accepted: Option<&str>) -> LeverConnection {
        let mut connection: LeverConnection = serde_json::from_value(json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "LeverConnection",
            "metadata": {"name": "acme", "namespace": "hiring"},
            "spec": {"lever": {"apiKeySecretRef": {"name": "acme", "key": "l"}},
                "interview": {"apiKeySecretRef": {"name": "acme", "key": "i"}}},
            "status": {"observedGeneration": 1},
        }))
        .unwrap();
        if let (Some((name, id)), Some(status)) = (known, &mut connection.status) {
            status.organization = Some(name.into());
            status.organization_id = id.map(str::to_owned);
        }
        if let Some(accepted) = accepted {
            let accepted = (names::ACCEPT_ORGANIZATION.to_owned(), accepted.to_owned());
            connection.metadata.annotations = Some([accepted].into());
        }
        connection
    }

    // contract C4a
    #[test]
    fn another_organization_requires_acceptance_and_a_new_name_does_not() {
        let check = |found: &Organization, known, accepted| found.check(&connection(known, accepted)).is_ok();
        let (acme, other) = (organization("Acme", None), organization("Other", None));
        assert!(check(&acme, None, None), "the first one");
        assert!(check(&acme, Some(("Acme", None)), None));
        assert!(!check(&other, Some(("Acme", None)), None));
        assert!(check(&other, Some(("Acme", None)), Some(" Other\n")));
        assert!(!check(&other, Some(("Acme", None)), Some("other")), "the exact name");
        assert!(!check(&other, Some(("Acme", None)), Some("Acme")));

        let with_id = organization("Acme", Some("42"));
        assert!(check(&with_id, Some(("Acme", None)), None), "the ID is new to the status");
        assert!(check(&with_id, Some(("Old name", Some("42"))), None), "renamed");
        assert!(!check(&with_id, Some(("Acme", Some("7"))), None), "another one of the same name");
        assert!(!check(&with_id, Some(("Acme", Some("7"))), Some("Acme")), "both have this name");
        assert!(check(&with_id, Some(("Acme", Some("7"))), Some("42")));
        assert!(check(&acme, Some(("Acme", Some("7"))), None), "CoderPad returned no ID this time");
    }

    #[test]
    fn the_message_contains_both_organizations_and_both_solutions() {
        let found = organization("Other", Some("43"));
        let message = found.check(&connection(Some(("Acme", Some("42"))), None)).unwrap_err();
        for part in [
            "'Other' (ID 43)",
            "'Acme' (ID 42)",
            "Secret acme, key i",
            "kubectl annotate leverconnection acme -n hiring padoperator.dev/accept-organization=\"Other\" --overwrite",
        ] {
            assert!(message.contains(part), "{message}");
        }
        let hostile = organization("a\"; curl $(id) 'x' #", None);
        let message = hostile.check(&connection(Some(("Acme", None)), None)).unwrap_err();
        assert!(
            message.contains(r#"accept-organization='a"; curl $(id) '\''x'\'' #' --overwrite"#),
            "{message}"
        );
    }

    #[tokio::test]
    async fn concurrent_calls_share_one_request_and_failures_expire() {
        let server = MockServer::start().await;
        let broken = ResponseTemplate::new(503);
        Mock::given(path("/api/organization"))
            .respond_with(broken)
            .up_to_n_times(1)
            .expect(1)
            .mount(&server)
            .await;
        let answer = json!({"status": "OK", "organization_name": "Acme", "id": 42});
        Mock::given(path("/api/organization"))
            .respond_with(ResponseTemplate::new(200).set_body_json(answer))
            .expect(2)
            .mount(&server)
            .await;
        let base = Url::parse(&format!("{}/api", server.uri())).unwrap();
        let client = InterviewClient::new(&transport(Duration::from_secs(5)), &base, "key".into()).unwrap();
        let of_key = KeyOrganization::default();
        let both = tokio::join!(of_key.get(&client), of_key.get(&client));
        assert!(both.0.is_err() && both.1.is_err());
        tokio::time::sleep(FAILURE_CACHE_TTL).await;
        let expected = Some(organization("Acme", Some("42")));
        for _ in 0..3 {
            let both = tokio::join!(of_key.get(&client), of_key.get(&client));
            assert_eq!((both.0.unwrap(), both.1.unwrap()), (expected.clone(), expected.clone()));
        }
        assert_eq!(of_key.fetch(&client).await.unwrap(), expected, "the probe always sends a request");
    }
}
