//! The two services of a connection, ready to call: origins checked, keys read, clients kept until either changes.
//!
//! This is the one place that decides whether a URL of a LeverConnection may be called at all: a user of a namespace
//! writes any spec, and a key must never leave for an address that the cluster's owner has not allowed.

use super::configuration::duplicates::Duplicates;
use super::organization::{KeyOrganization, Organization};
use crate::api::LeverConnection;
use crate::api::names::sha256_hex;
use crate::coderpad::InterviewClient;
use crate::k8s::secrets::{SecretChange, SecretError, Secrets};
use crate::lever::LeverClient;
use crate::transport::{self, Priority, Service, SetupError, Transport};
use kube::ResourceExt;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use url::Url;

/// Origins of Lever's API that need no flag (contract, LeverConnection).
const LEVER_ORIGINS: [&str; 3] =
    ["https://api.lever.co", "https://api.sandbox.lever.co", "https://api.eu.lever.co"];
/// Origins of the Interview API that need no flag (contract, LeverConnection).
const INTERVIEW_ORIGINS: [&str; 3] =
    ["https://app.coderpad.io", "https://coderpad.io", "https://eu.app.coderpad.io"];

/// Both services of one connection.
#[derive(Clone)]
pub struct ServiceClients {
    /// Lever.
    pub lever: LeverClient,
    /// The Interview API.
    pub interview: InterviewClient,
    /// What it was made from: differs whenever the connection's generation or a key's Secret does.
    pub version: String,
    /// The organization that the key of the Interview API leads to.
    pub organization: Arc<KeyOrganization>,
    /// Tells Lever accounts apart.
    pub lever_key: KeyDigest,
    /// Tells CoderPad organizations apart.
    pub interview_key: KeyDigest,
}

impl ServiceClients {
    /// The same account, whose calls wait for the rate limit with this priority.
    #[must_use]
    pub fn with_priority(&self, priority: Priority) -> Self {
        let (lever, interview) = (self.lever.with_priority(priority), self.interview.with_priority(priority));
        Self { lever, interview, ..self.clone() }
    }
}

/// Digest of an API key and the address that it is for: equal for two connections of one account. It stays in memory.
#[derive(Clone, Eq, PartialEq)]
pub struct KeyDigest(String);

impl KeyDigest {
    /// The digest of a key for the API at this address.
    pub fn new(url: &str, api_key: &str) -> Self {
        let address = url.trim_end_matches('/');
        Self(sha256_hex(&format!("{address}\n{}", api_key.trim()), 64))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest")
    }
}

/// Why a connection's services cannot be called. The messages are for conditions.
#[derive(Debug, thiserror::Error)]
pub enum ServiceClientError {
    /// The URL is not one that may be called.
    #[error(
        "{field} is {url}: {problem}. Use an allowed https address, or ask the operator's administrator for --allow-api-origin"
    )]
    OriginNotAllowed {
        /// Which service.
        service: Service,
        /// The field of the spec.
        field: &'static str,
        /// What it holds.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The key could not be read.
    #[error("{source}")]
    Secret {
        /// Which service.
        service: Service,
        /// What is missing.
        source: SecretError,
    },
    /// The key is not one.
    #[error(
        "the key in Secret {secret} cannot be used: {source}. Replace it by the key as the service shows it"
    )]
    Key {
        /// Which service.
        service: Service,
        /// The Secret's name.
        secret: String,
        /// What is wrong with it.
        source: SetupError,
    },
    /// The key of the Interview API leads to another organization than the connection had. Only for calls that conclude
    /// something about pads.
    #[error("{message}")]
    OrganizationChanged {
        /// What to say to a person.
        message: String,
    },
    /// CoderPad did not say to which organization a new key leads.
    #[error("{source}")]
    Unconfirmed {
        /// The failed call.
        source: transport::Error,
    },
}

impl ServiceClientError {
    /// The service that it concerns.
    pub fn service(&self) -> Service {
        match self {
            ServiceClientError::OriginNotAllowed { service, .. }
            | ServiceClientError::Secret { service, .. }
            | ServiceClientError::Key { service, .. } => *service,
            ServiceClientError::OrganizationChanged { .. } | ServiceClientError::Unconfirmed { .. } => {
                Service::Interview
            }
        }
    }
}

/// The accounts of all connections that are in use.
pub struct ServiceClientCache {
    /// Rules that serve the same candidates through different connections.
    pub duplicates: Duplicates,
    transport: Transport,
    secrets: Secrets,
    allowed: Vec<String>,
    known: Mutex<HashMap<(String, String), CachedClients>>,
    changes: AtomicU64,
}

struct CachedClients {
    uid: Option<String>,
    generation: Option<i64>,
    secrets: [String; 2],
    /// Whether a Secret may have changed since it was read.
    stale: bool,
    account: Arc<ServiceClients>,
}

impl ServiceClientCache {
    /// `allowed`: further origins that a connection may name, for either service.
    pub fn new(transport: Transport, secrets: Secrets, allowed: Vec<String>) -> Self {
        Self {
            duplicates: Duplicates::default(),
            transport,
            secrets,
            allowed,
            known: Mutex::default(),
            changes: AtomicU64::default(),
        }
    }

    /// The services of a connection, if its keys were read since it last changed.
    pub fn known(&self, connection: &LeverConnection) -> Option<Arc<ServiceClients>> {
        let key = (connection.namespace().unwrap_or_default(), connection.name_any());
        let all = self.known.lock();
        let known = all.get(&key).filter(|known| known.uid == connection.metadata.uid && !known.stale)?;
        Some(known.account.clone())
    }

    /// Whether both connections have the same keys, as far as they were read.
    pub fn are_same(&self, one: &LeverConnection, other: &LeverConnection) -> bool {
        let keys = |connection| {
            self.known(connection).map(|known| (known.lever_key.clone(), known.interview_key.clone()))
        };
        keys(one).is_some_and(|keys_of_one| keys(other) == Some(keys_of_one))
    }

    /// The services of a connection, for Pads, sync and configurations: with keys that may be used for its pads. A key
    /// that was not used before is confirmed first, so that no 404 of another organization is believed (contract C4a).
    ///
    /// # Errors
    /// Those of [`Self::unconfirmed`]; [`ServiceClientError::OrganizationChanged`] and [`ServiceClientError::Unconfirmed`].
    pub async fn get(&self, connection: &LeverConnection) -> Result<Arc<ServiceClients>, ServiceClientError> {
        let account = self.unconfirmed(connection).await?;
        if Organization::from_status(connection).is_none() {
            // The first probe: it has no Pads yet that could lose anything.
            return Ok(account);
        }
        let found = account.organization.get(&account.interview).await;
        let found = found.map_err(|source| ServiceClientError::Unconfirmed { source })?;
        let checked = match found {
            Some(found) => found.check(connection),
            None => Err("The user of the CoderPad API key belongs to no organization.".to_owned()),
        };
        checked.map_err(|message| ServiceClientError::OrganizationChanged { message })?;
        Ok(account)
    }

    /// The services of a connection, for its probe and its webhook in Lever. Reads its keys if they are not known yet.
    ///
    /// # Errors
    /// If a URL is not allowed, or a key cannot be read or used.
    pub async fn unconfirmed(
        &self,
        connection: &LeverConnection,
    ) -> Result<Arc<ServiceClients>, ServiceClientError> {
        let key = (connection.namespace().unwrap_or_default(), connection.name_any());
        if let Some(known) = self.known.lock().get(&key)
            && known.uid == connection.metadata.uid
            && known.generation == connection.metadata.generation
            && !known.stale
        {
            return Ok(known.account.clone());
        }
        let spec = &connection.spec;
        let lever_url = self.check(Service::Lever, "spec.lever.url", &spec.lever.url)?;
        let interview_url = self.check(Service::Interview, "spec.interview.url", &spec.interview.url)?;
        let changes = self.changes.load(Ordering::SeqCst);
        let read = async |service, reference| {
            self.secrets
                .read(&key.0, reference)
                .await
                .map_err(|source| ServiceClientError::Secret { service, source })
        };
        let lever_key = read(Service::Lever, &spec.lever.api_key_secret_ref).await?;
        let interview_key = read(Service::Interview, &spec.interview.api_key_secret_ref).await?;
        let performer = Some(spec.lever.perform_as.clone()).filter(|user| !user.is_empty());
        let unusable = |service, secret: &str| {
            let secret = secret.to_owned();
            move |source| ServiceClientError::Key { service, secret, source }
        };
        let (lever_secret, interview_secret) =
            (&spec.lever.api_key_secret_ref.name, &spec.interview.api_key_secret_ref.name);
        let digest = |url: &Url, key: &SecretString| KeyDigest::new(url.as_str(), key.expose_secret());
        let account = Arc::new(ServiceClients {
            lever_key: digest(&lever_url, &lever_key.value),
            interview_key: digest(&interview_url, &interview_key.value),
            lever: LeverClient::new(&self.transport, &lever_url, lever_key.value, performer)
                .map_err(unusable(Service::Lever, lever_secret))?
                .named(&format!("{}/{}", key.0, key.1)),
            interview: InterviewClient::new(&self.transport, &interview_url, interview_key.value)
                .map_err(unusable(Service::Interview, interview_secret))?
                .named(&format!("{}/{}", key.0, key.1)),
            version: format!(
                "{}/{}/{}",
                connection.metadata.generation.unwrap_or_default(),
                lever_key.version,
                interview_key.version
            ),
            organization: Arc::default(),
        });
        let known = CachedClients {
            uid: connection.metadata.uid.clone(),
            generation: connection.metadata.generation,
            stale: false,
            secrets: [lever_secret.clone(), interview_secret.clone()],
            account: account.clone(),
        };
        let mut all = self.known.lock();
        // A Secret may have changed since it was read: who kept its value now would keep it until the next change.
        if self.changes.load(Ordering::SeqCst) == changes {
            all.insert(key, known);
        }
        Ok(account)
    }

    /// The services as they were last known, though their keys may have changed or gone since: for the one call that must
    /// still be made with a key whose Secret is gone (contract C14).
    pub fn last(&self, connection: &LeverConnection) -> Option<Arc<ServiceClients>> {
        let key = (connection.namespace().unwrap_or_default(), connection.name_any());
        let all = self.known.lock();
        all.get(&key).filter(|known| known.uid == connection.metadata.uid).map(|known| known.account.clone())
    }

    /// Marks the accounts that a change to Secrets may concern, so that the keys are read again.
    pub fn forget_changed(&self, change: &SecretChange) {
        let mut all = self.known.lock();
        self.changes.fetch_add(1, Ordering::SeqCst);
        for ((namespace, _), known) in all.iter_mut() {
            known.stale |= match change {
                SecretChange::Any => true,
                SecretChange::One { namespace: of, name } => namespace == of && known.secrets.contains(name),
            };
        }
    }

    /// Forgets the account of a connection that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.known.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    fn check(&self, service: Service, field: &'static str, url: &str) -> Result<Url, ServiceClientError> {
        check_origin(service, url, &self.allowed).map_err(|problem| ServiceClientError::OriginNotAllowed {
            service,
            field,
            url: url.to_owned(),
            problem,
        })
    }
}

/// Whether a URL may be called: https and of a built-in origin of that service, or of one that a flag allows.
fn check_origin(service: Service, url: &str, allowed: &[String]) -> Result<Url, &'static str> {
    let url = Url::parse(url).map_err(|_| "that is not an absolute URL")?;
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err("it must have no user, query or fragment");
    }
    let origin = url.origin().ascii_serialization();
    let built_in = match service {
        Service::Lever => &LEVER_ORIGINS,
        Service::Interview => &INTERVIEW_ORIGINS,
    };
    let by_flag =
        |allowed: &String| Url::parse(allowed).is_ok_and(|one| one.origin().ascii_serialization() == origin);
    if built_in.contains(&origin.as_str()) || allowed.iter().any(by_flag) {
        return Ok(url);
    }
    Err(if url.scheme() == "https" { "its origin is not allowed" } else { "only https is allowed" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_origins_pass() {
        let flag = vec!["http://127.0.0.1:9001".to_owned()];
        let check = |service, url| check_origin(service, url, &flag).is_ok();
        assert!(check(Service::Lever, "https://api.lever.co/v1"));
        assert!(check(Service::Lever, "https://api.lever.co:443/v1"));
        assert!(check(Service::Interview, "https://app.coderpad.io/api"));
        assert!(check(Service::Lever, "http://127.0.0.1:9001/v1"));
        for refused in [
            "https://app.coderpad.io/api",
            "http://api.lever.co/v1",
            "https://api.lever.co.evil.example/v1",
            "https://api.lever.co@evil.example/v1",
            "https://user@api.lever.co/v1",
            "https://api.lever.co:8443/v1",
            "http://127.0.0.1:9002/v1",
            "https://api.lever.co/v1?key=x",
            "file:///etc/passwd",
            "api.lever.co/v1",
            "",
        ] {
            assert!(!check(Service::Lever, refused), "{refused}");
        }
    }
}
