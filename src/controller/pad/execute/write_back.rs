//! Writes to Lever. The link and the note must be written once: each is claimed by a conflict-failing write to the Pad,
//! and sent immediately afterwards or not at all.

use super::{PadReconcile, cluster};
use crate::controller::pad::in_flight::{SEND_DEADLINE, visibility_delay};
use api::names::{Claim, OnceOnlyWrite};
use engine::event::Fact;
use engine::pad_changes;
use engine::state::PassError;
use http_client::{ErrorKind, SendDeadline};
use jiff::Timestamp;
use tokio::time::Instant;

impl PadReconcile<'_> {
    /// Acquires the permit and the send deadline for one write to Lever, before the write to the Pad that claims it.
    pub(super) async fn acquire_send_deadline(&self) -> Result<SendDeadline, PassError> {
        let permit = self.account()?.lever.permit().await;
        Ok(SendDeadline { permit, leave_by: Instant::now() + SEND_DEADLINE })
    }

    /// Claims a write to Lever: only one of two processes succeeds, and only that one may send.
    pub(super) async fn claim(&mut self, effect: OnceOnlyWrite) -> Result<Fact, PassError> {
        let departure = self.acquire_send_deadline().await?;
        let claim = Claim::new(effect, Timestamp::now());
        self.write(pad_changes::claim(&claim)).await.map_err(cluster)?;
        self.in_flight(|requests| requests.mark_not_sent(&claim.to_string()));
        self.departure = Some(departure);
        Ok(Fact::Done)
    }

    /// Takes the permit of the claimed write, and returns it with its mark.
    fn take_claimed_permit(&mut self) -> Result<(SendDeadline, String), PassError> {
        let mark = self.state.pad.open_claim().map(|(_, mark)| mark);
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
        answer: &Result<T, http_client::ServiceError>,
    ) {
        if answer.as_ref().is_err_and(|error| error.class == ErrorKind::OutcomeUnknown) {
            self.in_flight(|requests| requests.mark_ended(mark, visibility_delay(effect)));
        }
    }

    pub(super) async fn add_link(&mut self, url: &String) -> Result<Fact, PassError> {
        let (departure, mark) = self.take_claimed_permit()?;
        let (lever, candidate) = (&self.account()?.lever, &self.state.pad.opportunity_id);
        let answer = lever.add_links(departure, candidate, std::slice::from_ref(url)).await;
        self.track_outcome(OnceOnlyWrite::Link, &mark, &answer);
        Ok(Fact::LeverWrite { answer: answer.map(Box::new) })
    }

    pub(super) async fn add_note(&mut self, text: &str) -> Result<Fact, PassError> {
        let (departure, mark) = self.take_claimed_permit()?;
        let added = self.account()?.lever.add_note(departure, &self.state.pad.opportunity_id, text).await;
        self.track_outcome(OnceOnlyWrite::Note, &mark, &added);
        Ok(Fact::NoteAdded(added.map_err(PassError::Service)?))
    }
}
