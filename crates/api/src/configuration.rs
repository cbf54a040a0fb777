//! PadConfiguration: a rule that creates one kind of pad for candidates with a tag in a stage.

use super::connection::Stage;
use super::{Condition, NameRef};
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rule for candidates: the stage and tag that trigger a pad, the kind of pad, and the write-back to Lever.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "padoperator.dev",
    version = "v1alpha1",
    kind = "PadConfiguration",
    plural = "padconfigurations",
    namespaced,
    shortname = "padcfg",
    category = "padoperator",
    status = "PadConfigurationStatus",
    derive = "PartialEq",
    doc = "A PadConfiguration creates one kind of pad for candidates who have a given tag and enter a given stage in Lever.",
    validation = Rule::new("self.metadata.name.size() <= 50").message("metadata.name must not exceed 50 characters, because the names of its Pads start with it"),
    selectable = ".spec.connectionRef.name",
    printcolumn(name = "Connection", type_ = "string", json_path = ".spec.connectionRef.name", description = "Name of the LeverConnection"),
    printcolumn(name = "Stage", type_ = "string", json_path = ".spec.stage", description = "Stage that triggers a pad"),
    printcolumn(name = "Tag", type_ = "string", json_path = ".spec.tag", description = "Tag that a candidate must have"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type", description = "Type of pad: Live or TakeHome"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether the configuration can create pads"),
    printcolumn(name = "Open", type_ = "integer", json_path = ".status.pads.open", description = "Number of open pads"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "Reason of the Ready condition")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type != 'TakeHome' || has(self.questionID)").message("type: TakeHome requires spec.questionID: the ID of a CoderPad question that is available as a take-home").field_path(".questionID"),
    validation = Rule::new("!has(self.language) || !has(self.questionID)").message("spec.language and spec.questionID are mutually exclusive, because a question sets its own language. Remove one of them").field_path(".language"),
    validation = Rule::new("!has(self.language) || self.type == 'Live'").message("spec.language is allowed only with type: Live. Remove it").field_path(".language"),
    validation = Rule::new("!has(self.ttlSecondsAfterEnded) || self.repeat != 'Never'").message("spec.ttlSecondsAfterEnded cannot be combined with repeat: Never, because the ended Pad records that the candidate already had a pad. Remove it, or set repeat: AfterEnd").field_path(".ttlSecondsAfterEnded"),
    validation = Rule::new("!has(self.writeBack.tags.ready) || self.writeBack.tags.ready != self.tag").message("spec.writeBack.tags.ready must differ from spec.tag").field_path(".writeBack.tags.ready"),
    validation = Rule::new("!has(self.writeBack.tags.ended) || self.writeBack.tags.ended != self.tag").message("spec.writeBack.tags.ended must differ from spec.tag").field_path(".writeBack.tags.ended"),
    validation = Rule::new("!has(self.writeBack.tags.failed) || self.writeBack.tags.failed != self.tag").message("spec.writeBack.tags.failed must differ from spec.tag").field_path(".writeBack.tags.failed")
)]
pub struct PadConfigurationSpec {
    /// LeverConnection of this configuration. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.connectionRef is immutable. Create a new PadConfiguration for the other connection and delete this one"))]
    pub connection_ref: NameRef,
    /// Set to true to stop creating pads. Stage changes are still recorded, and their pads are created on resume.
    #[serde(default)]
    pub suspend: bool,
    /// Stage in Lever that triggers a pad: its exact name or its ID. The connection lists all stages in status.stages.
    #[serde(default = "stage")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(super::schema::ONE_LINE).message("spec.stage must not be blank or contain a line break. Set it to a stage in Lever, such as Phone Screen"))]
    pub stage: String,
    /// Tag that a candidate must have, on the profile or inherited from a posting. Case-sensitive.
    #[serde(default = "tag")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(super::schema::ONE_LINE).message("spec.tag must not be blank or contain a line break. Set it to a tag in Lever, such as coderpad"))]
    pub tag: String,
    /// Type of pad. Live: an interview pad. TakeHome: an asynchronous test with a time limit of 2 hours.
    #[serde(default, rename = "type")]
    pub type_: PadType,
    /// ID of the CoderPad question that the pad starts with. Required for TakeHome, optional for Live.
    #[serde(default, rename = "questionID", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9007199254740991_i64))]
    pub question_id: Option<i64>,
    /// Programming language of a Live pad without a question, in CoderPad's spelling, such as python3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_+#.-]+$')").message("spec.language must be one word in the spelling of CoderPad's API, such as python3, javascript or go"))]
    pub language: Option<String>,
    /// Title of the pad. Supported placeholders: {candidate}, {stage}, {configuration}.
    #[serde(default = "title")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.trim().size() > 0").message("spec.title must not be blank. Omit it for the default '{candidate} - {stage}'"))]
    #[x_kube(validation = Rule::new("self.matches('^([^{}]|[{]candidate[}]|[{]stage[}]|[{]configuration[}])*$')").message("spec.title supports only the placeholders {candidate}, {stage} and {configuration}; other braces are not allowed"))]
    pub title: String,
    /// Whether candidates wait in a waiting room until an interviewer admits them. Unset: the setting of the CoderPad
    /// account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_room: Option<bool>,
    /// E-mail address of the CoderPad user who owns the pads. Must be a user of the organization. Unset: the owner of
    /// the API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 254))]
    #[x_kube(validation = Rule::new("self.matches('^[^@\\\\s]+@[^@\\\\s]+$')").message("spec.ownerEmail must be only the e-mail address of a user of the CoderPad organization, such as lead@example.com"))]
    pub owner_email: Option<String>,
    /// Handling of candidates who are already in the stage with the tag when the rule takes effect: Skip them, or
    /// Create a pad for each.
    #[serde(default)]
    pub existing: Existing,
    /// Handling of a candidate who enters the stage again: create another pad only if the last one has ended
    /// (AfterEnd), never (Never), or on each entry (Always).
    #[serde(default)]
    pub repeat: Repeat,
    /// Handling of an open pad when the candidate is archived in Lever: Keep it, or End the interview.
    #[serde(default)]
    pub on_archive: OnArchive,
    /// Handling of the pad in CoderPad and of the link and tags in Lever when a Pad is deleted: Retain all, Unlink the
    /// candidate, or Delete the pad too. Copied to each Pad when it is created.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Data that is written back to Lever besides the link.
    #[serde(default)]
    pub write_back: WriteBack,
    /// Delay before an ended Pad is deleted, in seconds. The deletion always behaves as with Retain. Not allowed with
    /// repeat: Never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 315360000))]
    pub ttl_seconds_after_ended: Option<i64>,
    /// Delay before a skipped Pad is deleted, in seconds. The default is one day.
    #[serde(default = "ttl_skipped")]
    #[schemars(range(min = 0, max = 315360000))]
    pub ttl_seconds_after_skipped: i64,
}

/// Type of pad.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum PadType {
    /// A live interview pad.
    #[default]
    Live,
    /// An asynchronous test with a time limit of 2 hours.
    TakeHome,
}

impl PadType {
    /// Returns the spelling of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            PadType::Live => "Live",
            PadType::TakeHome => "TakeHome",
        }
    }
}

/// Handling of candidates who are already in the stage with the tag when a rule takes effect.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Existing {
    /// No pads are created for them.
    #[default]
    Skip,
    /// One pad is created for each.
    Create,
}

/// Handling of a candidate who enters the stage again.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Repeat {
    /// Another pad is created only if the last interview has ended.
    #[default]
    AfterEnd,
    /// No further pad is created.
    Never,
    /// A pad is created on each entry.
    Always,
}

/// Handling of an open pad when the candidate is archived.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum OnArchive {
    /// The pad stays open.
    #[default]
    Keep,
    /// The interview is ended.
    End,
}

/// Handling of external data when a Pad is deleted.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum DeletionPolicy {
    /// The pad in CoderPad and the link and tags in Lever are kept.
    #[default]
    Retain,
    /// The link and the operator's tags are removed from the candidate in Lever; the pad in CoderPad is kept.
    Unlink,
    /// As Unlink, and the pad in CoderPad is deleted too.
    Delete,
}

/// Data that is written back to Lever besides the link.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteBack {
    /// Note on the candidate's profile after the interview: None, Summary or SummaryWithCode.
    #[serde(default)]
    pub note: Note,
    /// Tags on the candidate that show recruiters the state of the interview. Each is optional.
    #[serde(default)]
    pub tags: StatusTags,
}

/// Content of the note on the candidate's profile after the interview.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Note {
    /// No note.
    None,
    /// Times, participants, language and the playback link.
    #[default]
    Summary,
    /// The summary and the final code.
    SummaryWithCode,
}

/// Tags on the candidate that show recruiters the state of the interview.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(!has(self.ready) || !has(self.ended) || self.ready != self.ended) && (!has(self.ready) || !has(self.failed) || self.ready != self.failed) && (!has(self.ended) || !has(self.failed) || self.ended != self.failed)").message("the tags ready, ended and failed of spec.writeBack.tags must differ from each other"))]
pub struct StatusTags {
    /// Tag added to the candidate when the pad is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(super::schema::ONE_LINE).message("a tag must not be blank or contain a line break. Omit the field to set no tag"))]
    pub ready: Option<String>,
    /// Tag that replaces `ready` when the interview has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(super::schema::ONE_LINE).message("a tag must not be blank or contain a line break. Omit the field to set no tag"))]
    pub ended: Option<String>,
    /// Tag on the candidate while the Pad has failed or has been pending for a long time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(super::schema::ONE_LINE).message("a tag must not be blank or contain a line break. Omit the field to set no tag"))]
    pub failed: Option<String>,
}

fn stage() -> String {
    "Phone Screen".into()
}

fn tag() -> String {
    "coderpad".into()
}

fn title() -> String {
    "{candidate} - {stage}".into()
}

fn ttl_skipped() -> i64 {
    86_400
}

/// Observed state of a PadConfiguration.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PadConfigurationStatus {
    /// The metadata.generation that this status was computed from; -1 before the first reconcile.
    #[serde(default = "super::names::unobserved")]
    pub observed_generation: i64,
    /// Last value of the annotation padoperator.dev/reconcile-requested-at that the operator handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
    /// Stage in Lever that spec.stage refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<ResolvedStage>,
    /// Question in CoderPad that spec.questionID refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
    /// Time at which the stage and tag of the current rule took effect.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub effective_since: Option<Timestamp>,
    /// Value of effectiveSince for which sync has identified the existing candidates.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub existing_settled_for: Option<Timestamp>,
    /// Fingerprints, 12 hexadecimal digits each, of stage entries that already had a pad or were skipped as
    /// BeforeConfiguration. They prevent a second pad after a user deletes the Pad. Sync removes the fingerprints of
    /// candidates who left the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 240_000), regex(pattern = "^([0-9a-f]{12})*$"))]
    pub served_entries: Option<String>,
    /// The metadata.generation for which CoderPad created a live pad instead of the requested take-home. No further pad
    /// is created until the spec changes or a user requests a reconcile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_home_refused_generation: Option<i64>,
    /// Number of candidates in the stage with the tag at the last sync. Also counted while suspended, as a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<i64>,
    /// Number of Pads of this configuration by phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pads: Option<PadCounts>,
    /// Conditions: Ready, StageFound, QuestionUsable, Suspended, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl PadConfiguration {
    /// Reports whether CoderPad refused to create a take-home for the current spec (contract F7).
    pub fn is_take_home_refused(&self) -> bool {
        let refused = self.status.as_ref().and_then(|status| status.take_home_refused_generation);
        refused.is_some() && refused == self.metadata.generation
    }
}

impl PadConfigurationStatus {
    /// Reports whether sync has identified the existing candidates of the current rule.
    pub fn existing_is_settled(&self) -> bool {
        self.effective_since.is_some() && self.existing_settled_for == self.effective_since
    }
}

/// Stage in Lever that was found by its name or ID.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedStage {
    /// ID of the stage in Lever.
    #[schemars(length(max = 128))]
    pub id: String,
    /// Current name of the stage in Lever.
    #[schemars(length(max = 256))]
    pub name: String,
    /// Value of spec.stage that was resolved. The ID is kept until this value changes, even if the stage is renamed in
    /// Lever.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub named: String,
    /// Value of spec.tag when the stage took effect.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub tag: String,
}

impl ResolvedStage {
    /// Returns the ID and name of the stage.
    pub fn stage(&self) -> Stage {
        Stage { id: self.id.clone(), name: self.name.clone() }
    }
}

/// Question in CoderPad.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// ID of the question.
    pub id: i64,
    /// Title of the question.
    #[schemars(length(max = 256))]
    pub title: String,
}

/// Number of Pads by phase.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PadCounts {
    /// Number of pending Pads.
    pub pending: i64,
    /// Number of Pads that are open or started.
    pub open: i64,
    /// Number of ended Pads.
    pub ended: i64,
    /// Number of skipped Pads.
    pub skipped: i64,
    /// Number of failed Pads.
    pub failed: i64,
}
