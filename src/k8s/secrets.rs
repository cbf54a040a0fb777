//! Secrets: a watch of their metadata that reports changes, and reads of single keys on demand.
//!
//! The operator never keeps whole Secrets. A value is in memory only while it is in use, in a type that hides it.

use super::cache::WATCH_TIMEOUT_SECONDS;
use super::watch_state::WatchState;
use api::SecretKeyRef;
use api::sanitize;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client};
use secrecy::SecretString;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// Maximum number of changes that a slow subscriber may lag behind. Beyond it, the subscriber treats every Secret as
/// changed.
const SECRET_CHANGES_CAPACITY: usize = 1024;

/// Change that the watch reports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretChange {
    /// One Secret was created, changed or deleted.
    One {
        /// The Secret's namespace.
        namespace: String,
        /// The Secret's name.
        name: String,
    },
    /// The watch was started or restarted: any Secret may have changed.
    Any,
}

/// Client that watches Secrets for changes and reads single keys of them.
#[derive(Clone)]
pub struct Secrets {
    client: Client,
    changes: broadcast::Sender<SecretChange>,
}

/// Reason why a value could not be read. The messages are for conditions: they name the Secret and the key, never a
/// value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no such Secret.
    #[error("Secret {name} does not exist. Create it with the key {key}")]
    NotFound {
        /// The Secret's name.
        name: String,
        /// The requested key.
        key: String,
    },
    /// The Secret does not contain the key, or its value is only white space.
    #[error("Secret {name} has no value under the key {key}. Add it")]
    KeyMissing {
        /// The Secret's name.
        name: String,
        /// The requested key.
        key: String,
        /// `metadata.resourceVersion` of the Secret.
        version: String,
    },
    /// The value is not text.
    #[error(
        "Secret {name} holds something under the key {key} that is {instead}. Replace it by the key as the service shows it"
    )]
    NotText {
        /// The Secret's name.
        name: String,
        /// The requested key.
        key: String,
        /// Description of the value's actual content.
        instead: &'static str,
        /// `metadata.resourceVersion` of the Secret.
        version: String,
    },
    /// The API server answered with an error, or did not answer.
    #[error("Secret {name} could not be read: {source}")]
    Unreadable {
        /// The Secret's name.
        name: String,
        /// The error of the request.
        source: Box<kube::Error>,
    },
}

impl SecretError {
    /// Returns `metadata.resourceVersion` of the Secret, if it was read.
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::KeyMissing { version, .. } | Self::NotText { version, .. } => Some(version),
            Self::NotFound { .. } | Self::Unreadable { .. } => None,
        }
    }
}

/// Value of a key, and the version of the Secret that it was read from.
pub struct SecretValue {
    /// The value, without leading and trailing white space.
    pub value: SecretString,
    /// `metadata.resourceVersion` of the Secret.
    pub version: String,
}

impl Secrets {
    /// Starts a metadata watch of the Secrets in each namespace. The watches end with `stop`. An empty list of
    /// namespaces means all namespaces.
    pub fn watch(client: &Client, namespaces: &[String], stop: &CancellationToken) -> Self {
        let (changes, _) = broadcast::channel(SECRET_CHANGES_CAPACITY);
        let secrets = Self { client: client.clone(), changes };
        let scopes: Vec<Option<&str>> = if namespaces.is_empty() {
            vec![None]
        } else {
            namespaces.iter().map(|name| Some(name.as_str())).collect()
        };
        for scope in scopes {
            let api: Api<PartialObjectMeta<Secret>> = super::cache::api(client, scope);
            let (stop, secrets) = (stop.clone(), secrets.clone());
            tokio::spawn(async move { stop.run_until_cancelled(secrets.watch_secrets(api)).await });
        }
        secrets
    }

    /// Creates an instance that only reads.
    pub(crate) fn without_watch(client: &Client) -> Self {
        let (changes, _) = broadcast::channel(1);
        Self { client: client.clone(), changes }
    }

    /// Creates an instance without a watch, and the sender of its changes, for tests.
    #[cfg(test)]
    pub(crate) fn with_manual_changes(client: &Client) -> (Self, broadcast::Sender<SecretChange>) {
        let (changes, _) = broadcast::channel(SECRET_CHANGES_CAPACITY);
        (Self { client: client.clone(), changes: changes.clone() }, changes)
    }

    async fn watch_secrets(&self, api: Api<PartialObjectMeta<Secret>>) {
        let (config, watching) =
            (watcher::Config::default().timeout(WATCH_TIMEOUT_SECONDS), WatchState::default());
        let mut events = watch(api, config).default_backoff().boxed();
        while let Some(event) = events.next().await {
            let change = match event {
                Ok(Event::Apply(secret) | Event::Delete(secret)) => changed_secret(&secret),
                Ok(Event::InitDone) => Some(SecretChange::Any),
                Ok(Event::Init | Event::InitApply(_)) => None,
                Err(error) => {
                    watching.failed("Secret", &error);
                    None
                }
            };
            if let Some(change) = change {
                let _ = self.changes.send(change);
            }
        }
    }

    /// Subscribes to changes from now on. A receiver that lags behind must treat the lag as [`SecretChange::Any`].
    pub fn changes(&self) -> broadcast::Receiver<SecretChange> {
        self.changes.subscribe()
    }

    /// Reads one key of one Secret.
    pub async fn read(&self, namespace: &str, reference: &SecretKeyRef) -> Result<SecretValue, SecretError> {
        let SecretKeyRef { name, key } = reference.clone();
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = match super::with_timeout(api.get_opt(&name)).await {
            Ok(Some(secret)) => secret,
            Ok(None) => return Err(SecretError::NotFound { name, key }),
            Err(source) => return Err(SecretError::Unreadable { name, source: Box::new(source) }),
        };
        let version = secret.metadata.resource_version.unwrap_or_default();
        let Some(bytes) = secret.data.and_then(|mut data| data.remove(&key)) else {
            return Err(SecretError::KeyMissing { name, key, version });
        };
        let text = match decode_text(bytes.0) {
            Ok(text) => text,
            Err(instead) => return Err(SecretError::NotText { name, key, instead, version }),
        };
        match sanitize::trimmed(&text) {
            "" => Err(SecretError::KeyMissing { name, key, version }),
            value => Ok(SecretValue { value: SecretString::from(value.to_owned()), version }),
        }
    }
}

/// Returns the text in a value; the error describes the content if it is not text.
fn decode_text(value: Vec<u8>) -> Result<String, &'static str> {
    const UTF_16: &str = "UTF-16 text, as Windows tools write it: save it as UTF-8";
    if value.starts_with(&[0xff, 0xfe]) || value.starts_with(&[0xfe, 0xff]) {
        return Err(UTF_16);
    }
    match String::from_utf8(value) {
        // UTF-16 without a byte order mark: every other byte of a key is 0.
        Ok(text) if text.contains('\0') => Err(UTF_16),
        Ok(text) => Ok(text),
        Err(_) => Err("not UTF-8 text"),
    }
}

fn changed_secret(secret: &PartialObjectMeta<Secret>) -> Option<SecretChange> {
    Some(SecretChange::One {
        namespace: secret.metadata.namespace.clone()?,
        name: secret.metadata.name.clone()?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    // contract A8
    #[test]
    fn a_byte_order_mark_is_ignored_and_utf_16_is_named() {
        let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        for value in ["\u{feff}a-key", "\u{feff} a-key\r\n", " a-key\n\u{feff}", "\u{a0}a-key"] {
            assert_eq!(sanitize::trimmed(&decode_text(value.as_bytes().to_vec()).unwrap()), "a-key");
        }
        assert_eq!(sanitize::trimmed("\u{feff}\n"), "");
        for value in [utf_16("a-key"), utf_16("\u{feff}a-key")] {
            assert!(decode_text(value).unwrap_err().contains("UTF-16"));
        }
        assert_eq!(decode_text(vec![b'a', 0x80]).unwrap_err(), "not UTF-8 text");
    }
}
