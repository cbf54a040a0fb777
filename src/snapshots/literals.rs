//! The string literals of the sources, for the check that a snapshot shows each message.

use std::path::{Path, PathBuf};

/// A part of a message: the text of a literal between two placeholders.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Fragment {
    pub text: String,
    pub place: String,
}

/// Fewer words than this are no message.
const WORDS: usize = 4;

/// The fragments of all messages below a folder: without tests, logs and expectations.
pub fn messages(folder: &Path) -> Vec<Fragment> {
    let mut found = Vec::new();
    for path in rust_files(folder) {
        let source = std::fs::read_to_string(&path).unwrap();
        let source = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (line, before, literal) in literals(source) {
            let statement = before.rsplit([';', '{', '}']).next().unwrap_or_default();
            if ["tracing::", "expect(", "register("].iter().any(|skipped| statement.contains(skipped)) {
                continue;
            }
            if !is_sentence(&literal) {
                continue;
            }
            let place = format!("{}:{line}", path.strip_prefix(super::root()).unwrap().display());
            for text in between_placeholders(&literal) {
                let text = super::one_line(&text);
                if text.split(' ').filter(|word| word.chars().any(char::is_alphabetic)).count() >= WORDS {
                    found.push(Fragment { text, place: place.clone() });
                }
            }
        }
    }
    found
}

/// Messages are whole sentences; the names of cases and the reasons of assertions are not.
fn is_sentence(literal: &str) -> bool {
    let text = literal.trim_end();
    (text.ends_with('.') || text.contains(". ")) && !text.starts_with("# ")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.contains("test") || name.starts_with("messages") || name.starts_with("snapshots") {
            continue;
        }
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    found
}

/// All string literals that are not in comments: the line, the code before it, and the text.
fn literals(source: &str) -> Vec<(usize, String, String)> {
    let chars: Vec<char> = source.chars().collect();
    let (mut found, mut at, mut line, mut code) = (Vec::new(), 0, 1, String::new());
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        match (c, next) {
            ('/', Some('/')) => {
                while chars.get(at).is_some_and(|c| *c != '\n') {
                    at += 1;
                }
                continue;
            }
            // A character such as '"'.
            ('\'', Some(quoted)) if chars.get(at + 2) == Some(&'\'') && quoted != '\\' => at += 3,
            ('\'', Some('\\')) => {
                at += 2;
                while chars.get(at).is_some_and(|c| *c != '\'') {
                    at += 1;
                }
                at += 1;
            }
            ('"', _) => {
                let hashes = code.chars().rev().take_while(|c| *c == '#').count();
                let is_raw = code.trim_end_matches('#').ends_with('r');
                let (start, mut text) = (line, String::new());
                at += 1;
                while let Some(&c) = chars.get(at) {
                    let closes = c == '"' && chars.iter().skip(at + 1).take(hashes).all(|c| *c == '#');
                    if closes && (is_raw || hashes == 0) {
                        break;
                    }
                    if c == '\n' {
                        line += 1;
                    }
                    if c == '\\' && !is_raw {
                        at += 1;
                        match chars.get(at) {
                            Some('\n') => {
                                line += 1;
                                while chars.get(at + 1).is_some_and(|c| *c == ' ') {
                                    at += 1;
                                }
                            }
                            Some('n' | 't') => text.push('\n'),
                            Some(escaped) => text.push(*escaped),
                            None => {}
                        }
                    } else {
                        text.push(c);
                    }
                    at += 1;
                }
                at += 1;
                found.push((start, code.clone(), text));
                code.push_str("\"\"");
            }
            _ => {
                if c == '\n' {
                    line += 1;
                }
                code.push(c);
                if code.len() > 4000 && code.is_char_boundary(2000) {
                    code.drain(..2000);
                }
                at += 1;
            }
        }
    }
    found
}

fn between_placeholders(literal: &str) -> Vec<String> {
    let literal = literal.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let mut parts = Vec::new();
    for part in literal.split('{') {
        parts.push(part.split_once('}').map_or(part, |(_, text)| text));
    }
    parts.iter().map(|part| part.replace('\u{1}', "{").replace('\u{2}', "}")).collect()
}
