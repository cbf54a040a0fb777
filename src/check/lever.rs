//! Reads of a Lever account.

use super::calls::{Answer, Caller};
use super::lever_findings::{self as findings, Filtered, Page};
use super::network::{self, Route};
use super::report::{Finding, Level, Section, Topic};
use super::service_findings::{Endpoint, is_final, plural};
use super::target::{Account, Target};
use api::connection::WebhookMode;
use http_client::{AnswerPart, Oddities, Service};
use jiff::Timestamp;
use lever::{LeverStage, Opportunity, Webhook, permission};
use serde_json::Value;
use services::lever::{
    self as types, GET_OPPORTUNITY, GET_USER, LIST_DELETED, LIST_NOTES, LIST_OPPORTUNITIES, LIST_STAGES,
    ListPage,
};

const LIST_WEBHOOKS: &str = "GET /webhooks";
const GET_POSTING: &str = "GET /postings/{id}";
/// Number of rows of the long page.
const LONG_PAGE: &str = "100";
/// Number of rows of the two short pages.
const SHORT_PAGE: &str = "5";
/// Maximum number of pairs of stage and tag whose filter is tried.
const MAX_FILTERS: usize = 3;
/// Length of the time that the filters by time cover, in milliseconds.
const RECENT_MS: i64 = 7 * 24 * 3_600_000;

/// Reads of one Lever account, and what they found so far.
pub(super) struct LeverCheck<'a> {
    pub caller: &'a Caller,
    pub account: &'a Account,
    pub target: &'a Target,
}

impl LeverCheck<'_> {
    /// Sends all reads and returns the sections.
    pub(super) async fn sections(&self) -> Vec<Section> {
        let route = Route::look_up(&self.account.url).await;
        let stages = self.caller.get(LIST_STAGES, &["stages"], &[]).await;
        let Some(first) = stages.arrival() else { return Vec::new() };
        let mut sections =
            vec![Section::new("Network to Lever", network::findings(Service::Lever, &route, first))];
        if stages.head.is_none() {
            return sections;
        }
        let known = stages.result.as_ref().ok().map(read_stages).unwrap_or_default();
        let mut key =
            vec![self.finding(LIST_STAGES, Level::Failure, &stages, || plural(known.len(), "stage"))];
        if stages.result.as_ref().is_err_and(is_final) {
            sections.push(Section::new("Lever key", key));
            return sections;
        }
        let list = self.caller.get(LIST_OPPORTUNITIES, &["opportunities"], &[("limit", LONG_PAGE)]).await;
        let page = list.result.as_ref().ok().and_then(|answer| Page::read(answer).ok());
        let rows = page.as_ref().map_or(0, |page| page.rows.len());
        key.push(self.finding(LIST_OPPORTUNITIES, Level::Failure, &list, || {
            format!("{} in the first page", plural(rows, "candidate"))
        }));
        let single = match page.as_ref().and_then(|page| page.rows.first()) {
            Some(row) => Some(self.read_one(row, &mut key).await),
            None => None,
        };
        self.read_deleted(&mut key).await;
        self.read_performer(&mut key).await;
        let webhooks = self.webhooks(&mut key).await;
        sections.push(Section::new("Lever key", key));

        let mut shape: Vec<Finding> = list.result.as_ref().map(findings::rows).unwrap_or_default();
        shape.extend(single.flatten());
        sections.push(Section::new("Shape of Lever's answers", shape));
        sections.push(Section::new("Lever: stages and tags", findings::stages(&known, &self.target.rules)));
        if let Some(page) = page.filter(|page| !page.rows.is_empty()) {
            let mut lists = self.filters(&known, &page).await;
            lists.extend(self.paging(&page).await);
            lists.extend(self.time_filters().await);
            sections.push(Section::new("Lever: filters, paging and order", lists));
        }
        sections.push(Section::new("Webhooks", webhooks));
        sections
    }

    /// Lists the webhooks and tries the operator's URL, unless the connection has no webhook (contract C7a).
    async fn webhooks(&self, key: &mut Vec<Finding>) -> Vec<Finding> {
        let need = match self.target.webhook_mode {
            WebhookMode::None => return Vec::new(),
            WebhookMode::Manual => Level::Ok,
            WebhookMode::Managed => Level::Failure,
        };
        let listed = self.caller.get(LIST_WEBHOOKS, &["webhooks"], &[]).await;
        key.push(self.finding(LIST_WEBHOOKS, need, &listed, || "may be listed".to_owned()));
        let url = self.target.webhook_url.as_deref();
        let mut found = Vec::new();
        if let Ok(answer) = &listed.result {
            found.push(findings::webhooks(&read_webhooks(answer), url, need == Level::Failure));
        }
        if let Some(url) = url {
            found.push(findings::reach(&reach(url).await));
        }
        found
    }

    /// Returns the finding about an endpoint, with the permission in the words of Lever's settings.
    fn finding(
        &self,
        operation: &'static str,
        need: Level,
        answer: &Answer,
        describe: impl FnOnce() -> String,
    ) -> Finding {
        let permission = match operation {
            LIST_DELETED => format!(
                "Without {}, Pads keep the names of candidates who were deleted in Lever.",
                permission(operation)
            ),
            LIST_WEBHOOKS => {
                "The managed webhook needs the permissions of the group \"Webhooks\" (list, create, delete)."
                    .to_owned()
            }
            _ => format!("The key lacks {}.", permission(operation)),
        };
        let permission = format!("{permission} {NEW_KEY}");
        let place = &self.account.place;
        Endpoint { operation, need, permission: &permission, place }.finding(answer, describe)
    }

    /// Reads one opportunity and its notes. Returns the finding about the comparison with its row.
    async fn read_one(&self, row: &Opportunity, key: &mut Vec<Finding>) -> Option<Finding> {
        let single = self.caller.get(GET_OPPORTUNITY, &["opportunities", &row.id], &[]).await;
        key.push(self.finding(GET_OPPORTUNITY, Level::Failure, &single, || "readable".to_owned()));
        let notes = self.caller.get(LIST_NOTES, &["opportunities", &row.id, "notes"], &[]).await;
        key.push(self.finding(LIST_NOTES, Level::Failure, &notes, || {
            let odd = Oddities::default();
            let answer = notes.result.as_ref().ok();
            let page =
                answer.map(|answer| ListPage::from_answer(&AnswerPart::whole(answer, &odd), types::note));
            match page {
                Some(Ok(page)) if page.left_out == 0 => plural(page.rows.len(), "note"),
                Some(Ok(page)) => format!("{} of them unreadable", plural(page.left_out, "note")),
                Some(Err(reason)) => reason.to_owned(),
                None => String::new(),
            }
        }));
        single.result.ok().map(|answer| findings::single(row, &answer))
    }

    async fn read_deleted(&self, key: &mut Vec<Finding>) {
        let start = recent().to_string();
        let query = [("deleted_at_start", start.as_str()), ("limit", "1")];
        let deleted = self.caller.get(LIST_DELETED, &["opportunities", "deleted"], &query).await;
        key.push(self.finding(LIST_DELETED, Level::Warning, &deleted, || "may be listed".to_owned()));
    }

    /// Checks that the user of `performAs` is active (contract C3b).
    async fn read_performer(&self, key: &mut Vec<Finding>) {
        let Some(id) = &self.target.perform_as else { return };
        let user = self.caller.get(GET_USER, &["users", id], &[]).await;
        let what = "performAs";
        key.push(match &user.result {
            Ok(answer) if answer.pointer("/data/deactivatedAt").is_none_or(Value::is_null) => {
                Finding::ok(what, "the user is active")
            }
            Ok(_) => Finding::failure(what, "the user is deactivated in Lever", PERFORMER, Topic::Keys),
            Err(error) if error.status == Some(404) || error.status == Some(400) => {
                Finding::failure(what, "the account has no such user", PERFORMER, Topic::Keys)
            }
            Err(_) => self.finding(GET_USER, Level::Warning, &user, String::new),
        });
    }

    /// Tries the filter of each rule. Without rules, takes stage and tag of a candidate.
    async fn filters(&self, stages: &[LeverStage], all: &Page) -> Vec<Finding> {
        let (pairs, others) = self.target.distinct(MAX_FILTERS, |rule| {
            let stage = findings::stage(stages, rule.stage.as_deref()?)?;
            Some((stage.id.clone(), rule.tag.clone(), format!("filter by stage {:?}", stage.name)))
        });
        let mut found = Vec::new();
        if pairs.is_empty() {
            let example = all.rows.iter().find(|row| !row.archived && !row.tags.is_empty());
            if let Some(row) = example {
                let what = "filter by a stage and a tag of a candidate".to_owned();
                found.extend(
                    self.filter(all, &row.stage, row.tags.first().map(String::as_str), what, true).await,
                );
            }
        }
        for (index, (stage, tag, what)) in pairs.iter().enumerate() {
            let what = match tag {
                Some(tag) => format!("{what} and tag {tag:?}"),
                None => what.clone(),
            };
            found.extend(self.filter(all, stage, tag.as_deref(), what, index == 0).await);
        }
        if others > 0 {
            found.push(Finding::ok(
                "other filters",
                format!("{others} not tried, to keep the number of requests low"),
            ));
        }
        found
    }

    async fn filter(
        &self,
        all: &Page,
        stage_id: &str,
        tag: Option<&str>,
        what: String,
        explain: bool,
    ) -> Vec<Finding> {
        let query = [
            ("stage_id", stage_id),
            ("archived", "false"),
            ("limit", LONG_PAGE),
            ("tag", tag.unwrap_or_default()),
        ];
        let query = if tag.is_some() { &query[..] } else { &query[..3] };
        let answer = self.caller.get(LIST_OPPORTUNITIES, &["opportunities"], query).await;
        let page = match &answer.result {
            Ok(answer) => Page::read(answer),
            Err(_) => return vec![self.finding(LIST_OPPORTUNITIES, Level::Failure, &answer, String::new)],
        };
        let page = match page {
            Ok(page) => page,
            Err(reason) => return vec![Finding::failure(what, reason, findings::REPORT, Topic::Lists)],
        };
        let filtered = Filtered { what, stage_id, tag, page: &page };
        let missing = filtered.missing(all);
        let missing = missing.iter().find(|row| all.is_of_a_posting(row)).or(missing.first());
        let missing = missing.map(|row| row.id.clone());
        let example = missing.clone().or_else(|| page.of_a_posting().map(str::to_owned));
        let inherited = match (tag, example) {
            (Some(tag), Some(id)) if explain => self.inherits(&id, tag).await,
            _ => None,
        };
        let mut found = vec![filtered.finding(all, inherited)];
        if explain && missing.is_none() && tag.is_some() {
            found.push(match inherited {
                Some(true) => Finding::ok("tags inherited from a posting", "the filter includes them"),
                Some(false) | None => Finding::ok(
                    "tags inherited from a posting",
                    "not seen; no posting of these candidates has the tag",
                ),
            });
        }
        found
    }

    /// Returns whether a candidate has a tag from the posting. None if that is unknown, or if there is no posting.
    async fn inherits(&self, id: &str, tag: &str) -> Option<bool> {
        let query = [("expand", "applications")];
        let expanded = self.caller.get(GET_OPPORTUNITY, &["opportunities", id], &query).await.result.ok()?;
        let posting = findings::posting_id(&expanded)?;
        let posting = self.caller.get(GET_POSTING, &["postings", posting], &[]).await.result.ok()?;
        Some(findings::gives_tag(&posting, tag))
    }

    async fn paging(&self, all: &Page) -> Option<Finding> {
        let first = self.opportunities(&[("limit", SHORT_PAGE)]).await?;
        let Some(token) = &first.next else {
            return Some(Finding::ok("pages", "not tried; there are at most 5 candidates"));
        };
        let answer = self
            .caller
            .get(LIST_OPPORTUNITIES, &["opportunities"], &[("limit", SHORT_PAGE), ("offset", token)])
            .await;
        Some(match &answer.result {
            Ok(answer) => match Page::read(answer) {
                Ok(second) => findings::paging(&first.ids(), &second.ids(), &all.ids()),
                Err(reason) => Finding::failure("pages", reason, findings::REPORT, Topic::Lists),
            },
            Err(error) => Finding::failure(
                "pages",
                format!("the token of the next page is not accepted: {error}"),
                findings::REPORT,
                Topic::Lists,
            ),
        })
    }

    /// Tries the filters by time with which a sync finds changes.
    async fn time_filters(&self) -> Vec<Finding> {
        let start = recent();
        let text = start.to_string();
        let mut found = Vec::new();
        if let Some(page) = self.opportunities(&[("updated_at_start", &text), ("limit", LONG_PAGE)]).await {
            found.push(findings::time_filter("filter updated_at_start", start, &page, |row| {
                row.updated_at_ms
            }));
        }
        let query = [("archived_at_start", text.as_str()), ("archived", "true"), ("limit", LONG_PAGE)];
        if let Some(page) = self.opportunities(&query).await {
            found.push(findings::time_filter("filter archived_at_start", start, &page, |row| {
                row.archived_at_ms
            }));
        }
        found
    }

    async fn opportunities(&self, query: &[(&str, &str)]) -> Option<Page> {
        let answer = self.caller.get(LIST_OPPORTUNITIES, &["opportunities"], query).await;
        Page::read(&answer.result.ok()?).ok()
    }
}

const PERFORMER: &str = "Set spec.lever.performAs (--perform-as) to the ID of an active user, or leave it empty to write as the key itself.";
const NEW_KEY: &str =
    "The permissions of a Lever key cannot be changed: create a new key with all read and write permissions.";

fn recent() -> i64 {
    Timestamp::now().as_millisecond().saturating_sub(RECENT_MS)
}

fn read_stages(answer: &Value) -> Vec<LeverStage> {
    let odd = Oddities::default();
    ListPage::from_answer(&AnswerPart::whole(answer, &odd), types::stage)
        .map(|page| page.rows)
        .unwrap_or_default()
}

fn read_webhooks(answer: &Value) -> Vec<Webhook> {
    let odd = Oddities::default();
    let webhook = |row: &AnswerPart<'_>| {
        Some(Webhook {
            id: types::id(row)?,
            url: row.text("url").unwrap_or_default(),
            event: row.text("event").unwrap_or_default(),
            created_at_ms: None,
        })
    };
    AnswerPart::whole(answer, &odd).rows("data", webhook).map(|(rows, _)| rows).unwrap_or_default()
}

/// Sends a request without a key to the webhook URL. The operator answers 405 to it.
async fn reach(url: &str) -> Result<u16, String> {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(std::time::Duration::from_secs(10))
        .build()
        .map_err(|error| error.to_string())?;
    let url = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
    let answer = client.get(&url).send().await;
    answer.map(|answer| answer.status().as_u16()).map_err(|error| http_client::root_cause(&error))
}
