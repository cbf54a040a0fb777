//! Objects without managed fields and labels, which the operator does not read.
//!
//! Managed fields repeat the name of each field of an object for each of its writers. Each answer and each event of the
//! API server contains them, and decoding them took longer than decoding all other fields (docs/performance.md).

use crate::{LeverConnection, Pad, PadConfiguration};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use kube::core::object::{HasSpec, HasStatus};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Kind that this operator defines.
pub trait ManagedKind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + HasSpec<Spec: DeserializeOwned>
    + HasStatus<Status: DeserializeOwned>
    + Clone
{
    /// Creates an object with this spec, without metadata and status.
    fn from_spec(spec: Self::Spec) -> Self;
}

impl ManagedKind for LeverConnection {
    fn from_spec(spec: Self::Spec) -> Self {
        Self::new("", spec)
    }
}

impl ManagedKind for PadConfiguration {
    fn from_spec(spec: Self::Spec) -> Self {
        Self::new("", spec)
    }
}

impl ManagedKind for Pad {
    fn from_spec(spec: Self::Spec) -> Self {
        Self::new("", spec)
    }
}

/// Object that is decoded without managed fields and labels, and serialized unchanged.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Trimmed<K>(pub K);

impl<'de, K: ManagedKind> Deserialize<'de> for Trimmed<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let TrimmedParts { metadata, spec, status } =
            TrimmedParts::<K::Spec, K::Status>::deserialize(deserializer)?;
        let mut object = K::from_spec(spec);
        *object.meta_mut() = metadata.into();
        *object.status_mut() = status;
        Ok(Self(object))
    }
}

#[derive(Deserialize)]
struct TrimmedParts<Spec, Status> {
    metadata: Metadata,
    spec: Spec,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    annotations: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    generate_name: Option<String>,
    generation: Option<i64>,
    name: Option<String>,
    namespace: Option<String>,
    owner_references: Option<Vec<OwnerReference>>,
    resource_version: Option<String>,
    uid: Option<String>,
}

impl From<Metadata> for ObjectMeta {
    fn from(read: Metadata) -> Self {
        Self {
            annotations: read.annotations,
            creation_timestamp: read.creation_timestamp,
            deletion_grace_period_seconds: read.deletion_grace_period_seconds,
            deletion_timestamp: read.deletion_timestamp,
            finalizers: read.finalizers,
            generate_name: read.generate_name,
            generation: read.generation,
            name: read.name,
            namespace: read.namespace,
            owner_references: read.owner_references,
            resource_version: read.resource_version,
            uid: read.uid,
            ..Self::default()
        }
    }
}

/// Implements the names of a [`Resource`] that wraps kind `K`.
macro_rules! names_of_kind {
    () => {
        type DynamicType = ();
        type Scope = NamespaceResourceScope;

        fn kind(_: &()) -> Cow<'_, str> {
            K::kind(&())
        }

        fn group(_: &()) -> Cow<'_, str> {
            K::group(&())
        }

        fn version(_: &()) -> Cow<'_, str> {
            K::version(&())
        }

        fn plural(_: &()) -> Cow<'_, str> {
            K::plural(&())
        }
    };
}
pub(crate) use names_of_kind;

impl<K: ManagedKind> Resource for Trimmed<K> {
    names_of_kind!();

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Covers each field of the metadata, so that the test fails if Kubernetes adds a field or [`Metadata`] lacks one.
    #[test]
    fn an_object_is_read_whole_but_for_managed_fields_and_labels() {
        let time = "2026-01-02T03:04:05Z";
        let all = json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad",
            "metadata": {
                "annotations": {"a": "b"}, "creationTimestamp": time, "deletionGracePeriodSeconds": 3,
                "deletionTimestamp": time, "finalizers": ["f"], "generateName": "p-", "generation": 2,
                "name": "p-1", "namespace": "hiring", "resourceVersion": "10", "uid": "u-1",
                "ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "u-2"}],
                "labels": {"l": "m"},
                "managedFields": [{"manager": "kubectl", "operation": "Apply", "apiVersion": "v1",
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:opportunityID": {}}}}],
            },
            "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o"},
            "status": {"phase": "Pending", "conditions": []},
        });
        let mut expected: Pad = serde_json::from_value(all.clone()).unwrap();
        // All fields, except the field that API servers no longer set.
        let names = serde_json::to_value(&expected.metadata).unwrap();
        assert_eq!(names.as_object().unwrap().len() + 1, count_of_fields(), "{names}");
        (expected.metadata.labels, expected.metadata.managed_fields) = (None, None);
        let Trimmed::<Pad>(read) = serde_json::from_value(all).unwrap();
        assert_eq!(read, expected);
    }

    /// Returns the number of metadata fields in this version of Kubernetes.
    fn count_of_fields() -> usize {
        format!("{:#?}", ObjectMeta::default()).lines().count() - 2
    }

    #[test]
    fn the_written_object_is_complete() {
        let spec = json!({"configurationRef": {"name": "c"}, "opportunityID": "o"});
        let pad = Pad::new("p-1", serde_json::from_value(spec).unwrap());
        assert_eq!(serde_json::to_value(Trimmed(pad.clone())).unwrap(), serde_json::to_value(pad).unwrap());
    }
}
