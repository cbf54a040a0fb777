//! Compares the output on a page with the real output, except for names, IDs, addresses and times, which differ in each
//! run.

/// Matches any number of lines on a page.
const ANYTHING: &str = "...";

/// Reports whether the output matches the page.
pub fn matches_page(told: &str, said: &str) -> bool {
    fn matches(told: &[String], said: &[String]) -> bool {
        match told {
            [] => said.is_empty(),
            [first, rest @ ..] if first == ANYTHING => {
                (0..=said.len()).any(|from| matches(rest, &said[from..]))
            }
            [first, rest @ ..] => said.first() == Some(first) && matches(rest, &said[1..]),
        }
    }
    let lines = |text: &str| text.lines().map(plain).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    matches(&lines(told), &lines(said))
}

/// Returns a line without the parts that differ in each run.
fn plain(line: &str) -> String {
    line.split_whitespace().map(plain_word).collect::<Vec<_>>().join(" ")
}

fn plain_word(word: &str) -> String {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let begins = word.starts_with(|first: char| first.is_ascii_digit());
    let is_span = begins
        && word.ends_with(['s', 'm', 'h', 'd'])
        && word.chars().all(|one| one.is_ascii_digit() || "smhd.".contains(one));
    let is_point = begins && digits >= 14 && word.contains('T') && word.ends_with('Z');
    if is_span || is_point {
        return "(time)".to_owned();
    }
    if let Some((before, _)) = word.split_once("://") {
        return format!("{}(address)", before.trim_end_matches(char::is_alphanumeric));
    }
    let parts = word.split_inclusive(|one: char| !one.is_ascii_alphanumeric() && one != '-');
    parts.map(plain_part).collect()
}

/// Letters, digits and hyphens, and perhaps one more at the end.
fn plain_part(part: &str) -> String {
    let name = part.trim_end_matches(|one: char| !one.is_ascii_alphanumeric());
    let is_uuid = name.len() == 36 && name.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    if is_uuid {
        return part.replacen(name, "(id)", 1);
    }
    let names = part.split_inclusive(|one: char| !one.is_ascii_alphanumeric()).map(|part| {
        let name = part.trim_end_matches(|one: char| !one.is_ascii_alphanumeric());
        if is_placeholder(name) { part.replacen(name, "(id)", 1) } else { part.to_owned() }
    });
    names.collect()
}

/// Part of a Pad's name, or CoderPad's ID of a pad.
fn is_placeholder(name: &str) -> bool {
    let is_hash = name.len() == 10 && name.chars().all(|one| one.is_ascii_hexdigit());
    let is_pad = name.len() == 8 && name.chars().all(|one| one.is_ascii_digit() || one.is_ascii_uppercase());
    is_hash || is_pad
}

#[test]
fn parts_that_differ_in_each_run_are_ignored() {
    let told = "NAME                        PHASE   REASON   URL              AGE\n\
                phone-screen-5f2c81a90e-1   Open    Open     https://x.y/A    4s\n";
    let said = told.replace("5f2c81a90e", "0123456789").replace("4s", "1m2s").replace("x.y/A", "z.y/B");
    assert!(matches_page(told, &said));
    assert!(matches_page("NAME PHASE REASON URL AGE\n...", &said));
    assert!(matches_page("...\nphone-screen-5f2c81a90e-1 Open Open http://q 1s", &said));
    for other in [said.replace("Open    Open", "Open    Linked"), said.replace("9-1", "9-2"), said + "more\n"]
    {
        assert!(!matches_page(told, &other), "{other}");
    }
    assert!(!matches_page("NAME PHASE REASON URL AGE", told));
}
