//! Links of all documents, as seen in the repository: the file and the anchor exist.

use std::path::Path;

use super::markdown;
use super::{documents, read};
use crate::cluster::source;

#[test]
fn every_link_has_an_existing_file_and_anchor() {
    let (mut looked_at, mut faults) = (0, Vec::new());
    for document in documents() {
        for link in markdown::links(&read(&document)) {
            if ["http:", "https:", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
                continue;
            }
            looked_at += 1;
            if let Some(why) = fault(&document, &link) {
                faults.push(format!("{document}: {link} {why}"));
            }
        }
    }
    assert!(looked_at > 100, "{looked_at}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn fault(document: &str, link: &str) -> Option<&'static str> {
    let (file, place) = link.split_once('#').unwrap_or((link, ""));
    let folder = Path::new(document).parent()?;
    let target = if file.is_empty() { Path::new(document).to_owned() } else { folder.join(file) };
    let whole = std::fs::canonicalize(source(&target.display().to_string())).ok();
    let Some(whole) = whole else { return Some("is not there") };
    // The site contains only files of its folder; a path in code locates other files.
    let site = std::fs::canonicalize(source("docs")).ok()?;
    if document.starts_with("docs/") && !whole.starts_with(&site) {
        return Some("leaves the site: name the path in code, or link to examples.md or values.md");
    }
    let has_place = place.is_empty()
        || (whole.extension().is_some_and(|end| end == "md")
            && markdown::places(&std::fs::read_to_string(&whole).ok()?).contains(place));
    (!has_place).then_some("has no such heading")
}

#[test]
fn every_page_is_in_the_summary() {
    let listed = markdown::links(&read("docs/SUMMARY.md"));
    for document in documents() {
        let Some(page) = document.strip_prefix("docs/").filter(|page| *page != "SUMMARY.md") else {
            continue;
        };
        assert!(listed.iter().any(|link| link == page), "docs/SUMMARY.md does not list {page}");
    }
}
