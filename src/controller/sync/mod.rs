//! Sync: scans the lists of both services at intervals, to find changes that no webhook has reported or can report.
//!
//! Sync has no timer of its own. The connection's probe has one (`spec.sync.interval` with jitter, at the start of a
//! process, on request), and a sync follows each probe that both services answered; a configuration whose rule takes
//! effect, or that is requested, has its own scan in between. Besides the probe's 3 calls to each service, an interval
//! costs: one scan of Lever's opportunities for each stage and tag, one of the opportunities archived since the last
//! sync if a rule has `onArchive: End`, one of those deleted and one of those changed since then, and one scan of the
//! pads that changed in CoderPad: mostly one page each, however many Pads exist. Once a day, each stage and tag costs one
//! page more, to compare Lever's filter with the candidates' tags.
//!
//! Sync decides little. It creates Pads for candidates without one ([`engine::scan_action`]), and adds hints for the Pads with
//! changed data ([`crate::controller::pad::memory`]): each reads its current state itself. The watermarks may be lost:
//! the next sync finds the same changes.

mod coderpad_scan;
mod erasure;
mod filter_checks;
#[cfg(test)]
mod fuzz_tests;
mod lever_lists;
mod open_pad_checks;
mod ownership_checks;
pub mod requests;
mod stage_scan;

use crate::controller::Context;
use crate::controller::metrics;
use crate::controller::schedule;
use crate::controller::service_clients::{ServiceClientError, ServiceClients};
use crate::k8s::ObjectKey;
use crate::telemetry::traces::span_definitions;
use api::{LeverConnection, Pad, PadConfiguration};
use engine::hints::Hint;
use filter_checks::FilterDifference;
use http_client::{ErrorKind, Priority};
use jiff::{SignedDuration, Timestamp};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use requests::{CompletedSync, SyncOutcome, SyncRequest};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Reason why a part of a sync failed. The next sync repeats it.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    /// A service refused the request or did not answer.
    #[error(transparent)]
    Service(#[from] http_client::ServiceError),
    /// The API keys of the connection could not be read.
    #[error(transparent)]
    Account(#[from] ServiceClientError),
    /// The API server did not accept a Pad.
    #[error("the API server did not take a Pad: {0}")]
    Store(#[from] Box<kube::Error>),
    /// The connection was suspended, changed or deleted meanwhile.
    #[error("the connection has changed")]
    Changed,
    /// A scan was too long for one sync; the next one continues it.
    #[error("a scan of {0} continues with the next sync")]
    Continues(&'static str),
    /// A list is longer than the limit.
    #[error("there are more {0} than one sync reads")]
    TooLong(&'static str),
}

impl SyncError {
    /// Reports whether other scans of the same sync would fail for the same reason.
    fn concerns_all(&self) -> bool {
        match self {
            SyncError::Changed | SyncError::Account(_) => true,
            SyncError::Service(error) => error.class == ErrorKind::Unauthorized,
            SyncError::Store(_) | SyncError::Continues(_) | SyncError::TooLong(_) => false,
        }
    }

    /// Reports whether a service refused the API key.
    fn is_refusal(&self) -> bool {
        matches!(self, SyncError::Service(error) if matches!(error.class, ErrorKind::Unauthorized | ErrorKind::Forbidden))
    }
}

/// Returns the time `by` before `at`, or the earliest possible time if that overflows: some times come from a service,
/// a status or an annotation.
fn before(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// Watermarks of the syncs of one connection.
#[derive(Debug, Default)]
struct Watermarks {
    /// Version of the account that was scanned.
    account: String,
    pads: coderpad_scan::PadWatermarks,
    archived: Option<stage_scan::ArchivedWatermark>,
    erasures: erasure::ErasureWatermark,
    looks: open_pad_checks::OpenPadChecks,
    filters: filter_checks::FilterChecks,
    /// Whether a service refused a request of the last sync.
    is_refused: bool,
}

/// Syncs the LeverConnections in the namespaces of the context whenever a sync is requested, until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    if stop.run_until_cancelled(context.scope.ready()).await != Some(true) {
        return;
    }
    let marks = Arc::new(Mutex::new(HashMap::new()));
    let running = TaskTracker::new();
    loop {
        for (key, request) in context.syncs.begin() {
            let (context, marks, stop) = (context.clone(), marks.clone(), stop.clone());
            running.spawn(async move {
                let syncing = sync(&context, &marks, &key, &request)
                    .instrument(span_definitions::sync(&key.namespace, &key.name));
                let ended = stop.run_until_cancelled(syncing).await.unwrap_or_default();
                if let Some(pause) = context.syncs.end(&key, ended)
                    && stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some()
                {
                    let connection = context.scope.connections.get(&key.namespace, &key.name);
                    context.syncs.retry(&key, connection.is_some_and(|one| !one.spec.suspend));
                }
            });
        }
        tokio::select! {
            () = context.syncs.notified() => {}
            () = stop.cancelled() => break,
        }
    }
    running.close();
    running.wait().await;
}

/// Watermarks by connection.
type WatermarkStore = Mutex<HashMap<ObjectKey, Watermarks>>;

/// Performs one sync of one connection, as far as it can.
async fn sync(
    context: &Context,
    marks: &WatermarkStore,
    key: &ObjectKey,
    request: &SyncRequest,
) -> SyncOutcome {
    let ObjectKey { namespace, name } = key;
    let (began, began_at, known) = (Instant::now(), schedule::now(), marks.lock().remove(key));
    let nothing =
        || SyncOutcome { failed_rules: request.rules.keys().cloned().collect(), ..SyncOutcome::default() };
    let Some(connection) = context.scope.connections.get(namespace, name) else { return nothing() };
    let session = match SyncContext::begin(context, connection).await {
        Ok(session) => session,
        Err(error) => {
            log_failure(namespace, name, &error);
            return nothing();
        }
    };
    let mut after = known.filter(|marks| marks.account == session.clients.version).unwrap_or_default();
    after.account.clone_from(&session.clients.version);
    let (of_all, of_rules) = tokio::join!(
        async {
            if !request.whole {
                return Vec::new();
            }
            if after.looks.finds_more_than_list(&session, after.pads.shown()) {
                session.report_difference(ListDifference::Pads);
            }
            let pads = coderpad_scan::scan_pads(&session, &mut after.pads).await;
            after.looks.request_checks(&session, pads.is_ok());
            vec![
                pads,
                stage_scan::scan_archived(&session, &mut after.archived).await,
                erasure::scan_erasures(&session, &mut after.erasures).await,
            ]
        },
        stage_scan::scan_all(&session, request, &mut after.filters),
    );
    let erasures = after.erasures.until();
    let errors: Vec<SyncError> = of_all.into_iter().filter_map(Result::err).chain(of_rules.errors).collect();
    let was_refused = std::mem::replace(&mut after.is_refused, errors.iter().any(SyncError::is_refusal));
    // Each complete probe is followed by a sync: a refusal that the probe cannot detect must not cause one probe after
    // another.
    if after.is_refused && !was_refused {
        context.request_probe(namespace, name);
    }
    marks.lock().insert(key.clone(), after);
    let complete = errors.is_empty();
    if request.whole {
        context.metrics.observe_sync(namespace, name, complete, began.elapsed());
    }
    for error in &errors {
        log_failure(namespace, name, error);
    }
    SyncOutcome {
        missed: of_rules.missed,
        complete: (request.whole && complete).then_some(CompletedSync { at: began_at, erasures }),
        failed_rules: of_rules.failed,
        continues: !complete && errors.iter().all(|error| matches!(error, SyncError::Continues(_))),
    }
}

/// Difference between a list and the service's other answers: the service differs from what is documented or assumed.
enum ListDifference<'a> {
    /// Lever's filter by tag does not agree with the tags of the candidates, and is no longer used for the stage and tag.
    TagFilter { stage_id: &'a str, difference: FilterDifference },
    /// CoderPad's list of changed pads has not shown a change that a read of the pad shows.
    Pads,
}

impl ListDifference<'_> {
    /// Returns the label value in metrics.
    fn label(&self) -> &'static str {
        match self {
            ListDifference::TagFilter { .. } => metrics::TAG_FILTER,
            ListDifference::Pads => metrics::CHANGED_PADS,
        }
    }
}

/// Logs a failure, without the service's message (it may quote a candidate).
fn log_failure(namespace: &str, connection: &str, error: &SyncError) {
    match error {
        SyncError::Service(error) => {
            let (service, operation, status) = (error.service, error.operation, error.status);
            tracing::warn!(namespace, connection, %service, operation, status, class = error.class.label(), "sync incomplete; will retry");
        }
        SyncError::Account(_) | SyncError::Store(_) | SyncError::TooLong(_) => {
            tracing::warn!(namespace, connection, %error, "sync incomplete; will retry");
        }
        SyncError::Continues(_) => {
            tracing::info!(namespace, connection, %error, "sync incomplete; will continue");
        }
        SyncError::Changed => {}
    }
}

/// State of one sync of one connection: the services' clients, and the objects in the cluster.
struct SyncContext<'a> {
    context: &'a Context,
    namespace: String,
    connection: Arc<LeverConnection>,
    clients: ServiceClients,
    api: Api<Pad>,
    /// The configurations of the connection.
    configurations: Vec<Arc<PadConfiguration>>,
    /// The Pads of those configurations, except the Pads that are being deleted.
    pads: Vec<Arc<Pad>>,
}

impl<'a> SyncContext<'a> {
    async fn begin(context: &'a Context, connection: Arc<LeverConnection>) -> Result<Self, SyncError> {
        let namespace = connection.namespace().unwrap_or_default();
        let account = context.service_clients.get(&connection).await?;
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
            clients: account.with_priority(Priority::Poll),
            context,
            namespace,
            connection,
            configurations,
        })
    }

    /// Returns an error unless the services may still be called: a suspended connection sends no more requests.
    fn check_still_active(&self) -> Result<(), SyncError> {
        let now = self.context.scope.connections.get(&self.namespace, &self.connection.name_any());
        let same = now.is_some_and(|now| {
            now.uid() == self.connection.uid() && now.spec == self.connection.spec && !now.spec.suspend
        });
        if same { Ok(()) } else { Err(SyncError::Changed) }
    }

    /// Reports a difference between a list and the service's other answers.
    fn report_difference(&self, difference: ListDifference<'_>) {
        self.context.metrics.inc_list_differences(difference.label());
        let (namespace, connection) = (&self.namespace, self.connection.name_any());
        match difference {
            ListDifference::TagFilter { stage_id, difference: FilterDifference { missing, foreign } } => {
                tracing::warn!(%namespace, connection, stage_id, missing, foreign, "Lever's filter by tag does not agree with the candidates' tags; sync lists the whole stage and compares the tags itself");
            }
            ListDifference::Pads => {
                tracing::warn!(%namespace, connection, "CoderPad's list of changed pads does not show all changes; open pads are read more often");
            }
        }
    }

    /// Returns the current Pads of a configuration, except the Pads that are being deleted.
    fn present_pads(&self, configuration: &str) -> Vec<Arc<Pad>> {
        self.context.scope.pads.matching(&self.namespace, |pad| {
            pad.metadata.deletion_timestamp.is_none() && pad.spec.configuration_ref.name == configuration
        })
    }

    /// Adds a hint for a Pad.
    fn add_hint(&self, pad: &Pad, what: Hint) {
        self.context.memory.request(&ObjectKey::from_object(pad), what);
    }
}
