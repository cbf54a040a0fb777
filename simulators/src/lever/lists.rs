//! The two lists of opportunities: filters, and an order in which paging can miss a candidate who moves.

use serde_json::{Value, json};

use super::api::{LeverAnswer, LeverRequest, failure, forbidden};
use super::model::{ADMIN, LeverModel, Opportunity};
use crate::common::wire::Reply;

impl LeverRequest<'_> {
    pub(crate) fn opportunities(&self, model: &mut LeverModel) -> LeverAnswer {
        let confidential = match self.value("confidentiality").unwrap_or("non-confidential") {
            "non-confidential" => Some(false),
            "confidential" => Some(true),
            "all" => None,
            other => return Err(self.bad_request(format!("confidentiality {other:?} is not known"))),
        };
        // As documented, this is an access error and not an empty list.
        if confidential != Some(false) && !self.permissions.confidential() {
            return Err(forbidden());
        }
        let archived = match self.value("archived") {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(other) => return Err(self.bad_request(format!("archived {other:?} is not true or false"))),
        };
        if let Some(email) = self.values("email").find(|email| !email.contains('@')) {
            self.lever.pipeline.violation(self.request, format!("email {email:?}"));
            return Err(failure(400, "BadRequest", "Email address is not valid"));
        }
        let updated = self.time_range("updated_at")?;
        let created = self.time_range("created_at")?;
        let advanced = self.time_range("advanced_at")?;
        let archived_at = self.time_range("archived_at")?;

        let wanted = |opportunity: &Opportunity| {
            let tags = match model.settings.filter_finds_inherited_tags {
                true => model.tags(opportunity),
                false => opportunity.tags.clone(),
            };
            let has_tag =
                |wanted: &str| !model.settings.filter_by_tag || tags.iter().any(|tag| tag == wanted);
            let emails = model.contacts.get(&opportunity.contact).map(|contact| contact.emails.as_slice());
            let posting = opportunity.application.as_ref().map(|(_, posting)| posting.as_str());
            opportunity.deleted_at.is_none()
                && confidential.is_none_or(|wanted| wanted == opportunity.confidential)
                && archived.is_none_or(|wanted| wanted == opportunity.archived.is_some())
                && self.any("stage_id", |stage| stage == opportunity.stage)
                && self.any("tag", has_tag)
                && self.any("contact_id", |contact| contact == opportunity.contact)
                && self.any("posting_id", |wanted| posting == Some(wanted))
                && self.any("origin", |origin| origin == opportunity.origin)
                && self.any("email", |wanted| emails.unwrap_or_default().iter().any(|email| email == wanted))
                && updated.contains(opportunity.updated_at)
                && created.contains(Some(opportunity.created_at))
                && advanced.contains(Some(opportunity.advanced_at))
                && archived_at.contains(opportunity.archived.as_ref().map(|(_, at)| *at))
        };
        // Sorted by stage first: a candidate who advances between two pages is listed twice, one who moves back is
        // missed.
        let place = |opportunity: &Opportunity| {
            let rank = 100 * model.stage_index(&opportunity.stage) + 1;
            (rank, opportunity.created_at, opportunity.id.clone())
        };
        let mut chosen: Vec<(_, &Opportunity)> =
            model.opportunities.values().filter(|one| wanted(one)).map(|one| (place(one), one)).collect();
        chosen.sort_by(|one, other| one.0.cmp(&other.0));
        let rows = chosen
            .into_iter()
            .map(|(place, opportunity)| Ok((place, self.rendered(model, opportunity)?)))
            .collect::<Result<Vec<_>, _>>()?;
        self.page(model, rows)
    }

    pub(crate) fn deleted(&self, model: &mut LeverModel) -> LeverAnswer {
        let time_range = self.time_range("deleted_at")?;
        let deleted = model
            .opportunities
            .values()
            .filter(|one| one.deleted_at.is_some() && time_range.contains(one.deleted_at));
        let mut rows: Vec<((i64, String), Value)> = deleted
            .map(|one| {
                let mut view = model.view(one);
                if let Some(fields) = view.as_object_mut() {
                    fields.insert("deletedAt".into(), json!(one.deleted_at));
                    fields.insert("deletedBy".into(), json!(ADMIN));
                }
                ((one.deleted_at.unwrap_or_default(), one.id.clone()), view)
            })
            .collect();
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        self.page(model, rows)
    }

    /// Reports whether a value matches. Repeated parameters of one kind are a union; without a parameter everything
    /// matches.
    fn any(&self, name: &str, contains: impl Fn(&str) -> bool) -> bool {
        let mut values = self.values(name).peekable();
        values.peek().is_none() || values.any(contains)
    }

    fn time_range(&self, name: &str) -> Result<TimeRange, Reply> {
        Ok(TimeRange {
            start: self.number(&format!("{name}_start"))?,
            end: self.number(&format!("{name}_end"))?,
        })
    }
}

/// Time range. Both ends are inclusive, as documented.
struct TimeRange {
    start: Option<i64>,
    end: Option<i64>,
}

impl TimeRange {
    fn contains(&self, at: Option<i64>) -> bool {
        if self.start.is_none() && self.end.is_none() {
            return true;
        }
        at.is_some_and(|at| {
            self.start.is_none_or(|start| at >= start) && self.end.is_none_or(|end| at <= end)
        })
    }
}
