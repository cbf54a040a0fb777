//! Lease of a holder whose clock is wrong.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::environment::{Options, TestEnv};
use crate::wait::eventually_within;

const LEASE: &str = "pad-operator";
const OTHER: &str = "another-replica";

/// Renews the Lease as a holder whose clock is off by this number of seconds.
async fn renew(env: &TestEnv, seconds: i64) {
    let time = Timestamp::now() + SignedDuration::from_secs(seconds);
    let spec = json!({"holderIdentity": OTHER, "leaseDurationSeconds": 15, "acquireTime": format!("{time:.6}"),
        "renewTime": format!("{time:.6}")});
    env.patch("leases", LEASE, json!({"spec": spec})).await;
}

async fn holder(env: &TestEnv) -> String {
    let lease = env.get("leases", LEASE).await;
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn lease_expiry_depends_on_observed_changes_and_not_on_the_holders_clock() {
    let mut env = TestEnv::start(Options::new("clocks")).await;
    for (seconds, clock) in [(-20, "behind"), (600, "ahead")] {
        env.operator().terminate().await;
        assert_eq!(holder(&env).await, "", "the Lease was released");
        renew(&env, seconds).await;
        env.operator().start().await;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(18) {
            renew(&env, seconds).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(
                holder(&env).await,
                OTHER,
                "acquired while it was renewed; the holder's clock is off by {clock}"
            );
        }
        renew(&env, seconds).await;
        let silent = Instant::now();
        eventually_within(Duration::from_secs(30), "the silent holder is replaced", async || {
            let holder = holder(&env).await;
            if holder == OTHER { Err(holder) } else { Ok(()) }
        })
        .await;
        let taken = silent.elapsed().as_secs_f64();
        println!("availability: holder silent, clock {clock}: replaced after {taken:.1} s");
        // 15 to 20 s after the last observed change, and the observation is up to 2 s late.
        assert!((15.0..=22.0).contains(&taken), "replaced after {taken} s");
    }
    env.finish().await;
}
