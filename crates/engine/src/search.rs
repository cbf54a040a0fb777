//! Search for the pad of an attempt in CoderPad's list of the newest pads (contract X5).

use crate::event::Fact;
use crate::state::{CreateOutcome, PassError};
use api::installation::Installation;
use api::names::Reference;
use services::coderpad::PadRecord;
use std::time::Duration;

/// Reports whether a listed pad is the searched one. A pad of another installation never is (contract I3).
pub fn is_searched(record: &PadRecord, reference: &Reference, installation: &Installation) -> bool {
    installation.foreign(&record.notes).is_none()
        && !record.is_deleted()
        && Reference::from_notes(&record.notes).as_ref() == Some(reference)
}

/// Reports whether an unreadable row of the list may be the searched pad. Readable notes without the reference exclude
/// it.
pub fn may_be_searched(notes: Option<&str>, reference: &Reference) -> bool {
    notes.is_none_or(|notes| Reference::from_notes(notes).as_ref() == Some(reference))
}

/// Reports whether a search needs a second scan: only if its result is conclusive. A pad that is found while the
/// request may be in flight is adopted immediately (contract X5a).
pub fn needs_second_scan(outcome: &CreateOutcome) -> bool {
    !matches!(outcome, CreateOutcome::InFlight { .. })
}

/// Returns the event of a search. "There is none" requires two scans that agree, after no request can be in flight
/// (contract X5b). `next_search` returns the delay before the next search.
pub fn search_result(
    outcome: &CreateOutcome,
    first: Vec<PadRecord>,
    second: Option<Vec<PadRecord>>,
    next_search: impl FnOnce() -> Duration,
) -> Result<Fact, PassError> {
    let found = match second {
        Some(second) => merge_scans(first, second).ok_or_else(|| PassError::Cluster {
            message: "two scans of CoderPad's pads did not agree".into(),
        })?,
        None => merge_scans(first.clone(), first).unwrap_or_default(),
    };
    match outcome {
        CreateOutcome::InFlight { rest, .. } if found.is_empty() => {
            Ok(Fact::NotFoundYet(CreateOutcome::InFlight { rest: *rest, search_in: next_search() }))
        }
        _ => Ok(Fact::Found(found)),
    }
}

/// Returns the common result of two scans of CoderPad's newest pads, oldest first; `None` if they do not agree.
fn merge_scans(mut first: Vec<PadRecord>, mut second: Vec<PadRecord>) -> Option<Vec<PadRecord>> {
    for scan in [&mut first, &mut second] {
        scan.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        scan.dedup_by(|a, b| a.id == b.id);
    }
    let ids = |scan: &[PadRecord]| scan.iter().map(|record| record.id.clone()).collect::<Vec<_>>();
    (ids(&first) == ids(&second)).then_some(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::names::Series;
    use rstest::rstest;
    use serde_json::json;

    fn reference(entry: i64) -> Reference {
        Reference::new(Series::new("hiring", "phone", "op-1"), entry)
    }

    fn installation(id: &str) -> Installation {
        Installation::new(Some(id.to_owned()), [])
    }

    fn record(state: &str, entry: i64, id: &str) -> PadRecord {
        PadRecord::from_json(&json!({
            "status": "OK", "id": "PAD1", "title": "t", "state": state, "type": "live",
            "url": "https://app.coderpad.io/PAD1", "playback": null, "created_at": "2026-03-01T12:00:00Z",
            "ended_at": null, "notes": installation(id).sign(&reference(entry).notes("https://example.com")),
        }))
        .unwrap()
    }

    #[rstest]
    #[case::own(record("pending", 7, "0123456789abcdef"), true)]
    #[case::of_another_entry(record("pending", 8, "0123456789abcdef"), false)]
    #[case::deleted(record("deleted", 7, "0123456789abcdef"), false)]
    #[case::of_another_installation(record("pending", 7, "fedcba9876543210"), false)]
    fn the_searched_pad_has_the_reference_and_the_installation(
        #[case] record: PadRecord,
        #[case] expected: bool,
    ) {
        assert_eq!(is_searched(&record, &reference(7), &installation("0123456789abcdef")), expected);
    }

    fn listed(id: &str, second: u8) -> PadRecord {
        let mut record = record("pending", 7, "0123456789abcdef");
        record.id = id.into();
        record.created_at = format!("2026-03-01T12:00:{second:02}Z").parse().unwrap();
        record
    }

    /// contract X5b
    #[test]
    fn only_two_scans_that_agree_are_conclusive() {
        let (old, new) = (listed("OLD", 1), listed("NEW", 2));
        let ids = |first: &[&PadRecord], second: Option<&[&PadRecord]>| {
            let owned = |scan: &[&PadRecord]| scan.iter().map(|record| (*record).clone()).collect::<Vec<_>>();
            let outcome = match second {
                Some(_) => CreateOutcome::Completed,
                None => CreateOutcome::InFlight { rest: Duration::from_secs(9), search_in: Duration::ZERO },
            };
            assert_eq!(needs_second_scan(&outcome), second.is_some());
            match search_result(&outcome, owned(first), second.map(owned), || Duration::from_secs(2)) {
                Ok(Fact::Found(found)) => {
                    found.iter().map(|record| record.id.as_str()).collect::<Vec<_>>().join(" ")
                }
                Ok(Fact::NotFoundYet(CreateOutcome::InFlight { rest, search_in })) => {
                    format!("again in {search_in:?}, until {rest:?}")
                }
                Err(PassError::Cluster { .. }) => "no agreement".into(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ids(&[], None), "again in 2s, until 9s");
        assert_eq!(ids(&[&new, &old, &new], None), "OLD NEW");
        assert_eq!(ids(&[], Some(&[])), "");
        assert_eq!(ids(&[&new, &old], Some(&[&old, &new])), "OLD NEW");
        assert_eq!(ids(&[&old], Some(&[&new, &old])), "no agreement");
    }

    #[rstest]
    #[case::unreadable_notes(None, true)]
    #[case::same_reference(Some(reference(7).notes("https://example.com")), true)]
    #[case::another_reference(Some(reference(8).notes("https://example.com")), false)]
    #[case::no_reference(Some("text".to_owned()), false)]
    fn an_unreadable_row_may_be_the_searched_pad(#[case] notes: Option<String>, #[case] expected: bool) {
        assert_eq!(may_be_searched(notes.as_deref(), &reference(7)), expected);
    }
}
