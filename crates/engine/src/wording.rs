//! Sentences that several messages share.

/// Returns the next step for a Lever key that lacks permissions. The permissions of a key cannot be changed (reference:
/// lever-api.md, 1. Authentication).
pub fn lever_permission(lacking: &str) -> String {
    format!(
        "It lacks {lacking}. The permissions of a Lever key cannot be changed: create a new key with all read and \
         write permissions and put it into the Secret."
    )
}

/// Returns the text with exactly one full stop at its end.
pub fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end().trim_end_matches('.'))
}
