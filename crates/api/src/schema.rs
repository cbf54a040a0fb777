//! Parts of the OpenAPI schema that the derives cannot express, such as bounded timestamps.

use jiff::Timestamp;
use kube::core::Duration;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serializer};
use serde_json::Value;

/// Validation rule of a single-line text that must not be blank.
pub const ONE_LINE: &str = r"self.trim().size() > 0 && !self.contains('\n')";

/// Validation rule of the URL of a service. The operator, not the API server, checks the allowed origins.
pub const WEB_ADDRESS: &str =
    "isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != ''";

/// Validation rule of a reference by name.
pub const RESOURCE_NAME: &str = "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')";

/// Pattern of a timestamp; stricter than the API server's check of the format date-time.
const RFC_3339: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

/// Returns the schema of an RFC 3339 timestamp.
pub fn timestamp(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "maxLength": 40, "pattern": RFC_3339})
}

/// Returns the schema of an optional RFC 3339 timestamp.
pub fn optional_timestamp(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = timestamp(generator);
    schema.insert("nullable".to_owned(), true.into());
    schema
}

/// Returns the schema of an optional timestamp that users may write. It has no format, because API servers accept lists
/// for a string with a format (kube-openapi, pkg/validation/validate/type.go).
pub fn written_timestamp(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = optional_timestamp(generator);
    schema.remove("format");
    schema
}

/// Parses a timestamp leniently: an invalid value is treated as absent. Otherwise, one object that fails to decode
/// would block the list of all others. Neither the pattern nor the format prevents such objects, because API servers
/// accept lists for a string with a format.
pub fn lenient_timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(usable_time(&Value::deserialize(deserializer)?))
}

/// Parses the transition time of a condition. Returns [`UNKNOWN_TIME`] for an invalid value.
pub fn lenient_transition<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    Ok(usable_time(&Value::deserialize(deserializer)?).unwrap_or(UNKNOWN_TIME))
}

/// Placeholder for an invalid transition time. It is replaced when the condition is written again.
pub const UNKNOWN_TIME: Timestamp = Timestamp::UNIX_EPOCH;

/// Returns the timestamp in a JSON value, if arithmetic with it is safe: from 1970 to the year 9000.
pub fn usable_time(value: &Value) -> Option<Timestamp> {
    /// 9000-01-01T00:00:00Z.
    const END: i64 = 221_845_392_000;
    let time: Timestamp = value.as_str()?.parse().ok()?;
    (0..END).contains(&time.as_second()).then_some(time)
}

/// Returns the schema of a duration such as `90s`, `5m` or `1h30m`. The validation rule of the field defines the
/// syntax.
pub fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 20})
}

/// Serializes a duration in its usual form: 5m, not 300s. Users see it in the defaults.
pub fn serialize_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let seconds = std::time::Duration::from(*duration).as_secs();
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let text: String = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    serializer.serialize_str(if text.is_empty() { "0s" } else { &text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_serialized_in_their_usual_form() {
        for text in ["5m", "1m30s", "1h30m", "0s", "45s"] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(serialize_duration(&duration, serde_json::value::Serializer).unwrap(), text);
        }
    }
}
