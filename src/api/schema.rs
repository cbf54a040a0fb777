//! Pieces of OpenAPI schema that the derives cannot express: bounded timestamps and lists that are maps.

use jiff::Timestamp;
use kube::core::Duration;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serializer};
use serde_json::Value;

/// Rule of a text that people write in one line.
pub const ONE_LINE: &str = r"self.trim().size() > 0 && !self.contains('\n')";

/// Rule of the address of a service. Which of them may be asked is for the operator to say, not for the API server.
pub const WEB_ADDRESS: &str =
    "isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != ''";

/// Rule of a reference by name.
pub const RESOURCE_NAME: &str = "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')";

/// Stricter than the API server's own check of date-time.
const RFC_3339: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

/// An RFC 3339 point in time.
pub fn timestamp(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "maxLength": 40, "pattern": RFC_3339})
}

/// An RFC 3339 point in time that may be absent.
pub fn optional_timestamp(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = timestamp(generator);
    schema.insert("nullable".to_owned(), true.into());
    schema
}

/// The same where a user may write it. It has no format: with one, API servers take lists as well (kube-openapi,
/// pkg/validation/validate/type.go).
pub fn written_timestamp(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = optional_timestamp(generator);
    schema.remove("format");
    schema
}

/// Reads a point in time; anything else counts as absent. One object that does not decode would keep the others from
/// being listed, and neither the pattern nor the format excludes it: API servers accept lists where a format is set.
pub fn lenient_timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(usable_time(&Value::deserialize(deserializer)?))
}

/// Reads the time of a condition. [`UNKNOWN_TIME`] stands for anything that is no time.
pub fn lenient_transition<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    Ok(usable_time(&Value::deserialize(deserializer)?).unwrap_or(UNKNOWN_TIME))
}

/// The transition time of a condition whose own time is unusable. It is replaced when the condition is written again.
pub const UNKNOWN_TIME: Timestamp = Timestamp::UNIX_EPOCH;

/// Returns the point in time that a JSON value contains, if arithmetic with it is safe: from 1970 to the year 9000.
pub fn usable_time(value: &Value) -> Option<Timestamp> {
    /// 9000-01-01T00:00:00Z.
    const END: i64 = 221_845_392_000;
    let time: Timestamp = value.as_str()?.parse().ok()?;
    (0..END).contains(&time.as_second()).then_some(time)
}

/// A duration such as `90s`, `5m` or `1h30m`. The field's own rule says what is one.
pub fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 20})
}

/// Writes a duration as a person would: 5m, not 300s. The defaults that users see are written so.
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
    fn durations_are_written_as_people_write_them() {
        for text in ["5m", "1m30s", "1h30m", "0s", "45s"] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(serialize_duration(&duration, serde_json::value::Serializer).unwrap(), text);
        }
    }
}
