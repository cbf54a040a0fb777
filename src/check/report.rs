//! Report of a check: sections of findings, as text and as JSON.

use serde::Serialize;
use std::fmt::Write as _;

/// Page of the documentation with one heading for each [`Topic`].
pub const PAGE: &str = "docs/how-to/check.md";

/// Severity of a finding.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As the operator expects.
    Ok,
    /// The operator works, but differently than expected, or the check could not find out.
    Warning,
    /// The operator does not work, or not for all candidates.
    Failure,
}

impl Level {
    /// Returns the mark in front of a finding.
    fn mark(self) -> char {
        match self {
            Self::Ok => '√',
            Self::Warning => '‼',
            Self::Failure => '×',
        }
    }

    /// Returns the exit code of a program whose worst finding has this level (contract O1).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Failure => 2,
        }
    }
}

/// Heading of `docs/how-to/check.md` that describes a problem and its solution.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Topic {
    /// Connections, proxies, certificates.
    Network,
    /// Differences of the clocks.
    Clock,
    /// Keys that a service rejects.
    Keys,
    /// Keys without a permission.
    Permissions,
    /// Answers that differ from the documented ones.
    Answers,
    /// Filters and pages of lists.
    Lists,
    /// Stages and tags.
    Stages,
    /// Webhooks.
    Webhooks,
    /// Plan and quota of CoderPad.
    Quota,
    /// Questions and owners of pads.
    Questions,
    /// Writes of `--write-test`.
    Writes,
}

impl Topic {
    /// All topics.
    pub const ALL: [Self; 11] = [
        Self::Network,
        Self::Clock,
        Self::Keys,
        Self::Permissions,
        Self::Answers,
        Self::Lists,
        Self::Stages,
        Self::Webhooks,
        Self::Quota,
        Self::Questions,
        Self::Writes,
    ];

    /// Returns the anchor of the heading.
    pub fn anchor(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Clock => "clock",
            Self::Keys => "keys",
            Self::Permissions => "permissions",
            Self::Answers => "shape-of-answers",
            Self::Lists => "filters-paging-and-order",
            Self::Stages => "stages-and-tags",
            Self::Webhooks => "webhooks",
            Self::Quota => "plan-and-quota",
            Self::Questions => "questions-and-owners",
            Self::Writes => "write-test",
        }
    }

    /// Returns the place in the documentation.
    pub fn link(self) -> String {
        format!("{PAGE}#{}", self.anchor())
    }
}

/// Result of one check.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// Severity.
    pub level: Level,
    /// Checked fact.
    pub what: String,
    /// Observation.
    pub detail: String,
    /// Next step; only if the level is not [`Level::Ok`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Place in the documentation; only if the level is not [`Level::Ok`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
}

impl Finding {
    /// Returns a finding that needs no action.
    pub fn ok(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { level: Level::Ok, what: what.into(), detail: detail.into(), next: None, docs: None }
    }

    /// Returns a warning with its next step.
    pub fn warning(
        what: impl Into<String>,
        detail: impl Into<String>,
        next: impl Into<String>,
        topic: Topic,
    ) -> Self {
        Self {
            level: Level::Warning,
            next: Some(next.into()),
            docs: Some(topic.link()),
            ..Self::ok(what, detail)
        }
    }

    /// Returns a failure with its next step.
    pub fn failure(
        what: impl Into<String>,
        detail: impl Into<String>,
        next: impl Into<String>,
        topic: Topic,
    ) -> Self {
        Self { level: Level::Failure, ..Self::warning(what, detail, next, topic) }
    }
}

/// Findings about one subject.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Section {
    /// Title.
    pub title: String,
    /// Findings, in the order of the checks.
    pub findings: Vec<Finding>,
}

impl Section {
    /// Returns a section.
    pub fn new(title: impl Into<String>, findings: Vec<Finding>) -> Self {
        Self { title: title.into(), findings }
    }
}

/// Result of a whole check.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Report {
    /// Sections with at least one finding.
    pub sections: Vec<Section>,
    /// Number of requests to both services.
    pub calls: u32,
}

impl Report {
    /// Returns the worst level.
    pub fn level(&self) -> Level {
        self.findings().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.sections.iter().flat_map(|section| &section.findings)
    }

    fn count(&self, level: Level) -> usize {
        self.findings().filter(|finding| finding.level == level).count()
    }

    /// Returns the report for a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for section in self.sections.iter().filter(|section| !section.findings.is_empty()) {
            let _ = writeln!(text, "{}", section.title);
            for Finding { level, what, detail, next, docs } in &section.findings {
                let _ = writeln!(text, "  {} {what}: {detail}", level.mark());
                for step in next.iter().flat_map(|next| next.lines()) {
                    let _ = writeln!(text, "      → {step}");
                }
                if let Some(docs) = docs {
                    let _ = writeln!(text, "      see {docs}");
                }
            }
            text.push('\n');
        }
        let plural = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let _ = writeln!(
            text,
            "{} ok, {}, {}; {}",
            self.count(Level::Ok),
            plural(self.count(Level::Warning), "warning"),
            plural(self.count(Level::Failure), "failure"),
            plural(usize::try_from(self.calls).unwrap_or(usize::MAX), "request"),
        );
        text
    }

    /// Returns the report as one JSON object with a final line break.
    ///
    /// # Errors
    /// Never in practice: the report contains only texts and numbers.
    pub fn json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Document<'a> {
            level: Level,
            #[serde(flatten)]
            report: &'a Report,
        }
        let document = Document { level: self.level(), report: self };
        Ok(format!("{}\n", serde_json::to_string_pretty(&document)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(level: Level) -> Report {
        let finding = match level {
            Level::Ok => Finding::ok("clock", "1 s ahead"),
            Level::Warning => Finding::warning("clock", "40 s ahead", "Set it.", Topic::Clock),
            Level::Failure => Finding::failure("clock", "360 s ahead", "Set it.\nThen check.", Topic::Clock),
        };
        let sections = vec![Section::new("Network", vec![finding]), Section::new("Empty", Vec::new())];
        Report { sections, calls: 1 }
    }

    // contract O1
    #[test]
    fn the_worst_finding_sets_the_exit_code() {
        for (level, code) in [(Level::Ok, 0), (Level::Warning, 1), (Level::Failure, 2)] {
            assert_eq!(report(level).level().exit_code(), code);
        }
        assert_eq!(Report::default().level(), Level::Ok);
    }

    #[test]
    fn text_has_marks_steps_and_links_and_leaves_out_empty_sections() {
        let text = report(Level::Failure).text();
        let expected = "Network\n  × clock: 360 s ahead\n      → Set it.\n      → Then check.\n      see \
                        docs/how-to/check.md#clock\n\n0 ok, 0 warnings, 1 failure; 1 request\n";
        assert_eq!(text, expected);
        assert!(report(Level::Ok).text().contains("  √ clock: 1 s ahead\n"));
        assert!(report(Level::Warning).text().contains("  ‼ clock: 40 s ahead\n"));
    }

    #[test]
    fn json_contains_the_level_and_only_the_members_that_apply() {
        let value: serde_json::Value = serde_json::from_str(&report(Level::Warning).json().unwrap()).unwrap();
        assert_eq!((&value["level"], &value["calls"]), (&"warning".into(), &1.into()));
        assert_eq!(value["sections"][0]["findings"][0]["docs"], "docs/how-to/check.md#clock");
        let value: serde_json::Value = serde_json::from_str(&report(Level::Ok).json().unwrap()).unwrap();
        assert_eq!(value["sections"][0]["findings"][0].get("next"), None);
    }

    #[test]
    fn every_topic_is_a_heading_of_the_page() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
        let page = std::fs::read_to_string(page).unwrap();
        let headings = page.lines().filter(|line| line.starts_with('#'));
        let anchors: Vec<String> = headings
            .map(|line| {
                let words = line.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-");
                words.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
            })
            .collect();
        for topic in Topic::ALL {
            assert!(anchors.iter().any(|anchor| anchor == topic.anchor()), "{topic:?} is not in {anchors:?}");
        }
    }
}
