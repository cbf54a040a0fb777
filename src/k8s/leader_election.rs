//! Leader election: the replica that holds the Lease `pad-operator` reconciles. Losing the Lease ends the process.
//!
//! As in client-go, replicas do not compare clocks. A follower measures on its own monotonic clock how long it has
//! observed no change of the Lease, and acquires the Lease only after `LEASE_DURATION`. The times in the Lease are for
//! people. Each write contains the resourceVersion that was read, so only one of two replicas succeeds. No action that
//! must happen only once depends on the Lease: writes to Pads fail on a conflict, which ensures that.

use super::patch::is_status;
use crate::telemetry::health::{Health, Heartbeat};
use api::FIELD_MANAGER;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// Name of the Lease (contract, Program).
pub const LEASE_NAME: &str = "pad-operator";
/// Time without an observed change after which another replica acquires the Lease.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// Time since the last successful renewal after which the holder stops. Below [`LEASE_DURATION`], so that it has
/// stopped when another replica starts.
const LEASE_RENEW_DEADLINE: Duration = Duration::from_secs(13);
/// Delay between two renewals by the leader, and between two observations by a follower.
const LEASE_POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Timeout of one request.
const LEASE_REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
/// Timeout of the release, including retries after conflicts.
const LEASE_RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time between two heartbeats of the election, including when the API server does not answer.
const LEASE_HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(30);

/// Leadership of this process: the Lease that it holds.
pub struct Leadership {
    api: Api<Lease>,
    identity: String,
    heartbeat: Heartbeat,
    held: Lease,
    renewed: Instant,
}

impl Leadership {
    /// Waits until this process holds the Lease. Returns None if `stop` is cancelled first.
    pub async fn acquire(
        client: &Client,
        namespace: &str,
        identity: &str,
        health: &Health,
        stop: &CancellationToken,
    ) -> Option<Leadership> {
        let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
        let pulse = health.pulse("lease", LEASE_HEARTBEAT_TIMEOUT);
        let mut observed = ObservedLease::default();
        loop {
            pulse.beat();
            let began = Instant::now();
            let attempt = timeout(LEASE_REQUEST_TIMEOUT, try_acquire(&api, identity, &mut observed));
            match stop.run_until_cancelled(attempt).await? {
                Ok(Ok(Some(held))) => {
                    let identity = identity.to_owned();
                    return Some(Leadership { api, identity, heartbeat: pulse, held, renewed: began });
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::warn!(
                    %namespace, %error,
                    "cannot acquire the Lease {LEASE_NAME}; will retry. Check the operator's Role for leases in this namespace"
                ),
                Err(_) => tracing::warn!(
                    %namespace,
                    "cannot acquire the Lease {LEASE_NAME}; will retry. The API server does not answer"
                ),
            }
            stop.run_until_cancelled(sleep(LEASE_POLL_INTERVAL)).await?;
        }
    }

    /// Renews the Lease until it is lost. Returns the reason.
    pub async fn watch_for_loss(&mut self) -> String {
        let mut problem = "no renewal was confirmed".to_owned();
        loop {
            self.heartbeat.beat();
            sleep_until(self.renewed + LEASE_POLL_INTERVAL).await;
            let deadline = self.renewed + LEASE_RENEW_DEADLINE;
            // A process that was suspended must not renew: another replica may have acquired the Lease and ended
            // meanwhile.
            if Instant::now() >= deadline {
                return format!("it was not renewed for {} s: {problem}", LEASE_RENEW_DEADLINE.as_secs());
            }
            let began = Instant::now();
            let renewal = timeout(LEASE_REQUEST_TIMEOUT, renew(&self.api, &self.identity, &self.held));
            match timeout_at(deadline, renewal).await {
                Ok(Ok(Ok(Renewal::Held(held)))) => (self.held, self.renewed) = (*held, began),
                Ok(Ok(Ok(Renewal::Outdated(held)))) => self.held = *held,
                Ok(Ok(Ok(Renewal::Lost))) => return "another replica holds it".into(),
                Ok(Ok(Err(error))) => {
                    problem = error.to_string();
                    sleep(LEASE_POLL_INTERVAL / 2).await;
                }
                Ok(Err(_)) | Err(_) => "the API server does not answer".clone_into(&mut problem),
            }
        }
    }

    /// Releases the Lease, so that another replica can acquire it at once (contract O4).
    pub async fn release(self) {
        let release = async {
            let mut held = self.held;
            loop {
                match write(&self.api, &held, released()).await {
                    Ok(_) => return true,
                    Err(error) if is_status(&error, 409) => match self.api.get_opt(LEASE_NAME).await {
                        Ok(Some(now)) if holder(&now) == Some(self.identity.as_str()) => held = now,
                        Ok(_) => return true,
                        Err(_) => return false,
                    },
                    Err(_) => return false,
                }
            }
        };
        if !timeout(LEASE_RELEASE_TIMEOUT, release).await.unwrap_or(false) {
            tracing::warn!("could not release the Lease; another replica takes over within 20 s");
        }
    }
}

/// Observations of a Lease that another replica holds.
#[derive(Debug, Default)]
struct ObservedLease {
    last: Option<(LeaseVersion, Instant)>,
}

/// UID and resourceVersion of a Lease. They change with each renewal, regardless of the holder's clock.
type LeaseVersion = (Option<String>, Option<String>);

impl ObservedLease {
    /// Records a Lease that was just read. Reports whether the Lease has not changed for [`LEASE_DURATION`].
    fn is_silent(&mut self, lease: &Lease, now: Instant) -> bool {
        let version = (lease.metadata.uid.clone(), lease.metadata.resource_version.clone());
        match &self.last {
            Some((last, since)) if *last == version => now.duration_since(*since) > LEASE_DURATION,
            _ => {
                self.last = Some((version, now));
                false
            }
        }
    }
}

/// Reads the Lease once, and writes it if it has no holder or its holder is silent. Returns the Lease if this process
/// holds it afterwards.
async fn try_acquire(
    api: &Api<Lease>,
    identity: &str,
    observed: &mut ObservedLease,
) -> kube::Result<Option<Lease>> {
    let Some(lease) = api.get_opt(LEASE_NAME).await? else { return create(api, identity).await };
    let is_ours = holder(&lease) == Some(identity);
    if holder(&lease).is_some() && !is_ours && !observed.is_silent(&lease, Instant::now()) {
        return Ok(None);
    }
    none_if_conflict(write(api, &lease, acquired(Some(&lease), identity, Timestamp::now())).await)
}

/// Creates the Lease with this process as its holder.
async fn create(api: &Api<Lease>, identity: &str) -> kube::Result<Option<Lease>> {
    let metadata = ObjectMeta { name: Some(LEASE_NAME.into()), ..ObjectMeta::default() };
    let spec = acquired(None, identity, Timestamp::now());
    let lease = Lease { metadata, spec: serde_json::from_value(spec).ok() };
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    none_if_conflict(api.create(&parameters, &lease).await)
}

/// Patches fields of the spec; fails with a conflict if the Lease has changed since it was read. Does not use an
/// update, because the Role of version 0.1.0 does not permit it.
async fn write(api: &Api<Lease>, read: &Lease, spec: Value) -> kube::Result<Lease> {
    let metadata = json!({"resourceVersion": read.metadata.resource_version});
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"metadata": metadata, "spec": spec}));
    api.patch(LEASE_NAME, &parameters, &patch).await
}

/// Turns a conflict into None: another replica wrote first.
fn none_if_conflict(written: kube::Result<Lease>) -> kube::Result<Option<Lease>> {
    match written {
        Ok(lease) => Ok(Some(lease)),
        Err(error) if is_status(&error, 409) || is_status(&error, 404) => Ok(None),
        Err(error) => Err(error),
    }
}

enum Renewal {
    Held(Box<Lease>),
    /// This process holds the Lease, but it has changed since it was read: an answer was lost, or a person edited it.
    Outdated(Box<Lease>),
    Lost,
}

async fn renew(api: &Api<Lease>, identity: &str, held: &Lease) -> kube::Result<Renewal> {
    match write(api, held, json!({"renewTime": MicroTime(Timestamp::now())})).await {
        Ok(lease) => Ok(Renewal::Held(Box::new(lease))),
        Err(error) if is_status(&error, 409) || is_status(&error, 404) => {
            match api.get_opt(LEASE_NAME).await? {
                Some(now) if holder(&now) == Some(identity) => Ok(Renewal::Outdated(Box::new(now))),
                Some(_) => Ok(Renewal::Lost),
                None => {
                    let created = create(api, identity).await?;
                    Ok(created.map_or(Renewal::Lost, |lease| Renewal::Held(Box::new(lease))))
                }
            }
        }
        Err(error) => Err(error),
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// Returns the spec that a new holder writes.
fn acquired(before: Option<&Lease>, identity: &str, now: Timestamp) -> Value {
    let spec = before.and_then(|lease| lease.spec.as_ref());
    let transitions = spec.map_or(0, |spec| spec.lease_transitions.unwrap_or_default().saturating_add(1));
    json!({
        "holderIdentity": identity,
        "leaseDurationSeconds": LEASE_DURATION.as_secs(),
        "acquireTime": MicroTime(now),
        "renewTime": MicroTime(now),
        "leaseTransitions": transitions,
    })
}

/// Returns a spec without a holder.
fn released() -> Value {
    json!({"holderIdentity": null, "acquireTime": null, "renewTime": null, "leaseDurationSeconds": 1})
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::coordination::v1::LeaseSpec;

    fn lease(holder: &str, version: u32, renewed: &str) -> Lease {
        serde_json::from_value(json!({
            "metadata": {"name": LEASE_NAME, "uid": "u", "resourceVersion": version.to_string()},
            "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15},
        }))
        .unwrap()
    }

    const TIME_AHEAD: &str = "2100-01-01T00:00:00.000000Z";
    const TIME_BEHIND: &str = "2001-01-01T00:00:00.000000Z";

    #[test]
    fn a_lease_expires_15_seconds_after_its_last_change() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        for written in [TIME_AHEAD, TIME_BEHIND] {
            let mut observed = ObservedLease::default();
            for version in 0..100 {
                assert!(!observed.is_silent(&lease("a", version, written), at(u64::from(version) * 14)));
            }
            let last = at(99 * 14);
            let silent = |seconds, observed: &mut ObservedLease| {
                observed.is_silent(&lease("a", 99, written), last + Duration::from_secs(seconds))
            };
            assert!(!silent(15, &mut observed));
            assert!(silent(16, &mut observed));
            assert!(!observed.is_silent(&lease("a", 100, written), last + Duration::from_secs(17)));
        }
    }

    #[test]
    fn a_takeover_counts_and_a_release_leaves_no_holder() {
        let held = acquired(Some(&lease("a", 1, TIME_BEHIND)), "b", Timestamp::now());
        assert_eq!((&held["holderIdentity"], &held["leaseTransitions"]), (&json!("b"), &json!(1)));
        let spec = serde_json::from_value::<LeaseSpec>(held).unwrap();
        assert_eq!(spec.lease_duration_seconds, Some(15));
        assert!(released()["holderIdentity"].is_null());
        assert_eq!(holder(&lease("", 1, TIME_AHEAD)), None);
        assert_eq!(holder(&Lease::default()), None);
    }
}
