//! The Secret with the signature tokens, as far as it is the operator's: which lines are whose, and the writes.
//!
//! Beside the tokens stand two annotations for each connection: the ids of its webhooks with a digest of their tokens, so
//! that it can be told whose token is missing, and a claim. Who is about to make or delete webhooks writes the claim
//! first, and stores a token only while the claim is still there. So of two leaders only one goes on.

use super::plan::Recorded;
use crate::api::names::{self, MANAGED_BY_LABEL, sha256_hex};
use crate::api::{FIELD_MANAGER, LeverConnection, SecretKeyRef};
use crate::cluster::in_time;
use crate::cluster::writes::is_status;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Tokens of a connection that are kept: what Lever repeats may be signed with one that was replaced.
const TOKENS_KEPT: usize = 5;
/// Hex digits of a token's digest.
const DIGEST: usize = 16;

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
    tokens: Vec<SecretString>,
    /// Ids and digests, oldest first.
    records: Vec<(String, String)>,
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
            tokens: Vec::new(),
            records: Vec::new(),
            claim: None,
        };
        let found = in_time(secret.api.get_opt(&reference.name)).await?;
        secret.learn(found);
        Ok(secret)
    }

    fn learn(&mut self, found: Option<Secret>) {
        let Some(mut found) = found else {
            (self.version, self.is_ours) = (None, true);
            (self.tokens, self.records, self.claim) = Default::default();
            return;
        };
        self.version = found.resource_version();
        self.is_ours = found.labels().get(MANAGED_BY_LABEL).is_some_and(|by| by == FIELD_MANAGER);
        let annotation = |key: String| found.annotations().get(&key).cloned();
        self.claim = annotation(self.claim_annotation());
        self.records = annotation(self.records_annotation())
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|record| record.rsplit_once('='))
            .map(|(id, digest)| (id.to_owned(), digest.to_owned()))
            .collect();
        let value = found.data.as_mut().and_then(|data| data.remove(&self.reference.key));
        let text = value.and_then(|value| String::from_utf8(value.0).ok()).unwrap_or_default();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        self.tokens = lines.map(SecretString::from).collect();
    }

    /// Whether it may be written: there is none yet, or it carries the operator's label.
    pub fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// The webhooks that it knows.
    pub fn recorded(&self) -> Vec<Recorded> {
        let has = |digest: &String| self.tokens.iter().any(|token| digest_of(token) == *digest);
        self.records.iter().map(|(id, digest)| Recorded { id: id.clone(), has_token: has(digest) }).collect()
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
        self.learn(Some(made));
        Ok(())
    }

    /// Stores the token of a webhook, if the claim is still there. What a person changes beside it does no harm.
    pub async fn store(&mut self, claim: &str, id: &str, token: &SecretString) -> Result<(), TokenError> {
        const TRIES: u32 = 5;
        let mut last = TokenError::Conflict;
        for _ in 0..TRIES {
            if !self.is_ours || !self.is_claimed_by(claim) {
                return Err(TokenError::Conflict);
            }
            let mut records = self.records.clone();
            records.retain(|(known, _)| known != id);
            records.push((id.to_owned(), digest_of(token)));
            let outdated: Vec<_> = records.drain(..records.len().saturating_sub(TOKENS_KEPT)).collect();
            let is_outdated = |token: &SecretString| {
                let digest = digest_of(token);
                outdated.iter().any(|(_, of)| *of == digest)
            };
            let kept = self.tokens.iter().filter(|known| !is_outdated(known));
            let lines: String =
                kept.chain([token]).map(|token| format!("{}\n", token.expose_secret())).collect();
            let records: Vec<_> = records.iter().map(|(id, digest)| format!("{id}={digest}")).collect();
            let annotations = Map::from_iter([
                (self.records_annotation(), json!(records.join(" "))),
                (self.claim_annotation(), json!(claim)),
            ]);
            match self.write(annotations, Some(lines)).await {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
            // Whether it was a conflict or a lost answer, what stands there says.
            let now = in_time(self.api.get_opt(&self.reference.name)).await;
            self.learn(now.map_err(|error| self.error(error))?);
            if self.recorded().contains(&Recorded { id: id.to_owned(), has_token: true }) {
                return Ok(());
            }
        }
        Err(last)
    }

    /// Takes out everything that belongs to the connection. The Secret stays, and what others have put into it.
    pub async fn clear(&mut self) -> Result<(), TokenError> {
        if self.version.is_none() || !self.is_ours || (self.records.is_empty() && self.claim.is_none()) {
            return Ok(());
        }
        let is_own = |token: &SecretString| {
            let digest = digest_of(token);
            self.records.iter().any(|(_, of)| *of == digest)
        };
        let kept = self.tokens.iter().filter(|token| !is_own(token));
        let lines: String = kept.map(|token| format!("{}\n", token.expose_secret())).collect();
        let annotations = Map::from_iter([
            (self.records_annotation(), Value::Null),
            (self.claim_annotation(), Value::Null),
        ]);
        self.write(annotations, Some(lines)).await
    }

    /// Changes the Secret as it was read. Without lines the key goes.
    async fn write(
        &mut self,
        annotations: Map<String, Value>,
        lines: Option<String>,
    ) -> Result<(), TokenError> {
        let metadata = json!({"resourceVersion": self.version, "annotations": annotations});
        let mut change = json!({"metadata": metadata});
        if let Some(lines) = lines {
            let value = (!lines.is_empty()).then(|| ByteString(lines.into_bytes()));
            change["data"] = json!({self.reference.key.as_str(): value});
        }
        let change = Patch::Merge(change);
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let patched = self.api.patch(&self.reference.name, &parameters, &change);
        let written = in_time(patched).await.map_err(|error| self.error(error))?;
        self.learn(Some(written));
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

fn digest_of(token: &SecretString) -> String {
    sha256_hex(token.expose_secret(), DIGEST)
}
