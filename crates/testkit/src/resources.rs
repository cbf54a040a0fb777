//! The resources that connect the operator with both simulated services.

use serde_json::{Value, json};
use simulators::{InterviewOptions, LeverOptions};

/// Keys that the simulated services accept, and the token that signs webhooks.
#[derive(Clone, Debug)]
pub struct Keys {
    /// API key of Lever.
    pub lever: String,
    /// API key of CoderPad Interview.
    pub interview: String,
    /// Signing token of Lever's webhooks.
    pub signing_token: String,
}

impl Keys {
    /// Returns the keys of services with these options.
    pub fn new(lever: &LeverOptions, interview: &InterviewOptions, signing_token: &str) -> Self {
        Self {
            lever: lever.api_key.clone(),
            interview: interview.api_key.clone(),
            signing_token: signing_token.to_owned(),
        }
    }

    /// Returns the values of the Secret, by the names that [`connection_spec`] refers to.
    pub fn values(&self) -> Value {
        json!({"lever-api-key": self.lever, "interview-api-key": self.interview,
            "lever-signing-token": self.signing_token})
    }
}

/// Returns a Secret with these values.
pub fn secret(name: &str, values: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values})
}

/// Returns a resource of the operator.
pub fn resource(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "padoperator.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// Returns the spec of a LeverConnection to these URLs, whose keys are in the Secret.
pub fn connection_spec(secret: &str, lever: &str, interview: &str) -> Value {
    let key = |key: &str| json!({"name": secret, "key": key});
    json!({
        "lever": {"url": lever, "apiKeySecretRef": key("lever-api-key")},
        "interview": {"url": interview, "apiKeySecretRef": key("interview-api-key")},
        "webhook": {"signingTokenSecretRef": key("lever-signing-token")},
    })
}

/// Merges all fields of `other`, recursively.
pub fn merge(value: &mut Value, other: &Value) {
    match (value, other) {
        (Value::Object(fields), Value::Object(others)) => {
            for (key, other) in others {
                merge(fields.entry(key.clone()).or_insert(Value::Null), other);
            }
        }
        (value, other) => *value = other.clone(),
    }
}
