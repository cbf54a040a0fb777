//! Stores a stage change in the API server, before Lever receives a response.
//!
//! The action is chosen from the cache and corrected when the API server's state is newer: if the name exists already,
//! that Pad is read; if a Pad is gone, it is created again. Storing is idempotent, so a delivery that was answered with
//! 503 may have been stored in part.

use crate::k8s::WatchScope;
use crate::k8s::pad_index::IndexKey;
use crate::k8s::pads;
use crate::k8s::patch::is_status;
use crate::telemetry::traces::span_definitions;
use api::decode::Decoded;
use api::names;
use api::pad::{Trigger, TriggerSource};
use api::pad_builder::{self, is_of, is_of_spec};
use api::{FIELD_MANAGER, LeverConnection, Pad, PadConfiguration};
use engine::stage_change::StageChangeEvent;
use engine::stage_change::{PadAction, choose_action, configurations_of};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum number of pending Pads of one connection. Above it, Lever is asked to retry later.
const MAX_UNJUDGED_PADS: usize = 10_000;
/// Maximum number of attempts to store a stage change on a Pad, before Lever is asked to retry later.
const MAX_UPSERT_ATTEMPTS: u32 = 12;
/// Maximum number of configurations that are processed at the same time.
const UPSERT_CONCURRENCY: usize = 8;

/// Result of storing a stage change.
#[derive(Debug, Eq, PartialEq)]
pub enum Persisted {
    /// No configuration has the stage.
    NotNamed,
    /// Names of the Pads that are in the API server.
    Pads(Vec<String>),
}

/// Reason why a stage change could not be stored now. All of these are transient: Lever should retry.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The connection has not been probed yet.
    #[error("the stages of the Lever account are not known yet")]
    StagesUnknown,
    /// The leader is far behind, or is not running.
    #[error("more than {MAX_UNJUDGED_PADS} Pads of the connection wait to be judged")]
    TooManyUnjudged,
    /// The Pads of a candidate changed at every attempt.
    #[error("the Pads of the candidate change too fast")]
    Unsettled,
    /// The API server refused the request or did not answer.
    #[error("{}", brief(.0))]
    Api(#[from] Box<kube::Error>),
}

impl From<kube::Error> for PersistError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

/// Describes an error without the API server's message, because that may repeat the request: only code and reason.
fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("the API server answered {} {}", status.code, status.reason),
        other => format!("the API server did not answer: {other}"),
    }
}

/// Stores a stage change for every configuration that it affects.
pub async fn store(
    client: &Client,
    scope: &WatchScope,
    connection: &LeverConnection,
    change: &StageChangeEvent,
) -> Result<Persisted, PersistError> {
    if connection.stages().is_empty() {
        return Err(PersistError::StagesUnknown);
    }
    let namespace = connection.namespace().unwrap_or_default();
    let configurations =
        configurations_of(&change.stage_id, connection, &scope.configurations.in_namespace(&namespace));
    if configurations.is_empty() {
        return Ok(Persisted::NotNamed);
    }
    if are_too_many_unjudged(scope, &namespace, connection) {
        return Err(PersistError::TooManyUnjudged);
    }
    let candidates_pads =
        scope.pads.lookup(&namespace, &IndexKey::Candidate(change.opportunity_id.clone()), |_| true);
    let pads = decoded(client, &namespace);
    let mut names: Vec<String> = stream::iter(configurations)
        .map(|configuration| {
            let known = candidates_pads.clone();
            let pads = &pads;
            async move { PadUpsert::new(pads, &configuration, change, known).upsert().await }
        })
        .buffer_unordered(UPSERT_CONCURRENCY)
        .try_collect()
        .await?;
    names.sort();
    Ok(Persisted::Pads(names))
}

fn are_too_many_unjudged(scope: &WatchScope, namespace: &str, connection: &LeverConnection) -> bool {
    if scope.pads.upper_bound(namespace, &IndexKey::Waiting) <= MAX_UNJUDGED_PADS {
        return false;
    }
    let reference = connection.reference();
    let is_of_connection = |pad: &Pad| pad.spec.connection_ref.as_ref() == Some(&reference);
    scope.pads.lookup(namespace, &IndexKey::Waiting, is_of_connection).len() > MAX_UNJUDGED_PADS
}

/// Returns the client of a namespace's Pads. A Pad that does not decode must not make deliveries fail forever.
fn decoded(client: &Client, namespace: &str) -> Api<Decoded<Pad>> {
    Api::namespaced(client.clone(), namespace)
}

fn is_kept(pad: &Pad) -> bool {
    pad.metadata.deletion_timestamp.is_none()
}

/// The attempts to store a stage change on a Pad, for one candidate and one configuration.
struct PadUpsert<'a> {
    api: &'a Api<Decoded<Pad>>,
    configuration: &'a PadConfiguration,
    change: &'a StageChangeEvent,
    known: Vec<Arc<Pad>>,
    taken: BTreeSet<u32>,
    /// Name of a Pad of the candidate that does not decode.
    undecodable: Option<String>,
}

impl<'a> PadUpsert<'a> {
    fn new(
        api: &'a Api<Decoded<Pad>>,
        configuration: &'a PadConfiguration,
        change: &'a StageChangeEvent,
        mut known: Vec<Arc<Pad>>,
    ) -> Self {
        known.retain(|pad| is_of(pad, &configuration.name_any(), &change.opportunity_id));
        Self { api, configuration, change, known, taken: BTreeSet::new(), undecodable: None }
    }

    /// Returns the name of the Pad on which the stage change is stored.
    async fn upsert(mut self) -> Result<String, PersistError> {
        let configuration = self.configuration.name_any();
        for _ in 0..MAX_UPSERT_ATTEMPTS {
            if let Some(name) = self.undecodable.take() {
                if self.annotate(name.clone()).await?.is_some() || self.undecodable.is_some() {
                    return Ok(name);
                }
                continue;
            }
            let settled = match choose_action(&self.known, &self.taken, &configuration, self.change) {
                PadAction::Nothing { name } => self.confirm(name).await?,
                PadAction::Annotate { name } => self.annotate(name).await?,
                PadAction::Create { n } => self.create(n).await?,
            };
            if let Some(name) = settled {
                return Ok(name);
            }
        }
        Err(PersistError::Unsettled)
    }

    /// Checks that the Pad still exists. The same delivery has been stored before, but the cache may be stale.
    async fn confirm(&mut self, name: String) -> Result<Option<String>, PersistError> {
        match self.api.get_opt(&name).await? {
            Some(Decoded::Object(pad, _)) if is_kept(&pad) && self.is_mine(&pad) => Ok(Some(name)),
            Some(pad) => {
                self.add_known(pad);
                Ok(None)
            }
            None => {
                self.known.retain(|pad| pad.name_any() != name);
                Ok(None)
            }
        }
    }

    async fn annotate(&mut self, name: String) -> Result<Option<String>, PersistError> {
        let request = (names::RECONCILE_REQUESTED_AT.to_owned(), self.change.request.clone());
        let annotations: BTreeMap<_, _> =
            span_definitions::traceparent_annotation().into_iter().chain([request]).collect();
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let namespace = self.api.namespace().unwrap_or_default();
        let asked = span_definitions::write(
            "annotate Pad",
            namespace,
            &name,
            self.api.patch(&name, &parameters, &patch),
        )
        .await;
        match asked {
            Ok(Decoded::Object(pad, _)) if is_kept(&pad) && self.is_mine(&pad) => Ok(Some(name)),
            // The cache was stale: the Pad is being deleted, or its name now belongs to another Pad.
            Ok(pad) => {
                self.add_known(pad);
                Ok(None)
            }
            Err(error) if is_status(&error, 404) => {
                self.known.retain(|pad| pad.name_any() != name);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn create(&mut self, n: u32) -> Result<Option<String>, PersistError> {
        let pad = self.pad(n);
        let name = pad.name_any();
        let api: Api<Pad> =
            Api::namespaced(self.api.clone().into_client(), self.api.namespace().unwrap_or_default());
        match pads::create(&api, &pad).await {
            Ok(_) => Ok(Some(name)),
            Err(error) if is_status(&error, 409) => {
                // The Pad is gone: the name is free again.
                let Some(holder) = self.api.get_opt(&name).await? else { return Ok(None) };
                if matches!(&holder, Decoded::Object(pad, _) if self.is_mine(pad)) {
                    self.relist().await?;
                }
                self.add_known(holder);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Lists the operator's Pads from the API server, because the cache was stale. Pads that people created carry no
    /// labels, so each Pad in the cache that is not in the list is read separately.
    async fn relist(&mut self) -> Result<(), PersistError> {
        let selector: Vec<String> =
            self.labels().into_iter().map(|(label, value)| format!("{label}={value}")).collect();
        let listed = self.api.list(&ListParams::default().labels(&selector.join(","))).await?.items;
        for known in std::mem::take(&mut self.known) {
            let name = known.name_any();
            if listed.iter().all(|pad| pad.name_any() != name)
                && let Some(pad) = self.api.get_opt(&name).await?
            {
                self.add_known(pad);
            }
        }
        listed.into_iter().for_each(|pad| self.add_known(pad));
        Ok(())
    }

    /// Records a Pad that the API server returned. The stage change is stored also on a Pad that does not decode: it is
    /// decided as soon as the Pad can be read again. A second Pad for the candidate would be wrong.
    fn add_known(&mut self, pad: Decoded<Pad>) {
        let name = pad.name_any();
        self.known.retain(|known| known.name_any() != name);
        let is_going = pad.meta().deletion_timestamp.is_some();
        match pad {
            Decoded::Undecodable(_, _, spec) if !is_going && self.is_my_spec(&spec) => {
                self.undecodable = Some(name)
            }
            Decoded::Object(pad, _) if self.is_mine(&pad) => self.known.push(Arc::from(pad)),
            Decoded::Object(..) | Decoded::Undecodable(..) => {
                let number =
                    names::pad_number(&name, &self.configuration.name_any(), &self.change.opportunity_id);
                self.taken.extend(number);
            }
        }
    }

    fn is_mine(&self, pad: &Pad) -> bool {
        is_of(pad, &self.configuration.name_any(), &self.change.opportunity_id)
    }

    fn is_my_spec(&self, spec: &Value) -> bool {
        is_of_spec(spec, &self.configuration.name_any(), &self.change.opportunity_id)
    }

    /// Returns the labels that select the Pads of the candidate and the configuration.
    fn labels(&self) -> [(&'static str, String); 2] {
        pad_builder::labels(&self.configuration.name_any(), &self.change.opportunity_id)
    }

    fn pad(&self, n: u32) -> Pad {
        let trigger = Trigger { source: TriggerSource::Webhook, at: Some(self.change.at) };
        pad_builder::pad(self.configuration, &self.change.opportunity_id, n, trigger)
    }
}
