//! LeverConnection: connects one Lever account to one CoderPad Interview organization.

use super::installation::{INSTALLATION, Installation, is_id};
use super::{Condition, NameRef, SecretKeyRef};
use jiff::Timestamp;
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Connection of two accounts: their URLs, the Secrets with their API keys, the webhook, and the polling interval.
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
    doc = "A LeverConnection connects one Lever account to one CoderPad Interview organization.",
    validation = Rule::new("self.metadata.name.size() <= 50").message("metadata.name must not exceed 50 characters, because it is part of labels and of the webhook URL"),
    printcolumn(name = "Organization", type_ = "string", json_path = ".status.organization", description = "Name of the CoderPad organization"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether both services are connected"),
    printcolumn(name = "Webhook", type_ = "string", json_path = ".status.conditions[?(@.type=='WebhookVerified')].status", description = "Whether a correctly signed webhook has arrived"),
    printcolumn(name = "Quota", type_ = "integer", json_path = ".status.quota.remaining", description = "Number of pads left in the billing cycle"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "Reason of the Ready condition"),
    printcolumn(name = "URL", type_ = "string", priority = 1, json_path = ".status.webhookURL", description = "Webhook URL to paste into Lever")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.lever.apiKeySecretRef.name != self.interview.apiKeySecretRef.name || self.lever.apiKeySecretRef.key != self.interview.apiKeySecretRef.key").message("spec.lever.apiKeySecretRef and spec.interview.apiKeySecretRef refer to the same Secret key, but Lever and CoderPad have different API keys. Store each under its own key").field_path(".interview.apiKeySecretRef"),
    validation = Rule::new("!has(self.webhook.signingTokenSecretRef) || !([self.webhook.signingTokenSecretRef.name, self.webhook.signingTokenSecretRef.key] in [[self.lever.apiKeySecretRef.name, self.lever.apiKeySecretRef.key], [self.interview.apiKeySecretRef.name, self.interview.apiKeySecretRef.key]])").message("spec.webhook.signingTokenSecretRef refers to the Secret key of an API key, but the signature token of Lever's webhook is a different secret. Store it under its own key").field_path(".webhook.signingTokenSecretRef"),
    validation = Rule::new("self.webhook.mode != 'Managed' || has(self.webhook.signingTokenSecretRef)").message("webhook.mode: Managed requires spec.webhook.signingTokenSecretRef: the Secret and key in which the operator stores the signature token. The operator creates this Secret").field_path(".webhook.signingTokenSecretRef")
)]
pub struct LeverConnectionSpec {
    /// Set to true to stop all requests to both services. Webhooks are still accepted, and their changes are applied on
    /// resume.
    #[serde(default)]
    pub suspend: bool,
    /// The Lever account.
    pub lever: LeverSpec,
    /// The CoderPad Interview organization.
    pub interview: InterviewSpec,
    /// Webhook for candidate stage changes in Lever.
    #[serde(default)]
    pub webhook: WebhookSpec,
    /// Periodic polling of both services.
    #[serde(default)]
    pub sync: SyncSpec,
    /// IDs of other installations whose pads this connection treats as its own, for example of a cluster that this one
    /// replaces. The other LeverConnection shows its ID in status.installation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 16)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(id, id.matches('^[0-9a-f]{16}$'))").message("spec.takeOver must list installation IDs of 16 hex digits each. Copy them from status.installation of the other LeverConnection"))]
    pub take_over: Vec<String>,
}

/// The Lever account.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeverSpec {
    /// Base URL of Lever's API. The sandbox is https://api.sandbox.lever.co/v1. Must use https and an origin that the
    /// operator allows.
    #[serde(default = "lever_url")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new(super::schema::WEB_ADDRESS).message("spec.lever.url must be an absolute URL with a host, such as https://api.lever.co/v1. Omit it for the default"))]
    pub url: String,
    /// Secret key with a Lever API key that has all read and write permissions.
    pub api_key_secret_ref: SecretKeyRef,
    /// ID of the Lever user on whose behalf links, notes and tags are written. Empty: the API key itself.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]*$')").message("spec.lever.performAs must be the ID of a Lever user (letters, digits, - and _), not a name or an e-mail address. Omit it to write as the API key itself"))]
    pub perform_as: String,
}

/// The CoderPad Interview organization.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InterviewSpec {
    /// Base URL of the Interview API. Must use https and an origin that the operator allows.
    #[serde(default = "interview_url")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new(super::schema::WEB_ADDRESS).message("spec.interview.url must be an absolute URL with a host, such as https://app.coderpad.io/api. Omit it for the default"))]
    pub url: String,
    /// Secret key with the Interview API key of an organization owner.
    pub api_key_secret_ref: SecretKeyRef,
    /// Whether to create pads that CoderPad bills beyond the quota: Deny or Allow.
    #[serde(default)]
    pub overage: Overage,
    /// Maximum number of pads created per hour; 0 means unlimited. Guards against a tag or a bulk move that would
    /// create hundreds of pads.
    #[serde(default = "max_pads_per_hour")]
    #[schemars(range(min = 0, max = 100000))]
    pub max_pads_per_hour: i32,
}

/// Behavior when the quota of the CoderPad plan is used up.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Overage {
    /// Pads stay pending until quota is available.
    #[default]
    Deny,
    /// Pads are created, and CoderPad bills them.
    Allow,
}

/// Webhook for candidate stage changes in Lever.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookSpec {
    /// Manual: a Super Admin pastes status.webhookURL into Lever and the signature token into the Secret. Managed: the
    /// operator registers the webhook through Lever's API and stores the token from Lever in the Secret. None: there is
    /// no webhook; sync finds every candidate within spec.sync.interval.
    #[serde(default)]
    pub mode: WebhookMode,
    /// Secret key with the signature token of Lever's Candidate Stage Change webhook. It may contain several tokens,
    /// one per line; a request is accepted if any of them matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_token_secret_ref: Option<SecretKeyRef>,
}

/// Party that registers the webhook.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum WebhookMode {
    /// A Super Admin, in Lever's settings.
    #[default]
    Manual,
    /// The operator, through Lever's API.
    Managed,
    /// Nobody: only sync finds candidates (contract C7a).
    None,
}

/// Periodic polling of both services.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncSpec {
    /// Interval between two polls, such as 5m. With 0s, polling occurs only on request by the annotation
    /// padoperator.dev/reconcile-requested-at, and changes that only polling can detect are not detected before.
    #[serde(default = "sync_interval", serialize_with = "super::schema::serialize_duration")]
    #[schemars(schema_with = "super::schema::duration")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?$') && self.size() > 0").message("spec.sync.interval must be a duration in whole hours, minutes and seconds, such as 90s, 5m or 1h30m; 0s polls only on request"))]
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

/// Observed state of a LeverConnection.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeverConnectionStatus {
    /// The metadata.generation that this status was computed from; -1 before the first reconcile.
    #[serde(default = "super::names::unobserved")]
    pub observed_generation: i64,
    /// Last value of the annotation padoperator.dev/reconcile-requested-at that the operator handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
    /// URL to paste into Lever's Candidate Stage Change webhook. Only the path if the operator runs without
    /// --public-url.
    #[serde(default, rename = "webhookURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub webhook_url: Option<String>,
    /// Name of the CoderPad organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub organization: Option<String>,
    /// ID of the CoderPad organization, if the Interview API returns one. API keys of another organization are not
    /// used.
    #[serde(default, rename = "organizationID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub organization_id: Option<String>,
    /// Stages of the Lever account. A PadConfiguration may refer to any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub stages: Vec<Stage>,
    /// Pad quota of the CoderPad plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// ID of the webhook in Lever. Managed only.
    #[serde(default, rename = "webhookID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub webhook_id: Option<String>,
    /// ID of this installation, which the private notes of its pads contain. Stored in the annotation
    /// padoperator.dev/installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub installation: Option<String>,
    /// Time of the last correctly signed webhook. Written at most every 5 minutes.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub last_webhook_at: Option<Timestamp>,
    /// Last rejected request in the format of Lever's webhook. Written at most every 5 minutes, and only while
    /// WebhookVerified is not True or if the request was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_refusal: Option<WebhookRefusal>,
    /// Start of the last complete sync. Written together with another change, or hourly.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub last_sync_at: Option<Timestamp>,
    /// Time up to which sync has checked for candidates who were deleted or anonymized in Lever. Written with
    /// lastSyncAt.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::optional_timestamp")]
    pub erasures_checked_until: Option<Timestamp>,
    /// Conditions: Ready, LeverConnected, InterviewConnected, WebhookVerified, QuotaAvailable, Exclusive,
    /// ServicesAsExpected, Suspended, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Rejected webhook request.
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookRefusal {
    /// SignatureMismatch: not signed with a token in the Secret. ClockSkew: correctly signed, but its time is ahead of
    /// the operator's clock.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Time of the rejection, by the operator's clock.
    #[serde(
        default,
        deserialize_with = "super::schema::lenient_timestamp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::schema::written_timestamp")]
    pub at: Option<Timestamp>,
    /// Time by which the request was ahead of the operator's clock, in seconds. ClockSkew only.
    #[serde(default, rename = "aheadSeconds", skip_serializing_if = "Option::is_none")]
    pub ahead: Option<i64>,
}

/// Stage of the hiring pipeline in Lever.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// ID of the stage in Lever: an opaque string, not always a UUID.
    #[schemars(length(max = 128))]
    pub id: String,
    /// Name of the stage in Lever.
    #[schemars(length(max = 256))]
    pub name: String,
}

/// Pad quota of the CoderPad plan.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Whether the plan is unlimited.
    pub unlimited: bool,
    /// Number of pads used in the billing cycle.
    pub used: i64,
    /// Number of pads left in the billing cycle; absent if unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<i64>,
    /// Number of pads included in a billing cycle; absent if unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

impl LeverConnection {
    /// Returns the stages observed so far.
    pub fn stages(&self) -> &[Stage] {
        self.status.as_ref().map(|status| status.stages.as_slice()).unwrap_or_default()
    }

    /// Reports whether this connection uses a webhook (contract C7a).
    pub fn has_webhook(&self) -> bool {
        self.spec.webhook.mode != WebhookMode::None
    }

    /// Returns the polling interval. None: only on request.
    pub fn polling_interval(&self) -> Option<std::time::Duration> {
        Some(std::time::Duration::from(self.spec.sync.interval)).filter(|interval| !interval.is_zero())
    }

    /// Returns the installation ID, if the annotation contains a valid one.
    pub fn installation_id(&self) -> Option<&str> {
        let annotations = self.metadata.annotations.as_ref()?;
        annotations.get(INSTALLATION).map(String::as_str).filter(|id| is_id(id))
    }

    /// Returns the installation of this connection.
    pub fn installation(&self) -> Installation {
        Installation::new(self.installation_id().map(ToOwned::to_owned), self.spec.take_over.iter().cloned())
    }

    /// Returns the names of the Secrets that this connection reads.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        [&self.spec.lever.api_key_secret_ref, &self.spec.interview.api_key_secret_ref]
            .into_iter()
            .chain(self.spec.webhook.signing_token_secret_ref.as_ref())
            .map(|reference| reference.name.as_str())
    }

    /// Returns a reference to this connection.
    pub fn reference(&self) -> NameRef {
        NameRef { name: self.metadata.name.clone().unwrap_or_default() }
    }
}
