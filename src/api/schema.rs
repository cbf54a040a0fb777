//! Pieces of OpenAPI schema that the derives cannot express: bounded timestamps and lists that are maps.

use schemars::{Schema, SchemaGenerator, json_schema};

/// An RFC 3339 point in time.
pub fn timestamp(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "maxLength": 40})
}

/// An RFC 3339 point in time that may be absent.
pub fn optional_timestamp(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "maxLength": 40, "nullable": true})
}

/// A duration such as `90s`, `5m` or `1h30m`.
pub fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 2,
        "maxLength": 20,
        "pattern": "^([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?$",
    })
}
