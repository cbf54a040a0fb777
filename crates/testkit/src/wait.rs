//! Waits for conditions, no longer than necessary.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Limits of a wait.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// Maximum time. It should be far above what any step takes, so that a busy machine makes a run slow but not red.
    pub timeout: Duration,
    /// Delay between two checks.
    pub poll: Duration,
}

impl Wait {
    /// Waits until the check succeeds, and returns its value. Its error describes the current state.
    ///
    /// # Errors
    /// If the check does not succeed in time; includes its last error.
    pub async fn until<T, E: Display>(
        &self,
        what: &str,
        mut check: impl AsyncFnMut() -> Result<T, E>,
    ) -> anyhow::Result<T> {
        let start = Instant::now();
        loop {
            match check().await {
                Ok(value) => return Ok(value),
                Err(instead) if start.elapsed() > self.timeout => {
                    anyhow::bail!(
                        "timed out after {:?} waiting until {what}; instead: {instead:#}",
                        self.timeout
                    )
                }
                Err(_) => tokio::time::sleep(self.poll).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn value_or_the_last_error_is_returned() {
        let wait = Wait { timeout: Duration::from_millis(50), poll: Duration::from_millis(1) };
        let mut checks = 0;
        let counted = wait.until("three", async || {
            checks += 1;
            if checks == 3 { Ok(checks) } else { Err(checks.to_string()) }
        });
        assert_eq!(counted.await.unwrap(), 3);
        let never = wait.until("it holds", async || Err::<(), _>("it does not")).await.unwrap_err();
        assert_eq!(never.to_string(), "timed out after 50ms waiting until it holds; instead: it does not");
    }
}
