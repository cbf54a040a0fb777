//! Compares the CustomResourceDefinitions with those of the last release in `released/`: objects that were stored or
//! written in a repository then are still accepted and mean the same. A release copies its definitions to `released/`
//! and removes those of the previous release.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::cluster::source;

/// Returns what users of the old definition would miss in the new one. Pure function.
fn incompatibilities(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for path in
        ["/spec/group", "/spec/scope", "/spec/names/kind", "/spec/names/plural", "/spec/names/singular"]
    {
        if old.pointer(path) != new.pointer(path) {
            found.push(format!("{path} has changed"));
        }
    }
    for path in ["/spec/names/shortNames", "/spec/names/categories"] {
        missing(path, old.pointer(path), new.pointer(path), &mut found);
    }
    for version in old["spec"]["versions"].as_array().into_iter().flatten() {
        let name = version["name"].as_str().unwrap_or_default();
        let versions = new["spec"]["versions"].as_array();
        match versions.into_iter().flatten().find(|one| one["name"] == version["name"]) {
            Some(now) if now["served"] == version["served"] => {
                if !version["subresources"].is_null() && now["subresources"] != version["subresources"] {
                    found.push(format!("{name}: the subresources have changed"));
                }
                let fields = "selectableFields";
                missing(&format!("{name}: {fields}"), version.get(fields), now.get(fields), &mut found);
                let schema = |version: &Value| version["schema"]["openAPIV3Schema"].clone();
                schema_incompatibilities(name, &schema(version), &schema(now), &mut found);
            }
            _ => found.push(format!("{name} is no longer served")),
        }
    }
    found
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Requires that the new list contains everything of the old one.
fn missing(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<String>) {
    let gone = list(old).iter().filter(|one| !list(new).contains(one));
    found.extend(gone.map(|one| format!("{path} has no {one} anymore")));
}

/// Keywords that do not restrict objects.
const WORDS: [&str; 4] = ["description", "title", "example", "externalDocs"];

fn schema_incompatibilities(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let none = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&none), new.as_object().unwrap_or(&none));
    let keywords: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for keyword in keywords {
        let (before, now) = (old.get(keyword), new.get(keyword));
        let tighter = match keyword.as_str() {
            word if WORDS.contains(&word) => false,
            "properties" => {
                for (name, field) in before.and_then(Value::as_object).into_iter().flatten() {
                    let path = format!("{path}.{name}");
                    match now.and_then(|fields| fields.get(name)) {
                        Some(now) => schema_incompatibilities(&path, field, now, found),
                        None => found.push(format!("{path} was removed")),
                    }
                }
                false
            }
            "items" | "additionalProperties" if before.is_some() && now.is_some_and(Value::is_object) => {
                schema_incompatibilities(
                    &format!("{path}[]"),
                    before.unwrap_or(&Value::Null),
                    now.unwrap_or(&Value::Null),
                    found,
                );
                false
            }
            // Required fields and validation rules: nothing may be added.
            "required" | "x-kubernetes-validations" => {
                let rule = |one: &Value| one.get("rule").unwrap_or(one).clone();
                let rules: Vec<Value> = list(before).iter().map(rule).collect();
                list(now).iter().any(|one| !rules.contains(&rule(one)))
            }
            "enum" => {
                now.is_some() && (before.is_none() || list(before).iter().any(|one| !list(now).contains(one)))
            }
            "maximum" | "maxLength" | "maxItems" | "maxProperties" => is_less(now, before),
            "minimum" | "minLength" | "minItems" | "minProperties" => {
                now.is_some() && !is_at_most(now, before)
            }
            "pattern" => now.is_some() && now != before,
            "nullable" => before == Some(&json!(true)) && now != before,
            // Types, formats, defaults, kinds of lists, and all other keywords.
            _ => now != before,
        };
        if tighter {
            let text = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
            found.push(format!("{path}: {keyword} was {}, and is {}", text(before), text(now)));
        }
    }
}

/// Reports whether an upper bound is new or lower than before.
fn is_less(now: Option<&Value>, before: Option<&Value>) -> bool {
    now.is_some_and(|now| before.is_none_or(|before| now.as_f64() < before.as_f64()))
}

/// Reports whether a lower bound is not higher than before.
fn is_at_most(now: Option<&Value>, before: Option<&Value>) -> bool {
    before.is_some_and(|before| now.is_some_and(|now| now.as_f64() <= before.as_f64()))
}

const NAMES: [&str; 3] = ["leverconnections", "padconfigurations", "pads"];

fn definition(folder: &str, name: &str) -> Value {
    let text = std::fs::read_to_string(source(&format!("{folder}/padoperator.dev_{name}.yaml"))).unwrap();
    serde_yaml_ng::from_str(&text).unwrap()
}

fn released() -> String {
    let folders = std::fs::read_dir(source("released")).unwrap().map(|entry| entry.unwrap().file_name());
    let folders: Vec<_> = folders.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(folders.len(), 1, "expected only the last release: {folders:?}");
    format!("released/{}", folders[0])
}

/// Previously accepted objects that could not work: with a format, a list was accepted for a time. No such Pad could be
/// written again, because the rule of spec.trigger failed on it, and the operator could not read it.
const ALLOWED_INCOMPATIBILITIES: [&str; 1] =
    [r#"v1alpha1.spec.trigger.at: format was "date-time", and is nothing"#];

#[test]
fn objects_of_the_last_release_are_accepted_with_the_same_meaning() {
    let compare = |name| incompatibilities(&definition(&released(), name), &definition("crds", name));
    assert_eq!(NAMES.map(compare).concat(), ALLOWED_INCOMPATIBILITIES);
}

const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";

/// Returns the PadConfiguration with a part of its spec set or removed.
fn changed(path: &str, value: Option<Value>) -> Value {
    let mut new = definition("crds", "padconfigurations");
    let path = if path.starts_with("/spec") { path.to_owned() } else { format!("{SPEC}{path}") };
    let (parent, name) = path.rsplit_once('/').unwrap();
    match (new.pointer_mut(parent).unwrap(), value) {
        (Value::Object(fields), Some(value)) => _ = fields.insert(name.to_owned(), value),
        (Value::Object(fields), None) => assert!(fields.remove(name).is_some(), "{path} did not exist"),
        (Value::Array(list), None) => _ = list.remove(name.parse().unwrap()),
        (other, _) => panic!("{path} is in {other}"),
    }
    new
}

#[test]
fn every_kind_of_incompatibility_is_detected() {
    let old = definition("crds", "padconfigurations");
    let rule = json!([{"rule": "self.size() > 3", "message": "longer"}]);
    let cases = [
        ("/spec/group", Some(json!("other.dev")), "/spec/group has changed"),
        ("/spec/scope", Some(json!("Cluster")), "/spec/scope has changed"),
        ("/spec/names/kind", Some(json!("Rule")), "/spec/names/kind has changed"),
        ("/spec/names/shortNames", Some(json!([])), "/spec/names/shortNames has no \"padcfg\" anymore"),
        ("/spec/names/categories", None, "/spec/names/categories has no \"padoperator\" anymore"),
        ("/spec/versions", Some(json!([])), "v1alpha1 is no longer served"),
        ("/spec/versions/0/served", Some(json!(false)), "v1alpha1 is no longer served"),
        ("/spec/versions/0/subresources", None, "the subresources have changed"),
        ("/spec/versions/0/selectableFields", None, "selectableFields has no"),
        ("/properties/tag", None, "v1alpha1.spec.tag was removed"),
        ("/properties/connectionRef/properties/name", None, "v1alpha1.spec.connectionRef.name was removed"),
        (
            "/properties/tag/type",
            Some(json!("integer")),
            "v1alpha1.spec.tag: type was \"string\", and is \"integer\"",
        ),
        ("/properties/tag/format", Some(json!("uuid")), "format was nothing, and is \"uuid\""),
        ("/properties/tag/default", Some(json!("other")), "default was \"coderpad\", and is \"other\""),
        ("/properties/tag/default", None, "default was \"coderpad\", and is nothing"),
        ("/properties/ownerEmail/default", Some(json!("a@example.com")), "default was nothing"),
        ("/properties/tag/maxLength", Some(json!(3)), "v1alpha1.spec.tag: maxLength was"),
        ("/properties/waitingRoom/maxLength", Some(json!(3)), "maxLength was nothing, and is 3"),
        ("/properties/tag/minLength", Some(json!(30)), "v1alpha1.spec.tag: minLength was"),
        ("/properties/questionID/minimum", Some(json!(100)), "minimum was"),
        ("/properties/questionID/maximum", Some(json!(100)), "maximum was"),
        ("/properties/tag/pattern", Some(json!("^[a-z]+$")), "pattern was"),
        (
            "/properties/type/enum",
            Some(json!(["Live"])),
            "enum was [\"Live\",\"TakeHome\"], and is [\"Live\"]",
        ),
        ("/properties/tag/enum", Some(json!(["coderpad"])), "enum was nothing"),
        ("/properties/tag/x-kubernetes-validations", Some(rule), "x-kubernetes-validations was"),
        ("/required", Some(json!(["connectionRef", "tag"])), "required was [\"connectionRef\"]"),
        ("/properties/ownerEmail/nullable", None, "nullable was true, and is nothing"),
        ("/properties/tag/not", Some(json!({"enum": ["x"]})), "not was nothing"),
        ("/x-kubernetes-list-type", Some(json!("set")), "x-kubernetes-list-type was nothing"),
    ];
    for (path, value, expected) in cases {
        let found = incompatibilities(&old, &changed(path, value.clone()));
        assert_eq!(found.len(), 1, "{path} {value:?}: {found:?}");
        assert!(found[0].contains(expected), "{path} {value:?}: {found:?}");
    }
}

#[test]
fn extensions_are_compatible() {
    let old = definition("crds", "padconfigurations");
    let text = json!({"type": "string", "maxLength": 10});
    for (path, value) in [
        ("/properties/tag/description", Some(json!("In other words."))),
        ("/properties/new", Some(text)),
        ("/properties/tag/maxLength", Some(json!(100_000))),
        ("/properties/tag/maxLength", None),
        ("/properties/tag/minLength", Some(json!(0))),
        ("/properties/type/enum", Some(json!(["Live", "TakeHome", "Other"]))),
        ("/properties/type/enum", None),
        ("/properties/tag/x-kubernetes-validations", None),
        ("/properties/tag/nullable", Some(json!(true))),
        ("/required", Some(json!([]))),
        ("/spec/names/shortNames", Some(json!(["padcfg", "rule"]))),
        ("/spec/versions/0/additionalPrinterColumns", None),
    ] {
        let found = incompatibilities(&old, &changed(path, value.clone()));
        assert_eq!(found, Vec::<String>::new(), "{path} {value:?}");
    }
}
