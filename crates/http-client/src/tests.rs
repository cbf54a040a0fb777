#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use rstest::rstest;
use tokio::time::{Instant, sleep};

use super::rate_limit::{TokenBucket, TokenBuckets};
use super::{ErrorKind, Priority, RateLimit, Service, ServiceError};
use services::coderpad::CREATE_PAD;

fn bucket(per_second: u32, burst: u32) -> Arc<TokenBucket> {
    TokenBuckets::default().for_key("https://api.example.com", "key", RateLimit { per_second, burst })
}

async fn take(bucket: &TokenBucket, times: usize) -> Duration {
    let began = Instant::now();
    for _ in 0..times {
        bucket.take(Priority::Pad).await;
    }
    began.elapsed()
}

fn assert_about(actual: Duration, expected_ms: u64) {
    let expected = Duration::from_millis(expected_ms);
    assert!(actual.abs_diff(expected) <= Duration::from_millis(20), "{actual:?} is not about {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn stays_below_the_documented_rate_and_burst() {
    let bucket = bucket(10, 20);
    assert_about(take(&bucket, 18).await, 0);
    assert_about(take(&bucket, 97).await, 10_000);
    sleep(Duration::from_secs(60)).await;
    assert_about(take(&bucket, 19).await, 103);
}

#[tokio::test(start_paused = true)]
async fn rate_and_burst_are_at_least_one() {
    let bucket = bucket(1, 1);
    assert_about(take(&bucket, 3).await, 2000);
}

#[tokio::test(start_paused = true)]
async fn rate_zero_is_no_limit_but_keeps_the_pause() {
    let bucket = bucket(0, 0);
    assert_about(take(&bucket, 1000).await, 0);
    bucket.refused(Instant::now(), None);
    assert_about(take(&bucket, 1).await, 1000);
}

#[tokio::test(start_paused = true)]
async fn delays_grow_to_half_a_minute_and_reset_after_a_success() {
    let bucket = bucket(10, 20);
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        sleep(Duration::from_millis(1)).await;
        bucket.refused(Instant::now(), None);
        assert_about(take(&bucket, 1).await, seconds * 1000);
    }
    sleep(Duration::from_millis(1)).await;
    bucket.accepted(Instant::now());
    bucket.refused(Instant::now(), None);
    assert_about(take(&bucket, 1).await, 1000);
}

#[tokio::test(start_paused = true)]
async fn calls_refused_together_pause_once() {
    let bucket = bucket(10, 20);
    let sent = Instant::now();
    sleep(Duration::from_millis(50)).await;
    for _ in 0..5 {
        bucket.refused(sent, None);
    }
    bucket.accepted(sent);
    assert_about(take(&bucket, 1).await, 1000);
    bucket.refused(Instant::now(), None);
    assert_about(take(&bucket, 1).await, 2000);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_within_bounds_and_spends_the_burst() {
    let bucket = bucket(10, 20);
    bucket.refused(Instant::now(), Some(Duration::from_secs(7)));
    assert_about(take(&bucket, 1).await, 7000);
    assert_about(take(&bucket, 97).await, 10_000);
    bucket.refused(Instant::now(), Some(Duration::from_secs(86_400)));
    assert_about(take(&bucket, 1).await, 60_000);
}

#[tokio::test(start_paused = true)]
async fn polls_wait_while_pads_wait() {
    let bucket = bucket(1, 1);
    take(&bucket, 1).await;
    let began = Instant::now();
    let poll = tokio::spawn({
        let bucket = Arc::clone(&bucket);
        async move {
            bucket.take(Priority::Poll).await;
            began.elapsed()
        }
    });
    sleep(Duration::from_millis(100)).await;
    let pads: Vec<_> = (0..3)
        .map(|_| {
            let bucket = Arc::clone(&bucket);
            tokio::spawn(async move { bucket.take(Priority::Pad).await })
        })
        .collect();
    for pad in pads {
        pad.await.unwrap();
    }
    assert_about(began.elapsed(), 3000);
    assert_about(poll.await.unwrap(), 4000);
}

#[tokio::test(start_paused = true)]
async fn polls_are_not_starved() {
    let bucket = bucket(1, 1);
    let pads = tokio::spawn({
        let bucket = Arc::clone(&bucket);
        async move {
            loop {
                bucket.take(Priority::Pad).await;
            }
        }
    });
    let another = tokio::spawn({
        let bucket = Arc::clone(&bucket);
        async move {
            loop {
                bucket.take(Priority::Pad).await;
            }
        }
    });
    sleep(Duration::from_millis(1)).await;
    let began = Instant::now();
    bucket.take(Priority::Poll).await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    pads.abort();
    another.abort();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_pad_call_unblocks_polls() {
    let bucket = bucket(1, 1);
    take(&bucket, 1).await;
    let pad = tokio::spawn({
        let bucket = Arc::clone(&bucket);
        async move {
            bucket.take(Priority::Pad).await;
            bucket.take(Priority::Pad).await;
        }
    });
    sleep(Duration::from_millis(100)).await;
    pad.abort();
    let began = Instant::now();
    bucket.take(Priority::Poll).await;
    assert_about(began.elapsed(), 900);
}

#[test]
fn clients_of_one_key_share_a_bucket() {
    let buckets = TokenBuckets::default();
    let limit = RateLimit { per_second: 10, burst: 20 };
    let one = buckets.for_key("https://api.example.com", "key", limit);
    assert!(Arc::ptr_eq(&one, &buckets.for_key("https://api.example.com", "key", limit)));
    assert!(!Arc::ptr_eq(&one, &buckets.for_key("https://api.example.com", "another", limit)));
    assert!(!Arc::ptr_eq(&one, &buckets.for_key("https://api.sandbox.example.com", "key", limit)));
    assert!(!format!("{buckets:?}").contains("\"key\""));
}

#[rstest]
#[case::documented("Over quota", None, true)]
#[case::silent("", None, false)]
#[case::status_line("Too Many Requests", None, false)]
#[case::rate("Too many requests, slow down", None, false)]
#[case::proxy("Rate limit exceeded", None, false)]
#[case::throttled("Request was throttled.", None, false)]
#[case::asked_to_wait("Try later", Some(3), false)]
#[case::quota_and_wait("Quota exceeded", Some(3), true)]
fn a_429_of_creating_is_quota_or_rate(
    #[case] message: &str,
    #[case] retry_after: Option<u64>,
    #[case] quota: bool,
) {
    let mut error =
        ServiceError::new(ErrorKind::Throttled, Service::Interview, CREATE_PAD, Some(429), message);
    error.retry_after = retry_after.map(Duration::from_secs);
    assert_eq!(error.is_quota(), quota);
    error.operation = "GET /quota";
    assert!(!error.is_quota());
}

#[test]
fn errors_contain_the_next_step() {
    let error =
        ServiceError::new(ErrorKind::Forbidden, Service::Lever, "GET /stages", Some(403), "Not\nallowed");
    assert_eq!(error.to_string(), "Lever: GET /stages answered 403: Not allowed");
    let error = ServiceError::new(
        ErrorKind::Unavailable,
        Service::Interview,
        "GET /quota",
        None,
        "timed out after 20 s",
    );
    assert_eq!(error.to_string(), "CoderPad Interview: GET /quota failed: timed out after 20 s");
}

#[test]
fn messages_are_sanitized() {
    let message = format!(" a\u{7}b \u{202e}\t\n c{}", "ü".repeat(300));
    let error = ServiceError::new(ErrorKind::Invalid, Service::Lever, "GET /stages", Some(400), &message);
    assert!(error.message.starts_with("ab cüü"), "{}", error.message);
    assert_eq!(error.message.chars().count(), 256);
}
