//! The body of a request, read with limits on its size and on the time it takes.

use super::response::Rejection;
use axum::body::{Body, BodyDataStream};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use futures::StreamExt;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Maximum size of a body in bytes. No event of Lever comes near it.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// Maximum size in bytes of a refused body that is read and discarded.
const MAX_DISCARDED_BYTES: usize = 4 * 1024 * 1024;
/// Maximum time for receiving a body; a slower client is disconnected.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// A body that is being received.
pub struct LimitedBody {
    stream: BodyDataStream,
    cut_at: Instant,
}

impl LimitedBody {
    /// Creates a body whose time limit starts now.
    pub fn new(body: Body) -> Self {
        Self { stream: body.into_data_stream(), cut_at: Instant::now() + BODY_READ_TIMEOUT }
    }

    /// Reads the body to its end.
    pub async fn read(&mut self, headers: &HeaderMap) -> Result<Vec<u8>, Rejection> {
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
            return Err(Rejection::TooLarge);
        }
        let mut bytes = Vec::new();
        loop {
            match timeout_at(self.cut_at, self.stream.next()).await {
                Err(_) => return Err(Rejection::Slow),
                Ok(Some(Err(_))) => return Err(Rejection::BrokenOff),
                Ok(None) => return Ok(bytes),
                Ok(Some(Ok(more))) if bytes.len() + more.len() > MAX_BODY_BYTES => {
                    return Err(Rejection::TooLarge);
                }
                Ok(Some(Ok(more))) => bytes.extend_from_slice(&more),
            }
        }
    }

    /// Discards the rest of the body: a client that is still sending would see a reset connection instead of the
    /// response.
    pub async fn discard(mut self) {
        let mut left = MAX_DISCARDED_BYTES;
        while let Ok(Some(Ok(more))) = timeout_at(self.cut_at, self.stream.next()).await {
            match left.checked_sub(more.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }
}
