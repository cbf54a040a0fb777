//! The three custom resources: the public contract as Rust types.
//!
//! `pad-operator crds` generates `crds/` from these types. `kubectl explain` shows the doc comments, and the API server
//! enforces the bounds and validation rules.

pub mod condition;
pub mod configuration;
pub mod connection;
pub mod crd;
pub mod decode;
pub mod installation;
pub mod names;
pub mod pad;
pub mod pad_builder;
pub mod reason;
pub mod sanitize;
pub mod schema;
pub mod served_stage_entries;
pub mod trimmed_objects;

pub use condition::Condition;
pub use configuration::{PadConfiguration, PadConfigurationSpec, PadConfigurationStatus};
pub use connection::{LeverConnection, LeverConnectionSpec, LeverConnectionStatus};
pub use pad::{Pad, PadSpec, PadStatus};

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// API group of the three kinds.
pub const GROUP: &str = "padoperator.dev";

/// Field manager of the operator's writes, as shown in `managedFields`.
pub const FIELD_MANAGER: &str = "pad-operator";

/// Reference by name to a resource in the same namespace.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NameRef {
    /// Name of the resource, in the same namespace.
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(validation = Rule::new(schema::RESOURCE_NAME).message("name must be a resource name without a namespace, such as acme: lower-case letters, digits, - and ."))]
    pub name: String,
}

/// Reference to one key of a Secret in the same namespace.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(schema::RESOURCE_NAME).message("name must be the name of a Secret in the same namespace, such as acme: lower-case letters, digits, - and . (store the API key or token itself in the Secret, not here)"))]
    pub name: String,
    /// Key in the Secret's data. White space around its value is ignored.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("key must be a key of the Secret's data, such as lever-api-key: letters, digits, -, _ and . (store the value itself in the Secret, not here)"))]
    pub key: String,
}

/// Access to the conditions, which the status of all three kinds contains.
///
/// Controllers read the conditions and write the whole list, so that one place decides the content of a status.
pub trait HasConditions {
    /// Returns the conditions as last written.
    fn conditions(&self) -> &[Condition];
}

macro_rules! has_conditions {
    ($($kind:ty),*) => {$(
        impl HasConditions for $kind {
            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
            }
        }
    )*};
}
has_conditions!(LeverConnection, PadConfiguration, Pad);
