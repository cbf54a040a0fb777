//! Names and marks: what Pads are called, labelled and annotated, and the reference that ties a pad at CoderPad to them.
//!
//! All of it is derived from names and Lever's ids only, never from a uid or a status, because backups lose those.

use aws_lc_rs::digest::{SHA256, digest};
use std::fmt;

/// Label and field: the PadConfiguration of a Pad.
pub const CONFIGURATION_LABEL: &str = "padoperator.dev/configuration";
/// Label: the LeverConnection of a Pad.
pub const CONNECTION_LABEL: &str = "padoperator.dev/connection";
/// Label: the type of pad, as the configuration said when the Pad was made: Live or TakeHome.
pub const TYPE_LABEL: &str = "padoperator.dev/type";
/// Label: the first 10 hex digits of SHA-256 of the opportunity's id.
pub const OPPORTUNITY_LABEL: &str = "padoperator.dev/opportunity";
/// Label that tools use for "who made this".
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Finalizer on a Pad while something at CoderPad may have to be settled before it goes.
pub const FINALIZER: &str = "padoperator.dev/pad";
/// Finalizer on a connection while there may be a webhook in Lever that the operator has made for it.
pub const WEBHOOK_FINALIZER: &str = "padoperator.dev/webhook";
/// Annotation on a Secret with signature tokens, followed by a connection's name: its webhooks, `<id>=<digest of token>`.
pub const WEBHOOKS_PREFIX: &str = "padoperator.dev/webhooks.";
/// Annotation on the same, followed by a connection's name: the pass that may make and delete its webhooks.
pub const CLAIM_PREFIX: &str = "padoperator.dev/claim.";
/// Annotation: the intention to create a pad, `<reference>@<time>`, written before the request leaves.
pub const ATTEMPT: &str = "padoperator.dev/attempt";
/// Annotation: the id of the pad at CoderPad, written before its link.
pub const PAD_ID: &str = "padoperator.dev/pad-id";
/// Annotation: the last write to Lever that was claimed, `<effect>@<time>`; see [`Claim`]. Storing the pad's id claims its
/// link, too.
pub const CLAIM: &str = "padoperator.dev/claim";
/// Annotation on a connection: the CoderPad organization that it may belong to from now on, by name.
pub const ACCEPT_ORGANIZATION: &str = "padoperator.dev/accept-organization";
/// Annotation on any kind: "look at this now". Echoed in status.lastHandledReconcileAt.
pub const RECONCILE_REQUESTED_AT: &str = "padoperator.dev/reconcile-requested-at";

/// Annotation on a Pad that sync has made for a candidate who was in the stage with the tag before the rule took effect:
/// status.effectiveSince of the configuration then.
pub const EXISTING_SINCE: &str = "padoperator.dev/existing-since";

/// Annotation on a Pad, only while traces are on: the trace that it was made or asked about in, as the W3C writes it.
pub const TRACEPARENT: &str = "padoperator.dev/traceparent";

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
pub fn sha256_hex(text: &str, digits: usize) -> String {
    let halves = |byte: &u8| [byte >> 4, byte & 0xf];
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref()
        .iter()
        .flat_map(halves)
        .take(digits)
        .filter_map(|half| char::from_digit(half.into(), 16))
        .collect()
}

/// Whether this can be the id of an opportunity: it becomes part of names, labels and paths.
pub fn is_opportunity_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
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
        format!("{}\nCandidate: {profile_url}\n", self.line())
    }

    /// The line that says it, in a pad's notes and in a note on the candidate.
    pub fn line(&self) -> String {
        format!("{REFERENCE_LINE}{self}")
    }

    /// Whether this note on the candidate says it, in its last line.
    pub fn is_of_note(&self, note: &str) -> bool {
        note.trim_end().lines().next_back().is_some_and(|line| line.trim() == self.line())
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
pub struct CreateIntent {
    /// What the pad would be found by.
    pub reference: Reference,
    /// When it was written, by the clock of the process that wrote it. Two attempts differ in it.
    pub at: String,
}

impl CreateIntent {
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

impl fmt::Display for CreateIntent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.reference, self.at)
    }
}

/// A write to Lever that must take effect once, and that Lever itself cannot tell from its repetition.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum OnceOnlyWrite {
    /// The link of the pad on the candidate.
    Link,
    /// The note at the end of the interview.
    Note,
}

impl OnceOnlyWrite {
    fn as_str(self) -> &'static str {
        match self {
            OnceOnlyWrite::Link => "link",
            OnceOnlyWrite::Note => "note",
        }
    }
}

/// The right to make one such write, as the annotation on the Pad says it: whoever wrote it sends at once, or not at all.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Claim {
    /// What is to be written.
    pub effect: OnceOnlyWrite,
    /// When it was claimed, by the clock of the process that claimed it. Two claims differ in it.
    pub at: String,
}

impl Claim {
    /// A claim of now.
    pub fn new(effect: OnceOnlyWrite, now: jiff::Timestamp) -> Self {
        Self { effect, at: now.to_string() }
    }

    /// Reads `<effect>@<time>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (effect, at) = text.split_once('@')?;
        let effect =
            [OnceOnlyWrite::Link, OnceOnlyWrite::Note].into_iter().find(|one| one.as_str() == effect)?;
        Some(Self { effect, at: at.into() })
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.effect.as_str(), self.at)
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
        let attempt = CreateIntent::new(reference, jiff::Timestamp::from_second(1_700_000_000).unwrap());
        assert_eq!(CreateIntent::parse(&attempt.to_string()), Some(attempt));
        assert_eq!(CreateIntent::parse("nonsense"), None);
        let claim = Claim::new(OnceOnlyWrite::Note, jiff::Timestamp::from_second(1_700_000_000).unwrap());
        assert_eq!(claim.to_string(), "note@2023-11-14T22:13:20Z");
        assert_eq!(Claim::parse(&claim.to_string()), Some(claim));
        assert_eq!(Claim::parse("tag@2023-11-14T22:13:20Z"), None);
    }
}
