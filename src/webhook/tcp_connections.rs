//! Open connections of the webhook endpoint: the phase of each, its deadline, and the choice of the idle connection
//! that is closed when the limit is reached.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Maximum time that a connection may be idle between two requests. It is above the idle timeout of common load
/// balancers (60 s by default), so that the load balancer closes first: a request that is sent while the endpoint
/// closes the connection is lost.
pub(super) const CONNECTION_IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Maximum time for receiving the head of a request; a slower client is disconnected.
pub(super) const HEAD_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Phase of a connection and the time at which it began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ConnectionPhase {
    /// No request has begun since the last response.
    Idle(Instant),
    /// The head of a request is being received.
    Head(Instant),
    /// A request is being processed. It has timeouts of its own.
    Serving,
}

impl ConnectionPhase {
    /// Returns the time at which the connection must have left this phase.
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Idle(since) => Some(since + CONNECTION_IDLE_TIMEOUT),
            Self::Head(since) => Some(since + HEAD_READ_TIMEOUT),
            Self::Serving => None,
        }
    }
}

/// One open connection; a cheap handle.
#[derive(Clone)]
pub(super) struct TrackedConnection {
    phase: Arc<watch::Sender<ConnectionPhase>>,
    closing: CancellationToken,
    _entry: Arc<ConnectionEntry>,
}

struct ConnectionEntry {
    number: u64,
    open: Arc<Mutex<ConnectionTable>>,
}

impl Drop for ConnectionEntry {
    fn drop(&mut self) {
        self.open.lock().connections.remove(&self.number);
    }
}

#[derive(Default)]
struct ConnectionTable {
    next: u64,
    connections: BTreeMap<u64, (Arc<watch::Sender<ConnectionPhase>>, CancellationToken)>,
}

/// All open connections; a cheap handle.
#[derive(Clone, Default)]
pub(super) struct OpenConnections {
    open: Arc<Mutex<ConnectionTable>>,
}

impl OpenConnections {
    /// Registers a connection that was just accepted. It counts until its last handle is dropped.
    pub(super) fn track(&self) -> TrackedConnection {
        let phase = Arc::new(watch::Sender::new(ConnectionPhase::Idle(Instant::now())));
        let closing = CancellationToken::new();
        let mut open = self.open.lock();
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, (phase.clone(), closing.clone()));
        let entry = Arc::new(ConnectionEntry { number, open: self.open.clone() });
        TrackedConnection { phase, closing, _entry: entry }
    }

    /// Closes the connection that has been idle for longest. Reports whether there is one.
    pub(super) fn shed(&self) -> bool {
        let open = self.open.lock();
        let idle = open.connections.values().filter(|(_, closing)| !closing.is_cancelled());
        let idle = idle.filter_map(|(phase, closing)| match *phase.borrow() {
            ConnectionPhase::Idle(since) => Some((since, closing)),
            ConnectionPhase::Head(_) | ConnectionPhase::Serving => None,
        });
        let longest = idle.min_by_key(|(since, _)| *since);
        longest.inspect(|(_, closing)| closing.cancel()).is_some()
    }
}

impl TrackedConnection {
    /// Records that a request is being processed.
    pub(super) fn set_serving(&self) {
        self.phase.send_replace(ConnectionPhase::Serving);
    }

    /// Records that the response is complete.
    pub(super) fn set_idle(&self) {
        self.phase.send_replace(ConnectionPhase::Idle(Instant::now()));
    }

    /// Reports whether the head of a request is being received.
    pub(super) fn is_in_head(&self) -> bool {
        matches!(*self.phase.borrow(), ConnectionPhase::Head(_))
    }

    fn receives(&self) {
        self.phase.send_if_modified(|phase| match phase {
            ConnectionPhase::Idle(_) => {
                *phase = ConnectionPhase::Head(Instant::now());
                true
            }
            ConnectionPhase::Head(_) | ConnectionPhase::Serving => false,
        });
    }

    /// Waits until the connection must be closed: it was idle or sent a head for too long, or its slot is needed.
    pub(super) async fn overdue(&self) {
        let mut phase = self.phase.subscribe();
        let watching = async {
            loop {
                let deadline = phase.borrow_and_update().deadline();
                let expired = async {
                    match deadline {
                        Some(deadline) => tokio::time::sleep_until(deadline).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = expired => return,
                    changed = phase.changed() => if changed.is_err() { return },
                }
            }
        };
        let _ = self.closing.run_until_cancelled(watching).await;
    }
}

/// A stream that records when a request begins.
pub(super) struct ObservedStream<T> {
    stream: T,
    tracked: TrackedConnection,
}

impl<T> ObservedStream<T> {
    pub(super) fn new(stream: T, tracked: TrackedConnection) -> Self {
        Self { stream, tracked }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ObservedStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.tracked.receives();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ObservedStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_is_idle_for_longest_makes_room() {
        let connections = OpenConnections::default();
        let first = connections.track();
        tokio::time::advance(Duration::from_secs(1)).await;
        let (second, third) = (connections.track(), connections.track());
        first.set_serving();
        tokio::time::advance(Duration::from_secs(1)).await;
        third.set_serving();
        third.set_idle();
        assert!(connections.shed());
        assert!(second.overdue().now_or_never().is_some(), "idle for 1 s");
        assert!(first.overdue().now_or_never().is_none() && third.overdue().now_or_never().is_none());
        assert!(connections.shed());
        assert!(third.overdue().now_or_never().is_some());
        assert!(!connections.shed(), "the other one is serving");
        drop((first, second, third));
        assert!(connections.open.lock().connections.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn idle_is_long_and_a_head_is_short() {
        let tracked = OpenConnections::default().track();
        let began = Instant::now();
        tracked.overdue().await;
        assert_eq!(began.elapsed().as_secs(), CONNECTION_IDLE_TIMEOUT.as_secs());
        tracked.set_idle();
        tracked.receives();
        let began = Instant::now();
        tracked.overdue().await;
        assert_eq!(began.elapsed().as_secs(), HEAD_READ_TIMEOUT.as_secs());
        tracked.set_serving();
        tracked.receives();
        let hour = tokio::time::timeout(Duration::from_secs(3600), tracked.overdue()).await;
        assert!(hour.is_err(), "a request has timeouts of its own");
    }
}
