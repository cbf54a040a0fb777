//! Tolerant reading of answers (contract S2a). An odd member is dropped and an odd row is left out, so that neither
//! fails the whole page, a probe, a search or a sync. Each is recorded by its path, never by its value.

use crate::surprise::{Sighting, SurpriseKind, api_word};
use jiff::Timestamp;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::fmt;

/// Range of the times that a service may report, in seconds since 1970: the years 2000 to 2199. Any other time counts
/// as odd, so that arithmetic on external times stays far from the limits of the type.
const PLAUSIBLE_SECONDS: std::ops::Range<i64> = 946_684_800..7_258_118_400;

/// Oddities of one answer.
#[derive(Debug, Default)]
pub struct Oddities {
    members: Cell<u64>,
    first_member: RefCell<Option<String>>,
    rows: Cell<u64>,
    first_row: RefCell<Option<String>>,
    /// Path of the last oddity in the current row.
    in_row: RefCell<Option<String>>,
    /// Other surprises, one entry for each kind.
    others: RefCell<Vec<Sighting>>,
}

/// Oddities of one kind: their number and the path of the first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OddityCount {
    /// Number of odd parts.
    pub count: u64,
    /// Path of the first one.
    pub first: String,
}

impl Oddities {
    /// Returns the members that were dropped, if any.
    pub fn members(&self) -> Option<OddityCount> {
        Some(OddityCount { count: self.members.get(), first: self.first_member.borrow().clone()? })
    }

    /// Returns the rows that were left out, if any.
    pub fn rows(&self) -> Option<OddityCount> {
        Some(OddityCount { count: self.rows.get(), first: self.first_row.borrow().clone()? })
    }

    /// Returns the surprises of all kinds.
    pub fn surprises(&self) -> Vec<Sighting> {
        let sighting =
            |kind| move |OddityCount { count, first }| Sighting { count, ..Sighting::new(kind, first) };
        let mut all = self.others.borrow().clone();
        all.extend(self.rows().map(sighting(SurpriseKind::RowsLeftOut)));
        all.extend(self.members().map(sighting(SurpriseKind::MembersDropped)));
        all
    }

    fn surprise(&self, kind: SurpriseKind, at: AnswerPath<'_>, word: Option<String>) {
        let mut others = self.others.borrow_mut();
        match others.iter_mut().find(|known| known.kind == kind) {
            Some(known) => known.count = known.count.saturating_add(1),
            None => others.push(Sighting { word, ..Sighting::new(kind, at.to_string()) }),
        }
    }

    fn member(&self, at: AnswerPath<'_>) {
        let path = at.to_string();
        self.members.set(self.members.get().saturating_add(1));
        self.first_member.borrow_mut().get_or_insert_with(|| path.clone());
        self.in_row.replace(Some(path));
    }

    fn row(&self, at: AnswerPath<'_>) {
        let path = self.in_row.take().unwrap_or_else(|| at.to_string());
        self.rows.set(self.rows.get().saturating_add(1));
        self.first_row.borrow_mut().get_or_insert(path);
    }
}

/// Path of an [`AnswerPart`] from the root of the service's answer, displayed as `data[17].tags[2]`.
#[derive(Clone, Copy)]
enum AnswerPath<'a> {
    Answer,
    Member(&'a AnswerPath<'a>, &'static str),
    Item(&'a AnswerPath<'a>, usize),
}

impl fmt::Display for AnswerPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnswerPath::Answer => Ok(()),
            AnswerPath::Member(AnswerPath::Answer, name) => f.write_str(name),
            AnswerPath::Member(of, name) => write!(f, "{of}.{name}"),
            AnswerPath::Item(of, index) => write!(f, "{of}[{index}]"),
        }
    }
}

/// Part of an answer. Its readers return None if a member is absent, null or odd, and record an odd one.
#[derive(Clone, Copy)]
pub struct AnswerPart<'a> {
    value: &'a Value,
    at: AnswerPath<'a>,
    odd: &'a Oddities,
}

impl<'a> AnswerPart<'a> {
    /// Returns the whole answer as a part.
    pub fn whole(answer: &'a Value, odd: &'a Oddities) -> Self {
        Self { value: answer, at: AnswerPath::Answer, odd }
    }

    /// Returns the JSON value.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// Reports whether this is an object.
    pub fn is_object(&self) -> bool {
        self.value.is_object()
    }

    /// Returns a member of an object; None if it is absent or null.
    pub fn member<'b>(&'b self, name: &'static str) -> Option<AnswerPart<'b>> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(AnswerPart { value, at: AnswerPath::Member(&self.at, name), odd: self.odd })
    }

    /// Records that this part cannot be used. Returns None.
    pub fn is_odd<T>(&self) -> Option<T> {
        self.odd.member(self.at);
        None
    }

    /// Records a required member as absent, so that the path of its row names the member. Returns `member`.
    pub fn needs<T>(&self, name: &'static str, member: Option<T>) -> Option<T> {
        if member.is_none() && self.member(name).is_none() {
            self.odd.in_row.replace(Some(AnswerPath::Member(&self.at, name).to_string()));
        }
        member
    }

    /// Records a surprise about a member, which may be absent.
    pub fn surprise(&self, kind: SurpriseKind, name: &'static str) {
        self.odd.surprise(kind, AnswerPath::Member(&self.at, name), None);
    }

    /// Returns a member that is a text, and records a surprise if it is none of the known words.
    pub fn word(
        &self,
        name: &'static str,
        kind: SurpriseKind,
        is_known: impl FnOnce(&str) -> bool,
    ) -> Option<String> {
        let word = self.text(name)?;
        if !word.is_empty() && !is_known(&word) {
            self.odd.surprise(kind, AnswerPath::Member(&self.at, name), api_word(&word));
        }
        Some(word)
    }

    /// Calls `see` with each item of a list.
    pub fn each(&self, name: &'static str, mut see: impl FnMut(&AnswerPart<'_>)) {
        let Some(list) = self.member(name) else { return };
        for (index, value) in list.value.as_array().into_iter().flatten().enumerate() {
            see(&AnswerPart { value, at: AnswerPath::Item(&list.at, index), odd: self.odd });
        }
    }

    /// Returns the value that `read` accepts, or records this part as odd.
    fn read<T>(&self, read: impl FnOnce(&'a Value) -> Option<T>) -> Option<T> {
        read(self.value).or_else(|| self.is_odd())
    }

    /// Returns a member that is a text.
    pub fn text(&self, name: &'static str) -> Option<String> {
        self.member(name)?.read(|value| value.as_str().map(str::to_owned))
    }

    /// Returns a member that is true or false.
    pub fn flag(&self, name: &'static str) -> Option<bool> {
        self.member(name)?.read(Value::as_bool)
    }

    /// Returns a member that is an RFC 3339 time in a plausible year.
    pub fn time(&self, name: &'static str) -> Option<Timestamp> {
        self.member(name)?.read(|value| value.as_str()?.parse().ok().filter(is_plausible))
    }

    /// Returns a member that is a time in a plausible year, in milliseconds since 1970.
    pub fn milliseconds(&self, name: &'static str) -> Option<i64> {
        self.member(name)?.read(milliseconds)
    }

    /// Returns the items of a list for which `read` returns a value; the others are recorded as odd. None if the list
    /// is absent, null or not a list.
    pub fn items<T>(
        &self,
        name: &'static str,
        mut read: impl FnMut(&AnswerPart<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let list = self.member(name)?;
        let Some(items) = list.value.as_array() else { return list.is_odd() };
        let mut found = Vec::with_capacity(items.len());
        for (index, value) in items.iter().enumerate() {
            let item = AnswerPart { value, at: AnswerPath::Item(&list.at, index), odd: self.odd };
            let before = self.odd.members.get();
            match read(&item) {
                Some(read) => found.push(read),
                // `read` did not record the oddity itself. Each oddity is recorded once.
                None if self.odd.members.get() == before => drop(item.is_odd::<()>()),
                None => {}
            }
        }
        Some(found)
    }

    /// Returns the texts of a list.
    pub fn texts(&self, name: &'static str) -> Vec<String> {
        self.items(name, |item| item.value.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Returns the rows of the answer's main list for which `read` returns a value, and the number of rows that were
    /// left out. None if there is no list.
    pub fn rows<T>(
        &self,
        name: &'static str,
        mut read: impl FnMut(&AnswerPart<'_>) -> Option<T>,
    ) -> Option<(Vec<T>, usize)> {
        let list = self.member(name)?;
        let rows = list.value.as_array()?;
        let mut found = Vec::with_capacity(rows.len());
        for (index, value) in rows.iter().enumerate() {
            let row = AnswerPart { value, at: AnswerPath::Item(&list.at, index), odd: self.odd };
            self.odd.in_row.replace(None);
            match read(&row) {
                Some(read) => found.push(read),
                None => self.odd.row(row.at),
            }
        }
        let left_out = rows.len().saturating_sub(found.len());
        Some((found, left_out))
    }
}

fn is_plausible(at: &Timestamp) -> bool {
    PLAUSIBLE_SECONDS.contains(&at.as_second())
}

/// Returns a time in a plausible year, in milliseconds. The value is a number, or, as in some of Lever's examples, a
/// number in quotes.
pub fn milliseconds(value: &Value) -> Option<i64> {
    let milliseconds = match value {
        #[allow(clippy::cast_possible_truncation)]
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|ms| ms as i64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    milliseconds.filter(|ms| PLAUSIBLE_SECONDS.contains(&ms.div_euclid(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    type Rows = Option<(Vec<String>, usize)>;

    fn read(answer: &Value) -> (Rows, Option<OddityCount>, Option<OddityCount>) {
        let odd = Oddities::default();
        let rows = AnswerPart::whole(answer, &odd).rows("data", |row| {
            row.texts("tags");
            row.needs("id", row.text("id"))
        });
        (rows, odd.members(), odd.rows())
    }

    #[test]
    fn odd_members_are_dropped_and_rows_without_identity_left_out_each_with_its_path() {
        let odd = |count, first: &str| Some(OddityCount { count, first: first.into() });
        let good = json!({"id": "a", "tags": ["x"]});
        let found = |rows: Value| read(&json!({"data": rows}));
        assert_eq!(found(json!([good])), (Some((vec!["a".into()], 0)), None, None));
        assert_eq!(
            found(json!([good, {"id": "b", "tags": ["x", null, 3]}, {"id": "c", "tags": 5}])),
            (Some((vec!["a".into(), "b".into(), "c".into()], 0)), odd(3, "data[1].tags[1]"), None)
        );
        assert_eq!(
            found(json!([good, {"id": null}])),
            (Some((vec!["a".into()], 1)), None, odd(1, "data[1].id"))
        );
        assert_eq!(
            found(json!([{"id": 7}, good])),
            (Some((vec!["a".into()], 1)), odd(1, "data[0].id"), odd(1, "data[0].id"))
        );
        assert_eq!(found(json!([null, good])), (Some((vec!["a".into()], 1)), None, odd(1, "data[0].id")));
        assert_eq!(found(json!({"id": "a"})).0, None, "no list");
        assert_eq!(read(&json!([])).0, None);
    }

    #[test]
    fn unknown_words_are_counted_and_shown_with_their_path() {
        let words = |words: &[&str]| {
            let rows: Vec<Value> = words.iter().map(|word| json!({"state": word})).collect();
            let (answer, odd) = (json!({"pads": rows}), Oddities::default());
            let whole = AnswerPart::whole(&answer, &odd);
            whole.each("pads", |row| {
                drop(row.word("state", SurpriseKind::UnknownState, |word| word == "ended"))
            });
            odd.surprises()
        };
        let seen = |place: &str, word: Option<&str>, count| {
            let kind = SurpriseKind::UnknownState;
            vec![Sighting { word: word.map(str::to_owned), count, ..Sighting::new(kind, place.into()) }]
        };
        assert_eq!(words(&["ended", ""]), []);
        assert_eq!(words(&["ended", "paused", "ended", "over"]), seen("pads[1].state", Some("paused"), 2));
        assert_eq!(words(&["Ada Lovelace"]), seen("pads[0].state", None, 1));
    }

    #[test]
    fn rows_and_members_that_cannot_be_read_are_surprises() {
        let (answer, odd) =
            (json!({"data": [{"id": "a"}, {"id": "b", "tags": [7]}, {}]}), Oddities::default());
        let read = |row: &AnswerPart<'_>| {
            row.texts("tags");
            row.needs("id", row.text("id"))
        };
        drop(AnswerPart::whole(&answer, &odd).rows("data", read));
        assert_eq!(
            odd.surprises(),
            [
                Sighting::new(SurpriseKind::RowsLeftOut, "data[2].id".into()),
                Sighting::new(SurpriseKind::MembersDropped, "data[1].tags[0]".into()),
            ]
        );
    }

    #[test]
    fn times_outside_of_plausible_years_count_as_odd() {
        let time = |text: Value| {
            let (answer, odd) = (json!({"at": text}), Oddities::default());
            let at = AnswerPart::whole(&answer, &odd).time("at");
            (at.is_some(), odd.members().is_some())
        };
        for text in ["2000-01-01T00:00:00Z", "2199-12-31T23:59:59Z", "2026-02-03T10:00:01.250-07:00"] {
            assert_eq!(time(json!(text)), (true, false), "{text}");
        }
        for text in ["-009999-01-02T01:59:59Z", "9999-12-30T22:00:00Z", "1999-12-31T23:59:59Z", "soon", ""] {
            assert_eq!(time(json!(text)), (false, true), "{text}");
        }
        assert_eq!(time(json!(1_700_000_000)), (false, true));
        assert_eq!(time(Value::Null), (false, false));
        for ms in [json!(1_700_000_000_000_i64), json!("1700000000000"), json!(1.7e12)] {
            assert_eq!(milliseconds(&ms), Some(1_700_000_000_000));
        }
        for ms in [json!(i64::MAX), json!(i64::MIN), json!(0), json!(1e300), json!("-1"), json!(null)] {
            assert_eq!(milliseconds(&ms), None, "{ms}");
        }
    }
}
