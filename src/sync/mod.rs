//! Sync: both services' lists are walked now and then, to find what no webhook told of and what no webhook can tell.
//!
//! It has no clock of its own. The connection's probe does (`spec.sync.interval` with jitter, at the start of a process,
//! on request), and each probe that both services answered is followed by a sync; a configuration whose rule takes
//! effect, or is asked for, has its own walk in between. So an interval costs, besides the probe's 3 calls to each
//! service: one walk over Lever's opportunities for each stage and tag, one over those archived since if a rule has
//! `onArchive: End`, one over those deleted and one over those changed since, and one over the pads that changed at
//! CoderPad: mostly a page each, however many Pads there are.
//!
//! It decides little. It makes Pads for candidates who have none (`backfill`), and asks the Pads of whom there is
//! news for a look ([`crate::controller::pad::hints`]): each reads for itself what is true now. What it remembers may be
//! lost: the next sync finds the same.

mod backfill;
mod coderpad;
mod erasure;
#[cfg(test)]
mod fuzz_tests;
mod installations;
mod lever;
mod open_pads;
mod opportunities;
pub mod queue;

#[cfg(test)]
pub(crate) use backfill::{BackfillAction, BackfillRule, deed};
#[cfg(test)]
pub(crate) use lever::{ListedCandidate, StageScan};
#[cfg(test)]
pub(crate) use opportunities::served_after;

use crate::api::{LeverConnection, Pad, PadConfiguration};
use crate::controller::Context;
use crate::controller::pad::hints::Hint;
use crate::controller::schedule;
use crate::controller::service_clients::{ServiceClientError, ServiceClients};
use crate::telemetry::traces::spans;
use crate::transport::{self, ErrorKind, Priority};
use jiff::{SignedDuration, Timestamp};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use queue::{CompletedSync, SyncOutcome, SyncRequest};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Why a part of a sync came to nothing. The next one does it again.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    /// A service refused or did not answer.
    #[error(transparent)]
    Service(#[from] transport::Error),
    /// The keys of the connection could not be had.
    #[error(transparent)]
    Account(#[from] ServiceClientError),
    /// The API server did not take a Pad.
    #[error("the API server did not take a Pad: {0}")]
    Store(#[from] Box<kube::Error>),
    /// The connection was suspended, changed or deleted meanwhile.
    #[error("the connection has changed")]
    Changed,
    /// A scan was too long for one sync; the next one continues it.
    #[error("a scan of {0} continues with the next sync")]
    Continues(&'static str),
    /// A list is longer than any should be.
    #[error("there are more {0} than one sync reads")]
    TooLong(&'static str),
}

impl SyncError {
    /// Whether other scans of the same sync would fail for the same reason.
    fn concerns_all(&self) -> bool {
        match self {
            SyncError::Changed | SyncError::Account(_) => true,
            SyncError::Service(error) => error.class == ErrorKind::Unauthorized,
            SyncError::Store(_) | SyncError::Continues(_) | SyncError::TooLong(_) => false,
        }
    }

    /// Whether a service refused the key.
    fn is_refusal(&self) -> bool {
        matches!(self, SyncError::Service(error) if matches!(error.class, ErrorKind::Unauthorized | ErrorKind::Forbidden))
    }
}

/// A time so much earlier, as far as there is one: some come from a service, a status or an annotation.
fn before(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// What is remembered of the syncs of one connection.
#[derive(Debug, Default)]
struct Watermarks {
    /// The version of the account that was walked.
    account: String,
    pads: coderpad::PadWatermarks,
    archived: Option<opportunities::ArchivedWatermark>,
    erasures: erasure::ErasureWatermark,
    looks: open_pads::OpenPadChecks,
    /// Whether the last sync was refused something.
    is_refused: bool,
}

/// Syncs the connections of a context's scope whenever that is asked for, until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    if stop.run_until_cancelled(context.scope.ready()).await != Some(true) {
        return;
    }
    let marks = Arc::new(Mutex::new(HashMap::new()));
    let running = TaskTracker::new();
    loop {
        for (key, wish) in context.syncs.begin() {
            let (context, marks, stop) = (context.clone(), marks.clone(), stop.clone());
            running.spawn(async move {
                let syncing = sync(&context, &marks, &key, &wish).instrument(spans::sync(&key.0, &key.1));
                let syncing = context.health.watched(format!("sync of {}/{}", key.0, key.1), syncing);
                let ended = stop.run_until_cancelled(syncing).await.unwrap_or_default();
                if let Some(pause) = context.syncs.end(&key, ended)
                    && stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some()
                {
                    let connection = context.scope.connections.get(&key.0, &key.1);
                    context.syncs.retry(&key, connection.is_some_and(|one| !one.spec.suspend));
                }
            });
        }
        tokio::select! {
            () = context.syncs.asked() => {}
            () = stop.cancelled() => break,
        }
    }
    running.close();
    running.wait().await;
}

/// What is remembered of each connection.
type WatermarkStore = Mutex<HashMap<(String, String), Watermarks>>;

/// One sync of one connection, as far as it goes.
async fn sync(
    context: &Context,
    marks: &WatermarkStore,
    (namespace, name): &(String, String),
    wish: &SyncRequest,
) -> SyncOutcome {
    let key = (namespace.clone(), name.clone());
    let (began, began_at, known) = (Instant::now(), schedule::now(), marks.lock().remove(&key));
    let nothing =
        || SyncOutcome { failed_rules: wish.rules.keys().cloned().collect(), ..SyncOutcome::default() };
    let Some(connection) = context.scope.connections.get(namespace, name) else { return nothing() };
    let session = match SyncContext::begin(context, connection).await {
        Ok(session) => session,
        Err(error) => {
            report(namespace, name, &error);
            return nothing();
        }
    };
    let mut after = known.filter(|marks| marks.account == session.account.version).unwrap_or_default();
    after.account.clone_from(&session.account.version);
    let (of_all, of_rules) = tokio::join!(
        async {
            if !wish.whole {
                return Vec::new();
            }
            let pads = coderpad::walk(&session, &mut after.pads).await;
            after.looks.want(&session);
            vec![
                pads,
                opportunities::walk_archived(&session, &mut after.archived).await,
                erasure::walk(&session, &mut after.erasures).await,
            ]
        },
        opportunities::walk_all(&session, wish),
    );
    let erasures = after.erasures.until();
    let errors: Vec<SyncError> = of_all.into_iter().filter_map(Result::err).chain(of_rules.errors).collect();
    let was_refused = std::mem::replace(&mut after.is_refused, errors.iter().any(SyncError::is_refusal));
    // Each complete probe leads to a sync: what the probe cannot see is not probed for again and again.
    if after.is_refused && !was_refused {
        context.request_probe(namespace, name);
    }
    marks.lock().insert(key, after);
    let complete = errors.is_empty();
    if wish.whole {
        context.metrics.observe_sync(namespace, name, complete, began.elapsed());
    }
    for error in &errors {
        report(namespace, name, error);
    }
    SyncOutcome {
        missed: of_rules.missed,
        complete: (wish.whole && complete).then_some(CompletedSync { at: began_at, erasures }),
        failed_rules: of_rules.failed,
        continues: !complete && errors.iter().all(|error| matches!(error, SyncError::Continues(_))),
    }
}

/// Logs a failure, without what the service said (it may quote a candidate).
fn report(namespace: &str, connection: &str, error: &SyncError) {
    match error {
        SyncError::Service(error) => {
            let (service, operation, status) = (error.service, error.operation, error.status);
            tracing::warn!(namespace, connection, %service, operation, status, class = error.class.label(), "a sync did not get to its end; the next one begins anew");
        }
        SyncError::Account(_) | SyncError::Store(_) | SyncError::TooLong(_) => {
            tracing::warn!(namespace, connection, %error, "a sync did not get to its end; the next one begins anew");
        }
        SyncError::Continues(_) => {
            tracing::info!(namespace, connection, %error, "sync incomplete; will continue");
        }
        SyncError::Changed => {}
    }
}

/// One sync of one connection: whom to ask, and what there is in the cluster.
struct SyncContext<'a> {
    context: &'a Context,
    namespace: String,
    connection: Arc<LeverConnection>,
    account: ServiceClients,
    api: Api<Pad>,
    /// The configurations of the connection.
    configurations: Vec<Arc<PadConfiguration>>,
    /// The Pads of those configurations, but for those that are being deleted.
    pads: Vec<Arc<Pad>>,
}

impl<'a> SyncContext<'a> {
    async fn begin(context: &'a Context, connection: Arc<LeverConnection>) -> Result<Self, SyncError> {
        let namespace = connection.namespace().unwrap_or_default();
        let account = context.accounts.get(&connection).await?;
        let scope = &context.scope;
        let mut configurations = scope.configurations.in_namespace(&namespace);
        configurations.retain(|one| one.spec.connection_ref == connection.reference());
        let of_connection = |pad: &Pad| {
            pad.metadata.deletion_timestamp.is_none()
                && configurations.iter().any(|one| one.name_any() == pad.spec.configuration_ref.name)
        };
        Ok(Self {
            pads: scope.pads.matching(&namespace, of_connection),
            api: Api::namespaced(context.client.clone(), &namespace),
            account: account.with_priority(Priority::Poll),
            context,
            namespace,
            connection,
            configurations,
        })
    }

    /// Whether the services may still be called: a connection that is suspended sends nothing more.
    fn goes_on(&self) -> Result<(), SyncError> {
        let now = self.context.scope.connections.get(&self.namespace, &self.connection.name_any());
        let same = now.is_some_and(|now| {
            now.uid() == self.connection.uid() && now.spec == self.connection.spec && !now.spec.suspend
        });
        if same { Ok(()) } else { Err(SyncError::Changed) }
    }

    /// The Pads of a configuration as they are now, but for those that are being deleted.
    fn present_pads(&self, configuration: &str) -> Vec<Arc<Pad>> {
        self.context.scope.pads.matching(&self.namespace, |pad| {
            pad.metadata.deletion_timestamp.is_none() && pad.spec.configuration_ref.name == configuration
        })
    }

    /// Asks for a look at a Pad.
    fn want(&self, pad: &Pad, what: Hint) {
        self.context.looks.request(&self.namespace, &pad.name_any(), what);
    }
}
