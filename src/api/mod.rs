//! The three resources that users write and read: the public contract as Rust types.
//!
//! Everything a user sees of a field comes from here: `kubectl explain` shows the doc comments, the API server
//! enforces the bounds and rules, and `crds/` is generated from these types by `pad-operator crds`.

pub mod condition;
pub mod configuration;
pub mod connection;
pub mod crd;
pub mod installation;
pub mod names;
pub mod pad;
pub mod schema;
pub mod served;

pub use condition::Condition;
pub use configuration::{PadConfiguration, PadConfigurationSpec, PadConfigurationStatus};
pub use connection::{LeverConnection, LeverConnectionSpec, LeverConnectionStatus};
pub use pad::{Pad, PadSpec, PadStatus};

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// API group of the three kinds.
pub const GROUP: &str = "padoperator.dev";

/// The name under which this program's writes appear in `managedFields`.
pub const FIELD_MANAGER: &str = "pad-operator";

/// A resource of the same namespace, by name.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NameRef {
    /// Name of the resource, in the same namespace.
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(validation = Rule::new(schema::RESOURCE_NAME).message("name only the resource, such as acme: lower-case letters, digits, - and . (it is in the same namespace, so no namespace stands before it)"))]
    pub name: String,
}

/// One key of a Secret in the same namespace.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(schema::RESOURCE_NAME).message("name a Secret of the same namespace, such as acme: lower-case letters, digits, - and . (the key itself belongs into the Secret, never here)"))]
    pub name: String,
    /// The key of the Secret that holds the value. White space around the value is ignored.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("name a key of the Secret's data, such as lever-api-key: letters, digits, -, _ and . (the value itself belongs into the Secret, never here)"))]
    pub key: String,
}

/// What is the same in the status of all three kinds.
///
/// The controllers read the conditions and write them whole, so that one place decides what a status says.
pub trait HasConditions {
    /// The conditions as last written.
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
