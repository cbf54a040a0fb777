//! Who reconciles: the holder of the Lease `pad-operator`. Losing it ends the process.
//!
//! The lease crate takes over and renews; it does not say when a renewal has been failing for too long. So the Lease is
//! also read back here: who cannot see itself as the holder for as long as a Lease lasts, no longer leads. Nothing that
//! must happen once rests on this: the conflict-failing writes to Pads do.

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
/// How often the holder reads it back.
const LOOK: Duration = Duration::from_secs(3);
/// How long giving it back may take.
const GIVE_BACK: Duration = Duration::from_secs(5);
/// Pause before the Lease is asked for again, after the API server refused.
const AGAIN: Duration = Duration::from_secs(2);

/// The Lease, held.
pub struct Leadership {
    channel: watch::Receiver<bool>,
    task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
    api: Api<Lease>,
    identity: String,
}

impl Leadership {
    /// Waits until this process holds the Lease; None, if it is told to stop before.
    pub async fn acquire(
        client: &Client,
        namespace: &str,
        identity: &str,
        stop: &CancellationToken,
    ) -> Option<Leadership> {
        let manager = loop {
            let built = LeaseManagerBuilder::new(client.clone(), LEASE)
                .with_namespace(namespace)
                .with_identity(identity)
                .with_duration(DURATION.as_secs())
                .with_grace(GRACE.as_secs())
                .build();
            match stop.run_until_cancelled(built).await? {
                Ok(manager) => break manager,
                Err(error) => {
                    tracing::warn!(%namespace, %error, "the Lease {LEASE} cannot be had: check the operator's Role for leases in this namespace");
                    stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await?;
                }
            }
        };
        let (channel, task) = manager.watch().await;
        let mut leadership = Leadership {
            channel,
            task,
            api: Api::namespaced(client.clone(), namespace),
            identity: identity.to_owned(),
        };
        let held = async { leadership.channel.wait_for(|leads| *leads).await.is_ok() };
        if stop.run_until_cancelled(held).await == Some(true) {
            return Some(leadership);
        }
        leadership.give_back().await;
        None
    }

    /// Returns when the Lease is lost. Says why.
    pub async fn lost(&mut self) -> String {
        let Self { channel, api, identity, .. } = self;
        tokio::select! {
            changed = channel.wait_for(|leads| !*leads) => match changed {
                Ok(_) => "another replica holds it".into(),
                Err(_) => "the task that renews it has ended".into(),
            },
            reason = not_the_holder_any_more(api, identity) => reason,
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

async fn not_the_holder_any_more(api: &Api<Lease>, identity: &str) -> String {
    let mut confirmed = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        match tokio::time::timeout(LOOK, api.get(LEASE)).await {
            Ok(Ok(lease)) => {
                let holder = lease.spec.and_then(|spec| spec.holder_identity);
                if holder.as_deref() != Some(identity) {
                    return "another replica holds it".into();
                }
                confirmed = Instant::now();
            }
            Ok(Err(_)) | Err(_) if confirmed.elapsed() + LOOK < DURATION => {}
            Ok(Err(error)) => return format!("the API server does not confirm it: {error}"),
            Err(_) => return "the API server does not answer".into(),
        }
    }
}
