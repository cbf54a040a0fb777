//! Search for the pad of an attempt in CoderPad's list of the newest pads (contract X5).

use api::installation::Installation;
use api::names::Reference;
use services::coderpad::PadRecord;

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

    #[rstest]
    #[case::unreadable_notes(None, true)]
    #[case::same_reference(Some(reference(7).notes("https://example.com")), true)]
    #[case::another_reference(Some(reference(8).notes("https://example.com")), false)]
    #[case::no_reference(Some("text".to_owned()), false)]
    fn an_unreadable_row_may_be_the_searched_pad(#[case] notes: Option<String>, #[case] expected: bool) {
        assert_eq!(may_be_searched(notes.as_deref(), &reference(7)), expected);
    }
}
