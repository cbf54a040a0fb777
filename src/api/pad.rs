//! Pad: one interview pad for one candidate, and the whole memory of how far it has come.

use super::configuration::{DeletionPolicy, PadType};
use super::{Condition, NameRef};
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose pad it is, by which configuration, and whether the interview is wished to be open or ended.
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
    doc = "A Pad is one CoderPad interview pad for one candidate of Lever. Webhooks and sync make them; you may make one by hand.",
    selectable = ".spec.configurationRef.name",
    selectable = ".spec.opportunityID",
    selectable = ".status.phase",
    printcolumn(
        name = "Candidate",
        type_ = "string",
        json_path = ".status.candidate",
        description = "The candidate's name in Lever"
    ),
    printcolumn(
        name = "Configuration",
        type_ = "string",
        json_path = ".spec.configurationRef.name",
        description = "The PadConfiguration"
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
        description = "Why it is in this phase"
    ),
    printcolumn(
        name = "URL",
        type_ = "string",
        json_path = ".status.url",
        description = "The link to share with candidate and interviewer"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Type",
        type_ = "string",
        priority = 1,
        json_path = ".status.type",
        description = "Live or TakeHome"
    ),
    printcolumn(
        name = "Opportunity",
        type_ = "string",
        priority = 1,
        json_path = ".spec.opportunityID",
        description = "The opportunity in Lever"
    ),
    printcolumn(
        name = "Pad",
        type_ = "string",
        priority = 1,
        json_path = ".status.padID",
        description = "Its id at CoderPad"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type=='Ready')].status",
        description = "Whether all is done that can be done"
    ),
    printcolumn(
        name = "Ended",
        type_ = "date",
        priority = 1,
        json_path = ".status.endedAt",
        description = "When the interview ended"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.connectionRef) == has(oldSelf.connectionRef) && (!has(self.connectionRef) || self.connectionRef == oldSelf.connectionRef)").message("spec.connectionRef is immutable: make a new Pad instead").field_path(".connectionRef"),
    validation = Rule::new("oldSelf.state != 'Ended' || self.state == 'Ended'").message("spec.state cannot go back to Open: an ended interview stays ended. Make a new Pad instead").field_path(".state")
)]
pub struct PadSpec {
    /// The PadConfiguration that says what kind of pad it is. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.configurationRef is immutable: make a new Pad instead"))]
    pub configuration_ref: NameRef,
    /// The LeverConnection; copied from the configuration when the operator makes the Pad. Immutable. A Pad made by hand
    /// may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_ref: Option<NameRef>,
    /// Id of the candidate's opportunity in Lever: the last part of the profile's address. Immutable.
    #[serde(rename = "opportunityID")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]+$')").message("spec.opportunityID is the last part of the address of the candidate's profile in Lever, such as 6408dc54-0f8e-4a6b-9c7d-2f1e3b5a7c90, without the rest of the address"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.opportunityID is immutable: make a new Pad for the other candidate"))]
    pub opportunity_id: String,
    /// What made the Pad. Immutable.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.trigger is immutable: it says what made this Pad. Make a new Pad instead"))]
    pub trigger: Trigger,
    /// Ended is the wish that the interview be ended. It cannot go back to Open.
    #[serde(default)]
    pub state: DesiredState,
    /// What deleting this Pad leaves behind; copied from the configuration when made. This one counts.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// What made a Pad.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// A webhook, sync, or a person.
    #[serde(default)]
    pub source: TriggerSource,
    /// When the cause happened, as the source says.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::written_timestamp")]
    pub at: Option<Timestamp>,
}

/// Who made a Pad.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum TriggerSource {
    /// A candidate stage change webhook.
    Webhook,
    /// A walk over Lever's opportunities.
    Sync,
    /// A person: tag, stage and repeat are not asked for.
    #[default]
    Manual,
}

/// The wish of the user.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum DesiredState {
    /// The interview may go on.
    #[default]
    Open,
    /// The interview shall be ended.
    Ended,
}

/// How far a Pad has come.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PadStatus {
    /// The metadata.generation that this status was decided for; -1 before the first look.
    #[serde(default = "super::names::unobserved")]
    pub observed_generation: i64,
    /// The generation of the configuration that this status was decided with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_configuration_generation: Option<i64>,
    /// The uid of the configuration that this status was decided with: one that is deleted and created again counts its
    /// generations from 1.
    #[serde(default, rename = "observedConfigurationUID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub observed_configuration_uid: Option<String>,
    /// When the Pad reached its phase, by the operator's clock.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub phase_since: Option<Timestamp>,
    /// The candidate's last entry into the stage when the Pad was last judged, by Lever's clock.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub judged_entry_at: Option<Timestamp>,
    /// The last stage entry for which a person requested a pad with the annotation
    /// padoperator.dev/reconcile-requested-at, by Lever's clock.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub requested_entry_at: Option<Timestamp>,
    /// The value of the annotation padoperator.dev/reconcile-requested-at that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
    /// Where the Pad stands, derived from the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "phase_schema")]
    pub phase: Option<Phase>,
    /// Why; the reason of the Ready condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// Id of the pad at CoderPad.
    #[serde(default, rename = "padID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub pad_id: Option<String>,
    /// The link to share with the candidate and the interviewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub url: Option<String>,
    /// Where the interview can be played back; set when it has ended.
    #[serde(default, rename = "playbackURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub playback_url: Option<String>,
    /// The kind of pad that was made: Live or TakeHome.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "type_schema")]
    pub type_: Option<PadType>,
    /// The candidate's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub candidate: Option<String>,
    /// The candidate's profile in Lever.
    #[serde(default, rename = "candidateURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub candidate_url: Option<String>,
    /// The stage entry that the pad stands for, by Lever's own books.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub entry_at: Option<Timestamp>,
    /// When the pad was made at CoderPad.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub created_at: Option<Timestamp>,
    /// When the last request to create a pad was sent that CoderPad answered and that came to nothing: it was refused,
    /// or the pad was deleted at once. It counts in spec.interview.maxPadsPerHour of the connection.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub last_create_at: Option<Timestamp>,
    /// When the link was seen on the candidate.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub linked_at: Option<Timestamp>,
    /// When the interview started.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub started_at: Option<Timestamp>,
    /// When the interview ended.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub ended_at: Option<Timestamp>,
    /// Names of those who took part, as they gave them; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 256)))]
    pub participants: Vec<String>,
    /// Id of the note in Lever.
    #[serde(default, rename = "noteID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub note_id: Option<String>,
    /// The tag of writeBack.tags.failed, once it was put on the candidate because the Pad has failed or waits long, or
    /// was found not to belong there. It is put on once: what a recruiter takes off stays off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub failed_tag: Option<String>,
    /// ID of another installation of the operator that created a pad for the same stage entry of this candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub other_installation: Option<String>,
    /// Ready, PadCreated, LinkAdded, RecordAdded, TagRefused, Suspended, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Where a Pad stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Phase {
    /// It waits, and says why.
    Pending,
    /// The pad exists and its link is on the candidate.
    Open,
    /// The interview goes on.
    Started,
    /// The interview is over.
    Ended,
    /// The candidate gets no pad.
    Skipped,
    /// It cannot be made; a person must act.
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
    /// The phase as last written.
    pub fn phase(&self) -> Option<Phase> {
        self.status.as_ref().and_then(|status| status.phase)
    }

    /// When the Pad reached its phase. A status of version 0.1.0 has only the transition time of its condition.
    pub fn phase_since(&self) -> Option<Timestamp> {
        let status = self.status.as_ref()?;
        let ready = || super::condition::find(&status.conditions, super::condition::types::READY);
        status.phase_since.or_else(|| Some(ready()?.last_transition_time))
    }

    /// When it has begun to make its pad; for one that was adopted, when CoderPad has made it.
    pub fn made_at(&self) -> Option<Timestamp> {
        let attempt = self.metadata.annotations.as_ref().and_then(|all| all.get(super::names::ATTEMPT));
        let begun = attempt.and_then(|text| text.rsplit_once('@')).and_then(|(_, at)| at.parse().ok());
        begun.or_else(|| self.status.as_ref()?.created_at)
    }

    /// When the last request to create a pad was sent that CoderPad answered and that came to nothing.
    pub fn created_in_vain_at(&self) -> Option<Timestamp> {
        self.status.as_ref()?.last_create_at
    }

    /// Whether a person made it.
    pub fn is_manual(&self) -> bool {
        self.spec.trigger.source == TriggerSource::Manual
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_time_that_is_none_hides_no_pad() {
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
