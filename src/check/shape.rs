//! Shapes of answers: types, lengths and the words of known enumerations. A shape contains no other text of an answer,
//! so that it can be attached to a bug report.

use serde_json::{Map, Value, json};

/// Members whose texts are words of an enumeration and not about a person.
const WORD_MEMBERS: [&str; 15] = [
    "code",
    "confidentiality",
    "event",
    "kind",
    "language",
    "origin",
    "origins",
    "organization_default_language",
    "pad_type",
    "priority",
    "state",
    "status",
    "type",
    "accessRole",
    "hasNext",
];
/// Maximum length of a word that is kept, in characters.
const MAX_WORD_CHARS: usize = 32;
/// Maximum number of different shapes that are kept of a list.
const MAX_ITEM_SHAPES: usize = 5;
/// Maximum depth of nested values.
const MAX_DEPTH: usize = 12;

/// Returns the shape of a JSON value. A list becomes its different items, each with its number.
pub fn shape(value: &Value) -> Value {
    of(value, "", 0)
}

fn of(value: &Value, member: &str, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return json!("<deeper>");
    }
    match value {
        Value::Null | Value::Bool(_) => value.clone(),
        Value::Number(number) if number.is_f64() => json!("<decimal>"),
        Value::Number(number) => json!(format!("<integer {}>", number.to_string().len())),
        Value::String(text) => json!(text_shape(text, member)),
        Value::Array(items) => list_shape(items, member, depth),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| {
                let name = if is_name(name) { name.as_str() } else { "<name>" };
                (name.to_owned(), of(value, name, depth + 1))
            });
            Value::Object(Map::from_iter(members))
        }
    }
}

fn list_shape(items: &[Value], member: &str, depth: usize) -> Value {
    let mut shapes: Vec<(Value, usize)> = Vec::new();
    for item in items {
        let shape = of(item, member, depth + 1);
        match shapes.iter_mut().find(|(known, _)| *known == shape) {
            Some((_, count)) => *count += 1,
            None => shapes.push((shape, 1)),
        }
    }
    let others = shapes.len().saturating_sub(MAX_ITEM_SHAPES);
    let mut list: Vec<Value> = shapes
        .into_iter()
        .take(MAX_ITEM_SHAPES)
        .map(|(shape, count)| json!({"times": count, "item": shape}))
        .collect();
    if others > 0 {
        list.push(json!(format!("<{others} other shapes>")));
    }
    Value::Array(list)
}

/// Reports whether the name of a member is one that a service chose, and not data such as an e-mail address.
fn is_name(name: &str) -> bool {
    name.len() <= 48
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn text_shape(text: &str, member: &str) -> String {
    let chars = text.chars().count();
    let is_word = chars <= MAX_WORD_CHARS
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if is_word && WORD_MEMBERS.contains(&member) {
        return text.to_owned();
    }
    let kind = if text.is_empty() {
        "empty text"
    } else if text.parse::<jiff::Timestamp>().is_ok() {
        "time"
    } else if text.starts_with("https://") || text.starts_with("http://") {
        "url"
    } else if text.contains('@') && !text.contains(char::is_whitespace) {
        "email"
    } else if is_uuid(text) {
        "uuid"
    } else {
        "text"
    };
    if text.is_empty() { format!("<{kind}>") } else { format!("<{kind} {chars}>") }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.chars().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_keeps_types_lengths_and_words_and_no_other_text() {
        let answer = json!({
            "data": [
                {"id": "6408dc54-aaa6-48cd-b8e3-7ee5a92e92e0", "name": "Ada Example", "emails": ["ada@example.com"],
                    "confidentiality": "non-confidential", "createdAt": 1_407_357_447_018_i64, "archived": null,
                    "links": [], "state": "Ada is here"},
                {"id": "6408dc54-aaa6-48cd-b8e3-7ee5a92e92e1", "name": "Bob Example", "emails": ["bob@example.com"],
                    "confidentiality": "non-confidential", "createdAt": 1_407_357_447_019_i64, "archived": null,
                    "links": [], "state": "Bob is here"},
            ],
            "ada@example.com": 1.5, "hasNext": false, "code": "", "updated_at": "2026-01-02T03:04:05Z",
            "url": "https://app.coderpad.io/ABC",
        });
        let expected = json!({
            "data": [{"times": 2, "item": {
                "id": "<uuid 36>", "name": "<text 11>", "emails": [{"times": 1, "item": "<email 15>"}],
                "confidentiality": "non-confidential", "createdAt": "<integer 13>", "archived": null, "links": [],
                "state": "<text 11>"}}],
            "<name>": "<decimal>", "hasNext": false, "code": "<empty text>", "updated_at": "<time 20>",
            "url": "<url 27>",
        });
        assert_eq!(shape(&answer), expected);
    }

    #[test]
    fn a_long_list_and_a_deep_value_stay_short() {
        let names: Vec<String> = (1..=9).map(|length| "x".repeat(length)).collect();
        let shapes = shape(&json!(names));
        assert_eq!(shapes.as_array().unwrap().len(), 6);
        assert_eq!(shapes[5], "<4 other shapes>");
        let deep = (0..99).fold(json!("secret"), |value, _| json!({ "a": value }));
        assert!(!shape(&deep).to_string().contains("secret"));
    }
}
