//! Comparison of Lever's filter by tag with the tags of the candidates (contract S2a).
//!
//! Lever does not document whether the filter finds tags that candidates inherit from their posting. So once a day, the
//! list of each stage and tag is compared with one page of the stage's list. If they differ twice for the same
//! candidate, sync no longer uses the filter for that stage and tag: it lists the whole stage, and compares the tags
//! itself. A later comparison without a difference restores the filter.

use super::lever_lists::StageScan;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

/// Delay between two comparisons for one stage and tag.
const COMPARISON_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// State of the comparisons, by stage ID and tag.
#[derive(Debug, Default)]
pub struct FilterChecks(HashMap<(String, String), FilterCheck>);

impl FilterChecks {
    /// Removes the states of other rules.
    pub fn retain<'a>(&mut self, rules: impl IntoIterator<Item = &'a (String, String)>) {
        let rules: HashSet<_> = rules.into_iter().collect();
        self.0.retain(|rule, _| rules.contains(rule));
    }

    /// Returns the state for a stage and tag.
    pub fn of(&mut self, rule: &(String, String)) -> &mut FilterCheck {
        self.0.entry(rule.clone()).or_default()
    }
}

/// State of the comparisons for one stage and tag.
#[derive(Debug, Default)]
pub struct FilterCheck {
    /// When the last conclusive comparison was made.
    compared: Option<Instant>,
    /// Candidates for whom the last comparison found a difference. They may just have changed.
    suspects: HashSet<String>,
    /// Whether sync does without the filter.
    is_dropped: bool,
}

/// Confirmed difference between the filter and the tags.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FilterDifference {
    /// Number of candidates with the tag that the filter does not find.
    pub missing: usize,
    /// Number of candidates without the tag that the filter finds.
    pub foreign: usize,
}

impl FilterCheck {
    /// Reports whether sync lists the whole stage instead of using the filter.
    pub fn is_dropped(&self) -> bool {
        self.is_dropped
    }

    /// Reports whether a comparison is due.
    pub fn is_due(&self, now: Instant) -> bool {
        self.compared.is_none_or(|at| now.duration_since(at) >= COMPARISON_INTERVAL)
    }

    /// Records a comparison of the list with the filter and of candidates from the list without it. Returns the
    /// difference if it concerns a candidate of the comparison before.
    pub fn record(
        &mut self,
        filtered: &StageScan,
        unfiltered: &StageScan,
        now: Instant,
    ) -> Option<FilterDifference> {
        // The end of a list that is too long is unknown.
        let missing: HashSet<&String> = match filtered.is_whole {
            true => unfiltered.listed.difference(&filtered.listed).collect(),
            false => HashSet::new(),
        };
        let confirmed =
            |ids: &mut dyn Iterator<Item = &String>| ids.filter(|id| self.suspects.contains(*id)).count();
        let difference = FilterDifference {
            missing: confirmed(&mut missing.iter().copied()),
            foreign: confirmed(&mut filtered.without_tag.iter()),
        };
        if difference != (FilterDifference { missing: 0, foreign: 0 }) {
            *self = Self { compared: Some(now), is_dropped: true, ..Self::default() };
            return Some(difference);
        }
        self.suspects = missing.into_iter().chain(&filtered.without_tag).cloned().collect();
        // The next sync compares again.
        self.compared = Some(now).filter(|_| self.suspects.is_empty());
        // Without any candidate, the comparison shows nothing.
        self.is_dropped &= !self.suspects.is_empty() || unfiltered.listed.is_empty();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn set(ids: &str) -> HashSet<String> {
        ids.split_whitespace().map(str::to_owned).collect()
    }

    fn scan(listed: &str, without_tag: &str) -> StageScan {
        StageScan {
            listed: set(listed),
            without_tag: set(without_tag),
            is_whole: true,
            ..StageScan::default()
        }
    }

    const fn found(missing: usize, foreign: usize) -> Option<FilterDifference> {
        Some(FilterDifference { missing, foreign })
    }

    // contract S2a
    #[rstest]
    #[case::equal([("a b", "", "a b"), ("a b", "", "a b")], None, false)]
    #[case::beyond_the_page([("a b c", "", "a"), ("a b c", "", "a")], None, false)]
    #[case::nobody([("", "", ""), ("", "", "")], None, false)]
    #[case::inherited_tags_missing([("a", "", "a b c"), ("a", "", "a b c")], found(2, 0), true)]
    #[case::filter_ignored([("a", "x y", "a"), ("a", "x y", "a")], found(0, 2), true)]
    #[case::tagged_meanwhile([("a", "", "a b"), ("a b", "", "a b")], None, false)]
    #[case::somebody_else([("a", "", "a b"), ("a b", "", "a b c")], None, false)]
    #[case::one_of_them([("a", "", "a b"), ("a", "", "a b c")], found(1, 0), true)]
    fn difference_counts_if_it_concerns_the_same_candidate_twice(
        #[case] lists: [(&str, &str, &str); 2],
        #[case] expected: Option<FilterDifference>,
        #[case] is_dropped: bool,
    ) {
        let (mut check, now) = (FilterCheck::default(), Instant::now());
        let [first, second] = lists
            .map(|(filtered, foreign, page)| check.record(&scan(filtered, foreign), &scan(page, ""), now));
        assert_eq!((first, second, check.is_dropped()), (None, expected, is_dropped));
    }

    #[test]
    fn comparison_is_due_once_a_day_and_again_after_an_unconfirmed_difference() {
        let (mut check, now) = (FilterCheck::default(), Instant::now());
        assert!(check.is_due(now));
        assert_eq!(check.record(&scan("a", ""), &scan("a b", ""), now), None);
        assert!(check.is_due(now), "the difference is not confirmed yet");
        assert_eq!(check.record(&scan("a b", ""), &scan("a b", ""), now), None);
        assert!(!check.is_due(now) && check.is_due(now + COMPARISON_INTERVAL));
    }

    #[test]
    fn filter_is_restored_by_a_comparison_that_shows_it_works() {
        let (mut check, now) = (FilterCheck::default(), Instant::now());
        for _ in 0..2 {
            check.record(&scan("a", ""), &scan("a b", ""), now);
        }
        assert!(check.is_dropped() && !check.is_due(now));
        check.record(&scan("", ""), &scan("", ""), now);
        assert!(check.is_dropped(), "there was nobody to compare");
        check.record(&scan("a", ""), &scan("a b", ""), now);
        assert!(check.is_dropped());
        check.record(&scan("a b", ""), &scan("a b", ""), now);
        assert!(!check.is_dropped());
    }

    #[test]
    fn list_without_its_end_misses_nobody() {
        let (mut check, now) = (FilterCheck::default(), Instant::now());
        let filtered = StageScan { is_whole: false, ..scan("a", "") };
        for _ in 0..2 {
            assert_eq!(check.record(&filtered, &scan("a b", ""), now), None);
        }
        assert!(!check.is_dropped());
    }
}
