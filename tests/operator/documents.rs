//! Documents that refer to tests and files: each of them exists.

use crate::cluster::source;

/// Number of threats in `docs/security.md`.
const THREATS: usize = 27;

/// Asserts that a list contains existing tests, such as "`tests/operator/chart.rs::name`, `...`".
pub fn assert_tests(list: &str) {
    for test in list.split(", ") {
        let test = test.strip_prefix('`').and_then(|test| test.strip_suffix('`'));
        let (file, name) = test.and_then(|test| test.split_once("::")).expect(list);
        assert!(is_test(file, name), "there is no test {name} in {file}: {list}");
    }
}

/// Reports whether the file has a test with this name.
pub fn is_test(file: &str, name: &str) -> bool {
    let Ok(code) = std::fs::read_to_string(source(file)) else { return false };
    let lines: Vec<_> = code.lines().map(str::trim).collect();
    let begins = |line: &&str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ")
            .and_then(|line| line.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('('))
    };
    let Some(place) = lines.iter().position(begins) else { return false };
    let above =
        lines[..place].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    above
        .copied()
        .any(|line| ["#[test]", "#[tokio::test", "#[rstest"].iter().any(|mark| line.starts_with(mark)))
}

#[test]
fn only_tests_are_recognized_as_tests() {
    assert!(is_test("tests/operator/documents.rs", "only_tests_are_recognized_as_tests"));
    assert!(!is_test("tests/operator/documents.rs", "is_test"), "a helper is not a test");
    assert!(!is_test("tests/operator/documents.rs", "only_a_test"), "a prefix of a name is not a test");
}

#[test]
fn every_threat_names_countermeasures_and_existing_tests() {
    let document = std::fs::read_to_string(source("docs/security.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| threat"));
    let mut threats = 0;
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [threat, stopped_by, shown_by] = cells[..] else { panic!("not three cells: {row}") };
        assert!(!threat.is_empty() && !stopped_by.is_empty(), "{row}");
        assert_tests(shown_by);
        threats += 1;
    }
    assert_eq!(threats, THREATS);
}

/// Checks the repository paths in the documents for contributors and on releases.
fn named(document: &str) -> Vec<String> {
    const FOLDERS: [&str; 9] =
        ["src/", "crates/", "tests/", "docs/", "simulators/", "charts/", "examples/", "released", "crds"];
    let text = std::fs::read_to_string(source(document)).unwrap();
    let spans = text.split('`').skip(1).step_by(2);
    let is_path = |span: &&str| {
        let file = ["CHANGELOG.md", "Cargo.toml", "Cargo.lock"].contains(span);
        let placeholder = span.contains(char::is_whitespace) || span.contains("X.Y.Z");
        (file || FOLDERS.iter().any(|folder| span.starts_with(folder))) && !placeholder
    };
    spans.filter(is_path).map(ToOwned::to_owned).collect()
}

#[test]
fn files_named_for_contributors_exist() {
    let mut found = 0;
    for document in ["docs/contributing.md", "docs/releases.md"] {
        for path in named(document) {
            assert!(std::fs::exists(source(&path)).unwrap(), "{document} names {path}, which does not exist");
            found += 1;
        }
    }
    assert!(found > 60, "{found}: the documents name more than that");
}
