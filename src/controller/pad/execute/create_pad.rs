//! Exactly-once creation of a pad (contract X3 to X5): the attempt is recorded, the request is sent, the ID is stored.
//! After an unknown outcome, the pad is searched by its reference, and the attempt is cleared once it certainly created
//! none.

use super::{PadReconcile, cluster};
use crate::controller::metrics::Origin;
use crate::controller::pad::in_flight::SEND_DEADLINE;
use crate::controller::pad::observe;
use crate::controller::pad_budget::{Denied, PadRequest};
use crate::controller::schedule;
use crate::k8s::patch::{MetadataChange, WriteError};
use crate::k8s::with_timeout;
use api::names::{CreateIntent, Reference};
use coderpad::{CreateError, InterviewClient, NewPad, PadRecord, PadSort};
use engine::event::Fact;
use engine::in_flight;
use engine::pad_changes::{self, StoreConflict};
use engine::search::{is_searched, may_be_searched, needs_second_scan, search_result};
use engine::state::{ConnectionState, PassError};
use http_client::{ErrorKind, Permit, SendDeadline};
use jiff::{Timestamp, ToSpan};
use kube::ResourceExt;
use tokio::time::Instant;

/// Assumed maximum clock skew, in minutes, between replicas and CoderPad: a search reaches back that much further.
const CLOCK_SKEW_MINUTES: i64 = 10;
/// Page limit for one search (50 pads per page): far more than CoderPad creates within the search window.
const SEARCH_PAGES: usize = 1000;
/// Maximum number of immediate tries to store a result after write conflicts.
const STORE_TRIES: usize = 5;

/// Message for a search that cannot conclude that there is no pad.
const UNREADABLE: &str = "CoderPad's list has rows that cannot be read, and one of them may be the pad";

impl PadReconcile<'_> {
    /// Acquires the rate-limit token, records the attempt, then sends the request within 10 s or not at all (contract
    /// X3).
    pub(super) async fn create(
        &mut self,
        reference: &Reference,
        new: &NewPad,
        forget_failures: bool,
    ) -> Result<Fact, PassError> {
        let interview = self.account()?.interview.clone();
        let permit = interview.permit().await;
        let ConnectionState::Ready { name, pads_left, per_hour, .. } = &self.state.connection else {
            return Ok(Fact::Done);
        };
        let (budget, namespace) = (&self.context.pad_budget, self.state.pad.namespace.clone());
        let (connection, now) = (name.clone(), Timestamp::now());
        let request = PadRequest {
            pad: self.pad.uid().unwrap_or_default(),
            account: interview.account_id(),
            remaining: *pads_left,
            per_hour: *per_hour,
            made: per_hour
                .map(|_| observe::reported_creations(&self.pad, name, self.context, now))
                .unwrap_or_default(),
        };
        // If other Pads took the remaining quota or limit, the rules decide again.
        let reserved = match budget.reserve(&namespace, name, request, now) {
            Ok(reserved) => reserved,
            Err(Denied::Quota) => return Ok(Fact::NoQuota),
            Err(Denied::Hour(full)) => return Ok(Fact::HourFull(full)),
        };
        let attempt = CreateIntent::new(reference.clone(), Timestamp::now());
        let change = pad_changes::record_attempt(
            &self.pad,
            &attempt,
            &self.state.ownership.installation,
            forget_failures,
        );
        let created = self.create_once(&interview, permit, &attempt, change, new).await;
        match &created {
            Ok(Fact::CreateRefused { .. }) => budget.refused(&namespace, &connection, &reserved),
            Ok(_) => budget.created(&namespace, &connection, &reserved),
            Err(PassError::CreateOutcomeUnknown(_)) => {}
            Err(_) => budget.not_sent(&namespace, &connection, &reserved),
        }
        if matches!(created, Ok(Fact::CreateRefused { .. }) | Err(PassError::Service(_))) {
            // If this write fails, the next pass repeats it. InFlight knows the outcome, so it needs no search.
            let change = pad_changes::clear_attempt(self.stored_pad());
            self.clear_attempt(change, Some(attempt)).await.ok();
        }
        created
    }

    async fn create_once(
        &mut self,
        interview: &InterviewClient,
        permit: Permit,
        attempt: &CreateIntent,
        recorded: MetadataChange,
        new: &NewPad,
    ) -> Result<Fact, PassError> {
        let leave_by = Instant::now() + SEND_DEADLINE;
        let sent_at = schedule::now();
        self.write(recorded).await.map_err(cluster)?;
        match interview.create_pad(SendDeadline { permit, leave_by }, new).await {
            Ok(record) => {
                tracing::info!(pad = %self.state.pad.name, namespace = %self.state.pad.namespace, "created pad in CoderPad");
                self.made = Some(record.id.clone());
                Ok(Fact::Created { record: Box::new(record), sent_at })
            }
            Err(CreateError::NotSent(error) | CreateError::Refused(error)) => {
                self.in_flight(|requests| requests.mark_not_sent(&attempt.to_string()));
                // This class means that the request was not sent: see CreateError.
                if error.class == ErrorKind::Unavailable {
                    return Err(PassError::Service(error));
                }
                Ok(Fact::CreateRefused { error, sent_at })
            }
            Err(CreateError::OutcomeUnknown(error)) => {
                self.context.metrics.inc_outcomes_unknown();
                self.in_flight(|requests| {
                    requests.mark_ended(&attempt.to_string(), self.context.settings.list_lag);
                    if in_flight::is_server_error(&error) {
                        requests.mark_server_error(&attempt.to_string());
                    }
                });
                Err(PassError::CreateOutcomeUnknown(error))
            }
        }
    }

    /// Searches the newest pads, back to the time of the attempt. A found pad is adopted immediately; "there is none"
    /// requires two scans that agree, after no request can be in flight (contract X5b).
    pub(super) async fn search(&mut self, reference: &Reference) -> Result<Fact, PassError> {
        let since = self.state.pad.attempt.as_ref().and_then(|attempt| attempt.at.parse::<Timestamp>().ok());
        let since = since.and_then(|at| at.checked_sub(CLOCK_SKEW_MINUTES.minutes()).ok());
        let outcome = &self.state.create_outcome;
        let first = self.scan_pads(reference, since).await?;
        let second = match needs_second_scan(outcome) {
            true => Some(self.scan_pads(reference, since).await?),
            false => None,
        };
        let mark = self.state.pad.attempt.as_ref().map(ToString::to_string).unwrap_or_default();
        let next_search = || self.in_flight(|requests| requests.next_search_delay(&mark));
        let result = search_result(outcome, first, second, next_search)?;
        let Fact::Found(found) = &result else { return Ok(result) };
        tracing::info!(
            pad = %self.state.pad.name, namespace = %self.state.pad.namespace, found = found.len(),
            "searched CoderPad's newest pads after an unconfirmed creation"
        );
        Ok(result)
    }

    async fn scan_pads(
        &self,
        reference: &Reference,
        since: Option<Timestamp>,
    ) -> Result<Vec<PadRecord>, PassError> {
        let interview = &self.account()?.interview;
        let (mut found, mut may_be_ours) = (Vec::new(), false);
        let mut next = None;
        for _ in 0..SEARCH_PAGES {
            let page = interview
                .organization_pads(next.as_ref(), PadSort::Created)
                .await
                .map_err(PassError::Service)?;
            let reached =
                page.pads.last().is_some_and(|oldest| since.is_some_and(|since| oldest.created_at < since));
            let installation = &self.state.ownership.installation;
            found.extend(page.pads.into_iter().filter(|record| is_searched(record, reference, installation)));
            may_be_ours |= page.left_out.iter().any(|row| may_be_searched(row.notes.as_deref(), reference));
            next = page.next;
            if (reached || next.is_none()) && found.is_empty() && may_be_ours {
                tracing::warn!(
                    pad = %self.state.pad.name, namespace = %self.state.pad.namespace,
                    "search for a pad is inconclusive: CoderPad's list has unreadable rows; will retry"
                );
                return Err(PassError::Cluster { message: UNREADABLE.into() });
            }
            if reached || next.is_none() {
                return Ok(found);
            }
        }
        Err(PassError::Cluster { message: "CoderPad's list of pads has no end".into() })
    }

    /// Stores the pad's ID. Retries after a conflict, because other changes of the Pad do not affect the pad's
    /// ownership.
    pub(super) async fn store(
        &mut self,
        record: &PadRecord,
        keep_finalizer: bool,
        departure: Option<SendDeadline>,
    ) -> Result<Fact, PassError> {
        let attempt = self.state.pad.attempt.clone();
        for _ in 0..STORE_TRIES {
            let change = pad_changes::store_pad(&self.pad, record, keep_finalizer);
            match self.write(change).await {
                Ok(()) => {
                    let is_new = self.made.as_ref() == Some(&record.id);
                    self.context.metrics.inc_pads_stored(if is_new {
                        Origin::Created
                    } else {
                        Origin::Adopted
                    });
                    if let Some(attempt) = &attempt {
                        self.in_flight(|requests| requests.forget(&attempt.to_string()));
                    }
                    // Nothing is in flight until the link is sent.
                    self.in_flight(|requests| requests.mark_not_sent(&record.id));
                    self.departure = departure;
                    return Ok(pad_changes::pad_stored(self.departure.is_some()));
                }
                Err(WriteError::Conflict { .. }) => {
                    let now = with_timeout(self.api().get_opt(&self.state.pad.name)).await;
                    let now = now.map_err(|error| PassError::Cluster { message: error.to_string() })?;
                    let Some(now) = now.filter(|now| now.uid() == self.pad.uid()) else {
                        return Err(cluster(WriteError::Gone));
                    };
                    self.refresh_stored(now);
                    let now = self.stored_pad();
                    match pad_changes::store_conflict(attempt.as_ref(), record, now) {
                        StoreConflict::Stored => {
                            let write_claim = observe::claimed(&self.key, now, self.context);
                            return Ok(Fact::PadStored { write_claim });
                        }
                        StoreConflict::Retry => {}
                        StoreConflict::Lost => return Err(PassError::Conflict),
                    }
                }
                Err(error) => return Err(cluster(error)),
            }
        }
        Err(PassError::Conflict)
    }

    /// Clears an attempt that certainly created no pad, or whose pad is deleted.
    pub(super) async fn clear_attempt(
        &mut self,
        change: MetadataChange,
        attempt: Option<CreateIntent>,
    ) -> Result<Fact, PassError> {
        self.write(change).await.map_err(cluster)?;
        if let (ConnectionState::Ready { name, .. }, Some(uid)) = (&self.state.connection, self.pad.uid()) {
            self.context.pad_budget.forget_intent(&self.state.pad.namespace, name, &uid);
        }
        if let Some(attempt) = &attempt {
            self.in_flight(|requests| requests.forget(&attempt.to_string()));
        }
        Ok(Fact::Done)
    }
}
