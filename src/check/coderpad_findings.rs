//! Findings about CoderPad's answers, without any I/O.

use super::lever_findings::{REPORT, row_on_two_pages, setting};
use super::report::{Finding, Topic};
use super::service_findings::plural;
use super::target::Rule;
use api::configuration::PadType;
use coderpad::{OrganizationRecord, PadKind, PadPage, PadQuota, PadRecord, PadSort, QuestionRecord};
use engine::question::question_problem;
use http_client::{AnswerPart, Oddities};
use jiff::Timestamp;
use serde_json::Value;
use services::coderpad as types;
use std::collections::BTreeSet;
use url::Url;

/// Kinds of events that the documentation, its samples or clients contain (reference: interview-api.md, 6. Lifecycle).
const EVENT_KINDS: [&str; 10] = [
    "added_question",
    "auto_ended",
    "disabled",
    "edited",
    "enabled",
    "ended",
    "joined",
    "left",
    "ran",
    "started",
];
/// States of a pad that nobody has joined.
const STATES_BEFORE: [&str; 2] = ["pending", "draft"];
/// Members of a pad that the operator reads from lists.
const LIST_MEMBERS: [&str; 9] =
    ["id", "title", "state", "type", "notes", "created_at", "updated_at", "ended_at", "owner_email"];
/// Part of the quota below which a warning is useful, in percent.
const LOW_QUOTA_PERCENT: i64 = 10;

/// Returns the finding about `GET /user`.
pub(super) fn user(answer: &Value) -> Finding {
    let what = "user of the key";
    match answer.get("allow_pad_creation").and_then(Value::as_bool) {
        Some(true) => Finding::ok(what, "may create pads"),
        Some(false) => Finding::failure(
            what,
            "may not create pads (allow_pad_creation is false)",
            "Use the key of an organization owner, or allow this user to create pads in CoderPad.",
            Topic::Permissions,
        ),
        None => Finding::warning(
            what,
            "the answer does not say whether the user may create pads",
            "If the first pad fails with 403, use the key of an organization owner.",
            Topic::Permissions,
        ),
    }
}

/// Returns the finding about the organization.
pub(super) fn organization(read: Result<OrganizationRecord, &'static str>) -> Finding {
    let what = "organization";
    let next = "Use the key of an organization owner.";
    match read {
        Ok(OrganizationRecord { name: Some(name), user_emails, .. }) => {
            Finding::ok(what, format!("{name}, {}", plural(user_emails.len(), "user")))
        }
        Ok(_) => Finding::failure(what, "the user of the key belongs to none", next, Topic::Keys),
        Err(reason) => Finding::failure(what, reason, next, Topic::Keys),
    }
}

/// Returns the finding about the quota.
pub(super) fn quota(quota: &PadQuota) -> Finding {
    const NEXT: &str = "Ask CoderPad for a larger plan, or wait for the next billing cycle. spec.interview.overage decides \
                        whether the operator creates pads that are billed.";
    let what = "quota";
    let Some(remaining) = quota.remaining.filter(|_| !quota.unlimited) else {
        return Finding::ok(
            what,
            format!("unlimited; {} used in this cycle", plural(usize_of(quota.used), "pad")),
        );
    };
    let of = quota.limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
    let billed = match quota.overages_enabled {
        Some(true) => "; more pads are billed",
        Some(false) | None => "",
    };
    let detail = format!("{remaining}{of} pads left{billed}");
    let is_low = quota
        .limit
        .is_some_and(|limit| remaining.saturating_mul(100) < limit.saturating_mul(LOW_QUOTA_PERCENT));
    if remaining <= 0 && quota.overages_enabled != Some(true) {
        Finding::failure(what, detail, NEXT, Topic::Quota)
    } else if remaining <= 0 || is_low {
        Finding::warning(what, detail, NEXT, Topic::Quota)
    } else {
        Finding::ok(what, detail)
    }
}

fn usize_of(number: i64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

/// Reads a list of pads as the operator does. Returns also the path of the first member or row that it cannot read.
pub(super) fn read_pads(answer: &Value, endpoint: &Url) -> (Result<PadPage, &'static str>, Option<String>) {
    let odd = Oddities::default();
    let page = types::pad_page(&AnswerPart::whole(answer, &odd), endpoint, None);
    (page, odd.rows().or_else(|| odd.members()).map(|odd| odd.first))
}

/// Returns the findings about a list of pads in this order. `answer` is the whole answer.
pub(super) fn pads(answer: &Value, endpoint: &Url, sort: PadSort) -> Vec<Finding> {
    let what = format!("list of pads, {}", sort.parameter());
    let (page, odd) = read_pads(answer, endpoint);
    let mut found = Vec::new();
    match page {
        Err(reason) => found.push(Finding::failure(what, reason, REPORT, Topic::Lists)),
        Ok(page) => {
            found.push(match odd {
                None => Finding::ok(&what, plural(page.pads.len(), "pad")),
                Some(path) => Finding::warning(
                    &what,
                    format!("{} cannot be read; the first problem is at {path}", plural(page.left_out.len(), "row")),
                    format!("While a row is unreadable, the operator does not conclude that a pad is missing. {REPORT}"),
                    Topic::Answers,
                ),
            });
            found.push(order(&page.pads, sort));
        }
    }
    found
}

fn order(pads: &[PadRecord], sort: PadSort) -> Finding {
    let (what, at): (_, fn(&PadRecord) -> Option<Timestamp>) = match sort {
        PadSort::Created => ("order by created_at", |pad| Some(pad.created_at)),
        PadSort::Updated => ("order by updated_at", |pad| pad.updated_at),
    };
    let times: Vec<Timestamp> = pads.iter().filter_map(at).collect();
    let without = pads.len() - times.len();
    if without > 0 {
        let detail = format!("{} without the time", plural(without, "row"));
        return Finding::warning(what, detail, REPORT, Topic::Lists);
    }
    if times.windows(2).all(|pair| pair[0] >= pair[1]) {
        let detail = if times.len() > 1 { "newest first" } else { "not seen; there are too few pads" };
        return Finding::ok(what, detail);
    }
    Finding::warning(
        what,
        "not newest first: CoderPad ignores the order",
        format!(
            "The operator then reads open pads one by one, and sees the end of an interview up to a day late. {REPORT}"
        ),
        Topic::Lists,
    )
}

/// Returns the finding about the address of the next page.
pub(super) fn next_page(answer: &Value, endpoint: &Url) -> Finding {
    let what = "next_page";
    let Some(next) = answer.get("next_page").and_then(Value::as_str).filter(|next| !next.is_empty()) else {
        return Finding::ok(what, "none; there is one page");
    };
    let joined = endpoint.join(next);
    let form = match &joined {
        Ok(url) if url.query_pairs().any(|(name, _)| name == "cursor") => "a cursor",
        Ok(url) if url.query_pairs().any(|(name, _)| name == "page") => "a page number",
        Ok(_) | Err(_) => "neither cursor nor page number",
    };
    let place = match &joined {
        _ if Url::parse(next).is_err() => "a relative address".to_owned(),
        Ok(url) if url.origin() == endpoint.origin() => "the same host".to_owned(),
        Ok(url) => format!("another host, {}", url.host_str().unwrap_or_default()),
        Err(_) => "no address".to_owned(),
    };
    let detail = format!("{place}, with {form}");
    let (page, _) = read_pads(answer, endpoint);
    match page {
        Err(reason) => Finding::failure(what, format!("{detail}: {reason}"), REPORT, Topic::Lists),
        Ok(_) => Finding::ok(what, detail),
    }
}

/// Returns the finding about the second page.
pub(super) fn second_page(first: &PadPage, answer: &Value, endpoint: &Url, sort: PadSort) -> Finding {
    let what = "second page";
    let second = match read_pads(answer, endpoint).0 {
        Ok(second) => second,
        Err(reason) => return Finding::failure(what, reason, REPORT, Topic::Lists),
    };
    let repeated = second.pads.iter().filter(|pad| first.pads.iter().any(|known| known.id == pad.id)).count();
    if repeated > 0 {
        return row_on_two_pages(what, repeated);
    }
    let time = |pad: &PadRecord| match sort {
        PadSort::Created => Some(pad.created_at),
        PadSort::Updated => pad.updated_at,
    };
    let (last, next) = (first.pads.last().and_then(time), second.pads.first().and_then(time));
    if last.zip(next).is_some_and(|(last, next)| next > last) {
        return Finding::warning(what, "it does not continue the order of the first", REPORT, Topic::Lists);
    }
    Finding::ok(what, format!("{}, no row twice", plural(second.pads.len(), "pad")))
}

/// Returns the findings about the rows of a list: times and words. `rows` are the raw rows of `pads`.
pub(super) fn pad_rows(pads: &[PadRecord], rows: &[Value]) -> Vec<Finding> {
    let ended: Vec<&PadRecord> = pads.iter().filter(|pad| pad.ended_at.is_some()).collect();
    let late = ended.iter().filter(|pad| pad.ended_at > pad.updated_at).count();
    let mut found = vec![if late > 0 {
        Finding::warning(
            "ended_at",
            format!(
                "after updated_at in {late} of {}: ending does not move updated_at",
                plural(ended.len(), "ended pad")
            ),
            format!(
                "The operator then reads open pads one by one, and sees the end of an interview up to a day late. {REPORT}"
            ),
            Topic::Lists,
        )
    } else {
        Finding::ok("ended_at", format!("not after updated_at in {}", plural(ended.len(), "ended pad")))
    }];
    let is_known = |pad: &PadRecord| {
        let is_before = STATES_BEFORE.iter().any(|state| pad.state.eq_ignore_ascii_case(state));
        is_before
            || pad.is_deleted()
            || pad.state.eq_ignore_ascii_case("ended")
            || (pad.is_started() && pad.ended_at.is_none())
    };
    found.push(words(
        "state",
        pads.iter().map(|pad| (pad.state.as_str(), is_known(pad))),
        "The operator takes such a pad for not started, until it has ended_at.",
    ));
    let text = |row: &Value| row.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let types: Vec<(String, bool)> = rows
        .iter()
        .map(|row| {
            let word = text(row);
            let kind = pads.iter().find(|pad| row.get("id").and_then(Value::as_str) == Some(&pad.id));
            let is_known = kind.is_none_or(|pad| pad.kind != PadKind::Unknown);
            (word, is_known)
        })
        .collect();
    found.push(words(
        "type",
        types.iter().map(|(word, known)| (word.as_str(), *known)),
        "The operator links a live pad of an unknown type, but no take-home: it asks a person.",
    ));
    let missing: Vec<&str> = LIST_MEMBERS
        .into_iter()
        .filter(|member| !rows.is_empty() && rows.iter().all(|row| row.get(member).is_none()))
        .collect();
    found.push(if missing.is_empty() {
        Finding::ok("members of a row", "all that the operator reads")
    } else {
        Finding::warning(
            "members of a row",
            format!("no row has {}", missing.join(", ")),
            format!("After a create without an answer, a person has to look for the pad. {REPORT}"),
            Topic::Answers,
        )
    });
    found
}

/// Returns the finding about the words of one member. Each is true if it is known to the operator.
fn words<'a>(name: &str, met: impl Iterator<Item = (&'a str, bool)>, consequence: &str) -> Finding {
    let met: BTreeSet<(String, bool)> =
        met.map(|(word, known)| (word.chars().take(40).collect(), known)).collect();
    let what = format!("words of {name}");
    let unknown: Vec<String> =
        met.iter().filter(|(_, known)| !known).map(|(word, _)| format!("{word:?}")).collect();
    if !unknown.is_empty() {
        let detail = format!("unknown: {}", unknown.join(", "));
        return Finding::warning(what, detail, format!("{consequence} {REPORT}"), Topic::Answers);
    }
    let all: Vec<&str> = met.iter().map(|(word, _)| word.as_str()).collect();
    Finding::ok(what, if all.is_empty() { "none met".to_owned() } else { all.join(", ") })
}

/// Returns the finding about a pad that was read by its ID, compared with its row.
pub(super) fn single(row: &Value, answer: &Value) -> Finding {
    let what = "GET /pads/{id} against its row";
    if row.get("updated_at") != answer.get("updated_at") {
        return Finding::ok(what, "not compared; it changed since the list was read");
    }
    let different: Vec<&str> =
        LIST_MEMBERS.into_iter().filter(|member| row.get(member) != answer.get(member)).collect();
    if different.is_empty() {
        return Finding::ok(what, "equal");
    }
    Finding::warning(
        what,
        format!("different: {}", different.join(", ")),
        format!("The operator reads a pad by its ID before it writes about it. {REPORT}"),
        Topic::Lists,
    )
}

/// Returns the finding about the events of a pad.
pub(super) fn events(answer: &Value) -> Finding {
    let odd = Oddities::default();
    match types::events(&AnswerPart::whole(answer, &odd)) {
        Err(reason) => Finding::warning("events", reason, REPORT, Topic::Answers),
        Ok(events) => words(
            "event kind",
            events.iter().map(|event| (event.kind.as_str(), EVENT_KINDS.contains(&event.kind.as_str()))),
            "The operator ignores such events.",
        ),
    }
}

/// Returns the finding about the question of a rule.
pub(super) fn question(rule: &Rule, id: i64, read: Result<QuestionRecord, &'static str>) -> Finding {
    let what = format!("question {id}");
    let place = setting(rule, if rule.configuration.is_empty() { "question" } else { "questionID" });
    let question = match read {
        Ok(question) => question,
        Err(reason) => {
            return Finding::failure(
                what,
                reason,
                format!("Choose another one in {place}."),
                Topic::Questions,
            );
        }
    };
    let problem = |take_home: bool| {
        question_problem(&question, if take_home { PadType::TakeHome } else { PadType::Live })
    };
    match rule.take_home {
        Some(take_home) => match problem(take_home) {
            None => {
                Finding::ok(what, if take_home { "usable for take-homes" } else { "usable for live pads" })
            }
            Some(problem) => {
                let (detail, next) = problem.split_once(". ").unwrap_or((problem, "Choose another one."));
                Finding::failure(what, detail, format!("{place}: {next}"), Topic::Questions)
            }
        },
        None => match (problem(false), problem(true)) {
            (None, None) => Finding::ok(what, "usable for live pads and take-homes"),
            (None, Some(_)) => Finding::ok(what, "usable for live pads only"),
            (Some(_), None) => Finding::ok(what, "usable for take-homes only"),
            (Some(problem), Some(_)) => {
                let (detail, next) = problem.split_once(". ").unwrap_or((problem, "Choose another one."));
                Finding::failure(what, detail, format!("{place}: {next}"), Topic::Questions)
            }
        },
    }
}

/// Returns the finding about the owner of a rule's pads. `is_user` says whether the organization has the user.
pub(super) fn owner(rule: &Rule, email: &str, is_user: bool) -> Finding {
    let what = format!("owner {}", masked(email));
    let place = setting(rule, if rule.configuration.is_empty() { "owner" } else { "ownerEmail" });
    if is_user {
        return Finding::ok(what, "is a user of the organization");
    }
    Finding::failure(
        what,
        "is not a user of the organization",
        format!(
            "Invite the user in CoderPad, or correct {place}. CoderPad would create an account for this address."
        ),
        Topic::Questions,
    )
}

/// Returns an e-mail address of which only the first letter and the domain can be read.
pub(super) fn masked(email: &str) -> String {
    let (user, domain) = email.split_once('@').unwrap_or((email, ""));
    format!("{}…@{domain}", user.chars().next().unwrap_or('?'))
}
