//! The Secret with the signature tokens, and the writes to it.
//!
//! Beside the tokens and what [`TokenLedger`] says of them stands a claim. Who is about to make or delete webhooks writes it
//! first, and stores a token only while it is still there. So of two leaders only one goes on.

use super::plan::KnownWebhook;
use super::token_ledger::TokenLedger;
use crate::api::names::{self, MANAGED_BY_LABEL};
use crate::api::{FIELD_MANAGER, LeverConnection, SecretKeyRef};
use crate::k8s::in_time;
use crate::k8s::patch::is_status;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// How often a token is stored again when somebody else has changed the Secret.
const TRIES: u32 = 5;

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Somebody else has changed the Secret, or another process acts.
    #[error("the Secret was changed by somebody else")]
    Conflict,
    /// The API server refused or did not answer.
    #[error("Secret {name} could not be written: {source}")]
    Api {
        /// The Secret's name.
        name: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

/// One connection's view of its Secret, as last read or written.
pub struct TokenSecret {
    api: Api<Secret>,
    reference: SecretKeyRef,
    connection: String,
    /// None: there is no such Secret.
    version: Option<String>,
    is_ours: bool,
    book: TokenLedger,
    claim: Option<String>,
}

impl TokenSecret {
    /// Reads it.
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
            claim: None,
        };
        let found = in_time(secret.api.get_opt(&reference.name)).await?;
        secret.update_tokens(found);
        Ok(secret)
    }

    fn update_tokens(&mut self, found: Option<Secret>) {
        let Some(mut found) = found else {
            (self.version, self.is_ours) = (None, true);
            (self.book, self.claim) = Default::default();
            return;
        };
        self.version = found.resource_version();
        self.is_ours = found.labels().get(MANAGED_BY_LABEL).is_some_and(|by| by == FIELD_MANAGER);
        let annotation = |key: String| found.annotations().get(&key).cloned();
        self.claim = annotation(self.claim_annotation());
        let records = annotation(self.records_annotation()).unwrap_or_default();
        let value = found.data.as_mut().and_then(|data| data.remove(&self.reference.key));
        let value = value.and_then(|value| String::from_utf8(value.0).ok()).unwrap_or_default();
        self.book = TokenLedger::read(&value, &records);
    }

    /// Whether it may be written: there is none yet, or it carries the operator's label.
    pub fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// The webhooks that it knows.
    pub fn recorded(&self) -> Vec<KnownWebhook> {
        self.book.recorded()
    }

    /// Whether this claim stands there.
    pub fn is_claimed_by(&self, claim: &str) -> bool {
        self.claim.as_deref() == Some(claim)
    }

    /// Writes the claim; makes the Secret, if there is none.
    pub async fn claim(&mut self, claim: &str) -> Result<(), TokenError> {
        let annotations = Map::from_iter([(self.claim_annotation(), json!(claim))]);
        if self.version.is_some() {
            return self.write(annotations, None).await;
        }
        let annotations = BTreeMap::from([(self.claim_annotation(), claim.to_owned())]);
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
        let made = in_time(self.api.create(&parameters, &secret)).await.map_err(|error| self.error(error))?;
        self.update_tokens(Some(made));
        Ok(())
    }

    /// Stores the token of a webhook, if the claim is still there. What a person changes beside it does no harm.
    pub async fn store(&mut self, claim: &str, id: &str, token: &SecretString) -> Result<(), TokenError> {
        let mut last = TokenError::Conflict;
        for _ in 0..TRIES {
            if !self.is_ours || !self.is_claimed_by(claim) {
                return Err(TokenError::Conflict);
            }
            let mut book = self.book.clone();
            book.add(id, token);
            let annotations = Map::from_iter([(self.records_annotation(), json!(book.annotation()))]);
            match self.write(annotations, Some(book.value())).await {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
            // Whether it was a conflict or a lost answer, what stands there says.
            let now = in_time(self.api.get_opt(&self.reference.name)).await;
            self.update_tokens(now.map_err(|error| self.error(error))?);
            if self.recorded().iter().any(|one| one.id == id && one.has_token) {
                return Ok(());
            }
        }
        Err(last)
    }

    /// Notes that Lever's list shows a webhook.
    pub async fn confirm(&mut self, id: &str) -> Result<(), TokenError> {
        let mut book = self.book.clone();
        book.confirm(id);
        let annotations = Map::from_iter([(self.records_annotation(), json!(book.annotation()))]);
        self.write(annotations, None).await
    }

    /// Takes out everything that belongs to the connection. The Secret stays, and what others have put into it.
    pub async fn clear(&mut self) -> Result<(), TokenError> {
        let is_empty = self.book.recorded().is_empty() && self.claim.is_none();
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

    /// Changes the Secret as it was read. With an empty value the key goes.
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
        let written = in_time(patched).await.map_err(|error| self.error(error))?;
        self.update_tokens(Some(written));
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
