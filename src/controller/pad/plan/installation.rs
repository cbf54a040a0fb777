//! Pads of other installations: none of them is touched, and of two pads for one stage entry the later one gives way
//! (contract, "Several installations").

use super::eligibility::{linked_pad_id, serves};
use super::{Outcome, Step, connection_not_usable, rest};
use crate::api::configuration::Repeat;
use crate::api::names::Reference;
use crate::api::pad::Phase;
use crate::coderpad::PadRecord;
use crate::controller::pad::reason::Reason;
use crate::controller::pad::state::{Candidate, ConnectionFacts, Entry, Facts, PadFacts, Record};
use crate::lever::Opportunity;

/// Kinds of events by which a person has been in a pad.
const JOINED: [&str; 2] = ["joined", "started"];

/// The other installation that a pad belongs to; None: it counts as own.
pub(super) fn foreign<'a>(facts: &Facts, record: &'a PadRecord) -> Option<&'a str> {
    facts.ownership.installation.foreign(&record.notes)
}

/// The candidate gets no pad, because another installation has created it (contract I4).
pub(super) fn owned(facts: &Facts, id: &str) -> Step {
    let pad = &facts.pad;
    let name = match &facts.connection {
        ConnectionFacts::Ready { name, .. }
        | ConnectionFacts::Missing { name }
        | ConnectionFacts::Suspended { name }
        | ConnectionFacts::NotReady { name, .. } => name,
    };
    let message = format!(
        "Installation {id} of the operator, in another cluster or under another connection, has created the pad for this \
         stage entry. It is left alone, and no second one is created. To serve the account from here: see the condition \
         Exclusive, with kubectl --namespace {} describe leverconnection {name}",
        pad.namespace
    );
    rest(Outcome::Skipped(Reason::OwnedByAnotherInstallation, message))
}

/// The next step if a linked pad of another installation serves the entry already: none is created (contract I4).
pub(super) fn served_elsewhere(
    facts: &Facts,
    records: &[PadRecord],
    entry: &Entry,
    repeat: Repeat,
) -> Option<Step> {
    let serving = records.iter().filter(|record| serves(record, entry, repeat));
    serving.filter_map(|record| foreign(facts, record)).next().map(|id| owned(facts, id))
}

/// The Pad continues through another connection than it was created through, which is gone, and the present account does
/// not know the candidate or the pad. It may be another account, so nothing is concluded.
pub(super) fn other_account(facts: &Facts) -> Option<Step> {
    let former = facts.ownership.former_connection.as_ref()?;
    let unknown = match (&facts.opportunity, &facts.record) {
        (Candidate::NotFound, _) => "candidate",
        (_, Record::NotFound) => "pad",
        _ => return None,
    };
    let PadFacts { namespace, name, configuration, .. } = &facts.pad;
    let ConnectionFacts::Ready { name: present, .. } = &facts.connection else { return None };
    let message = format!(
        "This Pad was created through LeverConnection {former}, which does not exist any more, and PadConfiguration \
         {configuration} now belongs to LeverConnection {present}. {present} does not find this {unknown}: it was deleted, \
         or {present} is for another account. Create LeverConnection {former} again, or give this Pad up: kubectl \
         --namespace {namespace} delete pad {name}"
    );
    Some(rest(Outcome::Waiting(Reason::ConfigurationNotFound, message)))
}

/// Reports whether a Pad was skipped for an installation whose pads count as own by now (contract I6).
pub(super) fn is_released(facts: &Facts) -> bool {
    let ownership = &facts.ownership;
    facts.pad.phase == Some(Phase::Skipped)
        && ownership.reported.as_ref().is_some_and(|id| ownership.installation.includes(id))
}

/// Two installations may have created a pad at the same time: the next step until it is known, and done, which one stays
/// (contract I5). None: this one stays.
///
/// Whoever adds the second link sees both in Lever's answer. Whoever added the first learns of the second by sync.
pub(super) fn contest(facts: &Facts) -> Option<Step> {
    let looks = looks(facts)?;
    let id = facts.pad.pad_id.as_ref()?;
    let opportunity = match &facts.opportunity {
        Candidate::NotRead if looks == Looks::WhereRead => return None,
        Candidate::NotRead => return Some(Step::ReadOpportunity),
        Candidate::Read(opportunity) => opportunity,
        Candidate::NotFound | Candidate::Refused => return None,
    };
    if let Some(step) = read_unknown(facts, id, opportunity) {
        return Some(step);
    }
    let own = match &facts.record {
        // Without a foreign pad there is nothing to compare.
        Record::NotRead if !has_foreign(facts) => return None,
        Record::NotRead => return Some(Step::ReadPad(id.clone())),
        Record::NotFound => return None,
        Record::Read(own) => own,
    };
    let winner = earlier_rival(facts, own)?;
    if own.is_started() {
        return None;
    }
    match has_joined(facts) {
        None => Some(Step::ReadEvents(own.id.clone())),
        Some(true) => None,
        Some(false) => Some(Step::Yield(Some(winner.to_owned()))),
    }
}

/// When a linked pad is compared with others.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Looks {
    /// Sync found a link of somebody else: the opportunity is read for it.
    Asked,
    /// The pad is about to be called Open, and the opportunity may have been read.
    WhereRead,
}

fn looks(facts: &Facts) -> Option<Looks> {
    if facts.ownership.look {
        return Some(Looks::Asked);
    }
    let was_open = matches!(facts.pad.phase, Some(Phase::Open | Phase::Started | Phase::Ended));
    (!was_open).then_some(Looks::WhereRead)
}

/// Our pad is not linked yet: the next step if a pad of another installation, for what ours was created for, is linked
/// (contract I4). Ours gives way, also if it is older: nobody has been given its link.
pub(super) fn not_beside_another(facts: &Facts, own: &PadRecord) -> Option<Step> {
    let Candidate::Read(opportunity) = &facts.opportunity else { return None };
    if own.is_started() {
        return None;
    }
    if let Some(step) = read_unknown(facts, &own.id, opportunity) {
        return Some(step);
    }
    let linked = facts.linked_before.iter().flatten();
    let rivals = linked.filter(|other| rules_each_other_out(facts.repeat, own, other));
    let winner = rivals.filter_map(|record| foreign(facts, record)).next()?;
    Some(Step::Yield(Some(winner.to_owned())))
}

/// The next step until all pads behind the candidate's links are known, but for our own.
fn read_unknown(facts: &Facts, own: &String, opportunity: &Opportunity) -> Option<Step> {
    let is_known = |one: &String| {
        one == own
            || facts.ownership.links_read.contains(one)
            || facts.others.iter().any(|other| other.pad_id.as_ref() == Some(one))
    };
    let links = opportunity.links.iter().filter_map(|link| linked_pad_id(link, &facts.connection));
    let unknown: Vec<String> = links.filter(|one| !is_known(one)).collect();
    (!unknown.is_empty()).then_some(Step::ReadLinkedPads(unknown))
}

fn has_foreign(facts: &Facts) -> bool {
    facts.linked_before.iter().flatten().any(|record| foreign(facts, record).is_some())
}

/// Whether anybody has been in the pad; None: its events were not read.
fn has_joined(facts: &Facts) -> Option<bool> {
    let events = facts.events.as_ref()?;
    Some(events.iter().any(|event| JOINED.contains(&event.kind.as_str())))
}

/// The installation of the earliest pad that was created before ours for what ours was created for.
fn earlier_rival<'a>(facts: &'a Facts, own: &PadRecord) -> Option<&'a str> {
    if own.is_ended() || own.is_deleted() || foreign(facts, own).is_some() {
        return None;
    }
    let age = |record: &PadRecord| (record.created_at, record.id.clone());
    let rivals = facts
        .linked_before
        .iter()
        .flatten()
        .filter(|other| age(other) < age(own) && rules_each_other_out(facts.repeat, own, other));
    let foreign = rivals.filter_map(|record| Some((age(record), foreign(facts, record)?)));
    foreign.min().map(|(_, id)| id)
}

/// Whether only one of two pads may stay. The answer is the same for both of their installations.
fn rules_each_other_out(repeat: Option<Repeat>, own: &PadRecord, other: &PadRecord) -> bool {
    let (Some(mine), Some(theirs)) = (Reference::of_notes(&own.notes), Reference::of_notes(&other.notes))
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

/// The other installation that a status names: that of the pad which this Pad's candidate has, or which it gave way to.
/// None: there is none, as far as this pass has looked.
pub fn other_installation(facts: &Facts) -> Option<String> {
    let ownership = &facts.ownership;
    let of_record = || match &facts.record {
        Record::Read(record) => foreign(facts, record),
        Record::NotRead | Record::NotFound => None,
    };
    let of_links = || facts.linked_before.iter().flatten().find_map(|record| foreign(facts, record));
    ownership.yields_to.as_deref().or_else(of_record).or_else(of_links).map(ToOwned::to_owned)
}

/// The installation whose earlier pad stays next to ours, because somebody has joined ours (contract I5). The outer None:
/// this pass has not looked.
pub fn stays_beside(facts: &Facts) -> Option<Option<String>> {
    looks(facts)?;
    let (Record::Read(own), Candidate::Read(_)) = (&facts.record, &facts.opportunity) else { return None };
    Some(earlier_rival(facts, own).map(ToOwned::to_owned))
}

/// The next step of a Pad whose pad gives way. The annotation that says so was written before the first of them, so that
/// whoever leads next completes them. None: there is nothing to do about that.
pub(super) fn yielding(facts: &Facts) -> Option<Step> {
    let id = facts.ownership.yields_to.as_ref()?;
    if facts.pad.phase == Some(Phase::Skipped) {
        // It is completed. A new judgement begins without the pad that is gone.
        return (facts.is_asked() || is_released(facts)).then_some(Step::ForgetPad);
    }
    if let Some(waiting) = connection_not_usable(facts) {
        let is_open = matches!(facts.pad.phase, Some(Phase::Open | Phase::Started));
        return Some(rest(if is_open { Outcome::Unchanged } else { waiting }));
    }
    Some(give_up(facts).unwrap_or_else(|| match facts.pad.finalizer {
        true => Step::SetFinalizer(false),
        false => owned(facts, id),
    }))
}

/// Removes the link and deletes the pad. None: that is done.
pub(super) fn give_up(facts: &Facts) -> Option<Step> {
    let pad_id = facts.pad.pad_id.as_ref()?;
    let record = match &facts.record {
        Record::NotRead => return Some(Step::ReadPad(pad_id.clone())),
        Record::Read(record) => Some(record),
        Record::NotFound => None,
    };
    // Somebody was faster: the pad stays.
    if record.is_some_and(|record| record.is_started() && !record.is_deleted()) {
        return Some(Step::Yield(None));
    }
    let opportunity = match &facts.opportunity {
        Candidate::NotRead => return Some(Step::ReadOpportunity),
        Candidate::Read(opportunity) => Some(opportunity),
        Candidate::NotFound | Candidate::Refused => None,
    };
    let url = record.map(|record| &record.url).or(facts.pad.url.as_ref());
    if let Some(url) = url.filter(|url| opportunity.is_some_and(|one| one.links.contains(url)))
        && !facts.link_removed
    {
        return Some(Step::RemoveLink(url.clone()));
    }
    let record = record.filter(|record| !record.is_deleted() && !facts.deleted.contains(&record.id))?;
    Some(Step::DeletePad(record.id.clone()))
}
