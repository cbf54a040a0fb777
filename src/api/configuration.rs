//! PadConfiguration: "candidates that carry this tag and reach this stage get this kind of pad".

use super::connection::Stage;
use super::{Condition, NameRef};
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which candidates get a pad, what kind of pad, and what is written back to Lever.
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
    doc = "A PadConfiguration says: candidates that carry this tag and reach this stage get this kind of pad.",
    validation = Rule::new("self.metadata.name.size() <= 50").message("metadata.name may have at most 50 characters: the names of its Pads start with it"),
    selectable = ".spec.connectionRef.name",
    printcolumn(name = "Connection", type_ = "string", json_path = ".spec.connectionRef.name", description = "The LeverConnection"),
    printcolumn(name = "Stage", type_ = "string", json_path = ".spec.stage", description = "The stage that makes a pad"),
    printcolumn(name = "Tag", type_ = "string", json_path = ".spec.tag", description = "The tag that a candidate must carry"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type", description = "Live or TakeHome"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether it makes pads"),
    printcolumn(name = "Open", type_ = "integer", json_path = ".status.pads.open", description = "Pads that are open"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "Why it is ready or not")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type != 'TakeHome' || has(self.questionID)").message("a TakeHome needs spec.questionID: the id of a CoderPad question that may be used as a take-home").field_path(".questionID"),
    validation = Rule::new("!has(self.language) || !has(self.questionID)").message("spec.language and spec.questionID exclude each other: a question brings its own language. Remove one of them").field_path(".language"),
    validation = Rule::new("!has(self.language) || self.type == 'Live'").message("spec.language is for Live pads only. Remove it").field_path(".language"),
    validation = Rule::new("!has(self.ttlSecondsAfterEnded) || self.repeat != 'Never'").message("spec.ttlSecondsAfterEnded cannot go with repeat: Never, because the ended Pad is what remembers that there was one. Remove it, or choose AfterEnd").field_path(".ttlSecondsAfterEnded"),
    validation = Rule::new("!has(self.writeBack.tags.ready) || self.writeBack.tags.ready != self.tag").message("spec.writeBack.tags.ready must differ from spec.tag").field_path(".writeBack.tags.ready"),
    validation = Rule::new("!has(self.writeBack.tags.ended) || self.writeBack.tags.ended != self.tag").message("spec.writeBack.tags.ended must differ from spec.tag").field_path(".writeBack.tags.ended"),
    validation = Rule::new("!has(self.writeBack.tags.failed) || self.writeBack.tags.failed != self.tag").message("spec.writeBack.tags.failed must differ from spec.tag").field_path(".writeBack.tags.failed")
)]
pub struct PadConfigurationSpec {
    /// The LeverConnection that this configuration belongs to. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.connectionRef is immutable: make a new PadConfiguration for the other connection and delete this one"))]
    pub connection_ref: NameRef,
    /// While true no pad is made. Stage changes are still stored, and all is caught up on resume.
    #[serde(default)]
    pub suspend: bool,
    /// The hiring stage that makes a pad: its exact name in Lever, or its id. See status.stages of the connection.
    #[serde(default = "stage")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(super::schema::ONE_LINE).message("spec.stage must not be blank, nor have a line break: name a stage of Lever, such as Phone Screen"))]
    pub stage: String,
    /// The tag that a candidate must carry, on the profile or inherited from a posting. Compared exactly, case and all.
    #[serde(default = "tag")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(super::schema::ONE_LINE).message("spec.tag must not be blank, nor have a line break: name the Lever tag that asks for a pad, such as coderpad"))]
    pub tag: String,
    /// Live: an interview pad. TakeHome: an asynchronous test with a time limit of 2 hours.
    #[serde(default, rename = "type")]
    pub type_: PadType,
    /// Id of the CoderPad question that the pad starts with. Required for TakeHome, optional for Live.
    #[serde(default, rename = "questionID", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9007199254740991_i64))]
    pub question_id: Option<i64>,
    /// Programming language of a Live pad without a question, as CoderPad names it, such as python3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_+#.-]+$')").message("spec.language is one word, as CoderPad's API names the language, such as python3, javascript or go"))]
    pub language: Option<String>,
    /// Title of the pad. Placeholders: {candidate}, {stage}, {configuration}.
    #[serde(default = "title")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.trim().size() > 0").message("spec.title must not be blank: leave it out for '{candidate} - {stage}'"))]
    #[x_kube(validation = Rule::new("self.matches('^([^{}]|[{]candidate[}]|[{]stage[}]|[{]configuration[}])*$')").message("spec.title knows the placeholders {candidate}, {stage} and {configuration}; other braces are not allowed"))]
    pub title: String,
    /// Whether candidates wait in a waiting room until an interviewer lets them in. Unset: as the CoderPad account says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_room: Option<bool>,
    /// E-mail of the CoderPad user who owns the pads. Must be a user of the organization. Unset: the owner of the API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 254))]
    #[x_kube(validation = Rule::new("self.matches('^[^@\\\\s]+@[^@\\\\s]+$')").message("spec.ownerEmail is the e-mail address of a user of the CoderPad organization, such as lead@example.com, and nothing else"))]
    pub owner_email: Option<String>,
    /// What happens to candidates that are already in the stage with the tag when the rule takes effect: Skip them, or
    /// Create a pad for each.
    #[serde(default)]
    pub existing: Existing,
    /// When a candidate who enters the stage again gets another pad: after the last one has ended, never, or always.
    #[serde(default)]
    pub repeat: Repeat,
    /// What happens to an open pad when the candidate is archived in Lever.
    #[serde(default)]
    pub on_archive: OnArchive,
    /// What deleting a Pad leaves behind; copied to each Pad when it is made.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// What is written back to Lever besides the link.
    #[serde(default)]
    pub write_back: WriteBack,
    /// Ended Pads are deleted this many seconds after the end, always as with Retain. Not with repeat: Never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 315360000))]
    pub ttl_seconds_after_ended: Option<i64>,
    /// Skipped Pads are deleted after this many seconds; one day unless said otherwise.
    #[serde(default = "ttl_skipped")]
    #[schemars(range(min = 0, max = 315360000))]
    pub ttl_seconds_after_skipped: i64,
}

/// The kind of pad.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum PadType {
    /// A live interview pad.
    #[default]
    Live,
    /// An asynchronous test with a time limit of 2 hours.
    TakeHome,
}

impl PadType {
    /// The spelling of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            PadType::Live => "Live",
            PadType::TakeHome => "TakeHome",
        }
    }
}

/// What happens to candidates already in the stage with the tag when a rule takes effect.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Existing {
    /// They get no pad.
    #[default]
    Skip,
    /// They get a pad each.
    Create,
}

/// When a candidate who enters the stage again gets another pad.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Repeat {
    /// When the last interview has ended.
    #[default]
    AfterEnd,
    /// Never.
    Never,
    /// At each entry.
    Always,
}

/// What happens to an open pad when the candidate is archived.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum OnArchive {
    /// It stays.
    #[default]
    Keep,
    /// It is ended.
    End,
}

/// What deleting a Pad leaves behind.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum DeletionPolicy {
    /// Everything: the pad at CoderPad, the link and the tags in Lever.
    #[default]
    Retain,
    /// The pad at CoderPad; the link and the operator's tags are taken off the candidate.
    Unlink,
    /// Nothing: the pad at CoderPad is deleted too.
    Delete,
}

/// What is written back to Lever besides the link.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteBack {
    /// The note on the candidate's profile after the interview: None, Summary, or SummaryWithCode.
    #[serde(default)]
    pub note: Note,
    /// Tags that show the recruiter where the interview stands. Each is optional.
    #[serde(default)]
    pub tags: StatusTags,
}

/// The note on the candidate's profile after the interview.
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

/// Tags that show the recruiter where the interview stands.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(!has(self.ready) || !has(self.ended) || self.ready != self.ended) && (!has(self.ready) || !has(self.failed) || self.ready != self.failed) && (!has(self.ended) || !has(self.failed) || self.ended != self.failed)").message("the tags ready, ended and failed of spec.writeBack.tags must differ from each other"))]
pub struct StatusTags {
    /// Put on the candidate when the pad is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(super::schema::ONE_LINE).message("a tag must not be blank, nor have a line break: leave it out instead"))]
    pub ready: Option<String>,
    /// Takes the place of ready when the interview has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(super::schema::ONE_LINE).message("a tag must not be blank, nor have a line break: leave it out instead"))]
    pub ended: Option<String>,
    /// Put on the candidate while the pad has failed or waits long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(super::schema::ONE_LINE).message("a tag must not be blank, nor have a line break: leave it out instead"))]
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

/// What the operator has found out about a configuration.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PadConfigurationStatus {
    /// The metadata.generation that this status was decided for; -1 before the first look.
    #[serde(default = "super::names::unobserved")]
    pub observed_generation: i64,
    /// The value of the annotation padoperator.dev/reconcile-requested-at that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
    /// The stage in Lever that spec.stage names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<ResolvedStage>,
    /// The question at CoderPad that spec.questionID names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
    /// When stage and tag of the present rule took effect.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub effective_since: Option<Timestamp>,
    /// The effectiveSince for which sync has found out who was in the stage with the tag before.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub existing_settled_for: Option<Timestamp>,
    /// Fingerprints, 12 hexadecimal digits each, of the stage entries of candidates in the stage with the tag that had
    /// their pad or were skipped as BeforeConfiguration. They stay served if somebody deletes their Pads. A sync removes
    /// those of candidates who have left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 240_000), regex(pattern = "^([0-9a-f]{12})*$"))]
    pub served_entries: Option<String>,
    /// The generation for which CoderPad created a live pad where a take-home was requested. No further pad is created
    /// until the spec changes or somebody requests a reconcile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_home_refused_generation: Option<i64>,
    /// Candidates in the stage with the tag at the last sync, also while suspended: a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<i64>,
    /// The Pads of this configuration by phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pads: Option<PadCounts>,
    /// Ready, StageFound, QuestionUsable, Suspended, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl PadConfiguration {
    /// Whether CoderPad refuses to create take-homes for the present spec (contract F7).
    pub fn is_take_home_refused(&self) -> bool {
        let refused = self.status.as_ref().and_then(|status| status.take_home_refused_generation);
        refused.is_some() && refused == self.metadata.generation
    }
}

impl PadConfigurationStatus {
    /// Whether it is known who was in the stage with the tag before the present rule took effect.
    pub fn existing_is_settled(&self) -> bool {
        self.effective_since.is_some() && self.existing_settled_for == self.effective_since
    }
}

/// A stage of Lever that was found by its name or id.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedStage {
    /// Lever's id of the stage.
    #[schemars(length(max = 128))]
    pub id: String,
    /// The stage's name in Lever now.
    #[schemars(length(max = 256))]
    pub name: String,
    /// The text of spec.stage that was resolved: while it stays the same the id is kept, even if Lever renames the stage.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub named: String,
    /// The tag beside which it took effect.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub tag: String,
}

impl ResolvedStage {
    /// The stage without what it was resolved from.
    pub fn stage(&self) -> Stage {
        Stage { id: self.id.clone(), name: self.name.clone() }
    }
}

/// A question at CoderPad.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// Its id.
    pub id: i64,
    /// Its title.
    #[schemars(length(max = 256))]
    pub title: String,
}

/// Pads by phase.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PadCounts {
    /// Waiting.
    pub pending: i64,
    /// Open or started.
    pub open: i64,
    /// Ended.
    pub ended: i64,
    /// Skipped.
    pub skipped: i64,
    /// Failed.
    pub failed: i64,
}
