//! Who reconciles: the holder of the Lease `pad-operator`. Losing it ends the process.
//!
//! The lease crate takes over and renews; it does not say when a renewal has been failing for too long. So the Lease is
//! also read back here: who cannot see itself as the holder for as long as a Lease lasts, no longer leads. Nothing that
//! must happen once rests on this: the conflict-failing writes to Pads do.

use crate::telemetry::health::{Health, Pulse};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Name of the Lease (contract, Program).
pub const LEASE: &str = "pad-operator";
/// How long a Lease is valid after its last renewal. Another replica takes over after this long without a renewal.
const DURATION: Duration = Duration::from_secs(15);
/// How long before the end it is renewed.
const GRACE: Duration = Duration::from_secs(8);
/// How often it is read: by the holder, to see that it still is, and by the others, to see whether it is free.
const LOOK: Duration = Duration::from_secs(2);
/// How long giving it back may take.
const GIVE_BACK: Duration = Duration::from_secs(5);
/// How long taking a free Lease may take.
const TAKE: Duration = Duration::from_secs(5);
/// Who looks after the Lease does something this often, also while the API server does not answer.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a Lease that names us may go without being renewed: what renews it is dead, though nobody has taken over.
const NOT_RENEWED: SignedDuration = SignedDuration::from_secs(2 * DURATION.as_secs() as i64);

/// The Lease, held.
pub struct Leadership {
    channel: watch::Receiver<bool>,
    task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
    api: Api<Lease>,
    identity: String,
    pulse: Pulse,
}

impl Leadership {
    /// Waits until this process holds the Lease; None, if it is told to stop before.
    pub async fn acquire(
        client: &Client,
        namespace: &str,
        identity: &str,
        health: &Health,
        stop: &CancellationToken,
    ) -> Option<Leadership> {
        let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
        let pulse = health.pulse("lease", SILENCE);
        loop {
            stop.run_until_cancelled(until_free(&api, &pulse)).await?;
            let built = LeaseManagerBuilder::new(client.clone(), LEASE)
                .with_namespace(namespace)
                .with_identity(identity)
                .with_duration(DURATION.as_secs())
                .with_grace(GRACE.as_secs())
                .build();
            pulse.beat();
            let manager = match stop.run_until_cancelled(tokio::time::timeout(TAKE, built)).await? {
                Ok(Ok(manager)) => manager,
                // Whoever waits for a free Lease tells of an API server that does not answer.
                Err(_) => continue,
                Ok(Err(error)) => {
                    tracing::warn!(%namespace, %error, "the Lease {LEASE} cannot be had: check the operator's Role for leases in this namespace");
                    stop.run_until_cancelled(tokio::time::sleep(LOOK)).await?;
                    continue;
                }
            };
            let (channel, task) = manager.watch().await;
            let mut leadership = Leadership {
                channel,
                task,
                api: api.clone(),
                identity: identity.to_owned(),
                pulse: pulse.clone(),
            };
            let held = async { leadership.channel.wait_for(|leads| *leads).await.is_ok() };
            let held = stop.run_until_cancelled(tokio::time::timeout(TAKE, held)).await;
            if matches!(held, Some(Ok(true))) {
                return Some(leadership);
            }
            // Another replica was faster, or the process is to stop.
            leadership.give_back().await;
            held?.ok();
        }
    }

    /// Returns when the Lease is lost. Says why.
    pub async fn lost(&mut self) -> String {
        let Self { channel, api, identity, pulse, .. } = self;
        tokio::select! {
            changed = channel.wait_for(|leads| !*leads) => match changed {
                Ok(_) => "another replica holds it".into(),
                Err(_) => "the task that renews it has ended".into(),
            },
            reason = not_the_holder_any_more(api, identity, pulse) => reason,
        }
    }

    /// Gives the Lease back, so that another replica can take over at once.
    pub async fn give_back(self) {
        drop(self.channel);
        match tokio::time::timeout(GIVE_BACK, self.task).await {
            Ok(Ok(Ok(_))) => {}
            _ => tracing::warn!(
                "the Lease could not be given back; another replica takes over when it has run out"
            ),
        }
    }
}

/// Waits until nobody holds the Lease. The lease crate would sleep until the end of the term that it has read, and so
/// not see that the Lease was given back.
async fn until_free(api: &Api<Lease>, pulse: &Pulse) {
    loop {
        pulse.beat();
        match tokio::time::timeout(TAKE, api.get_opt(LEASE)).await {
            Ok(Ok(lease)) if lease.as_ref().is_none_or(|lease| is_free(lease, Timestamp::now())) => return,
            Ok(Ok(_)) => {}
            Err(_) => tracing::warn!("the Lease {LEASE} cannot be read: the API server does not answer"),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the Lease {LEASE} cannot be read: check the operator's Role for leases")
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether nobody holds the Lease, or its term has run out.
fn is_free(lease: &Lease, now: Timestamp) -> bool {
    let Some(spec) = lease.spec.as_ref().filter(|spec| spec.holder_identity.is_some()) else { return true };
    let (Some(renewed), Some(seconds)) = (&spec.renew_time, spec.lease_duration_seconds) else { return true };
    now.duration_since(renewed.0) > SignedDuration::from_secs(i64::from(seconds))
}

async fn not_the_holder_any_more(api: &Api<Lease>, identity: &str, pulse: &Pulse) -> String {
    let mut confirmed = Instant::now();
    loop {
        pulse.beat();
        tokio::time::sleep(LOOK).await;
        match tokio::time::timeout(LOOK, api.get(LEASE)).await {
            Ok(Ok(lease)) => match loss(&lease, identity, Timestamp::now()) {
                Some(loss) => return loss.into(),
                None => confirmed = Instant::now(),
            },
            Ok(Err(_)) | Err(_) if confirmed.elapsed() + LOOK < DURATION => {}
            Ok(Err(error)) => return format!("the API server does not confirm it: {error}"),
            Err(_) => return "the API server does not answer".into(),
        }
    }
}

/// Why who is named no longer leads, if a Lease as it was read says so.
fn loss(lease: &Lease, identity: &str, now: Timestamp) -> Option<&'static str> {
    let spec = lease.spec.as_ref().filter(|spec| spec.holder_identity.as_deref() == Some(identity));
    let Some(spec) = spec else { return Some("another replica holds it") };
    let age = spec.renew_time.as_ref().map(|renewed| now.duration_since(renewed.0));
    age.is_none_or(|age| age > NOT_RENEWED).then_some("it is not renewed any more")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_lease_is_free_when_given_back_or_run_out() {
        let now: Timestamp = "2026-01-01T00:00:20Z".parse().unwrap();
        let is_free =
            |spec: Value| super::is_free(&serde_json::from_value(json!({"spec": spec})).unwrap(), now);
        let held =
            |renewed: &str| json!({"holderIdentity": "a", "renewTime": renewed, "leaseDurationSeconds": 15});
        assert!(is_free(json!({})));
        assert!(is_free(json!({"leaseTransitions": 3})));
        assert!(is_free(held("2026-01-01T00:00:04.000000Z")));
        assert!(!is_free(held("2026-01-01T00:00:06.000000Z")));
    }

    #[test]
    fn a_lease_is_lost_to_another_or_when_nobody_renews_it() {
        let lease = |holder: &str, renewed: &str| {
            let spec = json!({"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15});
            serde_json::from_value::<Lease>(json!({"spec": spec})).unwrap()
        };
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(loss(&lease("a", "2026-01-01T00:00:58.000000Z"), "a", now), None);
        assert_eq!(loss(&lease("a", "2026-01-01T00:00:31.000000Z"), "a", now), None, "it may catch up");
        let dead = lease("a", "2026-01-01T00:00:29.000000Z");
        assert_eq!(loss(&dead, "a", now), Some("it is not renewed any more"));
        let other = lease("b", "2026-01-01T00:00:58.000000Z");
        assert_eq!(loss(&other, "a", now), Some("another replica holds it"));
        assert!(loss(&Lease::default(), "a", now).is_some());
    }
}
