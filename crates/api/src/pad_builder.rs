//! Builds Pads: name, labels, and fields that are copied from the configuration. The webhook server, sync, the leader
//! and `kubectl pad` all use this module, so that they create identical Pads.

use crate::names::{
    self, CONFIGURATION_LABEL, CONNECTION_LABEL, MANAGED_BY_LABEL, OPPORTUNITY_LABEL, TYPE_LABEL,
};
use crate::pad::{DesiredState, Trigger};
use crate::{FIELD_MANAGER, NameRef, Pad, PadConfiguration, PadSpec};
use kube::ResourceExt;
use serde_json::Value;

/// Reports whether a Pad belongs to a candidate and a configuration. Compares fields, because a manually created Pad
/// has no labels.
pub fn is_of(pad: &Pad, configuration: &str, opportunity_id: &str) -> bool {
    pad.spec.configuration_ref.name == configuration && pad.spec.opportunity_id == opportunity_id
}

/// Reports the same as [`is_of`] for the spec of a Pad that cannot be decoded.
pub fn is_of_spec(spec: &Value, configuration: &str, opportunity_id: &str) -> bool {
    spec["configurationRef"]["name"] == configuration && spec["opportunityID"] == opportunity_id
}

/// Returns the labels that select the Pads of a candidate and a configuration.
pub fn labels(configuration: &str, opportunity_id: &str) -> [(&'static str, String); 2] {
    [
        (CONFIGURATION_LABEL, configuration.to_owned()),
        (OPPORTUNITY_LABEL, names::opportunity_digest(opportunity_id)),
    ]
}

/// Returns the n-th Pad of a candidate and a configuration.
pub fn pad(configuration: &PadConfiguration, opportunity_id: &str, n: u32, trigger: Trigger) -> Pad {
    let (name, rule) = (configuration.name_any(), &configuration.spec);
    let spec = PadSpec {
        configuration_ref: NameRef { name: name.clone() },
        connection_ref: Some(rule.connection_ref.clone()),
        opportunity_id: opportunity_id.to_owned(),
        trigger,
        state: DesiredState::Open,
        deletion_policy: rule.deletion_policy,
    };
    let mut pad = Pad::new(&names::pad_name(&name, opportunity_id, n), spec);
    let all = pad.labels_mut();
    all.extend(labels(&name, opportunity_id).map(|(label, value)| (label.to_owned(), value)));
    all.insert(CONNECTION_LABEL.into(), rule.connection_ref.name.clone());
    all.insert(TYPE_LABEL.into(), rule.type_.as_str().into());
    all.insert(MANAGED_BY_LABEL.into(), FIELD_MANAGER.into());
    pad
}
