//! Clients of the two services of a connection, with checked origins and API keys, cached until either changes.  Only
//! this module decides whether a URL of a LeverConnection may be called. A namespace user can write any spec, and a key
//! must never be sent to a URL that the cluster administrator has not allowed.

use super::coderpad_organization::{KeyOrganization, Organization};
use crate::k8s::ObjectKey;
use crate::k8s::secrets::{SecretChange, SecretError, Secrets};
use api::LeverConnection;
use api::names::sha256_hex;
use coderpad::InterviewClient;
use http_client::{Priority, Service, SetupError, Surprise, Surprises, Transport};
use lever::LeverClient;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::broadcast;
use url::Url;

/// Built-in origins of Lever's API (contract, LeverConnection).
const LEVER_ORIGINS: [&str; 3] =
    ["https://api.lever.co", "https://api.sandbox.lever.co", "https://api.eu.lever.co"];
/// Built-in origins of the Interview API (contract, LeverConnection).
const INTERVIEW_ORIGINS: [&str; 3] =
    ["https://app.coderpad.io", "https://coderpad.io", "https://eu.app.coderpad.io"];

/// Maximum number of surprises that the controller of the connections has not handled yet. After more, it checks all
/// connections.
const MAX_PENDING_SURPRISES: usize = 64;

/// Clients of both services of one connection.
#[derive(Clone)]
pub struct ServiceClients {
    /// Client of Lever.
    pub lever: LeverClient,
    /// Client of the Interview API.
    pub interview: InterviewClient,
    /// Version of the inputs: changes with the connection's generation and with the Secrets of the keys.
    pub version: String,
    /// Organization of the Interview API key.
    pub organization: Arc<KeyOrganization>,
    /// Identity of the Lever account.
    pub lever_key: KeyDigest,
    /// Identity of the CoderPad organization.
    pub interview_key: KeyDigest,
    /// Differences between the answers of both services and their documentation.
    pub surprises: Surprises,
}

impl ServiceClients {
    /// Returns clients of the same account whose requests have this priority in the rate limiter.
    #[must_use]
    pub fn with_priority(&self, priority: Priority) -> Self {
        let (lever, interview) = (self.lever.with_priority(priority), self.interview.with_priority(priority));
        Self { lever, interview, ..self.clone() }
    }
}

/// Digest of an API key and its URL: equal for two connections of one account. It is never stored outside memory.
#[derive(Clone, Eq, PartialEq)]
pub struct KeyDigest(String);

impl KeyDigest {
    /// Returns the digest of a key for the API at a URL.
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

/// Error that prevents requests to the services of a connection. The messages are used in conditions.
#[derive(Debug, thiserror::Error)]
pub enum ServiceClientError {
    /// The origin of the URL is not allowed.
    #[error(
        "{field} is {url}: {problem}. Use an allowed https URL, or ask the operator's administrator to set --allow-api-origin"
    )]
    OriginNotAllowed {
        /// The service.
        service: Service,
        /// The field of the spec.
        field: &'static str,
        /// Value of the field.
        url: String,
        /// Problem with the value.
        problem: &'static str,
    },
    /// The key could not be read.
    #[error("{source}")]
    Secret {
        /// The service.
        service: Service,
        /// Error of the read.
        source: SecretError,
    },
    /// The value is not a valid API key.
    #[error(
        "the API key in Secret {secret} is invalid: {source}. Replace it with the key that the service shows"
    )]
    Key {
        /// The service.
        service: Service,
        /// Name of the Secret.
        secret: String,
        /// Problem with the value.
        source: SetupError,
    },
    /// The Interview API key belongs to another organization than before. Prevents only calls from which the state of
    /// pads is derived.
    #[error("{message}")]
    OrganizationChanged {
        /// Message for users.
        message: String,
    },
    /// CoderPad did not confirm the organization of a new key.
    #[error("{source}")]
    Unconfirmed {
        /// Error of the call.
        source: http_client::ServiceError,
    },
}

impl ServiceClientError {
    /// Returns the affected service.
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

/// Cache of the clients of all connections.
pub struct ServiceClientCache {
    transport: Transport,
    secrets: Secrets,
    allowed: Vec<String>,
    known: Mutex<HashMap<ObjectKey, CachedClients>>,
    changes: AtomicU64,
    surprised: broadcast::Sender<ObjectKey>,
}

struct CachedClients {
    uid: Option<String>,
    generation: Option<i64>,
    secrets: [String; 2],
    /// Whether a Secret may have changed since the read.
    stale: bool,
    account: Arc<ServiceClients>,
}

impl ServiceClientCache {
    /// Returns an empty cache. `allowed` are additional allowed origins for both services.
    pub fn new(transport: Transport, secrets: Secrets, allowed: Vec<String>) -> Self {
        let (surprised, _) = broadcast::channel(MAX_PENDING_SURPRISES);
        Self {
            transport,
            secrets,
            allowed,
            known: Mutex::default(),
            changes: AtomicU64::default(),
            surprised,
        }
    }

    /// Returns the connections for which a surprise occurs that is not remembered yet.
    pub fn surprised(&self) -> broadcast::Receiver<ObjectKey> {
        self.surprised.subscribe()
    }

    /// Returns the remembered surprises of a connection, the most important first.
    pub fn surprises(&self, connection: &LeverConnection) -> Vec<Surprise> {
        self.last(connection).map(|account| account.surprises.list()).unwrap_or_default()
    }

    /// Returns the record of surprises for new clients of a connection. It continues the record of the last clients if
    /// those used the same accounts.
    fn surprises_of(&self, connection: &LeverConnection, keys: [&KeyDigest; 2]) -> Surprises {
        let last = self.last(connection);
        if let Some(last) = last.filter(|last| [&last.lever_key, &last.interview_key] == keys) {
            return last.surprises.clone();
        }
        let (surprised, key) = (self.surprised.clone(), ObjectKey::from_object(connection));
        // Nobody needs to know while no controller runs.
        Surprises::new(move || drop(surprised.send(key.clone())))
    }

    /// Returns the cached clients of a connection, if its keys were read since the last change.
    pub fn known(&self, connection: &LeverConnection) -> Option<Arc<ServiceClients>> {
        let key = ObjectKey::from_object(connection);
        let all = self.known.lock();
        let known = all.get(&key).filter(|known| known.uid == connection.metadata.uid && !known.stale)?;
        Some(known.account.clone())
    }

    /// Reports whether both connections have the same keys, by the cached clients.
    pub fn are_same(&self, one: &LeverConnection, other: &LeverConnection) -> bool {
        let keys = |connection| {
            self.known(connection).map(|known| (known.lever_key.clone(), known.interview_key.clone()))
        };
        keys(one).is_some_and(|keys_of_one| keys(other) == Some(keys_of_one))
    }

    /// Returns the clients of a connection for Pads, sync and configurations. The organization of a new key is
    /// confirmed first, so that a 404 of another organization is not interpreted as a deleted pad (contract C4a).
    ///
    /// # Errors
    /// The errors of [`Self::unconfirmed`], [`ServiceClientError::OrganizationChanged`] and
    /// [`ServiceClientError::Unconfirmed`].
    pub async fn get(&self, connection: &LeverConnection) -> Result<Arc<ServiceClients>, ServiceClientError> {
        let account = self.unconfirmed(connection).await?;
        if Organization::from_status(connection).is_none() {
            // Before the first probe, the connection has no Pads.
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

    /// Returns the clients of a connection for its probe and its webhook in Lever. Reads the keys if they are not
    /// cached.
    ///
    /// # Errors
    /// If a URL is not allowed, or a key cannot be read or used.
    pub async fn unconfirmed(
        &self,
        connection: &LeverConnection,
    ) -> Result<Arc<ServiceClients>, ServiceClientError> {
        let key = ObjectKey::from_object(connection);
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
                .read(&key.namespace, reference)
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
        let keys = [digest(&lever_url, &lever_key.value), digest(&interview_url, &interview_key.value)];
        let surprises = self.surprises_of(connection, keys.each_ref());
        let [lever_digest, interview_digest] = keys;
        let account = Arc::new(ServiceClients {
            lever_key: lever_digest,
            interview_key: interview_digest,
            lever: LeverClient::new(&self.transport, &lever_url, lever_key.value, performer)
                .map_err(unusable(Service::Lever, lever_secret))?
                .for_connection(&key.to_string(), surprises.clone()),
            interview: InterviewClient::new(&self.transport, &interview_url, interview_key.value)
                .map_err(unusable(Service::Interview, interview_secret))?
                .for_connection(&key.to_string(), surprises.clone()),
            version: format!(
                "{}/{}/{}",
                connection.metadata.generation.unwrap_or_default(),
                lever_key.version,
                interview_key.version
            ),
            organization: Arc::default(),
            surprises,
        });
        let known = CachedClients {
            uid: connection.metadata.uid.clone(),
            generation: connection.metadata.generation,
            stale: false,
            secrets: [lever_secret.clone(), interview_secret.clone()],
            account: account.clone(),
        };
        let mut all = self.known.lock();
        // Do not cache a value that may have changed during the read: it would stay cached until the next change.
        if self.changes.load(Ordering::SeqCst) == changes {
            all.insert(key, known);
        }
        Ok(account)
    }

    /// Returns the last clients, although their keys may have changed or been deleted since. Used to remove a webhook
    /// after the Secret is gone (contract C14).
    pub fn last(&self, connection: &LeverConnection) -> Option<Arc<ServiceClients>> {
        let key = ObjectKey::from_object(connection);
        let all = self.known.lock();
        all.get(&key).filter(|known| known.uid == connection.metadata.uid).map(|known| known.account.clone())
    }

    /// Marks the clients that a change of Secrets may affect as stale.
    pub fn forget_changed(&self, change: &SecretChange) {
        let mut all = self.known.lock();
        self.changes.fetch_add(1, Ordering::SeqCst);
        for (key, known) in all.iter_mut() {
            known.stale |= match change {
                SecretChange::Any => true,
                SecretChange::One { namespace: of, name } => {
                    key.namespace == *of && known.secrets.contains(name)
                }
            };
        }
    }

    /// Drops the clients of a deleted connection.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.known.lock().remove(&ObjectKey::new(namespace, name));
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

/// Checks that a URL may be called: it has a built-in origin of the service, or one that a flag allows.
pub(crate) fn check_origin(service: Service, url: &str, allowed: &[String]) -> Result<Url, &'static str> {
    let url = Url::parse(url).map_err(|_| "it is not an absolute URL")?;
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
    fn only_urls_with_allowed_origins_are_accepted() {
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
