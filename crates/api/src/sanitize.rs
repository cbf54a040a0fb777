//! Sanitizes external text for display: candidate names, titles, and messages of the two services.

use unicode_general_category::{GeneralCategory, get_general_category};

/// Maximum length of a person's name, in characters.
pub const NAME_LIMIT: usize = 100;
/// Maximum length of a pad's title, in characters.
pub const TITLE_LIMIT: usize = 200;

/// Returns one line of at most `limit` characters, without control, format and bidirectional characters and with folded
/// white space.
pub fn one_line(text: &str, limit: usize) -> String {
    let visible: String = text
        .chars()
        .filter_map(|c| if c.is_whitespace() { Some(' ') } else { Some(c).filter(|c| is_visible(*c)) })
        .collect();
    let folded = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&folded, limit)
}

/// Returns the text without surrounding white space, line ends and byte order marks, which editors and shells on
/// Windows add (contract A8).
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// Returns the text without control, format and bidirectional characters, except line ends and tabs.
pub fn lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.chars().filter(|c| matches!(c, '\n' | '\t') || is_visible(*c)).collect()
}

/// Returns the text with U+2060 between `@` and a letter or digit, so that it mentions no user.
pub fn without_mentions(text: &str) -> String {
    let mut apart = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        apart.push(c);
        if c == '@' && rest.peek().is_some_and(|next| next.is_alphanumeric()) {
            apart.push('\u{2060}');
        }
    }
    apart
}

/// Returns the display name of a candidate; `Candidate <first 8 characters of the ID>` if the name is empty.
pub fn candidate_name(name: &str, opportunity_id: &str) -> String {
    let name = one_line(name, NAME_LIMIT);
    if name.is_empty() {
        format!("Candidate {}", opportunity_id.chars().take(8).collect::<String>())
    } else {
        name
    }
}

/// Truncates the text to at most `limit` characters, with an ellipsis at the end if it was truncated.
pub fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Returns the title of a pad: the template of the configuration with replaced placeholders. Uses a single pass, so
/// that placeholders in a candidate's name are not replaced.
pub fn title(template: &str, candidate: &str, stage: &str, configuration: &str) -> String {
    let mut title = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        title.push_str(&rest[..open]);
        rest = &rest[open..];
        let known = [("{candidate}", candidate), ("{stage}", stage), ("{configuration}", configuration)];
        match known.iter().find(|(placeholder, _)| rest.starts_with(placeholder)) {
            Some((placeholder, value)) => {
                title.push_str(value);
                rest = &rest[placeholder.len()..];
            }
            None => {
                title.push('{');
                rest = &rest[1..];
            }
        }
    }
    title.push_str(rest);
    one_line(&title, TITLE_LIMIT)
}

fn is_visible(c: char) -> bool {
    !matches!(
        get_general_category(c),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::Surrogate
            | GeneralCategory::PrivateUse
            | GeneralCategory::Unassigned
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

/// Returns a message of a service without the candidate's name, which it may contain.
pub fn without_name(message: &str, name: &str) -> String {
    if name.is_empty() { message.to_owned() } else { message.replace(name, "(candidate)") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use testkit::fuzz::{any_text, try_all};

    #[test]
    fn titles_are_short_plain_lines_for_any_input() {
        let inputs = (any_text(), any_text(), any_text(), "[a-z0-9-]{1,20}");
        try_all("titles", inputs, |(template, name, stage, configuration)| {
            let name = candidate_name(&name, "6408dc54-7015");
            prop_assert!(!name.is_empty() && name.chars().count() <= NAME_LIMIT, "{name:?}");
            let title = title(&template, &name, &stage, &configuration);
            for text in [&name, &title] {
                prop_assert!(
                    text.chars().all(|c| c == ' ' || (is_visible(c) && !c.is_whitespace())),
                    "{text:?}"
                );
                prop_assert_eq!(text.trim(), text);
            }
            prop_assert!(title.chars().count() <= TITLE_LIMIT, "{title:?}");
            Ok(())
        });
    }

    #[test]
    fn hostile_names_become_one_plain_line() {
        assert_eq!(one_line("  Ada\n\tLovelace\u{202e}\u{0007} ", 100), "Ada Lovelace");
        assert_eq!(one_line(&"x".repeat(300), 100).chars().count(), 100);
        assert_eq!(candidate_name("\u{200f}", "6408dc54-7015"), "Candidate 6408dc54");
        assert_eq!(candidate_name("", "ab"), "Candidate ab");
    }

    #[test]
    fn lines_are_kept_and_mentions_are_removed() {
        assert_eq!(lines("a\r\n\tb\u{202e}\u{0000}c"), "a\n\tbc");
        assert_eq!(without_mentions("@ada a@b @ @_ @é"), "@\u{2060}ada a@\u{2060}b @ @_ @\u{2060}é");
    }

    #[test]
    fn placeholders_are_replaced_once() {
        assert_eq!(
            title("{candidate} - {stage} ({configuration})", "{stage}", "Phone Screen", "cfg"),
            "{stage} - Phone Screen (cfg)"
        );
        assert_eq!(title("plain", "a", "b", "c"), "plain");
        assert!(title("{candidate}", &"é".repeat(500), "", "").chars().count() <= TITLE_LIMIT);
    }
}
