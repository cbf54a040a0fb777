//! Serves the webhook endpoint: bounded in connections, memory and time, and ends without losing what is in flight.

use super::Receiver;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Each may hold one body in memory. Further ones wait until one of these has ended.
pub(super) const MOST_CONNECTIONS: usize = 512;
/// A client that needs longer for its headers, or sends nothing at all, is cut.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest request line and headers; also how much of a body is read ahead.
const LARGEST_HEAD: usize = 32 * 1024;
/// How long a connection is used. A client that takes no answers would keep its place for ever.
const LONGEST_CONNECTION: Duration = Duration::from_secs(60);
/// More than a request may last at all.
const LONGEST_END: Duration = Duration::from_secs(16);
/// Between two attempts to take a connection when the system has no more.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves until `stop`, then takes no more connections and returns when all requests in flight are answered.
pub async fn serve(listener: TcpListener, receiver: Receiver, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let connections = TaskTracker::new();
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
            let (receiver, stop) = (receiver.clone(), stop.clone());
            connections.spawn(async move {
                attend(stream, &receiver, &stop).await;
                drop(slot);
            });
        }
    };
    stop.run_until_cancelled(accept).await;
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Serves one connection to its end. How it ends is the client's business: every request was answered, or its client has
/// gone, or it takes no answer.
async fn attend(stream: TcpStream, receiver: &Receiver, stop: &CancellationToken) {
    let _ = stream.set_nodelay(true);
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(LARGEST_HEAD)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(receiver.router()))
    );
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = sleep(LONGEST_CONNECTION) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(LONGEST_END, connection).await;
}
