//! Changes to objects in the API server: what a write contains, and what its failure means. Pure.

use kube::ResourceExt;
use serde_json::{Map, Value, json};

/// Change to an object's annotations and finalizers.
#[derive(Clone, Debug, Default)]
pub struct MetadataChange {
    annotations: Map<String, Value>,
    finalizer: Option<(&'static str, bool)>,
    exclusive: bool,
}

/// Meaning of a failed write to the metadata.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FailedWrite {
    /// The object contains the change: only the answer was lost.
    Applied,
    /// Another writer has changed the object since it was read.
    Conflict,
    /// The object no longer exists.
    Gone,
    /// The error of the write stands.
    Failed,
}

impl MetadataChange {
    /// Sets an annotation.
    pub fn annotate(mut self, key: &str, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), Value::String(value.into()));
        self
    }

    /// Removes an annotation.
    pub fn remove_annotation(mut self, key: &str) -> Self {
        self.annotations.insert(key.into(), Value::Null);
        self
    }

    /// Adds (true) or removes (false) a finalizer.
    pub fn finalizer(mut self, finalizer: &'static str, present: bool) -> Self {
        self.finalizer = Some((finalizer, present));
        self
    }

    /// Makes the write fail with a conflict if the object contains the same change already, so that only one of two
    /// processes with the same change succeeds.
    pub fn conflict_even_if_applied(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// Returns the JSON merge patch of the change for an object, as it was read.
    pub fn patch(&self, object: &impl ResourceExt) -> Value {
        let mut metadata =
            json!({"resourceVersion": object.resource_version(), "annotations": self.annotations});
        if let Some(finalizers) = self.finalizers(object.finalizers()) {
            metadata["finalizers"] = json!(finalizers);
        }
        json!({"metadata": metadata})
    }

    /// Returns the meaning of a failed write. `now` is the object after the failure: the outer `None` if it could not
    /// be read, the inner one if it no longer exists.
    pub fn failed<K: ResourceExt>(
        &self,
        object: &K,
        is_conflict: bool,
        now: Option<Option<&K>>,
    ) -> FailedWrite {
        match now {
            Some(Some(now)) if now.uid() == object.uid() && self.already_applied(now) => {
                if self.exclusive {
                    FailedWrite::Conflict
                } else {
                    FailedWrite::Applied
                }
            }
            Some(None) => FailedWrite::Gone,
            Some(Some(_)) | None if is_conflict => FailedWrite::Conflict,
            Some(Some(_)) | None => FailedWrite::Failed,
        }
    }

    fn finalizers(&self, before: &[String]) -> Option<Vec<String>> {
        let (finalizer, present) = self.finalizer?;
        let mut after: Vec<String> = before.iter().filter(|one| *one != finalizer).cloned().collect();
        if present {
            after.push(finalizer.into());
        }
        Some(after)
    }

    fn already_applied<K: ResourceExt>(&self, object: &K) -> bool {
        let annotations = self.annotations.iter().all(|(key, value)| match value {
            Value::Null => !object.annotations().contains_key(key),
            value => object.annotations().get(key).map(String::as_str) == value.as_str(),
        });
        let finalizers = self.finalizer.is_none_or(|(finalizer, present)| {
            object.finalizers().iter().any(|one| one == finalizer) == present
        });
        annotations && finalizers
    }
}

/// Reports whether the fields that a difference changes still have the values that it was computed from.
pub fn fields_unchanged_since(difference: &Value, before: &Value, now: &Value) -> bool {
    let Some(fields) = difference.as_object() else { return false };
    fields
        .keys()
        .all(|field| before.get(field).unwrap_or(&Value::Null) == now.get(field).unwrap_or(&Value::Null))
}

/// Returns the JSON merge patch that turns one value into the other; None if they are equal.
pub fn difference(before: &Value, after: Value) -> Option<Value> {
    match (before, after) {
        (before, after) if *before == after => None,
        (Value::Object(before), Value::Object(after)) => {
            let removed = before.keys().filter(|key| !after.contains_key(*key));
            let mut changes: Map<_, _> = removed.map(|key| (key.clone(), Value::Null)).collect();
            changes.extend(after.into_iter().filter_map(|(key, value)| {
                let change = difference(before.get(&key).unwrap_or(&Value::Null), value)?;
                Some((key, change))
            }));
            Some(Value::Object(changes))
        }
        (_, after) => Some(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Pad;

    #[test]
    fn a_difference_names_only_what_changes() {
        let before =
            json!({"phase": "Pending", "reason": "X", "conditions": [1], "quota": {"used": 1, "limit": 5}});
        let after = json!({"phase": "Open", "conditions": [1], "quota": {"used": 2, "limit": 5}});
        let expected = json!({"phase": "Open", "reason": null, "quota": {"used": 2}});
        assert_eq!(difference(&before, after), Some(expected));
        assert_eq!(difference(&before, before.clone()), None);
    }

    #[test]
    fn a_conflict_counts_only_where_the_same_fields_moved() {
        let before = json!({"phase": "Pending"});
        let change = json!({"phase": "Open"});
        assert!(fields_unchanged_since(
            &change,
            &before,
            &json!({"phase": "Pending", "lastWebhookAt": "now"})
        ));
        assert!(!fields_unchanged_since(&change, &before, &json!({"phase": "Skipped"})));
    }

    #[test]
    fn a_failed_write_is_compared_with_the_object() {
        let pad = |uid: &str, annotations: Value| -> Pad {
            serde_json::from_value(json!({
                "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
                "metadata": {"name": "p", "namespace": "hiring", "uid": uid, "annotations": annotations},
                "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"},
            }))
            .unwrap()
        };
        let (before, after) = (pad("u-1", json!({})), pad("u-1", json!({"k": "v"})));
        let change = MetadataChange::default().annotate("k", "v");
        let exclusive = change.clone().conflict_even_if_applied();
        let other = pad("u-2", json!({"k": "v"}));
        for (change, is_conflict, now, expected) in [
            (&change, false, Some(Some(&after)), FailedWrite::Applied),
            (&change, true, Some(Some(&after)), FailedWrite::Applied),
            (&exclusive, true, Some(Some(&after)), FailedWrite::Conflict),
            (&exclusive, false, Some(Some(&after)), FailedWrite::Conflict),
            (&change, true, Some(Some(&before)), FailedWrite::Conflict),
            (&change, false, Some(Some(&before)), FailedWrite::Failed),
            (&change, true, Some(Some(&other)), FailedWrite::Conflict),
            (&change, true, Some(None), FailedWrite::Gone),
            (&change, true, None, FailedWrite::Conflict),
            (&change, false, None, FailedWrite::Failed),
        ] {
            assert_eq!(change.failed(&before, is_conflict, now), expected);
        }
    }
}
