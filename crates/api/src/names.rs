//! Names, labels and annotations of Pads, and the reference that links a pad in CoderPad to its Pad.
//!
//! All are derived from names and Lever's IDs only, never from a UID or a status, because backups lose those.

use aws_lc_rs::digest::{SHA256, digest};
use std::fmt;

/// Label and field: the PadConfiguration of a Pad.
pub const CONFIGURATION_LABEL: &str = "padoperator.dev/configuration";
/// Label: the LeverConnection of a Pad.
pub const CONNECTION_LABEL: &str = "padoperator.dev/connection";
/// Label: the type of pad that the configuration specified when the Pad was created: Live or TakeHome.
pub const TYPE_LABEL: &str = "padoperator.dev/type";
/// Label: the first 10 hex digits of the SHA-256 of the opportunity ID.
pub const OPPORTUNITY_LABEL: &str = "padoperator.dev/opportunity";
/// Label that common tools use for the creator of an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Finalizer on a Pad while its deletion may require cleanup in CoderPad or Lever.
pub const FINALIZER: &str = "padoperator.dev/pad";
/// Finalizer on a connection while a webhook that the operator created for it may exist in Lever.
pub const WEBHOOK_FINALIZER: &str = "padoperator.dev/webhook";
/// Prefix of an annotation on a Secret with signature tokens, followed by the name of a connection. The value lists the
/// webhooks of the connection as `<id>=<digest of token>`.
pub const WEBHOOKS_PREFIX: &str = "padoperator.dev/webhooks.";
/// Prefix of another annotation on this Secret, followed by the name of a connection. The value identifies the
/// reconcile that may create and delete the connection's webhooks.
pub const CLAIM_PREFIX: &str = "padoperator.dev/claim.";
/// Annotation: the intent to create a pad, `<reference>@<time>`, written before the request is sent.
pub const ATTEMPT: &str = "padoperator.dev/attempt";
/// Annotation: the ID of the pad in CoderPad, written before the link is added.
pub const PAD_ID: &str = "padoperator.dev/pad-id";
/// Annotation: the last claimed write to Lever, `<effect>@<time>`; see [`Claim`]. Storing the pad's ID also claims the
/// link.
pub const CLAIM: &str = "padoperator.dev/claim";
/// Annotation on a connection: the name of the CoderPad organization that a user has accepted as the new one.
pub const ACCEPT_ORGANIZATION: &str = "padoperator.dev/accept-organization";
/// Annotation on any kind that requests a reconcile now. Copied to status.lastHandledReconcileAt.
pub const RECONCILE_REQUESTED_AT: &str = "padoperator.dev/reconcile-requested-at";

/// Annotation on a Pad that sync created for an existing candidate: the status.effectiveSince of the configuration at
/// that time.
pub const EXISTING_SINCE: &str = "padoperator.dev/existing-since";

/// Annotation on a Pad without a pad: the creations that CoderPad answered with a server error, `<count>@<time>`; see
/// [`FailedCreations`].
pub const FAILED_CREATIONS: &str = "padoperator.dev/failed-creations";

/// Annotation on a Pad, only while tracing is enabled: the trace that created it or requested its reconcile, in the
/// format of W3C Trace Context.
pub const TRACEPARENT: &str = "padoperator.dev/traceparent";
/// Prefix of the path of every webhook.
pub const WEBHOOK_PATH_PREFIX: &str = "/webhooks/lever/";

/// Returns the path of the webhook of a connection.
pub fn webhook_path(namespace: &str, connection: &str) -> String {
    format!("{WEBHOOK_PATH_PREFIX}{namespace}/{connection}")
}

/// Maximum length of [`RECONCILE_REQUESTED_AT`] in characters. Longer values are truncated.
const REQUEST_LIMIT: usize = 256;

/// Returns the reconcile request of an object, truncated to the length that the status can store.
pub fn reconcile_requested_at(object: &impl kube::ResourceExt) -> Option<String> {
    Some(object.annotations().get(RECONCILE_REQUESTED_AT)?.chars().take(REQUEST_LIMIT).collect())
}

/// Earliest possible time of a delivery (2001), in milliseconds. A smaller number is a date that a user wrote.
const FIRST_DELIVERY_MS: i64 = 1_000_000_000_000;
/// Length of the prefix of a delivery's token in its reconcile request, in characters.
pub const TOKEN_MARK: usize = 8;

/// Returns the time of the webhook delivery for which the receiver wrote this reconcile request, in milliseconds since
/// 1970. None if a user wrote the request.
pub fn delivered_at(request: &str) -> Option<i64> {
    let (at, token) = request.split_once('-')?;
    let is_number = !at.is_empty() && at.bytes().all(|byte| byte.is_ascii_digit());
    let is_mark = (1..=TOKEN_MARK).contains(&token.chars().count());
    at.parse().ok().filter(|at| is_number && is_mark && *at >= FIRST_DELIVERY_MS)
}

/// Returns the value of status.observedGeneration before the first reconcile.
pub fn unobserved() -> i64 {
    -1
}

/// Returns the first `digits` lower-case hex digits of the SHA-256 of `text`.
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

/// Reports whether a text is a valid opportunity ID. The ID becomes part of names, labels and paths.
pub fn is_opportunity_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Returns the 10 hex digits that represent an opportunity in names and labels.
pub fn opportunity_digest(opportunity_id: &str) -> String {
    sha256_hex(opportunity_id, 10)
}

/// Returns the name of the n-th Pad of a candidate and a configuration; n counts from 1.
pub fn pad_name(configuration: &str, opportunity_id: &str, n: u32) -> String {
    format!("{configuration}-{}-{n}", opportunity_digest(opportunity_id))
}

/// Returns the number at the end of a Pad's name, if the operator generated the name.
pub fn pad_number(name: &str, configuration: &str, opportunity_id: &str) -> Option<u32> {
    let prefix = format!("{configuration}-{}-", opportunity_digest(opportunity_id));
    name.strip_prefix(&prefix)?.parse().ok().filter(|n| *n >= 1)
}

/// Identity of all pads of one configuration for one candidate.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Series(String);

impl Series {
    /// Returns the series of a configuration and a candidate.
    pub fn new(namespace: &str, configuration: &str, opportunity_id: &str) -> Self {
        Self(sha256_hex(&format!("{namespace}/{configuration}/{opportunity_id}"), 32))
    }
}

/// Link between a pad in CoderPad and a stage entry, stored in the first line of the pad's private notes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Reference {
    series: Series,
    entry: String,
}

const REFERENCE_PREFIX: &str = "padoperator.dev/";
const REFERENCE_LINE: &str = "Reference: ";

impl Reference {
    /// Returns a reference. `entry` is the stage entry in milliseconds or, for a manually created Pad, the name of the
    /// Pad.
    pub fn new(series: Series, entry: impl fmt::Display) -> Self {
        Self { series, entry: entry.to_string() }
    }

    /// Parses `padoperator.dev/<series>/<entry>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (series, entry) = text.strip_prefix(REFERENCE_PREFIX)?.split_once('/')?;
        let is_series =
            series.len() == 32 && series.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (is_series && !entry.is_empty()).then(|| Self { series: Series(series.into()), entry: entry.into() })
    }

    /// Returns the reference in the first line of the private notes of a pad.
    pub fn from_notes(notes: &str) -> Option<Self> {
        Self::parse(notes.lines().next()?.strip_prefix(REFERENCE_LINE)?.trim())
    }

    /// Returns the private notes of a new pad: the reference, then the candidate's profile.
    pub fn notes(&self, profile_url: &str) -> String {
        format!("{}\nCandidate: {profile_url}\n", self.line())
    }

    /// Returns the line with the reference in a pad's notes and in a note on the candidate.
    pub fn line(&self) -> String {
        format!("{REFERENCE_LINE}{self}")
    }

    /// Reports whether the last line of a note on the candidate contains this reference.
    pub fn is_of_note(&self, note: &str) -> bool {
        note.trim_end().lines().next_back().is_some_and(|line| line.trim() == self.line())
    }

    /// Returns the series.
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// Returns the time of the stage entry; `None` for a manually created Pad.
    pub fn entry_time(&self) -> Option<jiff::Timestamp> {
        jiff::Timestamp::from_millisecond(self.entry.parse().ok()?).ok()
    }

    /// Returns the stage entry, or the name of a manually created Pad.
    pub fn entry(&self) -> &str {
        &self.entry
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{REFERENCE_PREFIX}{}/{}", self.series.0, self.entry)
    }
}

/// Intent to create a pad, as stored in the annotation [`ATTEMPT`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CreateIntent {
    /// Reference of the pad to create.
    pub reference: Reference,
    /// Time of the write, by the clock of the writing process. It distinguishes attempts.
    pub at: String,
}

impl CreateIntent {
    /// Returns an intent with the current time.
    pub fn new(reference: Reference, now: jiff::Timestamp) -> Self {
        Self { reference, at: now.to_string() }
    }

    /// Parses `<reference>@<time>`.
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

/// Creations of one pad that CoderPad answered with a server error, as stored in the annotation [`FAILED_CREATIONS`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct FailedCreations {
    /// Number of such creations.
    pub count: u32,
    /// Time of the last attempt.
    pub last: jiff::Timestamp,
}

impl FailedCreations {
    /// Parses `<count>@<time>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (count, last) = text.split_once('@')?;
        Some(Self { count: count.parse().ok()?, last: last.parse().ok()? })
    }
}

impl fmt::Display for FailedCreations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.count, self.last)
    }
}

/// Write to Lever that must take effect only once, although Lever does not detect duplicates.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum OnceOnlyWrite {
    /// The link of the pad on the candidate.
    Link,
    /// The note after the interview.
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

/// Right to send one such write, as stored in the annotation [`CLAIM`]. The process that wrote it sends the request
/// immediately or never.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Claim {
    /// The claimed write.
    pub effect: OnceOnlyWrite,
    /// Time of the claim, by the clock of the claiming process. It distinguishes claims.
    pub at: String,
}

impl Claim {
    /// Returns a claim with the current time.
    pub fn new(effect: OnceOnlyWrite, now: jiff::Timestamp) -> Self {
        Self { effect, at: now.to_string() }
    }

    /// Parses `<effect>@<time>`.
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
    fn requests_of_deliveries_are_distinguished_from_those_of_users() {
        assert_eq!(delivered_at("1700000000123-5f2c01ab"), Some(1_700_000_000_123));
        for by_user in [
            "2026-01-02T03:04:05Z",
            "2026-1",
            "now",
            "request 7",
            "1700000000123",
            "1700000000-x",
            "+1700000000123-x",
        ] {
            assert_eq!(delivered_at(by_user), None, "{by_user}");
        }
    }

    #[test]
    fn sha256_matches_a_published_test_vector() {
        assert_eq!(sha256_hex("abc", 16), "ba7816bf8f01cfea");
    }

    #[test]
    fn a_reference_is_parsed_from_notes() {
        let reference = Reference::new(Series::new("hiring", "phone-screen", "op-1"), 1_700_000_000_123_i64);
        let notes = reference.notes("https://hire.example.com/candidates/op-1");
        assert!(notes.starts_with(&format!(
            "Reference: {reference}\nCandidate: https://hire.example.com/candidates/op-1"
        )));
        assert_eq!(Reference::from_notes(&notes), Some(reference.clone()));
        assert_eq!(Reference::from_notes(&format!("{notes}a remark of the interviewer")), Some(reference));
        assert_eq!(Reference::from_notes("Hello\nReference: padoperator.dev/x/1"), None);
        assert_eq!(Reference::from_notes(""), None);
    }

    #[test]
    fn attempts_and_claims_survive_a_round_trip() {
        let reference = Reference::new(Series::new("ns", "cfg", "op"), "by-hand");
        let attempt = CreateIntent::new(reference, jiff::Timestamp::from_second(1_700_000_000).unwrap());
        assert_eq!(CreateIntent::parse(&attempt.to_string()), Some(attempt));
        assert_eq!(CreateIntent::parse("nonsense"), None);
        let claim = Claim::new(OnceOnlyWrite::Note, jiff::Timestamp::from_second(1_700_000_000).unwrap());
        assert_eq!(claim.to_string(), "note@2023-11-14T22:13:20Z");
        assert_eq!(Claim::parse(&claim.to_string()), Some(claim));
        assert_eq!(Claim::parse("tag@2023-11-14T22:13:20Z"), None);
        let failed = FailedCreations { count: 3, last: jiff::Timestamp::from_second(1_700_000_000).unwrap() };
        assert_eq!(failed.to_string(), "3@2023-11-14T22:13:20Z");
        assert_eq!(FailedCreations::parse(&failed.to_string()), Some(failed));
        assert_eq!(FailedCreations::parse("-1@2023-11-14T22:13:20Z"), None);
    }
}
