//! Signing tokens follow connections and Secrets.

use super::fake::{ApiServer, NAMESPACE, connection};
use crate::k8s::secrets::{SecretChange, Secrets};
use crate::k8s::{Cache, Caches, WatchScope};
use crate::webhook::signing_tokens::SigningTokens;
use api::LeverConnection;
use futures::channel::mpsc::{self, UnboundedSender};
use kube::runtime::watcher::{self, Event};
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

struct TokenEnv {
    server: ApiServer,
    connections: UnboundedSender<watcher::Result<Event<LeverConnection>>>,
    secrets: broadcast::Sender<SecretChange>,
    tokens: SigningTokens,
}

impl TokenEnv {
    async fn with_one_token() -> Self {
        let world = Self::new();
        world.server.put_secret("acme", "signing", "one");
        world.deliver(Event::Apply(connection()));
        world.becomes(Some(&["one"])).await;
        world
    }

    fn new() -> Self {
        let server = ApiServer::default();
        let (connections, events) = mpsc::unbounded();
        let scope = WatchScope {
            namespace: None,
            connections: Cache::from_events(events),
            configurations: Cache::from_objects([]),
            pads: Cache::from_objects([]),
        };
        let (secrets, told) = Secrets::with_manual_changes(&server.client());
        let tokens =
            SigningTokens::watch(&Caches::from_scopes(vec![scope]), &secrets, CancellationToken::new());
        Self { server, connections, secrets: told, tokens }
    }

    fn deliver(&self, event: Event<LeverConnection>) {
        self.connections.unbounded_send(Ok(event)).unwrap();
    }

    fn secret_changed(&self) {
        self.secrets.send(SecretChange::One { namespace: NAMESPACE.into(), name: "acme".into() }).unwrap();
    }

    fn known(&self) -> Option<Vec<String>> {
        let tokens = self.tokens.get(NAMESPACE, "acme")?;
        Some(tokens.iter().map(|token| token.expose_secret().to_owned()).collect())
    }

    /// Waits until the tokens are `expected`, in the paused clock of the test.
    async fn becomes(&self, expected: Option<&[&str]>) {
        let expected = expected.map(|tokens| tokens.iter().map(|token| (*token).to_owned()).collect());
        for _ in 0..600 {
            if self.known() == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("expected {expected:?}, known is {:?}", self.known());
    }

    async fn wait_until_idle(&self) {
        tokio::time::sleep(Duration::from_secs(90)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_line_of_the_secret_is_a_token() {
    let world = TokenEnv::new();
    world.server.put_secret("acme", "signing", "\n one \r\n\n\ttwo\n");
    world.deliver(Event::Apply(connection()));
    world.becomes(Some(&["one", "two"])).await;
    assert_eq!(world.server.calls(), ["GET secrets/acme"]);
}

#[tokio::test(start_paused = true)]
async fn tokens_follow_created_changed_and_deleted_secrets() {
    let world = TokenEnv::new();
    world.deliver(Event::Apply(connection()));
    world.wait_until_idle().await;
    world.becomes(None).await;
    // A missing Secret is not read again until an event for it arrives.
    assert_eq!(world.server.calls().len(), 1);

    world.server.put_secret("acme", "signing", "one");
    world.secret_changed();
    world.becomes(Some(&["one"])).await;
    world.server.put_secret("acme", "signing", "two");
    world.secret_changed();
    world.becomes(Some(&["two"])).await;
    world.server.put_secret("acme", "another key", "two");
    world.secret_changed();
    world.becomes(None).await;
    world.server.put_secret("acme", "signing", "three");
    world.secrets.send(SecretChange::Any).unwrap();
    world.becomes(Some(&["three"])).await;
    world.server.remove("secrets/acme");
    world.secret_changed();
    world.becomes(None).await;
}

#[tokio::test(start_paused = true)]
async fn old_tokens_stay_while_the_api_server_is_silent() {
    let world = TokenEnv::with_one_token().await;
    world.server.calls();

    world.server.put_secret("acme", "signing", "two");
    world.server.fail(Some(500));
    world.secret_changed();
    world.wait_until_idle().await;
    world.becomes(Some(&["one"])).await;
    let tries = world.server.calls().len();
    assert!((4..10).contains(&tries), "{tries} tries in 90 s");
    world.server.fail(None);
    world.becomes(Some(&["two"])).await;
}

#[tokio::test(start_paused = true)]
async fn tokens_are_removed_with_their_connection_or_its_reference() {
    let world = TokenEnv::with_one_token().await;
    world.deliver(Event::Delete(connection()));
    world.becomes(None).await;

    world.deliver(Event::Apply(connection()));
    world.becomes(Some(&["one"])).await;
    let mut without = connection();
    without.spec.webhook.signing_token_secret_ref = None;
    world.deliver(Event::Apply(without));
    world.becomes(None).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_deleted_during_an_interruption_is_removed() {
    let world = TokenEnv::with_one_token().await;
    world.deliver(Event::Init);
    world.deliver(Event::InitDone);
    world.wait_until_idle().await;
    world.secrets.send(SecretChange::Any).unwrap();
    world.becomes(None).await;
}

#[tokio::test(start_paused = true)]
async fn another_reference_is_read_and_a_new_status_is_not() {
    let world = TokenEnv::new();
    world.server.put_secret("acme", "signing", "one");
    world.server.put_secret("other", "signing", "two");
    world.deliver(Event::Apply(connection()));
    world.becomes(Some(&["one"])).await;
    world.server.calls();
    let mut changed = connection();
    changed.status = None;
    world.deliver(Event::Apply(changed.clone()));
    world.wait_until_idle().await;
    assert!(world.server.calls().is_empty());
    changed.spec.webhook.signing_token_secret_ref.as_mut().unwrap().name = "other".into();
    world.deliver(Event::Apply(changed));
    world.becomes(Some(&["two"])).await;
}
