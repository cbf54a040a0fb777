//! Fields of a pad in a request: a form, flat JSON, or JSON under `pad`. Unknown fields are ignored, as in Rails, and
//! recorded.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Interview;
use crate::common::wire::{Incoming, decode_pairs};

const CREATE_FIELDS: [&str; 4] = ["take_home", "take_home_time_limit", "ai_assist_enabled", "team_id"];
const COMMON_FIELDS: [&str; 11] = [
    "title",
    "language",
    "contents",
    "question_id",
    "notes",
    "private",
    "execution_enabled",
    "user_email",
    "restrict_interviewer_access",
    "allowed_interviewer_emails",
    "disable_coaching_tips",
];
const UPDATE_FIELDS: [&str; 2] = ["ended", "deleted"];

/// Known fields. A value is a string from a form, or any JSON.
#[derive(Debug, Default)]
pub(crate) struct Fields(BTreeMap<String, Value>);

impl Interview {
    /// Reads the fields; `None` if the body cannot be parsed.
    pub(crate) fn fields(&self, request: &Incoming, creating: bool) -> Option<Fields> {
        let violation = |what: String| self.pipeline.violation(request, what);
        let pairs: Vec<(String, Value)> = match request.media_type().as_str() {
            "application/x-www-form-urlencoded" => {
                let text = std::str::from_utf8(&request.body).ok();
                let pairs = text.ok_or_else(|| "the body is not text".to_owned()).and_then(decode_pairs);
                match pairs {
                    Ok(pairs) => {
                        pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
                    }
                    Err(error) => {
                        violation(error);
                        return None;
                    }
                }
            }
            "application/json" => match serde_json::from_slice(&request.body) {
                Ok(Value::Object(mut fields)) => match fields.remove("pad") {
                    Some(Value::Object(inner)) if fields.is_empty() => inner.into_iter().collect(),
                    None => fields.into_iter().collect(),
                    Some(_) => {
                        violation("`pad` must be an object and the only field".to_owned());
                        return None;
                    }
                },
                _ => {
                    violation("the body is not a JSON object".to_owned());
                    return None;
                }
            },
            other => {
                violation(format!("content type {other:?} is neither a form nor JSON"));
                return None;
            }
        };
        let special: &[&str] = if creating { &CREATE_FIELDS } else { &UPDATE_FIELDS };
        let mut fields = Fields::default();
        for (name, value) in pairs {
            if !COMMON_FIELDS.contains(&name.as_str()) && !special.contains(&name.as_str()) {
                violation(format!("unknown field {name}"));
            } else if name == "execution_enabled" && value.is_boolean() {
                violation("execution_enabled as a JSON boolean is silently ignored".to_owned());
            } else if name == "allowed_interviewer_emails" && !value.is_array() {
                violation("allowed_interviewer_emails needs a JSON array".to_owned());
            } else if fields.0.insert(name.clone(), value).is_some() {
                violation(format!("field {name} twice"));
            }
        }
        Some(fields)
    }
}

impl Fields {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }

    /// Returns a boolean as Rails casts it, and whether it was spelled exactly `true` or `false`.
    pub(crate) fn flag(&self, name: &str) -> Option<(bool, bool)> {
        let text = self.text(name)?;
        let value = !["false", "0", "f", "off", ""].contains(&text.to_ascii_lowercase().as_str());
        Some((value, text == "true" || text == "false"))
    }

    pub(crate) fn number(&self, name: &str) -> Option<Result<u64, String>> {
        let text = self.text(name)?;
        Some(text.parse().map_err(|_| format!("{name} is not a number: {text}")))
    }
}
