//! Names and marks: what Pads are called, labelled and annotated, and the reference that ties a pad at CoderPad to them.
//!
//! All of it is derived from names and Lever's ids only, never from a uid or a status, because backups lose those.

use aws_lc_rs::digest::{SHA256, digest};
use std::fmt;

/// Label and field: the PadConfiguration of a Pad.
pub const CONFIGURATION_LABEL: &str = "padoperator.dev/configuration";
/// Label: the LeverConnection of a Pad.
pub const CONNECTION_LABEL: &str = "padoperator.dev/connection";
/// Label: the first 10 hex digits of SHA-256 of the opportunity's id.
pub const OPPORTUNITY_LABEL: &str = "padoperator.dev/opportunity";
/// Label that tools use for "who made this".
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Finalizer on a Pad while something at CoderPad may have to be settled before it goes.
pub const FINALIZER: &str = "padoperator.dev/pad";
/// Annotation: the intention to create a pad, `<reference>@<time>`, written before the request leaves.
pub const ATTEMPT: &str = "padoperator.dev/attempt";
/// Annotation: the id of the pad at CoderPad, written before its link.
pub const PAD_ID: &str = "padoperator.dev/pad-id";
/// Annotation on any kind: "look at this now". Echoed in status.lastHandledReconcileAt.
pub const RECONCILE_REQUESTED_AT: &str = "padoperator.dev/reconcile-requested-at";

/// Annotation on a Pad that sync has made for a candidate who was in the stage with the tag before the rule took effect:
/// status.effectiveSince of the configuration then.
pub const EXISTING_SINCE: &str = "padoperator.dev/existing-since";

/// Longest value of [`RECONCILE_REQUESTED_AT`] that counts and is echoed, in characters.
const REQUEST_LIMIT: usize = 256;

/// What asks for another look at an object, as far as it is echoed.
pub fn reconcile_requested_at(object: &impl kube::ResourceExt) -> Option<String> {
    Some(object.annotations().get(RECONCILE_REQUESTED_AT)?.chars().take(REQUEST_LIMIT).collect())
}

/// Earlier than this, in milliseconds (2001), no delivery was triggered: what looks so is a date that a person wrote.
const FIRST_DELIVERY_MS: i64 = 1_000_000_000_000;
/// How much of a delivery's token is part of what it asks with, in characters.
pub const TOKEN_MARK: usize = 8;

/// When the delivery was triggered that asks by this text, in milliseconds; None if a person asks.
pub fn delivered_at(request: &str) -> Option<i64> {
    let (at, token) = request.split_once('-')?;
    let is_number = !at.is_empty() && at.bytes().all(|byte| byte.is_ascii_digit());
    let is_mark = (1..=TOKEN_MARK).contains(&token.chars().count());
    at.parse().ok().filter(|at| is_number && is_mark && *at >= FIRST_DELIVERY_MS)
}

/// status.observedGeneration before the first look.
pub fn unobserved() -> i64 {
    -1
}

/// The first `digits` lower-case hex digits of SHA-256 of `text`.
fn sha256_hex(text: &str, digits: usize) -> String {
    let mut hex: String =
        digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(digits);
    hex
}

/// The 10 hex digits that stand for an opportunity in names and labels.
pub fn opportunity_digest(opportunity_id: &str) -> String {
    sha256_hex(opportunity_id, 10)
}

/// Name of the n-th Pad of a candidate by a configuration; n counts from 1.
pub fn pad_name(configuration: &str, opportunity_id: &str, n: u32) -> String {
    format!("{configuration}-{}-{n}", opportunity_digest(opportunity_id))
}

/// The number at the end of a Pad's name, if the name is one that the operator gave.
pub fn pad_number(name: &str, configuration: &str, opportunity_id: &str) -> Option<u32> {
    let prefix = format!("{configuration}-{}-", opportunity_digest(opportunity_id));
    name.strip_prefix(&prefix)?.parse().ok().filter(|n| *n >= 1)
}

/// All pads that one configuration makes for one candidate.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Series(String);

impl Series {
    /// The series of a configuration and a candidate.
    pub fn new(namespace: &str, configuration: &str, opportunity_id: &str) -> Self {
        Self(sha256_hex(&format!("{namespace}/{configuration}/{opportunity_id}"), 32))
    }
}

/// What ties a pad at CoderPad to a stage entry: the first line of its private notes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Reference {
    series: Series,
    entry: String,
}

const REFERENCE_PREFIX: &str = "padoperator.dev/";
const REFERENCE_LINE: &str = "Reference: ";

impl Reference {
    /// `entry` is the stage entry in milliseconds; for a Pad made by hand, the Pad's name.
    pub fn new(series: Series, entry: impl fmt::Display) -> Self {
        Self { series, entry: entry.to_string() }
    }

    /// Reads `padoperator.dev/<series>/<entry>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (series, entry) = text.strip_prefix(REFERENCE_PREFIX)?.split_once('/')?;
        let is_series =
            series.len() == 32 && series.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (is_series && !entry.is_empty()).then(|| Self { series: Series(series.into()), entry: entry.into() })
    }

    /// Finds the reference in the private notes of a pad: their first line.
    pub fn of_notes(notes: &str) -> Option<Self> {
        Self::parse(notes.lines().next()?.strip_prefix(REFERENCE_LINE)?.trim())
    }

    /// The private notes of a new pad: the reference, then the candidate's profile.
    pub fn notes(&self, profile_url: &str) -> String {
        format!("{REFERENCE_LINE}{self}\nCandidate: {profile_url}\n")
    }

    /// The series it belongs to.
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// The stage entry, or the name of a Pad made by hand.
    pub fn entry(&self) -> &str {
        &self.entry
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{REFERENCE_PREFIX}{}/{}", self.series.0, self.entry)
    }
}

/// The intention to create a pad, as the annotation on the Pad says it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Attempt {
    /// What the pad would be found by.
    pub reference: Reference,
    /// When it was written, by the clock of the process that wrote it. Two attempts differ in it.
    pub at: String,
}

impl Attempt {
    /// An intention of now.
    pub fn new(reference: Reference, now: jiff::Timestamp) -> Self {
        Self { reference, at: now.to_string() }
    }

    /// Reads `<reference>@<time>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (reference, at) = text.rsplit_once('@')?;
        Some(Self { reference: Reference::parse(reference)?, at: at.into() })
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.reference, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_contract() {
        assert_eq!(opportunity_digest("6408dc54"), sha256_hex("6408dc54", 10));
        let name = pad_name("phone-screen", "6408dc54", 2);
        assert_eq!(name, format!("phone-screen-{}-2", opportunity_digest("6408dc54")));
        assert_eq!(pad_number(&name, "phone-screen", "6408dc54"), Some(2));
        assert_eq!(pad_number("by-hand", "phone-screen", "6408dc54"), None);
        assert_eq!(pad_number(&name, "phone-screen", "other"), None);
    }

    #[test]
    fn what_a_delivery_asks_is_told_from_what_a_person_asks() {
        assert_eq!(delivered_at("1700000000123-5f2c01ab"), Some(1_700_000_000_123));
        for by_a_person in [
            "2026-01-02T03:04:05Z",
            "2026-1",
            "now",
            "request 7",
            "1700000000123",
            "1700000000-x",
            "+1700000000123-x",
        ] {
            assert_eq!(delivered_at(by_a_person), None, "{by_a_person}");
        }
    }

    #[test]
    fn sha256_is_the_well_known_one() {
        assert_eq!(sha256_hex("abc", 16), "ba7816bf8f01cfea");
    }

    #[test]
    fn a_reference_is_found_again_in_notes() {
        let reference = Reference::new(Series::new("hiring", "phone-screen", "op-1"), 1_700_000_000_123_i64);
        let notes = reference.notes("https://hire.example.com/candidates/op-1");
        assert!(notes.starts_with(&format!(
            "Reference: {reference}\nCandidate: https://hire.example.com/candidates/op-1"
        )));
        assert_eq!(Reference::of_notes(&notes), Some(reference.clone()));
        assert_eq!(Reference::of_notes(&format!("{notes}a remark of the interviewer")), Some(reference));
        assert_eq!(Reference::of_notes("Hello\nReference: padoperator.dev/x/1"), None);
        assert_eq!(Reference::of_notes(""), None);
    }

    #[test]
    fn an_attempt_is_read_back() {
        let reference = Reference::new(Series::new("ns", "cfg", "op"), "by-hand");
        let attempt = Attempt::new(reference, jiff::Timestamp::from_second(1_700_000_000).unwrap());
        assert_eq!(Attempt::parse(&attempt.to_string()), Some(attempt));
        assert_eq!(Attempt::parse("nonsense"), None);
    }
}
