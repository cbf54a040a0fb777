//! The formula of every exponential backoff.

use std::time::Duration;

/// Maximum number of doublings; more than any limit needs.
const MAX_DOUBLINGS: u32 = 16;

/// Returns the delay after a number of consecutive failures: `initial` after the first, doubled by each further one, at
/// most `max`.
pub fn exponential(initial: Duration, max: Duration, failures: u32) -> Duration {
    initial.saturating_mul(1 << failures.saturating_sub(1).min(MAX_DOUBLINGS)).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_delay_up_to_the_limit() {
        let delay =
            |failures| exponential(Duration::from_secs(2), Duration::from_secs(30), failures).as_secs();
        assert_eq!([0, 1, 2, 3, 4, 5, 6, u32::MAX].map(delay), [2, 2, 4, 8, 16, 30, 30, 30]);
    }
}
