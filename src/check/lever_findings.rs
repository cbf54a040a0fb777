//! Findings about Lever's answers, without any I/O.

use super::report::{Finding, Topic};
use super::service_findings::plural;
use super::target::Rule;
use http_client::{AnswerPart, Oddities};
use lever::{LeverStage, Opportunity, STAGE_CHANGE_EVENT, Webhook};
use serde_json::Value;
use services::lever::{self as types, ListPage};
use std::collections::{BTreeMap, BTreeSet};

/// Values of `confidentiality` that the operator knows.
const CONFIDENTIALITY: [&str; 2] = ["confidential", "non-confidential"];
/// Maximum number of stages that are listed in a message.
const MAX_LISTED_STAGES: usize = 12;

/// Page of opportunities as the operator reads it.
pub(super) struct Page {
    /// Readable rows.
    pub rows: Vec<Opportunity>,
    /// Number of rows that the operator leaves out.
    pub left_out: usize,
    /// Path of the first member or row that the operator cannot read.
    pub odd: Option<String>,
    /// Token of the next page.
    pub next: Option<String>,
    /// IDs of the rows that belong to a posting.
    of_postings: Vec<String>,
}

impl Page {
    /// Reads an answer of Lever's list of opportunities.
    pub(super) fn read(answer: &Value) -> Result<Self, &'static str> {
        let odd = Oddities::default();
        let page = ListPage::from_answer(&AnswerPart::whole(answer, &odd), types::opportunity)?;
        let raw = answer.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let has_posting = |row: &&Value| row.pointer("/applications/0").is_some();
        let of_postings = raw.iter().filter(has_posting).filter_map(|row| row.get("id")?.as_str());
        Ok(Self {
            of_postings: of_postings.map(str::to_owned).collect(),
            rows: page.rows,
            left_out: page.left_out,
            odd: odd.rows().or_else(|| odd.members()).map(|odd| odd.first),
            next: page.next.map(|token| token.as_str().to_owned()),
        })
    }

    /// Reports whether a row belongs to a posting.
    pub(super) fn is_of_a_posting(&self, row: &Opportunity) -> bool {
        self.of_postings.contains(&row.id)
    }

    /// Returns the ID of a row that belongs to a posting.
    pub(super) fn of_a_posting(&self) -> Option<&str> {
        self.of_postings.first().map(String::as_str)
    }

    /// Returns the IDs of the rows.
    pub(super) fn ids(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row.id.as_str()).collect()
    }
}

/// Returns the stage with this ID or exact name.
pub(super) fn stage<'a>(stages: &'a [LeverStage], wanted: &str) -> Option<&'a LeverStage> {
    let by_id = stages.iter().find(|stage| stage.id == wanted);
    by_id.or_else(|| stages.iter().find(|stage| stage.name == wanted))
}

/// Returns the findings about the stages of the rules.
pub(super) fn stages(stages: &[LeverStage], rules: &[Rule]) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let rules = rules.iter().filter_map(|rule| Some((rule, rule.stage.as_deref()?)));
    let mut found = Vec::new();
    for (rule, wanted) in rules.filter(|(_, wanted)| seen.insert(*wanted)) {
        let (what, owner) = (format!("stage {wanted:?}"), setting(rule, "stage"));
        let same_name = stages.iter().filter(|stage| stage.name == wanted).count();
        found.push(match stage(stages, wanted) {
            Some(stage) if stage.id != wanted && same_name > 1 => Finding::failure(
                what,
                format!("{same_name} stages of the account have this name"),
                format!("Use the ID of the stage in {owner}: {}", listed(stages, Some(wanted))),
                Topic::Stages,
            ),
            Some(_) => Finding::ok(what, "exists"),
            None => Finding::failure(
                what,
                "the account has no such stage; upper and lower case count",
                format!("Use one of these in {owner}: {}", listed(stages, None)),
                Topic::Stages,
            ),
        });
    }
    found
}

fn listed(stages: &[LeverStage], name: Option<&str>) -> String {
    let wanted: Vec<&LeverStage> =
        stages.iter().filter(|stage| name.is_none_or(|name| stage.name == name)).collect();
    let shown = wanted.iter().take(MAX_LISTED_STAGES);
    let mut names: Vec<String> = shown
        .map(|stage| if name.is_some() { stage.id.clone() } else { format!("{:?}", stage.name) })
        .collect();
    let others = wanted.len().saturating_sub(names.len());
    if others > 0 {
        names.push(format!("and {others} others"));
    }
    names.join(", ")
}

/// Returns the place of a rule's setting.
pub(super) fn setting(rule: &Rule, field: &str) -> String {
    if rule.configuration.is_empty() {
        format!("--{field}")
    } else {
        format!("spec.{field} of PadConfiguration {}", rule.configuration)
    }
}

/// Returns the findings about the rows of a list. `answer` is the whole answer.
pub(super) fn rows(answer: &Value) -> Vec<Finding> {
    let what = "rows of GET /opportunities";
    let page = match Page::read(answer) {
        Ok(page) => page,
        Err(reason) => return vec![Finding::failure(what, reason, REPORT, Topic::Answers)],
    };
    let total = page.rows.len() + page.left_out;
    if total == 0 {
        return vec![Finding::warning(
            what,
            "the account has no candidates, so that neither their shape nor the filters can be checked",
            "Add a test candidate in Lever, then check again.",
            Topic::Answers,
        )];
    }
    let mut found = Vec::new();
    found.push(match &page.odd {
        None => Finding::ok(what, format!("the operator reads all members of {}", plural(total, "row"))),
        Some(path) if page.left_out > 0 => Finding::warning(
            what,
            format!("{} of {total} cannot be read; the first problem is at {path}", page.left_out),
            format!("The operator leaves these candidates out. {REPORT}"),
            Topic::Answers,
        ),
        Some(path) => Finding::warning(
            what,
            format!("a member cannot be read and is dropped: {path}"),
            REPORT,
            Topic::Answers,
        ),
    });
    found.push(stage_changes(&page.rows));
    let raw = answer.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    found.push(words(raw));
    found
}

/// Request for a bug report.
pub(super) const REPORT: &str =
    "Please report it with the folder that --record DIR writes; it contains no personal data.";

fn stage_changes(rows: &[Opportunity]) -> Finding {
    let what = "stageChanges";
    let total = rows.len();
    let without = rows.iter().filter(|row| row.stage_changes.is_empty()).count();
    let elsewhere =
        rows.iter().filter(|row| row.stage_changes.last().is_some_and(|last| last.to_stage_id != row.stage));
    let elsewhere = elsewhere.count();
    let without_stage = rows.iter().filter(|row| row.stage.is_empty()).count();
    if without_stage > 0 {
        let detail = format!("{without_stage} of {total} rows have no stage");
        let next = format!("The operator cannot create pads for these candidates. {REPORT}");
        return Finding::failure("stage", detail, next, Topic::Answers);
    }
    if without > 0 {
        return Finding::warning(
            what,
            format!("{without} of {} have none", plural(total, "row")),
            format!(
                "Without them, the operator does not see when a candidate entered a stage, and takes the time of creation. \
                 Check that the key has all read permissions. {REPORT}"
            ),
            Topic::Answers,
        );
    }
    if elsewhere > 0 {
        return Finding::warning(
            what,
            format!("in {elsewhere} of {}, the last one is not the stage", plural(total, "row")),
            REPORT,
            Topic::Answers,
        );
    }
    Finding::ok(what, format!("present in {}, and the last one is the stage", plural(total, "row")))
}

fn words(rows: &[Value]) -> Finding {
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    for word in rows.iter().filter_map(|row| row.get("confidentiality")?.as_str()) {
        *met.entry(word.chars().take(40).collect()).or_default() += 1;
    }
    let unknown: Vec<&str> =
        met.keys().map(String::as_str).filter(|word| !CONFIDENTIALITY.contains(word)).collect();
    if unknown.is_empty() {
        return Finding::ok("words", "all are known");
    }
    Finding::warning(
        "words",
        format!("confidentiality is {:?}, which the operator takes for not confidential", unknown.join(", ")),
        REPORT,
        Topic::Answers,
    )
}

/// Returns the finding about the opportunity that was read by its ID, compared with its row.
pub(super) fn single(row: &Opportunity, answer: &Value) -> Finding {
    let what = "GET /opportunities/{id} against its row";
    let odd = Oddities::default();
    let part = AnswerPart::whole(answer, &odd);
    let Some(single) = part.member("data").and_then(|data| types::opportunity(&data)) else {
        return Finding::failure(what, "the answer cannot be read", REPORT, Topic::Answers);
    };
    if single.updated_at_ms != row.updated_at_ms {
        return Finding::ok(what, "not compared; it changed since the list was read");
    }
    let differences: Vec<&str> = [
        ("stage", single.stage != row.stage),
        ("stageChanges", single.stage_changes != row.stage_changes),
        ("tags", single.tags != row.tags),
        ("links", single.links != row.links),
        ("archived", single.archived != row.archived),
        ("contact", single.contact != row.contact),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect();
    if differences.is_empty() {
        Finding::ok(what, "equal")
    } else {
        Finding::warning(what, format!("different: {}", differences.join(", ")), REPORT, Topic::Lists)
    }
}

/// Filter of a request, and its answer.
pub(super) struct Filtered<'a> {
    /// Description of the filter.
    pub what: String,
    /// ID of the stage.
    pub stage_id: &'a str,
    /// Tag.
    pub tag: Option<&'a str>,
    /// Answer.
    pub page: &'a Page,
}

impl Filtered<'_> {
    fn has_tag(&self, row: &Opportunity) -> bool {
        self.tag.is_none_or(|tag| row.tags.iter().any(|one| one == tag))
    }

    fn matches(&self, row: &Opportunity) -> bool {
        row.stage == self.stage_id && !row.archived && self.has_tag(row)
    }

    /// Returns the rows of the unfiltered page that the filter should have included.
    pub(super) fn missing<'p>(&self, all: &'p Page) -> Vec<&'p Opportunity> {
        if self.page.next.is_some() {
            return Vec::new();
        }
        let shown = self.page.ids();
        all.rows.iter().filter(|row| self.matches(row) && !shown.contains(&row.id.as_str())).collect()
    }

    /// Returns the finding about the filter. `inherited` says whether a missing candidate has the tag from the posting.
    pub(super) fn finding(&self, all: &Page, inherited: Option<bool>) -> Finding {
        let rows = &self.page.rows;
        let ignored: Vec<&str> = [
            ("stage_id", rows.iter().any(|row| row.stage != self.stage_id)),
            ("tag", rows.iter().any(|row| !self.has_tag(row))),
            ("archived", rows.iter().any(|row| row.archived)),
        ]
        .into_iter()
        .filter_map(|(name, is_ignored)| is_ignored.then_some(name))
        .collect();
        let what = self.what.clone();
        if !ignored.is_empty() {
            return Finding::warning(
                what,
                format!("Lever ignores the filter {}", ignored.join(", ")),
                format!("The operator checks each row itself, and needs more requests. {REPORT}"),
                Topic::Lists,
            );
        }
        let missing = self.missing(all).len();
        if missing > 0 {
            let why = match inherited {
                Some(true) => "; they have the tag from their posting",
                Some(false) | None => "",
            };
            return Finding::warning(
                what,
                format!("the filter leaves out {} of the first page{why}", plural(missing, "candidate")),
                format!(
                    "A sync does not find these candidates; their webhooks work. Put the tag on the candidates themselves. \
                     {REPORT}"
                ),
                Topic::Lists,
            );
        }
        let more = if self.page.next.is_some() { " or more" } else { "" };
        let checked = if self.page.next.is_some() { "all match" } else { "as in the unfiltered list" };
        Finding::ok(what, format!("{}{more}, {checked}", plural(rows.len(), "candidate")))
    }
}

/// Returns the finding about rows of the first page that are also in the second.
pub(super) fn row_on_two_pages(what: &str, rows: usize) -> Finding {
    let detail = format!("{} of the first page also in the second", plural(rows, "row"));
    Finding::warning(what, detail, REPORT, Topic::Lists)
}

/// Returns the finding about two consecutive short pages, compared with the long first page.
pub(super) fn paging(first: &[&str], second: &[&str], all: &[&str]) -> Finding {
    let what = "pages";
    let repeated = second.iter().filter(|id| first.contains(id)).count();
    if repeated > 0 {
        return row_on_two_pages(what, repeated);
    }
    let read: Vec<&str> = first.iter().chain(second).copied().collect();
    let is_prefix = all.iter().zip(&read).all(|(one, other)| one == other);
    let order =
        if is_prefix { "the order is the same as in one long page" } else { "the order changed meanwhile" };
    Finding::ok(what, format!("the token is accepted, no row is there twice, and {order}"))
}

/// Returns the finding about a filter by time: rows that are older than `start`.
pub(super) fn time_filter(
    what: &str,
    start: i64,
    page: &Page,
    at: impl Fn(&Opportunity) -> Option<i64>,
) -> Finding {
    let older = page.rows.iter().filter(|row| at(row).is_some_and(|at| at < start)).count();
    if older == 0 {
        return Finding::ok(what, plural(page.rows.len(), "row"));
    }
    Finding::warning(
        what,
        format!("Lever ignores the filter: {} older", plural(older, "row")),
        format!("Erased candidates are found late. {REPORT}"),
        Topic::Lists,
    )
}

/// Returns whether a posting gives a tag to its opportunities: by its tags, its title or its categories.
pub(super) fn gives_tag(posting: &Value, tag: &str) -> bool {
    let data = posting.get("data").unwrap_or(posting);
    let is_tag = |value: &Value| value.as_str() == Some(tag);
    let list =
        |value: Option<&Value>| value.and_then(Value::as_array).is_some_and(|list| list.iter().any(is_tag));
    let categories = data.get("categories").and_then(Value::as_object);
    list(data.get("tags"))
        || data.get("text").is_some_and(is_tag)
        || categories
            .is_some_and(|categories| categories.values().any(|value| is_tag(value) || list(Some(value))))
}

/// Returns the ID of the posting in an opportunity with expanded applications.
pub(super) fn posting_id(answer: &Value) -> Option<&str> {
    answer.pointer("/data/applications/0/posting")?.as_str()
}

/// Returns the finding about webhooks in Lever. `url` is the expected URL.
pub(super) fn webhooks(list: &[Webhook], url: Option<&str>, managed: bool) -> Finding {
    let what = "webhooks of this key in Lever";
    let stage_changes: Vec<&Webhook> = list.iter().filter(|one| one.event == STAGE_CHANGE_EVENT).collect();
    let bare = |url: &str| {
        url.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/').to_owned()
    };
    let ours = url.map(|url| stage_changes.iter().filter(|one| bare(&one.url) == bare(url)).count());
    let total = format!("{} for stage changes", stage_changes.len());
    match ours {
        None => Finding::ok(
            what,
            format!("{total}; not compared, because the operator's URL is not known (--webhook-url)"),
        ),
        Some(0) if managed => Finding::failure(
            what,
            format!("{total}, none with the operator's URL"),
            "Look at the condition WebhookVerified of the LeverConnection. After a rotation, the new key does not see the \
             webhook of the old one.",
            Topic::Webhooks,
        ),
        Some(0) => Finding::ok(
            what,
            format!(
                "{total}, none with the operator's URL; a webhook that a person created is not in this list"
            ),
        ),
        Some(1) => Finding::ok(what, format!("{total}, one with the operator's URL")),
        Some(ours) => Finding::warning(
            what,
            format!("{total}, {ours} with the operator's URL"),
            "Lever sends each stage change several times, and only the one with the known token is accepted. Delete the \
             others in Lever: Settings > Integrations and API > Webhooks.",
            Topic::Webhooks,
        ),
    }
}

/// Returns the finding about a request without a signature to the webhook URL. `answer` is the status, or the error.
pub(super) fn reach(answer: &Result<u16, String>) -> Finding {
    const NEXT: &str = "Open the URL in a browser outside the cluster's network: the operator answers 405 there. If it does \
                        not, check DNS, the Ingress or Gateway, and the certificate.";
    let what = "webhook URL";
    match answer {
        Ok(405) => Finding::ok(what, "the operator answers"),
        Ok(503) => {
            Finding::warning(what, "answered 503: no replica is ready, or none runs", NEXT, Topic::Webhooks)
        }
        Ok(status) => Finding::failure(
            what,
            format!("answered {status}, which is not the operator's answer"),
            NEXT,
            Topic::Webhooks,
        ),
        Err(error) => Finding::warning(
            what,
            format!("not reached from here: {error}"),
            format!(
                "Some networks cannot reach their own public addresses, so that this may be fine. {NEXT}"
            ),
            Topic::Webhooks,
        ),
    }
}
