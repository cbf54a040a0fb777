//! Writes to the API server that fail on a conflict: metadata (intention, result, finalizer) and status.
//!
//! Each write contains the resourceVersion that was read, so only one of two writers succeeds. If the answer to a
//! metadata write is lost, the operator reads the object again; if the object contains the change, the write counts as
//! successful.

use super::trimmed_api;
use super::with_timeout;
use crate::telemetry::traces::span_definitions;
use api::FIELD_MANAGER;
use api::trimmed_objects::{ManagedKind, Trimmed};
use kube::api::{Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt::Debug;

/// Reason why a write failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another writer has changed the object since it was read. The caller must read it and decide again.
    #[error("the object has changed since it was read")]
    Conflict {
        /// The current resourceVersion, if it could be read.
        now: Option<String>,
    },
    /// The object no longer exists.
    #[error("the object is gone")]
    Gone,
    /// The API server refused the write or did not answer.
    #[error("the API server did not take the write: {0}")]
    Api(#[source] Box<kube::Error>),
    /// The change cannot be serialized as JSON: a bug in this program.
    #[error("the change cannot be put as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Change to an object's annotations and finalizers.
#[derive(Clone, Debug, Default)]
pub struct MetadataChange {
    annotations: Map<String, Value>,
    finalizer: Option<(&'static str, bool)>,
    exclusive: bool,
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

/// Patches the metadata of an object, unless the object has changed since it was read. Returns the patched object.
pub async fn write_metadata<K>(client: &Client, object: &K, change: &MetadataChange) -> Result<K, WriteError>
where
    K: ManagedKind + Debug,
{
    let mut metadata =
        json!({"resourceVersion": object.resource_version(), "annotations": change.annotations});
    if let Some(finalizers) = change.finalizers(object.finalizers()) {
        metadata["finalizers"] = json!(finalizers);
    }
    let patch = Patch::Merge(json!({"metadata": metadata}));
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let (api, what) = (trimmed_api::<K>(client, &namespace), format!("patch {}", K::kind(&())));
    let parameters = patch_params();
    let written = span_definitions::write(
        &what,
        &namespace,
        &name,
        with_timeout(api.patch(&name, &parameters, &patch)),
    );
    match written.await {
        Ok(Trimmed(written)) => Ok(written),
        Err(error) if is_status(&error, 404) => Err(WriteError::Gone),
        Err(error) => match with_timeout(api.get_opt(&name)).await {
            Ok(Some(Trimmed(now))) if now.uid() == object.uid() && change.already_applied(&now) => {
                if change.exclusive {
                    Err(WriteError::Conflict { now: now.resource_version() })
                } else {
                    Ok(now)
                }
            }
            Ok(None) => Err(WriteError::Gone),
            Ok(Some(now)) if is_status(&error, 409) => {
                Err(WriteError::Conflict { now: now.resource_version() })
            }
            Err(_) if is_status(&error, 409) => Err(WriteError::Conflict { now: None }),
            _ => Err(WriteError::Api(Box::new(error))),
        },
    }
}

/// Patches the fields of the status that differ between `before` and `after`; writes nothing if no field differs.
///
/// Returns the patched object, or None if there was nothing to write. A concurrent change that left these fields as
/// they were (for example, a new annotation) is not a conflict: the write is retried.
pub async fn write_status<K, S>(
    client: &Client,
    object: &K,
    before: &S,
    after: &S,
) -> Result<Option<K>, WriteError>
where
    K: ManagedKind + Debug + Serialize,
    S: PartialEq + Serialize,
{
    if before == after {
        return Ok(None);
    }
    let (before, after) = (serde_json::to_value(before)?, serde_json::to_value(after)?);
    let Some(difference) = difference(&before, after) else { return Ok(None) };
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let (api, what) = (trimmed_api::<K>(client, &namespace), format!("patch status of {}", K::kind(&())));
    let mut version = object.resource_version();
    for _ in 0..3 {
        let metadata = json!({"resourceVersion": version});
        let patch = Patch::Merge(StatusChange { metadata, status: &difference });
        let parameters = patch_params();
        let written = with_timeout(api.patch_status(&name, &parameters, &patch));
        match span_definitions::write(&what, &namespace, &name, written).await {
            Ok(Trimmed(written)) => return Ok(Some(written)),
            Err(error) if is_status(&error, 404) => return Err(WriteError::Gone),
            Err(error) if is_status(&error, 409) => {
                let now = with_timeout(api.get_opt(&name))
                    .await
                    .map_err(|error| WriteError::Api(Box::new(error)))?;
                let Some(now) = now else { return Err(WriteError::Gone) };
                let status_now = serde_json::to_value(&now)?.get("status").cloned().unwrap_or_default();
                if now.uid() != object.uid() || !fields_unchanged_since(&difference, &before, &status_now) {
                    return Err(WriteError::Conflict { now: now.resource_version() });
                }
                version = now.resource_version();
            }
            Err(error) => return Err(WriteError::Api(Box::new(error))),
        }
    }
    Err(WriteError::Conflict { now: version })
}

/// Body of a status patch. It borrows the difference, because a conflict may require sending it again.
#[derive(Debug, Serialize)]
struct StatusChange<'a> {
    metadata: Value,
    status: &'a Value,
}

/// Reports whether the fields that a difference changes still have the values that it was computed from.
fn fields_unchanged_since(difference: &Value, before: &Value, now: &Value) -> bool {
    let Some(fields) = difference.as_object() else { return false };
    fields
        .keys()
        .all(|field| before.get(field).unwrap_or(&Value::Null) == now.get(field).unwrap_or(&Value::Null))
}

/// Returns the JSON merge patch that turns one value into the other; None if they are equal.
fn difference(before: &Value, after: Value) -> Option<Value> {
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

fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

/// Reports whether the API server answered with this HTTP status.
pub fn is_status(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// Maximum length of an API server's answer in a message, in characters.
const MAX_REFUSAL_CHARS: usize = 512;

/// Returns the API server's answer, as one line, if it refuses a write until a person changes something: an admission
/// policy or webhook, the schema, or the operator's permissions. Conflicts, missing objects, timeouts and rate limits
/// are transient.
pub fn refusal(error: &WriteError) -> Option<String> {
    let WriteError::Api(error) = error else { return None };
    let kube::Error::Api(status) = error.as_ref() else { return None };
    let is_refused = (400..500).contains(&status.code) && ![404, 408, 409, 425, 429].contains(&status.code);
    is_refused.then(|| {
        let message = if status.message.is_empty() { &status.reason } else { &status.message };
        api::sanitize::one_line(&format!("{} {message}", status.code), MAX_REFUSAL_CHARS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn only_errors_that_need_a_person_are_refusals() {
        let answered = |code: u16| {
            let message = "denied\nby policy \u{202e}x".into();
            let status = kube::core::Status { code, message, ..kube::core::Status::default() };
            refusal(&WriteError::Api(Box::new(kube::Error::Api(Box::new(status)))))
        };
        for code in [400, 403, 413, 422] {
            assert_eq!(answered(code), Some(format!("{code} denied by policy x")));
        }
        for code in [404, 408, 409, 429, 500, 503] {
            assert_eq!(answered(code), None, "{code}");
        }
        assert_eq!(refusal(&WriteError::Gone), None);
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
}
