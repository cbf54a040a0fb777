//! Decoding of objects one by one: an object that does not decode is skipped and reported, and does not prevent the
//! operator from listing and watching the others.
//!
//! The schema does not exclude such objects. API servers accept lists in fields with a `format`, and a newer version of
//! the CustomResourceDefinitions may have permitted the object.

use crate::schema;
use crate::trimmed_objects::{ManagedKind, Metadata, names_of_kind};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::borrow::Cow;

/// Fields that contain arbitrary text, although their name looks like a time.
const TEXT_FIELDS: &[&str] = &["lastHandledReconcileAt"];

/// Object that was decoded leniently.
#[derive(Clone, Debug)]
pub enum Decoded<K> {
    /// The object, and its fields that contain no usable time and count as absent.
    Object(Box<K>, Vec<String>),
    /// Object that does not decode: its metadata, the faulty field, and the spec as it is stored.
    Undecodable(Box<ObjectMeta>, String, Value),
}

impl<K: ManagedKind> Decoded<K> {
    /// Returns the object, if it decodes.
    pub fn object(self) -> Option<K> {
        match self {
            Self::Object(object, _) => Some(*object),
            Self::Undecodable(..) => None,
        }
    }

    /// Returns the faulty field, if the object does not decode.
    pub fn fault(&self) -> Option<&str> {
        match self {
            Self::Object(..) => None,
            Self::Undecodable(_, field, _) => Some(field),
        }
    }
}

impl<'de, K: ManagedKind> Deserialize<'de> for Decoded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let RawParts { metadata, spec, status } = RawParts::deserialize(deserializer)?;
        let (times, metadata) = (unusable_times(&status), ObjectMeta::from(metadata));
        let decoded = match K::Spec::deserialize(&spec) {
            Ok(decoded) => decoded,
            Err(_) => {
                let field = faulty_field::<K::Spec>(&spec);
                return Ok(Self::undecodable(metadata, "spec", field, spec));
            }
        };
        let status = match Option::<K::Status>::deserialize(&status) {
            Ok(status) => status,
            Err(_) => {
                let field = faulty_field::<K::Status>(&status);
                return Ok(Self::undecodable(metadata, "status", field, spec));
            }
        };
        let mut object = K::from_spec(decoded);
        *object.meta_mut() = metadata;
        *object.status_mut() = status;
        Ok(Self::Object(Box::new(object), times))
    }
}

impl<K> Decoded<K> {
    fn undecodable(metadata: ObjectMeta, part: &str, field: Option<String>, spec: Value) -> Self {
        let field = field.map_or_else(|| part.to_owned(), |field| format!("{part}.{field}"));
        Self::Undecodable(Box::new(metadata), field, spec)
    }
}

#[derive(Deserialize)]
struct RawParts {
    metadata: Metadata,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

/// Returns the field without which the rest decodes. Does not use the decoder's own message: it quotes values, which
/// may be a candidate's data.
fn faulty_field<T: DeserializeOwned>(value: &Value) -> Option<String> {
    let fields = value.as_object()?;
    let decodes_without = |field: &&String| {
        let mut rest = fields.clone();
        rest.remove(field.as_str());
        serde_json::from_value::<T>(Value::Object(rest)).is_ok()
    };
    fields.keys().find(decodes_without).cloned()
}

/// Returns the paths of the times in a status that [`schema::lenient_timestamp`] treats as absent.
fn unusable_times(status: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect_unusable(status, "status", &mut found);
    found
}

fn collect_unusable(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                if !is_time(name) {
                    collect_unusable(value, &path, found);
                } else if !value.is_null() && schema::usable_time(value).is_none() {
                    found.push(path);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                let name = item.get("type").and_then(Value::as_str).unwrap_or_default();
                collect_unusable(item, &format!("{path}[{}]", crate::sanitize::one_line(name, 64)), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_time(field: &str) -> bool {
    let suffixes = ["At", "Time", "Since", "Until", "SettledFor"];
    !TEXT_FIELDS.contains(&field) && (field == "at" || suffixes.iter().any(|suffix| field.ends_with(suffix)))
}

impl<K: ManagedKind> Resource for Decoded<K> {
    names_of_kind!();

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Object(object, _) => object.meta(),
            Self::Undecodable(metadata, ..) => metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Object(object, _) => object.meta_mut(),
            Self::Undecodable(metadata, ..) => metadata,
        }
    }
}

/// Splits a list into the objects that decode and a description (`kind namespace/name: field`) of each other object.
pub fn split<K: ManagedKind>(listed: impl IntoIterator<Item = Decoded<K>>) -> (Vec<K>, Vec<String>) {
    let (mut objects, mut faults) = (Vec::new(), Vec::new());
    for decoded in listed {
        if let Some(field) = decoded.fault() {
            let namespace = ResourceExt::namespace(&decoded).unwrap_or_default();
            faults.push(format!("{} {namespace}/{}: {field}", K::kind(&()), decoded.name_any()));
        }
        objects.extend(decoded.object());
    }
    (objects, faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::types;
    use crate::{HasConditions, LeverConnection, Pad, PadConfiguration, crd};
    use jiff::Timestamp;
    use serde_json::json;

    fn pad(name: &str, status: Value) -> Value {
        json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "metadata": {"name": name, "namespace": "hiring"},
            "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"}, "status": status,
        })
    }

    /// Values that API servers accept for a field of the format date-time.
    fn odd_times() -> Vec<Value> {
        ["9999-12-31T23:59:59Z", "9999-12-30T21:59:59Z", "0000-01-01T00:00:00Z", "soon", ""]
            .map(Value::from)
            .into_iter()
            .chain([json!(["2026-01-01T00:00:00Z"]), json!([[null, {}]]), json!(17), json!({"a": 1})])
            .collect()
    }

    #[test]
    fn an_invalid_time_counts_as_absent_and_is_named() {
        for odd in odd_times() {
            let conditions = json!([{"type": "Ready", "status": "True", "reason": "Open", "message": "",
                "observedGeneration": 1, "lastTransitionTime": odd}]);
            let status = json!({"phase": "Open", "createdAt": odd, "endedAt": odd, "linkedAt": "2026-01-02T03:04:05Z",
                "lastHandledReconcileAt": "by hand", "conditions": conditions});
            let Decoded::Object(read, times) = serde_json::from_value(pad("p", status)).unwrap() else {
                panic!("{odd} hides the Pad");
            };
            let read: Pad = *read;
            let status = read.status.as_ref().unwrap();
            assert_eq!((status.created_at, status.ended_at), (None, None), "{odd}");
            assert!(status.linked_at.is_some());
            assert_eq!(read.conditions()[0].last_transition_time, Timestamp::UNIX_EPOCH, "{odd}");
            let expected =
                ["status.conditions[Ready].lastTransitionTime", "status.createdAt", "status.endedAt"];
            assert_eq!(times, expected, "{odd}");
            assert_eq!(types::READY, read.conditions()[0].type_);
        }
    }

    /// Covers every time in every status, so that the test fails if a new field is not decoded leniently.
    #[test]
    fn no_time_in_any_status_hides_an_object() {
        let lists = crd::all().unwrap();
        let mut seen = 0;
        for crd in lists {
            let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
            let status = serde_json::to_value(&schema.properties.as_ref().unwrap()["status"]).unwrap();
            for (path, field) in times_of(&status, Vec::new()) {
                seen += 1;
                for odd in odd_times() {
                    let value = path.iter().rev().fold(odd.clone(), |inner, name| match name.as_str() {
                        "[]" => json!([inner]),
                        name => json!({name: inner}),
                    });
                    let text = format!("{} {field} {odd}", crd.spec.names.kind);
                    let reads = match crd.spec.names.kind.as_str() {
                        "Pad" => reads::<<Pad as kube::core::object::HasStatus>::Status>(value),
                        "PadConfiguration" => {
                            reads::<<PadConfiguration as kube::core::object::HasStatus>::Status>(value)
                        }
                        _ => reads::<<LeverConnection as kube::core::object::HasStatus>::Status>(value),
                    };
                    assert!(reads, "{text}");
                    assert!(is_time(path.last().unwrap()), "{field} is not named when it is odd");
                }
            }
        }
        assert!(seen >= 9, "{seen}");
    }

    /// Reports whether a status with this value decodes. Adds the required fields of a condition.
    fn reads<T: DeserializeOwned>(mut value: Value) -> bool {
        if let Some(condition) = value.get_mut("conditions").and_then(|all| all.get_mut(0)) {
            for (name, text) in [("type", "Ready"), ("status", "True"), ("reason", "R"), ("message", "")] {
                condition[name] = json!(text);
            }
            condition["observedGeneration"] = json!(1);
        }
        serde_json::from_value::<T>(value).is_ok()
    }

    fn times_of(schema: &Value, path: Vec<String>) -> Vec<(Vec<String>, String)> {
        let mut found = Vec::new();
        let pattern = schema["pattern"].as_str().unwrap_or_default();
        if schema["format"] == "date-time" || pattern.starts_with("^[0-9]{4}-[0-9]{2}") {
            found.push((path.clone(), path.join(".")));
        }
        if let Some(fields) = schema["properties"].as_object() {
            for (name, field) in fields {
                found.extend(times_of(field, [path.clone(), vec![name.clone()]].concat()));
            }
        }
        if schema["items"].is_object() {
            found.extend(times_of(&schema["items"], [path, vec!["[]".into()]].concat()));
        }
        found
    }

    #[test]
    fn an_undecodable_object_is_named_by_its_field_and_the_rest_is_read() {
        let odd = pad("odd", json!({"phase": "Ada Lovelace"}));
        let mut newer = pad("newer", Value::Null);
        newer["spec"]["deletionPolicy"] = json!("Archive");
        let list = json!([pad("a", json!({})), odd, newer, pad("b", json!({"phase": "Open"}))]);
        let listed: Vec<Decoded<Pad>> = serde_json::from_value(list).unwrap();
        let (objects, faults) = split(listed);
        assert_eq!(objects.iter().map(Pad::name_any).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(faults, ["Pad hiring/odd: status.phase", "Pad hiring/newer: spec.deletionPolicy"]);
    }
}
