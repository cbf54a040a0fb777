//! Creation of Pads, for the webhook server, sync and the leader.

use super::patch::is_status;
use super::trimmed_api;
use super::with_timeout;
use crate::telemetry::traces::span_definitions;
use api::decode::Decoded;
use api::pad_builder::{is_of, is_of_spec};
use api::trimmed_objects::Trimmed;
use api::{FIELD_MANAGER, Pad};
use kube::api::PostParams;
use kube::{Api, ResourceExt};

/// Maximum number of names that are tried in one call when they belong to other candidates.
const MAX_NAME_ATTEMPTS: u32 = 12;

/// Creates a Pad in the API server, with the annotation by which its reconcile continues the current trace.
pub async fn create(api: &Api<Pad>, pad: &Pad) -> kube::Result<Pad> {
    let mut pad = pad.clone();
    pad.annotations_mut().extend(span_definitions::traceparent_annotation());
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let (namespace, name) = (api.namespace().unwrap_or_default(), pad.name_any());
    let api = trimmed_api(&api.clone().into_client(), namespace);
    let Trimmed(made) =
        span_definitions::write("create Pad", namespace, &name, api.create(&parameters, &Trimmed(pad)))
            .await?;
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
