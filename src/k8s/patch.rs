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
use engine::patch::{FailedWrite, difference, fields_unchanged_since};
use kube::api::{Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Debug;

pub use engine::patch::MetadataChange;

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

/// Patches the metadata of an object, unless the object has changed since it was read. Returns the patched object.
pub async fn write_metadata<K>(client: &Client, object: &K, change: &MetadataChange) -> Result<K, WriteError>
where
    K: ManagedKind + Debug,
{
    let patch = Patch::Merge(change.patch(object));
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
        Err(error) => {
            let now = with_timeout(api.get_opt(&name)).await.ok();
            let now = now.map(|now| now.map(|Trimmed(now)| now));
            let failed = change.failed(object, is_status(&error, 409), now.as_ref().map(Option::as_ref));
            let now = now.flatten();
            match (failed, now) {
                (FailedWrite::Applied, Some(now)) => Ok(now),
                (FailedWrite::Gone, _) => Err(WriteError::Gone),
                (FailedWrite::Conflict, now) => {
                    Err(WriteError::Conflict { now: now.and_then(|now| now.resource_version()) })
                }
                (FailedWrite::Applied | FailedWrite::Failed, _) => Err(WriteError::Api(Box::new(error))),
            }
        }
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
}
