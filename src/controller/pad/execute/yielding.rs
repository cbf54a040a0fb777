//! Writes to a Pad whose pad yields to that of another installation (contract I5).

use super::{PadReconcile, cluster};
use crate::controller::pad::observe;
use crate::k8s::patch::MetadataChange;
use api::installation::{REQUESTED_BY, YIELDS_TO};
use api::names;
use engine::state::{PadLookup, PassError};

impl PadReconcile<'_> {
    /// Annotates the Pad as yielding, before its pad is removed. `None` removes the annotation.
    pub(super) async fn mark_as_yielding(&mut self, id: Option<String>) -> Result<(), PassError> {
        let change = match &id {
            Some(id) => MetadataChange::default().annotate(YIELDS_TO, id).finalizer(names::FINALIZER, true),
            None => MetadataChange::default().remove_annotation(YIELDS_TO),
        };
        self.write(change).await.map_err(cluster)?;
        if let Some(id) = &id {
            tracing::info!(
                pad = %self.state.pad.name, namespace = %self.state.pad.namespace, installation = %id,
                "removing pad: another installation created one earlier"
            );
        }
        self.state.ownership.yields_to = id;
        Ok(())
    }

    /// Removes the annotations of the pad that yielded, so that the Pad can be judged again.
    pub(super) async fn forget_pad(&mut self) -> Result<(), PassError> {
        let names = [names::ATTEMPT, names::PAD_ID, names::CLAIM, REQUESTED_BY, YIELDS_TO];
        let change =
            names.iter().fold(MetadataChange::default(), |change, name| change.remove_annotation(name));
        self.write(change).await.map_err(cluster)?;
        self.state.ownership.yields_to = None;
        self.state.record = PadLookup::NotRead;
        self.state.create_outcome = observe::flight(&self.state.pad, self.context);
        Ok(())
    }
}
