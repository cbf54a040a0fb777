//! Served stage entries, which need no further pad, as stored in the status of a PadConfiguration.  A Pad and a link
//! also record that an entry had its pad, but users can delete both. This record remains (contract P9). It stores a
//! fingerprint for each entry, sorted, so that a lookup needs no parsing.

use super::names::sha256_hex;
use jiff::Timestamp;
use std::collections::{BTreeSet, HashSet};

/// Length of a fingerprint in hexadecimal digits. With 20,000 entries, one lookup in ten billion is a false positive.
const FINGERPRINT_DIGITS: usize = 12;
/// Maximum number of stored entries, which is the limit of the schema.
const MAX_ENTRIES: usize = 20_000;
/// Maximum number of entries that are kept although a complete scan did not find their candidates. If a tag is removed
/// and added again, the entry is still known.
const MAX_ABSENT: usize = 1_000;

/// Fingerprint of one stage entry of one candidate.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Returns the fingerprint of an entry of an opportunity into the stage of the configuration.
    pub fn new(opportunity_id: &str, entry: Timestamp) -> Self {
        Self(sha256_hex(&format!("{opportunity_id}/{}", entry.as_millisecond()), FINGERPRINT_DIGITS))
    }

    /// Returns the fingerprint of an entry before the rule took effect at `since`. It depends on `since`, because
    /// another rule has other existing candidates.
    pub fn existing(opportunity_id: &str, entry: Timestamp, since: Timestamp) -> Self {
        let (entry, since) = (entry.as_millisecond(), since.as_millisecond());
        Self(sha256_hex(&format!("{opportunity_id}/{entry}/{since}"), FINGERPRINT_DIGITS))
    }

    /// Reports whether the stored `entries` contain this fingerprint.
    pub fn is_in(&self, entries: Option<&str>) -> bool {
        let entries = entries.unwrap_or_default().as_bytes();
        let (mut low, mut high) = (0, entries.len() / FINGERPRINT_DIGITS);
        while low < high {
            let middle = low.midpoint(high);
            match entries.get(middle * FINGERPRINT_DIGITS..(middle + 1) * FINGERPRINT_DIGITS) {
                Some(found) if found == self.0.as_bytes() => return true,
                Some(found) if found < self.0.as_bytes() => low = middle + 1,
                _ => high = middle,
            }
        }
        false
    }
}

/// Reports whether an entry is served under a rule that took effect at `since`.
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

/// Adds entries to the stored ones. Returns the new value to store.
pub fn add(entries: Option<&str>, added: impl IntoIterator<Item = Fingerprint>) -> Option<String> {
    let mut all = parse(entries);
    all.extend(added);
    text(all)
}

/// Returns the value to store after a complete scan. `served` are the served entries of the candidates that the scan
/// found. Entries of absent candidates are dropped if they exceed the limit.
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
    let chunks = entries.unwrap_or_default().as_bytes().chunks_exact(FINGERPRINT_DIGITS);
    chunks.filter_map(|chunk| Some(Fingerprint(std::str::from_utf8(chunk).ok()?.to_owned()))).collect()
}

fn text(entries: BTreeSet<Fingerprint>) -> Option<String> {
    if entries.len() > MAX_ENTRIES {
        // With the target of the operator, so that its level applies.
        tracing::warn!(
            target: "pad_operator",
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
    fn absent_entries_are_kept_up_to_the_limit() {
        let few = add(None, (0..10).map(entry));
        let present: HashSet<_> = [entry(3), entry(500)].into();
        let after = after_scan(few.as_deref(), &present, [entry(500)]);
        assert!([0, 3, 9, 500].iter().all(|n| entry(*n).is_in(after.as_deref())));

        let many = add(None, (0..2000).map(entry));
        let after = after_scan(many.as_deref(), &present, [entry(500)]);
        assert_eq!(after, add(None, [entry(3), entry(500)]));
    }

    #[test]
    fn stored_entries_are_limited_by_the_schema() {
        let stored = add(None, (0..25_000).map(entry)).unwrap();
        assert_eq!(stored.len(), MAX_ENTRIES * FINGERPRINT_DIGITS);
    }
}
