//! Whom Lever has deleted or anonymized: the Pads that name them are asked for a look, and name nobody afterwards
//! (contract, "Until the end and after").
//!
//! Two lists tell it, however many Pads there are: the deleted opportunities, and those that have changed, among them the
//! anonymized. Where no Pad names anybody neither is walked over.

use super::lever;
use super::rules::OVERLAP;
use super::{Marks, Session, SyncError};
use crate::api::Pad;
use crate::controller::pad::looks::What;
use crate::transport::Class;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use std::collections::HashSet;
use std::sync::Arc;

/// The first walk of a process reaches back so much further than the last sync that is known of: it may not have got to
/// its end.
const MARGIN: SignedDuration = SignedDuration::from_hours(24);

/// Asks the Pads that name somebody who is gone for a look.
pub async fn walk(session: &Session<'_>, marks: &mut Marks) -> Result<(), SyncError> {
    let named = session.context.scope.pads.matching(&session.namespace, |pad| names_somebody(session, pad));
    let made_at = |pad: &Arc<Pad>| pad.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let Some(oldest) = named.iter().filter_map(made_at).min() else {
        (marks.deleted, marks.anonymized) = (None, None);
        return Ok(());
    };
    let synced_at = session.connection.status.as_ref().and_then(|status| status.last_sync_at);
    let first = synced_at.map_or(oldest, |at| oldest.max(at - MARGIN));
    let (now, from) = (Timestamp::now(), |mark: Option<Timestamp>| mark.unwrap_or(first) - OVERLAP);

    let deleted = lever::deleted_since(session, from(marks.deleted).as_millisecond()).await;
    match deleted {
        Ok((ids, is_whole)) => {
            want(session, &named, ids);
            marks.deleted = if is_whole { Some(now) } else { marks.deleted };
        }
        // All else works without this permission: the connection stays as it is.
        Err(SyncError::Service(error)) if error.class == Class::Forbidden => {
            let (namespace, connection) = (&session.namespace, session.connection.name_any());
            tracing::warn!(%namespace, connection, operation = error.operation, "the Lever API key lacks a permission: Pads go on naming candidates who were deleted in Lever. Use a key with all read and write permissions");
        }
        Err(error) => return Err(error),
    }
    let (ids, is_whole) = lever::anonymized_since(session, from(marks.anonymized).as_millisecond()).await?;
    want(session, &named, ids);
    marks.anonymized = if is_whole { Some(now) } else { marks.anonymized };
    Ok(())
}

fn want(session: &Session<'_>, named: &[Arc<Pad>], gone: Vec<String>) {
    let gone: HashSet<String> = gone.into_iter().collect();
    for pad in named.iter().filter(|pad| gone.contains(&pad.spec.opportunity_id)) {
        session.want(pad, What::Gone);
    }
}

/// Whether a Pad of the connection has a name in its status. It may be the last trace of its configuration.
fn names_somebody(session: &Session<'_>, pad: &Pad) -> bool {
    let names = |one: &str| one == pad.spec.configuration_ref.name;
    // A Pad may name a connection that was renamed since.
    let is_ours = pad.spec.connection_ref.as_ref() == Some(&session.connection.reference())
        || session.configurations.iter().any(|one| names(&one.name_any()));
    let holds = |status: &crate::api::pad::PadStatus| {
        status.candidate.is_some() || status.candidate_url.is_some() || !status.participants.is_empty()
    };
    is_ours && pad.status.as_ref().is_some_and(holds)
}
