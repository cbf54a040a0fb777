//! Helpers for the tests of both clients: a transport without rate limits, and servers that misbehave on the wire.

#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::{RateLimit, Transport, TransportMetrics, TransportSettings};

/// No rate limit.
pub const UNLIMITED_RATE: RateLimit = RateLimit { per_second: 0, burst: 1 };

/// Returns a transport without rate limits whose timeout for creating a pad is `create_timeout`.
pub fn transport(create_timeout: Duration) -> Transport {
    let settings =
        TransportSettings { lever_limit: UNLIMITED_RATE, interview_limit: UNLIMITED_RATE, create_timeout };
    Transport::new(settings, TransportMetrics::new(&mut Registry::default())).unwrap()
}

/// Counter of the connections and requests that a [`server`] receives.
#[derive(Clone, Default)]
pub struct ServerLog {
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl ServerLog {
    /// Returns the number of connections.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Returns the number of complete requests.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Starts a server that reads one request per connection, headers and body, and then calls `answer`.
pub async fn server<F, Fut>(answer: F) -> (Url, ServerLog)
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/v1", listener.local_addr().unwrap())).unwrap();
    let seen = ServerLog::default();
    let counts = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counts.connections.fetch_add(1, Ordering::SeqCst);
            if read_request(&mut stream).await {
                counts.requests.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(stream));
            }
        }
    });
    (url, seen)
}

/// Closes a connection with a reset.
pub async fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

/// Keeps the connection open for 60 s without an answer.
pub async fn silence(stream: TcpStream) {
    tokio::time::sleep(Duration::from_secs(60)).await;
    drop(stream);
}

/// Answers with exactly these bytes, then closes the connection.
pub async fn bytes(mut stream: TcpStream, answer: Vec<u8>) {
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
}

/// Body that a test server sends as the answer to every request, with status 200.
#[derive(Clone, Default)]
pub struct FixedAnswer(Arc<Mutex<Vec<u8>>>);

impl FixedAnswer {
    /// Starts the server. Returns its address and a handle to its answer.
    pub async fn start() -> (Url, Self) {
        let shown = Self::default();
        let answers = shown.clone();
        let (url, _) = server(move |stream| {
            let body = answers.0.lock().clone();
            let head =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            bytes(stream, [head.into_bytes(), body].concat())
        })
        .await;
        (url, shown)
    }

    /// Sets the body of the next answers.
    pub fn set(&self, body: Vec<u8>) {
        *self.0.lock() = body;
    }
}

/// Reads a whole request, headers and body. Returns false if the client closed the connection first.
pub async fn read_request(stream: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return false,
            Ok(n) => request.extend_from_slice(&chunk[..n]),
        }
        let text = String::from_utf8_lossy(&request).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.trim().parse::<usize>().unwrap());
            if body.len() >= length {
                return true;
            }
        }
    }
}
