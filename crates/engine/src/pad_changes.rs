//! The changes to a Pad's metadata by which the commands record what they do (contract X3, X4, X9, I5). Pure.

use crate::event::Fact;
use crate::patch::MetadataChange;
use crate::state::{StoredPad, WriteClaim};
use api::Pad;
use api::installation::{self, Installation, REQUESTED_BY, RequestedBy, YIELDS_TO};
use api::names::{self, Claim, CreateIntent, FailedCreations, OnceOnlyWrite};
use kube::ResourceExt;
use services::coderpad::PadRecord;

/// Returns the change that records an attempt before its request is sent.
pub fn record_attempt(
    pad: &Pad,
    attempt: &CreateIntent,
    installation: &Installation,
    forget_failures: bool,
) -> MetadataChange {
    let change = MetadataChange::default()
        .annotate(names::ATTEMPT, attempt.to_string())
        .finalizer(names::FINALIZER, true);
    let change = with_requested_by(change, pad, installation.id());
    if forget_failures { without_failed_creations(change, pad) } else { change }
}

/// Removes the annotation [`names::FAILED_CREATIONS`], if the Pad has it.
fn without_failed_creations(change: MetadataChange, pad: &Pad) -> MetadataChange {
    match pad.annotations().contains_key(names::FAILED_CREATIONS) {
        true => change.remove_annotation(names::FAILED_CREATIONS),
        false => change,
    }
}

/// Returns the change that stores the ID of the pad. Of two processes that store the same ID, one fails, because the
/// other claims the link with it. A Pad that is being deleted keeps its finalizer until its pad is cleaned up.
pub fn store_pad(pad: &Pad, record: &PadRecord, keep_finalizer: bool) -> MetadataChange {
    let change = MetadataChange::default()
        .annotate(names::PAD_ID, &record.id)
        .finalizer(names::FINALIZER, keep_finalizer || pad.metadata.deletion_timestamp.is_some())
        .conflict_even_if_applied();
    let change = with_requested_by(change, pad, installation::from_notes(&record.notes));
    without_failed_creations(change, pad)
}

/// Adds the annotation [`REQUESTED_BY`] for a pad of this installation, unless the Pad has it.
fn with_requested_by(change: MetadataChange, pad: &Pad, installation: Option<&str>) -> MetadataChange {
    let (Some(installation), Some(uid)) = (installation, pad.metadata.uid.as_deref()) else { return change };
    let requested_by = RequestedBy { installation, uid }.to_string();
    if pad.annotations().get(REQUESTED_BY) == Some(&requested_by) {
        return change;
    }
    change.annotate(REQUESTED_BY, requested_by)
}

/// Returns the change that clears an attempt which certainly created no pad, or whose pad is deleted.
pub fn clear_attempt(pad: &StoredPad) -> MetadataChange {
    MetadataChange::default()
        .remove_annotation(names::ATTEMPT)
        .remove_annotation(REQUESTED_BY)
        .finalizer(names::FINALIZER, pad.must_remove_tag(pad.failed_tag.as_ref()))
}

/// Returns the change that clears an attempt which CoderPad answered with a server error and which created no pad. The
/// count is in the same write, so that it survives a restart.
pub fn count_failed_creation(pad: &StoredPad, failed: &FailedCreations) -> MetadataChange {
    clear_attempt(pad).annotate(names::FAILED_CREATIONS, failed.to_string())
}

/// Returns the change that claims a write to Lever. Until the link is written, the Pad must not disappear.
pub fn claim(claim: &Claim) -> MetadataChange {
    let change = MetadataChange::default().annotate(names::CLAIM, claim.to_string());
    match claim.effect {
        OnceOnlyWrite::Link => change.finalizer(names::FINALIZER, true),
        OnceOnlyWrite::Note => change,
    }
}

/// Returns the change that marks the pad as yielding to that of another installation. `None` removes the mark.
pub fn yields_to(installation: Option<&String>) -> MetadataChange {
    match installation {
        Some(id) => MetadataChange::default().annotate(YIELDS_TO, id).finalizer(names::FINALIZER, true),
        None => MetadataChange::default().remove_annotation(YIELDS_TO),
    }
}

/// Returns the change that removes everything about the pad that yielded.
pub fn clear_pad() -> MetadataChange {
    [names::ATTEMPT, names::PAD_ID, names::CLAIM, REQUESTED_BY, YIELDS_TO]
        .iter()
        .fold(MetadataChange::default(), |change, name| change.remove_annotation(name))
}

/// Returns the change that adds the finalizer, or removes it.
pub fn set_finalizer(present: bool) -> MetadataChange {
    MetadataChange::default().finalizer(names::FINALIZER, present)
}

/// Meaning of a conflict while the ID of a pad is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreConflict {
    /// The ID is stored already, by this process or another one, which may be about to add the link.
    Stored,
    /// The conflicting change does not affect the owner of the pad: the ID can be stored again.
    Retry,
    /// The Pad has another attempt or another pad.
    Lost,
}

/// Returns the meaning of a conflict. `attempt` is the one that the pass began with, `now` the current Pad.
pub fn store_conflict(attempt: Option<&CreateIntent>, record: &PadRecord, now: &StoredPad) -> StoreConflict {
    match &now.pad_id {
        _ if now.attempt.as_ref() != attempt => StoreConflict::Lost,
        Some(id) if *id == record.id => StoreConflict::Stored,
        Some(_) => StoreConflict::Lost,
        None => StoreConflict::Retry,
    }
}

/// Returns the event after the ID was stored: if the link is sent next, this process has claimed it.
pub fn pad_stored(claims_link: bool) -> Fact {
    let write_claim =
        if claims_link { WriteClaim::Owned(OnceOnlyWrite::Link) } else { WriteClaim::Unclaimed };
    Fact::PadStored { write_claim }
}
