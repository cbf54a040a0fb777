//! `api.md`: every field of the three kinds, from the CustomResourceDefinitions.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::Value;

/// Text above the kinds.
const INTRODUCTION: &str = "# API reference

Group `padoperator.dev`, version `v1alpha1`. All three kinds are namespaced, refer only to resources of their own namespace, and
belong to the category `padoperator` (`kubectl get padoperator`). From now on, this version only gains optional fields.
`kubectl explain padconfiguration.spec` prints the same in a terminal. Durations are written like `90s`, `5m` and `1h30m`.
[Condition reasons](reasons.md) describes each reason of a condition.

";

/// Returns the page.
pub(crate) fn page() -> anyhow::Result<String> {
    let mut page = format!("{}{INTRODUCTION}", crate::generated("crates/api"));
    let mut condition = Value::Null;
    for definition in pad_operator::api::crd::all()? {
        let definition = serde_json::to_value(definition)?;
        let kind = Kind::from_definition(&definition).context("a definition without a version")?;
        page += &kind.text()?;
        condition = kind.schema["properties"]["status"]["properties"]["conditions"].clone();
    }
    page += "## Conditions\n\nAll three kinds have conditions of the same form as in Kubernetes itself.\n\n";
    let mut table = Table::default();
    table.fields("", &condition["items"]);
    page += &table.text();
    Ok(page)
}

struct Kind<'a> {
    names: &'a Value,
    version: &'a Value,
    schema: &'a Value,
}

impl<'a> Kind<'a> {
    fn from_definition(definition: &'a Value) -> Option<Self> {
        let version = definition["spec"]["versions"].get(0)?;
        Some(Self {
            names: &definition["spec"]["names"],
            version,
            schema: &version["schema"]["openAPIV3Schema"],
        })
    }

    fn text(&self) -> anyhow::Result<String> {
        let kind = text(&self.names["kind"]);
        let mut page = format!("## {kind}\n\n{}\n\n", prose(self.schema));
        let short: Vec<_> = list(&self.names["shortNames"]).iter().map(text).collect();
        let plural = text(&self.names["plural"]);
        let also = short.first().map(|short| format!(", or `{short}`")).unwrap_or_default();
        writeln!(page, "`kubectl get {plural}`{also}. Columns: {}.\n", self.columns())?;
        if let Some(selectable) = self.version["selectableFields"].as_array() {
            let fields: Vec<_> = selectable
                .iter()
                .map(|field| format!("`{}`", text(&field["jsonPath"]).trim_start_matches('.')))
                .collect();
            writeln!(
                page,
                "Selectable fields (`--field-selector`, Kubernetes 1.31 or newer): {}.\n",
                fields.join(", ")
            )?;
        }
        let mut rules = Vec::new();
        collect_rules("", self.schema, &mut rules);
        for part in ["spec", "status"] {
            let schema = &self.schema["properties"][part];
            writeln!(page, "### {kind}: {part}\n\n{}\n", prose(schema))?;
            let mut table = Table::default();
            table.fields(&format!("{part}."), schema);
            page += &table.text();
        }
        if !rules.is_empty() {
            writeln!(
                page,
                "### {kind}: validation messages\n\nThe API server rejects invalid objects with these messages:\n"
            )?;
            rules.iter().try_for_each(|rule| writeln!(page, "- {rule}"))?;
            page.push('\n');
        }
        Ok(page)
    }

    /// Returns the columns of `kubectl get`, and those that `--output wide` adds.
    fn columns(&self) -> String {
        let named = |wide: bool| {
            let columns = list(&self.version["additionalPrinterColumns"]).iter();
            let columns = columns.filter(|column| (column["priority"].as_i64() == Some(1)) == wide);
            columns.map(|column| text(&column["name"]).to_uppercase()).collect::<Vec<_>>().join(", ")
        };
        let wide = named(true);
        let further =
            if wide.is_empty() { String::new() } else { format!("; with `--output wide` also {wide}") };
        format!("NAME, {}{further}", named(false))
    }
}

/// Table of fields.
#[derive(Default)]
struct Table(Vec<[String; 4]>);

impl Table {
    /// Adds the fields of an object and of the objects in it.
    fn fields(&mut self, path: &str, schema: &Value) {
        let required = list(&schema["required"]);
        let fields = schema["properties"].as_object().into_iter().flatten();
        for (name, field) in fields {
            let of = format!("{path}{name}");
            let default = match &field["default"] {
                _ if of.starts_with("spec.") && required.iter().any(|one| one == name) => {
                    "**required**".to_owned()
                }
                Value::Null | Value::Object(_) => String::new(),
                Value::String(text) if text.is_empty() => String::new(),
                Value::String(text) => format!("`{text}`"),
                other => format!("`{other}`"),
            };
            self.0.push([format!("`{of}`"), kind(field), default, prose(field)]);
            if name == "conditions" {
                continue;
            }
            self.fields(&format!("{of}."), field);
            self.fields(&format!("{of}[]."), &field["items"]);
        }
    }

    fn text(&self) -> String {
        let rows = self
            .0
            .iter()
            .map(|[field, kind, default, what]| format!("| {field} | {kind} | {default} | {what} |\n"));
        format!("| field | type | default | |\n|---|---|---|---|\n{}\n", rows.collect::<String>())
    }
}

/// Returns the type of a field, with its bounds.
fn kind(field: &Value) -> String {
    let number = |name: &str| field[name].as_f64();
    match text(&field["type"]) {
        "string" if field["enum"].is_array() => {
            let words: Vec<_> = list(&field["enum"]).iter().map(|word| format!("`{}`", text(word))).collect();
            words.join(", ")
        }
        // Some times have no format in the schema.
        "string" if text(&field["pattern"]).starts_with("^[0-9]{4}-") => "time".to_owned(),
        "string" => match (number("minLength"), number("maxLength")) {
            (Some(least), Some(most)) if least > 0.0 => format!("text, {least} to {most} characters"),
            (_, Some(most)) => format!("text, at most {most} characters"),
            _ => "text".to_owned(),
        },
        "integer" => match (number("minimum"), number("maximum")) {
            (Some(least), Some(most)) => format!("whole number, {least} to {most}"),
            (Some(least), None) => format!("whole number, from {least}"),
            _ => "whole number".to_owned(),
        },
        "array" => {
            let most = number("maxItems").map(|most| format!(", at most {most}")).unwrap_or_default();
            format!("list{most}")
        }
        "boolean" => "true or false".to_owned(),
        other => other.to_owned(),
    }
}

fn collect_rules(path: &str, schema: &Value, rules: &mut Vec<String>) {
    for rule in list(&schema["x-kubernetes-validations"]) {
        let place = format!("{path}{}", text(&rule["fieldPath"]));
        let place =
            if place.is_empty() { String::new() } else { format!("`{}`: ", place.trim_start_matches('.')) };
        let rule = format!("{place}{}", crate::escaped(text(&rule["message"])));
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        collect_rules(&format!("{path}.{name}"), field, rules);
    }
}

/// Returns a description as one cell of a table.
fn prose(schema: &Value) -> String {
    crate::escaped(&text(&schema["description"]).replace("\n\n", " ").replace('\n', " "))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_list_fields_with_bounds_defaults_and_enums() {
        let page = page().unwrap();
        for row in [
            "| `spec.sync.interval` | text, at most 20 characters | `5m` |",
            "| `spec.type` | `Live`, `TakeHome` | `Live` |",
            "| `spec.lever.apiKeySecretRef.key` | text, 1 to 253 characters | **required** |",
            "| `status.participants` | list, at most 50 | |",
            "`spec.questionID`: type: TakeHome requires spec.questionID",
            "NAME, CANDIDATE, CONFIGURATION, PHASE, REASON, URL, AGE; with `--output wide` also TYPE",
        ] {
            assert!(page.contains(row.trim_end_matches('|')), "{row} is not in\n{page}");
        }
    }
}
