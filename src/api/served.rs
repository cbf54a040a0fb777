//! The stage entries that need no further pad, as a PadConfiguration's status stores them.
//!
//! Pads and links can be deleted by people, and both are memory of "this entry had its pad". This one outlives them
//! (contract P9). It stores a fingerprint for each entry, sorted, so that a lookup needs no parsing.

use super::names::sha256_hex;
use jiff::Timestamp;
use std::collections::{BTreeSet, HashSet};

/// Hexadecimal digits of a fingerprint: with 20,000 entries, one lookup in ten billion finds a wrong one.
const DIGITS: usize = 12;
/// Most entries that are stored: the bound of the schema.
const MAX_ENTRIES: usize = 20_000;
/// Entries that are kept although a complete scan did not find their candidates: a tag that is removed and added again
/// does not make an entry a new one.
const MAX_ABSENT: usize = 1_000;

/// The fingerprint of one stage entry of one candidate.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The entry of an opportunity into the stage of the configuration.
    pub fn new(opportunity_id: &str, entry: Timestamp) -> Self {
        Self(sha256_hex(&format!("{opportunity_id}/{}", entry.as_millisecond()), DIGITS))
    }

    /// The same, of a candidate who was there before the rule took effect: another rule has other such candidates.
    pub fn existing(opportunity_id: &str, entry: Timestamp, since: Timestamp) -> Self {
        let (entry, since) = (entry.as_millisecond(), since.as_millisecond());
        Self(sha256_hex(&format!("{opportunity_id}/{entry}/{since}"), DIGITS))
    }

    /// Whether `entries`, as stored, contain it.
    pub fn is_in(&self, entries: Option<&str>) -> bool {
        let entries = entries.unwrap_or_default().as_bytes();
        let (mut low, mut high) = (0, entries.len() / DIGITS);
        while low < high {
            let middle = low.midpoint(high);
            match entries.get(middle * DIGITS..(middle + 1) * DIGITS) {
                Some(found) if found == self.0.as_bytes() => return true,
                Some(found) if found < self.0.as_bytes() => low = middle + 1,
                _ => high = middle,
            }
        }
        false
    }
}

/// Whether an entry is served, under a rule that took effect at `since`.
pub fn contains(
    entries: Option<&str>,
    opportunity_id: &str,
    entry: Timestamp,
    since: Option<Timestamp>,
) -> bool {
    entries.is_some()
        && (Fingerprint::new(opportunity_id, entry).is_in(entries)
            || since.is_some_and(|since| Fingerprint::existing(opportunity_id, entry, since).is_in(entries)))
}

/// Adds entries to those that are stored. Returns what is to be stored.
pub fn add(entries: Option<&str>, added: impl IntoIterator<Item = Fingerprint>) -> Option<String> {
    let mut all = parse(entries);
    all.extend(added);
    text(all)
}

/// What is stored after a complete scan: `served` are the entries of the present candidates that are served. Entries of
/// candidates who were not found are dropped once they are many.
pub fn after_scan(
    entries: Option<&str>,
    present: &HashSet<Fingerprint>,
    served: impl IntoIterator<Item = Fingerprint>,
) -> Option<String> {
    let mut all = parse(entries);
    let absent = all.iter().filter(|one| !present.contains(*one)).count();
    if absent > MAX_ABSENT {
        all.retain(|one| present.contains(one));
    }
    all.extend(served);
    text(all)
}

fn parse(entries: Option<&str>) -> BTreeSet<Fingerprint> {
    let chunks = entries.unwrap_or_default().as_bytes().chunks_exact(DIGITS);
    chunks.filter_map(|chunk| Some(Fingerprint(std::str::from_utf8(chunk).ok()?.to_owned()))).collect()
}

fn text(entries: BTreeSet<Fingerprint>) -> Option<String> {
    if entries.len() > MAX_ENTRIES {
        tracing::warn!(
            entries = entries.len(),
            limit = MAX_ENTRIES,
            "too many served stage entries to store"
        );
    }
    let text: String = entries.into_iter().take(MAX_ENTRIES).map(|one| one.0).collect();
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: i64) -> Fingerprint {
        Fingerprint::new("op-1", Timestamp::from_millisecond(n).unwrap())
    }

    #[test]
    fn an_entry_is_found_after_it_was_added() {
        assert_eq!(add(None, []), None);
        let mut stored = None;
        for n in 0..100 {
            assert!(!entry(n).is_in(stored.as_deref()), "{n}");
            stored = add(stored.as_deref(), [entry(n)]);
            assert!((0..=n).all(|n| entry(n).is_in(stored.as_deref())), "{n}");
        }
        assert_eq!(add(stored.as_deref(), [entry(7)]), stored, "added twice");
        let other = Fingerprint::new("op-2", Timestamp::from_millisecond(7).unwrap());
        assert!(!other.is_in(stored.as_deref()));
        assert!(!entry(1).is_in(Some("no fingerprints at all")));
    }

    #[test]
    fn an_existing_candidate_is_served_under_one_rule_only() {
        let at = |n| Timestamp::from_millisecond(n).unwrap();
        let stored =
            add(None, [Fingerprint::existing("op-1", at(5), at(9)), Fingerprint::new("op-2", at(5))]);
        let contains = |id, since| contains(stored.as_deref(), id, at(5), since);
        assert!(contains("op-1", Some(at(9))));
        assert!(!contains("op-1", Some(at(10))) && !contains("op-1", None));
        assert!(contains("op-2", Some(at(9))) && contains("op-2", None));
    }

    #[test]
    fn absent_entries_are_kept_until_they_are_many() {
        let few = add(None, (0..10).map(entry));
        let present: HashSet<_> = [entry(3), entry(500)].into();
        let after = after_scan(few.as_deref(), &present, [entry(500)]);
        assert!([0, 3, 9, 500].iter().all(|n| entry(*n).is_in(after.as_deref())));

        let many = add(None, (0..2000).map(entry));
        let after = after_scan(many.as_deref(), &present, [entry(500)]);
        assert_eq!(after, add(None, [entry(3), entry(500)]));
    }

    #[test]
    fn no_more_is_stored_than_the_schema_allows() {
        let stored = add(None, (0..25_000).map(entry)).unwrap();
        assert_eq!(stored.len(), MAX_ENTRIES * DIGITS);
    }
}
