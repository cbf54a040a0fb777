//! Builds and creates Pads: name, labels, and fields that are copied from the configuration. The webhook server, sync
//! and the leader all use this module, so that they create identical Pads.

use crate::k8s::decode::Decoded;
use crate::k8s::patch::is_status;
use crate::k8s::trimmed_objects::{Trimmed, trimmed_api};
use crate::k8s::with_timeout;
use crate::telemetry::traces::spans;
use api::names::{
    self, CONFIGURATION_LABEL, CONNECTION_LABEL, MANAGED_BY_LABEL, OPPORTUNITY_LABEL, TYPE_LABEL,
};
use api::pad::{DesiredState, Trigger};
use api::{FIELD_MANAGER, NameRef, Pad, PadConfiguration, PadSpec};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use serde_json::Value;

/// Maximum number of names that are tried in one call when they belong to other candidates.
const MAX_NAME_ATTEMPTS: u32 = 12;

/// Reports whether a Pad belongs to a candidate and a configuration. Compares fields, because a manually created Pad
/// has no labels.
pub fn is_of(pad: &Pad, configuration: &str, opportunity_id: &str) -> bool {
    pad.spec.configuration_ref.name == configuration && pad.spec.opportunity_id == opportunity_id
}

/// Reports the same as [`is_of`] for the spec of a Pad that cannot be decoded.
pub fn is_of_spec(spec: &Value, configuration: &str, opportunity_id: &str) -> bool {
    spec["configurationRef"]["name"] == configuration && spec["opportunityID"] == opportunity_id
}

/// Returns the labels that select the Pads of a candidate and a configuration.
pub fn labels(configuration: &str, opportunity_id: &str) -> [(&'static str, String); 2] {
    [
        (CONFIGURATION_LABEL, configuration.to_owned()),
        (OPPORTUNITY_LABEL, names::opportunity_digest(opportunity_id)),
    ]
}

/// Returns the n-th Pad of a candidate and a configuration.
pub fn pad(configuration: &PadConfiguration, opportunity_id: &str, n: u32, trigger: Trigger) -> Pad {
    let (name, rule) = (configuration.name_any(), &configuration.spec);
    let spec = PadSpec {
        configuration_ref: NameRef { name: name.clone() },
        connection_ref: Some(rule.connection_ref.clone()),
        opportunity_id: opportunity_id.to_owned(),
        trigger,
        state: DesiredState::Open,
        deletion_policy: rule.deletion_policy,
    };
    let mut pad = Pad::new(&names::pad_name(&name, opportunity_id, n), spec);
    let all = pad.labels_mut();
    all.extend(labels(&name, opportunity_id).map(|(label, value)| (label.to_owned(), value)));
    all.insert(CONNECTION_LABEL.into(), rule.connection_ref.name.clone());
    all.insert(TYPE_LABEL.into(), rule.type_.as_str().into());
    all.insert(MANAGED_BY_LABEL.into(), FIELD_MANAGER.into());
    pad.annotations_mut().extend(spans::traceparent_annotation());
    pad
}

/// Creates a Pad in the API server.
pub async fn create(api: &Api<Pad>, pad: &Pad) -> kube::Result<Pad> {
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let (namespace, name) = (api.namespace().unwrap_or_default(), pad.name_any());
    let api = trimmed_api(&api.clone().into_client(), namespace);
    let Trimmed(made) =
        spans::write("create Pad", namespace, &name, api.create(&parameters, &Trimmed(pad.clone()))).await?;
    Ok(made)
}

/// Creates the Pad with number `first`, or with the next number whose name does not belong to another candidate. If the
/// candidate already has a Pad with this name, returns the existing Pad; returns `None` while it is terminating.
pub async fn store(api: &Api<Pad>, first: u32, pad: impl Fn(u32) -> Pad) -> kube::Result<Option<Pad>> {
    for n in first..first.saturating_add(MAX_NAME_ATTEMPTS) {
        let new = pad(n);
        match with_timeout(create(api, &new)).await {
            Ok(made) => return Ok(Some(made)),
            Err(error) if is_status(&error, 409) => {}
            Err(error) => return Err(error),
        }
        let decoded: Api<Decoded<Pad>> =
            Api::namespaced(api.clone().into_client(), api.namespace().unwrap_or_default());
        let (configuration, candidate) = (&new.spec.configuration_ref.name, &new.spec.opportunity_id);
        match with_timeout(decoded.get_opt(&new.name_any())).await? {
            None => return Ok(None),
            Some(Decoded::Object(holder, _)) if is_of(&holder, configuration, candidate) => {
                return Ok(Some(*holder).filter(|holder| holder.metadata.deletion_timestamp.is_none()));
            }
            // Do not create a second Pad for the candidate. The existing one is reconciled when it can be decoded
            // again.
            Some(Decoded::Undecodable(_, _, spec)) if is_of_spec(&spec, configuration, candidate) => {
                return Ok(None);
            }
            Some(Decoded::Object(..) | Decoded::Undecodable(..)) => {}
        }
    }
    Ok(None)
}
