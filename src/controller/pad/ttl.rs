//! Deletion of Pads after their TTL, always as with Retain (contract E11).
//!
//! Sync requests it when a complete scan no longer finds the candidate in the stage with the tag. The Pad's own
//! reconcile executes it, because the finalizer of another policy is removed immediately before: no other reconcile can
//! add it again in between, and none treats the Pad as one that is being deleted.

use super::memory::PadMemory;
use crate::k8s::patch::{MetadataChange, WriteError, is_status, write_metadata};
use crate::k8s::with_timeout;
use api::names::FINALIZER;
use api::pad::Pad;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client, ResourceExt};

/// Deletes the Pad in exactly the version that was read.
pub async fn delete(client: &Client, pad: &Pad, memory: &PadMemory) -> Result<(), WriteError> {
    let mut pad = pad.clone();
    if pad.finalizers().iter().any(|one| one == FINALIZER) {
        pad = write_metadata(client, &pad, &MetadataChange::default().finalizer(FINALIZER, false)).await?;
        memory.record_written(&pad);
    }
    let api: Api<Pad> = Api::namespaced(client.clone(), &pad.namespace().unwrap_or_default());
    let preconditions = Preconditions { uid: pad.uid(), resource_version: pad.resource_version() };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match with_timeout(api.delete(&pad.name_any(), &parameters)).await {
        Ok(_) => Ok(()),
        Err(error) if is_status(&error, 404) => Ok(()),
        Err(error) if is_status(&error, 409) => Err(WriteError::Conflict { now: None }),
        Err(error) => Err(WriteError::Api(Box::new(error))),
    }
}
