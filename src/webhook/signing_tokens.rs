//! The signing tokens of all connections, in memory, so that an unsigned request costs no call to the API server.
//!
//! One task keeps them up to date: it watches connections and Secrets, and reads single keys again. While the API
//! server does not answer, the old tokens stay valid.

use crate::k8s::Caches;
use crate::k8s::ObjectKey;
use crate::k8s::secrets::{SecretChange, SecretError, SecretValue, Secrets};
use api::sanitize;
use api::{LeverConnection, SecretKeyRef};
use engine::backoff::exponential;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, select_all};
use futures::{FutureExt, StreamExt};
use parking_lot::RwLock;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Maximum number of keys that are read at the same time.
const TOKEN_READ_CONCURRENCY: usize = 16;
/// Maximum time for one read from the API server.
const TOKEN_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Delay before the retry of the first read that got no answer; it doubles with each failure.
const TOKEN_BACKOFF_INITIAL: Duration = Duration::from_secs(1);
/// Maximum delay before a retry.
const TOKEN_BACKOFF_MAX: Duration = Duration::from_secs(30);

/// The signing tokens of one connection.
pub type Tokens = Arc<Vec<SecretString>>;

/// The signing tokens of all connections; a cheap handle.
#[derive(Clone, Default)]
pub struct SigningTokens {
    known: Arc<RwLock<HashMap<ObjectKey, Tokens>>>,
}

impl SigningTokens {
    /// Starts the task that keeps the tokens up to date; it ends with `stop`.
    pub fn watch(caches: &Caches, secrets: &Secrets, stop: CancellationToken) -> Self {
        let tokens = Self::default();
        // The subscription comes before the first read, so that no change is lost between the two.
        let changes = secrets.changes();
        let follower = TokenWatcher {
            caches: caches.clone(),
            secrets: secrets.clone(),
            tokens: tokens.clone(),
            sources: HashMap::new(),
        };
        tokio::spawn(async move { stop.run_until_cancelled(follower.run(changes)).await });
        tokens
    }

    /// Returns the tokens of a connection; None if none is known. Any of them may have signed a delivery.
    pub fn get(&self, namespace: &str, connection: &str) -> Option<Tokens> {
        self.known.read().get(&ObjectKey::new(namespace, connection)).cloned()
    }

    /// Creates a set of known tokens without a task, for tests.
    #[cfg(test)]
    pub(crate) fn from_known<const N: usize>(known: [(&str, &str, &str); N]) -> Self {
        let tokens = Self::default();
        for (namespace, connection, lines) in known {
            tokens.store(&ObjectKey::new(namespace, connection), lines);
        }
        tokens
    }

    fn store(&self, key: &ObjectKey, lines: &str) {
        let lines = lines.lines().map(sanitize::trimmed).filter(|line| !line.is_empty());
        let tokens: Vec<SecretString> = lines.map(|line| SecretString::from(line.to_owned())).collect();
        self.known.write().insert(key.clone(), Arc::new(tokens));
    }

    fn remove(&self, key: &ObjectKey) {
        self.known.write().remove(key);
    }
}

/// The key that is read for one connection.
struct TokenSource {
    reference: SecretKeyRef,
    /// Time of the next read; None if no read is needed before a change.
    due: Option<Instant>,
    is_being_read: bool,
    failures: u32,
}

/// Result of a read: the connection, the key, and the value or error (None: no answer in time).
type FinishedRead = (ObjectKey, SecretKeyRef, Option<Result<SecretValue, SecretError>>);

struct TokenWatcher {
    caches: Caches,
    secrets: Secrets,
    tokens: SigningTokens,
    sources: HashMap<ObjectKey, TokenSource>,
}

impl TokenWatcher {
    async fn run(mut self, mut secrets: broadcast::Receiver<SecretChange>) {
        let mut connections =
            select_all(self.caches.scopes().iter().map(|scope| scope.connections.changes().boxed()));
        let mut reads: FuturesUnordered<BoxFuture<'static, FinishedRead>> = FuturesUnordered::new();
        loop {
            while reads.len() < TOKEN_READ_CONCURRENCY {
                let Some(read) = self.next_read() else { break };
                reads.push(read);
            }
            let next = self.next_due().filter(|_| reads.len() < TOKEN_READ_CONCURRENCY);
            tokio::select! {
                Some(connection) = connections.next() => self.on_connection_change(&connection),
                change = secrets.recv() => self.on_secret_change(change.unwrap_or(SecretChange::Any)),
                Some(read) = reads.next() => self.finish_read(read),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    fn on_connection_change(&mut self, changed: &LeverConnection) {
        let key = ObjectKey::from_object(changed);
        // For a deleted object, the watch delivers its last state; only the cache shows that it is gone.
        let reference =
            self.cached(&key).and_then(|connection| connection.spec.webhook.signing_token_secret_ref.clone());
        match (reference, self.sources.get_mut(&key)) {
            (None, _) => {
                self.sources.remove(&key);
                self.tokens.remove(&key);
            }
            (Some(reference), Some(wanted)) if wanted.reference == reference => {}
            (Some(reference), _) => {
                let wanted =
                    TokenSource { reference, due: Some(Instant::now()), is_being_read: false, failures: 0 };
                self.sources.insert(key, wanted);
            }
        }
    }

    fn on_secret_change(&mut self, change: SecretChange) {
        let now = Instant::now();
        match change {
            SecretChange::One { namespace, name } => {
                for (key, wanted) in &mut self.sources {
                    if key.namespace == namespace && wanted.reference.name == name {
                        (wanted.due, wanted.failures) = (Some(now), 0);
                    }
                }
            }
            SecretChange::Any => {
                // No event is delivered for a connection that was deleted while the watch was interrupted.
                let gone: Vec<ObjectKey> =
                    self.sources.keys().filter(|key| self.cached(key).is_none()).cloned().collect();
                for key in gone {
                    self.sources.remove(&key);
                    self.tokens.remove(&key);
                }
                self.sources.values_mut().for_each(|wanted| wanted.due = Some(now));
            }
        }
    }

    fn cached(&self, ObjectKey { namespace, name }: &ObjectKey) -> Option<Arc<LeverConnection>> {
        self.caches.for_namespace(namespace)?.connections.get(namespace, name)
    }

    fn next_due(&self) -> Option<Instant> {
        self.sources.values().filter(|wanted| !wanted.is_being_read).filter_map(|wanted| wanted.due).min()
    }

    fn next_read(&mut self) -> Option<BoxFuture<'static, FinishedRead>> {
        let now = Instant::now();
        let is_due = |wanted: &TokenSource| !wanted.is_being_read && wanted.due.is_some_and(|due| due <= now);
        let (key, wanted) = self.sources.iter_mut().find(|(_, wanted)| is_due(wanted))?;
        (wanted.due, wanted.is_being_read) = (None, true);
        let (key, reference, secrets) = (key.clone(), wanted.reference.clone(), self.secrets.clone());
        let read = async move {
            let value = timeout(TOKEN_READ_TIMEOUT, secrets.read(&key.namespace, &reference)).await.ok();
            (key, reference, value)
        };
        Some(read.boxed())
    }

    fn finish_read(&mut self, (key, reference, value): FinishedRead) {
        // A read of a key that the connection no longer references is stale.
        let Some(wanted) = self.sources.get_mut(&key).filter(|wanted| wanted.reference == reference) else {
            return;
        };
        wanted.is_being_read = false;
        match value {
            Some(Ok(value)) => {
                wanted.failures = 0;
                self.tokens.store(&key, value.value.expose_secret());
            }
            Some(Err(SecretError::Unreadable { .. })) | None => {
                wanted.failures = wanted.failures.saturating_add(1);
                let pause = exponential(TOKEN_BACKOFF_INITIAL, TOKEN_BACKOFF_MAX, wanted.failures);
                wanted.due.get_or_insert(Instant::now() + pause);
            }
            // No retry: the watch delivers an event when somebody fixes the Secret.
            Some(Err(
                SecretError::NotFound { .. } | SecretError::KeyMissing { .. } | SecretError::NotText { .. },
            )) => {
                wanted.failures = 0;
                self.tokens.remove(&key);
            }
        }
    }
}
