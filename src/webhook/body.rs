//! The body of a request, read with a bound on its size and on the time it takes.

use super::response::Refusal;
use axum::body::{Body, BodyDataStream};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use futures::StreamExt;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// No event of Lever comes near it.
const LARGEST: usize = 256 * 1024;
/// How much of a body that nobody wants is read away.
const MOST_DISCARDED: usize = 4 * 1024 * 1024;
/// A client that needs longer for its body is cut.
const LONGEST: Duration = Duration::from_secs(10);

/// A body on its way.
pub struct Incoming {
    stream: BodyDataStream,
    cut_at: Instant,
}

impl Incoming {
    /// A body whose time starts now.
    pub fn new(body: Body) -> Self {
        Self { stream: body.into_data_stream(), cut_at: Instant::now() + LONGEST }
    }

    /// Reads it to the end.
    pub async fn read(&mut self, headers: &HeaderMap) -> Result<Vec<u8>, Refusal> {
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > LARGEST as u64) {
            return Err(Refusal::TooLarge);
        }
        let mut bytes = Vec::new();
        loop {
            match timeout_at(self.cut_at, self.stream.next()).await {
                Err(_) => return Err(Refusal::Slow),
                Ok(Some(Err(_))) => return Err(Refusal::BrokenOff),
                Ok(None) => return Ok(bytes),
                Ok(Some(Ok(more))) if bytes.len() + more.len() > LARGEST => return Err(Refusal::TooLarge),
                Ok(Some(Ok(more))) => bytes.extend_from_slice(&more),
            }
        }
    }

    /// Reads away what is left: a client that is still sending would see a reset connection instead of the answer.
    pub async fn discard(mut self) {
        let mut left = MOST_DISCARDED;
        while let Ok(Some(Ok(more))) = timeout_at(self.cut_at, self.stream.next()).await {
            match left.checked_sub(more.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }
}
