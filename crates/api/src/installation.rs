//! Installation IDs, which distinguish installations of the operator that share one Lever account (contract, "Several
//! installations").

use aws_lc_rs::rand;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

/// Annotation on a LeverConnection: its installation ID.
pub const INSTALLATION: &str = "padoperator.dev/installation";
/// Annotation on a Pad: the installation that requested its pad, and the Pad's UID; see [`RequestedBy`].
pub const REQUESTED_BY: &str = "padoperator.dev/requested-by";
/// Annotation on a Pad whose pad yields to the pad of another installation: the ID of that installation. It is written
/// before the first side effect, so that a new leader completes the cleanup.
pub const YIELDS_TO: &str = "padoperator.dev/yields-to";

/// Length of an ID in hex digits.
const INSTALLATION_ID_DIGITS: usize = 16;
/// Prefix of the line in a pad's private notes that names its installation.
const LINE: &str = "Installation: ";
/// Number of that line, counted from 0: the reference and the candidate's profile come first.
const LINE_NUMBER: usize = 2;

/// Reports whether a text is an installation ID: 16 lower-case hex digits.
pub fn is_id(text: &str) -> bool {
    text.len() == INSTALLATION_ID_DIGITS
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Returns a new random ID, or None if the random number generator of the system fails.
pub fn random_id() -> Option<String> {
    let mut bytes = [0; INSTALLATION_ID_DIGITS / 2];
    rand::fill(&mut bytes).ok()?;
    Some(bytes.iter().fold(String::new(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    }))
}

/// Returns the installation ID in the private notes of a pad. None if version 0.1.0 or another program created the pad.
pub fn from_notes(notes: &str) -> Option<&str> {
    notes.lines().nth(LINE_NUMBER)?.strip_prefix(LINE).map(str::trim).filter(|id| is_id(id))
}

/// The installation that requested a Pad's pad, as the annotation [`REQUESTED_BY`] stores it: `<ID>/<UID of the Pad>`.
///
/// A connection that is deleted and created again, under its old name or another, has a new ID; Pads still own the pads
/// of the former one. The UID binds the annotation to the object, so that a copy of the Pad in another cluster owns
/// nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestedBy<'a> {
    /// ID of the installation.
    pub installation: &'a str,
    /// UID of the Pad.
    pub uid: &'a str,
}

impl<'a> RequestedBy<'a> {
    /// Parses `<ID>/<UID>`. Returns None for any other text.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (installation, uid) = text.split_once('/')?;
        is_id(installation).then_some(Self { installation, uid })
    }
}

impl fmt::Display for RequestedBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.installation, self.uid)
    }
}

/// The installation of a connection: its ID, and the IDs of installations whose pads count as its own.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Installation {
    id: Option<String>,
    taken_over: BTreeSet<String>,
}

impl Installation {
    /// Returns the installation with an ID; `taken_over` are the installations whose pads count as its own.
    pub fn new(id: Option<String>, taken_over: impl IntoIterator<Item = String>) -> Self {
        Self { id, taken_over: taken_over.into_iter().collect() }
    }

    /// Returns the ID. None until one is assigned; until then, no pads are created.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Adds an ID whose pads count as own.
    #[must_use]
    pub fn with(mut self, id: Option<&str>) -> Self {
        self.taken_over.extend(id.map(ToOwned::to_owned));
        self
    }

    /// Reports whether the pads of this installation count as own (contract I3, I6).
    pub fn includes(&self, id: &str) -> bool {
        self.id.as_deref() == Some(id) || self.taken_over.contains(id)
    }

    /// Returns the other installation that owns a pad with these notes. None if the pad counts as own, also without the
    /// line (contract I2).
    pub fn foreign<'a>(&self, notes: &'a str) -> Option<&'a str> {
        from_notes(notes).filter(|id| !self.includes(id))
    }

    /// Returns the private notes of a new pad: `notes` with the line of this installation.
    pub fn sign(&self, notes: &str) -> String {
        let line = self.id.as_ref().map(|id| format!("{LINE}{id}\n")).unwrap_or_default();
        format!("{notes}{line}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Reference, Series};

    const OWN: &str = "0123456789abcdef";
    const OTHER: &str = "fedcba9876543210";

    fn notes(installation: &Installation) -> String {
        let reference = Reference::new(Series::new("hiring", "phone-screen", "op-1"), 1_700_000_000_123_i64);
        installation.sign(&reference.notes("https://hire.example.com/candidates/op-1"))
    }

    // contract I1, I2
    #[test]
    fn the_third_line_of_the_notes_names_the_installation() {
        let own = Installation::new(Some(OWN.into()), []);
        let signed = notes(&own);
        assert_eq!(signed.lines().nth(2), Some("Installation: 0123456789abcdef"));
        assert_eq!(from_notes(&signed), Some(OWN));
        assert!(Reference::from_notes(&signed).is_some());
        assert_eq!(from_notes(&format!("{signed}\nA remark of the interviewer")), Some(OWN));
        assert_eq!(from_notes(&notes(&Installation::default())), None, "notes of version 0.1.0");
        for odd in ["Installation: ", "Installation: 0123456789ABCDEF", "Installation: 0123", "A remark"] {
            assert_eq!(from_notes(&format!("Reference: r\nCandidate: c\n{odd}\n")), None, "{odd}");
        }
        assert_eq!(from_notes(&format!("Reference: r\nA remark\nCandidate: c\nInstallation: {OWN}")), None);
    }

    // contract I2, I3, I6
    #[test]
    fn pads_of_another_installation_are_foreign_unless_it_is_taken_over() {
        let (own, other) =
            (Installation::new(Some(OWN.into()), []), Installation::new(Some(OTHER.into()), []));
        assert_eq!(own.foreign(&notes(&other)), Some(OTHER));
        assert_eq!(own.foreign(&notes(&own)), None);
        assert_eq!(own.foreign(&notes(&Installation::default())), None);
        let both = Installation::new(Some(OWN.into()), [OTHER.to_owned()]);
        assert_eq!(both.foreign(&notes(&other)), None);
        assert!(both.includes(OTHER) && both.includes(OWN) && !both.includes("0000000000000000"));
    }

    #[test]
    fn requested_by_requires_an_id_and_a_uid() {
        let requested_by = RequestedBy { installation: OWN, uid: "6408dc54-0f8e" };
        assert_eq!(requested_by.to_string(), "0123456789abcdef/6408dc54-0f8e");
        assert_eq!(RequestedBy::parse(&requested_by.to_string()), Some(requested_by));
        for odd in ["", OWN, "/6408dc54", "0123456789ABCDEF/6408dc54"] {
            assert_eq!(RequestedBy::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn random_ids_are_valid_and_differ() {
        let ids: BTreeSet<_> = (0..100).map(|_| random_id().unwrap()).collect();
        assert!(ids.iter().all(|id| is_id(id)), "{ids:?}");
        assert_eq!(ids.len(), 100);
    }
}
