//! Reads and writes the Secret with the signing tokens. Every write fails if the Secret has changed since it was read or
//! written. A process writes a claim before it creates or deletes webhooks: of two leaders, only one can then store a
//! token.

use super::plan::KnownWebhook;
use super::token_ledger::TokenLedger;
use crate::k8s::patch::is_status;
use crate::k8s::with_timeout;
use api::names::{self, MANAGED_BY_LABEL};
use api::{FIELD_MANAGER, LeverConnection, SecretKeyRef};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Error of a write.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The Secret has changed.
    #[error("the Secret was changed by another client")]
    Conflict,
    /// The API server rejected the write or did not respond.
    #[error("cannot write Secret {name}: {source}")]
    Api {
        /// Name of the Secret.
        name: String,
        /// Error of the API server.
        source: Box<kube::Error>,
    },
}

/// A connection's Secret, as last read or written.
pub struct TokenSecret {
    api: Api<Secret>,
    reference: SecretKeyRef,
    connection: String,
    /// None if the Secret does not exist.
    version: Option<String>,
    is_ours: bool,
    book: TokenLedger,
    is_claimed: bool,
}

impl TokenSecret {
    /// Reads the Secret.
    pub async fn read(
        client: &Client,
        connection: &LeverConnection,
        reference: &SecretKeyRef,
    ) -> kube::Result<Self> {
        let namespace = connection.namespace().unwrap_or_default();
        let mut secret = Self {
            api: Api::namespaced(client.clone(), &namespace),
            reference: reference.clone(),
            connection: connection.name_any(),
            version: None,
            is_ours: true,
            book: TokenLedger::default(),
            is_claimed: false,
        };
        let found = with_timeout(secret.api.get_opt(&reference.name)).await?;
        if let Some(found) = found {
            secret.update(found);
        }
        Ok(secret)
    }

    fn update(&mut self, mut found: Secret) {
        self.version = found.resource_version();
        self.is_ours = found.labels().get(MANAGED_BY_LABEL).is_some_and(|by| by == FIELD_MANAGER);
        let annotation = |key: String| found.annotations().get(&key).cloned();
        self.is_claimed = annotation(self.claim_annotation()).is_some();
        let records = annotation(self.records_annotation()).unwrap_or_default();
        let value = found.data.as_mut().and_then(|data| data.remove(&self.reference.key));
        let value = value.and_then(|value| String::from_utf8(value.0).ok()).unwrap_or_default();
        self.book = TokenLedger::read(&value, &records);
    }

    /// Reports whether the operator may write the Secret: it does not exist yet, or has the operator's label.
    pub fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// Returns the recorded webhooks.
    pub fn recorded(&self) -> Vec<KnownWebhook> {
        self.book.recorded()
    }

    /// Writes a claim; creates the Secret if it does not exist.
    pub async fn claim(&mut self) -> Result<(), TokenError> {
        // Unique across passes and processes, so that the write changes the version of the Secret.
        let claim = format!("{}-{}", std::process::id(), Timestamp::now());
        if self.version.is_some() {
            return self.write(Map::from_iter([(self.claim_annotation(), json!(claim))]), None).await;
        }
        let annotations = BTreeMap::from([(self.claim_annotation(), claim)]);
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(self.reference.name.clone()),
                labels: Some(BTreeMap::from([(MANAGED_BY_LABEL.to_owned(), FIELD_MANAGER.to_owned())])),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            },
            ..Secret::default()
        };
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let made =
            with_timeout(self.api.create(&parameters, &secret)).await.map_err(|error| self.error(error))?;
        self.update(made);
        Ok(())
    }

    /// Stores the token of a webhook.
    pub async fn store(&mut self, id: &str, token: &SecretString) -> Result<(), TokenError> {
        let mut book = self.book.clone();
        book.add(id, token);
        let annotations = Map::from_iter([(self.records_annotation(), json!(book.annotation()))]);
        self.write(annotations, Some(book.value())).await
    }

    /// Records that Lever lists a webhook.
    pub async fn confirm(&mut self, id: &str) -> Result<(), TokenError> {
        let mut book = self.book.clone();
        book.confirm(id);
        let annotations = Map::from_iter([(self.records_annotation(), json!(book.annotation()))]);
        self.write(annotations, None).await
    }

    /// Removes the data of the connection. The Secret and the data of others stay.
    pub async fn clear(&mut self) -> Result<(), TokenError> {
        let is_empty = self.book.recorded().is_empty() && !self.is_claimed;
        if self.version.is_none() || !self.is_ours || is_empty {
            return Ok(());
        }
        let mut book = self.book.clone();
        book.clear();
        let annotations = Map::from_iter([
            (self.records_annotation(), Value::Null),
            (self.claim_annotation(), Value::Null),
        ]);
        self.write(annotations, Some(book.value())).await
    }

    /// Patches the Secret at the version that was read. An empty value removes the key.
    async fn write(
        &mut self,
        annotations: Map<String, Value>,
        value: Option<String>,
    ) -> Result<(), TokenError> {
        let metadata = json!({"resourceVersion": self.version, "annotations": annotations});
        let mut change = json!({"metadata": metadata});
        if let Some(value) = value {
            let value = (!value.is_empty()).then(|| ByteString(value.into_bytes()));
            change["data"] = json!({self.reference.key.as_str(): value});
        }
        let change = Patch::Merge(change);
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let patched = self.api.patch(&self.reference.name, &parameters, &change);
        let written = with_timeout(patched).await.map_err(|error| self.error(error))?;
        self.update(written);
        Ok(())
    }

    fn error(&self, source: kube::Error) -> TokenError {
        if is_status(&source, 409) || is_status(&source, 404) {
            return TokenError::Conflict;
        }
        TokenError::Api { name: self.reference.name.clone(), source: Box::new(source) }
    }

    fn records_annotation(&self) -> String {
        format!("{}{}", names::WEBHOOKS_PREFIX, self.connection)
    }

    fn claim_annotation(&self) -> String {
        format!("{}{}", names::CLAIM_PREFIX, self.connection)
    }
}
