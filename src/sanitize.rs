//! Text from outside, made safe to show: candidate names, titles, messages of the two services.

use unicode_general_category::{GeneralCategory, get_general_category};

/// Longest name of a person, in characters.
pub const NAME_LIMIT: usize = 100;
/// Longest title of a pad, in characters.
pub const TITLE_LIMIT: usize = 200;

/// One line without control, format and bidirectional characters, white space folded, at most `limit` characters.
pub fn one_line(text: &str, limit: usize) -> String {
    let visible: String = text
        .chars()
        .filter_map(|c| if c.is_whitespace() { Some(' ') } else { Some(c).filter(|c| is_visible(*c)) })
        .collect();
    let folded = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&folded, limit)
}

/// The text without white space, line ends and byte order marks around it: editors and shells of Windows add them
/// (contract A8).
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// Text of several lines without control, format and bidirectional characters, but with its lines and tabs.
pub fn lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.chars().filter(|c| matches!(c, '\n' | '\t') || is_visible(*c)).collect()
}

/// The text with U+2060 after each `@` before a letter or digit, so that it mentions nobody.
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

/// The name of a candidate as shown everywhere; an empty one is `Candidate <first 8 of the id>`.
pub fn candidate_name(name: &str, opportunity_id: &str) -> String {
    let name = one_line(name, NAME_LIMIT);
    if name.is_empty() {
        format!("Candidate {}", opportunity_id.chars().take(8).collect::<String>())
    } else {
        name
    }
}

/// The text, cut to at most `limit` characters, the last of them an ellipsis if anything was cut.
pub fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The title of a pad: the template of the configuration with its placeholders filled in. One pass, so that a
/// candidate's name that looks like a placeholder stays what it is.
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

/// A message of a service, which may have quoted a candidate, without the candidate's name.
pub fn without_name(message: &str, name: &str) -> String {
    if name.is_empty() { message.to_owned() } else { message.replace(name, "(candidate)") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{any_text, try_all};
    use proptest::prelude::*;

    #[test]
    fn any_title_is_one_plain_short_line() {
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
    fn lines_stay_and_mentions_do_not() {
        assert_eq!(lines("a\r\n\tb\u{202e}\u{0000}c"), "a\n\tbc");
        assert_eq!(without_mentions("@ada a@b @ @_ @é"), "@\u{2060}ada a@\u{2060}b @ @_ @\u{2060}é");
    }

    #[test]
    fn a_title_fills_placeholders_once() {
        assert_eq!(
            title("{candidate} - {stage} ({configuration})", "{stage}", "Phone Screen", "cfg"),
            "{stage} - Phone Screen (cfg)"
        );
        assert_eq!(title("plain", "a", "b", "c"), "plain");
        assert!(title("{candidate}", &"é".repeat(500), "", "").chars().count() <= TITLE_LIMIT);
    }
}
