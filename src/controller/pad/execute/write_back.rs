//! Writes to Lever. The link and the note must be written once: each is claimed by a conflict-failing write to the Pad,
//! and sent immediately afterwards or not at all.

use super::{PadReconcile, cluster};
use crate::controller::pad::in_flight::{SEND_DEADLINE, visibility_delay};
use crate::k8s::patch::MetadataChange;
use crate::lever::Opportunity;
use crate::transport::{self, ErrorKind, SendDeadline};
use api::names::{self, Claim, OnceOnlyWrite};
use engine::state::{CandidateLookup, NoteLookup, PassError, WriteClaim};
use jiff::Timestamp;
use tokio::time::Instant;

impl PadReconcile<'_> {
    /// Acquires the permit and the send deadline for one write to Lever, before the write to the Pad that claims it.
    pub(super) async fn acquire_send_deadline(&self) -> Result<SendDeadline, PassError> {
        let permit = self.account()?.lever.permit().await;
        Ok(SendDeadline { permit, leave_by: Instant::now() + SEND_DEADLINE })
    }

    /// Claims a write to Lever: only one of two processes succeeds, and only that one may send.
    pub(super) async fn claim(&mut self, effect: OnceOnlyWrite) -> Result<(), PassError> {
        let departure = self.acquire_send_deadline().await?;
        let claim = Claim::new(effect, Timestamp::now());
        let mut change = MetadataChange::default().annotate(names::CLAIM, claim.to_string());
        if effect == OnceOnlyWrite::Link {
            change = change.finalizer(names::FINALIZER, true);
        }
        self.write(change).await.map_err(cluster)?;
        self.context.in_flight.mark_not_sent(&claim.to_string());
        self.departure = Some(departure);
        self.state.write_claim = WriteClaim::Owned(effect);
        Ok(())
    }

    /// Takes the permit of the claimed write, and returns it with its mark.
    fn take_claimed_permit(&mut self) -> Result<(SendDeadline, String), PassError> {
        let mark = self.state.pad.open_claim().map(|(_, mark)| mark);
        self.state.write_claim = WriteClaim::Unclaimed;
        self.departure
            .take()
            .zip(mark)
            .ok_or_else(|| PassError::Cluster { message: "a write to Lever was not claimed".into() })
    }

    /// Records a claimed write with unknown outcome: it may still take effect.
    fn track_outcome<T>(
        &self,
        effect: OnceOnlyWrite,
        mark: &str,
        answer: &Result<T, transport::ServiceError>,
    ) {
        if answer.as_ref().is_err_and(|error| error.class == ErrorKind::OutcomeUnknown) {
            self.context.in_flight.mark_ended(mark, visibility_delay(effect));
        }
    }

    pub(super) async fn add_link(&mut self, url: String) -> Result<(), PassError> {
        let (departure, mark) = self.take_claimed_permit()?;
        let changed =
            self.account()?.lever.add_links(departure, &self.state.pad.opportunity_id, &[url]).await;
        self.state.link_written = changed.is_ok();
        self.track_outcome(OnceOnlyWrite::Link, &mark, &changed);
        self.after_lever_write(changed).await
    }

    pub(super) async fn add_note(&mut self, text: &str) -> Result<(), PassError> {
        let (departure, mark) = self.take_claimed_permit()?;
        let added = self.account()?.lever.add_note(departure, &self.state.pad.opportunity_id, text).await;
        self.track_outcome(OnceOnlyWrite::Note, &mark, &added);
        self.state.note = NoteLookup::Written(added.map_err(PassError::Service)?);
        Ok(())
    }

    /// Stores the opportunity from Lever's response to a write. A 404 may concern something else, such as the user of
    /// performAs, so a read confirms whether the candidate was deleted.
    pub(super) async fn after_lever_write(
        &mut self,
        changed: Result<Opportunity, transport::ServiceError>,
    ) -> Result<(), PassError> {
        match changed {
            Ok(opportunity) => {
                self.state.opportunity = CandidateLookup::Read(Box::new(opportunity));
                Ok(())
            }
            Err(error) if error.class == ErrorKind::NotFound => {
                self.read_opportunity().await?;
                match self.state.opportunity {
                    CandidateLookup::NotFound => Ok(()),
                    _ => Err(PassError::Service(error)),
                }
            }
            Err(error) => Err(PassError::Service(error)),
        }
    }
}
