//! Compares the output on a page with the real output, except for names, IDs, addresses and times, which differ in each
//! run.

/// Matches any number of lines on a page.
const ANYTHING: &str = "...";

/// Reports whether the output matches the page.
pub fn matches_page(expected: &str, printed: &str) -> bool {
    fn matches(expected: &[String], printed: &[String]) -> bool {
        match expected {
            [] => printed.is_empty(),
            [first, rest @ ..] if first == ANYTHING => {
                (0..=printed.len()).any(|from| matches(rest, &printed[from..]))
            }
            [first, rest @ ..] => printed.first() == Some(first) && matches(rest, &printed[1..]),
        }
    }
    let lines = |text: &str| text.lines().map(plain).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    matches(&lines(expected), &lines(printed))
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
    let expected = "NAME                        PHASE   REASON   URL              AGE\n\
                phone-screen-5f2c81a90e-1   Open    Open     https://x.y/A    4s\n";
    let printed =
        expected.replace("5f2c81a90e", "0123456789").replace("4s", "1m2s").replace("x.y/A", "z.y/B");
    assert!(matches_page(expected, &printed));
    assert!(matches_page("NAME PHASE REASON URL AGE\n...", &printed));
    assert!(matches_page("...\nphone-screen-5f2c81a90e-1 Open Open http://q 1s", &printed));
    for other in
        [printed.replace("Open    Open", "Open    Linked"), printed.replace("9-1", "9-2"), printed + "more\n"]
    {
        assert!(!matches_page(expected, &other), "{other}");
    }
    assert!(!matches_page("NAME PHASE REASON URL AGE", expected));
}
