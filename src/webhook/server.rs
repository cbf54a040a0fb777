//! Serves the webhook endpoint with limits on connections, memory and time, and stops without losing requests in
//! flight.

use super::Receiver;
use super::tcp_connections::{ObservedStream, OpenConnections, TrackedConnection};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Maximum number of open connections. Each may hold one body in memory. More connections wait until one of these has
/// ended.
pub(super) const MAX_CONNECTIONS: usize = 512;
/// Maximum size of the request line and headers in bytes; also the amount of a body that is read ahead.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Maximum age of a connection, so that the connections of a load balancer spread over new replicas.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(3600);
/// Maximum time for a connection to finish its request in flight. It is longer than any request may take.
const CONNECTION_DRAIN_TIMEOUT: Duration = Duration::from_secs(16);
/// Delay before the next attempt to accept a connection when the system has no resources for one.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(200);
/// Delay before another idle connection is closed while all slots are taken.
const IDLE_CLOSE_INTERVAL: Duration = Duration::from_millis(100);

/// Serves until `stop`, then accepts no more connections and returns as soon as all requests in flight are answered.
pub async fn serve(listener: TcpListener, receiver: Receiver, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (tasks, connections) = (TaskTracker::new(), OpenConnections::default());
    let accept = async {
        loop {
            let Some(slot) = slot(&slots, &connections).await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection for webhooks");
                    sleep(ACCEPT_RETRY_DELAY).await;
                    continue;
                }
            };
            let (receiver, stop, tracked) = (receiver.clone(), stop.clone(), connections.track());
            tasks.spawn(async move {
                serve_connection(stream, &receiver, tracked, &stop).await;
                drop(slot);
            });
        }
    };
    stop.run_until_cancelled(accept).await;
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Waits for a slot for one more connection. While all are taken, idle connections are closed.
async fn slot(slots: &Arc<Semaphore>, connections: &OpenConnections) -> Option<OwnedSemaphorePermit> {
    loop {
        let slot = timeout(IDLE_CLOSE_INTERVAL, Arc::clone(slots).acquire_owned());
        if slots.available_permits() == 0 {
            connections.shed();
        }
        match slot.await {
            Ok(slot) => return slot.ok(),
            Err(_) => continue,
        }
    }
}

/// Serves one connection to its end. The result does not matter: every request was answered, or the client has
/// disconnected or does not read the response.
async fn serve_connection(
    stream: TcpStream,
    receiver: &Receiver,
    tracked: TrackedConnection,
    stop: &CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let router = receiver.router();
    let service = service_fn(|request| {
        tracked.set_serving();
        let answering = router.clone().oneshot(request);
        let tracked = tracked.clone();
        async move {
            let answer = answering.await;
            tracked.set_idle();
            answer
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            // This timeout would close idle connections, too.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(ObservedStream::new(stream, tracked.clone())), service)
    );
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = tracked.overdue() => if tracked.is_in_head() { return },
        () = sleep(MAX_CONNECTION_AGE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(CONNECTION_DRAIN_TIMEOUT, connection).await;
}
