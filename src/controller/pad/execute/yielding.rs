//! Writes to a Pad whose pad yields to that of another installation (contract I5).

use super::{PadReconcile, cluster};
use crate::k8s::patch::MetadataChange;
use api::installation::{REQUESTED_BY, YIELDS_TO};
use api::names;
use engine::event::Fact;
use engine::state::PassError;

impl PadReconcile<'_> {
    /// Annotates the Pad as yielding, before its pad is removed. `None` removes the annotation.
    pub(super) async fn mark_as_yielding(&mut self, id: Option<&String>) -> Result<Fact, PassError> {
        let change = match id {
            Some(id) => MetadataChange::default().annotate(YIELDS_TO, id).finalizer(names::FINALIZER, true),
            None => MetadataChange::default().remove_annotation(YIELDS_TO),
        };
        self.write(change).await.map_err(cluster)?;
        if let Some(id) = id {
            tracing::info!(
                pad = %self.state.pad.name, namespace = %self.state.pad.namespace, installation = %id,
                "removing pad: another installation created one earlier"
            );
        }
        Ok(Fact::Done)
    }

    /// Removes the annotations of the pad that yielded, so that the Pad can be judged again.
    pub(super) async fn clear_pad(&mut self) -> Result<Fact, PassError> {
        let names = [names::ATTEMPT, names::PAD_ID, names::CLAIM, REQUESTED_BY, YIELDS_TO];
        let change =
            names.iter().fold(MetadataChange::default(), |change, name| change.remove_annotation(name));
        self.write(change).await.map_err(cluster)?;
        Ok(Fact::Done)
    }
}
