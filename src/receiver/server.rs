//! Serves the webhook endpoint: bounded in connections and time, and ends without losing what is in flight.

use super::Receiver;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Each may hold one body in memory.
const MOST_CONNECTIONS: usize = 512;
/// A client that needs longer for its headers, or sends nothing at all, is cut.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two attempts to take a connection when the system has no more.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// More than a request may last at all.
const LONGEST_END: Duration = Duration::from_secs(16);

/// Serves until `stop`, then takes no more connections and returns when all requests in flight are answered.
pub async fn serve(listener: TcpListener, receiver: Receiver, stop: CancellationToken) {
    let router = receiver.router();
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let connections = GracefulShutdown::new();
    let accept = async {
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection for webhooks");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                // How a connection ends is the client's business: every request was answered, or its client has gone.
                let _ = connection.await;
                drop(slot);
            });
        }
    };
    stop.run_until_cancelled(accept).await;
    drop(listener);
    if timeout(LONGEST_END, connections.shutdown()).await.is_err() {
        tracing::warn!("some clients of the webhook endpoint do not end, and are cut");
    }
}
