//! `--write-test`: writes what reading cannot show, and removes everything again, also after an error or Ctrl-C.

use super::calls::{Answer, Caller, Pace};
use super::lever_findings::REPORT;
use super::report::{Finding, Report, Section, Topic};
use super::service_findings::plural;
use super::target::Target;
use anyhow::bail;
use api::configuration::PadType;
use coderpad::{CREATE_PAD, NewPad, PadKind, PadRecord, PadSort};
use engine::question::question_problem;
use http_client::{Body, Call, Service};
use jiff::Timestamp;
use lever::{STAGE_CHANGE_EVENT, is_record};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use services::coderpad::RawQuestion;
use services::lever::{
    ADD_LINKS, ADD_NOTE, ADD_TAGS, GET_OPPORTUNITY, LIST_NOTES, REMOVE_LINKS, REMOVE_TAGS,
};
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Maximum number of requests of the test, and of its cleanup.
const MAX_WRITE_CALLS: u32 = 80;
/// Maximum length of a create, as in the operator.
const CREATE_TIMEOUT: Duration = Duration::from_secs(35);
const GET_QUOTA: &str = "GET /quota";
const GET_QUESTION: &str = "GET /questions/{id}";
const GET_PAD: &str = "GET /pads/{id}";
const LIST_PADS: &str = "GET /organization/pads";
const LIST_EVENTS: &str = "GET /pads/{id}/events";
const UPDATE_PAD: &str = "PUT /pads/{id}";
const DELETE_NOTE: &str = "DELETE /opportunities/{id}/notes/{id}";
const LIST_WEBHOOKS: &str = "GET /webhooks";
const CREATE_WEBHOOK: &str = "POST /webhooks";
const DELETE_WEBHOOK: &str = "DELETE /webhooks/{id}";

/// Settings of the write test.
#[derive(Clone, Copy, Debug)]
pub struct WriteOptions {
    /// Delay between two requests.
    pub interval: Duration,
    /// Delay between two reads of the list that does not show the new pad yet.
    pub poll_interval: Duration,
    /// Maximum delay until the list has to show the new pad.
    pub max_list_lag: Duration,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            interval: super::CALL_INTERVAL,
            poll_interval: Duration::from_secs(5),
            max_list_lag: Duration::from_secs(90),
        }
    }
}

/// Asks on the terminal.
///
/// # Errors
/// If there is no terminal, or the answer is not `yes`.
pub(super) fn confirm(candidate: &str) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("--write-test asks first, and there is no terminal. To skip the question, add --yes");
    }
    let mut out = std::io::stderr();
    write!(
        out,
        "The write test creates, ends and deletes two pads, which count against the quota. It adds a link, a tag and two \
         notes to the opportunity {candidate} and removes them, and creates and deletes a webhook. People who follow the \
         candidate may be notified.\nContinue? Type yes: "
    )?;
    out.flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    if line.trim() == "yes" { Ok(()) } else { bail!("not confirmed; nothing was written") }
}

/// Writes to both accounts, and removes everything again. `stop` ends the test early; the cleanup still runs.
///
/// # Errors
/// If one of the two accounts has no usable key.
pub async fn write_and_clean_up(
    target: &Target,
    candidate: &str,
    options: &WriteOptions,
    stop: CancellationToken,
) -> anyhow::Result<Report> {
    let pace = Arc::new(Pace::new(options.interval, MAX_WRITE_CALLS));
    let mut problems = Vec::new();
    let lever = super::caller(Service::Lever, target, &pace, None, &mut problems);
    let interview = super::caller(Service::Interview, target, &pace, None, &mut problems);
    let (Some(lever), Some(interview)) = (lever, interview) else {
        bail!("--write-test needs the keys of both accounts");
    };
    let test = WriteTest {
        lever,
        interview,
        target,
        candidate,
        options: *options,
        mark: format!("pad-operator-check-{}", Timestamp::now().as_millisecond()),
        findings: Mutex::default(),
        written: Mutex::default(),
    };
    let finished = stop.run_until_cancelled(test.write()).await.is_some();
    if !finished {
        test.add(Finding::failure("test", "stopped by a signal", "Start it again.", Topic::Writes));
    }
    // The cleanup has its own budget, so that it never ends for lack of it.
    let budget = Arc::new(Pace::new(options.interval, MAX_WRITE_CALLS));
    let (lever, interview) = (test.lever.with_pace(&budget), test.interview.with_pace(&budget));
    let cleanup = Cleanup { lever, interview, test: &test }.run().await;
    let sections = vec![
        Section::new("Write test", test.findings.into_inner()),
        Section::new("Cleanup of the write test", cleanup),
    ];
    Ok(Report { sections, calls: pace.used() + budget.used() })
}

/// Objects that were written, or may have been.
#[derive(Clone, Debug, Default)]
struct Written {
    pads: bool,
    pad_ids: Vec<String>,
    links: Vec<String>,
    tags: bool,
    notes: bool,
    webhook: bool,
}

struct WriteTest<'a> {
    lever: Caller,
    interview: Caller,
    target: &'a Target,
    candidate: &'a str,
    options: WriteOptions,
    /// Text that only this test writes. Everything with it is removed.
    mark: String,
    findings: Mutex<Vec<Finding>>,
    written: Mutex<Written>,
}

impl WriteTest<'_> {
    fn add(&self, finding: Finding) {
        self.findings.lock().push(finding);
    }

    async fn write(&self) {
        let candidate = self.lever.get(GET_OPPORTUNITY, &["opportunities", self.candidate], &[]).await;
        if let Err(error) = &candidate.result {
            let next = "Give the ID of a test candidate: the last part of the profile's URL.";
            self.add(Finding::failure("--candidate", error.to_string(), next, Topic::Writes));
            return;
        }
        let before = self.quota().await;
        let live = self.create(false).await;
        if let Some(pad) = &live {
            self.list_lag(pad).await;
            self.link(&pad.url).await;
        }
        let take_home = self.create(true).await;
        self.tag().await;
        self.note().await;
        if let Some(pad) = &live {
            self.end(pad).await;
        }
        let created = usize::from(live.is_some()) + usize::from(take_home.is_some());
        self.compare_quota(before, created).await;
        self.webhook().await;
    }

    /// Returns the number of used pads, if CoderPad reports it.
    async fn quota(&self) -> Option<i64> {
        let answer = self.interview.get(GET_QUOTA, &["quota"], &[]).await;
        answer.result.ok()?.get("pads_used")?.as_i64()
    }

    async fn compare_quota(&self, before: Option<i64>, created: usize) {
        let after = self.quota().await;
        let what = "quota";
        self.add(match before.zip(after) {
            Some((before, after)) => {
                let used = after - before;
                Finding::ok(what, format!("{} created, {used} counted", plural(created, "pad")))
            }
            None => Finding::warning(what, "not reported", REPORT, Topic::Quota),
        });
    }

    /// Returns a question that fits this kind of pad.
    async fn question(&self, take_home: bool) -> Option<i64> {
        let (kind, rules) = (if take_home { PadType::TakeHome } else { PadType::Live }, &self.target.rules);
        for rule in rules.iter().filter(|rule| rule.take_home.is_none_or(|is| is == take_home)) {
            let Some(id) = rule.question else { continue };
            let answer = self.interview.get(GET_QUESTION, &["questions", &id.to_string()], &[]).await;
            let read = answer.result.ok().and_then(|json| serde_json::from_value::<RawQuestion>(json).ok());
            let question = read.and_then(|raw| raw.check().ok());
            if question.is_some_and(|question| question_problem(&question, kind).is_none()) {
                return Some(id);
            }
        }
        None
    }

    async fn create(&self, take_home: bool) -> Option<PadRecord> {
        let kind = if take_home { "take-home" } else { "live pad" };
        let owner = self.target.rules.iter().find_map(|rule| rule.owner.clone());
        let new = NewPad {
            title: self.mark.clone(),
            notes: format!("{} *notes* & more", self.mark),
            private: Some(true),
            owner_email: owner.clone(),
            question_id: self.question(take_home).await,
            take_home,
            language: None,
        };
        let url = self.interview.url(CREATE_PAD, &["pads", ""]).ok()?;
        let call = Call {
            time_limit: CREATE_TIMEOUT,
            ..Call::write(CREATE_PAD, Method::POST, url, Body::Form(new.form()))
        };
        self.written.lock().pads = true;
        let answer = self.interview.send(call).await;
        let json = match &answer.result {
            Ok(json) => json,
            Err(error) if take_home => {
                let next = "Do not use type: TakeHome with this account. Without a question, give --question with a take-home.";
                self.add(Finding::warning(kind, error.to_string(), next, Topic::Writes));
                return None;
            }
            Err(error) => {
                let next = "Use the key of an organization owner, and check the quota.";
                self.add(Finding::failure(kind, error.to_string(), next, Topic::Writes));
                return None;
            }
        };
        let Some(pad) = PadRecord::from_json(json) else {
            self.add(Finding::failure(kind, "the answer cannot be read", REPORT, Topic::Writes));
            return None;
        };
        self.written.lock().pad_ids.push(pad.id.clone());
        self.add(echo(kind, &new, &pad, json));
        let wanted = if take_home { PadKind::TakeHome } else { PadKind::Live };
        let word = json.get("type").and_then(Value::as_str).unwrap_or("none");
        self.add(if pad.kind == wanted {
            Finding::ok(format!("type of the {kind}"), word)
        } else {
            Finding::warning(
                format!("type of the {kind}"),
                format!("{word:?}, which the operator does not take for a {kind}"),
                format!("The operator links a live pad of an unknown type, but no take-home: it asks a person. {REPORT}"),
                Topic::Writes,
            )
        });
        Some(pad)
    }

    /// Waits until the list shows the pad.
    async fn list_lag(&self, pad: &PadRecord) {
        let began = Instant::now();
        let what = "list of pads";
        loop {
            let query = [("sort", PadSort::Created.parameter())];
            let answer = self.interview.get(LIST_PADS, &["organization", "pads"], &query).await;
            let rows = answer.result.ok().and_then(|answer| Some(answer.get("pads")?.as_array()?.clone()));
            let row =
                rows.iter().flatten().find(|row| row.get("id").and_then(Value::as_str) == Some(&pad.id));
            let lag = began.elapsed();
            if let Some(row) = row {
                let has_notes = row.get("notes").and_then(Value::as_str) == Some(&pad.notes);
                self.add(Finding::ok(what, format!("shows the new pad after {} s", lag.as_secs())));
                self.add(if has_notes {
                    Finding::ok("notes in the list", "as in the answer of the create")
                } else {
                    Finding::warning(
                        "notes in the list",
                        "missing or different",
                        format!(
                            "After a create without an answer, a person has to look for the pad. {REPORT}"
                        ),
                        Topic::Writes,
                    )
                });
                return;
            }
            if lag >= self.options.max_list_lag {
                self.add(Finding::warning(
                    what,
                    format!("does not show the new pad after {} s", lag.as_secs()),
                    "Start the operator with a larger --interview-list-lag.",
                    Topic::Writes,
                ));
                return;
            }
            sleep(self.options.poll_interval).await;
        }
    }

    async fn opportunity_write(&self, operation: &'static str, verb: &str, body: Value) -> Answer {
        let path = ["opportunities", self.candidate, verb];
        let performer = self.target.perform_as.as_deref();
        lever_write(&self.lever, operation, &path, performer, body).await
    }

    /// Adds a link twice.
    async fn link(&self, url: &str) {
        self.written.lock().links.push(url.to_owned());
        let counts = self.twice(ADD_LINKS, "addLinks", "links", url).await;
        self.add(match counts {
            Err(finding) => finding,
            Ok((1, 1)) => Finding::ok("link", "verbatim in the answer; a repeated link is shown once"),
            Ok((1, count)) => {
                Finding::ok("link", format!("verbatim in the answer; a repeated link is shown {count} times"))
            }
            Ok((_, _)) => Finding::warning("link", "not verbatim in the answer", REPORT, Topic::Writes),
        });
    }

    /// Adds a tag twice.
    async fn tag(&self) {
        self.written.lock().tags = true;
        let counts = self.twice(ADD_TAGS, "addTags", "tags", &self.mark).await;
        self.add(match counts {
            Err(finding) => finding,
            Ok((1, 1)) => Finding::ok("tag", "verbatim in the answer; a repeated tag is shown once"),
            Ok((first, second)) => Finding::warning(
                "tag",
                format!("shown {first} times, then {second} times"),
                REPORT,
                Topic::Writes,
            ),
        });
    }

    /// Sends the same write twice. Returns how often both answers contain the text.
    async fn twice(
        &self,
        operation: &'static str,
        verb: &str,
        member: &str,
        text: &str,
    ) -> Result<(usize, usize), Finding> {
        let mut counts = Vec::new();
        for _ in 0..2 {
            let answer = self.opportunity_write(operation, verb, json!({ member: [text] })).await;
            let json = answer.result.map_err(|error| refused(operation, &error.to_string()))?;
            let list = json.pointer(&format!("/data/{member}")).and_then(Value::as_array).cloned();
            counts.push(list.iter().flatten().filter(|one| one.as_str() == Some(text)).count());
        }
        Ok((counts[0], counts[1]))
    }

    /// Adds a note twice.
    async fn note(&self) {
        self.written.lock().notes = true;
        let text = format!("{}\nsecond line, 1 < 2 & *more*", self.mark);
        for _ in 0..2 {
            let answer = self.opportunity_write(ADD_NOTE, "notes", json!({ "value": text })).await;
            if let Err(error) = answer.result {
                self.add(refused(ADD_NOTE, &error.to_string()));
                return;
            }
        }
        let notes = notes_of(&self.lever, self.candidate).await;
        let own: Vec<&(String, String)> =
            notes.iter().filter(|(_, value)| value.contains(&self.mark)).collect();
        let verbatim = own.iter().filter(|(_, value)| *value == text).count();
        self.add(if own.is_empty() {
            Finding::warning("note", "not in the list of notes", REPORT, Topic::Writes)
        } else if verbatim < own.len() {
            Finding::warning("note", "its text is changed in the list of notes", REPORT, Topic::Writes)
        } else {
            Finding::ok(
                "note",
                format!("verbatim in the list; after two identical writes, shown {} times", own.len()),
            )
        });
    }

    async fn end(&self, pad: &PadRecord) {
        let ended = update_pad(&self.interview, &pad.id, "ended=true").await;
        let what = "end of the live pad";
        if let Err(error) = ended.result {
            self.add(refused(what, &error.to_string()));
            return;
        }
        let read = self.interview.get(GET_PAD, &["pads", &pad.id], &[]).await;
        let read = read.result.ok().and_then(|json| PadRecord::from_json(&json));
        self.add(match read {
            Some(now) if now.is_ended() => {
                let moved = now.updated_at > pad.updated_at || now.updated_at >= now.ended_at;
                let moved = if moved { "updated_at moved" } else { "updated_at did not move" };
                Finding::ok(what, format!("state {:?}, {moved}", now.state))
            }
            Some(now) => Finding::warning(
                what,
                format!("the pad does not count as ended; state {:?}", now.state),
                format!("The operator cannot end pads of this account. {REPORT}"),
                Topic::Writes,
            ),
            None => Finding::warning(what, "the ended pad cannot be read", REPORT, Topic::Writes),
        });
        let events = self.interview.get(LIST_EVENTS, &["pads", &pad.id, "events"], &[]).await;
        if let Ok(json) = &events.result {
            self.add(super::coderpad_findings::events(json));
        }
    }

    /// Creates a webhook, looks for it in the list, and leaves its deletion to the cleanup.
    async fn webhook(&self) {
        self.written.lock().webhook = true;
        let body = json!({"url": self.webhook_url(), "event": STAGE_CHANGE_EVENT});
        let made = lever_write(&self.lever, CREATE_WEBHOOK, &["webhooks"], None, body).await;
        let json = match made.result {
            Ok(json) => json,
            Err(error) => {
                let next = "Without this permission, use webhook.mode: Manual.";
                self.add(Finding::warning(CREATE_WEBHOOK, error.to_string(), next, Topic::Webhooks));
                return;
            }
        };
        let token = ["/data/configuration/signatureToken", "/data/data/configuration/signatureToken"];
        let has_token = token
            .iter()
            .any(|path| json.pointer(path).and_then(Value::as_str).is_some_and(|token| !token.is_empty()));
        let listed = webhook_ids(&self.lever, &self.webhook_url()).await.len();
        self.add(match (has_token, listed) {
            (true, 1) => Finding::ok("webhook", "created with a signature token, and listed"),
            (false, _) => {
                Finding::warning("webhook", "the answer has no signature token", REPORT, Topic::Webhooks)
            }
            (true, listed) => {
                Finding::warning("webhook", format!("listed {listed} times"), REPORT, Topic::Webhooks)
            }
        });
    }

    /// Returns a URL that receives nothing: `.invalid` never has an address.
    fn webhook_url(&self) -> String {
        format!("https://{}.invalid/", self.mark)
    }
}

/// Returns the finding about the parts of a new pad that the answer has to repeat.
fn echo(kind: &str, new: &NewPad, pad: &PadRecord, json: &Value) -> Finding {
    let owner =
        |wanted: &String| pad.owner_email.as_ref().is_none_or(|email| !email.eq_ignore_ascii_case(wanted));
    let different: Vec<&str> = [
        ("title", pad.title != new.title),
        ("notes", pad.notes != new.notes),
        ("private", json.get("private").and_then(Value::as_bool) != new.private),
        ("owner_email", new.owner_email.as_ref().is_some_and(owner)),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect();
    let what = format!("answer to the {kind}");
    if different.is_empty() {
        return Finding::ok(what, "title, notes, owner and waiting room as asked");
    }
    Finding::warning(
        what,
        format!("not as asked: {}", different.join(", ")),
        format!("Do not rely on this setting: look at the next pads in CoderPad. {REPORT}"),
        Topic::Writes,
    )
}

fn refused(what: &str, error: &str) -> Finding {
    let next = "Use a key with all read and write permissions.";
    // Without these, pads still get their link.
    if is_record(what) {
        return Finding::warning(what, error, next, Topic::Permissions);
    }
    Finding::failure(what, error, next, Topic::Permissions)
}

async fn lever_write(
    lever: &Caller,
    operation: &'static str,
    path: &[&str],
    performer: Option<&str>,
    body: Value,
) -> Answer {
    match lever.url(operation, path) {
        Ok(mut url) => {
            if let Some(user) = performer {
                url.query_pairs_mut().append_pair("perform_as", user);
            }
            lever.send(Call::write(operation, Method::POST, url, Body::Json(body))).await
        }
        Err(error) => Answer { result: Err(error), head: None },
    }
}

async fn delete(lever: &Caller, operation: &'static str, path: &[&str]) -> Result<(), String> {
    let url = lever.url(operation, path).map_err(|error| error.to_string())?;
    let answer = lever.send(Call::write(operation, Method::DELETE, url, Body::Nothing)).await;
    answer.result.map(drop).map_err(|error| error.to_string())
}

async fn update_pad(interview: &Caller, id: &str, form: &str) -> Answer {
    match interview.url(UPDATE_PAD, &["pads", id]) {
        Ok(url) => {
            interview.send(Call::write(UPDATE_PAD, Method::PUT, url, Body::Form(form.to_owned()))).await
        }
        Err(error) => Answer { result: Err(error), head: None },
    }
}

/// Returns the ID and the text of each note of the first page.
async fn notes_of(lever: &Caller, candidate: &str) -> Vec<(String, String)> {
    let answer = lever.get(LIST_NOTES, &["opportunities", candidate, "notes"], &[]).await;
    let rows = answer.result.ok().and_then(|answer| Some(answer.get("data")?.as_array()?.clone()));
    let note = |row: Value| {
        let id = row.get("id")?.as_str()?.to_owned();
        Some((id, row.pointer("/fields/0/value")?.as_str()?.to_owned()))
    };
    rows.into_iter().flatten().filter_map(note).collect()
}

async fn webhook_ids(lever: &Caller, url: &str) -> Vec<String> {
    let answer = lever.get(LIST_WEBHOOKS, &["webhooks"], &[]).await;
    let rows = answer.result.ok().and_then(|answer| Some(answer.get("data")?.as_array()?.clone()));
    let is_own = |row: &Value| row.get("url").and_then(Value::as_str) == Some(url);
    rows.into_iter()
        .flatten()
        .filter(is_own)
        .filter_map(|row| Some(row.get("id")?.as_str()?.to_owned()))
        .collect()
}

/// Removal of everything that the test wrote, or may have written.
struct Cleanup<'a> {
    lever: Caller,
    interview: Caller,
    test: &'a WriteTest<'a>,
}

impl Cleanup<'_> {
    async fn run(&self) -> Vec<Finding> {
        let written = self.test.written.lock().clone();
        let candidate = self.test.candidate;
        let mut found = Vec::new();
        if !written.links.is_empty() {
            let removed = self.remove(REMOVE_LINKS, "removeLinks", "links", &written.links).await;
            let by_hand =
                format!("Remove the link on the candidate's profile by hand: {}", written.links.join(", "));
            found.push(done("link", removed, by_hand));
        }
        if written.tags {
            let removed =
                self.remove(REMOVE_TAGS, "removeTags", "tags", std::slice::from_ref(&self.test.mark)).await;
            found.push(done(
                "tag",
                removed,
                format!("Remove the tag {} from the candidate.", self.test.mark),
            ));
        }
        if written.notes {
            let mut removed = Ok(());
            for (id, _) in notes_of(&self.lever, candidate)
                .await
                .iter()
                .filter(|(_, text)| text.contains(&self.test.mark))
            {
                removed = removed
                    .and(delete(&self.lever, DELETE_NOTE, &["opportunities", candidate, "notes", id]).await);
            }
            found.push(done("notes", removed, format!("Delete the notes that contain {}.", self.test.mark)));
        }
        if written.webhook {
            let mut removed = Ok(());
            for id in webhook_ids(&self.lever, &self.test.webhook_url()).await {
                removed = removed.and(delete(&self.lever, DELETE_WEBHOOK, &["webhooks", &id]).await);
            }
            let by_hand =
                format!("Delete the webhook with the URL {} with the same API key.", self.test.webhook_url());
            found.push(done("webhook", removed, by_hand));
        }
        if written.pads {
            found.push(self.delete_pads(written.pad_ids).await);
        }
        found
    }

    async fn remove(
        &self,
        operation: &'static str,
        verb: &str,
        member: &str,
        texts: &[String],
    ) -> Result<(), String> {
        let path = ["opportunities", self.test.candidate, verb];
        let performer = self.test.target.perform_as.as_deref();
        let answer = lever_write(&self.lever, operation, &path, performer, json!({ member: texts })).await;
        answer.result.map_err(|error| error.to_string())?;
        // Answers of writes do not show all members (reference: lever-api.md, 10).
        let read = self.lever.get(GET_OPPORTUNITY, &["opportunities", self.test.candidate], &[]).await;
        let json = read.result.map_err(|error| error.to_string())?;
        let list = json.pointer(&format!("/data/{member}")).and_then(Value::as_array).cloned();
        let is_left = list.iter().flatten().any(|one| texts.iter().any(|text| one.as_str() == Some(text)));
        if is_left { Err("it is still there after its removal".to_owned()) } else { Ok(()) }
    }

    /// Deletes the pads of the test. A pad whose create had no answer is found by its title.
    async fn delete_pads(&self, mut ids: Vec<String>) -> Finding {
        let query = [("sort", PadSort::Created.parameter())];
        let list = self.interview.get(LIST_PADS, &["organization", "pads"], &query).await;
        let rows = list.result.ok().and_then(|answer| Some(answer.get("pads")?.as_array()?.clone()));
        for row in rows.iter().flatten() {
            let text = |name| row.get(name).and_then(Value::as_str);
            if let (Some(title), Some(id)) = (text("title"), text("id"))
                && title == self.test.mark
                && !ids.iter().any(|known| known == id)
            {
                ids.push(id.to_owned());
            }
        }
        let mut removed = Ok(());
        let mut shown = "";
        for id in &ids {
            let deleted = update_pad(&self.interview, id, "deleted=true").await;
            removed = removed.and(deleted.result.map(drop).map_err(|error| error.to_string()));
            let read = self.interview.get(GET_PAD, &["pads", id], &[]).await;
            shown = if read.result.is_ok() { "GET still shows them" } else { "GET answers 404" };
        }
        let by_hand = format!("Delete the pads with the title {} in CoderPad.", self.test.mark);
        match removed {
            Ok(()) => Finding::ok("pads", format!("{} deleted; {shown}", plural(ids.len(), "pad"))),
            Err(_) => done("pads", removed, by_hand),
        }
    }
}

fn done(what: &str, removed: Result<(), String>, by_hand: String) -> Finding {
    match removed {
        Ok(()) => Finding::ok(what, "removed"),
        Err(error) => Finding::failure(what, format!("not removed: {error}"), by_hand, Topic::Writes),
    }
}
