//! Pages of fifty rows with absolute URLs, by number or by cursor.

use serde_json::{Value, json};

use super::api::{InterviewAnswer, InterviewRequest};
use super::model::InterviewModel;
use crate::common::token48;
use crate::common::wire::Reply;

const PER_PAGE: usize = 50;

impl InterviewRequest<'_> {
    /// Returns one page. `show` is only called for the rows of that page.
    pub(crate) fn page<T>(
        &self,
        model: &mut InterviewModel,
        name: &str,
        rows: &[T],
        show: impl Fn(&T) -> Value,
    ) -> InterviewAnswer {
        let number = match (self.value("cursor"), self.value("page")) {
            (Some(cursor), other) => {
                if other.is_some() || self.value("sort").is_some() {
                    self.violation("a cursor with other parameters");
                }
                let page = cursor.split('.').nth(1).and_then(|page| page.parse().ok());
                match page {
                    Some(page) if model.cursors.contains(cursor) => page,
                    _ => return Err(self.bad_request(format!("cursor {cursor} was never handed out"))),
                }
            }
            (None, Some(page)) => match page.parse() {
                Ok(page) if page >= 1 => page,
                _ => return Err(self.bad_request(format!("page {page:?} is not a number from 1"))),
            },
            (None, None) => 1,
        };
        let total = rows.len();
        let shown: Vec<Value> = rows.iter().skip((number - 1) * PER_PAGE).take(PER_PAGE).map(show).collect();
        let mut body = json!({"status": "OK", name: shown, "total": total});
        let next = (number * PER_PAGE < total).then(|| self.address(model, number + 1));
        let previous = (number > 1).then(|| self.address(model, number - 1));
        if let Some(fields) = body.as_object_mut() {
            next.into_iter().for_each(|url| drop(fields.insert("next_page".into(), json!(url))));
            previous.into_iter().for_each(|url| drop(fields.insert("prev_page".into(), json!(url))));
        }
        Ok(Reply::json(200, body))
    }

    fn address(&self, model: &mut InterviewModel, number: usize) -> String {
        let origin = model.settings.page_origin.clone().unwrap_or_else(|| self.interview.origin());
        let place = format!("{origin}{}", self.request.path);
        let sort = self.sort();
        if !model.settings.cursors {
            let sort = sort.map(|sort| format!("&sort={}", sort.replace(',', "%2C"))).unwrap_or_default();
            return format!("{place}?page={number}{sort}");
        }
        let cursor = format!("{}.{number}.{}", token48(), sort.unwrap_or_default());
        model.cursors.insert(cursor.clone());
        format!("{place}?cursor={}", cursor.replace(',', "%2C"))
    }

    /// Returns the requested order; a cursor carries the order of the first page.
    pub(crate) fn sort(&self) -> Option<&str> {
        let carried = self.value("cursor").and_then(|cursor| cursor.splitn(3, '.').nth(2));
        carried.or_else(|| self.value("sort")).filter(|sort| !sort.is_empty())
    }
}
