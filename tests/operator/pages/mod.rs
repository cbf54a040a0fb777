//! Documents as a reader follows them: each command of each page is run, each resource is applied, each output is
//! compared with the real output, each link works.
//!
//! A page is followed from top to bottom in its own environment (`walkthrough`). To add one, write it, name it below, and
//! run its test. `PAGES=write cargo test --test operator pages::NAME` writes the real output of the commands into its
//! blocks of `console`. Simulated actions in Lever or in CoderPad are commands of `functions.sh` in a comment between the
//! blocks that begins with `<!-- behind the page:`.

mod links;
pub mod markdown;
mod output;
mod shell;
pub mod untested_commands;
mod walkthrough;

use crate::cluster::source;
use crate::documents::is_test;

macro_rules! pages {
    ($($name:ident: $page:literal),* $(,)?) => {
        /// Pages that are followed here.
        const FOLLOWED: &[&str] = &[$($page),*];
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                walkthrough::run_page($page, stringify!($name)).await;
            }
        )*
    };
}

pages! {
    readme: "README.md",
    front: "docs/README.md",
    concepts: "docs/concepts.md",
    first_pad: "docs/first-pad.md",
    api: "docs/api.md",
    gitops: "docs/gitops.md",
    reasons: "docs/reasons.md",
    metrics: "docs/metrics.md",
    guide_steps: "docs/guide-steps.md",
    guide_coverage: "docs/guide-coverage.md",
    troubleshooting: "docs/troubleshooting.md",
    stage_and_tag: "docs/how-to/stage-and-tag.md",
    take_home: "docs/how-to/take-home.md",
    multiple_configurations: "docs/how-to/multiple-configurations.md",
    clusters: "docs/how-to/clusters.md",
    postings: "docs/how-to/postings.md",
    existing: "docs/how-to/existing.md",
    link: "docs/how-to/link.md",
    disable_one: "docs/how-to/disable-one.md",
    create_pad_manually: "docs/how-to/manual-pads.md",
    repeat: "docs/how-to/repeat.md",
    end: "docs/how-to/end.md",
    record: "docs/how-to/notes-and-tags.md",
    suspend: "docs/how-to/suspend.md",
    limits: "docs/how-to/limits.md",
    managed_webhook: "docs/how-to/managed-webhook.md",
    polling_only: "docs/how-to/polling-only.md",
    rotate: "docs/how-to/rotate.md",
    plugin: "docs/how-to/plugin.md",
}

/// Documents with blocks that other tests cover: the start of their names, the languages, and the test.
const TESTED_ELSEWHERE: &[(&str, &[&str], &str)] = &[
    (
        "docs/install.md",
        &["sh", "yaml"],
        "tests/operator/install.rs::install_page_leads_to_a_first_pad_and_to_removal",
    ),
    (
        "docs/how-to/check.md",
        &["sh", "console"],
        "tests/contract/program.rs::keys_are_read_from_the_environment_and_from_files",
    ),
    (
        "docs/runbooks/",
        &["sh", "promql"],
        "tests/operator/alerts.rs::every_query_returns_data_of_a_running_operator",
    ),
    ("docs/examples.md", &["yaml"], "tests/operator/gitops.rs::api_server_accepts_every_example"),
    ("docs/values.md", &["yaml"], "tests/operator/chart.rs::chart_permissions_suffice_for_the_main_job"),
];

/// Returns each document of the repository, by its path.
pub fn documents() -> Vec<String> {
    fn collect(folder: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(source(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            if name.starts_with('.') || path == "target" {
                continue;
            }
            match std::path::Path::new(&source(&path)).is_dir() {
                true => collect(&path, found),
                false if name.ends_with(".md") => found.push(path),
                false => {}
            }
        }
    }
    let mut found = Vec::new();
    collect("", &mut found);
    found.sort();
    found
}

pub fn read(document: &str) -> String {
    std::fs::read_to_string(source(document)).unwrap()
}

/// Reports whether these commands were only checked, because none of them can be run.
fn are_checked(commands: &str) -> bool {
    markdown::commands(commands).iter().all(|command| untested_commands::checked(command))
}

#[test]
fn every_document_with_commands_or_resources_has_a_test() {
    let documents = documents();
    assert!(documents.len() > 30, "{documents:#?}");
    for document in &documents {
        let elsewhere = TESTED_ELSEWHERE.iter().find(|(start, ..)| document.starts_with(start));
        for block in markdown::blocks(&read(document)) {
            let mut lines = block.text.lines().map(|line| line.trim().trim_start_matches("$ "));
            assert!(
                block.language != "text" || !lines.any(untested_commands::is_command),
                "{document}:{}: commands belong in a block of sh or console",
                block.line
            );
            let is_dealt_with = FOLLOWED.contains(&document.as_str())
                || block.language == "text"
                || elsewhere.is_some_and(|(_, languages, _)| languages.contains(&block.language.as_str()))
                || block.language == "sh" && are_checked(&block.text);
            assert!(
                is_dealt_with,
                "{document}:{}: no test runs or applies this block of {:?}. Name the page in pages! of \
                 tests/operator/pages/mod.rs: then it is followed from top to bottom",
                block.line, block.language
            );
        }
        for word in markdown::words(&read(document)).iter().filter(|word| untested_commands::is_command(word))
        {
            let is_dealt_with = FOLLOWED.contains(&document.as_str())
                || elsewhere.is_some()
                || untested_commands::is_name(word)
                || untested_commands::checked(word);
            assert!(is_dealt_with, "{document}: no test runs `{word}`. Name the page in pages!");
        }
    }
    for page in FOLLOWED {
        assert!(documents.iter().any(|document| document == page), "there is no {page}");
    }
    for (_, _, test) in TESTED_ELSEWHERE {
        let (file, name) = test.split_once("::").unwrap();
        assert!(is_test(file, name), "there is no {test}");
    }
}
