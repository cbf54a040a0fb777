//! LeverConnection: one Lever account joined to one CoderPad Interview organization.

use super::installation::{INSTALLATION, Installation, is_id};
use super::{Condition, NameRef, SecretKeyRef};
use jiff::Timestamp;
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The joined accounts: where they are, which Secrets hold their keys, how webhooks arrive and how often both are polled.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "padoperator.dev",
    version = "v1alpha1",
    kind = "LeverConnection",
    plural = "leverconnections",
    namespaced,
    shortname = "leverconn",
    category = "padoperator",
    status = "LeverConnectionStatus",
    derive = "PartialEq",
    doc = "A LeverConnection joins one Lever account to one CoderPad Interview organization.",
    validation = Rule::new("self.metadata.name.size() <= 50").message("metadata.name may have at most 50 characters: it is part of labels and of the webhook URL"),
    printcolumn(name = "Organization", type_ = "string", json_path = ".status.organization", description = "The CoderPad organization"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether both services answer"),
    printcolumn(name = "Webhook", type_ = "string", json_path = ".status.conditions[?(@.type=='WebhookVerified')].status", description = "Whether a signed webhook has arrived"),
    printcolumn(name = "Quota", type_ = "integer", json_path = ".status.quota.remaining", description = "Pads left in the billing cycle"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "Why it is ready or not"),
    printcolumn(name = "URL", type_ = "string", priority = 1, json_path = ".status.webhookURL", description = "What to paste into Lever")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.lever.apiKeySecretRef.name != self.interview.apiKeySecretRef.name || self.lever.apiKeySecretRef.key != self.interview.apiKeySecretRef.key").message("spec.lever.apiKeySecretRef and spec.interview.apiKeySecretRef name the same value, but Lever and CoderPad have keys of their own. Keep each under a key of its own").field_path(".interview.apiKeySecretRef"),
    validation = Rule::new("!has(self.webhook.signingTokenSecretRef) || !([self.webhook.signingTokenSecretRef.name, self.webhook.signingTokenSecretRef.key] in [[self.lever.apiKeySecretRef.name, self.lever.apiKeySecretRef.key], [self.interview.apiKeySecretRef.name, self.interview.apiKeySecretRef.key]])").message("spec.webhook.signingTokenSecretRef names the value of an API key, but the signature token of Lever's webhook is another secret. Keep it under a key of its own").field_path(".webhook.signingTokenSecretRef"),
    validation = Rule::new("self.webhook.mode != 'Managed' || has(self.webhook.signingTokenSecretRef)").message("webhook.mode: Managed needs spec.webhook.signingTokenSecretRef: the Secret and key that the operator keeps the signature token in. The operator makes that Secret").field_path(".webhook.signingTokenSecretRef")
)]
pub struct LeverConnectionSpec {
    /// While true nothing is sent to either service. Webhooks are still accepted, and all is caught up on resume.
    #[serde(default)]
    pub suspend: bool,
    /// The Lever account.
    pub lever: LeverSpec,
    /// The CoderPad Interview organization.
    pub interview: InterviewSpec,
    /// How Lever's candidate stage change webhooks arrive.
    #[serde(default)]
    pub webhook: WebhookSpec,
    /// How often both services are polled.
    #[serde(default)]
    pub sync: SyncSpec,
    /// IDs of other installations whose pads count as own, such as that of a cluster that this one replaces. The ID of an
    /// installation is in status.installation of its LeverConnection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 16)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(id, id.matches('^[0-9a-f]{16}$'))").message("spec.takeOver lists IDs of installations: 16 hex digits each, as status.installation of the other LeverConnection has it"))]
    pub take_over: Vec<String>,
}

/// The Lever account.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeverSpec {
    /// Base URL of Lever's API. The sandbox is https://api.sandbox.lever.co/v1. Must be https and of an origin that the
    /// operator allows.
    #[serde(default = "lever_url")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new(super::schema::WEB_ADDRESS).message("spec.lever.url is an absolute URL with a host, such as https://api.lever.co/v1; leave it out for the default"))]
    pub url: String,
    /// The Secret key that holds a Lever API key with all read and write permissions.
    pub api_key_secret_ref: SecretKeyRef,
    /// Id of the Lever user that links, notes and tags are written as. Empty: as the API key itself.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]*$')").message("spec.lever.performAs is the id of a Lever user (letters, digits, - and _), not a name or an e-mail address; leave it out to write as the API key itself"))]
    pub perform_as: String,
}

/// The CoderPad Interview organization.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InterviewSpec {
    /// Base URL of the Interview API. Must be https and of an origin that the operator allows.
    #[serde(default = "interview_url")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new(super::schema::WEB_ADDRESS).message("spec.interview.url is an absolute URL with a host, such as https://app.coderpad.io/api; leave it out for the default"))]
    pub url: String,
    /// The Secret key that holds the Interview API key of an organization owner.
    pub api_key_secret_ref: SecretKeyRef,
    /// May a pad be made that CoderPad bills beyond the quota?
    #[serde(default)]
    pub overage: Overage,
    /// At most this many pads an hour; 0 is no limit. Guards against a tag or a bulk move that makes hundreds of pads.
    #[serde(default = "max_pads_per_hour")]
    #[schemars(range(min = 0, max = 100000))]
    pub max_pads_per_hour: i32,
}

/// What happens when the plan's pads are used up.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Overage {
    /// Pads wait until there is quota again.
    #[default]
    Deny,
    /// Pads are made, and CoderPad bills them.
    Allow,
}

/// How Lever's webhooks arrive.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookSpec {
    /// Manual: a Super Admin pastes status.webhookURL into Lever and the signature token into the Secret. Managed: the
    /// operator registers the webhook through Lever's API and keeps the token that Lever returns in the Secret.
    #[serde(default)]
    pub mode: WebhookMode,
    /// The Secret key that holds the signature token of Lever's Candidate Stage Change webhook. It may hold several
    /// tokens, one per line: any may match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_token_secret_ref: Option<SecretKeyRef>,
}

/// Who registers the webhook.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum WebhookMode {
    /// A Super Admin, in Lever's settings.
    #[default]
    Manual,
    /// The operator, through Lever's API.
    Managed,
}

/// How often both services are polled.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncSpec {
    /// Time between two polls, such as 5m. 0s: only when asked for by the annotation
    /// padoperator.dev/reconcile-requested-at; what only polling can find is then found only then.
    #[serde(default = "sync_interval", serialize_with = "super::schema::serialize_duration")]
    #[schemars(schema_with = "super::schema::duration")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?$') && self.size() > 0").message("spec.sync.interval is a duration in whole hours, minutes and seconds, such as 90s, 5m or 1h30m; 0s is only when asked for"))]
    pub interval: Duration,
}

impl Default for SyncSpec {
    fn default() -> Self {
        Self { interval: sync_interval() }
    }
}

fn lever_url() -> String {
    "https://api.lever.co/v1".into()
}

fn interview_url() -> String {
    "https://app.coderpad.io/api".into()
}

fn max_pads_per_hour() -> i32 {
    100
}

fn sync_interval() -> Duration {
    std::time::Duration::from_secs(300).into()
}

/// What the operator has found out about a connection.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeverConnectionStatus {
    /// The metadata.generation that this status was decided for; -1 before the first look.
    #[serde(default = "super::names::unobserved")]
    pub observed_generation: i64,
    /// The value of the annotation padoperator.dev/reconcile-requested-at that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
    /// What to paste into Lever's Candidate Stage Change webhook. Only the path, if the operator has no --public-url.
    #[serde(default, rename = "webhookURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub webhook_url: Option<String>,
    /// Name of the CoderPad organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub organization: Option<String>,
    /// ID of the CoderPad organization, if the Interview API returns one. A key of another organization is not used.
    #[serde(default, rename = "organizationID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub organization_id: Option<String>,
    /// The stages of the Lever account: what a PadConfiguration may name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub stages: Vec<Stage>,
    /// The pads of the CoderPad plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// Managed only: id of the webhook in Lever.
    #[serde(default, rename = "webhookID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub webhook_id: Option<String>,
    /// ID of this installation: the private notes of its pads name it. It is kept in the annotation
    /// padoperator.dev/installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub installation: Option<String>,
    /// When a correctly signed webhook last arrived; written at most every 5 minutes.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub last_webhook_at: Option<Timestamp>,
    /// Why a request that looks like Lever's webhook was refused; written at most every 5 minutes, and only while
    /// WebhookVerified is not True or the request was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_refusal: Option<WebhookRefusal>,
    /// When the last complete sync began; written with another change, or hourly.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub last_sync_at: Option<Timestamp>,
    /// Up to when sync has looked for candidates who were deleted or anonymized in Lever; written with lastSyncAt.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub erasures_checked_until: Option<Timestamp>,
    /// Ready, LeverConnected, InterviewConnected, WebhookVerified, QuotaAvailable, Exclusive, Suspended, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A refused webhook.
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookRefusal {
    /// SignatureMismatch: not signed with a token in the Secret. ClockSkew: signed, but ahead of the operator's clock.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub reason: String,
    /// When it was refused, by the operator's clock.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::written_timestamp")]
    pub at: Option<Timestamp>,
    /// ClockSkew only: how far the request was ahead of the operator's clock, in seconds.
    #[serde(default, rename = "aheadSeconds", skip_serializing_if = "Option::is_none")]
    pub ahead: Option<i64>,
}

/// A stage of the hiring pipeline in Lever.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Lever's id of the stage: an opaque text, not always a UUID.
    #[schemars(length(max = 128))]
    pub id: String,
    /// The stage's name, as users see it in Lever.
    #[schemars(length(max = 256))]
    pub name: String,
}

/// The pads of the CoderPad plan.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Whether the plan has no limit.
    pub unlimited: bool,
    /// Pads used in the billing cycle.
    pub used: i64,
    /// Pads left in the billing cycle; absent when unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<i64>,
    /// Pads of a billing cycle; absent when unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

impl LeverConnection {
    /// The stages known so far.
    pub fn stages(&self) -> &[Stage] {
        self.status.as_ref().map(|status| status.stages.as_slice()).unwrap_or_default()
    }

    /// Its installation ID, if the annotation holds a valid one.
    pub fn installation_id(&self) -> Option<&str> {
        let annotations = self.metadata.annotations.as_ref()?;
        annotations.get(INSTALLATION).map(String::as_str).filter(|id| is_id(id))
    }

    /// The installation that it acts for.
    pub fn installation(&self) -> Installation {
        Installation::new(self.installation_id().map(ToOwned::to_owned), self.spec.take_over.iter().cloned())
    }

    /// Names of the Secrets that this connection reads.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        [&self.spec.lever.api_key_secret_ref, &self.spec.interview.api_key_secret_ref]
            .into_iter()
            .chain(self.spec.webhook.signing_token_secret_ref.as_ref())
            .map(|reference| reference.name.as_str())
    }

    /// A reference to this connection.
    pub fn reference(&self) -> NameRef {
        NameRef { name: self.metadata.name.clone().unwrap_or_default() }
    }
}
