//! Computes the status of a connection from observations. Pure: no client, no clock.

use super::diagnosis::{self, Diagnosis, sentence};
use super::installation_id;
use super::observe::SigningTokenStatus;
use super::probe_schedule::{ProbeResult, ServiceProbe};
use super::surprises;
use super::webhook::WebhookState;
use crate::controller::sync::requests::MissedDelivery;
use api::condition::{Conditions, Readiness, Status, find, types};
use api::connection::{Overage, Quota, Stage, WebhookMode, WebhookRefusal};
use api::reason::{ConditionReason as _, ConnectionReason as Reason};
use api::sanitize;
use api::{Condition, HasConditions, LeverConnection, LeverConnectionStatus, names};
use http_client::{Service, Surprise};
use jiff::Timestamp;
use kube::ResourceExt;
use std::collections::{BTreeSet, HashSet};

/// Number of consecutive transient failures after which a service counts as disconnected.
const FAILURES_THAT_COUNT: u32 = 3;
/// Limits of the schema.
const MOST_STAGES: usize = 500;
const ID_LIMIT: usize = 128;
const STAGE_NAME_LIMIT: usize = 256;
/// The quota is low if less than 1/`LOW_ONE_IN` of the plan is left.
const LOW_ONE_IN: i64 = 10;
const MORE_QUOTA: &str = "The next billing cycle or a larger CoderPad plan adds quota; spec.interview.overage: Allow \
                          permits pads that CoderPad bills beyond the quota.";

/// Inputs from which the status is computed.
#[derive(Clone, Debug)]
pub struct ConnectionObservation<'a> {
    /// The connection as last read.
    pub connection: &'a LeverConnection,
    /// Value of --public-url.
    pub public_url: Option<&'a str>,
    /// Presence of the signing token.
    pub token: &'a SigningTokenStatus,
    /// State of the managed webhook.
    pub webhook: &'a WebhookState,
    /// State of the services.
    pub services: Services<'a>,
    /// A stage entry that sync found and for which no webhook had arrived.
    pub missed: Option<&'a MissedDelivery>,
    /// Other installations that create pads for the same candidates.
    pub others: &'a BTreeSet<String>,
    /// Remembered differences between the answers of the services and their documentation, the most important first.
    pub surprises: &'a [Surprise],
    /// The reconcile request that this pass handles.
    pub handled: Option<&'a str>,
}

/// State of the services of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Services<'a> {
    /// The connection is suspended, so no requests are sent.
    Suspended,
    /// The first probe is about to start.
    Connecting,
    /// The settings do not allow requests.
    Unusable(&'a Diagnosis),
    /// Both services were probed.
    Probed(&'a ProbeResult),
}

/// Reports whether the status of a connection must be written before its first probe, which may take long.
pub fn is_new(connection: &LeverConnection) -> bool {
    find(connection.conditions(), types::READY).is_none_or(|ready| ready.reason == Reason::Suspended)
}

/// Returns the current status.
pub fn status(observation: &ConnectionObservation<'_>, now: Timestamp) -> LeverConnectionStatus {
    let ConnectionObservation {
        connection,
        public_url,
        token,
        webhook: managed,
        services,
        missed,
        others,
        surprises,
        handled,
    } = *observation;
    let before = connection.status.clone().unwrap_or_default();
    let generation = connection.metadata.generation.unwrap_or_default();
    let mut after = LeverConnectionStatus {
        observed_generation: generation,
        last_handled_reconcile_at: handled
            .map(ToOwned::to_owned)
            .or_else(|| before.last_handled_reconcile_at.clone()),
        webhook_url: connection.has_webhook().then(|| webhook_url(public_url, connection)),
        installation: connection
            .installation_id()
            .map(ToOwned::to_owned)
            .or_else(|| before.installation.clone()),
        ..before.clone()
    };
    if let Services::Probed(probed) = services {
        copy_probe_facts(&mut after, probed);
    }
    copy_webhook_id(&mut after, managed);

    let mut conditions = Conditions::new(&before.conditions, generation, now);
    connected(&mut conditions, connection, services, managed);
    webhook(&mut conditions, &after, connection, token, managed, missed);
    quota(&mut conditions, &after, connection, services);
    installation_id::exclusive(&mut conditions, connection, others);
    surprises::as_expected(&mut conditions, services, surprises);
    if connection.spec.suspend {
        conditions.set(
            types::SUSPENDED,
            true,
            Reason::Suspended,
            "spec.suspend is true: the operator sends no requests to either service.",
        );
    }
    after.conditions = conditions.finish();

    after
}

/// Returns the webhook URL for Lever; only the path if --public-url is not set.
pub fn webhook_url(public_url: Option<&str>, connection: &LeverConnection) -> String {
    let path = names::webhook_path(&connection.namespace().unwrap_or_default(), &connection.name_any());
    match public_url.map(|url| url.trim().trim_end_matches('/')).filter(|url| !url.is_empty()) {
        None => path,
        Some(url) if url.contains("://") => format!("{url}{path}"),
        Some(host) => format!("https://{host}{path}"),
    }
}

/// Copies the facts of a probe into the status. Facts that the probe lacks keep their last values.
fn copy_probe_facts(status: &mut LeverConnectionStatus, probed: &ProbeResult) {
    if let Some(stages) = &probed.lever.probe.facts.stages {
        status.stages = stages_of(stages);
    }
    let facts = &probed.interview.probe.facts;
    if let Some(organization) = &facts.organization {
        // A response without an ID keeps the known ID of the same organization.
        let known = status
            .organization_id
            .take()
            .filter(|_| status.organization.as_ref() == Some(&organization.name));
        status.organization_id = organization.id.clone().or(known);
        status.organization = Some(organization.name.clone());
    }
    if let Some(coderpad::PadQuota { unlimited, used, remaining, limit, overages_enabled: _ }) = facts.quota {
        status.quota = Some(Quota { unlimited, used, remaining, limit });
    }
}

/// Copies the ID of the managed webhook into the status. A switch between manual and managed webhooks resets the
/// verification.
fn copy_webhook_id(status: &mut LeverConnectionStatus, webhook: &WebhookState) {
    let id = match webhook {
        WebhookState::Registered { id } => Some(id.clone()),
        WebhookState::Manual => None,
        WebhookState::Unknown | WebhookState::Failed(_) => return,
    };
    if id.is_some() != status.webhook_id.is_some() {
        status.last_webhook_at = None;
    }
    status.webhook_id = id;
}

/// Returns the stages within the limits of the schema. Stages without a valid ID are omitted.
fn stages_of(stages: &[lever::LeverStage]) -> Vec<Stage> {
    let mut ids = HashSet::new();
    stages
        .iter()
        .filter(|stage| !stage.id.is_empty() && stage.id.chars().count() <= ID_LIMIT && ids.insert(&stage.id))
        .take(MOST_STAGES)
        .map(|stage| Stage { id: stage.id.clone(), name: sanitize::cut(&stage.name, STAGE_NAME_LIMIT) })
        .collect()
}

/// Status of one service.
enum ServiceStatus {
    Up {
        /// Restriction to report although the service is connected.
        but: Option<String>,
    },
    /// Fewer failures than the threshold: the condition stays as it is.
    Unchanged,
    Unknown {
        reason: Reason,
        message: String,
    },
    Down {
        reason: Reason,
        message: String,
    },
}

/// Sets Ready, LeverConnected and InterviewConnected.
fn connected(
    conditions: &mut Conditions,
    connection: &LeverConnection,
    services: Services<'_>,
    webhook: &WebhookState,
) {
    let before = connection.conditions();
    const BOTH: [(&str, &str); 2] =
        [(types::LEVER_CONNECTED, "Lever"), (types::INTERVIEW_CONNECTED, "CoderPad Interview")];
    let standings = match services {
        Services::Suspended => {
            let last = find(before, types::READY)
                .filter(|ready| ready.reason != Reason::Connecting && ready.reason != Reason::Suspended);
            if last.is_none() {
                let message = "The connection is suspended and was never probed. Set spec.suspend to false to probe it.";
                conditions.not_ready(Reason::Suspended, message);
            } else {
                conditions.keep(types::READY).keep(types::RECONCILING).keep(types::STALLED);
            }
            conditions.keep(types::LEVER_CONNECTED).keep(types::INTERVIEW_CONNECTED);
            return;
        }
        Services::Connecting => BOTH.map(|(_, service)| ServiceStatus::Unknown {
            reason: Reason::Connecting,
            message: format!("The first probe of {service} is in progress. No action needed."),
        }),
        Services::Unusable(diagnosis) => {
            let concerned = if diagnosis.service == Service::Lever { 0 } else { 1 };
            [0, 1].map(|service| {
                if service == concerned {
                    down(diagnosis, diagnosis.message.clone())
                } else {
                    let message =
                        format!("{} is not checked until both services are usable.", BOTH[service].1);
                    ServiceStatus::Unknown { reason: Reason::NotAsked, message }
                }
            })
        }
        Services::Probed(ProbeResult { lever, interview, .. }) => [
            match standing(find(before, types::LEVER_CONNECTED), lever) {
                ServiceStatus::Up { .. } => {
                    ServiceStatus::Up { but: lever.probe.facts.refused.map(refused_write) }
                }
                other => other,
            },
            standing(find(before, types::INTERVIEW_CONNECTED), interview),
        ],
    };
    let obstacle = installation_id::obstacle(connection);
    ready(conditions, &standings, services, webhook, obstacle.as_ref());
    for ((type_, service), standing) in BOTH.into_iter().zip(standings) {
        match standing {
            ServiceStatus::Up { but } => {
                let message =
                    but.unwrap_or_else(|| format!("{service} is reachable and the API key is sufficient."));
                conditions.set(type_, true, Reason::Connected, message)
            }
            ServiceStatus::Unchanged => conditions.keep(type_),
            ServiceStatus::Unknown { reason, message } => {
                conditions.set(type_, Status::Unknown, reason, message)
            }
            ServiceStatus::Down { reason, message } => conditions.set(type_, false, reason, message),
        };
    }
}

/// Returns the message for a rejected write. The connection is Ready, because reads work; the Pads that need the write
/// report it as well.
fn refused_write(operation: &str) -> String {
    format!(
        "Lever is reachable and the API key has read access, but Lever rejected {operation} with 403. {}",
        diagnosis::lever_permission(lever::permission(operation))
    )
}

fn down(diagnosis: &Diagnosis, message: String) -> ServiceStatus {
    ServiceStatus::Down { reason: diagnosis.reason, message }
}

fn standing<Facts>(before: Option<&Condition>, tried: &ServiceProbe<Facts>) -> ServiceStatus {
    let Some(diagnosis) = &tried.probe.diagnosis else { return ServiceStatus::Up { but: None } };
    let failures = tried.failures;
    if !diagnosis.is_transient() {
        return down(diagnosis, diagnosis.message.clone());
    }
    if failures < FAILURES_THAT_COUNT && before.is_some_and(|before| before.status == Status::True) {
        return ServiceStatus::Unchanged;
    }
    // Keep the message from then on, so that an outage of hours does not cause a status write per probe.
    if let Some(before) = before.filter(|_| failures > FAILURES_THAT_COUNT)
        && before.status == Status::False
        && before.reason == diagnosis.reason
    {
        return down(diagnosis, before.message.clone());
    }
    let count = match failures {
        0 | 1 => "1 attempt failed".into(),
        n if n < FAILURES_THAT_COUNT => format!("{n} attempts in a row failed"),
        _ => format!("{FAILURES_THAT_COUNT} or more attempts in a row failed"),
    };
    down(diagnosis, format!("{} The operator retries automatically; {count}.", sentence(&diagnosis.message)))
}

/// Sets Ready. If there are several problems, those that require user action come first.
fn ready(
    conditions: &mut Conditions,
    standings: &[ServiceStatus; 2],
    services: Services<'_>,
    webhook: &WebhookState,
    obstacle: Option<&(Reason, String)>,
) {
    if matches!(services, Services::Connecting) {
        let message = "The first probe of Lever and CoderPad Interview is in progress. No action needed.";
        conditions.not_ready(Reason::Connecting, message);
        return;
    }
    let mut failing: Vec<_> = standings
        .iter()
        .filter_map(|standing| match standing {
            ServiceStatus::Down { reason, message } => Some((*reason, message.as_str())),
            ServiceStatus::Up { .. } | ServiceStatus::Unchanged | ServiceStatus::Unknown { .. } => None,
        })
        .collect();
    if let WebhookState::Failed(Diagnosis { reason: Reason::SecretNotOwned, message, .. }) = webhook {
        failing.push((Reason::SecretNotOwned, message));
    }
    failing.extend(obstacle.map(|(reason, message)| (*reason, message.as_str())));
    failing.sort_by_key(|(reason, _)| !reason.needs_user_action());
    let messages: Vec<&str> = failing.iter().map(|(_, message)| *message).collect();
    match failing.first() {
        None => conditions.ready(
            Readiness::Ready,
            Reason::Connected,
            "Lever and CoderPad Interview are reachable and both API keys are sufficient.",
        ),
        Some((reason, _)) => conditions.not_ready(*reason, messages.join(" ")),
    };
}

/// Returns the message for a missed delivery, unless a delivery has arrived since. The finding is from the last sync
/// or, after a restart, from the existing condition.
fn missed_delivery(status: &LeverConnectionStatus, missed: Option<&MissedDelivery>) -> Option<String> {
    let is_open = |since: Timestamp| status.last_webhook_at.is_none_or(|last| last < since);
    if let Some(MissedDelivery { stage, entry, .. }) = missed.filter(|missed| is_open(missed.found)) {
        let url = status.webhook_url.as_deref().unwrap_or_default();
        return Some(format!(
            "A candidate entered the stage '{}' at {entry}, but no webhook arrived; sync found the candidate. In \
             Lever's settings, under Integrations and API, Webhooks, check that Candidate Stage Change is enabled \
             and that its URL is {url}; the list of deliveries there shows errors. The next signed request resolves \
             this: press Verify to send one.",
            sanitize::one_line(stage, STAGE_NAME_LIMIT)
        ));
    }
    let before = find(&status.conditions, types::WEBHOOK_VERIFIED)?;
    (before.reason == Reason::DeliveryMissed && is_open(before.last_transition_time))
        .then(|| before.message.clone())
}

/// Returns the reason and message for a rejected request, unless a signed one was accepted since.
fn refused(status: &LeverConnectionStatus, connection: &LeverConnection) -> Option<(Reason, String)> {
    let refusal = status.webhook_refusal.as_ref()?;
    let at = refusal.at?;
    if status.last_webhook_at.is_some_and(|last| last >= at) {
        return None;
    }
    let url = status.webhook_url.as_deref().unwrap_or_default();
    if refusal.reason == Reason::ClockSkew {
        let ahead = refusal.ahead.unwrap_or_default();
        let message = format!(
            "The operator rejects Lever's correctly signed requests, because their time is {ahead} s ahead of its \
             clock; at most 300 s are allowed. Sync still finds the candidates. Correct the clock of the operator's \
             node (kubectl get pods --all-namespaces -l app.kubernetes.io/name=pad-operator -o wide), then press \
             Verify in Lever."
        );
        return Some((Reason::ClockSkew, message));
    }
    let managed = connection.spec.webhook.mode == WebhookMode::Managed;
    let secret = connection.spec.webhook.signing_token_secret_ref.as_ref()?;
    let what = format!(
        "Requests in Lever's format arrive at {url}, but none is signed with a token in Secret {}, key {}. The \
         operator rejects them with 401.",
        secret.name, secret.key
    );
    let next = if managed {
        "Another webhook in Lever probably has the same URL. In Lever's settings, under Integrations and API, \
         Webhooks, remove all other webhooks with this URL."
            .to_owned()
    } else {
        format!(
            "In Lever's settings, under Integrations and API, Webhooks, Candidate Stage Change, copy the signature \
             token and put it into the Secret: kubectl patch secret {} -n {} --type merge -p \
             '{{\"stringData\":{{\"{}\":\"TOKEN\"}}}}'. Then press Verify in Lever.",
            secret.name,
            connection.namespace().unwrap_or_default(),
            secret.key
        )
    };
    Some((Reason::SignatureMismatch, format!("{what} {next}")))
}

/// Returns the conditions of a connection after a rejected request, equal to those that the leader computes. None if
/// another reason takes precedence or nothing changes.
pub fn refusing(
    connection: &LeverConnection,
    refusal: &WebhookRefusal,
    now: Timestamp,
) -> Option<Vec<Condition>> {
    let mut status = connection.status.clone()?;
    let verified = find(&status.conditions, types::WEBHOOK_VERIFIED)?;
    let waits = [
        Reason::AwaitingVerification,
        Reason::DeliveryMissed,
        Reason::SignatureMismatch,
        Reason::ClockSkew,
        Reason::SignatureVerified,
    ];
    if !waits.iter().any(|reason| verified.reason == *reason) || verified.reason == refusal.reason {
        return None;
    }
    status.webhook_refusal = Some(refusal.clone());
    let (reason, message) = refused(&status, connection)?;
    let mut conditions = Conditions::new(&status.conditions, status.observed_generation, now);
    for condition in &status.conditions {
        match condition.type_.as_str() {
            types::WEBHOOK_VERIFIED => conditions.set(types::WEBHOOK_VERIFIED, false, reason, &message),
            other => conditions.keep(other),
        };
    }
    Some(conditions.finish())
}

/// Sets WebhookVerified. A missing token takes precedence over earlier verified requests.
fn webhook(
    conditions: &mut Conditions,
    status: &LeverConnectionStatus,
    connection: &LeverConnection,
    token: &SigningTokenStatus,
    managed: &WebhookState,
    missed: Option<&MissedDelivery>,
) {
    if !connection.has_webhook() {
        return;
    }
    let is_managed = connection.spec.webhook.mode == WebhookMode::Managed;
    match managed {
        WebhookState::Failed(diagnosis) if is_managed => {
            conditions.set(types::WEBHOOK_VERIFIED, false, diagnosis.reason, &diagnosis.message);
            return;
        }
        // Keep the last state until Lever responds and its webhooks can be listed.
        WebhookState::Unknown if is_managed && status.webhook_id.is_some() => {
            conditions.keep(types::WEBHOOK_VERIFIED);
            return;
        }
        WebhookState::Unknown | WebhookState::Manual if is_managed => {
            let message = "The operator registers the webhook as soon as Lever responds. No action needed.";
            conditions.set(types::WEBHOOK_VERIFIED, false, Reason::WebhookNotRegistered, message);
            return;
        }
        _ => {}
    }
    if let SigningTokenStatus::Missing { message, .. } = token {
        conditions.set(types::WEBHOOK_VERIFIED, false, Reason::SigningTokenMissing, message);
        return;
    }
    if let Some((reason, message)) = refused(status, connection) {
        conditions.set(types::WEBHOOK_VERIFIED, false, reason, message);
        return;
    }
    if let Some(message) = missed_delivery(status, missed) {
        conditions.set(types::WEBHOOK_VERIFIED, false, Reason::DeliveryMissed, message);
        return;
    }
    if status.last_webhook_at.is_some() {
        let message = "Correctly signed requests from Lever have arrived.";
        conditions.set(types::WEBHOOK_VERIFIED, true, Reason::SignatureVerified, message);
        return;
    }
    if is_managed {
        let message = "The webhook is registered in Lever, but no signed request has arrived yet. In Lever's \
                       settings, under Integrations and API, Webhooks, a Super Admin must enable Candidate Stage \
                       Change. Then move a candidate with the tag into the stage.";
        conditions.set(types::WEBHOOK_VERIFIED, false, Reason::AwaitingVerification, message);
        return;
    }
    let secret = connection.spec.webhook.signing_token_secret_ref.as_ref();
    let secret =
        secret.map(|secret| format!("Secret {}, key {}", secret.name, secret.key)).unwrap_or_default();
    let url = status.webhook_url.as_deref().unwrap_or_default();
    let address = if url.starts_with('/') {
        format!(
            "the public URL of the operator's webhook service followed by {url} (--public-url is not set)"
        )
    } else {
        url.to_owned()
    };
    let message = format!(
        "No signed request has arrived yet. In Lever's settings, under Integrations and API, Webhooks, Candidate Stage \
         Change, enter {address}; put the signature token shown there into {secret}; then press Verify."
    );
    conditions.set(types::WEBHOOK_VERIFIED, false, Reason::AwaitingVerification, message);
}

/// Sets QuotaAvailable.
fn quota(
    conditions: &mut Conditions,
    status: &LeverConnectionStatus,
    connection: &LeverConnection,
    services: Services<'_>,
) {
    const TYPE: &str = types::QUOTA_AVAILABLE;
    if matches!(services, Services::Suspended) {
        conditions.keep(TYPE);
        return;
    }
    let Some(quota) = &status.quota else {
        let message = "The quota has not been read from CoderPad yet.";
        conditions.set(TYPE, Status::Unknown, Reason::NotKnownYet, message);
        return;
    };
    match quota.remaining {
        _ if quota.unlimited => {
            conditions.set(TYPE, true, Reason::Unlimited, "The number of pads in the plan is unlimited.")
        }
        None => conditions.set(TYPE, true, Reason::QuotaAvailable, "CoderPad reports no limit."),
        Some(remaining) if remaining > 0 => {
            let limit = quota.limit.unwrap_or_default();
            let left = match quota.limit {
                Some(limit) => format!("{remaining} of {limit} pads are left in this billing cycle."),
                None => format!("{remaining} pads are left in this billing cycle."),
            };
            if remaining.saturating_mul(LOW_ONE_IN) < limit {
                let afterwards = match connection.spec.interview.overage {
                    Overage::Deny => "After that, new Pads stay pending until quota is available",
                    Overage::Allow => {
                        "After that, CoderPad bills each further pad if the plan includes overages (spec.interview.overage: Allow)"
                    }
                };
                let message = format!("{left} {afterwards}. {MORE_QUOTA}");
                conditions.set(TYPE, true, Reason::QuotaLow, message)
            } else {
                conditions.set(TYPE, true, Reason::QuotaAvailable, left)
            }
        }
        Some(_) => {
            let consequence = match connection.spec.interview.overage {
                Overage::Deny => {
                    "The operator creates no pads that CoderPad would bill (spec.interview.overage: Deny). New Pads \
                     stay pending; their pads are created automatically, oldest first, as soon as quota is available."
                }
                Overage::Allow => {
                    "The operator creates further pads, and CoderPad bills them (spec.interview.overage: Allow). If \
                     the plan includes no overages, CoderPad rejects them, and new Pads stay pending until quota is \
                     available."
                }
            };
            let message = format!("The quota of this billing cycle is used up. {consequence} {MORE_QUOTA}");
            conditions.set(TYPE, false, Reason::QuotaExceeded, message)
        }
    };
}

#[cfg(test)]
mod messages;
#[cfg(test)]
mod tests;
