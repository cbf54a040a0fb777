//! Pads of other installations: they are never touched, and of two pads for one stage entry the later one yields
//! (contract, "Several installations").

use super::linked_pads::{MAX_LINKS_READ, linked_pad_id, serves};
use super::{connection_not_usable, rest};
use crate::command::{Command, Outcome};
use crate::state::{CandidateLookup, ConnectionState, PadLookup, PadState, StageEntry, StoredPad};
use api::configuration::Repeat;
use api::names::Reference;
use api::pad::Phase;
use api::reason::Reason;
use services::coderpad::PadRecord;
use services::lever::Opportunity;

/// Kinds of pad events that prove that a person joined.
const JOINED: [&str; 2] = ["joined", "started"];

/// Returns the other installation that a pad belongs to, or `None` if the pad counts as own.
pub(super) fn foreign<'a>(state: &PadState, record: &'a PadRecord) -> Option<&'a str> {
    state.ownership.installation.foreign(&record.notes)
}

/// Returns the outcome for a candidate whose pad was created by another installation (contract I4).
pub(super) fn owned(state: &PadState, id: &str) -> Command {
    let pad = &state.pad;
    let name = match &state.connection {
        ConnectionState::Ready { name, .. }
        | ConnectionState::Missing { name }
        | ConnectionState::Suspended { name }
        | ConnectionState::NotReady { name, .. } => name,
    };
    let message = format!(
        "Installation {id} of the operator, in another cluster or under another connection, has created the pad for this \
         stage entry. It is left unchanged, and no second one is created. To serve the account from here, see the condition \
         Exclusive: kubectl --namespace {} describe leverconnection {name}",
        pad.namespace
    );
    rest(Outcome::Skipped(Reason::OwnedByAnotherInstallation, message))
}

/// Returns the outcome if a linked pad of another installation serves the entry: no pad is created (contract I4).
pub(super) fn owner_of_serving_pad(
    state: &PadState,
    records: &[PadRecord],
    entry: &StageEntry,
    repeat: Repeat,
) -> Option<Command> {
    let serving = records.iter().filter(|record| serves(record, entry, repeat));
    serving.filter_map(|record| foreign(state, record)).next().map(|id| owned(state, id))
}

/// Returns the outcome for a Pad whose original connection no longer exists and whose present account lacks the
/// candidate or the pad. The account may be a different one, so nothing is concluded.
pub(crate) fn other_account(state: &PadState) -> Option<Command> {
    let former = state.ownership.former_connection.as_ref()?;
    let unknown = match (&state.opportunity, &state.record) {
        (CandidateLookup::NotFound, _) => "candidate",
        (_, PadLookup::NotFound) => "pad",
        _ => return None,
    };
    let StoredPad { namespace, name, configuration, .. } = &state.pad;
    let ConnectionState::Ready { name: present, .. } = &state.connection else { return None };
    let message = format!(
        "This Pad was created through LeverConnection {former}, which no longer exists, and PadConfiguration \
         {configuration} now belongs to LeverConnection {present}. {present} does not find this {unknown}: it was deleted, \
         or {present} is for another account. Create LeverConnection {former} again, or give this Pad up: kubectl \
         --namespace {namespace} delete pad {name}"
    );
    Some(rest(Outcome::Waiting(Reason::ConfigurationNotFound, message)))
}

/// Reports whether a Pad was skipped for an installation whose pads count as own by now (contract I6).
pub(super) fn is_released(state: &PadState) -> bool {
    let ownership = &state.ownership;
    state.pad.phase == Some(Phase::Skipped)
        && ownership.reported.as_ref().is_some_and(|id| ownership.installation.includes(id))
}

/// Decides which of two installations' pads stays (contract I5). `None`: this one stays.
///
/// The installation that adds the second link finds both in Lever's response; the other one finds it by sync.
pub(super) fn contest(state: &PadState) -> Option<Command> {
    let looks = compare_links(state)?;
    let id = state.pad.pad_id.as_ref()?;
    let opportunity = match &state.opportunity {
        CandidateLookup::NotRead if looks == LinkComparison::IfRead => return None,
        CandidateLookup::NotRead => return Some(Command::ReadOpportunity),
        CandidateLookup::Read(opportunity) => opportunity,
        CandidateLookup::NotFound | CandidateLookup::Refused => return None,
    };
    if let Some(step) = read_unknown(state, id, opportunity) {
        return Some(step);
    }
    let own = match &state.record {
        // Without a foreign pad there is nothing to compare.
        PadLookup::NotRead if !has_foreign(state) => return None,
        PadLookup::NotRead => return Some(Command::ReadPad(id.clone())),
        PadLookup::NotFound => return None,
        PadLookup::Read(own) => own,
    };
    let winner = earlier_rival(state, own)?;
    if own.is_started() {
        return None;
    }
    match has_joined(state) {
        None => Some(Command::ReadEvents(own.id.clone())),
        Some(true) => None,
        Some(false) => Some(Command::Yield(Some(winner.to_owned()))),
    }
}

/// Condition under which a linked pad is compared with others.
#[derive(Clone, Copy, Eq, PartialEq)]
enum LinkComparison {
    /// Sync found a foreign link: read the opportunity.
    Requested,
    /// The pad is about to be reported as Open: compare only if the opportunity was read anyway.
    IfRead,
}

fn compare_links(state: &PadState) -> Option<LinkComparison> {
    if state.ownership.look {
        return Some(LinkComparison::Requested);
    }
    let was_open = matches!(state.pad.phase, Some(Phase::Open | Phase::Started | Phase::Ended));
    (!was_open).then_some(LinkComparison::IfRead)
}

/// Returns the next command if our pad is not linked yet, but a pad of another installation for the same interview is
/// (contract I4). Ours yields even if it is older, because its link was never given to anyone.
pub(super) fn not_beside_another(state: &PadState, own: &PadRecord) -> Option<Command> {
    let CandidateLookup::Read(opportunity) = &state.opportunity else { return None };
    if own.is_started() {
        return None;
    }
    if let Some(step) = read_unknown(state, &own.id, opportunity) {
        return Some(step);
    }
    let linked = state.linked_before.iter().flatten();
    let rivals = linked.filter(|other| rules_each_other_out(state.repeat, own, other));
    let winner = rivals.filter_map(|record| foreign(state, record)).next()?;
    Some(Command::Yield(Some(winner.to_owned())))
}

/// Returns the next command until all pads behind the candidate's links, except our own, are read.
fn read_unknown(state: &PadState, own: &String, opportunity: &Opportunity) -> Option<Command> {
    let is_known = |one: &String| {
        one == own
            || state.ownership.links_read.contains(one)
            || state.others.iter().any(|other| other.pad_id.as_ref() == Some(one))
    };
    let links = opportunity.links.iter().rev().filter_map(|link| linked_pad_id(link, &state.connection));
    let unknown: Vec<String> = links.take(MAX_LINKS_READ).filter(|one| !is_known(one)).collect();
    (!unknown.is_empty()).then_some(Command::ReadLinkedPads(unknown))
}

fn has_foreign(state: &PadState) -> bool {
    state.linked_before.iter().flatten().any(|record| foreign(state, record).is_some())
}

/// Reports whether anyone has joined the pad; `None`: its events were not read.
fn has_joined(state: &PadState) -> Option<bool> {
    let events = state.events.as_ref()?;
    Some(events.iter().any(|event| JOINED.contains(&event.kind.as_str())))
}

/// Returns the installation of the earliest pad that was created before ours for the same interview.
fn earlier_rival<'a>(state: &'a PadState, own: &PadRecord) -> Option<&'a str> {
    if own.is_ended() || own.is_deleted() || foreign(state, own).is_some() {
        return None;
    }
    let age = |record: &PadRecord| (record.created_at, record.id.clone());
    let rivals = state
        .linked_before
        .iter()
        .flatten()
        .filter(|other| age(other) < age(own) && rules_each_other_out(state.repeat, own, other));
    let foreign = rivals.filter_map(|record| Some((age(record), foreign(state, record)?)));
    foreign.min().map(|(_, id)| id)
}

/// Reports whether only one of two pads may stay. The answer is the same for both installations.
fn rules_each_other_out(repeat: Option<Repeat>, own: &PadRecord, other: &PadRecord) -> bool {
    let (Some(mine), Some(theirs)) = (Reference::from_notes(&own.notes), Reference::from_notes(&other.notes))
    else {
        return false;
    };
    if other.is_deleted() || mine.series() != theirs.series() {
        return false;
    }
    let is_entry = |reference: &Reference| reference.entry().parse::<i64>().is_ok();
    let is_one_interview =
        || repeat != Some(Repeat::Always) && is_entry(&mine) && is_entry(&theirs) && !other.is_ended();
    mine == theirs || is_one_interview()
}

/// Returns the other installation for the status: the owner of the candidate's pad, or of the pad that ours yielded to.
/// `None`: this pass found none.
pub fn other_installation(state: &PadState) -> Option<String> {
    let ownership = &state.ownership;
    let of_record = || match &state.record {
        PadLookup::Read(record) => foreign(state, record),
        PadLookup::NotRead | PadLookup::NotFound => None,
    };
    let of_links = || state.linked_before.iter().flatten().find_map(|record| foreign(state, record));
    ownership.yields_to.as_deref().or_else(of_record).or_else(of_links).map(ToOwned::to_owned)
}

/// Returns the installation whose earlier pad stays next to ours, because somebody has joined ours (contract I5). The
/// outer `None`: this pass did not compare links.
pub fn stays_beside(state: &PadState) -> Option<Option<String>> {
    compare_links(state)?;
    let (PadLookup::Read(own), CandidateLookup::Read(_)) = (&state.record, &state.opportunity) else {
        return None;
    };
    Some(earlier_rival(state, own).map(ToOwned::to_owned))
}

/// Returns the next command for a Pad whose pad yields. The annotation is written before the first of them, so that a
/// new leader completes the removal. `None`: there is nothing to do.
pub(crate) fn yielding(state: &PadState) -> Option<Command> {
    let id = state.ownership.yields_to.as_ref()?;
    if state.pad.phase == Some(Phase::Skipped) {
        // The removal is complete. A new decision starts without the deleted pad.
        return (state.is_asked() || is_released(state)).then_some(Command::ClearPad);
    }
    if let Some(waiting) = connection_not_usable(state) {
        let is_open = matches!(state.pad.phase, Some(Phase::Open | Phase::Started));
        return Some(rest(if is_open { Outcome::Keep } else { waiting }));
    }
    Some(give_up(state).unwrap_or_else(|| match state.pad.finalizer {
        true => Command::SetFinalizer(false),
        false => owned(state, id),
    }))
}

/// Returns the next command that removes the link and deletes the pad. `None`: done.
pub(super) fn give_up(state: &PadState) -> Option<Command> {
    let pad_id = state.pad.pad_id.as_ref()?;
    let record = match &state.record {
        PadLookup::NotRead => return Some(Command::ReadPad(pad_id.clone())),
        PadLookup::Read(record) => Some(record),
        PadLookup::NotFound => None,
    };
    // Somebody has joined in the meantime: the pad stays.
    if record.is_some_and(|record| record.is_started() && !record.is_deleted()) {
        return Some(Command::Yield(None));
    }
    let opportunity = match &state.opportunity {
        CandidateLookup::NotRead => return Some(Command::ReadOpportunity),
        CandidateLookup::Read(opportunity) => Some(opportunity),
        CandidateLookup::NotFound | CandidateLookup::Refused => None,
    };
    let url = record.map(|record| &record.url).or(state.pad.url.as_ref());
    if let Some(url) = url.filter(|url| opportunity.is_some_and(|one| one.links.contains(url)))
        && !state.link_removed
    {
        return Some(Command::RemoveLink(url.clone()));
    }
    let record = record.filter(|record| !record.is_deleted() && !state.deleted.contains(&record.id))?;
    Some(Command::DeletePad(record.id.clone()))
}
