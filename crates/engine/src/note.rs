//! The text of the note that is written on the candidate after the interview. Pure.
//!
//! Its last line is the reference, by which the note is found. All other text is external: it is sanitized and cannot
//! mention Lever users.

use api::names::Reference;
use api::sanitize;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use services::coderpad::{Environment, PadKind, PadRecord};

/// Maximum length of a note, in characters (contract E3).
const NOTE_MAX_CHARS: usize = 20_000;
/// Text that replaces code which Lever refuses.
const LEFT_OUT: &str =
    "\n[Lever refused this note with the code, so the code is left out. The playback shows it.]\n";
/// Maximum number of named participants.
const PARTICIPANTS: usize = 50;

/// The code of the interview in the note.
#[derive(Clone, Copy, Debug)]
pub enum Code<'a> {
    /// The configuration requests no code.
    NotAsked,
    /// The code of these environments.
    Of(&'a [Environment]),
    /// Lever refused the note with the code.
    Refused,
}

/// Returns the text of the note.
pub fn text(
    record: &PadRecord,
    started_at: Option<Timestamp>,
    code: Code<'_>,
    reference: &Reference,
) -> String {
    let summary = sanitize::without_mentions(&summary(record, started_at));
    let last = format!("\n{}\n", reference.line());
    let left = NOTE_MAX_CHARS - (summary.chars().count() + last.chars().count()).min(NOTE_MAX_CHARS);
    let code = match code {
        Code::NotAsked => String::new(),
        Code::Of(environments) => truncate_code(&code_of(record, environments), left),
        Code::Refused => LEFT_OUT.to_owned(),
    };
    format!("{summary}{code}{last}")
}

fn summary(record: &PadRecord, started_at: Option<Timestamp>) -> String {
    let kind = if record.kind == PadKind::TakeHome { "take-home" } else { "interview" };
    let mut lines = vec![format!("The CoderPad {kind} has ended.")];
    let ended_at = record.ended_at;
    lines.extend(started_at.map(|at| format!("Started: {}", minute(at))));
    lines.extend(ended_at.map(|at| format!("Ended: {}", minute(at))));
    if let (Some(from), Some(to)) = (started_at, ended_at) {
        let minutes = to.duration_since(from).as_mins().max(0);
        lines.push(format!("Duration: {minutes} min"));
    }
    let names: Vec<String> = participants(record).collect();
    if !names.is_empty() {
        lines.push(format!("Participants: {}", names.join(", ")));
    }
    lines.extend(
        record.language.as_ref().map(|language| format!("Language: {}", sanitize::one_line(language, 100))),
    );
    lines.extend(record.playback.as_ref().map(|url| format!("Playback: {}", sanitize::one_line(url, 1000))));
    lines.join("\n") + "\n"
}

/// Returns the sanitized names that the participants entered: at most 50.
pub fn participants(record: &PadRecord) -> impl Iterator<Item = String> {
    let names = record.participants.iter().map(|name| sanitize::one_line(name, sanitize::NAME_LIMIT));
    names.filter(|name| !name.is_empty()).take(PARTICIPANTS)
}

fn minute(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Returns all files, each under its path; binary files are only named.
fn code_of(record: &PadRecord, environments: &[Environment]) -> String {
    let mut code = String::new();
    let mut add = |path: &str, language: Option<&str>, contents: Option<&str>| {
        let path = sanitize::one_line(path, 200);
        let language = language.map(|language| sanitize::one_line(language, 100)).unwrap_or_default();
        let name = if path.is_empty() { "Code" } else { &path };
        let heading = if language.is_empty() { name.to_owned() } else { format!("{name} ({language})") };
        let contents = contents.map_or_else(|| "[binary]".to_owned(), sanitize::lines);
        code.push_str(&format!("\n--- {heading} ---\n{}\n", contents.trim_end()));
    };
    for environment in environments {
        for file in &environment.files {
            add(&file.path, environment.language.as_deref(), file.contents.as_deref());
        }
    }
    if environments.is_empty()
        && let Some(contents) = &record.contents
    {
        add("", None, Some(contents));
    }
    let missing = record.environment_ids.len().saturating_sub(environments.len());
    if missing > 0 {
        code.push_str(&format!("\n[CoderPad did not return {missing} of the files.]\n"));
    }
    sanitize::without_mentions(&code)
}

/// Truncates the code to `limit` characters and appends a notice.
fn truncate_code(code: &str, limit: usize) -> String {
    const NOTICE: &str =
        "\n[The code is cut here: the note would be too long. The playback shows all of it.]\n";
    if code.chars().count() <= limit {
        return code.to_owned();
    }
    let kept: String = code.chars().take(limit.saturating_sub(NOTICE.chars().count())).collect();
    format!("{}{NOTICE}", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::names::Series;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;
    use services::coderpad::EnvironmentFile;
    use testkit::fuzz::{any_text, try_all};

    fn record() -> PadRecord {
        PadRecord::from_json(&json!({
            "status": "OK", "id": "PAD1", "title": "t", "state": "ended", "type": "live", "language": "python3",
            "url": "https://app.coderpad.io/PAD1", "playback": "https://app.coderpad.io/PAD1/playback",
            "created_at": "2026-02-03T09:00:00Z", "ended_at": "2026-02-03T11:05:30Z", "notes": "",
            "participants": ["Ada  Lovelace", "@here", "mail me@example.com\u{202e}", " "],
        }))
        .unwrap()
    }

    fn reference() -> Reference {
        Reference::new(Series::new("hiring", "phone-screen", "op-1"), 1)
    }

    fn environment(files: &[(&str, Option<&str>)]) -> Environment {
        let files = files
            .iter()
            .map(|(path, contents)| EnvironmentFile {
                path: (*path).to_owned(),
                contents: contents.map(str::to_owned),
            })
            .collect();
        Environment { language: Some("python3".into()), files }
    }

    #[test]
    fn a_summary_contains_times_participants_and_playback() {
        let started = "2026-02-03T10:03:20Z".parse().unwrap();
        let expected = format!(
            "The CoderPad interview has ended.\nStarted: 2026-02-03 10:03 UTC\nEnded: 2026-02-03 11:05 UTC\n\
             Duration: 62 min\nParticipants: Ada Lovelace, @\u{2060}here, mail me@\u{2060}example.com\nLanguage: python3\n\
             Playback: https://app.coderpad.io/PAD1/playback\n\nReference: {}\n",
            reference()
        );
        let note = text(&record(), Some(started), Code::NotAsked, &reference());
        assert_eq!(note, expected);
        assert!(reference().is_of_note(&note));
    }

    #[test]
    fn messages_of_the_note() {
        let started = "2026-02-03T10:03:20Z".parse().ok();
        let code = [environment(&[("main.py", Some("print(1)\n")), ("logo.png", None)])];
        let long = [environment(&[("main.py", Some(&"print(1)\n".repeat(3_000)))])];
        let mut missing = record();
        missing.environment_ids = vec![1, 2];
        let mut cases = String::new();
        for (case, record, code) in [
            ("without code", record(), Code::NotAsked),
            ("with code", record(), Code::Of(&code)),
            ("with code that is too long", record(), Code::Of(&long)),
            ("with a part of the code", missing, Code::Of(&code)),
            ("Lever refuses the code", record(), Code::Refused),
        ] {
            let note = text(&record, started, code, &reference());
            let note = note.replacen(&"print(1)\n".repeat(100), "", 50);
            cases.push_str(&format!("# {case}\n\n{note}\n"));
        }
        testkit::assert_snapshot("note", cases.trim_end());
    }

    #[test]
    fn the_code_is_listed_by_file() {
        let code = [environment(&[("main.py", Some("@app.route\nprint(1)\u{7}\n")), ("logo.png", None)])];
        let note = text(&record(), None, Code::Of(&code), &reference());
        let shown = "\n--- main.py (python3) ---\n@\u{2060}app.route\nprint(1)\n\n--- logo.png (python3) ---\n[binary]\n";
        assert!(note.contains(shown), "{note}");
        let mut old = record();
        old.contents = Some("puts 1".into());
        assert!(text(&old, None, Code::Of(&[]), &reference()).contains("\n--- Code ---\nputs 1\n"));
    }

    #[test]
    fn long_code_is_truncated_first_with_a_notice() {
        let code = [environment(&[("main.py", Some(&"é@a".repeat(20_000)))])];
        let note = text(&record(), None, Code::Of(&code), &reference());
        assert!(note.chars().count() <= NOTE_MAX_CHARS, "{}", note.chars().count());
        assert!(note.contains("[The code is cut here") && note.contains("Playback: https"));
        assert!(reference().is_of_note(&note));
    }

    #[test]
    fn any_note_has_its_reference_no_mentions_and_fits() {
        let files = vec((any_text(), proptest::option::of(any_text())), 0..4);
        let inputs = (vec(any_text(), 0..60), proptest::option::of(any_text()), any_text(), files);
        try_all("notes", inputs, |(participants, language, playback, files)| {
            let mut record = record();
            (record.participants, record.language, record.playback) =
                (participants, language, Some(playback));
            let files: Vec<_> = files.iter().map(|(path, code)| (path.as_str(), code.as_deref())).collect();
            let note = text(&record, None, Code::Of(&[environment(&files)]), &reference());
            prop_assert!(note.chars().count() <= NOTE_MAX_CHARS, "{}", note.chars().count());
            prop_assert!(reference().is_of_note(&note), "{note:?}");
            let pairs = note.chars().zip(note.chars().skip(1));
            prop_assert!(
                !pairs.into_iter().any(|(at, next)| at == '@' && next.is_alphanumeric()),
                "{note:?}"
            );
            prop_assert!(!note.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "{note:?}");
            Ok(())
        });
    }
}
