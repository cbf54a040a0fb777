//! Comparison with a file in `tests/snapshots`, for the tests of the library and of the programs.

#![allow(clippy::unwrap_used)] // Test code.

use api::Condition;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Compares a text with the snapshot of this name.
pub fn assert_snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(crate::repository().join("tests/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Describes the conditions of one case: each message once, with all conditions that have it.
pub fn describe(case: &str, conditions: &[Condition]) -> String {
    let mut text = format!("# {case}\n\n");
    let mut messages: Vec<&str> = conditions.iter().map(|one| one.message.as_str()).collect();
    let mut seen = BTreeSet::new();
    messages.retain(|message| seen.insert(*message));
    for message in messages {
        let same = conditions.iter().filter(|one| one.message == message);
        let heads: Vec<String> =
            same.map(|one| format!("{}={:?} {}", one.type_, one.status, one.reason)).collect();
        writeln!(text, "{}\n{message}\n", heads.join(", ")).unwrap();
    }
    text
}
