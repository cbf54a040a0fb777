//! The body of a request, read with limits on its size and on the time it takes.

use super::response::Rejection;
use axum::body::{Body, Bytes, HttpBody};
use http_body_util::{BodyExt, LengthLimitError, Limited};
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
    body: Body,
    cut_at: Instant,
}

impl LimitedBody {
    /// Creates a body whose time limit starts now.
    pub fn new(body: Body) -> Self {
        Self { body, cut_at: Instant::now() + BODY_READ_TIMEOUT }
    }

    /// Reads the body to its end.
    pub async fn read(&mut self) -> Result<Bytes, Rejection> {
        // The announced length.
        if self.body.size_hint().lower() > MAX_BODY_BYTES as u64 {
            return Err(Rejection::TooLarge);
        }
        match timeout_at(self.cut_at, Limited::new(&mut self.body, MAX_BODY_BYTES).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Rejection::TooLarge),
            Ok(Err(_)) => Err(Rejection::BrokenOff),
            Err(_) => Err(Rejection::Slow),
        }
    }

    /// Discards the rest of the body: a client that is still sending would see a reset connection instead of the
    /// response.
    pub async fn discard(self) {
        let mut rest = Limited::new(self.body, MAX_DISCARDED_BYTES);
        while let Ok(Some(Ok(_))) = timeout_at(self.cut_at, rest.frame()).await {}
    }
}
