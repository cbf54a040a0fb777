//! The body of a request, read with a bound on its size and on the time it takes.

use super::response::Rejection;
use axum::body::{Body, BodyDataStream};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use futures::StreamExt;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// No event of Lever comes near it.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// How much of a body that nobody wants is read away.
const MAX_DISCARDED_BYTES: usize = 4 * 1024 * 1024;
/// A client that needs longer for its body is cut.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// A body on its way.
pub struct LimitedBody {
    stream: BodyDataStream,
    cut_at: Instant,
}

impl LimitedBody {
    /// A body whose time starts now.
    pub fn new(body: Body) -> Self {
        Self { stream: body.into_data_stream(), cut_at: Instant::now() + BODY_READ_TIMEOUT }
    }

    /// Reads it to the end.
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

    /// Reads away what is left: a client that is still sending would see a reset connection instead of the answer.
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
