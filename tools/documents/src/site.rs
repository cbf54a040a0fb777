//! Checks every link of the built site: internal links must lead to an existing file and anchor.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, ensure};

/// Fails if a link is broken.
pub(crate) fn check(site: &Path) -> anyhow::Result<()> {
    let mut files = Vec::new();
    collect(site, &mut files)?;
    let pages: BTreeMap<PathBuf, String> = files
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "html"))
        .map(|file| Ok((file.clone(), std::fs::read_to_string(file)?)))
        .collect::<anyhow::Result<_>>()?;
    let anchors: BTreeMap<&Path, BTreeSet<&str>> =
        pages.iter().map(|(file, text)| (file.as_path(), attributes(text, " id=\"").collect())).collect();
    let (mut checked, mut broken) = (0, Vec::new());
    for (file, text) in &pages {
        // The error page is shown at any unknown address, so its links are relative to the root of the site.
        if file.ends_with("404.html") {
            continue;
        }
        for link in attributes(text, " href=\"").chain(attributes(text, " src=\"")) {
            checked += usize::from(!is_external(link));
            if let Some(why) = problem_with(file, link, &files, &anchors) {
                broken.push(format!("{}: {link} {why}", file.display()));
            }
        }
    }
    ensure!(checked > 0, "{} has no links", site.display());
    ensure!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    println!("documents: {checked} links of {} pages work", pages.len());
    Ok(())
}

fn is_external(link: &str) -> bool {
    ["http:", "https:", "mailto:", "data:"].iter().any(|scheme| link.starts_with(scheme))
}

fn problem_with(
    from: &Path,
    link: &str,
    files: &[PathBuf],
    anchors: &BTreeMap<&Path, BTreeSet<&str>>,
) -> Option<String> {
    if is_external(link) {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { from.to_owned() } else { resolved(from.parent()?, path) };
    if !files.contains(&target) {
        return Some("is not in the site".to_owned());
    }
    let has_anchor =
        anchor.is_empty() || anchors.get(target.as_path()).is_some_and(|anchors| anchors.contains(anchor));
    (!has_anchor).then(|| format!("has no anchor of this name in {}", target.display()))
}

fn resolved(folder: &Path, path: &str) -> PathBuf {
    let mut resolved = folder.to_owned();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => drop(resolved.pop()),
            Component::Normal(name) => resolved.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    resolved
}

/// Returns the values of an attribute, in the form that mdBook writes.
fn attributes<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).filter_map(|rest| rest.split('"').next())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_need_an_existing_file_and_anchor() {
        let files = ["s/a.html", "s/deep/b.html", "s/c.svg"].map(PathBuf::from);
        let anchors = BTreeMap::from([(files[0].as_path(), BTreeSet::from(["here"]))]);
        let is_fine = |link: &str| problem_with(&files[1], link, &files, &anchors).is_none();
        for link in ["../a.html#here", "../c.svg", "b.html", "https://example.com/x", "../a.html"] {
            assert!(is_fine(link), "{link}");
        }
        for link in ["../a.html#there", "a.html", "../README.md", "#here"] {
            assert!(!is_fine(link), "{link}");
        }
    }
}
