//! The two services of a connection, ready to call: origins checked, keys read, clients kept until either changes.
//!
//! This is the one place that decides whether a URL of a LeverConnection may be called at all: a user of a namespace
//! writes any spec, and a key must never leave for an address that the cluster's owner has not allowed.

use crate::api::LeverConnection;
use crate::cluster::secrets::{SecretChange, SecretError, Secrets};
use crate::interview::InterviewClient;
use crate::lever::LeverClient;
use crate::transport::{Service, SetupError, Transport};
use kube::ResourceExt;
use parking_lot::Mutex;
use std::collections::HashMap;
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
pub struct Account {
    /// Lever.
    pub lever: LeverClient,
    /// The Interview API.
    pub interview: InterviewClient,
    /// What it was made from: differs whenever the connection's generation or a key's Secret does.
    pub version: String,
    /// The last write of a Pad that Lever refused this key.
    pub refused: Arc<Mutex<Option<&'static str>>>,
}

/// Why a connection's services cannot be called. The messages are for conditions.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
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
}

impl AccountError {
    /// The service that it concerns.
    pub fn service(&self) -> Service {
        match self {
            AccountError::OriginNotAllowed { service, .. }
            | AccountError::Secret { service, .. }
            | AccountError::Key { service, .. } => *service,
        }
    }
}

/// The accounts of all connections that are in use.
pub struct Accounts {
    transport: Transport,
    secrets: Secrets,
    allowed: Vec<String>,
    known: Mutex<HashMap<(String, String), Known>>,
    changes: AtomicU64,
}

struct Known {
    uid: Option<String>,
    generation: Option<i64>,
    secrets: [String; 2],
    account: Arc<Account>,
}

impl Accounts {
    /// `allowed`: further origins that a connection may name, for either service.
    pub fn new(transport: Transport, secrets: Secrets, allowed: Vec<String>) -> Self {
        Self { transport, secrets, allowed, known: Mutex::default(), changes: AtomicU64::default() }
    }

    /// The services of a connection. Reads its keys if they are not known yet.
    pub async fn of(&self, connection: &LeverConnection) -> Result<Arc<Account>, AccountError> {
        let key = (connection.namespace().unwrap_or_default(), connection.name_any());
        if let Some(known) = self.known.lock().get(&key)
            && known.uid == connection.metadata.uid
            && known.generation == connection.metadata.generation
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
                .map_err(|source| AccountError::Secret { service, source })
        };
        let lever_key = read(Service::Lever, &spec.lever.api_key_secret_ref).await?;
        let interview_key = read(Service::Interview, &spec.interview.api_key_secret_ref).await?;
        let performer = Some(spec.lever.perform_as.clone()).filter(|user| !user.is_empty());
        let unusable = |service, secret: &str| {
            let secret = secret.to_owned();
            move |source| AccountError::Key { service, secret, source }
        };
        let (lever_secret, interview_secret) =
            (&spec.lever.api_key_secret_ref.name, &spec.interview.api_key_secret_ref.name);
        let account = Arc::new(Account {
            lever: LeverClient::new(&self.transport, &lever_url, lever_key.value, performer)
                .map_err(unusable(Service::Lever, lever_secret))?,
            interview: InterviewClient::new(&self.transport, &interview_url, interview_key.value)
                .map_err(unusable(Service::Interview, interview_secret))?,
            version: format!(
                "{}/{}/{}",
                connection.metadata.generation.unwrap_or_default(),
                lever_key.version,
                interview_key.version
            ),
            refused: Arc::default(),
        });
        let known = Known {
            uid: connection.metadata.uid.clone(),
            generation: connection.metadata.generation,
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

    /// The services of a connection, if they were used since the connection or a key last changed. Reads nothing.
    pub fn known(&self, namespace: &str, name: &str) -> Option<Arc<Account>> {
        let known = self.known.lock();
        known.get(&(namespace.to_owned(), name.to_owned())).map(|known| known.account.clone())
    }

    /// Forgets the accounts that a change to Secrets may concern, so that the keys are read again.
    pub fn forget_changed(&self, change: &SecretChange) {
        let mut all = self.known.lock();
        self.changes.fetch_add(1, Ordering::SeqCst);
        all.retain(|(namespace, _), known| match change {
            SecretChange::Any => false,
            SecretChange::One { namespace: of, name } => namespace != of || !known.secrets.contains(name),
        });
    }

    /// Forgets the account of a connection that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.known.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    fn check(&self, service: Service, field: &'static str, url: &str) -> Result<Url, AccountError> {
        check_origin(service, url, &self.allowed).map_err(|problem| AccountError::OriginNotAllowed {
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
