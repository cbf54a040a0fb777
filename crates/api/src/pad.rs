//! Pad: one interview pad for one candidate, with its complete state.

use super::configuration::{DeletionPolicy, PadType};
use super::{Condition, NameRef};
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Desired state of a Pad: the candidate, the configuration, and whether the interview is open or ended.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "padoperator.dev",
    version = "v1alpha1",
    kind = "Pad",
    plural = "pads",
    namespaced,
    category = "padoperator",
    status = "PadStatus",
    derive = "PartialEq",
    doc = "A Pad is one CoderPad interview pad for one candidate in Lever. The operator creates Pads on webhooks and sync; you can also create one manually.",
    selectable = ".spec.configurationRef.name",
    selectable = ".spec.opportunityID",
    selectable = ".status.phase",
    printcolumn(
        name = "Candidate",
        type_ = "string",
        json_path = ".status.candidate",
        description = "Name of the candidate in Lever"
    ),
    printcolumn(
        name = "Configuration",
        type_ = "string",
        json_path = ".spec.configurationRef.name",
        description = "Name of the PadConfiguration"
    ),
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "Pending, Open, Started, Ended, Skipped or Failed"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.reason",
        description = "Reason for the phase"
    ),
    printcolumn(
        name = "URL",
        type_ = "string",
        json_path = ".status.url",
        description = "Link to share with the candidate and the interviewer"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Type",
        type_ = "string",
        priority = 1,
        json_path = ".status.type",
        description = "Type of pad: Live or TakeHome"
    ),
    printcolumn(
        name = "Opportunity",
        type_ = "string",
        priority = 1,
        json_path = ".spec.opportunityID",
        description = "ID of the opportunity in Lever"
    ),
    printcolumn(
        name = "Pad",
        type_ = "string",
        priority = 1,
        json_path = ".status.padID",
        description = "ID of the pad in CoderPad"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type=='Ready')].status",
        description = "Whether the Pad is ready"
    ),
    printcolumn(
        name = "Ended",
        type_ = "date",
        priority = 1,
        json_path = ".status.endedAt",
        description = "Time since the end of the interview"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.connectionRef) == has(oldSelf.connectionRef) && (!has(self.connectionRef) || self.connectionRef == oldSelf.connectionRef)").message("spec.connectionRef is immutable. Create a new Pad instead").field_path(".connectionRef"),
    validation = Rule::new("oldSelf.state != 'Ended' || self.state == 'Ended'").message("spec.state cannot return to Open, because an ended interview cannot be reopened. Create a new Pad instead").field_path(".state")
)]
pub struct PadSpec {
    /// PadConfiguration of this Pad. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.configurationRef is immutable. Create a new Pad instead"))]
    pub configuration_ref: NameRef,
    /// LeverConnection of this Pad; copied from the configuration when the operator creates the Pad. Immutable.
    /// Optional on manually created Pads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_ref: Option<NameRef>,
    /// ID of the candidate's opportunity in Lever: the last part of the URL of the profile. Immutable.
    #[serde(rename = "opportunityID")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]+$')").message("spec.opportunityID must be only the last part of the URL of the candidate's profile in Lever, such as 6408dc54-0f8e-4a6b-9c7d-2f1e3b5a7c90"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.opportunityID is immutable. Create a new Pad for the other candidate"))]
    pub opportunity_id: String,
    /// Event that created the Pad. Immutable.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.trigger is immutable, because it records the event that created this Pad. Create a new Pad instead"))]
    pub trigger: Trigger,
    /// Desired state of the interview. Set to Ended to end it. An ended interview cannot be reopened.
    #[serde(default)]
    pub state: DesiredState,
    /// Handling of the pad in CoderPad and of the link and tags in Lever when this Pad is deleted. Copied from the
    /// configuration when the operator creates the Pad; afterwards only this value applies.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Event that created a Pad.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// Source of the event: Webhook, Sync or Manual.
    #[serde(default)]
    pub source: TriggerSource,
    /// Time of the event, as reported by the source.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::written_timestamp")]
    pub at: Option<Timestamp>,
}

/// Creator of a Pad.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum TriggerSource {
    /// A webhook for a candidate stage change.
    Webhook,
    /// A sync, which lists Lever's opportunities.
    Sync,
    /// A user. The tag, the stage and the repeat policy are not checked.
    #[default]
    Manual,
}

/// Desired state of the interview.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum DesiredState {
    /// The interview is open.
    #[default]
    Open,
    /// The interview must be ended.
    Ended,
}

/// Observed state of a Pad.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PadStatus {
    /// The metadata.generation that this status was computed from; -1 before the first reconcile.
    #[serde(default = "super::names::unobserved")]
    pub observed_generation: i64,
    /// The metadata.generation of the configuration that this status was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_configuration_generation: Option<i64>,
    /// The metadata.uid of the configuration that this status was computed from. A configuration that is deleted and
    /// created again restarts its generations from 1.
    #[serde(default, rename = "observedConfigurationUID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub observed_configuration_uid: Option<String>,
    /// Time at which the Pad entered its phase, by the operator's clock.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub phase_since: Option<Timestamp>,
    /// Latest stage entry of the candidate when the eligibility was last evaluated, by Lever's clock.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub judged_entry_at: Option<Timestamp>,
    /// Latest stage entry for which a user requested a pad with the annotation padoperator.dev/reconcile-requested-at,
    /// by Lever's clock.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub requested_entry_at: Option<Timestamp>,
    /// Last value of the annotation padoperator.dev/reconcile-requested-at that the operator handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
    /// Phase of the Pad, derived from the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "phase_schema")]
    pub phase: Option<Phase>,
    /// Reason for the phase: the reason of the Ready condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// ID of the pad in CoderPad.
    #[serde(default, rename = "padID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub pad_id: Option<String>,
    /// Link to share with the candidate and the interviewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub url: Option<String>,
    /// URL of the playback; set when the interview has ended.
    #[serde(default, rename = "playbackURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub playback_url: Option<String>,
    /// Type of the created pad: Live or TakeHome.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "type_schema")]
    pub type_: Option<PadType>,
    /// Name of the candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub candidate: Option<String>,
    /// URL of the candidate's profile in Lever.
    #[serde(default, rename = "candidateURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub candidate_url: Option<String>,
    /// Stage entry for which the pad was created, by Lever's stage history.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub entry_at: Option<Timestamp>,
    /// Time at which CoderPad created the pad.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub created_at: Option<Timestamp>,
    /// Time of the last create request that CoderPad answered without a lasting result: CoderPad rejected it, or the
    /// pad was deleted immediately. It counts towards spec.interview.maxPadsPerHour of the connection.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub last_create_at: Option<Timestamp>,
    /// Time at which the operator observed the link on the candidate.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub linked_at: Option<Timestamp>,
    /// Start of the interview.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub started_at: Option<Timestamp>,
    /// End of the interview.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub ended_at: Option<Timestamp>,
    /// Names of the participants, as entered by them; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 256)))]
    pub participants: Vec<String>,
    /// ID of the note in Lever.
    #[serde(default, rename = "noteID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub note_id: Option<String>,
    /// Value of writeBack.tags.failed after the operator added this tag because the Pad failed or was pending for a
    /// long time, or removed it. The tag is added only once, so that a recruiter can remove it permanently.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub failed_tag: Option<String>,
    /// ID of another installation of the operator that created a pad for the same stage entry of this candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub other_installation: Option<String>,
    /// Conditions: Ready, PadCreated, LinkAdded, RecordAdded, TagRefused, Suspended, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Phase of a Pad.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Phase {
    /// The pad is not open yet; the reason explains the delay.
    Pending,
    /// The pad exists and the candidate in Lever has the link.
    Open,
    /// The interview has started.
    Started,
    /// The interview has ended.
    Ended,
    /// The candidate is ineligible for a pad.
    Skipped,
    /// The pad cannot be created without user action.
    Failed,
}

fn phase_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "enum": ["Pending", "Open", "Started", "Ended", "Skipped", "Failed"],
    })
}

fn type_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "enum": ["Live", "TakeHome"]})
}

impl Pad {
    /// Returns the phase as last written.
    pub fn phase(&self) -> Option<Phase> {
        self.status.as_ref().and_then(|status| status.phase)
    }

    /// Returns the time at which the Pad entered its phase. A status of version 0.1.0 contains only the transition time
    /// of the condition.
    pub fn phase_since(&self) -> Option<Timestamp> {
        let status = self.status.as_ref()?;
        let ready = || super::condition::find(&status.conditions, super::condition::types::READY);
        status.phase_since.or_else(|| Some(ready()?.last_transition_time))
    }

    /// Returns the start of the attempt to create the pad; for an adopted pad, its creation time in CoderPad.
    pub fn attempt_began_at(&self) -> Option<Timestamp> {
        let attempt = self.metadata.annotations.as_ref().and_then(|all| all.get(super::names::ATTEMPT));
        let begun = attempt.and_then(|text| text.rsplit_once('@')).and_then(|(_, at)| at.parse().ok());
        begun.or_else(|| self.status.as_ref()?.created_at)
    }

    /// Returns the time of the last create request that CoderPad answered without a lasting result.
    pub fn last_failed_attempt_at(&self) -> Option<Timestamp> {
        self.status.as_ref()?.last_create_at
    }

    /// Reports whether a user created the Pad.
    pub fn is_manual(&self) -> bool {
        self.spec.trigger.source == TriggerSource::Manual
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_invalid_timestamp_does_not_prevent_decoding() {
        for (at, is_time) in [
            (json!("2026-01-01T00:00:00Z"), true),
            (json!("2026-01-01T00:00:00Ztx"), false),
            (json!("soon"), false),
            (json!(["2026-01-01T00:00:00Z"]), false),
            (json!([[false], -5, {}]), false),
            (json!(null), false),
        ] {
            let pad: Pad = serde_json::from_value(json!({
                "apiVersion": "padoperator.dev/v1alpha1", "kind": "Pad", "metadata": {"name": "p"},
                "spec": {"configurationRef": {"name": "c"}, "opportunityID": "o", "trigger": {"at": at}},
            }))
            .unwrap();
            assert_eq!(pad.spec.trigger.at.is_some(), is_time, "{at}");
        }
    }
}
