//! The condition ServicesAsExpected: whether the answers of both services are as their documentation describes them.
//!
//! It is not part of Ready, because the operator continues. The message contains only first occurrences, so that it does
//! not change while a surprise repeats (contract S3); the metric counts.

use super::diagnosis::sentence;
use super::status::Services;
use api::condition::{Conditions, types};
use api::reason::ConnectionReason as Reason;
use http_client::{Surprise, SurpriseKind};

/// Maximum number of surprises that the message describes.
const MAX_DESCRIBED: usize = 3;

/// Sets ServicesAsExpected. Until the first probe, the condition stays as it is.
pub fn as_expected(conditions: &mut Conditions, services: Services<'_>, surprises: &[Surprise]) {
    const TYPE: &str = types::SERVICES_AS_EXPECTED;
    let Services::Probed(_) = services else {
        conditions.keep(TYPE);
        return;
    };
    match surprises.first() {
        None => {
            let message =
                "No answer of Lever or CoderPad Interview is known to differ from its documentation.";
            conditions.set(TYPE, true, Reason::AsExpected, message)
        }
        Some(most_important) => conditions.set(TYPE, false, reason(most_important.kind), message(surprises)),
    };
}

fn message(surprises: &[Surprise]) -> String {
    let mut parts: Vec<String> = surprises.iter().take(MAX_DESCRIBED).map(description).collect();
    let mut others: Vec<&str> =
        surprises.iter().skip(MAX_DESCRIBED).map(|other| reason(other.kind).as_str()).collect();
    // Both services may have one of the same kind.
    others.dedup();
    if !others.is_empty() {
        parts.push(format!("Also: {}.", others.join(", ")));
    }
    parts.join(" ")
}

/// Returns what was seen first, what it means, and what to do.
fn description(surprise: &Surprise) -> String {
    let Surprise { kind, service, operation, place, word, at } = surprise;
    let word = word.as_ref().map(|word| format!(", \"{word}\"")).unwrap_or_default();
    format!(
        "{} (first at {at:.0}: {operation}, {place}{word}). {}",
        finding(*kind).replace("{service}", &service.to_string()),
        sentence(advice(*kind))
    )
}

fn reason(kind: SurpriseKind) -> Reason {
    match kind {
        SurpriseKind::WaitingRoomNotReturned => Reason::WaitingRoomNotReturned,
        SurpriseKind::NotesNotReturned => Reason::NotesNotReturned,
        SurpriseKind::OwnerNotReturned => Reason::OwnerNotReturned,
        SurpriseKind::UnknownType => Reason::UnknownType,
        SurpriseKind::UnknownState => Reason::UnknownState,
        SurpriseKind::StageChangesMissing => Reason::StageChangesMissing,
        SurpriseKind::ListIncomplete => Reason::ListIncomplete,
        SurpriseKind::RowsLeftOut => Reason::RowsLeftOut,
        SurpriseKind::AnswerUnreadable => Reason::AnswerUnreadable,
        SurpriseKind::ForeignAnswer => Reason::ForeignAnswer,
        SurpriseKind::UnknownEventKind => Reason::UnknownEventKind,
        SurpriseKind::MembersDropped => Reason::MembersDropped,
    }
}

fn finding(kind: SurpriseKind) -> &'static str {
    match kind {
        SurpriseKind::WaitingRoomNotReturned => {
            "CoderPad created a pad without the requested waiting room setting"
        }
        SurpriseKind::NotesNotReturned => {
            "CoderPad did not return the private notes of a new pad as they were sent"
        }
        SurpriseKind::OwnerNotReturned => "CoderPad created a pad without the requested owner",
        SurpriseKind::UnknownType => "CoderPad returned a type of pad that this version does not know",
        SurpriseKind::UnknownState => "CoderPad returned a state of a pad that this version does not know",
        SurpriseKind::StageChangesMissing => "Lever returned a candidate without stage changes",
        SurpriseKind::ListIncomplete => {
            "CoderPad's list of pads lacks a value that CoderPad returned for the single pad"
        }
        SurpriseKind::RowsLeftOut => "{service} returned rows that cannot be read and were left out",
        SurpriseKind::AnswerUnreadable => "{service} sent an answer that cannot be read as a whole",
        SurpriseKind::ForeignAnswer => "An answer did not come from the API of {service}",
        SurpriseKind::UnknownEventKind => "CoderPad returned a kind of event that this version does not know",
        SurpriseKind::MembersDropped => "{service} returned values that cannot be read and were dropped",
    }
}

/// Returns what a surprise means for the user, and what to do.
fn advice(kind: SurpriseKind) -> &'static str {
    match kind {
        SurpriseKind::WaitingRoomNotReturned => {
            "Candidates may enter a pad without admission, or wait for it: set the waiting room of the new pads in \
             CoderPad, or remove spec.waitingRoom from the PadConfiguration"
        }
        SurpriseKind::NotesNotReturned => {
            "The operator finds its pads by these notes, so it may not find a pad whose creation was not confirmed: if a \
             Pad reports CreateOutcomeUnknown, search CoderPad for its pad before you retry"
        }
        SurpriseKind::OwnerNotReturned => {
            "The pads belong to another user than spec.ownerEmail of the PadConfiguration: change the owner in CoderPad, \
             and use the API key of an organization owner"
        }
        SurpriseKind::UnknownType => {
            "The operator does not link such a pad where a take-home was requested: upgrade the operator, or report the \
             word to its developers"
        }
        SurpriseKind::UnknownState => {
            "The operator treats such a pad as neither started nor ended, so it may miss the end of an interview: end it \
             with kubectl pad end, then upgrade the operator or report the word to its developers"
        }
        SurpriseKind::StageChangesMissing => {
            "The operator uses the creation of the candidate as the time of the stage entry, so a candidate who enters the \
             stage again may get no further pad: create the pad with kubectl pad create, and ask Lever whether the API \
             key may read stage changes"
        }
        SurpriseKind::ListIncomplete => {
            "The operator may not find a pad whose creation was not confirmed, and may see the end of an interview late: \
             if a Pad reports CreateOutcomeUnknown, search CoderPad for its pad before you retry"
        }
        SurpriseKind::RowsLeftOut => {
            "The candidates or pads in these rows are not processed: find them with the path in the operator's log, and \
             report the rows to the service"
        }
        SurpriseKind::AnswerUnreadable => {
            "The request counts as failed and is retried: check the URL of the service in the spec, and upgrade the \
             operator"
        }
        SurpriseKind::ForeignAnswer => {
            "A proxy, firewall or login page on the way may have sent it; the request counts as failed and is retried, and \
             the API key is not the cause: check the network path from the cluster to the service"
        }
        SurpriseKind::UnknownEventKind => {
            "The operator ignores such events and takes the times of the interview from the others. No action needed"
        }
        SurpriseKind::MembersDropped => {
            "The operator uses the rest, so tags, links, participants or times may be incomplete: find the object with the \
             path in the operator's log, and correct the value in the service"
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::controller::connection::probe_schedule::ProbeResult;
    use api::condition::{Condition, Status, find};
    use http_client::Service;
    use jiff::Timestamp;

    pub fn surprise(kind: SurpriseKind, service: Service) -> Surprise {
        let (operation, place) = match kind {
            SurpriseKind::ForeignAnswer => ("GET /stages", "status 403"),
            _ => ("GET /organization/pads", "pads[3].member"),
        };
        let is_word = [SurpriseKind::UnknownType, SurpriseKind::UnknownState, SurpriseKind::UnknownEventKind]
            .contains(&kind);
        Surprise {
            kind,
            service,
            operation,
            place: place.into(),
            word: is_word.then(|| "paused".into()),
            at: Timestamp::from_millisecond(1_700_000_000_789).unwrap(),
        }
    }

    pub fn conditions(surprises: &[Surprise]) -> Vec<Condition> {
        let mut conditions = Conditions::new(&[], 1, Timestamp::from_second(1_700_000_000).unwrap());
        as_expected(&mut conditions, Services::Probed(&ProbeResult::default()), surprises);
        conditions.finish()
    }

    #[test]
    fn the_most_important_surprise_is_the_reason_and_three_are_described() {
        assert_eq!(conditions(&[])[0].status, Status::True);
        for kind in SurpriseKind::ALL {
            let only = &conditions(&[surprise(*kind, Service::Lever)])[0];
            assert_eq!((only.status, only.reason.as_str()), (Status::False, format!("{kind:?}").as_str()));
            assert!(!only.message.contains('{') && only.message.ends_with('.'), "{}", only.message);
        }
        let all: Vec<Surprise> =
            SurpriseKind::ALL.iter().map(|kind| surprise(*kind, Service::Interview)).collect();
        let all = &conditions(&all)[0];
        assert_eq!(all.reason, "WaitingRoomNotReturned");
        assert_eq!(all.message.matches("first at").count(), MAX_DESCRIBED);
        assert!(all.message.ends_with("UnknownEventKind, MembersDropped."), "{}", all.message);
    }

    #[test]
    fn only_a_probe_decides() {
        let before = conditions(&[surprise(SurpriseKind::RowsLeftOut, Service::Lever)]);
        for (before, kept) in [(&[][..], None), (&before[..], Some(before[0].clone()))] {
            for services in [Services::Suspended, Services::Connecting] {
                let mut conditions = Conditions::new(before, 1, Timestamp::now());
                as_expected(&mut conditions, services, &[]);
                assert_eq!(find(&conditions.finish(), types::SERVICES_AS_EXPECTED), kept.as_ref());
            }
        }
    }
}
