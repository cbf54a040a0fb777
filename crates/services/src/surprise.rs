//! Surprises: differences between the answers of a service and its documentation. The operator continues, but a person
//! should know, because an assumption of the operator does not hold for this account.

/// Maximum length of an unknown word that is shown. A longer text is not a word of the API.
const MAX_WORD_LENGTH: usize = 32;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident => $label:literal,)*) => {
        /// Kind of surprise, the most important first.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum SurpriseKind { $($(#[$doc])* $name),* }

        impl SurpriseKind {
            /// All kinds, the most important first.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the label value in metrics.
            pub fn label(self) -> &'static str {
                match self { $(Self::$name => $label),* }
            }
        }
    };
}

kinds! {
    /// CoderPad returned another waiting room for a new pad than requested.
    WaitingRoomNotReturned => "waiting_room_not_returned",
    /// CoderPad returned other private notes for a new pad than sent.
    NotesNotReturned => "notes_not_returned",
    /// CoderPad returned another owner for a new pad than requested.
    OwnerNotReturned => "owner_not_returned",
    /// CoderPad returned a type of pad that is not known.
    UnknownType => "unknown_type",
    /// CoderPad returned a state of a pad that is not known.
    UnknownState => "unknown_state",
    /// Lever returned an opportunity without its stage entries.
    StageChangesMissing => "stage_changes_missing",
    /// CoderPad's list lacked a value that CoderPad had returned for the single pad.
    ListIncomplete => "list_incomplete",
    /// Rows of an answer were left out because they cannot be read.
    RowsLeftOut => "rows_left_out",
    /// An answer is the service's JSON, but cannot be read.
    AnswerUnreadable => "answer_unreadable",
    /// An answer did not come from the service's API.
    ForeignAnswer => "foreign_answer",
    /// CoderPad returned a kind of event that is not known.
    UnknownEventKind => "unknown_event_kind",
    /// Members of an answer were dropped because they cannot be read.
    MembersDropped => "members_dropped",
}

/// Surprise of one kind in one answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sighting {
    /// Kind of surprise.
    pub kind: SurpriseKind,
    /// Place of the first one, such as `data[17].tags[2]` or `status 403`.
    pub place: String,
    /// The unknown word, if it is one.
    pub word: Option<String>,
    /// Number of such surprises in the answer.
    pub count: u64,
}

impl Sighting {
    /// Returns one surprise.
    pub fn new(kind: SurpriseKind, place: String) -> Self {
        Self { kind, place, word: None, count: 1 }
    }
}

/// Returns a text that looks like a word of an API, such as `auto_ended`. Any other text could contain personal data.
pub fn api_word(text: &str) -> Option<String> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    ((1..=MAX_WORD_LENGTH).contains(&text.len()) && text.chars().all(is_letter)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn labels_are_distinct() {
        let labels: HashSet<&str> = SurpriseKind::ALL.iter().map(|kind| kind.label()).collect();
        assert_eq!(labels.len(), SurpriseKind::ALL.len());
    }

    #[test]
    fn only_words_are_shown() {
        for word in ["archived", "auto_ended", "take-home", "v2"] {
            assert_eq!(api_word(word).as_deref(), Some(word));
        }
        for text in ["", "Ada Lovelace", "ada@example.com", &"x".repeat(33), "é"] {
            assert_eq!(api_word(text), None, "{text}");
        }
    }
}
