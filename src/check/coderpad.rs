//! Reads of a CoderPad account.

use super::calls::{Answer, Caller};
use super::coderpad_findings as findings;
use super::network::{self, Route};
use super::report::{Finding, Level, Section, Topic};
use super::service_findings::{Endpoint, is_final, plural};
use super::target::{Account, Target};
use coderpad::{PadPage, PadSort, QuestionRecord};
use http_client::{AnswerPart, ErrorKind, Oddities, Service, ServiceError};
use serde::de::DeserializeOwned;
use serde_json::Value;
use services::coderpad::{self as types, RawQuestion, RawQuota};
use url::Url;

const GET_USER: &str = "GET /user";
const GET_ORGANIZATION: &str = "GET /organization";
const LIST_USERS: &str = "GET /organization/users";
const GET_QUOTA: &str = "GET /quota";
const LIST_PADS: &str = "GET /organization/pads";
const GET_PAD: &str = "GET /pads/{id}";
const LIST_EVENTS: &str = "GET /pads/{id}/events";
const GET_ENVIRONMENT: &str = "GET /pad_environments/{id}";
const GET_QUESTION: &str = "GET /questions/{id}";
/// Maximum number of questions, and of owners, that are read.
const MAX_READ: usize = 3;

const OWNER: &str =
    "Check that the CoderPad plan includes API access, and take the key of an organization owner.";
const ALL_PADS: &str = "Allow users to see all pads in CoderPad's organization settings, or take the key of an organization owner.";

/// Reads of one CoderPad account.
pub(super) struct InterviewCheck<'a> {
    pub caller: &'a Caller,
    pub account: &'a Account,
    pub target: &'a Target,
}

impl InterviewCheck<'_> {
    /// Sends all reads and returns the sections.
    pub(super) async fn sections(&self) -> Vec<Section> {
        let route = Route::look_up(&self.account.url).await;
        let organization = self.caller.get(GET_ORGANIZATION, &["organization"], &[]).await;
        let Some(first) = organization.arrival() else { return Vec::new() };
        let mut sections =
            vec![Section::new("Network to CoderPad", network::findings(Service::Interview, &route, first))];
        if organization.head.is_none() {
            return sections;
        }
        let mut key = vec![self.organization(&organization)];
        if organization
            .result
            .as_ref()
            .is_err_and(|error| is_final(error) && error.class != ErrorKind::NotFound)
        {
            sections.push(Section::new("CoderPad key", key));
            return sections;
        }
        let user = self.caller.get(GET_USER, &["user"], &[]).await;
        key.push(match &user.result {
            Ok(answer) => findings::user(answer),
            // Only clients mention this endpoint.
            Err(error) if error.class == ErrorKind::NotFound => findings::user(&Value::Null),
            Err(error) => self.endpoint(GET_USER, Level::Failure, OWNER).refused(error),
        });
        let quota = self.caller.get(GET_QUOTA, &["quota"], &[]).await;
        key.push(match decoded(&quota, RawQuota::check) {
            Ok(Ok(quota)) => findings::quota(&quota),
            Ok(Err(reason)) => {
                Finding::failure(GET_QUOTA, reason, super::lever_findings::REPORT, Topic::Answers)
            }
            Err(error) => self.endpoint(GET_QUOTA, Level::Failure, OWNER).refused(&error),
        });
        let query = [("sort", PadSort::Updated.parameter())];
        let list = self.caller.get(LIST_PADS, &["organization", "pads"], &query).await;
        key.push(
            self.endpoint(LIST_PADS, Level::Failure, ALL_PADS)
                .finding(&list, || "all pads may be listed".to_owned()),
        );
        sections.push(Section::new("CoderPad key", key));

        if let (Ok(answer), Ok(endpoint)) =
            (&list.result, self.caller.url(LIST_PADS, &["organization", "pads"]))
        {
            sections.push(Section::new("CoderPad: lists and words", self.lists(answer, &endpoint).await));
        }
        sections.push(Section::new("CoderPad: questions and owners", self.settings().await));
        sections
    }

    fn endpoint<'e>(&'e self, operation: &'e str, need: Level, permission: &'e str) -> Endpoint<'e> {
        Endpoint { operation, need, permission, place: &self.account.place }
    }

    fn organization(&self, answer: &Answer) -> Finding {
        match &answer.result {
            Ok(answer) => {
                let odd = Oddities::default();
                findings::organization(types::organization(&AnswerPart::whole(answer, &odd)))
            }
            Err(error) if error.class == ErrorKind::NotFound => {
                findings::organization(Err("the user of the key belongs to none"))
            }
            Err(error) => self.endpoint(GET_ORGANIZATION, Level::Failure, OWNER).refused(error),
        }
    }

    async fn lists(&self, answer: &Value, endpoint: &Url) -> Vec<Finding> {
        let mut found = findings::pads(answer, endpoint, PadSort::Updated);
        found.push(findings::next_page(answer, endpoint));
        let page = findings::read_pads(answer, endpoint).0.ok();
        if let Some(page) = &page {
            found.extend(self.second_page(page, endpoint).await);
        }
        let query = [("sort", PadSort::Created.parameter())];
        let created = self.caller.get(LIST_PADS, &["organization", "pads"], &query).await;
        match &created.result {
            Ok(answer) => found.extend(findings::pads(answer, endpoint, PadSort::Created)),
            Err(error) => found.push(self.endpoint(LIST_PADS, Level::Failure, ALL_PADS).refused(error)),
        }
        let rows = answer.get("pads").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if let Some(page) = &page {
            found.extend(findings::pad_rows(&page.pads, rows));
            // An ended pad has the most members.
            let example = page.pads.iter().find(|pad| pad.ended_at.is_some()).or(page.pads.first());
            let row = example.and_then(|pad| {
                rows.iter().find(|row| row.get("id").and_then(Value::as_str) == Some(&pad.id))
            });
            if let (Some(pad), Some(row)) = (example, row) {
                found.extend(self.one_pad(&pad.id, row, pad.environment_ids.first().copied()).await);
            }
        }
        found
    }

    async fn second_page(&self, first: &PadPage, endpoint: &Url) -> Option<Finding> {
        let mut url = endpoint.clone();
        url.set_query(Some(first.next.as_ref()?.query()));
        let answer = self.caller.send(http_client::Call::get(LIST_PADS, url)).await;
        Some(match &answer.result {
            Ok(answer) => findings::second_page(first, answer, endpoint, PadSort::Updated),
            Err(error) => Finding::failure(
                "second page",
                error.to_string(),
                super::lever_findings::REPORT,
                Topic::Lists,
            ),
        })
    }

    async fn one_pad(&self, id: &str, row: &Value, environment: Option<i64>) -> Vec<Finding> {
        let mut found = Vec::new();
        let pad = self.caller.get(GET_PAD, &["pads", id], &[]).await;
        found.push(match &pad.result {
            Ok(answer) => findings::single(row, answer),
            Err(error) => self.endpoint(GET_PAD, Level::Failure, OWNER).refused(error),
        });
        let events =
            self.caller.get(LIST_EVENTS, &["pads", id, "events"], &[("sort", "created_at,asc")]).await;
        found.push(match &events.result {
            Ok(answer) => findings::events(answer),
            Err(error) => self.endpoint(LIST_EVENTS, Level::Warning, OWNER).refused(error),
        });
        if let Some(environment) = environment {
            let environment = environment.to_string();
            let answer = self.caller.get(GET_ENVIRONMENT, &["pad_environments", &environment], &[]).await;
            found.push(
                self.endpoint(GET_ENVIRONMENT, Level::Warning, OWNER)
                    .finding(&answer, || "readable".to_owned()),
            );
        }
        found
    }

    /// Reads the questions and owners of the rules.
    async fn settings(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let (questions, more_questions) =
            self.target.distinct(MAX_READ, |rule| Some((rule.question?, rule.take_home)));
        for (id, take_home) in questions {
            let rule = self
                .target
                .rules
                .iter()
                .find(|rule| rule.question == Some(id) && rule.take_home == take_home);
            let Some(rule) = rule else { continue };
            let answer = self.caller.get(GET_QUESTION, &["questions", &id.to_string()], &[]).await;
            let read: Result<Result<QuestionRecord, _>, _> = decoded(&answer, RawQuestion::check);
            found.push(match read {
                Ok(read) => findings::question(rule, id, read),
                Err(error) if error.class == ErrorKind::NotFound => findings::question(
                    rule,
                    id,
                    Err("the organization has no such question, or the key may not see it"),
                ),
                Err(error) => self.endpoint(GET_QUESTION, Level::Failure, OWNER).refused(&error),
            });
        }
        let (owners, more_owners) = self.target.distinct(MAX_READ, |rule| rule.owner.clone());
        for email in owners {
            let rule = self.target.rules.iter().find(|rule| rule.owner.as_ref() == Some(&email));
            let Some(rule) = rule else { continue };
            let answer = self.caller.get(LIST_USERS, &["organization", "users"], &[("email", &email)]).await;
            found.push(match &answer.result {
                Ok(answer) => {
                    let odd = Oddities::default();
                    let users = types::users(&AnswerPart::whole(answer, &odd)).unwrap_or_default();
                    let is_user = users.iter().any(|user| user.email.eq_ignore_ascii_case(&email));
                    findings::owner(rule, &email, is_user)
                }
                Err(error) if error.class == ErrorKind::NotFound => findings::owner(rule, &email, false),
                Err(error) => self.endpoint(LIST_USERS, Level::Failure, OWNER).refused(error),
            });
        }
        let others = more_questions + more_owners;
        if others > 0 {
            let detail = format!("{} not read, to keep the number of requests low", plural(others, "other"));
            found.push(Finding::ok("other questions and owners", detail));
        }
        found
    }
}

/// Decodes an answer. The inner error describes an answer that cannot be read.
fn decoded<Raw: DeserializeOwned, T>(
    answer: &Answer,
    check: impl FnOnce(Raw) -> Result<T, &'static str>,
) -> Result<Result<T, &'static str>, ServiceError> {
    let value = answer.result.clone()?;
    let raw = serde_json::from_value(value).map_err(|_| "the answer cannot be read");
    Ok(raw.and_then(check))
}
