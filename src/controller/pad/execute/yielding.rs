//! Writes to a Pad whose pad yields to that of another installation (contract I5).

use super::{PadReconcile, cluster};
use engine::event::Fact;
use engine::pad_changes;
use engine::state::PassError;

impl PadReconcile<'_> {
    /// Annotates the Pad as yielding, before its pad is removed. `None` removes the annotation.
    pub(super) async fn mark_as_yielding(&mut self, id: Option<&String>) -> Result<Fact, PassError> {
        self.write(pad_changes::yields_to(id)).await.map_err(cluster)?;
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
        self.write(pad_changes::clear_pad()).await.map_err(cluster)?;
        Ok(Fact::Done)
    }
}
