//! The CustomResourceDefinitions: the derived schemas plus adjustments that need the whole schema.

use super::{LeverConnection, Pad, PadConfiguration};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

/// Error of the generation of a CustomResourceDefinition: a bug in this program that its tests find.
#[derive(Debug, thiserror::Error)]
#[error("the CustomResourceDefinition cannot be generated: {0}")]
pub struct CrdError(#[from] serde_json::Error);

/// Returns the three CustomResourceDefinitions, as installed.
pub fn all() -> Result<Vec<CustomResourceDefinition>, CrdError> {
    [LeverConnection::crd(), PadConfiguration::crd(), Pad::crd()].into_iter().map(finish).collect()
}

/// Returns a CustomResourceDefinition as YAML, with a header that names its source.
pub fn yaml(crd: &CustomResourceDefinition) -> Result<String, serde_yaml_ng::Error> {
    Ok(format!(
        "# Generated from crates/api by `make generate`. Do not edit.\n{}",
        serde_yaml_ng::to_string(crd)?
    ))
}

/// Completes a generated definition: unwrapped descriptions, bounded enums, and a default status that kstatus
/// interprets as "not reconciled yet".
fn finish(crd: CustomResourceDefinition) -> Result<CustomResourceDefinition, CrdError> {
    let mut value = serde_json::to_value(crd)?;
    if let Some(versions) = value.pointer_mut("/spec/versions").and_then(Value::as_array_mut) {
        for version in versions {
            if let Some(status) = version.pointer_mut("/schema/openAPIV3Schema/properties/status") {
                status["default"] = json!({"observedGeneration": -1});
            }
        }
    }
    unwrap_lines(&mut value);
    bound_enums(&mut value);
    Ok(serde_json::from_value(value)?)
}

/// Sets maxLength on each enum, so that every string of the schema is bounded.
fn bound_enums(value: &mut Value) {
    match value {
        Value::Object(object) => {
            let longest = |words: &Vec<Value>| words.iter().filter_map(Value::as_str).map(str::len).max();
            if object.get("type") == Some(&json!("string"))
                && let Some(longest) = object.get("enum").and_then(Value::as_array).and_then(longest)
            {
                object.insert("maxLength".into(), json!(longest));
            }
            object.values_mut().for_each(bound_enums);
        }
        Value::Array(list) => list.iter_mut().for_each(bound_enums),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Joins the wrapped lines of descriptions, because `kubectl explain` wraps them itself.
fn unwrap_lines(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(description)) = object.get_mut("description") {
                *description = description.replace("\n\n", "\0").replace('\n', " ").replace('\0', "\n\n");
            }
            object.values_mut().for_each(unwrap_lines);
        }
        Value::Array(list) => list.iter_mut().for_each(unwrap_lines),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `check` with every schema node and its path.
    fn walk(path: &str, schema: &Value, check: &mut impl FnMut(&str, &Value)) {
        check(path, schema);
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                walk(&format!("{path}.{name}"), property, check);
            }
        }
        if let Some(items) = schema.get("items") {
            walk(&format!("{path}[]"), items, check);
        }
    }

    fn nodes() -> Vec<(String, Value)> {
        let mut nodes = Vec::new();
        for crd in all().unwrap() {
            let kind = crd.spec.names.kind.clone();
            let crd = serde_json::to_value(&crd).unwrap();
            let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap();
            for part in ["spec", "status"] {
                walk(&format!("{kind}.{part}"), &schema["properties"][part], &mut |path, node| {
                    nodes.push((path.to_owned(), node.clone()));
                });
            }
        }
        nodes
    }

    #[test]
    fn every_string_and_list_is_bounded_and_every_field_has_a_description() {
        let mut faults = Vec::new();
        for (path, node) in nodes() {
            match node["type"].as_str() {
                Some("string") if node.get("maxLength").is_none() => {
                    faults.push(format!("{path}: no maxLength"));
                }
                Some("array") if node.get("maxItems").is_none() => {
                    faults.push(format!("{path}: no maxItems"))
                }
                _ => {}
            }
            if node.get("description").is_none() && !path.ends_with("[]") {
                faults.push(format!("{path}: no description"));
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let defaults: Vec<(String, Value)> = nodes()
            .into_iter()
            .filter_map(|(path, node)| Some((path, node.get("default")?.clone())))
            .collect();
        for (path, expected) in [
            ("LeverConnection.spec.suspend", json!(false)),
            ("LeverConnection.spec.lever.url", json!("https://api.lever.co/v1")),
            ("LeverConnection.spec.interview.url", json!("https://app.coderpad.io/api")),
            ("LeverConnection.spec.interview.overage", json!("Deny")),
            ("LeverConnection.spec.interview.maxPadsPerHour", json!(100)),
            ("LeverConnection.spec.webhook.mode", json!("Manual")),
            ("LeverConnection.spec.sync", json!({"interval": "5m"})),
            ("LeverConnection.spec.sync.interval", json!("5m")),
            ("LeverConnection.status", json!({"observedGeneration": -1})),
            ("PadConfiguration.spec.stage", json!("Phone Screen")),
            ("PadConfiguration.spec.tag", json!("coderpad")),
            ("PadConfiguration.spec.type", json!("Live")),
            ("PadConfiguration.spec.title", json!("{candidate} - {stage}")),
            ("PadConfiguration.spec.existing", json!("Skip")),
            ("PadConfiguration.spec.repeat", json!("AfterEnd")),
            ("PadConfiguration.spec.onArchive", json!("Keep")),
            ("PadConfiguration.spec.deletionPolicy", json!("Retain")),
            ("PadConfiguration.spec.writeBack.note", json!("Summary")),
            ("PadConfiguration.spec.ttlSecondsAfterSkipped", json!(86400)),
            ("PadConfiguration.status", json!({"observedGeneration": -1})),
            ("Pad.spec.trigger.source", json!("Manual")),
            ("Pad.spec.state", json!("Open")),
            ("Pad.spec.deletionPolicy", json!("Retain")),
            ("Pad.status", json!({"observedGeneration": -1})),
        ] {
            let found = defaults.iter().find(|(at, _)| at == path).map(|(_, value)| value);
            assert_eq!(found, Some(&expected), "default of {path}");
        }
    }
}
